//! Where the async server meets the blocking engine.
//!
//! Enters: closures that read a [`View`]. Leaves: their results.
//!
//! - `I-1` The disk is read on threads made for blocking, never on those that serve sockets, and by
//!   no more jobs at once than configured. What is in memory is read in place.
//! - `I-2` A job is short: a page, or one chunk of a stream. Between two chunks a stream holds no
//!   thread, no place and no view of the database, however long its client sleeps.
//! - `I-3` A request that may take long uses a lane of its own, where it pays for what it will read.
//!   Pages never wait for such a request, and one core stays free for them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use plait_engine::{QueryError, Reader, View};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::budget::Budget;
use crate::config::Config;
use crate::error::Error;
use crate::files::FileReads;
use crate::metrics::Metrics;
use crate::reading::{logged, panicked, read_view};
use crate::request_id::RequestId;

/// Rows of the database that a job reads per permit of the slow lane: some 0.2 ms.
const ROWS_A_PERMIT: u64 = 64;

/// Permits of the slow lane per core.
const PERMITS_A_CORE: usize = 32;

/// How far the server is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It is not.
    Serving,
    /// It answers as before, but says to load balancers that it leaves.
    Leaving,
    /// It takes no more connections, and ends those that have nothing in flight; events, too.
    Draining,
    /// Streams end now.
    Cutting,
}

/// The way to the engine.
#[derive(Clone)]
pub(crate) struct Bridge {
    reader: Reader,
    files: FileReads,
    places: Arc<Semaphore>,
    slow_lane: Arc<Semaphore>,
    slow_permits: u32,
    budget: Budget,
    piece_bytes: usize,
    wait_time: Duration,
    phase: watch::Receiver<Phase>,
    metrics: Metrics,
}

impl Bridge {
    /// A bridge with the limits of `config`.
    pub(crate) fn new(
        reader: Reader,
        config: &Config,
        metrics: Metrics,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        // Half of the cores: one job that reads much at a time, or many that do not.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let permits = PERMITS_A_CORE.saturating_mul(cores.div_ceil(2)).min(Semaphore::MAX_PERMITS);
        Self {
            reader,
            slow_lane: Arc::new(Semaphore::new(permits)),
            slow_permits: u32::try_from(permits).unwrap_or(u32::MAX),
            budget: Budget::new(config.response_bytes_max, metrics.clone()),
            // A piece beyond the limit of all long pieces together would never be made.
            piece_bytes: config.page_bytes_max.min(config.response_bytes_max / 8),
            files: FileReads::new(config, metrics.clone()),
            places: Arc::new(Semaphore::new(config.reads_max)),
            wait_time: config.read_wait_time,
            phase,
            metrics,
        }
    }

    /// What answers queries.
    pub(crate) fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Runs a short `job` on one view of the database: right here if all it reads is in memory, else
    /// where it may block.
    ///
    /// A job can be run again, on another view, as long as it has not succeeded.
    ///
    /// # Errors
    ///
    /// - [`Error::Busy`] if no place gets free in time.
    /// - What `job` returns, and [`Error::Bug`] if it panics.
    pub(crate) async fn read<T, F>(&self, mut job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&View) -> Result<T, QueryError> + Send + 'static,
    {
        if let Some(result) = self.read_in_place(&mut job) {
            return result;
        }
        self.read_blocking(job).await
    }

    /// Runs a short `job` on this thread if everything it reads is in memory; otherwise `None`.
    ///
    /// The error is what `job` returns, or [`Error::Bug`] if it panics.
    pub(crate) fn read_in_place<T>(
        &self,
        job: impl FnOnce(&View) -> Result<T, QueryError>,
    ) -> Option<Result<T, Error>> {
        let view = self.reader.view().cached();
        match catch_unwind(AssertUnwindSafe(|| job(&view))) {
            Ok(Err(QueryError::Cold)) => None,
            Ok(result) => {
                self.metrics.counters().reads_in_memory.fetch_add(1, Relaxed);
                Some(logged(result))
            }
            Err(_) => Some(Err(panicked(&"in place"))),
        }
    }

    /// Runs `job` where it may block and may take long, on one view of the database.
    ///
    /// # Errors
    ///
    /// As for [`Bridge::read`].
    pub(crate) async fn read_blocking<T, F>(&self, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&View) -> Result<T, QueryError> + Send + 'static,
    {
        let place = self.place().await?;
        self.run(place, job).await
    }

    /// Runs `job`, which reads about `rows` rows of the database, in the slow lane. The more it reads,
    /// the fewer others run at the same time; a job that reads very much runs alone.
    ///
    /// # Errors
    ///
    /// As for [`Bridge::read`].
    pub(crate) async fn read_slowly<T, F>(&self, rows: u64, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&View) -> Result<T, QueryError> + Send + 'static,
    {
        let permits = u32::try_from(rows / ROWS_A_PERMIT).unwrap_or(u32::MAX);
        let permits = permits.clamp(1, self.slow_permits);
        let turn = Arc::clone(&self.slow_lane).acquire_many_owned(permits);
        let Ok(Ok(turn)) = timeout(self.wait_time, turn).await else {
            self.metrics.counters().reads_refused.fetch_add(1, Relaxed);
            return Err(Error::Busy);
        };
        self.run(turn, job).await
    }

    /// The budget for responses in progress.
    pub(crate) const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Bytes of a long piece of a stream.
    pub(crate) const fn piece_bytes(&self) -> usize {
        self.piece_bytes
    }

    /// The slots for reads of the archive.
    pub(crate) const fn files(&self) -> &FileReads {
        &self.files
    }

    /// Runs a short `job` that reads a file, where it may block.
    ///
    /// # Errors
    ///
    /// As for [`Bridge::read`].
    pub(crate) async fn read_file<T, F>(&self, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let place = self.place().await?;
        self.spawn(place, job).await
    }

    /// The same for a chunk of a stream, whose client has waited too: it waits as long as it takes.
    ///
    /// # Errors
    ///
    /// As for [`Bridge::read`].
    pub(crate) async fn chunk_of<T, F>(&self, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let place = self.patient_place().await?;
        self.spawn(place, job).await
    }

    /// The same for a chunk of what the database has, by a job that takes views as it needs them.
    ///
    /// # Errors
    ///
    /// As for [`Bridge::read`].
    pub(crate) async fn chunk_of_database<T, F>(&self, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Reader) -> Result<T, QueryError> + Send + 'static,
    {
        let reader = self.reader.clone();
        logged(self.chunk_of(move || job(&reader)).await?)
    }

    /// Ends when the server has come so far on its way out.
    pub(crate) fn reached(&self, target: Phase) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut phase = self.phase.clone();
        Box::pin(async move {
            // An error means that the server is gone, and this with it.
            let _ = phase.wait_for(|phase| *phase >= target).await;
        })
    }

    /// Ends when streams are to end.
    pub(crate) fn cutting(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.reached(Phase::Cutting)
    }

    /// Waits for a place, but not for ever.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        if let Ok(Ok(place)) = timeout(self.wait_time, self.patient_place()).await {
            return Ok(place);
        }
        self.metrics.counters().refuse_read();
        Err(Error::Busy)
    }

    /// Waits for a place.
    async fn patient_place(&self) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = self.metrics.hold(|counters| &counters.reads_waiting);
        Arc::clone(&self.places).acquire_owned().await.map_err(|_| Error::Busy)
    }

    async fn run<T, F>(&self, place: OwnedSemaphorePermit, mut job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&View) -> Result<T, QueryError> + Send + 'static,
    {
        let reader = self.reader.clone();
        logged(self.spawn(place, move || read_view(&reader, &mut job)).await?)
    }

    async fn spawn<T, F>(&self, place: OwnedSemaphorePermit, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.metrics.counters().reads_of_disk.fetch_add(1, Relaxed);
        let running = self.metrics.hold(|counters| &counters.reads_running);
        let request = RequestId::current();
        let read = spawn_blocking(move || {
            let result = request.run(job);
            drop(running);
            (result, place)
        });
        // The result keeps its place until this task has it, which charges it to the budget before it waits
        // again. On a busy machine, results of 400 reads would wait for their tasks otherwise.
        match read.await {
            Ok((result, _place)) => Ok(result),
            Err(stopped) if stopped.is_cancelled() => Err(Error::Busy),
            Err(error) => Err(panicked(&error)),
        }
    }

    /// Reads one chunk of a stream; waits for a permit as long as it takes, because the client has
    /// waited too.
    ///
    /// # Errors
    ///
    /// As for [`Bridge::read`].
    pub(crate) async fn chunk<T, F>(self, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&View) -> Result<T, QueryError> + Send + 'static,
    {
        let place = self.patient_place().await?;
        self.run(place, job).await
    }
}
