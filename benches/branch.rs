//! Bounds → a page of headers of a database, by descending height.

use criterion::{Criterion, SamplingMode};
use fixtures::ask::{self, BRANCHES};
use fixtures::{CHAIN, Fixtures, PAGE};
use plait_engine::header::LEN;
use plait_engine::{BranchQuery, Header, Reader, Records};

use crate::{headers, time};

/// Cases that chainweb-node is asked as well. Those that it walks a whole chain for are few: one of
/// them takes seconds.
const PEERS: [(&str, bool); 6] = [
    ("tip", false),
    ("maxheight_low", false),
    ("lower_near", false),
    ("in_fork", false),
    ("bounds=32", false),
    ("cursor_deep", true),
];

pub(crate) fn stage(criterion: &mut Criterion, fixtures: &Fixtures) {
    let mut group = criterion.benchmark_group("branch/page_360");
    group.throughput(headers(PAGE));
    for (name, ask) in BRANCHES {
        let prepare = || {
            let (reader, query) = (fixtures.reader(), ask(fixtures));
            let expected = fixtures.chain().branch(&query);
            assert_eq!(expected.len(), PAGE * LEN);
            assert!(page(reader, &query).into_slices().concat() == expected);
            (reader, query)
        };
        time(&mut group, name, prepare, |(reader, query)| page(reader, query));
    }
    peers(&mut group, fixtures);
    group.finish();
}

fn peers(group: &mut crate::Group<'_>, fixtures: &Fixtures) {
    let prepare = || fixtures.chain().branch(&ask::below_tip(fixtures));
    time(group, "tip/copy", prepare, |page| page.as_slice().to_vec());
    let prepare = || {
        let (chain, from) = (fixtures.chain(), fixtures.chain().trunk(fixtures.shape().top));
        let from = from.view().rank();
        let all = chain.headers().iter().rev().take(PAGE).map(Header::view);
        let expected: Vec<u8> = all.flat_map(|header| *header.as_bytes()).collect();
        assert!(fixtures.node().descend(from, PAGE) == expected);
        (fixtures.node(), from)
    };
    time(group, "tip/reverse", prepare, |(node, from)| node.descend(*from, PAGE));
    for (name, is_slow) in PEERS {
        if is_slow {
            group.sample_size(10).sampling_mode(SamplingMode::Flat);
        }
        let prepare = || {
            let (node, query) = (fixtures.node(), ask::branch(fixtures, name));
            if !is_slow {
                assert_same(&node.branch(&query), &fixtures.chain().branch(&query));
            }
            (node, query)
        };
        let routine = |(node, query): &(&peers::Node, BranchQuery)| {
            let page = node.branch(query);
            assert_eq!(page.len(), PAGE * LEN);
            page
        };
        time(group, &format!("{name}/node"), prepare, routine);
    }
}

/// The order of blocks of one height is nobody's business to a node.
fn assert_same(got: &[u8], expected: &[u8]) {
    let sorted = |page: &[u8]| {
        let mut records: Vec<Vec<u8>> = page.chunks_exact(LEN).map(<[u8]>::to_vec).collect();
        records.sort_unstable();
        records
    };
    assert!(sorted(got) == sorted(expected));
}

fn page(reader: &Reader, query: &BranchQuery) -> Records {
    reader.view().branch_headers(CHAIN, query).expect("a page").items
}
