//! `View::range_*`: what drawn trees show, and the oracle for the rest.

use plait_engine::{BlockHash, BlockHeight, Cursor, Heights, Page, QueryError, RangeQuery, View};
use proptest::prelude::*;
use testkit::block::genesis;
use testkit::drawing::{CHAIN, Drawing};
use testkit::forest::{Forest, OTHER_CHAIN, forest, shuffled};
use testkit::planted::{Planted, assert_unknown};
use testkit::{Database, tree};

const BLOCKS_MAX: usize = 40;

/// A forest, and queries to ask it.
fn planted(queries: usize) -> impl Strategy<Value = (Forest, Vec<RangeQuery>)> {
    forest(BLOCKS_MAX).prop_flat_map(move |forest| {
        let query = forest.range_query();
        (Just(forest), prop::collection::vec(query, queries))
    })
}

/// Checks one page in every form.
fn assert_page(planted: &Planted, view: &View, query: &RangeQuery) {
    let hashes = view.range_hashes(CHAIN, query);
    let headers = view.range_headers(CHAIN, query);
    match planted.oracle.range_page(query) {
        Ok(expected) => {
            let headers = headers.unwrap();
            planted.assert_headers(&headers.items, &expected.items);
            assert_eq!(headers.next, expected.next);
            assert_eq!(hashes.unwrap(), expected);
        }
        Err(unknown) => {
            assert_unknown(hashes, &unknown);
            assert_unknown(headers, &unknown);
            assert_unknown(view.range_scan(CHAIN, query), &unknown);
        }
    }
}

/// All pages from the cursor of `query` on, each of its limit, without the empty one at the end.
fn pages(view: &View, query: &RangeQuery) -> Vec<Page<Vec<BlockHash>>> {
    let mut query = query.clone();
    let mut pages = Vec::new();
    loop {
        assert!(pages.len() <= 2 * BLOCKS_MAX, "the pages have no end");
        let page = view.range_hashes(CHAIN, &query).unwrap();
        if page.items.is_empty() {
            assert_eq!(page.next, None);
            return pages;
        }
        query.cursor = page.next;
        pages.push(page);
    }
}

fn known(planted: &Planted, query: &RangeQuery) -> bool {
    planted.oracle.range(query).is_ok()
}

/// What `query` asks for from its cursor on, without a limit.
fn whole(planted: &Planted, query: &RangeQuery) -> Vec<BlockHash> {
    let query = RangeQuery { limit: usize::MAX, ..query.clone() };
    planted.oracle.range_page(&query).unwrap().items
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pages_are_those_of_the_oracle((forest, queries) in planted(60)) {
        let planted = Planted::new(&forest);
        let view = planted.view();
        for query in &queries {
            assert_page(&planted, &view, query);
        }
    }

    #[test]
    fn pages_are_those_of_the_oracle_at_every_cursor((forest, queries) in planted(3)) {
        let planted = Planted::new(&forest);
        let view = planted.view();
        for mut query in queries {
            for block in &forest.blocks {
                for cursor in [Cursor::Inclusive, Cursor::Exclusive] {
                    query.cursor = Some(cursor(block.view().hash()));
                    assert_page(&planted, &view, &query);
                }
            }
        }
    }

    #[test]
    fn pages_joined_are_the_whole_result_for_every_limit((forest, queries) in planted(3)) {
        let planted = Planted::new(&forest);
        let view = planted.view();
        for mut query in queries.into_iter().filter(|query| known(&planted, query)) {
            let whole = whole(&planted, &query);
            for limit in 1..=whole.len() + 1 {
                query.limit = limit;
                let pages = pages(&view, &query);
                prop_assert_eq!(pages.len(), whole.len().div_ceil(limit));
                let joined: Vec<_> = pages.into_iter().flat_map(|page| page.items).collect();
                prop_assert_eq!(&joined, &whole, "limit {}", limit);
            }
        }
    }

    #[test]
    fn scans_are_the_joined_pages_and_can_be_cut_anywhere(
        (forest, queries) in planted(6),
        chunks in prop::collection::vec(0..9_usize, 1..8),
    ) {
        let planted = Planted::new(&forest);
        let view = planted.view();
        for query in queries.into_iter().filter(|query| known(&planted, query)) {
            let whole = whole(&planted, &query);
            let mut scan = view.range_scan(CHAIN, &query).unwrap();
            let mut taken = 0;
            for chunk in chunks.iter().cycle() {
                // Cut here, the rest is what the cursor gives; before the first chunk no cursor is
                // needed where the query had none.
                let rest = whole.get(taken..).unwrap();
                let cursor = scan.cursor();
                prop_assert!(cursor.is_some() || taken == 0);
                let resumed = RangeQuery { cursor: cursor.or(query.cursor), ..query.clone() };
                let resumed = RangeQuery { limit: usize::MAX, ..resumed };
                prop_assert_eq!(&view.range_hashes(CHAIN, &resumed).unwrap().items, rest);
                let Some(records) = scan.next(&view, *chunk).unwrap() else { break };
                let size = records.len();
                prop_assert_eq!(size, (*chunk).max(1).min(rest.len()));
                planted.assert_headers(&records, rest.get(..size).unwrap());
                taken += size;
            }
            prop_assert_eq!(taken, whole.len());
            prop_assert!(scan.next(&view, 5).unwrap().is_none());
            prop_assert_eq!(scan.cursor(), None);
        }
    }

    #[test]
    fn the_order_of_arrival_and_reopening_change_nothing(
        ((forest, blocks), commits) in (shuffled(forest(BLOCKS_MAX)), 1..6_usize),
        limit in 1..50_usize,
    ) {
        let commits: Vec<_> = blocks.chunks(blocks.len().div_ceil(commits)).map(Vec::from).collect();
        let mut planted = Planted::in_order(&forest, &commits);
        for _ in 0..2 {
            let view = planted.view();
            for block in &forest.blocks {
                let cursor = Some(Cursor::Inclusive(block.view().hash()));
                let query = RangeQuery { cursor, limit, ..RangeQuery::default() };
                assert_page(&planted, &view, &query);
            }
            drop(view);
            planted = planted.reopen();
        }
    }
}

fn heights(min: u64, max: u64) -> Heights {
    Heights { min: Some(BlockHeight::new(min)), max: Some(BlockHeight::new(max)) }
}

fn limited(limit: usize) -> RangeQuery {
    RangeQuery { limit, ..RangeQuery::default() }
}

#[test]
fn a_range_ascends_and_has_the_orphans_too() {
    let db = tree("0-1-2-3-4  2-3b-4b  1-2a  2-3a");
    let (items, _) = db.range_page(&limited(99));
    assert_eq!(items, ["0", "1", "2", "2a", "3", "3a", "3b", "4", "4b"]);
}

#[test]
fn next_is_exclusive_at_the_end_since_the_chain_may_grow() {
    let mut db = tree("0-1-2");
    let (items, next) = db.range_page(&limited(99));
    assert_eq!((items.len(), next.as_deref()), (3, Some("exclusive:2")));
    assert_eq!(db.range_page(&limited(3)).1.as_deref(), Some("exclusive:2"));
    let query = RangeQuery { cursor: Some(db.exclusive("2")), ..limited(3) };
    assert_eq!(db.range_page(&query), (vec![], None), "nothing has come yet");
    db.add("2-3-4");
    assert_eq!(db.range_page(&query).0, ["3", "4"]);
}

#[test]
fn next_is_inclusive_while_there_is_more() {
    let db = tree("0-1-2");
    let page = |limit| {
        let (items, next) = db.range_page(&limited(limit));
        (items.len(), next.unwrap())
    };
    assert_eq!(
        page(0),
        (0, "inclusive:0".to_owned()),
        "a limit of 0 is an empty page to go on from"
    );
    assert_eq!(page(1), (1, "inclusive:1".to_owned()));
    assert_eq!(page(2), (2, "inclusive:2".to_owned()));
}

#[test]
fn the_end_of_the_heights_is_an_end_too() {
    let db = tree("0-1-2-3-4");
    let query = RangeQuery { heights: heights(1, 3), ..limited(3) };
    let (items, next) = db.range_page(&query);
    assert_eq!(
        (items, next.as_deref()),
        (vec!["1".into(), "2".into(), "3".into()], Some("exclusive:3"))
    );
    let query = RangeQuery { cursor: Some(db.exclusive("3")), ..query };
    assert_eq!(db.range_page(&query), (vec![], None));
}

#[test]
fn an_empty_range_has_no_next() {
    let db = tree("3-4-5");
    for heights in [heights(0, 2), heights(6, u64::MAX), heights(5, 4), heights(u64::MAX, 0)] {
        for limit in [0, 1, 9] {
            let query = RangeQuery { heights, ..limited(limit) };
            assert_eq!(db.range_page(&query), (vec![], None), "{heights:?}, limit {limit}");
        }
    }
}

#[test]
fn a_cursor_outside_of_the_heights_is_an_empty_page() {
    let db = tree("0-1-2-3-4-5");
    for cursor in [
        db.inclusive("0"),
        db.inclusive("1"),
        db.exclusive("0"),
        db.inclusive("5"),
        db.exclusive("4"),
        db.exclusive("5"),
    ] {
        let query = RangeQuery { heights: heights(2, 4), cursor: Some(cursor), ..limited(9) };
        assert_eq!(db.range_page(&query), (vec![], None), "{cursor:?}");
    }
}

#[test]
fn an_exclusive_cursor_right_below_the_heights_begins_with_the_first_of_them() {
    let db = tree("0-1-2-3-4-5-6-7-8-9-10-11-12-13-14  3-4a  4-5a-6a  8-9a");
    let page = |cursor, min, max| {
        let query = RangeQuery { heights: heights(min, max), cursor: Some(cursor), ..limited(3) };
        db.range_page(&query)
    };
    let is = |items: &[&str], next: &str| {
        let items: Vec<String> = items.iter().map(ToString::to_string).collect();
        (items, Some(next.to_owned()))
    };
    // Sealed or not, with siblings or without.
    assert_eq!(page(db.exclusive("1"), 2, 99), is(&["2", "3", "4"], "inclusive:4a"));
    assert_eq!(page(db.exclusive("4a"), 5, 99), is(&["5", "5a", "6"], "inclusive:6a"));
    assert_eq!(page(db.exclusive("9a"), 10, 11), is(&["10", "11"], "exclusive:11"));
    assert_eq!(page(db.exclusive("13"), 14, 99), is(&["14"], "exclusive:14"));
    for (cursor, min) in [("4", 5), ("0", 2), ("12", 14), ("14", 15), ("9", 10)] {
        assert_eq!(page(db.exclusive(cursor), min, 99), (vec![], None), "{cursor}: not the next");
        assert_eq!(page(db.inclusive(cursor), min, 99), (vec![], None), "{cursor}");
    }
    assert_eq!(page(db.exclusive("4a"), 5, 4), (vec![], None), "no height at all");
}

#[test]
fn an_exclusive_cursor_leads_over_heights_that_are_not_held() {
    let db = tree("0-1-2  7-8");
    let query =
        RangeQuery { cursor: Some(db.exclusive("2")), heights: heights(5, 99), ..limited(9) };
    assert_eq!(db.range_page(&query).0, ["7", "8"]);
    let query = RangeQuery { cursor: Some(db.exclusive("1")), ..query };
    assert_eq!(db.range_page(&query), (vec![], None));
}

#[test]
fn a_cursor_among_siblings_goes_on_by_hash() {
    let db = tree("0-1-2  0-1a  0-1b");
    let from = |cursor| db.range_page(&RangeQuery { cursor: Some(cursor), ..limited(9) }).0;
    assert_eq!(from(db.inclusive("1a")), ["1a", "1b", "2"]);
    assert_eq!(from(db.exclusive("1a")), ["1b", "2"]);
    assert_eq!(from(db.exclusive("1b")), ["2"]);
}

#[test]
fn unknown_cursors_are_errors_that_name_them() {
    let mut database = Database::empty();
    database.add(&[genesis(CHAIN), genesis(OTHER_CHAIN)]);
    let view = database.reader().view();
    for unknown in [BlockHash::new([7; 32]), genesis(OTHER_CHAIN).view().hash()] {
        let query = RangeQuery { cursor: Some(Cursor::Inclusive(unknown)), ..limited(9) };
        let got = view.range_hashes(CHAIN, &query);
        assert!(matches!(got, Err(QueryError::UnknownHash(hash)) if hash == unknown));
    }
}

#[test]
fn chains_do_not_run_into_one_another() {
    let mut database = Database::with_genesis();
    database.add(&testkit::braid::braid(3));
    let view = database.reader().view();
    for chain in testkit::block::NETWORK.chain_ids() {
        let page = view.range_headers(chain, &limited(99)).unwrap();
        assert_eq!(page.items.len(), 4);
        assert!(page.items.iter().all(|header| header.chain() == chain));
    }
}

#[test]
fn a_chain_without_blocks_is_an_empty_page() {
    let db = tree("0-1");
    let view = db.database().reader().view();
    for chain in [OTHER_CHAIN, plait_engine::ChainId::new(20)] {
        let page = view.range_hashes(chain, &limited(9)).unwrap();
        assert_eq!((page.items, page.next), (vec![], None));
    }
}

#[test]
fn a_view_does_not_see_what_is_written_after_it() {
    let mut drawing = Drawing::default();
    let mut database = Database::empty();
    database.add(&drawing.draw("0-1-2"));
    let reader = database.reader().clone();
    let view = reader.view();
    database.add(&drawing.draw("2-3  0-1a"));
    assert_eq!(view.range_hashes(CHAIN, &limited(9)).unwrap().items, drawing.hashes("0 1 2"));
    let later = reader.view().range_hashes(CHAIN, &limited(9)).unwrap().items;
    assert_eq!(later, drawing.hashes("0 1 1a 2 3"));
}

#[test]
fn a_scan_goes_on_with_what_comes_behind_it() {
    let mut drawing = Drawing::default();
    let mut database = Database::empty();
    database.add(&drawing.draw("0-1"));
    let reader = database.reader().clone();
    let mut scan = reader.view().range_scan(CHAIN, &limited(0)).unwrap();
    assert_eq!(scan.next(&reader.view(), 2).unwrap().unwrap().len(), 2);
    database.add(&drawing.draw("1-2  0-1a"));
    let records = scan.next(&reader.view(), 9).unwrap().unwrap();
    let hashes: Vec<_> = records.iter().map(plait_engine::HeaderRef::hash).collect();
    assert_eq!(hashes, drawing.hashes("1a 2"));
}
