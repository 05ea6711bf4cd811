//! Holds the `OpenAPI` document to the code: routes, methods, parameters, statuses.

use std::collections::{BTreeMap, BTreeSet};

use http::{Method, StatusCode};
use plait_engine::query::NoCut;
use plait_engine::store::StoreError;
use plait_engine::{BlockHash, BlockHeight, ChainId, ChainwebVersion, HashError, PayloadHash};
use serde_json::Value;

use crate::config::Config;
use crate::error::Error;
use crate::missing::Missing;
use crate::openapi::{Document, METHODS};
use crate::request::QueryRule;
use crate::route::Route;
use crate::updates::Kind;

const VERSION: ChainwebVersion = ChainwebVersion::Mainnet01;

const HASH: &str = "qgsxD1G5m8dGZ4W9nMKBotU2I10ilURkRIE3_UKHlLM";

/// Every path of a server that offers all there is.
fn paths() -> BTreeMap<String, Value> {
    let mut config = Config { archive: Some("archive".into()), ..Config::default() };
    config.backup.api = true;
    let bytes = Document::new(VERSION, &config).bytes();
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    let resolved = |value: &Value| resolved(&document, value);
    document["paths"].as_object().unwrap().iter().map(|(p, v)| (p.clone(), resolved(v))).collect()
}

/// `value` with what it refers to in the place of references.
fn resolved(document: &Value, value: &Value) -> Value {
    if let Some(pointer) = value["$ref"].as_str() {
        return resolved(document, document.pointer(pointer.trim_start_matches('#')).unwrap());
    }
    match value {
        Value::Array(items) => items.iter().map(|item| resolved(document, item)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), resolved(document, value))).collect()
        }
        other => other.clone(),
    }
}

/// The route that a path of the document leads to.
fn route(path: &str) -> Route {
    let filled = path.replace("{chain}", "7").replace("{hash}", HASH);
    let filled = filled.replace("{id}", "1").replace("{name}", "x.plait");
    Route::find(VERSION, &filled).unwrap_or_else(|| panic!("{path} leads nowhere"))
}

/// The path of the document that leads to a route, behind the network's path; none if it is not to
/// be there.
fn expected(route: &Route) -> Option<&'static str> {
    Some(match route {
        Route::Health => "/health-check",
        Route::Ready => "/ready",
        Route::Info => "/info",
        Route::Config => "/config",
        Route::OpenApi => "/openapi.json",
        Route::Cut => "/cut",
        Route::CutPeers => "/cut/peer",
        Route::Updates(Kind::Headers) => "/header/updates",
        Route::Updates(Kind::Blocks) => "/block/updates",
        Route::Hashes(_) => "/chain/{chain}/hash",
        Route::HashBranch(_) => "/chain/{chain}/hash/branch",
        Route::Headers(_) => "/chain/{chain}/header",
        Route::HeaderBranch(_) => "/chain/{chain}/header/branch",
        Route::Header(..) => "/chain/{chain}/header/{hash}",
        Route::Blocks(_) => "/chain/{chain}/block",
        Route::BlockBranch(_) => "/chain/{chain}/block/branch",
        Route::Payload(..) => "/chain/{chain}/payload/{hash}",
        Route::Outputs(..) => "/chain/{chain}/payload/{hash}/outputs",
        Route::PayloadBatch(_) => "/chain/{chain}/payload/batch",
        Route::OutputsBatch(_) => "/chain/{chain}/payload/outputs/batch",
        Route::State => "/state",
        Route::Stats(None) => "/stats",
        Route::Stats(Some(_)) => "/chain/{chain}/stats",
        Route::MakeBackup => "/make-backup",
        Route::CheckBackup(_) => "/check-backup/{id}",
        Route::Archive(name) if name == "manifest.json" => "/archive/manifest.json",
        Route::Archive(_) => "/archive/{name}",
        // `OPTIONS *` is no path, and the page is for people.
        Route::Server | Route::Explorer(_) => return None,
    })
}

/// Whatever a path leads to, twice where it has two paths.
pub(crate) fn routes() -> Vec<Route> {
    let (chain, text) = (ChainId::new(7), || HASH.to_owned());
    vec![
        Route::Health,
        Route::Ready,
        Route::Info,
        Route::Config,
        Route::OpenApi,
        Route::Cut,
        Route::CutPeers,
        Route::Updates(Kind::Headers),
        Route::Updates(Kind::Blocks),
        Route::Hashes(chain),
        Route::HashBranch(chain),
        Route::Headers(chain),
        Route::HeaderBranch(chain),
        Route::Header(chain, text()),
        Route::Blocks(chain),
        Route::BlockBranch(chain),
        Route::Payload(chain, text()),
        Route::Outputs(chain, text()),
        Route::PayloadBatch(chain),
        Route::OutputsBatch(chain),
        Route::State,
        Route::Stats(None),
        Route::Stats(Some(chain)),
        Route::MakeBackup,
        Route::CheckBackup("1".to_owned()),
        Route::Archive("manifest.json".to_owned()),
        Route::Archive("x.plait".to_owned()),
    ]
}

fn operations(item: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    METHODS.iter().filter_map(|method| Some((*method, item.get(method)?)))
}

#[test]
fn every_path_leads_where_it_says_and_every_route_has_one() {
    let paths = paths();
    let base = format!("/chainweb/0.0/{VERSION}");
    let anywhere = ["/health-check", "/ready", "/info", "/config", "/openapi.json", "/make-backup"];
    let mut documented = BTreeSet::new();
    for path in paths.keys() {
        let route = route(path);
        let below = path.strip_prefix(&base).unwrap_or(path);
        assert_eq!(expected(&route), Some(below), "{path}");
        documented.insert(below);
    }
    let routes = routes();
    assert_eq!(documented, routes.iter().filter_map(expected).collect());
    for path in anywhere.into_iter().chain(["/check-backup/{id}"]) {
        assert!(paths.contains_key(path) && paths.contains_key(&format!("{base}{path}")), "{path}");
    }
}

/// `HEAD` goes with `GET` and `OPTIONS` with every path, which the document says once.
#[test]
fn methods_are_those_of_the_routes() {
    for (path, item) in paths() {
        let methods = route(&path).methods();
        let documented: Vec<String> =
            operations(&item).map(|(method, _)| method.to_uppercase()).collect();
        let others = [Method::HEAD, Method::OPTIONS];
        let expected: Vec<&str> =
            methods.iter().filter(|m| !others.contains(m)).map(Method::as_str).collect();
        assert_eq!(documented, expected, "{path}");
        assert!(methods.contains(&Method::OPTIONS), "{path}");
        assert_eq!(methods.contains(&Method::HEAD), methods.contains(&Method::GET), "{path}");
        let members: Vec<&String> = item.as_object().unwrap().keys().collect();
        let known =
            |name: &&&String| METHODS.contains(&name.as_str()) || name.as_str() == "parameters";
        assert_eq!(members.iter().filter(known).count(), members.len(), "{path}: {members:?}");
    }
}

/// Whether an operation reads the parameters of pages.
fn is_of_pages(route: &Route) -> bool {
    is_branch(route) || matches!(route, Route::Hashes(_) | Route::Headers(_) | Route::Blocks(_))
}

fn is_branch(route: &Route) -> bool {
    matches!(route, Route::HashBranch(_) | Route::HeaderBranch(_) | Route::BlockBranch(_))
}

fn is_of_payload(route: &Route) -> bool {
    matches!(route, Route::Payload(..) | Route::Outputs(..))
}

/// The parameters of a query that an operation reads.
pub(crate) fn queried(route: &Route) -> &'static [&'static str] {
    match route {
        Route::Cut => &["maxheight"],
        Route::CutPeers => &["limit", "next"],
        Route::Updates(_) => &["lastEventId", "resume"],
        Route::Stats(None) => &["by", "maxheight", "minheight", "step"],
        Route::Stats(Some(_)) => &["maxheight", "minheight", "step"],
        Route::MakeBackup => &["backupPact"],
        route if is_of_pages(route) => &["limit", "maxheight", "minheight", "next"],
        route if is_of_payload(route) => &["height"],
        _ => &[],
    }
}

#[test]
fn parameters_are_those_that_are_read() {
    for (path, item) in paths() {
        let route = route(&path);
        let in_path: BTreeSet<&str> =
            path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
        for (method, operation) in operations(&item) {
            let mut documented: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
            for list in [&item["parameters"], &operation["parameters"]] {
                for parameter in list.as_array().into_iter().flatten() {
                    let text = |name: &str| parameter[name].as_str().unwrap();
                    documented.entry(text("in")).or_default().insert(text("name"));
                }
            }
            let of = |place: &str| documented.get(place).cloned().unwrap_or_default();
            assert_eq!(of("path"), in_path, "{path}");
            assert_eq!(of("query"), queried(&route).iter().copied().collect(), "{method} {path}");
        }
    }
}

/// Every name that a source file looks for in a query.
fn looked_for(source: &str) -> BTreeSet<&str> {
    let code = source.split("mod tests {").next().unwrap();
    let calls = code.split("find(query, \"").skip(1);
    calls.map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn parameters_that_are_looked_for_are_documented() {
    let all: BTreeSet<&str> = routes().iter().flat_map(queried).copied().collect();
    let found: BTreeSet<&str> = [
        looked_for(include_str!("request/params.rs")),
        looked_for(include_str!("request/resume.rs")),
        BTreeSet::from(["backupPact"]),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert_eq!(found, all);
    assert!(include_str!("endpoint/backup.rs").contains("\"backupPact\""));
}

/// One error of every kind.
fn errors() -> Vec<Error> {
    let hash = || HashError::Alphabet;
    let (block, payload) = (BlockHash::new([0; 32]), PayloadHash::new([0; 32]));
    let text = String::new;
    let json = serde_json::from_str::<Value>("{").unwrap_err();
    let unread = [400, 414, 431].map(|status| Error::Unread(StatusCode::from_u16(status).unwrap()));
    let mut errors = vec![
        Error::Parameter { name: "limit", expected: "", got: text() },
        Error::UnknownParameter { got: text(), known: &[] },
        Error::Steps { got: 2, max: 1 },
        Error::Empty { min: BlockHeight::new(2), max: BlockHeight::new(1) },
        Error::PathHash { got: text(), source: hash() },
        Error::PathPayload { got: text(), source: hash() },
        Error::Body(json),
        Error::BodyMissing,
        Error::BodyHash { side: "upper", got: text(), source: hash() },
        Error::BatchMissing,
        Error::BatchHash { got: text(), source: hash() },
        Error::Bounds { side: "upper", got: 2, max: 1 },
        Error::BodyCut,
        Error::Path(Missing::Push),
        Error::Unknown(block),
        Error::UnknownPayload(payload),
        Error::PayloadOfBlock { block, payload, headers_only: true },
        Error::NoCut(NoCut::Empty),
        Error::Method(&[]),
        Error::Accept(text()),
        Error::BodySlow,
        Error::BodyLong { max: 1 },
        Error::BodiesFull,
        Error::Host(""),
        Error::ContentLength,
        Error::Coding { got: text() },
        Error::ChunkedTwice,
        Error::UriLong { got: 2, max: 1 },
        Error::HeadLong { got: 2, max: 1 },
        Error::ContentType,
        Error::Range { len: 1 },
        Error::NoArchive,
        Error::Unlisted(text()),
        Error::NoBackup(text()),
        Error::Backup,
        Error::Displaced,
        Error::Busy,
        Error::Position,
        Error::Subscribers,
        Error::Full,
        Error::Memory,
        Error::NoSums,
        Error::Store(StoreError::Format { got: 0 }),
        Error::Archive,
        Error::Bug,
    ];
    errors.extend(unread);
    errors
}

/// Whether an error can be the answer of an operation. A new one belongs here and in [`errors`].
fn can_be(error: &Error, route: &Route) -> bool {
    let is_on_chain = expected(route).is_some_and(|path| path.contains("{chain}"));
    let is_batch = matches!(route, Route::PayloadBatch(_) | Route::OutputsBatch(_));
    let is_of_stats = matches!(route, Route::Stats(_));
    let is_of_archive = matches!(route, Route::Archive(_));
    let is_of_updates = matches!(route, Route::Updates(_));
    let is_of_backups = matches!(route, Route::MakeBackup | Route::CheckBackup(_));
    let has_body = is_branch(route) || is_batch;
    // These responses come from the configuration and read nothing.
    let is_fixed = matches!(route, Route::Config | Route::CutPeers);
    let reads = !is_fixed && !matches!(route, Route::Health | Route::Ready | Route::OpenApi);
    let reads_database = reads && !is_of_archive && !is_of_backups;
    match error {
        Error::Parameter { .. } => {
            let is_of_cut = matches!(route, Route::Cut | Route::CutPeers);
            is_of_pages(route) || is_of_payload(route) || is_of_stats || is_of_cut
        }
        Error::UnknownParameter { .. } => route.query_rule() != QueryRule::Ignore,
        Error::Steps { .. } | Error::Empty { .. } | Error::NoSums => is_of_stats,
        Error::PathHash { .. } => matches!(route, Route::Header(..)),
        Error::PathPayload { .. } | Error::UnknownPayload(_) => is_of_payload(route),
        Error::Body(_) | Error::ContentType | Error::BodiesFull => has_body,
        Error::BodyMissing | Error::BodyHash { .. } | Error::Bounds { .. } => is_branch(route),
        Error::BatchMissing | Error::BatchHash { .. } => is_batch,
        // A body that means nothing is read to its end as well.
        Error::BodyCut
        | Error::BodySlow
        | Error::BodyLong { .. }
        | Error::Unread(_)
        | Error::UriLong { .. }
        | Error::HeadLong { .. }
        | Error::Host(_)
        | Error::ContentLength
        | Error::Coding { .. }
        | Error::ChunkedTwice
        | Error::Memory
        | Error::Full => true,
        // The chain may be none of the network; any other path of the document is there.
        Error::Path(_) => is_on_chain,
        Error::Unknown(_) => is_of_pages(route) || matches!(route, Route::Header(..)),
        Error::PayloadOfBlock { .. } => matches!(route, Route::Blocks(_) | Route::BlockBranch(_)),
        Error::NoCut(_) => *route == Route::Cut,
        // Another method is no operation of the document.
        Error::Method(_) => false,
        Error::Accept(_) => {
            let is_of_node = is_fixed || matches!(route, Route::Cut | Route::Info | Route::State);
            is_on_chain || is_of_stats || is_of_node
        }
        Error::Range { .. } => matches!(route, Route::Archive(name) if name != "manifest.json"),
        Error::Archive | Error::NoArchive | Error::Unlisted(_) => is_of_archive,
        Error::NoBackup(_) => matches!(route, Route::CheckBackup(_)),
        Error::Backup => is_of_backups,
        Error::Displaced => *route == Route::MakeBackup,
        Error::Position | Error::Subscribers => is_of_updates,
        // An event stream reads only after its response has begun.
        Error::Store(_) => reads_database && !is_of_updates,
        Error::Busy => reads && !is_of_updates,
        Error::Bug => (reads && !is_of_updates) || is_fixed,
    }
}

/// The statuses of an operation that are no errors, and 503 of those that have a text for it.
fn successes(route: &Route) -> &'static [u16] {
    match route {
        Route::Archive(name) if name != "manifest.json" => &[200, 206, 304],
        Route::Archive(_) | Route::OpenApi | Route::Header(..) => &[200, 304],
        route if is_of_payload(route) => &[200, 304],
        Route::Health | Route::Ready => &[200, 503],
        _ => &[200],
    }
}

#[test]
fn statuses_are_those_that_there_can_be() {
    let errors = errors();
    for (path, item) in paths() {
        let route = route(&path);
        let possible = errors.iter().filter(|error| can_be(error, &route));
        let mut expected: BTreeSet<u16> = possible.map(|error| error.status().as_u16()).collect();
        expected.extend(successes(&route));
        for (method, operation) in operations(&item) {
            let answers = operation["responses"].as_object().unwrap();
            let documented = answers.keys().map(|status| status.parse().unwrap()).collect();
            assert_eq!(expected, documented, "{method} {path}");
            for (status, answer) in answers {
                let has_body = answer.get("content").is_some();
                assert_eq!(has_body, status != "304", "{method} {path} {status}");
            }
        }
    }
    let statuses: BTreeSet<u16> = errors.iter().map(|error| error.status().as_u16()).collect();
    let all = [400, 404, 405, 406, 408, 413, 414, 415, 416, 431, 500, 501, 503];
    assert_eq!(statuses, BTreeSet::from(all));
}

#[test]
fn retries_are_announced_where_they_help() {
    for (path, item) in paths() {
        for (_, operation) in operations(&item) {
            let headers = &operation["responses"]["503"]["headers"];
            assert!(headers.get("Retry-After").is_some(), "{path}");
        }
    }
}
