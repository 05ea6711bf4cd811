//! Branches from above: a block that is asked for by its hash, and what is below it.
//!
//! A node that knows a block has all its ancestors, but behind a load balancer the next request may be
//! answered by a node that does not. So no request refers to an earlier one: each names the block that
//! comes next, has no lower bounds, which that node may not know either, and no cursor. How far down it
//! goes is said by height, a little at first and then more. It ends at a block that is stored:
//!
//! ```text
//! stored        97 ── 98
//!                 \
//! wanted           98' ── 99' ── 100'      POST branch?minheight=92 {"upper":["100'"]}
//!                                          → 100', 99', 98', 97, 96 …: taken up to 98', the rest is stored
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

/// Times that something is asked for, each time over another connection, until it is taken for unknown, or
/// the failure for final. Of two nodes behind a load balancer that draws, one that has it is missed once
/// in 1,000 times.
const TRIES: u32 = 10;

/// The same where the answer is an error, as a node that is overloaded is not to be asked more often, or
/// wrong, as it may be as long as an answer may be.
const TRIES_WRONG: u32 = 5;

/// The time to wait before the third of them; before the next, so many times more.
const PAUSE: Duration = Duration::from_millis(2);

/// How much farther each request goes down than the one before.
const SPAN_FACTOR: u64 = 8;

/// Heights of a request at most.
const SPAN_MAX: u64 = 2000;

/// What is below a block.
#[derive(Debug)]
pub(super) enum Descent {
    /// From the highest down; what is below the last one is stored, or there is nothing below it.
    Joined(Vec<RawHeader>),
    /// More blocks than were allowed.
    Deep,
    /// No node knows this block: the one that was asked for, or one below it.
    Unknown(BlockHash),
}

/// The block of `chain` with this height and hash, and its ancestors that are not stored, `blocks_max`
/// at most. Some `span` heights are asked for first.
///
/// # Errors
///
/// [`FollowError`] if what the node answers is no branch.
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
            // A false block names whatever it likes.
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

/// The block of `chain` with this hash; none if no node knows it.
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

/// The cut of a node: of the first one that answers.
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
            // What has come of it is as good as any: where it is not, it joins nothing.
            Err(_) if line.blocks.len() > before => return Ok(true),
            Err(error) => tries.forgive(error),
        };
        match failed {
            Err(FollowError::Unknown(_)) => return Ok(false),
            failed => failed?,
        }
    }
}

/// The same of this node.
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
            // A node that goes on and on below what was asked for is left.
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
            let page: PageText = from_json(&path, &answer.json(PAGE_BYTES).await?)?;
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
        return Err(FollowError::content(&path, "a branch without the block at its end"));
    }
    Ok(())
}

/// The nodes to ask, one after the other: whichever the usual connections lead to, and then whichever a
/// new one does.
pub(super) struct Tries<'a> {
    node: &'a Node,
    made: u32,
}

impl<'a> Tries<'a> {
    /// None yet.
    pub(super) const fn new(node: &'a Node) -> Self {
        Self { node, made: 0 }
    }

    /// The next one, after a pause.
    pub(super) async fn next(&mut self) -> Node {
        let made = self.made;
        self.made = made.saturating_add(1);
        if made == 0 {
            return self.node.clone();
        }
        sleep(PAUSE.saturating_mul(made.saturating_sub(1))).await;
        self.node.opening()
    }

    /// Whether another one may answer better: nothing if so, and else the error.
    pub(super) fn forgive(&self, error: FollowError) -> Result<(), FollowError> {
        let tries = match error {
            FollowError::Unknown(_) | FollowError::Connect(_) => TRIES,
            FollowError::Status { .. } | FollowError::Empty => TRIES_WRONG,
            _ if error.is_lie() => TRIES_WRONG,
            _ => 1,
        };
        if self.made < tries { Ok(()) } else { Err(error) }
    }
}

/// A branch that comes from above: each block is the parent of the one before.
struct Line {
    chain: ChainId,
    /// The height and the hash of the next block, if one is below.
    next: Option<(u64, BlockHash)>,
    blocks: Vec<RawHeader>,
    /// So many of them stand on blocks that are not stored.
    checked: usize,
}

impl Line {
    /// The one that begins with this block.
    const fn new(chain: ChainId, (height, hash): (BlockHeight, BlockHash)) -> Self {
        Self { chain, next: Some((height.get(), hash)), blocks: Vec::new(), checked: 0 }
    }

    /// Takes the next blocks, which `node` gave.
    async fn push(&mut self, node: &Node, path: &str, records: Bytes) -> Result<(), FollowError> {
        let (sound, wrong) = node.lies().sound(&records).await?;
        let records = <[RawHeader]>::ref_from_bytes(&records).unwrap_or_default();
        for record in records.iter().take(sound) {
            let got = (record.height.get(), record.hash);
            if record.chain.get() != self.chain.get() || Some(got) != self.next {
                return Err(FollowError::content(path, "the branch is not one of parents"));
            }
            self.next = got.0.checked_sub(1).map(|below| (below, record.parent));
            self.blocks.push(*record);
        }
        wrong.map_or(Ok(()), Err)
    }

    /// Ends it above the first block that is stored, or at the first block of its chain.
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
