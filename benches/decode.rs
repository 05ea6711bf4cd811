//! Bytes or text → every field of a header.

use std::hint::black_box;

use criterion::Criterion;
use fixtures::{Fixtures, PAGE};
use plait_engine::header::{LEN, TextError, text};
use plait_engine::{Header, HeaderRef, Weight};
use testkit::block::{NETWORK, dump};

use crate::{headers, time};

pub(crate) fn stage(criterion: &mut Criterion, fixtures: &Fixtures) {
    let mut group = criterion.benchmark_group("decode/all_fields");
    for (case, count) in [("page_360", PAGE), ("100k", 100_000)] {
        group.throughput(headers(count));
        let prepare = || {
            let bytes = dump(fixtures.first(count));
            assert_eq!(sum_of_fields(&bytes), slow_sum_of_fields(&bytes));
            bytes
        };
        time(&mut group, case, prepare, |bytes| sum_of_fields(bytes));
    }
    group.finish();

    let mut group = criterion.benchmark_group("decode/string");
    group.throughput(headers(PAGE));
    let read = |text: &str| text::from_string(text.trim_matches('"'));
    let prepare = || texts(fixtures, text::push_string, read);
    time(&mut group, "page_360", prepare, |texts| {
        texts.iter().filter_map(|text| black_box(read(text)).ok()).count()
    });
    group.finish();

    let mut group = criterion.benchmark_group("decode/object");
    group.throughput(headers(PAGE));
    let push = |out: &mut Vec<u8>, header: HeaderRef<'_>| text::push_object(out, header, NETWORK);
    let prepare = || texts(fixtures, push, text::from_object);
    time(&mut group, "page_360", prepare, |texts| {
        texts.iter().filter_map(|text| black_box(text::from_object(text)).ok()).count()
    });
    group.finish();
}

/// A page in a text form that is read back to the same headers.
fn texts(
    fixtures: &Fixtures,
    push: impl Fn(&mut Vec<u8>, HeaderRef<'_>),
    read: impl Fn(&str) -> Result<Header, TextError>,
) -> Vec<String> {
    let headers = fixtures.first(PAGE);
    let text = |header: &Header| {
        let mut out = Vec::new();
        push(&mut out, header.view());
        String::from_utf8(out).expect("text")
    };
    let texts: Vec<String> = headers.iter().map(text).collect();
    assert!(texts.iter().map(|text| read(text).expect("a header")).eq(headers.iter().copied()));
    texts
}

fn sum_of_fields(bytes: &[u8]) -> u64 {
    let headers = bytes.chunks_exact(LEN).map(HeaderRef::parse);
    headers.fold(0, |sum, header| sum.wrapping_add(header.map_or(0, sum_of)))
}

/// The sum of all fields; of those of 32 bytes the first eight count.
fn sum_of(header: HeaderRef<'_>) -> u64 {
    let numbers = [
        header.feature_flags(),
        header.creation_time().get().cast_unsigned(),
        header.chain().get().into(),
        header.height().get(),
        header.version_code().into(),
        header.epoch_start().get().cast_unsigned(),
        header.nonce(),
        header.target().get().as_limbs()[0],
        header.weight().get().as_limbs()[0],
        word(header.parent().as_bytes()),
        word(header.payload_hash().as_bytes()),
        word(header.hash().as_bytes()),
    ];
    let adjacents = header.adjacents().iter();
    let adjacents = adjacents.flat_map(|(chain, hash)| [chain.get().into(), word(hash.as_bytes())]);
    numbers.into_iter().chain(adjacents).fold(0, u64::wrapping_add)
}

fn word(bytes: &[u8; 32]) -> u64 {
    Weight::from_le(*bytes).get().as_limbs()[0]
}

/// The slow twin: byte by byte, by the offsets of the format.
fn slow_sum_of_fields(bytes: &[u8]) -> u64 {
    let words = [0, 8, 16, 54, 90, 126, 158, 190, 226, 258, 270, 278, 286].map(|at| (at, 8));
    let halves = [50, 86, 122, 222, 266].map(|at| (at, 4));
    let fields = words.into_iter().chain(halves);
    let field = |header: &[u8], (at, len): (usize, usize)| {
        header[at..at + len].iter().rev().fold(0_u64, |n, byte| n << 8 | u64::from(*byte))
    };
    let sum = |header: &[u8]| fields.clone().map(|at| field(header, at)).fold(0, u64::wrapping_add);
    bytes.chunks_exact(LEN).map(sum).fold(0, u64::wrapping_add)
}
