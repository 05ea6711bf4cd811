//! Reading and verifying ahead, on all cores.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use self_cell::self_cell;

use super::ReplayError;
use super::source::{Chunk, Source};
use crate::header::DecodeError;
use crate::verify::{Checked, Hasher, Verifier};

/// Records that are read and verified together: 1.3 MB, which the cache of a core holds.
pub(super) const CHUNK_RECORDS: usize = 4096;

/// Chunks that are read ahead: 10 MB.
const AHEAD: usize = 8;

/// What each record of a chunk shows by itself.
type Outcomes<'a> = Vec<Result<Checked<'a>, DecodeError>>;

self_cell! {
    /// A chunk, and what its records show by themselves; nothing, if that was not looked at.
    pub(super) struct CheckedChunk {
        owner: Chunk,
        #[covariant]
        dependent: Outcomes,
    }
}

impl CheckedChunk {
    fn of(chunk: Chunk, verifier: &Verifier, hasher: &mut Hasher) -> Self {
        Self::new(chunk, |chunk| {
            let mut outcomes = Vec::with_capacity(chunk.records().len());
            verifier.check_many(hasher, chunk.records(), &mut outcomes);
            outcomes
        })
    }

    fn unchecked(chunk: Chunk) -> Self {
        Self::new(chunk, |_| Vec::new())
    }

    /// The same, checked.
    pub(super) fn checked(self, verifier: &Verifier) -> Self {
        if self.is_checked() {
            self
        } else {
            Self::of(self.into_owner(), verifier, &mut Hasher::default())
        }
    }

    /// Whether its records were looked at.
    pub(super) fn is_checked(&self) -> bool {
        self.borrow_dependent().len() == self.chunk().records().len()
    }

    pub(super) fn chunk(&self) -> &Chunk {
        self.borrow_owner()
    }

    /// What the record with this number shows.
    pub(super) fn outcome(&self, record: usize) -> Option<&Result<Checked<'_>, DecodeError>> {
        self.borrow_dependent().get(record)
    }
}

/// A chunk that is being checked, `None` at the end, or why the next one cannot be read.
type Ahead = Result<Option<Receiver<CheckedChunk>>, ReplayError>;

/// The chunks of an input, in its order.
pub(super) struct Stage {
    queue: Receiver<Ahead>,
    /// Whether chunks need not be checked.
    unchecked: Arc<AtomicBool>,
}

/// What comes next.
pub(super) enum Next {
    Chunk(CheckedChunk),
    /// Nothing yet.
    Waiting,
    End,
}

impl Stage {
    /// Begins to read `source`: one thread reads, and as many as there are cores check.
    ///
    /// They end by themselves, at the end of the input or soon after this is dropped: a read may
    /// take for ever, and nobody waits for it then.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Io`] if there are no threads to be had.
    pub(super) fn begin(
        mut source: Box<dyn Source>,
        verifier: &Arc<Verifier>,
    ) -> Result<Self, ReplayError> {
        let (sender, queue) = sync_channel::<Ahead>(AHEAD);
        let (jobs, todo) = sync_channel::<(Chunk, SyncSender<CheckedChunk>)>(AHEAD);
        let (todo, unchecked) = (Arc::new(Mutex::new(todo)), Arc::new(AtomicBool::new(false)));
        for _ in 0..thread::available_parallelism().map_or(1, NonZeroUsize::get) {
            let (todo, verifier) = (Arc::clone(&todo), Arc::clone(verifier));
            let unchecked = Arc::clone(&unchecked);
            named("check", move || check(&todo, &verifier, &unchecked))?;
        }
        named("read", move || {
            loop {
                let ahead = match source.next(CHUNK_RECORDS) {
                    Ok(None) => Ok(None),
                    Err(error) => Err(error),
                    Ok(Some(chunk)) => {
                        let (done, checked) = sync_channel(1);
                        if jobs.send((chunk, done)).is_err() {
                            return;
                        }
                        Ok(Some(checked))
                    }
                };
                let last = !matches!(ahead, Ok(Some(_)));
                if sender.send(ahead).is_err() || last {
                    return;
                }
            }
        })?;
        Ok(Self { queue, unchecked })
    }

    /// The next chunk, if it comes within `timeout`.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] if the input cannot be read.
    pub(super) fn next(&self, timeout: Duration) -> Result<Next, ReplayError> {
        match self.queue.recv_timeout(timeout) {
            Ok(Ok(Some(checked))) => checked.recv().map(Next::Chunk).map_err(|_| lost()),
            Ok(Ok(None)) => Ok(Next::End),
            Ok(Err(error)) => Err(error),
            Err(RecvTimeoutError::Timeout) => Ok(Next::Waiting),
            Err(RecvTimeoutError::Disconnected) => Err(lost()),
        }
    }

    /// Says whether the chunks from now on need to be checked.
    pub(super) fn skip_checks(&self, skip: bool) {
        self.unchecked.store(skip, Ordering::Relaxed);
    }
}

/// Starts a thread that shows up under `name`; it ends by itself.
fn named(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), ReplayError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map(drop).map_err(|source| ReplayError::Io { input: "threads".to_owned(), source })
}

/// That a thread has ended before its work was done: a bug, which must not look like the end of the
/// input.
fn lost() -> ReplayError {
    let source = io::Error::other("a thread that reads or verifies has ended");
    ReplayError::Io { input: "threads".to_owned(), source }
}

/// Checks chunks until there are no more.
fn check(
    todo: &Mutex<Receiver<(Chunk, SyncSender<CheckedChunk>)>>,
    verifier: &Verifier,
    unchecked: &AtomicBool,
) {
    let mut hasher = Hasher::default();
    loop {
        let job = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((chunk, done)) = job else { return };
        let chunk = if unchecked.load(Ordering::Relaxed) {
            CheckedChunk::unchecked(chunk)
        } else {
            CheckedChunk::of(chunk, verifier, &mut hasher)
        };
        // Nobody waits for it if the replay has ended early.
        let _ = done.send(chunk);
    }
}
