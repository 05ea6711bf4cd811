//! Two servers, one that is pushed blocks and one that follows it, while both are killed again and
//! again: in the end they are equal.
//!
//! Short in `make test`; `PLAIT_KILL_SECONDS=600` makes it as long.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use plait_engine::Header;
use plait_engine::generate::{History, Plan};
use serde_json::Value;
use testkit::block::dump;
use testkit::http::{Client, Request};
use testkit::process::{plait, run};
use testkit::say;
use testkit::server::{Server, utf8};

use crate::follow::{FAST, blocks, cut_of, end, folder, until};
use crate::push::NETWORK;

/// Heights of the history for each second.
const HEIGHTS: u64 = 25;

/// Metrics tell how many blocks a server has.
const WATCHED: [&str; 2] = ["--metrics", "127.0.0.1:0"];

/// How long the follower may take to come into step once nothing is killed any more.
const PATIENCE: Duration = Duration::from_mins(2);

fn history(heights: u64, seed: u64) -> Vec<Header> {
    let plan = Plan { seed, forks: 0.02, fork_depth: 6, ..Plan::new(NETWORK, heights) };
    History::new(&plan).unwrap().collect()
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// The server with this database on this address, which takes blocks; started again if it was killed.
fn first(db: &Path, listen: &str) -> Server {
    let mut command = plait(["serve", "--db", utf8(db), "--network", "development"]);
    command.args(["--listen", listen, "--ingest", "127.0.0.1:0", "--ingest-batch", "64"]);
    command.args(WATCHED);
    command.stdout(Stdio::null());
    Server::of_command(command)
}

fn second(db: &Path, url: &str) -> Server {
    let own = ["--db", utf8(db), "--network", "development", "--follow", url];
    Server::with(&[&own[..], &WATCHED, &FAST].concat())
}

/// Pushes `headers` to where `address` says, a part at a time, until all are stored.
fn push_all(
    headers: &[Header],
    parts: usize,
    address: &Mutex<String>,
    stop: &AtomicBool,
    done: &AtomicUsize,
) {
    for part in headers.chunks(headers.len().div_ceil(parts)) {
        loop {
            let to = address.lock().unwrap().clone();
            if try_push(part, &to) || stop.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep(Duration::from_millis(30));
        }
        done.fetch_add(part.len(), Ordering::Relaxed);
        thread::sleep(Duration::from_millis(70));
    }
}

fn try_push(part: &[Header], to: &str) -> bool {
    let Ok(address) = to.parse() else { return false };
    if std::net::TcpStream::connect(address).is_err() {
        return false;
    }
    let Ok(mut client) = std::panic::catch_unwind(|| Client::connect(address)) else {
        return false;
    };
    let request = Request::new("POST", "/push").header("Content-Type", "application/octet-stream");
    let Ok(answer) = client.try_ask(&request.body(dump(part))) else { return false };
    let sum =
        answer.text().lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
    let Some(sum) = sum.filter(|sum| sum["done"] == true) else { return false };
    assert_eq!((&sum["waiting"], &sum["refused"]), (&0.into(), &0.into()), "{sum}");
    true
}

/// The files of an export, by their names, without the one that records how they looked to the file
/// system.
fn exported(db: &Path) -> BTreeMap<String, Vec<u8>> {
    let out = folder();
    let outcome = run(["export", "--db", utf8(db), "--out", utf8(&out.path().join("archive"))]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let files = fs::read_dir(out.path().join("archive")).unwrap().map(Result::unwrap);
    files
        .filter(|file| file.path().is_file() && file.file_name() != ".export")
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect()
}

#[test]
fn both_sides_end_equal_whatever_is_killed_and_when() {
    let seconds = std::env::var("PLAIT_KILL_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds: u64 = seconds.unwrap_or(8);
    // The second history overtakes the first one: a reorganisation down to the first block.
    let (old, new) = (history(seconds * HEIGHTS / 2, 1), history(seconds * HEIGHTS, 2));
    let all = [old, new].concat();
    let (a, b) = (folder(), folder());
    let mut one = first(a.path(), "127.0.0.1:0");
    let (listen, url) = (one.address().to_string(), one.url());
    let mut two = second(b.path(), &url);
    let address = Arc::new(Mutex::new(one.takes()));
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let pusher = thread::spawn({
        let (all, address, stop, done) =
            (all.clone(), Arc::clone(&address), Arc::clone(&stop), Arc::clone(&done));
        let parts = usize::try_from(seconds).unwrap() * 10;
        move || push_all(&all, parts, &address, &stop, &done)
    });
    let (mut random, begin) = (Random(std::process::id().into()), Instant::now());
    let (mut kills, limit) = ([0, 0], Duration::from_secs(3 * seconds + 60));
    while !pusher.is_finished() {
        assert!(
            begin.elapsed() < limit,
            "{} of {} pushed",
            done.load(Ordering::Relaxed),
            all.len()
        );
        thread::sleep(Duration::from_millis(random.below(1500)));
        if random.below(2) == 0 {
            one.kill();
            thread::sleep(Duration::from_millis(random.below(300)));
            one = first(a.path(), &listen);
            *address.lock().unwrap() = one.takes();
            kills[0] += 1;
        } else {
            two.kill();
            thread::sleep(Duration::from_millis(random.below(300)));
            two = second(b.path(), &url);
            kills[1] += 1;
        }
    }
    pusher.join().unwrap();
    say(&format!(
        "{kills:?} kills in {:.0} s, {} blocks",
        begin.elapsed().as_secs_f64(),
        all.len()
    ));
    let begin = Instant::now();
    while cut_of(&one, NETWORK) != cut_of(&two, NETWORK) {
        assert!(
            begin.elapsed() < PATIENCE,
            "{} and {}",
            cut_of(&one, NETWORK),
            cut_of(&two, NETWORK)
        );
        thread::sleep(Duration::from_millis(50));
    }
    until("blocks on no heaviest branch", || blocks(&one) == blocks(&two));
    assert_eq!(cut_of(&one, NETWORK)["height"], seconds * HEIGHTS * 20);
    end(one);
    end(two);
    let (ours, theirs) = (exported(a.path()), exported(b.path()));
    let names: Vec<&String> = ours.keys().collect();
    assert_eq!(names, theirs.keys().collect::<Vec<_>>());
    let differ: Vec<_> = names.iter().filter(|name| ours[**name] != theirs[**name]).collect();
    assert!(names.len() > 20 && differ.is_empty(), "the exports differ: {differ:?}");
}
