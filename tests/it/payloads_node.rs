//! What blocks carry in databases of nodes, in the layouts of today and of before.

use std::path::Path;

use plait_engine::{ChainwebVersion, Engine, Header};
use tempfile::TempDir;
use testkit::carried::{self, Block, blocks, payload};
use testkit::process::{Outcome, replay, replay_file, run};
use testkit::{say, stored, vectors};

use crate::payloads_stored::{assert_carried, folder};
use crate::rocks::{NodeDb, big_endian, node_db, roots};

fn replay_node(db: &Path, node: &Path, args: &[&str]) -> Outcome {
    let args = ["--verify", "full"].iter().chain(args).map(|arg| (*arg).as_ref());
    replay(db, args.chain([node.as_os_str()]))
}

/// A node's database with these headers.
fn node(blocks: &[Block]) -> (TempDir, NodeDb) {
    let folder = folder();
    let db = node_db(folder.path(), &carried::headers(blocks));
    (folder, db)
}

#[test]
fn payloads_of_both_layouts_are_read() {
    let blocks = blocks(30, 21, 0.1, 3);
    // All of one, all of the other, and some of each.
    for old in [0..0, 0..blocks.len(), 100..400] {
        let (folder_of_node, node) = node(&blocks);
        for (number, (header, payload)) in blocks.iter().enumerate() {
            if old.contains(&number) {
                node.put_old_payload(payload.view());
            } else {
                node.put_payload(header.view(), payload.view());
            }
        }
        node.put_end();
        node.flush();
        drop(node);
        let db = folder();
        let outcome = replay_node(db.path(), folder_of_node.path(), &[]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert_eq!(outcome.counts(), [blocks.len() as u64, 0, 0]);
        assert_carried(db.path(), &blocks);
    }
}

#[test]
fn payloads_that_are_not_there_are_left_out() {
    let blocks = blocks(8, 22, 0.0, 1);
    let (folder_of_node, node) = node(&blocks);
    let (some, others) = blocks.split_at(50);
    for (header, payload) in some {
        node.put_payload(header.view(), payload.view());
    }
    // Of these, not all rows are there.
    let (header, payload) = &others[0];
    let row = roots(payload.view());
    node.put_by_height("BlockPayload2", header.view(), payload.hash().as_bytes(), &row);
    // These are of another height.
    node.put_payload(others[1].0.view(), others[60].1.view());
    drop(node);
    let db = folder();
    let outcome = replay_node(db.path(), folder_of_node.path(), &[]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(db.path()).len(), 20 + blocks.len());
    assert_carried(db.path(), some);
}

#[test]
fn a_payload_of_which_a_node_has_no_outputs_is_stored_without() {
    let blocks = blocks(3, 23, 0.0, 1);
    let (folder_of_node, node) = node(&blocks);
    for (header, payload) in &blocks {
        let view = payload.view();
        let row = roots(view);
        node.put_by_height("BlockPayload2", header.view(), payload.hash().as_bytes(), &row);
        node.put_old_payload(view);
    }
    drop(node);
    let without = |path: &Path| {
        let node = rocksdb::DB::open_default(path).unwrap();
        for (_, payload) in &blocks {
            let hash = payload.view().outputs_hash();
            node.delete([b"-BlockOutputs$", &hash.as_bytes()[..]].concat()).unwrap();
        }
    };
    without(folder_of_node.path());
    let db = folder();
    let outcome = replay_node(db.path(), folder_of_node.path(), &[]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let view = Engine::open_read_only(db.path()).unwrap().view();
    for (header, payload) in &blocks {
        let found = view.block_payload(header.view()).unwrap().unwrap();
        let (found, payload) = (found.view(), payload.view());
        assert!(!found.has_outputs() && found.hash() == payload.hash());
        assert!(found.inputs().eq(payload.inputs()));
    }
    drop(view);
    // Who has them brings them, and does not lose them again.
    for lines in [carried::lines(&blocks), carried::lines(&blocks[..2])] {
        let outcome = replay_file(db.path(), &["--verify", "full"], "blocks", &lines);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert_carried(db.path(), &blocks);
    }
    let outcome = replay_node(db.path(), folder_of_node.path(), &[]);
    assert_eq!(outcome.counts(), [0, blocks.len() as u64, 0]);
    assert_carried(db.path(), &blocks);
}

/// What is said when the node's database is replayed in which `put` adds rows for a block.
fn refused(blocks: &[Block], put: impl Fn(&NodeDb, &Block)) -> Outcome {
    let (folder_of_node, node) = node(blocks);
    let at = 30;
    for (header, payload) in blocks[..at].iter().chain(&blocks[at + 1..]) {
        node.put_payload(header.view(), payload.view());
    }
    put(&node, &blocks[at]);
    drop(node);
    let db = folder();
    let outcome = replay_node(db.path(), folder_of_node.path(), &[]);
    let header = blocks[at].0.view();
    let place = format!("key BlockHeader/{}/header$0000000000000002", header.chain());
    outcome.assert_fails(1, &[&place, &format!("block {}: payload: ", header.hash())]);
    // Its header is right.
    assert_eq!(stored(db.path()).len(), 20 + at + 1);
    assert_carried(db.path(), &blocks[..at]);
    outcome
}

#[test]
fn a_payload_that_is_not_what_its_rows_say_is_refused_by_the_hash_that_is_wrong() {
    let blocks = blocks(3, 24, 0.0, 1);
    let other = payload("somebody else", &[b"something else"]);
    // The rows that its hashes name are those of another payload.
    let outcome = refused(&blocks, |node, (header, payload)| {
        let (view, header) = (payload.view(), header.view());
        node.put_payload(header, other.view());
        node.put_payload(header, view);
        let row = [&[0; 40][..], &[0; 7], &[1], b"x"].concat();
        node.put_by_height("BlockTransactions2", header, view.transactions_hash().as_bytes(), &row);
    });
    outcome.assert_fails(1, &["payload: transactionsHash is", "TransactionsHash 1"]);
    let outcome = refused(&blocks, |node, (header, payload)| {
        let (view, header) = (payload.view(), header.view());
        node.put_payload(header, view);
        let outputs = view.transaction_count() as u64;
        let row = [&[0; 32][..], &big_endian(outputs)].concat();
        let row = [row, vec![0; 8 * (view.transaction_count() + 1)]].concat();
        node.put_by_height("BlockOutputs2", header, view.outputs_hash().as_bytes(), &row);
    });
    outcome.assert_fails(1, &["payload: outputsHash is", "OutputsHash 1"]);
    let outcome = refused(&blocks, |node, (header, payload)| {
        let header = header.view();
        node.put_payload(header, other.view());
        let row = [&payload.hash().as_bytes()[..], &roots(other.view())[32..]].concat();
        node.put_by_height("BlockPayload2", header, payload.hash().as_bytes(), &row);
    });
    outcome.assert_fails(1, &["payload: payloadHash is", "PayloadHash 1"]);
    let outcome = refused(&blocks, |node, (header, payload)| {
        let header = header.view();
        node.put_payload(header, other.view());
        let row = roots(other.view());
        node.put_by_height("BlockPayload2", header, payload.hash().as_bytes(), &row);
    });
    outcome.assert_fails(1, &["payload: payloadHash is", "has ", "PayloadHash 1"]);
}

#[test]
fn a_row_that_no_node_writes_is_refused() {
    let blocks = blocks(3, 25, 0.0, 1);
    for (table, row) in [
        ("BlockPayload2", vec![7; 95]),
        ("BlockPayload2", Vec::new()),
        ("BlockTransactions2", vec![0xFF; 48]),
        ("BlockTransactions2", Vec::new()),
        ("BlockOutputs2", vec![0; 47]),
    ] {
        let outcome = refused(&blocks, |node, (header, payload)| {
            let (header, view) = (header.view(), payload.view());
            node.put_payload(header, view);
            let hash = match table {
                "BlockPayload2" => *view.hash().as_bytes(),
                "BlockTransactions2" => *view.transactions_hash().as_bytes(),
                _ => *view.outputs_hash().as_bytes(),
            };
            node.put_by_height(table, header, &hash, &row);
        });
        outcome.assert_fails(1, &["a row of its tables is not what a node writes", "Payload 1"]);
    }
    for (table, row) in [("BlockPayload", "{}"), ("BlockTransactions", "["), ("BlockOutputs", "0")]
    {
        refused(&blocks, |node, (_, payload)| {
            let view = payload.view();
            node.put_old_payload(view);
            let hash = match table {
                "BlockPayload" => *view.hash().as_bytes(),
                "BlockTransactions" => *view.transactions_hash().as_bytes(),
                _ => *view.outputs_hash().as_bytes(),
            };
            node.put_key(table, &hash, row.as_bytes());
        });
    }
}

#[test]
fn headers_first_and_payloads_later_of_the_same_database() {
    let blocks = blocks(12, 26, 0.1, 3);
    let (folder_of_node, node) = node(&blocks);
    for (header, payload) in &blocks {
        node.put_payload(header.view(), payload.view());
    }
    drop(node);
    let db = folder();
    let outcome = replay_node(db.path(), folder_of_node.path(), &["--payloads", "no"]);
    assert_eq!(outcome.counts(), [blocks.len() as u64, 0, 0], "{}", outcome.err);
    assert_carried(db.path(), &[]);
    let outcome = replay_node(db.path(), folder_of_node.path(), &[]);
    assert_eq!(outcome.counts(), [0, blocks.len() as u64, 0], "{}", outcome.err);
    assert_carried(db.path(), &blocks);
}

#[test]
fn the_database_of_a_real_node_has_a_payload_for_each_block() {
    let Some(vectors) = vectors::folder() else { return };
    let db = folder();
    let command = ["replay", "--network", "mainnet01", "--allow-partial", "--db"];
    let node = vectors.join("node-db");
    let args = command.map(AsRef::as_ref).into_iter().chain([db.path().as_os_str()]);
    let outcome = run(args.chain([node.as_os_str()]));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert!(outcome.err.contains("stored 1000 payloads"), "{}", outcome.err);
    let headers: Vec<Header> = stored(db.path());
    assert_eq!(headers.len(), 1000);
    let reader = Engine::open_read_only(db.path()).unwrap();
    assert_eq!(reader.version(), ChainwebVersion::Mainnet01);
    let view = reader.view();
    let (mut transactions, mut bytes) = (0, 0);
    for header in headers.iter().map(Header::view) {
        let payload = view.block_payload(header).unwrap().unwrap();
        let hash = header.payload_hash();
        let by_hash = view.payload(header.chain(), &hash, None).unwrap();
        let by_height = view.payload(header.chain(), &hash, Some(header.height())).unwrap();
        assert!(by_hash.as_ref() == Some(&payload) && by_height == by_hash);
        payload.view().check().unwrap();
        transactions += payload.view().transaction_count();
        bytes += payload.as_bytes().len();
    }
    assert_eq!(transactions, 113);
    let pages: usize = reader
        .version()
        .chain_ids()
        .map(|chain| {
            let of_chain =
                headers.iter().map(Header::view).filter(|header| header.chain() == chain);
            let page = view.block_payloads(of_chain, usize::MAX).unwrap();
            assert_eq!(page.len(), 50);
            page.into_iter().flatten().map(|payload| payload.as_bytes().len()).sum::<usize>()
        })
        .sum();
    assert_eq!(pages, bytes);
    let verified = run(["verify".as_ref(), "--db".as_ref(), db.path().as_os_str()]);
    assert_eq!(verified.status, Some(0), "{}", verified.err);
    assert!(verified.err.contains("verified 1000 payloads"), "{}", verified.err);
    say("1000 payloads of a node's database");
}
