//! Pipes that stay open: what has come through is stored while more may come.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use plait_engine::Header;
use tempfile::TempDir;
use testkit::block::{NETWORK, dump, lines};
use testkit::braid::braid;
use testkit::process::{finish, replay_command, run, signal};
use testkit::server::{Server, utf8};
use testkit::{sorted, stored};

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(20);

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A replay that reads what is written.
fn begin(db: &Path) -> (Child, ChildStdin) {
    let mut child = replay_command(db, ["-"]).stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    (child, stdin)
}

/// How many blocks another process sees.
fn blocks(db: &Path) -> u64 {
    let outcome = run(["info", "--json", "--db", utf8(db)]);
    let info: Option<serde_json::Value> = serde_json::from_str(&outcome.out).ok();
    info.and_then(|info| info["blocks"].as_u64()).unwrap_or(0)
}

/// Waits until `found` gives at least so much.
fn wait(expected: u64, found: impl Fn() -> u64) {
    let start = Instant::now();
    loop {
        let found = found();
        if found >= expected {
            return;
        }
        assert!(start.elapsed() < LONG, "{found} of {expected}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Writes up to the middle of a record, waits until all before it is stored, and writes the rest.
fn assert_stored_at_once(headers: &[Header], form: fn(&[Header]) -> Vec<u8>) {
    let db = folder();
    let first = headers.len() - 30;
    let (bytes, len) = (form(headers), form(&headers[..first]).len() + 100);
    let (child, mut stdin) = begin(db.path());
    stdin.write_all(&bytes[..len]).unwrap();
    // The genesis blocks are there in any case.
    wait(first as u64, || blocks(db.path()));
    stdin.write_all(&bytes[len..]).unwrap();
    wait(headers.len() as u64, || blocks(db.path()));
    drop(stdin);
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(db.path()), sorted(headers));
}

#[test]
fn what_came_through_an_open_pipe_is_stored() {
    let headers = braid(51);
    assert_stored_at_once(&headers, |headers| dump(headers));
    assert_stored_at_once(&headers, |headers| lines(headers));
}

#[test]
fn what_came_in_order_through_an_open_pipe_is_stored() {
    assert_stored_at_once(&braid(1800), |headers| dump(headers));
}

#[test]
fn what_drips_without_a_pause_is_stored() {
    let headers = braid(30);
    let db = folder();
    let (child, mut stdin) = begin(db.path());
    let bytes = dump(&headers);
    let drip = thread::spawn(move || {
        for record in bytes.chunks(318) {
            stdin.write_all(record).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        // Open until it is all seen.
        stdin
    });
    wait(60, || blocks(db.path()));
    assert!(!drip.is_finished(), "blocks are seen only at the end");
    wait(headers.len() as u64, || blocks(db.path()));
    drop(drip.join().unwrap());
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(db.path()), sorted(&headers));
}

#[test]
fn a_replay_that_is_stopped_while_its_pipe_is_open_has_stored_what_came() {
    let headers = braid(51);
    let db = folder();
    let (child, mut stdin) = begin(db.path());
    stdin.write_all(&dump(&headers)).unwrap();
    wait(headers.len() as u64, || blocks(db.path()));
    signal(&child, "TERM");
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(143), "{}", outcome.err);
    assert_eq!(outcome.counts()[0], headers.len() as u64 - 20, "{}", outcome.err);
    drop(stdin);
}

/// Whether a process handles SIGTERM by itself, which is signal 15.
fn handles_term(child: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let set = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    u64::from_str_radix(set.unwrap().trim(), 16).unwrap() >> 14 & 1 == 1
}

#[test]
fn a_replay_whose_pipe_stays_silent_is_stopped_at_once_and_makes_no_database() {
    let header = dump(&braid(1)[..1]);
    for begin_of_input in [&[][..], &header[..100]] {
        let dir = folder();
        let db = dir.path().join("db");
        let (child, mut stdin) = begin(&db);
        stdin.write_all(begin_of_input).unwrap();
        wait(1, || u64::from(handles_term(&child)));
        signal(&child, "TERM");
        let outcome = finish(child);
        // One that is ended because it does not end in time says nothing.
        outcome.assert_fails(143, &["stopped by a signal before the first record"]);
        assert!(!db.exists(), "something was made");
        drop(stdin);
    }
}

#[test]
fn a_server_shows_what_came_through_an_open_fifo() {
    let headers = braid(51);
    let dir = folder();
    let (db, fifo) = (dir.path().join("db"), dir.path().join("fifo"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // For reading too, so that opening it waits for nobody.
    let mut pipe = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let network = ["--network", NETWORK.name(), "--verify", "hash"];
    let flags = ["--db", utf8(&db), "--replay", utf8(&fifo)];
    // It listens once the first record tells the network.
    let (first, rest) = headers.split_at(20);
    pipe.write_all(&lines(first)).unwrap();
    let server = Server::with(&[&flags[..], &network].concat());
    let path = format!("/chainweb/0.0/{}/cut", NETWORK.name());
    let (middle, last) = rest.split_at(50 * 20);
    for (part, top) in [(middle, 50), (last, 51)] {
        pipe.write_all(&lines(part)).unwrap();
        wait(top * 20, || {
            let cut: serde_json::Value = serde_json::from_str(server.get(&path).text()).unwrap();
            cut["height"].as_u64().unwrap()
        });
    }
}
