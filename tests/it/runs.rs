//! Sealed runs: what is in them, how they come and go, and that no answer shows it.

use std::fmt::Write as _;
use std::path::Path;

use plait_engine::store::StoreError;
use plait_engine::{
    BlockHash, Bounds, BranchQuery, Engine, Header, HeaderRef, OpenError, QueryError, RangeQuery,
    Reader, View,
};

use testkit::drawing::{CHAIN, Drawing};
use testkit::oracle::Oracle;
use testkit::{Database, sorted, stored};

use super::rocks::{columns, put_row};

/// Paths of blocks with these heights, told apart by `letter`, above the block `from`.
fn path(from: &str, heights: std::ops::RangeInclusive<u64>, letter: &str) -> String {
    heights.fold(from.to_owned(), |mut path, height| {
        write!(path, "-{height}{letter}").unwrap();
        path
    })
}

fn below(hash: BlockHash) -> BranchQuery {
    let bounds = Bounds { upper: vec![hash], lower: Vec::new() };
    BranchQuery { bounds, limit: 1000, ..BranchQuery::default() }
}

fn everything() -> RangeQuery {
    RangeQuery { limit: 1000, ..RangeQuery::default() }
}

/// Checks all that a view says of these blocks, by whatever way it finds them.
fn assert_answers(view: &View, headers: &[Header]) {
    let oracle = Oracle::new(headers);
    let all = oracle.range_page(&everything()).unwrap().items;
    assert_eq!(view.range_hashes(CHAIN, &everything()).unwrap().items, all);
    for header in headers {
        let hash = header.view().hash();
        assert_eq!(view.header(CHAIN, &hash).unwrap().as_ref(), Some(header));
        let query = below(hash);
        let expected = oracle.branch_page(&query).unwrap().items;
        let page = view.branch_headers(CHAIN, &query).unwrap().items;
        assert!(page.iter().map(HeaderRef::hash).eq(expected));
    }
    assert_eq!(view.block_count(CHAIN), headers.len() as u64);
}

/// Heights of the first blocks of runs, and how many blocks are in runs and by themselves.
fn layout(dir: &Path) -> (Vec<u8>, usize, usize) {
    let rows = columns(dir);
    let of = |column: &'static str| rows.iter().filter(move |((name, _), _)| *name == column);
    let firsts = of("trunk").map(|((_, key), _)| *key.last().unwrap()).collect();
    let sealed = of("trunk").map(|(_, run)| run.len() / 318).sum();
    (firsts, sealed, of("loose").count())
}

#[test]
fn buried_blocks_are_in_runs_and_nowhere_else() {
    let mut drawing = Drawing::default();
    let headers = drawing.draw(&(path("0", 1..=20, "") + " 2-3a 17-18a"));
    let mut database = Database::sealing(4, 5);
    database.add(&headers);
    let folder = database.path().to_owned();
    assert_answers(&database.reader().view(), &headers);
    assert_eq!(database.reader().view().sealed_count(CHAIN), 16);
    // Up to the tip less the window, in whole runs; the siblings stay loose.
    assert_eq!(layout(&folder), (vec![0, 4, 8, 12], 16, 5 + 2));
    let rows = columns(&folder);
    let heights = rows.iter().filter(|((name, _), _)| *name == "heights");
    assert_eq!(heights.count(), headers.len());
    let run: Vec<u8> = headers[4..8].iter().flat_map(|header| *header.view().as_bytes()).collect();
    assert!(rows.values().any(|value| *value == run), "a run is its headers, ascending");
    assert_answers(&database.reopen().reader().view(), &headers);
}

#[test]
fn a_deep_reorganisation_gives_runs_back_while_views_of_before_stay_true() {
    for run_length in [1, 4] {
        let mut drawing = Drawing::default();
        let mut headers = drawing.draw(&path("0", 1..=200, ""));
        let mut database = Database::sealing(run_length, 5);
        database.add(&headers);
        let before = database.reader().view();
        // Everything is in memory now, and must not be taken for what comes instead.
        assert_answers(&before, &headers);
        let held = headers.clone();
        let branch = drawing.draw(&path("9", 10..=210, "a"));
        for some in branch.chunks(7) {
            database.add(some);
            headers.extend(some);
        }
        let after = database.reader().view();
        assert_answers(&after, &headers);
        assert_answers(&before, &held);
        assert_eq!(after.tip(CHAIN).unwrap().hash, drawing.hash("210a"));
        assert!(after.sealed_count(CHAIN) > 200, "the new branch is sealed");
        let sealed = after.branch_headers(CHAIN, &below(drawing.hash("210a"))).unwrap();
        assert_eq!(sealed.items.len(), 211);
        drop((before, after));
        assert_answers(&database.reopen().reader().view(), &headers);
    }
}

#[test]
fn a_history_that_grows_downward_is_sealed_downward() {
    let mut drawing = Drawing::default();
    let headers = drawing.draw(&(path("0", 1..=40, "") + " 9-10a-11a 17-18a-19a-20a"));
    let (chain, siblings) = headers.split_at(41);
    let mut database = Database::sealing(4, 5);
    database.add(&chain[18..]);
    database.add(siblings);
    // The part from 18 on, and two parts without a parent.
    assert_eq!(layout(database.path()).0, [18, 20, 24, 28, 32]);
    database.add(&chain[9..18]);
    assert_answers(&database.reader().view(), &headers[9..]);
    database.add(&chain[..9]);
    assert_answers(&database.reader().view(), &headers);
    let folder = database.path().to_owned();
    assert_eq!(layout(&folder).0, [0, 4, 8, 12, 16, 20, 24, 28, 32]);
    assert_answers(&database.reopen().reader().view(), &headers);
}

#[test]
fn a_history_of_real_runs_is_sealed_by_replay_and_verifies() {
    let plan = plait_engine::generate::Plan {
        forks: 0.02,
        fork_depth: 40,
        ..plait_engine::generate::Plan::new(testkit::block::NETWORK, 700)
    };
    let mined: Vec<Header> = plait_engine::generate::History::new(&plan).unwrap().collect();
    let mut database = Database::with_genesis();
    database.add(&mined);
    let reader = database.reader().clone();
    let sealed: u64 = (0..20).map(|chain| reader.view().sealed_count(chain_id(chain))).sum();
    assert_eq!(sealed, 20 * 256, "the first run of each chain is below 700 less the window");
    let folder = database.path().to_owned();
    let genesis: Vec<Header> = testkit::block::NETWORK.genesis_headers().collect();
    let all = sorted(mined.iter().chain(&genesis));
    assert!(stored(&folder) == all);
    let here = |header: &&Header| header.view().chain() == CHAIN;
    let of_chain: Vec<Header> = all.iter().filter(here).copied().collect();
    let oracle = Oracle::new(&of_chain);
    let tip = reader.view().tip(CHAIN).unwrap().hash;
    for limit in [1, 255, 256, 257, 360, 700] {
        let query = BranchQuery { limit, ..below(tip) };
        assert_eq!(
            reader.view().branch_hashes(CHAIN, &query).unwrap(),
            oracle.branch_page(&query).unwrap()
        );
    }
}

fn chain_id(chain: u32) -> plait_engine::ChainId {
    plait_engine::ChainId::new(chain)
}

#[test]
fn a_view_that_does_not_wait_says_what_is_not_in_memory() {
    let mut drawing = Drawing::default();
    let headers = drawing.draw(&path("0", 1..=30, ""));
    let mut database = Database::sealing(4, 5);
    database.add(&headers);
    let database = database.reopen();
    let (reader, query) = (database.reader(), below(drawing.hash("30")));
    let in_memory = || reader.view().cached().branch_headers(CHAIN, &query);
    assert!(matches!(in_memory(), Err(QueryError::Cold)));
    let page = reader.view().branch_headers(CHAIN, &query).unwrap();
    let again = in_memory().unwrap();
    assert!(page.items.iter().eq(again.items.iter()));
    assert_eq!(page.next, again.next);
    // A scan that met what is not in memory is where it was.
    let mut scan = reader.view().range_scan(CHAIN, &everything()).unwrap();
    assert!(matches!(scan.next(&reader.view().cached(), 100), Err(QueryError::Cold)));
    assert_eq!(scan.next(&reader.view(), 100).unwrap().unwrap().len(), 31);
}

#[test]
fn a_run_that_is_not_what_was_written_is_damage_and_no_answer() {
    let mut drawing = Drawing::default();
    let headers = drawing.draw(&path("0", 1..=30, ""));
    // Parent, chain, height, number of adjacent parents; of the third header of a run.
    for offset in [16, 48, 222, 258] {
        damaged(&headers, 12, |run| run[2 * 318 + offset] ^= 1, &drawing);
    }
    damaged(&headers, 12, |run| run.truncate(3 * 318), &drawing);
    damaged(&headers, 12, |run| run.truncate(4 * 318 - 1), &drawing);
    damaged(&headers, 12, Vec::clear, &drawing);
    damaged(&headers, 12, |run| run.extend_from_within(..318), &drawing);
}

/// Alters the run that begins at `first`: whoever needs it is told so, all others get answers.
fn damaged(headers: &[Header], first: u8, alter: impl Fn(&mut Vec<u8>), drawing: &Drawing) {
    let mut database = Database::sealing(4, 5);
    database.add(headers);
    let folder = database.close();
    let key = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, first];
    let mut run = columns(folder.path())[&("trunk", key.to_vec())].clone();
    alter(&mut run);
    put_row(folder.path(), "trunk", &key, &run);
    let (writer, reader) = Engine::open(folder.path()).unwrap();
    assert_damage(&reader, &below(drawing.hash("30")));
    assert_damage(&reader, &below(drawing.hash("13")));
    let fine = reader.view().branch_headers(CHAIN, &below(drawing.hash("11"))).unwrap();
    assert_eq!(fine.items.len(), 12);
    let all = reader.view().range_headers(CHAIN, &everything());
    assert!(matches!(all, Err(QueryError::Store(StoreError::Damaged { .. }))));
    drop((writer, reader));
    // The lowest and the highest run are looked at when the database is opened.
    for first in [0, 20] {
        let key = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, first];
        let good = columns(folder.path())[&("trunk", key.to_vec())].clone();
        put_row(folder.path(), "trunk", &key, &good[..3 * 318]);
        let opened = Engine::open(folder.path()).map(|_| ());
        assert!(matches!(opened, Err(OpenError::Store(StoreError::Damaged { .. }))));
        put_row(folder.path(), "trunk", &key, &good);
    }
}

fn assert_damage(reader: &Reader, query: &BranchQuery) {
    let page = reader.view().branch_headers(CHAIN, query);
    let Err(QueryError::Store(error)) = page else { panic!("an answer from damage") };
    assert!(error.to_string().starts_with("column trunk is damaged at key 00000000"), "{error}");
}
