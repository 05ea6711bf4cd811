//! Bounds → a page of headers of a database, by descending height.

use criterion::Criterion;
use fixtures::{CHAIN, Fixtures, History, PAGE, heights};
use plait_engine::header::LEN;
use plait_engine::{
    BlockHash, BlockHeight, Bounds, BranchQuery, Cursor, HeaderRef, Heights, Reader, Records,
};
use testkit::oracle::Oracle;

use crate::{headers, time};

pub(crate) fn stage(criterion: &mut Criterion, fixtures: &Fixtures) {
    let mut group = criterion.benchmark_group("branch/page_360");
    group.throughput(headers(PAGE));
    let mut case = |name: &str, ask: fn(&History) -> BranchQuery| {
        let prepare = || {
            let (reader, query) = (fixtures.reader(), ask(fixtures.history()));
            let oracle = Oracle::new(fixtures.history().chain());
            let expected = oracle.branch_page(&query).expect("every bound is known").items;
            assert_eq!(expected.len(), PAGE);
            assert!(page(reader, &query).iter().map(HeaderRef::hash).eq(expected));
            (reader, query)
        };
        time(&mut group, name, prepare, |(reader, query)| page(reader, query));
    };
    case("tip", below_tip);
    case("cursor_deep", |history| {
        let deep = history.chain().nth(2 * PAGE).map(|header| header.view().hash());
        BranchQuery { cursor: deep.map(Cursor::Inclusive), ..below_tip(history) }
    });
    case("maxheight_low", |history| {
        let max = Some(BlockHeight::new(2 * PAGE as u64));
        BranchQuery { heights: Heights { min: None, max }, ..below_tip(history) }
    });
    case("in_fork", |history| below(vec![history.fork_tip()]));
    case("lower_near", |history| {
        let near = heights() - PAGE as u64;
        let mut query = below_tip(history);
        let at_near = history.chain().filter(|header| header.view().height().get() == near);
        query.bounds.lower = at_near.map(|header| header.view().hash()).collect();
        query
    });
    case("bounds=32", |history| {
        let blocks: Vec<BlockHash> = history.chain().map(|header| header.view().hash()).collect();
        let every = blocks.len() / 32;
        below(blocks.iter().copied().step_by(every).take(31).chain([history.tip()]).collect())
    });
    // The slow twin, for the ratio.
    let prepare = || {
        let (reader, query) = (fixtures.reader(), below_tip(fixtures.history()));
        assert!(walk(reader, &query) == page(reader, &query).into_slices().concat());
        (reader, query)
    };
    time(&mut group, "tip/walk", prepare, |(reader, query)| walk(reader, query));
    group.finish();
}

fn below_tip(history: &History) -> BranchQuery {
    below(vec![history.tip()])
}

fn below(upper: Vec<BlockHash>) -> BranchQuery {
    let bounds = Bounds { upper, lower: Vec::new() };
    BranchQuery { bounds, limit: PAGE, ..BranchQuery::default() }
}

fn page(reader: &Reader, query: &BranchQuery) -> Records {
    reader.view().branch_headers(CHAIN, query).expect("a page").items
}

/// From the only bound down, with two point lookups a parent: where it is, then its header.
fn walk(reader: &Reader, query: &BranchQuery) -> Vec<u8> {
    let view = reader.view();
    let mut out = Vec::with_capacity(PAGE * LEN);
    let mut next = query.bounds.upper.first().copied();
    while let Some(hash) = next.filter(|_| out.len() < PAGE * LEN) {
        let header = view.header(CHAIN, &hash).expect("a lookup");
        out.extend(header.iter().flat_map(|header| header.view().as_bytes()));
        next = header.map(|header| header.view().parent());
    }
    out
}
