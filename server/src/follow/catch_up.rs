use std::collections::{BTreeMap, HashSet};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use plait_engine::replay::source::{Feed, Merged, Source};
use plait_engine::replay::{Admission, Event, Rejection, Replay, ReplayError, Summary, Wrong};
use plait_engine::verify::{Failure, Level, Verifier};
use plait_engine::{BlockHash, BlockHeight, ChainId, RawHeader, Writer};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use zerocopy::IntoBytes;

use super::error::FollowError;
use super::ranges::{self, Heights, Piece};
use super::session::Session;
use super::sieve::{Held, Sieve};
use super::state::State;
use crate::inlet::now;

/// Pieces of an answer that are read ahead, on each chain; of the size that they arrive in.
const AHEAD: usize = 4;

/// How often those who read are shown what is stored.
const SHOW_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// What came of a part of a history.
#[derive(Debug)]
pub(super) struct Pass {
    /// Blocks that were stored.
    pub(super) stored: u64,
    /// Blocks that stand on others which did not come.
    pub(super) waiting: Vec<RawHeader>,
    /// How it ended.
    pub(super) end: End,
}

/// How a pass ended.
#[derive(Debug)]
pub(super) enum End {
    /// All of it was read.
    Whole,
    /// Too much waits, from below this height on.
    Full(u64),
    /// A chain has no block at this height.
    Short(u64),
}

/// From where to where blocks are taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// The first height.
    pub(super) from: u64,
    /// The last.
    pub(super) to: u64,
    /// Of each chain, the lowest height that must come.
    pub(super) needed: BTreeMap<ChainId, u64>,
    /// Blocks that are stored without those below them.
    pub(super) roots: HashSet<BlockHash>,
    /// Blocks one after the other that may stand on none, before it ends.
    pub(super) row_max: usize,
}

/// Sets its flag when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Takes the blocks of the node at these heights, on all chains at once, through a replay; those that
/// stand on none are held back.
///
/// # Errors
///
/// [`FollowError`]. What came before what is wrong is stored.
pub(super) async fn catch_up(session: &Session, part: Part) -> Result<Pass, FollowError> {
    let Part { from, to, needed, roots, row_max } = part;
    let version = session.reader.version();
    let (reached, watched) = watch::channel(from);
    let at_once = session.config.range_heights.max(1) as u64;
    // Dropped with this future, and with it what they read.
    let mut readers = JoinSet::new();
    let mut feeds = Vec::new();
    for chain in version.chain_ids() {
        let begin = version.genesis_height(chain).map_or(0, BlockHeight::get).max(from);
        let needed = needed.get(&chain).copied().unwrap_or(begin);
        let heights = Heights { from: begin, needed, to, at_once };
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (node, watched) = (session.node.clone(), watched.clone());
        readers.spawn(ranges::feed(node, chain, heights, watched, sender));
        feeds.push((chain, BlockHeight::new(begin), feed(receiver)));
    }
    let progress = Box::new(move |height: BlockHeight| {
        let _ = reached.send_replace(height.get());
    });
    let name = session.node.name();
    let merged = Merged::new(name, BlockHeight::new(from), feeds, progress);
    let held = Arc::new(Mutex::new(Held::default()));
    let admission = Admission::Roots(roots.clone());
    let sieve = Sieve::new(merged, session.reader.clone(), roots, row_max, Arc::clone(&held));
    let taken = take_all(session, Box::new(sieve), admission).await?;
    drop(readers);
    let held = mem::take(&mut *held.lock().unwrap_or_else(PoisonError::into_inner));
    taken.pass(held)
}

/// Takes these blocks, of each chain by ascending rank; returns how many were stored.
///
/// # Errors
///
/// [`FollowError`], where one is wrong.
pub(super) async fn take_blocks(
    session: &Session,
    chains: BTreeMap<ChainId, Vec<RawHeader>>,
) -> Result<u64, FollowError> {
    let feeds = chains.into_iter().map(|(chain, blocks)| {
        let mut bytes = Some(Bytes::copy_from_slice(blocks.as_bytes()));
        let feed: Feed = Box::new(move || Ok(bytes.take().filter(|bytes| !bytes.is_empty())));
        (chain, BlockHeight::new(0), feed)
    });
    let (name, from) = (session.node.name(), BlockHeight::new(0));
    let merged = Merged::new(name, from, feeds.collect::<Vec<_>>(), Box::new(|_| ()));
    let taken = take_all(session, Box::new(merged), Admission::Genesis).await?;
    let stored = taken.stored;
    match taken.pass(Held::default()) {
        // It comes again once its time has come.
        Ok(_) | Err(FollowError::Clock(_)) => Ok(stored),
        Err(error) => Err(error),
    }
}

/// Replays `source` with the writer of the session.
async fn take_all(
    session: &Session,
    source: Box<dyn Source>,
    admission: Admission,
) -> Result<Taken, FollowError> {
    let stop = Arc::new(AtomicBool::new(false));
    let _stops = Dropped(Arc::clone(&stop));
    let state = session.state.clone();
    let work = move |writer: &mut Writer| take(writer, source, admission, &stop, &state);
    Ok(session.inlet.work(work).await?.await?)
}

/// What a channel gives, read by a thread that may block.
fn feed(mut receiver: mpsc::Receiver<Piece>) -> Feed {
    Box::new(move || receiver.blocking_recv().transpose())
}

/// What came of a replay.
struct Taken {
    result: Result<Summary, ReplayError>,
    stored: u64,
    rejected: Option<Rejected>,
}

/// The block that ended it.
struct Rejected {
    text: String,
    block: Option<RawHeader>,
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
fn take(
    writer: &mut Writer,
    source: Box<dyn Source>,
    admission: Admission,
    stop: &AtomicBool,
    state: &State,
) -> Taken {
    let verifier = Verifier::new(writer.version(), Level::Full, now());
    let replay = Replay::new(writer, verifier, admission, false, stop);
    let mut replay = replay.connected().by_clock(now).showing(SHOW_EVERY);
    let mut rejected = None;
    let mut result = replay.run(source, &mut |event| match event {
        Event::Progress(progress) => state.progress(&progress),
        Event::Rejected(rejection) => rejected = Some(Rejected::of(rejection)),
        Event::Held { .. } | Event::Waiting(_) | Event::Indexed(_) => {}
    });
    // Whatever ended it, what came before is to be found fast.
    if !matches!(result, Err(ReplayError::Write(_))) {
        let finished = replay.finish(&mut |_| ());
        result = result.and(finished);
    }
    let stored = replay.summary().stored;
    state.took(stored);
    Taken { result, stored, rejected }
}

impl Rejected {
    fn of(rejection: &Rejection<'_>) -> Self {
        let why = match rejection.wrong {
            Wrong::Rules(failures) if failures.iter().all(Failure::is_missing) => Why::Missing,
            Wrong::Rules(failures) if failures.iter().all(is_of_the_future) => Why::Future,
            Wrong::Rules(failures) if failures.iter().any(is_of_another_genesis) => Why::Genesis,
            _ => Why::Wrong,
        };
        let block = rejection.block.map_or_else(String::new, |raw| {
            format!("chain {}, height {}, block {}: ", raw.chain, raw.height, raw.hash)
        });
        let text = format!("{block}{}", rejection.wrong);
        Self { text, block: rejection.block.copied(), why }
    }
}

pub(super) const fn is_of_the_future(failure: &Failure) -> bool {
    matches!(failure, Failure::BlockInTheFuture { .. })
}

pub(super) const fn is_of_another_genesis(failure: &Failure) -> bool {
    matches!(failure, Failure::OtherGenesis { .. })
}

impl Taken {
    /// What came of it, where this was held back.
    fn pass(self, held: Held) -> Result<Pass, FollowError> {
        let Self { result, stored, rejected } = self;
        let Held { mut waiting, is_full, height } = held;
        let mut end = if is_full { End::Full(height) } else { End::Whole };
        match rejected {
            Some(Rejected { why: Why::Missing, block, .. }) => {
                waiting.extend(block);
                end = End::Full(block.map_or(height, |block| block.height.get()));
            }
            Some(Rejected { text, why: Why::Future, .. }) => return Err(FollowError::Clock(text)),
            Some(Rejected { text, why: Why::Genesis, .. }) => {
                return Err(FollowError::Genesis(text));
            }
            Some(Rejected { text, why: Why::Wrong, .. }) => return Err(FollowError::Rules(text)),
            None => {}
        }
        match result.map_err(own) {
            Ok(_) => {}
            Err(FollowError::Short { height, .. }) => end = End::Short(height),
            Err(error) => return Err(error),
        }
        Ok(Pass { stored, waiting, end })
    }
}

/// Why a replay failed; our own error, where it came through it as one of its input.
fn own(error: ReplayError) -> FollowError {
    let ReplayError::Io { input, source } = error else {
        return FollowError::Store(error.to_string());
    };
    let text = source.to_string();
    let inner =
        source.into_inner().map(<dyn std::error::Error + Send + Sync>::downcast::<FollowError>);
    match inner {
        Some(Ok(own)) => *own,
        Some(Err(_)) | None => FollowError::Content { path: input, wrong: text },
    }
}
