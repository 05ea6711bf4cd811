use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use plait_engine::replay::source::{Feed, Merged};
use plait_engine::replay::{Admission, Event, Rejection, Replay, ReplayError, Summary, Wrong};
use plait_engine::verify::{Failure, Level, Verifier};
use plait_engine::{BlockHeight, Writer};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::error::FollowError;
use super::ranges::{self, Heights, Piece};
use super::session::Session;
use super::state::State;
use crate::inlet::now;

/// Pieces of an answer that are read ahead, on each chain; of the size that they arrive in.
const AHEAD: usize = 4;

/// How often those who read are shown what is stored.
const SHOW_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// How far a history was taken.
#[derive(Debug)]
pub(super) enum Caught {
    /// To its end; so many blocks were stored.
    Up(u64),
    /// Its beginning does not stand on what is stored: this block has no parent.
    Apart(String),
}

/// Sets its flag when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Takes all blocks of the node from height `from` to height `to`, on all chains at once, through a
/// replay.
///
/// # Errors
///
/// [`FollowError`]. What came before what is wrong is stored.
pub(super) async fn catch_up(session: &Session, from: u64, to: u64) -> Result<Caught, FollowError> {
    let version = session.reader.version();
    let (reached, watched) = watch::channel(from);
    let at_once = session.config.range_heights.max(1) as u64;
    // Dropped with this future, and with it what they read.
    let mut readers = JoinSet::new();
    let mut feeds = Vec::new();
    for chain in version.chain_ids() {
        let begin = version.genesis_height(chain).map_or(0, BlockHeight::get).max(from);
        let heights = Heights { from: begin, to, at_once };
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (node, watched) = (session.node.clone(), watched.clone());
        readers.spawn(ranges::feed(node, chain, heights, watched, sender));
        feeds.push((chain, BlockHeight::new(begin), feed(receiver)));
    }
    let progress = Box::new(move |height: BlockHeight| {
        let _ = reached.send_replace(height.get());
    });
    let name = session.node.name();
    let source = Merged::new(name, BlockHeight::new(from), feeds, progress);
    let stop = Arc::new(AtomicBool::new(false));
    let _stops = Dropped(Arc::clone(&stop));
    let state = session.state.clone();
    let taken =
        session.inlet.work(move |writer| take(writer, source, &stop, &state)).await?.await?;
    drop(readers);
    taken.outcome(from)
}

/// What a channel gives, read by a thread that may block.
fn feed(mut receiver: mpsc::Receiver<Piece>) -> Feed {
    Box::new(move || receiver.blocking_recv().transpose())
}

/// What came of a replay.
struct Taken {
    result: Result<Summary, ReplayError>,
    rejected: Option<Rejected>,
}

/// The block that ended it.
struct Rejected {
    text: String,
    height: Option<u64>,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Missing,
    Future,
    Genesis,
    Wrong,
}

/// Replays `source`.
fn take(writer: &mut Writer, source: Merged, stop: &AtomicBool, state: &State) -> Taken {
    let verifier = Verifier::new(writer.version(), Level::Full, now());
    let replay = Replay::new(writer, verifier, Admission::Genesis, false, stop);
    let mut replay = replay.connected().by_clock(now).showing(SHOW_EVERY);
    let mut rejected = None;
    let mut result = replay.run(Box::new(source), &mut |event| match event {
        Event::Progress(progress) => state.progress(&progress),
        Event::Rejected(rejection) => rejected = Some(Rejected::of(rejection)),
        Event::Held { .. } | Event::Waiting(_) | Event::Indexed(_) => {}
    });
    // Whatever ended it, what came before is to be found fast.
    if !matches!(result, Err(ReplayError::Write(_))) {
        let finished = replay.finish(&mut |_| ());
        result = result.and(finished);
    }
    state.took(replay.summary().stored);
    Taken { result, rejected }
}

impl Rejected {
    fn of(rejection: &Rejection<'_>) -> Self {
        let why = match rejection.wrong {
            Wrong::Rules(failures) if failures.iter().all(Failure::is_missing) => Why::Missing,
            Wrong::Rules(failures) if failures.iter().all(is_of_the_future) => Why::Future,
            Wrong::Rules(failures) if failures.iter().any(is_of_another_genesis) => Why::Genesis,
            _ => Why::Wrong,
        };
        let height = rejection.block.map(|raw| raw.height.get());
        let block = rejection.block.map_or_else(String::new, |raw| {
            format!("chain {}, height {}, block {}: ", raw.chain, raw.height, raw.hash)
        });
        Self { text: format!("{block}{}", rejection.wrong), height, why }
    }
}

pub(super) const fn is_of_the_future(failure: &Failure) -> bool {
    matches!(failure, Failure::BlockInTheFuture { .. })
}

pub(super) const fn is_of_another_genesis(failure: &Failure) -> bool {
    matches!(failure, Failure::OtherGenesis { .. })
}

impl Taken {
    /// What came of it, where it began at height `from`.
    fn outcome(self, from: u64) -> Result<Caught, FollowError> {
        let Self { result, rejected } = self;
        match rejected {
            // At any other height its parent should have come with the rest.
            Some(Rejected { text, height, why: Why::Missing }) if height == Some(from) => {
                return Ok(Caught::Apart(text));
            }
            Some(Rejected { text, why: Why::Missing, .. }) => {
                return Err(FollowError::Unconnected(text));
            }
            Some(Rejected { text, why: Why::Future, .. }) => return Err(FollowError::Clock(text)),
            Some(Rejected { text, why: Why::Genesis, .. }) => {
                return Err(FollowError::Genesis(text));
            }
            Some(Rejected { text, why: Why::Wrong, .. }) => return Err(FollowError::Rules(text)),
            None => {}
        }
        match result {
            Ok(summary) => Ok(Caught::Up(summary.stored)),
            Err(ReplayError::Io { input, source }) => Err(own(input, source)),
            Err(error) => Err(FollowError::Store(error.to_string())),
        }
    }
}

/// Our own error, which came through a replay as one of its input.
fn own(input: String, error: std::io::Error) -> FollowError {
    let text = error.to_string();
    let inner =
        error.into_inner().map(<dyn std::error::Error + Send + Sync>::downcast::<FollowError>);
    match inner {
        Some(Ok(own)) => *own,
        Some(Err(_)) | None => FollowError::Content { path: input, wrong: text },
    }
}
