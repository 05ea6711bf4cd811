//! `View::branch_*`: what drawn trees show, and the oracle for the rest.

use plait_engine::{
    BlockHash, BlockHeight, BranchQuery, Cursor, Heights, Page, QueryError, Records, UnknownLower,
    View,
};
use proptest::prelude::*;
use testkit::block::{dump, genesis};
use testkit::drawing::{CHAIN, Drawing};
use testkit::forest::{Forest, OTHER_CHAIN, forest, shuffled};
use testkit::planted::{Planted, assert_unknown};
use testkit::{Database, lower, tree, upper};

const BLOCKS_MAX: usize = 40;

/// A forest, and queries to ask it.
fn planted(queries: usize) -> impl Strategy<Value = (Forest, Vec<BranchQuery>)> {
    forest(BLOCKS_MAX).prop_flat_map(move |forest| {
        let query = forest.branch_query();
        (Just(forest), prop::collection::vec(query, queries))
    })
}

/// Checks one page in every form.
fn assert_page(planted: &Planted, view: &View, query: &BranchQuery) {
    let hashes = view.branch_hashes(CHAIN, query);
    let headers = view.branch_headers(CHAIN, query);
    match planted.oracle.branch_page(query) {
        Ok(expected) => {
            let headers = headers.unwrap();
            planted.assert_headers(&headers.items, &expected.items);
            assert_eq!(headers.next, expected.next);
            assert_eq!(hashes.unwrap(), expected);
        }
        Err(unknown) => {
            assert_unknown(hashes, &unknown);
            assert_unknown(headers, &unknown);
            assert_unknown(view.branch_scan(CHAIN, query), &unknown);
        }
    }
}

/// All pages from the cursor of `query` on, each of its limit.
fn pages(view: &View, query: &BranchQuery) -> Vec<Page<Vec<BlockHash>>> {
    let mut query = query.clone();
    let mut pages = Vec::new();
    loop {
        assert!(pages.len() <= 2 * BLOCKS_MAX, "the pages have no end");
        let page = view.branch_hashes(CHAIN, &query).unwrap();
        query.cursor = page.next;
        pages.push(page);
        if query.cursor.is_none() {
            return pages;
        }
    }
}

fn between(min: u64, max: u64) -> Heights {
    Heights { min: Some(BlockHeight::new(min)), max: Some(BlockHeight::new(max)) }
}

fn known(planted: &Planted, query: &BranchQuery) -> bool {
    planted.oracle.branch(query).is_ok()
}

/// What `query` asks for from its cursor on, without a limit.
fn whole(planted: &Planted, query: &BranchQuery) -> Vec<BlockHash> {
    let query = BranchQuery { limit: usize::MAX, ..query.clone() };
    planted.oracle.branch_page(&query).unwrap().items
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
                prop_assert_eq!(pages.len(), whole.len().div_ceil(limit).max(1));
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
            let mut scan = view.branch_scan(CHAIN, &query).unwrap();
            let mut taken = 0;
            for chunk in chunks.iter().cycle() {
                // Cut here, the rest is what the cursor gives.
                let rest = whole.get(taken..).unwrap();
                let cursor = scan.cursor();
                prop_assert_eq!(cursor, rest.first().map(|hash| Cursor::Inclusive(*hash)));
                if cursor.is_some() {
                    let resumed = BranchQuery { cursor, limit: usize::MAX, ..query.clone() };
                    prop_assert_eq!(&view.branch_hashes(CHAIN, &resumed).unwrap().items, rest);
                }
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
        seeds in prop::collection::vec(any::<prop::sample::Index>(), 8),
    ) {
        let commits: Vec<_> = blocks.chunks(blocks.len().div_ceil(commits)).map(Vec::from).collect();
        let mut planted = Planted::in_order(&forest, &commits);
        for _ in 0..2 {
            let view = planted.view();
            for pair in seeds.windows(2) {
                let [one, other] = pair else { continue };
                let hash = |index: &prop::sample::Index| index.get(&forest.blocks).view().hash();
                let mut query = BranchQuery { limit: 7, ..BranchQuery::default() };
                query.bounds.upper = vec![hash(one), hash(other)];
                assert_page(&planted, &view, &query);
                query.bounds.upper.pop();
                query.bounds.lower = vec![hash(other)];
                assert_page(&planted, &view, &query);
            }
            drop(view);
            planted = planted.reopen();
        }
    }
}

#[test]
fn a_branch_stops_below_the_fork_point() {
    let db = tree("0-1-2-3-4  2-3a-4a");
    assert_eq!(db.branch(upper("4a"), lower("4")), ["4a", "3a"]);
    assert_eq!(db.branch(upper("4"), lower("4a")), ["4", "3"]);
}

#[test]
fn a_branch_leaves_orphans_out_and_goes_down_to_genesis() {
    let db = tree("0-1-2-3-4  2-3a-4a  1-2b");
    assert_eq!(db.branch(upper("4"), lower("")), ["4", "3", "2", "1", "0"]);
    assert_eq!(db.branch(upper("2b"), lower("")), ["2b", "1", "0"]);
}

#[test]
fn several_upper_bounds_share_what_is_below_them() {
    let db = tree("0-1-2-3-4  2-3a-4a  1-2b");
    assert_eq!(db.branch(upper("4a 4"), lower("")), ["4", "4a", "3", "3a", "2", "1", "0"]);
    assert_eq!(db.branch(upper("2b 3a 4"), lower("1")), ["4", "3", "3a", "2", "2b"]);
    assert_eq!(db.branch(upper("4 4 3 4"), lower("2 2")), ["4", "3"]);
}

#[test]
fn a_lower_bound_excludes_itself_and_its_ancestors_but_not_its_siblings() {
    let db = tree("0-1-2-3-4  2-3a-4a");
    assert_eq!(db.branch(upper("4"), lower("2")), ["4", "3"]);
    assert_eq!(db.branch(upper("4"), lower("4")), [""; 0]);
    assert_eq!(db.branch(upper("3"), lower("4")), [""; 0], "a lower bound above the upper one");
    assert_eq!(db.branch(upper("3"), lower("3a")), ["3"]);
}

#[test]
fn siblings_stand_by_ascending_hash_whatever_the_order_of_the_bounds() {
    let db = tree("5-6-7  5-6a-7a  6-7b 5-6c-7c");
    let expected = ["7", "7a", "7b", "7c", "6", "6a", "6c", "5"];
    for bounds in ["7 7a 7b 7c", "7c 7b 7a 7", "7b 7c 7 7a 6c"] {
        assert_eq!(db.branch(upper(bounds), lower("")), expected, "{bounds}");
    }
}

#[test]
fn heights_cut_the_result_and_do_not_move_the_bounds() {
    let db = tree("0-1-2-3-4  2-3a-4a");
    let at = |min: u64, max: u64| {
        let heights = between(min, max);
        let query = BranchQuery { heights, ..db.query(upper("4a 2"), lower("0")) };
        db.branch_page(&query).0
    };
    assert_eq!(at(2, 3), ["3a", "2"]);
    assert_eq!(at(3, u64::MAX), ["4a", "3a"]);
    assert_eq!(at(0, 1), ["1"]);
    assert_eq!(at(3, 2), [""; 0], "a minimum above the maximum");
    assert_eq!(at(5, 9), [""; 0]);
    let below = BranchQuery { heights: between(0, 3), ..db.query(upper("2"), lower("")) };
    assert_eq!(
        db.branch_page(&below).0,
        ["2", "1", "0"],
        "an upper bound below the maximum counts"
    );
}

#[test]
fn no_upper_bound_is_an_empty_page() {
    let db = tree("0-1-2");
    assert_eq!(db.branch_page(&db.query(upper(""), lower("1"))), (vec![], None));
    assert_eq!(db.branch_page(&db.query(upper(""), lower(""))), (vec![], None));
}

#[test]
fn next_is_inclusive_while_there_is_more_and_none_at_the_end() {
    let db = tree("0-1-2-3");
    let page = |limit| {
        let query = BranchQuery { limit, ..db.query(upper("3"), lower("0")) };
        let (items, next) = db.branch_page(&query);
        (items.len(), next)
    };
    assert_eq!(page(0), (0, Some("inclusive:3".to_owned())));
    assert_eq!(page(1), (1, Some("inclusive:2".to_owned())));
    assert_eq!(page(2), (2, Some("inclusive:1".to_owned())));
    assert_eq!(page(3), (3, None));
    assert_eq!(page(4), (3, None));
}

#[test]
fn a_cursor_outside_of_the_result_is_an_empty_page() {
    let db = tree("0-1-2-3-4  2-3a-4a");
    for cursor in ["4a", "3a", "1", "0"] {
        for cursor in [db.inclusive(cursor), db.exclusive(cursor)] {
            let query = BranchQuery { cursor: Some(cursor), ..db.query(upper("4"), lower("1")) };
            assert_eq!(db.branch_page(&query), (vec![], None));
        }
    }
    let heights = between(0, 3);
    let cursor = Some(db.inclusive("4"));
    let query = BranchQuery { cursor, heights, ..db.query(upper("4"), lower("1")) };
    assert_eq!(db.branch_page(&query), (vec![], None), "in the branch, but above its maximum");
}

#[test]
fn an_exclusive_cursor_at_the_last_block_is_an_empty_page() {
    let db = tree("0-1-2");
    let cursor = Some(db.exclusive("0"));
    let query = BranchQuery { cursor, ..db.query(upper("2"), lower("")) };
    assert_eq!(db.branch_page(&query), (vec![], None));
}

#[test]
fn unknown_bounds_and_cursors_are_errors_that_name_them() {
    let db = tree("0-1-2");
    let unknown = BlockHash::new([7; 32]);
    let view = db.database().reader().view();
    let fails = |query: &BranchQuery| match view.branch_hashes(CHAIN, query) {
        Err(QueryError::UnknownHash(hash)) => hash == unknown,
        _ => false,
    };
    let mut query = db.query(upper("2"), lower("0"));
    query.bounds.upper.push(unknown);
    assert!(fails(&query));
    let mut query = db.query(upper("2"), lower("0"));
    query.bounds.lower.push(unknown);
    assert!(fails(&query));
    query.unknown_lower = UnknownLower::Ignore;
    assert_eq!(db.branch_page(&query).0, ["2", "1"], "the known lower bound counts still");
    query.cursor = Some(Cursor::Exclusive(unknown));
    assert!(fails(&query));
}

#[test]
fn blocks_of_another_chain_are_unknown() {
    let mut planted = Database::empty();
    planted.add(&[genesis(CHAIN), genesis(OTHER_CHAIN)]);
    let mut query = BranchQuery { limit: 9, ..BranchQuery::default() };
    query.bounds.upper = vec![genesis(OTHER_CHAIN).view().hash()];
    let view = planted.reader().view();
    assert!(matches!(view.branch_hashes(CHAIN, &query), Err(QueryError::UnknownHash(_))));
    assert_eq!(view.branch_hashes(OTHER_CHAIN, &query).unwrap().items, query.bounds.upper);
}

#[test]
fn a_fork_that_outgrows_its_rival_is_the_tip_and_changes_no_branch() {
    let mut db = tree("0-1-2-3");
    db.add("1-2a");
    assert_eq!(db.tip(), "3");
    db.add("2a-3a-4a");
    assert_eq!(db.tip(), "4a");
    assert_eq!(db.branch(upper("3"), lower("")), ["3", "2", "1", "0"]);
    assert_eq!(db.branch(upper("4a"), lower("3")), ["4a", "3a", "2a"]);
}

#[test]
fn parts_become_one_when_the_block_between_them_comes() {
    let mut drawing = Drawing::default();
    let blocks = drawing.draw("0-1-2-3-4-5");
    let mut parts = Database::empty();
    parts.add(blocks.iter().skip(3));
    parts.add(blocks.iter().take(2));
    let branch = |parts: &Database| {
        let mut query = BranchQuery { limit: 9, ..BranchQuery::default() };
        query.bounds.upper = drawing.hashes("5");
        let page = parts.reader().view().branch_hashes(CHAIN, &query).unwrap();
        page.items.into_iter().map(|hash| drawing.label(hash)).collect::<Vec<_>>()
    };
    assert_eq!(branch(&parts), ["5", "4", "3"]);
    parts.add(blocks.iter().skip(2).take(1));
    assert_eq!(branch(&parts), ["5", "4", "3", "2", "1", "0"]);
    assert_eq!(branch(&parts.reopen()), ["5", "4", "3", "2", "1", "0"]);
}

#[test]
fn a_view_does_not_see_what_is_written_after_it() {
    let mut drawing = Drawing::default();
    let mut database = Database::empty();
    database.add(&drawing.draw("0-1-2"));
    let reader = database.reader().clone();
    let view = reader.view();
    database.add(&drawing.draw("2-3  1-2a"));
    let upper = |label| {
        let mut query = BranchQuery { limit: 9, ..BranchQuery::default() };
        query.bounds.upper = drawing.hashes(label);
        query
    };
    assert!(matches!(view.branch_hashes(CHAIN, &upper("3")), Err(QueryError::UnknownHash(_))));
    assert_eq!(view.tip(CHAIN).unwrap().hash, drawing.hash("2"));
    assert_eq!(reader.view().branch_hashes(CHAIN, &upper("3")).unwrap().items.len(), 4);
}

#[test]
fn records_are_the_bytes_that_came_in() {
    let db = tree("0-1-2  1-2a");
    let page = db.database().reader().view();
    let page: Page<Records> =
        page.branch_headers(CHAIN, &db.query(upper("2a"), lower(""))).unwrap();
    let bytes: Vec<u8> = page.items.into_slices().concat();
    assert_eq!(bytes, dump(["2a", "1", "0"].map(|label| db.drawing().header(label))));
}
