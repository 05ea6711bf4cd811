use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use plait_engine::{HeaderRef, Past, QueryError, Reader, Records};
use tokio::sync::Notify;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::log::Log;
use super::render::Entry;
use crate::clock::after;
use crate::config::Config;
use crate::metrics::Metrics;

/// Headers that are read and rendered before subscribers get them.
const HEADERS: usize = 256;

/// Bytes of an event and what belongs to it, without its payload: by which is told whether the log has
/// room for so many.
const EVENT_BYTES: u64 = 1500;

/// How long to wait after a look that failed.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

/// Puts what joins the cut into the log.
#[derive(Clone)]
pub(super) struct Announcer {
    reader: Reader,
    log: Arc<Log>,
    metrics: Metrics,
}

impl Announcer {
    /// One that reads from `reader`.
    pub(super) fn new(reader: Reader, log: Arc<Log>, metrics: &Metrics) -> Self {
        Self { reader, log, metrics: metrics.clone() }
    }

    /// Looks once.
    pub(super) async fn begin(self) {
        told(spawn_blocking(move || self.look()).await);
    }

    /// Looks whenever there is something new, but not too often, until `ending` ends, and with it all
    /// streams; nothing reads the database then.
    ///
    /// Whoever shows something does no more than wake this, once for each look.
    pub(super) async fn run(self, config: &Config, ending: impl Future<Output = ()>) {
        let (woken, mut ending) = (Arc::new(Notify::new()), pin!(ending));
        loop {
            let (begin, mut seen) = (Instant::now(), self.reader.shown());
            let this = self.clone();
            let mut look = spawn_blocking(move || this.look());
            let looked = tokio::select! {
                looked = &mut look => looked,
                () = &mut ending => {
                    self.log.close();
                    told(look.await);
                    return;
                }
            };
            let mut pause = config.updates_interval;
            if !told(looked) {
                // Again, though nothing new may come.
                (pause, seen) = (FAILED_PAUSE, seen.wrapping_sub(1));
            }
            let waker = Arc::clone(&woken);
            self.reader.on_shown(seen, move || waker.notify_one());
            let more = async {
                sleep_until(after(begin, pause)).await;
                woken.notified().await;
            };
            tokio::select! {
                () = more => {}
                () = self.keep_open(config.updates_keep_alive) => {}
                () = &mut ending => {
                    self.log.close();
                    return;
                }
            }
        }
    }

    /// Sends an empty line to every stream that was silent for `quiet`, in an endless loop.
    async fn keep_open(&self, quiet: Duration) {
        if quiet.is_zero() {
            return std::future::pending().await;
        }
        loop {
            sleep_until(self.log.quiet_until(quiet)).await;
            self.log.keep_open(quiet);
        }
    }

    /// Renders the blocks that have joined since the last scan, then tests the blocks that streams
    /// wait for.
    ///
    /// What is rendered before it fails stays, and the next look goes on behind it.
    fn look(&self) -> Result<(), QueryError> {
        self.announce()?;
        // Test each block once, in memory, however many streams wait for it.
        let mut blocks = self.log.awaited();
        if !blocks.is_empty() {
            let view = self.reader.view();
            blocks.retain(|block| view.may_hold(block));
        }
        self.log.wake_seekers(&blocks);
        Ok(())
    }

    fn announce(&self) -> Result<(), QueryError> {
        let view = self.reader.view();
        let (to, seen) = (view.past()?, view.shown());
        if self.log.jump_unheard(&to, seen) {
            return Ok(());
        }
        let Some((_, from)) = self.log.head() else { return Ok(()) };
        let mut joined = view.joined(&from, &to)?;
        drop(view);
        if joined.len().saturating_mul(EVENT_BYTES) > self.log.bytes_max() as u64 {
            self.log.jump(to, seen);
            return Ok(());
        }
        // Until a block joins on a chain, an id names the block that was announced last on that
        // chain, not the fork point: another server may still be on the old branch.
        let mut past = from;
        while let Some(records) = joined.next(&self.reader.view(), HEADERS)? {
            if self.log.is_closed() {
                return Ok(());
            }
            loop {
                let (_, blocks) = self.log.listened();
                let mut behind = past.clone();
                let entries = self.entries(&records, &mut behind, blocks)?;
                let count = entries.len() as u64;
                if self.log.append(entries, behind.clone(), blocks) {
                    self.metrics.counters().events.fetch_add(count, Relaxed);
                    past = behind;
                    break;
                }
            }
        }
        self.log.settle(to, seen);
        Ok(())
    }

    /// The events of these blocks; `past` is brought behind the last.
    fn entries(
        &self,
        records: &Records,
        past: &mut Past,
        blocks: bool,
    ) -> Result<Vec<Entry>, QueryError> {
        let view = self.reader.view();
        let entry = |header: HeaderRef<'_>| {
            past.set(header.chain(), header.rank());
            Entry::read(&view, header, past, blocks)
        };
        records.iter().map(entry).collect()
    }
}

/// Whether a look succeeded; tells the log why not.
fn told(looked: Result<Result<(), QueryError>, JoinError>) -> bool {
    match looked {
        Ok(Ok(())) => return true,
        Ok(Err(cause)) => {
            let cause: &dyn std::error::Error = &cause;
            tracing::error!(cause, "the database cannot be read: who listens is told later");
        }
        Err(panic) => tracing::error!("a look for what has joined panicked: {panic}"),
    }
    false
}
