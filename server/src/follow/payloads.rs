use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use plait_engine::push::{Block, Outcome};
use plait_engine::replay::source::RawPayload;
use plait_engine::{
    BlockHeight, ChainId, ChainwebVersion, HeaderRef, Heights, PayloadHash, QueryError, RangeQuery,
    RawHeader, View,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{sleep, timeout};

use super::error::FollowError;
use super::gap::held;
use super::node::{Node, from_json};
use super::session::Session;
use super::sieve::first_height;
use crate::config::Payloads;

/// Payloads per request: a block of mainnet01 has a few megabytes at most.
const BATCH: usize = 32;

/// Heights of a chain to check for missing payloads at once.
const HEIGHTS: u64 = 360;

/// How long new blocks wait for their payloads, which may arrive later.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time between two checks for missing payloads; doubled after each that brought nothing.
const PAUSE: Duration = Duration::from_secs(10);

/// The longest time between two checks.
const PAUSE_MAX: Duration = Duration::from_mins(10);

/// Requests for payloads that did not come, each over another connection: behind a load balancer another
/// node may have them.
const TRIES: u32 = 4;

/// Batches in a row that bring nothing, before the node counts as having no payloads.
const FRUITLESS_MAX: u32 = 8;

/// What names a payload.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    payload_hash: String,
}

/// Blocks with their payloads, if the node has these; a missing payload must not delay a header.
pub(super) async fn with(session: &Session, headers: Vec<RawHeader>) -> Vec<Block> {
    let has_none = session.without_payloads.load(Relaxed);
    if session.config.payloads == Payloads::No || has_none {
        return headers.into_iter().map(Block::from).collect();
    }
    let mut chains: BTreeMap<u32, Vec<PayloadHash>> = BTreeMap::new();
    for raw in &headers {
        chains.entry(raw.chain.get()).or_default().push(raw.payload_hash);
    }
    let mut found = HashMap::new();
    let all = async {
        for (chain, hashes) in chains {
            match fetch(&session.node, ChainId::new(chain), &hashes).await {
                Ok(payloads) => found.extend(payloads),
                Err(error) => {
                    tracing::debug!("following: payloads: {error}");
                    session.without_payloads.store(true, Relaxed);
                    return;
                }
            }
        }
    };
    if timeout(PATIENCE, all).await.is_err() {
        tracing::debug!("following: payloads do not come with their blocks");
        session.without_payloads.store(true, Relaxed);
    }
    let block = |header: RawHeader| {
        let payload = found.get(&header.payload_hash).map(|text| RawPayload::Object(text.clone()));
        // A wrong payload counts as missing.
        let payload = payload.filter(|payload| match payload.verify(&header) {
            Ok(_) => true,
            Err(wrong) => {
                session.state.leave_out(&payload_error(&header, &wrong));
                false
            }
        });
        Block { header, payload }
    };
    headers.into_iter().map(block).collect()
}

/// That the payload of a block is wrong.
fn payload_error(raw: &RawHeader, wrong: &dyn std::fmt::Display) -> FollowError {
    let (chain, height, hash) = (raw.chain, raw.height, raw.hash);
    FollowError::Payload(format!("chain {chain}, height {height}, block {hash}: {wrong}"))
}

/// Payloads as JSON, by their hashes.
type Found = HashMap<PayloadHash, Box<str>>;

/// The payloads of these hashes that the node has.
async fn fetch(node: &Node, chain: ChainId, hashes: &[PayloadHash]) -> Result<Found, FollowError> {
    let mut found = HashMap::new();
    for hashes in hashes.chunks(BATCH) {
        let (path, body) = node.payloads(chain, hashes).await?;
        let list: Vec<&RawValue> = from_json(&path, &body, "a list of payloads")?;
        for payload in list {
            let named: Named = from_json(&path, payload.get().as_bytes(), "a list of payloads")?;
            let hash = named.payload_hash.parse();
            let hash = hash.map_err(|_| FollowError::content(&path, "a payload without a hash"))?;
            found.insert(hash, payload.get().into());
        }
    }
    Ok(found)
}

/// Stores missing payloads, if the node has them: of all blocks, or near the tips. Never ends; it
/// looks later again for payloads that failed to arrive, or that the node does not have.
pub(super) async fn keep_filled(session: &Session) {
    let mut filling = Filling::default();
    let mut pause = pause_of(session);
    loop {
        if session.config.payloads == Payloads::No {
            return std::future::pending().await;
        }
        let passed = filling.pass(session).await;
        if filling.lacking > 0 && session.config.payloads == Payloads::Yes {
            session.state.lack(&FollowError::NoPayloads(filling.lacking));
        }
        match passed {
            Ok(()) if filling.fruitless < FRUITLESS_MAX => pause = pause_of(session),
            Ok(()) => pause = pause.saturating_mul(2).min(PAUSE_MAX),
            Err(error) => {
                tracing::debug!("following: payloads: {error}");
                pause = pause.saturating_mul(2).min(PAUSE_MAX);
            }
        }
        sleep(pause).await;
    }
}

fn pause_of(session: &Session) -> Duration {
    PAUSE.min(session.poll_time())
}

/// Checks once.
///
/// # Errors
///
/// [`FollowError::NoPayloads`] if all are asked for and some are still missing.
pub(super) async fn fill(session: &Session) -> Result<(), FollowError> {
    if session.config.payloads == Payloads::No {
        return Ok(());
    }
    let mut filling = Filling::default();
    let failed = filling.pass(session).await.err();
    match &failed {
        Some(error) if error.is_own() => return failed.map_or(Ok(()), Err),
        Some(error) => tracing::warn!("following: payloads: {error}"),
        None => {}
    }
    if session.config.payloads == Payloads::Auto || failed.is_none() && filling.lacking == 0 {
        return Ok(());
    }
    let lacking = count_missing(session).await?;
    if lacking == 0 { Ok(()) } else { Err(FollowError::NoPayloads(lacking)) }
}

/// Stored blocks without their payloads, on all chains.
async fn count_missing(session: &Session) -> Result<u64, FollowError> {
    let mut count = 0_u64;
    for chain in session.reader.version().chain_ids() {
        let tip = move |view: &View| Ok(view.tip(chain).map_or(0, |tip| tip.height.get()));
        let (mut begin, tip) = (0, session.read(tip).await?);
        while begin <= tip {
            let end = begin.saturating_add(HEIGHTS);
            let missing =
                session.read(move |view| missing(view, chain, window(begin, end))).await?;
            count = count.saturating_add(count_mined(session.reader.version(), &missing));
            begin = end.saturating_add(1);
        }
    }
    Ok(count)
}

/// How many of these blocks are not the first ones of their chains, whose payloads few nodes have.
fn count_mined(version: ChainwebVersion, blocks: &[RawHeader]) -> u64 {
    let is_mined =
        |raw: &&RawHeader| raw.height.get() > first_height(version, ChainId::new(raw.chain.get()));
    blocks.iter().filter(is_mined).count() as u64
}

/// These heights, both included.
fn window(begin: u64, end: u64) -> Heights {
    Heights { min: Some(BlockHeight::new(begin)), max: Some(BlockHeight::new(end)) }
}

/// How far the blocks were checked for payloads.
#[derive(Default)]
struct Filling {
    /// For each chain, the height at which to continue.
    from: BTreeMap<ChainId, u64>,
    /// Batches in a row that brought nothing.
    fruitless: u32,
    /// Payloads that did not come in the last pass.
    lacking: u64,
}

impl Filling {
    /// Checks the chains, up to a little below their tips, unless the node seems to have no payloads.
    async fn pass(&mut self, session: &Session) -> Result<(), FollowError> {
        (self.fruitless, self.lacking) = (0, 0);
        let all = session.config.payloads == Payloads::Yes;
        for chain in session.reader.version().chain_ids() {
            loop {
                let tip = move |view: &View| Ok(view.tip(chain).map_or(0, |tip| tip.height.get()));
                let low = session.read(tip).await?.saturating_sub(HEIGHTS);
                let begin = *self.from.entry(chain).or_insert(if all { 0 } else { low });
                let end = begin.saturating_add(HEIGHTS);
                let missing =
                    session.read(move |view| missing(view, chain, window(begin, end))).await?;
                for headers in missing.chunks(BATCH) {
                    let (found, lacking) = store(session, chain, headers).await?;
                    self.lacking = self.lacking.saturating_add(lacking);
                    self.fruitless = if found { 0 } else { self.fruitless.saturating_add(1) };
                    if self.fruitless >= FRUITLESS_MAX {
                        return Ok(());
                    }
                }
                self.from.insert(chain, end.min(low).max(begin));
                if end >= low.saturating_add(HEIGHTS) {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Stores the payloads of these blocks, if any node has them; returns whether a node has some, and how many
/// are still missing.
async fn store(
    session: &Session,
    chain: ChainId,
    headers: &[RawHeader],
) -> Result<(bool, u64), FollowError> {
    let (mut missing, mut node) = (headers.to_vec(), session.node.clone());
    let (mut brings, mut failed) = (false, None);
    for _ in 0..TRIES {
        match store_of(session, &node, chain, &mut missing).await {
            Ok(some) => brings |= some,
            Err(error @ (FollowError::Push(_) | FollowError::Store(_))) => return Err(error),
            Err(error) => failed = Some(error),
        }
        if missing.is_empty() {
            break;
        }
        node = session.node.opening();
    }
    let lacking = count_mined(session.reader.version(), &missing);
    failed.filter(|_| !brings).map_or(Ok((brings, lacking)), Err)
}

/// Like [`store`], from this node; payloads that it lacks, or has wrong, are left in `missing`.
async fn store_of(
    session: &Session,
    node: &Node,
    chain: ChainId,
    missing: &mut Vec<RawHeader>,
) -> Result<bool, FollowError> {
    let hashes: Vec<PayloadHash> = missing.iter().map(|raw| raw.payload_hash).collect();
    let found = fetch(node, chain, &hashes).await?;
    let block = |header: &RawHeader| {
        let payload = RawPayload::Object(found.get(&header.payload_hash)?.clone());
        Some(Block { header: *header, payload: Some(payload) })
    };
    let blocks: Vec<Block> = missing.iter().filter_map(block).collect();
    let raws: Vec<RawHeader> = blocks.iter().map(|block| block.header).collect();
    if blocks.is_empty() {
        return Ok(false);
    }
    session.without_payloads.store(false, Relaxed);
    let outcomes = session.store(blocks).await?;
    let mut whole = HashSet::new();
    for (raw, outcome) in raws.iter().zip(&outcomes) {
        held(raw, outcome)?;
        match outcome {
            Outcome::HeaderOnly(_, wrong) => session.state.leave_out(&payload_error(raw, wrong)),
            _ => drop(whole.insert(raw.hash)),
        }
    }
    missing.retain(|raw| !whole.contains(&raw.hash));
    Ok(!whole.is_empty())
}

/// The stored blocks of a chain at these heights that lack their payloads.
fn missing(view: &View, chain: ChainId, heights: Heights) -> Result<Vec<RawHeader>, QueryError> {
    let query = RangeQuery { heights, limit: usize::MAX, ..RangeQuery::default() };
    let page = view.range_headers(chain, &query)?;
    let mut missing = Vec::new();
    for header in page.items.iter() {
        if !has_payload(view, header)? {
            missing.push(*header.raw());
        }
    }
    Ok(missing)
}

fn has_payload(view: &View, header: HeaderRef<'_>) -> Result<bool, QueryError> {
    Ok(view.block_payload(header)?.is_some_and(|payload| payload.view().has_outputs()))
}
