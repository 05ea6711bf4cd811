//! What comes over a socket: pipelines, old protocols, long bodies, and bytes that are no requests.

use std::time::Duration;

use testkit::http::{Ended, Request};

use crate::http_data::{BASE, NOBODY, bounds, on, page, reason, served, served_with, world};

#[test]
fn bytes_that_are_no_request_are_refused_and_the_connection_is_closed() {
    let server = served();
    let headers = "X: y\r\n".repeat(150);
    let bad: [&[u8]; 15] = [
        b"GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /info?\0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /in fo HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /info\r\n\r\n",
        b"GET /info HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET /info HTTP/1.1\r\nHo st: x\r\n\r\n",
        b"GET /info HTTP/1.1\r\nHost: x\0y\r\n\r\n",
        b"GET /info HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET /info HTTP/3.0\r\nHost: x\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a client that wants TLS\r\n\r\n",
        b"POST /info HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /info HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /info HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        format!("GET /info HTTP/1.1\r\n{headers}\r\n").leak().as_bytes(),
    ];
    for bytes in bad {
        let mut client = server.connect();
        client.send(bytes).unwrap();
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]);
        let answer = client.read("GET").unwrap_or_else(|ended| panic!("{shown}: {ended:?}"));
        assert!(matches!(answer.status, 400 | 431 | 505), "{shown}: {}", answer.status);
        // No code of ours sees these, and yet the answer has what every answer has.
        assert!(!reason(&answer, answer.status).is_empty(), "{shown}");
        assert_eq!(answer.header("X-Peer-Addr"), Some(&*client.address().to_string()), "{shown}");
        assert_eq!(answer.header("X-Chainweb-Node-Version"), Some("3.2"), "{shown}");
        assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"), "{shown}");
        assert!(answer.header("Server").is_some_and(|name| name.starts_with("plait/")), "{shown}");
        assert!(client.drain(), "{shown}");
    }
    assert_eq!(server.get("/health-check").status, 200);
}

#[test]
fn rubbish_in_paths_and_queries_is_an_error_of_the_client() {
    let server = served();
    let mut client = server.connect();
    for rubbish in
        ["%00", "%", "%%", "%0", "%zz", "%ff%fe", "%C0%80", "%0d%0aX-Evil:%20y", "'\"<>", "{}|^`"]
    {
        for path in [
            format!("/{rubbish}"),
            format!("{BASE}/{rubbish}"),
            on(0, rubbish),
            on(0, &format!("header/{rubbish}")),
            format!("{BASE}/chain/{rubbish}/hash"),
            on(0, &format!("hash?next={rubbish}")),
            on(0, &format!("hash?limit={rubbish}")),
            on(0, &format!("header/{NOBODY}{rubbish}")),
        ] {
            let answer = client.try_ask(&Request::get(&path));
            let answer = answer.unwrap_or_else(|ended| panic!("{path}: {ended:?}"));
            assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
            assert!(!answer.headers.iter().any(|(name, _)| name == "X-Evil"), "{path}");
            if answer.closes() {
                client = server.connect();
            }
        }
        let ignored = on(0, &format!("hash?limit=1&x={rubbish}&{rubbish}"));
        let answer = client.ask(&Request::get(&ignored));
        assert!(matches!(answer.status, 200 | 400), "{ignored}: {}", answer.status);
        if answer.closes() {
            client = server.connect();
        }
    }
}

#[test]
fn body_of_three_megabytes_is_refused() {
    let server = served();
    let body = format!("{{\"upper\":[{}\"\"]}}", "\"x\",".repeat(3_000_000 / 4));
    assert!(body.len() > 3_000_000);
    for path in [on(0, "hash/branch"), on(0, "header/branch")] {
        let declared = server.post(&path, &body);
        assert!(reason(&declared, 413).contains("65536"));
        assert!(declared.closes());
        let mut client = server.connect();
        let head = Request::new("POST", &path).header("Transfer-Encoding", "chunked");
        client.send(head.to_bytes()).unwrap();
        for part in body.as_bytes().chunks(30_000) {
            let frame = [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
            if client.send(frame).is_err() {
                break;
            }
        }
        reason(&client.read("POST").unwrap(), 413);
    }
    let edge = format!("{{}}{}", " ".repeat(65_534));
    assert_eq!(server.post(&on(0, "hash/branch"), &edge).status, 200);
    assert_eq!(server.post(&on(0, "hash/branch"), &format!("{edge} ")).status, 413);
}

#[test]
fn declared_length_is_refused_before_the_body_comes() {
    let server = served();
    for length in ["65537", "3000000", "18446744073709551615", "99999999999999999999999"] {
        let mut client = server.connect();
        let request = Request::new("POST", on(0, "hash/branch"));
        client.send(request.header("Content-Length", length).to_bytes()).unwrap();
        let answer = client.read("POST").unwrap();
        assert!(matches!(answer.status, 400 | 413 | 431), "{length}: {}", answer.status);
        client.finish();
        assert!(client.drain());
    }
}

#[test]
fn client_that_expects_to_continue_is_told_to_or_refused() {
    let server = served();
    let body = bounds(&[world().forked.hash(0)], &[]);
    let request = Request::new("POST", on(0, "hash/branch")).header("Expect", "100-continue");
    let with_length =
        |length: usize| request.clone().header("Content-Length", &length.to_string()).to_bytes();
    let mut client = server.connect();
    client.send(with_length(body.len())).unwrap();
    assert_eq!(client.read("POST").unwrap().status, 100);
    client.send(&body).unwrap();
    assert_eq!(page(&client.read("POST").unwrap()).items.len(), 1);
    client.send(with_length(3_000_000)).unwrap();
    assert_eq!(client.read("POST").unwrap().status, 413, "without a 100 before it");
}

#[test]
fn every_endpoint_that_takes_a_body_says_at_once_whether_it_reads_it() {
    let server = served();
    let expecting = |path: &str, length: usize| {
        let request = Request::new("POST", path).header("Expect", "100-continue");
        request.header("Content-Length", &length.to_string())
    };
    let of_chain = ["hash/branch", "header/branch", "block/branch", "payload/batch"];
    let of_chain = of_chain.into_iter().chain(["payload/outputs/batch"]).map(|path| on(0, path));
    let updates = ["header", "block"].map(|kind| format!("{BASE}/{kind}/updates"));
    for path in of_chain.chain(updates) {
        let body = if path.contains("batch") { "[]" } else { "{}" };
        let mut client = server.connect();
        client.send(expecting(&path, body.len()).to_bytes()).unwrap();
        assert_eq!(client.read("POST").unwrap().status, 100, "{path}");
        client.send(body).unwrap();
        assert_eq!(client.read_head().unwrap().status, 200, "{path}");
        // The server rejects the head: it sends only the final status, and closes the connection.
        for (request, status) in [
            (expecting(&path, 3_000_000), 413),
            (expecting(&path, 2).header("Host", "second"), 400),
            (expecting(&path.replace("/0.0/", "/0.1/"), 2), 404),
            (expecting(&path, 2).without("Expect").header("Expect", "100-CONTINUE"), 100),
        ] {
            let mut client = server.connect();
            client.send(request.to_bytes()).unwrap();
            let answer = client.read("POST").unwrap();
            assert_eq!(answer.status, status, "{request}");
            assert!(status == 100 || answer.closes() && client.drain(), "{request}");
        }
    }
}

#[test]
fn long_targets_and_heads_are_refused() {
    let server = served();
    let mut client = server.connect();
    let path = format!("{BASE}/cut?");
    let most = "x".repeat(8192 - path.len());
    assert_eq!(client.ask(&Request::get(format!("{path}{most}"))).status, 200);
    assert!(reason(&client.ask(&Request::get(format!("{path}{most}x"))), 414).contains("8192"));
    let head = |length: usize| Request::get("/info").header("X-Long", &"x".repeat(length));
    assert_eq!(client.ask(&head(32_000)).status, 200);
    assert!(reason(&client.ask(&head(33_000)), 431).contains("32768"));
    assert_eq!(client.ask(&Request::get("/info")).status, 200, "the connection lives on");
    for request in [head(1_000_000), Request::get(format!("/{}", "x".repeat(1_000_000)))] {
        let answer = server.connect().try_ask(&request).unwrap();
        assert!(matches!(answer.status, 414 | 431), "{}", answer.status);
    }
}

#[test]
fn limits_of_size_can_be_configured() {
    let flags =
        ["--max-uri-bytes=100", "--max-head-bytes=8192", "--max-body-bytes=60", "--max-bounds=1"];
    let server = served_with(&flags);
    let hash = world().forked.hashes(&[1, 2]);
    assert_eq!(server.get(&format!("/info?{}", "x".repeat(94))).status, 200);
    assert_eq!(server.get(&format!("/info?{}", "x".repeat(95))).status, 414);
    let head = Request::get("/info").header("X", &"x".repeat(8300));
    assert_eq!(server.ask(&head).status, 431);
    let one = format!("{{\"upper\":[\"{}\"]}}", hash[0]);
    assert_eq!(server.post(&on(0, "hash/branch"), &one).status, 200);
    assert_eq!(server.post(&on(0, "hash/branch"), &format!("{one:60} ")).status, 413);
    let server = served_with(&["--max-bounds=1"]);
    assert_eq!(server.post(&on(0, "hash/branch"), &bounds(&hash, &[])).status, 400);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = served();
    let tree = &world().forked;
    let mut client = server.connect();
    let mut bytes = Vec::new();
    for place in 0..100 {
        let path = on(0, &format!("hash?limit=1&next=inclusive:{}", tree.hash(place)));
        bytes.extend(Request::get(path).to_bytes());
        bytes.extend(Request::new("HEAD", "/info").to_bytes());
        let body = bounds(&[tree.hash(place)], &[]);
        bytes.extend(Request::post(on(0, "hash/branch?limit=1"), body).to_bytes());
        bytes.extend(Request::get("/nowhere").to_bytes());
    }
    client.send(bytes).unwrap();
    for place in 0..100 {
        assert_eq!(page(&client.read("GET").unwrap()).items, [tree.hash(place)]);
        assert_eq!(client.read("HEAD").unwrap().status, 200);
        assert_eq!(page(&client.read("POST").unwrap()).items, [tree.hash(place)]);
        assert_eq!(client.read("GET").unwrap().status, 404);
    }
}

#[test]
fn body_that_nobody_reads_does_not_become_a_request() {
    let server = served();
    let inner = Request::new("DELETE", "/info").to_bytes();
    for request in [
        Request::get("/info").body(inner.clone()),
        Request::new("DELETE", "/info").body(inner.clone()),
        Request::get("/nowhere").body(inner.clone()),
        Request::post(on(0, "hash/branch?limit=x"), inner.clone()),
        Request::post(on(0, "hash/branch"), inner.clone()).accept("text/html"),
        Request::post(on(0, "hash/branch"), inner).header("Content-Type", "text/plain"),
    ] {
        let mut client = server.connect();
        let first = client.ask(&request);
        if !first.closes() {
            assert_eq!(client.ask(&Request::get("/health-check")).text(), "Health check OK.\n");
        }
    }
}

#[test]
fn length_and_chunks_together_are_not_two_requests() {
    let server = served();
    let mut client = server.connect();
    let smuggled = "0\r\n\r\nDELETE /info HTTP/1.1\r\nHost: x\r\n\r\n";
    let request = Request::new("POST", on(0, "hash/branch"))
        .header("Content-Length", &smuggled.len().to_string())
        .header("Transfer-Encoding", "chunked");
    client.send([&request.to_bytes()[..], smuggled.as_bytes()].concat()).unwrap();
    let first = client.read("POST").unwrap();
    assert!(first.status == 400 || first.closes(), "{}", first.status);
    assert!(client.drain());
}

#[test]
fn body_that_ends_early_is_no_request() {
    let server = served();
    for (head, part) in [
        (("Content-Length", "100"), "{\"upper\":[]}"),
        (("Transfer-Encoding", "chunked"), "5\r\n{}"),
        (("Transfer-Encoding", "chunked"), "2\r\n{}\r\n"),
    ] {
        let mut client = server.connect();
        let request = Request::new("POST", on(0, "hash/branch")).header(head.0, head.1);
        client.send([&request.to_bytes()[..], part.as_bytes()].concat()).unwrap();
        client.finish();
        match client.read("POST") {
            Ok(answer) => assert_eq!(answer.status, 400),
            Err(ended) => assert!(matches!(ended, Ended::Closed | Ended::Cut(_)), "{ended:?}"),
        }
    }
    for rubbish in
        ["zz\r\n{}\r\n0\r\n\r\n", "-1\r\n", "ffffffffffffffffff\r\n", "2\r\n{}X\r\n0\r\n\r\n"]
    {
        let mut client = server.connect();
        let request =
            Request::new("POST", on(0, "hash/branch")).header("Transfer-Encoding", "chunked");
        client.send([&request.to_bytes()[..], rubbish.as_bytes()].concat()).unwrap();
        reason(&client.read("POST").unwrap(), 400);
        assert!(client.drain());
    }
}

#[test]
fn old_clients_get_one_answer_unless_they_ask_to_stay() {
    let server = served();
    let mut client = server.connect();
    let request = Request::get("/health-check").version("HTTP/1.0");
    let stay = request.clone().header("Connection", "keep-alive");
    for _ in 0..3 {
        let answer = client.ask(&stay);
        assert_eq!((answer.status, answer.closes()), (200, false));
    }
    let answer = client.ask(&request);
    assert_eq!((answer.status, &*answer.version), (200, "HTTP/1.0"));
    assert!(client.drain());
    let bare = Request::get("/health-check").version("HTTP/1.0").without("Host");
    assert_eq!(server.ask(&bare).text(), "Health check OK.\n");
}

#[test]
fn host_is_named_once_and_by_a_name() {
    let server = served();
    for (head, status) in [
        ("GET /info HTTP/1.1\r\n", 400),
        ("GET /info HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400),
        ("GET /info HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400),
        ("GET /info HTTP/1.1\r\nHost: a b\r\n", 400),
        ("GET /info HTTP/1.1\r\nHost: a/b\r\n", 400),
        ("GET /info HTTP/1.1\r\nHost: u@a\r\n", 400),
        ("GET /info HTTP/1.1\r\nHost: a, b\r\n", 400),
        ("GET /info HTTP/1.0\r\nHost: a\r\nHost: b\r\n", 400),
        ("HEAD /info HTTP/1.1\r\n", 400),
        ("POST /info HTTP/1.1\r\nContent-Length: 2\r\n", 400),
        ("GET /info HTTP/1.1\r\nHost:\r\n", 200),
        ("GET /info HTTP/1.1\r\nHost: [::1]:1848\r\n", 200),
        ("GET http://other.example/info HTTP/1.1\r\nHost: a\r\n", 200),
        ("GET /info HTTP/1.0\r\n", 200),
    ] {
        let mut client = server.connect();
        client.send(format!("{head}\r\n")).unwrap();
        let method = head.split(' ').next().unwrap();
        let answer = client.read(method).unwrap_or_else(|ended| panic!("{head}: {ended:?}"));
        assert_eq!(answer.status, status, "{head}");
        assert_eq!(answer.header("X-Peer-Addr"), Some(&*client.address().to_string()), "{head}");
        if status == 400 {
            assert!(method == "HEAD" || reason(&answer, 400).contains("Host"), "{head}");
            assert!(answer.closes() && client.drain(), "{head}");
        }
    }
}

#[test]
fn target_of_a_request_has_no_user_information() {
    let server = served();
    for (target, status) in [
        ("http://a.example/info", 200),
        ("http://a.example:1848/info", 200),
        ("http://u@a.example/info", 400),
        ("http://u:p@a.example/info", 400),
        ("http://u@a.example:80/info", 400),
    ] {
        let answer = server.ask(&Request::get(target));
        assert_eq!(answer.status, status, "{target}");
        assert!(status == 200 || reason(&answer, 400).contains("target"), "{target}");
    }
}

#[test]
fn codings_that_the_server_does_not_decode_are_refused() {
    let server = served();
    let body = "2\r\n{}\r\n0\r\n\r\n";
    let path = on(0, "hash/branch");
    for (fields, status) in [
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501),
        ("Transfer-Encoding: identity, chunked\r\n", 501),
        ("Transfer-Encoding: deflate , chunked\r\n", 501),
        ("Transfer-Encoding: ,chunked\r\n", 501),
        ("Transfer-Encoding: chunked, chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: gzip\r\n", 400),
        ("Transfer-Encoding: identity\r\n", 400),
        ("Transfer-Encoding: chunked, gzip\r\n", 400),
        ("Transfer-Encoding: Chunked\r\n", 200),
    ] {
        let mut client = server.connect();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}")).unwrap();
        let answer = client.read("POST").unwrap_or_else(|ended| panic!("{fields}: {ended:?}"));
        assert_eq!(answer.status, status, "{fields}");
        assert_eq!(answer.header("X-Peer-Addr"), Some(&*client.address().to_string()), "{fields}");
        if status != 200 {
            assert!(!reason(&answer, status).is_empty());
            assert!(answer.closes() && client.drain(), "{fields}");
        }
    }
    // HTTP/1.0 has no transfer codings.
    let mut client = server.connect();
    let head = format!("POST {path} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    client.send(head).unwrap();
    assert_eq!(client.read("POST").unwrap().status, 400);
    assert!(client.drain());
}

#[test]
fn client_that_asks_to_close_is_closed() {
    let server = served();
    let mut client = server.connect();
    let answer = client.ask(&Request::get("/info").header("Connection", "close"));
    assert!(answer.closes());
    assert!(client.drain());
}

#[test]
fn one_connection_takes_many_requests() {
    let server = served();
    let mut client = server.connect();
    client.set_patience(Duration::from_secs(10));
    for _ in 0..500 {
        assert_eq!(client.ask(&Request::get(format!("{BASE}/cut"))).status, 200);
    }
}

#[test]
fn empty_lines_before_a_request_are_ignored() {
    let server = served();
    let mut client = server.connect();
    client.send("\r\n\r\n").unwrap();
    assert_eq!(client.ask(&Request::get("/health-check")).status, 200);
}
