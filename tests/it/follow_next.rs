//! Several nodes of which one is silent, slow, wrong, or on another network: the next one is asked soon, and
//! the log says why.

use std::path::Path;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use plait_engine::{ChainwebVersion, Header};
use tempfile::TempDir;
use testkit::block::dump;
use testkit::http::{Client, Request};
use testkit::node::{Asked, Node, Reply};
use testkit::process::{Outcome, replay_file, run};
use testkit::server::{Server, utf8};
use testkit::stored;

use crate::follow::{end, folder, follower, height, until};
use crate::follow_lies::is;
use crate::push::{NETWORK, generated, with_genesis};

/// More heights than branches are requested for.
static HEADERS: LazyLock<Vec<Header>> = LazyLock::new(|| generated(310, 1, 0.0));

/// A node that is silent is given up after 3 s, if there is another one.
const LATE: [&str; 4] = ["--follow-answer-time", "18", "--follow-stall-time", "18"];

/// Less than those 18 s, and far more than 3.
const SOON: Duration = Duration::from_secs(15);

fn honest() -> Node {
    let node = Node::start(NETWORK);
    node.add(&HEADERS);
    node
}

/// A node that answers requests for this path like that.
fn wrong_at(path: &'static str, reply: Reply) -> Node {
    let node = honest();
    node.lie(move |asked| is(asked, path).then(|| reply.clone()));
    node
}

/// A database with so many of the heights.
fn database(heights: usize) -> TempDir {
    let db = folder();
    let outcome = replay_file(db.path(), &[], "dump", &dump(&HEADERS[..heights * 20]));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    db
}

fn once(db: &Path, urls: &[String], flags: &[&str]) -> Outcome {
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    run([&["follow", "--db", utf8(db), "--once"], &urls[..], flags].concat())
}

#[test]
fn a_node_that_stops_answering_is_soon_left_for_the_next_one() {
    let leave = |path: &'static str, heights: usize, reply: Reply| {
        let (bad, good, db) = (wrong_at(path, reply), honest(), database(heights));
        let begin = Instant::now();
        let outcome = once(db.path(), &[bad.url(), good.url()], &LATE);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert!(begin.elapsed() < SOON, "{path}: {:?}", begin.elapsed());
        let lines: Vec<&str> =
            outcome.err.lines().filter(|line| line.contains("asking another node")).collect();
        assert!(
            matches!(lines[..], [line] if line.contains(&format!("following: {}: ", bad.url()))
                && line.contains(path)
                && line.contains(": nothing came for 3 s")),
            "{path}: {}",
            outcome.err
        );
        assert_eq!(stored(db.path()), with_genesis(&HEADERS));
    };
    thread::scope(|scope| {
        for (path, heights) in [("/cut", 1), ("/header?", 1), ("/header/branch", 300)] {
            for reply in [Reply::Silence, Reply::Trickle("application/json")] {
                scope.spawn(move || leave(path, heights, reply));
            }
        }
    });
}

#[test]
fn a_new_database_is_filled_from_a_node_that_answers_and_the_log_names_what_another_one_does_not() {
    for (path, request) in
        [("/cut", "/cut"), ("/header?", "some of the requests for its lowest headers")]
    {
        let (bad, good, place) = (wrong_at(path, Reply::Silence), honest(), folder());
        let (db, begin) = (place.path().join("db"), Instant::now());
        let outcome = once(&db, &[bad.url(), good.url()], &LATE);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert!(begin.elapsed() < SOON, "{path}: {:?}", begin.elapsed());
        let line = format!("following: {}: no answer to {request} so far", bad.url());
        assert!(outcome.err.contains(&line), "{}", outcome.err);
        // It is not asked again.
        assert!(!outcome.err.contains("nothing came"), "{}", outcome.err);
        assert_eq!(stored(&db), with_genesis(&HEADERS));
    }
}

#[test]
fn a_server_leaves_a_node_whose_events_do_not_come() {
    let (bad, good) = (wrong_at("/header/updates", Reply::Silence), honest());
    good.have_events();
    let (db, urls) = (folder(), format!("{},{}", bad.url(), good.url()));
    let flags = [&LATE[..], &["--network", "development"]].concat();
    let server = follower(db.path(), &urls, &flags);
    let line = server.logged("/header/updates: nothing came for 3 s");
    assert!(line.contains(&bad.url()), "{line}");
    server.logged("following: in step, by its events");
    end(server);
}

#[test]
fn a_slow_node_is_followed_if_no_other_one_answers() {
    let (slow, silent) = (honest(), wrong_at("/cut", Reply::Silence));
    slow.lie(|asked| {
        if is(asked, "/cut") {
            // More than the second that it gets while the other one can be asked.
            thread::sleep(Duration::from_millis(1500));
        }
        None
    });
    let db = database(1);
    let flags = ["--follow-answer-time", "3", "--follow-stall-time", "3"];
    let outcome = once(db.path(), &[slow.url(), silent.url()], &flags);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(outcome.err.matches("asking another node").count(), 2, "{}", outcome.err);
    assert_eq!(stored(db.path()), with_genesis(&HEADERS));
}

#[test]
fn the_log_says_why_another_node_is_asked() {
    for (reply, why) in [
        (Reply::Json(503, "{}".to_owned()), "answered with 503 Service Unavailable"),
        (Reply::Close, "the connection broke before the answer came"),
        (
            Reply::Cut("application/json", b"{".to_vec()),
            "the connection broke before the answer was complete",
        ),
    ] {
        let (bad, good, db) = (wrong_at("/cut", reply), honest(), database(1));
        let line = format!("following: {}: /chainweb/0.0/development/cut: {why}; ", bad.url());
        let alone = once(db.path(), &[bad.url()], &[]);
        alone.assert_fails(2, &[why]);
        assert!(!alone.err.contains("asking another node"), "{}", alone.err);
        // With a database, and without one.
        for db in [db, folder()] {
            let outcome = once(db.path(), &[bad.url(), good.url()], &[]);
            assert_eq!(outcome.status, Some(0), "{}", outcome.err);
            let lines = outcome.err.matches(&format!("{line}asking another node")).count();
            assert_eq!(lines, 1, "{}", outcome.err);
        }
    }
}

#[test]
fn a_new_database_of_a_named_network_is_filled_by_a_node_of_that_network() {
    let other = Node::start(ChainwebVersion::Mainnet01);
    let (good, place) = (honest(), folder());
    let (db, new) = (place.path().join("db"), place.path().join("new"));
    let named = ["--network", "development"];
    let outcome = once(&db, &[other.url(), good.url()], &named);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let line = format!(
        "following: {}: its network is mainnet01, and that of the database is development; asking \
         another node",
        other.url()
    );
    assert_eq!(outcome.err.matches(&line).count(), 1, "{}", outcome.err);
    assert_eq!(stored(&db), with_genesis(&HEADERS));
    let server = follower(&new, &format!("{},{}", other.url(), good.url()), &named);
    until("the blocks", || height(&server) == HEADERS.len() as u64);
    server.logged(&line);
    end(server);
    // If none fits, nothing is created.
    let (none, gone) = (place.path().join("none"), Node::start(NETWORK).url());
    let belongs = format!("{} belongs to network mainnet01", other.url());
    let refused = format!("error: {belongs}, but --network is development. Nothing was written");
    let outcome = once(&none, &[other.url(), gone], &named);
    outcome.assert_fails(2, &[&refused, "Name another node. Or, if", "--network mainnet01"]);
    let third = Node::start(ChainwebVersion::Testnet04);
    let outcome = once(&none, &[other.url(), third.url()], &named);
    let both = format!("{belongs}, {} belongs to network testnet04, but", third.url());
    outcome.assert_fails(2, &[&both, "Name another node."]);
    assert!(!outcome.err.contains("if that network is meant"), "{}", outcome.err);
    assert!(!none.exists());
}

/// A node that sends the answers of a server in chunks of one byte.
fn crumbling(server: &Server) -> Node {
    let (node, address) = (Node::start(NETWORK), server.address());
    node.lie(move |asked: &Asked| {
        if is(asked, "/updates") {
            return None;
        }
        // The lowest block is requested as JSON.
        let is_lowest = is(asked, "limit=1");
        let octets = "application/octet-stream, application/json;q=0.5";
        let request = Request::new(&asked.method, asked.target.clone())
            .accept(if is_lowest { "application/json" } else { octets })
            .header("Content-Type", "application/json")
            .body(asked.body.clone());
        let answer = Client::connect(address).ask(&request);
        let is_octets = answer.header("Content-Type") == Some("application/octet-stream");
        let media = if is_octets { "application/octet-stream" } else { "application/json" };
        Some(Reply::Crumbs(answer.status, media, answer.body))
    });
    node
}

#[test]
fn a_node_that_answers_in_crumbs_is_left_for_the_next_one_and_followed_if_it_is_the_only_one() {
    let own = database(310);
    let server = Server::with(&["--db", utf8(own.path())]);
    let (bad, good) = (crumbling(&server), honest());
    let crumbs = "it comes in pieces of less than 64 bytes; ";
    let (db, begin) = (folder(), Instant::now());
    let no_payloads = ["--follow-payloads", "no"];
    let outcome = once(db.path(), &[bad.url(), good.url()], &no_payloads);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let lines = outcome.err.matches(&format!("{crumbs}asking another node")).count();
    assert_eq!(lines, 1, "{}", outcome.err);
    assert_eq!(stored(db.path()), with_genesis(&HEADERS));
    let db = folder();
    let outcome = once(db.path(), &[bad.url()], &no_payloads);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let lines = outcome.err.matches(&format!("{crumbs}taking the blocks that come")).count();
    assert_eq!(lines, 1, "{}", outcome.err);
    assert_eq!(stored(db.path()), with_genesis(&HEADERS));
}
