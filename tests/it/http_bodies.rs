//! Request bodies: their maximum length per endpoint, and the budget of all of them together.

use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use testkit::http::{Client, Request};
use testkit::say;
use testkit::server::{Replayed, Server};

use crate::http_data::{NOBODY, bounds, on, reason, served, served_with, world};
use crate::push_http::{OCTETS, assert_sum, client, folder, request, taking};

/// The maximum of chainweb-node.
const BATCH_BYTES: usize = 2 << 20;

/// A batch of this many bytes.
fn batch(length: usize) -> String {
    let mut body = String::from("[");
    while body.len() + NOBODY.len() + 4 < length {
        write!(body, "\"{NOBODY}\",").unwrap();
    }
    body.pop();
    body.push(']');
    padded(&body, length)
}

/// `text`, padded with spaces to `length` bytes.
fn padded(text: &str, length: usize) -> String {
    text.to_owned() + &" ".repeat(length - text.len())
}

#[test]
fn batches_are_as_long_as_those_of_the_node_and_other_bodies_are_not() {
    let server = served();
    let most = batch(BATCH_BYTES);
    for path in [on(0, "payload/batch"), on(0, "payload/outputs/batch")] {
        let answer = server.post(&path, &most);
        assert_eq!((answer.status, answer.text()), (200, "[]"), "{path}");
        assert!(reason(&server.post(&path, &format!("{most} ")), 413).contains("2097152"));
        let wrong = format!("{}\"short\"]{}", &batch(1_000_000).trim_end()[..999_900], "");
        let wrong =
            wrong.rsplit_once(",\"A").map(|(head, _)| format!("{head},\"short\"]")).unwrap();
        assert!(
            reason(&server.post(&path, &wrong), 400).contains("\"short\""),
            "all of it is read"
        );
    }
    for path in ["hash/branch", "header/branch", "block/branch"] {
        let body = |length: usize| padded("{}", length);
        assert_eq!(server.post(&on(0, path), &body(65_536)).status, 200, "{path}");
        assert!(reason(&server.post(&on(0, path), &body(65_537)), 413).contains("65536"), "{path}");
    }
    assert_eq!(server.ask(&Request::get("/info").body(vec![b' '; 65_537])).status, 413);
}

#[test]
fn each_kind_of_body_has_its_limit_and_the_old_one_is_for_the_others() {
    let post = |server: &Server, path: &str, length: usize| {
        let body = if path.ends_with("batch") { "[]" } else { "{}" };
        server.post(&on(0, path), &padded(body, length)).status
    };
    let old = served_with(&["--max-body-bytes", "100"]);
    for path in ["hash/branch", "block/branch"] {
        assert_eq!([100, 101].map(|length| post(&old, path, length)), [200, 413], "{path}");
    }
    assert_eq!(post(&old, "payload/batch", BATCH_BYTES), 200);
    assert_eq!(old.ask(&Request::get("/info").body(vec![b' '; 101])).status, 413);
    let flags = ["--max-branch-body-bytes", "200", "--max-batch-body-bytes", "300"];
    let each = served_with(&[&["--max-body-bytes", "100"][..], &flags].concat());
    assert_eq!([200, 201].map(|length| post(&each, "header/branch", length)), [200, 413]);
    assert_eq!([300, 301].map(|length| post(&each, "payload/batch", length)), [200, 413]);
    assert_eq!(each.ask(&Request::get("/info").body(vec![b' '; 101])).status, 413);
}

/// Sends a batch except its last byte, in small chunks.
fn almost_all(server: &Server, path: &str, body: &str) -> Client {
    let mut client = server.connect();
    let head = Request::new("POST", path).header("Transfer-Encoding", "chunked").to_bytes();
    let _ = client.send(head);
    let chunks: String = body.as_bytes().chunks(997).fold(String::new(), |mut all, chunk| {
        write!(all, "{:x}\r\n{}\r\n", chunk.len(), str::from_utf8(chunk).unwrap()).unwrap();
        all
    });
    // It fails if the server has rejected it.
    let _ = client.send(chunks);
    client
}

#[test]
fn slow_batches_of_many_clients_hold_a_bounded_share_of_memory() {
    let database = Replayed::new("development", world().forked.dump(), &["--format", "binary"]);
    let flags = ["--body-time", "120", "--max-bodies-bytes", "16777216", "--log", "error"];
    let server = Server::start(&database, &flags);
    let path = on(0, "payload/batch");
    let body = batch(BATCH_BYTES);
    assert_eq!(server.post(&path, &body).status, 200);
    let before = server.resident_bytes();
    let mut slow: Vec<Client> = thread::scope(|scope| {
        let all: Vec<_> =
            (0..60).map(|_| scope.spawn(|| almost_all(&server, &path, &body))).collect();
        all.into_iter().map(|sent| sent.join().unwrap()).collect()
    });
    let refused = slow.iter_mut().filter_map(|client| {
        client.set_patience(Duration::from_millis(300));
        client.read("POST").ok()
    });
    let refused: Vec<_> = refused.collect();
    for answer in &refused {
        assert!(reason(answer, 503).contains("request bodies"), "{}", answer.text());
        assert_eq!(answer.header("Retry-After"), Some("1"));
        assert!(answer.closes());
    }
    // 12 of the 16 MiB are for long bodies, and each of these has up to 2 MiB.
    assert!((48..60).contains(&refused.len()), "{} of 60 were refused", refused.len());
    if let (Some(before), Some(now)) = (before, server.resident_bytes()) {
        let more = now.saturating_sub(before) >> 20;
        say(&format!("bodies: {more} MiB more with {} long ones under way", 60 - refused.len()));
        assert!(more < 80, "{more} MiB for a budget of 16, and 120 MiB of bodies");
    }
    // The server still handles short bodies, which have their own share.
    let one = bounds(&[world().forked.hash(1)], &[]);
    for _ in 0..20 {
        assert_eq!(server.post(&on(0, "hash/branch"), &one).status, 200);
    }
    drop(slow);
    let begin = Instant::now();
    while server.post(&path, &body).status != 200 {
        assert!(begin.elapsed() < Duration::from_secs(30), "what they held is not given back");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn client_that_pushes_and_expects_to_continue_is_told_to_at_once() {
    let (db, headers) = (folder(), crate::push::generated(5, 1, 0.0));
    let server = taking(db.path(), &[]);
    let bytes = testkit::block::dump(&headers);
    let expecting = |media: &str| {
        let request = Request::new("POST", "/push").header("Content-Type", media);
        let request = request.header("Expect", "100-continue");
        request.header("Content-Length", &bytes.len().to_string())
    };
    for sum in [[100, 0, 0, 0], [0, 100, 0, 0]] {
        let mut client = client(&server);
        client.send(expecting(OCTETS).to_bytes()).unwrap();
        // Before the client has sent any of the body.
        assert_eq!(client.read("POST").unwrap().status, 100);
        client.send(&bytes).unwrap();
        assert_sum(&client.read("POST").unwrap(), sum);
        // The connection stays open.
        assert_sum(&client.ask(&request(OCTETS, bytes.clone())), [0, 100, 0, 0]);
    }
    for (request, status) in [
        (expecting("text/plain"), 415),
        (expecting(OCTETS).header("Origin", "http://x"), 403),
        (expecting(OCTETS).header("Host", "second"), 400),
    ] {
        let mut client = client(&server);
        client.send(request.to_bytes()).unwrap();
        assert_eq!(client.read("POST").unwrap().status, status, "without a 100 before it");
    }
}
