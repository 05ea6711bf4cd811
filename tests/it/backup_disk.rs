//! Backups where there is another disk, or no room.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use plait_engine::Header;
use testkit::block::dump;
use testkit::braid::{braid, braid_with_orphans};
use testkit::process::{Outcome, binary, replay_file, run};
use testkit::server::utf8;
use testkit::{say, sorted, stored};

use crate::backup::{folder, names};
use crate::cli::SmallDisk;
use crate::rocks::columns;

/// Bytes that a backup wants to be free beside what it copies.
const SPARE: u32 = 16 << 20;

fn disk(bytes: u32) -> Option<SmallDisk> {
    let disk = SmallDisk::mount(bytes);
    if disk.is_none() {
        say("skipped: no other disk without the right to mount one");
    }
    disk
}

fn fill(db: &Path, headers: &[Header]) {
    let outcome = replay_file(db, &[], "dump", &dump(headers));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
}

fn make(db: &Path, rest: &[&str]) -> Outcome {
    run([&["backup", "make", "--db", utf8(db)], rest].concat())
}

#[test]
fn a_backup_on_another_disk_is_a_copy_and_the_log_warns_of_it() {
    let Some(disk) = disk(64 << 20) else { return };
    let place = folder();
    let db = place.path().join("db");
    fill(&db, &braid_with_orphans(100, 3));
    let made = make(&db, &["--backups", utf8(disk.path())]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    assert!(made.err.contains("another partition"), "{}", made.err);
    let id = made.out.trim();
    let path = disk.path().join(id);
    assert!(columns(&path) == columns(&db), "another database");
    let tables = path.join("0/rocksDb");
    for name in names(&tables) {
        assert_eq!(tables.join(&name).metadata().unwrap().nlink(), 1, "{name} is a link");
    }
    let checked = ["backup", "check", id, "--verify", "--backups", utf8(disk.path())];
    assert_eq!(run(checked).status, Some(0));
    // And back to the first disk.
    let to = place.path().join("restored");
    let restored = run(["restore", id, "--backups", utf8(disk.path()), "--to", utf8(&to)]);
    assert_eq!(restored.status, Some(0), "{}", restored.err);
    assert_eq!(stored(&to), stored(&db));
    let beside = make(&db, &[]);
    assert!(!beside.err.contains("another partition"), "{}", beside.err);
}

#[test]
fn a_backup_that_would_fill_the_disk_is_not_begun_and_the_database_goes_on() {
    let Some(disk) = disk(SPARE + (12 << 20)) else { return };
    let db = disk.path().join("db");
    let headers = braid(200);
    fill(&db, &headers[..2000]);
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![0; 14 << 20]).unwrap();
    make(&db, &[]).assert_fails(2, &["bytes are needed", "are free", "Make room"]);
    let backups = db.join("backups");
    let id = names(&backups).pop().unwrap();
    assert_eq!(fs::read_to_string(backups.join(&id).join("status")).unwrap(), "backup-failed");
    assert_eq!(names(&backups.join(&id)), ["error", "status"]);
    fs::remove_file(&filler).unwrap();
    fill(&db, &headers);
    assert_eq!(stored(&db), sorted(&headers));
    let made = make(&db, &[]);
    assert_eq!(made.status, Some(0), "{}", made.err);
}

#[test]
fn a_restore_that_would_fill_the_disk_copies_nothing() {
    let Some(disk) = disk(2 << 20) else { return };
    let place = folder();
    let db = place.path().join("db");
    fill(&db, &braid(600));
    let made = make(&db, &[]);
    let to = disk.path().join("db");
    let restore = ["restore", made.out.trim(), "--db", utf8(&db), "--to", utf8(&to)];
    run(restore).assert_fails(2, &["bytes are needed", "Make room"]);
    assert!(!to.exists(), "something was made");
    disk.grow(64 << 20);
    let restored = run(restore);
    assert_eq!(restored.status, Some(0), "{}", restored.err);
    assert_eq!((names(&to), stored(&to)), (vec!["0".to_owned()], stored(&db)));
}

#[test]
fn a_disk_that_fills_while_a_backup_is_copied_fails_the_job_only() {
    // Room enough by the numbers, which somebody else takes meanwhile: a limit of the process.
    let Some(disk) = disk(64 << 20) else { return };
    let place = folder();
    let db = place.path().join("db");
    fill(&db, &braid(600));
    let before = columns(&db);
    let script = format!(
        "ulimit -f 64; exec {} backup make --db {} --backups {}",
        utf8(&binary()),
        utf8(&db),
        utf8(disk.path())
    );
    // Writing on ends with a signal, unless that is ignored.
    let script = format!("trap '' XFSZ; {script}");
    let outcome = Command::new("sh").args(["-c", &script]).output().unwrap();
    let err = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert_eq!(outcome.status.code(), Some(2), "{err}");
    assert!(err.contains("File too large"), "{err}");
    let id = names(disk.path()).pop().unwrap();
    assert_eq!(names(&disk.path().join(&id)), ["error", "status"]);
    assert!(columns(&db) == before, "the database has changed");
    let made = make(&db, &["--backups", utf8(disk.path())]);
    assert_eq!(made.status, Some(0), "{}", made.err);
}
