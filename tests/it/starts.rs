//! Blocks that are admitted without the blocks below them, and what comes of those that lie about these.

use std::io::Cursor;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use plait_engine::audit::Audit;
use plait_engine::generate::{History as Generated, Plan};
use plait_engine::header::RawHeader;
use plait_engine::push::{Outcome as Pushed, Pusher};
use plait_engine::replay::source::Binary;
use plait_engine::replay::{Admission, Event, Replay, Summary};
use plait_engine::verify::{Level, Verifier};
use plait_engine::{ChainwebVersion, Engine, Header, Micros, Target, Weight};
use testkit::block::{dump, sealed};
use testkit::process::{Outcome, plait, replay_command, run_with_input};
use testkit::{sorted, stored};

const NETWORK: ChainwebVersion = ChainwebVersion::Development;
const LATER: Micros = Micros::new(i64::MAX);

/// Blocks of heights 1 to 14, without the genesis blocks.
fn history() -> Vec<Header> {
    Generated::new(&Plan::new(NETWORK, 14)).unwrap().collect()
}

fn heights(headers: &[Header], from: u64, to: u64) -> Vec<Header> {
    let fits = |header: &&Header| (from..=to).contains(&header.view().height().get());
    headers.iter().filter(fits).copied().collect()
}

/// The block of chain 3 at height 13, with something changed and the hash that it then has.
fn forged(headers: &[Header], change: impl FnOnce(&mut RawHeader)) -> Header {
    let is_it = |header: &&Header| {
        let header = header.view();
        header.chain().get() == 3 && header.height().get() == 13
    };
    let mut raw = *headers.iter().find(is_it).unwrap().view().raw();
    change(&mut raw);
    sealed(raw)
}

fn lower(raw: &mut RawHeader) {
    raw.height = 1.into();
}

fn heavier(raw: &mut RawHeader) {
    raw.weight[31] = 0x7F;
}

/// A target of its own, and the weight that goes with it.
fn easier(raw: &mut RawHeader) {
    let (target, weight) = (Target::from_le(raw.target).get(), Weight::from_le(raw.weight).get());
    let max = target | !target;
    let easier = target >> 1;
    raw.target = Target::new(easier).to_le();
    raw.weight = Weight::new(weight - max / target + max / easier).to_le();
}

fn command(db: &Path, in_order: bool, keep_going: bool) -> std::process::Command {
    let from = if in_order { "0" } else { "18446744073709551615" };
    let flags = ["--verify", "full", "--allow-partial", "--in-order-from", from, "-"];
    replay_command(db, flags.into_iter().chain(keep_going.then_some("--keep-going")))
}

fn replay(db: &Path, in_order: bool, headers: &[Header]) -> Outcome {
    run_with_input(command(db, in_order, true), dump(headers))
}

fn run(args: &[&str]) -> Outcome {
    testkit::process::run(args)
}

fn verify(db: &Path) -> Outcome {
    testkit::process::finish(plait(["verify", "--db"]).arg(db).spawn().unwrap())
}

#[test]
fn a_block_whose_parent_comes_with_it_at_another_height_is_not_admitted() {
    let headers = history();
    let forged = forged(&headers, lower);
    // With and without genesis blocks below; what has none waits until all is read.
    for from in [1, 3] {
        let honest = heights(&headers, from, 14);
        let mut first = honest.clone();
        first.insert(0, forged);
        let mut last = honest.clone();
        last.push(forged);
        // What comes before a bad record is stored in any case.
        for (headers, keep_going) in [(&first, true), (&last, true), (&last, false)] {
            for in_order in [true, false] {
                let db = tempfile::tempdir().unwrap();
                let command = command(db.path(), in_order, keep_going);
                let outcome = run_with_input(command, dump(headers));
                outcome.assert_fails(1, &["IncorrectHeight: height is 1", &forged_name(&forged)]);
                assert_eq!(outcome.counts()[2], 1, "{}", outcome.err);
                assert_eq!(stored(db.path()), sorted(&honest));
                let verified = verify(db.path());
                assert_eq!(verified.status, Some(0), "{}", verified.err);
            }
        }
    }
}

fn forged_name(header: &Header) -> String {
    format!("block {}", header.view().hash())
}

#[test]
fn a_block_whose_parent_comes_later_and_shows_that_it_is_wrong_is_reported() {
    let headers = history();
    let forgeries = [
        (forged(&headers, lower), "IncorrectHeight"),
        (forged(&headers, heavier), "IncorrectWeight"),
        (forged(&headers, easier), "IncorrectTarget"),
    ];
    for (forged, rule) in forgeries {
        for in_order in [true, false] {
            let db = tempfile::tempdir().unwrap();
            let mut below = heights(&headers, 3, 9);
            below.push(forged);
            let outcome = replay(db.path(), in_order, &below);
            assert_eq!(outcome.status, Some(0), "{}", outcome.err);
            let verified = verify(db.path());
            assert_eq!(verified.status, Some(0), "{}", verified.err);
            let above = heights(&headers, 10, 14);
            let outcome = replay(db.path(), in_order, &above);
            let texts = [rule, &forged_name(&forged), "stored without the blocks below it"];
            outcome.assert_fails(1, &texts);
            assert_eq!(outcome.counts(), [above.len() as u64, 0, 1], "{rule}: {}", outcome.err);
            let all = heights(&headers, 3, 14);
            assert_eq!(stored(db.path()), sorted(all.iter().chain([&forged])));
            verify(db.path()).assert_fails(1, &[rule, "1 broken"]);
            // What was asked of it when it was stored, it still passes.
            assert_backup_restores(db.path());
        }
    }
}

fn assert_backup_restores(db: &Path) {
    let place = tempfile::tempdir().unwrap();
    let (backups, to) = (place.path().join("backups"), place.path().join("db"));
    let [db, backups, to] = [db, &backups, &to].map(|path| path.to_str().unwrap());
    let made = run(&["backup", "make", "--db", db, "--backups", backups]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let restored = run(&["restore", "--backups", backups, "latest", "--to", to]);
    assert_eq!(restored.status, Some(0), "{}", restored.err);
}

#[test]
fn what_is_admitted_and_right_stays_so_when_the_rest_comes_in_any_order() {
    let headers = history();
    let parts = [heights(&headers, 9, 14), heights(&headers, 5, 8), heights(&headers, 1, 4)];
    for in_order in [true, false] {
        let db = tempfile::tempdir().unwrap();
        for part in &parts {
            let outcome = replay(db.path(), in_order, part);
            assert_eq!(outcome.status, Some(0), "{}", outcome.err);
            let verified = verify(db.path());
            assert_eq!(verified.status, Some(0), "{}", verified.err);
        }
        assert_eq!(stored(db.path()), sorted(&headers));
        assert_backup_restores(db.path());
    }
}

/// A database of heights 3 to 9 and of this block.
fn with_start(forged: &Header, headers: &[Header]) -> tempfile::TempDir {
    let db = tempfile::tempdir().unwrap();
    let mut below = heights(headers, 3, 9);
    below.push(*forged);
    let outcome = replay(db.path(), false, &below);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    db
}

fn broken(db: &Path, as_stored: bool) -> u64 {
    let reader = Engine::open_read_only(db).unwrap();
    let verifier = Verifier::new(NETWORK, Level::Full, LATER);
    let audit = Audit::new(&reader, &verifier);
    let audit = if as_stored { audit.as_stored() } else { audit };
    let report = audit.run(&AtomicBool::new(false), &mut |_| ()).unwrap();
    assert_eq!(report.flaws, 0);
    report.broken
}

#[test]
fn blocks_that_are_pushed_are_stored_though_they_show_that_an_older_one_is_wrong() {
    let headers = history();
    for change in [lower, heavier, easier] {
        let forged = forged(&headers, change);
        let db = with_start(&forged, &headers);
        let (writer, _) = Engine::open(db.path()).unwrap();
        let mut pusher = Pusher::new(writer, Level::Full, true);
        let above: Vec<_> =
            heights(&headers, 10, 14).iter().map(|h| (*h.view().raw()).into()).collect();
        let outcomes = pusher.push(&above, LATER).unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Pushed::Stored(_))));
        drop(pusher);
        assert_eq!((broken(db.path(), false), broken(db.path(), true)), (1, 0));
    }
}

#[test]
fn a_follower_does_not_blame_its_node_for_what_it_had_before() {
    let headers = history();
    let forged = forged(&headers, lower);
    let db = with_start(&forged, &headers);
    let (mut writer, _) = Engine::open(db.path()).unwrap();
    let verifier = Verifier::new(NETWORK, Level::Full, LATER);
    let stop = AtomicBool::new(false);
    let mut replay =
        Replay::new(&mut writer, verifier, Admission::Genesis, false, &stop).connected();
    let above = heights(&headers, 10, 14);
    let input = Box::new(Cursor::new(dump(&above)));
    let source = Binary::streamed("node".to_owned(), input);
    let none = |event: Event<'_>| assert!(!matches!(event, Event::Rejected(_)), "{event:?}");
    let summary: Summary = replay.run(Box::new(source), &mut { none }).unwrap();
    assert_eq!((summary.stored, summary.rejected), (above.len() as u64, 0));
    drop(writer);
    assert_eq!((broken(db.path(), false), broken(db.path(), true)), (1, 0));
}

#[test]
fn an_empty_partial_database_is_not_filled_without_the_flag() {
    let headers = history();
    let db = tempfile::tempdir().unwrap();
    let mut wrong = *headers[0].view().raw();
    wrong.nonce = 7.into();
    let wrong = Header::new(wrong).unwrap();
    replay(db.path(), false, &[wrong]).assert_fails(1, &["IncorrectHash"]);
    let full = || replay_command(db.path(), ["--verify", "full", "-"]);
    let texts = ["is empty and was created for a partial history", "--allow-partial"];
    run_with_input(full(), dump(&headers)).assert_fails(2, &texts);
    let outcome = replay(db.path(), false, &headers);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    // Now that there is something, blocks above it are stored.
    let outcome = run_with_input(full(), dump(&headers));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
}
