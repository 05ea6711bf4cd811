//! Nodes whose cuts, branches or events are not what they should be.

use std::thread;
use std::time::Duration;

use plait_engine::header::text::from_string;
use plait_engine::{BlockHash, Header};
use serde_json::{Value, json};
use testkit::node::{Asked, Reply};

use crate::follow::{blocks, height, until};
use crate::follow_lies::{Liar, is, string};
use crate::push::generated;

fn cut_with(headers: &[Header], change: impl Fn(&mut serde_json::Map<String, Value>)) -> Reply {
    let last = headers.len() - 20;
    let members = headers[last..].iter().map(|header| {
        let (height, hash) = (header.view().height().get(), header.view().hash().to_string());
        (header.view().chain().to_string(), json!({ "height": height, "hash": hash }))
    });
    let mut hashes: serde_json::Map<String, Value> = members.collect();
    change(&mut hashes);
    Reply::Json(200, json!({ "hashes": hashes, "instance": "development" }).to_string())
}

#[test]
fn a_cut_of_blocks_that_the_node_does_not_have_is_a_failure() {
    let nobody = BlockHash::new([7; 32]).to_string();
    for (height, nodes_height) in [(100, 100), (99, 100), (90_000, 100), (u64::MAX, 100)] {
        let headers = generated(nodes_height, 1, 0.0);
        let hash = nobody.clone();
        let liar = Liar::new(nodes_height, move |asked| {
            is(asked, "/cut").then(|| {
                cut_with(&headers, |hashes| {
                    hashes.insert("7".to_owned(), json!({ "height": height, "hash": hash }));
                })
            })
        });
        liar.assert_fails("content", "following: http");
        liar.assert_recovers();
    }
    // All chains far above what there is.
    let headers = generated(100, 1, 0.0);
    let liar = Liar::new(100, move |asked| {
        is(asked, "/cut").then(|| {
            cut_with(&headers, |hashes| {
                for member in hashes.values_mut() {
                    *member = json!({ "height": 6_000_000, "hash": nobody });
                }
            })
        })
    });
    liar.assert_fails("content", "does not send the blocks below its own cut");
    liar.assert_recovers();
}

/// The blocks of the chain of which a branch is asked for, from the highest down.
fn branch<'a>(
    headers: &'a [Header],
    asked: &Asked,
) -> Option<impl Iterator<Item = &'a Header> + use<'a>> {
    if !is(asked, "/header/branch") {
        return None;
    }
    let body: Value = serde_json::from_slice(&asked.body).unwrap();
    let upper: BlockHash = body["upper"][0].as_str().unwrap().parse().unwrap();
    let chain = headers.iter().find(|header| header.view().hash() == upper)?.view().chain();
    Some(headers.iter().rev().filter(move |header| header.view().chain() == chain))
}

#[test]
fn a_branch_that_is_not_one_of_parents_is_refused() {
    type Change = fn(Vec<String>) -> Vec<String>;
    let changes: [Change; 4] = [
        |_| Vec::new(),
        |items| items[1..].to_vec(),
        |items| items.into_iter().rev().collect(),
        |mut items| {
            items.remove(items.len() / 2);
            items
        },
    ];
    for change in changes {
        let headers = generated(100, 1, 0.0);
        let liar = Liar::new(100, move |asked| {
            let items = change(branch(&headers, asked)?.map(string).collect());
            Some(Reply::Json(200, json!({ "items": items, "next": null }).to_string()))
        });
        liar.assert_fails("content", "/header/branch");
        assert_eq!(height(&liar.follower), 0);
        liar.assert_recovers();
    }
}

#[test]
fn a_branch_that_ends_in_the_air_is_not_stored() {
    // The lowest blocks are kept back: what is above stands on none.
    let headers = generated(100, 1, 0.0);
    let liar = Liar::new(100, move |asked| {
        let high = branch(&headers, asked)?.filter(|header| header.view().height().get() > 50);
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        let upper = body["upper"][0].as_str().unwrap().to_owned();
        let from = |header: &&Header| header.view().hash().to_string() != upper;
        let items: Vec<String> = high.skip_while(from).map(string).collect();
        if items.is_empty() {
            return Some(Reply::Json(404, json!({ "key": upper }).to_string()));
        }
        Some(Reply::Json(200, json!({ "items": items, "next": null }).to_string()))
    });
    liar.assert_fails("content", "is not known there");
    assert_eq!(height(&liar.follower), 0);
    liar.assert_recovers();
}

fn event(data: &str) -> Vec<u8> {
    format!("event:BlockHeader\ndata:{data}\n\n").into_bytes()
}

#[test]
fn events_that_are_wrong_end_the_stream_and_nothing_else() {
    let far = string(&generated(500, 9, 0.0).pop().unwrap());
    let mut altered = *generated(1, 1, 0.0)[0].view().raw();
    altered.nonce = 77.into();
    let altered = string(&Header::new(altered).unwrap());
    for (body, why) in [
        (event("nonsense"), "content"),
        (event("{\"header\":{}}"), "content"),
        (event(&format!("\"{altered}\"")), "rules"),
        (vec![b'x'; 20 << 20], "content"),
        (b"\xff\xff\n\n".to_vec(), "content"),
        (event(&format!("\"{far}\"")), "connect"),
        (Vec::new(), "connect"),
    ] {
        let liar = Liar::new(30, move |asked| {
            let body = body.clone();
            is(asked, "/header/updates").then_some(Reply::Body(200, "text/event-stream", body))
        });
        // The cut is taken all the same.
        until("the blocks", || height(&liar.follower) == 600);
        until(why, || liar.failures(why) >= 3.0);
        let text = string(&from_string(&far).unwrap());
        assert_eq!(text, far);
        liar.assert_recovers();
    }
}

#[test]
fn events_that_stand_on_none_do_not_make_it_ask_without_a_pause() {
    let far = generated(500, 9, 0.0);
    let liar = Liar::new(30, move |asked| {
        let number = usize::try_from(std::process::id()).unwrap() % 100;
        let bytes = event(&format!("\"{}\"", string(&far[far.len() - 1 - number])));
        is(asked, "/header/updates").then_some(Reply::Endless("text/event-stream", bytes))
    });
    until("the blocks", || height(&liar.follower) == 600);
    thread::sleep(Duration::from_millis(500));
    let before = liar.node.requests();
    thread::sleep(Duration::from_secs(2));
    let requests = liar.node.requests() - before;
    assert!(requests < 2 * 20 * 8, "{requests} requests");
    assert_eq!(blocks(&liar.follower), 620);
}
