//! Headers → the items of a JSON page.

use criterion::Criterion;
use fixtures::rendered::{objects, strings};
use fixtures::{Fixtures, PAGE};
use plait_engine::HeaderRef;
use plait_engine::header::text;

use crate::{headers, time};

pub(crate) fn stage(criterion: &mut Criterion, fixtures: &Fixtures) {
    let mut group = criterion.benchmark_group("encode/string");
    group.throughput(headers(PAGE));
    let prepare = || {
        let headers = fixtures.first(PAGE);
        let slow: Vec<String> = headers.iter().map(|header| slow_string(header.view())).collect();
        assert_eq!(strings(headers), slow.concat().as_bytes());
        headers
    };
    time(&mut group, "page_360", prepare, |headers| strings(headers));
    group.finish();

    let mut group = criterion.benchmark_group("encode/object");
    group.throughput(headers(PAGE));
    let prepare = || {
        let headers = fixtures.first(PAGE);
        for header in headers {
            let object = objects(std::slice::from_ref(header));
            let object = str::from_utf8(&object).expect("text");
            assert_eq!(text::from_object(object).expect("a header"), *header);
        }
        headers
    };
    time(&mut group, "page_360", prepare, |headers| objects(headers));
    group.finish();
}

/// The slow twin: six bits at a time.
fn slow_string(header: HeaderRef<'_>) -> String {
    let alphabet = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']);
    let alphabet: Vec<char> = alphabet.collect();
    let four = |three: &[u8]| {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| alphabet[bits >> shift & 63])
    };
    let text: String = header.as_bytes().chunks_exact(3).flat_map(four).collect();
    format!("\"{text}\"")
}
