//! What blocks carry, where they are pushed, and where another node is followed.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use testkit::block::dump;
use testkit::carried::{Block, block_object, blocks, headers, line, lines, object};
use testkit::http::{Events, Request};
use testkit::node::{Node, Reply};
use testkit::process::{plait, replay_file, run, run_with_input};
use testkit::server::{Server, utf8};

use crate::follow::{end, folder, follower, height, push, until};
use crate::http_data::BASE;
use crate::payloads_stored::assert_carried;
use crate::push::NETWORK;
use crate::push_http::{LINES, OCTETS, assert_sum, client, request, sum, taking};

/// A server that takes blocks, with these already.
fn upstream(db: &Path, blocks: &[Block]) -> Server {
    let outcome = replay_file(db, &["--verify", "full"], "blocks.jsonl", &lines(blocks));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    Server::with(&["--db", utf8(db), "--ingest", "127.0.0.1:0"])
}

/// Whether a server has what this block carries.
fn has(server: &Server, (header, payload): &Block) -> bool {
    let (chain, hash) = (header.view().chain(), payload.hash());
    let path = format!("{BASE}/chain/{chain}/payload/{hash}/outputs");
    let answer = server.get(&path);
    if answer.status != 200 {
        return false;
    }
    let (got, wanted): (Value, Value) = (
        serde_json::from_str(answer.text()).unwrap(),
        serde_json::from_str(&object(payload.view())).unwrap(),
    );
    assert_eq!(got, wanted);
    true
}

fn count(server: &Server, blocks: &[Block]) -> usize {
    blocks.iter().filter(|block| has(server, block)).count()
}

#[test]
fn blocks_are_pushed_with_what_they_carry_or_get_it_later() {
    let (db, blocks) = (folder(), blocks(20, 1, 0.1, 3));
    let server = taking(db.path(), &[]);
    let (first, second) = blocks.split_at(blocks.len() / 2);
    let mut client = client(&server);
    let (all, half) = (blocks.len() as u64, first.len() as u64);
    assert_sum(&client.ask(&request(LINES, lines(first))), [half, 0, 0, 0]);
    assert_eq!(count(&server, first), first.len());
    // Headers alone, and what they carry behind.
    let bytes = dump(&headers(second));
    assert_sum(&client.ask(&request(OCTETS, bytes)), [all - half, 0, 0, 0]);
    assert_eq!(count(&server, second), 0);
    assert_sum(&client.ask(&request(LINES, lines(second))), [0, all - half, 0, 0]);
    assert_eq!(count(&server, &blocks), blocks.len());
    end(server);
    assert_carried(db.path(), &blocks);
}

#[test]
fn a_pushed_payload_that_is_wrong_is_refused_and_its_header_is_stored() {
    let (db, blocks) = (folder(), blocks(2, 1, 0.0, 1));
    let server = taking(db.path(), &[]);
    let ((header, _), (_, other)) = (&blocks[0], &blocks[1]);
    let wrong = block_object(header.view(), &object(other.view())) + "\n";
    for outcome in ["stored", "known"] {
        let answer = client(&server).ask(&request(LINES, wrong.clone()));
        let sum = sum(&answer);
        assert_eq!((&sum[outcome], &sum["records"]), (&1.into(), &1.into()), "{sum}");
        assert_eq!((&sum["refused"], &sum["payloadsRefused"]), (&0.into(), &1.into()), "{sum}");
        let told =
            format!("\"outcome\":\"{outcome}\",\"payload\":\"refused\",\"place\":\"line 1\"");
        assert!(answer.text().contains(&told), "{}", answer.text());
        assert!(answer.text().contains("\"rules\":[\"PayloadHash\"]"), "{}", answer.text());
        assert!(!has(&server, &blocks[0]));
    }
    let pushed = run_with_input(plait(["push", &server.takes(), "-"]), wrong.into_bytes());
    pushed.assert_fails(1, &["payload refused: line 1: ", "1 already there, 1 not stored"]);
    // The header is there, and the payload comes again.
    assert_sum(&client(&server).ask(&request(LINES, line(&blocks[0]))), [0, 1, 0, 0]);
    assert!(has(&server, &blocks[0]));
}

#[test]
fn a_follower_takes_what_blocks_carry_near_the_tips_or_of_all_or_none() {
    let all = blocks(600, 1, 0.02, 3);
    let (old, new) = all.split_at(580 * 20);
    let a = folder();
    let first = upstream(a.path(), old);
    let follow = |db: &Path, what: &str| {
        let flags = ["--network", "development", "--follow-payloads", what];
        follower(db, &first.url(), &flags)
    };
    let (yes, auto, no) = (folder(), folder(), folder());
    let followers =
        [follow(yes.path(), "yes"), follow(auto.path(), "auto"), follow(no.path(), "no")];
    until("the cut", || followers.iter().all(|follower| height(follower) == height(&first)));
    let body = lines(new);
    let pushed = client(&first).ask(&request(LINES, body));
    assert_eq!(pushed.status, 200);
    until("the cut", || followers.iter().all(|follower| height(follower) == height(&first)));
    until("all payloads", || {
        followers[0].get(&format!("{BASE}/cut")).status == 200
            && all.iter().step_by(97).all(|block| has(&followers[0], block))
    });
    until("new payloads", || count(&followers[1], new) == new.len());
    let oldest = &all[..20];
    assert_eq!(count(&followers[1], oldest), 0, "far below the tips");
    assert_eq!(count(&followers[2], new), 0);
    // All of them, not only those that were asked for here.
    let missing = || all.iter().find(|block| !has(&followers[0], block));
    until("the rest", || missing().is_none());
    let [yes_follower, ..] = followers;
    end(yes_follower);
    assert_carried(yes.path(), &all);
}

#[test]
fn new_blocks_have_what_they_carry_when_events_tell_of_them() {
    let all = blocks(40, 2, 0.0, 1);
    let (old, new) = all.split_at(700);
    let (a, b) = (folder(), folder());
    let first = upstream(a.path(), old);
    let second = follower(b.path(), &first.url(), &["--network", "development"]);
    until("the old blocks", || height(&second) == height(&first));
    until("its events", || second.metric("plait_follow_phase{phase=\"live\"}") == Some(1.0));
    let updates = Request::get(format!("{BASE}/block/updates"));
    let mut events = Events::open(second.address(), &updates);
    let mut awaited = BTreeSet::new();
    for block in new {
        let answer = client(&first).ask(&request(LINES, line(block)));
        assert_sum(&answer, [1, 0, 0, 0]);
        awaited.insert(block.0.view().hash().to_string());
    }
    // Old ones may join while it begins, and one without what it carries has no event here.
    while !awaited.is_empty() {
        let event = events.event().unwrap();
        assert!(event.data.contains("\"payloadWithOutputs\":{"), "{}", event.data);
        awaited.remove(event.member("hash"));
    }
}

#[test]
fn nodes_without_payloads_are_followed_all_the_same() {
    let all = blocks(30, 3, 0.0, 1);
    let (node, db) = (Node::start(NETWORK), folder());
    node.have_events();
    node.add(&headers(&all[..400]));
    let follower = follower(db.path(), &node.url(), &["--follow-payloads", "yes"]);
    until("the blocks", || height(&follower) == 400);
    node.add(&headers(&all[400..]));
    until("the new blocks", || height(&follower) == 600);
    let before = node.requests();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let requests = node.requests() - before;
    assert!(requests < 400, "{requests} requests");
    end(follower);
    let once =
        ["follow", &node.url(), "--db", utf8(db.path()), "--follow-payloads", "yes", "--once"];
    // All were asked for.
    let missing = "the headers are in step, but http";
    run(once)
        .assert_fails(2, &[missing, ": 600 payloads are missing there", "--follow-payloads yes"]);
    let auto = run([&once[..4], &["--once"]].concat());
    assert_eq!(auto.status, Some(0), "{}", auto.err);
}

#[test]
fn payloads_that_do_not_match_their_hashes_are_logged_and_counted() {
    let (all, place) = (blocks(10, 3, 0.0, 1), folder());
    let node = Node::start(NETWORK);
    node.add(&headers(&all));
    let (other, own) = (object(all[0].1.view()), all[0].1.hash().to_string());
    node.lie(move |asked| {
        let hashes: Vec<String> = serde_json::from_slice(&asked.body).ok()?;
        let wrong = hashes.into_iter().filter(|hash| *hash != own).skip(1).map(|hash| {
            let mut object: Value = serde_json::from_str(&other).unwrap();
            object["payloadHash"] = hash.into();
            object
        });
        let list = Value::from(wrong.collect::<Vec<_>>()).to_string();
        asked.target.contains("/payload/").then_some(Reply::Json(200, list))
    });
    let flags = ["--network", "development", "--follow-payloads", "yes"];
    let server = follower(&place.path().join("served"), &node.url(), &flags);
    let failures = || server.metric("plait_follow_failures_total{why=\"payload\"}").unwrap_or(0.0);
    until("failures", || failures() >= 20.0);
    until("the headers", || height(&server) == 200);
    server.logged("it gave a payload that is wrong: chain ");
    server.logged("payloads are missing there; their headers are stored without them");
    end(server);
    let db = place.path().join("once");
    let once = ["follow", &node.url(), "--db", utf8(&db), "--once", "--follow-payloads", "yes"];
    let outcome = run(once);
    outcome.assert_fails(2, &["a payload that is wrong", ": 200 payloads are missing there"]);
    assert!(outcome.err.matches("WARN").count() < 5, "{}", outcome.err);
}

#[test]
fn pushing_to_a_follower_s_node_reaches_the_follower_with_everything() {
    let all = blocks(12, 4, 0.0, 1);
    let (a, b) = (folder(), folder());
    let first = taking(a.path(), &[]);
    let second = follower(b.path(), &first.url(), &["--network", "development"]);
    until("a beginning", || second.metric("plait_follow_phase{phase=\"live\"}") == Some(1.0));
    push(&first, &headers(&all));
    until("the headers", || height(&second) == 240);
    assert_sum(&client(&first).ask(&request(LINES, lines(&all))), [0, 240, 0, 0]);
    until("what they carry", || count(&second, &all) == all.len());
}
