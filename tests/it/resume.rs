//! Replays that are interrupted in the middle of much that comes in order.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use plait_engine::generate::{History, Plan};
use plait_engine::store::Store;
use plait_engine::{ChainwebVersion, Engine, Header};
use serde_json::Value;
use tempfile::TempDir;
use testkit::block::{dump, lines};
use testkit::process::{Outcome, finish, plait, replay, replay_command, run, signal};
use testkit::{say, sorted, stored};

use super::cli::SmallDisk;
use super::rocks::node_db;

const NETWORK: ChainwebVersion = ChainwebVersion::Development;

/// Enough records to be taken in order, with forks that change the heaviest branch.
static HEADERS: LazyLock<Vec<Header>> = LazyLock::new(|| {
    let plan = Plan { forks: 0.02, fork_depth: 30, ..Plan::new(NETWORK, 3000) };
    History::new(&plan).unwrap().collect()
});

/// A folder with the dump of them.
struct Dump(TempDir);

impl Dump {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("dump"), dump(&*HEADERS)).unwrap();
        Self(folder)
    }

    fn file(&self) -> std::path::PathBuf {
        self.0.path().join("dump")
    }
}

/// Replays a file to its end, in commits of 4,096 blocks.
fn to_the_end(db: &Path, input: &Path) -> Outcome {
    let outcome = replay(db, args(input));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    outcome
}

fn args(input: &Path) -> [&OsStr; 3] {
    ["--commit".as_ref(), "4096".as_ref(), input.as_os_str()]
}

fn begin(db: &Path, input: &Path) -> Child {
    replay_command(db, args(input)).spawn().unwrap()
}

fn info(db: &Path) -> Value {
    let outcome = run(["info".as_ref(), "--json".as_ref(), "--db".as_ref(), db.as_os_str()]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    serde_json::from_str(&outcome.out).unwrap()
}

/// Checks that the database holds all the blocks, each found by its hash, and says so of itself.
fn assert_whole(db: &Path) {
    let genesis: Vec<Header> = NETWORK.genesis_headers().collect();
    assert!(stored(db) == sorted(HEADERS.iter().chain(&genesis)), "not the blocks of the dump");
    let view = Engine::open_read_only(db).unwrap().view();
    for header in &*HEADERS {
        let header = header.view();
        assert!(view.header(header.chain(), &header.hash()).unwrap().is_some(), "{header:?}");
    }
    let verified = run(["verify".as_ref(), "--db".as_ref(), db.as_os_str()]);
    assert_eq!(verified.status, Some(0), "{}", verified.err);
}

#[test]
fn a_replay_that_is_killed_again_and_again_ends_in_the_same_database() {
    let (dump, undisturbed, db) =
        (Dump::new(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    to_the_end(undisturbed.path(), &dump.file());
    let mut kept = 0;
    for kill in 1..=8 {
        let child = begin(db.path(), &dump.file());
        thread::sleep(Duration::from_millis(60 * kill));
        signal(&child, "KILL");
        if finish(child).status.is_some() {
            break;
        }
        if Engine::exists(db.path()).unwrap() && Store::open_read_only(db.path()).is_ok() {
            let blocks = info(db.path())["blocks"].as_u64().unwrap();
            assert!(blocks >= kept, "{blocks} blocks after {kept}");
            kept = blocks;
        }
    }
    let outcome = to_the_end(db.path(), &dump.file());
    let [stored, known, rejected] = outcome.counts();
    assert_eq!((stored + known, rejected), (HEADERS.len() as u64, 0), "{}", outcome.err);
    assert_eq!(info(db.path()), info(undisturbed.path()));
    assert_whole(db.path());
}

#[test]
fn a_replay_that_is_stopped_goes_on_at_its_mark() {
    let (dump, db) = (Dump::new(), tempfile::tempdir().unwrap());
    let mut part = 0;
    for pause in [150, 250, 400, 600, 900] {
        let child = begin(db.path(), &dump.file());
        thread::sleep(Duration::from_millis(pause));
        signal(&child, "INT");
        let outcome = finish(child);
        part = outcome.counts().iter().sum();
        if outcome.status == Some(130) && part > 8192 {
            break;
        }
        assert_eq!(outcome.status, Some(130), "it was too fast to be interrupted: {}", outcome.err);
    }
    // It can be read before it is whole.
    assert_eq!(info(db.path())["blocks"], part + 20);
    let view = Engine::open_read_only(db.path()).unwrap().view();
    let some = HEADERS.iter().take(usize::try_from(part).unwrap()).step_by(997);
    for header in some.map(Header::view) {
        assert!(view.header(header.chain(), &header.hash()).unwrap().is_some(), "{header:?}");
    }
    drop(view);
    let outcome = to_the_end(db.path(), &dump.file());
    assert!(outcome.err.contains("were not read again"), "{}", outcome.err);
    assert_eq!(outcome.counts(), [HEADERS.len() as u64 - part, part, 0]);
    assert_whole(db.path());
    // All of it is read when it was read to its end before.
    let outcome = to_the_end(db.path(), &dump.file());
    assert!(!outcome.err.contains("were not read again"), "{}", outcome.err);
    assert_eq!(outcome.counts(), [0, HEADERS.len() as u64, 0]);
}

#[test]
fn a_dump_that_was_changed_is_read_from_its_beginning() {
    let (dump, db) = (Dump::new(), tempfile::tempdir().unwrap());
    let child = begin(db.path(), &dump.file());
    thread::sleep(Duration::from_millis(250));
    signal(&child, "INT");
    finish(child);
    let mut bytes = fs::read(dump.file()).unwrap();
    bytes[318 * 5 + 280] ^= 1;
    fs::write(dump.file(), bytes).unwrap();
    replay(db.path(), args(&dump.file())).assert_fails(1, &["offset 1590: ", "IncorrectHash"]);
}

#[test]
fn lines_and_node_databases_go_on_at_their_marks_too() {
    let folder = tempfile::tempdir().unwrap();
    let (file, node) = (folder.path().join("lines"), folder.path().join("node"));
    fs::write(&file, lines(&*HEADERS)).unwrap();
    node_db(&node, &*HEADERS).flush();
    for input in [file, node] {
        let db = tempfile::tempdir().unwrap();
        for pause in [300, 500] {
            let child = begin(db.path(), &input);
            thread::sleep(Duration::from_millis(pause));
            signal(&child, if pause == 300 { "KILL" } else { "TERM" });
            finish(child);
        }
        let outcome = to_the_end(db.path(), &input);
        let [stored, known, _] = outcome.counts();
        // A node's database is read again from the beginning of a height.
        assert!((stored + known) - HEADERS.len() as u64 <= 40, "{}", outcome.err);
        assert_whole(db.path());
    }
}

#[test]
fn a_disk_that_fills_at_any_point_loses_nothing() {
    let dump = Dump::new();
    // Among runs, near the end of them, and while the hash index is sorted.
    for megabytes in [3, 9, 17, 23, 26] {
        let Some(disk) = SmallDisk::mount(megabytes << 20) else {
            return say("skipped: no full disk without the right to mount one");
        };
        let db = disk.path().join("db");
        let outcome = replay(&db, args(&dump.file()));
        outcome.assert_fails(2, &["No space left on device", "run the same command again"]);
        assert!(!outcome.err.contains("panicked"), "{}", outcome.err);
        disk.grow(400 << 20);
        let outcome = to_the_end(&db, &dump.file());
        let [stored, known, _] = outcome.counts();
        assert_eq!(stored + known, HEADERS.len() as u64, "{megabytes} MB: {}", outcome.err);
        assert_whole(&db);
    }
}

#[test]
fn objects_for_machines_tell_what_came_of_a_replay() {
    let (dump, db) = (Dump::new(), tempfile::tempdir().unwrap());
    let mut bytes = fs::read(dump.file()).unwrap();
    bytes.extend_from_slice(&[7; 100]);
    let file = dump.0.path().join("longer");
    fs::write(&file, bytes).unwrap();
    let command = ["replay", "--json", "--network", "development", "--db"].map(OsStr::new);
    let args = command.into_iter().chain([db.path().as_os_str(), file.as_os_str()]);
    let outcome = finish(plait(args).spawn().unwrap());
    assert_eq!((outcome.status, &*outcome.err), (Some(1), ""));
    let lines: Vec<Value> =
        outcome.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["event"] == "rejected"), "{}", outcome.out);
    let summary = lines.last().unwrap();
    assert_eq!(summary["event"], "summary");
    assert_eq!(summary["stored"], HEADERS.len());
    assert_eq!(summary["rejectedBy"], serde_json::json!({ "Cut": 1 }));
    assert_eq!((&summary["level"], &summary["stopped"]), (&"full".into(), &false.into()));
}
