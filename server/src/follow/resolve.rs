//! Requests missing parents by their hashes.
//!
//! A waiting block names its parents. Of the missing parents on each chain the highest is requested first,
//! with its branch down to a stored block, because the others are mostly below it. The blocks that arrive
//! may have missing parents as well, so there are several rounds. Then every block whose parents are there
//! is stored, and the rest is left out: an orphan that nobody can complete is not a lie.
//!
//! ```text
//! two nodes that split at height 300, chains 0 to 9 read from one and 10 to 19 from the other
//! waits:  chains 0 to 9, a's blocks of 302 … 1,199      wanted: a's of 301 … 1,198 on chains 10 to 19
//!         chains 10 to 19, b's blocks of 302 … 1,199            b's of the same on chains 0 to 9
//! asked:  twenty branches, each from the block at 1,198 down to 301
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use plait_engine::header::LEN;
use plait_engine::{BlockHash, BlockHeight, ChainId, HeaderRef, RawHeader, Reader, View};
use tokio::task::{JoinSet, spawn_blocking};
use zerocopy::{FromBytes, IntoBytes};

use super::branch::{self, Descent};
use super::catch_up;
use super::error::FollowError;
use super::lies::first_false;
use super::node::Node;
use super::session::Session;
use super::sieve::{WAITING_MAX, below, is_first, is_second};

/// Rounds of requests.
const ROUNDS_MAX: u32 = 16;

/// Branches requested in all rounds together: each may be a single orphan.
const BRANCHES_MAX: usize = 4096;

/// Branches of one chain in one round.
const OF_CHAIN_MAX: usize = BRANCHES_MAX / 20;

/// Blocks of a branch: for one chain, twice as many as may wait on all of them.
const BRANCH_MAX: usize = WAITING_MAX / 20 * 2;

/// Unknown blocks after which no more are requested: each took many requests.
const UNKNOWN_MAX: usize = 64;

/// Heights below a block that are requested first.
const SPAN: u64 = 4;

/// The outcome for blocks that waited.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// Blocks that were stored.
    pub(super) stored: u64,
    /// Waiting blocks that are left out, each with a text that names it and the missing parent.
    pub(super) left: Vec<(BlockHash, String)>,
    /// The first error of a false block.
    pub(super) wrong: Option<FollowError>,
}

/// Stores these blocks and the missing blocks below them, if any node has them.
///
/// # Errors
///
/// [`FollowError`] if no node can be asked.
pub(super) async fn resolve(
    session: &Session,
    waiting: Vec<RawHeader>,
) -> Result<Resolved, FollowError> {
    if waiting.is_empty() {
        return Ok(Resolved::default());
    }
    let genesis = session.reader.version().genesis_headers();
    let (waiting, wrong) = without_false(session, waiting).await?;
    let mut room = Room::of(waiting, genesis.map(|genesis| genesis.view().hash()).collect());
    room.wrong = wrong;
    for _ in 0..ROUNDS_MAX {
        let wanted = room.wanted(session).await?;
        if wanted.is_empty() || room.is_spent() {
            break;
        }
        room.fetch(session, wanted).await?;
    }
    room.store(session).await
}

/// Waiting blocks, and what is known of their parents.
struct Room {
    blocks: HashMap<BlockHash, RawHeader>,
    /// The blocks that waited from the start.
    given: HashSet<BlockHash>,
    stored: HashSet<BlockHash>,
    /// Blocks that nobody knows, or whose branches are too deep.
    lost: HashSet<BlockHash>,
    unknown: usize,
    asked: usize,
    /// Whether a missing parent is on a branch that is too deep to be held.
    is_deep: bool,
    /// The first error of a false block.
    wrong: Option<FollowError>,
}

/// The missing blocks of a chain, from the highest down.
type Wanted = BTreeMap<ChainId, Vec<(BlockHeight, BlockHash)>>;

impl Room {
    fn of(waiting: Vec<RawHeader>, stored: HashSet<BlockHash>) -> Self {
        let blocks: HashMap<_, _> = waiting.into_iter().map(|raw| (raw.hash, raw)).collect();
        let given = blocks.keys().copied().collect();
        let (lost, unknown, asked) = (HashSet::new(), 0, 0);
        Self { blocks, given, stored, lost, unknown, asked, is_deep: false, wrong: None }
    }

    /// Whether no more blocks are to be requested.
    fn is_spent(&self) -> bool {
        self.is_deep
            || self.unknown >= UNKNOWN_MAX
            || self.asked >= BRANCHES_MAX
            || self.blocks.len() >= WAITING_MAX.saturating_mul(2)
    }

    /// The parents that are neither here nor stored.
    async fn wanted(&mut self, session: &Session) -> Result<Wanted, FollowError> {
        let mut names = HashMap::new();
        for raw in self.blocks.values() {
            let Ok(header) = HeaderRef::new(raw) else { continue };
            let Some(height) = header.height().parent() else { continue };
            for (chain, hash) in below(header) {
                let is_known = self.blocks.contains_key(&hash)
                    || self.stored.contains(&hash)
                    || self.lost.contains(&hash)
                    || session.node.lies().why(&hash).is_some();
                if !is_known {
                    names.insert(hash, (chain, height));
                }
            }
        }
        let look = move |view: &View| {
            let mut found = Vec::with_capacity(names.len());
            for (hash, (chain, height)) in names {
                found.push((hash, chain, height, view.header(chain, &hash)?.is_some()));
            }
            Ok(found)
        };
        let mut wanted = Wanted::new();
        for (hash, chain, height, is_stored) in session.read(look).await? {
            if is_stored {
                self.stored.insert(hash);
            } else {
                wanted.entry(chain).or_default().push((height, hash));
            }
        }
        for blocks in wanted.values_mut() {
            blocks.sort_unstable_by_key(|(height, hash)| (std::cmp::Reverse(*height), *hash));
        }
        Ok(wanted)
    }

    /// Requests the branches of the wanted blocks, on all chains at once.
    async fn fetch(&mut self, session: &Session, wanted: Wanted) -> Result<(), FollowError> {
        let mut chains: Vec<_> = wanted.into_iter().collect();
        // One chain first: if its branch is too deep, so are the others.
        let rest = chains.split_off(1.min(chains.len()));
        for chains in [chains, rest] {
            if self.is_spent() {
                return Ok(());
            }
            let mut fetching = JoinSet::new();
            for (chain, blocks) in chains {
                let (node, reader) = (session.node.clone(), session.reader.clone());
                fetching.spawn(async move { Fetched::of((&node, &reader), chain, blocks).await });
            }
            while let Some(fetched) = fetching.join_next().await {
                let fetched = fetched.map_err(|error| FollowError::Store(error.to_string()))??;
                self.blocks.extend(fetched.found);
                self.lost.extend(fetched.lost);
                self.asked = self.asked.saturating_add(fetched.asked);
                self.unknown = self.unknown.saturating_add(fetched.unknown);
                self.is_deep |= fetched.is_deep;
            }
        }
        Ok(())
    }

    /// Stores the blocks whose parents are all there.
    async fn store(self, session: &Session) -> Result<Resolved, FollowError> {
        let Self { blocks, given, stored, wrong, .. } = self;
        let version = session.reader.version();
        let mut blocks: Vec<RawHeader> = blocks.into_values().collect();
        blocks.sort_unstable_by_key(|raw| (raw.height.get(), raw.hash));
        let (mut standing, mut left) = (stored, Vec::new());
        let mut chains: BTreeMap<ChainId, Vec<RawHeader>> = BTreeMap::new();
        for raw in blocks {
            // The replay judges records that are not headers.
            let missing = HeaderRef::new(&raw).ok().filter(|header| !is_first(version, *header));
            let missing = missing.and_then(|header| {
                let missing = below(header).find(|(_, hash)| !standing.contains(hash))?;
                let is_judged = missing.1 == raw.parent && is_second(version, header);
                (!is_judged).then_some(missing)
            });
            let Some((chain, hash)) = missing else {
                standing.insert(raw.hash);
                chains.entry(ChainId::new(raw.chain.get())).or_default().push(raw);
                continue;
            };
            left.push((raw, chain, hash));
        }
        let (stored, left_out) = catch_up::take_blocks(session, chains).await?;
        let raws: Vec<RawHeader> = left.iter().map(|(raw, ..)| *raw).collect();
        let wrong = wrong.or(left_out).or(check(session, raws).await?);
        let left = left.into_iter().filter(|(raw, ..)| given.contains(&raw.hash));
        let left = left.map(|(raw, chain, hash)| {
            let block = format!("chain {}, height {}, block {}", raw.chain, raw.height, raw.hash);
            (raw.hash, format!("{block}: block {hash} of chain {chain} is missing"))
        });
        Ok(Resolved { stored, left: left.collect(), wrong })
    }
}

/// The outcome for the branches of a chain.
#[derive(Default)]
struct Fetched {
    found: HashMap<BlockHash, RawHeader>,
    lost: Vec<BlockHash>,
    asked: usize,
    unknown: usize,
    is_deep: bool,
}

impl Fetched {
    /// Requests the branches of these blocks of `chain`, from the highest down.
    async fn of(
        place: (&Node, &Reader),
        chain: ChainId,
        blocks: Vec<(BlockHeight, BlockHash)>,
    ) -> Result<Self, FollowError> {
        let mut fetched = Self::default();
        for (height, hash) in blocks {
            if fetched.found.contains_key(&hash) {
                continue;
            }
            if fetched.is_deep || fetched.unknown >= UNKNOWN_MAX || fetched.asked >= OF_CHAIN_MAX {
                break;
            }
            fetched.asked = fetched.asked.saturating_add(1);
            match branch::descend(place, chain, (height, hash), SPAN, BRANCH_MAX).await? {
                Descent::Joined(blocks) => {
                    fetched.found.extend(blocks.into_iter().map(|raw| (raw.hash, raw)));
                }
                Descent::Deep => {
                    fetched.is_deep = true;
                    fetched.lost.push(hash);
                }
                Descent::Unknown(_) => {
                    fetched.unknown = fetched.unknown.saturating_add(1);
                    fetched.lost.push(hash);
                }
            }
        }
        Ok(fetched)
    }
}

/// The error of the first of these left-out blocks that is false by itself: it may have been taken for
/// the block that it claims to be.
async fn check(
    session: &Session,
    left: Vec<RawHeader>,
) -> Result<Option<FollowError>, FollowError> {
    let version = session.reader.version();
    let lies = Arc::clone(session.node.lies());
    let wrong = move || {
        let (number, text) = first_false(version, &left)?;
        let error = FollowError::Rules(text);
        lies.note(left.get(number)?, &error);
        Some(error)
    };
    spawn_blocking(wrong).await.map_err(|error| FollowError::Store(error.to_string()))
}

/// The blocks that are not known to be false, and the error of the first of the others.
async fn without_false(
    session: &Session,
    blocks: Vec<RawHeader>,
) -> Result<(Vec<RawHeader>, Option<FollowError>), FollowError> {
    let lies = session.node.lies();
    let (mut rest, mut sound, mut first) =
        (Bytes::from(blocks.as_bytes().to_vec()), Vec::new(), None);
    while !rest.is_empty() {
        let (count, wrong) = lies.sound(&rest).await?;
        let end = count.saturating_mul(LEN).min(rest.len());
        let good = rest.split_to(end);
        sound.extend_from_slice(<[RawHeader]>::ref_from_bytes(&good).unwrap_or_default());
        rest.advance(LEN.min(rest.len()));
        first = first.or(wrong);
    }
    sound.retain(|raw| lies.why(&raw.hash).is_none());
    Ok((sound, first))
}
