use std::collections::{BTreeMap, HashSet};

use plait_engine::header::LEN;
use plait_engine::push::Outcome;
use plait_engine::replay::Wrong;
use plait_engine::{BlockHash, BlockHeight, ChainId, QueryError, Rank, RawHeader, View};
use tokio::task::JoinSet;
use zerocopy::FromBytes;

use super::answer::Media;
use super::catch_up::{is_of_another_genesis, is_of_the_future};
use super::error::FollowError;
use super::node::{Node, NodeCut, PAGE_BYTES, PageText, from_json, raw};
use super::session::{BATCH, Session};
use super::siblings;

/// Heights that a chain may be behind to be brought up by branches.
const FAR: u64 = 300;

/// Blocks of a branch, which is held until its beginning has come: it may begin far below.
const BRANCH_MAX: usize = 2000;

/// What came of a cut of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// All of it is stored.
    Closed,
    /// It is too far away.
    Far,
}

/// What is missing of a chain.
#[derive(Debug)]
struct Missing {
    chain: ChainId,
    tip: (BlockHeight, BlockHash),
    /// Blocks of ours, from the highest down.
    locators: Vec<Rank>,
}

/// Stores what is missing of `cut`, by branches that end at what is stored.
///
/// # Errors
///
/// [`FollowError`]. Nothing of a branch that is not whole is stored.
pub(super) async fn close(session: &Session, cut: &NodeCut) -> Result<Gap, FollowError> {
    let members = cut.members.clone();
    let missing = session.read(move |view| missing(view, &members)).await?;
    let Some(missing) = missing else { return Ok(Gap::Far) };
    if missing.is_empty() {
        return Ok(Gap::Closed);
    }
    let mut branches = JoinSet::new();
    for one in missing {
        branches.spawn(branch(session.node.clone(), one));
    }
    let mut blocks = Vec::new();
    while let Some(branch) = branches.join_next().await {
        let branch = branch.map_err(|error| FollowError::Store(error.to_string()))?;
        let Some(branch) = branch? else { return Ok(Gap::Far) };
        blocks.extend(branch);
    }
    let siblings = siblings::beside(session, &blocks).await?;
    let beside: HashSet<BlockHash> = siblings.iter().map(|raw| raw.hash).collect();
    blocks.extend(siblings);
    // A kill in between leaves all of some heights, and nothing of those above.
    blocks.sort_by_key(|raw| raw.height.get());
    for batch in blocks.chunks(BATCH) {
        // Near the tips: events are to tell of them with what they carry.
        let outcomes = session.push(batch).await?;
        for (raw, outcome) in batch.iter().zip(&outcomes) {
            let held = held(raw, outcome);
            if beside.contains(&raw.hash) { siblings::tolerant(held) } else { held }?;
        }
    }
    Ok(Gap::Closed)
}

/// How many blocks are stored now that were not before.
pub(super) fn stored(outcomes: &[Outcome]) -> u64 {
    let is_new = |outcome: &&Outcome| {
        matches!(outcome, Outcome::Stored(_) | Outcome::HeaderOnly(Some(_), _))
    };
    let stored = outcomes.iter().filter(is_new);
    stored.count() as u64
}

/// Whether a block is stored, or why not.
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

/// Which blocks of a cut are not stored, and what is below them; `None` if that is too far below.
fn missing(
    view: &View,
    members: &BTreeMap<ChainId, (BlockHeight, BlockHash)>,
) -> Result<Option<Vec<Missing>>, QueryError> {
    let mut missing = Vec::new();
    for (chain, (height, hash)) in members {
        if view.header(*chain, hash)?.is_some() {
            continue;
        }
        let locators = view.locators(*chain)?;
        let tip = locators.first().map_or(0, |tip| tip.height.get());
        if height.get() > tip.saturating_add(FAR) {
            return Ok(None);
        }
        missing.push(Missing { chain: *chain, tip: (*height, *hash), locators });
    }
    Ok(Some(missing))
}

/// The blocks of a branch that are missing, from the highest down; `None` if these are too many.
async fn branch(node: Node, missing: Missing) -> Result<Option<Vec<RawHeader>>, FollowError> {
    let Missing { chain, tip: (height, hash), mut locators } = missing;
    loop {
        match descend(&node, chain, (height, hash), &locators).await {
            // It knows no block that stands on this one either.
            Err(FollowError::Unknown(unknown)) if unknown != hash => {
                let known = locators.iter().find(|rank| rank.hash == unknown).copied();
                let Some(known) = known else { return Err(FollowError::Unknown(unknown)) };
                locators.retain(|rank| rank.height < known.height);
            }
            other => return other,
        }
    }
}

async fn descend(
    node: &Node,
    chain: ChainId,
    (height, hash): (BlockHeight, BlockHash),
    locators: &[Rank],
) -> Result<Option<Vec<RawHeader>>, FollowError> {
    let lower: Vec<BlockHash> = locators.iter().map(|rank| rank.hash).collect();
    let mut answer = node.branch(chain, hash, &lower, None).await?;
    let mut line = Line { chain, next: (height.get(), hash), blocks: Vec::new() };
    let first_path = answer.path().to_owned();
    match answer.media() {
        Media::Octets => {
            let (mut rest, path) = (bytes::BytesMut::new(), answer.path().to_owned());
            while let Some(piece) = answer.piece().await? {
                rest.extend_from_slice(&piece);
                let whole = rest.split_to((rest.len() / LEN).saturating_mul(LEN));
                let records = <[RawHeader]>::ref_from_bytes(&whole).unwrap_or_default();
                if !line.push(&path, records)? {
                    return Ok(None);
                }
            }
            if !rest.is_empty() {
                return Err(FollowError::content(&path, "the answer ends within a header"));
            }
        }
        Media::Json => loop {
            let path = answer.path().to_owned();
            let page: PageText = from_json(&path, &answer.json(PAGE_BYTES).await?)?;
            let records = page.items.iter().map(|item| raw(&path, item));
            let records = records.collect::<Result<Vec<_>, _>>()?;
            if !line.push(&path, &records)? {
                return Ok(None);
            }
            let Some(next) = page.next.filter(|_| !records.is_empty()) else { break };
            answer = node.branch(chain, hash, &lower, Some(&next)).await?;
        },
        Media::Events | Media::Other => {
            return Err(FollowError::content(answer.path(), "expected headers"));
        }
    }
    if line.blocks.is_empty() {
        return Err(FollowError::content(&first_path, "the node does not have its own cut"));
    }
    Ok(Some(line.blocks))
}

/// A branch that comes from above: each block is the parent of the one before.
struct Line {
    chain: ChainId,
    /// The height and the hash of the next block.
    next: (u64, BlockHash),
    blocks: Vec<RawHeader>,
}

impl Line {
    /// Takes the next blocks; `false` if these are too many.
    fn push(&mut self, path: &str, records: &[RawHeader]) -> Result<bool, FollowError> {
        for record in records {
            let got = (record.height.get(), record.hash);
            if record.chain.get() != self.chain.get() || got != self.next {
                return Err(FollowError::content(path, "the branch is not one of parents"));
            }
            // Below the first block there is none.
            self.next = (got.0.wrapping_sub(1), record.parent);
            self.blocks.push(*record);
            if self.blocks.len() > BRANCH_MAX {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
