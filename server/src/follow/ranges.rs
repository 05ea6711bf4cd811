use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use plait_engine::header::LEN;
use plait_engine::{BlockHeight, ChainId, Rank, RawHeader};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use zerocopy::{FromBytes, IntoBytes};

use super::answer::{Answer, Media};
use super::error::FollowError;
use super::node::{Node, PAGE_BYTES, PageText, from_json, raw};

/// Blocks at one height on average, plus a few, before a range counts as endless.
const SIBLINGS_MAX: u64 = 64;

/// Failures in a row of a range that brings no block: another connection may lead to a node that
/// answers better.
const TRIES: u32 = 10;

/// Tries if the answer is wrong: each may be as long as any answer.
const TRIES_WRONG: u32 = 5;

/// The pause after the first failure; each later one is longer by the same time.
const PAUSE: Duration = Duration::from_millis(20);

/// The pause if a node answers, but without the required blocks.
const PAUSE_SHORT: Duration = Duration::from_millis(5);

/// Records, or the error that ends them.
pub(super) type Piece = io::Result<Bytes>;

/// The blocks of a chain to request.
#[derive(Clone, Debug)]
pub(super) struct Heights {
    /// The first height.
    pub(super) from: u64,
    /// The lowest height that must come: blocks below it are stored.
    pub(super) needed: u64,
    /// The last.
    pub(super) to: u64,
    /// Heights of one request.
    pub(super) at_once: u64,
}

/// Requests the blocks of `chain` at these heights from `node`, and sends them to `pieces` in
/// order.
///
/// It does not run ahead of `reached`, the height of all chains, by more than one request: a node cuts
/// an answer that nobody reads. A range that breaks off is requested again from its last block, as
/// long as that brings more. So is a range that ends below its last height: behind a load balancer one
/// node has what another one lacks.
pub(super) async fn feed(
    node: Node,
    chain: ChainId,
    heights: Heights,
    mut reached: watch::Receiver<u64>,
    pieces: mpsc::Sender<Piece>,
) {
    let (mut from, needed) = (heights.from, heights.needed);
    let mut lane = Lane { node, chain, needed, last: None, pieces };
    while from <= heights.to {
        let near = |reached: &u64| reached.saturating_add(heights.at_once) >= from;
        if reached.wait_for(near).await.is_err() {
            // Nobody reads any more.
            return;
        }
        let to = from.saturating_add(heights.at_once.saturating_sub(1)).min(heights.to);
        match lane.window(from, to).await {
            Ok(Flow::On) => {}
            Ok(Flow::Stop) => return,
            Err(error) => {
                // Nobody may read any more.
                let _ = lane.pieces.send(Err(io::Error::other(error))).await;
                return;
            }
        }
        from = to.saturating_add(1);
    }
}

/// Whether the receiver still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    Stop,
}

struct Lane {
    node: Node,
    chain: ChainId,
    /// The lowest height that must come.
    needed: u64,
    /// The last block that was sent.
    last: Option<Rank>,
    pieces: mpsc::Sender<Piece>,
}

impl Lane {
    /// Sends the blocks at these heights.
    async fn window(&mut self, from: u64, to: u64) -> Result<Flow, FollowError> {
        let (mut tries, mut wrongs, opening) = (0_u32, 0_u32, self.node.opening());
        let mut node = self.node.clone();
        loop {
            let before = self.last;
            let begin = before.map_or(from, |last| last.height.get().max(from));
            let error = match self.answer(&node, begin, to).await {
                Ok(Flow::Stop) => return Ok(Flow::Stop),
                Ok(Flow::On) if self.expected(from) > to => return Ok(Flow::On),
                Ok(Flow::On) => self.short(from),
                Err(error) => error,
            };
            tries = if self.last > before { 0 } else { tries.saturating_add(1) };
            let (is_over, pause) = match error {
                FollowError::Connect(_)
                | FollowError::Broken { .. }
                | FollowError::Status { .. } => (tries >= TRIES, PAUSE),
                FollowError::Short { .. } => (tries >= TRIES, PAUSE_SHORT),
                // If nothing came for too long, a later try is as good, or another node.
                FollowError::Timeout { .. } => (tries > 0 || node.is_brief(), PAUSE),
                // However many blocks came before the wrong one: such answers could go on without
                // end.
                _ if error.is_lie() => {
                    wrongs = wrongs.saturating_add(1);
                    (wrongs >= TRIES_WRONG, PAUSE_SHORT)
                }
                _ => (true, PAUSE),
            };
            if is_over {
                return Err(error);
            }
            tracing::debug!("chain {}: a range broke off: {error}", self.chain);
            sleep(pause.saturating_mul(tries.max(wrongs))).await;
            // Another node may have more.
            node.clone_from(&opening);
        }
    }

    /// The lowest height from `from` on that was not sent yet.
    fn expected(&self, from: u64) -> u64 {
        self.last.map_or(from, |last| last.height.get().saturating_add(1).max(from))
    }

    /// The error that the node has no more for now.
    fn short(&self, from: u64) -> FollowError {
        let (chain, height) = (self.chain, self.expected(from));
        FollowError::Short { chain, height }
    }

    async fn answer(&mut self, node: &Node, from: u64, to: u64) -> Result<Flow, FollowError> {
        let answer = node.range(self.chain, (from, to)).await?;
        let heights = to.saturating_sub(from).saturating_add(1);
        let mut range = Range { from, to, left: heights.saturating_mul(SIBLINGS_MAX) };
        match answer.media() {
            Media::Octets => self.octets(answer, &mut range).await,
            Media::Json => self.pages(node, answer, &mut range).await,
            Media::Events | Media::Other => {
                Err(FollowError::content(answer.path(), "expected headers"))
            }
        }
    }

    async fn octets(&mut self, mut answer: Answer, range: &mut Range) -> Result<Flow, FollowError> {
        let mut rest = BytesMut::new();
        while let Some(mut piece) = answer.piece().await? {
            if !rest.is_empty() {
                let missing = LEN.saturating_sub(rest.len()).min(piece.len());
                rest.extend_from_slice(&piece.split_to(missing));
                if rest.len() < LEN {
                    continue;
                }
                if self.give(answer.path(), rest.split().freeze(), range).await? == Flow::Stop {
                    return Ok(Flow::Stop);
                }
            }
            let whole = piece.split_to((piece.len() / LEN).saturating_mul(LEN));
            rest.extend_from_slice(&piece);
            if self.give(answer.path(), whole, range).await? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        if rest.is_empty() {
            return Ok(Flow::On);
        }
        Err(FollowError::content(answer.path(), "the answer ends within a header"))
    }

    /// Reads page after page, each from the last height of the one before: another node cannot use a
    /// cursor.
    async fn pages(
        &mut self,
        node: &Node,
        answer: Answer,
        range: &mut Range,
    ) -> Result<Flow, FollowError> {
        let mut answer = answer;
        loop {
            let path = answer.path().to_owned();
            let page: PageText =
                from_json(&path, &answer.json(PAGE_BYTES).await?, "a page of headers")?;
            let mut records = Vec::with_capacity(page.items.len().saturating_mul(LEN));
            for item in &page.items {
                records.extend_from_slice(raw(&path, item)?.as_bytes());
            }
            let (empty, before) = (records.is_empty(), self.last);
            if self.give(&path, records.into(), range).await? == Flow::Stop {
                return Ok(Flow::Stop);
            }
            // A list ends with a cursor behind its last block: more may come.
            let more = page.next.is_some_and(|next| !empty && next.starts_with("inclusive:"));
            if !more {
                return Ok(Flow::On);
            }
            if self.last == before {
                return Err(FollowError::content(&path, "pages that bring nothing new"));
            }
            range.from = self.last.map_or(range.from, |last| last.height.get());
            answer = node.range(self.chain, (range.from, range.to)).await?;
        }
    }

    /// Gives whole records, but for those that were given before.
    async fn give(
        &mut self,
        path: &str,
        mut records: Bytes,
        range: &mut Range,
    ) -> Result<Flow, FollowError> {
        let (Some(first), Some(last)) =
            (record(&records, 0), record(&records, records.len().saturating_sub(LEN)))
        else {
            return Ok(Flow::On);
        };
        if first.height.get() < range.from || last.height.get() > range.to {
            return Err(FollowError::content(path, "blocks of heights that were not requested"));
        }
        if first.height.get() > last.height.get() {
            return Err(FollowError::content(path, "blocks that are not in order"));
        }
        let count = (records.len() / LEN) as u64;
        range.left = range
            .left
            .checked_sub(count)
            .ok_or_else(|| FollowError::content(path, "far more blocks than heights"))?;
        while let Some(next) = record(&records, 0)
            && self.last.is_some_and(|last| rank(next) <= last)
        {
            records.advance(LEN);
        }
        // Heights have no gaps: if a node has only some, another one may have the rest.
        let gap = self.gap(&records, range.from);
        let whole = gap.map_or(records.len(), |at| at.saturating_mul(LEN));
        records.truncate(whole);
        let (sound, wrong) = self.node.lies().sound(&records).await?;
        let whole = sound.saturating_mul(LEN);
        records.truncate(whole);
        if let Some(last) = record(&records, whole.saturating_sub(LEN)).map(rank) {
            self.last = Some(last);
            if self.pieces.send(Ok(records)).await.is_err() {
                return Ok(Flow::Stop);
            }
        }
        match (wrong, gap) {
            (Some(wrong), _) => Err(wrong),
            (None, Some(_)) => Err(self.short(range.from)),
            (None, None) => Ok(Flow::On),
        }
    }

    /// The number of the first record above a gap in the required heights.
    fn gap(&self, records: &Bytes, from: u64) -> Option<usize> {
        let records = <[RawHeader]>::ref_from_bytes(records).unwrap_or_default();
        // Below the required heights the range may begin anywhere.
        let first = self.expected(from);
        let mut allowed = if self.last.is_some() { first } else { first.max(self.needed) };
        records.iter().position(|record| {
            let height = record.height.get();
            let is_above = height > allowed;
            allowed = height.saturating_add(1);
            is_above
        })
    }
}

/// What an answer may have.
struct Range {
    from: u64,
    to: u64,
    /// Blocks.
    left: u64,
}

fn record(records: &Bytes, at: usize) -> Option<&RawHeader> {
    RawHeader::ref_from_prefix(records.get(at..)?).ok().map(|(record, _)| record)
}

fn rank(record: &RawHeader) -> Rank {
    Rank { height: BlockHeight::new(record.height.get()), hash: record.hash }
}
