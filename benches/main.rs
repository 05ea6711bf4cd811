//! The stages of Plait, one after the other. See README.md.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench that goes wrong ends the run"
)]

mod ancestors;
mod branch;
mod decode;
mod encode;
mod hash;
mod http;
mod lookup;
mod payload;
mod range;
mod replay;
mod stream;

use std::cell::LazyCell;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use fixtures::{Fixtures, Shape};
use plait_engine::header::LEN;

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn main() {
    let shape = Shape::from_env();
    let (warm_up, measurement) = if shape.is_quick() { (100, 500) } else { (500, 2000) };
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(warm_up))
        .measurement_time(Duration::from_millis(measurement))
        .configure_from_args();
    let fixtures = Fixtures::new(shape);
    decode::stage(&mut criterion, &fixtures);
    hash::stage(&mut criterion, &fixtures);
    encode::stage(&mut criterion, &fixtures);
    payload::stage(&mut criterion);
    ancestors::stage(&mut criterion);
    lookup::stage(&mut criterion, &fixtures);
    branch::stage(&mut criterion, &fixtures);
    range::stage(&mut criterion, &fixtures);
    stream::stage(&mut criterion, &fixtures);
    http::stage(&mut criterion, &fixtures);
    replay::stage(&mut criterion);
    criterion.final_summary();
}

/// Times `routine`. What it runs on comes from `prepare`, which also checks what comes out of it, and
/// which is called only if the bench is asked for.
fn time<T, R>(
    group: &mut Group<'_>,
    case: &str,
    prepare: impl FnOnce() -> T,
    routine: impl Fn(&T) -> R,
) {
    let prepared = LazyCell::new(prepare);
    group.bench_function(case, |bencher| {
        let prepared = LazyCell::force(&prepared);
        bencher.iter(|| routine(prepared));
    });
}

/// Whether a bench of this name may be asked for: what has to be known of the data before it is
/// prepared is then worth making.
fn is_wanted(name: &str) -> bool {
    let mut filters = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).peekable();
    filters.peek().is_none()
        || filters.any(|filter| name.contains(&filter) || filter.contains(['(', '[', '.', '*']))
}

/// What a routine takes in or out at a time.
const fn headers(headers: usize) -> Throughput {
    let headers = headers as u64;
    Throughput::ElementsAndBytes { elements: headers, bytes: headers * LEN as u64 }
}
