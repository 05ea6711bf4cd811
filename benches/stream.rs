//! The whole chain, chunk after chunk, as the server streams it.

use std::hint::black_box;
use std::ops::ControlFlow;

use criterion::{Criterion, SamplingMode};
use fixtures::{CHAIN, Fixtures, ask};
use plait_engine::header::LEN;
use plait_engine::{BlockHeight, BranchQuery, RangeQuery, Reader, Scan};

use crate::{headers, time};

/// Headers of a chunk: the server's default.
const CHUNK: usize = 512;

pub(crate) fn stage(criterion: &mut Criterion, fixtures: &Fixtures) {
    let mut group = criterion.benchmark_group("stream/chain");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    if ["range", "range/node", "range/copy"].into_iter().any(is_wanted) {
        group.throughput(headers(fixtures.chain().headers().len()));
    }
    let everything = || fixtures.chain().range(&RangeQuery { limit: usize::MAX, ..all() });
    let prepare = || {
        let (reader, expected) = (fixtures.reader(), everything());
        check(&expected, |at| range(reader, at));
        reader
    };
    time(&mut group, "range", prepare, |reader| sum(|at| range(reader, at)));
    let node_range = |node: &peers::Node, at: Sink<'_>| {
        node.ascend(BlockHeight::new(0), |header| at(header.as_bytes()).is_continue());
    };
    let prepare = || {
        check(&everything(), |at| node_range(fixtures.node(), at));
        fixtures.node()
    };
    time(&mut group, "range/node", prepare, |node| sum(|at| node_range(node, at)));
    time(&mut group, "range/copy", everything, |bytes| {
        let mut total = 0_u64;
        for chunk in bytes.chunks(CHUNK * LEN) {
            let copy = black_box(Vec::from(chunk));
            total = total.wrapping_add(sum_of(&copy));
        }
        total
    });
    if is_wanted("branch") {
        let top = usize::try_from(fixtures.chain().top()).expect("a number of blocks");
        group.throughput(headers(top + 1));
    }
    let prepare = || {
        let (reader, query) = (fixtures.reader(), ask::below_tip(fixtures));
        let expected = fixtures.chain().branch(&BranchQuery { limit: usize::MAX, ..query.clone() });
        check(&expected, |at| branch(reader, &query, at));
        (reader, query)
    };
    time(&mut group, "branch", prepare, |(reader, query)| sum(|at| branch(reader, query, at)));
    group.finish();
}

fn is_wanted(case: &str) -> bool {
    crate::is_wanted(&format!("stream/chain/{case}"))
}

fn all() -> RangeQuery {
    RangeQuery::default()
}

type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> ControlFlow<()>;

fn range(reader: &Reader, at: Sink<'_>) {
    chunks(reader, reader.view().range_scan(CHAIN, &all()).expect("a scan"), at);
}

fn branch(reader: &Reader, query: &BranchQuery, at: Sink<'_>) {
    chunks(reader, reader.view().branch_scan(CHAIN, query).expect("a scan"), at);
}

/// A view for every chunk, as in the server.
fn chunks(reader: &Reader, mut scan: Scan, at: Sink<'_>) {
    while let Some(records) = scan.next(&reader.view(), CHUNK).expect("a chunk") {
        for slice in records.into_slices() {
            if at(&slice).is_break() {
                return;
            }
        }
    }
}

fn sum(scan: impl FnOnce(Sink<'_>)) -> u64 {
    let mut total = 0_u64;
    scan(&mut |bytes| {
        total = total.wrapping_add(sum_of(bytes));
        ControlFlow::Continue(())
    });
    total
}

/// Every cache line is touched.
fn sum_of(bytes: &[u8]) -> u64 {
    bytes.iter().step_by(64).map(|byte| u64::from(*byte)).sum()
}

fn check(expected: &[u8], scan: impl FnOnce(Sink<'_>)) {
    let mut rest = expected;
    scan(&mut |bytes| {
        assert!(rest.starts_with(bytes));
        rest = &rest[bytes.len()..];
        ControlFlow::Continue(())
    });
    assert!(rest.is_empty());
}
