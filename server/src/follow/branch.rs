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

use std::time::Duration;

use bytes::BytesMut;
use plait_engine::header::LEN;
use plait_engine::{BlockHash, BlockHeight, ChainId, RawHeader, Reader};
use tokio::time::sleep;
use zerocopy::FromBytes;

use super::answer::Media;
use super::error::FollowError;
use super::node::{Node, PAGE_BYTES, PageText, from_json, raw};
use super::session;

/// Times that a block is asked for, each time over another connection, until it is taken for unknown.
/// Of two nodes behind a load balancer that draws, one that has it is missed once in 1,000 times.
const TRIES: u32 = 10;

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
    let mut line = Line { chain, next: Some((height.get(), hash)), blocks: Vec::new(), checked: 0 };
    let mut span = span.clamp(1, SPAN_MAX);
    while let Some((height, hash)) = line.next {
        let min = height.saturating_sub(span);
        if !ask(node, &mut line, (hash, min), blocks_max).await? {
            return Ok(Descent::Unknown(hash));
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
    while let Some(node) = tries.next().await {
        match node.header(chain, hash).await {
            Ok(header) => return Ok(Some(header)),
            Err(error) => tries.forgive(error)?,
        }
    }
    Ok(None)
}

/// Continues `line` at `hash` down to height `min`; `false` if no node knows that block.
async fn ask(
    node: &Node,
    line: &mut Line,
    (hash, min): (BlockHash, u64),
    blocks_max: usize,
) -> Result<bool, FollowError> {
    let mut tries = Tries::new(node);
    while let Some(node) = tries.next().await {
        let before = line.blocks.len();
        match read(&node, line, (hash, min), blocks_max).await {
            Ok(()) => return Ok(true),
            // What has come of it is as good as any.
            Err(FollowError::Connect(_)) if line.blocks.len() > before => return Ok(true),
            Err(error) => tries.forgive(error)?,
        }
    }
    Ok(false)
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
                line.push(&path, <[RawHeader]>::ref_from_bytes(&whole).unwrap_or_default())?;
            }
            if !rest.is_empty() {
                return Err(FollowError::content(&path, "the answer ends within a header"));
            }
        }
        Media::Json => {
            let page: PageText = from_json(&path, &answer.json(PAGE_BYTES).await?)?;
            let records = page.items.iter().map(|item| raw(&path, item));
            line.push(&path, &records.collect::<Result<Vec<_>, _>>()?)?;
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
struct Tries<'a> {
    node: &'a Node,
    made: u32,
}

impl<'a> Tries<'a> {
    const fn new(node: &'a Node) -> Self {
        Self { node, made: 0 }
    }

    /// The next one, after a pause; none if these were enough.
    async fn next(&mut self) -> Option<Node> {
        let made = self.made;
        self.made = made.saturating_add(1);
        match made {
            0 => Some(self.node.clone()),
            TRIES.. => None,
            _ => {
                sleep(PAUSE.saturating_mul(made.saturating_sub(1))).await;
                Some(self.node.opening())
            }
        }
    }

    /// Whether another one may answer better: nothing if so, and else the error.
    fn forgive(&self, error: FollowError) -> Result<(), FollowError> {
        match error {
            FollowError::Unknown(_) => Ok(()),
            FollowError::Connect(_) if self.made < TRIES => Ok(()),
            error => Err(error),
        }
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
    /// Takes the next blocks.
    fn push(&mut self, path: &str, records: &[RawHeader]) -> Result<(), FollowError> {
        for record in records {
            let got = (record.height.get(), record.hash);
            if record.chain.get() != self.chain.get() || Some(got) != self.next {
                return Err(FollowError::content(path, "the branch is not one of parents"));
            }
            self.next = got.0.checked_sub(1).map(|below| (below, record.parent));
            self.blocks.push(*record);
        }
        Ok(())
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
