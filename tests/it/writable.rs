//! A server whose database takes no writes any more says so, to those who watch it, until it does again.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use testkit::block::dump;
use testkit::http::{Client, Request};
use testkit::process::plait;
use testkit::say;
use testkit::server::{Server, utf8};

use crate::causes::LoopDisk;
use crate::cli::SmallDisk;
use crate::push::generated;
use crate::push_http::{OCTETS, client, cut_height, folder, request, sum, taking};

const READY: (u16, &str) = (200, "Ready.\n");

const UNWRITABLE: (u16, &str) = (503, "The database cannot be written.\n");

/// The disk and RocksDB have so long to notice.
const PATIENCE: Duration = Duration::from_mins(2);

const WATCHED: [&str; 2] = ["--metrics", "127.0.0.1:0"];

/// The status of `/ready`, for those who watch and for those who ask the API: they agree.
fn ready(server: &Server) -> (u16, String) {
    let watched = Client::connect(server.watched()).ask(&Request::get("/ready"));
    (watched.status, watched.text().to_owned())
}

/// Waits until `/ready` answers so.
fn await_ready(server: &Server, expected: (u16, &str)) {
    let begin = Instant::now();
    loop {
        let (status, text) = ready(server);
        if (status, text.as_str()) == expected {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "/ready stays {status}: {text}\n{}", server.log());
        thread::sleep(Duration::from_millis(100));
    }
}

fn assert_failing(server: &Server, cause: &str) {
    await_ready(server, UNWRITABLE);
    assert_eq!(server.get("/ready").status, 503);
    assert_eq!(server.metric("plait_database_writable"), Some(0.0));
    assert_eq!(server.metric("plait_ready"), Some(0.0));
    let failures = server.metric(&format!("plait_write_failures_total{{cause=\"{cause}\"}}"));
    assert!(failures.is_some_and(|failures| failures > 0.0), "{failures:?}");
}

/// A history is pushed, as far as the disk takes it.
fn push(server: &Server, heights: u64) -> serde_json::Value {
    let answer = client(server).ask(&request(OCTETS, dump(&generated(heights, 1, 0.0))));
    sum(&answer)
}

fn serve(db: &Path) -> Server {
    let server = taking(db, &[&WATCHED[..], &["--ingest-batch", "200"]].concat());
    await_ready(&server, READY);
    assert_eq!(server.metric("plait_database_writable"), Some(1.0));
    server
}

#[test]
fn a_push_into_a_disk_that_became_read_only_turns_ready_and_a_metric() {
    let Some(disk) = LoopDisk::mount(64 << 20) else {
        return say("skipped: no loop device without the right to mount one");
    };
    let server = serve(&disk.path().join("db"));
    assert_eq!(push(&server, 3)["done"], true);
    if !disk.break_down() {
        return say("skipped: this kernel has no way to break a file system");
    }
    let told = push(&server, 20);
    assert_eq!(told["done"], false, "{told}");
    let error = told["error"].as_str().unwrap();
    assert!(error.contains("Read-only file system") || error.contains("Input/output"), "{error}");
    let cause = if error.contains("Read-only") { "read-only" } else { "device" };
    assert_failing(&server, cause);
    assert!(cut_height(&server) >= 60, "it still answers");
}

#[test]
fn a_disk_that_became_read_only_is_seen_by_a_server_that_writes_nothing() {
    let Some(disk) = LoopDisk::mount(64 << 20) else {
        return say("skipped: no loop device without the right to mount one");
    };
    let server = serve(&disk.path().join("db"));
    assert_eq!(push(&server, 3)["done"], true);
    if !disk.break_down() {
        return say("skipped: this kernel has no way to break a file system");
    }
    // Nobody writes: it is seen by looking.
    assert_failing(&server, "read-only");
    server.logged("the database cannot be written: ");
}

#[test]
fn a_full_disk_turns_ready_and_room_turns_it_back() {
    let Some(disk) = SmallDisk::mount(5 << 20) else {
        return say("skipped: no full disk without the right to mount one");
    };
    let server = serve(&disk.path().join("db"));
    let told = push(&server, 600);
    assert_eq!(told["done"], false, "{told}");
    assert_failing(&server, "disk-full");
    disk.grow(600 << 20);
    await_ready(&server, READY);
    assert_eq!(server.metric("plait_database_writable"), Some(1.0));
    server.logged("the database can be written again");
    assert_eq!(push(&server, 600)["done"], true);
}

#[test]
fn a_flush_that_fails_in_a_replay_turns_ready_and_room_turns_it_back() {
    let Some(disk) = SmallDisk::mount(24 << 20) else {
        return say("skipped: no full disk without the right to mount one");
    };
    let input = folder();
    let file = input.path().join("dump");
    std::fs::write(&file, dump(&generated(6000, 1, 0.0))).unwrap();
    let db = disk.path().join("db");
    let args = ["serve", "--listen", "127.0.0.1:0", "--network", "development", "--db", utf8(&db)];
    let mut command = plait(args);
    command.args(WATCHED).args(["--verify", "hash", "--replay", utf8(&file)]);
    let server = Server::of_command(command);
    assert_failing(&server, "disk-full");
    let begin = Instant::now();
    while !server.log().contains("the replay has failed: the disk is full: ") {
        assert!(begin.elapsed() < PATIENCE, "{}", server.log());
        thread::sleep(Duration::from_millis(50));
    }
    assert!(server.log().contains("Blocks on the disk: "), "{}", server.log());
    assert!(!server.log().contains("VersionEdit"), "{}", server.log());
    disk.grow(600 << 20);
    await_ready(&server, READY);
}
