//! Logs of nodes' databases: damaged, cut, gone, or too long; what is missing is never passed over in
//! silence.

use std::fs;
use std::path::{Path, PathBuf};

use plait_engine::Header;
use rocksdb::{DB, DBCompressionType, DBRecoveryMode, Options};
use tempfile::TempDir;
use testkit::braid::braid;
use testkit::process::{Outcome, replay, run};
use testkit::{say, sorted, stored, vectors};

use crate::rocks::{NodeDb, node_db};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn replay_node(node: &Path, args: &[&str]) -> (TempDir, Outcome) {
    let db = folder();
    let args = args.iter().map(|arg| (*arg).as_ref()).chain([node.as_os_str()]);
    let outcome = replay(db.path(), args);
    (db, outcome)
}

/// The logs in a folder, the oldest first.
fn logs(node: &Path) -> Vec<PathBuf> {
    let entries = node.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    logs.sort();
    logs
}

/// The only log in a folder.
fn log(node: &Path) -> PathBuf {
    let mut logs = logs(node);
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs.remove(0)
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path, len: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(len).unwrap();
}

/// The real node's database in a new folder.
fn real() -> Option<TempDir> {
    let (from, to) = (vectors::folder()?.join("node-db"), folder());
    vectors::copy(&from, to.path());
    Some(to)
}

fn replay_real(node: &Path, args: &[&str]) -> (TempDir, Outcome) {
    let db = folder();
    let start = ["replay", "--network", "mainnet01", "--allow-partial", "--db"];
    let start = start.iter().map(AsRef::as_ref).chain([db.path().as_os_str()]);
    let args = args.iter().map(AsRef::as_ref).chain([node.as_os_str()]);
    let outcome = run(start.chain(args));
    (db, outcome)
}

#[test]
fn a_byte_changed_in_the_log_of_a_real_node_is_reported_and_what_is_before_it_is_stored() {
    let Some(node) = real() else { return };
    flip(&log(node.path()), 3_000_000);
    let (db, outcome) = replay_real(node.path(), &[]);
    outcome.assert_fails(
        1,
        &[
            "logs: 000004.log is damaged at byte ",
            " of ",
            "rejected by rule: Log 1",
            "--keep-going",
        ],
    );
    let before = stored(db.path()).len();
    assert!((1..1000).contains(&before), "{before}");
    // What is behind the damage is whole, but for at most a block of 32 KiB.
    let (db, outcome) = replay_real(node.path(), &["--keep-going"]);
    outcome.assert_fails(1, &["000004.log is damaged at byte "]);
    let all = stored(db.path()).len();
    assert!(all > before && all > 900, "{all} of 1000, {before} before the damage");
    say(&format!("{before} headers before the damage, {all} in all"));
}

#[test]
fn a_log_that_lacks_a_byte_is_refused_with_the_place_where_it_is_missing() {
    let (node, headers) = (folder(), braid(300));
    drop(node_db(node.path(), &headers));
    let path = log(node.path());
    let whole = fs::read(&path).unwrap();
    for at in [50_000, 300_000, 600_001] {
        let mut bytes = whole.clone();
        bytes.remove(at);
        fs::write(&path, bytes).unwrap();
        let (_, outcome) = replay_node(node.path(), &[]);
        assert!(matches!(outcome.status, Some(1 | 2)), "{}", outcome.err);
        let (_, place) = outcome.err.split_once(".log is damaged at byte ").unwrap();
        let place: usize = place.split([' ', ':']).next().unwrap().parse().unwrap();
        // In the same record, or the one before it.
        assert!(place <= at && place + 1_000 > at, "{place} for {at}: {}", outcome.err);
    }
}

#[test]
fn damage_before_the_first_header_of_a_real_node_is_not_taken_for_another_kind_of_database() {
    let Some(node) = real() else { return };
    flip(&log(node.path()), 1_300_000);
    let (db, outcome) = replay_real(node.path(), &[]);
    outcome.assert_fails(2, &["no header could be read: 000004.log is damaged at byte"]);
    assert!(!outcome.err.contains("without the header tables"), "{}", outcome.err);
    assert!(!plait_engine::Engine::exists(db.path()).unwrap());
    let (db, outcome) = replay_real(node.path(), &["--keep-going"]);
    outcome.assert_fails(1, &["000004.log is damaged at byte"]);
    assert_eq!(stored(db.path()).len(), 1000);
}

/// A database of a node that writes recycled logs, as `recycle_log_file_num` has it: two logs, the second of
/// which is written over an older one.
fn recycled(path: &Path, headers: &[Header]) -> Vec<PathBuf> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_recycle_log_file_num(4);
    let db = NodeDb::create_with(path, &options);
    let (first, rest) = headers.split_at(headers.len() / 2);
    db.put_all(first);
    db.flush();
    // Shorter than the log that it replaces.
    let (second, third) = rest.split_at(rest.len() / 2);
    db.put_all(second);
    db.flush();
    db.put_all(third);
    drop(db);
    logs(path)
}

#[test]
fn recycled_logs_are_read_to_their_ends_and_damage_in_them_is_found() {
    let headers = braid(100);
    let node = folder();
    let logs = recycled(node.path(), &headers);
    let (db, outcome) = replay_node(node.path(), &[]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert!(!outcome.err.contains("warning"), "{}", outcome.err);
    assert_eq!(stored(db.path()), sorted(&headers));
    let last = logs.last().unwrap();
    let bytes = fs::read(last).unwrap();
    // Kind of the first record: a recycled log.
    assert!((5..=8).contains(&bytes[6]), "kind {}", bytes[6]);
    let node_bytes = vectors::files(node.path());
    for at in [20, 5_000, 40_000, 90_000] {
        flip(last, at);
        let (db, outcome) = replay_node(node.path(), &[]);
        outcome.assert_fails(1, &[" is damaged at byte "]);
        let count = stored(db.path()).len();
        assert!(count < headers.len() && count >= headers.len() / 2, "byte {at}: {count}");
        for (path, bytes) in &node_bytes {
            fs::write(path, bytes).unwrap();
        }
    }
}

#[test]
fn a_log_that_is_cut_is_read_up_to_there_and_is_no_complete_input() {
    let (node, headers) = (folder(), braid(20));
    drop(node_db(node.path(), &headers));
    let path = log(node.path());
    let len = path.metadata().unwrap().len();
    let mut counts = Vec::new();
    for missing in [0, 1, 7, 100, 318, 2_000, 40_000] {
        cut(&path, len - missing);
        let is_partly_there = ends_within_a_record(node.path());
        for args in [&[][..], &["--keep-going"]] {
            let (db, outcome) = replay_node(node.path(), args);
            let count = stored(db.path()).len();
            if is_partly_there {
                outcome.assert_fails(1, &["of an incomplete record: ", "rejected by rule: Cut 1"]);
            } else {
                // A cut between two records looks like an end.
                assert_eq!(outcome.status, Some(0), "{missing} bytes less: {}", outcome.err);
            }
            assert_eq!(stored(db.path()), sorted(&headers[..count]));
            counts.push(count);
        }
    }
    assert_eq!(counts[0], headers.len());
    assert!(counts.is_sorted_by(|a, b| a >= b) && counts[12] < counts[0], "{counts:?}");
}

/// Whether RocksDB finds the last record of a log incomplete. It refuses any such log in this mode.
fn ends_within_a_record(node: &Path) -> bool {
    let mut options = Options::default();
    options.set_wal_recovery_mode(DBRecoveryMode::AbsoluteConsistency);
    DB::open_for_read_only(&options, node, false).is_err()
}

#[test]
fn a_log_that_ends_with_zeros_is_no_complete_input() {
    let (node, headers) = (folder(), braid(20));
    drop(node_db(node.path(), &headers));
    let path = log(node.path());
    let mut bytes = fs::read(&path).unwrap();
    let from = bytes.len() - 70_000;
    bytes[from..].fill(0);
    fs::write(&path, bytes).unwrap();
    let (db, outcome) = replay_node(node.path(), &[]);
    // In the middle of a record, so that its checksum is wrong.
    outcome.assert_fails(1, &["is damaged at byte ", "rejected by rule: Log 1"]);
    let count = stored(db.path()).len();
    assert!(count > 20 && count < headers.len(), "{count}");
}

#[test]
fn a_log_that_ends_before_the_first_header_is_named() {
    let Some(node) = real() else { return };
    let path = log(node.path());
    cut(&path, 1_300_000);
    for args in [&[][..], &["--keep-going"]] {
        let (db, outcome) = replay_real(node.path(), args);
        outcome.assert_fails(2, &["no header could be read: 000004.log ends with "]);
        assert!(!plait_engine::Engine::exists(db.path()).unwrap());
    }
    cut(&path, 0);
    let (_, outcome) = replay_real(node.path(), &[]);
    outcome.assert_fails(2, &["no header could be read: 000004.log is empty"]);
    fs::remove_file(&path).unwrap();
    let (_, outcome) = replay_real(node.path(), &[]);
    outcome.assert_fails(2, &["no header could be read: no log is there"]);
}

#[test]
fn a_log_of_a_real_node_that_is_cut_is_no_complete_input() {
    let Some(node) = real() else { return };
    cut(&log(node.path()), 3_000_000);
    for args in [&[][..], &["--keep-going"]] {
        let (db, outcome) = replay_real(node.path(), args);
        outcome.assert_fails(1, &["000004.log ends with ", "rejected by rule: Cut 1"]);
        assert_eq!(stored(db.path()).len(), 527);
    }
}

#[test]
fn a_changed_byte_anywhere_in_a_log_of_a_node_is_never_passed_over() {
    let (node, headers) = (folder(), braid(30));
    drop(node_db(node.path(), &headers));
    let path = log(node.path());
    let whole = fs::read(&path).unwrap();
    let mut silent = Vec::new();
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        flip(&path, at);
        let (db, outcome) = replay_node(node.path(), &[]);
        let count = if outcome.status == Some(2) { 0 } else { stored(db.path()).len() };
        if count < headers.len() && outcome.status == Some(0) {
            silent.push(at);
        }
        fs::write(&path, &whole).unwrap();
    }
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn zeros_in_the_middle_of_a_log_are_damage() {
    let (node, headers) = (folder(), braid(60));
    drop(node_db(node.path(), &headers));
    let path = log(node.path());
    let mut bytes = fs::read(&path).unwrap();
    assert!(bytes.len() > 300_000, "{}", bytes.len());
    // A block that begins with zeros, as a page that was never written leaves it.
    bytes[131_072..135_168].fill(0);
    fs::write(&path, bytes).unwrap();
    let (db, outcome) = replay_node(node.path(), &[]);
    outcome.assert_fails(1, &[" is damaged at byte "]);
    assert!(stored(db.path()).len() < headers.len());
}

#[test]
fn a_log_that_is_not_there_is_a_warning_with_the_heights_that_are() {
    let (node, headers) = (folder(), braid(20));
    let db = node_db(node.path(), &headers[..300]);
    db.flush();
    db.put_all(&headers[300..]);
    drop(db);
    fs::remove_file(log(node.path())).unwrap();
    let (db, outcome) = replay_node(node.path(), &[]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(db.path()), sorted(&headers[..300]));
    let said = ["no log is there, and the MANIFEST expects ", "heights 0 to 14 of chains 0-19"];
    outcome.assert_fails(0, &said);
}

/// Options with which a database keeps many logs: what is in memory goes to tables eight parts at a time.
fn many_logs() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_write_buffer_size(64 << 10);
    options.set_max_write_buffer_number(20);
    options.set_min_write_buffer_number_to_merge(16);
    options
}

#[test]
fn writes_between_two_logs_that_are_in_neither_are_counted() {
    let (node, headers) = (folder(), braid(40));
    let db = NodeDb::create_with(node.path(), &many_logs());
    db.put_all(&headers);
    drop(db);
    let logs = logs(node.path());
    assert!(logs.len() >= 4, "{logs:?}");
    let (db, outcome) = replay_node(node.path(), &[]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(db.path()), sorted(&headers));
    let gone = &logs[logs.len() / 2];
    let whole = fs::read(gone).unwrap();
    fs::remove_file(gone).unwrap();
    let (_, outcome) = replay_node(node.path(), &["--keep-going"]);
    outcome
        .assert_fails(1, &[" writes between ", "are missing: they are in no log", "MissingParent"]);
    // Cut instead: RocksDB would take that for the end of a crash, and go on with the next log.
    fs::write(gone, &whole[..whole.len() / 2]).unwrap();
    let (_, outcome) = replay_node(node.path(), &[]);
    outcome.assert_fails(1, &[" writes between ", "are missing: they are in no log"]);
}

#[test]
fn logs_that_the_list_of_files_names_are_missed_and_no_pointer_is_followed_into_nothing() {
    let (node, headers) = (folder(), braid(40));
    let mut options = many_logs();
    options.set_track_and_verify_wals_in_manifest(true);
    let db = NodeDb::create_with(node.path(), &options);
    for header in &headers {
        db.put(header.view());
        db.sync();
    }
    drop(db);
    let (read, outcome) = replay_node(node.path(), &[]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(read.path()), sorted(&headers));
    fs::remove_file(&logs(node.path())[1]).unwrap();
    let (_, outcome) = replay_node(node.path(), &[]);
    outcome.assert_fails(2, &["logs that the MANIFEST names are missing"]);
}

#[test]
fn a_log_under_the_name_of_a_later_one_is_refused_with_what_to_do() {
    let node = folder();
    drop(node_db(node.path(), &braid(5)));
    fs::copy(log(node.path()), node.path().join("000900.log")).unwrap();
    for args in [&[][..], &["--keep-going"]] {
        let (_, outcome) = replay_node(node.path(), args);
        outcome.assert_fails(2, &["the writes in its logs are not in order"]);
    }
}

#[test]
fn logs_that_would_take_too_much_memory_are_refused_with_what_to_do() {
    let node = folder();
    let db = node_db(node.path(), &braid(1));
    drop(db);
    // A file of a terabyte that takes no room on the disk.
    cut(&log(node.path()), 1 << 40);
    let (_, outcome) = replay_node(node.path(), &[]);
    outcome.assert_fails(2, &["the logs would take ", "bytes of memory", "Start and stop the"]);
    fs::write(log(node.path()), "").unwrap();
    let mut names = node.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    let list = names.find(|name| name.to_string_lossy().starts_with("MANIFEST-"));
    cut(&node.path().join(list.unwrap()), 1 << 40);
    let (_, outcome) = replay_node(node.path(), &[]);
    outcome.assert_fails(2, &["the list of files has over"]);
    let node = folder();
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_wal_compression_type(DBCompressionType::Zstd);
    let db = NodeDb::create_with(node.path(), &options);
    db.put_all(&braid(1));
    drop(db);
    let (_, outcome) = replay_node(node.path(), &[]);
    outcome.assert_fails(2, &["the log is compressed"]);
}

#[test]
fn a_database_of_a_running_node_and_a_hot_copy_of_it_are_read() {
    let (node, copy, headers) = (folder(), folder(), braid(60));
    let db = node_db(node.path(), &headers[..600]);
    db.flush();
    db.put_all(&headers[600..900]);
    for path in [node.path(), copy.path()] {
        if path == copy.path() {
            vectors::copy(node.path(), path);
        }
        let (read, outcome) = replay_node(path, &[]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        let count = stored(read.path()).len();
        // What the node has not given to the file system yet is not seen.
        assert!((600..=900).contains(&count), "{count}");
    }
    db.put_all(&headers[900..]);
    drop(db);
    let (read, outcome) = replay_node(node.path(), &[]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(read.path()), sorted(&headers));
    assert!(DB::open_for_read_only(&Options::default(), node.path(), false).is_ok());
}
