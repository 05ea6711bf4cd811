//! Headers and payloads are rejected apart: a payload that is wrong holds up no block.

use std::path::Path;

use plait_engine::Engine;
use testkit::carried::{Block, block_object, blocks, headers, line, lines, object};
use testkit::process::{Outcome, replay_file};
use testkit::{sorted, stored};

use crate::payloads_stored::assert_carried;

fn replay(db: &Path, in_order: &str, keep_going: bool, text: &[u8]) -> Outcome {
    let mut args = vec!["--verify", "full", "--in-order-from", in_order];
    if keep_going {
        args.push("--keep-going");
    }
    replay_file(db, &args, "blocks.jsonl", text)
}

/// A block with the payload of another.
fn mixed_up(block: &Block, another: &Block) -> String {
    block_object(block.0.view(), &object(another.1.view())) + "\n"
}

fn with_genesis(blocks: &[Block]) -> Vec<plait_engine::Header> {
    let genesis: Vec<_> = testkit::block::NETWORK.genesis_headers().collect();
    sorted(headers(blocks).iter().chain(&genesis))
}

#[test]
fn one_payload_that_is_wrong_holds_up_no_block() {
    let blocks = blocks(40, 3, 0.0, 1);
    for at in [0, 25, 400] {
        let rest: Vec<Block> =
            blocks.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, b)| b.clone()).collect();
        let wrong = mixed_up(&blocks[at], &blocks[at + 1]);
        let lines_of = |blocks: &[Block]| blocks.iter().map(line).collect::<Vec<_>>();
        let mut dump = lines_of(&blocks);
        dump[at].clone_from(&wrong);
        // Parents first, and the other way round, where all but the last row waits.
        let mut reversed = dump.clone();
        reversed.reverse();
        for (dump, place) in [(&dump, at + 1), (&reversed, blocks.len() - at)] {
            for in_order in ["0", "1000000"] {
                let db = tempfile::tempdir().unwrap();
                let outcome = replay(db.path(), in_order, true, dump.concat().as_bytes());
                let place = format!("line {place}, ");
                let texts = [&place, "payload: payloadHash is", "rejected by rule: PayloadHash 1"];
                outcome.assert_fails(1, &texts);
                assert_eq!(outcome.counts(), [blocks.len() as u64, 0, 1], "{}", outcome.err);
                assert_eq!(stored(db.path()), with_genesis(&blocks));
                assert_carried(db.path(), &rest);
                // The right one comes later.
                let outcome = replay(db.path(), in_order, true, line(&blocks[at]).as_bytes());
                assert_eq!(outcome.status, Some(0), "{}", outcome.err);
                assert_carried(db.path(), &blocks);
            }
        }
    }
}

#[test]
fn a_payload_that_is_wrong_ends_a_replay_behind_its_header() {
    let blocks = blocks(4, 3, 0.0, 1);
    let at = 30;
    for in_order in ["0", "1000000"] {
        let db = tempfile::tempdir().unwrap();
        let dump = [
            lines(&blocks[..at]),
            mixed_up(&blocks[at], &blocks[at + 1]).into_bytes(),
            lines(&blocks[at + 1..]),
        ];
        let outcome = replay(db.path(), in_order, false, &dump.concat());
        outcome.assert_fails(1, &["line 31, ", "payload: payloadHash is"]);
        assert_eq!(outcome.counts(), [at as u64 + 1, 0, 1], "{}", outcome.err);
        assert_eq!(stored(db.path()), with_genesis(&blocks[..=at]));
        let outcome = replay(db.path(), in_order, false, &lines(&blocks));
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert_carried(db.path(), &blocks);
    }
}

#[test]
fn of_a_block_that_is_wrong_itself_the_payload_is_not_looked_at() {
    let blocks = blocks(3, 3, 0.0, 1);
    let mut raw = *blocks[30].0.view().raw();
    raw.nonce = 9.into();
    let wrong = plait_engine::Header::new(raw).unwrap();
    let dump = [
        lines(&blocks[..30]),
        (block_object(wrong.view(), &object(blocks[31].1.view())) + "\n").into_bytes(),
    ];
    let db = tempfile::tempdir().unwrap();
    let outcome = replay(db.path(), "0", true, &dump.concat());
    outcome.assert_fails(1, &["IncorrectHash"]);
    assert!(!outcome.err.contains("payloadHash"), "{}", outcome.err);
    let reader = Engine::open_read_only(db.path()).unwrap();
    assert_eq!(reader.view().header(wrong.view().chain(), &wrong.view().hash()).unwrap(), None);
}
