//! The records of a [`Scan`] as the source of a stream.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use plait_engine::{Cursor, QueryError, Records, Scan, View};
use tokio::task::JoinHandle;

use crate::bridge::Bridge;
use crate::error::Error;
use crate::request_id::RequestId;
use crate::response::{Cut, Source, Step};

/// The result of one job of a stream.
struct Chunk {
    scan: Option<Scan>,
    slices: Option<Vec<Bytes>>,
    /// Where the next chunk begins; `None` if there is none.
    resume: Option<Cursor>,
}

/// The job that reads the next chunk of `scan`. After it has succeeded once, it returns no more.
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

/// The source of a stream: one job per chunk, started when the chunk before is nearly sent.
pub(crate) struct Feed {
    bridge: Bridge,
    /// Headers per chunk.
    headers_max: usize,
    state: State,
    /// The position of the next chunk; `None` before the first one.
    resume: Option<Cursor>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
}

enum State {
    Idle(Scan),
    Read(Result<Chunk, Error>),
    Reading(JoinHandle<Result<Chunk, Error>>),
    Ended,
}

impl Feed {
    /// Makes the source of all headers of `scan`, in chunks of at most `headers_max`.
    pub(crate) fn new(bridge: &Bridge, scan: Scan, headers_max: usize) -> Self {
        let (bridge, stop) = (bridge.clone(), bridge.cutting());
        Self { bridge, headers_max, state: State::Idle(scan), resume: None, stop }
    }

    /// The next chunk of `scan`, if it is in memory.
    fn chunk_in_place(&self, scan: &mut Scan) -> Option<Result<Chunk, Error>> {
        let chunk = self.bridge.read_in_place(|view| scan.next(view, self.headers_max))?;
        Some(chunk.map(|records| {
            let slices = records.map(Records::into_slices);
            Chunk { scan: None, slices, resume: scan.cursor() }
        }))
    }
}

impl Source for Feed {
    fn prefetch(&mut self) {
        self.state = match mem::replace(&mut self.state, State::Ended) {
            State::Idle(mut scan) => {
                if let Some(chunk) = self.chunk_in_place(&mut scan) {
                    State::Read(chunk.map(|chunk| Chunk { scan: Some(scan), ..chunk }))
                } else {
                    let job = next_chunk(scan, self.headers_max);
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
            // A job that was aborted or panicked returns no chunk either.
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
