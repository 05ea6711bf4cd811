//! New databases, made for a node that does not answer, answers late, or is another one; and what the
//! messages say about it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::block::dump;
use testkit::node::{Asked, Node, Reply};
use testkit::process::{Outcome, replay_file, run};
use testkit::server::{Server, utf8};
use testkit::stored;

use crate::follow::{end, folder, follower, height, until};
use crate::follow_lies::is;
use crate::push::{NETWORK, generated, with_genesis};

/// Longer than any of these tests may take, and what a node may take that never answers.
const LATE: &str = "50";

const SOON: Duration = Duration::from_secs(25);

fn once(url: &str, flags: &[&str]) -> Outcome {
    let db = folder();
    let db = db.path().join("db");
    run([&["follow", url, "--db", utf8(&db), "--once"], flags].concat())
}

/// A node that fails so many requests for its info.
fn failing(count: usize, reply: Reply) -> Node {
    let node = Node::start(NETWORK);
    node.add(&generated(10, 1, 0.0));
    let failed = AtomicUsize::new(0);
    node.lie(move |asked: &Asked| {
        let fails = is(asked, "/info") && failed.fetch_add(1, Ordering::Relaxed) < count;
        fails.then(|| reply.clone())
    });
    node
}

#[test]
fn a_new_database_is_created_although_some_nodes_behind_the_url_fail() {
    for (count, reply) in [
        (7, Reply::Close),
        (4, Reply::Json(503, "{}".to_owned())),
        (4, Reply::Json(200, "{}".to_owned())),
    ] {
        let (node, db) = (failing(count, reply), folder());
        let outcome = run(["follow", &node.url(), "--db", utf8(db.path()), "--once"]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert_eq!(stored(db.path()), with_genesis(&generated(10, 1, 0.0)));
    }
}

#[test]
fn a_new_database_waits_for_a_node_that_is_down() {
    let (node, db) = (failing(25, Reply::Close), folder());
    let server = follower(db.path(), &node.url(), &[]);
    server.logged("waiting for a node that reports the network of the new database");
    until("the blocks", || height(&server) == 200);
    end(server);
    let wrong = failing(usize::MAX, Reply::Json(200, "{\"nodeVersion\":\"x\"}".to_owned()));
    let place = folder();
    let db = place.path().join("new");
    let outcome = run(["follow", &wrong.url(), "--db", utf8(&db)]);
    outcome.assert_fails(2, &["its network is \"x\"", "--network NAME"]);
}

#[test]
fn a_node_that_never_answers_holds_up_neither_the_next_one_nor_the_start() {
    let headers = generated(30, 1, 0.0);
    let silent = Node::start(NETWORK);
    silent.lie(|_| Some(Reply::Silence));
    let good = Node::start(NETWORK);
    good.add(&headers);
    let late = ["--follow-answer-time", LATE, "--follow-stall-time", LATE];
    let begin = Instant::now();
    let (db, new, urls) = (folder(), folder(), format!("{},{}", silent.url(), good.url()));
    // Without a database, and with one.
    for _ in 0..2 {
        let server = follower(db.path(), &urls, &late);
        until("the blocks", || height(&server) == 600);
        let text = format!("following: {}: no answer to /info so far", silent.url());
        server.logged(&text);
        end(server);
    }
    let outcome = once(&silent.url(), &[&["--follow-answer-time", "3"][..]].concat());
    outcome.assert_fails(2, &["no answer to /info so far", "Check the URL"]);
    assert!(!outcome.err.contains("--network"), "{}", outcome.err);
    let named = [&late[..], &["--network", "development"]].concat();
    let alone = follower(new.path(), &silent.url(), &named);
    assert_eq!(height(&alone), 0);
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
}

#[test]
fn another_network_is_refused_with_advice_that_helps() {
    let (db, headers) = (folder(), generated(3, 1, 0.0));
    let outcome = replay_file(db.path(), &[], "dump", &dump(&headers));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let follow = |url: &str| run(["follow", url, "--db", utf8(db.path()), "--once"]);
    let other = Node::start(plait_engine::ChainwebVersion::Mainnet01);
    let outcome = follow(&other.url());
    outcome
        .assert_fails(2, &["its network is mainnet01", "Name another node, or another database."]);
    assert!(!outcome.err.contains("Run the same command"), "{}", outcome.err);
    // The same by the path of the URL, whatever the node says.
    let node = Node::start(NETWORK);
    node.add(&headers);
    let url = format!("{}/chainweb/0.0/mainnet01", node.url());
    let named = format!("the URL {url} names network mainnet01, and");
    follow(&url).assert_fails(2, &[&named, "the database is development"]);
    once(&url, &[]).assert_fails(2, &[&named]);
    once(&url, &["--network", "development"]).assert_fails(2, &[&named]);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--db", utf8(db.path()), "--follow", &url];
    run(serve).assert_fails(2, &[&named]);
    let right = format!("{}/chainweb/0.0/development", node.url());
    assert_eq!(follow(&right).status, Some(0));
    follow(&format!("{}/chainweb/0.0/moon", node.url())).assert_fails(2, &["unknown network"]);
}

#[test]
fn messages_say_what_a_node_did_without_words_of_a_library() {
    let fails = |reply: Reply, path: &'static str, texts: &[&str]| {
        let node = Node::start(NETWORK);
        node.add(&generated(3, 1, 0.0));
        node.lie(move |asked| is(asked, path).then(|| reply.clone()));
        assert_clean(&once(&node.url(), &["--network", "development"]), texts);
    };
    let null = Reply::Json(200, "null".to_owned());
    fails(null.clone(), "/cut", &["/cut: the answer is not a cut"]);
    fails(null.clone(), "/info", &["/info: the answer is not the info of a node"]);
    fails(null, "/header/branch", &["the answer is not a page of headers"]);
    fails(Reply::Json(200, "{".to_owned()), "/cut", &["/cut: the answer is not JSON"]);
    let cut = Reply::Cut("application/json", b"{".to_vec());
    fails(cut, "/cut", &["/cut: the connection broke before the answer was complete\n"]);
    fails(Reply::Close, "/cut", &["/cut: the connection broke before the answer came\n"]);
    // What a server that speaks TLS answers to HTTP.
    let alert = Reply::Flood(b"\x15\x03\x03\0\x02\x02\x46".to_vec(), b"x".to_vec());
    fails(alert, "/info", &["the answer is not HTTP", "https://"]);
    let db = folder();
    let plain = Server::with(&[
        "--db",
        utf8(db.path()),
        "--network",
        "development",
        "--ingest",
        "127.0.0.1:0",
    ]);
    let url = plain.url().replace("http://", "https://");
    assert_clean(&once(&url, &[]), &["no connection: the node speaks no TLS", "http://"]);
    let gone = Node::start(NETWORK).url();
    assert_clean(&once(&gone, &[]), &["no connection: ", "Connection refused", "Check the URL"]);
}

/// Checks that it fails with these texts, and that no text is of a library.
fn assert_clean(outcome: &Outcome, texts: &[&str]) {
    outcome.assert_fails(2, texts);
    for word in ["client error", "SendRequest", "struct ", "expected value", "reading a body"] {
        assert!(!outcome.err.contains(word), "{word:?} in:\n{}", outcome.err);
    }
}
