//! Reading and verifying ahead, on all cores.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use self_cell::self_cell;

use super::room::{Room, Taken};
use super::source::{Chunk, Source};
use super::{Clock, ReplayError, Wrong};
use crate::header::DecodeError;
use crate::payload::VerifiedPayload;
use crate::verify::{Checked, Hasher, Verifier};

/// Records that are read and verified together: 1.3 MB, which the cache of a core holds.
pub(super) const CHUNK_RECORDS: usize = 4096;

/// Chunks that are read ahead: 10 MB.
const AHEAD: usize = 8;

/// Bytes of payloads, as they stand in the input, that are read ahead.
pub(super) const AHEAD_BYTES: usize = 64 << 20;

/// What each record of a chunk shows by itself.
type Outcomes<'a> = Vec<Result<Checked<'a>, DecodeError>>;

self_cell! {
    /// A chunk, and what its records show by themselves; nothing, if that was not looked at.
    struct Headers {
        owner: Chunk,
        #[covariant]
        dependent: Outcomes,
    }
}

impl Headers {
    fn of(chunk: Chunk, verifier: &Verifier, hasher: &mut Hasher) -> Self {
        Self::new(chunk, |chunk| {
            let mut outcomes = Vec::with_capacity(chunk.records().len());
            verifier.check_many(hasher, chunk.records(), &mut outcomes);
            outcomes
        })
    }
}

/// A chunk, its headers checked as far as that was asked for, and what its blocks carry.
pub(super) struct CheckedChunk {
    headers: Headers,
    /// By numbers of records.
    payloads: Vec<(usize, Result<VerifiedPayload, Wrong>)>,
    /// Given back with it.
    _room: Taken,
}

impl CheckedChunk {
    /// Payloads are verified in any case: those that are held are not compared with.
    fn of(mut chunk: Chunk, room: Taken, headers: impl FnOnce(Chunk) -> Headers) -> Self {
        let raw = chunk.take_payloads();
        let payloads = raw.into_iter().filter_map(|(number, payload)| {
            let header = chunk.records().get(number)?;
            Some((number, payload.verify(header)))
        });
        let payloads = payloads.collect();
        Self { headers: headers(chunk), payloads, _room: room }
    }

    /// The same, its headers checked.
    pub(super) fn checked(self, verifier: &Verifier) -> Self {
        if self.is_checked() {
            return self;
        }
        let chunk = self.headers.into_owner();
        Self { headers: Headers::of(chunk, verifier, &mut Hasher::default()), ..self }
    }

    /// Whether its headers were looked at.
    pub(super) fn is_checked(&self) -> bool {
        self.headers.borrow_dependent().len() == self.chunk().records().len()
    }

    pub(super) fn chunk(&self) -> &Chunk {
        self.headers.borrow_owner()
    }

    /// What the header with this number shows.
    pub(super) fn outcome(&self, record: usize) -> Option<&Result<Checked<'_>, DecodeError>> {
        self.headers.borrow_dependent().get(record)
    }

    /// What the block of the record with this number carries, if the input has that.
    pub(super) fn payload(&self, record: usize) -> Option<&Result<VerifiedPayload, Wrong>> {
        // In most inputs there is none.
        let at = self.payloads.binary_search_by_key(&record, |(number, _)| *number).ok()?;
        self.payloads.get(at).map(|(_, payload)| payload)
    }

    /// Bytes of what its blocks carry.
    pub(super) fn payload_bytes(&self) -> usize {
        let of = |payload: &VerifiedPayload| payload.payload().as_bytes().len();
        self.payloads.iter().filter_map(|(_, payload)| payload.as_ref().ok()).map(of).sum()
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
        verifier: &Verifier,
        clock: Option<Clock>,
    ) -> Result<Self, ReplayError> {
        let (sender, queue) = sync_channel::<Ahead>(AHEAD);
        let (jobs, todo) = sync_channel::<Job>(AHEAD);
        let room = Arc::new(Room::new(AHEAD_BYTES));
        let (todo, unchecked) = (Arc::new(Mutex::new(todo)), Arc::new(AtomicBool::new(false)));
        for _ in 0..thread::available_parallelism().map_or(1, NonZeroUsize::get) {
            let (todo, verifier) = (Arc::clone(&todo), verifier.clone());
            let unchecked = Arc::clone(&unchecked);
            named("check", move || check(&todo, verifier, clock, &unchecked))?;
        }
        named("read", move || {
            loop {
                let ahead = match source.next(CHUNK_RECORDS) {
                    Ok(None) => Ok(None),
                    Err(error) => Err(error),
                    Ok(Some(chunk)) => {
                        let (done, checked) = sync_channel(1);
                        let room = Room::take(&room, chunk.payload_bytes());
                        if jobs.send(Job { chunk, room, done }).is_err() {
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

/// A chunk to check, and where it goes then.
struct Job {
    chunk: Chunk,
    room: Taken,
    done: SyncSender<CheckedChunk>,
}

/// Checks chunks until there are no more, each by the time at which it came.
fn check(
    todo: &Mutex<Receiver<Job>>,
    mut verifier: Verifier,
    clock: Option<Clock>,
    unchecked: &AtomicBool,
) {
    let mut hasher = Hasher::default();
    loop {
        let job = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { chunk, room, done }) = job else { return };
        if let Some(clock) = clock {
            verifier.set_now(clock());
        }
        let chunk = CheckedChunk::of(chunk, room, |chunk| {
            if unchecked.load(Ordering::Relaxed) {
                Headers::new(chunk, |_| Vec::new())
            } else {
                Headers::of(chunk, &verifier, &mut hasher)
            }
        });
        // Nobody waits for it if the replay has ended early.
        let _ = done.send(chunk);
    }
}
