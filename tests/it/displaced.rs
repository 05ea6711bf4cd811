//! The folder of a database is moved, removed or replaced while a server has it open: the server goes on
//! with its own database, wherever that is, and no file of the other one changes.
//!
//! `PLAIT_DISPLACED_TRIES` says how often each variant is tried; once unless it is set.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use plait_engine::Header;
use serde_json::Value;
use tempfile::TempDir;
use testkit::block::dump;
use testkit::http::Client;
use testkit::process::{Outcome, finish, plait, replay_file, run};
use testkit::say;
use testkit::server::{Server, Signal, utf8};
use testkit::stored;

use crate::push::{LONG, generated, with_genesis};
use crate::push_http::{OCTETS, assert_sum, client, folder, request};

/// How the folder of a server comes to be another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// It is a symlink, which is switched.
    Switch,
    /// It is moved away, and another one is moved there.
    Move,
    /// It is moved away, and a backup of another one is restored there.
    Restore,
    /// It is removed, and another one is moved there.
    Remove,
}

/// What the server does beside answering.
/// Headers of a push.
const BATCH: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Reads,
    Writes,
}

/// Headers below those that are pushed, and these.
struct Blocks {
    own: Vec<Header>,
    more: Vec<Header>,
    late: Vec<Header>,
    /// Of the other database.
    other: Vec<Header>,
}

/// Two databases to copy, and a backup of the second.
struct Made {
    folder: TempDir,
    blocks: Blocks,
}

impl Made {
    fn new() -> Self {
        let folder = folder();
        let mut own = generated(60, 1, 0.05);
        let late = own.split_off(own.len() - 100);
        let more = own.split_off(own.len() - 200);
        let other = generated(50, 2, 0.05);
        let made = Self { folder, blocks: Blocks { own, more, late, other } };
        for (name, headers) in [("one", &made.blocks.own), ("two", &made.blocks.other)] {
            let outcome = replay_file(&made.path(name), &[], "dump", &dump(headers));
            assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        }
        let (two, backups) = (made.path("two"), made.path("backups"));
        let backup = run(["backup", "make", "--db", utf8(&two), "--backups", utf8(&backups)]);
        assert_eq!(backup.status, Some(0), "{}", backup.err);
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The databases of one try.
struct Place {
    /// What the server is started with.
    db: PathBuf,
    /// Where its database is afterwards; nowhere if it was removed.
    own: Option<PathBuf>,
    /// Where the other one is then, and its files.
    other: PathBuf,
    files: BTreeMap<PathBuf, Vec<u8>>,
    folder: TempDir,
    how: How,
}

impl Place {
    fn new(made: &Made, how: How) -> Self {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        let (db, own, other) = match how {
            How::Switch => (at("db"), Some(at("v1")), at("v2")),
            How::Move | How::Restore => (at("db"), Some(at("old")), at("db")),
            How::Remove => (at("db"), None, at("db")),
        };
        if how == How::Switch {
            copy(&made.path("one"), &at("v1"));
            copy(&made.path("two"), &at("v2"));
            symlink("v1", &db).unwrap();
        } else {
            copy(&made.path("one"), &db);
            copy(&made.path("two"), &at("new"));
        }
        Self { db, own, other, files: BTreeMap::new(), folder, how }
    }

    /// Replaces the folder under `server`.
    fn replace(&mut self, made: &Made, server: &Server) {
        let at = |name: &str| self.folder.path().join(name);
        match self.how {
            How::Switch => {
                symlink("v2", at("link")).unwrap();
                fs::rename(at("link"), &self.db).unwrap();
            }
            How::Move => {
                fs::rename(&self.db, at("old")).unwrap();
                fs::rename(at("new"), &self.db).unwrap();
            }
            How::Restore => {
                fs::rename(&self.db, at("old")).unwrap();
                let restore = |to: &Path| {
                    let backups = made.path("backups");
                    let from = ["--backups", utf8(&backups), "--copy", "--to", utf8(to)];
                    run([&["restore", "latest"][..], &from].concat())
                };
                let process = format!("process {} still uses", server.id());
                restore(&self.db).assert_fails(2, &[&process, "Stop that process first"]);
                assert!(!self.db.exists(), "a refused restore leaves nothing");
                let elsewhere = restore(&at("fresh"));
                assert_eq!(elsewhere.status, Some(0), "{}", elsewhere.err);
                fs::rename(at("fresh"), &self.db).unwrap();
            }
            How::Remove => {
                // What is being written meanwhile may have to be removed once more.
                while self.db.exists() {
                    let _ = fs::remove_dir_all(&self.db);
                }
                fs::rename(at("new"), &self.db).unwrap();
            }
        }
        self.files = files(&self.other);
    }

    /// Checks both databases once the server has ended. The batch that was `refused` may be stored: it
    /// may have been written before the folder was replaced, and looked for its place after that.
    fn check(&self, acknowledged: &[Header], refused: &[Header], blocks: &Blocks) {
        let how = self.how;
        let now = files(&self.other);
        for (path, bytes) in &self.files {
            let same = now.get(path) == Some(bytes);
            assert!(same, "{how:?}: {} is gone or has changed", path.display());
        }
        assert_eq!(now.len(), self.files.len(), "{how:?}: files have come: {:?}", now.keys());
        assert_whole(&self.other, &blocks.other);
        let Some(own) = &self.own else { return };
        let more: Vec<Header> = acknowledged.iter().chain(refused).copied().collect();
        let has_more = stored(own).len() > with_genesis(acknowledged).len();
        assert_whole(own, if has_more { &more } else { acknowledged });
    }
}

/// Checks that a database is whole, and has these blocks.
fn assert_whole(db: &Path, headers: &[Header]) {
    let verified = run(["verify", "--db", utf8(db)]);
    assert_eq!(verified.status, Some(0), "{}: {}", db.display(), verified.err);
    assert_eq!(stored(db), with_genesis(headers), "{}", db.display());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file below a folder, and what it has.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Waits until the server says that its folder is not where it was.
fn wait_unready(server: &Server) {
    let start = Instant::now();
    loop {
        let answer = server.get("/ready");
        let is_told = server.log().contains("is no longer the database");
        if answer.status == 503 && answer.text().contains("moved, removed or replaced") && is_told {
            break;
        }
        assert!(start.elapsed() < LONG, "{}: {}", answer.status, answer.text());
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.metric("plait_database_displaced"), Some(1.0));
    assert_eq!(server.metric("plait_ready"), Some(0.0));
}

/// Pushes batches of `headers` as long as they are stored; those that were.
fn push_all(place: &str, headers: &[Header]) -> Vec<Header> {
    let mut stored = Vec::new();
    for batch in headers.chunks(BATCH) {
        let answer = Client::connect(place.parse().unwrap()).ask(&request(OCTETS, dump(batch)));
        let last = answer.text().lines().last().map(serde_json::from_str::<Value>);
        match last {
            Some(Ok(sum)) if answer.status == 200 && sum["done"] == true => stored.extend(batch),
            _ => break,
        }
        thread::sleep(Duration::from_millis(5));
    }
    stored
}

fn a_try(made: &Made, how: How, kind: Kind, signal: Signal) {
    let (mut place, blocks) = (Place::new(made, how), &made.blocks);
    let flags = ["--db", utf8(&place.db), "--backup-api", "--metrics", "127.0.0.1:0"];
    let ingest = ["--ingest", "127.0.0.1:0"];
    let ingest = if kind == Kind::Writes { &ingest[..] } else { &[] };
    let mut server = Server::with(&[&flags, ingest].concat());
    let (mut acknowledged, mut refused) = (blocks.own.clone(), &[][..]);
    if kind == Kind::Writes {
        assert_sum(&client(&server).ask(&request(OCTETS, dump(&blocks.more))), [200, 0, 0, 0]);
        acknowledged.extend(&blocks.more);
        // Others come while the folder is replaced.
        let takes = server.takes();
        let pushed = thread::scope(|scope| {
            let pushing = scope.spawn(|| push_all(&takes, &blocks.late));
            place.replace(made, &server);
            pushing.join().unwrap()
        });
        acknowledged.extend(&pushed);
        refused = blocks.late.chunks(BATCH).nth(pushed.len() / BATCH).unwrap_or_default();
    } else {
        place.replace(made, &server);
    }
    wait_unready(&server);
    let backup = server.post("/make-backup", "");
    assert_eq!(backup.status, 503, "{}", backup.text());
    assert!(backup.text().contains("moved, removed or replaced"), "{}", backup.text());
    if kind == Kind::Writes {
        let answer = client(&server).ask(&request(OCTETS, dump(&blocks.late)));
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.text().contains("is no longer the database"), "{}", answer.text());
    }
    // Its own blocks, not those of the other one.
    let tip = acknowledged.last().unwrap().view();
    let target = format!("/chainweb/0.0/development/chain/{}/header/{}", tip.chain(), tip.hash());
    assert_eq!(server.get(&target).status, 200);
    server.signal(signal);
    let status = server.wait(LONG).expect("it ends");
    assert_eq!(status.success(), signal == Signal::TERM, "{}", server.log());
    place.check(&acknowledged, refused, blocks);
}

fn tries(how: How) {
    let text = std::env::var("PLAIT_DISPLACED_TRIES").ok();
    let tries: usize = text.and_then(|text| text.parse().ok()).unwrap_or(1);
    let made = Made::new();
    for number in 0..tries {
        for kind in [Kind::Reads, Kind::Writes] {
            for signal in [Signal::TERM, Signal::KILL] {
                a_try(&made, how, kind, signal);
            }
        }
        if tries > 1 {
            say(&format!("{how:?}: try {} of {tries}, both databases whole", number + 1));
        }
    }
}

#[test]
fn a_server_leaves_a_database_alone_to_which_its_symlink_was_switched() {
    tries(How::Switch);
}

#[test]
fn a_server_leaves_a_database_alone_that_was_moved_to_its_path() {
    tries(How::Move);
}

#[test]
fn a_server_leaves_a_database_alone_that_was_restored_to_its_path() {
    tries(How::Restore);
}

#[test]
fn a_server_leaves_a_database_alone_that_came_after_its_own_was_removed() {
    tries(How::Remove);
}

#[test]
fn a_server_is_ready_again_once_its_folder_is_back() {
    let (made, folder) = (Made::new(), folder());
    let (db, away) = (folder.path().join("db"), folder.path().join("away"));
    copy(&made.path("one"), &db);
    let flags = ["--db", utf8(&db), "--ingest", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
    let server = Server::with(&flags);
    fs::rename(&db, &away).unwrap();
    wait_unready(&server);
    fs::rename(&away, &db).unwrap();
    let start = Instant::now();
    while server.get("/ready").status != 200 {
        assert!(start.elapsed() < LONG);
        thread::sleep(Duration::from_millis(20));
    }
    let answer = client(&server).ask(&request(OCTETS, dump(&made.blocks.more)));
    assert_sum(&answer, [200, 0, 0, 0]);
}

/// A command that writes ends once it notices, and says so once.
#[test]
fn a_replay_whose_folder_is_replaced_ends_and_leaves_the_other_database_alone() {
    use std::io::Write;
    let (made, folder) = (Made::new(), folder());
    let at = |name: &str| folder.path().join(name);
    copy(&made.path("one"), &at("db"));
    copy(&made.path("two"), &at("new"));
    let args = ["replay", "--db", utf8(&at("db")), "--commit", "20", "-"].map(str::to_owned);
    let mut child = plait(args).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&dump(&made.blocks.more)).unwrap();
    wait_open(child.id());
    fs::rename(at("db"), at("old")).unwrap();
    fs::rename(at("new"), at("db")).unwrap();
    let files_before = files(&at("db"));
    // It may have ended.
    let _ = input.write_all(&dump(&made.blocks.late));
    drop(input);
    let outcome: Outcome = finish(child);
    outcome.assert_fails(2, &["is no longer the database", "is now at", "old/0/rocksDb"]);
    assert_eq!(outcome.err.matches("is no longer the database").count(), 1, "{}", outcome.err);
    assert!(!outcome.err.contains("/proc/self/fd"), "{}", outcome.err);
    assert_eq!(files(&at("db")), files_before);
    assert_whole(&at("db"), &made.blocks.other);
    let verified = run(["verify", "--db", utf8(&at("old"))]);
    assert_eq!(verified.status, Some(0), "{}", verified.err);
}

/// Waits until a process has a database open to write.
fn wait_open(process: u32) {
    let start = Instant::now();
    loop {
        let open = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
        let locked = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        if locked.into_iter().any(|path| path.ends_with("rocksDb/LOCK")) {
            return;
        }
        assert!(start.elapsed() < LONG);
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_database_that_a_server_has_open_is_refused_by_all_of_its_names() {
    let (made, folder) = (Made::new(), folder());
    let at = |name: &str| folder.path().join(name);
    copy(&made.path("one"), &at("db"));
    symlink("db", at("link")).unwrap();
    fs::write(at("dump"), dump(&generated(10, 1, 0.0))).unwrap();
    let server = Server::with(&["--db", utf8(&at("link"))]);
    for name in ["db", "link"] {
        let path = at(name);
        let outcome = run(["replay", "--db", utf8(&path), utf8(&at("dump"))]);
        outcome.assert_fails(2, &["rocksDb is in use by another process"]);
        // Reading is allowed.
        assert_eq!(run(["info", "--db", utf8(&path)]).status, Some(0));
    }
    // Without the file that RocksDB locks, too.
    fs::remove_file(at("db/0/rocksDb/LOCK")).unwrap();
    let outcome = run(["replay", "--db", utf8(&at("db")), utf8(&at("dump"))]);
    outcome.assert_fails(2, &["rocksDb is in use by another process"]);
    drop(server);
}
