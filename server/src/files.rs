//! Reads of archive files, which may be on a file system that hangs.
//!
//! - `I-1` They have their own slots: while an archive hangs, the database is still served.
//! - `I-2` A read that takes too long is abandoned: its client gets 503, and its slot is freed.
//!   Its thread stays until the system call returns. There are at most [`STUCK_MAX`] such threads;
//!   once there are that many, reads are refused when all slots are taken by them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::config::{ARCHIVE_STUCK_MAX, Config};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::request_id::RequestId;

/// Threads that may be stuck in system calls.
const STUCK_MAX: usize = ARCHIVE_STUCK_MAX;

/// The slots.
#[derive(Clone)]
pub(crate) struct FileReads {
    slots: Arc<Semaphore>,
    /// One for each thread that reads, given up or not.
    threads: Arc<Semaphore>,
    wait_time: Duration,
    read_time: Duration,
    metrics: Metrics,
}

impl FileReads {
    /// Slots by the limits of `config`.
    pub(crate) fn new(config: &Config, metrics: Metrics) -> Self {
        let threads = config.archive_reads_max.saturating_add(STUCK_MAX);
        Self {
            slots: Arc::new(Semaphore::new(config.archive_reads_max)),
            threads: Arc::new(Semaphore::new(threads)),
            wait_time: config.read_wait_time,
            read_time: config.archive_read_time,
            metrics,
        }
    }

    /// Runs a short `job` that reads a file, where it may block.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if no slot gets free in time, or the job takes too long; [`Error::Bug`] if it
    /// panics.
    pub(crate) async fn read<T, F>(&self, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let slot = Arc::clone(&self.slots).acquire_owned();
        let Ok(Ok(slot)) = timeout(self.wait_time, slot).await else {
            self.metrics.counters().reads_refused.fetch_add(1, Relaxed);
            return Err(Error::Busy);
        };
        self.run(slot, job).await
    }

    /// The same for a chunk of a stream, whose client has waited too: it waits for a slot as long as it
    /// takes.
    ///
    /// # Errors
    ///
    /// As for [`FileReads::read`].
    pub(crate) async fn chunk<T, F>(&self, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| Error::Busy)?;
        self.run(slot, job).await
    }

    async fn run<T, F>(&self, slot: OwnedSemaphorePermit, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let Ok(thread) = Arc::clone(&self.threads).try_acquire_owned() else {
            self.metrics.counters().reads_refused.fetch_add(1, Relaxed);
            return Err(Error::Busy);
        };
        self.metrics.counters().reads_of_disk.fetch_add(1, Relaxed);
        let running = self.metrics.hold(|counters| &counters.reads_running);
        let request = RequestId::current();
        let read = spawn_blocking(move || {
            let result = request.run(job);
            drop((thread, running));
            result
        });
        let result = timeout(self.read_time, read).await;
        drop(slot);
        match result {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(stopped)) if stopped.is_cancelled() => Err(Error::Busy),
            Ok(Err(error)) => {
                tracing::error!(request = %RequestId::current(), "a read panicked: {error}");
                Err(Error::Bug)
            }
            Err(_) => {
                self.metrics.counters().reads_refused.fetch_add(1, Relaxed);
                let (request, seconds) = (RequestId::current(), self.read_time.as_secs_f64());
                tracing::error!(
                    %request,
                    "a read of the archive was abandoned after {seconds} s: its file system does not respond"
                );
                Err(Error::Busy)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    fn reads(slots: usize) -> FileReads {
        let config = Config {
            archive_reads_max: slots,
            archive_read_time: Duration::from_millis(20),
            read_wait_time: Duration::from_secs(5),
            ..Config::default()
        };
        FileReads::new(&config, Metrics::new())
    }

    /// A job that hangs until the sender is dropped.
    fn hangs() -> (Sender<()>, impl FnOnce() + Send + 'static) {
        let (sender, receiver): (_, Receiver<()>) = channel();
        (sender, move || {
            let _ = receiver.recv();
        })
    }

    #[tokio::test]
    async fn a_read_that_hangs_is_given_up_and_its_slot_is_used_again() {
        let reads = reads(1);
        let mut hanging = Vec::new();
        for _ in 0..STUCK_MAX {
            let (sender, job) = hangs();
            hanging.push(sender);
            assert!(matches!(reads.read(job).await, Err(Error::Busy)));
            assert_eq!(reads.read(|| 7).await.unwrap(), 7);
        }
        // One more takes the last thread; then none is begun.
        let (sender, job) = hangs();
        assert!(matches!(reads.read(job).await, Err(Error::Busy)));
        assert!(matches!(reads.read(|| 7).await, Err(Error::Busy)));
        // The file system answers again.
        drop((sender, hanging));
        let start = std::time::Instant::now();
        while reads.read(|| 7).await.is_err() {
            assert!(start.elapsed() < Duration::from_mins(1), "no thread came back");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
