//! Ten thousand connections that ask for nothing, or for something a byte at a time: what they cost
//! the clients that want an answer, and the server.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fixtures::{CHAIN, Plait, Row, Target, data, media};
use plait_engine::Engine;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::wrk;
use crate::{Bench, float};

/// Connections, half of them idle and half of them slow.
const CROWD: usize = 10_000;

/// Files that this process and the server need beside those.
const OTHER_FILES: u64 = 512;

/// Clients that ask for small pages.
const CLIENTS: usize = 16;

/// A page of ten headers.
const LIMIT: &str = "?limit=10";

/// Time between two bytes of a slow client.
const SLOWLY: Duration = Duration::from_secs(1);

/// Parts of that time, in each of which some of them send.
const PARTS: u32 = 100;

/// How long the server may take to let go of connections that are gone.
const PATIENCE: Duration = Duration::from_secs(30);

const NAME: &str = "crowd/p99";

pub(crate) fn measure(bench: &mut Bench) {
    if !wrk::is_here() {
        bench.rows.push(Row::missing(NAME, "not measured: wrk is not installed"));
        return;
    }
    let is_quick = bench.fixtures.shape().is_quick();
    let crowd = if is_quick { CROWD / 10 } else { CROWD };
    if !has_files(crowd as u64 + OTHER_FILES) {
        bench.rows.push(Row::missing(NAME, "not measured: too few files may be open"));
        return;
    }
    let most = (crowd + 100).to_string();
    // Or the crowd would be thinned out while it is measured.
    let flags = ["--max-connections", &*most, "--head-time", "3600", "--idle-time", "3600"];
    // That of the other benches is served.
    let database = data::plain(if is_quick { 2_000 } else { 25_000 });
    let tip = Engine::open_read_only(&database).expect("a database").view().tip(CHAIN);
    let server = Plait::serve_with(&database, &flags, Stdio::null());
    let tip = tip.expect("a chain with blocks").hash;
    let small = Target::branch(server.address, media::JSON, LIMIT, tip);
    let _warm = wrk::run(&small, CLIENTS, bench.time);
    let held = || (server.process.resident_bytes().unwrap_or(0), server.process.file_count());
    let before = held();
    let (stop, mut pairs, mut peak) = (AtomicBool::new(false), Vec::new(), 0);
    for _ in 0..bench.rounds.min(3) {
        let idle = wrk::run(&small, CLIENTS, bench.time);
        let mut connections = gather(server.address, crowd);
        let crowded = thread::scope(|scope| {
            let half = connections.len() / 2;
            let slow = connections.get_mut(half..).unwrap_or_default();
            scope.spawn(|| dribble(slow, &stop));
            let crowded = wrk::run(&small, CLIENTS, bench.time);
            peak = peak.max(held().0);
            stop.store(true, Ordering::Relaxed);
            crowded
        });
        stop.store(false, Ordering::Relaxed);
        drop(connections);
        wait_until(|| held().1 <= before.1);
        pairs.push((crowded.p99_micros, idle.p99_micros));
    }
    let note = format!("B: without {crowd} connections, half of them idle, half of them slow");
    bench.rows.push(Row::pairs(NAME, "us", &pairs).note(note));
    let bytes = float(peak.saturating_sub(before.0)) / float(crowd as u64);
    bench.rows.push(Row::new("crowd/memory", bytes / 1024.0, "KiB each"));
    let note = format!("{} files open, {} before", held().1, before.1);
    let mebi = float(held().0) / float(1 << 20);
    bench.rows.push(Row::new("crowd/after", mebi, "MiB").note(note));
}

/// Whether so many files may be open; takes what the system grants.
pub(crate) fn has_files(count: u64) -> bool {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    maximum.is_none_or(|maximum| maximum >= count)
}

/// Connections that have asked once, so that the server has taken them.
fn gather(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let connect = |_| TcpStream::connect(address).expect("the server takes the connection");
    (0..count).map(connect).collect()
}

/// Sends a request on each connection, a byte at a time, never to its end.
fn dribble(connections: &mut [TcpStream], stop: &AtomicBool) {
    let request = b"GET /chainweb/0.0/development/cut HTTP/1.1\r\nHost: slow\r\nX-Slow: ";
    for byte in request.iter().chain(std::iter::repeat(&b'x')) {
        let parts = connections.len().div_ceil(PARTS as usize);
        for some in connections.chunks_mut(parts.max(1)) {
            let start = Instant::now();
            for connection in some {
                connection.write_all(&[*byte]).expect("the server keeps the connection");
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep((SLOWLY / PARTS).saturating_sub(start.elapsed()));
        }
    }
}

fn wait_until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "the server holds on to connections that are gone");
        thread::sleep(Duration::from_millis(50));
    }
}
