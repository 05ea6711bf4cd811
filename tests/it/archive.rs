//! Archives: what is in them, that nothing but the blocks decides it, and the way there and back.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use plait_engine::archive::{Export, Manifest, Reader};
use plait_engine::generate::{History, Plan};
use plait_engine::{BlockHeight, ChainId, Engine, Header, HeaderRef};
use proptest::prelude::*;
use tempfile::TempDir;
use testkit::archive::{assert_holds, export, files, has_extension, read_all};
use testkit::block::{NETWORK, dump, root};
use testkit::braid::{braid, braid_with_orphans};
use testkit::drawing::Drawing;
use testkit::forest::{forest, shuffled};
use testkit::process::{Outcome, replay, replay_file, run};
use testkit::{Database, sorted, stored};

use crate::full::real;
use crate::rocks::columns;

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A history with forks, of all chains, without genesis blocks.
fn history(heights: u64) -> Vec<Header> {
    let plan = Plan { forks: 0.05, fork_depth: 9, ..Plan::new(NETWORK, heights) };
    History::new(&plan).unwrap().collect()
}

pub(crate) fn plait_export(db: &Path, out: &Path, rest: &[&str]) -> Outcome {
    let args = ["export", "--db", db.to_str().unwrap(), "--out", out.to_str().unwrap()];
    run([&args, rest].concat())
}

pub(crate) fn verify(archive: &Path, rest: &[&str]) -> Outcome {
    run([&["verify", archive.to_str().unwrap()], rest].concat())
}

fn exported(db: &Path, rest: &[&str]) -> TempDir {
    let archive = folder();
    let outcome = plait_export(db, archive.path(), rest);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    archive
}

/// The counts that `plait export --json` prints.
fn counts(outcome: &Outcome) -> BTreeMap<String, u64> {
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    serde_json::from_str(&outcome.out).unwrap()
}

fn assert_sound(archive: &Path) {
    let outcome = verify(archive, &[]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert!(outcome.err.contains(" 0 damaged") && outcome.err.contains(" 0 broken"));
}

#[test]
fn a_database_exported_verified_and_replayed_back_is_the_same() {
    let blocks = history(300);
    let db = folder();
    let outcome = replay_file(db.path(), &["--verify", "full"], "dump", &dump(&blocks));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let archive = exported(db.path(), &["--file-heights", "64"]);
    assert_sound(archive.path());
    let outcome = verify(archive.path(), &[]);
    let count = stored(db.path()).len();
    assert!(outcome.err.contains(&format!("{count} fully, 0 at level hash")), "{}", outcome.err);
    let back = folder();
    let full = ["--verify".as_ref(), "full".as_ref()];
    let outcome = replay(back.path(), full.into_iter().chain([archive.path().as_os_str()]));
    assert_eq!(outcome.counts(), [blocks.len() as u64, 20, 0], "the genesis blocks were there");
    assert!(columns(back.path()) == columns(db.path()), "another database");
    let again = exported(back.path(), &["--file-heights", "64"]);
    assert!(files(again.path()) == files(archive.path()), "another archive");
}

#[test]
fn only_the_blocks_decide_what_is_written() {
    let blocks = history(90);
    let mut first = None;
    for (sealing, order) in [((4, 5), 0), ((16, 40), 1), ((1, 1), 2), ((256, 1000), 3), ((8, 3), 2)]
    {
        let mut database = Database::sealing(sealing.0, sealing.1);
        let mut blocks = blocks.clone();
        match order {
            1 => blocks.reverse(),
            2 => blocks.sort_by_key(|block| block.view().hash()),
            3 => blocks = sorted(&blocks),
            _ => {}
        }
        for some in blocks.chunks(if order == 0 { 50 } else { 1000 }) {
            database.add(some);
        }
        let archive = folder();
        export(database.reader(), archive.path(), 16);
        assert_holds(archive.path(), &blocks);
        let first = first.get_or_insert_with(|| files(archive.path()));
        assert!(*first == files(archive.path()), "sealing {sealing:?}, order {order}");
    }
}

#[test]
fn histories_that_begin_anywhere_and_have_gaps_are_exported_whole() {
    let mut drawing = Drawing::default();
    let main = (31..=90).fold("30".to_owned(), |path, height| format!("{path}-{height}"));
    let side = (41..=80).fold("40".to_owned(), |path, height| format!("{path}-{height}b"));
    let blocks = drawing.draw(&format!("{main} {side} 5c-6c-7c 3d 33-34e 88-89f-90f-91f"));
    // Far above everything, and on another chain.
    let far = root(ChainId::new(3), BlockHeight::new(1 << 40), 7, 7);
    let high = root(ChainId::new(4), BlockHeight::new(u64::MAX), 7, 7);
    for sealing in [(4, 5), (4, 1000), (2, 20)] {
        let mut database = Database::sealing(sealing.0, sealing.1);
        let mut held: Vec<Header> = Vec::new();
        for some in [&blocks[..40], &blocks[40..], &[far, high]] {
            database.add(some);
            held.extend(some);
            let archive = folder();
            export(database.reader(), archive.path(), 16);
            assert_holds(archive.path(), &held);
            assert_eq!(sorted(&read_all(archive.path())), sorted(&held));
            let outcome = verify(archive.path(), &["--level", "hash"]);
            assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        }
    }
}

#[test]
fn a_cut_that_leaves_the_trunk_below_its_end_makes_orphans_of_the_rest() {
    let mut drawing = Drawing::default();
    let path = |from: &str, heights: std::ops::RangeInclusive<u64>, letter: &str| {
        heights.fold(from.to_owned(), |path, height| format!("{path}-{height}{letter}"))
    };
    let mut held = drawing.draw(&path("0", 1..=60, ""));
    let mut database = Database::sealing(4, 2);
    database.add(&held);
    let mut seen = Vec::new();
    // A branch from far below grows over the tip and a little more, one block at a time.
    for block in drawing.draw(&path("20", 21..=70, "a")) {
        database.add([&block]);
        held.push(block);
        let view = database.reader().view();
        seen.push((view.sealed_count(ChainId::new(0)), view.tip(ChainId::new(0)).unwrap().height));
        let archive = folder();
        export(database.reader(), archive.path(), 8);
        assert_holds(archive.path(), &held);
    }
    let high = BlockHeight::new(61);
    assert!(seen.iter().any(|(sealed, tip)| *sealed > 40 && *tip >= high), "{seen:?}");
}

#[test]
fn empty_databases_make_empty_archives() {
    let database = Database::empty();
    let archive = folder();
    let summary = export(database.reader(), archive.path(), 16);
    assert_eq!((summary.files, summary.records), (0, 0));
    assert_sound(archive.path());
    assert!(read_all(archive.path()).is_empty());
    let genesis = Database::with_genesis();
    let archive = folder();
    assert_eq!(export(genesis.reader(), archive.path(), 16).files, 20);
    assert_holds(archive.path(), &NETWORK.genesis_headers().collect::<Vec<_>>());
    assert_sound(archive.path());
}

#[test]
fn parents_come_before_their_children_and_a_reader_may_begin_higher() {
    let mut database = Database::with_genesis();
    database.add(&history(60));
    let archive = folder();
    export(database.reader(), archive.path(), 16);
    let all = read_all(archive.path());
    assert!(all.is_sorted_by_key(|block| block.view().height()));
    for from in [0, 1, 15, 16, 17, 59, 60, 61, 1000] {
        let from = BlockHeight::new(from);
        let mut reader = Reader::open(archive.path(), from, false).unwrap();
        let mut rest = Vec::new();
        while let Some(records) = reader.next_records(7).unwrap() {
            let headers =
                records.bytes.chunks(318).map(|b| HeaderRef::parse(b).unwrap().to_owned());
            for (header, place) in headers.zip(&records.places) {
                let entry = &reader.manifest().files[place.file];
                assert_eq!(entry.chain, header.view().chain());
                let name = format!("{}, record {}", entry.name(), place.record);
                assert_eq!(reader.name(*place), name);
                rest.push(header);
            }
        }
        let expected: Vec<Header> =
            all.iter().filter(|block| block.view().height() >= from).copied().collect();
        assert!(rest == expected, "from {from}");
        assert_eq!(reader.position(), reader.size());
    }
}

#[test]
fn a_later_export_writes_what_is_new_and_leaves_the_rest() {
    let blocks = braid_with_orphans(70, 7);
    let (low, rest) = blocks.split_at(20 * 40);
    let (db, archive) = (folder(), folder());
    let grow = |blocks: &[Header]| {
        let outcome = replay_file(db.path(), &[], "dump", &dump(blocks));
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    };
    grow(low);
    let heights = ["--file-heights", "16", "--json"];
    let first = counts(&plait_export(db.path(), archive.path(), &heights));
    assert_eq!((first["written"], first["unread"], first["stale"]), (first["files"], 0, 0));
    let before = files(archive.path());
    let same = counts(&plait_export(db.path(), archive.path(), &["--json"]));
    assert_eq!((same["written"], same["files"]), (0, first["files"]));
    assert!(same["unread"] >= 20 * 2, "{same:?}");
    assert!(files(archive.path()) == before);
    grow(rest);
    let later = counts(&plait_export(db.path(), archive.path(), &["--json"]));
    // The two lowest ranges are full; the third one grew.
    assert!(later["unread"] >= 20 * 2 && later["stale"] >= 20, "{later:?}");
    let after = files(archive.path());
    for (name, bytes) in before.iter().filter(|(name, _)| has_extension(name, "plait")) {
        assert!(after.get(name) == Some(bytes), "{name} changed");
    }
    assert_sound_but(archive.path(), "is not in the manifest");
    let pruned = counts(&plait_export(db.path(), archive.path(), &["--json", "--prune"]));
    assert_eq!(pruned["removed"], later["stale"]);
    assert!(files(archive.path()) == files(exported(db.path(), &heights).path()));
    // An orphan that comes late for a low range makes another file of orphans, and no other one.
    let late = testkit::block::sibling(blocks[20 * 3].view(), 9);
    grow(&[late]);
    let counts = counts(&plait_export(db.path(), archive.path(), &["--json", "--prune"]));
    assert_eq!((counts["written"], counts["removed"]), (1, counts["removed"]));
    assert_holds(archive.path(), &stored(db.path()));
}

/// Sound at level hash, which is what drawn orphans are, and with this note.
fn assert_sound_but(archive: &Path, note: &str) {
    let outcome = verify(archive, &["--level", "hash"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert!(outcome.err.contains(note), "{}", outcome.err);
}

#[test]
fn what_was_not_hashed_is_read_again() {
    let blocks = braid(40);
    let (db, archive) = (folder(), folder());
    let outcome = replay_file(db.path(), &["--verify", "none"], "dump", &dump(&blocks));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let flags = ["--file-heights", "16", "--json"];
    counts(&plait_export(db.path(), archive.path(), &flags));
    let again = counts(&plait_export(db.path(), archive.path(), &flags));
    assert_eq!((again["written"], again["unread"]), (0, 0));
    // The same blocks with one that is not what its hash says; the hashes are the same.
    let mut bytes = dump(&blocks);
    let at = 20 * 5 * 318;
    bytes[at + 278] ^= 1;
    let other = folder();
    replay_file(other.path(), &["--verify", "none"], "dump", &bytes);
    let wrong = counts(&plait_export(other.path(), archive.path(), &flags));
    assert_eq!(wrong["written"], 1, "the file with the block");
    let outcome = verify(archive.path(), &["--level", "hash"]);
    outcome.assert_fails(1, &["IncorrectHash", ", record 5:", "-canonical-"]);
}

#[test]
fn folders_that_are_no_archive_are_not_touched() {
    let database = Database::with_genesis().close();
    let other = folder();
    fs::write(other.path().join("letter.txt"), "dear").unwrap();
    plait_export(database.path(), other.path(), &[])
        .assert_fails(2, &["letter.txt", "no part of an archive", "Name an empty folder"]);
    assert_eq!(files(other.path()).len(), 1);
    verify(other.path(), &[]).assert_fails(2, &["no archive in"]);
    verify(&other.path().join("none"), &[]).assert_fails(2, &["no archive in"]);
}

#[test]
fn an_archive_of_another_network_or_of_other_ranges_is_not_touched() {
    let archive = exported(Database::with_genesis().close().path(), &[]);
    let before = files(archive.path());
    let db = folder();
    let outcome =
        run(["replay", "--db", db.path().to_str().unwrap(), "--network", "testnet04", "-"]);
    drop(outcome);
    Engine::open_or_create(
        db.path(),
        Some(plait_engine::ChainwebVersion::Testnet04),
        plait_engine::store::History::Full,
    )
    .unwrap();
    plait_export(db.path(), archive.path(), &[])
        .assert_fails(2, &["is an archive of network development, not testnet04"]);
    let database = Database::with_genesis().close();
    plait_export(database.path(), archive.path(), &["--file-heights", "512"])
        .assert_fails(2, &["has files of 65536 heights, not 512"]);
    assert!(files(archive.path()) == before);
}

#[test]
fn an_export_that_was_cut_off_leaves_the_archive_before_it_and_goes_on() {
    let database = Database::with_genesis().close();
    let archive = exported(database.path(), &[]);
    let before = files(archive.path());
    // What a killed export leaves: a file in the making, and one that is done but not named yet.
    fs::write(archive.path().join(".03-0000000000-canonical.tmp"), [1; 100]).unwrap();
    let done = "03-0000000000-orphans-0123456789abcdef0123456789abcdef.plait";
    fs::write(archive.path().join(done), [1; 100]).unwrap();
    assert_sound_but(archive.path(), done);
    let outcome = plait_export(database.path(), archive.path(), &["--prune"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert!(files(archive.path()) == before);
    // And where there was none before.
    fs::remove_file(archive.path().join("manifest.json")).unwrap();
    fs::write(archive.path().join(".03-0000000000-canonical.tmp"), [1; 100]).unwrap();
    let outcome = plait_export(database.path(), archive.path(), &["--json"]);
    assert_eq!(counts(&outcome)["written"], 0, "the files were done");
    assert!(files(archive.path()) == before);
}

#[test]
fn an_export_that_is_stopped_leaves_the_archive_before_it() {
    let mut database = Database::with_genesis();
    let archive = folder();
    export(database.reader(), archive.path(), 16);
    let before = files(archive.path());
    database.add(&braid(40));
    let stop = AtomicBool::new(true);
    let summary = Export::new(database.reader(), archive.path()).run(&stop, &|_| {}).unwrap();
    assert!(summary.stopped);
    assert!(files(archive.path()) == before);
    export(database.reader(), archive.path(), 16);
    assert_eq!(read_all(archive.path()).len(), 41 * 20);
}

#[test]
fn a_full_disk_leaves_the_archive_before_it() {
    let database = Database::with_genesis().close();
    let archive = exported(database.path(), &[]);
    let before = files(archive.path());
    let db = folder();
    let outcome = replay_file(db.path(), &[], "dump", &dump(&braid(200)));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    // Files of 32 kB at most: what stands in for a disk that is full.
    let (binary, db) = (testkit::process::binary(), db.path().display());
    let out = archive.path().display();
    let script = format!(
        "trap '' XFSZ; ulimit -f 32; exec {} export --db {db} --out {out} 2>&1",
        binary.display()
    );
    let outcome = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    assert_eq!(outcome.status.code(), Some(2), "{text}");
    assert!(text.contains("An archive from an earlier export is intact."), "{text}");
    let left = files(archive.path());
    assert!(before.iter().all(|(name, bytes)| left.get(name) == Some(bytes)));
    assert!(left.keys().all(|name| !has_extension(name, "tmp")), "{:?}", left.keys());
    assert_sound_but(archive.path(), "");
}

#[test]
fn what_an_export_keeps_it_has_compared() {
    let mut database = Database::with_genesis();
    database.add(&braid_with_orphans(9, 3));
    let archive = folder();
    let dir = archive.path();
    export(database.reader(), dir, 4);
    let whole = files(dir);
    let again = export(database.reader(), dir, 4);
    assert_eq!((again.written, again.unread > 0), (0, true), "{again:?}");
    let names: Vec<&String> = whole.keys().filter(|name| has_extension(name, "plait")).collect();
    let of = |kind: &str| -> Vec<&String> {
        names.iter().copied().filter(|name| name.contains(kind)).collect()
    };
    for kind in ["canonical", "orphans"] {
        let of_kind = of(kind);
        let (one, other) = (of_kind[0], of_kind[1]);
        assert_eq!(whole[one].len(), whole[other].len(), "{one} and {other}");
        // Two files of equal length change places; by writing, and by renaming.
        fs::write(dir.join(one), &whole[other]).unwrap();
        fs::write(dir.join(other), &whole[one]).unwrap();
        let mended = export(database.reader(), dir, 4);
        assert_eq!(mended.written, 2, "{mended:?}");
        assert!(files(dir) == whole, "{kind}, written");
        let aside = dir.join("aside");
        fs::rename(dir.join(one), &aside).unwrap();
        fs::rename(dir.join(other), dir.join(one)).unwrap();
        fs::rename(&aside, dir.join(other)).unwrap();
        assert_eq!(export(database.reader(), dir, 4).written, 2);
        assert!(files(dir) == whole, "{kind}, renamed");
        // One bit, with the old time of change.
        let path = dir.join(one);
        let time = path.metadata().unwrap().modified().unwrap();
        let mut bytes = whole[one].clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        assert_eq!(export(database.reader(), dir, 4).written, 1);
        assert!(files(dir) == whole, "{kind}, one bit");
    }
    // A mirror has other times; it is compared once, and kept.
    let mirror = folder();
    for (name, bytes) in &whole {
        fs::write(mirror.path().join(name), bytes).unwrap();
    }
    fs::copy(dir.join(".export"), mirror.path().join(".export")).unwrap();
    assert_eq!(export(database.reader(), mirror.path(), 4).written, 0);
    assert_sound_but(mirror.path(), "");
}

#[test]
fn two_exports_into_one_folder_do_not_meet() {
    let database = Database::with_genesis().close();
    let archive = exported(database.path(), &[]);
    let mark = fs::File::open(archive.path().join(".export")).unwrap();
    mark.lock().unwrap();
    plait_export(database.path(), archive.path(), &[]).assert_fails(2, &["another export writes"]);
    drop(mark);
    assert_eq!(plait_export(database.path(), archive.path(), &[]).status, Some(0));
}

#[test]
fn an_archive_is_exported_while_the_database_is_written() {
    let mut database = Database::sealing(4, 5);
    database.add(&braid(20));
    let archive = exported(database.path(), &["--file-heights", "8"]);
    let (manifest, _) = Manifest::read(archive.path()).unwrap();
    assert_eq!(manifest.records(), 21 * 20);
    assert_eq!(manifest.cut.len(), 20);
}

#[test]
fn either_a_database_or_an_archive_is_verified() {
    let database = Database::with_genesis().close();
    let archive = exported(database.path(), &[]);
    let (db, archive) = (database.path().to_str().unwrap(), archive.path().to_str().unwrap());
    run(["verify", "--db", db, archive]).assert_fails(2, &["cannot be verified together"]);
    run(["verify"]).assert_fails(2, &["--db"]);
    // A database that the environment names gives way.
    let mut command = testkit::process::plait(["verify", archive]);
    let outcome = testkit::process::finish(command.env("PLAIT_DB", "nowhere").spawn().unwrap());
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_blocks_their_order_and_their_runs_an_archive_is_the_same(
        (_, blocks) in shuffled(forest(60)),
        sealings in [(1..6_u32, 0..12_u64), (1..6_u32, 0..12_u64)],
        (commits, heights) in (1..6_usize, 1..9_u32),
    ) {
        let archives = sealings.map(|(run, window)| {
            let mut database = Database::sealing(run, window);
            blocks.chunks(blocks.len().div_ceil(commits)).for_each(|some| {
                database.add(some);
            });
            let archive = folder();
            export(database.reader(), archive.path(), heights);
            assert_holds(archive.path(), &blocks);
            assert_eq!(sorted(&read_all(archive.path())), sorted(&blocks));
            files(archive.path())
        });
        prop_assert!(archives[0] == archives[1]);
    }
}

#[test]
fn real_headers_go_there_and_back() {
    let Some(headers) = real() else { return };
    let partial = |db: &Path, input: &Path| {
        let (db, input) = (db.to_str().unwrap(), input.to_str().unwrap());
        let outcome = run(["replay", "--db", db, "--allow-partial", input]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    };
    let (db, back, input) = (folder(), folder(), folder());
    fs::write(input.path().join("dump"), dump(&headers)).unwrap();
    partial(db.path(), &input.path().join("dump"));
    let archive = exported(db.path(), &[]);
    let outcome = verify(archive.path(), &[]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert!(outcome.err.contains("973 fully, 27 at level hash"), "{}", outcome.err);
    assert_holds(archive.path(), &headers);
    partial(back.path(), archive.path());
    assert!(columns(back.path()) == columns(db.path()));
}
