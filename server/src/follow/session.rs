use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use plait_engine::push::Outcome;
use plait_engine::store::History;
use plait_engine::{BlockHeight, QueryError, RawHeader, Reader, View};
use tokio::task::spawn_blocking;

use super::catch_up::{Caught, catch_up};
use super::error::FollowError;
use super::gap::{self, Gap, stored};
use super::node::{Node, NodeCut};
use super::payloads;
use super::siblings::lowest_tip;
use super::state::State;
use crate::config::Follow;
use crate::inlet::Inlet;
use crate::metrics::FollowPhase;

/// Blocks that are pushed at once.
pub(super) const BATCH: usize = 256;

/// Heights below what is stored on all chains, from where a history is taken; each time that it does
/// not stand on what is stored, so many times more.
const BACK: u64 = 4;
const BACK_FACTOR: u64 = 8;

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
        let reader = self.reader.clone();
        let read = spawn_blocking(move || job(&reader.view())).await;
        match read {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(FollowError::Store(error.to_string())),
            Err(error) => Err(FollowError::Store(error.to_string())),
        }
    }

    /// Stores these blocks in one commit, with what they carry as far as the node has it in time; returns the
    /// outcome of each. No more than [`BATCH`].
    pub(super) async fn push(&self, headers: &[RawHeader]) -> Result<Vec<Outcome>, FollowError> {
        let with_payloads = payloads::with(self, headers.to_vec()).await;
        let outcomes = self.inlet.push(with_payloads).await?;
        self.state.took(stored(&outcomes));
        Ok(outcomes)
    }

    /// Stores all that the node has up to its cut of now, and returns that.
    pub(super) async fn step(&self) -> Result<NodeCut, FollowError> {
        loop {
            let cut = self.node.cut().await?;
            self.note(&cut).await?;
            if gap::close(self, &cut).await? == Gap::Closed {
                self.note(&cut).await?;
                return Ok(cut);
            }
            self.state.enter(FollowPhase::CatchingUp);
            if self.catch_up(&cut).await? == 0 {
                // Else it would be asked again and again.
                let wrong = "the node does not give what is below its own cut";
                return Err(FollowError::content("/cut", wrong));
            }
        }
    }

    /// Takes the history up to `cut`; returns how many blocks were stored.
    async fn catch_up(&self, cut: &NodeCut) -> Result<u64, FollowError> {
        let to = cut.members.values().map(|(height, _)| height.get()).min().unwrap_or(0);
        let partial = self.reader.meta().history == History::Partial;
        let (ours, floor) = self.read(move |view| Ok(heights(view, partial))).await?;
        let mut back = BACK;
        loop {
            let from = ours.min(to).saturating_sub(back).max(floor);
            match catch_up(self, from, to).await? {
                Caught::Up(stored) => {
                    // With what stands beside it, so that this need not be looked for again.
                    if from <= self.looked.load(Relaxed) {
                        self.looked.fetch_max(to, Relaxed);
                    }
                    return Ok(stored);
                }
                Caught::Apart(block) if from == floor => {
                    return Err(FollowError::Unconnected(block));
                }
                Caught::Apart(block) => {
                    tracing::debug!("following: from height {from} on it stands apart: {block}");
                    back = back.saturating_mul(BACK_FACTOR);
                }
            }
        }
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

/// The height that all chains are at, and the one below which not all of them have blocks.
///
/// A full history has the first block of every chain from the start, so that those which begin above
/// are no lower than others.
fn heights(view: &View, partial: bool) -> (u64, u64) {
    let chains = view.version().chain_ids();
    let lowest = chains.filter_map(|chain| view.lowest(chain)).map(BlockHeight::get);
    let floor = if partial { lowest.max() } else { None };
    (lowest_tip(view), floor.unwrap_or(0))
}
