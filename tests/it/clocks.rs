//! Clocks: of a machine that goes on while a pipe is read, and of one that is behind.

use std::io::{Cursor, Write};
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use plait_engine::archive::{self, Event as Checked};
use plait_engine::audit::{Audit, Event as Found};
use plait_engine::backup::{self, Backups, Origin, Restore};
use plait_engine::generate::{History as Generated, Plan};
use plait_engine::header::RawHeader;
use plait_engine::replay::source::Binary;
use plait_engine::replay::{Admission, Replay};
use plait_engine::store::History;
use plait_engine::verify::{Level, Verifier};
use plait_engine::{ChainwebVersion, Engine, Header, HeaderRef, Micros};
use tempfile::TempDir;
use testkit::archive::export;
use testkit::block::{braided, dump, sealed};
use testkit::process::{finish, plait, replay_command, run_with_input};

const NETWORK: ChainwebVersion = ChainwebVersion::Development;
static GO_ON: AtomicBool = AtomicBool::new(false);
const HOUR: i64 = 3_600_000_000;

fn history() -> Vec<Header> {
    Generated::new(&Plan::new(NETWORK, 10)).unwrap().collect()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

/// A block on top of a history, made then.
fn made_at(headers: &[Header], micros: i64) -> Header {
    let tips: Vec<HeaderRef<'_>> = headers[headers.len() - 20..].iter().map(Header::view).collect();
    let parent = *tips.iter().find(|tip| tip.chain().get() == 3).unwrap();
    let graph = parent.adjacents();
    let beside: Vec<HeaderRef<'_>> = graph
        .iter()
        .map(|(chain, _)| *tips.iter().find(|tip| tip.chain() == chain).unwrap())
        .collect();
    let block = braided(parent, beside.try_into().unwrap(), 5);
    sealed(RawHeader { creation_time: micros.into(), ..*block.view().raw() })
}

/// A database whose last block was made in an hour, by the clock of this machine.
fn database() -> (TempDir, usize) {
    let mut headers = history();
    headers.push(made_at(&headers, now() + HOUR));
    let db = tempfile::tempdir().unwrap();
    let (mut writer, _) = Engine::open_or_create(db.path(), Some(NETWORK), History::Full).unwrap();
    let verifier = Verifier::new(NETWORK, Level::Full, Micros::new(i64::MAX));
    let stop = AtomicBool::new(false);
    let mut replay = Replay::new(&mut writer, verifier, Admission::Genesis, true, &stop);
    let source = Binary::streamed("memory".to_owned(), Box::new(Cursor::new(dump(&headers))));
    let summary = replay.run(Box::new(source), &mut |_| ()).unwrap();
    assert_eq!(summary.stored, headers.len() as u64);
    replay.finish(&mut |_| ()).unwrap();
    (db, headers.len() + 20)
}

#[test]
fn a_block_that_comes_through_a_pipe_is_judged_by_the_clock_of_that_moment() {
    let headers = history();
    let db = tempfile::tempdir().unwrap();
    let first =
        run_with_input(replay_command(db.path(), ["--verify", "full", "-"]), dump(&headers));
    assert_eq!(first.status, Some(0), "{}", first.err);
    let mut command = replay_command(db.path(), ["--verify", "full", "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // What is there already, as a sign that the replay has begun: it reads these records.
    let again = dump(&headers);
    pipe.write_all(&again[..318 * 100]).unwrap();
    let fds = format!("/proc/{}/fd", child.id());
    let table = db.path().canonicalize().unwrap().join("0/rocksDb/LOCK");
    let has_opened = || {
        let links = std::fs::read_dir(&fds).unwrap().flatten();
        links.flat_map(|link| std::fs::read_link(link.path())).any(|path| path == table)
    };
    let start = Instant::now();
    while !has_opened() {
        assert!(start.elapsed() < Duration::from_mins(1), "the replay does not begin");
        thread::sleep(Duration::from_millis(5));
    }
    // Well behind any look at the clock while it began.
    thread::sleep(Duration::from_secs(2));
    let made = now();
    pipe.write_all(&again[318 * 100..]).unwrap();
    pipe.write_all(made_at(&headers, made).view().as_bytes()).unwrap();
    drop(pipe);
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(outcome.counts()[0], 1, "{}", outcome.err);
}

#[test]
fn a_clock_that_is_behind_condemns_no_block() {
    let (db, blocks) = database();
    let blocks = blocks as u64;
    let reader = Engine::open_read_only(db.path()).unwrap();
    // Before all blocks but the genesis blocks, and in the middle.
    let first = history()[0].view().creation_time().get() - 1;
    let middle = history()[99].view().creation_time().get();
    let (archived, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    export(&reader, archived.path(), 64);
    let backups = Backups::new(folder.path());
    let (id, _) = crate::backup::make(&backups, &Origin::Here(reader.clone()));
    for now in [first, middle].map(Micros::new) {
        let verifier = Verifier::new(NETWORK, Level::Full, now);
        let mut audit = Audit::new(&reader, &verifier);
        for as_stored in [false, true] {
            if as_stored {
                audit = audit.as_stored();
            }
            let report = audit_of(audit, &mut |found| {
                assert!(matches!(found, Found::Begin { .. } | Found::Progress(_)), "{found:?}");
            });
            assert!(report.is_sound());
            assert_eq!(report.blocks(), blocks);
            let future = headers_after(now);
            assert_eq!(report.future.blocks, future);
            assert!(report.future.ahead > 5 * 365 * 24 * HOUR.unsigned_abs());
            audit = Audit::new(&reader, &verifier);
        }
        let rules = |_: &archive::Manifest| verifier.clone();
        let report = archive::check(archived.path(), rules, &GO_ON, &mut |event| {
            assert!(matches!(event, Checked::Begin { .. } | Checked::Progress(_)), "{event:?}");
        });
        let report = report.unwrap();
        assert!(report.is_sound());
        assert_eq!((report.blocks(), report.future.blocks), (blocks, headers_after(now)));
        let (_, report) = backup::verify(&backups, &id, &GO_ON, now, &mut |_| ()).unwrap();
        assert_eq!(report.future.blocks, headers_after(now));
        let place = tempfile::tempdir().unwrap();
        let restore = Restore { id: id.clone(), to: place.path().join("db"), copy: false };
        restore.run(&backups, &GO_ON, now, &mut |_| ()).unwrap();
    }
}

fn audit_of(audit: Audit<'_>, tell: &mut dyn FnMut(&Found<'_>)) -> plait_engine::audit::Report {
    audit.run(&GO_ON, &mut |found| tell(&found)).unwrap()
}

/// Blocks of the history and the one on top that were made later.
fn headers_after(now: Micros) -> u64 {
    let later = history().into_iter().filter(|header| header.view().creation_time() > now);
    later.count() as u64 + 1
}

#[test]
fn commands_say_that_the_clock_is_to_be_checked_and_end_well() {
    let (db, _) = database();
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (backups, archive, to) = (path("backups"), path("archive"), path("db"));
    let db = db.path().to_str().unwrap();
    let run = |args: &[&str]| {
        let outcome = finish(plait(args).spawn().unwrap());
        assert_eq!(outcome.status, Some(0), "{args:?}: {}", outcome.err);
        outcome.err
    };
    run(&["backup", "make", "--db", db, "--backups", &backups]);
    run(&["export", "--db", db, "--out", &archive]);
    for args in [
        &["verify", "--db", db][..],
        &["verify", &archive],
        &["backup", "check", "--backups", &backups, "latest", "--verify"],
        &["restore", "--backups", &backups, "latest", "--to", &to],
    ] {
        let err = run(args);
        assert!(err.contains("1 blocks are dated after this machine's clock, by up to "), "{err}");
        assert!(err.contains("check the clock"), "{err}");
    }
}
