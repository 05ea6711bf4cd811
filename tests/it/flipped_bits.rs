//! Headers with a flipped bit, in dumps that are taken in order and one by one: each is rejected with its
//! place and its rule, or stored where the level cannot see it, and then `plait verify` does.

use std::io::Cursor;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use plait_engine::audit::{Audit, Event as Found};
use plait_engine::generate::{History as Generated, Plan};
use plait_engine::header::LEN;
use plait_engine::replay::source::Binary;
use plait_engine::replay::{Admission, Event, Replay, Summary};
use plait_engine::store::History;
use plait_engine::verify::{Level, Verifier};
use plait_engine::{ChainwebVersion, Engine, Header, Micros, Writer};
use tempfile::TempDir;
use testkit::archive::export;
use testkit::block::{dump, root};
use testkit::process::{Outcome, plait, replay_command, run_with_input};
use testkit::stored;

const NETWORK: ChainwebVersion = ChainwebVersion::Development;

/// Bits of a header.
const BITS: usize = LEN * 8;

/// The byte of a header that is the most significant one of its height.
const HEIGHT_TOP: usize = 265;

/// What came of some records.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    summary: Summary,
    /// Place, rules, and the whole text of each rejection.
    rejected: Vec<(String, Vec<&'static str>, String)>,
}

fn history(heights: u64) -> Vec<Header> {
    Generated::new(&Plan::new(NETWORK, heights)).unwrap().collect()
}

fn open(dir: &Path) -> Writer {
    Engine::open_or_create(dir, Some(NETWORK), History::Full).unwrap().0
}

/// Replays `records`, in order from the first one on, or one by one.
fn replay(writer: &mut Writer, level: Level, in_order: bool, records: &[u8]) -> Told {
    let verifier = Verifier::new(NETWORK, level, Micros::new(i64::MAX));
    let stop = AtomicBool::new(false);
    let mut rejected = Vec::new();
    let mut replay = Replay::new(writer, verifier, Admission::Genesis, true, &stop)
        .ordered_from(if in_order { 0 } else { u64::MAX });
    let input = Box::new(Cursor::new(records.to_vec()));
    let source = Binary::streamed("memory".to_owned(), input);
    let mut tell = |event: Event<'_>| {
        if let Event::Rejected(rejection) = event {
            let rules = rejection.wrong.names().collect();
            rejected.push((rejection.place.to_string(), rules, rejection.to_string()));
        }
    };
    let summary = replay.run(Box::new(source), &mut tell).unwrap();
    Told { summary, rejected }
}

fn flipped(header: &Header, bit: usize) -> Vec<u8> {
    let mut record = header.view().as_bytes().to_vec();
    record[bit / 8] ^= 1 << (bit % 8);
    record
}

/// A database with `headers`, which are taken in order.
fn database(headers: &[Header], level: Level) -> (TempDir, Writer) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    let told = replay(&mut writer, level, true, &dump(headers));
    assert_eq!((told.summary.stored, told.rejected), (headers.len() as u64, Vec::new()));
    (dir, writer)
}

/// Both ways of a database with the same blocks.
fn ways(headers: &[Header], level: Level) -> [(TempDir, Writer, bool); 2] {
    [true, false].map(|in_order| {
        let (dir, writer) = database(headers, level);
        (dir, writer, in_order)
    })
}

fn assert_told(told: &Told, bit: usize) {
    let [(place, rules, text)] = told.rejected.as_slice() else { panic!("bit {bit}: {told:?}") };
    assert_eq!(place, "offset 0", "bit {bit}");
    assert!(!rules.is_empty() && text.starts_with("offset 0: "), "bit {bit}: {text}");
}

/// Flips every bit at a level that sees all of them.
fn every_flip_is_rejected(level: Level) {
    let headers = history(6);
    let (prefix, tips) = headers.split_at(headers.len() - 20);
    let mut ways = ways(prefix, level);
    for bit in 0..BITS {
        let record = flipped(&tips[bit % 20], bit);
        let [in_order, one_by_one] =
            ways.each_mut().map(|(_, writer, in_order)| replay(writer, level, *in_order, &record));
        assert_eq!(in_order, one_by_one, "bit {bit}");
        assert_eq!((in_order.summary.stored, in_order.summary.waiting), (0, 0), "bit {bit}");
        assert_told(&in_order, bit);
    }
    for (dir, writer, _) in ways {
        drop(writer);
        assert_eq!(stored(dir.path()).len(), prefix.len() + 20);
    }
}

#[test]
fn every_bit_that_is_flipped_is_rejected_at_level_full() {
    every_flip_is_rejected(Level::Full);
}

#[test]
fn every_bit_that_is_flipped_is_rejected_at_level_hash() {
    every_flip_is_rejected(Level::Hash);
}

#[test]
fn every_bit_that_is_flipped_at_level_none_is_rejected_or_found_by_verify() {
    let headers = history(3);
    let (prefix, tips) = headers.split_at(headers.len() - 20);
    let (mut seen, mut unseen) = (0, 0);
    for first in (0..BITS).step_by(20) {
        let mut ways = ways(prefix, Level::None);
        let mut kept = 0;
        for (bit, tip) in (first..BITS).zip(tips) {
            let record = flipped(tip, bit);
            let [in_order, one_by_one] = ways
                .each_mut()
                .map(|(_, writer, in_order)| replay(writer, Level::None, *in_order, &record));
            assert_eq!(in_order, one_by_one, "bit {bit}");
            if in_order.summary.stored == 1 {
                kept += 1;
            } else {
                assert_told(&in_order, bit);
                seen += 1;
            }
        }
        let [in_order, one_by_one] = ways.map(|(dir, writer, _)| {
            drop(writer);
            let reader = Engine::open_read_only(dir.path()).unwrap();
            let verifier = Verifier::new(NETWORK, Level::Full, Micros::new(i64::MAX));
            let mut broken = Vec::new();
            let report =
                Audit::new(&reader, &verifier).run(&AtomicBool::new(false), &mut |found| {
                    if let Found::Broken(header, failures) = found {
                        broken.push((header.rank(), failures.to_string()));
                    }
                });
            assert_eq!(report.unwrap().flaws, 0);
            (stored(dir.path()), broken)
        });
        assert_eq!(in_order, one_by_one);
        assert_eq!(in_order.1.len(), kept, "from bit {first}");
        unseen += kept;
    }
    // Height, parent, chain, network and the chains of the neighbours are seen, and whether there are
    // three of these.
    assert_eq!((seen, unseen), (64 + 256 + 32 + 32 + 3 * 32 + 16, BITS - 496));
}

fn command(db: &Path, level: &str, args: &[&str]) -> std::process::Command {
    let mut command = replay_command(db, ["--verify", level]);
    command.args(args);
    command
}

fn assert_rejects(outcome: &Outcome, stored: usize, place: &str, rule: &str) {
    let text = format!("stored {stored}, ");
    outcome.assert_fails(1, &[&text, place, rule]);
    assert!(!outcome.err.contains("panicked"), "{}", outcome.err);
}

#[test]
fn a_flipped_height_in_a_long_dump_loses_nothing_that_came_before() {
    let headers = history(2001);
    let bytes = dump(&headers);
    let last = headers.len() - 1;
    for (level, bit) in [("none", 7), ("hash", 7), ("full", 0), ("full", 7)] {
        let mut bytes = bytes.clone();
        let start = last * LEN;
        bytes[start + HEIGHT_TOP] ^= 1 << bit;
        let db = tempfile::tempdir().unwrap();
        let outcome = run_with_input(command(db.path(), level, &["-"]), bytes);
        assert_rejects(&outcome, last, &format!("offset {start}: "), "IncorrectHeight");
    }
}

#[test]
fn a_byte_that_is_missing_in_a_dump_loses_nothing_that_came_before() {
    let headers = history(20);
    let mut bytes = dump(&headers);
    // In the middle of record 300, in every part of a header.
    for byte in [0, 8, 100, 140, 200, HEIGHT_TOP, 317] {
        let removed = bytes.remove(300 * LEN + byte);
        for flags in [&["-"][..], &["--keep-going", "-"]] {
            for in_order in ["0", "1000000"] {
                for level in ["none", "hash", "full"] {
                    let db = tempfile::tempdir().unwrap();
                    let mut command = command(db.path(), level, &["--in-order-from", in_order]);
                    command.args(flags);
                    let outcome = run_with_input(command, bytes.clone());
                    assert!(!outcome.err.contains("panicked"), "{}", outcome.err);
                    let [stored, ..] = outcome.counts();
                    // At level none a header may be taken whose last byte is that of the next one.
                    assert!((300..=301).contains(&stored), "{byte}, {level}: {}", outcome.err);
                    assert_eq!(outcome.status, Some(1), "{byte}, {level}: {}", outcome.err);
                }
            }
        }
        bytes.insert(300 * LEN + byte, removed);
    }
}

#[test]
fn an_archive_with_a_block_near_the_greatest_height_is_replayed() {
    // A partial history may begin anywhere.
    let headers = history(120);
    let far = root(plait_engine::ChainId::new(3), plait_engine::BlockHeight::new(1 << 60), 7, 1);
    let top = root(plait_engine::ChainId::new(4), plait_engine::BlockHeight::new(u64::MAX), 7, 1);
    let blocks = dump(headers.iter().chain([&far, &top]));
    let (db, archive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let partial = ["--allow-partial", "--in-order-from", "0", "-"];
    let outcome = run_with_input(command(db.path(), "none", &partial), blocks);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let reader = Engine::open_read_only(db.path()).unwrap();
    export(&reader, archive.path(), 64);
    let verified = testkit::process::run([
        "verify".as_ref(),
        "--level".as_ref(),
        "none".as_ref(),
        archive.path().as_os_str(),
    ]);
    assert_eq!(verified.status, Some(0), "{}", verified.err);
    let again = tempfile::tempdir().unwrap();
    let mut command = command(again.path(), "none", &["--allow-partial", "--in-order-from", "0"]);
    command.arg(archive.path());
    let outcome = testkit::process::finish(command.spawn().unwrap());
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(again.path()), stored(db.path()));
    let verified = testkit::process::finish(
        plait(["verify", "--level", "none", "--db"]).arg(again.path()).spawn().unwrap(),
    );
    assert_eq!(verified.status, Some(0), "{}", verified.err);
}

#[test]
fn lines_with_a_flipped_height_are_rejected_with_their_place() {
    let headers = history(20);
    let mut lines = String::new();
    for header in &headers {
        let mut line = Vec::new();
        plait_engine::header::text::push_string(&mut line, header.view());
        lines.push_str(&String::from_utf8(line).unwrap());
        lines.push('\n');
    }
    let mut raw = *headers[399].view().raw();
    raw.height = (raw.height.get() | 1 << 63).into();
    let mut line = Vec::new();
    plait_engine::header::text::push_string(&mut line, Header::new(raw).unwrap().view());
    let cut = lines.trim_end().rfind('\n').unwrap() + 1;
    lines.truncate(cut);
    lines.push_str(&String::from_utf8(line).unwrap());
    for level in ["none", "hash", "full"] {
        let db = tempfile::tempdir().unwrap();
        let outcome = run_with_input(
            command(db.path(), level, &["--in-order-from", "0", "-"]),
            lines.clone().into_bytes(),
        );
        assert_rejects(&outcome, 399, "line 400, column 1, ", "IncorrectHeight");
    }
}
