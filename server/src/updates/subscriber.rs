use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use plait_engine::{Past, Position, QueryError, Reader};
use tokio::task::JoinHandle;

use super::catch_up::{CatchUp, Chunk, Then};
use super::item::Given;
use super::log::{Log, Place, Taken};
use super::render::{KEEP_ALIVE, RETRY_LATER, mark};
use super::seek::{Seek, Sought};
use super::{Begin, Updates};
use crate::bridge::Bridge;
use crate::error::Error;
use crate::metrics::{Held, Metrics};
use crate::request_id::RequestId;
use crate::response::{Cut, EventSource};

/// The body of an event stream.
pub(super) struct Subscriber {
    place: Place,
    bridge: Bridge,
    metrics: Metrics,
    state: State,
    /// Events that come next.
    ready: VecDeque<Given>,
    /// The position behind the last event, for who wants positions.
    last: Option<Bytes>,
    /// Counts it.
    _held: Held,
}

enum State {
    /// The log has not begun.
    Waiting,
    /// The blocks of its id are not all stored yet.
    Seeking(Box<Seek>),
    /// This item of the log comes next.
    Following(u64),
    /// Something was missed that the log does not have.
    Behind(CatchUp),
    Reading(JoinHandle<Result<Option<Chunk>, Error>>),
    Ended,
}

impl Subscriber {
    /// A stream at `place` that begins where `begin` says.
    pub(super) fn new(updates: &Updates, place: Place, begin: Begin) -> Self {
        let (state, last) = match begin {
            Begin::Now => (State::Waiting, None),
            Begin::NowWithIds => (State::Waiting, Some(Bytes::new())),
            Begin::Behind(position) => {
                let last = position.as_ref().map(Position::to_string).unwrap_or_default();
                let seek = Seek::new(&updates.bridge, &updates.metrics, position, updates.times);
                (State::Seeking(Box::new(seek)), Some(Bytes::from(last)))
            }
        };
        let mut this = Self {
            place,
            bridge: updates.bridge.clone(),
            metrics: updates.metrics.clone(),
            state,
            ready: VecDeque::new(),
            last,
            _held: updates.metrics.hold(|counters| &counters.subscribers_open),
        };
        // Now, not when the body is first asked for.
        if let State::Waiting = this.state
            && let Some((next, past)) = this.place.log().head()
        {
            this.state = this.enter(next, &past);
        }
        this
    }

    /// Begins where the log ends; says so to who wants positions, who then misses nothing even if the
    /// stream ends before its first event.
    fn enter(&mut self, next: u64, past: &Past) -> State {
        if self.last.is_some() {
            let position = Bytes::from(past.position().to_string());
            self.ready.push_back(Given { bytes: mark(&position), position });
        }
        State::Following(next)
    }

    /// What comes of a subscriber whose next event is no longer in the log.
    fn lost(&self) -> State {
        let last = self.last.as_deref().and_then(|last| str::from_utf8(last).ok());
        let Some(position) = last.and_then(|last| last.parse::<Position>().ok()) else {
            self.metrics.counters().lose_subscriber();
            return State::Ended;
        };
        let kind = self.place.kind;
        self.read(move |reader, log| match reader.view().past_at(&position)? {
            Ok(past) => CatchUp::new(kind, past).read(reader, log).map(Some),
            // It was stored when the position was made.
            Err(_) => Ok(None),
        })
    }

    /// Reads from the database, where that may block, as soon as it is its turn.
    fn read<F>(&self, job: F) -> State
    where
        F: FnOnce(&Reader, &Log) -> Result<Option<Chunk>, QueryError> + Send + 'static,
    {
        let (bridge, log) = (self.bridge.clone(), Arc::clone(self.place.log()));
        let chunk = async move { bridge.chunk_of_database(move |reader| job(reader, &log)).await };
        State::Reading(tokio::spawn(RequestId::current().scope(chunk)))
    }

    fn poll_state(&mut self, state: State, cx: &mut Context<'_>) -> Poll<Result<State, Cut>> {
        let next = match state {
            State::Ended => State::Ended,
            State::Seeking(mut seek) => match seek.poll(&self.place, cx) {
                Poll::Ready(Sought::Found(past)) => {
                    State::Behind(CatchUp::new(self.place.kind, past))
                }
                Poll::Ready(Sought::Silence) => {
                    let position = self.last.clone().unwrap_or_default();
                    self.ready.push_back(Given { bytes: KEEP_ALIVE, position });
                    State::Seeking(seek)
                }
                Poll::Ready(Sought::Over) => State::Ended,
                Poll::Ready(Sought::Failed) => return Poll::Ready(Err(Cut::Failed)),
                Poll::Pending => {
                    self.state = State::Seeking(seek);
                    return Poll::Pending;
                }
            },
            State::Waiting | State::Behind(_) => match (self.place.begin(cx), state) {
                (Taken::NoneYet, state) => {
                    self.state = state;
                    return Poll::Pending;
                }
                (Taken::Closed, _) => State::Ended,
                (_, State::Behind(behind)) => {
                    self.read(|reader, log| behind.read(reader, log).map(Some))
                }
                (_, _) => match self.place.log().head() {
                    Some((next, past)) => self.enter(next, &past),
                    None => State::Waiting,
                },
            },
            State::Following(next) => {
                match self.place.take(next, self.last.as_ref(), &mut self.ready, cx) {
                    Taken::UpTo(next) => State::Following(next),
                    Taken::Lost => self.lost(),
                    Taken::Closed => State::Ended,
                    Taken::NoneYet => {
                        self.state = State::Following(next);
                        return Poll::Pending;
                    }
                }
            }
            State::Reading(mut read) => match Pin::new(&mut read).poll(cx) {
                Poll::Ready(Ok(Ok(Some(chunk)))) => {
                    self.ready = chunk.events;
                    match chunk.then {
                        Then::Read(behind) => State::Behind(behind),
                        Then::Follow(next) => State::Following(next),
                    }
                }
                // A job that failed, was aborted or panicked has no chunk.
                Poll::Ready(_) => return Poll::Ready(Err(Cut::Failed)),
                Poll::Pending => {
                    self.state = State::Reading(read);
                    return Poll::Pending;
                }
            },
        };
        Poll::Ready(Ok(next))
    }
}

impl EventSource for Subscriber {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        loop {
            if let Some(given) = self.ready.pop_front() {
                if let Some(last) = &mut self.last {
                    *last = given.position;
                }
                return Poll::Ready(Some(Ok(given.bytes)));
            }
            match mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                state => match std::task::ready!(self.poll_state(state, cx)) {
                    Ok(state) => self.state = state,
                    Err(cut) => return Poll::Ready(Some(Err(cut))),
                },
            }
        }
    }
}

/// The body of an event stream over the limit: it tells the client when to reconnect, and ends at
/// once.
pub(super) struct Refused(Option<Bytes>);

impl Refused {
    /// The body for a client that reconnects.
    pub(super) const fn for_now() -> Self {
        Self(Some(RETRY_LATER))
    }
}

impl EventSource for Refused {
    fn poll_event(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if let State::Reading(read) = &self.state {
            read.abort();
        }
    }
}
