//! Where the async server meets the blocking engine.
//!
//! Enters: closures that read a [`View`], scans. Leaves: their results, and [`Feed`], the source of
//! streams.
//!
//! - `I-1` The disk is read on threads made for blocking, never on those that serve sockets, and by
//!   no more jobs at once than configured. What is in memory is read in place.
//! - `I-2` A job is short: a page, or one chunk of a stream. Between two chunks a stream holds no
//!   thread, no place and no view of the database, however long its client sleeps.

use std::fmt::Display;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use plait_engine::{Cursor, QueryError, Reader, Records, Scan, View};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::config::Config;
use crate::error::Error;
use crate::files::FileReads;
use crate::metrics::Metrics;
use crate::request_id::RequestId;
use crate::response::{Cut, Source, Step};

/// How long a read waits for a database to be read anew where a file is gone.
const MORE_TIME: Duration = Duration::from_secs(5);

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
    wait_time: Duration,
    stream_headers: usize,
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
        Self {
            reader,
            files: FileReads::new(config, metrics.clone()),
            places: Arc::new(Semaphore::new(config.reads_max)),
            wait_time: config.read_wait_time,
            stream_headers: config.stream_headers,
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
                Some(told(result))
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
        told(self.chunk_of(move || job(&reader)).await?)
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
        let read = move || {
            let seen = reader.shown();
            match job(&reader.view()) {
                // Its files may be gone where another process writes the database, but what was in
                // them is not.
                Err(QueryError::Store(error))
                    if error.is_of_lost_file() && reader.wait_for_more(seen, MORE_TIME) =>
                {
                    job(&reader.view())
                }
                result => result,
            }
        };
        told(self.spawn(place, read).await?)
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
            drop((place, running));
            result
        });
        match read.await {
            Ok(result) => Ok(result),
            Err(stopped) if stopped.is_cancelled() => Err(Error::Busy),
            Err(error) => Err(panicked(&error)),
        }
    }

    /// The records of `scan` as the source of a stream.
    pub(crate) fn feed(&self, scan: Scan) -> Feed {
        Feed { bridge: self.clone(), state: State::Idle(scan), resume: None, stop: self.cutting() }
    }

    /// The next chunk of `scan`, if it is in memory.
    fn chunk_in_place(&self, scan: &mut Scan) -> Option<Result<Chunk, Error>> {
        let view = self.reader.view().cached();
        match catch_unwind(AssertUnwindSafe(|| scan.next(&view, self.stream_headers))) {
            Ok(Err(QueryError::Cold)) => None,
            Ok(Err(error)) => Some(told(Err(error))),
            Ok(Ok(records)) => {
                self.metrics.counters().reads_in_memory.fetch_add(1, Relaxed);
                let slices = records.map(Records::into_slices);
                Some(Ok(Chunk { scan: None, slices, resume: scan.cursor() }))
            }
            Err(_) => Some(Err(panicked(&"in place"))),
        }
    }

    /// One chunk of a stream; waits for a place as long as it takes, for the client has waited too.
    async fn chunk<F>(self, job: F) -> Result<Chunk, Error>
    where
        F: FnMut(&View) -> Result<Chunk, QueryError> + Send + 'static,
    {
        let place = self.patient_place().await?;
        self.run(place, job).await
    }
}

/// Tells the log what a client is not told.
pub(crate) fn told<T>(result: Result<T, QueryError>) -> Result<T, Error> {
    let result = result.map_err(Error::from);
    if let Err(Error::Store(source)) = &result {
        let cause: &dyn std::error::Error = source;
        tracing::error!(request = %RequestId::current(), cause, "the database cannot be read");
    }
    result
}

/// Tells the log of a bug of ours.
fn panicked(how: &dyn Display) -> Error {
    tracing::error!(request = %RequestId::current(), "a read panicked: {how}");
    Error::Bug
}

/// What one job of a stream read.
struct Chunk {
    scan: Option<Scan>,
    slices: Option<Vec<Bytes>>,
    /// Where the next chunk begins; `None` if there is none.
    resume: Option<Cursor>,
}

/// The job that reads the next chunk of `scan`. Once it has succeeded it gives nothing more.
fn next_chunk(
    scan: Scan,
    headers_max: usize,
) -> impl FnMut(&View) -> Result<Chunk, QueryError> + Send + 'static {
    let mut scan = Some(scan);
    move |view| {
        let slices = match &mut scan {
            Some(scan) => scan.next(view, headers_max)?.map(Records::into_slices),
            None => None,
        };
        let resume = scan.as_ref().and_then(Scan::cursor);
        Ok(Chunk { scan: scan.take(), slices, resume })
    }
}

/// The source of a stream: one job per chunk, begun when the one before is nearly sent.
pub(crate) struct Feed {
    bridge: Bridge,
    state: State,
    /// Where that begins which was not given yet; `None` before the first chunk.
    resume: Option<Cursor>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
}

enum State {
    Idle(Scan),
    Read(Result<Chunk, Error>),
    Reading(JoinHandle<Result<Chunk, Error>>),
    Ended,
}

impl Source for Feed {
    fn prefetch(&mut self) {
        self.state = match mem::replace(&mut self.state, State::Ended) {
            State::Idle(mut scan) => {
                if let Some(chunk) = self.bridge.chunk_in_place(&mut scan) {
                    State::Read(chunk.map(|chunk| Chunk { scan: Some(scan), ..chunk }))
                } else {
                    let job = next_chunk(scan, self.bridge.stream_headers);
                    let chunk = self.bridge.clone().chunk(job);
                    State::Reading(tokio::spawn(RequestId::current().scope(chunk)))
                }
            }
            state @ (State::Read(_) | State::Reading(_) | State::Ended) => state,
        };
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step, Cut>> {
        self.prefetch();
        if matches!(self.state, State::Ended) {
            return Poll::Ready(Ok(Step::End));
        }
        if let Some(resume) = self.resume
            && self.stop.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Ok(Step::Stop(resume)));
        }
        if let State::Reading(read) = &mut self.state {
            // A job that was aborted or panicked has no chunk either.
            let read = std::task::ready!(Pin::new(read).poll(cx));
            self.state = State::Read(read.unwrap_or(Err(Error::Bug)));
        }
        let State::Read(Ok(chunk)) = mem::replace(&mut self.state, State::Ended) else {
            return Poll::Ready(Err(Cut::Failed));
        };
        self.resume = chunk.resume;
        if let (Some(scan), Some(_)) = (chunk.scan, chunk.resume) {
            self.state = State::Idle(scan);
        }
        Poll::Ready(Ok(chunk.slices.map_or(Step::End, Step::Records)))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let State::Reading(read) = &self.state {
            read.abort();
        }
    }
}
