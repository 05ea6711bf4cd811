use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use plait_engine::push::{Block, Outcome};
use plait_engine::store::History;
use plait_engine::{BlockHash, ChainId, QueryError, RawHeader, Reader, View};
use tokio::task::spawn_blocking;

use super::branch;
use super::catch_up::{End, Part, Pass, catch_up};
use super::error::FollowError;
use super::gap::{self, Gap, stored};
use super::node::{Node, NodeCut};
use super::payloads;
use super::resolve::resolve;
use super::siblings::lowest_tip;
use super::sieve::first_height;
use super::state::State;
use super::survey::{self, Begin};
use super::unsaved::{self, Unsaved};
use crate::config::Follow;
use crate::inlet::{Inlet, PushError};
use crate::metrics::FollowPhase;

/// Blocks that are pushed at once.
pub(super) const BATCH: usize = 256;

/// Heights below the stored ones at which a pass begins; if its blocks do not link to stored ones,
/// this many times more.
const BACK: u64 = 4;
const BACK_FACTOR: u64 = 8;

/// Blocks in a row that may have missing parents, before a pass ends; each time that requests by hash
/// bring blocks, this many times more.
const ROW: usize = 640;
const ROW_FACTOR: usize = 8;

/// Passes that end early and bring nothing, before following gives up.
const SHORTS_MAX: u32 = 1;

/// Cuts in a row whose blocks nobody knows.
const CUTS_UNKNOWN_MAX: u32 = 3;

/// Connections over which to look for a cut that differs from a useless one.
const CUT_DRAWS_MAX: u32 = 10;

/// Cuts in a row that are false, or lead to false blocks.
const CUTS_FALSE_MAX: u32 = 6;

/// The same for a cut whose history was taken in vain, which is more work.
const HISTORIES_FALSE_MAX: u32 = 1;

/// Cuts in a row below which there is nothing to take.
const HISTORIES_VAIN_MAX: u32 = 3;

/// The database and one node that it is kept in step with.
pub(super) struct Session {
    pub(super) node: Node,
    pub(super) inlet: Inlet,
    pub(super) reader: Reader,
    pub(super) config: Arc<Follow>,
    pub(super) state: State,
    pub(super) unsaved: Unsaved,
    /// The height that all chains had reached when siblings were last checked, or came with a range.
    pub(super) looked: AtomicU64,
    /// Whether the node seems to have no payloads.
    pub(super) without_payloads: AtomicBool,
}

impl Session {
    /// Runs `job` on a view of the database, on a blocking thread.
    pub(super) async fn read<T, F>(&self, job: F) -> Result<T, FollowError>
    where
        T: Send + 'static,
        F: FnOnce(&View) -> Result<T, QueryError> + Send + 'static,
    {
        read(&self.reader, job).await
    }

    /// Stores these blocks in one commit, with their payloads if the node has these in time; returns the
    /// outcome of each. No more than [`BATCH`].
    pub(super) async fn push(&self, headers: &[RawHeader]) -> Result<Vec<Outcome>, FollowError> {
        let with_payloads = payloads::with(self, headers.to_vec()).await;
        let outcomes = self.store(with_payloads).await?;
        self.state.took(stored(&outcomes));
        Ok(outcomes)
    }

    /// Stores these blocks with what they carry.
    pub(super) async fn store(&self, blocks: Vec<Block>) -> Result<Vec<Outcome>, FollowError> {
        let pushed = self.inlet.push(blocks).await;
        if let Err(error @ PushError::Failed { .. }) = &pushed {
            self.unsaved.note(error.clone());
        }
        Ok(pushed?)
    }

    /// Stores everything up to the node's current cut, and returns that cut: behind a load balancer,
    /// the highest one that was seen meanwhile.
    pub(super) async fn step(&self) -> Result<NodeCut, FollowError> {
        let (mut highest, mut unknown): (Option<NodeCut>, u32) = (None, 0);
        let mut useless: Option<NodeCut> = None;
        let (mut false_cuts, mut false_histories, mut vain) = (0_u32, 0_u32, 0_u32);
        loop {
            // What is in memory only is not stored.
            unsaved::save(self).await?;
            let cut = self.cut_but(useless.take()).await?;
            self.note(&cut).await?;
            let cut = highest.take().filter(|highest| highest.height > cut.height).unwrap_or(cut);
            useless = Some(cut.clone());
            match gap::close(self, &cut).await {
                Ok(Gap::Closed) => {
                    self.note(&cut).await?;
                    return Ok(cut);
                }
                Ok(Gap::Far) => {}
                // The node with this cut may be gone, or may have moved to another one.
                Err(FollowError::Unknown(_)) if unknown < CUTS_UNKNOWN_MAX => {
                    unknown = unknown.saturating_add(1);
                    continue;
                }
                Err(error @ FollowError::Unknown(_)) => {
                    // Or the block belongs to a part of the history that the node has dropped.
                    self.check_whole(&cut, &self.needed(0).await?).await?;
                    return Err(error);
                }
                // The cut may be false, and so may the blocks below it.
                Err(error) if error.is_lie() && false_cuts < CUTS_FALSE_MAX => {
                    tracing::debug!("following: {error}");
                    false_cuts = false_cuts.saturating_add(1);
                    continue;
                }
                Err(error) => return Err(error),
            }
            self.state.enter(FollowPhase::CatchingUp);
            match self.catch_up(&cut).await {
                // Otherwise the same request would be repeated without end.
                Ok(0) if vain >= HISTORIES_VAIN_MAX => {
                    let wrong = "the node does not send the blocks below its own cut";
                    return Err(FollowError::content("/cut", wrong));
                }
                Ok(0) => vain = vain.saturating_add(1),
                Ok(_) => {
                    useless = None;
                    (highest, false_cuts, false_histories, vain) = (Some(cut), 0, 0, 0);
                }
                Err(error) if error.is_lie() && false_histories < HISTORIES_FALSE_MAX => {
                    tracing::debug!("following: {error}");
                    false_histories = false_histories.saturating_add(1);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The cut of the node; if that is the useless one, a new connection may lead to a node with another cut.
    async fn cut_but(&self, useless: Option<NodeCut>) -> Result<NodeCut, FollowError> {
        let mut cut = branch::cut(&self.node).await?;
        let Some(useless) = useless else { return Ok(cut) };
        let opening = self.node.opening();
        for _ in 0..CUT_DRAWS_MAX {
            if cut != useless {
                break;
            }
            cut = branch::cut(&opening).await?;
        }
        Ok(cut)
    }

    /// Takes the history up to `cut`; returns how many blocks were stored.
    ///
    /// # Errors
    ///
    /// [`FollowError`]; if nothing was stored, the error of the first false block that was left out.
    async fn catch_up(&self, cut: &NodeCut) -> Result<u64, FollowError> {
        let mut left_out = None;
        let result = self.passes(cut, &mut left_out).await;
        match (result, left_out) {
            // Whatever else failed, this is the most likely cause.
            (Ok(0) | Err(_), Some(wrong)) => Err(wrong),
            (result, _) => result,
        }
    }

    /// Takes the history up to `cut`, and keeps the first error of a false block in `left_out`.
    ///
    /// Each pass continues where the one before ended. Missing parents of its blocks are requested by
    /// their hashes. If even that brings nothing, the node's branch forks off farther down.
    async fn passes(
        &self,
        cut: &NodeCut,
        left_out: &mut Option<FollowError>,
    ) -> Result<u64, FollowError> {
        let to = cut.members.values().map(|(height, _)| height.get()).min().unwrap_or(0);
        let start = self.start(cut).await?;
        let ours = start.height.min(to);
        let mut roots = start.roots;
        let (mut total, mut shorts, mut row_max) = (0_u64, 0_u32, ROW);
        let mut back = if roots.is_empty() { BACK } else { 0 };
        let mut from = ours.saturating_sub(back).max(start.floor);
        let mut lowest = from;
        loop {
            lowest = lowest.min(from);
            let needed = self.needed(from).await?;
            let (needed_here, roots_here) = (needed.clone(), roots.clone());
            let part = Part { from, to, needed: needed_here, roots: roots_here, row_max };
            let Pass { stored, waiting, end, left_out: wrong } = catch_up(self, part).await?;
            self.note_wrong(wrong.as_ref(), stored);
            let resolved = resolve(self, waiting).await?;
            *left_out = left_out.take().or(wrong).or(resolved.wrong);
            let new = stored.saturating_add(resolved.stored);
            total = total.saturating_add(new);
            // If requests by hash brought blocks, more blocks may wait for such parents.
            let brings = resolved.stored > 0;
            row_max = if brings { row_max.saturating_mul(ROW_FACTOR) } else { ROW };
            if new > 0 {
                roots.clear();
            }
            if let Some((_, block)) = resolved.left.first() {
                let count = resolved.left.len();
                tracing::debug!("following: {count} blocks left out, the first is {block}");
            }
            match end {
                End::Whole if new > 0 || resolved.left.is_empty() => {
                    // Siblings came with the range, so they need not be looked for again.
                    if lowest <= self.looked.load(Relaxed) {
                        self.looked.fetch_max(to, Relaxed);
                    }
                    return Ok(total);
                }
                End::Full(height) | End::Short(height) if new > 0 => {
                    from = height.saturating_sub(BACK).max(start.floor).min(to);
                    continue;
                }
                End::Short(_) => {
                    self.check_whole(cut, &needed).await?;
                    shorts = shorts.saturating_add(1);
                    // Behind a load balancer, a node that is behind may have answered each time.
                    if shorts <= SHORTS_MAX {
                        continue;
                    }
                }
                End::Whole | End::Full(_) => {}
            }
            let block = resolved.left.into_iter().next().map(|(_, block)| block);
            match block {
                Some(block) if total == 0 && from <= start.floor => {
                    return Err(FollowError::Unconnected(block));
                }
                Some(block) if total == 0 => {
                    tracing::debug!("following: from height {from} on no block links: {block}");
                    back = back.saturating_mul(BACK_FACTOR).max(BACK);
                    from = ours.saturating_sub(back).max(start.floor);
                }
                _ => return Ok(total),
            }
        }
    }

    /// Reports a wrong answer in a pass that stored blocks: the node goes on being followed.
    fn note_wrong(&self, wrong: Option<&FollowError>, stored: u64) {
        if let (Some(error @ FollowError::Content { .. }), true) = (wrong, stored > 0) {
            self.state.go_on(error);
        }
    }

    /// The height below which some chains have no blocks.
    pub(super) async fn floor(&self) -> Result<u64, FollowError> {
        let partial = self.reader.meta().history == History::Partial;
        Ok(self.read(move |view| Ok(heights(view, partial))).await?.1)
    }

    /// Where to begin.
    async fn start(&self, cut: &NodeCut) -> Result<Start, FollowError> {
        let partial = self.reader.meta().history == History::Partial;
        let (height, floor, is_new) = self.read(move |view| Ok(heights(view, partial))).await?;
        if !partial || !is_new {
            return Ok(Start { height, floor, roots: HashSet::new() });
        }
        let Begin { height, roots } = survey::begin(&self.node, cut).await?;
        tracing::info!("following: this partial history begins at height {height}");
        Ok(Start { height, floor: height, roots })
    }

    /// For each chain, the lowest height from `from` on that is not stored.
    async fn needed(&self, from: u64) -> Result<BTreeMap<ChainId, u64>, FollowError> {
        let needed = move |view: &View| {
            let chains = view.version().chain_ids();
            let above = |chain| {
                let first = first_height(view.version(), chain);
                let tip = view.tip(chain).map(|tip| tip.height.get().saturating_add(1));
                (chain, tip.unwrap_or_else(|| first.max(from)))
            };
            Ok(chains.map(above).collect())
        };
        self.read(needed).await
    }

    /// Makes sure that the node has the required blocks.
    async fn check_whole(
        &self,
        cut: &NodeCut,
        needed: &BTreeMap<ChainId, u64>,
    ) -> Result<(), FollowError> {
        let lacks = survey::survey(&self.node, cut, needed).await?;
        if lacks.is_empty() {
            return Ok(());
        }
        let version = self.reader.version();
        let is_new = *needed == survey::above_genesis(version);
        let advice = if is_new {
            "to keep only what it holds, follow it into a new folder with --follow-allow-partial"
        } else {
            "replay them from a dump or an archive first, or follow a node that has them"
        };
        Err(FollowError::Partial(format!("{}; {advice}", survey::describe(&lacks))))
    }

    /// Reports the cut heights of the node and of this database.
    async fn note(&self, cut: &NodeCut) -> Result<(), FollowError> {
        let ours = self.read(|view| view.cut(None).map(|cut| cut.height())).await?;
        self.state.heights(cut.height, ours);
        Ok(())
    }

    /// The time between two requests for the cut.
    pub(super) fn poll_time(&self) -> Duration {
        self.config.poll_time
    }
}

/// Where to begin taking a history.
struct Start {
    /// The height that all chains have reached.
    height: u64,
    /// The height below which some chains have no blocks.
    floor: u64,
    /// Blocks that are stored without their parents.
    roots: HashSet<BlockHash>,
}

/// Runs `job` on a view of the database, on a blocking thread.
pub(super) async fn read<T, F>(reader: &Reader, job: F) -> Result<T, FollowError>
where
    T: Send + 'static,
    F: FnOnce(&View) -> Result<T, QueryError> + Send + 'static,
{
    let reader = reader.clone();
    let read = spawn_blocking(move || job(&reader.view())).await;
    match read {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => Err(FollowError::Store(error.to_string())),
        Err(error) => Err(FollowError::Store(error.to_string())),
    }
}

/// The height that all chains have reached, the height below which some have no blocks, and whether
/// nothing is stored yet.
///
/// A full history has the first block of every chain from the start, so chains that begin higher do
/// not count as behind. A partial history has only the blocks that it was given.
fn heights(view: &View, partial: bool) -> (u64, u64, bool) {
    let first = |chain| view.version().genesis_height(chain);
    let lowest = view.version().chain_ids().filter_map(|chain| {
        let lowest = view.lowest(chain)?;
        (Some(lowest) != first(chain)).then_some(lowest.get())
    });
    let floor = if partial { lowest.max() } else { None };
    let is_new = view.version().chain_ids().all(|chain| view.tip(chain).is_none());
    (lowest_tip(view), floor.unwrap_or(0), is_new)
}
