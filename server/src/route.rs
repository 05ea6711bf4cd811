//! From method and path to an endpoint. [`Route::find`] is pure; [`answer`] calls the endpoint.
//!
//! Everything but an answer of an endpoint is made here: unknown paths, wrong methods, `OPTIONS`,
//! `HEAD`, errors.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use percent_encoding::percent_decode_str;
use plait_engine::{ChainId, ChainwebVersion};

use crate::endpoint::{self, App};
use crate::error::Error;
use crate::metrics::Endpoint;
use crate::missing::{Missing, Needs};
use crate::request::{QueryRule, pass_over};
use crate::response::{self, Body};
use crate::updates::Kind;

/// Segments of the longest path that leads somewhere:
/// `chainweb/0.0/NETWORK/chain/0/payload/outputs/batch`.
const SEGMENTS_MAX: usize = 8;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Health,
    Ready,
    Info,
    Config,
    OpenApi,
    Cut,
    CutPeers,
    Updates(Kind),
    Hashes(ChainId),
    HashBranch(ChainId),
    Headers(ChainId),
    HeaderBranch(ChainId),
    /// The hash as it stands in the path, decoded.
    Header(ChainId, String),
    Blocks(ChainId),
    BlockBranch(ChainId),
    /// The hash as it stands in the path, decoded.
    Payload(ChainId, String),
    /// The same.
    Outputs(ChainId, String),
    PayloadBatch(ChainId),
    OutputsBatch(ChainId),
    /// Of a chain, or of all.
    Stats(Option<ChainId>),
    State,
    /// A file of the explorer, by its name, decoded.
    Explorer(String),
    MakeBackup,
    /// The name as it stands in the path, decoded.
    CheckBackup(String),
    /// A file of the archive, by its name, decoded.
    Archive(String),
    /// The server as a whole: `OPTIONS *`.
    Server,
}

impl Route {
    /// What `path` leads to on a server of this network; `None` if nowhere.
    ///
    /// One slash at the end is ignored, as the reference does. Hashes, names of files and ids of
    /// backups are percent-decoded. All other segments must be sent without escapes, which the
    /// reference allows: a proxy that denies `/make-backup` does not recognize `/make%2Dbackup`.
    pub(crate) fn find(version: ChainwebVersion, path: &str) -> Option<Self> {
        if path == "*" {
            return Some(Self::Server);
        }
        let path = path.strip_prefix('/')?;
        let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
        let mut segments = [""; SEGMENTS_MAX];
        let mut count = 0_usize;
        for segment in path.split('/') {
            *segments.get_mut(count)? = segment;
            count = count.saturating_add(1);
        }
        match segments.get(..count)? {
            [""] => Some(Self::Explorer("index.html".to_owned())),
            ["explorer", name] => decoded(name).map(Self::Explorer),
            ["archive", name] => decoded(name).map(Self::Archive),
            ["chainweb", "0.0", network, rest @ ..] if *network == version.name() => {
                Self::find_in_network(version, rest)
            }
            segments => Self::find_anywhere(segments),
        }
    }

    /// What answers at the root and in the network alike.
    fn find_anywhere(segments: &[&str]) -> Option<Self> {
        match segments {
            ["health-check"] => Some(Self::Health),
            ["ready"] => Some(Self::Ready),
            ["info"] => Some(Self::Info),
            ["config"] => Some(Self::Config),
            ["openapi.json"] => Some(Self::OpenApi),
            ["make-backup"] => Some(Self::MakeBackup),
            ["check-backup", id] => decoded(id).map(Self::CheckBackup),
            _ => None,
        }
    }

    fn find_in_network(version: ChainwebVersion, segments: &[&str]) -> Option<Self> {
        let ["chain", number, rest @ ..] = segments else {
            return match segments {
                ["cut"] => Some(Self::Cut),
                ["cut", "peer"] => Some(Self::CutPeers),
                ["stats"] => Some(Self::Stats(None)),
                ["state"] => Some(Self::State),
                ["header", "updates"] => Some(Self::Updates(Kind::Headers)),
                ["block", "updates"] => Some(Self::Updates(Kind::Blocks)),
                segments => Self::find_anywhere(segments),
            };
        };
        let mut digits = itoa::Buffer::new();
        let chain = version.chain_ids().find(|chain| digits.format(chain.get()) == *number)?;
        match rest {
            ["hash"] => Some(Self::Hashes(chain)),
            ["hash", "branch"] => Some(Self::HashBranch(chain)),
            ["header"] => Some(Self::Headers(chain)),
            ["header", "branch"] => Some(Self::HeaderBranch(chain)),
            ["header", hash] => Some(Self::Header(chain, decoded(hash)?)),
            ["stats"] => Some(Self::Stats(Some(chain))),
            ["block"] => Some(Self::Blocks(chain)),
            ["block", "branch"] => Some(Self::BlockBranch(chain)),
            ["payload", "batch"] => Some(Self::PayloadBatch(chain)),
            ["payload", "outputs", "batch"] => Some(Self::OutputsBatch(chain)),
            ["payload", hash] => Some(Self::Payload(chain, decoded(hash)?)),
            ["payload", hash, "outputs"] => Some(Self::Outputs(chain, decoded(hash)?)),
            _ => None,
        }
    }

    /// What a server needs for this endpoint.
    pub(crate) const fn needs(&self) -> Needs {
        match self {
            Self::Health | Self::Ready | Self::OpenApi | Self::Server => Needs::Nothing,
            Self::Archive(_) => Needs::Archive,
            Self::MakeBackup | Self::CheckBackup(_) => Needs::Backups,
            Self::Info
            | Self::Config
            | Self::Cut
            | Self::CutPeers
            | Self::Updates(_)
            | Self::Hashes(_)
            | Self::HashBranch(_)
            | Self::Headers(_)
            | Self::HeaderBranch(_)
            | Self::Header(..)
            | Self::Blocks(_)
            | Self::BlockBranch(_)
            | Self::Payload(..)
            | Self::Outputs(..)
            | Self::PayloadBatch(_)
            | Self::OutputsBatch(_)
            | Self::Stats(_)
            | Self::State
            | Self::Explorer(_) => Needs::Database,
        }
    }

    /// How the endpoint treats unknown query parameters: the endpoints of chainweb-node ignore
    /// them, Plait's own reject them.
    pub(crate) const fn query_rule(&self) -> QueryRule {
        match self {
            Self::Health
            | Self::Info
            | Self::Config
            | Self::Cut
            | Self::CutPeers
            | Self::Updates(_)
            | Self::Hashes(_)
            | Self::HashBranch(_)
            | Self::Headers(_)
            | Self::HeaderBranch(_)
            | Self::Header(..)
            | Self::Blocks(_)
            | Self::BlockBranch(_)
            | Self::Payload(..)
            | Self::Outputs(..)
            | Self::PayloadBatch(_)
            | Self::OutputsBatch(_)
            | Self::MakeBackup
            | Self::CheckBackup(_)
            | Self::Server
            // Pages for people: links to them may have `utm_source` and the like.
            | Self::Explorer(_) => QueryRule::Ignore,
            Self::Stats(None) => QueryRule::Only(&["by", "maxheight", "minheight", "step"]),
            Self::Stats(Some(_)) => QueryRule::Only(&["maxheight", "minheight", "step"]),
            Self::Ready | Self::OpenApi | Self::State | Self::Archive(_) => QueryRule::Only(&[]),
        }
    }

    /// What it is counted as.
    const fn endpoint(&self) -> Endpoint {
        match self {
            Self::Health => Endpoint::Health,
            Self::Ready => Endpoint::Ready,
            Self::Info => Endpoint::Info,
            Self::Config => Endpoint::Config,
            Self::OpenApi => Endpoint::OpenApi,
            Self::Cut => Endpoint::Cut,
            Self::CutPeers => Endpoint::CutPeers,
            Self::Updates(Kind::Headers) => Endpoint::HeaderUpdates,
            Self::Updates(Kind::Blocks) => Endpoint::BlockUpdates,
            Self::Hashes(_) => Endpoint::Hashes,
            Self::HashBranch(_) => Endpoint::HashBranch,
            Self::Headers(_) => Endpoint::Headers,
            Self::HeaderBranch(_) => Endpoint::HeaderBranch,
            Self::Header(..) => Endpoint::Header,
            Self::Blocks(_) => Endpoint::Blocks,
            Self::BlockBranch(_) => Endpoint::BlockBranch,
            Self::Payload(..) => Endpoint::Payload,
            Self::Outputs(..) => Endpoint::Outputs,
            Self::PayloadBatch(_) => Endpoint::PayloadBatch,
            Self::OutputsBatch(_) => Endpoint::OutputsBatch,
            Self::Stats(_) => Endpoint::Stats,
            Self::State => Endpoint::State,
            Self::Explorer(_) => Endpoint::Explorer,
            Self::MakeBackup | Self::CheckBackup(_) => Endpoint::Backup,
            Self::Archive(_) => Endpoint::Archive,
            Self::Server => Endpoint::Other,
        }
    }

    /// Whether the body of a request says something.
    const fn reads_body(&self) -> bool {
        matches!(
            self,
            Self::HashBranch(_)
                | Self::HeaderBranch(_)
                | Self::BlockBranch(_)
                | Self::PayloadBatch(_)
                | Self::OutputsBatch(_)
        )
    }

    /// The methods it answers to.
    pub(crate) const fn methods(&self) -> &'static [Method] {
        match self {
            Self::HashBranch(_)
            | Self::HeaderBranch(_)
            | Self::BlockBranch(_)
            | Self::PayloadBatch(_)
            | Self::OutputsBatch(_)
            | Self::MakeBackup => &[Method::POST, Method::OPTIONS],
            Self::Health
            | Self::Ready
            | Self::Info
            | Self::Config
            | Self::OpenApi
            | Self::Cut
            | Self::CutPeers
            | Self::Hashes(_)
            | Self::Headers(_)
            | Self::Header(..)
            | Self::Blocks(_)
            | Self::Payload(..)
            | Self::Outputs(..)
            | Self::Stats(_)
            | Self::State
            | Self::Explorer(_)
            | Self::CheckBackup(_)
            | Self::Archive(_) => &[Method::GET, Method::HEAD, Method::OPTIONS],
            Self::Updates(_) | Self::Server => {
                &[Method::GET, Method::HEAD, Method::POST, Method::OPTIONS]
            }
        }
    }
}

/// A segment without percent escapes; `None` if that is not UTF-8.
fn decoded(segment: &str) -> Option<String> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    Some(text.into_owned())
}

/// Answers a request, whatever it is. `endpoint` is what it is counted as, once that is known.
pub(crate) async fn answer<B>(
    app: &App,
    head: &Parts,
    body: B,
    endpoint: &mut Endpoint,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let result = dispatch(app, head, body, endpoint).await;
    let response = result.unwrap_or_else(|error| response::error(&error));
    if head.method == Method::HEAD { response::without_body(response) } else { response }
}

async fn dispatch<B>(
    app: &App,
    head: &Parts,
    mut body: B,
    endpoint: &mut Endpoint,
) -> Result<Response<Body>, Error>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let (got, max) = (uri_bytes(head), app.config.uri_bytes_max);
    if got > max {
        return Err(Error::UriLong { got, max });
    }
    let (got, max) = (header_bytes(head), app.config.head_bytes_max);
    if got > max {
        return Err(Error::HeadLong { got, max });
    }
    let find = |path: &str| Route::find(app.version, path);
    let path = head.uri.path();
    let route = find(path).filter(|route| route.needs().are_met(&app.config));
    let route = route.ok_or_else(|| {
        let needs = |path: &str| find(path).map(|route| route.needs());
        Error::Path(Missing::of(app.version, &app.config, path, needs))
    })?;
    *endpoint = route.endpoint();
    if head.method == Method::OPTIONS {
        pass_over(head, &mut body, app.body_limits(app.config.body_bytes_max)).await?;
        return Ok(response::preflight(route.methods()));
    }
    if !route.methods().contains(&head.method) {
        return Err(Error::Method(route.methods()));
    }
    route.query_rule().check(head.uri.query())?;
    if !route.reads_body() {
        pass_over(head, &mut body, app.body_limits(app.config.body_bytes_max)).await?;
    }
    match route {
        Route::Health => Ok(endpoint::health(app)),
        Route::Ready => Ok(endpoint::ready(app)),
        Route::Info => endpoint::info(app, head).await,
        Route::OpenApi => Ok(endpoint::openapi(app, head)),
        Route::Config => endpoint::config(app, head),
        Route::Cut => endpoint::cut(app, head).await,
        Route::CutPeers => endpoint::cut_peers(app, head),
        Route::Updates(kind) => endpoint::updates(app, head, kind),
        Route::Hashes(chain) => endpoint::hashes(app, head, chain).await,
        Route::HashBranch(chain) => endpoint::hash_branch(app, head, body, chain).await,
        Route::Headers(chain) => endpoint::headers(app, head, chain).await,
        Route::HeaderBranch(chain) => endpoint::header_branch(app, head, body, chain).await,
        Route::Header(chain, hash) => endpoint::header(app, head, chain, &hash).await,
        Route::Blocks(chain) => endpoint::blocks(app, head, chain).await,
        Route::BlockBranch(chain) => endpoint::block_branch(app, head, body, chain).await,
        Route::Payload(chain, hash) => endpoint::payload(app, head, chain, &hash).await,
        Route::Outputs(chain, hash) => endpoint::outputs(app, head, chain, &hash).await,
        Route::PayloadBatch(chain) => endpoint::payload_batch(app, head, body, chain).await,
        Route::OutputsBatch(chain) => endpoint::outputs_batch(app, head, body, chain).await,
        Route::Stats(chain) => endpoint::stats(app, head, chain).await,
        Route::State => endpoint::state(app, head).await,
        Route::Explorer(name) => endpoint::explorer(head, &name),
        Route::MakeBackup => endpoint::make_backup(app, head).await,
        Route::CheckBackup(id) => endpoint::check_backup(app, &id).await,
        Route::Archive(name) => endpoint::archive(app, head, &name).await,
        Route::Server => Err(Error::Path(Missing::endpoint(path))),
    }
}

fn uri_bytes(head: &Parts) -> usize {
    head.uri.path_and_query().map_or(0, |both| both.as_str().len())
}

/// Bytes of all headers as HTTP/1.1 writes them, each with a colon, a space and a line end.
fn header_bytes(head: &Parts) -> usize {
    let lens = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len().saturating_add(value.len()).saturating_add(4));
    lens.fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use http::{Request, StatusCode};
    use http_body_util::{BodyExt, Full};
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use plait_engine::Engine;
    use plait_engine::store::History;
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::watch;

    use super::*;
    use crate::bridge::Phase;
    use crate::config::Config;
    use crate::documented::{queried, routes};
    use crate::metrics::Metrics;

    const HASH: &str = "qgsxD1G5m8dGZ4W9nMKBotU2I10ilURkRIE3_UKHlLM";

    fn find(path: &str) -> Option<Route> {
        Route::find(ChainwebVersion::Mainnet01, path)
    }

    #[test]
    fn paths_lead_to_their_endpoints() {
        let chain = ChainId::new;
        for (path, expected) in [
            ("health-check", Route::Health),
            ("ready", Route::Ready),
            ("info", Route::Info),
            ("openapi.json", Route::OpenApi),
            ("config", Route::Config),
            ("cut", Route::Cut),
            ("cut/peer", Route::CutPeers),
            ("cut/", Route::Cut),
            ("header/updates", Route::Updates(Kind::Headers)),
            ("block/updates/", Route::Updates(Kind::Blocks)),
            ("stats", Route::Stats(None)),
            ("state", Route::State),
            ("chain/3/stats", Route::Stats(Some(chain(3)))),
            ("chain/0/hash", Route::Hashes(chain(0))),
            ("chain/19/hash/branch", Route::HashBranch(chain(19))),
            ("chain/10/header", Route::Headers(chain(10))),
            ("chain/10/header/", Route::Headers(chain(10))),
            ("chain/4/header/branch", Route::HeaderBranch(chain(4))),
            ("chain/4/header/x", Route::Header(chain(4), "x".to_owned())),
            ("chain/4/header/%78%2f", Route::Header(chain(4), "x/".to_owned())),
            ("chain/4/block", Route::Blocks(chain(4))),
            ("chain/4/block/branch", Route::BlockBranch(chain(4))),
            ("chain/4/payload/x", Route::Payload(chain(4), "x".to_owned())),
            ("chain/4/payload/outputs", Route::Payload(chain(4), "outputs".to_owned())),
            ("chain/4/payload/x/outputs", Route::Outputs(chain(4), "x".to_owned())),
            ("chain/4/payload/batch", Route::PayloadBatch(chain(4))),
            ("chain/4/payload/batch/outputs", Route::Outputs(chain(4), "batch".to_owned())),
            ("chain/4/payload/outputs/batch", Route::OutputsBatch(chain(4))),
        ] {
            assert_eq!(find(&format!("/chainweb/0.0/mainnet01/{path}")), Some(expected), "{path}");
        }
        assert_eq!(find("/health-check"), Some(Route::Health));
        assert_eq!(find("/ready"), Some(Route::Ready));
        assert_eq!(find("/info"), Some(Route::Info));
        assert_eq!(find("/config"), Some(Route::Config));
        assert_eq!(find("/openapi.json"), Some(Route::OpenApi));
        assert_eq!(find("/make-backup"), Some(Route::MakeBackup));
        assert_eq!(find("/check-backup/x%2F"), Some(Route::CheckBackup("x/".to_owned())));
        let page = |name: &str| Some(Route::Explorer(name.to_owned()));
        assert_eq!(find("/"), page("index.html"));
        assert_eq!(find("/explorer/main.js"), page("main.js"));
        assert_eq!(find("*"), Some(Route::Server));
    }

    #[test]
    fn other_paths_lead_nowhere() {
        for path in [
            "",
            "//",
            "/explorer",
            "/explorer/",
            "/explorer/x/y",
            "/cut",
            "info",
            "//info",
            "/info//",
            "/Info",
            "/info/x",
            "/chainweb",
            "/chainweb/0.0/mainnet01",
            "/chainweb/0.0/mainnet01/",
            "/chainweb/0.1/mainnet01/cut",
            "/chainweb/0.0/testnet04/cut",
            "/chainweb/0.0/mainnet01%00/cut",
            "/chainweb/0.0/mainnet01/cut%00",
            "/chainweb/0.0/mainnet01/%FF%FE",
            "/chainweb/0.0/mainnet01/%",
            "/chainweb/0.0/mainnet01/chain",
            "/chainweb/0.0/mainnet01/chain/20/hash",
            "/chainweb/0.0/mainnet01/chain/01/hash",
            "/chainweb/0.0/mainnet01/chain/-1/hash",
            "/chainweb/0.0/mainnet01/chain/+1/hash",
            "/chainweb/0.0/mainnet01/chain/x/hash",
            "/chainweb/0.0/mainnet01/chain//hash",
            "/chainweb/0.0/mainnet01/chain/4294967296/hash",
            "/chainweb/0.0/mainnet01/chain/0",
            "/chainweb/0.0/mainnet01/chain/0/block/x",
            "/chainweb/0.0/mainnet01/chain/0/block/branch/x",
            "/chainweb/0.0/mainnet01/chain/0/payload",
            "/chainweb/0.0/mainnet01/chain/0/payload/x/y",
            "/chainweb/0.0/mainnet01/chain/0/payload/batch/x",
            "/chainweb/0.0/mainnet01/chain/0/payload/outputs/batch/x",
            "/chainweb/0.0/mainnet01/chain/0/hash/x",
            "/chainweb/0.0/mainnet01/chain/0/header/x/y",
            "/chainweb/0.0/mainnet01/chain/0/header/../hash",
            "/header/updates",
            "/chainweb/0.0/mainnet01/updates",
            "/chainweb/0.0/mainnet01/chain/0/block/updates/x",
            "/make-backup/x",
            "/check-backup",
            "/check-backup/x/y",
            "/check-backup/../x",
            "/check-backup/%FF",
        ] {
            assert_eq!(find(path), None, "{path}");
        }
    }

    /// `text` with one of its bytes as a percent escape, for each byte.
    fn escaped(text: &str) -> impl Iterator<Item = String> {
        text.bytes()
            .enumerate()
            .map(move |(at, byte)| format!("{}%{byte:02X}{}", &text[..at], &text[at + 1..]))
    }

    #[test]
    fn escapes_in_fixed_segments_lead_nowhere() {
        let base = "/chainweb/0.0/mainnet01";
        let mut count = 0;
        for path in [
            "/health-check",
            "/ready",
            "/info",
            "/config",
            "/openapi.json",
            "/make-backup",
            "~/make-backup",
            "~/cut",
            "~/cut/peer",
            "~/header/updates",
            "~/block/updates",
            "~/stats",
            "~/state",
            "~/chain/10/hash",
            "~/chain/10/hash/branch",
            "~/chain/10/header",
            "~/chain/10/block",
        ] {
            let path = path.replace('~', base);
            assert!(find(&path).is_some(), "{path}");
            for escaped in escaped(&path[1..]).map(|path| format!("/{path}")) {
                assert_eq!(find(&escaped), None, "{escaped}");
                count += 1;
            }
        }
        assert!(count > 400, "{count}");
        for (prefix, rest) in [
            ("explorer", "/main.js"),
            ("archive", "/manifest.json"),
            ("check-backup", "/1"),
            ("chainweb/0.0/mainnet01/check-backup", "/1"),
            ("chainweb/0.0/mainnet01/chain/7/header", "/x"),
            ("chainweb/0.0/mainnet01/chain/7/payload", "/x"),
        ] {
            for escaped in escaped(prefix).map(|prefix| format!("/{prefix}{rest}")) {
                assert_eq!(find(&escaped), None, "{escaped}");
            }
        }
        // These are where a hash may be, so they are texts that are no hashes.
        let payload = Some(Route::Payload(ChainId::new(7), "batch".to_owned()));
        assert_eq!(find(&format!("{base}/chain/7/payload/%62atch")), payload);
        let header = Some(Route::Header(ChainId::new(7), "branch".to_owned()));
        assert_eq!(find(&format!("{base}/chain/7/header/branc%68")), header);
    }

    /// The reason that a server gives for a path without an endpoint; `~` is the path of the
    /// network.
    fn missing(config: &Config, path: &str) -> String {
        let path = path.replace('~', "/chainweb/0.0/development");
        Missing::of(ChainwebVersion::Development, config, &path, |path| {
            Route::find(ChainwebVersion::Development, path).map(|route| route.needs())
        })
        .to_string()
    }

    #[test]
    fn what_is_wrong_with_a_path_is_named() {
        let config = Config::default();
        for (path, expected) in [
            ("/chainweb/0.0/mainnet01/cut", "network mainnet01 is not served here; development is"),
            ("/chainweb/0.0/x%2Fy/nowhere", "network \"x%2Fy\" is not served here; development is"),
            ("/make%2Dbackup", "no endpoint \"/make%2Dbackup\": write it without percent escapes"),
            (
                "/chainweb/0.0/%64evelopment/cut",
                "no endpoint \"/chainweb/0.0/%64evelopment/cut\": write it without percent escapes",
            ),
            (
                "~/chain/%30/hash",
                "no endpoint \"/chainweb/0.0/development/chain/%30/hash\": write it without percent escapes",
            ),
            (
                "~/chain/0/header/%C3",
                "no endpoint \"/chainweb/0.0/development/chain/0/header/%C3\": its percent escapes are not UTF-8",
            ),
            ("/%6Eowhere", "no endpoint \"/%6Eowhere\": /openapi.json lists all of them"),
            ("/chainweb/0.0/mainnet01", "network mainnet01 is not served here; development is"),
            ("~/chain/99/hash", "no chain 99: this network has 0 to 19"),
            ("~/chain/01/hash", "no chain 01: this network has 0 to 19"),
            ("~/chain/99", "no chain 99: this network has 0 to 19"),
            ("~/chain//hash", "no chain \"\": this network has 0 to 19"),
            ("/chainweb/0.1/development/cut", "API version 0.1 is not served here; 0.0 is"),
            ("/cut", "no endpoint /cut: put /chainweb/0.0/development before it"),
            ("/chain/3/hash", "no endpoint /chain/3/hash: put /chainweb/0.0/development before it"),
            (
                "~/archive/manifest.json",
                "no endpoint /chainweb/0.0/development/archive/manifest.json: omit /chainweb/0.0/development",
            ),
            (
                "~/chain/0",
                "no endpoint /chainweb/0.0/development/chain/0: /openapi.json lists all of them",
            ),
            ("/docs", "no endpoint /docs: /openapi.json lists all of them"),
            ("/chain/99/hash", "no endpoint /chain/99/hash: /openapi.json lists all of them"),
            ("/chainweb/0.0", "no endpoint /chainweb/0.0: /openapi.json lists all of them"),
            ("", "no endpoint \"\": /openapi.json lists all of them"),
        ] {
            assert_eq!(missing(&config, path), expected, "{path}");
        }
        for (path, flag) in [
            ("/metrics", "--metrics"),
            ("/push", "--ingest"),
            ("/make-backup", "--backup-api"),
            ("~/check-backup/1", "--backup-api"),
            ("/archive/manifest.json", "--archive"),
        ] {
            let reason = missing(&config, path);
            assert!(reason.contains(flag), "{path}: {reason}");
        }
    }

    #[test]
    fn server_of_an_archive_says_that_it_has_no_database() {
        let config = Config { archive_only: true, archive: Some("x".into()), ..Config::default() };
        for path in ["/", "/info", "~/cut", "/chainweb/0.0/mainnet01/cut", "/make-backup"] {
            assert!(missing(&config, path).contains("no database"), "{path}");
        }
        assert!(missing(&config, "/nowhere").contains("no endpoint"));
    }

    #[test]
    fn reasons_are_short_whatever_the_path() {
        for path in ["/".repeat(8000), format!("/{}", "é".repeat(4000)), "/%ff".repeat(2000)] {
            assert!(missing(&Config::default(), &path).len() < 1000);
        }
        let network = format!("/chainweb/0.0/{}/cut", "x".repeat(8000));
        assert!(missing(&Config::default(), &network).len() < 1000);
    }

    /// Whether only Plait has an endpoint. Such endpoints reject unknown parameters. Those of
    /// chainweb-node ignore them, and so does the explorer, because links to it may add any.
    fn is_own(route: &Route) -> bool {
        matches!(
            route,
            Route::Ready | Route::OpenApi | Route::State | Route::Stats(_) | Route::Archive(_)
        )
    }

    #[test]
    fn own_endpoints_refuse_unknown_parameters_and_those_of_the_node_ignore_them() {
        let others = [Route::Explorer("index.html".to_owned()), Route::Server];
        for route in routes().into_iter().chain(others) {
            let refuses = QueryRule::Only(queried(&route));
            let expected = if is_own(&route) { refuses } else { QueryRule::Ignore };
            assert_eq!(route.query_rule(), expected, "{route:?}");
        }
    }

    #[test]
    fn branch_queries_are_posted_and_the_rest_is_got() {
        let methods =
            |path: &str| find(&format!("/chainweb/0.0/mainnet01/{path}")).unwrap().methods();
        let of_one = ["header/HASH", "payload/HASH", "payload/HASH/outputs"];
        let of_one = of_one.map(|path| format!("chain/0/{}", path.replace("HASH", HASH)));
        let others =
            ["cut", "info", "openapi.json", "health-check", "chain/0/hash", "chain/0/header"];
        for path in others.into_iter().chain(["chain/0/block"]).chain(of_one.iter().map(|p| &**p)) {
            assert_eq!(methods(path), [Method::GET, Method::HEAD, Method::OPTIONS], "{path}");
        }
        for path in [
            "chain/0/hash/branch",
            "chain/0/header/branch",
            "chain/0/block/branch",
            "chain/0/payload/batch",
            "chain/0/payload/outputs/batch",
        ] {
            assert_eq!(methods(path), [Method::POST, Method::OPTIONS], "{path}");
        }
    }

    /// A server of a database that holds the genesis blocks of `development` and nothing else.
    struct Server {
        app: App,
        phase: watch::Sender<Phase>,
        _dir: TempDir,
    }

    impl Server {
        fn new(config: Config) -> Self {
            let dir = TempDir::new().unwrap();
            let version = Some(ChainwebVersion::Development);
            let (_, reader) = Engine::open_or_create(dir.path(), version, History::Full).unwrap();
            let (phase, watcher) = watch::channel(Phase::Serving);
            Self { app: App::new(reader, config, Metrics::new(), watcher), phase, _dir: dir }
        }

        async fn ask(
            &self,
            method: Method,
            path: &str,
            headers: &[(&str, &str)],
            body: impl Into<Bytes>,
        ) -> Response<Body> {
            let path = path.replace('~', "/chainweb/0.0/development");
            let builder = Request::builder().method(method).uri(path);
            let builder = headers.iter().fold(builder, |b, (name, value)| b.header(*name, *value));
            let (head, body) = builder.body(Full::new(body.into())).unwrap().into_parts();
            answer(&self.app, &head, body, &mut Endpoint::default()).await
        }

        async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
            self.ask(Method::GET, path, headers, "").await
        }
    }

    async fn bytes(response: Response<Body>) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    fn genesis() -> plait_engine::Header {
        ChainwebVersion::Development.genesis_header(ChainId::new(0)).unwrap()
    }

    #[tokio::test]
    async fn requests_get_the_status_they_deserve() {
        let server = Server::new(Config::default());
        let hash = genesis().view().hash();
        let unknown = "A".repeat(43);
        let body = format!(r#"{{"upper":["{hash}"]}}"#);
        let text = ("content-type", "text/plain");
        let html = ("accept", "text/html");
        for (method, path, headers, body, status) in [
            (Method::GET, "/health-check", &[html][..], "", 200),
            (Method::GET, "~/info", &[], "", 200),
            (Method::GET, "~/cut?maxheight=0", &[], "", 200),
            (Method::GET, "~/cut", &[html], "", 406),
            (Method::GET, "~/cut?maxheight=x", &[], "", 400),
            (Method::GET, "~/chain/0/hash?limit=-1", &[], "", 400),
            (Method::GET, "~/chain/0/hash?limit=-1", &[html], "", 406),
            (Method::GET, "~/chain/20/hash?limit=-1", &[], "", 404),
            (Method::GET, &format!("~/chain/0/hash?next=inclusive:{unknown}"), &[], "", 404),
            (Method::GET, &format!("~/chain/0/header/{hash}"), &[], "", 200),
            (Method::GET, &format!("~/chain/1/header/{hash}"), &[], "", 404),
            (Method::GET, &format!("~/chain/0/header/{unknown}"), &[], "", 404),
            (Method::GET, "~/chain/0/header/short", &[], "", 400),
            (Method::POST, "~/chain/0/header/short", &[], "", 405),
            (Method::PUT, "~/chain/0/hash/branch", &[], "", 405),
            (Method::GET, "~/chain/0/hash/branch", &[], "", 405),
            (Method::POST, "~/chain/0/hash/branch", &[], "", 400),
            (Method::POST, "~/chain/0/hash/branch", &[], "{", 400),
            (Method::POST, "~/chain/0/hash/branch", &[], "{}", 200),
            (Method::POST, "~/chain/0/hash/branch", &[text], "{}", 415),
            (Method::POST, "~/chain/0/hash/branch", &[], body.as_str(), 200),
            (Method::POST, "~/chain/1/header/branch", &[], body.as_str(), 404),
            (Method::POST, "~/chain/0/header/branch?limit=x", &[], body.as_str(), 400),
            (Method::OPTIONS, "~/cut", &[], "", 204),
            (Method::OPTIONS, "~/nowhere", &[], "", 404),
            (Method::GET, "*", &[], "", 404),
            (Method::GET, &format!("~/cut?{}", "x".repeat(9000)), &[], "", 414),
            (Method::GET, "~/cut", &[("x", &*"x".repeat(40_000))], "", 431),
        ] {
            let response = server.ask(method.clone(), path, headers, body.to_owned()).await;
            let path = path.get(..80).unwrap_or(path);
            assert_eq!(response.status(), status, "{method} {path} {body}");
        }
    }

    /// What a client gets on a connection that holds little on its way, for these bytes.
    async fn exchanged(server: &Server, bytes: &[u8]) -> Vec<u8> {
        let (client, end) = tokio::io::duplex(1024);
        let (mut read, mut write) = tokio::io::split(client);
        let service = service_fn(|request: Request<_>| async move {
            let (head, body) = request.into_parts();
            let answer = answer(&server.app, &head, body, &mut Endpoint::default()).await;
            Ok::<_, std::convert::Infallible>(answer)
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(end), service);
        let mut answers = Vec::new();
        let send = async {
            write.write_all(bytes).await.unwrap();
            // The answer waits until all that there is to read is there.
            tokio::task::yield_now().await;
            read.read_to_end(&mut answers).await.unwrap();
        };
        let (ended, ()) = tokio::join!(connection, send);
        // What is no HTTP ends it with an error.
        drop(ended);
        answers
    }

    #[tokio::test]
    async fn what_follows_a_body_that_nobody_reads_does_not_tear_the_answer() {
        let server = Server::new(Config::default());
        let whole = server.app.document.bytes();
        let head = "GET /openapi.json HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        for body in ["0\r\n\r\n", "2\r\n{}\r\n0\r\n\r\n", "2\r\n{}\r\n0\r\nname: trailer\r\n\r\n"] {
            let sent = format!("{head}{body}\u{1}garbage\r\n\r\n");
            let got = exchanged(&server, sent.as_bytes()).await;
            let start = got.windows(4).position(|some| some == b"\r\n\r\n").unwrap() + 4;
            let (answer, rest) = got[start..].split_at(whole.len());
            assert!(got.starts_with(b"HTTP/1.1 200 OK\r\n") && answer == whole, "{body:?}");
            assert!(rest.starts_with(b"HTTP/1.1 400 Bad Request"), "{body:?}");
        }
        for body in ["zz\r\n", "0\r\nno trailer\r\n\r\n", "1\r\n{}\r\n"] {
            let got = exchanged(&server, format!("{head}{body}").as_bytes()).await;
            assert!(got.starts_with(b"HTTP/1.1 400 Bad Request\r\n"), "{body:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_nobody_reads_has_the_limits_of_others() {
        let config = Config { body_bytes_max: 10, ..Config::default() };
        let server = Server::new(config);
        for (path, length, status) in [("~/cut", 10, 200), ("~/cut", 11, 413), ("/x", 11, 404)] {
            let response = server.ask(Method::GET, path, &[], "x".repeat(length)).await;
            assert_eq!(response.status(), status, "{path} {length}");
        }
    }

    #[tokio::test]
    async fn requests_for_blocks_and_payloads_get_the_status_they_deserve() {
        let server = Server::new(Config::default());
        let unknown = "A".repeat(43);
        let body = format!(r#"{{"upper":["{}"]}}"#, genesis().view().hash());
        let text = ("content-type", "text/plain");
        let html = ("accept", "text/html");
        let octets = ("accept", "application/octet-stream");
        for (method, path, headers, body, status) in [
            (Method::GET, "~/chain/0/block", &[][..], "", 404),
            (Method::GET, "~/chain/0/block?limit=0", &[], "", 200),
            (Method::GET, "~/chain/0/block?minheight=1", &[], "", 200),
            (Method::GET, "~/chain/0/block", &[octets], "", 406),
            (Method::GET, "~/chain/0/block?limit=x", &[], "", 400),
            (Method::POST, "~/chain/0/block", &[], "{}", 405),
            (Method::GET, "~/chain/0/block/branch", &[], "", 405),
            (Method::POST, "~/chain/0/block/branch", &[], "{}", 200),
            (Method::POST, "~/chain/0/block/branch", &[], "[]", 400),
            (Method::POST, "~/chain/0/block/branch", &[text], "{}", 415),
            (Method::POST, "~/chain/0/block/branch", &[], body.as_str(), 404),
            (Method::GET, &format!("~/chain/0/payload/{unknown}"), &[], "", 404),
            (Method::GET, &format!("~/chain/0/payload/{unknown}?height=7"), &[octets], "", 404),
            (Method::GET, &format!("~/chain/0/payload/{unknown}?height=x"), &[], "", 400),
            (Method::GET, &format!("~/chain/0/payload/{unknown}"), &[html], "", 406),
            (Method::POST, &format!("~/chain/0/payload/{unknown}"), &[], "", 405),
            (Method::GET, &format!("~/chain/0/payload/{unknown}/outputs"), &[], "", 404),
            (Method::GET, "~/chain/0/payload/short", &[], "", 400),
            (Method::GET, "~/chain/0/payload/short/outputs", &[], "", 400),
            (Method::GET, "~/chain/0/payload/batch", &[], "", 405),
            (Method::POST, "~/chain/0/payload/batch", &[], "[]", 200),
            (Method::POST, "~/chain/0/payload/batch", &[octets], "[]", 200),
            (Method::POST, "~/chain/0/payload/batch", &[html], "[]", 406),
            (Method::POST, "~/chain/0/payload/batch", &[text], "[]", 415),
            (Method::POST, "~/chain/0/payload/batch", &[], "", 400),
            (Method::POST, "~/chain/0/payload/batch", &[], r#"["short"]"#, 400),
            (Method::POST, "~/chain/0/payload/outputs/batch", &[], "[]", 200),
            (Method::POST, "~/chain/0/payload/outputs/batch", &[], "{}", 400),
        ] {
            let response = server.ask(method.clone(), path, headers, body.to_owned()).await;
            assert_eq!(response.status(), status, "{method} {path} {body}");
        }
    }

    #[tokio::test]
    async fn one_header_comes_in_three_forms_and_is_cached() {
        let server = Server::new(Config::default());
        let path = format!("~/chain/0/header/{}", genesis().view().hash());
        let octets = [("accept", "application/octet-stream")];
        let response = server.get(&path, &octets).await;
        let tag = response.headers()["etag"].to_str().unwrap().to_owned();
        assert_eq!(bytes(response).await, genesis().view().as_bytes()[..]);
        let again = [octets[0], ("if-none-match", &tag)];
        assert_eq!(server.get(&path, &again).await.status(), StatusCode::NOT_MODIFIED);
        let other = server.get(&path, &again[1..]).await;
        assert_eq!(bytes(other).await.len(), 426);
        let object = [("accept", "application/json;blockheader-encoding=object")];
        let object = server.get(&path, &object).await;
        assert_eq!(
            object.headers()["content-type"],
            "application/json;blockheader-encoding=object"
        );
        assert!(bytes(object).await.starts_with(b"{\"nonce\":"));
    }

    #[tokio::test]
    async fn octets_are_a_page_with_a_limit_and_a_stream_without() {
        let server = Server::new(Config::default());
        let octets = [("accept", "application/octet-stream")];
        let page = server.get("~/chain/0/header?limit=0", &octets).await;
        assert_eq!(page.headers().get("trailer"), None);
        assert!(bytes(page).await.is_empty());
        let stream = server.get("~/chain/0/header", &octets).await;
        assert_eq!(stream.headers()["trailer"], "X-Next");
        assert_eq!(bytes(stream).await, genesis().view().as_bytes()[..]);
        let none = server.get("~/chain/0/header?minheight=1", &octets).await;
        assert!(bytes(none).await.is_empty());
    }

    #[tokio::test]
    async fn head_has_the_headers_of_get() {
        let server = Server::new(Config::default());
        let path = "~/chain/0/hash";
        let head = server.ask(Method::HEAD, path, &[], "").await;
        let length = head.headers()["content-length"].to_str().unwrap().to_owned();
        assert!(bytes(head).await.is_empty());
        assert_eq!(bytes(server.get(path, &[]).await).await.len().to_string(), length);
    }

    #[tokio::test]
    async fn leaving_server_is_unhealthy_but_still_answers() {
        let server = Server::new(Config::default());
        server.phase.send_replace(Phase::Leaving);
        assert_eq!(server.get("~/ready", &[]).await.status(), StatusCode::OK);
        server.app.metrics.leave();
        for path in ["/health-check", "/ready", "~/ready"] {
            let health = server.get(path, &[]).await;
            assert_eq!(health.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        }
        assert_eq!(server.get("~/cut", &[]).await.status(), StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_without_a_place_to_read_are_turned_away() {
        let server = Server::new(Config { reads_max: 0, ..Config::default() });
        let response = server.get("~/cut", &[]).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(server.get("/health-check", &[]).await.status(), StatusCode::OK);
        let ready = server.get("/ready", &[]).await;
        assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ready.headers()["retry-after"], "5");
    }

    #[tokio::test]
    async fn stream_is_cut_between_chunks_when_the_server_stops() {
        let server = Server::new(Config { stream_headers: 1, ..Config::default() });
        server.phase.send_replace(Phase::Cutting);
        let headers = [("accept", "application/octet-stream"), ("te", "trailers")];
        let stream = server.get("~/chain/0/header", &headers).await;
        let collected = stream.into_body().collect().await.unwrap();
        let next = collected.trailers().unwrap()["x-next"].to_str().unwrap().to_owned();
        assert_eq!(next, format!("exclusive:{}", genesis().view().hash()));
        assert_eq!(collected.to_bytes(), genesis().view().as_bytes()[..]);
        let broken = server.get("~/chain/0/header", &headers[..1]).await;
        assert!(broken.into_body().collect().await.is_err());
    }
}
