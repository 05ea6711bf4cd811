//! Datasets: that every header can be made again from its row, that nothing but the blocks decides what is
//! written, and what an export leaves that was cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use num_bigint::BigUint;
use plait_engine::generate::{History, Plan};
use plait_engine::header::RawHeader;
use plait_engine::{BlockHash, BlockHeight, ChainId, Engine, Header, Reader};
use plait_parquet::{Export, ParquetError};
use proptest::prelude::*;
use tempfile::TempDir;
use testkit::archive::has_extension;
use testkit::block::{NETWORK, child, dump, root, sealed};
use testkit::braid::braid;
use testkit::forest::{forest, shuffled};
use testkit::process::{Outcome, binary, finish, plait, replay_file, run, run_script, signal};
use testkit::{Database, sorted, stored};

use crate::archive::folder;
use crate::dataset::{Read, export, files, read_all};
use crate::full::real;

const ANALYTICS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/compat/try_analytics.py");

fn plait_export(db: &Path, out: &Path, rest: &[&str]) -> Outcome {
    let (db, out) = (db.to_str().unwrap(), out.to_str().unwrap());
    run([&["export", "--db", db, "--out", out, "--format", "parquet"], rest].concat())
}

fn replayed(blocks: &[Header]) -> TempDir {
    let db = folder();
    let outcome = replay_file(db.path(), &[], "dump", &dump(blocks));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    db
}

/// The counts that `--json` prints.
fn counts(outcome: &Outcome) -> BTreeMap<String, u64> {
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    serde_json::from_str(&outcome.out).unwrap()
}

/// The hashes of the blocks that the cut of a database has below it.
fn canonical(reader: &Reader, blocks: &[Header]) -> BTreeSet<BlockHash> {
    let by_hash: BTreeMap<_, _> =
        blocks.iter().map(|block| (block.view().hash(), block.view())).collect();
    let cut = reader.view().cut(None).unwrap();
    let mut found = BTreeSet::new();
    for (.., hash) in cut.blocks() {
        let mut next = by_hash.get(&hash);
        while let Some(block) = next {
            found.insert(block.hash());
            let below = by_hash.get(&block.parent());
            next = below.filter(|below| below.height().child() == Some(block.height()));
        }
    }
    found
}

/// Checks that a dataset has exactly these blocks, each in its file, in order, rightly marked.
fn assert_holds(dir: &Path, reader: &Reader, blocks: &[Header], heights: u32) {
    let canonical = canonical(reader, blocks);
    let max = (BigUint::from(1_u8) << 256_u32) - 1_u8;
    let too_high = BigUint::from(10_u8).pow(38);
    let mut expected: BTreeMap<String, Vec<Read>> = BTreeMap::new();
    for header in sorted(blocks) {
        let view = header.view();
        let (chain, first) = (view.chain(), view.height().get() / u64::from(heights));
        let first = first * u64::from(heights);
        let last = first.saturating_add(u64::from(heights - 1));
        let folder = format!("chainwebVersion={NETWORK}/chainId={chain}");
        let target = BigUint::from_bytes_le(&view.target().to_le());
        let difficulty = (target != BigUint::ZERO).then(|| &max / target);
        let difficulty = difficulty.filter(|number| *number < too_high);
        let row = Read { header, orphan: !canonical.contains(&view.hash()), difficulty };
        expected.entry(format!("{folder}/{first:010}-{last:010}.parquet")).or_default().push(row);
    }
    let found = read_all(dir);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, rows) in expected {
        assert_eq!(found[&name], rows, "{name}");
    }
    assert!(is_whole(dir));
}

fn is_whole(dir: &Path) -> bool {
    dir.join(format!("chainwebVersion={NETWORK}/_SUCCESS")).exists()
}

/// A history with forks, of all chains, without genesis blocks.
fn history(heights: u64) -> Vec<Header> {
    let plan = Plan { forks: 0.05, fork_depth: 9, ..Plan::new(NETWORK, heights) };
    History::new(&plan).unwrap().collect()
}

#[test]
fn the_command_writes_every_header_and_later_only_what_is_new() {
    let blocks = history(300);
    let db = replayed(&blocks);
    let out = folder();
    let heights = ["--file-heights", "64", "--json"];
    let first = counts(&plait_export(db.path(), out.path(), &heights));
    let reader = Engine::open_read_only(db.path()).unwrap();
    let held = stored(db.path());
    assert_holds(out.path(), &reader, &held, 64);
    let orphans = read_all(out.path()).into_values().flatten().filter(|row| row.orphan).count();
    assert!(orphans > 100, "{orphans}");
    let bytes = files(out.path()).values().map(Vec::len).sum::<usize>() as u64;
    let expected = [held.len() as u64, orphans as u64, 100, bytes, 100, bytes, 0];
    let names = ["rows", "orphans", "files", "bytes", "written", "writtenBytes", "removed"];
    assert_eq!(first, names.map(str::to_owned).into_iter().zip(expected).collect());
    let before = files(out.path());
    let second = counts(&plait_export(db.path(), out.path(), &heights));
    assert_eq!((second["written"], second["writtenBytes"], second["files"]), (0, 0, 100));
    // A block on one chain: one file is another. Everything else is as it was.
    let top = held.iter().rfind(|block| block.view().chain() == ChainId::new(3));
    let more = [child(top.unwrap().view(), 5)];
    let input = folder();
    fs::write(input.path().join("more"), dump(&more)).unwrap();
    let (path, more_path) = (db.path().to_str().unwrap(), input.path().join("more"));
    let outcome = run(["replay", "--db", path, "--verify", "hash", more_path.to_str().unwrap()]);
    assert_eq!(outcome.counts(), [1, 0, 0], "{}", outcome.err);
    let third = counts(&plait_export(db.path(), out.path(), &heights));
    assert_eq!((third["written"], third["rows"]), (1, held.len() as u64 + 1));
    let after = files(out.path());
    let changed = before.iter().filter(|(name, bytes)| after[*name] != **bytes);
    assert_eq!(changed.count(), 1);
    // Other ranges: nothing is left of the old ones.
    let fourth = counts(&plait_export(db.path(), out.path(), &["--json"]));
    assert_eq!((fourth["removed"], fourth["files"], fourth["written"]), (100, 20, 20));
    let reader = Engine::open_read_only(db.path()).unwrap();
    assert_holds(out.path(), &reader, &stored(db.path()), 1 << 18);
}

#[test]
fn what_no_column_can_say_is_missing_or_an_error() {
    let mut database = Database::sealing(4, 5);
    let far = root(ChainId::new(3), BlockHeight::new(u64::MAX >> 1), 7, 7);
    let raw = *root(ChainId::new(5), BlockHeight::new(7), 1, 1).view().raw();
    let least = sealed(RawHeader { target: [0; 32], weight: [0xFF; 32], ..raw });
    let mut low = [0; 32];
    low[14] = 1;
    let little = sealed(RawHeader { target: low, ..raw });
    database.add(&[far, least, little]);
    let out = folder();
    export(database.reader(), out.path(), 3);
    let rows: Vec<Read> = read_all(out.path()).into_values().flatten().collect();
    assert_eq!(rows.len(), 3);
    let row =
        |block: &Header| rows.iter().find(|row| row.header.view().hash() == block.view().hash());
    assert_eq!((row(&far).unwrap().header, row(&little).unwrap().header), (far, little));
    assert_eq!(
        (&row(&least).unwrap().difficulty, &row(&little).unwrap().difficulty),
        (&None, &None)
    );
    // A weight that is missing reads as none.
    let weight = row(&least).unwrap().header.view().raw().weight;
    assert_eq!(weight, [0; 32]);
    database.add(&[root(ChainId::new(4), BlockHeight::new(1 << 63), 7, 7)]);
    let result = Export::new(database.reader(), out.path()).run(&AtomicBool::new(false), &|_| {});
    assert!(matches!(result, Err(ParquetError::Height { .. })), "{result:?}");
    let outcome = plait_export(database.close().path(), out.path(), &[]);
    outcome.assert_fails(2, &["chain 4 has a block at height 9223372036854775808", "check where"]);
}

#[test]
fn files_that_nobody_exported_are_left_alone_and_others_made_again() {
    let mut database = Database::with_genesis();
    database.add(&braid(40));
    let (out, clean) = (folder(), folder());
    export(database.reader(), clean.path(), 16);
    let chain = out.path().join(format!("chainwebVersion={NETWORK}/chainId=3"));
    fs::create_dir_all(&chain).unwrap();
    for name in ["notes.txt", "mine.parquet", ".0000000000-0000000015.tmp"] {
        fs::write(chain.join(name), name).unwrap();
    }
    // Of a longer history, of an export that was killed on the way to a longer one, and torn.
    fs::write(chain.join("0000000048-0000000063.parquet"), "old").unwrap();
    fs::write(chain.join("0000000016-0000000031.parquet"), "PAR1 torn PAR1").unwrap();
    fs::write(out.path().join("README"), "by somebody").unwrap();
    let summary = export(database.reader(), out.path(), 16);
    assert_eq!((summary.files, summary.written, summary.removed), (60, 60, 1));
    let mut found = files(out.path());
    for name in ["README", "notes.txt", "mine.parquet"] {
        let path = format!("chainwebVersion={NETWORK}/chainId=3/{name}");
        assert!(found.remove(name).or_else(|| found.remove(&path)).is_some(), "{name}");
    }
    assert!(found == files(clean.path()));
}

#[test]
fn a_dataset_is_whole_only_behind_the_end_of_an_export() {
    let mut database = Database::with_genesis();
    database.add(&braid(40));
    let out = folder();
    export(database.reader(), out.path(), 16);
    let before = files(out.path());
    let stop = AtomicBool::new(true);
    let summary = Export::new(database.reader(), out.path()).run(&stop, &|_| {}).unwrap();
    assert!(summary.stopped && !is_whole(out.path()));
    assert_eq!(summary.removed, 60, "of other ranges");
    assert!(read_all(out.path()).is_empty());
    export(database.reader(), out.path(), 16);
    assert!(files(out.path()) == before);
}

#[test]
fn an_export_that_is_stopped_by_a_signal_goes_on() {
    let db = replayed(&history(3000));
    let (out, clean) = (folder(), folder());
    let heights = ["--file-heights", "16"];
    assert_eq!(plait_export(db.path(), clean.path(), &heights).status, Some(0));
    let (path, to) = (db.path().to_str().unwrap(), out.path().to_str().unwrap());
    let args = ["export", "--db", path, "--out", to, "--format", "parquet"];
    let mut ended = Vec::new();
    for name in ["INT", "KILL", "TERM"] {
        let child = plait([&args, &heights[..]].concat()).spawn().unwrap();
        while files_count(out.path()) < 200 * (ended.len() + 1) {
            std::thread::yield_now();
        }
        signal(&child, name);
        let outcome = finish(child);
        ended.push(outcome.status);
        if outcome.status == Some(130) {
            assert!(outcome.err.contains("run the same command again"), "{}", outcome.err);
        }
        assert!(!is_whole(out.path()));
    }
    assert_eq!(ended, [Some(130), None, Some(143)]);
    let outcome = plait_export(db.path(), out.path(), &[&heights[..], &["--json"]].concat());
    let counts = counts(&outcome);
    assert!(counts["written"] + 600 <= counts["files"], "{counts:?}");
    assert!(files(out.path()) == files(clean.path()));
}

/// How many files there are, while they are written.
fn files_count(dir: &Path) -> usize {
    let Ok(chains) = fs::read_dir(dir.join(format!("chainwebVersion={NETWORK}"))) else { return 0 };
    let files = chains.flatten().filter_map(|chain| fs::read_dir(chain.path()).ok()).flatten();
    files
        .flatten()
        .filter(|file| has_extension(&file.file_name().to_string_lossy(), "parquet"))
        .count()
}

#[test]
fn a_full_disk_is_said_and_leaves_whole_files() {
    let db = replayed(&braid(200));
    let out = folder();
    // Files of 16 kB at most: what stands in for a disk that is full.
    let (db, to) = (db.path().display(), out.path().display());
    let script = format!(
        "trap '' XFSZ; ulimit -f 16; exec {} export --format parquet --db {db} --out {to} 2>&1",
        binary().display()
    );
    let outcome = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    assert_eq!(outcome.status.code(), Some(2), "{text}");
    assert!(text.contains("chainId=") && text.contains("ulimit -f unlimited"), "{text}");
    assert!(text.contains("File too large"), "{text}");
    let left = files(out.path());
    assert!(left.keys().all(|name| name.ends_with("/_lock")), "{:?}", left.keys());
}

#[test]
fn two_exports_into_one_folder_do_not_meet() {
    let database = Database::with_genesis().close();
    let out = folder();
    assert_eq!(plait_export(database.path(), out.path(), &[]).status, Some(0));
    let lock = out.path().join(format!("chainwebVersion={NETWORK}/_lock"));
    let lock = fs::File::open(lock).unwrap();
    lock.lock().unwrap();
    plait_export(database.path(), out.path(), &[]).assert_fails(2, &["another export writes"]);
    assert!(is_whole(out.path()));
    drop(lock);
    assert_eq!(plait_export(database.path(), out.path(), &[]).status, Some(0));
}

#[test]
fn wrong_usage_of_a_format_is_said() {
    let database = Database::with_genesis().close();
    let (db, out) = (database.path().to_str().unwrap(), folder());
    let args = ["export", "--db", db, "--out", out.path().to_str().unwrap(), "--format"];
    let outcome = run([&args[..], &["arrow"]].concat());
    outcome.assert_fails(2, &["invalid value 'arrow'", "archive, parquet"]);
    plait_export(&out.path().join("none"), out.path(), &[]).assert_fails(2, &["plait replay"]);
    assert!(files(out.path()).is_empty());
}

#[test]
fn what_was_not_hashed_is_written_again() {
    let db = folder();
    let outcome = replay_file(db.path(), &["--verify", "none"], "dump", &dump(&braid(20)));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let out = folder();
    for _ in 0..2 {
        let counts = counts(&plait_export(db.path(), out.path(), &["--json"]));
        assert_eq!((counts["files"], counts["written"]), (20, 20));
    }
}

#[test]
fn an_empty_database_is_a_dataset_of_no_rows() {
    let database = Database::empty();
    let out = folder();
    let summary = export(database.reader(), out.path(), 16);
    assert_eq!((summary.rows, summary.files), (0, 0));
    assert!(is_whole(out.path()) && read_all(out.path()).is_empty());
}

#[test]
fn real_headers_are_made_again_from_their_rows() {
    let Some(headers) = real() else { return };
    let (db, input, out) = (folder(), folder(), folder());
    fs::write(input.path().join("dump"), dump(&headers)).unwrap();
    let (path, input) = (db.path().to_str().unwrap(), input.path().join("dump"));
    let outcome = run(["replay", "--db", path, "--allow-partial", input.to_str().unwrap()]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(plait_export(db.path(), out.path(), &[]).status, Some(0));
    let rows = read_all(out.path()).into_values().flatten();
    let rows: Vec<Header> = rows.map(|row| row.header).collect();
    assert_eq!(sorted(&rows), sorted(&headers));
}

/// `make test-analytics` does it with more.
#[test]
fn documented_queries_answer_what_the_statistics_say() {
    run_script(ANALYTICS, "analytics-venv", &[]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_blocks_their_order_and_their_runs_a_dataset_is_the_same(
        (_, blocks) in shuffled(forest(60)),
        sealings in [(1..6_u32, 0..12_u64), (1..6_u32, 0..12_u64)],
        (commits, heights) in (1..6_usize, 1..9_u32),
    ) {
        let datasets = sealings.map(|(run, window)| {
            let mut database = Database::sealing(run, window);
            blocks.chunks(blocks.len().div_ceil(commits)).for_each(|some| {
                database.add(some);
            });
            let out = folder();
            if blocks.iter().any(|block| block.view().height().get() >> 63 == 1) {
                let export = Export::new(database.reader(), out.path());
                let result = export.run(&AtomicBool::new(false), &|_| {});
                assert!(matches!(result, Err(ParquetError::Height { .. })), "{result:?}");
            } else {
                export(database.reader(), out.path(), heights);
                assert_holds(out.path(), database.reader(), &blocks, heights);
            }
            files(out.path())
        });
        prop_assert!(datasets[0] == datasets[1]);
    }
}
