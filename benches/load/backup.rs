//! Backups one after the other while clients ask for pages and a replay writes: how long one takes,
//! what it adds, how long the slowest of a hundred requests takes meanwhile; and that what is restored
//! is what was written first.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fixtures::{Plait, Row, Target, data, media, median, plait, timed};
use plait_engine::backup::{BackupId, Backups, Begun, Contents, Origin, Request, Status};
use plait_engine::header::LEN;
use plait_engine::{BlockHash, Bounds, BranchQuery, ChainId, Engine, Header, HeaderRef, Reader};
use tempfile::TempDir;

use crate::wrk;
use crate::{Bench, float};

/// Clients that ask for small pages.
const CLIENTS: usize = 16;

/// A page of ten headers.
const LIMIT: &str = "?limit=10";

/// Never set.
static GO_ON: AtomicBool = AtomicBool::new(false);

/// What one round found.
struct Round {
    idle_micros: f64,
    written_micros: f64,
    loaded_micros: f64,
    seconds: Vec<f64>,
    added: Vec<f64>,
}

pub(crate) fn measure(bench: &mut Bench) {
    const NAME: &str = "backup/p99";
    if !wrk::is_here() {
        bench.rows.push(Row::missing(NAME, "not measured: wrk is not installed"));
        return;
    }
    let is_quick = bench.fixtures.shape().is_quick();
    let (headers, first) = if is_quick { (200_000, 150_000) } else { (8_000_000, 6_500_000) };
    let dump = data::dump_file(headers);
    let base = data::kept(&format!("backup-{first}"), &(headers, first), |folder| {
        fill(&folder.join("db"), &dump, first);
    });
    let rounds: Vec<Round> = (0..bench.rounds.min(3))
        .map(|number| round(&base.join("db"), &dump, first, bench.time, number == 0))
        .collect();
    let of = |of: fn(&Round) -> f64| median(rounds.iter().map(of).collect());
    let all = |of: fn(&Round) -> &[f64]| rounds.iter().flat_map(of).copied().collect::<Vec<f64>>();
    let (seconds, added) = (all(|round| &round.seconds), all(|round| &round.added));
    let [idle, loaded] = [of(|round| round.idle_micros), of(|round| round.loaded_micros)];
    let note = format!(
        "B: idle; while only the replay writes {:.0}; {CLIENTS} clients, {} backups",
        of(|round| round.written_micros),
        seconds.len()
    );
    let row = Row::new(NAME, loaded, "us").note(note);
    let ratio = Some(of(|round| round.loaded_micros / round.idle_micros));
    bench.rows.push(Row { peer: Some(idle), ratio, ..row });
    let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let note = format!("the longest; median {:.3}", median(seconds.clone()));
    bench.rows.push(Row::new("backup/loaded", most(&seconds), "s").note(note));
    let note = format!("the most; median {:.5}", median(added.clone()));
    bench.rows.push(Row::new("backup/added", most(&added), "of the database").note(note));
    let pairs = against_checkpoints(&base.join("db"), bench.rounds);
    let note = "B: RocksDB's checkpoint alone; nothing else runs";
    bench.rows.push(Row::pairs("backup/idle", "s", &pairs).note(note));
}

/// Replays the first headers of `dump` into a new database.
fn fill(db: &Path, dump: &Path, headers: u64) {
    let input = File::open(dump).expect("a dump").take(headers * LEN as u64);
    let mut child = plait(["replay", "--network", "development", "--verify", "none", "--db"])
        .arg(db)
        .arg("-")
        .stdin(Stdio::piped())
        .spawn()
        .expect("plait runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::io::copy(&mut { input }, &mut stdin).expect("plait reads all");
    drop(stdin);
    assert!(child.wait().expect("plait ends").success(), "a replay fails");
}

/// A copy of the database in `base` that may be written.
fn copy(base: &Path) -> TempDir {
    let folder = tempfile::tempdir_in(data::root()).expect("a folder beside the data");
    let copied = Command::new("cp").arg("-a").arg(base).arg(folder.path().join("db")).status();
    assert!(copied.is_ok_and(|status| status.success()), "cp fails");
    folder
}

fn round(base: &Path, dump: &Path, first: u64, time: Duration, is_checked: bool) -> Round {
    let folder = copy(base);
    let db = folder.path().join("db");
    let upper = Engine::open_read_only(&db).expect("a database").view().tip(ChainId::new(0));
    let flags = ["--backup-api", "--replay", "-"];
    let mut server = Plait::serve_with(&db, &flags, Stdio::piped());
    let small = Target::branch(
        server.address,
        media::JSON,
        LIMIT,
        upper.expect("a chain with blocks").hash,
    );
    let _warm = wrk::run(&small, CLIENTS, time);
    let idle = wrk::run(&small, CLIENTS, time);
    let mut stdin = server.process.stdin().expect("a pipe");
    let stop = AtomicBool::new(false);
    let (written, loaded, found) = thread::scope(|scope| {
        scope.spawn(|| feed(dump, first, &mut stdin, &stop));
        wait_for_more(server.address);
        let written = wrk::run(&small, CLIENTS, time);
        let asked = scope.spawn(|| back_up(&db, server.address, &stop));
        let loaded = wrk::run(&small, CLIENTS, time * 2);
        stop.store(true, Ordering::Relaxed);
        (written, loaded, asked.join().expect("backups are made"))
    });
    drop(stdin);
    drop(server);
    let (seconds, added): (Vec<f64>, Vec<f64>) = found.iter().map(|found| found.1).unzip();
    if is_checked {
        let last = &found.last().expect("at least one backup").0;
        timed("looking through a backup", || check(&db, last, dump));
    }
    Round {
        idle_micros: idle.p99_micros,
        written_micros: written.p99_micros,
        loaded_micros: loaded.p99_micros,
        seconds,
        added,
    }
}

/// Writes what `dump` has behind its `first` headers, until `stop`.
fn feed(dump: &Path, first: u64, out: &mut impl Write, stop: &AtomicBool) {
    let mut dump = File::open(dump).expect("a dump");
    dump.seek(SeekFrom::Start(first * LEN as u64)).expect("a longer dump");
    let mut buffer = vec![0; 1 << 20];
    while !stop.load(Ordering::Relaxed) {
        let len = dump.read(&mut buffer).expect("a dump to read");
        if len == 0 || out.write_all(&buffer[..len]).is_err() {
            return;
        }
    }
}

/// Waits until clients are shown what the replay writes.
fn wait_for_more(address: SocketAddr) {
    let cut = Target::of(address, "GET", "/chainweb/0.0/development/cut");
    let (before, start) = (cut.fetch(), Instant::now());
    while cut.fetch() == before {
        assert!(start.elapsed() < Duration::from_mins(1), "the replay writes nothing");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Asks for backups, each when the one before is done: how long each takes, and what it adds, as a
/// share of the database.
fn back_up(db: &Path, address: SocketAddr, stop: &AtomicBool) -> Vec<(BackupId, (f64, f64))> {
    let backups = Backups::new(&Backups::default_dir(db));
    let make = Target::of(address, "POST", "/make-backup");
    let mut found = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let id = String::from_utf8(make.fetch()).expect("a name is text");
        let status = Target::of(address, "GET", &format!("/check-backup/{id}"));
        while status.fetch() == Status::InProgress.name().as_bytes() {
            thread::sleep(Duration::from_millis(2));
        }
        let seconds = start.elapsed().as_secs_f64();
        let listed = backups.list().expect("backups").pop().expect("the one that was made");
        assert_eq!((listed.id.as_str(), listed.status), (&*id, Status::Done), "{:?}", listed.cause);
        let bytes = listed.contents.as_ref().map_or(0, Contents::bytes);
        let added = listed.contents.iter().flat_map(|contents| &contents.files);
        // Tables are links; those that the database has dropped since are no addition.
        let added: u64 = added.filter(|file| file.blake3.is_some()).map(|file| file.bytes).sum();
        found.push((listed.id, (seconds, float(added) / float(bytes))));
    }
    found
}

/// Restores a backup and exports what was restored: it verifies, and is what the dump begins with.
fn check(db: &Path, id: &BackupId, dump: &Path) {
    let folder = tempfile::tempdir_in(data::root()).expect("a folder beside the data");
    let (restored, out) = (folder.path().join("db"), folder.path().join("archive"));
    let run = |args: &[&str], paths: &[&PathBuf]| {
        let status = plait(args).args(paths).status().expect("plait runs");
        assert!(status.success(), "{args:?}: {status}");
    };
    let backups = Backups::default_dir(db);
    run(&["restore", id.as_str(), "--backups"], &[&backups, &"--to".into(), &restored]);
    run(&["export", "--db"], &[&restored, &"--out".into(), &out]);
    run(&["verify", "--level", "hash"], &[&out]);
    let contents = fs::read_to_string(backups.join(id.as_str()).join("contents.json"));
    let contents: Contents =
        serde_json::from_str(&contents.expect("contents")).expect("contents are JSON");
    let reader = Engine::open_read_only(&restored).expect("a database");
    // Genesis blocks are in every full history, and not in the dump.
    let genesis: Vec<Header> = reader.version().genesis_headers().collect();
    let count = contents.blocks - genesis.len() as u64;
    let mut expected = hashes(File::open(dump).expect("a dump").take(count * LEN as u64));
    expected.extend(genesis.iter().map(|header| header.view().hash()));
    let mut archived = Vec::new();
    for path in data::files(&out).into_iter().map(|(path, _)| path) {
        let mut file = File::open(&path).expect("a file of the archive");
        let len = file.metadata().expect("a file has a length").len();
        if path.extension().is_some_and(|extension| extension == "plait") {
            file.seek(SeekFrom::Start(len % LEN as u64)).expect("a file to read");
            archived.extend(hashes(file));
        }
    }
    expected.sort_unstable();
    archived.sort_unstable();
    assert!(archived == expected, "not the first {count} headers of the dump");
    every_header_is_there(&reader, contents.cut_height);
}

/// Below each block of the cut there is a block at every height.
fn every_header_is_there(reader: &Reader, cut_height: u64) {
    let view = reader.view();
    let cut = view.cut(None).expect("a cut");
    assert_eq!(cut.height(), cut_height);
    for (chain, height, hash) in cut.blocks() {
        let bounds = Bounds { upper: vec![hash], lower: Vec::new() };
        let query = BranchQuery { bounds, limit: usize::MAX, ..BranchQuery::default() };
        let page = view.branch_hashes(chain, &query).expect("a branch");
        assert_eq!(page.items.len() as u64, height.get() + 1, "chain {chain}");
    }
}

/// The hashes of concatenated headers.
fn hashes(mut records: impl Read) -> Vec<BlockHash> {
    let mut bytes = Vec::new();
    records.read_to_end(&mut bytes).expect("records to read");
    let headers = bytes.chunks_exact(LEN).map(HeaderRef::parse);
    headers.map(|header| header.expect("a header").hash()).collect()
}

/// Seconds of a backup of a database that nobody uses, and of RocksDB's checkpoint of it, in turns.
fn against_checkpoints(base: &Path, rounds: usize) -> Vec<(f64, f64)> {
    let folder = copy(base);
    let db = folder.path().join("db");
    let (writer, reader) = Engine::open(&db).expect("a database");
    let backups = Backups::new(&Backups::default_dir(&db));
    let mut pairs = Vec::new();
    for number in 0..rounds {
        let start = Instant::now();
        let Begun::Started(job) = backups.begin().expect("a folder of backups") else {
            panic!("another backup is being made");
        };
        let origin = Origin::Here(reader.clone());
        job.run(&origin, Request::default(), &GO_ON).expect("a backup");
        let seconds = start.elapsed().as_secs_f64();
        let start = Instant::now();
        reader.checkpoint(&folder.path().join(number.to_string())).expect("a checkpoint");
        pairs.push((seconds, start.elapsed().as_secs_f64()));
    }
    drop(writer);
    pairs
}
