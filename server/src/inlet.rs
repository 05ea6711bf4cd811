//! The way into a database that is served: one thread that writes, and who may ask it to.
//!
//! Enters: batches of blocks, and work that wants the writer for itself. Leaves: what came of each.
//!
//! - `I-1` One thread writes, and no request waits for it but those that bring blocks.
//! - `I-2` While work has the writer for itself, a batch is refused at once rather than kept.
//! - `I-3` What waits to be written is bounded: who brings more waits.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use plait_engine::cause::{Cause, Classified, Fault, chain};
use plait_engine::push::{Block, Outcome, Pusher};
use plait_engine::verify::Level;
use plait_engine::{Micros, Writer};
use rustix::process::nice;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::headline::headline;
use crate::metrics::Metrics;

/// Batches that wait to be written.
const AHEAD: usize = 4;

/// What work that has the writer for itself takes of a core that requests want as well: a tenth of
/// what they get. Where they want nothing it takes all.
const NICENESS: i32 = 10;

/// How long to wait for the thread to end: for a commit, and for what is left of the hash index.
const END_TIME: Duration = Duration::from_mins(1);

const END_PAUSE: Duration = Duration::from_millis(20);

/// What to do about a full disk: RocksDB writes again by itself, but only once it has room for its buffers.
const ROOM_ADVICE: &str = "; writes resume some seconds after 128 MiB are free there";

/// Why a batch is not stored.
#[derive(Clone, Debug, Error)]
pub enum PushError {
    /// Other work has the writer for itself.
    #[error("a replay is writing to the database, try again later")]
    Busy,
    /// The database does not take it, for example because the disk is full.
    #[error("the database cannot be written: {reason}{}", room_advice(fault))]
    Failed {
        /// What the system says, with the common name of the problem.
        reason: String,
        /// The cause, and the file.
        fault: Fault,
    },
    /// The writer has ended, or has panicked.
    #[error("nothing writes to the database any more")]
    Gone,
}

impl PushError {
    /// A write to the database that failed.
    pub(crate) fn failed(error: &impl Classified) -> Self {
        let (fault, text) = (error.fault(), chain(error));
        Self::Failed { reason: headline(&fault, &text).unwrap_or(text), fault }
    }
}

fn room_advice(fault: &Fault) -> &'static str {
    if fault.cause == Cause::DiskFull { ROOM_ADVICE } else { "" }
}

/// Asks the thread that writes. Cheap to clone; it ends when all clones are dropped.
#[derive(Clone, Debug)]
pub struct Inlet {
    jobs: mpsc::Sender<Job>,
}

/// The thread that writes.
#[derive(Debug)]
pub struct InletThread(JoinHandle<()>);

type Pushed = Result<Vec<Outcome>, PushError>;

enum Job {
    Push(Vec<Block>, oneshot::Sender<Pushed>),
    Work(Box<dyn FnOnce(&mut Writer) + Send>, oneshot::Sender<()>),
    /// The writer comes back from work.
    Back(Box<Pusher>),
    /// The work has panicked.
    Lost,
}

impl Inlet {
    /// Starts a thread that writes with `writer`. With `sync` a batch is stored once it outlives a
    /// crash of the machine; with `gently` work that has the writer for itself has a low priority.
    /// Whether writes succeed is told to `metrics`.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub fn open(
        writer: Writer,
        sync: bool,
        gently: bool,
        metrics: Metrics,
    ) -> io::Result<(Self, InletThread)> {
        let (jobs, queue) = mpsc::channel(AHEAD);
        let pusher = Box::new(Pusher::new(writer, Level::Full, sync));
        let sender = jobs.downgrade();
        let run = move || run(pusher, queue, &sender, gently, &metrics);
        let thread = thread::Builder::new().name("write".to_owned()).spawn(run)?;
        Ok((Self { jobs }, InletThread(thread)))
    }

    /// Stores those of `blocks` that are right, and what they carry, in one commit, and tells what came
    /// of each.
    ///
    /// # Errors
    ///
    /// [`PushError`]. Nothing of the batch may be taken for stored then.
    pub async fn push(&self, blocks: Vec<Block>) -> Pushed {
        let (reply, pushed) = oneshot::channel();
        self.jobs.send(Job::Push(blocks, reply)).await.map_err(|_| PushError::Gone)?;
        pushed.await.unwrap_or(Err(PushError::Gone))
    }

    /// Runs `work` with the writer for itself, to its end, behind the batches that wait: those that
    /// come once this returns are refused until then. The future tells what came of it.
    ///
    /// # Errors
    ///
    /// [`PushError`] if it is not run, or, from the future, not to its end.
    pub async fn work<T, F>(
        &self,
        work: F,
    ) -> Result<impl Future<Output = Result<T, PushError>> + use<T, F>, PushError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writer) -> T + Send + 'static,
    {
        let ((result, done), (reply, ended)) = (oneshot::channel(), oneshot::channel());
        let work = Box::new(move |writer: &mut Writer| {
            let _ = result.send(work(writer));
        });
        self.jobs.send(Job::Work(work, reply)).await.map_err(|_| PushError::Gone)?;
        Ok(async {
            let begun = ended.await.is_ok();
            match done.await {
                Ok(result) => Ok(result),
                Err(_) if begun => Err(PushError::Gone),
                Err(_) => Err(PushError::Busy),
            }
        })
    }
}

impl InletThread {
    /// Waits until the thread has ended, but not for ever: what is committed is safe. All clones of
    /// its [`Inlet`] must be dropped.
    pub fn end(self) {
        let since = Instant::now();
        while !self.0.is_finished() {
            if since.elapsed() > END_TIME {
                tracing::warn!("what is being written does not end, and is cut off");
                return;
            }
            thread::sleep(END_PAUSE);
        }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

fn run(
    owner: Box<Pusher>,
    mut queue: mpsc::Receiver<Job>,
    jobs: &mpsc::WeakSender<Job>,
    gently: bool,
    metrics: &Metrics,
) {
    let mut idle = Some(owner);
    while let Some(job) = queue.blocking_recv() {
        match job {
            Job::Push(blocks, reply) => {
                let outcome = idle.as_mut().map_or(Err(PushError::Busy), |pusher| {
                    // Also where there are no blocks: who asks is told before sending any.
                    let place = pusher.writer().require_place();
                    place.map_err(|error| PushError::failed(&error))?;
                    let pushed = pusher.push(&blocks, now());
                    pushed.map_err(|error| {
                        metrics.fail_write(error.fault().cause);
                        PushError::failed(&error)
                    })
                });
                if let Err(error @ PushError::Failed { .. }) = &outcome {
                    tracing::error!("blocks that were pushed are not stored: {error}");
                }
                // Who asked may be gone.
                let _ = reply.send(outcome);
            }
            Job::Work(work, reply) => {
                // Where another has it, the reply is dropped, which says so.
                let (Some(jobs), Some(pusher)) = (jobs.upgrade(), idle.take()) else { continue };
                let work = move || {
                    if gently {
                        step_back();
                    }
                    alone(pusher, work, &jobs, reply);
                };
                if let Err(error) = thread::Builder::new().name("replay".to_owned()).spawn(work) {
                    tracing::error!("the system refuses a thread to write with: {error}");
                    return;
                }
            }
            Job::Back(pusher) => idle = Some(pusher),
            Job::Lost => return,
        }
    }
}

/// Lets this thread, and those that it starts, come behind others. Where that is refused they are as
/// all others.
fn step_back() {
    if let Err(error) = nice(NICENESS) {
        tracing::debug!("a replay has no lower priority: {error}");
    }
}

/// Runs `work` with the writer, and gives that back.
fn alone(
    mut pusher: Box<Pusher>,
    work: Box<dyn FnOnce(&mut Writer) + Send>,
    jobs: &mpsc::Sender<Job>,
    reply: oneshot::Sender<()>,
) {
    let ended = catch_unwind(AssertUnwindSafe(|| work(pusher.writer())));
    let job = if ended.is_ok() { Job::Back(pusher) } else { Job::Lost };
    // Before the reply: who gets that finds the writer back.
    let _ = jobs.blocking_send(job);
    let _ = reply.send(());
}

/// The present time, by the clock of this machine.
pub(crate) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::new(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
