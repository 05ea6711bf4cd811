//! Blocks that join the cut, as events for any number of subscribers.
//!
//! Enters: what the database shows, looked at whenever it shows something new. Leaves: the bodies of
//! event streams.
//!
//! ```text
//! Reader ─on_shown→ Announcer ─Joined→ render ─Entry→ Log ─Bytes→ Subscriber ─→ body
//!                                       render ←─Joined─ CatchUp ← Seek ┘ with ?resume
//! ```
//!
//! - `I-1` A look renders each event once, whoever listens; where nobody does, none.
//! - `I-2` The log is bounded in bytes. Nobody waits for a subscriber: one that falls behind the log
//!   ends, or reads the database where it can be told from where on.
//! - `I-3` A subscriber holds its place and a few events, which it shares with all others.
//! - `I-4` A subscriber gets what joins after the past that it begins with: from the database up to a
//!   past of the log, then from the log behind that past; so no block is left out or comes twice.
//! - `I-5` A subscriber that waits for the blocks of its id is woken when they may be stored.
//!   Subscribers do not poll, and a scan tests each block once, however many wait for it.

mod announcer;
mod catch_up;
mod item;
mod log;
mod render;
mod seek;
mod seekers;
mod subscriber;

use std::sync::Arc;
use std::time::Duration;

use plait_engine::Position;

use self::announcer::Announcer;
use self::log::Log;
use self::subscriber::{Refused, Subscriber};
use crate::bridge::{Bridge, Phase};
use crate::config::Config;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::response::EventSource;

/// What events say of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its header.
    Headers,
    /// Its payload, too. Blocks whose payload is not held have no event.
    Blocks,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Headers, Self::Blocks];

    /// The element for this kind.
    fn of<T>(self, [headers, blocks]: [T; 2]) -> T {
        match self {
            Self::Headers => headers,
            Self::Blocks => blocks,
        }
    }
}

/// Where a stream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With what joins from now on.
    Now,
    /// The same, and events say where to begin after them.
    NowWithIds,
    /// After the blocks that this names, as soon as they are all stored; events have ids, too.
    /// `None` stands for an id in the format of another release.
    Behind(Option<Position>),
}

/// Event streams of one server.
#[derive(Clone)]
pub(crate) struct Updates {
    log: Arc<Log>,
    bridge: Bridge,
    metrics: Metrics,
    /// How long a stream waits for the blocks of its id, and how long it may be silent.
    times: (Duration, Duration),
}

impl Updates {
    /// Streams of what `bridge` reads, with the limits of `config`.
    pub(crate) fn new(bridge: Bridge, config: &Config, metrics: Metrics) -> Self {
        let times = (config.updates_resume_wait, config.updates_keep_alive);
        Self { log: Arc::new(Log::new(config)), bridge, metrics, times }
    }

    /// A stream of events.
    ///
    /// # Errors
    ///
    /// [`Error::Subscribers`] if there are too many. A client that resumes gets a stream that ends
    /// at once instead: an `EventSource` would not reconnect after an error.
    pub(crate) fn subscribe(
        &self,
        kind: Kind,
        begin: Begin,
    ) -> Result<Box<dyn EventSource>, Error> {
        let Some(place) = self.log.subscribe(kind) else {
            self.metrics.counters().refuse_subscriber();
            return match begin {
                Begin::Now => Err(Error::Subscribers),
                Begin::NowWithIds | Begin::Behind(_) => Ok(Box::new(Refused::for_now())),
            };
        };
        Ok(Box::new(Subscriber::new(self, place, begin)))
    }

    /// Looks for the first time: what joins from now on is told to whoever listens then.
    pub(crate) async fn begin(&self) {
        self.announcer().begin().await;
    }

    /// Looks for blocks that join until streams are to end, and ends them.
    pub(crate) async fn run(&self, config: &Config) {
        self.announcer().run(config, self.bridge.reached(Phase::Draining)).await;
    }

    fn announcer(&self) -> Announcer {
        Announcer::new(self.bridge.reader(), Arc::clone(&self.log), &self.metrics)
    }
}
