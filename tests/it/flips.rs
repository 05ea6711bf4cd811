//! One flipped bit in any file of a database that is no table: found and named, or of no matter; never
//! another block. Tables are in `audit`, archives in `archive_damage`, copies in `backup`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use plait_engine::archive::{Manifest, check};
use plait_engine::store::Store;
use plait_engine::verify::{Level, Verifier};
use plait_engine::{Engine, Header, HeaderRef, Micros, RangeQuery};
use tempfile::TempDir;
use testkit::braid::braid_with_orphans;
use testkit::process::run;
use testkit::{Database, archive, sorted};

use crate::audit::audit;

/// Bytes in front of what a record of a log or a manifest holds: a checksum, a length, a kind.
const HEAD_LEN: usize = 7;

/// Bytes of a block of these files; a record does not cross its end.
const BLOCK_LEN: usize = 32 << 10;

/// A database as a crash leaves it: some blocks in tables, more in its log.
pub(crate) struct Left {
    folder: TempDir,
    blocks: Vec<Header>,
}

impl Left {
    pub(crate) fn new() -> Self {
        let mut database = Database::sealing(16, 5);
        let blocks = braid_with_orphans(12, 4);
        let (first, rest) = blocks.split_at(blocks.len() / 2);
        database.add(first);
        let mut database = database.reopen();
        for some in rest.chunks(30) {
            database.add(some);
        }
        // Closing leaves the log as it is.
        Self { folder: database.close(), blocks: sorted(&blocks) }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// The file whose name begins and ends so.
    fn file(&self, begin: &str, end: &str) -> PathBuf {
        let entries = fs::read_dir(Store::path(self.dir())).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let is_it = |path: &&PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with(begin) && name.ends_with(end)
        };
        paths.iter().rev().find(is_it).unwrap().clone()
    }
}

/// What a database answers: its blocks, and what is wrong with its log; or why it does not.
fn held(dir: &Path) -> Result<(Vec<Header>, Option<String>), String> {
    let reader = Engine::open_read_only(dir).map_err(|error| error.to_string())?;
    let (view, mut found) = (reader.view(), Vec::new());
    for chain in reader.version().chain_ids() {
        let query = RangeQuery { limit: usize::MAX, ..RangeQuery::default() };
        let page = view.range_headers(chain, &query).map_err(|error| error.to_string())?;
        found.extend(page.items.iter().map(HeaderRef::to_owned));
    }
    Ok((found, reader.damaged_log()))
}

/// Where the records of a log or a manifest begin.
fn heads(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut heads) = (0, Vec::new());
    while at + HEAD_LEN <= bytes.len() {
        if BLOCK_LEN - at % BLOCK_LEN < HEAD_LEN {
            at = at.next_multiple_of(BLOCK_LEN);
            continue;
        }
        heads.push(at);
        at += HEAD_LEN + usize::from(bytes[at + 4]) + 256 * usize::from(bytes[at + 5]);
    }
    heads
}

/// Every bit of the heads of a few records, the first and the last among them, of the lengths of the last
/// ones, and one bit of bytes here and there.
fn bits(bytes: &[u8]) -> Vec<(usize, u8)> {
    let heads = heads(bytes);
    let last = heads.len() - 1;
    let some = heads.iter().enumerate().filter(|(n, _)| [0, 1, last / 2, last].contains(n));
    let head = |at: usize| (at..at + HEAD_LEN).flat_map(|at| (0..8).map(move |bit| (at, 1 << bit)));
    let lens = |at: &usize| (at + 4..at + 6).flat_map(|at| (0..8).map(move |bit| (at, 1 << bit)));
    let lens = heads.iter().rev().take(8).flat_map(lens);
    let heads = some.flat_map(|(_, at)| head(*at)).chain(lens);
    let step = bytes.len() / 60 + 1;
    heads.chain((0..bytes.len()).step_by(step).map(|at| (at, 1 << (at % 8)))).collect()
}

/// Flips one bit after the other and asks what comes of it.
fn flip(file: &Path, mut found: impl FnMut(usize, u8)) {
    let bytes = fs::read(file).unwrap();
    for (at, bit) in bits(&bytes) {
        let mut other = bytes.clone();
        other[at] ^= bit;
        fs::write(file, other).unwrap();
        found(at, bit);
    }
    fs::write(file, bytes).unwrap();
}

/// Checks that an error names the record whose kind was flipped, or its length: RocksDB would read it
/// without an end, or take it for the end.
fn assert_named(error: &str, at: usize, bit: u8) {
    let kind =
        format!("is damaged at byte {}: a record of kind ", (at + 1).saturating_sub(HEAD_LEN));
    let len =
        |byte: usize| format!("is damaged at byte {}: a record of ", at.saturating_sub(4 + byte));
    let is_len = |byte| error.contains(&len(byte)) && error.contains(" bytes, expected ");
    // A kind of 0 and no bytes: what room for records to come looks like.
    let place = (at + 1).saturating_sub(HEAD_LEN);
    let none = format!("is damaged at byte {place}: zeros where a record should be");
    let is_kind = error.contains(&kind) || error.contains(&none);
    assert!(is_kind || is_len(0) || is_len(1), "bit {bit} of {at}: {error}");
}

#[test]
fn a_flipped_bit_in_the_list_of_files_is_found() {
    let left = Left::new();
    assert_eq!(held(left.dir()), Ok((left.blocks.clone(), None)));
    let file = left.file("MANIFEST", "");
    let mut flips = 0;
    flip(&file, |at, bit| {
        flips += 1;
        match held(left.dir()) {
            Err(error) => {
                if !error.contains("orrupt") {
                    assert_named(&error, at, bit);
                }
            }
            Ok(_) => panic!("bit {bit} of {at} is not found"),
        }
    });
    assert!(flips > 200);
    let current = left.file("CURRENT", "");
    let bytes = fs::read(&current).unwrap();
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 1 << (at % 8);
        fs::write(&current, other).unwrap();
        let error = held(left.dir()).unwrap_err();
        assert!(error.contains("CURRENT") || error.contains("MANIFEST"), "byte {at}: {error}");
    }
    fs::write(&current, bytes).unwrap();
    assert_eq!(held(left.dir()), Ok((left.blocks.clone(), None)));
}

/// RocksDB takes such a record for one that a crash has cut, and removes tables that are listed behind it.
#[test]
fn a_record_of_the_list_of_files_that_says_it_is_longer_costs_nothing_but_an_error() {
    let left = Left::new();
    let dump = left.dir().join("dump");
    fs::write(&dump, testkit::block::dump(&left.blocks)).unwrap();
    let file = left.file("MANIFEST", "");
    let bytes = fs::read(&file).unwrap();
    for head in heads(&bytes) {
        let mut other = bytes.clone();
        other[head + 5] ^= 0x80;
        fs::write(&file, other).unwrap();
        let before = archive::files(&Store::path(left.dir()));
        let said =
            testkit::process::replay(left.dir(), ["--allow-partial", dump.to_str().unwrap()]);
        said.assert_fails(2, &[&format!("is damaged at byte {head}: a record of "), "truncate"]);
        assert!(archive::files(&Store::path(left.dir())) == before, "record at {head}");
    }
    fs::write(&file, bytes).unwrap();
    assert_eq!(held(left.dir()), Ok((left.blocks.clone(), None)));
}

#[test]
fn a_flipped_bit_in_the_log_is_found_and_what_is_before_it_is_held() {
    let left = Left::new();
    let file = left.file("", ".log");
    let (mut tried, mut shorter) = (0, 0);
    flip(&file, |at, bit| {
        tried += 1;
        let (found, damage) = match held(left.dir()) {
            Ok(held) => held,
            Err(error) => return assert_named(&error, at, bit),
        };
        assert!(found.iter().all(|block| left.blocks.contains(block)), "bit {bit} of {at}");
        shorter += usize::from(found.len() < left.blocks.len());
        if damage.is_none() {
            assert!(found == left.blocks, "bit {bit} of {at} is not found");
        }
    });
    assert!(tried > 200 && shorter > 100, "{shorter} of {tried}");
}

#[test]
fn a_damaged_log_is_named_and_what_was_lost_can_be_brought_again() {
    let left = Left::new();
    let file = left.file("", ".log");
    let mut damaged = fs::read(&file).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 4;
    fs::write(&file, &damaged).unwrap();
    let db = left.dir().to_str().unwrap();
    let (_, flaws, _) = audit(left.dir(), Level::Hash).unwrap();
    assert_eq!(flaws.len(), 1, "{flaws:?}");
    assert!(flaws[0].starts_with("damaged: the log: "), "{flaws:?}");
    let outcome = run(["verify", "--db", db, "--level", "hash"]);
    outcome.assert_fails(1, &["the log is damaged", "damaged: the log: ", " 0 broken", "1 flaws"]);
    // Whoever writes goes on with what there is, and says so.
    let dump = left.dir().join("dump");
    fs::write(&dump, testkit::block::dump(&left.blocks)).unwrap();
    let again = testkit::process::replay(left.dir(), ["--allow-partial", dump.to_str().unwrap()]);
    assert_eq!(again.status, Some(0), "{}", again.err);
    assert!(again.err.contains("the log is damaged") && again.counts()[0] > 0, "{}", again.err);
    let (found, lost) = held(left.dir()).unwrap();
    assert!(found == left.blocks && lost.is_some(), "{lost:?}");
    let outcome = run(["verify", "--db", db, "--level", "hash"]);
    outcome
        .assert_fails(1, &["writes were lost earlier: a log is damaged", " 0 broken", "1 flaws"]);
    let kept = Store::path(left.dir()).join("lost");
    assert!(fs::read(kept.join(file.file_name().unwrap())).unwrap() == damaged, "other bytes");
    fs::remove_file(kept.join("losses.txt")).unwrap();
    assert_eq!(held(left.dir()), Ok((left.blocks.clone(), None)));
    assert_eq!(run(["verify", "--db", db, "--level", "hash"]).status, Some(0));
}

/// Such a log looks whole to RocksDB: the file is empty, or ends after a record.
#[test]
fn a_log_that_lost_synced_records_is_reported_and_kept_before_anything_is_written() {
    for part in 0..4 {
        let left = Left::new();
        let (log, db) = (left.file("", ".log"), left.dir().to_str().unwrap());
        let bytes = fs::read(&log).unwrap();
        let mut heads = heads(&bytes);
        // A sync writes a batch without rows.
        heads.retain(|at| bytes[at + 4] > 12 || bytes[at + 5] > 0);
        let len = heads[(heads.len() - 1) * part / 3];
        fs::write(&log, &bytes[..len]).unwrap();
        let (found, damage) = held(left.dir()).unwrap();
        let text = format!("ends after {len} bytes, and ");
        assert!(damage.is_some_and(|damage| damage.contains(&text)), "{len} bytes");
        assert!(found.len() < left.blocks.len(), "{len} bytes");
        let outcome = run(["verify", "--db", db, "--level", "hash"]);
        outcome.assert_fails(1, &["damaged: the log: ", &text, "were synced", "1 flaws"]);
        let outcome = run(["repair", "--db", db, "--level", "hash"]);
        outcome.assert_fails(1, &[&text, "plait repair cannot fix what is wrong"]);
        drop(Engine::open(left.dir()).unwrap());
        let kept = Store::path(left.dir()).join("lost").join(log.file_name().unwrap());
        assert!(fs::read(kept).unwrap() == bytes[..len], "{len} bytes");
        let outcome = run(["verify", "--db", db, "--level", "hash"]);
        outcome.assert_fails(1, &["writes were lost earlier: ", &text, "losses.txt"]);
    }
}

#[test]
fn the_empty_log_of_a_database_that_was_closed_may_be_missing() {
    let left = Left::new();
    // Opening moves all of the log to tables, and begins another one.
    drop(Engine::open(left.dir()).unwrap());
    let log = left.file("", ".log");
    assert_eq!(fs::metadata(&log).unwrap().len(), 0);
    fs::remove_file(&log).unwrap();
    assert_eq!(held(left.dir()), Ok((left.blocks.clone(), None)));
    drop(Engine::open(left.dir()).unwrap());
    assert_eq!(held(left.dir()), Ok((left.blocks.clone(), None)));
}

#[test]
fn a_log_that_ends_anywhere_is_what_a_crash_leaves() {
    let left = Left::new();
    let file = left.file("", ".log");
    // As if nothing of it had been synced.
    fs::remove_file(left.file("log-synced", "")).unwrap();
    let bytes = fs::read(&file).unwrap();
    for len in (0..bytes.len()).step_by(bytes.len() / 97) {
        fs::write(&file, &bytes[..len]).unwrap();
        let (found, damage) = held(left.dir()).unwrap();
        assert_eq!(damage, None, "{len} bytes");
        assert!(found.iter().all(|block| left.blocks.contains(block)), "{len} bytes");
    }
}

#[test]
fn files_that_nobody_reads_change_nothing() {
    let left = Left::new();
    for begin in ["OPTIONS", "IDENTITY"] {
        let file = left.file(begin, "");
        let bytes = fs::read(&file).unwrap();
        for at in (0..bytes.len()).step_by(bytes.len() / 20 + 1) {
            let mut other = bytes.clone();
            other[at] ^= 1 << (at % 8);
            fs::write(&file, other).unwrap();
            assert_eq!(held(left.dir()), Ok((left.blocks.clone(), None)), "{begin}, byte {at}");
        }
        fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn a_flipped_bit_in_what_an_exporter_notes_costs_time_and_nothing_else() {
    let mut database = Database::sealing(4, 5);
    database.add(&braid_with_orphans(5, 2));
    let folder = tempfile::tempdir().unwrap();
    archive::export(database.reader(), folder.path(), 4);
    let files = archive::files(folder.path());
    let name = ".export";
    let bytes = fs::read(folder.path().join(name)).unwrap();
    for at in (0..bytes.len()).step_by(bytes.len() / 100 + 1) {
        let mut other = bytes.clone();
        other[at] ^= 1 << (at % 8);
        fs::write(folder.path().join(name), other).unwrap();
        archive::export(database.reader(), folder.path(), 4);
        let verifier =
            |of: &Manifest| Verifier::new(of.version, Level::Hash, Micros::new(i64::MAX));
        let report = check(folder.path(), verifier, &AtomicBool::new(false), &mut |_| {}).unwrap();
        assert!(report.is_sound(), "byte {at}");
        assert_eq!(archive::files(folder.path()).len(), files.len(), "byte {at}");
    }
}
