use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use plait_engine::push::Outcome;
use plait_engine::store::History;
use plait_engine::{BlockHash, BlockHeight, ChainId, QueryError, RawHeader, Reader, View};
use tokio::task::spawn_blocking;

use super::branch;
use super::catch_up::{End, Part, Pass, catch_up};
use super::error::FollowError;
use super::gap::{self, Gap, stored};
use super::node::{Node, NodeCut};
use super::payloads;
use super::resolve::resolve;
use super::siblings::lowest_tip;
use super::state::State;
use super::survey::{self, Begin};
use crate::config::Follow;
use crate::inlet::Inlet;
use crate::metrics::FollowPhase;

/// Blocks that are pushed at once.
pub(super) const BATCH: usize = 256;

/// Heights below what is stored on all chains, from where a history is taken; each time that it does
/// not stand on what is stored, so many times more.
const BACK: u64 = 4;
const BACK_FACTOR: u64 = 8;

/// Blocks one after the other that may stand on none, before a pass ends; each time that hashes bring
/// what is missing, so many times more.
const ROW: usize = 640;
const ROW_FACTOR: usize = 8;

/// Passes that end early and bring nothing, after which no more are tried.
const SHORTS_MAX: u32 = 1;

/// Cuts, one after the other, whose blocks nobody knows.
const CUTS_UNKNOWN_MAX: u32 = 3;

/// Connections over which another cut is looked for than one that was of no use.
const CUT_DRAWS_MAX: u32 = 10;

/// Cuts, one after the other, that are false, or whose blocks are.
const CUTS_FALSE_MAX: u32 = 6;

/// The same where the history up to them was taken in vain, which is more work.
const HISTORIES_FALSE_MAX: u32 = 1;

/// Cuts, one after the other, below which there is nothing to take.
const HISTORIES_VAIN_MAX: u32 = 3;

/// The database and one node that it is to be kept in step with.
pub(super) struct Session {
    pub(super) node: Node,
    pub(super) inlet: Inlet,
    pub(super) reader: Reader,
    pub(super) config: Arc<Follow>,
    pub(super) state: State,
    /// The height that all chains had reached when siblings were looked for last, or came with a range.
    pub(super) looked: AtomicU64,
    /// Whether the node seems to have no payloads.
    pub(super) without_payloads: AtomicBool,
}

impl Session {
    /// Runs `job` on a view of the database, where it may block.
    pub(super) async fn read<T, F>(&self, job: F) -> Result<T, FollowError>
    where
        T: Send + 'static,
        F: FnOnce(&View) -> Result<T, QueryError> + Send + 'static,
    {
        read(&self.reader, job).await
    }

    /// Stores these blocks in one commit, with what they carry as far as the node has it in time; returns the
    /// outcome of each. No more than [`BATCH`].
    pub(super) async fn push(&self, headers: &[RawHeader]) -> Result<Vec<Outcome>, FollowError> {
        let with_payloads = payloads::with(self, headers.to_vec()).await;
        let outcomes = self.inlet.push(with_payloads).await?;
        self.state.took(stored(&outcomes));
        Ok(outcomes)
    }

    /// Stores all that the node has up to its cut of now, and returns that: behind a load balancer, the
    /// highest one that was seen meanwhile.
    pub(super) async fn step(&self) -> Result<NodeCut, FollowError> {
        let (mut highest, mut unknown): (Option<NodeCut>, u32) = (None, 0);
        let mut useless: Option<NodeCut> = None;
        let (mut false_cuts, mut false_histories, mut vain) = (0_u32, 0_u32, 0_u32);
        loop {
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
                // The node that has this cut may not be there any more, or have left it.
                Err(FollowError::Unknown(_)) if unknown < CUTS_UNKNOWN_MAX => {
                    unknown = unknown.saturating_add(1);
                    continue;
                }
                Err(error @ FollowError::Unknown(_)) => {
                    // Or the block is of a part of the history that it has dropped.
                    self.check_whole(&cut, &self.needed(0).await?).await?;
                    return Err(error);
                }
                // A cut may be false, and so may be what is below it.
                Err(error) if error.is_lie() && false_cuts < CUTS_FALSE_MAX => {
                    tracing::debug!("following: {error}");
                    false_cuts = false_cuts.saturating_add(1);
                    continue;
                }
                Err(error) => return Err(error),
            }
            self.state.enter(FollowPhase::CatchingUp);
            match self.catch_up(&cut).await {
                // Else it would be asked again and again.
                Ok(0) if vain >= HISTORIES_VAIN_MAX => {
                    let wrong = "the node does not give what is below its own cut";
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

    /// The cut of the node: another one than this, which was of no use, if a new connection leads to one that
    /// has another.
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
    /// [`FollowError`]; the first thing that was left out because it is wrong, if nothing was stored.
    async fn catch_up(&self, cut: &NodeCut) -> Result<u64, FollowError> {
        let mut left_out = None;
        let result = self.passes(cut, &mut left_out).await;
        match (result, left_out) {
            // For whatever else it failed: most likely because of that.
            (Ok(0) | Err(_), Some(wrong)) => Err(wrong),
            (result, _) => result,
        }
    }

    /// The same, and the first thing that was left out because it is wrong.
    ///
    /// Pass after pass, each from where the one before was left. What no pass can link is asked for by its
    /// hash. Where even that brings nothing, the branch of the node leaves what is stored farther down.
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
            let resolved = resolve(self, waiting).await?;
            *left_out = left_out.take().or(wrong).or(resolved.wrong);
            let new = stored.saturating_add(resolved.stored);
            total = total.saturating_add(new);
            // Where hashes bring on what waits, more of it may wait.
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
                    // With what stands beside it, so that this need not be looked for again.
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
                    // Behind a load balancer, a node that is behind may have been drawn each time.
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
                    tracing::debug!("following: from height {from} on it stands apart: {block}");
                    back = back.saturating_mul(BACK_FACTOR).max(BACK);
                    from = ours.saturating_sub(back).max(start.floor);
                }
                _ => return Ok(total),
            }
        }
    }

    /// The height below which not all chains have blocks.
    pub(super) async fn floor(&self) -> Result<u64, FollowError> {
        let partial = self.reader.meta().history == History::Partial;
        Ok(self.read(move |view| Ok(heights(view, partial))).await?.1)
    }

    /// Where the history is taken from.
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

    /// Of each chain, the lowest height that is not stored, of those from `from` on.
    async fn needed(&self, from: u64) -> Result<BTreeMap<ChainId, u64>, FollowError> {
        let needed = move |view: &View| {
            let chains = view.version().chain_ids();
            let above = |chain| {
                let first = view.version().genesis_height(chain).map_or(0, BlockHeight::get);
                let tip = view.tip(chain).map(|tip| tip.height.get().saturating_add(1));
                (chain, tip.unwrap_or_else(|| first.max(from)))
            };
            Ok(chains.map(above).collect())
        };
        self.read(needed).await
    }

    /// Makes sure that the node has what is needed.
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
            "to keep only what it holds, follow it into a new folder with --allow-partial"
        } else {
            "replay them from a dump or an archive first, or follow a node that has them"
        };
        Err(FollowError::Partial(format!("{}; {advice}", survey::describe(&lacks))))
    }

    /// Tells how far the node is, and how far this database.
    async fn note(&self, cut: &NodeCut) -> Result<(), FollowError> {
        let ours = self.read(|view| view.cut(None).map(|cut| cut.height())).await?;
        self.state.heights(cut.height, ours);
        Ok(())
    }

    /// The time between two looks at its cut.
    pub(super) fn poll_time(&self) -> Duration {
        self.config.poll_time
    }
}

/// Where a history is taken from.
struct Start {
    /// The height that all chains have reached.
    height: u64,
    /// The height below which not all chains have blocks.
    floor: u64,
    /// Blocks that need nothing below them.
    roots: HashSet<BlockHash>,
}

/// Runs `job` on a view of the database, where it may block.
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

/// The height that all chains are at, the one below which not all of them have blocks, and whether there
/// is nothing yet.
///
/// A full history has the first block of every chain from the start, so that those which begin above
/// are no lower than others. A partial one has what it was given.
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
