//! Nodes that hold only part of the history: the error comes at once, and says what to do.

use std::fs;
use std::path::Path;

use plait_engine::generate::{History, Plan};
use plait_engine::{ChainwebVersion, Header};
use testkit::block::dump;
use testkit::node::Node;
use testkit::process::{Outcome, replay_file, run};
use testkit::server::utf8;
use testkit::{sorted, stored};

use crate::follow::{end, folder, follower, height, until};
use crate::push::{NETWORK, generated, with_genesis};

fn once(node: &Node, db: &Path, flags: &[&str]) -> Outcome {
    run([&["follow", &node.url(), "--db", utf8(db), "--once"], flags].concat())
}

fn above(headers: &[Header], least: u64) -> Vec<Header> {
    headers.iter().filter(|header| header.view().height().get() >= least).copied().collect()
}

#[test]
fn a_new_database_needs_a_flag_for_a_node_without_the_beginning() {
    let headers = generated(900, 1, 0.02);
    // With the first blocks, as after a compaction, and without.
    for kept in [true, false] {
        let (node, place) = (Node::start(NETWORK), folder());
        node.add(&headers);
        node.forget_below(500, kept, |_| true);
        let db = place.path().join("db");
        let lacks = "it holds only chains 0 to 19 from height 500 on; missing: heights 1 to 499 of \
                     chains 0 to 19";
        once(&node, &db, &[])
            .assert_fails(2, &[lacks, "add --follow-allow-partial", "Nothing was written"]);
        let serve = ["serve", "--db", utf8(&db), "--listen", "127.0.0.1:0"];
        let serve = run([&serve[..], &["--follow", &node.url()]].concat());
        serve.assert_fails(2, &[lacks, "add --follow-allow-partial"]);
        assert!(!db.exists());

        let outcome = once(&node, &db, &["--follow-allow-partial"]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        let held = above(&headers, 500);
        assert_eq!(stored(&db), sorted(&held));
        // It continues without the flag, and while the node drops more blocks.
        let more = generated(950, 1, 0.0);
        node.add(&more);
        node.forget_below(600, kept, |_| true);
        let outcome = once(&node, &db, &[]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert_eq!(stored(&db), sorted(held.iter().chain(&above(&more, 500))));
    }
}

#[test]
fn a_server_that_makes_its_database_from_a_part_of_the_history_follows_on() {
    let headers = generated(900, 1, 0.0);
    let (node, place) = (Node::start(NETWORK), folder());
    node.add(&headers[..700 * 20]);
    node.forget_below(650, true, |_| true);
    let db = place.path().join("db");
    let follower = follower(&db, &node.url(), &["--follow-allow-partial"]);
    until("the cut", || height(&follower) == 700 * 20);
    node.add(&headers[700 * 20..]);
    until("the new blocks", || height(&follower) == 900 * 20);
    end(follower);
    assert_eq!(stored(&db), sorted(&above(&headers, 650)));
}

#[test]
fn a_database_that_ends_below_is_told_what_is_missing() {
    let headers = generated(900, 1, 0.0);
    let (node, db) = (Node::start(NETWORK), folder());
    node.add(&headers);
    // On some chains only.
    node.forget_below(500, true, |chain| chain.get() >= 5 && chain.get() != 7);
    let outcome = replay_file(db.path(), &[], "dump", &dump(&headers[..100 * 20]));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let lacks = "it holds only chains 5 to 6, 8 to 19 from height 500 on; missing: heights 101 to 499 \
                 of chains 5 to 6, 8 to 19";
    let advice = "replay them from a dump or an archive first, or follow a node that has them";
    once(&node, db.path(), &[]).assert_fails(2, &[lacks, advice]);
    let server = follower(db.path(), &node.url(), &[]);
    server.logged(lacks);
    until("a failure", || {
        server.metric("plait_follow_failures_total{why=\"partial\"}").is_some_and(|n| n >= 1.0)
    });
    end(server);
    // The same holds for a database that is near the cut of a node.
    let near = Node::start(NETWORK);
    near.add(&headers[..300 * 20]);
    near.forget_below(200, true, |_| true);
    let lacks = "from height 200 on; missing: heights 101 to 199 of chains 0 to 19";
    once(&near, db.path(), &[]).assert_fails(2, &[lacks, advice]);
    // A database that has more blocks than the node drops continues.
    let outcome = replay_file(db.path(), &[], "more", &dump(&headers[..600 * 20]));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(once(&node, db.path(), &[]).status, Some(0));
    assert_eq!(stored(db.path()), with_genesis(&headers));
}

#[test]
fn a_database_that_reaches_just_below_what_a_node_holds_goes_on() {
    let headers = generated(900, 1, 0.0);
    for ends in [499, 500, 501, 504] {
        let (node, db) = (Node::start(NETWORK), folder());
        node.add(&headers);
        node.forget_below(500, true, |_| true);
        let outcome = replay_file(db.path(), &[], "dump", &dump(&headers[..ends * 20]));
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        let outcome = once(&node, db.path(), &[]);
        assert_eq!(outcome.status, Some(0), "{ends}: {}", outcome.err);
        assert_eq!(stored(db.path()), with_genesis(&headers));
    }
}

#[test]
fn chains_that_begin_later_do_not_make_it_wait_for_ever() {
    let version = ChainwebVersion::RecapDevelopment;
    let headers: Vec<Header> = History::new(&Plan::new(version, 330)).unwrap().collect();
    let (node, db) = (Node::start(version), folder());
    node.add(&headers);
    node.forget_below(310, true, |_| true);
    let first = db.path().join("first");
    fs::write(&first, dump(&headers[..10])).unwrap();
    let place = db.path().join("db");
    let network = ["--network", "recap-development"];
    let replay = ["replay", "--db", utf8(&place), utf8(&first)];
    let outcome = run([&replay[..], &network].concat());
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let flags = ["--follow-range-heights", "25"];
    once(&node, &place, &flags).assert_fails(
        2,
        &["missing: heights 2 to 309 of chains 0 to 9, heights 61 to 309 of chains 10 to 19"],
    );
    let new = db.path().join("new");
    let outcome = once(&node, &new, &["--follow-allow-partial"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(&new).len(), above(&headers, 310).len());
}
