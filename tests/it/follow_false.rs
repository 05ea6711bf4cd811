//! A load balancer in front of an honest node and one that is wrong: provably false blocks are left out and
//! counted, and the true ones are stored nevertheless.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use plait_engine::header::RawHeader;
use plait_engine::header::merkle;
use plait_engine::{BlockHash, ChainId, Header};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::balance::Balancer;
use testkit::block::{dump, sealed, sibling};
use testkit::carried::{Block, blocks as carried, headers as headers_of, lines};
use testkit::node::{Asked, Node, Reply};
use testkit::process::{replay_file, run};
use testkit::server::{Server, utf8};
use testkit::{sorted, stored};

use crate::follow::{end, folder, follower, height, until};
use crate::payloads_stored::assert_carried;
use crate::push::{NETWORK, generated, with_genesis};

const HEIGHTS: u64 = 1200;

fn chain_and_height(header: &Header) -> (u32, u64) {
    (header.view().chain().get(), header.view().height().get())
}

/// The block with something changed, but the same hash.
fn distorted(header: &Header) -> Header {
    let raw = *header.view().raw();
    Header::new(RawHeader { nonce: 99.into(), ..raw }).unwrap()
}

/// The block with a time before its parent's, and a hash that matches.
fn too_old(header: &Header) -> Header {
    sealed(RawHeader { creation_time: 0.into(), ..*header.view().raw() })
}

/// The block with a claim of more work than is below it, and a hash that matches.
fn heavier(header: &Header) -> Header {
    let mut raw = *header.view().raw();
    raw.weight[20] ^= 1;
    sealed(raw)
}

/// `headers`, with `change` applied to those at these chains and heights.
fn changed(headers: &[Header], at: &[(u32, u64)], change: fn(&Header) -> Header) -> Vec<Header> {
    let one = |header: &Header| {
        if at.contains(&chain_and_height(header)) { change(header) } else { *header }
    };
    headers.iter().map(one).collect()
}

fn node(headers: &[Header]) -> Node {
    let node = Node::start(NETWORK);
    node.add(headers);
    node
}

/// A Plait with these blocks.
fn server(headers: &[Header]) -> (Server, TempDir) {
    let db = folder();
    let outcome = replay_file(db.path(), &["--verify", "full"], "dump", &dump(headers));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    (Server::with(&["--db", utf8(db.path())]), db)
}

/// Follows an honest node and `wrong` behind a load balancer, beginning with each of them; exactly the
/// blocks of `honest` are stored, also by a server that follows them, whose log and counters name `failure`.
fn assert_followed(wrong: &Node, honest: &[Header], failure: Option<(&str, &str)>) {
    let (plait, _place) = server(honest);
    let json = node(honest);
    for honest_address in [plait.address(), json.address()] {
        for first in [false, true] {
            let balancer = Balancer::start(vec![wrong.address(), honest_address]);
            if first {
                balancer.skip();
            }
            let db = folder();
            let flags = ["--follow-range-heights", "300"];
            let command = ["follow", &balancer.url(), "--db", utf8(db.path()), "--once"];
            let outcome = run([&command[..], &flags].concat());
            assert_eq!(outcome.status, Some(0), "{}", outcome.err);
            assert_is(db.path(), honest);
        }
    }
    let (db, balancer) = (folder(), Balancer::start(vec![wrong.address(), json.address()]));
    let follower = follower(db.path(), &balancer.url(), &["--follow-range-heights", "300"]);
    until("the cut", || height(&follower) == HEIGHTS * 20);
    if let Some((why, text)) = failure {
        let count = || follower.metric(&format!("plait_follow_failures_total{{why=\"{why}\"}}"));
        until("a failure that is counted", || count().is_some_and(|count| count >= 1.0));
        follower.logged(text);
    }
    end(follower);
    assert_is(db.path(), honest);
}

fn assert_is(db: &Path, headers: &[Header]) {
    assert_eq!(stored(db), with_genesis(headers));
    assert_eq!(run(["verify", "--db", utf8(db)]).status, Some(0));
}

#[test]
fn blocks_whose_hash_is_wrong_are_taken_from_the_node_that_has_them_right() {
    let headers = generated(HEIGHTS, 1, 0.0);
    // At the beginning, in the middle, on neighbouring chains, and at the tips.
    let at = [(3, 2), (5, 250), (6, 250), (5, 251), (0, 700), (19, 1199), (7, 1200)];
    let wrong = node(&changed(&headers, &at, distorted));
    assert_followed(&wrong, &headers, Some(("rules", "a block that is wrong")));
}

#[test]
fn blocks_that_break_a_rule_do_not_keep_the_others_away() {
    let headers = generated(HEIGHTS, 1, 0.0);
    // In place of true blocks, and beside them: one at each height.
    let at = [(3, 2), (5, 250), (6, 250), (0, 700), (19, 1199)];
    let mut all = changed(&headers, &at, too_old);
    let is_beside = |header: &&Header| {
        let (chain, height) = chain_and_height(header);
        height % 20 == u64::from(chain)
    };
    all.extend(headers.iter().filter(is_beside).map(too_old));
    let wrong = node(&all);
    assert_followed(&wrong, &headers, Some(("rules", "a block that is wrong")));
}

#[test]
fn cuts_of_blocks_that_nobody_has_are_not_followed() {
    let headers = generated(HEIGHTS, 1, 0.0);
    let others = generated(HEIGHTS, 2, 0.0);
    // Near, and so far above that nothing shows that they are false.
    for above in [7, 5000] {
        let wrong = node(&headers);
        claim(&wrong, &others[others.len() - 20..], above);
        assert_followed(&wrong, &headers, None);
    }
    // And a cut of false blocks that the node has.
    let tips = headers[headers.len() - 20..].iter().step_by(3).map(heavier);
    let wrong = node(&headers.iter().copied().chain(tips).collect::<Vec<_>>());
    assert_followed(&wrong, &headers, Some(("rules", "a block that is wrong")));
}

/// Lets a node claim a cut of these blocks, `above` heights above their real ones.
fn claim(wrong: &Node, tips: &[Header], above: u64) {
    let tips: serde_json::Map<String, Value> = tips
        .iter()
        .map(|tip| {
            let (chain, height) = chain_and_height(tip);
            let hash = tip.view().hash().to_string();
            (chain.to_string(), json!({ "height": height + above, "hash": hash }))
        })
        .collect();
    let cut =
        json!({ "hashes": tips, "height": (HEIGHTS + above) * 20, "instance": "development" });
    wrong.lie(move |asked| {
        asked.target.ends_with("/cut").then(|| Reply::Json(200, cut.to_string()))
    });
}

#[test]
fn answers_that_are_none_are_requested_from_another_node() {
    let headers = generated(HEIGHTS, 1, 0.0);
    let page = |items: &str| format!("{{\"limit\":1,\"items\":[{items}],\"next\":null}}");
    let replies: [fn(&str) -> Reply; 5] = [
        |_| Reply::Json(503, "{}".to_owned()),
        |page| Reply::Json(200, page.to_owned()),
        |_| Reply::Body(200, "text/html", b"<html>".to_vec()),
        |_| Reply::Cut("application/octet-stream", vec![7; 700]),
        |_| Reply::Close,
    ];
    for reply in replies {
        let wrong = node(&headers);
        let garbage = page("\"AAAA\"");
        let count = AtomicU64::new(0);
        wrong.lie(move |asked| {
            let parts = ["/header", "/hash", "/cut"];
            let is_one = parts.iter().any(|part| asked.target.contains(part));
            // Every other time it answers correctly: that all ten tries of a request reach it, and get a lie,
            // does not happen.
            let lies = is_one && count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            lies.then(|| reply(&garbage))
        });
        let honest = node(&headers);
        let balancer = Balancer::start(vec![wrong.address(), honest.address()]);
        let db = folder();
        let outcome = run(["follow", &balancer.url(), "--db", utf8(db.path()), "--once"]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert_is(db.path(), &headers);
    }
}

#[test]
fn orphans_that_stand_on_blocks_which_nobody_has_are_left_out() {
    let headers = generated(HEIGHTS, 1, 0.0);
    let is_at = |at: (u32, u64)| move |header: &&Header| chain_and_height(header) == at;
    let block = |at| headers.iter().find(is_at(at)).unwrap();
    // One block with a missing parent, and one with a missing adjacent parent.
    let missing = sibling(block((4, 399)).view(), 7);
    let raw = *block((4, 400)).view().raw();
    let child = sealed(RawHeader { parent: missing.view().hash(), ..raw });
    let grandchild = {
        let raw = *block((4, 401)).view().raw();
        sealed(RawHeader { parent: child.view().hash(), ..raw })
    };
    let (neighbour, _) = missing.view().adjacents().all()[0];
    let raw = *block((neighbour.get(), 400)).view().raw();
    let named = |(chain, hash): (ChainId, BlockHash)| {
        (chain, if chain.get() == 4 { missing.view().hash() } else { hash })
    };
    let adjacents = plait_engine::header::AdjacentRecord::new(raw.adjacents.all().map(named));
    let nephew = sealed(RawHeader { adjacents, ..raw });
    // And one above the first block of its chain, with a parent of another network.
    let whole: Vec<Header> = [&headers[..], &[child, grandchild, nephew]].concat();
    let nodes = [node(&whole), node(&whole)];
    let balancer = Balancer::start(nodes.iter().map(Node::address).collect());
    for url in [nodes[0].url(), balancer.url()] {
        let db = folder();
        for _ in 0..2 {
            let outcome = run(["follow", &url, "--db", utf8(db.path()), "--once"]);
            assert_eq!(outcome.status, Some(0), "{}", outcome.err);
            assert_is(db.path(), &headers);
        }
    }
}

#[test]
fn a_block_of_the_future_beside_the_others_stops_none_of_them() {
    let headers = generated(HEIGHTS, 1, 0.0);
    let is_there = |header: &&Header| chain_and_height(header) == (4, 400);
    let raw = *headers.iter().find(is_there).unwrap().view().raw();
    let future = sealed(RawHeader { creation_time: i64::MAX.into(), ..raw });
    let whole: Vec<Header> = [&headers[..], &[future]].concat();
    let (db, node) = (folder(), node(&whole));
    let outcome = run(["follow", &node.url(), "--db", utf8(db.path()), "--once"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_is(db.path(), &headers);
}

#[test]
fn a_cursor_that_another_node_does_not_know_ends_nothing() {
    let headers = generated(HEIGHTS, 1, 0.05);
    let wrong = node(&headers);
    // Short pages of headers and hashes, with cursors that no node knows.
    let all = sorted(&headers);
    wrong.lie(move |asked: &Asked| {
        let target = &asked.target;
        if target.contains("next=") {
            return Some(Reply::Json(404, json!({ "reason": "key not found" }).to_string()));
        }
        let (_, query) = target.split_once("/hash?")?;
        let number = |name: &str| {
            let pair = query.split('&').find_map(|pair| pair.strip_prefix(name));
            pair.and_then(|text| text.parse::<u64>().ok())
        };
        let chain = target.split("/chain/").nth(1)?.split('/').next()?.parse::<u32>().ok()?;
        let (min, max) = (number("minheight=")?, number("maxheight=").unwrap_or(u64::MAX));
        let within = all.iter().filter(|header| {
            let (of, height) = chain_and_height(header);
            of == chain && (min..=max).contains(&height)
        });
        let hashes: Vec<String> =
            within.take(3).map(|block| block.view().hash().to_string()).collect();
        let next = format!("inclusive:{}", hashes.last()?);
        Some(Reply::Json(200, json!({ "limit": 3, "items": hashes, "next": next }).to_string()))
    });
    let honest = node(&headers);
    let (db, balancer) = (folder(), Balancer::start(vec![wrong.address(), honest.address()]));
    let outcome = run(["follow", &balancer.url(), "--db", utf8(db.path()), "--once"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_is(db.path(), &headers);
}

#[test]
fn payloads_come_from_whichever_node_has_them() {
    let all: Vec<Block> = carried(60, 1, 0.02, 3);
    let (with, without) = (folder(), folder());
    let outcome = replay_file(with.path(), &["--verify", "full"], "blocks.jsonl", &lines(&all));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    // The other node has the payloads of the lower half.
    let (low, high) = all.split_at(all.len() / 2);
    for (name, bytes) in [("low.jsonl", lines(low)), ("high.dump", dump(&headers_of(high)))] {
        let outcome = replay_file(without.path(), &["--verify", "full"], name, &bytes);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    }
    let nodes = [&with, &without].map(|db| Server::with(&["--db", utf8(db.path())]));
    for skips in 0..2 {
        let (db, balancer) =
            (folder(), Balancer::start(nodes.iter().map(Server::address).collect()));
        for _ in 0..skips {
            balancer.skip();
        }
        let command = ["follow", &balancer.url(), "--db", utf8(db.path()), "--once"];
        let outcome = run([&command[..], &["--follow-payloads", "yes"]].concat());
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert_carried(db.path(), &all);
    }
}

#[test]
fn a_server_without_blocks_is_followed_once_it_has_some() {
    let headers = generated(100, 1, 0.0);
    let (db, node) = (folder(), node(&headers));
    let reason = json!({ "reason": "no block is stored yet" }).to_string();
    node.lie(move |asked| asked.target.ends_with("/cut").then(|| Reply::Json(404, reason.clone())));
    let follower = follower(db.path(), &node.url(), &["--network", "development"]);
    follower.logged("it has no blocks yet; trying again");
    assert_eq!(height(&follower), 0);
    node.repent();
    until("its blocks", || height(&follower) == 100 * 20);
    end(follower);
    assert_is(db.path(), &headers);
}

#[test]
fn distorted_blocks_keep_their_hashes_and_the_other_false_ones_do_not() {
    let header = generated(1, 1, 0.0)[0];
    let hash = |header: &Header| merkle::block_hash(header.view());
    assert_ne!(hash(&distorted(&header)), distorted(&header).view().hash());
    for sealed in [heavier(&header), too_old(&header)] {
        assert_eq!(hash(&sealed), sealed.view().hash());
    }
    assert_eq!(distorted(&header).view().hash(), header.view().hash());
}
