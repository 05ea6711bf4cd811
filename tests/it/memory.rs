//! Inputs that are small, or that share what they have, and would take all memory: a replay stays within
//! the budget that docs/threat-model.md states.

use std::fs;
use std::path::Path;

use plait_engine::Header;
use plait_engine::header::RawHeader;
use plait_engine::payload::VerifiedPayload;
use tempfile::TempDir;
use testkit::archive::{export, files};
use testkit::block::sealed;
use testkit::braid::braid;
use testkit::carried;
use testkit::process::{Measured, finish_measured, replay_command};
use testkit::{Database, say, sorted, stored};

use crate::rocks::{NodeDb, big_endian, binary_row, roots};

/// Bytes that a replay may take, whatever its input: see docs/threat-model.md.
const BUDGET: u64 = 1536 << 20;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn replay_measured(db: &Path, args: &[&str], input: &Path) -> Measured {
    let args = args.iter().map(AsRef::as_ref).chain([input.as_os_str()]);
    finish_measured(replay_command(db, args).spawn().unwrap())
}

#[test]
fn thousands_of_files_of_one_record_take_no_more_than_they_have() {
    // Files of one height: five thousand of them, of one record each.
    let mut database = Database::with_genesis();
    let headers = braid(250);
    database.add(&headers);
    let archive = folder();
    export(database.reader(), archive.path(), 1);
    let count = files(archive.path()).len();
    assert!(count >= 5000, "{count} files");
    let db = folder();
    let measured = replay_measured(db.path(), &[], archive.path());
    assert_eq!(measured.outcome.status, Some(0), "{}", measured.outcome.err);
    assert_eq!(stored(db.path()), sorted(&headers));
    let peak = measured.peak_bytes;
    say(&format!("{count} files of one record: {} MB", peak >> 20));
    assert!(peak < 400 << 20, "{} MB", peak >> 20);
}

/// Drawn blocks that all name the payload with these transactions.
fn sharing(payload: &VerifiedPayload, heights: u64) -> Vec<Header> {
    let mut below: Vec<Header> = Vec::new();
    let mut all = Vec::new();
    for header in braid(heights) {
        // Hashes change with the payload, so parents are named anew.
        let chain = header.view().chain().index();
        let parent =
            below.get(chain).map_or(header.view().raw().parent, |parent| parent.view().hash());
        let raw = RawHeader { payload_hash: payload.hash(), parent, ..*header.view().raw() };
        let header = if header.view().height().get() == 0 { header } else { sealed(raw) };
        if let Some(place) = below.get_mut(chain) {
            *place = header;
        } else {
            below.push(header);
        }
        all.push(header);
    }
    all
}

#[test]
fn blocks_that_share_one_row_of_many_megabytes_stay_within_the_budget() {
    for (megabytes, heights) in [(16, 6), (60, 2)] {
        let transaction = vec![b'x'; megabytes << 20];
        let payload = carried::payload("miner", &[&transaction]);
        let headers = sharing(&payload, heights);
        let node = folder();
        let db = NodeDb::create(node.path());
        // Rows by height of the newer tables, by hash of the older ones: these are shared by all.
        let view = payload.view();
        let hash = view.transactions_hash();
        let row = binary_row(hash.as_bytes(), view.inputs(), view.miner_data());
        for header in &headers {
            db.put(header.view());
        }
        for height in 1..=heights {
            let at = headers.iter().find(|header| header.view().height().get() == height).unwrap();
            db.put_by_height("BlockPayload2", at.view(), view.hash().as_bytes(), &roots(view));
            db.put_by_height("BlockTransactions2", at.view(), hash.as_bytes(), &row);
        }
        db.flush();
        drop(db);
        let db = folder();
        let measured = replay_measured(db.path(), &[], node.path());
        assert_eq!(measured.outcome.status, Some(0), "{}", measured.outcome.err);
        let carried = headers.len() - 20;
        assert!(
            measured.outcome.err.contains(&format!("stored {carried} payloads")),
            "{}",
            measured.outcome.err
        );
        let peak = measured.peak_bytes;
        say(&format!("{carried} blocks that share rows of {megabytes} MB: {} MB", peak >> 20));
        assert!(peak < BUDGET, "{megabytes} MB rows: {} MB", peak >> 20);
    }
}

#[test]
fn rows_of_a_million_empty_items_and_rows_that_are_too_long_are_refused_within_the_budget() {
    let payload = carried::payload("miner", &[b"one"]);
    let (headers, view) = (sharing(&payload, 2), payload.view());
    let hash = view.transactions_hash();
    let count = 2_000_000_u64;
    let items = [&hash.as_bytes()[..], &big_endian(count)].concat();
    let items = [items, vec![0; 8 * (usize::try_from(count).unwrap() + 1)]].concat();
    let text = format!(
        "{{\"transactionHash\":\"{hash}\",\"transaction\":[{}\"\"],\"minerData\":\"\"}}",
        "\"\",".repeat(5_000_000)
    );
    for (name, row) in [("items", items), ("long", vec![0; (64 << 20) + 1])] {
        let (node, db) = (folder(), folder());
        let rocks = NodeDb::create(node.path());
        for header in &headers {
            rocks.put(header.view());
            rocks.put_by_height(
                "BlockPayload2",
                header.view(),
                view.hash().as_bytes(),
                &roots(view),
            );
        }
        let at = headers.last().unwrap().view();
        rocks.put_by_height("BlockTransactions2", at, hash.as_bytes(), &row);
        drop(rocks);
        let measured = replay_measured(db.path(), &["--keep-going"], node.path());
        measured.outcome.assert_fails(1, &["payload: a row of its tables"]);
        say(&format!("{name}: {} MB", measured.peak_bytes >> 20));
        assert!(measured.peak_bytes < BUDGET, "{name}: {} MB", measured.peak_bytes >> 20);
    }
    let (node, db) = (folder(), folder());
    let rocks = NodeDb::create(node.path());
    rocks.put_all(&headers);
    rocks.put_old_payload(view);
    rocks.put_key("BlockTransactions", hash.as_bytes(), text.as_bytes());
    drop(rocks);
    let measured = replay_measured(db.path(), &["--keep-going"], node.path());
    measured.outcome.assert_fails(1, &["payload: a row of its tables"]);
    say(&format!("JSON items: {} MB", measured.peak_bytes >> 20));
    assert!(measured.peak_bytes < BUDGET, "JSON: {} MB", measured.peak_bytes >> 20);
}

#[test]
fn many_inputs_on_the_command_line_take_no_more_than_one() {
    let (input, db, headers) = (folder(), folder(), braid(200));
    for (number, part) in headers.chunks(4).enumerate() {
        fs::write(input.path().join(format!("{number:04}")), testkit::block::dump(part)).unwrap();
    }
    let mut paths: Vec<_> =
        input.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert_eq!(paths.len(), headers.len().div_ceil(4));
    let measured = finish_measured(replay_command(db.path(), &paths).spawn().unwrap());
    assert_eq!(measured.outcome.status, Some(0), "{}", measured.outcome.err);
    assert_eq!(stored(db.path()), sorted(&headers));
    say(&format!("{} inputs: {} MB", paths.len(), measured.peak_bytes >> 20));
    assert!(measured.peak_bytes < 400 << 20, "{} MB", measured.peak_bytes >> 20);
}
