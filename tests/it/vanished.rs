//! A file of a database that is gone: nothing is lost silently, nothing is created in its place, and what is
//! there stays as it is, byte for byte. Also creations that were interrupted.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use plait_engine::Header;
use plait_engine::failpoint::NAMES;
use plait_engine::generate::{History, Plan};
use plait_engine::store::{Presence, Store};
use tempfile::TempDir;
use testkit::block::{NETWORK, dump};
use testkit::crash::{Kind, World};
use testkit::process::{Outcome, plait, replay_file, run, run_with_input};
use testkit::server::{Server, utf8};
use testkit::{say, sorted, stored};

use crate::cli::open_in_every_way;
use crate::rocks::only_some_columns;

/// A database with tables, blob files, a log and a backup, and a dump of all that is in it.
struct Victim {
    folder: TempDir,
    headers: Vec<Header>,
}

impl Victim {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan { forks: 0.05, fork_depth: 6, ..Plan::new(NETWORK, 600) };
        let headers: Vec<Header> = History::new(&plan).unwrap().collect();
        let (first, rest) = headers.split_at(headers.len() * 9 / 10);
        let victim = Self { folder, headers: headers.clone() };
        for part in [first, rest] {
            let outcome = replay_file(&victim.db(), &["--verify", "hash"], "dump", &dump(part));
            assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        }
        fs::write(victim.dump(), dump(&headers)).unwrap();
        victim
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn db(&self) -> PathBuf {
        self.path("db")
    }

    fn dump(&self) -> PathBuf {
        self.path("dump")
    }

    fn rocks(&self) -> PathBuf {
        Store::path(&self.db())
    }

    /// The files whose names begin and end so.
    fn files(&self, begin: &str, end: &str) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(self.rocks()).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(begin) && name.ends_with(end)
        });
        paths.sort();
        paths
    }

    /// A copy of the database in a folder of its own.
    fn copy(&self, name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix(name).tempdir().unwrap();
        let copied = Command::new("cp").arg("-a").arg(self.db()).arg(folder.path()).status();
        assert!(copied.unwrap().success());
        fs::copy(self.dump(), folder.path().join("dump")).unwrap();
        Self { folder, headers: self.headers.clone() }
    }

    /// Runs every command that opens a database, or may create one.
    fn every_command(&self) -> Vec<(&'static str, Outcome)> {
        let (db, dump) = (self.db(), self.dump());
        let (db, dump) = (utf8(&db), utf8(&dump));
        let (out, backups) = (self.path("out"), self.path("backups"));
        let (out, backups) = (utf8(&out), utf8(&backups));
        // Nobody answers there.
        let node = "http://127.0.0.1:9";
        let network = ["--network", NETWORK.name()];
        let listen = ["--listen", "127.0.0.1:0"];
        let serve = [&["serve", "--db", db][..], &listen, &network].concat();
        let with = |more: &[&'static str]| [&serve[..], more].concat();
        let commands: Vec<(&str, Vec<&str>)> = vec![
            ("replay", [&["replay", "--db", db, "--verify", "hash", dump][..], &network].concat()),
            ("serve", vec!["serve", "--db", db, "--listen", "127.0.0.1:0"]),
            ("serve --replay", [&serve[..], &["--verify", "hash", "--replay", dump]].concat()),
            ("serve --follow", [&serve[..], &["--follow", node]].concat()),
            ("serve --ingest", with(&["--ingest", "127.0.0.1:0"])),
            ("follow", [&["follow", node, "--once", "--db", db][..], &network].concat()),
            ("info", vec!["info", "--db", db]),
            ("stats", vec!["stats", "--db", db]),
            ("verify", vec!["verify", "--db", db]),
            ("export", vec!["export", "--db", db, "--out", out]),
            ("backup make", vec!["backup", "make", "--db", db, "--backups", backups]),
        ];
        commands.into_iter().map(|(name, args)| (name, run(args))).collect()
    }
}

/// Every file below a folder, with its bytes.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.insert(path.clone(), Vec::new());
            files.extend(tree(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

/// Checks that every command refuses, says `texts`, and changes nothing.
fn assert_refused(victim: &Victim, what: &str, texts: &[&str]) {
    let before = tree(&victim.db());
    for (command, outcome) in victim.every_command() {
        assert_eq!(outcome.status, Some(2), "{what}: {command}: {}", outcome.err);
        for text in texts {
            assert!(
                outcome.err.contains(text),
                "{what}: {command}: no {text:?} in {}",
                outcome.err
            );
        }
        assert!(tree(&victim.db()) == before, "{what}: plait {command} has changed something");
    }
}

#[test]
fn a_file_without_which_a_database_does_not_open_is_named_by_every_command_and_nothing_changes() {
    let whole = Victim::new();
    for (begin, end) in [("CURRENT", ""), ("MANIFEST", ""), ("", ".sst"), ("", ".blob")] {
        let files = whole.files(begin, end);
        assert!(!files.is_empty(), "there is no {begin}{end}");
        for at in [0, files.len() - 1] {
            let victim = whole.copy("vanished");
            let name = files[at].file_name().unwrap().to_str().unwrap();
            fs::remove_file(victim.rocks().join(name)).unwrap();
            let text = format!("{} is missing", victim.rocks().join(name).display());
            let advice = match begin {
                "CURRENT" => "Try plait repair --db DIR",
                _ => "cannot be rebuilt from the remaining files",
            };
            assert_refused(&victim, name, &[&text, advice, "backup"]);
        }
    }
}

#[test]
fn a_file_that_is_cut_is_named_by_every_command_and_nothing_changes() {
    let whole = Victim::new();
    for end in [".sst", ".blob"] {
        let files = whole.files("", end);
        for (at, with_current) in [(0, true), (files.len() - 1, true), (0, false)] {
            let victim = whole.copy("cut");
            let file = victim.rocks().join(files[at].file_name().unwrap());
            let len = file.metadata().unwrap().len();
            for left in [0, len - 1] {
                fs::File::options().write(true).open(&file).unwrap().set_len(left).unwrap();
                let text = format!("{} has {left} bytes, and the MANIFEST says {len}", utf8(&file));
                if with_current {
                    assert_refused(&victim, utf8(&file), &[&text, "backup"]);
                } else {
                    let _ = fs::remove_file(victim.rocks().join("CURRENT"));
                }
                let before = tree(&victim.db());
                let outcome = run(["repair", "--db", utf8(&victim.db())]);
                outcome.assert_fails(2, &[&text, "Restore a backup (plait restore"]);
                assert!(tree(&victim.db()) == before, "{file:?}: something has changed");
                fs::copy(&files[at], &file).unwrap();
            }
        }
    }
}

#[test]
fn a_current_that_names_no_list_is_refused_and_repaired() {
    let whole = Victim::new();
    let all = stored(&whole.db());
    let long = vec![b'x'; 1 << 20];
    for text in [&b""[..], b"\n", b"MANIFEST-000001", b"rubbish\n", b"\xFF\xFE\0\n", &long] {
        let victim = whole.copy("current");
        let current = victim.rocks().join("CURRENT");
        fs::write(&current, text).unwrap();
        let said = format!("{} does not name a MANIFEST", utf8(&current));
        assert_refused(&victim, "CURRENT", &[&said, "plait repair", "backup"]);
        let outcome = run(["repair", "--db", utf8(&victim.db())]);
        outcome.assert_fails(0, &["wrote CURRENT again", " 0 broken"]);
        assert!(stored(&victim.db()) == all);
    }
}

#[test]
fn several_files_that_are_missing_are_no_reason_to_begin_anew() {
    let whole = Victim::new();
    for gone in [
        &["CURRENT", ".log"][..],
        &["CURRENT", "MANIFEST"],
        &["CURRENT", "MANIFEST", ".log", "IDENTITY", "OPTIONS", "LOCK"],
        &["CURRENT", ".sst"],
        &["CURRENT", ".sst", ".blob", "MANIFEST"],
        &["CURRENT", "MANIFEST", ".log", ".sst", ".blob"],
    ] {
        let victim = whole.copy("vanished");
        for kind in gone {
            let (begin, end) = if kind.starts_with('.') { ("", *kind) } else { (*kind, "") };
            victim.files(begin, end).iter().for_each(|file| fs::remove_file(file).unwrap());
        }
        assert_refused(&victim, &format!("{gone:?}"), &["CURRENT is missing"]);
    }
}

/// Blocks that are only in the log of `victim`'s database, whose server was killed.
fn pushed_and_killed(victim: &Victim) -> Vec<Header> {
    let mut server = Server::with(&["--db", utf8(&victim.db()), "--ingest", "127.0.0.1:0"]);
    let plan = Plan { seed: 2, ..Plan::new(NETWORK, 20) };
    let blocks: Vec<Header> = History::new(&plan).unwrap().collect();
    let pushed = run_with_input(plait(["push", &server.takes(), "-"]), dump(&blocks));
    assert!(matches!(pushed.status, Some(0 | 1)), "{}", pushed.err);
    // A flush that begins when the database is opened leaves a table that no list names, if it is
    // killed then: other damage than what is tested.
    let sizes = || {
        let files = victim.files("", "").into_iter();
        files.map(|file| fs::metadata(&file).map_or(0, |about| about.len())).collect::<Vec<_>>()
    };
    let (begin, mut before) = (Instant::now(), Vec::new());
    while sizes() != before && begin.elapsed() < Duration::from_secs(20) {
        before = sizes();
        thread::sleep(Duration::from_millis(300));
    }
    server.kill();
    blocks
}

#[test]
fn a_log_that_is_missing_is_reported_and_what_was_lost_can_be_brought_again() {
    let victim = Victim::new();
    let blocks = pushed_and_killed(&victim);
    let all = stored(&victim.db());
    let logs = victim.files("", ".log");
    assert!(!logs.is_empty());
    for log in &logs {
        fs::remove_file(log).unwrap();
    }
    let db = victim.db();
    let before = tree(&db);
    for command in ["info", "verify"] {
        let outcome = run([command, "--db", utf8(&db)]);
        let status = i32::from(command == "verify");
        outcome.assert_fails(status, &["log is missing"]);
    }
    let repaired = run(["repair", "--db", utf8(&db)]);
    repaired.assert_fails(
        1,
        &["log is missing; the last writes are lost", "plait repair cannot fix what is wrong"],
    );
    assert!(tree(&db) == before, "something has changed");
    let outcome = replay_file(&db, &["--verify", "hash"], "again", &dump(&blocks));
    assert!(matches!(outcome.status, Some(0 | 1)), "{}", outcome.err);
    assert!(outcome.err.contains("log is missing; the last writes are lost"), "{}", outcome.err);
    assert!(stored(&db) == all, "other blocks");
    let verified = run(["verify", "--db", utf8(&db), "--level", "hash"]);
    verified.assert_fails(1, &["writes were lost earlier: ", "log is missing", " 0 broken"]);
    fs::remove_file(victim.rocks().join("lost/losses.txt")).unwrap();
    assert_eq!(run(["verify", "--db", utf8(&db), "--level", "hash"]).status, Some(0));
}

/// A crash of the machine leaves such a log as well: that alone is no damage, if nothing of it was synced.
#[test]
fn a_log_that_is_cut_within_a_record_is_told() {
    let whole = Victim::new();
    pushed_and_killed(&whole);
    let log = whole.files("", ".log").pop().unwrap();
    let bytes = fs::read(&log).unwrap();
    assert!(bytes.len() > 10_000, "{}", bytes.len());
    for zeros in [false, true] {
        let victim = whole.copy("cut");
        let mut cut = bytes[..bytes.len() / 2 + 3].to_vec();
        if zeros {
            cut.clear();
            cut.resize(bytes.len(), 0);
        }
        fs::write(victim.rocks().join(log.file_name().unwrap()), &cut).unwrap();
        let outcome = run(["info", "--db", utf8(&victim.db())]);
        outcome.assert_fails(0, &[" were synced: the file was cut or damaged", "writes are lost"]);
        fs::remove_file(victim.rocks().join("log-synced")).unwrap();
        let outcome = run(["info", "--db", utf8(&victim.db())]);
        outcome.assert_fails(0, &["bytes of an incomplete record", "If it was cut"]);
    }
}

#[test]
fn a_folder_among_the_files_of_a_database_is_no_place_for_another() {
    let victim = Victim::new();
    for inner in ["0/rocksDb", "0", "other", "other/deep"] {
        let db = victim.db().join(inner);
        let db = utf8(&db);
        let before = tree(&victim.db());
        let replay =
            ["replay", "--db", db, "--verify", "hash", utf8(&victim.dump())].map(str::to_owned);
        for args in [
            replay.to_vec(),
            ["info", "--db", db].map(str::to_owned).to_vec(),
            ["verify", "--db", db].map(str::to_owned).to_vec(),
            ["repair", "--db", db].map(str::to_owned).to_vec(),
            ["serve", "--db", db, "--listen", "127.0.0.1:0"].map(str::to_owned).to_vec(),
        ] {
            let text = format!("is inside the database {}", utf8(&victim.db()));
            run(&args).assert_fails(2, &[&text, "Name the database itself"]);
        }
        assert!(tree(&victim.db()) == before, "{inner}: something has changed");
    }
}

/// RocksDB would open the database as it was before, and remove the tables that the list names no longer.
#[test]
fn a_list_of_files_that_was_cut_short_is_refused_and_nothing_changes() {
    let whole = Victim::new();
    let list = whole.files("MANIFEST", "").remove(0);
    let name = list.file_name().unwrap();
    let bytes = fs::read(&list).unwrap();
    let genesis = NETWORK.chain_ids().map(|chain| NETWORK.genesis_header(chain).unwrap());
    let all: Vec<Header> = whole.headers.iter().copied().chain(genesis).collect();
    let (mut refused, step) = (0, bytes.len() / 40 + 1);
    for len in (0..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
        let victim = whole.copy("cut");
        fs::write(victim.rocks().join(name), &bytes[..len]).unwrap();
        let before = tree(&victim.db());
        let args = ["replay", "--network", NETWORK.name(), "--verify", "hash", "--db"];
        let (db, dump) = (victim.db(), victim.dump());
        let outcome = run(args.iter().copied().chain([utf8(&db), utf8(&dump)]));
        if outcome.status == Some(0) {
            // What is cut off was nothing that it needs.
            assert!(stored(&db) == sorted(&all), "{len} bytes: other blocks");
            let sst = |files: &BTreeMap<PathBuf, Vec<u8>>| {
                files
                    .keys()
                    .filter(|path| {
                        path.extension().is_some_and(|end| end == "sst" || end == "blob")
                    })
                    .count()
            };
            assert!(sst(&tree(&db)) >= sst(&before), "{len} bytes: tables are gone");
            continue;
        }
        refused += 1;
        assert_eq!(outcome.status, Some(2), "{len} bytes: {}", outcome.err);
        assert!(tree(&db) == before, "{len} bytes: something has changed");
    }
    assert!(refused > 10, "{refused} refused");
}

#[test]
fn files_that_rocksdb_makes_again_may_be_missing() {
    let whole = Victim::new();
    let genesis = NETWORK.chain_ids().map(|chain| NETWORK.genesis_header(chain).unwrap());
    let all: Vec<Header> = whole.headers.iter().copied().chain(genesis).collect();
    for begin in ["IDENTITY", "OPTIONS", "LOCK"] {
        let victim = whole.copy("vanished");
        victim.files(begin, "").iter().for_each(|file| fs::remove_file(file).unwrap());
        let (db, dump) = (victim.db(), victim.dump());
        assert!(stored(&db) == sorted(&all), "{begin}");
        let args = ["replay", "--network", NETWORK.name(), "--verify", "hash", "--db"];
        let outcome = run(args.iter().copied().chain([utf8(&db), utf8(&dump)]));
        assert_eq!(outcome.status, Some(0), "{begin}: {}", outcome.err);
        assert_eq!(outcome.counts()[0], 0, "{begin}: {}", outcome.err);
        assert_eq!(
            run(["verify", "--db", utf8(&db), "--level", "hash"]).status,
            Some(0),
            "{begin}"
        );
        assert!(stored(&db) == sorted(&all), "{begin}");
    }
}

/// Leaves something in the folder of a database.
type Trace = fn(&Path);

#[test]
fn no_database_is_created_where_traces_of_another_are() {
    let whole = Victim::new();
    let make: [(&str, Trace); 6] = [
        ("0/sqlite", |db| {
            fs::create_dir_all(db.join("0/sqlite")).unwrap();
            fs::write(db.join("0/sqlite/pact-v1-chain-0.sqlite"), "rows").unwrap();
        }),
        ("backups", |db| fs::create_dir_all(db.join("backups/1648665437000000")).unwrap()),
        (".restore", |db| fs::create_dir_all(db.join(".restore/0")).unwrap()),
        ("0/rocksDb/notes.txt", |db| {
            fs::create_dir_all(db.join("0/rocksDb")).unwrap();
            fs::write(db.join("0/rocksDb/notes.txt"), "mine").unwrap();
        }),
        ("0/rocksDb", |db| {
            fs::create_dir_all(db.join("0")).unwrap();
            fs::write(db.join("0/rocksDb"), "a file").unwrap();
        }),
        ("", |db| fs::write(db, "a file").unwrap()),
    ];
    for (what, make) in make {
        let victim = whole.copy("traces");
        fs::remove_dir_all(victim.db()).unwrap();
        if !what.is_empty() {
            fs::create_dir(victim.db()).unwrap();
        }
        make(&victim.db());
        let place = victim.db().join(what);
        let place = place.to_str().unwrap().trim_end_matches('/');
        assert_refused(&victim, what, &[place]);
    }
    // Files beside it are no trace of one.
    let victim = whole.copy("beside");
    fs::remove_dir_all(victim.db()).unwrap();
    fs::create_dir_all(victim.db().join("0/rocksDb")).unwrap();
    fs::create_dir_all(victim.db().join("backups")).unwrap();
    fs::write(victim.db().join("plait.yaml"), "").unwrap();
    let outcome = replay_file(&victim.db(), &[], "dump", &dump(&victim.headers));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
}

#[test]
fn a_folder_that_this_user_may_not_read_is_never_taken_for_an_empty_one() {
    if !rustix::process::geteuid().is_root() {
        return say("vanished: skipped, only root can run commands as another user");
    }
    let whole = Victim::new();
    let place = ["", "0", "0/rocksDb"];
    for part in place {
        let victim = whole.copy("denied");
        // The binary and all above it must be reachable for another user.
        let bin = victim.path("plait");
        fs::copy(testkit::process::binary(), &bin).unwrap();
        fs::set_permissions(victim.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let denied = victim.db().join(part);
        fs::set_permissions(&denied, fs::Permissions::from_mode(0o000)).unwrap();
        let before = tree(&victim.db());
        let (db, dump) = (victim.db(), victim.dump());
        for args in [
            &["info", "--db", utf8(&db)][..],
            &["verify", "--db", utf8(&db)],
            &["serve", "--db", utf8(&db), "--listen", "127.0.0.1:0"],
            &["backup", "make", "--db", utf8(&db), "--backups", "/tmp/never"],
            &["replay", "--db", utf8(&db), "--network", NETWORK.name(), utf8(&dump)],
            &["follow", "http://127.0.0.1:9", "--db", utf8(&db), "--network", NETWORK.name()],
        ] {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&bin).args(args);
            let Ok(output) = command.output() else {
                return say("vanished: skipped, there is no setpriv");
            };
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{part}: {args:?}: {said}");
            assert!(said.contains("Permission denied"), "{part}: {args:?}: {said}");
            assert!(!said.contains("Make one first"), "{part}: {args:?}: {said}");
        }
        assert!(tree(&victim.db()) == before, "{part}: something has changed");
    }
}

/// What an older release left, or a list of files that was cut: nobody can tell them apart.
#[test]
fn what_an_older_release_left_half_made_is_refused_unless_it_is_marked() {
    let headers = testkit::braid::braid(2);
    for columns in [&[][..], &["loose"], &["loose", "trunk", "heights", "meta"]] {
        let folder = tempfile::tempdir().unwrap();
        only_some_columns(folder.path(), columns);
        let before = tree(folder.path());
        for (command, outcome) in open_in_every_way(folder.path()) {
            outcome
                .assert_fails(2, &["has no settings", "If nothing was ever stored in it, delete"]);
            assert!(tree(folder.path()) == before, "plait {command} has changed it");
        }
        fs::write(Store::path(folder.path()).join("creating"), "").unwrap();
        let info = run(["info", "--db", utf8(folder.path())]);
        info.assert_fails(
            2,
            &["the creation of", "was interrupted", "Run the command that creates it"],
        );
        let outcome = replay_file(folder.path(), &[], "dump", &dump(&headers));
        assert_eq!(outcome.status, Some(0), "{columns:?}: {}", outcome.err);
        assert!(stored(folder.path()) == sorted(&headers));
        assert!(!Store::path(folder.path()).join("creating").exists());
    }
}

/// A file system that forgot that the marker was removed.
#[test]
fn a_marker_beside_a_database_that_opens_costs_nothing_but_the_marker() {
    let whole = Victim::new();
    let all = stored(&whole.db());
    let victim = whole.copy("marked");
    fs::write(victim.rocks().join("creating"), "").unwrap();
    let outcome = replay_file(&victim.db(), &["--verify", "hash"], "dump", &dump(&victim.headers));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(outcome.counts()[0], 0, "{}", outcome.err);
    assert!(stored(&victim.db()) == all);
    // Beside one that does not, its tables are not cleared away either.
    let victim = whole.copy("marked");
    fs::write(victim.rocks().join("creating"), "").unwrap();
    fs::remove_file(victim.rocks().join("CURRENT")).unwrap();
    let others = || {
        let mut files = tree(&victim.db());
        files.remove(&victim.rocks().join("creating"));
        files
    };
    let before = others();
    let outcome = replay_file(&victim.db(), &["--verify", "hash"], "dump", &dump(&victim.headers));
    assert_eq!(outcome.status, Some(2), "{}", outcome.err);
    assert!(others() == before, "something has changed");
}

#[test]
fn a_marker_that_another_process_has_locked_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    only_some_columns(folder.path(), &["loose"]);
    let marker = Store::path(folder.path()).join("creating");
    let file = fs::File::create(&marker).unwrap();
    file.lock().unwrap();
    let before = tree(folder.path());
    let outcome = replay_file(folder.path(), &[], "dump", &dump(&testkit::braid::braid(1)));
    outcome.assert_fails(2, &["is in use by another process"]);
    assert!(tree(folder.path()) == before);
    drop(file);
}

/// What is killed.
const CHILD: &str = env!("CARGO_BIN_EXE_crash");

/// A folder in which the creation of a database was killed at a failpoint.
fn killed_at(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    // A seed of a whole history.
    let is_full = |seed: &u64| World::new(*seed).kind == Kind::Full;
    let seed = (1..100).find(is_full).unwrap().to_string();
    let mut child = Command::new(CHILD);
    child.arg("child").arg(folder.path()).args([&seed, "1", "1", name, "1"]);
    let status = child.status().unwrap();
    assert_eq!(status.signal(), Some(9), "{name}");
    folder
}

#[test]
fn every_command_that_creates_a_database_starts_its_interrupted_creation_again() {
    let headers: Vec<Header> = History::new(&Plan::new(NETWORK, 12)).unwrap().collect();
    let upstream = tempfile::tempdir().unwrap();
    let args = ["--verify", "full"];
    assert_eq!(replay_file(upstream.path(), &args, "dump", &dump(&headers)).status, Some(0));
    let file = upstream.path().join("dump");
    fs::write(&file, dump(&headers)).unwrap();
    let node = Server::with(&["--db", utf8(upstream.path())]);
    let url = node.url();
    let names = NAMES.iter().filter(|name| name.starts_with("create/"));
    let mut tried = 0;
    for name in names.filter(|name| **name != "create/clear/after") {
        for command in ["replay", "follow", "serve --replay", "serve --follow", "serve --ingest"] {
            let folder = killed_at(name);
            let db = folder.path().join("db");
            let what = format!("{name}, {command}");
            if Presence::of(&db).unwrap() != Presence::Absent {
                let info = run(["info", "--db", utf8(&db)]);
                let is_marked = Store::path(&db).join("creating").exists();
                let expected = if is_marked { Some(2) } else { Some(0) };
                assert_eq!(info.status, expected, "{what}: {}", info.err);
            }
            let (db, file) = (utf8(&db), utf8(&file));
            let network = ["--network", NETWORK.name()];
            let ended = match command {
                "replay" => Some(run(["replay", "--db", db, network[0], network[1], file])),
                "follow" => Some(run(["follow", &url, "--once", "--db", db])),
                "serve --replay" => {
                    drop(Server::with(&["--db", db, network[0], network[1], "--replay", file]));
                    None
                }
                "serve --follow" => {
                    drop(Server::with(&["--db", db, "--follow", &url]));
                    None
                }
                _ => {
                    let ingest = ["--ingest", "127.0.0.1:0"];
                    drop(Server::with(&[&["--db", db][..], &network, &ingest].concat()));
                    None
                }
            };
            if let Some(outcome) = ended {
                assert_eq!(outcome.status, Some(0), "{what}: {}", outcome.err);
            }
            assert!(!Store::path(Path::new(db)).join("creating").exists(), "{what}");
            let verified = run(["verify", "--db", db]);
            assert_eq!(verified.status, Some(0), "{what}: {}", verified.err);
            tried += 1;
        }
    }
    assert!(tried >= 30, "{tried} tried");
}

/// Every file of the database but the folder of a repair, and what it keeps.
fn without_lost(victim: &Victim) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = tree(&victim.rocks());
    files.retain(|path, _| !path.starts_with(victim.rocks().join("lost")));
    files
}

#[test]
fn repair_writes_a_lost_current_again_and_the_database_is_what_it_was() {
    let whole = Victim::new();
    let all = stored(&whole.db());
    let db = |victim: &Victim| utf8(&victim.db()).to_owned();
    run(["repair", "--db", &db(&whole)]).assert_fails(0, &["there is nothing to repair"]);
    // As it was, with an empty list of an earlier release beside it, and with one that CURRENT names.
    for leave in ["nothing", "an empty list", "a list of nothing"] {
        let victim = whole.copy("repaired");
        let before = without_lost(&victim);
        let current = victim.rocks().join("CURRENT");
        fs::remove_file(&current).unwrap();
        let other = victim.rocks().join("MANIFEST-900000");
        match leave {
            "nothing" => {}
            "an empty list" => fs::write(&other, "").unwrap(),
            _ => {
                let empty = tempfile::tempdir().unwrap();
                only_some_columns(empty.path(), &[]);
                let list = fs::read_to_string(Store::path(empty.path()).join("CURRENT")).unwrap();
                fs::copy(Store::path(empty.path()).join(list.trim()), &other).unwrap();
                fs::write(&current, "MANIFEST-900000\n").unwrap();
            }
        }
        let outcome = run(["repair", "--db", &db(&victim)]);
        outcome.assert_fails(0, &["wrote CURRENT again", " 0 broken"]);
        assert!(without_lost(&victim) == before, "{leave}: other files have changed");
        let kept = victim.rocks().join("lost/MANIFEST-900000").exists();
        assert_eq!(kept, leave != "nothing", "{leave}");
        assert!(stored(&victim.db()) == all, "{leave}");
        let again =
            replay_file(&victim.db(), &["--verify", "hash"], "dump", &dump(&victim.headers));
        assert_eq!((again.status, again.counts()[0]), (Some(0), 0), "{leave}: {}", again.err);
        assert_eq!(run(["verify", "--db", &db(&victim)]).status, Some(0), "{leave}");
    }
}

#[test]
fn repair_refuses_what_cannot_be_made_again_and_changes_nothing() {
    let whole = Victim::new();
    for (begin, end, also_current) in [
        ("MANIFEST", "", false),
        ("MANIFEST", "", true),
        ("", ".sst", false),
        ("", ".sst", true),
        ("", ".blob", true),
    ] {
        let victim = whole.copy("hopeless");
        let file = victim.files(begin, end).remove(0);
        fs::remove_file(file).unwrap();
        if also_current {
            fs::remove_file(victim.rocks().join("CURRENT")).unwrap();
        }
        let before = tree(&victim.db());
        let outcome = run(["repair", "--db", utf8(&victim.db())]);
        outcome.assert_fails(2, &[" is missing", "Restore a backup (plait restore"]);
        assert!(tree(&victim.db()) == before, "{begin}{end}: something has changed");
    }
    // A table of another length, and a list whose end is cut off.
    for what in ["table", "list"] {
        let victim = whole.copy("hopeless");
        fs::remove_file(victim.rocks().join("CURRENT")).unwrap();
        let (begin, end) = if what == "table" { ("", ".sst") } else { ("MANIFEST", "") };
        let file = victim.files(begin, end).remove(0);
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        let before = tree(&victim.db());
        let outcome = run(["repair", "--db", utf8(&victim.db())]);
        let text = if what == "table" { ", and the MANIFEST says " } else { " is missing" };
        outcome.assert_fails(2, &[text]);
        assert!(tree(&victim.db()) == before, "{what}: something has changed");
    }
    let none = tempfile::tempdir().unwrap();
    run(["repair", "--db", utf8(none.path())]).assert_fails(2, &["no database in"]);
}

#[test]
fn repair_verifies_a_database_that_has_all_its_files() {
    let whole = Victim::new();
    for end in [".sst", ".blob"] {
        let victim = whole.copy("flipped");
        let file = victim.files("", end).pop().unwrap();
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).unwrap();
        let before = tree(&victim.db());
        let outcome = run(["repair", "--db", utf8(&victim.db())]);
        assert_ne!(outcome.status, Some(0), "{end}: {}", outcome.err);
        assert!(!outcome.err.contains("nothing to repair"), "{end}: {}", outcome.err);
        assert!(tree(&victim.db()) == before, "{end}: something has changed");
    }
}

#[test]
fn repair_refuses_while_a_server_uses_the_database() {
    let victim = Victim::new();
    let server = Server::with(&["--db", utf8(&victim.db())]);
    fs::remove_file(victim.rocks().join("CURRENT")).unwrap();
    let outcome = run(["repair", "--db", utf8(&victim.db())]);
    outcome.assert_fails(2, &["is in use by another process"]);
    assert!(!victim.rocks().join("CURRENT").exists());
    drop(server);
    run(["repair", "--db", utf8(&victim.db())]).assert_fails(0, &["wrote CURRENT again"]);
    assert_eq!(run(["verify", "--db", utf8(&victim.db()), "--level", "hash"]).status, Some(0));
}

/// Why a lost list of files is not made again by RocksDB: it would leave out every run and payload.
#[test]
fn the_repair_of_rocksdb_itself_leaves_out_blob_files() {
    let victim = Victim::new();
    let blobs = victim.files("", ".blob").len();
    assert!(blobs > 0);
    fs::remove_file(victim.rocks().join("CURRENT")).unwrap();
    victim.files("MANIFEST", "").iter().for_each(|list| fs::remove_file(list).unwrap());
    rocksdb::DB::repair(&rocksdb::Options::default(), victim.rocks()).unwrap();
    let mut options = rocksdb::Options::default();
    options.create_missing_column_families(true);
    let names = plait_engine::store::Column::ALL.map(plait_engine::store::Column::name);
    drop(rocksdb::DB::open_cf(&options, victim.rocks(), names).unwrap());
    assert!(victim.files("", ".blob").len() < blobs, "RocksDB keeps blob files now");
}
