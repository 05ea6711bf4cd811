//! What the server does, in numbers for Prometheus, and whether it is to be asked at all.
//!
//! Enters: what happens, as additions to counters. Leaves: the page that is scraped, and readiness.
//!
//! - `I-1` A request costs a few additions to counters that are there from the start: no lock, no
//!   allocation, no lookup by name.
//! - `I-2` No label has a value that a client chooses, so the page does not grow.
//! - `I-3` A page can be had while the database is being opened, and while the server is overloaded.

mod endpoint;
mod follow;
mod histogram;
mod ingest;
mod page;
mod process;
mod ready;
mod refresh;
mod state;
mod text;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use plait_engine::Reader;
use plait_engine::cause::Cause;
use plait_engine::push::Counts;

pub(crate) use endpoint::{Endpoint, GONE};
pub(crate) use follow::{FollowFailure, FollowPhase};
pub(crate) use ready::Unready;
pub(crate) use refresh::Refreshed;
pub(crate) use state::Work;
pub(crate) use text::CONTENT_TYPE;

use endpoint::{PerEndpoint, PerStatus};
use histogram::Histogram;
use ready::Readiness;

/// Counters of one server, and of what runs beside it. Cheap to clone; every clone counts for the
/// same server.
///
/// Made before the database is opened, so that those who watch see it being opened.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    counters: Arc<Counters>,
}

/// The counters, and gauges that go up and down.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: PerEndpoint<PerStatus>,
    durations: PerEndpoint<Histogram>,
    bytes: PerEndpoint<AtomicU64>,
    pub(crate) connections: AtomicU64,
    pub(crate) connections_open: AtomicU64,
    connections_refused: AtomicU64,
    connections_dropped: AtomicU64,
    pub(crate) streams_open: AtomicU64,
    pub(crate) subscribers_open: AtomicU64,
    pub(crate) subscribers_waiting: AtomicU64,
    subscribers_refused: AtomicU64,
    subscribers_lost: AtomicU64,
    subscribers_given_up: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) reads_in_memory: AtomicU64,
    pub(crate) reads_of_disk: AtomicU64,
    pub(crate) reads_running: AtomicU64,
    pub(crate) reads_waiting: AtomicU64,
    pub(crate) reads_refused: AtomicU64,
    /// Bytes of responses in progress: see `budget`.
    pub(crate) response_bytes: AtomicU64,
    pub(crate) responses_refused: AtomicU64,
    /// HTTP/2 streams that were cut because their clients did not read them.
    pub(crate) streams_cut: AtomicU64,
    /// HTTP/2 streams that were refused because too many were open on all connections.
    pub(crate) streams_refused: AtomicU64,
    readiness: Readiness,
    backup: Backup,
    replay: Replay,
    follow: follow::Follow,
    ingest: ingest::Ingest,
    refresh: refresh::Refresh,
    /// Writes to the database that failed, by cause, in the order of [`Cause::ALL`].
    write_failures: [AtomicU64; Cause::ALL.len()],
    /// What is served, while it is open.
    serving: Mutex<Option<Serving>>,
}

/// What is served, and its limits.
#[derive(Clone)]
struct Serving {
    reader: Reader,
    connections_max: usize,
    reads_max: usize,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

/// Backups of this process.
#[derive(Debug, Default)]
struct Backup {
    running: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    last_success: AtomicU64,
    last_millis: AtomicU64,
}

/// A replay of this process.
#[derive(Debug, Default)]
struct Replay {
    running: AtomicU64,
    stored: AtomicU64,
    known: AtomicU64,
    rejected: AtomicU64,
    payloads: AtomicU64,
}

/// How far a replay has come since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayProgress {
    /// Headers that were stored.
    pub stored: u64,
    /// Headers that were there already.
    pub known: u64,
    /// Headers that were rejected.
    pub rejected: u64,
    /// Payloads that were stored.
    pub payloads: u64,
}

impl Metrics {
    /// Counters of a server that is still to open its database.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A backup begins.
    pub fn begin_backup(&self) {
        self.counters.backup.running.store(1, Relaxed);
    }

    /// The backup that began last has ended, and took so long.
    pub fn end_backup(&self, succeeded: bool, took: Duration) {
        let Backup { running, done, failed, last_success, last_millis } = &self.counters.backup;
        running.store(0, Relaxed);
        last_millis.store(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), Relaxed);
        if succeeded {
            done.fetch_add(1, Relaxed);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            last_success.store(now.as_secs(), Relaxed);
        } else {
            failed.fetch_add(1, Relaxed);
        }
    }

    /// A replay that runs in this process has come so far; `None` when it has ended.
    pub fn replay(&self, progress: Option<ReplayProgress>) {
        let Replay { running, stored, known, rejected, payloads } = &self.counters.replay;
        running.store(progress.is_some().into(), Relaxed);
        if let Some(progress) = progress {
            stored.store(progress.stored, Relaxed);
            known.store(progress.known, Relaxed);
            rejected.store(progress.rejected, Relaxed);
            payloads.store(progress.payloads, Relaxed);
        }
    }

    /// Another node is to be followed: the server is not ready while its cut is behind by more than
    /// this, in its height.
    pub fn expect_lag(&self, lag_max: u64) {
        self.counters.readiness.expect_lag(lag_max);
    }

    /// Following another node is at this.
    pub(crate) fn follow(&self, phase: FollowPhase) {
        self.counters.follow.enter(phase);
    }

    /// Following another node failed.
    pub(crate) fn fail_follow(&self, failure: FollowFailure) {
        self.counters.follow.fail(failure);
    }

    /// Following another node has stored so many blocks more.
    pub(crate) fn followed(&self, blocks: u64) {
        self.counters.follow.took(blocks);
    }

    /// The heights of the cuts, of the node that is followed and of the database.
    pub(crate) fn follow_heights(&self, theirs: u64, ours: u64) {
        self.counters.follow.heights(theirs, ours);
        self.counters.readiness.lag(theirs.saturating_sub(ours));
    }

    /// A write to the database failed.
    pub fn fail_write(&self, cause: Cause) {
        self.note_failure(cause);
    }

    /// The same. Returns whether the write before it did not fail.
    pub(crate) fn note_failure(&self, cause: Cause) -> bool {
        let counts = Cause::ALL.iter().zip(&self.counters.write_failures);
        for (_, count) in counts.filter(|(of, _)| **of == cause) {
            count.fetch_add(1, Relaxed);
        }
        self.counters.readiness.fail_write()
    }

    /// The database takes writes.
    pub(crate) fn wrote(&self) {
        self.counters.readiness.wrote();
    }

    /// Whether the last write to the database failed.
    pub(crate) fn is_write_failing(&self) -> bool {
        self.counters.readiness.is_write_failing()
    }

    /// Blocks may be pushed.
    pub(crate) fn ingest(&self) {
        self.counters.ingest.switch_on();
    }

    /// Blocks were pushed.
    pub(crate) fn ingested(&self, counts: Counts) {
        self.counters.ingest.add(counts);
    }

    /// Blocks were pushed and could not be stored.
    pub(crate) fn fail_ingest(&self) {
        self.counters.ingest.fail();
    }

    /// The database is written by another process, and read anew so often.
    pub(crate) fn expect_refreshes(&self, interval: Duration) {
        self.counters.refresh.switch_on();
        self.counters.readiness.expect_refreshes(interval);
    }

    /// It was read anew, or was not.
    pub(crate) fn refresh(&self, outcome: Refreshed) {
        self.counters.refresh.add(outcome);
        if outcome != Refreshed::Failed {
            self.counters.readiness.refreshed();
        }
    }

    /// The folder of the database is not where it was, or is there again; returns what was said
    /// before.
    pub(crate) fn displace(&self, displaced: bool) -> bool {
        self.counters.readiness.displace(displaced)
    }

    /// The database is open, and requests are taken.
    pub(crate) fn serve(&self, reader: &Reader, connections_max: usize, reads_max: usize) {
        let serving = Serving { reader: reader.clone(), connections_max, reads_max };
        *self.counters.serving() = Some(serving);
        self.counters.readiness.serve();
    }

    /// The database is no longer served, and may be closed.
    pub(crate) fn close(&self) {
        self.leave();
        *self.counters.serving() = None;
    }

    /// No more requests are to be sent here.
    pub(crate) fn leave(&self) {
        self.counters.readiness.leave();
    }

    /// Why no requests are to be sent here now, if so.
    pub(crate) fn unready(&self) -> Option<Unready> {
        self.counters.readiness.unready()
    }

    /// The counters.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts one more until what is returned is dropped.
    pub(crate) fn hold(&self, gauge: fn(&Counters) -> &AtomicU64) -> Held {
        gauge(&self.counters).fetch_add(1, Relaxed);
        Held { counters: Arc::clone(&self.counters), gauge }
    }

    /// The page that is scraped.
    ///
    /// # Cost
    ///
    /// About a millisecond; the cut may read the disk.
    pub(crate) fn page(&self) -> String {
        page::page(&self.counters)
    }
}

impl Counters {
    /// Nothing that holds this lock panics.
    fn serving(&self) -> MutexGuard<'_, Option<Serving>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has ended.
    pub(crate) fn request(
        &self,
        endpoint: Endpoint,
        status: StatusCode,
        bytes: u64,
        took: Duration,
    ) {
        self.requests.of(endpoint).of(status).fetch_add(1, Relaxed);
        self.durations.of(endpoint).add(took);
        self.bytes.of(endpoint).fetch_add(bytes, Relaxed);
    }

    /// A connection found no place; it is answered 503, or not at all.
    pub(crate) fn refuse_connection(&self, answered: bool) {
        let count = if answered { &self.connections_refused } else { &self.connections_dropped };
        count.fetch_add(1, Relaxed);
        self.readiness.refuse();
    }

    /// An event stream ended because a block of its `Last-Event-ID` did not arrive in time.
    pub(crate) fn give_up_subscriber(&self) {
        self.subscribers_given_up.fetch_add(1, Relaxed);
    }

    /// An event stream was over the limit; it gets 503, or ends at once.
    pub(crate) fn refuse_subscriber(&self) {
        self.subscribers_refused.fetch_add(1, Relaxed);
    }

    /// An event stream ended because its client was too slow.
    pub(crate) fn lose_subscriber(&self) {
        self.subscribers_lost.fetch_add(1, Relaxed);
    }

    /// A request found no place to read.
    pub(crate) fn refuse_read(&self) {
        self.reads_refused.fetch_add(1, Relaxed);
        self.readiness.refuse();
    }
}

/// One more, as long as it lives.
#[derive(Debug)]
pub(crate) struct Held {
    counters: Arc<Counters>,
    gauge: fn(&Counters) -> &AtomicU64,
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.gauge)(&self.counters).fetch_sub(1, Relaxed);
    }
}
