//! What backups, and the commands for them, leave alone, and what they say of a backup that lacks something.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use plait_engine::store::Store;
use tempfile::TempDir;
use testkit::archive::has_extension;
use testkit::block::dump;
use testkit::braid::braid;
use testkit::process::{Outcome, replay_file, run};
use testkit::server::{Server, utf8};
use testkit::stored;

use crate::backup::{folder, names};
use crate::flips::Left;
use crate::rocks::node_db;

/// A folder with a database in `db`.
fn place() -> (TempDir, PathBuf) {
    let place = folder();
    let db = place.path().join("db");
    let outcome = replay_file(&db, &[], "dump", &dump(&braid(20)));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    (place, db)
}

fn command(words: &[&str], db: &Path) -> Outcome {
    run([&["backup"], words, &["--db", utf8(db)]].concat())
}

/// Makes a backup; its name.
fn make(db: &Path, rest: &[&str]) -> String {
    let made = command(&[&["make"], rest].concat(), db);
    assert_eq!(made.status, Some(0), "{}", made.err);
    made.out.trim().to_owned()
}

#[test]
fn a_list_of_contents_that_is_too_long_or_missing_is_damage_of_the_backup() {
    let (place, db) = place();
    let id = make(&db, &[]);
    let path = db.join("backups").join(&id).join("contents.json");
    let to = place.path().join("to");
    let restore = ["restore", &id, "--db", utf8(&db), "--to", utf8(&to)];
    for text in ["over 67108864 bytes", "No such file"] {
        match text {
            "No such file" => fs::remove_file(&path).unwrap(),
            _ => File::create(&path).unwrap().set_len((64 << 20) + 1).unwrap(),
        }
        let texts = [text, "contents.json", "choose another one"];
        command(&["check", &id, "--verify"], &db).assert_fails(1, &texts);
        run(restore).assert_fails(1, &texts);
    }
}

#[test]
fn nothing_is_written_beside_a_database_of_another_program() {
    let place = folder();
    let rocks = place.path().join("0/rocksDb");
    drop(node_db(&rocks, &braid(3)));
    let before = names(&rocks);
    command(&["make"], place.path()).assert_fails(2, &["not one of Plait's", "--format node"]);
    assert_eq!(names(place.path()), ["0"]);
    assert_eq!(names(&rocks), before);
}

#[test]
fn a_backup_is_not_opened_to_write() {
    let (place, db) = place();
    let id = make(&db, &[]);
    let backup = db.join("backups").join(&id);
    let (path, rocks) = (utf8(&backup), backup.join("0/rocksDb"));
    let before = names(&rocks);
    let texts = ["is a backup", "plait restore ID", "--read-only"];
    let input = place.path().join("dump");
    fs::write(&input, dump(&braid(30))).unwrap();
    let replay = ["replay", "--db", path, "--network", "development", utf8(&input)];
    run(replay).assert_fails(2, &texts);
    run(["serve", "--db", path, "--listen", "127.0.0.1:0"]).assert_fails(2, &texts);
    run(["follow", "http://127.0.0.1:1", "--db", path]).assert_fails(2, &texts);
    assert_eq!(run(["info", "--db", path]).status, Some(0));
    let server = Server::with(&["--db", path, "--read-only"]);
    assert_eq!(server.get("/chainweb/0.0/development/cut").status, 200);
    assert_eq!(names(&rocks), before);
    let checked = command(&["check", &id, "--verify"], &db);
    assert_eq!(checked.status, Some(0), "{}", checked.err);
    // Nor is another one made where its database is lost.
    fs::remove_dir_all(backup.join("0")).unwrap();
    run(replay).assert_fails(2, &["is inside the database"]);
    assert_eq!(names(&backup), ["contents.json", "status"]);
}

#[test]
fn only_folders_that_are_backups_are_listed_and_deleted() {
    let (place, db) = place();
    let backups = db.join("backups");
    let ids: Vec<String> = (0..3).map(|_| make(&db, &[])).collect();
    fs::remove_file(backups.join(&ids[0]).join("status")).unwrap();
    fs::write(backups.join(&ids[1]).join("status"), "").unwrap();
    let (made, other) = (place.path().join("made"), backups.join("2024"));
    assert_eq!(replay_file(&made, &[], "dump", &dump(&braid(20))).status, Some(0));
    fs::rename(made, &other).unwrap();
    fs::create_dir(backups.join("2023")).unwrap();
    let listed = command(&["list"], &db);
    assert_eq!((listed.status, listed.out.lines().count()), (Some(0), 4), "{}", listed.out);
    for (id, text) in ids.iter().zip(["status: is missing", "is not the status of a backup"]) {
        let line = listed.out.lines().find(|line| line.starts_with(id)).unwrap();
        assert!(line.contains("backup-failed") && line.contains(text), "{line}");
        let checked = command(&["check", id], &db);
        checked.assert_fails(1, &["status: is", "choose another one"]);
        assert_eq!(checked.out.trim(), "backup-failed");
    }
    command(&["check", "2024"], &db).assert_fails(2, &["no backup 2024"]);
    let newest = make(&db, &["--keep", "1"]);
    let mut left = vec![".lock", "2023", "2024", &ids[0], &ids[1], &newest];
    left.sort_unstable();
    assert_eq!(names(&backups), left);
    assert_eq!(stored(&other), stored(&db));
}

/// A database with a backup of all of it, whose log is damaged or gone afterwards; the backup's name.
fn with_lost_writes(is_gone: bool) -> (TempDir, PathBuf, String) {
    let (place, left) = (folder(), Left::new());
    let db = place.path().join("db");
    fs::rename(left.dir(), &db).unwrap();
    let good = make(&db, &[]);
    let log =
        names(&Store::path(&db)).into_iter().rfind(|name| has_extension(name, "log")).unwrap();
    let log = Store::path(&db).join(log);
    // The backup may have the same file.
    let mut bytes = fs::read(&log).unwrap();
    fs::remove_file(&log).unwrap();
    if !is_gone {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(&log, bytes).unwrap();
    }
    (place, db, good)
}

#[test]
fn no_older_backup_is_deleted_while_the_log_of_the_database_is_damaged_or_missing() {
    for is_gone in [false, true] {
        let (_place, db, good) = with_lost_writes(is_gone);
        let made = command(&["make", "--keep", "1", "--log", "off"], &db);
        made.assert_fails(1, &["log of the database is damaged", "last writes", "were kept"]);
        let id = made.out.trim();
        assert_eq!(names(&db.join("backups")), [".lock", &good, id], "missing: {is_gone}");
        assert_eq!(command(&["check", id], &db).status, Some(0));
        let short = db.with_file_name("short");
        let restored = run(["restore", id, "--db", utf8(&db), "--to", utf8(&short)]);
        restored
            .assert_fails(0, &["the log of its database was damaged", "may lack the last writes"]);
        // The restored database says so itself, and its backups take the place of no other.
        let verified = run(["verify", "--db", utf8(&short), "--level", "hash"]);
        verified.assert_fails(1, &["writes were lost earlier", "when the backup was made"]);
        let backups = db.join("backups");
        let made = command(&["make", "--keep", "1", "--backups", utf8(&backups)], &short);
        made.assert_fails(1, &["writes were lost earlier", "were kept"]);
        assert_eq!(names(&db.join("backups")), [".lock", &good, id, made.out.trim()]);
        fs::remove_dir_all(db.join("backups").join(made.out.trim())).unwrap();
        for action in [&["check", id][..], &["check", id, "--verify"]] {
            command(action, &db).assert_fails(0, &["it may lack the last writes"]);
        }
        let listed = command(&["list"], &db).out;
        assert_eq!(listed.matches("may lack the last writes").count(), 1, "{listed}");
        let checked = command(&["check", &good, "--verify"], &db);
        assert_eq!(checked.status, Some(0), "{}", checked.err);
        // Nor by those that come after it, until there are as many good ones.
        fs::remove_dir_all(db.join("0")).unwrap();
        let to = db.with_file_name("again");
        let restored = run(["restore", &good, "--db", utf8(&db), "--to", utf8(&to)]);
        assert_eq!(restored.status, Some(0), "{}", restored.err);
        let next = make(&to, &["--keep", "2", "--backups", utf8(&db.join("backups"))]);
        assert_eq!(names(&db.join("backups")), [".lock", &good, id, &next]);
    }
}

#[test]
fn the_latest_backup_is_not_an_older_one_because_the_status_of_a_newer_one_is_lost() {
    let (place, left) = (folder(), Left::new());
    let db = place.path().join("db");
    fs::rename(left.dir(), &db).unwrap();
    let (older, newer) = (make(&db, &[]), make(&db, &[]));
    let status = db.join("backups").join(&newer).join("status");
    for text in [None, Some("backup-dome")] {
        fs::remove_file(&status).unwrap();
        if let Some(text) = text {
            fs::write(&status, text).unwrap();
        }
        let texts = [
            &*format!("{newer}/status: is"),
            &format!("newest other backup with all its files is {older}"),
        ];
        command(&["check", "latest"], &db).assert_fails(1, &texts);
        let to = place.path().join("to");
        run(["restore", "latest", "--db", utf8(&db), "--to", utf8(&to)]).assert_fails(1, &texts);
        assert!(!to.exists());
        fs::write(&status, "backup-done").unwrap();
        assert_eq!(command(&["check", "latest"], &db).status, Some(0));
    }
}

#[test]
fn a_server_keeps_older_backups_while_its_log_was_damaged() {
    let (_place, db, good) = with_lost_writes(false);
    let flags = ["--db", utf8(&db), "--backup-api"];
    let server = Server::with(&[&flags[..], &["--keep-backups", "1"]].concat());
    let id = server.post("/make-backup", "").text().to_owned();
    let begin = Instant::now();
    while !server.log().contains("no older one is deleted") {
        assert!(begin.elapsed() < Duration::from_mins(1), "{}", server.log());
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.get(&format!("/check-backup/{id}")).text(), "backup-done");
    assert_eq!(names(&db.join("backups")), [".lock", &good, &id]);
}
