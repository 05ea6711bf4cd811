use std::collections::{BTreeMap, HashSet};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use plait_engine::cause::Classified;
use plait_engine::replay::source::{Feed, Merged, Source};
use plait_engine::replay::{Admission, Event, Rejection, Replay, ReplayError, Summary, Wrong};
use plait_engine::verify::{Failure, Level, Verifier};
use plait_engine::{BlockHash, BlockHeight, ChainId, RawHeader, Writer};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use zerocopy::IntoBytes;

use super::error::FollowError;
use super::lies::Lies;
use super::ranges::{self, Heights, Piece};
use super::session::Session;
use super::sieve::{Held, Sieve, first_height};
use super::state::State;
use crate::inlet::{PushError, now};

/// Pieces of an answer that are read ahead, on each chain; of the size that they arrive in.
const AHEAD: usize = 4;

/// False blocks after which a pass ends: verifying each one took time.
const FALSE_MAX: usize = 2000;

/// Blocks with missing parents, found by the replay, after which a pass ends.
const MISSING_MAX: usize = 640;

/// How often those who read are shown what is stored.
const SHOW_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// The outcome of a pass over part of a history.
#[derive(Debug)]
pub(super) struct Pass {
    /// Blocks that were stored.
    pub(super) stored: u64,
    /// Blocks whose parents did not arrive.
    pub(super) waiting: Vec<RawHeader>,
    /// How the pass ended.
    pub(super) end: End,
    /// The first thing that was left out: a false block, a block of the future, or a wrong answer.
    pub(super) left_out: Option<FollowError>,
}

/// How a pass ended.
#[derive(Debug)]
pub(super) enum End {
    /// Everything was read.
    Whole,
    /// Too many blocks wait, from this height on.
    Full(u64),
    /// A chain has no block at this height.
    Short(u64),
}

/// The heights to take blocks from.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// The first height.
    pub(super) from: u64,
    /// The last.
    pub(super) to: u64,
    /// For each chain, the lowest height that the node must send.
    pub(super) needed: BTreeMap<ChainId, u64>,
    /// Blocks that are stored without their parents.
    pub(super) roots: HashSet<BlockHash>,
    /// Blocks in a row whose parents may be missing, before the pass ends.
    pub(super) row_max: usize,
}

/// Sets its flag when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Takes the blocks of the node at these heights, on all chains at once, through a replay; blocks
/// with missing parents are held back.
///
/// # Errors
///
/// [`FollowError`]. The blocks before the failure are stored.
pub(super) async fn catch_up(session: &Session, part: Part) -> Result<Pass, FollowError> {
    let Part { from, to, needed, roots, row_max } = part;
    let version = session.reader.version();
    let (reached, watched) = watch::channel(from);
    let at_once = session.config.range_heights.max(1) as u64;
    // Dropped with this future, and with it what they read.
    let mut readers = JoinSet::new();
    let mut feeds = Vec::new();
    for chain in version.chain_ids() {
        let begin = first_height(version, chain).max(from);
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
    let judges = (session.reader.clone(), Arc::clone(session.node.lies()));
    let sieve = Sieve::new(merged, judges, roots, row_max, Arc::clone(&held));
    let taken = take_all(session, Box::new(sieve), admission).await?;
    drop(readers);
    let held = mem::take(&mut *held.lock().unwrap_or_else(PoisonError::into_inner));
    taken.pass(held)
}

/// Takes these blocks, of each chain by ascending rank; returns how many were stored, and the first
/// error of a block that was left out.
///
/// # Errors
///
/// [`FollowError`] if they cannot be stored.
pub(super) async fn take_blocks(
    session: &Session,
    chains: BTreeMap<ChainId, Vec<RawHeader>>,
) -> Result<(u64, Option<FollowError>), FollowError> {
    let feeds = chains.into_iter().map(|(chain, blocks)| {
        let mut bytes = Some(Bytes::copy_from_slice(blocks.as_bytes()));
        let feed: Feed = Box::new(move || Ok(bytes.take().filter(|bytes| !bytes.is_empty())));
        (chain, BlockHeight::new(0), feed)
    });
    let (name, from) = (session.node.name(), BlockHeight::new(0));
    let merged = Merged::new(name, from, feeds.collect::<Vec<_>>(), Box::new(|_| ()));
    let taken = take_all(session, Box::new(merged), Admission::Genesis).await?;
    let pass = taken.pass(Held::default())?;
    Ok((pass.stored, pass.left_out))
}

/// Replays `source` with the writer of the session.
async fn take_all(
    session: &Session,
    source: Box<dyn Source>,
    admission: Admission,
) -> Result<Taken, FollowError> {
    let stop = Arc::new(AtomicBool::new(false));
    let _stops = Dropped(Arc::clone(&stop));
    let (state, lies) = (session.state.clone(), Arc::clone(session.node.lies()));
    let (unsaved, reader) = (session.unsaved.clone(), session.reader.clone());
    let work = move |writer: &mut Writer| {
        let before = reader.view().total_block_count();
        let taken = take(writer, source, admission, &stop, (&state, &lies));
        if let Err(error @ ReplayError::Write(_)) = &taken.result {
            // A replay counts blocks once they are on the disk. The others are in memory, will be known when
            // the node sends them again, and reach the disk once there is room.
            let held = reader.view().total_block_count().saturating_sub(before);
            state.took(held.saturating_sub(taken.stored));
            state.fail_write(error.fault().cause);
            unsaved.note(PushError::failed(error));
        }
        taken
    };
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
    rejected: Rejected,
}

/// Blocks that were not stored.
#[derive(Default)]
struct Rejected {
    /// Blocks with missing parents.
    missing: Vec<RawHeader>,
    false_blocks: usize,
    /// The first false block, and the first block of the future.
    wrong: Option<FollowError>,
    future: Option<FollowError>,
}

/// Replays `source` to its end, and leaves out what is wrong.
fn take(
    writer: &mut Writer,
    source: Box<dyn Source>,
    admission: Admission,
    stop: &AtomicBool,
    (state, lies): (&State, &Lies),
) -> Taken {
    let verifier = Verifier::new(writer.version(), Level::Full, now());
    let replay = Replay::new(writer, verifier, admission, true, stop);
    let mut replay = replay.connected().by_clock(now).showing(SHOW_EVERY);
    let mut rejected = Rejected::default();
    let mut result = replay.run(source, &mut |event| match event {
        Event::Progress(progress) => state.progress(&progress),
        Event::Rejected(rejection) => {
            rejected.add(rejection, lies);
            if rejected.is_too_much() {
                stop.store(true, Ordering::Relaxed);
            }
        }
        Event::Held { .. } | Event::Waiting(_) | Event::Indexed(_) => {}
    });
    // However the replay ended, index what it stored.
    if !matches!(result, Err(ReplayError::Write(_))) {
        result = match replay.finish(&mut |_| ()) {
            // Whatever ended the replay, this matters more: blocks are in memory only.
            Err(error) if error.is_of_database() => Err(error),
            finished => result.and(finished),
        };
    }
    let stored = replay.summary().stored;
    state.took(stored);
    Taken { result, stored, rejected }
}

impl Rejected {
    fn add(&mut self, rejection: &Rejection<'_>, lies: &Lies) {
        let Some(raw) = rejection.block else {
            self.wrong.get_or_insert_with(|| FollowError::Rules(rejection.wrong.to_string()));
            return;
        };
        let (chain, height, hash) = (raw.chain, raw.height, raw.hash);
        let text = format!("chain {chain}, height {height}, block {hash}: {}", rejection.wrong);
        let error = match rejection.wrong {
            Wrong::Rules(failures) if failures.iter().all(Failure::is_missing) => {
                self.missing.push(*raw);
                return;
            }
            Wrong::Rules(failures) if failures.iter().all(is_of_the_future) => {
                self.future.get_or_insert(FollowError::Clock(text));
                return;
            }
            Wrong::Rules(failures) if failures.iter().any(is_of_another_genesis) => {
                FollowError::Genesis(text)
            }
            _ => FollowError::Rules(text),
        };
        lies.note(raw, &error);
        self.false_blocks = self.false_blocks.saturating_add(1);
        self.wrong.get_or_insert(error);
    }

    const fn is_too_much(&self) -> bool {
        self.false_blocks >= FALSE_MAX || self.missing.len() >= MISSING_MAX
    }
}

pub(super) const fn is_of_the_future(failure: &Failure) -> bool {
    matches!(failure, Failure::BlockInTheFuture { .. })
}

pub(super) const fn is_of_another_genesis(failure: &Failure) -> bool {
    matches!(failure, Failure::OtherGenesis { .. })
}

impl Taken {
    /// Makes a pass of the replay's outcome and of what the sieve held back.
    fn pass(self, held: Held) -> Result<Pass, FollowError> {
        let Self { result, stored, rejected } = self;
        let is_too_much = rejected.is_too_much();
        let Rejected { missing, wrong, future, .. } = rejected;
        let Held { mut waiting, is_full, mut height, refuted } = held;
        if let Some(lowest) = missing.iter().map(|raw| raw.height.get()).min() {
            height = height.min(lowest);
        }
        waiting.extend(missing);
        let mut end = if is_full || is_too_much { End::Full(height) } else { End::Whole };
        let mut left_out = wrong.or(refuted).or(future);
        match result.map_err(own) {
            Ok(_) => {}
            Err(FollowError::Short { height, .. }) => end = End::Short(height),
            Err(error) if error.is_lie() => {
                end = End::Full(height);
                left_out = left_out.or(Some(error));
            }
            Err(error) => return Err(error),
        }
        Ok(Pass { stored, waiting, end, left_out })
    }
}

/// The reason why a replay failed; our own error, if the replay passed it on as an error of its
/// input.
fn own(error: ReplayError) -> FollowError {
    let (input, source) = match error {
        ReplayError::Io { input, source } => (input, source),
        ReplayError::Write(_) => return PushError::failed(&error).into(),
        _ => return FollowError::Store(error.to_string()),
    };
    let text = source.to_string();
    let inner =
        source.into_inner().map(<dyn std::error::Error + Send + Sync>::downcast::<FollowError>);
    match inner {
        Some(Ok(own)) => *own,
        Some(Err(_)) | None => FollowError::Content { path: input, wrong: text },
    }
}
