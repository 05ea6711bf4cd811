//! Event streams that resume at another replica, which may be behind, or never get the block of the
//! id: no event is missing or duplicated, and no client is rejected.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use plait::Config;
use plait_engine::{BlockHash, BlockHeight, ChainId, Header, Past, Rank};
use testkit::block::dump;
use testkit::http::{Client, Events, Request, Sent};
use testkit::say;

use crate::http_data::{BASE, Chance};
use crate::http_npm::installed;
use crate::http_updates_clients::{Listener, whole};
use crate::http_updates_resume::{Growing, Heard, cut};
use crate::live::{BLOCKS, HEADERS, Live, fork, hashes, line};
use crate::push::generated;
use crate::push_http::{OCTETS, assert_sum, client, folder, request, taking};

const WAITING: &str = "plait_subscribers_waiting";
const GIVEN_UP: &str = "plait_subscribers_given_up_total";

fn quick() -> Config {
    Config { updates_interval: Duration::from_millis(1), ..Config::default() }
}

/// A configuration that stops waiting for a missing block after this time.
fn waiting_for(wait: Duration) -> Config {
    Config { updates_resume_wait: wait, ..quick() }
}

/// The id of an event after which these blocks are the highest of their chains.
fn id_of<'a>(tops: impl IntoIterator<Item = &'a Header>) -> String {
    let tops = tops.into_iter().map(|block| (block.view().chain(), block.view().rank()));
    Past::new(tops).position().to_string()
}

/// An id of a block that no server has.
fn strange_id(chain: u32, height: u64) -> String {
    let rank = Rank { height: BlockHeight::new(height), hash: BlockHash::new([0x5a; 32]) };
    Past::new([(ChainId::new(chain), rank)]).position().to_string()
}

#[test]
fn replica_that_is_behind_goes_on_when_it_gets_there() {
    let (a, b) = (line(0, 30), line(3, 30));
    for target in [HEADERS, BLOCKS] {
        let mut live = Live::new(a[..10].iter().chain(&b[..10]), quick());
        let ids = [id_of([&a[14], &b[9]]), id_of([&a[12], &b[13]]), id_of([&a[9], &b[9]])];
        let [mut first, mut second, mut third] = ids.map(|id| live.resume(HEADERS, &id));
        let by_query = format!("{target}?resume&lastEventId={}", id_of([&a[14], &b[9]]));
        let mut by_post = Events::open(live.address(), &Request::post(by_query, ""));
        live.await_metric(WAITING, |waiting| (2.5..3.5).contains(&waiting));
        live.add(a[10..13].iter().chain(&b[10..12]));
        assert_eq!(third.places(5), ["10/0", "10/3", "11/0", "11/3", "12/0"]);
        // Some of the blocks that the streams wait for are still missing.
        live.await_metric(WAITING, |waiting| (2.5..3.5).contains(&waiting));
        live.add(&b[12..14]);
        live.await_metric(WAITING, |waiting| (1.5..2.5).contains(&waiting));
        second.assert_silent(Duration::from_millis(50));
        live.add(&a[13..16]);
        // Neither the blocks of the id again, nor a gap after them.
        assert_eq!(first.places(5), ["10/3", "11/3", "12/3", "13/3", "15/0"]);
        assert_eq!(second.places(3), ["13/0", "14/0", "15/0"]);
        assert_eq!(third.places(5), ["12/3", "13/3", "13/0", "14/0", "15/0"]);
        live.await_metric(WAITING, |waiting| waiting < 0.5);
        live.add(&b[14..16]);
        for events in [&mut first, &mut second] {
            assert_eq!(events.hashes(2), hashes(&b[14..16]));
        }
        if target == HEADERS {
            let expected = [&b[10..14], &a[15..16], &b[14..16]].concat();
            assert_eq!(by_post.hashes(7), hashes(&expected));
        }
        assert_eq!(live.metric(GIVEN_UP), Some(0.0));
    }
}

#[test]
fn stream_ends_as_it_should_if_a_block_of_its_id_does_not_come_in_time() {
    let blocks = line(0, 20);
    let mut live = Live::new(&blocks[..10], waiting_for(Duration::from_millis(300)));
    let orphan = &fork(&blocks[7], 1, 9)[0];
    let ids = [
        id_of([orphan]),
        id_of([&fork(&blocks[1], 1, 9)[0]]),
        id_of([&blocks[19]]),
        strange_id(0, 5),
        strange_id(0, u64::MAX),
        strange_id(63, 0),
        // An id in the format of a later release.
        "AgAA".to_owned(),
    ];
    for id in &ids {
        let mut streams = [HEADERS, BLOCKS].map(|target| live.resume(target, id));
        for events in &mut streams {
            assert_eq!(events.next_sent(), None, "{id}: the stream ends, and is not cut");
            // Over the same connection a load balancer would send the client to this server again.
            assert_eq!(events.head().header("Connection"), Some("close"));
            assert!(events.client().drain(), "the connection is closed");
        }
        let head = Request::new("HEAD", format!("{HEADERS}?resume")).header("Last-Event-ID", id);
        assert_eq!(Client::connect(live.address()).ask(&head).status, 200);
    }
    live.await_metric("plait_subscribers_open", |open| open < 0.5);
    assert_eq!(live.metric(GIVEN_UP), Some(14.0));
    // An orphan that arrives counts like any other block.
    live.add([orphan]);
    let mut events = live.resume(HEADERS, &ids[0]);
    assert_eq!(events.hashes(2), hashes(&blocks[8..10]));
    // With zero the stream ends at once, but only after a look at the database.
    let live = Live::of(live.end(), waiting_for(Duration::ZERO));
    assert_eq!(live.resume(HEADERS, &ids[2]).next_sent(), None);
    assert_eq!(live.resume(HEADERS, &ids[0]).hashes(2), hashes(&blocks[8..10]));
}

#[test]
fn stream_that_waits_is_kept_open_and_ends_when_the_server_stops() {
    let blocks = line(0, 20);
    let keep_alive = Duration::from_millis(100);
    let mut live = Live::new(&blocks[..10], Config { updates_keep_alive: keep_alive, ..quick() });
    let mut streams = [&id_of([&blocks[12]]), "AgAA"].map(|id| live.resume(HEADERS, id));
    for _ in 0..3 {
        for events in &mut streams {
            assert_eq!(events.next_sent(), Some(Sent::Empty));
        }
    }
    let begin = Instant::now();
    live.stop();
    for events in &mut streams {
        assert_eq!(events.event(), None);
    }
    drop(live.end());
    assert!(begin.elapsed() < Config::default().drain_time, "nobody waits for them");
}

/// The same with the binary, and a pushed history of all chains.
#[test]
fn server_holds_streams_open_until_it_has_the_blocks_of_their_id() {
    let mut headers = generated(4, 1, 0.0);
    headers.sort_by_key(|header| (header.view().height(), header.view().chain()));
    let heights: Vec<&[Header]> = headers.chunks(20).collect();
    let db = folder();
    let server = taking(db.path(), &["--updates-keep-alive", "0.1"]);
    let mut pusher = client(&server);
    let mut push = |blocks: &[Header]| {
        assert_sum(&pusher.ask(&request(OCTETS, dump(blocks))), [20, 0, 0, 0]);
    };
    push(heights[0]);
    let target = format!("{BASE}/header/updates?resume");
    let [get, post] = [Request::get(&*target), Request::post(&*target, "")];
    // After height 3 on all chains, and on all but those that are ahead.
    let all = id_of(heights[2]);
    let most = id_of(heights[1][..15].iter().chain(&heights[2][15..]));
    let mut streams = [(get, &all), (post, &most)]
        .map(|(request, id)| Events::open(server.address(), &request.header("Last-Event-ID", id)));
    for events in &mut streams {
        assert_eq!(events.next_sent(), Some(Sent::Empty));
    }
    for blocks in &heights[1..] {
        push(blocks);
    }
    let [first, second] = &mut streams;
    assert_eq!(first.hashes(20), hashes(heights[3]));
    assert_eq!(second.hashes(35), hashes(heights[2][..15].iter().chain(heights[3])));
}

/// The blocks of an id may be stored before they are in the log.
#[test]
fn blocks_that_are_stored_and_not_announced_yet_do_not_come_twice() {
    let blocks = line(0, 40);
    let slow = Config { updates_interval: Duration::from_millis(700), ..Config::default() };
    let mut live = Live::new(&blocks[..2], slow);
    // A client listens, so that each scan renders.
    let mut listener = live.listen(HEADERS);
    live.add(&blocks[2..4]);
    assert_eq!(listener.hashes(2), hashes(&blocks[2..4]));
    // The next scan is some time away.
    live.add(&blocks[4..30]);
    let mut events = live.resume(HEADERS, &id_of([&blocks[29]]));
    let mut other = live.resume(HEADERS, &id_of([&blocks[20]]));
    assert_eq!(listener.hashes(26), hashes(&blocks[4..30]));
    live.add(&blocks[30..]);
    assert_eq!(events.hashes(10), hashes(&blocks[30..]));
    assert_eq!(other.hashes(19), hashes(&blocks[21..]));
}

#[test]
fn crowd_that_waits_asks_nothing_and_goes_on_at_once() {
    const CROWD: usize = 400;
    let (a, b) = (line(0, 20), line(3, 300));
    let mut live = Live::new([&a[0], &b[0]], quick());
    let id = id_of([&a[10], &b[0]]);
    let mut crowd: Vec<Events> = (0..CROWD).map(|_| live.resume(HEADERS, &id)).collect();
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    let all = CROWD as f64;
    live.await_metric(WAITING, |waiting| waiting > all - 0.5);
    let reads = |live: &Live| {
        let places =
            ["memory", "disk"].map(|place| format!("plait_reads_total{{from=\"{place}\"}}"));
        places.iter().map(|name| live.metric(name).expect("reads are counted")).sum::<f64>()
    };
    let before = reads(&live);
    // Blocks that no stream waits for.
    for block in &b[1..] {
        live.add([block]);
    }
    live.add(&a[1..10]);
    live.await_metric(WAITING, |waiting| waiting > all - 0.5);
    let meanwhile = reads(&live) - before;
    assert!(meanwhile < all, "{meanwhile} reads for a crowd that waits");
    live.add(&a[10..12]);
    let expected = hashes(&[&b[1..11], &a[11..12], &b[11..20]].concat());
    for events in &mut crowd {
        assert_eq!(events.hashes(20), expected);
    }
    live.await_metric(WAITING, |waiting| waiting < 0.5);
    let after = reads(&live) - before;
    say(&format!("{CROWD} streams waited with {meanwhile} reads, and went on with {after}"));
    drop(crowd);
    live.await_metric("plait_subscribers_open", |open| open < 0.5);
}

/// A TCP load balancer: each new connection goes to the next server in turn.
struct Balancer {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Balancer {
    fn new(servers: [SocketAddr; 2]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::clone(&open);
        // The thread ends with the process.
        thread::spawn(move || {
            for (at, client) in listener.incoming().enumerate() {
                let Ok(client) = client else { continue };
                let Ok(server) = TcpStream::connect(servers[at % 2]) else { continue };
                for (mut from, mut to) in [(&client, &server), (&server, &client)]
                    .map(|(from, to)| (from.try_clone().unwrap(), to.try_clone().unwrap()))
                {
                    thread::spawn(move || {
                        let mut bytes = [0; 16384];
                        while let Ok(read @ 1..) = from.read(&mut bytes) {
                            if to.write_all(&bytes[..read]).is_err() {
                                break;
                            }
                        }
                        // The other end may be closed.
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
                connections.lock().unwrap().extend([client, server]);
            }
        });
        Self { address, open }
    }

    /// Closes every connection.
    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            // The connection may have ended.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[test]
fn event_sources_of_node_go_on_across_replicas_of_different_height() {
    let folder = match installed(&["updates.mjs"]) {
        Ok(folder) => folder,
        Err(reason) => return say(&format!("skipped: {reason}")),
    };
    let blocks = line(0, 60);
    let mut a = Live::new(&blocks[..10], quick());
    let mut b = Live::new(&blocks[..4], quick());
    // The event source that chainweb depends on, and one that follows the standard, for which 503
    // is final.
    let clients = ["source", "source3"].map(|mode| {
        let balancer = Balancer::new([a.address(), b.address()]);
        let url = format!("http://{}{HEADERS}?resume", balancer.address);
        let mut script = Command::new("node");
        script.args(["updates.mjs", mode, &url, "positions"]).current_dir(folder.path());
        let listener = Listener::start(script, whole);
        (balancer, listener)
    });
    let cut = || {
        for (balancer, _) in &clients {
            balancer.cut();
        }
    };
    let assert_hear = |blocks: &[Header]| {
        for (_, listener) in &clients {
            listener.assert_hears_through(blocks);
        }
    };
    let both = |waiting: f64| (1.5..2.5).contains(&waiting);
    for (_, listener) in &clients {
        listener.await_position();
    }
    // Before the first event: a replica that is behind and then overtakes.
    cut();
    b.await_metric(WAITING, both);
    b.add(&blocks[4..10]);
    b.add(&blocks[10..20]);
    assert_hear(&blocks[10..20]);
    // Back to the other replica, which is behind now.
    cut();
    a.await_metric(WAITING, both);
    a.add(&blocks[10..25]);
    assert_hear(&blocks[20..25]);
    cut();
    b.await_metric(WAITING, both);
    b.add(&blocks[20..30]);
    assert_hear(&blocks[25..30]);
    // After an orphan that the other replica never gets: the clients continue at the replica that
    // has it.
    let orphan = fork(&blocks[29], 1, 9);
    b.add(&orphan);
    assert_hear(&orphan);
    let a = a.restart(waiting_for(Duration::from_millis(300)), |database| {
        database.add(&blocks[25..35]);
    });
    cut();
    a.await_metric(GIVEN_UP, both);
    b.add(&blocks[30..40]);
    assert_hear(&blocks[30..40]);
}

/// Batches of blocks that several servers store, each at its own pace.
struct History(Mutex<(Growing, Vec<Vec<Header>>)>);

impl History {
    /// A batch of blocks. The first server that needs a new batch generates it, until `stop` is
    /// set.
    fn batch(&self, at: usize, stop: &AtomicBool) -> Option<Vec<Header>> {
        let mut history = self.0.lock().unwrap();
        let (growing, batches) = &mut *history;
        if at == batches.len() {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            batches.push(growing.grow());
        }
        Some(batches[at].clone())
    }

    /// Makes a server store all batches, with pauses.
    fn store(&self, live: &mut Live, seed: u64, stop: &AtomicBool) {
        let mut chance = Chance::new(seed);
        for at in 0.. {
            let Some(blocks) = self.batch(at, stop) else { return };
            live.add(&blocks);
            let pause = if chance.below(30) == 0 { 80 } else { chance.below(5) };
            thread::sleep(Duration::from_millis(pause as u64));
        }
    }
}

/// Listens to the two servers in turn. Returns the received blocks, the last id, and the number of
/// streams.
fn listen(
    addresses: [SocketAddr; 2],
    first: &[Header],
    seed: u64,
    stop: &AtomicBool,
) -> (Heard, String, usize) {
    let mut chance = Chance::new(seed);
    let (mut heard, mut id, mut streams) = (Heard::default(), id_of(first), 0);
    heard.begin(first);
    while !stop.load(Ordering::Relaxed) {
        let request = Request::get(format!("{HEADERS}?resume")).header("Last-Event-ID", &id);
        let mut events = Events::open(addresses[chance.below(2)], &request);
        streams += 1;
        for _ in 0..chance.below(40) {
            let Some(event) = events.event() else { break };
            heard.hear(&event);
        }
        id = events.last_id().map_or(id, str::to_owned);
    }
    (heard, id, streams)
}

/// Two servers store the same blocks at their own pace; sometimes one is ahead, sometimes the
/// other.
#[test]
fn nothing_is_missing_or_comes_twice_across_replicas() {
    let first = [line(0, 1), line(7, 1), line(12, 1)].concat();
    // Small logs, so that they drop events often; and one server scans rarely.
    let config = Config { updates_log_bytes: 60_000, ..quick() };
    let rarely = Config { updates_interval: Duration::from_millis(30), ..config.clone() };
    let mut replicas = [config, rarely].map(|config| Live::new(&first, config));
    let addresses = replicas.each_ref().map(Live::address);
    let (heard_enough, written_enough) = (AtomicBool::new(false), AtomicBool::new(false));
    let history = History(Mutex::new((Growing::new(&first), Vec::new())));
    let clients = thread::scope(|scope| {
        for (live, seed) in replicas.iter_mut().zip(10..) {
            let (history, stop) = (&history, &written_enough);
            scope.spawn(move || history.store(live, seed, stop));
        }
        let client = |seed| {
            let (first, stop) = (&first, &heard_enough);
            scope.spawn(move || listen(addresses, first, seed, stop))
        };
        let clients: Vec<_> = (0..4).map(client).collect();
        thread::sleep(Duration::from_secs(4));
        heard_enough.store(true, Ordering::Relaxed);
        // Each of the streams still waits for events.
        let clients: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        written_enough.store(true, Ordering::Relaxed);
        clients
    });
    let [tips, others] = replicas.each_ref().map(cut);
    assert_eq!(tips, others);
    for (heard, id, streams) in clients {
        assert!(streams > 5, "{streams} streams");
        for live in &replicas {
            let (mut heard, mut events) = (heard.clone(), live.resume(HEADERS, &id));
            while !heard.has(&tips) {
                heard.hear(&events.event().expect("the rest comes"));
            }
            events.assert_silent(Duration::from_millis(60));
        }
    }
    for live in &replicas {
        assert_eq!(live.metric(GIVEN_UP), Some(0.0), "every block comes in time");
        live.await_metric("plait_subscribers_open", |open| open < 0.5);
    }
}
