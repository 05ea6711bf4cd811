//! Branches, read from the top down: a block that is requested by its hash, and the blocks below
//! it.
//!
//! A node that knows a block has all its ancestors, but behind a load balancer another node may answer
//! the next request, and may not know the block. So no request refers to an earlier one: each names the
//! next block, and has no cursor and no lower bounds, which that node may not know either. A minimum
//! height limits the request, a little at first and then further down. The branch ends at a block that
//! is stored:
//!
//! ```text
//! stored        97 ── 98
//!                 \
//! wanted           98' ── 99' ── 100'      POST branch?minheight=92 {"upper":["100'"]}
//!                                          → 100', 99', 98', 97, 96 …: taken down to 98', the rest is stored
//! ```

use std::mem;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use plait_engine::header::LEN;
use plait_engine::{BlockHash, BlockHeight, ChainId, RawHeader, Reader};
use tokio::time::sleep;
use zerocopy::{FromBytes, IntoBytes};

use super::answer::Media;
use super::error::FollowError;
use super::node::{Node, NodeCut, PAGE_BYTES, PageText, from_json, raw};
use super::session;

/// Requests for a block, each over another connection, before it counts as unknown, or a failure as final.
/// If a load balancer picks one of two nodes at random, ten requests miss the one that has the block once
/// in 1,000 times.
const TRIES: u32 = 10;

/// Requests if the answer is wrong, because each may be as long as any answer.
const TRIES_WRONG: u32 = 5;

/// The pause before the third request; each later one is longer by the same time.
const PAUSE: Duration = Duration::from_millis(2);

/// How much farther each request goes down than the one before.
const SPAN_FACTOR: u64 = 8;

/// The most heights of one request.
const SPAN_MAX: u64 = 2000;

/// The blocks below a block.
#[derive(Debug)]
pub(super) enum Descent {
    /// The blocks from the highest down; the block below the last one is stored, or there is none.
    Joined(Vec<RawHeader>),
    /// More blocks than allowed.
    Deep,
    /// No node knows this block: the requested one, or one below it.
    Unknown(BlockHash),
}

/// Requests the block of `chain` with this height and hash, and its ancestors that are not stored, at
/// most `blocks_max`. The first request covers about `span` heights.
///
/// # Errors
///
/// [`FollowError`] if the node's answer is not a branch.
pub(super) async fn descend(
    (node, reader): (&Node, &Reader),
    chain: ChainId,
    (height, hash): (BlockHeight, BlockHash),
    span: u64,
    blocks_max: usize,
) -> Result<Descent, FollowError> {
    let mut line = Line::new(chain, (height, hash));
    let mut span = span.clamp(1, SPAN_MAX);
    while let Some((below, parent)) = line.next {
        let min = below.saturating_sub(span);
        if !ask(node, &mut line, (parent, min), blocks_max).await? {
            // A false block can name any parent.
            if node.lies().exposes(mem::take(&mut line.blocks)).await? {
                line = Line::new(chain, (height, hash));
                continue;
            }
            return Ok(Descent::Unknown(parent));
        }
        line.end_at_stored(reader).await?;
        if line.blocks.len() > blocks_max {
            return Ok(Descent::Deep);
        }
        span = span.saturating_mul(SPAN_FACTOR).min(SPAN_MAX);
    }
    Ok(Descent::Joined(line.blocks))
}

/// The block of `chain` with this hash; `None` if no node knows it.
pub(super) async fn header(
    node: &Node,
    chain: ChainId,
    hash: BlockHash,
) -> Result<Option<RawHeader>, FollowError> {
    let mut tries = Tries::new(node);
    loop {
        let failed = match tries.next().await.header(chain, hash).await {
            Ok(header) => return Ok(Some(header)),
            Err(error) => tries.forgive(error),
        };
        match failed {
            Err(FollowError::Unknown(_)) => return Ok(None),
            failed => failed?,
        }
    }
}

/// The cut of the first node that answers.
pub(super) async fn cut(node: &Node) -> Result<NodeCut, FollowError> {
    let mut tries = Tries::new(node);
    loop {
        match tries.next().await.cut().await {
            Ok(cut) => return Ok(cut),
            Err(error) => tries.forgive(error)?,
        }
    }
}

/// Continues `line` at `hash` down to height `min`; `false` if no node knows that block.
async fn ask(
    node: &Node,
    line: &mut Line,
    (hash, min): (BlockHash, u64),
    blocks_max: usize,
) -> Result<bool, FollowError> {
    let mut tries = Tries::new(node);
    loop {
        let before = line.blocks.len();
        let failed = match read(&tries.next().await, line, (hash, min), blocks_max).await {
            Ok(()) => return Ok(true),
            // The blocks that arrived before the error are as good as any: false ones link to
            // nothing.
            Err(_) if line.blocks.len() > before => return Ok(true),
            Err(error) => tries.forgive(error),
        };
        match failed {
            Err(FollowError::Unknown(_)) => return Ok(false),
            failed => failed?,
        }
    }
}

/// Like [`ask`], of this node only.
async fn read(
    node: &Node,
    line: &mut Line,
    (hash, min): (BlockHash, u64),
    blocks_max: usize,
) -> Result<(), FollowError> {
    let mut answer = node.branch(line.chain, hash, min).await?;
    let (path, before) = (answer.path().to_owned(), line.blocks.len());
    match answer.media() {
        Media::Octets => {
            let mut rest = BytesMut::new();
            // Stop reading if a node sends too many blocks below the requested ones.
            while line.blocks.len() <= blocks_max
                && let Some(piece) = answer.piece().await?
            {
                rest.extend_from_slice(&piece);
                let whole = rest.split_to((rest.len() / LEN).saturating_mul(LEN));
                line.push(node, &path, whole.freeze()).await?;
            }
            if !rest.is_empty() {
                return Err(FollowError::content(&path, "the answer ends within a header"));
            }
        }
        Media::Json => {
            let page: PageText =
                from_json(&path, &answer.json(PAGE_BYTES).await?, "a page of headers")?;
            let mut records = BytesMut::with_capacity(page.items.len().saturating_mul(LEN));
            for item in &page.items {
                records.extend_from_slice(raw(&path, item)?.as_bytes());
            }
            line.push(node, &path, records.freeze()).await?;
        }
        Media::Events | Media::Other => {
            return Err(FollowError::content(&path, "expected headers"));
        }
    }
    if line.blocks.len() == before {
        return Err(FollowError::content(&path, "the branch does not include its upper block"));
    }
    Ok(())
}

/// The order in which a request is sent to nodes: first over the usual connections, then over new
/// ones, which may reach other nodes.
pub(super) struct Tries<'a> {
    node: &'a Node,
    made: u32,
}

impl<'a> Tries<'a> {
    /// Starts before the first try.
    pub(super) const fn new(node: &'a Node) -> Self {
        Self { node, made: 0 }
    }

    /// The node to ask next, after a pause.
    pub(super) async fn next(&mut self) -> Node {
        let made = self.made;
        self.made = made.saturating_add(1);
        if made == 0 {
            return self.node.clone();
        }
        sleep(PAUSE.saturating_mul(made.saturating_sub(1))).await;
        self.node.opening()
    }

    /// Returns the error, unless another node may answer better.
    pub(super) fn forgive(&self, error: FollowError) -> Result<(), FollowError> {
        let tries = match error {
            FollowError::Unknown(_)
            | FollowError::Connect(_)
            | FollowError::Broken { .. }
            | FollowError::Status { .. } => TRIES,
            FollowError::Empty => TRIES_WRONG,
            _ if error.is_lie() => TRIES_WRONG,
            _ => 1,
        };
        if self.made < tries { Ok(()) } else { Err(error) }
    }
}

/// A branch, read from the top down: each block is the parent of the one before.
struct Line {
    chain: ChainId,
    /// The height and the hash of the next block, if there is one below.
    next: Option<(u64, BlockHash)>,
    blocks: Vec<RawHeader>,
    /// Number of blocks whose parents are known not to be stored.
    checked: usize,
}

impl Line {
    /// Begins a line with this block.
    const fn new(chain: ChainId, (height, hash): (BlockHeight, BlockHash)) -> Self {
        Self { chain, next: Some((height.get(), hash)), blocks: Vec::new(), checked: 0 }
    }

    /// Takes the next blocks, which `node` sent.
    async fn push(&mut self, node: &Node, path: &str, records: Bytes) -> Result<(), FollowError> {
        let (sound, wrong) = node.lies().sound(&records).await?;
        let records = <[RawHeader]>::ref_from_bytes(&records).unwrap_or_default();
        for record in records.iter().take(sound) {
            let got = (record.height.get(), record.hash);
            if record.chain.get() != self.chain.get() || Some(got) != self.next {
                return Err(FollowError::content(
                    path,
                    "the branch does not go from child to parent",
                ));
            }
            self.next = got.0.checked_sub(1).map(|below| (below, record.parent));
            self.blocks.push(*record);
        }
        wrong.map_or(Ok(()), Err)
    }

    /// Ends the line above the first stored block, or at the first block of its chain.
    async fn end_at_stored(&mut self, reader: &Reader) -> Result<(), FollowError> {
        let (chain, first) = (self.chain, reader.version().genesis_height(self.chain));
        let new = self.blocks.get(self.checked..).unwrap_or_default();
        let new: Vec<(u64, BlockHash)> =
            new.iter().map(|raw| (raw.height.get(), raw.parent)).collect();
        let first = first.map_or(0, BlockHeight::get);
        let last = session::read(reader, move |view| {
            for (number, (height, parent)) in new.into_iter().enumerate() {
                if height <= first || view.header(chain, &parent)?.is_some() {
                    return Ok(Some(number));
                }
            }
            Ok(None)
        });
        match last.await? {
            Some(last) => {
                self.blocks.truncate(self.checked.saturating_add(last).saturating_add(1));
                self.next = None;
            }
            None => self.checked = self.blocks.len(),
        }
        Ok(())
    }
}
