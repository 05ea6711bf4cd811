//! Heights → a page of headers of a database, orphans too, by ascending rank.

use criterion::Criterion;
use fixtures::{CHAIN, Fixtures, History, PAGE, heights};
use plait_engine::{BlockHeight, Cursor, HeaderRef, Heights, RangeQuery, Reader, Records};
use testkit::oracle::Oracle;

use crate::{headers, time};

pub(crate) fn stage(criterion: &mut Criterion, fixtures: &Fixtures) {
    let mut group = criterion.benchmark_group("range/page_360");
    group.throughput(headers(PAGE));
    let mut case = |name: &str, ask: fn(&History) -> RangeQuery| {
        let prepare = || {
            let (reader, query) = (fixtures.reader(), ask(fixtures.history()));
            let oracle = Oracle::new(fixtures.history().chain());
            let expected = oracle.range_page(&query).expect("the cursor is known").items;
            assert_eq!(expected.len(), PAGE);
            assert!(page(reader, &query).iter().map(HeaderRef::hash).eq(expected));
            (reader, query)
        };
        time(&mut group, name, prepare, |(reader, query)| page(reader, query));
    };
    case("genesis", |_| RangeQuery { limit: PAGE, ..RangeQuery::default() });
    case("minheight_high", |_| {
        let min = Some(BlockHeight::new(heights() - 2 * PAGE as u64));
        RangeQuery { heights: Heights { min, max: None }, limit: PAGE, cursor: None }
    });
    case("cursor_deep", |history| {
        let deep = history.chain().find(|header| header.view().height().get() == heights() / 4);
        let cursor = deep.map(|header| Cursor::Inclusive(header.view().hash()));
        RangeQuery { heights: Heights::default(), limit: PAGE, cursor }
    });
    case("beside_fork", |_| {
        let min = Some(BlockHeight::new(heights() / 2));
        RangeQuery { heights: Heights { min, max: None }, limit: PAGE, cursor: None }
    });
    group.finish();
}

fn page(reader: &Reader, query: &RangeQuery) -> Records {
    reader.view().range_headers(CHAIN, query).expect("a page").items
}
