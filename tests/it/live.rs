//! A server in this process beside a writer, so that blocks come when a test says so.

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use plait::{Config, Metrics};
use plait_engine::payload::Outputs;
use plait_engine::{ChainId, Header, RawHeader, Reader, VerifiedPayload};
use testkit::Database;
use testkit::block::{child, genesis, sealed};
use testkit::http::{Client, Events, Request};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The path of the event stream of headers.
pub(crate) const HEADERS: &str = "/chainweb/0.0/development/header/updates";

/// The same with payloads.
pub(crate) const BLOCKS: &str = "/chainweb/0.0/development/block/updates";

/// Far more than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A database that is served.
pub(crate) struct Live {
    pub(crate) database: Database,
    server: InProcess,
}

/// The server.
struct InProcess {
    address: SocketAddr,
    watched: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Serves a new database, in which `headers` are.
    pub(crate) fn new<'a>(headers: impl IntoIterator<Item = &'a Header>, config: Config) -> Self {
        let mut database = Database::sealing(8, 6);
        database.add(headers);
        Self::of(database, config)
    }

    /// Serves `database`.
    pub(crate) fn of(database: Database, config: Config) -> Self {
        let server = InProcess::start(database.reader().clone(), config, 0);
        Self { database, server }
    }

    /// Ends the server, has something done to the database, and serves it again where it was.
    pub(crate) fn restart(self, config: Config, meanwhile: impl FnOnce(&mut Database)) -> Self {
        let port = self.address().port();
        let mut database = self.end();
        meanwhile(&mut database);
        let server = InProcess::start(database.reader().clone(), config, port);
        Self { database, server }
    }

    /// Stores blocks, and shows them all at once.
    pub(crate) fn add<'a>(&mut self, headers: impl IntoIterator<Item = &'a Header>) {
        self.database.add(headers);
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// An event stream.
    pub(crate) fn listen(&self, target: &str) -> Events {
        Events::open(self.address(), &Request::get(target))
    }

    /// An event stream that begins behind an event.
    pub(crate) fn resume(&self, target: &str, id: &str) -> Events {
        let request = Request::get(format!("{target}?resume"));
        Events::open(self.address(), &request.header("Last-Event-ID", id))
    }

    /// The number of this sample of its metrics; `None` if it is not there.
    pub(crate) fn metric(&self, sample: &str) -> Option<f64> {
        let page = Client::connect(self.server.watched).ask(&Request::get("/metrics"));
        let value =
            page.text().lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok())
    }

    /// Waits until a number of its metrics is as it should be.
    pub(crate) fn await_metric(&self, sample: &str, is_right: impl Fn(f64) -> bool) {
        let begin = Instant::now();
        loop {
            let value = self.metric(sample);
            if value.is_some_and(&is_right) {
                return;
            }
            assert!(begin.elapsed() < LONG, "{sample}: {value:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks the server to end.
    pub(crate) fn stop(&mut self) {
        // An error means that it has.
        let _ = self.server.stop.take().map(|stop| stop.send(()));
    }

    /// Ends the server and gives the database back.
    pub(crate) fn end(mut self) -> Database {
        self.server.end();
        self.database
    }
}

impl InProcess {
    fn start(reader: Reader, config: Config, port: u16) -> Self {
        let (stop, asked) = oneshot::channel();
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
                let watched = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let addresses = [&listener, &watched].map(|at| at.local_addr().unwrap());
                sender.send(addresses).unwrap();
                let metrics = Metrics::new();
                let asked = async {
                    let _ = asked.await;
                };
                tokio::select! {
                    () = plait::run_measured(reader, config, metrics.clone(), listener, asked) => {}
                    () = plait::watch(metrics, watched) => {}
                }
            });
        });
        let [address, watched] = receiver.recv().expect("the server starts");
        Self { address, watched, stop: Some(stop), thread: Some(thread) }
    }

    fn end(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()) || thread::panicking(), "it panicked");
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.end();
    }
}

/// So many blocks of a chain, from its genesis block on.
pub(crate) fn line(chain: u32, count: usize) -> Vec<Header> {
    let first = genesis(ChainId::new(chain));
    std::iter::successors(Some(first), |block| Some(child(block.view(), 0))).take(count).collect()
}

/// So many blocks above one, others than those of [`line`].
pub(crate) fn fork(below: &Header, count: usize, nonce: u64) -> Vec<Header> {
    let above = |block: &Header| Some(child(block.view(), nonce));
    std::iter::successors(above(below), above).take(count).collect()
}

/// A payload of so many transactions, and a block above one that carries it.
pub(crate) fn carrying(below: &Header, count: usize) -> (Header, VerifiedPayload) {
    let texts: Vec<String> = (0..count).map(|number| format!("transaction {number}")).collect();
    let transactions: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    let outputs = Outputs { coinbase: b"coinbase", outputs: &transactions };
    let payload = VerifiedPayload::seal(b"miner", &transactions, outputs).unwrap();
    let block = child(below.view(), 0);
    let raw = RawHeader { payload_hash: payload.hash(), ..*block.view().raw() };
    (sealed(raw), payload)
}

/// Their hashes.
pub(crate) fn hashes<'a>(headers: impl IntoIterator<Item = &'a Header>) -> Vec<String> {
    headers.into_iter().map(|header| header.view().hash().to_string()).collect()
}
