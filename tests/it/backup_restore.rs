//! Backups put back.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use plait_engine::backup::{
    BackupError, BackupId, Backups, Contents, Request, Restore, RestoreEvent,
};
use plait_engine::store::Store;
use plait_engine::{Engine, Micros};
use testkit::archive::has_extension;
use testkit::braid::braid_with_orphans;
use testkit::{Database, stored};

use crate::backup::{begin, fail, folder, here, make, names};
use crate::rocks::columns;

static GO_ON: AtomicBool = AtomicBool::new(false);

const NOW: Micros = Micros::new(i64::MAX);

fn database() -> Database {
    let mut database = Database::empty();
    database.add(&braid_with_orphans(200, 3));
    database
}

fn restore(backups: &Backups, id: &BackupId, to: &Path, copy: bool) -> Restored {
    let restore = Restore { id: id.clone(), to: to.to_owned(), copy };
    restore.run(backups, &GO_ON, NOW, &mut |_| ())
}

type Restored = Result<Contents, BackupError>;

#[test]
fn a_restored_database_is_the_one_that_was_backed_up_and_lives_on_its_own() {
    let database = database();
    let dir = folder();
    let backups = Backups::new(dir.path());
    let (id, contents) = make(&backups, &here(&database));
    let expected = columns(database.path());
    for copy in [false, true] {
        let place = folder();
        let to = place.path().join("a").join("db");
        assert_eq!(restore(&backups, &id, &to, copy).unwrap(), contents);
        assert_eq!(names(&to), ["0"]);
        assert!(columns(&to) == expected, "another database");
        let table = Store::path(&to);
        let table = names(&table)
            .into_iter()
            .find(|name| has_extension(name, "sst"))
            .map(|name| table.join(name));
        let links = table.unwrap().metadata().unwrap().nlink();
        assert_eq!(links > 1, !copy, "{links} names");
        // It is written to, and the backup stays as it is.
        let (writer, reader) = Engine::open(&to).unwrap();
        writer.flush().unwrap();
        drop((writer, reader));
        assert!(columns(&backups.path(&id)) == expected, "the backup has changed");
    }
}

#[test]
fn a_restore_overwrites_nothing() {
    let database = database();
    let dir = folder();
    let backups = Backups::new(dir.path());
    let (id, _) = make(&backups, &here(&database));
    let (other, _) = make(&backups, &here(&database));
    let to = folder();
    fs::write(to.path().join("file"), "precious").unwrap();
    let error = restore(&backups, &id, to.path(), false).unwrap_err();
    assert!(matches!(error, BackupError::Occupied { .. }), "{error}");
    assert_eq!(names(to.path()), ["file"]);
    let error = restore(&backups, &id, database.path(), false).unwrap_err();
    assert!(matches!(error, BackupError::Occupied { .. }), "{error}");
    // Nor what another restore left that had begun to copy.
    let to = folder();
    let stop = AtomicBool::new(false);
    let first = Restore { id: id.clone(), to: to.path().to_owned(), copy: false };
    let mut stop_when_copied = |event: RestoreEvent<'_>| {
        stop.fetch_or(matches!(event, RestoreEvent::Copied(..)), Ordering::Relaxed);
    };
    let error = first.run(&backups, &stop, NOW, &mut stop_when_copied).unwrap_err();
    assert!(matches!(error, BackupError::Stopped), "{error}");
    let error = restore(&backups, &other, to.path(), false).unwrap_err();
    assert!(matches!(&error, BackupError::Other { id: got, .. } if *got == id.as_str()), "{error}");
    restore(&backups, &id, to.path(), false).unwrap();
    let error = restore(&backups, &id, to.path(), false).unwrap_err();
    assert!(matches!(error, BackupError::Occupied { .. }), "{error}");
}

#[test]
fn only_what_is_whole_is_restored() {
    let database = database();
    let dir = folder();
    let backups = Backups::new(dir.path());
    let (id, _) = make(&backups, &here(&database));
    let to = folder();
    let refused = |id: &BackupId, text: &str| {
        let to = to.path().join("db");
        let error = restore(&backups, id, &to, false).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert!(!to.join("0").exists(), "something was restored");
    };
    refused(&"1648665437000".parse().unwrap(), "no backup 1648665437000");
    let (failed, _) = fail(&backups, &here(&database), Request { pact: true, keep: None });
    refused(&failed, "is backup-failed, not backup-done");
    let job = begin(&backups);
    refused(job.id(), "is backup-in-progress, not backup-done");
    drop(job);
    // A byte of a block, which neither a length nor a checksum of a file tells.
    let path = Store::path(&backups.path(&id));
    let blob =
        names(&path).into_iter().find(|name| has_extension(name, "blob")).unwrap_or_else(|| {
            names(&path)
                .into_iter()
                .filter(|name| has_extension(name, "sst"))
                .max_by_key(|name| path.join(name).metadata().unwrap().len())
                .unwrap()
        });
    let blob = path.join(blob);
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, bytes).unwrap();
    let to = to.path().join("db");
    let error = restore(&backups, &id, &to, false).unwrap_err();
    assert!(matches!(error, BackupError::Damaged { .. } | BackupError::Unsound { .. }), "{error}");
    assert!(!to.exists(), "something was made");
}

#[test]
fn a_restore_that_ends_before_its_backup_is_verified_leaves_nothing() {
    let database = database();
    let dir = folder();
    let backups = Backups::new(dir.path());
    let (id, _) = make(&backups, &here(&database));
    let place = folder();
    let above = place.path().join("a");
    let stop = AtomicBool::new(true);
    let what = Restore { id: id.clone(), to: above.join("db"), copy: false };
    let error = what.run(&backups, &stop, NOW, &mut |_| ()).unwrap_err();
    assert!(matches!(error, BackupError::Stopped), "{error}");
    assert!(names(place.path()).is_empty(), "{:?}", names(place.path()));
    // A folder that was there stays.
    fs::create_dir(&above).unwrap();
    let error = what.run(&backups, &stop, NOW, &mut |_| ()).unwrap_err();
    assert!(matches!(error, BackupError::Stopped), "{error}");
    assert!(names(&above).is_empty(), "{:?}", names(&above));
    restore(&backups, &id, &above.join("db"), false).unwrap();
}

#[test]
fn a_restore_that_was_killed_before_its_backup_was_verified_gives_way_to_any() {
    let database = database();
    let dir = folder();
    let backups = Backups::new(dir.path());
    let (id, _) = make(&backups, &here(&database));
    let (other, _) = make(&backups, &here(&database));
    let from = dir.path().canonicalize().unwrap();
    let mark = |to: &Path, verified: bool| {
        fs::create_dir_all(to.join(".restore")).unwrap();
        let mark = serde_json::json!({ "backup": id.as_str(), "from": from, "verified": verified });
        fs::write(to.join(".restore/mark.json"), mark.to_string()).unwrap();
    };
    for next in [&id, &other] {
        let to = folder();
        mark(to.path(), false);
        restore(&backups, next, to.path(), false).unwrap();
        assert_eq!(names(to.path()), ["0"]);
        assert_eq!(stored(to.path()), stored(database.path()));
    }
    let to = folder();
    mark(to.path(), true);
    let error = restore(&backups, &other, to.path(), false).unwrap_err();
    assert!(matches!(error, BackupError::Other { .. }), "{error}");
    restore(&backups, &id, to.path(), false).unwrap();
}

#[test]
fn one_restore_at_a_time_goes_to_a_folder() {
    let database = database();
    let dir = folder();
    let backups = Backups::new(dir.path());
    let (id, _) = make(&backups, &here(&database));
    let (other, _) = make(&backups, &here(&database));
    let to = folder();
    let refused = Cell::new([0, 0]);
    let what = Restore { id: id.clone(), to: to.path().to_owned(), copy: false };
    what.run(&backups, &GO_ON, NOW, &mut |event| {
        // While the first verifies, and while it copies.
        let at = usize::from(matches!(event, RestoreEvent::Copied(..)));
        for next in [&id, &other] {
            let error = restore(&backups, next, to.path(), false).unwrap_err();
            assert!(matches!(error, BackupError::Restoring(_)), "{error}");
        }
        let mut counts = refused.get();
        counts[at] += 1;
        refused.set(counts);
    })
    .unwrap();
    assert!(refused.get().iter().all(|count| *count > 0), "{:?}", refused.get());
    assert_eq!(stored(to.path()), stored(database.path()));
}

#[test]
fn a_restore_that_was_interrupted_goes_on() {
    let database = database();
    let dir = folder();
    let backups = Backups::new(dir.path());
    let (id, contents) = make(&backups, &here(&database));
    let expected = stored(database.path());
    for copy in [false, true] {
        let place = folder();
        let to = place.path().join("db");
        let what = Restore { id: id.clone(), to: to.clone(), copy };
        let (mut runs, verified, last) = (0, Cell::new(0), Cell::new(0));
        loop {
            runs += 1;
            let stop = AtomicBool::new(false);
            // After one file more than the last time.
            let files = Cell::new(0);
            let result = what.run(&backups, &stop, NOW, &mut |event| match event {
                RestoreEvent::Verifying(_) => verified.set(runs),
                RestoreEvent::Copied(bytes, all) => {
                    assert_eq!(all, contents.bytes());
                    files.set(files.get() + 1);
                    if bytes > last.get() {
                        last.set(bytes);
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
            match result {
                Ok(_) => break,
                Err(BackupError::Stopped) => assert!(!to.join("0").exists()),
                Err(error) => panic!("{error}"),
            }
        }
        assert!(runs > 3, "{runs} runs");
        assert_eq!(verified.get(), 1, "the backup is verified once");
        assert_eq!(stored(&to), expected);
        assert_eq!(names(&to), ["0"]);
    }
}

#[test]
fn a_restore_that_lacks_only_its_last_step_ends() {
    let database = database();
    let dir = folder();
    let backups = Backups::new(dir.path());
    let (id, _) = make(&backups, &here(&database));
    let place = folder();
    restore(&backups, &id, place.path(), false).unwrap();
    // As a crash between the last two steps leaves it.
    fs::create_dir(place.path().join(".restore")).unwrap();
    let from = dir.path().canonicalize().unwrap();
    let mark = serde_json::json!({ "backup": id.as_str(), "from": from, "verified": true });
    fs::write(place.path().join(".restore/mark.json"), mark.to_string()).unwrap();
    restore(&backups, &id, place.path(), false).unwrap();
    assert_eq!(names(place.path()), ["0"]);
    // As one in the middle of the last leaves it.
    fs::create_dir(place.path().join(".restore")).unwrap();
    restore(&backups, &id, place.path(), false).unwrap();
    assert_eq!(names(place.path()), ["0"]);
    // The same beside a database that is not of that backup.
    let mut grown = Database::empty();
    grown.add(&braid_with_orphans(210, 3));
    let (other, _) = make(&backups, &here(&grown));
    fs::create_dir(place.path().join(".restore")).unwrap();
    let error = restore(&backups, &other, place.path(), false).unwrap_err();
    assert!(matches!(error, BackupError::Occupied { .. }), "{error}");
    assert_eq!(stored(place.path()), stored(database.path()));
}
