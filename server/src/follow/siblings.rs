use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;

use http::StatusCode;
use plait_engine::{BlockHash, ChainId, Rank, RawHeader, View};
use tokio::task::JoinSet;

use super::branch::Tries;
use super::error::FollowError;
use super::node::Node;
use super::session::Session;
use super::sieve::first_height;
use super::{branch, gap};

/// Heights below the tips of the last check in which to look for siblings: a block may be late.
const HEIGHTS: u64 = 360;

/// Heights that branches may have without a check for their siblings.
const ALONE_MAX: u64 = 8;

/// Pages of hashes of a chain: far more than these heights have.
const PAGES_MAX: usize = 4;

/// The most blocks to request one by one; the rest is left to the next check.
const BLOCKS_MAX: usize = 1000;

/// Stores the blocks that the node has beside the heaviest branches, near the tips: events and
/// branches do not bring them.
pub(super) async fn fetch(session: &Session) -> Result<(), FollowError> {
    let (tips, top) = session.read(|view| Ok((lowest_tip(view), highest_tip(view)))).await?;
    let from = session.looked.load(Relaxed).min(tips).saturating_sub(HEIGHTS);
    // A partial history takes no block below its beginning.
    let from = from.max(session.floor().await?);
    // Blocks above are not siblings: this node may be far ahead of the one that was followed before.
    let unknown = unknown(session, from, Some(top)).await?;
    // Some may be new blocks without an event so far; one may have a parent that nobody has, or be of the
    // future.
    let mut blocks = headers(session, &unknown).await?;
    blocks.sort_by_key(|raw| raw.height.get());
    for left in gap::push(session, &blocks).await? {
        tracing::debug!("following: left out: {}", left.why);
    }
    if unknown.len() <= BLOCKS_MAX {
        session.looked.store(tips, Relaxed);
    }
    Ok(())
}

/// The blocks that the node has at the heights of these branches, and that neither they nor the
/// database have. None if the branches are so short that later checks find these, even after a kill.
pub(super) async fn beside(
    session: &Session,
    blocks: &[RawHeader],
) -> Result<Vec<RawHeader>, FollowError> {
    let heights = || blocks.iter().map(|raw| raw.height.get());
    let (Some(from), Some(to)) = (heights().min(), heights().max()) else { return Ok(Vec::new()) };
    if to.saturating_sub(from) < ALONE_MAX || session.config.siblings_time.is_zero() {
        return Ok(Vec::new());
    }
    let mut unknown = unknown(session, from, Some(to)).await?;
    let given: HashSet<BlockHash> = blocks.iter().map(|raw| raw.hash).collect();
    unknown.retain(|(_, hash)| !given.contains(hash));
    headers(session, &unknown).await
}

/// The blocks of the node at these heights that the database does not have.
async fn unknown(
    session: &Session,
    from: u64,
    to: Option<u64>,
) -> Result<Vec<(ChainId, BlockHash)>, FollowError> {
    let mut pages = JoinSet::new();
    for chain in session.reader.version().chain_ids() {
        pages.spawn(hashes_of_any(session.node.clone(), chain, from, to));
    }
    let mut unknown = Vec::new();
    while let Some(page) = pages.join_next().await {
        let page = page.map_err(|error| FollowError::Store(error.to_string()))?;
        let (chain, hashes) = match page {
            // The other answers are still good.
            Err(error) if error.is_lie() => {
                session.state.leave_out(&error);
                continue;
            }
            page => page?,
        };
        let new = move |view: &View| {
            let mut new = Vec::new();
            for hash in hashes {
                if view.header(chain, &hash)?.is_none() {
                    new.push((chain, hash));
                }
            }
            Ok(new)
        };
        unknown.extend(session.read(new).await?);
    }
    Ok(unknown)
}

/// These blocks, as far as they are not too many at once.
async fn headers(
    session: &Session,
    hashes: &[(ChainId, BlockHash)],
) -> Result<Vec<RawHeader>, FollowError> {
    let mut headers = Vec::new();
    let is_open = |(_, hash): &&(ChainId, BlockHash)| session.node.lies().why(hash).is_none();
    for (chain, hash) in hashes.iter().filter(is_open).take(BLOCKS_MAX) {
        // Another node than the one that listed the hash may answer.
        match branch::header(&session.node, *chain, *hash).await {
            Err(error) if error.is_lie() => session.state.leave_out(&error),
            header => headers.extend(header?),
        }
    }
    Ok(headers)
}

/// The height of the highest tip.
fn highest_tip(view: &View) -> u64 {
    let tips = view.version().chain_ids().filter_map(|chain| view.tip(chain));
    tips.map(|tip| tip.height.get()).max().unwrap_or(0)
}

/// The height that all chains have reached, without those that begin above it and have no block yet.
pub(super) fn lowest_tip(view: &View) -> u64 {
    let tips: Vec<_> = view.version().chain_ids().map(|chain| (chain, view.tip(chain))).collect();
    let lowest = tips.iter().filter_map(|(_, tip)| Some(tip.as_ref()?.height.get())).min();
    let lowest = lowest.unwrap_or(0);
    let is_late = |(chain, tip): &(ChainId, Option<Rank>)| {
        let first = first_height(view.version(), *chain);
        tip.is_some() || first > lowest
    };
    if tips.iter().all(is_late) { lowest } else { 0 }
}

/// The hashes of the first node that answers correctly.
async fn hashes_of_any(
    node: Node,
    chain: ChainId,
    from: u64,
    to: Option<u64>,
) -> Result<(ChainId, Vec<BlockHash>), FollowError> {
    let mut tries = Tries::new(&node);
    loop {
        match hashes(tries.next().await, chain, from, to).await {
            Ok(hashes) => return Ok(hashes),
            Err(error) => tries.forgive(error)?,
        }
    }
}

async fn hashes(
    node: Node,
    chain: ChainId,
    from: u64,
    to: Option<u64>,
) -> Result<(ChainId, Vec<BlockHash>), FollowError> {
    let (mut hashes, mut next) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let page = match node.hashes(chain, (from, to), next.as_deref()).await {
            // This node did not give the cursor: the rest is left to the next check.
            Err(FollowError::Status { status: StatusCode::NOT_FOUND, .. }) if next.is_some() => {
                break;
            }
            page => page?,
        };
        for text in &page.items {
            let wrong = |_| FollowError::content("hash", format!("{text:?} is not a block hash"));
            hashes.push(text.parse().map_err(wrong)?);
        }
        next = page.next.filter(|next| next.starts_with("inclusive:"));
        if next.is_none() || page.items.is_empty() {
            break;
        }
    }
    Ok((chain, hashes))
}
