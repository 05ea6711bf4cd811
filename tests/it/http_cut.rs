//! `GET cut?maxheight` below the lowest height of a history.

use plait::Config;
use plait_engine::{ChainId, Header};
use serde_json::Value;
use testkit::braid::braid;
use testkit::http::{Client, Request, Response};

use crate::http_data::{BASE, reason};
use crate::live::Live;

fn held(top: u64, is_held: impl Fn(u32, u64) -> bool) -> Live {
    let chosen = |block: &Header| is_held(block.view().chain().get(), block.view().height().get());
    let blocks: Vec<Header> = braid(top).into_iter().filter(chosen).collect();
    Live::new(&blocks, Config::default())
}

fn cut(live: &Live, block_height: u64) -> Response {
    let path = format!("{BASE}/cut?maxheight={}", block_height * 20 + 7);
    Client::connect(live.address()).ask(&Request::get(path))
}

/// The heights of the chains of a cut.
fn heights(response: &Response) -> Vec<u64> {
    assert_eq!(response.status, 200, "{}", response.text());
    let cut: Value = serde_json::from_str(response.text()).unwrap();
    let members = cut["hashes"].as_object().unwrap().values();
    members.map(|block| block["height"].as_u64().unwrap()).collect()
}

#[test]
fn a_cut_below_a_partial_history_is_404_with_the_height_where_that_begins() {
    let live = held(40, |_, height| height >= 5);
    for height in [0, 1, 4] {
        let reason = reason(&cut(&live, height), 404);
        let expected =
            format!("no cut at block height {height}: chain 0 is stored from height 5 on");
        assert_eq!(reason, expected);
    }
    // Sealed and not sealed.
    for height in [5, 6, 20, 39, 40] {
        assert_eq!(heights(&cut(&live, height)), [height; 20]);
    }
    assert_eq!(heights(&cut(&live, 1_000)), [40; 20]);
}

#[test]
fn a_cut_that_lacks_one_chain_is_404_and_names_that_chain() {
    let live = held(20, |chain, height| height >= if chain == 13 { 9 } else { 4 });
    for height in [4, 8] {
        let reason = reason(&cut(&live, height), 404);
        assert!(reason.ends_with("chain 13 is stored from height 9 on"), "{reason}");
    }
    assert_eq!(heights(&cut(&live, 9)), [9; 20]);
}

#[test]
fn a_cut_in_or_below_a_hole_is_404() {
    let live = held(30, |chain, height| height != 11 || chain != 2);
    for height in [10, 11] {
        let reason = reason(&cut(&live, height), 404);
        assert!(reason.ends_with("chain 2 is stored from height 12 on"), "{reason}");
    }
    assert_eq!(heights(&cut(&live, 12)), [12; 20]);
}

#[test]
fn a_database_without_blocks_has_no_cut() {
    let live = held(1, |_, _| false);
    for query in ["", "?maxheight=0", "?maxheight=99999999"] {
        let response =
            Client::connect(live.address()).ask(&Request::get(format!("{BASE}/cut{query}")));
        assert_eq!(reason(&response, 404), "no block is stored, so there is no cut");
    }
    assert_eq!(live.end().reader().view().block_count(ChainId::new(0)), 0);
}

#[test]
fn a_partial_history_of_some_chains_has_a_cut_of_these() {
    // 3 is adjacent to 8, and nothing connects 11 with them.
    let live = held(20, |chain, height| match chain {
        3 | 8 => height >= 2,
        11 => (2..=9).contains(&height),
        _ => false,
    });
    let path = format!("{BASE}/cut");
    let response = Client::connect(live.address()).ask(&Request::get(path));
    let cut: Value = serde_json::from_str(response.text()).unwrap();
    let height = |chain: &str| cut["hashes"][chain]["height"].as_u64();
    assert_eq!([height("3"), height("8"), height("11")], [Some(20), Some(20), Some(9)]);
    assert_eq!(cut["hashes"].as_object().unwrap().len(), 3);
}
