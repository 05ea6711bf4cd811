//! Memory of responses that clients do not read: for each endpoint the request that holds the most, from
//! 400 clients at once. docs/threat-model.md states the limit.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use h2::client::{Builder, ResponseFuture};
use plait_engine::{ChainId, Engine};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::archive::{export, files};
use testkit::block::{child, dump, genesis};
use testkit::carried::{Block, carrying, lines, payload};
use testkit::http::{Client, Request};
use testkit::process::run;
use testkit::say;
use testkit::server::{Replayed, Server, utf8};
use tokio::time::{sleep, timeout};

use crate::http_data::{BASE, OBJECT, OCTETS, Tree, bounds};
use crate::http_two::{Sender, connect_with};

/// Clients that do not read.
const CLIENTS: u32 = 400;

/// Bytes of responses in progress: `limits.responseBytes`.
const RESPONSES: u32 = 256 << 20;

/// Memory that is not charged once the server has nothing more to do: 400 connections with some 40 kB each,
/// and parts of the allocator's pages in which a piece of another client is still in use.
const REST: u64 = 64 << 20;

/// The same memory while the server reads: some twenty threads, each with the data that it reads and
/// writes, and some 12 MB that the allocator keeps for it until it ends.
const READING: u64 = 256 << 20;

/// Bytes of all long pieces, a quarter of the responses; and of a stream without any.
const LONG_PIECES: u32 = RESPONSES / 4;
const STREAM: u32 = 192 << 10;

/// Memory that may be left when the clients are gone.
const LEFT: u64 = 48 << 20;

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_mins(2);

/// Blocks of chain 0 that have payloads: 360 of 64 kB and one of 5 MB, as JSON with outputs.
const BLOCKS: usize = 360;

struct World {
    server: Server,
    _database: Replayed,
    _archive: TempDir,
    blocks: Vec<Block>,
    headers: Tree,
    /// The longest file of the archive.
    file: String,
}

impl World {
    fn new(flags: &[&str]) -> Self {
        let (mut blocks, mut below) = (Vec::new(), genesis(ChainId::new(0)));
        for number in 0..=BLOCKS {
            let bytes = if number < BLOCKS { 3000 } else { 240_000 };
            let transactions: Vec<Vec<u8>> = (0..8)
                .map(|byte| [number.to_string().into_bytes(), vec![byte; bytes]].concat())
                .collect();
            let transactions: Vec<&[u8]> = transactions.iter().map(Vec::as_slice).collect();
            let carried = payload("miner", &transactions);
            below = carrying(child(below.view(), 0).view(), &carried);
            blocks.push((below, carried));
        }
        let mut headers = Tree::new(2);
        headers.grow(0, 6_000);
        let database = Replayed::new("development", lines(&blocks), &["--format", "jsonl"]);
        let path = database.path();
        let more = database.path().with_extension("dump");
        let others: Vec<_> =
            (1..headers.len()).map(|place| headers.block(place).to_owned()).collect();
        std::fs::write(&more, dump(&others)).unwrap();
        let replay = ["replay", "--db", utf8(&path), "--verify", "hash", utf8(&more)];
        let outcome = run(replay.map(str::to_owned).to_vec());
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        let archive = tempfile::tempdir().unwrap();
        export(&Engine::open_read_only(&path).unwrap(), archive.path(), 100_000);
        let longest =
            files(archive.path()).into_iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
        let ours = ["--archive", utf8(archive.path()), "--metrics", "127.0.0.1:0"];
        // The caches fill up at once.
        let caches = ["--block-cache-bytes", "8388608", "--run-cache-bytes", "8388608"];
        let server = Server::start(&database, &[&ours[..], &caches, flags].concat());
        let file = longest.0;
        Self { server, _database: database, _archive: archive, blocks, headers, file }
    }

    fn payload_hash(&self, number: usize) -> String {
        self.blocks[number].1.hash().to_string()
    }

    /// The request that holds the most memory, for each path of the document.
    fn requests(&self) -> BTreeMap<&'static str, Request> {
        let on = |chain: u32, rest: &str| format!("{BASE}/chain/{chain}/{rest}");
        let get = |path: String| Request::get(path);
        let tip = bounds(&[self.headers.hash(self.headers.len() - 1)], &[]);
        let top = bounds(&[self.blocks[BLOCKS].0.view().hash().to_string()], &[]);
        let batch: Vec<String> = (0..=BLOCKS).map(|number| self.payload_hash(number)).collect();
        let batch = json!(batch).to_string();
        let longest = self.payload_hash(BLOCKS);
        BTreeMap::from([
            ("/health-check", Request::get("/health-check")),
            ("/ready", Request::get("/ready")),
            ("/info", Request::get("/info")),
            ("/openapi.json", Request::get("/openapi.json")),
            ("/config", get(format!("{BASE}/config"))),
            ("/cut", get(format!("{BASE}/cut"))),
            ("/cut/peer", get(format!("{BASE}/cut/peer"))),
            ("/state", get(format!("{BASE}/state"))),
            ("/stats", get(format!("{BASE}/stats?step=30&by=chain"))),
            ("/chain/{chain}/stats", get(on(2, "stats?step=256"))),
            ("/header/updates", get(format!("{BASE}/header/updates"))),
            ("/block/updates", get(format!("{BASE}/block/updates"))),
            ("/chain/{chain}/hash", get(on(2, "hash"))),
            ("/chain/{chain}/hash/branch", Request::post(on(2, "hash/branch"), &*tip)),
            ("/chain/{chain}/header", get(on(2, "header")).accept(OBJECT)),
            (
                "/chain/{chain}/header/branch",
                Request::post(on(2, "header/branch"), &*tip).accept(OCTETS),
            ),
            (
                "/chain/{chain}/header/{hash}",
                get(on(2, &format!("header/{}", self.headers.hash(7)))).accept(OBJECT),
            ),
            ("/chain/{chain}/block", get(on(0, "block?minheight=1"))),
            ("/chain/{chain}/block/branch", Request::post(on(0, "block/branch"), &*top)),
            ("/chain/{chain}/payload/{hash}", get(on(0, &format!("payload/{longest}")))),
            (
                "/chain/{chain}/payload/{hash}/outputs",
                get(on(0, &format!("payload/{longest}/outputs"))),
            ),
            ("/chain/{chain}/payload/batch", Request::post(on(0, "payload/batch"), &*batch)),
            (
                "/chain/{chain}/payload/outputs/batch",
                Request::post(on(0, "payload/outputs/batch"), &*batch),
            ),
            ("/archive/manifest.json", Request::get("/archive/manifest.json")),
            ("/archive/{name}", get(format!("/archive/{}", self.file))),
        ])
    }

    /// Waits until the server has done everything that it can do while nobody reads.
    fn settle(&self) {
        let begin = Instant::now();
        let busy = || {
            let reads = ["plait_reads_running", "plait_reads_waiting"];
            reads.iter().any(|sample| self.server.metric(sample) != Some(0.0))
        };
        let mut idle = 0;
        while idle < 5 {
            idle = if busy() { 0 } else { idle + 1 };
            assert!(begin.elapsed() < LONG, "reads go on while nobody takes anything");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn until(&self, sample: &str, most: f64) {
        let begin = Instant::now();
        while self.server.metric(sample).unwrap() > most {
            assert!(begin.elapsed() < LONG, "{sample}: {:?}", self.server.metric(sample));
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Paths of the document of a server, without the base path.
fn documented(server: &Server) -> Vec<String> {
    let document: Value = serde_json::from_str(server.get("/openapi.json").text()).unwrap();
    let paths = document["paths"].as_object().unwrap().keys();
    let mut paths: Vec<String> =
        paths.map(|path| path.strip_prefix(BASE).unwrap_or(path).to_owned()).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Bytes that 400 responses for this path may be charged with.
fn charged_max(path: &str) -> u32 {
    let is_stream = path.ends_with("/block")
        || path.ends_with("/batch")
        || path == "/archive/{name}"
        || path.ends_with("/header/branch");
    if is_stream { LONG_PIECES + CLIENTS * STREAM } else { RESPONSES }
}

/// The memory that 400 of these responses take, at the peak and when nothing more happens, and the number of
/// 503s.
fn held(world: &World, path: &str, request: &Request) -> (u64, u64, usize) {
    let before = world.server.resident_bytes().unwrap_or(0);
    let grown = || world.server.resident_bytes().unwrap_or(0).saturating_sub(before);
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|_| {
            let mut client = world.server.connect();
            client.send(request.to_bytes()).unwrap();
            client
        })
        .collect();
    let mut refused = 0;
    for client in &mut clients {
        client.set_patience(LONG);
        match client.read_head().expect("a head").status {
            200 => {}
            503 => refused += 1,
            status => panic!("{status}"),
        }
    }
    let peak = grown();
    world.settle();
    let charged = world.server.metric("plait_response_bytes").unwrap();
    assert!(charged <= f64::from(charged_max(path)), "{path}: {charged} bytes are charged");
    // Idle threads end, and the memory that they freed is returned.
    let begin = Instant::now();
    while grown() >= u64::from(charged_max(path)) + REST {
        assert!(begin.elapsed() < LONG, "{path}: {} bytes", grown());
        thread::sleep(Duration::from_millis(50));
    }
    let settled = grown();
    // Whatever others hold, there is room for a short response.
    assert_eq!(world.server.get(&format!("{BASE}/cut")).status, 200);
    drop(clients);
    world.until("plait_connections_open", 1.0);
    world.until("plait_response_bytes", 0.0);
    (peak, settled, refused)
}

#[test]
fn clients_that_do_not_read_hold_no_more_than_documented_whatever_they_ask_for() {
    let world = World::new(&["--stall-time", "600"]);
    let requests = world.requests();
    let documented = documented(&world.server);
    let covered: Vec<&str> = requests.keys().copied().collect();
    assert_eq!(documented, covered, "each path of /openapi.json needs a request in this test");
    // Fills the caches, and warms the heaps of all threads.
    for request in
        requests.values().filter(|request| !request.to_bytes().windows(8).any(|w| w == b"/updates"))
    {
        assert_eq!(world.server.ask(request).status, 200);
    }
    let first = world.server.resident_bytes().unwrap_or(0);
    for (path, request) in &requests {
        let (peak, settled, refused) = held(&world, path, request);
        say(&format!(
            "{path}: {} MB, then {} MB, {refused} of {CLIENTS} got 503",
            peak >> 20,
            settled >> 20
        ));
        assert!(peak < u64::from(RESPONSES) + READING, "{path}: {peak} bytes");
        returned(&world, first, path);
    }
}

/// Waits until the memory for clients is returned to the system, by a server that has nothing to
/// do.
fn returned(world: &World, first: u64, path: &str) {
    let begin = Instant::now();
    loop {
        let left = world.server.resident_bytes().unwrap_or(0).saturating_sub(first);
        if left < LEFT {
            let seconds = begin.elapsed().as_secs_f64();
            say(&format!("{path}: {} MB are left after {seconds:.1} s", left >> 20));
            return;
        }
        assert!(begin.elapsed() < LONG, "{path}: {left} bytes are not returned");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn long_responses_beyond_the_budget_are_refused_and_short_ones_are_not() {
    let world = World::new(&["--max-response-bytes", "20000000", "--stall-time", "600"]);
    let long =
        Request::get(format!("{BASE}/chain/0/payload/{}/outputs", world.payload_hash(BLOCKS)));
    let mut clients: Vec<Client> = Vec::new();
    let refused = loop {
        let mut client = world.server.connect();
        client.send(long.to_bytes()).unwrap();
        let head = client.read_head().unwrap();
        if head.status == 503 {
            break head;
        }
        assert!(head.status == 200 && clients.len() < 8, "{}", head.status);
        clients.push(client);
    };
    assert!(!clients.is_empty());
    assert_eq!(refused.header("Retry-After"), Some("1"));
    assert!(world.server.metric("plait_responses_refused_total").unwrap() >= 1.0);
    // They use half of the budget; the rest is for others.
    for path in ["chain/0/block?minheight=1", "chain/2/header", "cut"] {
        assert_eq!(world.server.get(&format!("{BASE}/{path}")).status, 200, "{path}");
    }
    drop(clients);
    world.until("plait_response_bytes", 0.0);
    assert_eq!(world.server.ask(&long).status, 200);
}

async fn connect(server: &Server, window: u32) -> Sender {
    connect_with(server.address(), Builder::new().initial_window_size(window)).await
}

async fn get(sender: &Sender, path: &str) -> ResponseFuture {
    let request =
        http::Request::builder().uri(format!("http://plait.test{path}")).body(()).unwrap();
    let mut sender = sender.clone().ready().await.unwrap();
    sender.send_request(request, true).unwrap().0
}

#[tokio::test]
async fn stream_that_opens_its_window_byte_by_byte_is_reset_and_its_connection_goes_on() {
    let world = World::new(&["--stall-time", "1"]);
    let sender = connect(&world.server, 1).await;
    for path in [format!("{BASE}/chain/0/block?minheight=1"), format!("{BASE}/chain/2/hash")] {
        let answer = timeout(LONG, get(&sender, &path).await).await.unwrap().unwrap();
        let (head, mut body) = answer.into_parts();
        assert_eq!(head.status, 200);
        let mut got = 0;
        let error = loop {
            match timeout(LONG, body.data()).await.expect("it is reset") {
                Some(Ok(data)) => {
                    got += data.len();
                    sleep(Duration::from_millis(20)).await;
                    let _ = body.flow_control().release_capacity(data.len());
                }
                Some(Err(error)) => break error,
                None => panic!("{path} ended after {got} bytes"),
            }
        };
        assert!(error.is_reset() && error.is_remote(), "{error:?}");
        assert!(got > 1, "it was not silent");
        // The other streams of the connection continue.
        let health = timeout(LONG, get(&sender, "/health-check").await).await.unwrap().unwrap();
        assert_eq!(health.status(), 200);
    }
    assert!(world.server.metric("plait_streams_cut_total").unwrap() >= 2.0);
    world.until("plait_response_bytes", 0.0);
}

#[tokio::test]
async fn streams_of_http2_that_are_not_read_hold_little_and_are_cut() {
    let world = World::new(&["--stall-time", "2"]);
    let path = format!("{BASE}/chain/0/block?minheight=1");
    let before = world.server.resident_bytes().unwrap_or(0);
    let mut senders = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..8 {
        let sender = connect(&world.server, 1).await;
        for _ in 0..32 {
            answers.push(get(&sender, &path).await);
        }
        senders.push(sender);
    }
    let mut bodies = Vec::new();
    for answer in answers {
        bodies.push(timeout(LONG, answer).await.unwrap().unwrap().into_body());
    }
    // The first streams get long pieces.
    let charged = world.server.metric("plait_response_bytes").unwrap();
    assert!(charged <= f64::from(LONG_PIECES + 256 * STREAM), "{charged}");
    let grown = world.server.resident_bytes().unwrap_or(0).saturating_sub(before);
    say(&format!("256 streams of 8 connections: {} MB", grown >> 20));
    assert!(grown < u64::from(LONG_PIECES + 256 * STREAM) + READING, "{grown}");
    let wait = tokio::task::spawn_blocking(move || {
        world.until("plait_response_bytes", 0.0);
        world
    });
    let _world = wait.await.unwrap();
    drop((bodies, senders));
}
