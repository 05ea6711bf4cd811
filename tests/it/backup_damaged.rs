//! Backups of which a file is missing, short or changed: nothing is restored of them, the commands say which
//! file it is, and another backup takes their place.

use std::fs;
use std::path::{Path, PathBuf};

use plait_engine::Header;
use plait_engine::generate::{History, Plan};
use plait_engine::store::Store;
use tempfile::TempDir;
use testkit::archive::has_extension;
use testkit::block::{NETWORK, dump};
use testkit::process::{Outcome, replay_file, run};
use testkit::server::utf8;
use testkit::stored;

use crate::backup::{folder, names};

/// A database with tables, and two backups of it.
struct Place {
    folder: TempDir,
    good: String,
    bad: String,
}

impl Place {
    fn new() -> Self {
        let folder = folder();
        let db = folder.path().join("db");
        let headers: Vec<Header> = History::new(&Plan::new(NETWORK, 600)).unwrap().collect();
        let outcome = replay_file(&db, &[], "dump", &dump(&headers));
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        let make = || {
            let made = run(["backup", "make", "--db", utf8(&db)]);
            assert_eq!(made.status, Some(0), "{}", made.err);
            made.out.trim().to_owned()
        };
        let (good, bad) = (make(), make());
        Self { folder, good, bad }
    }

    fn db(&self) -> PathBuf {
        self.folder.path().join("db")
    }

    /// The longest table of the second backup.
    fn table(&self) -> PathBuf {
        let dir = Store::path(&self.db().join("backups").join(&self.bad));
        let tables = names(&dir).into_iter().filter(|name| has_extension(name, "sst"));
        let paths = tables.map(|name| dir.join(name));
        paths.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
    }

    /// Two folders deep, of which none is there.
    fn new_db(&self) -> PathBuf {
        self.folder.path().join("new/db")
    }

    fn run(&self, words: &[&str], rest: &[&str]) -> Outcome {
        run([words, &["--db", utf8(&self.db())], rest].concat())
    }

    fn restore(&self, id: &str) -> Outcome {
        self.run(&["restore", id], &["--to", utf8(&self.new_db())])
    }

    /// Checks that the good one can be restored where the bad one could not.
    fn assert_restored(&self) {
        let outcome = self.restore(&self.good);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert_eq!(names(&self.new_db()), ["0"]);
        assert!(stored(&self.new_db()) == stored(&self.db()), "another database");
    }
}

/// Writes a file anew, as one that has no other name.
fn rewrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_missing_or_short_table_of_a_backup_is_named_at_once_and_another_backup_is_restored() {
    let place = Place::new();
    let (table, bad) = (place.table(), &*place.bad);
    let bytes = fs::read(&table).unwrap();
    let other = format!("The newest other backup with all its files is {}.", place.good);
    for left in [Some(bytes.len() - 1), Some(0), None] {
        let text = match left {
            Some(left) => format!("{}: has {left} bytes, not {}", utf8(&table), bytes.len()),
            None => format!("{}: is not there", utf8(&table)),
        };
        rewrite(&table, &bytes[..left.unwrap_or(0)]);
        if left.is_none() {
            fs::remove_file(&table).unwrap();
        }
        let texts = [&*text, "choose another one", &other];
        for check in [
            &["backup", "check", bad][..],
            &["backup", "check", "latest"],
            &["backup", "check", bad, "--verify"],
        ] {
            let checked = place.run(check, &[]);
            checked.assert_fails(1, &texts);
            assert_eq!(checked.out, "", "{check:?}");
        }
        for id in [bad, "latest"] {
            place.restore(id).assert_fails(1, &texts);
            assert!(!place.folder.path().join("new").exists(), "a folder was made");
        }
        let listed = place.run(&["backup", "list"], &[]);
        assert_eq!(listed.status, Some(0), "{}", listed.err);
        let line = |id: &str| listed.out.lines().find(|line| line.starts_with(id)).unwrap();
        assert!(line(bad).contains(&format!("damaged: {text}")), "{}", listed.out);
        assert!(!line(&place.good).contains("damaged"), "{}", listed.out);
    }
    let good = place.run(&["backup", "check", &place.good], &[]);
    assert_eq!((good.status, good.out.trim()), (Some(0), "backup-done"), "{}", good.err);
    place.assert_restored();
}

#[test]
fn a_flipped_bit_in_a_table_of_a_backup_is_damage_and_another_backup_is_restored() {
    let place = Place::new();
    let (table, bad) = (place.table(), &*place.bad);
    let mut bytes = fs::read(&table).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    rewrite(&table, &bytes);
    let other = format!("The newest other backup with all its files is {}.", place.good);
    // Of what is in tables only verification knows.
    assert_eq!(place.run(&["backup", "check", bad], &[]).status, Some(0));
    let texts = [bad, "choose another one", &other];
    place.run(&["backup", "check", bad, "--verify"], &[]).assert_fails(1, &texts);
    place.restore(bad).assert_fails(1, &texts);
    assert!(!place.folder.path().join("new").exists(), "a folder was made");
    place.assert_restored();
}

#[test]
fn where_no_backup_has_all_its_files_that_is_said() {
    let place = Place::new();
    fs::remove_file(place.table()).unwrap();
    fs::remove_dir_all(place.db().join("backups").join(&place.good).join("0")).unwrap();
    let text = format!("No other backup in {} has", utf8(&place.db().join("backups")));
    place.restore("latest").assert_fails(1, &["is not there", &text]);
    place.restore(&place.good).assert_fails(1, &["is not there", &text]);
}

#[test]
fn a_damaged_backup_takes_the_place_of_no_good_one() {
    let place = Place::new();
    fs::remove_file(place.table()).unwrap();
    let made = place.run(&["backup", "make", "--keep", "2"], &[]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let mut left = vec![".lock", &place.good, &place.bad, made.out.trim()];
    left.sort_unstable();
    assert_eq!(names(&place.db().join("backups")), left);
}
