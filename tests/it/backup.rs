//! Backups: that a copy is a state of the database, whatever writes meanwhile and whenever a job is
//! cut off.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use plait_engine::backup::{
    BackupError, BackupId, Backups, Begun, Contents, Job, Origin, Request, Status, verify,
};
use plait_engine::generate::{History, Plan};
use plait_engine::store::Store;
use plait_engine::{Engine, Header, Micros};
use tempfile::TempDir;
use testkit::block::NETWORK;
use testkit::braid::braid_with_orphans;
use testkit::{Database, sorted, stored};

use crate::rocks::columns;

/// Never set.
static GO_ON: AtomicBool = AtomicBool::new(false);

const NOW: Micros = Micros::new(i64::MAX);

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A database with loose blocks, runs and orphans.
pub(crate) fn database() -> Database {
    let mut database = Database::empty();
    database.add(&braid_with_orphans(40, 3));
    database
}

pub(crate) fn here(database: &Database) -> Origin {
    Origin::Here(database.reader().clone())
}

pub(crate) fn begin(backups: &Backups) -> Job {
    match backups.begin().unwrap() {
        Begun::Started(job) => job,
        Begun::Running(id) => panic!("{id} runs"),
    }
}

/// Makes a backup; its name.
pub(crate) fn make(backups: &Backups, origin: &Origin) -> (BackupId, Contents) {
    let job = begin(backups);
    let id = job.id().clone();
    let contents = job.run(origin, Request::default(), &GO_ON).unwrap();
    assert_eq!(backups.status(&id).unwrap(), Some(Status::Done));
    (id, contents)
}

pub(crate) fn fail(
    backups: &Backups,
    origin: &Origin,
    request: Request,
) -> (BackupId, BackupError) {
    let job = begin(backups);
    let id = job.id().clone();
    let error = job.run(origin, request, &GO_ON).unwrap_err();
    assert_eq!(backups.status(&id).unwrap(), Some(Status::Failed));
    assert_eq!(names(&backups.path(&id)), ["error", "status"], "what it took is freed");
    (id, error)
}

/// What is in a folder.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = dir.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

fn assert_sound(backups: &Backups, id: &BackupId) {
    let (contents, report) = verify(backups, id, &GO_ON, NOW, &mut |_| ()).unwrap();
    assert_eq!(report.blocks(), contents.blocks);
}

#[test]
fn a_backup_holds_what_the_database_holds_in_the_layout_of_a_node() {
    let database = database();
    let backups = Backups::new(&database.path().join("backups"));
    let (id, contents) = make(&backups, &here(&database));
    let path = backups.path(&id);
    assert_eq!(names(&path), ["0", "contents.json", "status"]);
    assert_eq!(names(&path.join("0")), ["rocksDb"]);
    assert_eq!(fs::read_to_string(path.join("status")).unwrap(), "backup-done");
    assert!(columns(&path) == columns(database.path()), "another database");
    let held = stored(database.path());
    assert_eq!(stored(&path), held);
    assert_eq!(contents.blocks, held.len() as u64);
    assert_sound(&backups, &id);
    assert_eq!(names(backups.dir()), [".lock", id.as_str()], "nothing else is left");
}

#[test]
fn tables_of_a_backup_on_the_same_partition_are_links() {
    let mut database = Database::empty();
    let blocks = braid_with_orphans(200, 3);
    database.add(&blocks);
    let backups = Backups::new(&database.path().join("backups"));
    for origin in [here(&database), Origin::There(database.path().to_owned())] {
        let (id, contents) = make(&backups, &origin);
        let mut links = 0;
        for file in contents.files.iter().filter(|file| file.blake3.is_none()) {
            let copy = backups.path(&id).join(&file.path).metadata().unwrap();
            assert!(copy.nlink() > 1, "{} is a copy", file.path);
            links += 1;
        }
        assert!(links > 3, "{:?}", contents.files);
        let listed = backups.list().unwrap().pop().unwrap();
        assert!(listed.own_bytes < 100_000, "{} bytes are its own", listed.own_bytes);
    }
}

#[test]
fn a_table_that_another_process_is_writing_is_no_part_of_a_backup() {
    let database = database();
    let backups = Backups::new(&database.path().join("backups"));
    let growing = ["900001.sst", "900002.blob"].map(|name| Store::path(database.path()).join(name));
    for path in &growing {
        fs::write(path, "the first part").unwrap();
    }
    let (id, contents) = make(&backups, &Origin::There(database.path().to_owned()));
    for path in &growing {
        fs::write(path, "the first part, and the second").unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let file = contents.files.iter().find(|file| file.path.ends_with(&*name));
        assert_eq!(file, None);
        assert_eq!(path.metadata().unwrap().nlink(), 1, "{name} is linked");
    }
    assert_sound(&backups, &id);
    assert_eq!(names(&backups.path(&id).join("0")), ["rocksDb"]);
    assert_eq!(stored(&backups.path(&id)), stored(database.path()));
}

#[test]
fn a_backup_stays_as_it_is_while_the_database_goes_on() {
    let blocks = braid_with_orphans(60, 3);
    let mut database = Database::empty();
    database.add(&blocks[..600]);
    let backups = Backups::new(&database.path().join("backups"));
    let (first, _) = make(&backups, &here(&database));
    database.add(&blocks[600..]);
    let (second, _) = make(&backups, &here(&database));
    let database = database.reopen();
    assert_eq!(stored(&backups.path(&first)), sorted(&blocks[..600]));
    assert_eq!(stored(&backups.path(&second)), sorted(&blocks));
    assert_eq!(stored(database.path()), sorted(&blocks));
    assert_sound(&backups, &first);
    assert_sound(&backups, &second);
}

/// Blocks of a history, some at a time, one batch after the other until `stop`.
fn write_all(database: &mut Database, blocks: &[Header], batch: usize, stop: &AtomicBool) {
    for some in blocks.chunks(batch) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        database.add(some);
    }
}

/// Makes backups while a writer is at work; each must be the beginning of what was written.
fn backed_up_while_written(batch: usize, of: impl Fn(&Database) -> Origin) {
    let plan = Plan { forks: 0.05, fork_depth: 6, ..Plan::new(NETWORK, 4000) };
    let blocks: Vec<Header> = History::new(&plan).unwrap().collect();
    let mut database = Database::empty();
    database.add(&blocks[..200]);
    let (origin, dir) = (of(&database), folder());
    let beside = database.path().join("backups");
    let backups = Backups::new(if batch == 1 { dir.path() } else { &beside });
    let stop = AtomicBool::new(false);
    let ids: Vec<BackupId> = thread::scope(|scope| {
        let writer = scope.spawn(|| write_all(&mut database, &blocks[200..], batch, &stop));
        let ids = (0..12).map(|_| make(&backups, &origin).0).collect();
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        ids
    });
    let mut sizes = Vec::new();
    for id in &ids {
        assert_sound(&backups, id);
        let held = stored(&backups.path(id));
        assert!(held.len() >= 200);
        assert_eq!(held, sorted(&blocks[..held.len()]), "not what was written first");
        sizes.push(held.len());
    }
    assert!(sizes.is_sorted(), "{sizes:?}");
}

#[test]
fn a_backup_beside_a_writer_is_one_moment() {
    backed_up_while_written(37, here);
}

#[test]
fn a_backup_of_a_database_that_is_open_elsewhere_is_one_moment() {
    backed_up_while_written(37, |database| Origin::There(database.path().to_owned()));
}

#[test]
fn who_opens_it_to_read_beside_a_writer_never_sees_less_than_before() {
    let plan = Plan { forks: 0.05, fork_depth: 6, ..Plan::new(NETWORK, 150) };
    let blocks: Vec<Header> = History::new(&plan).unwrap().collect();
    let mut database = Database::empty();
    let (path, stop) = (database.path().to_owned(), AtomicBool::new(false));
    let (dir, mut seen) = (folder(), 0);
    let backups = Backups::new(dir.path());
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for some in blocks.chunks(50) {
                database.add(some);
                // What the log has goes to tables, and the log is deleted.
                make(&backups, &here(&database));
            }
            stop.store(true, Ordering::Relaxed);
        });
        while !stop.load(Ordering::Relaxed) && !writer.is_finished() {
            let view = Engine::open_read_only(&path).unwrap().view();
            let held = view.total_block_count();
            assert!(held >= seen, "{held} blocks after {seen}");
            seen = held;
        }
    });
    assert_eq!(stored(&path).len(), blocks.len());
}

#[test]
fn one_job_runs_at_a_time() {
    let database = database();
    let dir = folder();
    let (backups, others) = (Backups::new(dir.path()), Backups::new(dir.path()));
    let job = begin(&backups);
    let id = job.id().clone();
    for backups in [&backups, &others] {
        assert!(matches!(backups.begin().unwrap(), Begun::Running(running) if running == id));
        assert_eq!(backups.running().unwrap(), Some(id.clone()));
        assert_eq!(backups.status(&id).unwrap(), Some(Status::InProgress));
        let listed = backups.list().unwrap();
        assert_eq!((listed.len(), listed[0].status), (1, Status::InProgress));
    }
    job.run(&here(&database), Request::default(), &GO_ON).unwrap();
    assert_eq!(others.running().unwrap(), None);
    assert_eq!(others.status(&id).unwrap(), Some(Status::Done));
    let (next, _) = make(&others, &here(&database));
    assert!(next > id, "{next} is not after {id}");
}

#[test]
fn a_job_that_was_cut_off_has_failed() {
    let database = database();
    let dir = folder();
    let backups = Backups::new(dir.path());
    let (good, _) = make(&backups, &here(&database));
    // As a crash leaves it: while files were written, before the name, before the status.
    let early: BackupId = "1700000000000001".parse().unwrap();
    let named: BackupId = "1700000000000002".parse().unwrap();
    let bare: BackupId = "1700000000000003".parse().unwrap();
    let (draft, path) = (dir.path().join(format!(".{early}.tmp")), backups.path(&named));
    for at in [&draft, &path] {
        fs::create_dir_all(at.join("0/rocksDb")).unwrap();
        fs::write(at.join("0/rocksDb/000001.sst"), "table").unwrap();
        fs::write(at.join("status"), "backup-in-progress").unwrap();
    }
    fs::create_dir(dir.path().join(format!(".{bare}.tmp"))).unwrap();
    fs::create_dir(dir.path().join(".1700000000000000.old")).unwrap();
    for id in [&early, &named, &bare] {
        assert_eq!(backups.status(id).unwrap(), Some(Status::Failed), "{id}");
    }
    assert!(draft.join("0").exists(), "looking changes nothing");
    let (next, _) = make(&backups, &here(&database));
    for id in [&early, &named, &bare] {
        assert_eq!(backups.status(id).unwrap(), Some(Status::Failed), "{id}");
        assert_eq!(names(&backups.path(id)), ["error", "status"]);
    }
    let [first, second, third] = [&early, &named, &bare].map(ToString::to_string);
    let left = [".lock", &first, &second, &third, good.as_str(), next.as_str()];
    assert_eq!(names(dir.path()), left);
    assert_sound(&backups, &good);
    let cause = backups.list().unwrap()[0].cause.clone().unwrap();
    assert!(cause.contains("the process ended"), "{cause}");
}

#[test]
fn a_job_that_is_dropped_or_stopped_has_failed() {
    let database = database();
    let dir = folder();
    let backups = Backups::new(dir.path());
    let job = begin(&backups);
    let id = job.id().clone();
    drop(job);
    assert_eq!(backups.status(&id).unwrap(), Some(Status::Failed));
    let job = begin(&backups);
    let id = job.id().clone();
    let stop = AtomicBool::new(true);
    let error = job.run(&here(&database), Request::default(), &stop).unwrap_err();
    assert!(matches!(error, BackupError::Stopped), "{error}");
    assert_eq!(backups.status(&id).unwrap(), Some(Status::Failed));
    let cause = backups.list().unwrap()[1].cause.clone();
    assert_eq!(cause.as_deref(), Some("stopped before the end"));
}

#[test]
fn a_job_is_in_progress_until_it_is_done_whenever_one_looks() {
    let database = database();
    let dir = folder();
    let backups = Backups::new(dir.path());
    for _ in 0..30 {
        let job = begin(&backups);
        let id = job.id().clone();
        let seen = thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let mut seen = vec![Status::InProgress];
                while *seen.last().unwrap() != Status::Done {
                    let status = backups.status(&id).unwrap().unwrap();
                    if status != *seen.last().unwrap() {
                        seen.push(status);
                    }
                    assert!(seen.len() < 10, "{seen:?}");
                }
                seen
            });
            job.run(&here(&database), Request::default(), &GO_ON).unwrap();
            looking.join().unwrap()
        });
        assert_eq!(seen, [Status::InProgress, Status::Done]);
    }
}

#[test]
fn what_is_no_backup_has_no_status() {
    let dir = folder();
    let backups = Backups::new(&dir.path().join("backups"));
    let id: BackupId = "1648665437000".parse().unwrap();
    assert_eq!(backups.status(&id).unwrap(), None);
    assert!(backups.list().unwrap().is_empty());
    assert!(!backups.dir().exists(), "looking makes nothing");
    fs::create_dir_all(backups.path(&id)).unwrap();
    assert_eq!(backups.status(&id).unwrap(), None, "a folder without a status");
    assert!(backups.list().unwrap().is_empty());
    // As a node leaves it.
    fs::write(backups.path(&id).join("status"), "backup-done").unwrap();
    assert_eq!(backups.status(&id).unwrap(), Some(Status::Done));
    let listed = backups.list().unwrap();
    assert_eq!((listed.len(), listed[0].contents.is_none()), (1, true));
}

#[test]
fn as_many_backups_are_kept_as_asked() {
    let database = database();
    let dir = folder();
    let backups = Backups::new(dir.path());
    let foreign: BackupId = "before-the-move".parse().unwrap();
    fs::create_dir(backups.path(&foreign)).unwrap();
    fs::write(backups.path(&foreign).join("status"), "backup-done").unwrap();
    let keep = |keep| {
        let job = begin(&backups);
        let id = job.id().clone();
        job.run(&here(&database), Request { pact: false, keep }, &GO_ON).unwrap();
        id
    };
    let ids = [keep(None), keep(None), keep(None)];
    drop(begin(&backups));
    assert_eq!(backups.list().unwrap().len(), 5);
    // One that is being read stays.
    let held = fs::File::open(backups.path(&ids[0]).join("status")).unwrap();
    held.lock_shared().unwrap();
    let newest = keep(Some(2));
    let left: Vec<BackupId> = backups.list().unwrap().into_iter().map(|listed| listed.id).collect();
    assert_eq!(left.len(), 5, "{left:?}");
    assert!(left.contains(&ids[0]) && left.contains(&ids[2]) && left.contains(&newest));
    assert!(left.contains(&foreign) && !left.contains(&ids[1]));
    drop(held);
    // Whatever was asked for, the newest that is done stays, also where the last job failed.
    let newest = keep(Some(0));
    let left: Vec<BackupId> = backups.list().unwrap().into_iter().map(|listed| listed.id).collect();
    assert_eq!(left, [foreign, newest]);
}

#[test]
fn a_backup_that_is_made_after_the_clock_was_set_back_is_the_newest() {
    let database = database();
    let dir = folder();
    let backups = Backups::new(dir.path());
    let make = || {
        let job = begin(&backups);
        let id = job.id().clone();
        job.run(&here(&database), Request { pact: false, keep: Some(1) }, &GO_ON).unwrap();
        id
    };
    // A day ahead.
    let early: BackupId = (make().micros().unwrap() + 86_400_000_000).to_string().parse().unwrap();
    fs::rename(backups.path(&backups.list().unwrap()[0].id), backups.path(&early)).unwrap();
    let late = make();
    let left: Vec<BackupId> = backups.list().unwrap().into_iter().map(|listed| listed.id).collect();
    assert_eq!(left, std::slice::from_ref(&late));
    assert_eq!(late.micros(), early.micros().map(|micros| micros + 1));
}

/// A file of a backup whose name ends with `end`.
fn some_file(backups: &Backups, id: &BackupId, end: &str) -> PathBuf {
    let dir = Store::path(&backups.path(id));
    let name = names(&dir).into_iter().find(|name| name.ends_with(end) || name.starts_with(end));
    dir.join(name.unwrap_or_else(|| panic!("no {end} in {:?}", names(&dir))))
}

#[test]
fn verification_finds_what_was_changed() {
    let mut database = Database::empty();
    database.add(&braid_with_orphans(200, 3));
    let dir = folder();
    let backups = Backups::new(dir.path());
    for (end, what) in
        [(".sst", "bytes, not"), ("MANIFEST", "bytes, not"), ("CURRENT", "bytes, not")]
    {
        let (id, _) = make(&backups, &here(&database));
        let path = some_file(&backups, &id, end);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let found = |text: &str| {
            let error = verify(&backups, &id, &GO_ON, NOW, &mut |_| ()).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        };
        found("is not there");
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        found(what);
        fs::write(&path, &bytes).unwrap();
        assert_sound(&backups, &id);
        if end != ".sst" {
            let mut other = bytes.clone();
            other[0] ^= 1;
            fs::write(&path, other).unwrap();
            found("does not match its checksum");
            fs::write(&path, &bytes).unwrap();
        }
        fs::write(path.with_file_name("000000.sst"), "more").unwrap();
        found("is not among the contents");
    }
}

#[test]
fn a_database_in_a_read_only_place_can_be_looked_through() {
    let database = database();
    let dir = folder();
    let backups = Backups::new(dir.path());
    let (id, _) = make(&backups, &here(&database));
    let before: Vec<_> = names(&Store::path(&backups.path(&id)));
    assert_sound(&backups, &id);
    assert_eq!(names(&Store::path(&backups.path(&id))), before, "verification writes nothing");
    let reader = Engine::open_read_only(&backups.path(&id)).unwrap();
    assert_eq!(reader.version(), NETWORK);
}
