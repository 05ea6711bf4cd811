use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use plait::Config;
use plait::fuzzed::Router;
use plait_engine::{BlockHash, ChainId, Header};
use tempfile::TempDir;
use testkit::Database;
use testkit::carried::{self, Block};
use testkit::oracle::Oracle;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::{Builder, Runtime};

/// Heights of the history.
const HEIGHTS: u64 = 14;

/// Bytes of an exchange that are held on their way.
const WAY_BYTES: usize = 16 << 10;

/// A server without a socket, with a small history of all chains with forks and payloads, and what it
/// should answer.
pub struct World {
    runtime: Runtime,
    router: Router,
    /// The blocks with what they carry, parents first.
    pub blocks: Vec<Block>,
    /// The same by hash.
    pub headers: BTreeMap<BlockHash, Header>,
    /// The twin of each chain.
    pub oracles: BTreeMap<ChainId, Oracle>,
    _folder: TempDir,
}

/// An answer that was read to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

impl World {
    /// That of this process: every process has the same.
    #[must_use]
    pub fn get() -> &'static Self {
        &WORLD
    }

    fn new() -> Self {
        let blocks = carried::blocks(HEIGHTS, 8, 0.3, 4);
        let headers = carried::headers(&blocks);
        let mut database = Database::empty();
        database.add(&headers);
        // Some blocks are without.
        for (header, payload) in blocks.iter().filter(|(header, _)| header.view().nonce() % 8 > 0) {
            database.add_payload(header, payload.clone());
        }
        database.add(&[]);
        let version = database.reader().version();
        let of = |chain: ChainId| headers.iter().filter(move |h| h.view().chain() == chain);
        let oracles = version.chain_ids().map(|chain| (chain, Oracle::new(of(chain)))).collect();
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime without threads of its own");
        // Event streams do not end.
        let config = Config { subscribers_max: 0, page_headers_max: 20, ..Config::default() };
        let router = runtime.block_on(async { Router::new(database.reader().clone(), config) });
        let headers = headers.iter().map(|header| (header.view().hash(), *header)).collect();
        Self { runtime, router, blocks, headers, oracles, _folder: database.close() }
    }

    /// The answer to a request.
    pub fn ask(&self, request: Request<Vec<u8>>) -> Answer {
        let request = request.map(|body| Full::new(Bytes::from(body)));
        self.runtime.block_on(async {
            let (head, body) = self.router.answer(request).await.into_parts();
            let collected = body.collect().await;
            let body = collected.map(http_body_util::Collected::to_bytes);
            let body = body.unwrap_or_else(|_| panic!("a body breaks off"));
            Answer { status: head.status, headers: head.headers, body }
        })
    }

    /// What the server writes to a client that writes these bytes and then no more.
    pub fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            let (client, server) = duplex(WAY_BYTES);
            let (mut read, mut write) = tokio::io::split(client);
            let mut answers = Vec::new();
            let send = async move {
                // The server may have closed.
                let _ = write.write_all(bytes).await;
                let _ = write.shutdown().await;
            };
            let receive =
                async { read.read_to_end(&mut answers).await.expect("no errors in memory") };
            tokio::join!(self.router.serve(server), send, receive);
            answers
        })
    }
}
