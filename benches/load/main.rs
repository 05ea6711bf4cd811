//! The server under load, next to nginx that serves files of the same bytes, under the same load
//! generator.
//!
//! `load memory streams` measures these parts alone.
//!
//! What is compared is measured in turns, A B A B, and the ratio is the median over the pairs: what
//! else the machine does meanwhile hits both.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench that goes wrong ends the run"
)]

mod backup;
mod crowd;
mod latency;
mod memory;
mod pages;
mod streams;
mod updates;
mod wrk;

use std::env;
use std::time::Duration;

use fixtures::{Fixtures, Nginx, Plait, Rows, Shape, timed};

/// What is measured, for how long, and how often.
struct Bench {
    fixtures: Fixtures,
    plait: Plait,
    nginx: Option<Nginx>,
    /// Of one run of the load generator.
    time: Duration,
    rounds: usize,
    rows: Rows,
}

type Measure = fn(&mut Bench);

/// The parts, memory first: the server holds nothing of what was measured before then.
const PARTS: [(&str, Measure); 7] = [
    ("memory", memory::measure),
    ("pages", pages::measure),
    ("streams", streams::measure),
    ("latency", latency::measure),
    ("crowd", crowd::measure),
    ("updates", updates::measure),
    ("backup", backup::measure),
];

fn main() {
    let wanted: Vec<String> = env::args().skip(1).collect();
    let fixtures = Fixtures::new(Shape::from_env());
    let is_quick = fixtures.shape().is_quick();
    let (time, rounds) = if is_quick { (1, 3) } else { (3, 5) };
    let database = fixtures.data().database();
    let plait = timed("plait serve", || Plait::serve(&database));
    let time = Duration::from_secs(time);
    let (nginx, rows) = (Nginx::start(), Rows::new("load"));
    if let Some(nginx) = &nginx {
        nginx.link("chain", &fixtures.data().chain());
    }
    let mut bench = Bench { fixtures, plait, nginx, time, rounds, rows };
    for (part, measure) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|name| name == part) {
            measure(&mut bench);
        }
    }
}

/// A duration, or what a counter has, as a number to divide.
#[expect(clippy::cast_precision_loss, reason = "results are rounded anyway")]
const fn float(number: u64) -> f64 {
    number as f64
}
