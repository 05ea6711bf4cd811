//! What is around the bodies: media types, fixed headers, CORS, caching, `HEAD`, `OPTIONS`.

use std::time::{SystemTime, UNIX_EPOCH};

use testkit::http::{Request, Response};

use crate::http_cache::{IMMUTABLE, NOT_STORED};
use crate::http_data::{
    BASE, JSON, NOBODY, OBJECT, OCTETS, base64url, bounds, on, reason, served, world,
};

const PLAIN: &str = "application/json;charset=utf-8";

fn header_path() -> String {
    on(0, &format!("header/{}", world().forked.hash(world().trunk[3])))
}

#[test]
fn one_header_comes_in_three_forms() {
    let (server, tree) = (served(), &world().forked);
    for place in [0, world().trunk[1], world().bush[39], world().rival] {
        let block = tree.block(place);
        let path = on(0, &format!("header/{}", tree.hash(place)));
        let octets = server.ask(&Request::get(&path).accept(OCTETS));
        assert_eq!(
            (octets.header("Content-Type"), &*octets.body),
            (Some(OCTETS), &block.as_bytes()[..])
        );
        let json = server.get(&path);
        assert_eq!(json.header("Content-Type"), Some(PLAIN));
        assert_eq!(json.text(), format!("\"{}\"", base64url(block.as_bytes())));
        let object = server.ask(&Request::get(&path).accept(OBJECT));
        assert_eq!(object.header("Content-Type"), Some(OBJECT));
        assert!(object.text().starts_with(&format!("{{\"nonce\":\"{}\",", block.nonce())));
        assert!(object.text().ends_with(&format!("\"hash\":\"{}\"}}", block.hash())));
        for response in [octets, json, object] {
            assert_eq!(response.status, 200);
            assert_eq!(response.header("Content-Length"), Some(&*response.body.len().to_string()));
        }
    }
}

#[test]
fn header_of_another_chain_or_of_nobody_is_not_found() {
    let (server, hash) = (served(), world().forked.hash(3));
    for (chain, hash) in [(1, &*hash), (0, NOBODY), (19, NOBODY)] {
        let response = server.get(&on(chain, &format!("header/{hash}")));
        assert_eq!(response.status, 404);
        assert_eq!(response.text(), format!(r#"{{"key":"{hash}","reason":"key not found"}}"#));
    }
}

#[test]
fn text_that_is_no_hash_is_refused() {
    let (server, hash) = (served(), world().forked.hash(3));
    let texts = [
        "x",
        "short",
        "%00",
        "%FF%2F",
        "..",
        &hash[..42],
        &format!("{hash}A"),
        &format!("{hash}%00"),
        &format!("{}%2A", &hash[..42]),
        &format!("{}+", &hash[..42]),
        &format!("{}B", &hash[..42]),
        &hash.repeat(100),
    ];
    for text in texts {
        let response = server.get(&on(0, &format!("header/{text}")));
        let undecodable = text.starts_with("%FF");
        reason(&response, if undecodable { 404 } else { 400 });
    }
}

#[test]
fn accept_chooses_the_form() {
    let server = served();
    let mut client = server.connect();
    let path = header_path();
    for (accept, expected) in [
        ("*/*", PLAIN),
        ("application/*", PLAIN),
        (JSON, PLAIN),
        ("Application/JSON", PLAIN),
        ("application/json;charset=utf-8", PLAIN),
        ("application/json, text/plain, */*", PLAIN),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", PLAIN),
        (OBJECT, OBJECT),
        ("application/json; blockheader-encoding=object", OBJECT),
        ("application/json;blockheader-encoding=\"object\"", OBJECT),
        ("application/json;blockheader-encoding=object, application/json", OBJECT),
        ("application/json;blockheader-encoding=object;q=0.5,application/json", PLAIN),
        ("application/json;q=0.1, application/json;blockheader-encoding=object;q=0.2", OBJECT),
        (OCTETS, OCTETS),
        ("application/octet-stream, */*;q=0.1", OCTETS),
        ("application/octet-stream;q=0.5, */*", PLAIN),
        ("application/json;q=0, application/*", OCTETS),
        ("text/html;q=1, application/octet-stream;q=0.001", OCTETS),
    ] {
        let response = client.ask(&Request::get(&path).accept(accept));
        assert_eq!(response.status, 200, "{accept}");
        assert_eq!(response.header("Content-Type"), Some(expected), "{accept}");
    }
    assert_eq!(client.ask(&Request::get(&path)).header("Content-Type"), Some(PLAIN));
    let several = Request::get(&path).accept("text/html").accept("application/octet-stream");
    assert_eq!(client.ask(&several).header("Content-Type"), Some(OCTETS));
}

#[test]
fn nothing_acceptable_is_refused_with_what_there_is() {
    let server = served();
    for accept in
        ["text/html", "image/*", "*/*;q=0", "application/xml", "nonsense", "application/json;q=0"]
    {
        for path in ["cut", "info", "chain/0/hash", "chain/0/header"] {
            let request = Request::get(format!("{BASE}/{path}")).accept(accept);
            assert!(reason(&server.ask(&request), 406).contains(JSON), "{path} {accept}");
        }
        for path in ["hash/branch", "header/branch"] {
            reason(&server.ask(&Request::post(on(0, path), "{}").accept(accept)), 406);
        }
    }
    for path in ["cut", "info", "chain/0/hash"] {
        reason(&server.ask(&Request::get(format!("{BASE}/{path}")).accept(OCTETS)), 406);
        let object = server.ask(&Request::get(format!("{BASE}/{path}")).accept(OBJECT));
        assert_eq!((object.status, object.header("Content-Type")), (200, Some(PLAIN)), "{path}");
    }
}

/// Requests of every endpoint and of every way to fail that leaves the connection in order.
fn requests() -> Vec<(Request, u16)> {
    let tip = bounds(&[world().forked.hash(world().trunk[700])], &[]);
    let get = |path: &str| Request::get(format!("{BASE}/{path}"));
    vec![
        (Request::get("/health-check"), 200),
        (Request::get("/info"), 200),
        (get("health-check"), 200),
        (get("info"), 200),
        (get("cut"), 200),
        (get("chain/0/hash?limit=1"), 200),
        (get("chain/0/header?limit=1"), 200),
        (get("chain/0/header?limit=1").accept(OBJECT), 200),
        (get("chain/0/header?limit=1").accept(OCTETS), 200),
        (get("chain/0/header").accept(OCTETS), 200),
        (Request::get(header_path()), 200),
        (Request::post(on(0, "hash/branch"), tip.clone()), 200),
        (Request::post(on(0, "header/branch?limit=1"), tip.clone()), 200),
        (Request::post(on(0, "header/branch"), tip).accept(OCTETS), 200),
        (Request::new("HEAD", header_path()), 200),
        (Request::new("OPTIONS", header_path()), 204),
        (Request::get(header_path()).header("If-None-Match", "*"), 304),
        (get("chain/0/hash?limit=x"), 400),
        (Request::post(on(0, "hash/branch"), "{"), 400),
        (get("chain/0/header/short"), 400),
        (get("chain/0/header/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 404),
        (get("chain/20/hash"), 404),
        (Request::get("/nowhere"), 404),
        (Request::get("/chainweb/0.0/mainnet01/cut"), 404),
        (Request::new("DELETE", on(0, "hash")), 405),
        (Request::get(on(0, "hash/branch")), 405),
        (get("cut").accept("text/html"), 406),
        (Request::post(on(0, "hash/branch"), vec![b' '; 70_000]), 413),
        (get("cut").header("Host", "second"), 400),
        (get("cut").without("Host"), 400),
        (get("cut").header("Transfer-Encoding", "gzip, chunked"), 501),
        (get(&format!("cut?{}", "x".repeat(9000))), 414),
        (
            Request::new("POST", on(0, "hash/branch")).header("Content-Type", "text/x").body("{}"),
            415,
        ),
        (get("cut").header("X", &"x".repeat(40_000)), 431),
    ]
}

#[test]
fn every_answer_has_the_fixed_headers() {
    let server = served();
    for (request, status) in requests() {
        let mut client = server.connect();
        let response = client.ask(&request);
        assert_eq!(response.status, status, "{request}");
        let peer = client.address().to_string();
        assert_eq!(response.header("X-Peer-Addr"), Some(&*peer), "{request}");
        let stamp: u64 = response.header("X-Server-Timestamp").unwrap().parse().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(stamp.abs_diff(now) < 600, "{stamp} {now}");
        assert_eq!(response.header("X-Chainweb-Node-Version"), Some("3.2"), "{request}");
        let name = concat!("plait/", env!("CARGO_PKG_VERSION"));
        assert_eq!(response.header("Server"), Some(name), "{request}");
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("*"), "{request}");
        assert_eq!(response.header("Vary"), Some("Accept"), "{request}");
        assert!(response.header("Date").is_some(), "{request}");
        let is_immutable = matches!(status, 200 | 304)
            && matches!(request.method(), "GET" | "HEAD")
            && request.to_string().contains("/header/");
        let kept = if is_immutable { IMMUTABLE } else { NOT_STORED };
        assert_eq!(response.header("Cache-Control"), Some(kept), "{request}");
        let exposed = response.header("Access-Control-Expose-Headers").unwrap();
        for name in ["x-peer-addr", "x-server-timestamp", "x-chainweb-node-version", "x-next"] {
            assert!(exposed.contains(name), "{exposed}");
        }
    }
}

#[test]
fn header_names_are_written_in_title_case() {
    let server = served();
    for (request, _) in requests() {
        let response = server.ask(&request.header("TE", "trailers"));
        for (name, _) in response.headers.iter().chain(&response.trailers) {
            let title = name.split('-').all(|word| {
                word.starts_with(|c: char| c.is_ascii_uppercase())
                    && word.chars().skip(1).all(|c| !c.is_ascii_uppercase())
            });
            assert!(title, "{name}");
        }
    }
}

#[test]
fn no_header_is_written_twice() {
    let server = served();
    for (request, _) in requests() {
        let response = server.ask(&request);
        let mut names: Vec<&str> = response.headers.iter().map(|(name, _)| &**name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{request}: {:?}", response.headers);
    }
}

#[test]
fn answers_to_errors_leave_the_connection_open_where_they_can() {
    let server = served();
    let mut client = server.connect();
    for (request, status) in requests() {
        if matches!(status, 413 | 501) || request.to_string().contains("cut") && status == 400 {
            continue;
        }
        assert_eq!(client.ask(&request).status, status, "{request}");
    }
}

fn known(server: &testkit::server::Server, accept: &str, tag: &str) -> Response {
    server.ask(&Request::get(header_path()).accept(accept).header("If-None-Match", tag))
}

#[test]
fn header_never_changes_and_is_not_sent_twice() {
    let server = served();
    let mut tags = Vec::new();
    for accept in [JSON, OBJECT, OCTETS] {
        let first = server.ask(&Request::get(header_path()).accept(accept));
        let cache = first.header("Cache-Control").unwrap();
        assert!(cache.contains("immutable") && cache.contains("max-age=31536000"), "{cache}");
        let tag = first.header("ETag").unwrap();
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2, "{tag}");
        for known_tag in [tag, &format!("W/{tag}"), "*", &format!("\"a,b\" , {tag},\"c\"")] {
            let second = known(&server, accept, known_tag);
            assert_eq!((second.status, second.body.len()), (304, 0), "{known_tag}");
            for name in ["ETag", "Cache-Control", "Vary"] {
                assert_eq!(second.header(name), first.header(name));
            }
            assert_eq!(second.header("Content-Length"), None);
        }
        for other in ["\"other\"", &tag[1..], ""] {
            assert_eq!(known(&server, accept, other).body, first.body, "{other}");
        }
        tags.push(tag.to_owned());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "each form has a tag of its own");
    assert_eq!(known(&server, OCTETS, &tags[0]).status, known(&server, OCTETS, &tags[0]).status);
    let lists = [on(0, "hash"), on(0, "header"), format!("{BASE}/cut"), "/info".to_owned()];
    for path in lists {
        let response = server.get(&path);
        assert_eq!(
            (response.header("ETag"), response.header("Cache-Control")),
            (None, Some(NOT_STORED)),
            "{path}"
        );
    }
    let unknown =
        server.ask(&Request::get(on(0, &format!("header/{NOBODY}"))).header("If-None-Match", "*"));
    assert_eq!((unknown.status, unknown.header("Cache-Control")), (404, Some(NOT_STORED)));
}

#[test]
fn head_is_get_without_the_body() {
    let server = served();
    let mut client = server.connect();
    let paths = [
        "/health-check".to_owned(),
        "/info".to_owned(),
        format!("{BASE}/cut"),
        on(0, "hash?limit=3"),
        on(0, "header"),
        on(0, "hash?limit=x"),
        on(0, &format!("header/{NOBODY}")),
        on(20, "hash"),
        header_path(),
    ];
    for path in paths {
        for accept in [JSON, OCTETS, OBJECT] {
            let get = client.ask(&Request::get(&path).accept(accept));
            let head = client.ask(&Request::new("HEAD", &path).accept(accept));
            let told = |response: &Response| {
                let mut headers = response.headers.clone();
                let moving =
                    ["Date", "X-Server-Timestamp", "X-Request-Id", "Transfer-Encoding", "Trailer"];
                headers.retain(|(name, _)| !moving.contains(&&**name));
                headers.sort();
                (response.status, headers)
            };
            assert_eq!(told(&head), told(&get), "{path} {accept}");
        }
    }
}

#[test]
fn browsers_may_ask_from_anywhere() {
    let server = served();
    let get = "GET, HEAD, OPTIONS";
    let post = "POST, OPTIONS";
    for (path, methods) in [
        ("/health-check".to_owned(), get),
        ("/info".to_owned(), get),
        (format!("{BASE}/cut"), get),
        (on(0, "hash"), get),
        (on(0, "header"), get),
        (header_path(), get),
        (on(0, "hash/branch"), post),
        (on(0, "header/branch"), post),
        (on(0, "block"), get),
        (on(0, "block/branch"), post),
        (on(0, "payload/x"), get),
        (on(0, "payload/x/outputs"), get),
        (on(0, "payload/batch"), post),
        (on(0, "payload/outputs/batch"), post),
    ] {
        let preflight = Request::new("OPTIONS", &path)
            .header("Origin", "https://example.com")
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "content-type");
        let response = server.ask(&preflight);
        assert_eq!((response.status, response.body.len()), (204, 0), "{path}");
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("*"));
        assert_eq!(response.header("Access-Control-Allow-Methods"), Some(methods), "{path}");
        assert_eq!(response.header("Allow"), Some(methods), "{path}");
        let headers = response.header("Access-Control-Allow-Headers").unwrap();
        assert!(headers.to_ascii_lowercase().split(", ").any(|name| name == "content-type"));
        assert!(response.header("Access-Control-Max-Age").is_some());
    }
    assert_eq!(server.ask(&Request::new("OPTIONS", "*")).status, 204);
    reason(&server.ask(&Request::new("OPTIONS", "/nowhere")), 404);
}

#[test]
fn wrong_methods_are_told_the_right_ones() {
    let server = served();
    let mut client = server.connect();
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "HEAD", "BREW"] {
        for (path, allowed) in [
            ("/health-check".to_owned(), "GET, HEAD, OPTIONS"),
            ("/info".to_owned(), "GET, HEAD, OPTIONS"),
            (format!("{BASE}/cut"), "GET, HEAD, OPTIONS"),
            (on(0, "hash"), "GET, HEAD, OPTIONS"),
            (on(0, "header?limit=1"), "GET, HEAD, OPTIONS"),
            (header_path(), "GET, HEAD, OPTIONS"),
            (on(0, "hash/branch"), "POST, OPTIONS"),
            (on(0, "header/branch"), "POST, OPTIONS"),
            (on(0, "block"), "GET, HEAD, OPTIONS"),
            (on(0, "block/branch"), "POST, OPTIONS"),
            (on(0, "payload/x"), "GET, HEAD, OPTIONS"),
            (on(0, "payload/x/outputs"), "GET, HEAD, OPTIONS"),
            (on(0, "payload/batch"), "POST, OPTIONS"),
            (on(0, "payload/outputs/batch"), "POST, OPTIONS"),
        ] {
            if allowed.split(", ").any(|right| right == method) {
                continue;
            }
            let request = Request::new(method, &path);
            let request =
                if matches!(method, "POST" | "PUT") { request.body("{}") } else { request };
            let response = client.ask(&request);
            assert_eq!(response.status, 405, "{request}");
            assert_eq!(response.header("Allow"), Some(allowed), "{request}");
            if method != "HEAD" {
                assert!(reason(&response, 405).contains(allowed));
            }
        }
    }
}
