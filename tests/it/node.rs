//! Databases of nodes as input, in the states that a node may leave them in.

use std::fs;
use std::path::Path;

use plait_engine::Header;
use tempfile::TempDir;
use testkit::block::{dump, root};
use testkit::braid::{braid, braid_with_orphans};
use testkit::drawing::{CHAIN, Drawing};
use testkit::process::{Outcome, replay, replay_file};
use testkit::vectors::files;
use testkit::{sorted, stored};

use crate::rocks::{NodeDb, node_db};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Replays the node's database in `node` into a new one.
fn replay_node(node: &Path, args: &[&str]) -> (TempDir, Outcome) {
    let db = folder();
    let args = args.iter().map(|arg| (*arg).as_ref()).chain([node.as_os_str()]);
    let outcome = replay(db.path(), args);
    (db, outcome)
}

fn assert_takes(node: &Path, headers: &[Header]) {
    let before = files(node);
    let (db, outcome) = replay_node(node, &[]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(db.path()), sorted(headers));
    assert!(files(node) == before, "the node's database has changed");
}

#[test]
fn headers_that_are_still_in_the_log_are_read() {
    let (node, headers) = (folder(), braid_with_orphans(6, 2));
    drop(node_db(node.path(), &headers));
    assert_takes(node.path(), &headers);
}

#[test]
fn headers_in_table_files_are_read_with_later_ones_in_the_log() {
    let (node, headers) = (folder(), braid_with_orphans(6, 2));
    let db = node_db(node.path(), &headers[..70]);
    db.flush();
    headers[70..].iter().for_each(|header| db.put(header.view()));
    drop(db);
    assert!(files(node.path()).keys().any(|path| path.extension().is_some_and(|e| e == "sst")));
    assert_takes(node.path(), &headers);
}

#[test]
fn other_tables_do_not_disturb() {
    let (node, headers) = (folder(), braid_with_orphans(4, 2));
    let db = node_db(node.path(), &headers);
    for header in &headers {
        db.put_rank(header.view());
    }
    for table in ["BlockHeader/0/headers", "BlockHeader/0/heade", "BlockHeader/20/header"] {
        db.put_key(table, &[0; 40], b"not a header");
    }
    for table in ["CutHashes", "BlockPayload2", "BlockOutputs", "TransactionTree2", "A", "zzz"] {
        db.put_key(table, &[0xFF; 72], &[b'{'; 5000]);
        db.put_key(table, &[0; 72], &[]);
    }
    db.put_end();
    db.flush();
    drop(db);
    assert_takes(node.path(), &headers);
}

#[test]
fn a_node_folder_is_found_from_above() {
    let (node, headers) = (folder(), braid(1));
    drop(node_db(&node.path().join("0/rocksDb"), &headers));
    assert_takes(node.path(), &headers);
    assert_takes(&node.path().join("0"), &headers);
}

#[test]
fn more_headers_than_a_chunk_come_in_whole_and_parents_first() {
    let (node, headers) = (folder(), braid(430));
    assert!(headers.len() > 2 * 4096);
    drop(node_db(node.path(), &headers));
    assert_takes(node.path(), &headers);
}

#[test]
fn a_partial_node_database_is_a_partial_history() {
    let (node, headers) = (folder(), braid(9));
    drop(node_db(node.path(), &headers[100..]));
    let (db, outcome) = replay_node(node.path(), &[]);
    outcome.assert_fails(2, &["does not begin with the genesis blocks", "--allow-partial"]);
    assert!(!plait_engine::Engine::exists(db.path()).unwrap());
    let (db, outcome) = replay_node(node.path(), &["--allow-partial"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(db.path()), sorted(&headers[100..]));
}

#[test]
fn a_database_without_headers_is_no_input() {
    let (empty, others) = (folder(), folder());
    drop(NodeDb::create(empty.path()));
    let db = NodeDb::create(others.path());
    db.put_key("CutHashes", &[0; 72], b"{}");
    db.put_end();
    drop(db);
    for (node, text) in
        [(empty, ".log is empty, and there is no table"), (others, "without the header tables of")]
    {
        let (db, outcome) = replay_node(node.path(), &[]);
        outcome.assert_fails(2, &[text]);
        assert!(!plait_engine::Engine::exists(db.path()).unwrap());
    }
}

#[test]
fn a_database_of_our_own_is_no_input_and_is_not_touched() {
    let own = folder();
    assert_eq!(replay_file(own.path(), &[], "dump", &dump(&braid(1))).status, Some(0));
    let before = files(own.path());
    for inner in ["", "0/rocksDb"] {
        let (_, outcome) = replay_node(&own.path().join(inner), &[]);
        outcome.assert_fails(2, &["is a database of Plait's own"]);
    }
    assert!(files(own.path()) == before);
}

#[test]
fn a_database_cannot_be_replayed_into_itself() {
    let own = folder();
    assert_eq!(replay_file(own.path(), &[], "dump", &dump(&braid(1))).status, Some(0));
    let outcome = replay(own.path(), [own.path()]);
    assert_eq!(outcome.status, Some(2), "{}", outcome.err);
}

#[test]
fn a_node_database_as_the_database_is_refused_and_not_touched() {
    let (node, headers) = (folder(), braid(1));
    drop(node_db(&node.path().join("0/rocksDb"), &headers));
    let before = files(node.path());
    let outcome = replay_file(node.path(), &[], "dump", &dump(&headers));
    outcome.assert_fails(2, &["not one of Plait's", "replay it into a new folder"]);
    assert!(files(node.path()) == before, "the node's database has changed");
}

#[test]
fn a_row_under_the_key_of_another_block_is_refused() {
    let mut drawing = Drawing::default();
    let chain = drawing.draw("0-1-2-3-4");
    let other = root(CHAIN, chain[2].view().height(), 9, 9);
    let node = folder();
    let db = node_db(node.path(), chain.iter().filter(|block| **block != chain[2]));
    db.put_row(other.view(), chain[2].view().as_bytes());
    drop(db);
    let (db, outcome) = replay_node(node.path(), &[]);
    let key = "key BlockHeader/0/header$0000000000000002";
    outcome.assert_fails(1, &[key, "the key is not that of the header under it"]);
    assert!(!stored(db.path()).contains(&chain[2]));
    assert!(stored(db.path()).contains(&chain[1]));
    let (_, outcome) = replay_node(node.path(), &["--keep-going"]);
    assert_eq!(outcome.counts(), [1, 1, 3], "{}", outcome.err);
}

#[test]
fn a_row_of_another_length_or_with_an_odd_key_is_refused() {
    let mut drawing = Drawing::default();
    let chain = drawing.draw("0-1-2-3");
    for len in [0, 1, 317, 319, 636] {
        let node = folder();
        let db = node_db(node.path(), &chain[..2]);
        let twice = dump([&chain[2], &chain[3]]);
        db.put_row(chain[2].view(), &twice[..len]);
        drop(db);
        let (db, outcome) = replay_node(node.path(), &[]);
        let said = format!("a header has 318 bytes, not {len}");
        outcome.assert_fails(1, &["key BlockHeader/0/header$0000000000000002", &said]);
        assert!(stored(db.path()).contains(&chain[1]));
    }
    for key in [&b""[..], b"\0", &[0; 8], &[7; 41]] {
        let node = folder();
        let db = node_db(node.path(), &chain[..2]);
        db.put_key("BlockHeader/0/header", key, chain[2].view().as_bytes());
        drop(db);
        let (_, outcome) = replay_node(node.path(), &["--keep-going"]);
        assert_eq!(outcome.status, Some(1), "{}", outcome.err);
        assert_eq!(outcome.counts(), [1, 1, 1], "{}", outcome.err);
    }
}

#[test]
fn a_damaged_node_database_is_an_error_and_no_panic() {
    let (node, headers) = (folder(), braid(300));
    let db = node_db(node.path(), &headers);
    db.flush();
    drop(db);
    let table = files(node.path())
        .into_iter()
        .find(|(path, _)| path.extension().is_some_and(|extension| extension == "sst"));
    let (path, mut bytes) = table.unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 100].fill(0xEE);
    fs::write(path, bytes).unwrap();
    let (_, outcome) = replay_node(node.path(), &[]);
    outcome.assert_fails(2, &["the database is damaged: block checksum mismatch"]);
    assert!(!outcome.err.contains("panicked"), "{}", outcome.err);
}
