use std::collections::{BTreeMap, HashSet};

use plait_engine::push::Outcome;
use plait_engine::replay::Wrong;
use plait_engine::{BlockHash, BlockHeight, ChainId, QueryError, RawHeader, View};
use tokio::task::JoinSet;

use super::branch::{self, Descent};
use super::catch_up::{is_of_another_genesis, is_of_the_future};
use super::error::FollowError;
use super::node::NodeCut;
use super::resolve::resolve;
use super::session::{BATCH, Session};
use super::siblings;

/// Heights that a chain may be behind to be brought up by branches.
const FAR: u64 = 300;

/// Blocks of a branch, which is held in memory until it joins a stored block: that may be far
/// below.
const BRANCH_MAX: usize = 2000;

/// Heights below a tip that are requested along with those above it: most reorganizations are no
/// deeper.
const SPAN_MIN: u64 = 8;

/// The outcome for a cut of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// All of it is stored.
    Closed,
    /// It is too far away.
    Far,
}

/// The missing blocks of a chain.
#[derive(Debug)]
struct Missing {
    chain: ChainId,
    tip: (BlockHeight, BlockHash),
    /// Heights to request first.
    span: u64,
}

/// Stores the missing blocks of `cut`, by branches that end at a stored block.
///
/// # Errors
///
/// [`FollowError`]; it is [`FollowError::Unknown`] if no node knows a block of the cut any more. Nothing
/// is stored of a branch that is not complete.
pub(super) async fn close(session: &Session, cut: &NodeCut) -> Result<Gap, FollowError> {
    let members = cut.members.clone();
    let missing = session.read(move |view| missing(view, &members)).await?;
    let Some(missing) = missing else { return Ok(Gap::Far) };
    if missing.is_empty() {
        return Ok(Gap::Closed);
    }
    let mut branches = JoinSet::new();
    for Missing { chain, tip, span } in missing {
        let (node, reader) = (session.node.clone(), session.reader.clone());
        branches.spawn(async move {
            branch::descend((&node, &reader), chain, tip, span, BRANCH_MAX).await
        });
    }
    let mut blocks = Vec::new();
    while let Some(branch) = branches.join_next().await {
        match branch.map_err(|error| FollowError::Store(error.to_string()))?? {
            Descent::Joined(branch) => blocks.extend(branch),
            Descent::Deep => return Ok(Gap::Far),
            Descent::Unknown(hash) => return Err(FollowError::Unknown(hash)),
        }
    }
    let siblings = siblings::beside(session, &blocks).await?;
    let beside: HashSet<BlockHash> = siblings.iter().map(|raw| raw.hash).collect();
    blocks.extend(siblings);
    // If the process is killed in between, some heights are complete, and nothing is stored above
    // them.
    blocks.sort_by_key(|raw| raw.height.get());
    let left = push(session, &blocks).await?;
    let mut left: Vec<FollowError> =
        left.into_iter().filter(|left| !beside.contains(&left.hash)).map(|left| left.why).collect();
    // Blocks above a false one have a missing parent as well, so look for the false one first.
    let first = left.iter().position(FollowError::is_lie).unwrap_or(0);
    if first < left.len() { Err(left.swap_remove(first)) } else { Ok(Gap::Closed) }
}

/// A block that is not stored, because a parent is missing, because it is of the future, or because
/// it is false.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) hash: BlockHash,
    /// Which block it is, and why it is not stored.
    pub(super) why: FollowError,
}

/// Stores these blocks, by ascending height, and the missing blocks below them, if any node has them;
/// returns the blocks that are not stored.
///
/// # Errors
///
/// [`FollowError`] if they cannot be stored.
pub(super) async fn push(
    session: &Session,
    blocks: &[RawHeader],
) -> Result<Vec<Left>, FollowError> {
    let (mut waiting, mut left) = (Vec::new(), Vec::new());
    for batch in blocks.chunks(BATCH) {
        // Near the tips, with payloads, because the events of these blocks should include them.
        let outcomes = session.push(batch).await?;
        for (raw, outcome) in batch.iter().zip(&outcomes) {
            match held(raw, outcome) {
                Err(FollowError::Unconnected(_)) => waiting.push(*raw),
                Err(why @ FollowError::Clock(_)) => left.push(Left { hash: raw.hash, why }),
                Err(why) if why.is_lie() => {
                    session.node.lies().note(raw, &why);
                    left.push(Left { hash: raw.hash, why });
                }
                other => other?,
            }
        }
    }
    if waiting.is_empty() {
        return Ok(left);
    }
    let resolved = resolve(session, waiting).await?;
    let missing = |(hash, text)| Left { hash, why: FollowError::Unconnected(text) };
    left.extend(resolved.left.into_iter().map(missing));
    Ok(left)
}

/// The number of blocks that were not stored before.
pub(super) fn stored(outcomes: &[Outcome]) -> u64 {
    let is_new = |outcome: &&Outcome| {
        matches!(outcome, Outcome::Stored(_) | Outcome::HeaderOnly(Some(_), _))
    };
    let stored = outcomes.iter().filter(is_new);
    stored.count() as u64
}

/// Whether a block is stored, or the reason why not.
pub(super) fn held(raw: &RawHeader, outcome: &Outcome) -> Result<(), FollowError> {
    let text = |why: &dyn std::fmt::Display| {
        format!("chain {}, height {}, block {}: {why}", raw.chain, raw.height, raw.hash)
    };
    match outcome {
        // No payload may stop a header: a wrong one is as good as none.
        Outcome::Stored(_) | Outcome::Known | Outcome::HeaderOnly(..) => Ok(()),
        Outcome::Waits(failure) => Err(FollowError::Unconnected(text(failure))),
        Outcome::Refused(Wrong::Rules(failures)) if failures.iter().all(is_of_the_future) => {
            Err(FollowError::Clock(text(failures)))
        }
        Outcome::Refused(Wrong::Rules(failures)) if failures.iter().any(is_of_another_genesis) => {
            Err(FollowError::Genesis(text(failures)))
        }
        Outcome::Refused(wrong) => Err(FollowError::Rules(text(wrong))),
    }
}

/// The blocks of a cut that are not stored; `None` if one is too far above the stored ones.
fn missing(
    view: &View,
    members: &BTreeMap<ChainId, (BlockHeight, BlockHash)>,
) -> Result<Option<Vec<Missing>>, QueryError> {
    let mut missing = Vec::new();
    for (chain, (height, hash)) in members {
        if view.header(*chain, hash)?.is_some() {
            continue;
        }
        let tip = view.tip(*chain).map_or(0, |tip| tip.height.get());
        let above = height.get().saturating_sub(tip);
        if above > FAR {
            return Ok(None);
        }
        let span = above.saturating_add(SPAN_MIN);
        missing.push(Missing { chain: *chain, tip: (*height, *hash), span });
    }
    Ok(Some(missing))
}
