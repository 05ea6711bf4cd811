//! Where a stream goes on: the blocks that its id names, which this server may not have yet.
//!
//! ```text
//!          ┌───────── the block may be there ─────────┐
//!          ↓                                          │
//! id ─→ Reading ─→ a block is not stored ─→ Missing ──┴─→ the time is over: the stream ends
//!          └─────→ all blocks are stored ─→ Found ─────→ the log is as new as they are: CatchUp
//! ```
//!
//! Behind a load balancer the id may come from a replica that is ahead of this one. So a block that is
//! not stored is waited for. Example: replica A has sent the blocks of chain 3 up to height 105 and
//! stops. Its clients connect to replica B, which has 103, and name 105. B answers 200 and sends
//! nothing while it stores 104 and 105, for the clients have these; then 106 is their next event.
//! Had B begun where it is, they would get 104 and 105 twice; had it begun with what joins next once
//! 107 is there, 106 would be missing.
//!
//! `Found` waits as well, for the blocks of an id may be stored a moment before the log is told of
//! them. A log that is older than these blocks would announce them later: a second time, for this
//! client.
//!
//! Some blocks never come: orphans that only the other replica has seen, or blocks of another network.
//! Nobody can tell them from those that are late, so the wait is bounded. Then the stream ends as it
//! should, and an `EventSource` connects again, perhaps to a replica that has the block. With any
//! status but 200 it would give up.

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

/// The search for the past that an id stands for.
pub(super) struct Seek {
    bridge: Bridge,
    metrics: Metrics,
    /// `None` if only another release knows what it stands for.
    position: Option<Arc<Position>>,
    step: Step,
    /// When it gives up a block that is not stored.
    deadline: Instant,
    /// How long the stream may be silent, zero for ever; and since when it is.
    keep_alive: Duration,
    silent_since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// Counts it while it waits for a block.
    waiting: Option<Held>,
}

enum Step {
    Begin,
    Reading(JoinHandle<Result<Look, Error>>),
    Missing(Awaited),
    Found(Past, Awaited),
}

/// What a view has of a position, and the number of the view.
type Look = (Result<Past, UnknownTop>, u64);

/// What comes of a search.
pub(super) enum Sought {
    /// The stream goes on behind this past, which the log is not behind.
    Found(Past),
    /// The client was sent nothing for so long that an empty line is due.
    Silence,
    /// The stream ends: the block did not come in time, or the server stops.
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

    /// Looks in memory, else where it may block, as soon as it is its turn.
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

    /// Waits until the next empty line is due; where a block is missing, for the deadline too.
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
