//! A node to follow: one that answers as a chainweb-node does, from blocks in memory, and that lies
//! where a test wants it to.
//!
//! It has no pages of octets, and answers a whole list with a cursor behind its last block. Lower
//! bounds that it does not know mean nothing to it.

mod pages;
mod wire;

use std::collections::{HashMap, HashSet};
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use plait_engine::{BlockHash, ChainId, ChainwebVersion, Header};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

pub use wire::{Asked, Reply};

use self::pages::{ascending, descending, event, hash, not_found, page, string};
use self::wire::{in_crumbs, in_whole, read, tls};

/// Headers and hashes on a page.
const HEADERS_MAX: usize = 360;
const HASHES_MAX: usize = 4096;

/// What is answered instead of the truth, where it is some.
pub type Lie = Box<dyn Fn(&Asked) -> Option<Reply> + Send + Sync>;

/// A node on a port of its own. It ends with this.
pub struct Node {
    address: SocketAddr,
    authority: Option<String>,
    shared: Arc<Shared>,
}

struct Shared {
    version: ChainwebVersion,
    state: Mutex<State>,
    changed: Condvar,
    stopped: AtomicBool,
    requests: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Of each chain, by rank.
    chains: HashMap<ChainId, Vec<Header>>,
    blocks: HashMap<BlockHash, Header>,
    /// One block of each chain.
    cut: HashMap<ChainId, Header>,
    /// Blocks in the order that events tell of them.
    events: Vec<Header>,
    has_events: bool,
    lie: Option<Lie>,
}

impl Node {
    /// A node that has nothing but the genesis blocks, and has no events.
    #[must_use]
    pub fn start(version: ChainwebVersion) -> Self {
        Self::with(version, None)
    }

    /// The same over HTTPS, with a certificate that [`Node::authority`] signed.
    #[must_use]
    pub fn start_tls(version: ChainwebVersion) -> Self {
        Self::with(version, Some(tls()))
    }

    /// The certificate in PEM of the authority that signed its own, where it has one.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    fn with(version: ChainwebVersion, tls: Option<(ServerConfig, String)>) -> Self {
        let (tls, authority) = tls.map(|(config, authority)| (Arc::new(config), authority)).unzip();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a socket has an address");
        let mut state = State::default();
        state.add(&version.genesis_headers().collect::<Vec<_>>());
        state.events.clear();
        let shared = Arc::new(Shared {
            version,
            state: Mutex::new(state),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
            requests: AtomicU64::new(0),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (shared, tls) = (Arc::clone(&serving), tls.clone());
                thread::spawn(move || match tls {
                    None => shared.serve(stream),
                    Some(config) => {
                        let connection = ServerConnection::new(config).expect("a configuration");
                        shared.serve(StreamOwned::new(connection, stream));
                    }
                });
            }
        });
        Self { address, authority, shared }
    }

    /// The address of its API.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The address where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drops the blocks of these chains below `height`, as nodes drop history, except their first blocks
    /// if `kept`.
    pub fn forget_below(&self, height: u64, kept: bool, of: impl Fn(ChainId) -> bool) {
        let (mut state, version) = (self.shared.state(), self.shared.version);
        let stays = |block: &Header| {
            let view = block.view();
            let is_first = version.genesis_height(view.chain()) == Some(view.height());
            view.height().get() >= height || !of(view.chain()) || kept && is_first
        };
        state.chains.values_mut().for_each(|blocks| blocks.retain(stays));
        state.blocks.retain(|_, block| stays(block));
    }

    /// Adds blocks, parents first. The heaviest of each chain is in the cut.
    pub fn add(&self, blocks: &[Header]) {
        self.shared.state().add(blocks);
        self.shared.changed.notify_all();
    }

    /// Tells of new blocks by events from now on.
    pub fn have_events(&self) {
        self.shared.state().has_events = true;
    }

    /// Lies from now on, where `lie` has something to say.
    pub fn lie(&self, lie: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) {
        self.shared.state().lie = Some(Box::new(lie));
    }

    /// Is honest again.
    pub fn repent(&self) {
        self.shared.state().lie = None;
    }

    /// How many requests came so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        // Wakes who accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn add(&mut self, blocks: &[Header]) {
        for block in blocks {
            let view = block.view();
            if self.blocks.insert(view.hash(), *block).is_some() {
                continue;
            }
            let chain = self.chains.entry(view.chain()).or_default();
            let at = chain.partition_point(|other| other.view().rank() < view.rank());
            chain.insert(at, *block);
            self.events.push(*block);
            let tip = self.cut.entry(view.chain()).or_insert(*block);
            if tip.view().weight().get() < view.weight().get() {
                *tip = *block;
            }
        }
    }

    /// The ancestors of `upper` that are none of `lower`, from the highest down.
    fn branch(&self, upper: &[BlockHash], lower: &[BlockHash]) -> Option<Vec<Header>> {
        let ancestors = |hash: &BlockHash| {
            std::iter::successors(self.blocks.get(hash), |block| {
                self.blocks.get(&block.view().parent())
            })
        };
        let mut below = HashSet::new();
        for block in lower.iter().filter_map(|hash| ancestors(hash).next()) {
            let new = ancestors(&block.view().hash());
            // What is below one of them is known already.
            let new = new.map_while(|block| below.insert(block.view().hash()).then_some(()));
            new.for_each(drop);
        }
        let mut found = HashMap::new();
        for hash in upper {
            self.blocks.get(hash)?;
            let new = ancestors(hash).take_while(|block| !below.contains(&block.view().hash()));
            found.extend(new.map(|block| (block.view().hash(), *block)));
        }
        let mut found: Vec<Header> = found.into_values().collect();
        found.sort_by_key(|block| (std::cmp::Reverse(block.view().height()), block.view().hash()));
        Some(found)
    }
}

impl Shared {
    /// Nothing that holds this lock panics.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: impl Read + Write) {
        let mut stream = BufReader::new(stream);
        while let Some(asked) = read(&mut stream) {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let lie = self.state().lie.as_ref().and_then(|lie| lie(&asked));
            let reply = lie.unwrap_or_else(|| self.truth(&asked));
            if self.write(stream.get_mut(), reply).is_none() {
                return;
            }
        }
    }

    /// Writes an answer; `None` if the connection is of no use any more.
    fn write(&self, writer: &mut impl Write, reply: Reply) -> Option<()> {
        match reply {
            Reply::Json(status, body) => {
                let body = body.into_bytes();
                self.write(writer, Reply::Body(status, "application/json", body))
            }
            Reply::Body(status, media, body) => {
                writer.write_all(&in_whole(status, media, &body)).ok()
            }
            Reply::Crumbs(status, media, body) => {
                writer.write_all(&in_crumbs(status, media, &body)).ok()
            }
            Reply::Cut(media, body) => {
                let length = body.len() + 1000;
                let head = format!(
                    "HTTP/1.1 200 x\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n"
                );
                let _ = writer.write_all(&[head.as_bytes(), &body].concat());
                None
            }
            Reply::Endless(media, bytes) => {
                let head = format!("HTTP/1.1 200 x\r\nContent-Type: {media}\r\n\r\n");
                writer.write_all(head.as_bytes()).ok()?;
                while !self.stopped.load(Ordering::Relaxed) {
                    writer.write_all(&bytes).ok()?;
                }
                None
            }
            Reply::Flood(first, bytes) => {
                writer.write_all(&first).ok()?;
                let bytes = bytes.repeat((1 << 16) / bytes.len().max(1) + 1);
                while !self.stopped.load(Ordering::Relaxed) {
                    writer.write_all(&bytes).ok()?;
                }
                None
            }
            Reply::Trickle(media) => {
                let head = format!("HTTP/1.1 200 x\r\nContent-Type: {media}\r\n\r\n");
                writer.write_all(head.as_bytes()).ok()?;
                while !self.stopped.load(Ordering::Relaxed) {
                    writer.write_all(b" ").ok()?;
                    thread::sleep(Duration::from_millis(50));
                }
                None
            }
            Reply::Silence => {
                while !self.stopped.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(20));
                }
                None
            }
            Reply::Close => None,
            Reply::Updates => self.updates(writer),
        }
    }

    fn updates(&self, writer: &mut impl Write) -> Option<()> {
        let head = "HTTP/1.1 200 x\r\nContent-Type: text/event-stream\r\n\r\n";
        writer.write_all(head.as_bytes()).ok()?;
        let mut state = self.state();
        let mut told = state.events.len();
        loop {
            if self.stopped.load(Ordering::Relaxed) || !state.has_events {
                return None;
            }
            let new: Vec<Header> = state.events.get(told..).unwrap_or_default().to_vec();
            told = state.events.len();
            drop(state);
            for block in new {
                writer.write_all(event(self.version, block.view()).as_bytes()).ok()?;
            }
            state = self.state();
            if told == state.events.len() {
                let wait = Duration::from_secs(20);
                let waited = self.changed.wait_timeout(state, wait);
                state = waited.map_or_else(|error| error.into_inner().0, |(state, _)| state);
            }
        }
    }

    fn truth(&self, asked: &Asked) -> Reply {
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        if path == "/info" {
            let info = json!({ "nodeApiVersion": "0.0", "nodeVersion": self.version.name() });
            return Reply::Json(200, info.to_string());
        }
        let base = format!("/chainweb/0.0/{}", self.version.name());
        let Some(path) = path.strip_prefix(&base) else { return not_found("path") };
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let query: HashMap<&str, &str> =
            query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        match segments.as_slice() {
            ["cut"] => self.cut(),
            ["header", "updates"] if self.state().has_events => Reply::Updates,
            ["chain", chain, rest @ ..] => {
                let chain = chain.parse().map(ChainId::new);
                chain.map_or_else(
                    |_| not_found("chain"),
                    |chain| self.of_chain(chain, rest, &query, &asked.body),
                )
            }
            _ => not_found("path"),
        }
    }

    fn cut(&self) -> Reply {
        let state = self.state();
        let member = |(chain, block): (&ChainId, &Header)| {
            let (height, hash) = (block.view().height().get(), block.view().hash().to_string());
            (chain.to_string(), json!({ "height": height, "hash": hash }))
        };
        let hashes: serde_json::Map<String, Value> = state.cut.iter().map(member).collect();
        let height: u64 = state.cut.values().map(|block| block.view().height().get()).sum();
        let cut = json!({
            "hashes": hashes,
            "origin": null,
            "height": height,
            "instance": self.version.name(),
        });
        Reply::Json(200, cut.to_string())
    }

    fn of_chain(
        &self,
        chain: ChainId,
        rest: &[&str],
        query: &HashMap<&str, &str>,
        body: &[u8],
    ) -> Reply {
        let state = self.state();
        let empty = Vec::new();
        let blocks = state.chains.get(&chain).unwrap_or(&empty);
        match rest {
            ["header"] => page(&ascending(blocks, query, HEADERS_MAX), string),
            ["hash"] => page(&ascending(blocks, query, HASHES_MAX), hash),
            ["header", "branch"] => {
                let Ok(bounds) = serde_json::from_slice::<Value>(body) else {
                    return Reply::Json(400, "{}".to_owned());
                };
                let side = |name: &str| -> Vec<BlockHash> {
                    let side = bounds[name].as_array();
                    let texts = side.into_iter().flatten().filter_map(Value::as_str);
                    texts.filter_map(|text| text.parse().ok()).collect()
                };
                match state.branch(&side("upper"), &side("lower")) {
                    Some(branch) => page(&descending(branch, query, HEADERS_MAX), string),
                    None => {
                        not_found(&side("upper").first().map_or(String::new(), ToString::to_string))
                    }
                }
            }
            ["header", hash] => {
                let known = hash.parse().ok().and_then(|hash: BlockHash| state.blocks.get(&hash));
                let on_chain = known.filter(|block| block.view().chain() == chain);
                on_chain.map_or_else(|| not_found(hash), |block| Reply::Json(200, string(block)))
            }
            _ => not_found("path"),
        }
    }
}
