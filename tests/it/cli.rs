//! The command: its help, its exit statuses, and what it does to databases that it cannot use.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use plait_engine::Header;
use plait_engine::store::Store;
use tempfile::TempDir;
use testkit::block::dump;
use testkit::braid::{braid, braid_with_orphans};
use testkit::drawing::Drawing;
use testkit::process::{
    Outcome, finish, plait, replay, replay_command, replay_file, run, run_with_input, signal,
};
use testkit::vectors::{files, user_docs};
use testkit::{say, sorted, stored};

use crate::rocks::{add_column, columns, drop_columns, node_db, put_meta};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A new database with these headers.
fn database(headers: &[Header]) -> TempDir {
    let db = folder();
    let outcome = replay_file(db.path(), &[], "dump", &dump(headers));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    db
}

fn info(db: &Path, rest: &[&str]) -> Outcome {
    let args = ["info".as_ref(), "--db".as_ref(), db.as_os_str()].into_iter();
    run(args.chain(rest.iter().map(std::convert::AsRef::as_ref)))
}

/// Every command that opens a database, on `db`.
pub(crate) fn open_in_every_way(db: &Path) -> [(&'static str, Outcome); 3] {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--db"].map(str::as_ref);
    [
        ("replay", replay_file(db, &[], "dump", &dump(&braid(1)))),
        ("info", info(db, &[])),
        ("serve", run(serve.into_iter().chain([db.as_os_str()]))),
    ]
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in ["serve", "replay", "info", "verify", "export"] {
        let outcome = run([command, "--help"]);
        assert_eq!(outcome.status, Some(0));
        assert!(outcome.out.contains(&format!("\n  plait {command} --db")), "{}", outcome.out);
    }
    let outcome = run(["--help"]);
    assert_eq!(outcome.status, Some(0));
    for command in ["serve", "replay", "info", "verify", "export"] {
        assert!(outcome.out.contains(&format!("\n  {command} ")), "{}", outcome.out);
    }
}

#[test]
fn wrong_usage_is_status_2_and_says_what_is_wrong() {
    let cases: [(&[&str], &str); 10] = [
        (&[], "Usage: plait"),
        (&["fly"], "unrecognized subcommand 'fly'"),
        (&["replay", "--db", "x"], "<INPUT>"),
        (&["replay", "-"], "--db"),
        (&["replay", "--db", "x", "--speed", "9", "-"], "--speed"),
        (
            &["replay", "--db", "x", "--network", "mainnet02", "-"],
            "not one of mainnet01, testnet04",
        ),
        (&["replay", "--db", "x", "--format", "csv", "-"], "binary"),
        (&["replay", "--db", "x", "--verify", "some", "-"], "hash"),
        (&["replay", "--db", "x", "--root", "AAAA", "-"], "a hash has 43 characters, not 4"),
        (&["serve", "--db", "x", "--listen", "everywhere"], "--listen"),
    ];
    for (args, text) in cases {
        run(args).assert_fails(2, &[text]);
    }
    let hash = "A".repeat(43);
    let both = ["replay", "--db", "x", "--root", &hash, "--allow-partial", "-"];
    run(both).assert_fails(2, &["cannot be used with"]);
}

#[test]
fn info_tells_what_a_database_holds() {
    let headers = braid_with_orphans(6, 3);
    let db = database(&headers);
    let outcome = info(db.path(), &[]);
    assert_eq!((outcome.status, &*outcome.err), (Some(0), ""));
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert_eq!(lines[0], "network  development (full history)");
    assert_eq!(lines[1], "format   5");
    assert_eq!(lines[2], format!("blocks   {}, 0 of them sealed", headers.len()));
    // Drawn blocks are replayed at level `hash`; genesis blocks hold by definition.
    let drawn = headers.len() - 20;
    let levels = format!("verified 20 fully, {drawn} at level hash, 0 at level none");
    assert_eq!(lines[3], levels);
    assert_eq!(lines[4], "payloads about 0, by estimate");
    assert_eq!(lines[5], "waiting  0 for a parent or an adjacent parent");
    assert!(lines[6].starts_with("cut      height 1"), "{}", outcome.out);
    assert_eq!(lines.len(), 8 + 20);
    let words: Vec<&str> = lines[8].split_whitespace().collect();
    assert_eq!(words[..4], ["0", "9", "0", "6"], "chain, blocks, lowest and highest height");
}

#[test]
fn info_as_json_is_one_object_with_the_same_facts() {
    let headers = braid(4);
    let db = database(&headers);
    let outcome = info(db.path(), &["--json"]);
    assert_eq!((outcome.status, outcome.out.lines().count()), (Some(0), 1));
    let info: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(info["network"], "development");
    assert_eq!(info["history"], "full");
    assert_eq!(info["formatVersion"], 5);
    assert_eq!(info["payloadsEstimate"], 0);
    assert_eq!((&info["blocks"], &info["sealed"]), (&100.into(), &0.into()));
    assert_eq!(info["verified"], serde_json::json!({ "full": 20, "hash": 80, "none": 0 }));
    assert_eq!(info["waiting"], 0);
    assert_eq!(info["cut"]["height"], 80);
    assert_eq!(info["chains"].as_array().unwrap().len(), 20);
    let tip = headers[80 + 7].view().hash().to_string();
    let expected = serde_json::json!({
        "chain": 7, "blocks": 5, "lowestHeight": 0, "tipHeight": 4, "tipHash": tip
    });
    assert_eq!(info["chains"][7], expected);
}

#[test]
fn info_of_a_partial_history_lists_the_chains_that_are_held() {
    let db = folder();
    let args = ["replay".as_ref(), "--allow-partial".as_ref(), "--db".as_ref()];
    let input = user_docs();
    let outcome = run(args.into_iter().chain([db.path().as_os_str(), input.as_os_str()]));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let outcome = info(db.path(), &["--json"]);
    let info: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!((&info["network"], &info["history"]), (&"mainnet01".into(), &"partial".into()));
    let chains: Vec<_> = info["chains"].as_array().unwrap().iter().collect();
    let numbers: Vec<u64> = chains.iter().map(|chain| chain["chain"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [4, 6, 18]);
    assert_eq!(chains[0]["lowestHeight"], 4_953_814);
    assert_eq!(chains[0]["tipHeight"], 4_953_816);
}

#[test]
fn info_whose_reader_has_seen_enough_is_a_success() {
    let db = database(&braid(1));
    let args = ["info".as_ref(), "--db".as_ref(), db.path().as_os_str()];
    let mut child = plait(args).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(finish(child).status, Some(0));
}

#[test]
fn a_database_that_is_not_there_is_status_2() {
    let nowhere = folder();
    let missing = nowhere.path().join("missing");
    info(&missing, &[]).assert_fails(2, &["no database in", missing.to_str().unwrap()]);
    let serve = ["serve".as_ref(), "--db".as_ref(), missing.as_os_str()];
    run(serve).assert_fails(2, &["no database in", "plait replay"]);
    assert!(!missing.exists());
}

#[test]
fn a_database_folder_that_cannot_be_made_is_status_2() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let outcome = replay_file(&file, &[], "dump", &dump(&braid(1)));
    outcome.assert_fails(2, &[file.to_str().unwrap(), "is not a folder"]);
}

#[test]
fn a_database_of_another_format_version_is_refused() {
    for version in [0_u8, 1, 2, 3, 99] {
        let db = database(&braid(1));
        put_meta(db.path(), "format", &[0, 0, 0, version]);
        let before = columns(db.path());
        for (command, outcome) in open_in_every_way(db.path()) {
            let said = format!("format version {version}, this release reads 5");
            outcome.assert_fails(2, &[&said]);
            assert!(!outcome.err.contains("panicked"), "{command}");
        }
        assert_eq!(columns(db.path()), before);
    }
}

#[test]
fn a_database_that_a_later_release_added_to_is_refused_for_its_format() {
    let db = database(&braid(1));
    put_meta(db.path(), "format", &[0, 0, 0, 6]);
    add_column(db.path(), "signatures");
    let before = files(db.path());
    for (_, outcome) in open_in_every_way(db.path()) {
        outcome.assert_fails(2, &["format version 6, this release reads 5"]);
    }
    assert!(files(db.path()) == before);
}

#[test]
fn a_database_of_an_earlier_release_with_fewer_columns_is_refused_for_its_format() {
    let db = database(&braid(1));
    put_meta(db.path(), "format", &[0, 0, 0, 3]);
    drop_columns(
        db.path(),
        &["payloads", "payload_heights", "payload_unindexed", "pending_payloads"],
    );
    let before = files(db.path());
    for (_, outcome) in open_in_every_way(db.path()) {
        outcome.assert_fails(2, &["format version 3, this release reads 5"]);
    }
    assert!(files(db.path()) == before);
}

#[test]
fn a_database_with_damaged_facts_about_itself_is_refused() {
    for (name, value) in [
        ("format", &b"1"[..]),
        ("network", b"\0\0\0\x63"),
        ("history", b"half"),
        ("run", b"\0\0\0\0"),
    ] {
        let db = database(&braid(1));
        put_meta(db.path(), name, value);
        for (_, outcome) in open_in_every_way(db.path()) {
            outcome.assert_fails(2, &["column meta is damaged", name]);
        }
    }
}

#[test]
fn a_node_database_is_refused_by_every_command_and_not_touched() {
    let node = folder();
    drop(node_db(&Store::path(node.path()), &braid(1)));
    let before = files(node.path());
    for (command, outcome) in open_in_every_way(node.path()) {
        outcome.assert_fails(2, &["is a RocksDB database, but not one of Plait's"]);
        assert!(files(node.path()) == before, "plait {command} has changed it");
    }
}

/// `plait serve` on a free port.
fn serve(db: &Path) -> Child {
    let args = ["serve", "--listen", "127.0.0.1:0", "--db"].map(str::as_ref);
    let mut child = plait(args.into_iter().chain([db.as_os_str()])).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let listening = lines.any(|line| line.unwrap().contains("listening on http://127.0.0.1:"));
    assert!(listening, "the server does not start");
    child
}

#[test]
fn a_database_that_is_served_is_locked_for_writers_and_open_for_info() {
    let headers = braid(2);
    let db = database(&headers[..40]);
    let server = serve(db.path());
    let bytes = dump(&headers);
    let outcome = replay_file(db.path(), &[], "dump", &bytes);
    outcome.assert_fails(2, &["is in use by another process", "Stop the"]);
    let again = ["serve", "--listen", "127.0.0.1:0", "--db"].map(str::as_ref);
    run(again.into_iter().chain([db.path().as_os_str()]))
        .assert_fails(2, &["is in use by another process"]);
    let outcome = info(db.path(), &[]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert!(outcome.out.contains("\nblocks   40, "), "{}", outcome.out);
    signal(&server, "TERM");
    assert_eq!(finish(server).status, Some(0));
    assert_eq!(replay_file(db.path(), &[], "dump", &bytes).status, Some(0));
    assert_eq!(stored(db.path()), sorted(&headers));
}

/// Feeds a dump to `plait replay` until it has stored something, then sends a signal, and feeds on.
fn interrupt(db: &Path, bytes: &[u8], name: &str) -> Outcome {
    let mut child = replay_command(db, ["-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let (first, rest) = bytes.split_at(bytes.len() / 3);
    stdin.write_all(first).unwrap();
    // What has gone through the pipe is in the hands of the command, most of it stored.
    thread::sleep(Duration::from_millis(800));
    signal(&child, name);
    for part in rest.chunks(1 << 16) {
        if stdin.write_all(part).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    drop(stdin);
    finish(child)
}

#[test]
fn an_interrupted_replay_goes_on_when_it_is_run_again() {
    let headers = braid_with_orphans(1300, 100);
    let bytes = dump(&headers);
    let undisturbed = folder();
    assert_eq!(replay_file(undisturbed.path(), &[], "dump", &bytes).status, Some(0));
    let expected = columns(undisturbed.path());
    for (name, status) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let db = folder();
        let outcome = interrupt(db.path(), &bytes, name);
        outcome.assert_fails(status, &["stopped by a signal; run the same command again"]);
        let [stored, _, rejected] = outcome.counts();
        assert!(stored > 0 && stored < headers.len() as u64 - 20, "{}", outcome.err);
        assert_eq!(rejected, 0);
        let outcome = replay_file(db.path(), &[], "dump", &bytes);
        let known = headers.len() as u64 - outcome.counts()[0];
        assert_eq!((outcome.status, known), (Some(0), stored + 20), "{}", outcome.err);
        assert!(columns(db.path()) == expected, "not the database of an undisturbed replay");
    }
}

/// Waits until the process handles the signal with this number.
fn wait_for_handler(child: &Child, number: u32) {
    let path = format!("/proc/{}/status", child.id());
    let is_handled = || {
        let status = fs::read_to_string(&path).unwrap();
        let set = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(set.trim(), 16).unwrap() >> (number - 1) & 1 == 1
    };
    let start = Instant::now();
    while !is_handled() {
        assert!(start.elapsed() < Duration::from_mins(1), "no handler of signal {number}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_replay_that_waits_for_input_stops_at_a_signal_too() {
    let db = folder();
    let mut child = replay_command(db.path(), ["-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&dump(&braid(1))).unwrap();
    wait_for_handler(&child, 2);
    for ignored in ["USR1", "USR2", "PIPE"] {
        signal(&child, ignored);
    }
    signal(&child, "INT");
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(130), "{}", outcome.err);
    drop(stdin);
}

#[test]
fn a_replay_that_is_killed_goes_on_when_it_is_run_again() {
    let headers = braid(900);
    let bytes = dump(&headers);
    let db = folder();
    let mut child = replay_command(db.path(), ["-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&bytes[..318 * 12_000]).unwrap();
    thread::sleep(Duration::from_millis(900));
    signal(&child, "KILL");
    assert_eq!(finish(child).status, None);
    let outcome = replay_file(db.path(), &[], "dump", &bytes);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert!(outcome.counts()[1] > 4000, "what was committed is kept: {}", outcome.err);
    assert_eq!(stored(db.path()), sorted(&headers));
}

/// A file system of its own in memory, which is unmounted at the end.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    /// One of this many bytes, where the system allows it.
    pub(crate) fn mount(bytes: u32) -> Option<Self> {
        let folder = folder();
        let size = format!("size={bytes}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        mount.is_ok_and(|status| status.success()).then(|| Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn grow(&self, bytes: u32) {
        let size = format!("remount,size={bytes}");
        let mount = Command::new("mount").args(["-o", &size]).arg(self.0.path()).status();
        assert!(mount.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: also while a test that failed has files open.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_status_2_and_more_room_lets_the_replay_go_on() {
    let Some(disk) = SmallDisk::mount(6 << 20) else {
        return say("skipped: no full disk without the right to mount one");
    };
    let headers = braid(1500);
    let bytes = dump(&headers);
    let db = disk.0.path().join("db");
    let outcome = replay_file(&db, &[], "dump", &bytes);
    outcome.assert_fails(2, &["No space left on device", "run the same command again"]);
    assert!(!outcome.err.contains("panicked"), "{}", outcome.err);
    let [first, ..] = outcome.counts();
    assert!(first > 0, "{}", outcome.err);
    disk.grow(200 << 20);
    let outcome = replay_file(&db, &[], "dump", &bytes);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert!(outcome.counts()[1] >= first, "what was stored is kept: {}", outcome.err);
    assert_eq!(stored(&db), sorted(&headers));
}

#[test]
fn a_disk_without_room_for_a_new_database_is_status_2() {
    let Some(disk) = SmallDisk::mount(8 << 10) else {
        return say("skipped: no full disk without the right to mount one");
    };
    let outcome = replay_file(&disk.0.path().join("db"), &[], "dump", &dump(&braid(1)));
    outcome.assert_fails(2, &["No space left on device"]);
}

#[test]
fn the_database_may_be_named_by_the_environment() {
    let db = folder();
    let mut command = plait(["replay", "--network", "development", "--verify", "hash", "-"]);
    command.env("PLAIT_DB", db.path());
    let outcome = run_with_input(command, dump(&braid(1)));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(db.path()), sorted(&braid(1)));
}

#[test]
fn the_network_of_a_database_need_not_be_named_again() {
    let (db, headers) = (database(&braid(1)), braid(3));
    let db_path = db.path().to_str().unwrap();
    let args = ["replay", "--db", db_path, "--verify", "hash", "-"];
    let outcome = run_with_input(plait(args), dump(&headers));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(db.path()), sorted(&headers));
}

#[test]
fn a_replay_that_a_log_file_watches_says_how_it_went() {
    let mut drawing = Drawing::default();
    let chain = drawing.draw("0-1-2");
    let db = folder();
    let outcome = replay_file(db.path(), &["--log", "off"], "dump", &dump(&chain));
    assert_eq!(outcome.err.lines().count(), 2, "{}", outcome.err);
    assert!(outcome.err.ends_with("\n0 orphans in the database\n"), "{}", outcome.err);
    assert!(outcome.err.starts_with("stored 2, already there 1, rejected 0: 3 headers in "));
    assert!(outcome.err.contains("verified at level hash"), "{}", outcome.err);
    let missing = replay(db.path(), ["nowhere"]);
    assert!(missing.err.contains("nowhere: No such file"), "{}", missing.err);
}
