//! The limits of the server, with defaults that are safe on a public address.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use plait_engine::UnknownLower;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use crate::address::{Listen, Peer, Upstream};
use crate::clock::WAIT_MAX;

/// Threads that may be left in reads of an archive whose file system does not answer.
pub(crate) const ARCHIVE_STUCK_MAX: usize = 64;

/// What the server offers beside the database, what it allows and how long it waits.
///
/// Every limit bounds what one client can hold; the defaults suit a small machine on the internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder of an archive that is offered under `/archive`. It need not be there yet.
    pub archive: Option<PathBuf>,
    /// Whether nothing else is offered, but for `/health-check`.
    pub archive_only: bool,
    /// Jobs that read the archive at once, beside those that read the database.
    pub archive_reads_max: usize,
    /// How long such a job may take until it is given up.
    pub archive_read_time: Duration,
    /// Backups, and whether clients may ask for them.
    pub backup: Backup,
    /// Which requests are logged.
    pub requests: Requests,
    /// The release of chainweb-node in `X-Chainweb-Node-Version` and `/info`.
    pub node_version: HeaderValue,
    /// The nodes that `GET cut/peer` lists.
    pub peers: Vec<Peer>,
    /// The members of `GET config` other than the network: the settings that are not secret.
    pub shown: Map<String, Value>,
    /// Connections served at once. Further ones are answered 503 and closed.
    pub connections_max: usize,
    /// From the first byte of a request, or from the start of the connection, to the end of the
    /// request's head.
    pub head_time: Duration,
    /// Bytes of a request's head.
    pub head_bytes_max: usize,
    /// Bytes of path and query together.
    pub uri_bytes_max: usize,
    /// From the end of the head to the end of the body.
    pub body_time: Duration,
    /// Maximum bytes of a request body, for endpoints without a limit of their own.
    pub body_bytes_max: usize,
    /// The same for branch queries; `None` for `body_bytes_max`.
    pub branch_body_bytes_max: Option<usize>,
    /// The same for payload batches: chainweb-node accepts 2 MiB.
    pub batch_body_bytes_max: usize,
    /// Maximum bytes of all request bodies that are being read.
    pub bodies_bytes_max: usize,
    /// How long a connection is kept without a request.
    pub idle_time: Duration,
    /// How long a client may take none of an answer that is ready for it.
    pub stall_time: Duration,
    /// Jobs that read the database at once.
    pub reads_max: usize,
    /// How long a request waits for a place among those jobs before it is answered 503.
    pub read_wait_time: Duration,
    /// Different bounds on each side of a branch query.
    pub bounds_max: usize,
    /// Hashes on a page; the default if a request names no `limit`.
    pub page_hashes_max: usize,
    /// Headers on a page; the default if a request names no `limit`.
    pub page_headers_max: usize,
    /// Blocks on a page; the default if a request names no `limit`.
    pub page_blocks_max: usize,
    /// Bytes up to which a page of blocks or a batch of payloads is made whole. A longer one is made in
    /// pieces of this length, as the client reads; in shorter pieces if many clients do not read.
    pub page_bytes_max: usize,
    /// Bytes of memory that all responses in progress may use together. Further ones get 503.
    pub response_bytes_max: usize,
    /// Payloads that a batch may ask for; further ones are not looked at.
    pub batch_payloads_max: usize,
    /// Steps of heights that one request for statistics may have, times the chains.
    pub stats_steps_max: usize,
    /// Headers that a stream reads at once, the unit of its memory.
    pub stream_headers: usize,
    /// Maximum number of event streams. Further ones get 503, or end at once if they resume.
    pub subscribers_max: usize,
    /// Minimum time between two checks for blocks that have joined the cut.
    pub updates_interval: Duration,
    /// How long an event stream may be silent before the server sends an empty line; zero: never.
    pub updates_keep_alive: Duration,
    /// How long an event stream waits for the blocks of its `Last-Event-ID` before it ends.
    pub updates_resume_wait: Duration,
    /// Bytes of events that are kept for subscribers that are slow.
    pub updates_log_bytes: usize,
    /// How to treat a lower bound that is not stored.
    pub unknown_lower: UnknownLower,
    /// After the signal to stop: how long new requests are still answered, while `/health-check`
    /// answers 503, so that a load balancer can turn away first.
    pub drain_delay: Duration,
    /// After that delay: how long requests in flight may take until streams are cut.
    pub drain_time: Duration,
    /// After that: how long clients may take to read what is left.
    pub cut_time: Duration,
}

impl Config {
    /// Maximum bytes of the body of a branch query.
    pub(crate) fn branch_body_bytes(&self) -> usize {
        self.branch_body_bytes_max.unwrap_or(self.body_bytes_max)
    }

    /// Maximum bytes of the longest body that an endpoint takes.
    pub(crate) fn longest_body_bytes(&self) -> usize {
        self.body_bytes_max.max(self.branch_body_bytes()).max(self.batch_body_bytes_max)
    }

    /// The same with what no counter and no timer takes brought down to what they take. The command
    /// line refuses it; this is for programs that link the server.
    pub(crate) fn bounded(mut self) -> Self {
        for count in [&mut self.connections_max, &mut self.reads_max] {
            *count = (*count).min(Semaphore::MAX_PERMITS);
        }
        let slots_max = Semaphore::MAX_PERMITS.saturating_sub(ARCHIVE_STUCK_MAX);
        self.archive_reads_max = self.archive_reads_max.min(slots_max);
        for time in [
            &mut self.head_time,
            &mut self.body_time,
            &mut self.idle_time,
            &mut self.stall_time,
            &mut self.read_wait_time,
            &mut self.archive_read_time,
            &mut self.updates_interval,
            &mut self.updates_keep_alive,
            &mut self.updates_resume_wait,
            &mut self.drain_delay,
            &mut self.drain_time,
            &mut self.cut_time,
        ] {
            *time = (*time).min(WAIT_MAX);
        }
        self
    }
}

/// Where blocks may be pushed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingest {
    /// Where it listens; nowhere unless said.
    pub listen: Option<Listen>,
    /// Whether that may be where other machines reach it.
    pub remote: bool,
    /// Whether what is told to be stored outlives a crash of the machine.
    pub sync: bool,
    /// Blocks that are stored at once.
    pub batch: usize,
    /// Connections at once; further ones wait.
    pub connections_max: usize,
    /// How long a client may send nothing of its body, and take nothing of the answer.
    pub idle_time: Duration,
    /// Bytes of one JSON value at most: of a header, or of a block with its payload.
    pub line_bytes_max: usize,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            listen: None,
            remote: false,
            sync: true,
            batch: 1024,
            connections_max: 8,
            idle_time: Duration::from_mins(1),
            line_bytes_max: 16 << 20,
        }
    }
}

/// Which payloads a follower takes from its node, if the node has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payloads {
    /// Payloads of new blocks, and missing ones near the tips.
    #[default]
    Auto,
    /// Payloads of all blocks.
    Yes,
    /// None.
    No,
}

/// Which nodes to follow, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// The nodes, followed one at a time: if one fails, the next.
    pub upstreams: Vec<Upstream>,
    /// A file of certificates to trust in addition to those of the system.
    pub ca: Option<PathBuf>,
    /// Which payloads to take.
    pub payloads: Payloads,
    /// Whether a new database may begin where the history of the followed node begins.
    pub allow_partial: bool,
    /// Time limit for connecting.
    pub connect_time: Duration,
    /// Time limit for the head of an answer, and for a page; a sixth of it for the head while another node
    /// can be asked.
    pub answer_time: Duration,
    /// How long a streamed answer may pause; a sixth of it while another node can be asked.
    pub stall_time: Duration,
    /// The time between two requests for the cut of the node.
    pub poll_time: Duration,
    /// The time between two checks for blocks beside the heaviest branches; zero: never.
    pub siblings_time: Duration,
    /// The pause after a first failure.
    pub retry_time_min: Duration,
    /// The longest pause after failures.
    pub retry_time_max: Duration,
    /// Heights of a chain per request.
    pub range_heights: usize,
    /// How far the cut may be behind, in its height, for the server to be ready.
    pub ready_lag: usize,
}

impl Follow {
    /// As [`Config::bounded`].
    pub(crate) fn bounded(mut self) -> Self {
        for time in [
            &mut self.connect_time,
            &mut self.answer_time,
            &mut self.stall_time,
            &mut self.poll_time,
            &mut self.siblings_time,
            &mut self.retry_time_min,
            &mut self.retry_time_max,
        ] {
            *time = (*time).min(WAIT_MAX);
        }
        self
    }
}

impl Default for Follow {
    fn default() -> Self {
        Self {
            upstreams: Vec::new(),
            ca: None,
            payloads: Payloads::Auto,
            allow_partial: false,
            connect_time: Duration::from_secs(10),
            answer_time: Duration::from_secs(30),
            stall_time: Duration::from_secs(30),
            poll_time: Duration::from_secs(10),
            siblings_time: Duration::from_mins(1),
            retry_time_min: Duration::from_secs(1),
            retry_time_max: Duration::from_mins(1),
            range_heights: 16_384,
            ready_lag: 2000,
        }
    }
}

/// Where backups go, and whether they can be asked for over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// Whether `make-backup` and `check-backup` are answered. Anybody who reaches the server can then
    /// start a backup, one at a time.
    pub api: bool,
    /// The folder of all backups. It need not be there yet.
    pub directory: Option<PathBuf>,
    /// How many finished backups stay when one more is finished; all of them unless said.
    pub keep: Option<usize>,
}

/// Which requests get a line in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Requests {
    /// None.
    #[default]
    None,
    /// Those that failed by a fault of the server: status 500 and above, or an answer that broke off.
    Errors,
    /// All of them.
    All,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            archive: None,
            archive_only: false,
            archive_reads_max: 8,
            archive_read_time: Duration::from_secs(10),
            backup: Backup::default(),
            requests: Requests::None,
            node_version: HeaderValue::from_static("3.2"),
            peers: Vec::new(),
            shown: Map::new(),
            connections_max: 1024,
            head_time: Duration::from_secs(10),
            head_bytes_max: 32 * 1024,
            uri_bytes_max: 8 * 1024,
            body_time: Duration::from_secs(10),
            body_bytes_max: 64 * 1024,
            branch_body_bytes_max: None,
            batch_body_bytes_max: 2 << 20,
            bodies_bytes_max: 64 << 20,
            idle_time: Duration::from_secs(75),
            stall_time: Duration::from_secs(30),
            reads_max: cores.saturating_mul(4).max(8),
            read_wait_time: Duration::from_secs(2),
            bounds_max: 32,
            page_hashes_max: 4096,
            page_headers_max: 360,
            page_blocks_max: 360,
            page_bytes_max: 2 << 20,
            response_bytes_max: 256 << 20,
            batch_payloads_max: 1000,
            stats_steps_max: 4096,
            stream_headers: 512,
            subscribers_max: 4096,
            updates_interval: Duration::from_millis(50),
            updates_keep_alive: Duration::from_secs(20),
            updates_resume_wait: Duration::from_secs(30),
            updates_log_bytes: 8 << 20,
            unknown_lower: UnknownLower::Refuse,
            drain_delay: Duration::ZERO,
            drain_time: Duration::from_secs(10),
            cut_time: Duration::from_secs(2),
        }
    }
}

impl Config {
    /// Threads that reads may take at once, those that a file system keeps among them.
    #[must_use]
    pub const fn read_threads_max(&self) -> usize {
        let archive = self.archive_reads_max.saturating_add(ARCHIVE_STUCK_MAX);
        self.reads_max.saturating_add(archive)
    }
}
