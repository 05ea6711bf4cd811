//! Where a stream continues: after the blocks that its id names, which this server may not have
//! yet.
//!
//! ```text
//!          ┌───────── the block may be there ─────────┐
//!          ↓                                          │
//! id ─→ Reading ─→ a block is not stored ─→ Missing ──┴─→ the time is over: the stream ends
//!          └─────→ all blocks are stored ─→ Found ─────→ the log is as new as they are: CatchUp
//! ```
//!
//! Behind a load balancer the id may come from a replica that is ahead of this one, so the stream
//! waits for a block that is not stored. Example: replica A has sent the blocks of chain 3 up to
//! height 105 and stops. Its clients connect to replica B, which has 103, and name 105. B answers
//! 200 and sends nothing while it stores 104 and 105, because the clients have these; their next
//! event is 106. If B began at its own cut, they would get 104 and 105 twice. If B began with the
//! next block to join when it already has 106, they would never get 106.
//!
//! `Found` waits as well, because the blocks of an id may be stored a moment before they are in the
//! log. An older log would announce them later: for this client, a second time.
//!
//! Some blocks never arrive: orphans that only the other replica has seen, or blocks of another
//! network. The server cannot tell them from blocks that are late, so the wait is bounded. Then the
//! stream ends normally, and an `EventSource` reconnects, perhaps to a replica that has the block.
//! With any status other than 200 it would give up.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use plait_engine::query::UnknownTop;
use plait_engine::{Past, Position, QueryError, View};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep_until};

use super::log::{Place, Taken};
use super::seekers::Awaited;
use crate::bridge::Bridge;
use crate::clock::after;
use crate::error::Error;
use crate::metrics::{Held, Metrics};
use crate::request_id::RequestId;

/// The search for the past of an id.
pub(super) struct Seek {
    bridge: Bridge,
    metrics: Metrics,
    /// `None` if the id has the format of another release.
    position: Option<Arc<Position>>,
    step: Step,
    /// When to give up waiting for a missing block.
    deadline: Instant,
    /// How long the stream may be silent (zero: indefinitely), and since when it is.
    keep_alive: Duration,
    silent_since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// Counts the stream while it waits for a block.
    waiting: Option<Held>,
}

enum Step {
    Begin,
    Reading(JoinHandle<Result<Look, Error>>),
    Missing(Awaited),
    Found(Past, Awaited),
}

/// The past of a position in a view, and the number of the view.
type Look = (Result<Past, UnknownTop>, u64);

/// The result of a search.
pub(super) enum Sought {
    /// The stream continues after this past. The log is at least as recent.
    Found(Past),
    /// An empty line is due, because the stream was silent for too long.
    Silence,
    /// The stream ends: the block did not arrive in time, or the server stops.
    Over,
    /// The database cannot be read.
    Failed,
}

impl Seek {
    /// A search for `position` that waits for a block for at most `wait`.
    pub(super) fn new(
        bridge: &Bridge,
        metrics: &Metrics,
        position: Option<Position>,
        (wait, keep_alive): (Duration, Duration),
    ) -> Self {
        let now = Instant::now();
        Self {
            bridge: bridge.clone(),
            metrics: metrics.clone(),
            position: position.map(Arc::new),
            step: Step::Begin,
            deadline: after(now, wait),
            keep_alive,
            silent_since: now,
            timer: None,
            waiting: None,
        }
    }

    pub(super) fn poll(&mut self, place: &Place, cx: &mut Context<'_>) -> Poll<Sought> {
        loop {
            self.step = match mem::replace(&mut self.step, Step::Begin) {
                Step::Begin => self.begin(),
                Step::Reading(mut read) => match Pin::new(&mut read).poll(cx) {
                    Poll::Ready(Ok(Ok(look))) => Step::of(look),
                    // A job that failed, was aborted or panicked.
                    Poll::Ready(_) => return Poll::Ready(Sought::Failed),
                    Poll::Pending => {
                        self.step = Step::Reading(read);
                        return self.poll_time(false, cx);
                    }
                },
                Step::Missing(awaited) => match place.wait_for(&awaited, cx) {
                    Taken::Closed => return Poll::Ready(Sought::Over),
                    Taken::NoneYet => {
                        self.step = Step::Missing(awaited);
                        self.waiting.get_or_insert_with(|| {
                            self.metrics.hold(|counters| &counters.subscribers_waiting)
                        });
                        return self.poll_time(true, cx);
                    }
                    Taken::UpTo(_) | Taken::Lost => Step::Begin,
                },
                Step::Found(past, awaited) => match place.wait_for(&awaited, cx) {
                    Taken::Closed => return Poll::Ready(Sought::Over),
                    Taken::NoneYet => {
                        self.step = Step::Found(past, awaited);
                        return self.poll_time(false, cx);
                    }
                    Taken::UpTo(_) | Taken::Lost => return Poll::Ready(Sought::Found(past)),
                },
            };
        }
    }

    /// Looks up the position in memory; if it is not there, on a blocking thread as soon as a read
    /// permit is free.
    fn begin(&self) -> Step {
        let Some(position) = &self.position else { return Step::Missing(Awaited::End) };
        let look = |position: &Position, view: &View| -> Result<Look, QueryError> {
            Ok((view.past_at(position)?, view.shown()))
        };
        if let Some(Ok(look)) = self.bridge.read_in_place(|view| look(position, view)) {
            return Step::of(look);
        }
        let (bridge, position) = (self.bridge.clone(), Arc::clone(position));
        let read = async move {
            bridge.chunk_of_database(move |reader| look(&position, &reader.view())).await
        };
        Step::Reading(tokio::spawn(RequestId::current().scope(read)))
    }

    /// Waits until the next empty line is due, or, if a block is missing, until the deadline.
    fn poll_time(&mut self, is_block_missing: bool, cx: &mut Context<'_>) -> Poll<Sought> {
        let is_kept_alive = !self.keep_alive.is_zero();
        let empty_line = is_kept_alive.then(|| after(self.silent_since, self.keep_alive));
        let end = is_block_missing.then_some(self.deadline);
        let Some(next) = empty_line.into_iter().chain(end).min() else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(next)));
        if timer.deadline() != next {
            timer.as_mut().reset(next);
        }
        ready!(timer.as_mut().poll(cx));
        if end == Some(next) {
            self.metrics.counters().give_up_subscriber();
            return Poll::Ready(Sought::Over);
        }
        self.silent_since = next;
        Poll::Ready(Sought::Silence)
    }
}

impl Step {
    fn of((found, seen): Look) -> Self {
        match found {
            Ok(past) => Self::Found(past, Awaited::Log(seen)),
            Err(block) => Self::Missing(Awaited::Block(block, seen)),
        }
    }
}

impl Drop for Seek {
    fn drop(&mut self) {
        if let Step::Reading(read) = &self.step {
            read.abort();
        }
    }
}
