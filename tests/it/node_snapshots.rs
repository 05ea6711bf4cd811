//! Folders of nodes as communities pass them on: tables without logs, a file that says when, and histories
//! of which only the top is left.

use std::fs;
use std::path::Path;

use plait_engine::generate::{History, Plan};
use plait_engine::{ChainwebVersion, Engine, Header};
use rocksdb::{IteratorMode, Options};
use tempfile::TempDir;
use testkit::block::dump;
use testkit::braid::braid;
use testkit::carried::{self, Block, blocks};
use testkit::process::{Outcome, replay, replay_file, run};
use testkit::{sorted, stored, vectors};

use crate::full;
use crate::payloads_stored::assert_carried;
use crate::rocks::NodeDb;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Replays the node's database in `node` at level `full`.
fn replay_node(db: &Path, node: &Path, args: &[&str]) -> Outcome {
    let args = ["--verify", "full"].iter().chain(args).map(|arg| (*arg).as_ref());
    replay(db, args.chain([node.as_os_str()]))
}

/// Makes a folder as it is passed on, of these blocks: all in tables, no log, the date beside them.
fn snapshot(path: &Path, headers: &[Header], payloads: &[Block]) {
    let rocks = path.join("0/rocksDb");
    let db = NodeDb::create(&rocks);
    for header in headers {
        db.put(header.view());
        db.put_rank(header.view());
    }
    for (header, payload) in payloads {
        db.put_payload(header.view(), payload.view());
    }
    db.put_key("CutHashes", &[0; 72], b"{}");
    db.put_end();
    db.flush();
    drop(db);
    for entry in rocks.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|extension| extension == "log") {
            fs::remove_file(entry).unwrap();
        }
    }
    for folder in [path, &rocks] {
        fs::write(folder.join("snapshot_date"), "2026-11-01\n").unwrap();
    }
}

#[test]
fn a_snapshot_without_logs_is_imported_and_said_to_lack_the_log() {
    let (node, db, blocks) = (folder(), folder(), blocks(30, 41, 0.1, 3));
    snapshot(node.path(), &carried::headers(&blocks), &blocks);
    let before = vectors::files(node.path());
    let outcome = replay_node(db.path(), node.path(), &[]);
    let tip = format!("heights 1 to {}", blocks.last().unwrap().0.view().height());
    outcome.assert_fails(0, &["warning: ", "no log is there, and the MANIFEST expects", &tip]);
    assert_eq!(stored(db.path()).len(), 20 + blocks.len());
    assert_carried(db.path(), &blocks);
    assert!(vectors::files(node.path()) == before, "the node's folder has changed");
    // Once more: nothing new, and the same warning.
    let outcome = replay_node(db.path(), node.path(), &[]);
    outcome.assert_fails(0, &["no log is there", "stored 0,"]);
}

#[test]
fn a_compacted_snapshot_needs_a_flag_which_is_said_before_anything_is_read_or_made() {
    let (node, db, blocks) = (folder(), folder(), blocks(40, 42, 0.0, 1));
    let (below, kept): (Vec<Block>, Vec<Block>) =
        blocks.iter().cloned().partition(|(header, _)| header.view().height().get() < 15);
    // Payloads of the last heights only.
    let last: Vec<Block> =
        kept.iter().filter(|(header, _)| header.view().height().get() >= 30).cloned().collect();
    snapshot(node.path(), &carried::headers(&kept), &last);
    let outcome = replay_node(db.path(), node.path(), &[]);
    let heights = "heights 15 to 40 of chains 0-19";
    outcome
        .assert_fails(2, &["does not begin with the genesis blocks", heights, "--allow-partial"]);
    assert!(!Engine::exists(db.path()).unwrap(), "a database was made");
    let outcome = replay_node(db.path(), node.path(), &["--allow-partial"]);
    let bare = format!("{} blocks came without their payloads", kept.len() - last.len());
    outcome.assert_fails(0, &[heights, &bare, "of them lack blocks below them"]);
    assert_eq!(stored(db.path()), sorted(&carried::headers(&kept)));
    assert_carried(db.path(), &last);
    let verified = run(["verify".as_ref(), "--db".as_ref(), db.path().as_os_str()]);
    assert_eq!(verified.status, Some(0), "{}", verified.err);
    // Where the blocks below are stored already, no flag is needed.
    let whole = folder();
    let outcome =
        replay_file(whole.path(), &["--verify", "full"], "dump", &dump(&carried::headers(&below)));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let outcome = replay_node(whole.path(), node.path(), &[]);
    outcome.assert_fails(0, &[heights, "need --allow-partial"]);
    assert_eq!(stored(whole.path()).len(), 20 + blocks.len());
}

#[test]
fn chains_that_were_cut_at_other_heights_are_named_each() {
    let (node, db, headers) = (folder(), folder(), braid(12));
    let cut = |header: &&Header| {
        let (chain, height) = (header.view().chain().get(), header.view().height().get());
        height >= if chain == 7 { 5 } else { 3 }
    };
    let kept: Vec<Header> = headers.iter().filter(cut).copied().collect();
    snapshot(node.path(), &kept, &[]);
    let args = ["--verify", "hash"].iter().map(AsRef::as_ref).chain([node.path().as_os_str()]);
    let outcome = replay(db.path(), args);
    outcome.assert_fails(
        2,
        &["heights 3 to 12 of chains 0-6, 8-19", "heights 5 to 12 of chain 7", "--allow-partial"],
    );
}

#[test]
fn rows_of_another_network_are_passed_over_counted_and_told_of_once() {
    let (node, db) = (folder(), folder());
    let headers: Vec<Header> =
        History::new(&Plan { seed: 9, ..Plan::new(ChainwebVersion::Mainnet01, 40) })
            .unwrap()
            .collect();
    let mainnet: Vec<Header> =
        ChainwebVersion::Mainnet01.genesis_headers().chain(headers).collect();
    let foreign: Vec<Header> = ChainwebVersion::Development.genesis_headers().collect();
    // At height 0 of each chain there are two genesis blocks then.
    let all: Vec<Header> = mainnet.iter().chain(&foreign).copied().collect();
    snapshot(node.path(), &all, &[]);
    let replay_as = |db: &Path, network: &str, args: &[&str]| {
        let start = ["replay", "--network", network, "--db"].map(AsRef::as_ref);
        let args = args.iter().map(AsRef::as_ref);
        run(start.into_iter().chain([db.as_os_str()]).chain(args).chain([node.path().as_os_str()]))
    };
    let outcome = replay_as(db.path(), "mainnet01", &[]);
    outcome.assert_fails(0, &[&format!("skipped {} rows of another network", foreign.len())]);
    assert_eq!(outcome.err.matches("another network").count(), 1, "{}", outcome.err);
    assert!(!outcome.err.contains("rejected:"), "{}", outcome.err);
    assert_eq!(stored(db.path()), sorted(&mainnet));
    let json = replay_as(folder().path(), "mainnet01", &["--json"]);
    assert!(json.out.contains(&format!("\"otherNetwork\":{}", foreign.len())), "{}", json.out);
    // A row that says it is of another network, and whose hash is not that of its fields, is damaged.
    let damaged = folder();
    let rocks = NodeDb::create(damaged.path());
    rocks.put_all(&mainnet);
    let victim = mainnet.last().unwrap().view();
    let mut bytes = *victim.as_bytes();
    bytes[266] ^= 2;
    rocks.put_row(victim, &bytes);
    drop(rocks);
    let db = folder();
    let start = ["replay", "--network", "mainnet01", "--db"].map(AsRef::as_ref);
    let outcome = run(start.into_iter().chain([db.path().as_os_str(), damaged.path().as_os_str()]));
    assert_eq!(outcome.status, Some(1), "{}", outcome.err);
    assert!(
        !outcome.err.contains("rows of another network") && outcome.err.contains("rejected:"),
        "{}",
        outcome.err
    );
}

#[test]
fn a_database_of_another_network_alone_is_named() {
    let (node, db) = (folder(), folder());
    let foreign: Vec<Header> = ChainwebVersion::Development.genesis_headers().collect();
    snapshot(node.path(), &foreign, &[]);
    let outcome = run([
        "replay".as_ref(),
        "--network".as_ref(),
        "mainnet01".as_ref(),
        "--db".as_ref(),
        db.path().as_os_str(),
        node.path().as_os_str(),
    ]);
    outcome.assert_fails(
        2,
        &["belongs to network development, but --network is mainnet01", "--network development"],
    );
    assert!(!Engine::exists(db.path()).unwrap());
}

#[test]
fn the_real_database_as_a_snapshot_of_tables_is_imported() {
    let (Some(vectors), Some(headers)) = (vectors::folder(), full::real()) else { return };
    let (node, db) = (folder(), folder());
    // Its rows, in tables of a new database.
    let from = rocksdb::DB::open_for_read_only(&Options::default(), vectors.join("node-db"), false);
    let to = NodeDb::create(node.path());
    for row in from.unwrap().iterator(IteratorMode::Start) {
        let (key, value) = row.unwrap();
        to.put_raw(&key, &value);
    }
    for header in &headers {
        to.put_rank(header.view());
    }
    to.put_end();
    to.flush();
    drop(to);
    for entry in node.path().read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|extension| extension == "log") {
            fs::remove_file(entry).unwrap();
        }
    }
    fs::write(node.path().join("snapshot_date"), "2026-11-01\n").unwrap();
    let start = ["replay", "--network", "mainnet01", "--db"].map(AsRef::as_ref);
    let command = |args: &[&str]| {
        let args = args.iter().map(AsRef::as_ref).chain([node.path().as_os_str()]);
        run(start.into_iter().chain([db.path().as_os_str()]).chain(args))
    };
    let heights = "heights 1800000 to 1800049 of chains 1, 7, 18";
    command(&[]).assert_fails(2, &[heights, "--allow-partial"]);
    let outcome = command(&["--allow-partial"]);
    outcome.assert_fails(0, &[heights, "no log is there", "stored 1000 payloads"]);
    assert_eq!(stored(db.path()), sorted(&headers));
}
