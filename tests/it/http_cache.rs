//! Every response of every endpoint and status has the right `Cache-Control`.

use serde_json::Value;
use tempfile::TempDir;
use testkit::block::dump;
use testkit::braid::braid_with_orphans;
use testkit::http::{Client, Request, Response};
use testkit::server::{Replayed, Server, utf8};

use crate::archive::plait_export;
use crate::http_data::NOBODY;

pub(crate) const IMMUTABLE: &str = "public, max-age=31536000, immutable";
pub(crate) const REVALIDATED: &str = "no-cache, max-age=0";
pub(crate) const NOT_STORED: &str = "no-store, max-age=0";
const EVENTS: &str = "no-store, no-transform, max-age=0";

/// A server with a database, an archive and backups.
struct Everything {
    server: Server,
    folders: (Replayed, TempDir),
    /// Hashes of blocks that it has.
    hash: String,
    file: String,
}

impl Everything {
    fn new() -> Self {
        let blocks = braid_with_orphans(40, 3);
        let database = Replayed::new("development", dump(&blocks), &[]);
        let archive = tempfile::tempdir().unwrap();
        let exported = plait_export(&database.path(), archive.path(), &[]);
        assert_eq!(exported.status, Some(0), "{}", exported.err);
        let flags = ["--archive", utf8(archive.path()), "--backup-api", "--metrics", "127.0.0.1:0"];
        let flags = [&flags[..], &["--ingest", "127.0.0.1:0"]].concat();
        let server = Server::start(&database, &flags);
        let on_zero = blocks.iter().find(|block| block.view().chain().get() == 0).unwrap();
        let manifest = server.get("/archive/manifest.json");
        let manifest: Value = serde_json::from_str(manifest.text()).unwrap();
        let file = manifest["files"][0]["name"].as_str().unwrap().to_owned();
        let hash = on_zero.view().hash().to_string();
        Self { server, folders: (database, archive), hash, file }
    }

    /// A path of the document, with `hash` in place of hashes.
    fn filled(&self, path: &str, hash: &str) -> String {
        let path = path.replace("{chain}", "0").replace("{hash}", hash).replace("{id}", "1");
        path.replace("{name}", &self.file)
    }
}

/// The head of a response; the rest may never end.
fn head(client: &mut Client, request: &Request) -> Response {
    let _ = client.send(request.to_bytes());
    client.read_head().unwrap_or_else(|ended| panic!("{request}: {ended:?}"))
}

/// The `Cache-Control` of a response of `path` with this status.
fn expected(path: &str, method: &str, status: u16) -> &'static str {
    let is_got = method != "OPTIONS" && matches!(status, 200 | 206 | 304);
    if !is_got {
        return NOT_STORED;
    }
    let is_file = path.contains("/archive/") && !path.ends_with("/manifest.json");
    if is_file
        || path.contains("/header/") && !path.ends_with("/branch") && !path.ends_with("/updates")
    {
        return IMMUTABLE;
    }
    match path {
        path if path.ends_with("/updates") => EVENTS,
        path if path.ends_with("/openapi.json") || path.ends_with("/manifest.json") => REVALIDATED,
        path if path == "/" || path.starts_with("/explorer/") => REVALIDATED,
        _ => NOT_STORED,
    }
}

#[test]
fn every_endpoint_says_whether_and_how_long_its_responses_may_be_kept() {
    let all = Everything::new();
    let document = all.server.get("/openapi.json");
    let document: Value = serde_json::from_str(document.text()).unwrap();
    // The document has every route: `documented` checks it against the table of routes. Pages for
    // people are added here.
    let mut paths: Vec<&str> =
        document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    paths.extend(["/", "/explorer/main.js", "/explorer/nothing.js", "/nowhere"]);
    let mut seen = std::collections::BTreeSet::new();
    for path in paths {
        for hash in [&*all.hash, NOBODY, "short"] {
            if hash != all.hash && !path.contains("{hash}") {
                continue;
            }
            let path = all.filled(path, hash);
            for method in ["GET", "HEAD", "POST", "OPTIONS", "DELETE"] {
                let plain = || Request::new(method, &path);
                let mut requests = vec![
                    plain(),
                    plain().accept("text/html"),
                    plain().header("If-None-Match", "*"),
                    plain().header("Range", "bytes=1-2"),
                    plain().header("Range", "bytes=99999999999-"),
                    plain().header("X", &"x".repeat(40_000)),
                    plain().header("Host", "second"),
                ];
                if method == "POST" {
                    let body = if path.ends_with("/batch") { "[]" } else { "{}" };
                    requests = vec![
                        Request::post(&path, body),
                        Request::post(&path, "{"),
                        Request::post(&path, vec![b' '; 2_200_000]),
                        plain().header("Content-Type", "text/plain").body("{}"),
                        plain().header("Transfer-Encoding", "gzip, chunked"),
                    ];
                }
                for request in requests {
                    let response = head(&mut all.server.connect(), &request);
                    let said = response.header("Cache-Control");
                    let right = expected(&path, method, response.status);
                    assert_eq!(said, Some(right), "{request}: {}", response.status);
                    seen.insert(response.status);
                }
            }
        }
    }
    let missing: Vec<u16> = [200, 204, 206, 304, 400, 404, 405, 406, 413, 415, 416, 431, 501]
        .into_iter()
        .filter(|s| !seen.contains(s))
        .collect();
    assert!(missing.is_empty(), "no response had the status {missing:?}");
}

#[test]
fn listeners_beside_the_api_say_so_too() {
    let all = Everything::new();
    let ingest: std::net::SocketAddr = all.server.takes().parse().unwrap();
    let push = |media: &str| Request::new("POST", "/push").header("Content-Type", media).body("");
    for (address, request, status) in [
        (all.server.watched(), Request::get("/metrics"), 200),
        (all.server.watched(), Request::get("/ready"), 200),
        (all.server.watched(), Request::get("/health-check"), 200),
        (all.server.watched(), Request::get("/nowhere"), 404),
        (all.server.watched(), Request::new("DELETE", "/ready"), 405),
        (ingest, push("application/octet-stream"), 200),
        (ingest, push("text/plain"), 415),
        (ingest, push("application/json").header("Origin", "http://x"), 403),
        (ingest, push("application/json").header("Host", "second"), 400),
        (ingest, Request::get("/push"), 405),
        (ingest, Request::get("/nowhere"), 404),
    ] {
        let response = head(&mut Client::connect(address), &request);
        assert_eq!(response.status, status, "{request}");
        assert_eq!(response.header("Cache-Control"), Some(NOT_STORED), "{request}");
    }
}

#[test]
fn server_that_turns_clients_away_lets_nobody_keep_that() {
    let Everything { server, folders, .. } = Everything::new();
    drop(server);
    let server = Server::start(&folders.0, &["--max-connections", "1", "--body-time", "0.2"]);
    let mut inside = server.connect();
    assert_eq!(inside.ask(&Request::get("/health-check")).status, 200);
    for path in ["/info", "/archive/x", "/"] {
        let response = server.get(path);
        assert_eq!((response.status, response.header("Cache-Control")), (503, Some(NOT_STORED)));
    }
    let ready = inside.ask(&Request::get("/ready"));
    assert_eq!((ready.status, ready.header("Cache-Control")), (503, Some(NOT_STORED)));
    // A body that does not arrive.
    let slow = Request::new("POST", "/info").header("Content-Length", "5");
    let response = head(&mut inside, &slow.without("X"));
    assert_eq!(response.header("Cache-Control"), Some(NOT_STORED));
}
