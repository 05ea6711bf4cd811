//! A server that is kept in step with another node: a Plait, or one that answers as a chainweb-node.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use plait_engine::generate::{History, Plan};
use plait_engine::{ChainId, ChainwebVersion, Header};
use serde_json::Value;
use tempfile::TempDir;
use testkit::block::dump;
use testkit::http::{Client, Request};
use testkit::node::Node;
use testkit::process::{finish, plait, replay_file, run};
use testkit::server::{Server, Signal, utf8};
use testkit::{sorted, stored};

use crate::push::{LONG, NETWORK, generated, with_genesis};

/// Everything soon.
pub(crate) const FAST: [&str; 14] = [
    "--follow-poll-time",
    "0.2",
    "--follow-siblings-time",
    "0.3",
    "--follow-retry-time-min",
    "0.05",
    "--follow-retry-time-max",
    "0.2",
    "--follow-answer-time",
    "3",
    "--follow-stall-time",
    "1.5",
    "--follow-connect-time",
    "2",
];

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A server that follows `url` into the database in `db`.
pub(crate) fn follower(db: &Path, url: &str, flags: &[&str]) -> Server {
    let metrics = ["--metrics", "127.0.0.1:0"];
    let fast = FAST.chunks(2).filter(|pair| !flags.contains(&pair[0])).flatten().copied();
    let fast: Vec<&str> = fast.collect();
    Server::with(&[&["--db", utf8(db), "--follow", url], &metrics[..], &fast, flags].concat())
}

/// A server with these blocks that takes more.
fn upstream(db: &Path, headers: &[Header], flags: &[&str]) -> Server {
    if !headers.is_empty() {
        let outcome = replay_file(db, &["--verify", "full"], "dump", &dump(headers));
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    }
    let own = ["--db", utf8(db), "--network", "development", "--ingest", "127.0.0.1:0"];
    Server::with(&[&own[..], flags].concat())
}

pub(crate) fn push(server: &Server, headers: &[Header]) {
    let request = Request::new("POST", "/push").header("Content-Type", "application/octet-stream");
    let mut client = Client::connect(server.takes().parse().unwrap());
    let answer = client.ask(&request.body(dump(headers)));
    let sum: Value = serde_json::from_str(answer.text().lines().last().unwrap()).unwrap();
    assert_eq!(
        (&sum["done"], &sum["waiting"], &sum["refused"]),
        (&true.into(), &0.into(), &0.into())
    );
}

pub(crate) fn cut_of(server: &Server, network: ChainwebVersion) -> Value {
    let cut = server.get(&format!("/chainweb/0.0/{network}/cut"));
    serde_json::from_str(cut.text()).unwrap()
}

pub(crate) fn height(server: &Server) -> u64 {
    let cut = server.get(&format!("/chainweb/0.0/{NETWORK}/cut"));
    // A partial history without blocks has no cut.
    if cut.status == 404 {
        return 0;
    }
    let cut: Value = serde_json::from_str(cut.text()).unwrap();
    cut["height"].as_u64().unwrap()
}

/// Waits until `is_so`; fails after a long time.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LONG, "{what} does not come");
        thread::sleep(Duration::from_millis(20));
    }
}

/// How many blocks a server has that watches can see.
pub(crate) fn blocks(server: &Server) -> u64 {
    let of = |chain: ChainId| {
        server.metric(&format!("plait_blocks{{chain=\"{chain}\"}}")).unwrap_or(0.0)
    };
    let sum: f64 = NETWORK.chain_ids().map(of).sum();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let sum = sum as u64;
    sum
}

pub(crate) fn end(mut server: Server) {
    server.signal(Signal::TERM);
    assert!(server.wait(LONG).expect("it ends").success(), "{}", server.log());
}

#[test]
fn a_new_database_gets_the_whole_history_of_a_server_forks_too() {
    let headers = generated(1500, 1, 0.05);
    let (a, b) = (folder(), folder());
    let upstream = upstream(a.path(), &headers, &[]);
    let follower = follower(b.path(), &upstream.url(), &["--follow-range-heights", "400"]);
    until("the cut", || cut_of(&follower, NETWORK) == cut_of(&upstream, NETWORK));
    assert_eq!(height(&follower), 1500 * 20);
    until("readiness", || follower.get("/ready").status == 200);
    until("all blocks", || blocks(&follower) == headers.len() as u64 + 20);
    follower.logged("following: catching up");
    end(follower);
    end(upstream);
    assert_eq!(stored(b.path()), with_genesis(&headers));
    assert_eq!(run(["verify", "--db", utf8(b.path())]).status, Some(0));
}

#[test]
fn a_node_that_answers_as_a_chainweb_node_is_followed_page_by_page() {
    let headers = generated(1100, 2, 0.05);
    let node = Node::start(NETWORK);
    node.add(&headers);
    let db = folder();
    let once = |url: &str| run(["follow", url, "--db", utf8(db.path()), "--once"]);
    let outcome = once(&node.url());
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(db.path()), with_genesis(&headers));
    // Again, and with a few more.
    assert_eq!(once(&node.url()).status, Some(0));
    let more = generated(1110, 2, 0.05);
    node.add(&more);
    assert_eq!(once(&node.url()).status, Some(0));
    assert_eq!(stored(db.path()), with_genesis(&[headers, more].concat()));
}

#[test]
fn chains_that_begin_later_are_followed_from_their_first_blocks() {
    let version = ChainwebVersion::RecapDevelopment;
    let headers: Vec<Header> = History::new(&Plan::new(version, 150)).unwrap().collect();
    let (node, db) = (Node::start(version), folder());
    node.add(&headers);
    let args = ["--db", utf8(db.path()), "--once", "--follow-range-heights", "25"];
    let outcome = run([&["follow", &node.url()], &args[..]].concat());
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let genesis: Vec<Header> = version.genesis_headers().collect();
    assert_eq!(stored(db.path()), sorted(headers.iter().chain(&genesis)));
}

#[test]
fn new_blocks_come_by_events_long_before_the_next_look_at_the_cut() {
    let headers = generated(60, 1, 0.0);
    let (node, db) = (Node::start(NETWORK), folder());
    node.have_events();
    node.add(&headers[..200]);
    let follower = follower(db.path(), &node.url(), &["--follow-poll-time", "600"]);
    until("the first blocks", || height(&follower) == 200);
    until("its events", || follower.metric("plait_follow_phase{phase=\"live\"}") == Some(1.0));
    for layer in headers[200..].chunks(20) {
        node.add(layer);
        let expected = layer[0].view().height().get() * 20;
        until("the next blocks", || height(&follower) == expected);
    }
    // Counted right after views can see the blocks.
    until("the count", || follower.metric("plait_follow_blocks_total") == Some(1200.0));
}

#[test]
fn without_events_new_blocks_are_found_by_looking_at_the_cut() {
    let headers = generated(40, 1, 0.0);
    let (node, db) = (Node::start(NETWORK), folder());
    node.add(&headers[..200]);
    let follower = follower(db.path(), &node.url(), &[]);
    until("the first blocks", || height(&follower) == 200);
    until("a phase", || follower.metric("plait_follow_phase{phase=\"polling\"}") == Some(1.0));
    for part in headers[200..].chunks(60) {
        node.add(part);
        until("the next blocks", || {
            height(&follower) == part.last().unwrap().view().height().get() * 20
        });
    }
}

#[test]
fn blocks_on_no_heaviest_branch_come_too() {
    let plain = generated(50, 1, 0.0);
    let forked = generated(50, 1, 0.3);
    let (node, db) = (Node::start(NETWORK), folder());
    node.add(&plain);
    let follower = follower(db.path(), &node.url(), &[]);
    until("the blocks", || height(&follower) == 1000);
    node.add(&forked);
    assert!(forked.len() > plain.len() + 100);
    until("the orphans", || blocks(&follower) == forked.len() as u64 + 20);
}

#[test]
fn a_reorganisation_of_any_depth_is_followed() {
    // Deeper than the window that is not sealed, and then deeper than a branch that is held.
    for (before, after) in [(700, 760), (2300, 2350)] {
        let (old, new) = (generated(before, 1, 0.0), generated(after, 2, 0.0));
        let (node, db) = (Node::start(NETWORK), folder());
        node.add(&old);
        let follower = follower(db.path(), &node.url(), &[]);
        until("the old blocks", || height(&follower) == before * 20);
        node.add(&new);
        until("the new blocks", || height(&follower) == after * 20);
        end(follower);
        assert_eq!(stored(db.path()), with_genesis(&[old, new].concat()));
    }
}

#[test]
fn a_node_that_was_set_back_or_changed_is_followed_on() {
    // The second node knows nothing of the branch that the first one was on.
    let (old, new) = (generated(600, 1, 0.0), generated(640, 2, 0.0));
    let (first, second) = (Node::start(NETWORK), Node::start(NETWORK));
    first.add(&old);
    second.add(&new);
    let db = folder();
    let once = |url: &str| run(["follow", url, "--db", utf8(db.path()), "--once"]);
    assert_eq!(once(&first.url()).status, Some(0));
    let outcome = once(&second.url());
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let all = [old, new].concat();
    assert_eq!(stored(db.path()), with_genesis(&all));
    // One that is behind has nothing to give, which is no failure.
    let behind = Node::start(NETWORK);
    behind.add(&all[..2000]);
    assert_eq!(once(&behind.url()).status, Some(0));
}

#[test]
fn followers_are_followed() {
    let headers = generated(200, 1, 0.05);
    let (a, b, c) = (folder(), folder(), folder());
    let first = upstream(a.path(), &headers[..2000], &[]);
    let second = follower(b.path(), &first.url(), &["--network", "development"]);
    let third = follower(c.path(), &second.url(), &["--network", "development"]);
    until("the first blocks", || height(&third) == height(&first));
    for part in headers[2000..].chunks(100) {
        push(&first, part);
    }
    until("all blocks", || cut_of(&third, NETWORK) == cut_of(&first, NETWORK));
    assert_eq!(height(&third), 200 * 20);
}

#[test]
fn either_side_may_be_killed_and_started_again() {
    let headers = generated(900, 1, 0.03);
    let (a, b) = (folder(), folder());
    let mut first = upstream(a.path(), &headers[..9000], &[]);
    let listen = first.address().to_string();
    let mut second = follower(b.path(), &first.url(), &["--follow-range-heights", "100"]);
    for (round, part) in headers[9000..].chunks(2000).enumerate() {
        thread::sleep(Duration::from_millis(60 * round as u64));
        if round.is_multiple_of(2) {
            second.kill();
            second = follower(b.path(), &first.url(), &[]);
        } else {
            first.kill();
            let flags = ["--listen", &listen];
            let own = ["--db", utf8(a.path()), "--ingest", "127.0.0.1:0"];
            let mut command = plait(["serve"]);
            command.args(own).args(flags).stdout(std::process::Stdio::null());
            first = Server::of_command(command);
        }
        push(&first, part);
    }
    until("the cut", || cut_of(&second, NETWORK) == cut_of(&first, NETWORK));
    until("all blocks", || blocks(&second) == headers.len() as u64 + 20);
    end(first);
    end(second);
    assert_eq!(stored(b.path()), stored(a.path()));
}

#[test]
fn the_next_node_is_asked_where_one_fails() {
    let headers = generated(30, 1, 0.0);
    let (node, db) = (Node::start(NETWORK), folder());
    node.add(&headers);
    // In a new database the first node would be the one that reported its network.
    let outcome = replay_file(db.path(), &[], "dump", &dump(&headers[..20]));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let gone = Node::start(NETWORK).url();
    let urls = format!("{gone},{}", node.url());
    let follower = follower(db.path(), &urls, &["--network", "development"]);
    until("the blocks", || height(&follower) == 600);
    assert!(follower.metric("plait_follow_failures_total{why=\"connect\"}").unwrap() >= 1.0);
    follower.logged(&format!("following: {gone}: no connection"));
}

#[test]
fn a_follower_is_ready_once_it_is_near() {
    let headers = generated(300, 1, 0.0);
    let (node, db) = (Node::start(NETWORK), folder());
    node.add(&headers);
    let gone = Node::start(NETWORK).url();
    let flags = ["--network", "development", "--follow-ready-lag", "100"];
    let alone = follower(&db.path().join("alone"), &gone, &flags);
    let unready = alone.get("/ready");
    assert_eq!((unready.status, unready.text()), (503, "Behind.\n"));
    assert_eq!(alone.get("/health-check").status, 200);
    assert_eq!(alone.metric("plait_follow_lag"), None);
    let follower = follower(db.path(), &node.url(), &flags);
    until("readiness", || follower.get("/ready").status == 200);
    assert_eq!(follower.metric("plait_follow_upstream_cut_height"), Some(6000.0));
    until("no lag", || follower.metric("plait_follow_lag") == Some(0.0));
    assert!(follower.metric("plait_follow_last_contact_timestamp_seconds").unwrap() > 1e9);
}

#[test]
fn pushed_blocks_and_a_replay_go_together_with_following() {
    let headers = generated(120, 1, 0.0);
    let (node, db) = (Node::start(NETWORK), folder());
    node.add(&headers[..1600]);
    let input = db.path().join("dump");
    std::fs::write(&input, dump(&headers[..400])).unwrap();
    let flags = ["--network", "development", "--ingest", "127.0.0.1:0", "--replay", utf8(&input)];
    let follower = follower(&db.path().join("db"), &node.url(), &flags);
    until("the blocks of the node", || height(&follower) == 1600);
    push(&follower, &headers);
    assert_eq!(height(&follower), 2400);
    follower.logged("the replay has ended");
}

#[test]
fn the_command_follows_until_a_signal_and_tells_what_is_wrong() {
    let headers = generated(50, 1, 0.0);
    let (node, db) = (Node::start(NETWORK), folder());
    node.add(&headers[..400]);
    let args = ["follow", &node.url(), "--db", utf8(db.path()), "--follow-poll-time", "0.1"];
    let child = plait(args).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let count = || std::fs::read_dir(db.path()).is_ok().then(|| node.requests());
    until("some requests", || count().is_some_and(|requests| requests > 50));
    node.add(&headers[400..]);
    let before = node.requests();
    until("more requests", || node.requests() > before + 120);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(db.path()), with_genesis(&headers));
    assert_eq!(outcome.err.matches("in step, by asking for its cut").count(), 1, "{}", outcome.err);

    let other = folder();
    let made = run([
        "follow",
        &node.url(),
        "--db",
        utf8(other.path()),
        "--network",
        "mainnet01",
        "--once",
    ]);
    made.assert_fails(2, &["belongs to network development, but --network is mainnet01"]);
    // The one that is asked for is that of the database, too.
    let asked = ["--db", utf8(db.path()), "--network", "mainnet01"];
    let wrong = "database belongs to network development, not mainnet01";
    run([&["follow", &node.url(), "--once"], &asked[..]].concat()).assert_fails(2, &[wrong]);
    run([&["serve", "--listen", "127.0.0.1:0"], &asked[..]].concat()).assert_fails(2, &[wrong]);
    let gone = Node::start(NETWORK).url();
    let new = other.path().join("new");
    let untold = run(["follow", &gone, "--db", utf8(&new), "--once"]);
    untold.assert_fails(2, &["no node reports the network", "Check the URL"]);
    assert!(!untold.err.contains("--network"), "{}", untold.err);
    assert!(!new.exists());
    run(["follow", "127.0.0.1:1848", "--db", "x"])
        .assert_fails(2, &["as in http://127.0.0.1:1848"]);
    run(["follow", &gone]).assert_fails(2, &["no database to follow into"]);
}

#[test]
fn a_node_is_followed_over_https_only_if_its_certificate_is_trusted() {
    let headers = generated(30, 1, 0.0);
    let (node, db) = (Node::start_tls(NETWORK), folder());
    node.add(&headers);
    let follow = |flags: &[&str]| {
        let own = ["follow", &node.url(), "--db", utf8(db.path()), "--once"];
        run([&own[..], &["--network", "development"], flags].concat())
    };
    follow(&[]).assert_fails(2, &["no connection", "certificate"]);
    let ca = db.path().join("ca.pem");
    std::fs::write(&ca, node.authority().unwrap()).unwrap();
    let outcome = follow(&["--ca", utf8(&ca)]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(db.path()), with_genesis(&headers));
    follow(&["--ca", "nowhere.pem"]).assert_fails(2, &["nowhere.pem: No such file"]);
    let empty = db.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    follow(&["--ca", utf8(&empty)]).assert_fails(2, &["there is no certificate in it"]);
}
