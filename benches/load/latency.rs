//! Small pages: how long the slowest of a hundred takes, when nothing else happens, and while another
//! client reads all it can and another process replays a dump on the same disk.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use fixtures::{Connection, Plait, Row, Target, data, media, median};

use crate::wrk::{self, Found};
use crate::{Bench, float};

/// Connections that ask for small pages.
const CONNECTIONS: usize = 4;

/// A page of ten headers.
const LIMIT: &str = "?limit=10";

/// Bytes that are streamed at least while small pages are asked for.
const STREAMED_MIN: u64 = 10_000_000_000;

pub(crate) fn measure(bench: &mut Bench) {
    const NAME: &str = "http/latency_10/p99";
    if !wrk::is_here() {
        bench.rows.push(Row::missing(NAME, "not measured: wrk is not installed"));
        return;
    }
    let (address, tip) = (bench.plait.address, bench.fixtures.chain().tip());
    let small = Target::branch(address, media::JSON, LIMIT, tip);
    let streamed = Target::headers(address, media::OCTETS, "");
    rows(bench, NAME, &small, &streamed);
    let Some(nginx) = &bench.nginx else { return };
    nginx.put("small", &small.fetch());
    let small = Target::file(nginx.address, "small");
    let streamed = Target::file(nginx.address, "chain");
    rows(bench, "http/latency_10/p99/nginx", &small, &streamed);
}

fn rows(bench: &mut Bench, name: &str, small: &Target, streamed: &Target) {
    let is_quick = bench.fixtures.shape().is_quick();
    let at_least = if is_quick { 0 } else { STREAMED_MIN };
    let mut runs = Vec::new();
    for _ in 0..bench.rounds.min(3) {
        let ask = || wrk::run(small, CONNECTIONS, bench.time);
        let idle = ask();
        let (loaded, bytes, replays) = under_load(streamed, at_least, is_quick, ask);
        runs.push((idle, loaded, bytes, replays));
    }
    let bytes: u64 = runs.iter().map(|run| run.2).sum();
    let replays: usize = runs.iter().map(|run| run.3).sum();
    let micros = |of: fn(&(Found, Found, u64, usize)) -> f64| median(runs.iter().map(of).collect());
    let [idle, loaded, ratio] = [
        micros(|run| run.0.p99_micros),
        micros(|run| run.1.p99_micros),
        micros(|run| run.1.p99_micros / run.0.p99_micros),
    ];
    let medians = [micros(|run| run.0.p50_micros), micros(|run| run.1.p50_micros)];
    let note = format!(
        "B: idle; p50 {:.0} idle, {:.0} loaded; {:.1} GB streamed in all, {replays} replays \
         begun",
        medians[0],
        medians[1],
        float(bytes) / 1e9,
    );
    let row = Row::new(name, loaded, "us").note(note);
    bench.rows.push(Row { peer: Some(idle), ratio: Some(ratio), ..row });
}

/// Asks again and again while one client streams `target` without a pause and `plait replay` runs in a
/// process of its own, until `at_least` as many bytes were streamed. Gives the medians of what was found,
/// and the bytes and replays.
fn under_load(
    target: &Target,
    at_least: u64,
    is_quick: bool,
    ask: impl Fn() -> Found,
) -> (Found, u64, usize) {
    let dump = data::dump_file(if is_quick { 200_000 } else { 2_000_000 });
    let (stop, bytes) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                Connection::open(target.address).stream(&target.request(), |slice| {
                    bytes.fetch_add(slice.len() as u64, Ordering::Relaxed);
                    !stop.load(Ordering::Relaxed)
                });
            }
        });
        let replays = scope.spawn(|| {
            let mut replays = 0;
            while !stop.load(Ordering::Relaxed) {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let mut replay = Plait::replay(&dump, &folder.path().join("db"));
                replays += 1;
                while replay.is_running() && !stop.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(20));
                }
            }
            replays
        });
        thread::sleep(Duration::from_millis(300));
        let mut found = vec![ask()];
        while bytes.load(Ordering::Relaxed) < at_least && found.len() < 11 {
            found.push(ask());
        }
        stop.store(true, Ordering::Relaxed);
        let replays = replays.join().expect("replays run");
        let micros = |of: fn(&Found) -> f64| median(found.iter().map(of).collect());
        let found = Found {
            requests_per_second: micros(|found| found.requests_per_second),
            p50_micros: micros(|found| found.p50_micros),
            p99_micros: micros(|found| found.p99_micros),
        };
        (found, bytes.load(Ordering::Relaxed), replays)
    })
}
