//! Header → its two hashes.

use criterion::Criterion;
use fixtures::{Fixtures, PAGE};
use plait_engine::header::{merkle, text};
use plait_engine::verify::pow_hash;
use plait_engine::{BlockHash, Header, HeaderRef, Target};

use crate::{headers, time};

/// Headers of mainnet01 that its users' documents print, with the hashes that miners found.
const MAINNET01: &str = include_str!("../tests/vectors/mainnet01-user-docs.jsonl");

pub(crate) fn stage(criterion: &mut Criterion, fixtures: &Fixtures) {
    let mut group = criterion.benchmark_group("hash/block_hash");
    group.throughput(headers(PAGE));
    let prepare = || {
        for header in mainnet01() {
            assert_eq!(merkle::block_hash(header.view()), header.view().hash());
        }
        fixtures.first(PAGE)
    };
    time(&mut group, "page_360", prepare, |headers| all(headers, merkle::block_hash));
    group.finish();

    let mut group = criterion.benchmark_group("hash/pow");
    group.throughput(headers(PAGE));
    let prepare = || {
        for header in mainnet01() {
            let mut number = *pow_hash(header.view()).as_bytes();
            number.reverse();
            assert!(Target::from_le(number) <= header.view().target());
        }
        fixtures.first(PAGE)
    };
    time(&mut group, "page_360", prepare, |headers| all(headers, pow_hash));
    group.finish();
}

/// The hashes of all headers, folded into one.
fn all(headers: &[Header], hash: impl Fn(HeaderRef<'_>) -> BlockHash) -> [u8; 32] {
    headers.iter().fold([0; 32], |mut sum, header| {
        let hash = hash(header.view());
        sum.iter_mut().zip(hash.as_bytes()).for_each(|(sum, byte)| *sum ^= byte);
        sum
    })
}

/// Each line is a JSON object or a JSON string.
fn mainnet01() -> impl Iterator<Item = Header> {
    MAINNET01.lines().map(|line| {
        let string = line.strip_prefix('"').and_then(|line| line.strip_suffix('"'));
        let header = string.map_or_else(|| text::from_object(line), text::from_string);
        header.expect("a header")
    })
}
