//! Every way to fail a request, and the status of each.

use bytes::Bytes;
use http::{Method, StatusCode};
use plait_engine::query::NoCut;
use plait_engine::{BlockHash, BlockHeight, HashError, PayloadHash, QueryError};
use thiserror::Error;

use crate::missing::Missing;
pub(crate) use crate::missing::excerpt;
use crate::nearest::nearest;

/// Why a request is not answered with what it asks for.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The query has a parameter whose value does not parse.
    #[error("query parameter {name}: expected {expected}, got {got:?}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What its values look like.
        expected: &'static str,
        /// The value, decoded; long ones are cut.
        got: String,
    },
    /// The query has a parameter that the endpoint does not know, and the endpoint rejects these.
    #[error("{}", unknown_parameter(got, known))]
    UnknownParameter {
        /// Its name, decoded; long ones are truncated.
        got: String,
        /// The parameters that the endpoint knows.
        known: &'static [&'static str],
    },
    /// Statistics are asked for in more steps than are added up.
    #[error(
        "{got} steps, of all chains together, at most {max} are allowed: take a larger \"step\""
    )]
    Steps {
        /// Steps of a chain, of all chains together.
        got: u64,
        /// Those that are allowed.
        max: usize,
    },
    /// The range of heights of statistics ends before it begins.
    #[error("query parameters: minheight {min} is above maxheight {max}: the range is empty")]
    Empty {
        /// The lowest height.
        min: BlockHeight,
        /// The highest height.
        max: BlockHeight,
    },
    /// The path has something else where a block hash belongs.
    #[error("path: {got:?} is not a block hash: {source}")]
    PathHash {
        /// The segment, decoded; long ones are cut.
        got: String,
        /// Why it is none.
        source: HashError,
    },
    /// The path has something else where a payload hash belongs.
    #[error("path: {got:?} is not a payload hash: {source}")]
    PathPayload {
        /// The segment, decoded; long ones are cut.
        got: String,
        /// Why it is none.
        source: HashError,
    },
    /// The body is not JSON, or not of the expected form.
    #[error("request body: {}", shortened(&.0.to_string()))]
    Body(serde_json::Error),
    /// There is no body where JSON is expected.
    #[error("request body: expected a JSON object with the members \"lower\" and \"upper\"")]
    BodyMissing,
    /// The body names something that is not a block hash.
    #[error("request body: {got:?} in \"{side}\" is not a block hash: {source}")]
    BodyHash {
        /// `lower` or `upper`.
        side: &'static str,
        /// What stands there; long ones are cut.
        got: String,
        /// Why it is none.
        source: HashError,
    },
    /// There is no body where a batch is expected.
    #[error(
        "request body: expected a JSON list of payload hashes, or an object with the members \
             \"hashes\" and \"heights\""
    )]
    BatchMissing,
    /// A batch names something that is not a payload hash.
    #[error("request body: {got:?} is not a payload hash: {source}")]
    BatchHash {
        /// What stands there; long ones are cut.
        got: String,
        /// Why it is none.
        source: HashError,
    },
    /// The body names more bounds than a query may have.
    #[error("request body: \"{side}\" has {got} bounds, at most {max} are allowed")]
    Bounds {
        /// `lower` or `upper`.
        side: &'static str,
        /// Different bounds in the body.
        got: usize,
        /// Different bounds allowed.
        max: usize,
    },
    /// The connection ended before the body did, or the body breaks the protocol.
    #[error("request body: it ended early, or it breaks the rules of HTTP")]
    BodyCut,
    /// The budget for request bodies is used up.
    #[error("the server is receiving too many request bodies, try again later")]
    BodiesFull,
    /// The `Host` header is missing, repeated, malformed, or contradicts the target of the request.
    #[error("request head: {0}")]
    Host(&'static str),
    /// `Content-Length` is given more than once.
    #[error("request head: Content-Length is given more than once")]
    ContentLength,
    /// The body has a transfer coding that the server does not decode.
    #[error("request head: transfer coding {got:?} is not implemented, only chunked")]
    Coding {
        /// The coding; long ones are truncated.
        got: String,
    },
    /// The body is chunked within chunks.
    #[error("request head: Transfer-Encoding has chunked more than once")]
    ChunkedTwice,
    /// The head is not one of HTTP, or longer than any that is read.
    #[error("request head: {}", malformed(*.0))]
    Unread(StatusCode),
    /// Nothing answers at this path.
    #[error("{0}")]
    Path(Missing),
    /// The block is not stored on the chain.
    #[error("key not found")]
    Unknown(BlockHash),
    /// There is no cut, or the stored history starts above it.
    #[error("{0}")]
    NoCut(NoCut),
    /// The payload is not stored, or not with what is asked of it.
    #[error("key not found")]
    UnknownPayload(PayloadHash),
    /// A page of blocks has a block whose payload, or its outputs, is not stored.
    #[error(
        "the payload of block {block} is not stored{}",
        if *headers_only { "; this server has headers only" } else { "" }
    )]
    PayloadOfBlock {
        /// The block.
        block: BlockHash,
        /// Its payload.
        payload: PayloadHash,
        /// Whether no payload is stored at all.
        headers_only: bool,
    },
    /// The endpoint exists, but not with this method.
    #[error("method not allowed, use {}", allowed(.0))]
    Method(&'static [Method]),
    /// No representation that the endpoint has is acceptable to the client.
    #[error("not acceptable, available: {0}")]
    Accept(String),
    /// The body did not arrive in time.
    #[error("request body: did not arrive in time")]
    BodySlow,
    /// The body is longer than allowed.
    #[error("request body: at most {max} bytes are allowed")]
    BodyLong {
        /// Bytes allowed.
        max: usize,
    },
    /// The path and the query are longer than allowed.
    #[error("path and query have {got} bytes, at most {max} are allowed")]
    UriLong {
        /// Bytes of path and query.
        got: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The head of the request is longer than allowed.
    #[error("request head has {got} bytes, at most {max} are allowed")]
    HeadLong {
        /// Bytes of the names and values of all headers.
        got: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The body is of a type that the endpoint does not read.
    #[error("request body: expected application/json")]
    ContentType,
    /// The range lies behind the end of the file.
    #[error("range: the file has {len} bytes")]
    Range {
        /// Bytes of the file.
        len: u64,
    },
    /// The folder of the archive has no manifest.
    #[error("the archive is not there yet: plait export writes it")]
    NoArchive,
    /// The manifest of the archive does not name the file.
    #[error("no file {0:?} in the archive: /archive/manifest.json lists its files")]
    Unlisted(String),
    /// There is no backup of this name.
    #[error("no backup {0:?}: it was never made here, or it has been deleted")]
    NoBackup(String),
    /// The folder of backups failed; the cause is for the log, not for the client.
    #[error("the folder of backups cannot be used")]
    Backup,
    /// The folder of the database is not where it was; the cause is for the log, not for the client.
    #[error(
        "the folder of the database was moved, removed or replaced: the server must be restarted"
    )]
    Displaced,
    /// All places where the database is read are taken, and stayed so.
    #[error("overloaded, try again later")]
    Busy,
    /// `Last-Event-ID` is malformed: no release of Plait sends such an id.
    #[error(
        "last event id: not the id of an event; if you send none, the stream begins with the next \
         event"
    )]
    Position,
    /// The server takes no more subscribers.
    #[error("too many event streams, try again later")]
    Subscribers,
    /// The server takes no more connections.
    #[error("too many connections, try again later")]
    Full,
    /// The responses in progress use all the memory that they may.
    #[error(
        "too many responses are waiting for their clients to read them, try again later or request \
         less at once"
    )]
    Memory,
    /// The database has no stored sums, and adding up its headers would read too many of them.
    #[error(
        "the database was made by an earlier release and has no stored sums: request fewer heights, or \
         let a plait that writes to it open it once"
    )]
    NoSums,
    /// The database failed; the cause is for the log, not for the client.
    #[error("the database cannot be read")]
    Store(#[source] plait_engine::store::StoreError),
    /// The archive failed; the cause is for the log, not for the client.
    #[error("the archive cannot be read")]
    Archive,
    /// A read ended with a bug of ours.
    #[error("internal error")]
    Bug,
}

impl Error {
    /// The status of the answer.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Parameter { .. }
            | Self::UnknownParameter { .. }
            | Self::Steps { .. }
            | Self::Empty { .. }
            | Self::PathHash { .. }
            | Self::PathPayload { .. }
            | Self::Body(_)
            | Self::BodyMissing
            | Self::BodyHash { .. }
            | Self::BatchMissing
            | Self::BatchHash { .. }
            | Self::BodyCut
            | Self::Position
            | Self::Host(_)
            | Self::ContentLength
            | Self::ChunkedTwice
            | Self::Bounds { .. } => StatusCode::BAD_REQUEST,
            Self::Coding { .. } => StatusCode::NOT_IMPLEMENTED,
            Self::Unread(status) => *status,
            Self::Path(_)
            | Self::Unknown(_)
            | Self::NoCut(_)
            | Self::UnknownPayload(_)
            | Self::PayloadOfBlock { .. }
            | Self::Unlisted(_)
            | Self::NoArchive
            | Self::NoBackup(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Accept(_) => StatusCode::NOT_ACCEPTABLE,
            Self::BodySlow => StatusCode::REQUEST_TIMEOUT,
            Self::BodyLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriLong { .. } => StatusCode::URI_TOO_LONG,
            Self::HeadLong { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Busy
            | Self::BodiesFull
            | Self::Full
            | Self::Memory
            | Self::NoSums
            | Self::Subscribers
            | Self::Displaced => StatusCode::SERVICE_UNAVAILABLE,
            Self::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Store(_) | Self::Archive | Self::Backup | Self::Bug => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// The body of the answer: JSON with the reason, and with the key if one was not found.
    pub(crate) fn body(&self) -> Bytes {
        let reason = self.to_string();
        let key = match self {
            Self::Unknown(hash) => Some(hash.to_string()),
            Self::UnknownPayload(hash) | Self::PayloadOfBlock { payload: hash, .. } => {
                Some(hash.to_string())
            }
            _ => None,
        };
        let body = match key {
            Some(key) => serde_json::json!({ "key": key, "reason": reason }),
            None => serde_json::json!({ "reason": reason }),
        };
        Bytes::from(body.to_string())
    }
}

impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::UnknownHash(hash) => Self::Unknown(hash),
            QueryError::Store(source) => Self::Store(source),
            // Only a view that was made for it says so, and whoever makes one asks again.
            QueryError::Cold => Self::Bug,
        }
    }
}

/// The message for a query parameter that an endpoint does not know.
fn unknown_parameter(got: &str, known: &[&str]) -> String {
    let instead = nearest(got, known.iter().copied());
    let instead = instead.map_or_else(String::new, |instead| format!("use {instead:?}; "));
    let known = match known {
        [] => "this endpoint has none".to_owned(),
        known => format!("this endpoint knows {}", known.join(", ")),
    };
    format!("query parameter {got:?} is unknown: {instead}{known}")
}

/// Why hyper rejected a head, as far as it reports it.
const fn malformed(status: StatusCode) -> &'static str {
    match status {
        StatusCode::URI_TOO_LONG => "path and query are too long",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "it is too long or has too many fields",
        _ => "it is not valid HTTP",
    }
}

/// A text of a parser without its middle, if it is long: it may cite what a client sent, and ends with
/// where that stands.
fn shortened(text: &str) -> String {
    match (text.char_indices().nth(128), text.char_indices().rev().nth(31)) {
        (Some((begin, _)), Some((end, _))) if begin < end => {
            let (begin, end) = (text.get(..begin), text.get(end..));
            format!("{}…{}", begin.unwrap_or_default(), end.unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

/// The methods as the `Allow` header lists them.
pub(crate) fn allowed(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_block_is_named_in_the_documented_form() {
        let hash = BlockHash::new([0; 32]);
        let body = Error::Unknown(hash).body();
        assert_eq!(body, format!(r#"{{"key":"{hash}","reason":"key not found"}}"#));
        assert_eq!(Error::UnknownPayload(PayloadHash::new([0; 32])).body(), body);
    }

    #[test]
    fn reasons_are_json_whatever_the_client_sent() {
        let got = excerpt(&"\"\\\u{0}é".repeat(1000));
        let error = Error::Parameter { name: "limit", expected: "a number", got };
        let body: serde_json::Value = serde_json::from_slice(&error.body()).unwrap();
        assert!(body["reason"].as_str().unwrap().starts_with("query parameter limit"));
        assert!(error.body().len() < 1000);
    }

    #[test]
    fn what_a_parser_cites_is_cut() {
        let error = |text: &str| serde_json::from_str::<u8>(&format!("\"{text}\"")).unwrap_err();
        let body = Error::Body(error(&"é".repeat(10_000))).to_string();
        assert!(body.starts_with("request body: invalid type: string \"éé") && body.len() < 400);
        assert!(body.ends_with(" at line 1 column 20002"), "{body}");
        let body = Error::Body(error("short")).to_string();
        assert_eq!(
            body,
            "request body: invalid type: string \"short\", expected u8 at line 1 column 7"
        );
    }

    #[test]
    fn excerpts_are_cut_between_characters() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"é".repeat(65)), format!("{}…", "é".repeat(64)));
    }
}
