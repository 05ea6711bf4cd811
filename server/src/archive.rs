//! Files of an archive as the sources of streams.
//!
//! - `I-1` A file is read as the database is: by short jobs, on threads made for blocking, no more at
//!   once than configured. Between two chunks a stream holds an open file and nothing else.

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

/// Bytes that are read at once, the unit of a stream's memory: as many as a stream of headers reads.
const CHUNK_BYTES: usize = 160 << 10;

/// The next bytes of a file, up to some number of them.
pub(crate) struct FileFeed {
    bridge: Bridge,
    state: State,
    left: u64,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
}

enum State {
    Idle(File),
    Reading(JoinHandle<Result<(File, Bytes), Error>>),
    Ended,
}

impl FileFeed {
    /// The next `len` bytes of `file`, which must have so many.
    pub(crate) fn new(bridge: &Bridge, file: File, len: u64) -> Self {
        let (bridge, stop) = (bridge.clone(), bridge.cutting());
        Self { bridge, state: State::Idle(file), left: len, stop }
    }
}

/// Reads a chunk of `file`, all of it.
fn chunk(mut file: File, len: usize) -> Result<(File, Bytes), Error> {
    let mut bytes = vec![0; len];
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok((file, bytes.into())),
        Err(error) => {
            let request = RequestId::current();
            tracing::error!(%request, "a file of the archive cannot be read: {error}");
            Err(Error::Bug)
        }
    }
}

impl Source for FileFeed {
    fn prefetch(&mut self) {
        self.state = match mem::replace(&mut self.state, State::Ended) {
            State::Idle(file) if self.left > 0 => {
                let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
                self.left -= len as u64;
                let bridge = self.bridge.clone();
                let job = async move { bridge.chunk_of(move || chunk(file, len)).await? };
                State::Reading(tokio::spawn(RequestId::current().scope(job)))
            }
            State::Idle(_) => State::Ended,
            state @ (State::Reading(_) | State::Ended) => state,
        };
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step, Cut>> {
        self.prefetch();
        let State::Reading(read) = &mut self.state else { return Poll::Ready(Ok(Step::End)) };
        // The client knows the length, and asks for the rest elsewhere.
        if self.stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Cut::Stopped));
        }
        // A job that failed, was aborted or panicked has no chunk.
        let read = std::task::ready!(Pin::new(read).poll(cx));
        let Ok(Ok((file, bytes))) = read else {
            self.state = State::Ended;
            return Poll::Ready(Err(Cut::Failed));
        };
        self.state = State::Idle(file);
        Poll::Ready(Ok(Step::Records(vec![bytes])))
    }
}

impl Drop for FileFeed {
    fn drop(&mut self) {
        if let State::Reading(read) = &self.state {
            read.abort();
        }
    }
}
