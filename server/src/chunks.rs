//! Sources that are read chunk by chunk for streams: files of an archive, pages of blocks, batches of
//! payloads.
//!
//! - `I-1` A chunk is read like the database: by a short job, on a thread made for blocking, no more
//!   at once than configured. Between two chunks a stream holds only what it needs to begin the next
//!   one: an open file, or some hashes.
//! - `I-2` A chunk of more than 64 KiB is charged to the budget for responses before it is made. It is that
//!   long if the budget has much room (see [`Budget::spare`](crate::budget::Budget::spare)), or if one block or
//!   payload is. In the latter case it waits for room without holding anything.

use std::fs::File;
use std::io::Read;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::bridge::Bridge;
use crate::budget::{PIECE_BYTES, charged};
use crate::error::Error;
use crate::request_id::RequestId;
use crate::response::{Cut, Source, Step};

/// Bytes of a chunk of a file: each chunk costs a system call of some 100 us.
const FILE_BYTES: usize = 256 << 10;

/// What is read chunk by chunk.
pub(crate) trait Chunks: Send + Sized + 'static {
    /// Whether it reads a file of the archive, and not the database.
    const IS_FILE: bool;

    /// Makes the next bytes, at most `room` of them. Blocks.
    ///
    /// # Errors
    ///
    /// Any error, which is already in the log. The stream is cut.
    fn next(self, room: usize) -> Result<Made<Self>, Error>;
}

/// The result of a job.
pub(crate) enum Made<C> {
    /// The next bytes.
    Chunk(Chunk<C>),
    /// The next bytes need this much room; nothing was read.
    Longer(usize, C),
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
                State::Reading(tokio::spawn(RequestId::current().scope(chunk(bridge, chunks))))
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

/// Makes the next chunk as soon as a thread and room are free.
async fn chunk<C: Chunks>(bridge: Bridge, mut chunks: C) -> Result<Chunk<C>, Error> {
    let long = bridge.piece_bytes();
    let mut charge = if long > PIECE_BYTES { bridge.budget().spare(long) } else { None };
    let mut room = if charge.is_some() { long } else { long.min(PIECE_BYTES) };
    loop {
        let next = move || chunks.next(room);
        let made = if C::IS_FILE {
            bridge.files().chunk(next).await??
        } else {
            bridge.chunk_of(next).await??
        };
        match made {
            Made::Chunk(chunk) => {
                let bytes = chunk.bytes;
                let bytes = match charge {
                    Some(mut charge) => {
                        charge.shrink(bytes.len());
                        charged(bytes, Arc::new(charge))
                    }
                    None => bytes,
                };
                return Ok(Chunk { bytes, ..chunk });
            }
            Made::Longer(bytes, again) => {
                drop(charge);
                charge = Some(bridge.budget().wait(bytes).await);
                (room, chunks) = (bytes, again);
            }
        }
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

    fn next(mut self, room: usize) -> Result<Made<Self>, Error> {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX);
        let len = len.min(room.clamp(PIECE_BYTES, FILE_BYTES));
        let mut bytes = vec![0; len];
        if let Err(error) = self.file.read_exact(&mut bytes) {
            let request = RequestId::current();
            tracing::error!(%request, "a file of the archive cannot be read: {error}");
            return Err(Error::Bug);
        }
        self.left = self.left.saturating_sub(len as u64);
        let rest = (self.left > 0).then_some(self);
        Ok(Made::Chunk(Chunk { bytes: bytes.into(), rest }))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use plait_engine::store::History;
    use plait_engine::{ChainwebVersion, Engine};
    use tempfile::TempDir;
    use tokio::sync::watch;

    use super::*;
    use crate::bridge::Phase;
    use crate::config::Config;
    use crate::metrics::Metrics;
    use crate::response::{Body, Stream};

    /// One chunk for each of these lengths; a length of 0 is one that fails.
    struct Lengths(Vec<usize>);

    impl Chunks for Lengths {
        const IS_FILE: bool = false;

        fn next(mut self, room: usize) -> Result<Made<Self>, Error> {
            let len = self.0[0];
            if len > room {
                return Ok(Made::Longer(len, self));
            }
            self.0.remove(0);
            let rest = (!self.0.is_empty()).then_some(self);
            let bytes = Bytes::from(vec![b'x'; len]);
            if len == 0 { Err(Error::Bug) } else { Ok(Made::Chunk(Chunk { bytes, rest })) }
        }
    }

    async fn collected(lengths: &[usize]) -> Result<usize, Cut> {
        let dir = TempDir::new().unwrap();
        let version = Some(ChainwebVersion::Development);
        let (_writer, reader) = Engine::open_or_create(dir.path(), version, History::Full).unwrap();
        let (_sender, phase) = watch::channel(Phase::Serving);
        let config =
            Config { response_bytes_max: 1 << 20, page_bytes_max: 100_000, ..Config::default() };
        let bridge = Bridge::new(reader, &config, Metrics::new(), phase);
        let source = Box::new(ChunkFeed::new(&bridge, Lengths(lengths.to_vec())));
        let body = Body::Stream(Box::new(Stream::begun(Bytes::from_static(b"first"), source)));
        let (mut body, mut len) = (body, 0);
        // Drop each chunk before the next one is made, as a connection does.
        while let Some(frame) = body.frame().await {
            len += frame?.into_data().map_or(0, |data| data.len());
        }
        Ok(len)
    }

    #[tokio::test]
    async fn stream_has_what_it_begins_with_and_all_chunks() {
        assert_eq!(collected(&[70_000, 1]).await, Ok(70_006));
    }

    #[tokio::test]
    async fn chunk_that_is_longer_than_usual_waits_for_room_and_is_made_then() {
        // Longer than the whole budget: charged alone.
        assert_eq!(collected(&[10, 3 << 20, 100_001, 10]).await, Ok((3 << 20) + 100_026));
    }

    #[tokio::test]
    async fn chunk_that_fails_breaks_the_stream() {
        assert_eq!(collected(&[10, 0, 10]).await, Err(Cut::Failed));
    }
}
