//! Following into a disk that is full: nothing counts as in step that is not stored.

use std::fs::{self, File};
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use plait_engine::Header;
use serde_json::Value;
use testkit::block::dump;
use testkit::process::{finish, plait, replay_file, run};
use testkit::server::{Server, Signal, utf8};
use testkit::{say, stored};

use crate::cli::SmallDisk;
use crate::follow::{FAST, end, folder, follower, height, until};
use crate::push::{generated, with_genesis};

/// More than a disk of 24 MB takes.
const HEIGHTS: u64 = 6000;

const DISK_BYTES: u32 = 24 << 20;

/// RocksDB has so long to notice that there is room.
const PATIENCE: Duration = Duration::from_mins(2);

fn upstream(db: &Path, headers: &[Header]) -> Server {
    let outcome = replay_file(db, &["--verify", "hash"], "dump", &dump(headers));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    Server::with(&["--db", utf8(db)])
}

fn state(server: &Server) -> Value {
    let state = server.get("/chainweb/0.0/development/state");
    serde_json::from_str(state.text()).unwrap()
}

#[test]
fn a_server_that_follows_into_a_full_disk_is_in_step_only_once_there_is_room() {
    let Some(disk) = SmallDisk::mount(DISK_BYTES) else {
        return say("skipped: no full disk without the right to mount one");
    };
    let (headers, a) = (generated(HEIGHTS, 1, 0.0), folder());
    let first = upstream(a.path(), &headers);
    let db = disk.path().join("db");
    let second = follower(&db, &first.url(), &["--network", "development"]);
    let failures = || second.metric("plait_follow_failures_total{why=\"store\"}").unwrap_or(0.0);
    // The first one is the replay's, and each further one is of a database that is asked again.
    until("failures", || failures() >= 4.0);
    assert_eq!(state(&second)["follow"]["inStep"], false, "{}", second.log());
    assert!(second.metric("plait_follow_lag").unwrap() > 0.0);
    assert_eq!(second.metric("plait_database_writable"), Some(0.0));
    assert_eq!(second.get("/ready").status, 503);
    let log = second.log();
    assert!(!log.contains("in step"), "{log}");
    let full = "following: the database cannot be written: the disk is full: ";
    assert!(log.contains(full), "{log}");
    assert!(log.contains("has only ") && log.contains("128 MiB"), "{log}");
    disk.grow(600 << 20);
    let begin = Instant::now();
    while state(&second)["follow"]["inStep"] != true {
        assert!(begin.elapsed() < PATIENCE, "{}", second.log());
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(height(&second), HEIGHTS * 20);
    second.logged("following: the database can be written again");
    let counted = second.metric("plait_follow_blocks_total");
    assert_eq!(counted.map(|count| count.to_string()), Some((HEIGHTS * 20).to_string()));
    end(second);
    assert_eq!(stored(&db), with_genesis(&headers));
}

/// Runs `plait follow` into `db` with its standard error in `log`.
fn follow(url: &str, db: &Path, log: &Path, flags: &[&str]) -> Child {
    let mut command = plait(["follow", url, "--network", "development", "--db", utf8(db)]);
    command.args(FAST).args(flags).stderr(File::create(log).unwrap());
    command.spawn().unwrap()
}

#[test]
fn the_command_ends_with_a_failure_that_counts_the_blocks_a_full_disk_has_lost() {
    let Some(disk) = SmallDisk::mount(DISK_BYTES) else {
        return say("skipped: no full disk without the right to mount one");
    };
    let (headers, a) = (generated(HEIGHTS, 1, 0.0), folder());
    let first = upstream(a.path(), &headers);
    let log = a.path().join("log");
    let read = || fs::read_to_string(&log).unwrap();
    for once in [false, true] {
        let db = disk.path().join(format!("db-{once}"));
        let flags: &[&str] = if once { &["--once"] } else { &[] };
        let mut child = follow(&first.url(), &db, &log, flags);
        if !once {
            until("a failure", || read().contains("the disk is full: "));
            // Until it has asked the database again.
            thread::sleep(Duration::from_secs(1));
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, Signal::TERM).unwrap();
        }
        let status = child.wait().unwrap();
        let log = read();
        assert_eq!(status.code(), Some(2), "{log}");
        assert!(!log.contains("in step"), "{log}");
        assert!(log.contains("error: not everything is stored: the disk is full: "), "{log}");
        assert!(log.contains("had not reached the disk and are lost. Make room there"), "{log}");
        let info = run(["info", "--json", "--db", utf8(&db)]);
        let info: Value = serde_json::from_str(&info.out).unwrap();
        let height = info["cut"]["height"].as_u64().unwrap() / 20;
        assert!(log.contains(&format!("blocks above height {height} ")), "{height}: {log}");
        fs::remove_dir_all(&db).unwrap();
    }
    // The same command continues where there is room.
    disk.grow(600 << 20);
    let db = disk.path().join("db");
    let outcome = finish(follow(&first.url(), &db, &log, &["--once"]));
    assert_eq!(outcome.status, Some(0), "{}", read());
    assert_eq!(stored(&db), with_genesis(&headers));
}
