//! The table of causes and advice: each row on a real disk, medium or permission, over the real binary.
//!
//! Where the right to mount, another user, or a tool is missing, a test says that it was skipped.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use plait_engine::Header;
use plait_engine::cause::{Cause, Classified};
use plait_engine::generate::{History, Plan};
use plait_engine::store::{Store, StoreError};
use serde_json::Value;
use tempfile::TempDir;
use testkit::block::{NETWORK, dump};
use testkit::braid::braid;
use testkit::process::{Outcome, binary, finish, plait, replay, replay_file, run};
use testkit::say;
use testkit::server::{Replayed, Server, utf8};
use testkit::vectors::workspace;

use crate::cli::SmallDisk;
use crate::faults::{can_inject, inject, under};
use crate::rocks::put_meta;

/// Nobody, on every Linux.
const NOBODY: u32 = 65_534;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A database with a few blocks in tables, in a folder of its own.
fn database(folder: &Path) -> PathBuf {
    let db = folder.join("db");
    let outcome = replay_file(&db, &[], "dump", &dump(&braid(200)));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    // What it wrote last is in a log still: opening it to write moves that to tables.
    drop(plait_engine::Engine::open(&db).unwrap());
    db
}

fn tables(db: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(Store::path(db)).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "sst")).collect()
}

/// Blocks that `plait info` finds.
fn blocks(db: &Path) -> u64 {
    let outcome = run(["info", "--json", "--db", utf8(db)]);
    let info: Value = serde_json::from_str(&outcome.out).unwrap_or_else(|_| panic!("{outcome:?}"));
    info["blocks"].as_u64().unwrap()
}

/// A history that is long enough to be loaded in order, and a dump of it.
fn long_dump(folder: &Path, heights: u64) -> (Vec<Header>, PathBuf) {
    let history = History::new(&Plan::new(NETWORK, heights)).unwrap();
    let blocks: Vec<Header> = history.blocks().map(|(header, _)| header).collect();
    let file = folder.join("dump");
    fs::write(&file, dump(&blocks)).unwrap();
    (blocks, file)
}

/// The message of a command that failed: one line of what happened, one of what to do, and nothing of
/// RocksDB's own.
fn told(outcome: &Outcome) -> (String, String) {
    assert_eq!(outcome.status, Some(2), "{}", outcome.err);
    let lines: Vec<&str> = outcome.err.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("error: ")).expect("an error");
    assert_eq!(lines.len(), at + 2, "two lines:\n{}", outcome.err);
    for strange in ["VersionEdit", ".cc:", "panicked", "os error 2): No such", "While "] {
        assert!(!outcome.err.contains(strange), "{strange}:\n{}", outcome.err);
    }
    say(&format!("causes: {}\n        {}", lines[at], lines[at + 1]));
    (lines[at].to_owned(), lines[at + 1].to_owned())
}

/// The same, with what both lines must have.
fn assert_told(outcome: &Outcome, what: &str, advice: &str) {
    let (headline, next) = told(outcome);
    assert!(headline.contains(what), "no {what:?} in {headline}");
    assert!(next.contains(advice), "no {advice:?} in {next}");
}

/// Checks the same of each of these commands.
fn all_tell(commands: &[&[&str]], what: &str, advice: &str) {
    for args in commands {
        say(&format!("causes: plait {}", args.join(" ")));
        assert_told(&run(args.iter().copied()), what, advice);
    }
}

/// A file system of its own on a loop device, which goes read-only when it finds something wrong.
pub(crate) struct LoopDisk {
    folder: TempDir,
}

impl LoopDisk {
    /// One of so many bytes; `None` without the right or the tools to make one.
    pub(crate) fn mount(bytes: u64) -> Option<Self> {
        let disk = Self { folder: folder() };
        fs::File::create(disk.image()).unwrap().set_len(bytes).unwrap();
        fs::create_dir(disk.path()).unwrap();
        let quiet = |program: &str| {
            let mut command = Command::new(program);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let made = quiet("mkfs.ext4").args(["-q", "-F"]).arg(disk.image()).status();
        (made.is_ok_and(|status| status.success()) && disk.attach()).then_some(disk)
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn attach(&self) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop,errors=remount-ro"]).arg(self.image()).arg(self.path());
        mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    fn detach(&self) -> bool {
        let status = Command::new("umount").arg(self.path()).status();
        status.is_ok_and(|status| status.success())
    }

    /// Has the system find something wrong with it, so that it takes no writes any more, whoever has
    /// files open.
    pub(crate) fn break_down(&self) -> bool {
        let found = Command::new("findmnt").args(["-no", "SOURCE"]).arg(self.path()).output();
        let Ok(found) = found else { return false };
        let device = String::from_utf8_lossy(&found.stdout).trim().replace("/dev/", "");
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").is_ok()
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).stderr(Stdio::null()).status();
    }
}

/// Runs `plait` as another user, from a copy that this one may read; `None` if that cannot be.
fn run_as_nobody(args: &[&str]) -> Option<Outcome> {
    let place = folder();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let copy = place.path().join("plait");
    fs::copy(binary(), &copy).unwrap();
    let mut command = Command::new(&copy);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.uid(NOBODY).gid(NOBODY).current_dir("/").spawn();
    let child = child.inspect_err(|error| say(&format!("skipped: no other user: {error}"))).ok()?;
    Some(finish(child))
}

#[test]
fn texts_of_errors_are_those_of_this_version_of_rocksdb() {
    // Causes are read from them: look at `engine/src/cause.rs` and run these tests when it changes.
    let lock = fs::read_to_string(workspace().join("Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"librocksdb-sys\"\nversion = \"0.19.0+11.8.1\"\n"));
    // One of each kind, from RocksDB itself.
    let place = folder();
    let open = |path: &Path| {
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        StoreError::from(rocksdb::DB::open(&options, path).expect_err("it does not open"))
    };
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(open(&file.join("db")).fault().cause, Cause::Other);
    let missing = rocksdb::DB::open_for_read_only(
        &rocksdb::Options::default(),
        place.path().join("none"),
        false,
    );
    let missing = StoreError::from(missing.err().unwrap());
    assert_eq!(missing.fault().cause, Cause::Missing);
    assert_eq!(missing.fault().path, Some(place.path().join("none/CURRENT")));
    let db = place.path().join("db");
    {
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        let first = rocksdb::DB::open(&options, &db).unwrap();
        assert_eq!(open(&db).fault().cause, Cause::Locked);
        first.put("key", vec![7; 10_000]).unwrap();
        first.flush().unwrap();
    }
    let table = fs::read_dir(&db).unwrap().map(|entry| entry.unwrap().path());
    let table = table.into_iter().find(|path| path.extension().is_some_and(|end| end == "sst"));
    flip(&table.unwrap(), 100);
    let options = rocksdb::Options::default();
    let read = rocksdb::DB::open_for_read_only(&options, &db, false).and_then(|db| db.get("key"));
    assert_eq!(StoreError::from(read.unwrap_err()).fault().cause, Cause::Damage);
}

/// Changes a byte of a file.
fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_full_disk_in_a_bulk_load_counts_what_is_on_the_disk() {
    let Some(disk) = SmallDisk::mount(24 << 20) else {
        return say("skipped: no full disk without the right to mount one");
    };
    let place = folder();
    let (headers, file) = long_dump(place.path(), 6000);
    let load = |name: &str, rest: &[&str]| {
        let db = disk.path().join(name);
        (replay(&db, [rest, &[utf8(&file)]].concat()), db)
    };
    let mut lost = 0;
    for commit in ["4096", "65536"] {
        let (outcome, db) = load("db", &["--commit", commit]);
        let failed = outcome_without_counts(&outcome);
        assert_told(&failed, "the disk is full: ", "run the same command");
        let there = blocks(&db);
        assert_eq!(outcome.counts()[0] + 20, there, "{}", outcome.err);
        let said = format!("{} blocks are stored", grouped(there));
        assert!(outcome.err.contains(&said), "{there} blocks:\n{}", outcome.err);
        assert!(outcome.err.contains("The rest needs about"), "{}", outcome.err);
        lost += u64::from(outcome.err.contains("had not reached the disk and are lost"));
        fs::remove_dir_all(&db).unwrap();
        // And for machines.
        let (outcome, db) = load("db", &["--commit", commit, "--json"]);
        let summary: Value = serde_json::from_str(outcome.out.lines().last().unwrap()).unwrap();
        let there = blocks(&db);
        assert_eq!(
            (&summary["event"], summary["stored"].as_u64()),
            (&"summary".into(), Some(there - 20))
        );
        fs::remove_dir_all(&db).unwrap();
    }
    assert!(lost > 0, "nothing was in memory only");
    // More room, and it goes on.
    let (outcome, db) = load("db", &["--commit", "4096"]);
    assert_eq!(outcome.status, Some(2), "{}", outcome.err);
    disk.grow(400 << 20);
    let (outcome, _) = load("db", &[]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(blocks(&db), headers.len() as u64 + 20);
    let verified = run(["verify", "--level", "hash", "--db", utf8(&db)]);
    assert_eq!(verified.status, Some(0), "{}", verified.err);
}

/// The same without the lines before the error.
fn outcome_without_counts(outcome: &Outcome) -> Outcome {
    let at = outcome.err.find("error: ").unwrap_or_else(|| panic!("{}", outcome.err));
    Outcome { err: outcome.err[at..].to_owned(), ..outcome.clone() }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let (head, rest) = digits.split_at(digits.len() % 3);
    let rest = rest.as_bytes().chunks(3).map(|part| std::str::from_utf8(part).unwrap());
    let parts: Vec<&str> =
        std::iter::once(head).filter(|head| !head.is_empty()).chain(rest).collect();
    parts.join(",")
}

#[test]
fn a_full_disk_is_named_by_every_command_that_writes() {
    let Some(disk) = SmallDisk::mount(30 << 20) else {
        return say("skipped: no full disk without the right to mount one");
    };
    let place = folder();
    let (db, dump_file) = (database(disk.path()), place.path().join("dump"));
    fs::write(&dump_file, dump(&braid(20_000))).unwrap();
    let other = database(place.path());
    let full = fs::File::create(disk.path().join("filler")).unwrap();
    while (&full).write_all(&[0; 4096]).is_ok() {}
    let at = |name: &str| utf8(&disk.path().join(name)).to_owned();
    let (db, dump_file, other) = (utf8(&db), utf8(&dump_file), utf8(&other));
    let new = at("new");
    let replays: [&[&str]; 2] = [
        &["replay", "--db", &new, "--network", "development", "--verify", "hash", dump_file],
        &["replay", "--db", db, "--network", "development", "--verify", "hash", dump_file],
    ];
    for args in replays {
        let outcome = outcome_without_counts(&run(args.iter().copied()));
        assert_told(&outcome, "the disk is full: ", "Make room there");
    }
    let out = at("dev.bin");
    let generate =
        ["generate", "--network", "development", "--heights", "5000", "--out", out.as_str()];
    all_tell(&[&generate], "the disk is full: ", "Make room there");
    let left: Vec<_> = fs::read_dir(disk.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("dev.bin")), "{left:?}");
    let served = ["serve", "--db", db, "--listen", "127.0.0.1:0"];
    all_tell(&[&served], "the disk is full: ", "Make room there");
    // These look first.
    let (archive, backups) = (at("archive"), at("backups"));
    for args in [
        ["export", "--db", other, "--out", archive.as_str()],
        ["backup", "make", "--db", other, "--backups"],
    ] {
        let rest = if args[0] == "backup" { vec![backups.as_str()] } else { vec![] };
        let outcome = run(args.iter().copied().chain(rest));
        let (headline, _) = told(&outcome);
        let is_told =
            headline.contains("bytes are needed") || headline.contains("the disk is full");
        assert!(is_told, "{headline}");
    }
}

#[test]
fn a_limit_of_a_file_and_a_quota_are_named() {
    let place = folder();
    let file = place.path().join("dump");
    fs::write(&file, dump(&braid(500))).unwrap();
    let db = place.path().join("limited");
    let args = ["replay", "--network", "development", "--verify", "hash", "--db"];
    let args: Vec<String> =
        args.iter().copied().chain([utf8(&db), utf8(&file)]).map(str::to_owned).collect();
    let script = "ulimit -f 200; exec \"$0\" \"$@\"".to_owned();
    let outcome = under("sh", &["-c".to_owned(), script], &args);
    assert_told(&outcome_without_counts(&outcome), "File too large", "ulimit -f unlimited");
    if !can_inject() {
        return;
    }
    // No file system at hand has quotas in every kernel: the error is one that the system is told to give.
    let (_, long) = long_dump(place.path(), 2000);
    let loaded = utf8(&place.path().join("loaded")).to_owned();
    let args = ["replay", "--network", "development", "--verify", "hash", "--db"];
    let args: Vec<String> =
        args.iter().copied().chain([&*loaded, utf8(&long)]).map(str::to_owned).collect();
    // Tables are written past the page cache, where the file system can.
    let outcome = under("strace", &inject("pwrite64", "EDQUOT", "1+"), &args);
    if outcome.status == Some(0) {
        return say("skipped: tables are not written by pwrite64 here");
    }
    assert_told(&outcome_without_counts(&outcome), "the disk quota of user", "Raise the quota");
}

#[test]
fn a_read_only_file_system_is_named_by_every_command_that_writes() {
    let Some(disk) = SmallDisk::mount(64 << 20) else {
        return say("skipped: no other disk without the right to mount one");
    };
    let place = folder();
    let (db, elsewhere) = (database(disk.path()), database(place.path()));
    let dump_file = place.path().join("dump");
    fs::write(&dump_file, dump(&braid(300))).unwrap();
    let made = run(["backup", "make", "--db", utf8(&elsewhere)]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let mut remount = Command::new("mount");
    assert!(remount.args(["-o", "remount,ro"]).arg(disk.path()).status().unwrap().success());
    let at = |name: &str| utf8(&disk.path().join(name)).to_owned();
    let (db, elsewhere, dump_file) = (utf8(&db), utf8(&elsewhere), utf8(&dump_file));
    let (new, archive, backups, file) = (at("new"), at("archive"), at("backups"), at("dev.bin"));
    let commands: [&[&str]; 8] = [
        &["replay", "--db", db, "--network", "development", "--verify", "hash", dump_file],
        &["replay", "--db", &new, "--network", "development", "--verify", "hash", dump_file],
        &["follow", "http://127.0.0.1:1", "--db", db],
        &["serve", "--db", db, "--listen", "127.0.0.1:0"],
        &["export", "--db", elsewhere, "--out", &archive],
        &["export", "--db", elsewhere, "--format", "parquet", "--out", &archive],
        &["backup", "make", "--db", elsewhere, "--backups", &backups],
        &["generate", "--network", "development", "--heights", "3", "--out", &file],
    ];
    all_tell(&commands, "Read-only file system", "Mount it for writing");
    all_tell(&commands[3..4], "Read-only file system", "plait serve --read-only");
    let restore = ["restore", made.out.trim(), "--db", elsewhere, "--to", &new];
    all_tell(&[&restore], "Read-only file system", "Mount it for writing");
    // What only reads does not mind.
    for args in [["info", "--db", db], ["verify", "--level=hash", "--db"]] {
        let rest = (args[0] == "verify").then_some(db);
        let outcome = run(args.into_iter().chain(rest));
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    }
}

#[test]
fn a_disk_that_fails_is_named() {
    let Some(disk) = LoopDisk::mount(48 << 20) else {
        return say("skipped: no loop device without the right to mount one");
    };
    // The first half is taken, so that the database lies in the other one.
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![1; 24 << 20]).unwrap();
    let db = database(&disk.path());
    let largest = tables(&db).into_iter().max_by_key(|path| path.metadata().unwrap().len());
    assert!(largest.is_some());
    assert!(disk.detach() && disk.attach(), "it is mounted again, with nothing in memory");
    // What is behind the end of its image is a medium that fails.
    let image = fs::OpenOptions::new().write(true).open(disk.image()).unwrap();
    image.set_len(12 << 20).unwrap();
    let outcome = run(["info", "--db", utf8(&db)]);
    if outcome.status == Some(0) {
        return say("skipped: the file system has put the database where the image is whole");
    }
    assert_told(&outcome, "Input/output error", "The disk or its connection fails");
}

#[test]
fn too_few_open_files_are_named() {
    let place = folder();
    let db = database(place.path());
    let args = ["info", "--db", utf8(&db)].map(str::to_owned);
    let mut named = 0;
    for files in 5..24 {
        let script = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
        let outcome = under("sh", &["-c".to_owned(), script], &args);
        let is_other = outcome.status == Some(0) || !outcome.err.contains("error: ");
        if is_other || outcome.err.contains("shared libraries") {
            continue;
        }
        assert_told(&outcome, "Too many open files", "ulimit -n 65536");
        named += 1;
    }
    assert!(named > 0, "it never had too few");
}

#[test]
fn too_few_open_files_are_no_damage() {
    let place = folder();
    let (db, archive) = (database(place.path()), place.path().join("archive"));
    let made = run(["backup", "make", "--db", utf8(&db)]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let export = ["export", "--db", utf8(&db), "--file-heights", "50", "--out", utf8(&archive)];
    assert_eq!(run(export).status, Some(0));
    let (db, archive, new) = (utf8(&db), utf8(&archive), place.path().join("new"));
    let into = place.path().join("into");
    let commands: [&[&str]; 5] = [
        &["verify", "--level", "hash", "--db", db],
        &["verify", "--level", "hash", archive],
        &["backup", "check", made.out.trim(), "--verify", "--db", db],
        &["restore", made.out.trim(), "--db", db, "--to", utf8(&new)],
        &["replay", "--keep-going", "--verify", "hash", "--db", utf8(&into), archive],
    ];
    for args in commands {
        let (mut named, words): (u32, Vec<String>) =
            (0, args.iter().map(|word| (*word).to_owned()).collect());
        for files in 5..60 {
            let script = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
            let outcome = under("sh", &["-c".to_owned(), script], &words);
            for wrong in ["damaged: ", "flaws", "broken: ", "of no use", "rejected: "] {
                assert!(!outcome.err.contains(wrong), "{files} {args:?}: {}", outcome.err);
            }
            assert_ne!(outcome.status, Some(1), "{files} {args:?}: {}", outcome.err);
            let is_other = outcome.status == Some(0) || !outcome.err.contains("error: ");
            if !is_other && !outcome.err.contains("shared libraries") {
                let failed = outcome_without_counts(&outcome);
                assert_told(&failed, "Too many open files", "ulimit -n 65536");
                named += 1;
            }
            let _ = fs::remove_dir_all(&new);
            let _ = fs::remove_dir_all(&into);
        }
        assert!(named > 0, "{args:?} never had too few");
    }
}

#[test]
fn a_disk_that_fails_while_all_is_verified_is_no_damage() {
    if !can_inject() {
        return;
    }
    let place = folder();
    let db = database(place.path());
    let args = ["verify", "--level", "hash", "--db", utf8(&db)].map(str::to_owned);
    let mut named = 0;
    for when in ["1+", "20+", "40+", "60+", "80+", "100+"] {
        let outcome = under("strace", &inject("pread64", "EIO", when), &args);
        if outcome.status != Some(0) && !outcome.err.contains("shared libraries") {
            assert_told(&outcome_without_counts(&outcome), "the disk fails", "see dmesg");
            assert!(!outcome.err.contains("damaged: "), "{}", outcome.err);
            named += 1;
        }
    }
    assert!(named > 0, "it never failed");
}

#[test]
fn a_file_of_an_archive_that_this_user_may_not_read_is_not_damaged() {
    let place = folder();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let (db, archive) = (database(place.path()), place.path().join("archive"));
    assert_eq!(run(["export", "--db", utf8(&db), "--out", utf8(&archive)]).status, Some(0));
    let own = place.path().join("own");
    fs::create_dir(&own).unwrap();
    if chown(&own, Some(NOBODY), Some(NOBODY)).is_err() {
        return say("skipped: no other user without the right to become one");
    }
    let files = fs::read_dir(&archive).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "plait")).collect();
    files.sort();
    fs::set_permissions(&files[3], Permissions::from_mode(0o600)).unwrap();
    let (archive, new) = (utf8(&archive), own.join("new"));
    let Some(outcome) = run_as_nobody(&["verify", "--level", "hash", archive]) else { return };
    let what = format!("{} cannot be read by user nobody", files[3].display());
    assert_told(&outcome, &what, "chown -R nobody");
    let replay = ["replay", "--keep-going", "--verify", "hash", "--db", utf8(&new), archive];
    let Some(outcome) = run_as_nobody(&replay) else { return };
    assert_told(&outcome_without_counts(&outcome), &what, "setfacl");
}

#[test]
fn too_little_memory_for_the_caches_is_named_and_usual_caches_give_way() {
    let place = folder();
    let db = database(place.path());
    let db = utf8(&db);
    for bytes in [1_u64 << 44, 1 << 60, u64::from(u32::MAX) << 31] {
        let bytes = bytes.to_string();
        for flag in ["--block-cache-bytes", "--run-cache-bytes"] {
            let served = ["serve", "--db", db, "--listen", "127.0.0.1:0", flag, &bytes];
            let outcome = run(served);
            assert_eq!(outcome.status, Some(2), "{}", outcome.err);
            assert!(outcome.err.contains("error: "), "{}", outcome.err);
            if outcome.err.contains("too little memory") {
                assert_told(&outcome, "do not fit", "caches.blockBytes");
            }
        }
    }
    let script = "ulimit -v 3000000; exec \"$0\" \"$@\"".to_owned();
    let shell = ["-c".to_owned(), script];
    let flags = ["--block-cache-bytes", "2500000000", "--run-cache-bytes", "1000000000"];
    let served: Vec<String> = ["serve", "--db", db, "--listen", "127.0.0.1:0"]
        .into_iter()
        .chain(flags)
        .map(str::to_owned)
        .collect();
    assert_told(&under("sh", &shell, &served), "do not fit", "caches.blockBytes");
    let info = ["info", "--db", db].map(str::to_owned);
    assert_eq!(under("sh", &shell, &info).status, Some(0));
    // However little there is, no process ends by a signal.
    let mut named = 0;
    for kilobytes in [70_000, 150_000, 300_000, 500_000, 800_000, 1_200_000, 1_600_000, 2_400_000] {
        let script = format!("ulimit -c 0; ulimit -v {kilobytes}; exec \"$0\" \"$@\"");
        let outcome = under("sh", &["-c".to_owned(), script], &info);
        if outcome.status != Some(0) {
            assert_told(&outcome, "do not fit", "Give this process more memory");
            named += 1;
        }
    }
    assert!(named > 0, "there was always enough");
}

#[test]
fn damage_is_named_by_every_command_and_no_other_advice_follows_it() {
    let place = folder();
    let db = database(place.path());
    for table in tables(&db) {
        let middle = usize::try_from(table.metadata().unwrap().len() / 2).unwrap();
        flip(&table, middle);
        let mut bytes = fs::read(&table).unwrap();
        bytes.push(0);
        fs::write(&table, bytes).unwrap();
    }
    let (db, out) = (utf8(&db), place.path().join("archive"));
    let (out, dump_file) = (utf8(&out), place.path().join("dump"));
    fs::write(&dump_file, dump(&braid(300))).unwrap();
    let commands: [&[&str]; 8] = [
        &["info", "--db", db],
        &["stats", "--db", db],
        &["verify", "--db", db],
        &["serve", "--db", db, "--listen", "127.0.0.1:0"],
        &["follow", "http://127.0.0.1:1", "--db", db],
        &["export", "--db", db, "--out", out],
        &["replay", "--db", db, "--network", "development", utf8(&dump_file)],
        &["backup", "make", "--db", db],
    ];
    all_tell(&commands, "the database is damaged: ", "restore a backup");
    // What was just run is no advice.
    let outcome = run(["verify", "--db", db]);
    assert!(!outcome.err.contains("plait verify"), "{}", outcome.err);
}

#[test]
fn a_folder_that_this_user_may_not_read_is_never_absent() {
    let place = folder();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let db = database(place.path());
    let archive = place.path().join("archive");
    let (db, archive) = (utf8(&db), utf8(&archive));
    let made = run(["backup", "make", "--db", db]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    assert_eq!(run(["export", "--db", db, "--out", archive]).status, Some(0));
    let inner = place.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let config = inner.join("plait.yaml");
    fs::write(&config, "databaseDirectory: db\n").unwrap();
    let link = place.path().join("link");
    symlink(db, &link).unwrap();
    let own = place.path().join("own");
    fs::create_dir(&own).unwrap();
    if chown(&own, Some(NOBODY), Some(NOBODY)).is_err() {
        return say("skipped: no other user without the right to become one");
    }
    for closed in [db, archive, utf8(&inner)] {
        fs::set_permissions(closed, Permissions::from_mode(0o700)).unwrap();
    }
    let own = utf8(&own);
    let (new, rocks, backups) =
        (format!("{own}/new"), format!("{db}/0/rocksDb"), format!("{db}/backups"));
    let (config, dump_file) = (utf8(&config), utf8(&inner).to_owned() + "/dump");
    let commands: [&[&str]; 13] = [
        &["info", "--db", db],
        &["info", "--db", utf8(&link)],
        &["stats", "--db", db],
        &["verify", "--db", db],
        &["serve", "--db", db, "--listen", "127.0.0.1:0"],
        &["follow", "http://127.0.0.1:1", "--db", db],
        &["export", "--db", db, "--out", &new],
        &["replay", "--db", db, "--network", "development", "-"],
        &["backup", "make", "--db", db],
        &["backup", "list", "--backups", &backups],
        &["restore", "latest", "--backups", &backups, "--to", &new],
        &["verify", archive],
        &["serve", "--config", config],
    ];
    for args in commands {
        let Some(outcome) = run_as_nobody(args) else { return };
        say(&format!("causes: plait {}", args.join(" ")));
        assert_told(
            &outcome,
            "cannot be read by user nobody: Permission denied",
            "chown -R nobody",
        );
        assert!(!Path::new(&new).exists(), "a database or an archive was made");
    }
    // Inputs are left to whoever writes them.
    let replays: [&[&str]; 3] = [
        &["replay", "--db", &new, "--format", "node", &rocks],
        &["replay", "--db", &new, "--network", "development", &dump_file],
        &["replay", "--db", &new, "--network", "development", archive],
    ];
    for args in replays {
        let Some(outcome) = run_as_nobody(args) else { return };
        let what = "cannot be read by user nobody: Permission denied";
        assert_told(&outcome, what, "let this user read it: setfacl");
        assert!(!outcome.err.contains("chown"), "{}", outcome.err);
    }
    // And one that may be read but not written.
    fs::set_permissions(db, Permissions::from_mode(0o755)).unwrap();
    let serve = ["serve", "--db", db, "--listen", "127.0.0.1:0"];
    let Some(outcome) = run_as_nobody(&serve) else { return };
    assert_told(&outcome, "cannot be written by user nobody: Permission denied", "chown -R nobody");
}

#[test]
fn a_lock_a_missing_file_and_another_format_are_named() {
    let place = folder();
    let replayed = Replayed::new(NETWORK.name(), dump(&braid(3)), &[]);
    let server = Server::start(&replayed, &[]);
    let held = replayed.path();
    let dump_file = place.path().join("dump");
    fs::write(&dump_file, dump(&braid(2))).unwrap();
    let commands: [&[&str]; 3] = [
        &["replay", "--db", utf8(&held), "--network", "development", utf8(&dump_file)],
        &["serve", "--db", utf8(&held), "--listen", "127.0.0.1:0"],
        &["follow", "http://127.0.0.1:1", "--db", utf8(&held)],
    ];
    all_tell(&commands, "is in use by another process", "Stop the plait serve");
    drop(server);
    let (new, nothing) = (place.path().join("new"), place.path().join("nothing"));
    let (new, nothing) = (utf8(&new), utf8(&nothing));
    let missing = "nothing: No such file or directory (os error 2)";
    all_tell(&[&["replay", "--db", new, nothing]], missing, "no such file or folder exists");
    all_tell(&[&["push", "127.0.0.1:1", nothing]], missing, "no such file or folder exists");
    let checks: [&[&str]; 2] = [&["config", "check", nothing], &["serve", "--config", nothing]];
    all_tell(&checks, missing, "plait config print > FILE");
    all_tell(&[&["verify", nothing]], "no archive in", "Name the folder with manifest.json");
    put_meta(&held, "format", &[0, 0, 0, 9]);
    let opened: [&[&str]; 3] = [
        &["info", "--db", utf8(&held)],
        &["serve", "--db", utf8(&held), "--listen", "127.0.0.1:0"],
        &["replay", "--db", utf8(&held), utf8(&dump_file)],
    ];
    all_tell(&opened, "format version 9", "Use the release that made it");
}

#[test]
fn standard_output_that_is_full_is_not_the_database() {
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else {
        return say("skipped: no /dev/full");
    };
    let place = folder();
    let db = database(place.path());
    let made = run(["backup", "make", "--db", utf8(&db)]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let (archive, other) = (place.path().join("archive"), place.path().join("other"));
    let made = run(["export", "--db", utf8(&db), "--out", utf8(&archive)]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let commands: [&[&str]; 9] = [
        &["info", "--db", utf8(&db)],
        &["info", "--json", "--db", utf8(&db)],
        &["verify", "--json", "--db", utf8(&db)],
        &["verify", "--json", utf8(&archive)],
        &["replay", "--json", "--db", utf8(&other), utf8(&archive)],
        &["stats", "--db", utf8(&db)],
        &["config", "print"],
        &["backup", "list", "--db", utf8(&db)],
        &["generate", "--network", "development", "--heights", "3", "--out", "-"],
    ];
    for args in commands {
        let mut command = plait(args.iter().copied());
        command.stdout(full.try_clone().unwrap());
        let outcome = finish(command.spawn().unwrap());
        let what = "error: cannot write to standard output: No space left on device (os error 28)";
        assert_told(&outcome, what, "Write it to a file");
    }
}

#[test]
fn no_output_goes_into_a_database() {
    let place = folder();
    let db = database(place.path());
    let made = run(["backup", "make", "--db", utf8(&db)]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let link = place.path().join("link");
    symlink(&db, &link).unwrap();
    let before = listing(&db);
    let rocks = db.join("0/rocksDb");
    for inside in [rocks.clone(), rocks.join("new/deep"), link.join("0/new"), db.join("0/sqlite")] {
        let (db, inside) = (utf8(&db), utf8(&inside));
        let file = format!("{inside}/dump");
        let commands: [&[&str]; 7] = [
            &["export", "--db", db, "--out", inside],
            &["export", "--db", db, "--format", "parquet", "--out", inside],
            &["backup", "make", "--db", db, "--backups", inside],
            &["restore", "latest", "--db", db, "--to", inside],
            &["generate", "--network", "development", "--heights", "1", "--out", &file],
            &["serve", "--db", db, "--listen", "127.0.0.1:0", "--backups", inside],
            &["serve", "--db", db, "--listen", "127.0.0.1:0", "--archive", inside],
        ];
        all_tell(&commands, " is inside the database ", "outside of it");
    }
    let restore = ["restore", "latest", "--db", utf8(&db), "--to"];
    let beside = db.join("backups/new");
    let outcome = run(restore.into_iter().chain([utf8(&beside)]));
    assert_eq!(outcome.status, Some(2), "{}", outcome.err);
    assert_eq!(listing(&db), before, "something was written");
    // A database where old backups are deleted.
    let backups = place.path().join("backups");
    let inner = backups.join("1648665437000000");
    fs::create_dir(&backups).unwrap();
    fs::rename(&db, &inner).unwrap();
    let (inner, backups) = (utf8(&inner), utf8(&backups));
    let commands: [&[&str]; 2] = [
        &["backup", "make", "--db", inner, "--backups", backups],
        &["serve", "--db", inner, "--listen", "127.0.0.1:0", "--backups", backups],
    ];
    all_tell(&commands, "is in the folder of backups", "Move the database");
}

/// All paths below a folder.
fn listing(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(listing(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

#[test]
fn an_export_that_would_fill_the_disk_of_a_live_database_writes_nothing() {
    let Some(disk) = SmallDisk::mount(40 << 20) else {
        return say("skipped: no other disk without the right to mount one");
    };
    let db = database(disk.path());
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![0; 28 << 20]).unwrap();
    let export = |format: &str| {
        let out = disk.path().join(format);
        (run(["export", "--db", utf8(&db), "--out", utf8(&out), "--format", format]), out)
    };
    for format in ["archive", "parquet"] {
        let (outcome, out) = export(format);
        let (headline, next) = told(&outcome);
        assert!(headline.contains("bytes are needed"), "{headline}");
        assert!(next.contains("Nothing was written"), "{next}");
        assert!(!out.exists(), "the folder was left");
    }
    fs::remove_file(&filler).unwrap();
    for format in ["archive", "parquet"] {
        let (outcome, _) = export(format);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    }
}

#[test]
fn an_export_whose_disk_fills_meanwhile_leaves_nothing_of_its_own() {
    let place = folder();
    let db = database(place.path());
    let out = place.path().join("archive");
    let args = ["export", "--db", utf8(&db), "--out", utf8(&out)].map(str::to_owned);
    if !can_inject() {
        return;
    }
    for when in ["30+", "60+", "100+"] {
        let outcome = under("strace", &inject("write", "ENOSPC", when), &args);
        if outcome.status == Some(0) {
            continue;
        }
        // Without a file in it the folder is removed as well.
        let left = if out.exists() { listing(&out) } else { Vec::new() };
        let is_lock = |path: &PathBuf| path.metadata().unwrap().len() == 0;
        assert!(left.iter().all(is_lock), "{when}: {left:?}\n{}", outcome.err);
    }
    let outcome = run(args);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(run(["verify", "--level", "hash", utf8(&out)]).status, Some(0));
}
