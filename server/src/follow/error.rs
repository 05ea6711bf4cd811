use std::error::Error;
use std::io;
use std::time::Duration;

use http::StatusCode;
use plait_engine::cause::chain;
use plait_engine::{BlockHash, ChainId};

use crate::inlet::PushError;
use crate::metrics::FollowFailure;

/// Why following has stopped for now.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    /// There is no connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// There was a connection, and it broke, or what arrived is not HTTP.
    #[error("{path}: {why}")]
    Broken {
        /// The requested path.
        path: String,
        /// What happened to the connection.
        why: String,
    },
    /// Nothing arrives, or too slowly.
    #[error("{path}: nothing came for {}", seconds(*time))]
    Timeout {
        /// The requested path.
        path: String,
        /// How long was waited.
        time: Duration,
    },
    /// The status is not a success.
    #[error("{path}: answered with {status}")]
    Status {
        /// The requested path.
        path: String,
        /// The status.
        status: StatusCode,
    },
    /// The node has no cut: a partial history before its first blocks.
    #[error("it has no blocks yet")]
    Empty,
    /// The node does not know a block that was requested by its hash.
    #[error("block {0} is not known there")]
    Unknown(BlockHash),
    /// A chain ends below the cut, or leaves out heights.
    #[error("it gave no block of chain {chain} at height {height}, which is below its cut")]
    Short {
        /// The chain.
        chain: ChainId,
        /// The first height without a block.
        height: u64,
    },
    /// The node lacks a part of the history that the database also lacks.
    #[error("{0}")]
    Partial(String),
    /// The node is of another network.
    #[error("its network is {got}, and that of the database is {expected}")]
    Network {
        /// The network that the node is of.
        got: String,
        /// The network of the database.
        expected: &'static str,
    },
    /// The answer is not what is promised.
    #[error("{path}: {wrong}")]
    Content {
        /// The requested path.
        path: String,
        /// What is wrong with the answer.
        wrong: String,
    },
    /// The answer comes in tiny pieces, and another node can be asked.
    #[error("{path}: {wrong}")]
    Crumbs {
        /// The requested path.
        path: String,
        /// How small they are.
        wrong: String,
    },
    /// A block breaks the rules of the network.
    #[error("it gave a block that is wrong: {0}")]
    Rules(String),
    /// Its chains begin with other genesis blocks than the database has.
    #[error(
        "its genesis blocks differ from those of the database ({0}); to keep such a network, \
         replay a dump of it with --allow-partial into a new folder and follow into that"
    )]
    Genesis(String),
    /// Blocks do not stand on any that are stored.
    #[error("it gave blocks whose parents neither it nor the database has: {0}")]
    Unconnected(String),
    /// A block was made after the present time, by the clock of this machine.
    #[error("it gave a block of the future, or the clock of this machine is slow: {0}")]
    Clock(String),
    /// Payloads do not match their hashes.
    #[error("it gave a payload that is wrong: {0}")]
    Payload(String),
    /// No node has these payloads.
    #[error("{0} payloads are missing there")]
    NoPayloads(u64),
    /// What was found is not stored.
    #[error(transparent)]
    Push(#[from] PushError),
    /// The database cannot be read or written.
    #[error("the database: {0}")]
    Store(String),
}

impl FollowError {
    pub(super) fn content(path: &str, wrong: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), wrong: wrong.into() }
    }

    /// Whether the error shows that the answering node is wrong: another node may answer better.
    pub(super) const fn is_lie(&self) -> bool {
        matches!(self, Self::Content { .. } | Self::Rules(_) | Self::Genesis(_))
    }

    /// Whether the database is the cause, and not the node.
    pub(super) const fn is_own(&self) -> bool {
        matches!(self, Self::Push(_) | Self::Store(_))
    }

    /// Whether the node may answer later: it is down, starting, or overloaded.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            _ => matches!(self, Self::Connect(_) | Self::Broken { .. } | Self::Timeout { .. }),
        }
    }

    /// Whether the node may only be slow, and might be followed with more time.
    pub(super) const fn may_be_slow(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Crumbs { .. })
    }

    /// Of which kind it is, for those who count.
    pub(super) const fn failure(&self) -> FollowFailure {
        match self {
            Self::Connect(_) | Self::Broken { .. } => FollowFailure::Connect,
            Self::Timeout { .. } => FollowFailure::Timeout,
            Self::Status { .. } | Self::Empty => FollowFailure::Status,
            Self::Unknown(_) | Self::Content { .. } | Self::Crumbs { .. } | Self::Short { .. } => {
                FollowFailure::Content
            }
            Self::Partial(_) => FollowFailure::Partial,
            Self::Network { .. } | Self::Genesis(_) => FollowFailure::Network,
            Self::Rules(_) => FollowFailure::Rules,
            Self::Unconnected(_) => FollowFailure::Unconnected,
            Self::Clock(_) => FollowFailure::Clock,
            Self::Payload(_) | Self::NoPayloads(_) => FollowFailure::Payload,
            Self::Push(_) | Self::Store(_) => FollowFailure::Store,
        }
    }
}

/// Why a request got no answer.
pub(super) fn unanswered(path: &str, error: &hyper_util::client::legacy::Error) -> FollowError {
    let Some(cause) = error.source() else {
        return FollowError::Connect(error.to_string());
    };
    if error.is_connect() {
        let text = chain(cause);
        return FollowError::Connect(if is_no_tls(cause) {
            format!("the node speaks no TLS, so the URL may have to begin with http:// ({text})")
        } else {
            text
        });
    }
    broken(path, cause, "the connection broke before the answer came")
}

/// Why an answer ends early, or is none.
pub(super) fn broken(path: &str, error: &(dyn Error + 'static), otherwise: &str) -> FollowError {
    let hyper = error.downcast_ref::<hyper::Error>();
    let cause = error.source().map(chain);
    let why = match (hyper, cause) {
        (Some(hyper), _) if hyper.is_parse() => {
            format!("the answer is not HTTP, so the URL may have to begin with https:// ({hyper})")
        }
        // The end of the connection, which needs no words of the library.
        (Some(_), Some(cause)) if !cause.contains("end of file") => format!("{otherwise}: {cause}"),
        (Some(_), _) => otherwise.to_owned(),
        (None, _) => format!("{otherwise}: {}", chain(error)),
    };
    FollowError::Broken { path: path.to_owned(), why }
}

/// Whether the other side answers a TLS handshake with something else.
fn is_no_tls(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidMessage(_)) = error.downcast_ref() {
            return true;
        }
        // The source of an I/O error is that of the error inside, not that error.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_tls_is_found_inside_other_errors() {
        let tls = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert!(is_no_tls(&tls));
        assert!(is_no_tls(&io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls))));
        assert!(!is_no_tls(&io::Error::other(rustls::Error::DecryptError)));
    }
}
