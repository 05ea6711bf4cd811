//! Ratios that are promised, each of two things that are timed in turns, A B A B, a few milliseconds
//! each. What else the machine does meanwhile hits both; the ratio is the median over all pairs.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench that goes wrong ends the run"
)]

mod cut;
mod depth;

use std::hint::black_box;
use std::time::{Duration, Instant};

use fixtures::{CHAIN, Fixtures, Row, Rows, Shape, ask};
use plait_engine::{BranchQuery, Reader};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long one of a pair is timed at least.
const TURN: Duration = Duration::from_millis(5);

fn main() {
    if std::env::args().nth(1).as_deref() == Some("depth") {
        return depth::measure(&mut Rows::new("pairs"), Shape::from_env().is_quick());
    }
    let fixtures = Fixtures::new(Shape::from_env());
    let pairs = if fixtures.shape().is_quick() { 20 } else { 100 };
    let mut rows = Rows::new("pairs");
    let (reader, node) = (fixtures.reader(), fixtures.node());
    let tip = ask::below_tip(&fixtures);
    let copied = fixtures.chain().branch(&tip);
    let start = fixtures.chain().trunk(fixtures.shape().top).view().rank();
    let mut push = |name: &str, a: &mut dyn FnMut(), b: &mut dyn FnMut()| {
        let turns: Vec<_> = (0..pairs).map(|_| (micros(a), micros(b))).collect();
        rows.push(Row::pairs(format!("pairs/branch_360/{name}"), "us", &turns));
    };
    let mut at_tip = || page(reader, &tip);
    push("node:tip", &mut || drop(black_box(node.branch(&tip))), &mut at_tip);
    let mut reverse = || drop(black_box(node.descend(start, tip.limit)));
    push("reverse:tip", &mut reverse, &mut at_tip);
    push("tip:copy", &mut at_tip, &mut || drop(black_box(copied.clone())));
    for (name, ask) in ask::BRANCHES {
        let query = ask(&fixtures);
        push(&format!("{name}:tip"), &mut || page(reader, &query), &mut at_tip);
    }
    let low = ask::branch(&fixtures, "maxheight_low");
    let mut node_low = || drop(black_box(node.branch(&low)));
    push("node_maxheight_low:maxheight_low", &mut node_low, &mut || page(reader, &low));
    cut::measure(&mut rows, fixtures.shape().is_quick());
    depth::measure(&mut rows, fixtures.shape().is_quick());
}

/// The median of what a call takes.
fn micros(call: &mut dyn FnMut()) -> f64 {
    let (mut times, start) = (Vec::new(), Instant::now());
    while start.elapsed() < TURN || times.len() < 3 {
        let begin = Instant::now();
        call();
        times.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    fixtures::median(times)
}

fn page(reader: &Reader, query: &BranchQuery) {
    black_box(reader.view().branch_headers(CHAIN, query).expect("a page"));
}
