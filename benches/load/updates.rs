//! Event streams: what a thousand subscribers, of which a hundred stop reading, cost the writer, and how
//! long it takes until the last of the others has heard of a block.
//!
//! Server, writer and subscribers are threads of this process, which share its cores: what subscribers
//! cost is more here than where they are elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fixtures::Row;
use plait::Config;
use plait_engine::{Header, Reader};
use testkit::Database;
use testkit::braid::braid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::crowd::has_files;
use crate::{Bench, float};

/// Subscribers, and how many of them stop reading.
const SUBSCRIBERS: usize = 1000;
const STALLED: usize = 100;

/// Blocks of a commit: one of each chain.
const COMMIT: usize = 20;

/// Time between two commits of a writer that is as fast as its network: this one has 200 times as many
/// blocks as mainnet01 had.
const PACE: Duration = Duration::from_millis(150);

/// Line ends of an event, those of its chunk too.
const LINE_ENDS: usize = 5;

/// Bytes that a subscriber reads at once.
const READ_BYTES: usize = 16 << 10;

const REQUEST: &[u8] =
    b"GET /chainweb/0.0/development/header/updates HTTP/1.1\r\nHost: bench\r\n\r\n";

pub(crate) fn measure(bench: &mut Bench) {
    if !has_files(2 * SUBSCRIBERS as u64 + 512) {
        bench.rows.push(Row::missing("updates/writer", "not measured: too few files may be open"));
        return;
    }
    let is_quick = bench.fixtures.shape().is_quick();
    let (commits, paced) = if is_quick { (1000, 20) } else { (4000, 100) };
    let blocks = braid(commits as u64);
    let blocks = &blocks[COMMIT..];
    for (name, pace, commits) in [("paced", Some(PACE), paced), ("unbound", None, commits)] {
        let (mut pairs, mut times) = (Vec::new(), Vec::new());
        let mut heard = Vec::new();
        for _ in 0..bench.rounds.min(3) {
            let blocks = &blocks[..commits * COMMIT];
            let with = run(blocks, pace, SUBSCRIBERS);
            let without = run(blocks, pace, 0);
            pairs.push((with.rate, without.rate));
            times.push((with.commit * 1e3, without.commit * 1e3));
            heard.extend(with.heard);
        }
        let note = format!("B: without {SUBSCRIBERS} subscribers, {STALLED} of which stop reading");
        let rate = Row::pairs(format!("updates/writer/{name}"), "blocks/s", &pairs);
        bench.rows.push(rate.note(note.clone()));
        let time = Row::pairs(format!("updates/commit/{name}"), "ms", &times);
        bench.rows.push(time.note(note));
        heard.sort_unstable();
        let at = |part: usize| heard.get(heard.len() * part / 100).map(Duration::as_secs_f64);
        for part in [50, 99] {
            let name = format!("updates/last_heard/{name}/p{part}");
            let note = format!("{} commits that all who read heard of", heard.len());
            let row = match at(part) {
                Some(seconds) => Row::new(name, seconds * 1e3, "ms").note(note),
                None => Row::missing(name, "nobody heard of all: who is too slow is dropped"),
            };
            bench.rows.push(row);
        }
    }
}

/// What came of a run.
struct Run {
    /// Blocks a second.
    rate: f64,
    /// Seconds that a commit takes, without what its writer waits between two.
    commit: f64,
    /// From each publish until the last subscriber that reads had all of it, where all did.
    heard: Vec<Duration>,
}

/// Writes all blocks while so many listen.
fn run(blocks: &[Header], pace: Option<Duration>, subscribers: usize) -> Run {
    let mut database = Database::with_genesis();
    let server = Server::start(database.reader().clone());
    let crowd = (subscribers > 0).then(|| Crowd::gather(server.address, subscribers, blocks.len()));
    let (begin, mut shown, mut busy) = (Instant::now(), Vec::new(), Duration::ZERO);
    for (number, commit) in (1..).zip(blocks.chunks(COMMIT)) {
        let start = Instant::now();
        database.add(commit);
        busy += start.elapsed();
        shown.push(Instant::now());
        if let Some(pace) = pace {
            thread::sleep((begin + pace * number).saturating_duration_since(Instant::now()));
        }
    }
    let rate = float(blocks.len() as u64) / begin.elapsed().as_secs_f64();
    let heard = crowd.map_or_else(Vec::new, |crowd| crowd.end(&shown));
    drop(server);
    let commit = busy.as_secs_f64() / float(shown.len() as u64);
    Run { rate, commit, heard }
}

/// A server beside the writer.
struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(reader: Reader) -> Self {
        let (stop, asked) = oneshot::channel::<()>();
        let (sender, receiver) = channel();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_multi_thread().enable_all().build();
            runtime.expect("threads").block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                sender.send(listener.local_addr().expect("an address")).expect("it is waited for");
                let config = Config {
                    connections_max: 2 * SUBSCRIBERS,
                    updates_keep_alive: Duration::ZERO,
                    ..Config::default()
                };
                let asked = async {
                    let _ = asked.await;
                };
                plait::run(reader, config, listener, asked).await;
            });
        });
        let address = receiver.recv().expect("the server listens");
        Self { address, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Subscribers.
struct Crowd {
    heard: Arc<Heard>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<TcpStream>>,
    readers: usize,
}

/// When the last of those who read had all of each commit, in nanoseconds since the beginning, and how
/// many had.
struct Heard {
    begin: Instant,
    commits: Vec<(AtomicU64, AtomicUsize)>,
}

impl Crowd {
    /// Connects them, and begins to read for those that do.
    fn gather(address: SocketAddr, count: usize, blocks: usize) -> Self {
        let commits = (0..blocks / COMMIT).map(|_| Default::default()).collect();
        let heard = Arc::new(Heard { begin: Instant::now(), commits });
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = channel();
        let thread = {
            let (heard, stop) = (Arc::clone(&heard), Arc::clone(&stop));
            thread::spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build();
                runtime.expect("a thread").block_on(async {
                    let mut stalled = Vec::new();
                    for number in 0..count {
                        let stream = subscribe(address).await;
                        if number < count * STALLED / SUBSCRIBERS {
                            stalled.push(stream);
                        } else {
                            tokio::spawn(read(stream, Arc::clone(&heard)));
                        }
                    }
                    sender.send(()).expect("it is waited for");
                    while !stop.load(Ordering::Relaxed) {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    stalled
                })
            })
        };
        receiver.recv().expect("all are connected");
        Self { heard, stop, thread, readers: count - count * STALLED / SUBSCRIBERS }
    }

    /// Waits until no more is heard, and says how long each commit took.
    fn end(self, shown: &[Instant]) -> Vec<Duration> {
        let total =
            || self.heard.commits.iter().map(|c| c.1.load(Ordering::Relaxed)).sum::<usize>();
        let mut before = 0;
        while before != total() {
            before = total();
            thread::sleep(Duration::from_millis(500));
        }
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.join());
        let commits = self.heard.commits.iter().zip(shown);
        let all = commits.filter(|((_, count), _)| count.load(Ordering::Relaxed) == self.readers);
        all.map(|((last, _), shown)| {
            let last = self.heard.begin + Duration::from_nanos(last.load(Ordering::Relaxed));
            last.saturating_duration_since(*shown)
        })
        .collect()
    }
}

async fn subscribe(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("the server accepts");
    stream.write_all(REQUEST).await.expect("the server reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the server answers"));
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    stream
}

/// Reads until the stream ends, and notes when each commit was there.
#[expect(clippy::naive_bytecount, reason = "the compiler makes vectors of it")]
async fn read(mut stream: TcpStream, heard: Arc<Heard>) {
    let (mut buffer, mut ends, mut done) = (vec![0; READ_BYTES], 0, 0);
    while let Ok(count) = stream.read(&mut buffer).await
        && count > 0
    {
        ends += buffer[..count].iter().filter(|byte| **byte == b'\n').count();
        let upto = ends / LINE_ENDS / COMMIT;
        if upto > done {
            let now = u64::try_from(heard.begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
            for (last, count) in heard.commits.get(done..upto).unwrap_or_default() {
                last.fetch_max(now, Ordering::Relaxed);
                count.fetch_add(1, Ordering::Relaxed);
            }
            done = upto;
        }
    }
}
