//! Heights → a page of headers of a database, orphans too, by ascending rank.

use criterion::Criterion;
use fixtures::{CHAIN, Fixtures, PAGE};
use plait_engine::header::LEN;
use plait_engine::{BlockHeight, Cursor, Heights, RangeQuery, Reader, Records};

use crate::{headers, time};

type Ask = fn(&Fixtures) -> RangeQuery;

const CASES: [(&str, Ask); 5] = [
    ("genesis", |_| RangeQuery { limit: PAGE, ..RangeQuery::default() }),
    ("minheight_high", |fixtures| from(fixtures.shape().top - 2 * PAGE as u64)),
    ("cursor_deep", |fixtures| {
        let deep = fixtures.chain().trunk(fixtures.shape().top / 4).view().hash();
        RangeQuery { cursor: Some(Cursor::Inclusive(deep)), limit: PAGE, ..RangeQuery::default() }
    }),
    ("beside_fork", |fixtures| from(fixtures.shape().braided / 2)),
    ("among_siblings", |fixtures| from(fixtures.shape().among().min().unwrap_or(0))),
];

pub(crate) fn stage(criterion: &mut Criterion, fixtures: &Fixtures) {
    let mut group = criterion.benchmark_group("range/page_360");
    group.throughput(headers(PAGE));
    for (name, ask) in CASES {
        let prepare = || {
            let (reader, query) = (fixtures.reader(), ask(fixtures));
            let expected = fixtures.chain().range(&query);
            assert_eq!(expected.len(), PAGE * LEN);
            assert!(page(reader, &query).into_slices().concat() == expected);
            (reader, query)
        };
        time(&mut group, name, prepare, |(reader, query)| page(reader, query));
    }
    let prepare = || {
        let query = from(fixtures.shape().top - 2 * PAGE as u64);
        let (node, height) = (fixtures.node(), query.heights.min());
        assert!(node.range(height, PAGE) == fixtures.chain().range(&query));
        (node, height)
    };
    time(&mut group, "minheight_high/node", prepare, |(node, height)| node.range(*height, PAGE));
    group.finish();
}

fn from(height: u64) -> RangeQuery {
    let min = Some(BlockHeight::new(height));
    RangeQuery { heights: Heights { min, max: None }, limit: PAGE, cursor: None }
}

fn page(reader: &Reader, query: &RangeQuery) -> Records {
    reader.view().range_headers(CHAIN, query).expect("a page").items
}
