//! Servers that send without end and without an answer: their clients soon disconnect.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use testkit::block::dump;
use testkit::node::{Asked, Node, Reply};
use testkit::process::run;
use testkit::server::utf8;

use crate::follow::{folder, height, until};
use crate::follow_lies::{Liar, is, string};
use crate::push::{NETWORK, generated};

/// What is sent first, and then without end.
type Flood = (&'static str, &'static str);

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

const FLOODS: [Flood; 9] = [
    ("", "HTTP/1.1 100 Continue\r\n\r\n"),
    ("", "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"),
    ("", "HTTP/1.1 199 Any\r\n\r\n"),
    (HEAD, "X-More: of this\r\n"),
    (HEAD, "x"),
    ("", "\r\n"),
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        "0",
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1",
        " ",
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        "a: b\r\n",
    ),
];

fn flood((first, then): Flood) -> Reply {
    Reply::Flood(first.into(), then.into())
}

#[test]
fn a_node_that_floods_is_left_before_any_timeout() {
    for path in ["/info", "/header?"] {
        // One after the other.
        let count = AtomicUsize::new(0);
        let liar = Liar::new(400, move |asked| {
            let next = || flood(FLOODS[count.fetch_add(1, Ordering::Relaxed) % FLOODS.len()]);
            is(asked, path).then(next)
        });
        // A timeout would end it, too, but only after a core was busy until then.
        let failures = || liar.failures("connect") + liar.failures("content");
        let most = if path == "/info" { 10 } else { 2 };
        until("failures", || failures() >= f64::from(most));
        assert!(liar.failures("timeout") < 1.0, "{path}: {}", liar.follower.log());
        assert_eq!(height(&liar.follower), 0);
    }
}

#[test]
fn an_upgrade_that_nobody_asked_for_is_a_failure() {
    let liar = Liar::new(400, |asked| {
        let upgrade =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
        is(asked, "/cut").then(|| flood((upgrade, "x")))
    });
    until("failures", || liar.failures("status") + liar.failures("connect") >= 2.0);
    assert_eq!(height(&liar.follower), 0);
    liar.assert_recovers();
}

#[test]
fn a_stream_of_events_without_blocks_is_left() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    for then in ["\n", ":x\n", "event: other\ndata: x\n\n"] {
        let liar =
            Liar::new(30, move |asked| is(asked, "/header/updates").then(|| flood((head, then))));
        until("the blocks", || height(&liar.follower) == 600);
        until("failures", || liar.failures("content") >= 2.0);
        liar.follower.logged("without any new block");
        liar.assert_recovers();
    }
}

#[test]
fn a_stream_of_the_same_event_is_left() {
    let known = string(&generated(1, 1, 0.0)[0]);
    let liar = Liar::new(30, move |asked| {
        let event = format!("event:BlockHeader\ndata:\"{known}\"\n\n").into_bytes();
        is(asked, "/header/updates").then_some(Reply::Endless("text/event-stream", event))
    });
    until("the blocks", || height(&liar.follower) == 600);
    until("failures", || liar.failures("content") >= 2.0);
    liar.follower.logged("events of blocks that are stored already");
    liar.assert_recovers();
}

#[test]
fn a_stream_of_events_in_crumbs_is_left_whatever_known_blocks_it_has() {
    let known = string(&generated(1, 1, 0.0)[0]);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let event = format!("event:BlockHeader\ndata:\"{known}\"\n\n");
    let event = format!("{:x}\r\n{event}\r\n", event.len());
    let then = "1\r\n\n\r\n".repeat(2000) + &event;
    let liar = Liar::new(30, move |asked| {
        let flood = || Reply::Flood(head.into(), then.clone().into());
        is(asked, "/header/updates").then(flood)
    });
    until("the blocks", || height(&liar.follower) == 600);
    until("failures", || liar.failures("content") >= 3.0);
    liar.follower.logged("it comes in pieces of less than 64 bytes");
    liar.assert_recovers();
}

#[test]
fn an_answer_in_crumbs_is_left() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let liar = Liar::new(30, move |asked| {
        is(asked, "/cut").then(|| Reply::Flood(head.into(), "1\r\n \r\n".into()))
    });
    until("failures", || liar.failures("content") >= 2.0);
    liar.follower.logged("it comes in pieces of less than 64 bytes");
    liar.assert_recovers();
}

#[test]
fn a_push_ends_where_the_server_floods() {
    let place = folder();
    let file = place.path().join("blocks");
    fs::write(&file, dump(&generated(1, 1, 0.0))).unwrap();
    let line = ("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n", "x");
    let refusal = ("HTTP/1.1 400 Bad Request\r\n\r\n", "no");
    for sent in FLOODS.into_iter().chain([line, refusal]) {
        let node = Node::start(NETWORK);
        node.lie(move |_: &Asked| Some(flood(sent)));
        let outcome = run(["push", &node.address().to_string(), utf8(&file)]);
        outcome.assert_fails(2, &["the server: "]);
    }
}

#[test]
fn a_node_that_floods_where_payloads_are_asked_for_holds_up_no_header() {
    let liar = Liar::new(400, |asked| is(asked, "/payload/").then(|| flood(FLOODS[0])));
    until("the blocks", || height(&liar.follower) == 400 * 20);
    let known: Value = json!(400 * 20);
    assert_eq!(crate::follow::cut_of(&liar.follower, NETWORK)["height"], known);
    liar.assert_recovers();
}
