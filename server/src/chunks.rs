//! What is read chunk by chunk, as the sources of streams: files of an archive, batches of payloads.
//!
//! - `I-1` A chunk is read as the database is: by a short job, on a thread made for blocking, no more
//!   at once than configured. Between two chunks a stream holds what the next one begins with, an
//!   open file or some hashes, and nothing else.

use std::fs::File;
use std::io::Read;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::bridge::Bridge;
use crate::error::Error;
use crate::request_id::RequestId;
use crate::response::{Cut, Source, Step};

/// Bytes of a file that are read at once, the unit of a stream's memory: as many as a stream of
/// headers reads.
const FILE_BYTES: usize = 160 << 10;

/// What is read chunk by chunk.
pub(crate) trait Chunks: Send + Sized + 'static {
    /// Whether it reads a file of the archive, and not the database.
    const IS_FILE: bool;

    /// Reads the next bytes. Blocks.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong, which is in the log already. The stream breaks.
    fn next(self) -> Result<Chunk<Self>, Error>;
}

/// Some bytes, and what comes behind them, if anything.
pub(crate) struct Chunk<C> {
    pub(crate) bytes: Bytes,
    pub(crate) rest: Option<C>,
}

/// The source of a stream: one job per chunk, begun when the one before is nearly sent.
pub(crate) struct ChunkFeed<C> {
    bridge: Bridge,
    state: State<C>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
}

enum State<C> {
    Idle(C),
    Reading(JoinHandle<Result<Chunk<C>, Error>>),
    Ended,
}

impl<C: Chunks> ChunkFeed<C> {
    /// All that `chunks` has.
    pub(crate) fn new(bridge: &Bridge, chunks: C) -> Self {
        let (bridge, stop) = (bridge.clone(), bridge.cutting());
        Self { bridge, state: State::Idle(chunks), stop }
    }
}

impl<C: Chunks> Source for ChunkFeed<C> {
    fn prefetch(&mut self) {
        self.state = match mem::replace(&mut self.state, State::Ended) {
            State::Idle(chunks) => {
                let bridge = self.bridge.clone();
                let job = async move {
                    let next = move || chunks.next();
                    if C::IS_FILE {
                        bridge.files().chunk(next).await?
                    } else {
                        bridge.chunk_of(next).await?
                    }
                };
                State::Reading(tokio::spawn(RequestId::current().scope(job)))
            }
            state @ (State::Reading(_) | State::Ended) => state,
        };
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step, Cut>> {
        self.prefetch();
        let State::Reading(read) = &mut self.state else { return Poll::Ready(Ok(Step::End)) };
        // The client notices by what is missing, and asks for the rest elsewhere.
        if self.stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Cut::Stopped));
        }
        // A job that failed, was aborted or panicked has no chunk.
        let read = std::task::ready!(Pin::new(read).poll(cx));
        let Ok(Ok(Chunk { bytes, rest })) = read else {
            self.state = State::Ended;
            return Poll::Ready(Err(Cut::Failed));
        };
        self.state = rest.map_or(State::Ended, State::Idle);
        Poll::Ready(Ok(Step::Records(vec![bytes])))
    }
}

impl<C> Drop for ChunkFeed<C> {
    fn drop(&mut self) {
        if let State::Reading(read) = &self.state {
            read.abort();
        }
    }
}

/// The next bytes of a file, up to some number of them, which it must have.
pub(crate) struct FileChunks {
    pub(crate) file: File,
    pub(crate) left: u64,
}

impl Chunks for FileChunks {
    const IS_FILE: bool = true;

    fn next(mut self) -> Result<Chunk<Self>, Error> {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(FILE_BYTES);
        let mut bytes = vec![0; len];
        if let Err(error) = self.file.read_exact(&mut bytes) {
            let request = RequestId::current();
            tracing::error!(%request, "a file of the archive cannot be read: {error}");
            return Err(Error::Bug);
        }
        self.left = self.left.saturating_sub(len as u64);
        let rest = (self.left > 0).then_some(self);
        Ok(Chunk { bytes: bytes.into(), rest })
    }
}
