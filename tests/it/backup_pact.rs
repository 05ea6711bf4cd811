//! The databases of Pact in backups.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use plait_engine::backup::{BackupError, BackupId, Backups, Contents, Request, verify};
use plait_engine::{ChainId, Micros};
use rusqlite::Connection;
use testkit::Database;
use testkit::block::NETWORK;

use crate::backup::{begin, database, fail, folder, here, names};

static GO_ON: AtomicBool = AtomicBool::new(false);

const WITH_PACT: Request = Request { pact: true, keep: None };

/// Money of all accounts of a database together, which no transaction changes.
const TOTAL: i64 = 100_000;

fn pact(db: &Path, chain: ChainId) -> PathBuf {
    db.join("0").join("sqlite").join(format!("pact-v1-chain-{chain}.sqlite"))
}

/// A database like those of a node, in `mode`.
fn create(path: &Path, mode: &str) -> Connection {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "page_size", 1024).unwrap();
    connection.pragma_update(None, "journal_mode", mode).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE coin (account INTEGER PRIMARY KEY, balance INTEGER, name TEXT);
             CREATE INDEX names ON coin (name);
             WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
             INSERT INTO coin SELECT i, 100, 'account' || i FROM n;",
        )
        .unwrap();
    connection
}

/// One for each chain.
fn create_all(database: &Database) -> Vec<Connection> {
    let chains = NETWORK.chain_ids();
    chains.map(|chain| create(&pact(database.path(), chain), "WAL")).collect()
}

/// Moves money from account to account, in one transaction after the other.
fn write(path: &Path, stop: &AtomicBool) -> u64 {
    let mut connection = Connection::open(path).unwrap();
    connection.busy_timeout(std::time::Duration::from_mins(1)).unwrap();
    let mut round = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let transaction = connection.transaction().unwrap();
        let (from, to) = (round % 1000, round * 7 % 1000);
        let change = |amount: i64, account: u64| {
            let name = format!("account{account}-{round}");
            transaction
                .execute(
                    "UPDATE coin SET balance = balance + ?1, name = ?2 WHERE account = ?3",
                    (amount, name, i64::try_from(account).unwrap()),
                )
                .unwrap();
        };
        change(-1, from);
        change(1, to);
        transaction.commit().unwrap();
    }
    round
}

fn total(path: &Path) -> i64 {
    let connection = Connection::open(path).unwrap();
    let check: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    connection.query_row("SELECT sum(balance) FROM coin", [], |row| row.get(0)).unwrap()
}

fn make(backups: &Backups, database: &Database) -> (BackupId, Contents) {
    let job = begin(backups);
    let id = job.id().clone();
    let contents = job.run(&here(database), WITH_PACT, &GO_ON).unwrap();
    (id, contents)
}

fn found(backups: &Backups, id: &BackupId) -> BackupError {
    verify(backups, id, &GO_ON, Micros::new(i64::MAX), &mut |_| ()).unwrap_err()
}

#[test]
fn the_database_of_every_chain_is_copied_while_it_is_written() {
    let database = database();
    drop(create_all(&database));
    let dir = folder();
    let backups = Backups::new(dir.path());
    let stop = AtomicBool::new(false);
    let (ids, rounds) = thread::scope(|scope| {
        let path = pact(database.path(), ChainId::new(3));
        let stop = &stop;
        let writer = scope.spawn(move || write(&path, stop));
        let ids = [(); 3].map(|()| make(&backups, &database));
        stop.store(true, Ordering::Relaxed);
        (ids, writer.join().unwrap())
    });
    assert!(rounds > 10, "{rounds} rounds are no writing all the while");
    for (id, contents) in ids {
        let copies = backups.path(&id).join("0/sqlite");
        assert_eq!(names(&copies).len(), 20, "no journals: {:?}", names(&copies));
        let mut summed = 0;
        for file in contents.files.iter().filter(|file| file.path.starts_with("0/sqlite/")) {
            assert!(file.blake3.is_some());
            summed += 1;
        }
        assert_eq!(summed, 20);
        verify(&backups, &id, &GO_ON, Micros::new(i64::MAX), &mut |_| ()).unwrap();
        for chain in NETWORK.chain_ids() {
            assert_eq!(total(&pact(&backups.path(&id), chain)), TOTAL, "chain {chain}");
        }
    }
}

#[test]
fn what_a_transaction_has_not_committed_is_not_copied() {
    let database = database();
    let connections = create_all(&database);
    connections[5].execute_batch("BEGIN IMMEDIATE; UPDATE coin SET balance = 0;").unwrap();
    let dir = folder();
    let backups = Backups::new(dir.path());
    let (id, _) = make(&backups, &database);
    connections[5].execute_batch("COMMIT").unwrap();
    assert_eq!(total(&pact(&backups.path(&id), ChainId::new(5))), TOTAL);
    let (id, _) = make(&backups, &database);
    assert_eq!(total(&pact(&backups.path(&id), ChainId::new(5))), 0);
}

#[test]
fn a_database_that_a_crash_left_is_copied_with_what_was_committed() {
    let database = database();
    let connections = create_all(&database);
    // The files as they are while they are open: with a log, in which all is.
    let other = folder();
    let from = database.path().join("0/sqlite");
    let to = other.path().join("sqlite");
    let copied = Command::new("cp").arg("-a").args([&from, &to]).status().unwrap();
    assert!(copied.success());
    drop(connections);
    fs::remove_dir_all(&from).unwrap();
    let back = Command::new("cp").arg("-a").args([&to, &from]).status().unwrap();
    assert!(back.success());
    assert!(names(&from).iter().any(|name| name.ends_with("-wal")), "{:?}", names(&from));
    let backups = Backups::new(other.path());
    let (id, _) = make(&backups, &database);
    for chain in NETWORK.chain_ids() {
        assert_eq!(total(&pact(&backups.path(&id), chain)), TOTAL);
    }
}

#[test]
fn without_the_flag_pact_is_left_out() {
    let database = database();
    drop(create_all(&database));
    let dir = folder();
    let backups = Backups::new(dir.path());
    let (id, _) = crate::backup::make(&backups, &here(&database));
    assert_eq!(names(&backups.path(&id).join("0")), ["rocksDb"]);
}

#[test]
fn a_missing_or_damaged_database_of_pact_fails_the_job() {
    let database = database();
    drop(create_all(&database));
    let dir = folder();
    let backups = Backups::new(dir.path());
    let path = pact(database.path(), ChainId::new(7));
    let bytes = fs::read(&path).unwrap();
    let failure = |text: &str| {
        let (id, error) = fail(&backups, &here(&database), WITH_PACT);
        assert!(error.to_string().contains(text), "{error}");
        let cause = fs::read_to_string(backups.path(&id).join("error")).unwrap();
        assert!(cause.contains(text) && cause.contains("pact-v1-chain-7.sqlite"), "{cause}");
    };
    fs::remove_file(&path).unwrap();
    failure("no Pact database of chain 7");
    fs::write(&path, "no database at all, but long enough to be looked at".repeat(40)).unwrap();
    failure("not a database");
    // Pages of the tree overwritten: it opens, and is copied page by page.
    let mut torn = bytes.clone();
    let middle = torn.len() / 2;
    torn[middle..middle + 4096].fill(0xA5);
    fs::write(&path, &torn).unwrap();
    failure("is damaged");
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    failure("pact-v1-chain-7.sqlite");
    fs::write(&path, &bytes).unwrap();
    make(&backups, &database);
}

#[test]
fn a_damaged_copy_of_pact_is_found() {
    let database = database();
    drop(create_all(&database));
    let dir = folder();
    let backups = Backups::new(dir.path());
    let (id, _) = make(&backups, &database);
    let copy = pact(&backups.path(&id), ChainId::new(0));
    let mut bytes = fs::read(&copy).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&copy, &bytes).unwrap();
    let error = found(&backups, &id);
    assert!(error.to_string().contains("does not match its checksum"), "{error}");
}
