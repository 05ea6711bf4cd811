//! What the server holds while clients stream the whole chain, half of them without reading; before
//! and after with its caches full.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fixtures::{Connection, Row, Target, media};

use crate::{Bench, float};

const CLIENTS: usize = 64;

/// Bytes that a client reads before it stops reading.
const STALL_BYTES: u64 = 1 << 20;

/// How long the server may take to give memory back.
const REST: Duration = Duration::from_secs(2);

pub(crate) fn measure(bench: &mut Bench) {
    let target = Target::headers(bench.plait.address, media::OCTETS, "");
    let Some(new) = bench.plait.process.resident_bytes() else {
        bench.rows.push(Row::missing("http/memory", "not measured: the system does not tell"));
        return;
    };
    // Fills the caches, so that what is more afterwards is of the clients.
    Connection::open(target.address).stream(&target.request(), |_| true);
    thread::sleep(REST);
    let before = bench.plait.process.resident_bytes().unwrap_or(0);
    let (stop, bytes, most) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let time = bench.time * 4;
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (target, stop, bytes) = (&target, &stop, &bytes);
            let stalls = client % 2 == 0;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    client_of(target, stalls, stop, bytes);
                }
            });
        }
        let start = Instant::now();
        while start.elapsed() < time {
            let now = bench.plait.process.resident_bytes().unwrap_or(0);
            most.fetch_max(now, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
    });
    thread::sleep(REST);
    let after = bench.plait.process.resident_bytes().unwrap_or(0);
    let mebi = |bytes: u64| float(bytes) / float(1 << 20);
    let note = format!("{:.1} GB were read", float(bytes.into_inner()) / 1e9);
    for (name, bytes) in [
        ("http/memory/new", new),
        ("http/memory/before", before),
        ("http/memory/64_streams_32_stalled", most.into_inner()),
        ("http/memory/after", after),
    ] {
        bench.rows.push(Row::new(name, mebi(bytes), "MiB").note(&note));
    }
}

fn client_of(target: &Target, stalls: bool, stop: &AtomicBool, bytes: &AtomicU64) {
    let mut mine = 0;
    Connection::open(target.address).stream(&target.request(), |slice| {
        mine += slice.len() as u64;
        bytes.fetch_add(slice.len() as u64, Ordering::Relaxed);
        while stalls && mine > STALL_BYTES && !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
        !stop.load(Ordering::Relaxed)
    });
}
