//! Eight million headers: how many a second are verified and stored, against what scalar verification
//! could do on all cores, and against a copy of the file.
#![expect(clippy::expect_used, reason = "a bench that goes wrong ends the run")]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};

use fixtures::{Row, Rows, Shape, data, median, plait};
use plait_engine::header::LEN;
use plait_engine::replay::source::{self, Reading};
use plait_engine::replay::{Admission, Replay};
use plait_engine::store::History;
use plait_engine::verify::{Adjacents, Level, Parent, Verifier};
use plait_engine::{BlockHash, Engine, Header, HeaderRef, Micros};
use testkit::block::NETWORK;

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Headers that one core verifies one by one.
const SCALAR: usize = 100_000;

fn main() {
    let (headers, rounds) =
        if Shape::from_env().is_quick() { (200_000, 1) } else { (8_000_000, 3) };
    let dump = data::dump_file(headers);
    let mut rows = Rows::new("bulk");
    let folder = tempfile::tempdir_in(data::root()).expect("a folder beside the data");
    let (mut full, mut others, mut size) = (Vec::new(), [const { Vec::new() }; 3], 0.0);
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    let beginning = beginning(&dump);
    for _ in 0..rounds {
        #[expect(clippy::cast_precision_loss, reason = "few cores")]
        let scalar = scalar(&beginning) * cores as f64;
        let db = folder.path().join("db");
        full.push((replay(&dump, &db, Level::Full), scalar));
        size = bytes(&db) / bytes(&dump);
        let [hash, none, copies] = &mut others;
        hash.push(replay(&dump, &db, Level::Hash));
        none.push(replay(&dump, &db, Level::None));
        copies.push(copy(&dump, &folder.path().join("copy")));
    }
    let note = format!("the peer: scalar verification on one core, times {cores} cores");
    rows.push(Row::pairs("bulk/replay/full", "headers/s", &full).note(note));
    for (name, rates) in ["hash", "none", "cp"].into_iter().zip(others) {
        rows.push(Row::new(format!("bulk/replay/{name}"), median(rates), "headers/s"));
    }
    rows.push(Row::new("bulk/size", size, "of the raw bytes"));
    let most = peak(&dump, &folder.path().join("db"));
    let note = "at most, of plait replay, mapped parts of the dump too";
    rows.push(Row::new("bulk/memory", most, "MiB").note(note));
}

/// Headers a second of a replay into a new database, the hash index and the last flush included.
fn replay(dump: &Path, db: &Path, level: Level) -> f64 {
    let _ = fs::remove_dir_all(db);
    let start = Instant::now();
    let opened = Engine::open_or_create(db, Some(NETWORK), History::Full);
    let (mut writer, reader) = opened.expect("a new database");
    drop(reader);
    let (verifier, stop) =
        (Verifier::new(NETWORK, level, Micros::new(i64::MAX)), AtomicBool::new(false));
    let mut replay = Replay::new(&mut writer, verifier, Admission::Genesis, false, &stop);
    let source = source::open(dump, NETWORK, Reading::default()).expect("the dump opens");
    replay.run(source, &mut |_| ()).expect("the dump is replayed");
    let summary = replay.finish(&mut |_| ()).expect("the dump is replayed");
    drop(writer);
    let rate = rate(summary.stored, start);
    let len = fs::metadata(dump).expect("a file").len();
    assert_eq!(len, summary.stored * LEN as u64, "{summary:?}");
    rate
}

/// Headers a second of a copy that is on the disk.
fn copy(from: &Path, to: &Path) -> f64 {
    let start = Instant::now();
    let copied = fs::copy(from, to).expect("the disk takes it");
    File::open(to).and_then(|file| file.sync_all()).expect("the disk takes it");
    let rate = rate(copied / LEN as u64, start);
    fs::remove_file(to).expect("it is there");
    rate
}

/// The first headers of the dump, each after its parents, and what stands below each.
fn beginning(dump: &Path) -> Vec<(Header, [Header; 4])> {
    let mut bytes = Vec::with_capacity(SCALAR * LEN);
    let dump = File::open(dump).expect("the dump opens");
    dump.take(bytes.capacity() as u64).read_to_end(&mut bytes).expect("the dump is read");
    let genesis: Vec<Header> = NETWORK.genesis_headers().collect();
    let mut known: HashMap<BlockHash, Header> =
        genesis.into_iter().map(|header| (header.view().hash(), header)).collect();
    let records = bytes.chunks_exact(LEN);
    let headers = records.map(|record| HeaderRef::parse(record).expect("a header").to_owned());
    let with_parents = headers.map(|header| {
        let view = header.view();
        let find = |hash: BlockHash| *known.get(&hash).expect("a dump with parents first");
        let mut below = [find(view.parent()); 4];
        for (slot, (_, hash)) in below.iter_mut().skip(1).zip(view.adjacents().iter()) {
            *slot = find(hash);
        }
        known.insert(view.hash(), header);
        (header, below)
    });
    with_parents.collect()
}

/// Headers a second that one core verifies one by one, with all it needs at hand.
fn scalar(headers: &[(Header, [Header; 4])]) -> f64 {
    let verifier = Verifier::new(NETWORK, Level::Full, Micros::new(i64::MAX));
    let start = Instant::now();
    for (header, below) in headers {
        let [parent, a, b, c] = below.each_ref().map(Header::view);
        let checked = verifier.check(header.view());
        let adjacents = Adjacents::Blocks([a, b, c]);
        let outcome = verifier.conclude(checked, Parent::Block(parent), adjacents);
        assert!(outcome.is_ok(), "{outcome:?}");
    }
    rate(headers.len() as u64, start)
}

fn rate(headers: u64, start: Instant) -> f64 {
    count(headers) / start.elapsed().as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn count(number: u64) -> f64 {
    number as f64
}

/// Bytes of a file, or of all files below a folder.
fn bytes(path: &Path) -> f64 {
    if path.is_file() {
        return count(fs::metadata(path).expect("a file").len());
    }
    count(data::files(path).iter().map(|(_, bytes)| bytes).sum())
}

/// The most memory that `plait replay` has, in MiB.
fn peak(dump: &Path, db: &Path) -> f64 {
    let _ = fs::remove_dir_all(db);
    let mut command = plait(["replay", "--network", NETWORK.name(), "--db"]);
    let mut child = command.arg(db).arg(dump).spawn().expect("plait runs");
    let mut most = 0.0;
    let status = loop {
        let status = format!("/proc/{}/status", child.id());
        let status = fs::read_to_string(status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        most = kilobytes.map_or(most, |kilobytes| kilobytes / 1024.0);
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "plait replay: {status}");
    most
}
