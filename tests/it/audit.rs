//! `Audit`: a walk in windows and in lanes says what a slow one says, and what else is wrong with a
//! database is found.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use plait_engine::audit::{Audit, Event, Report};
use plait_engine::store::Store;
use plait_engine::verify::{Adjacents, Level, Parent, Verifier};
use plait_engine::{BlockHash, Engine, Header, HeaderRef, Micros, OpenError};
use proptest::prelude::*;
use tempfile::TempDir;
use testkit::archive::has_extension;
use testkit::block::NETWORK;
use testkit::braid::braid_with_orphans;
use testkit::forest::forest;
use testkit::process::run;
use testkit::{Database, stored};

use crate::rocks::{big_endian, columns, delete_row, put_row};

fn verifier(level: Level) -> Verifier {
    Verifier::new(NETWORK, level, Micros::new(i64::MAX))
}

/// What is said of blocks: the hash of each that is broken, with why.
pub(crate) type Broken = BTreeMap<BlockHash, String>;

/// What an audit says: broken blocks, flaws, and the counts.
pub(crate) fn audit(dir: &Path, level: Level) -> Result<(Broken, Vec<String>, Report), OpenError> {
    let (mut broken, mut flaws) = (Broken::new(), Vec::new());
    let (reader, verifier) = (Engine::open_read_only(dir)?, verifier(level));
    let report =
        Audit::new(&reader, &verifier).run(&AtomicBool::new(false), &mut |event| match event {
            Event::Broken(header, failures) => {
                broken.insert(header.hash(), failures.to_string());
            }
            Event::Flaw(flaw) => flaws.push(format!("{}: {flaw}", flaw.kind())),
            Event::Begin { .. } | Event::Progress(_) => {}
        });
    let report = report.unwrap();
    assert_eq!((report.broken, report.flaws), (broken.len() as u64, flaws.len() as u64));
    assert_eq!(report.is_sound(), broken.is_empty() && flaws.is_empty());
    Ok((broken, flaws, report))
}

/// The flaws of a database that opens and has no broken blocks.
fn flaws(dir: &Path) -> Vec<String> {
    let (broken, flaws, _) = audit(dir, Level::Hash).unwrap();
    assert_eq!(broken, Broken::new());
    flaws
}

/// The slow twin: every block by itself, one after the other, with all others at hand.
fn one_by_one(dir: &Path, level: Level) -> (Broken, [u64; 3]) {
    let (blocks, verifier) = (stored(dir), verifier(level));
    let view = Engine::open_read_only(dir).unwrap().view();
    let by_hash: BTreeMap<BlockHash, &Header> =
        blocks.iter().map(|block| (block.view().hash(), block)).collect();
    let find = |hash| by_hash.get(&hash).map(|block| block.view());
    let (mut broken, mut passed) = (Broken::new(), [0; 3]);
    for header in blocks.iter().map(Header::view) {
        let claimed = view.verified_level(header).unwrap();
        let parent = match find(header.parent()) {
            Some(parent) => Parent::Block(parent),
            None if claimed < Level::Full => Parent::Admitted,
            None => Parent::Missing,
        };
        let genesis: Vec<Option<Header>> =
            header.adjacents().iter().map(|(c, hash)| verifier.genesis_block(c, hash)).collect();
        let below = header.adjacents().iter().zip(&genesis);
        let below: Vec<_> = below
            .map(|((chain, hash), genesis)| {
                find(hash).or(genesis.as_ref().map(Header::view)).ok_or((chain, hash))
            })
            .collect();
        let adjacents = match below[..] {
            [Ok(a), Ok(b), Ok(c)] => Adjacents::Blocks([a, b, c]),
            _ if claimed < Level::Full => Adjacents::Admitted,
            _ => {
                let (chain, hash) = below.iter().find_map(|below| below.err()).unwrap();
                Adjacents::Missing(chain, hash)
            }
        };
        match verifier.conclude(verifier.check(header), parent, adjacents) {
            Ok(block) => passed[usize::from(block.level().code())] += 1,
            Err(failures) => {
                broken.insert(header.hash(), failures.to_string());
            }
        }
    }
    (broken, passed)
}

/// Of damaged blocks the times may be other ones than those that were added up.
fn assert_like_one_by_one(dir: &Path, is_damaged: bool) {
    for level in Level::ALL {
        let (broken, mut flaws, report) = audit(dir, level).unwrap();
        flaws.retain(|flaw| !(is_damaged && flaw.starts_with("statistics: ")));
        let slow = one_by_one(dir, level);
        assert_eq!((broken, report.passed), slow, "{level:?}");
        assert_eq!(flaws, [""; 0], "{level:?}");
    }
}

/// The value in `heights`, which keys of `trunk` look like too.
pub(crate) fn place(chain: u32, height: u64) -> Vec<u8> {
    [&big_endian(chain.into())[4..], &big_endian(height)].concat()
}

fn key(chain: u32, height: u64, hash: BlockHash) -> Vec<u8> {
    [&place(chain, height)[..], hash.as_bytes()].concat()
}

fn loose_key(block: HeaderRef<'_>) -> Vec<u8> {
    key(block.chain().get(), block.height().get(), block.hash())
}

/// Changes a byte of a stored header in front of its hash, as the store itself would not notice.
fn damage(dir: &Path, block: HeaderRef<'_>, at: usize) {
    let mut bytes = block.as_bytes().to_vec();
    bytes[at] ^= 1;
    let (key, all) = (loose_key(block), columns(dir));
    if all.contains_key(&("loose", key.clone())) {
        return put_row(dir, "loose", &key, &bytes);
    }
    let mut runs = all.iter().filter(|((column, _), _)| *column == "trunk");
    let found = runs.find_map(|((_, key), run)| {
        let at = run.chunks(318).position(|record| record == block.as_bytes())?;
        Some((key.clone(), run.clone(), at))
    });
    let (key, mut run, number) = found.unwrap();
    run[number * 318..][..318].copy_from_slice(&bytes);
    put_row(dir, "trunk", &key, &run);
}

/// Bytes of a header that neither keys nor links depend on: time, payload, weight, nonce.
const FREE: [usize; 4] = [8, 190, 226, 278];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn windows_say_what_a_slow_walk_says(
        forest in forest(60),
        (run_length, window) in (1..9_u32, 0..9_u64),
        damaged in prop::collection::vec((any::<prop::sample::Index>(), 0..FREE.len()), 0..3),
    ) {
        let mut database = Database::sealing(run_length, window);
        database.add(&forest.blocks);
        database.add(&forest.others);
        let dir = database.close();
        // Of each block one byte: what is damaged already would not be found.
        let blocks = damaged.iter().map(|(which, byte)| (which.index(forest.blocks.len()), *byte));
        let damaged: BTreeMap<_, _> = blocks.collect();
        for (block, byte) in &damaged {
            damage(dir.path(), forest.blocks[*block].view(), FREE[*byte]);
        }
        assert_like_one_by_one(dir.path(), !damaged.is_empty());
    }
}

#[test]
fn whole_braids_are_walked_as_one_by_one() {
    let blocks = braid_with_orphans(1100, 100);
    let mut database = Database::with_genesis();
    database.add(&blocks);
    let dir = database.close();
    assert_like_one_by_one(dir.path(), false);
    // On both sides of where a window ends, sealed and not.
    for (number, height) in [0, 511, 1023, 1024, 1099].into_iter().enumerate() {
        let block = blocks
            .iter()
            .find(|block| (block.view().height().get(), block.view().chain().get()) == (height, 7));
        damage(dir.path(), block.unwrap().view(), FREE[number % FREE.len()]);
    }
    assert_like_one_by_one(dir.path(), true);
    assert_eq!(audit(dir.path(), Level::Hash).unwrap().0.len(), 5);
}

/// A small database with orphans, some of it sealed.
fn small() -> (TempDir, Vec<Header>) {
    let mut database = Database::sealing(4, 5);
    let blocks = braid_with_orphans(30, 4);
    database.add(&blocks);
    (database.close(), blocks)
}

#[test]
fn what_the_hash_index_lacks_or_has_too_much_is_named() {
    let (dir, blocks) = small();
    let dir = dir.path();
    assert_eq!(flaws(dir), [""; 0]);
    let rows = columns(dir);
    let index: Vec<_> = rows.iter().filter(|((column, _), _)| *column == "heights").collect();
    assert_eq!(index.len(), blocks.len());
    for block in [&blocks[3], &blocks[400], blocks.last().unwrap()] {
        let header = block.view();
        let (key, value) = (header.hash(), &rows[&("heights", header.hash().as_bytes().to_vec())]);
        let lacks = format!(
            "index: chain {}, height {}, block {key} is not in the hash index",
            header.chain(),
            header.height()
        );
        delete_row(dir, "heights", key.as_bytes());
        assert_eq!(flaws(dir), std::slice::from_ref(&lacks));
        // With another place it is both.
        put_row(dir, "heights", key.as_bytes(), &place(header.chain().get(), 77));
        let has = "on chain ";
        let found = flaws(dir);
        assert_eq!((found.len(), &found[0]), (2, &lacks));
        assert!(found[1].contains(&key.to_string()) && found[1].contains(has), "{found:?}");
        put_row(dir, "heights", key.as_bytes(), value);
    }
    let unknown = BlockHash::new([7; 32]);
    put_row(dir, "heights", unknown.as_bytes(), &place(0, 1));
    let says = format!(
        "index: the hash index has block {unknown} on chain 0 at height 1, where it is not"
    );
    assert_eq!(flaws(dir), std::slice::from_ref(&says));
    let outcome = run(["verify", "--db", dir.to_str().unwrap(), "--level", "hash"]);
    outcome.assert_fails(1, &[&says, "1 flaws"]);
    delete_row(dir, "heights", unknown.as_bytes());
    put_row(dir, "heights", b"short", b"");
    assert_eq!(flaws(dir), ["damaged: heights: column heights is damaged at key 73686f7274"]);
}

#[test]
fn an_index_that_lacks_most_blocks_is_not_named_block_by_block_for_ever() {
    let (dir, blocks) = small();
    for block in &blocks {
        delete_row(dir.path(), "heights", block.view().hash().as_bytes());
    }
    let found = flaws(dir.path());
    assert_eq!(found.len(), blocks.len());
    let outcome = run(["verify", "--db", dir.path().to_str().unwrap(), "--level", "hash"]);
    outcome.assert_fails(1, &["index: more, which are counted only"]);
    assert_eq!(outcome.err.matches("is not in the hash index").count(), 20);
}

#[test]
fn entries_that_are_on_their_way_to_the_index_may_be_there_already() {
    let (dir, blocks) = small();
    let block = blocks[77].view();
    let hash = block.hash();
    let value = place(block.chain().get(), block.height().get());
    let entry = [hash.as_bytes().as_slice(), &value].concat();
    let key = [&hash.as_bytes()[..1], &[0; 8]].concat();
    put_row(dir.path(), "meta", b"unindexed", &[0, 0, 0, 0, 0, 0, 0, 1]);
    put_row(dir.path(), "unindexed", &key, &entry);
    assert_eq!(flaws(dir.path()), [""; 0]);
    delete_row(dir.path(), "heights", hash.as_bytes());
    assert_eq!(flaws(dir.path()), [""; 0]);
    // A row that is where nobody looks for its hash.
    put_row(dir.path(), "unindexed", &[hash.as_bytes()[0] ^ 1, 0, 0, 0, 0, 0, 0, 0, 0], &entry);
    assert_eq!(flaws(dir.path()).len(), 1);
}

/// A row: column, key and value; how each flaw begins that it makes, and how many these are.
type Case<'a> = (&'a str, &'a [u8], &'a [u8], &'a str, usize);

#[test]
fn rows_that_no_block_has_are_named() {
    let (dir, blocks) = small();
    let dir = dir.path();
    let own = key(0, 3, BlockHash::new([9; 32]));
    let sealed = blocks.iter().find(|block| block.view().chain().get() == 0).unwrap().view();
    let (twice, foreign) = (loose_key(sealed), key(20, 0, sealed.hash()));
    let (run_far, run, crooked) = (place(0, 4000), place(0, 4), place(0, 5));
    let mark = b"replay 12345678901234567890123456789012";
    let level = "levels: chain 0, height ";
    let levels = "damaged: levels, chain 0, from height ";
    let cases: &[Case<'_>] = &[
        ("levels", &own, &[1], "levels: chain 0, height 3: levels has a block that is", 1),
        ("levels", &own, &[2], levels, 1),
        ("levels", &own, &[1, 1], levels, 1),
        ("levels", &run_far, &[2, 1, 2, 0], level, 2),
        ("levels", &run, &[2, 1, 2, 3], levels, 1),
        ("levels", &run, &[2, 1, 2, 2, 2], levels, 1),
        ("levels", &crooked, &[1], levels, 1),
        ("levels", &foreign, &[1], "damaged: levels: column levels is damaged", 1),
        ("loose", &twice, sealed.as_bytes(), "twice: chain 0, height 0, block ", 1),
        ("loose", &foreign, sealed.as_bytes(), "damaged: loose: column loose is", 1),
        ("trunk", &crooked, b"x", "damaged: trunk, chain 0, from height 5 on: column", 1),
        ("trunk", &run_far, b"", "damaged: trunk, chain 0, from height", 1),
        ("pending", &own, sealed.as_bytes(), "damaged: pending: column pending is", 1),
        ("unindexed", &[0; 9], b"x", "damaged: unindexed: column unindexed is damaged", 1),
        ("meta", mark, b"x", "damaged: meta: column", 1),
        ("default", b"key", b"value", "damaged: 1 rows in the column family default", 1),
    ];
    for (column, key, value, says, count) in cases {
        put_row(dir, column, key, value);
        let found = match audit(dir, Level::Hash) {
            Ok((broken, flaws, _)) => {
                assert_eq!(broken, Broken::new(), "{column} {key:x?}");
                flaws
            }
            // What is needed to open it is found then.
            Err(error) => vec![format!("{says}{error}"); *count],
        };
        assert_eq!(found.len(), *count, "{column} {key:x?}: {found:?}");
        assert!(found.iter().all(|flaw| flaw.starts_with(says)), "{column}: {found:?}");
        delete_row(dir, column, key);
        assert_eq!(flaws(dir), [""; 0], "{column} {key:x?} is gone again");
    }
}

/// The next of a row of numbers that look random.
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// The table and blob files of a database.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(Store::path(dir)).unwrap().map(|entry| entry.unwrap().path());
    let is_data = |path: &PathBuf| {
        has_extension(&path.to_string_lossy(), "sst")
            || has_extension(&path.to_string_lossy(), "blob")
    };
    let mut files: Vec<PathBuf> = entries.filter(is_data).collect();
    files.sort();
    files
}

/// Whether nobody reads a bit: the flags in the header of a blob file, of which only the first says
/// something. Of that header alone there is no checksum; its other fields are compared with what
/// RocksDB knows.
pub(crate) fn is_unread(file: &Path, at: usize, bit: u8) -> bool {
    has_extension(&file.to_string_lossy(), "blob") && at == 12 && bit > 1
}

#[test]
fn one_flipped_bit_in_any_table_or_blob_file_is_found() {
    // Runs of 16 headers go to blob files; those of four heights are not whole yet.
    let mut database = Database::sealing(16, 5);
    database.add(&braid_with_orphans(60, 4));
    let dir = database.close();
    let dir = dir.path();
    // Out of the log.
    drop(Engine::open(dir).unwrap());
    let is_sound = || audit(dir, Level::Hash).is_ok_and(|(_, _, report)| report.is_sound());
    let (rows, files, mut state) = (columns(dir), files(dir), 5);
    for column in ["loose", "trunk", "heights", "levels", "meta"] {
        assert!(rows.keys().any(|(of, _)| *of == column), "{column}");
    }
    let kinds = ["sst", "blob"].map(|kind| {
        files.iter().filter(|file| has_extension(&file.to_string_lossy(), kind)).count()
    });
    assert!(kinds[0] >= 5 && kinds[1] >= 1 && is_sound(), "{files:?}");
    let mut flipped = 0;
    for file in &files {
        let bytes = fs::read(file).unwrap();
        let len = bytes.len();
        let mut any = || usize::try_from(next(&mut state)).unwrap() % len;
        let some: Vec<usize> = (0..60).map(|_| any()).collect();
        // Headers of blob files; indexes, filters, properties and footers of tables.
        let ends = (0..40).chain((len.saturating_sub(1200)..len).step_by(7));
        for at in ends.chain(some) {
            let bit = 1 << (next(&mut state) % 8);
            let mut other = bytes.clone();
            other[at] ^= bit;
            fs::write(file, other).unwrap();
            let found = !is_sound();
            assert_ne!(found, is_unread(file, at, bit), "bit {bit} of {at}, {}", file.display());
            assert!(found || columns(dir) == rows);
            flipped += 1;
        }
        fs::write(file, bytes).unwrap();
    }
    assert!(flipped > 1000 && is_sound(), "{flipped}");
}

#[test]
fn all_that_can_be_read_of_a_damaged_database_is_verified() {
    let mut database = Database::sealing(16, 5);
    database.add(&braid_with_orphans(60, 4));
    let dir = database.close();
    let dir = dir.path();
    drop(Engine::open(dir).unwrap());
    let whole = audit(dir, Level::Hash).unwrap().2;
    let blob = files(dir).into_iter().find(|file| file.extension().is_some_and(|e| e == "blob"));
    let blob = blob.unwrap();
    let bytes = fs::read(&blob).unwrap();
    // One bit of one run: the first and the last of a chain are read when the database is opened.
    let headers = &columns(dir)[&("trunk", place(7, 16))];
    let at = bytes.windows(headers.len()).position(|window| window == headers).unwrap();
    let mut other = bytes.clone();
    other[at + 1000] ^= 4;
    fs::write(&blob, other).unwrap();
    let (broken, flaws, report) = audit(dir, Level::Hash).unwrap();
    assert_eq!((broken, flaws.len()), (Broken::new(), 1), "{flaws:?}");
    assert!(flaws[0].starts_with("damaged: trunk, chain 7, from height 16 on: "), "{flaws:?}");
    assert_eq!(report.blocks() + 16, whole.blocks());
    let outcome = run(["verify", "--db", dir.to_str().unwrap(), "--level", "hash"]);
    outcome.assert_fails(1, &["damaged: trunk, chain ", " 0 broken", "1 flaws"]);
}

#[test]
fn chains_that_do_not_open_are_named_and_everything_else_is_verified() {
    let mut database = Database::sealing(16, 5);
    database.add(&braid_with_orphans(60, 4));
    let dir = database.close();
    let dir = dir.path();
    let whole = audit(dir, Level::Hash).unwrap().2;
    // To open a database, the first run of each chain is read, and every block that is in no run.
    put_row(dir, "trunk", &place(7, 0), b"x");
    let rows = columns(dir);
    let is_loose =
        |(column, key): &&(&str, Vec<u8>)| *column == "loose" && key.starts_with(&place(3, 0)[..4]);
    let (_, loose) = rows.keys().find(is_loose).unwrap();
    put_row(dir, "loose", loose, b"x");
    let dir = dir.to_str().unwrap();
    let outcome = run(["verify", "--db", dir, "--level", "hash"]);
    outcome.assert_fails(
        1,
        &[
            "damaged: chain 7 cannot be opened: ",
            "damaged: chain 3 cannot be opened: ",
            "damaged: trunk, chain 7, from height 0 on: ",
            "damaged: loose, chain 3, from height ",
            &format!("verified {} blocks", whole.blocks() - 16 - 1),
            " 0 broken",
            "4 flaws",
        ],
    );
    // Only a verification opens it: other commands refuse it.
    assert_eq!(run(["info", "--db", dir]).status, Some(2));
}

#[test]
fn a_run_that_is_gone_is_a_gap_in_the_trunk_and_blocks_that_are_not_held() {
    let mut database = Database::sealing(16, 5);
    database.add(&braid_with_orphans(60, 4));
    let dir = database.close();
    delete_row(dir.path(), "trunk", &place(7, 16));
    let found = flaws(dir.path());
    assert_eq!(found[0].matches("damaged: trunk, chain 7, from height 16 on").count(), 1);
    let count = |kind: &str| found.iter().filter(|flaw| flaw.starts_with(kind)).count();
    assert_eq!(["damaged", "levels", "index"].map(count), [1, 16, 16], "{found:?}");
}
