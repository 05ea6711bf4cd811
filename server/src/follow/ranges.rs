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

/// Blocks at one height on average, beside which there may be some more, before a range is taken for
/// one without end.
const SIBLINGS_MAX: u64 = 64;

/// Times that a range may break off without having brought anything.
const TRIES: u32 = 4;

/// The time to wait after the first of them; after the next, so many times more.
const PAUSE: Duration = Duration::from_millis(50);

/// Records, or why no more come.
pub(super) type Piece = io::Result<Bytes>;

/// Which blocks of a chain are asked for.
#[derive(Clone, Debug)]
pub(super) struct Heights {
    /// The first height.
    pub(super) from: u64,
    /// The last.
    pub(super) to: u64,
    /// Heights that are asked for at once.
    pub(super) at_once: u64,
}

/// Asks `node` for the blocks of `chain` at these heights, and gives them to `pieces` in order.
///
/// It does not run ahead of `reached`, the height that all chains are at, by more than what is asked
/// for at once: an answer that nobody takes is cut by its node. One that is cut is asked for anew from
/// where it was, as long as that brings more.
pub(super) async fn feed(
    node: Node,
    chain: ChainId,
    heights: Heights,
    mut reached: watch::Receiver<u64>,
    pieces: mpsc::Sender<Piece>,
) {
    let mut lane = Lane { node, chain, last: None, pieces };
    let mut from = heights.from;
    while from <= heights.to {
        let near = |reached: &u64| reached.saturating_add(heights.at_once) >= from;
        if reached.wait_for(near).await.is_err() {
            // Nobody reads any more.
            return;
        }
        let to = from.saturating_add(heights.at_once.saturating_sub(1)).min(heights.to);
        match lane.window(from, to).await {
            // Heights have no gaps: where one is missing the chain ends.
            Ok(Flow::On) if lane.last.is_none_or(|last| last.height.get() < to) => return,
            Ok(Flow::On) => {}
            Ok(Flow::Stop) => return,
            Err(error) => {
                let _ = lane.pieces.send(Err(io::Error::other(error))).await;
                return;
            }
        }
        let Some(next) = to.checked_add(1) else { return };
        from = next;
    }
}

/// Whether somebody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    Stop,
}

struct Lane {
    node: Node,
    chain: ChainId,
    /// The block that was given last.
    last: Option<Rank>,
    pieces: mpsc::Sender<Piece>,
}

impl Lane {
    /// Gives the blocks at these heights.
    async fn window(&mut self, from: u64, to: u64) -> Result<Flow, FollowError> {
        let mut tries = 0_u32;
        loop {
            let before = self.last;
            let begin = before.map_or(from, |last| last.height.get().max(from));
            let error = match self.answer(begin, to).await {
                Err(error @ (FollowError::Connect(_) | FollowError::Timeout { .. })) => error,
                other => return other,
            };
            // Where nothing came for too long, it is as well tried later.
            let is_broken = matches!(error, FollowError::Connect(_));
            tries = if self.last > before { 0 } else { tries.saturating_add(1) };
            if tries > 0 && !is_broken || tries >= TRIES {
                return Err(error);
            }
            tracing::debug!("chain {}: a range broke off: {error}", self.chain);
            sleep(PAUSE.saturating_mul(tries)).await;
        }
    }

    async fn answer(&mut self, from: u64, to: u64) -> Result<Flow, FollowError> {
        let answer = self.node.range(self.chain, (from, to), None).await?;
        let heights = to.saturating_sub(from).saturating_add(1);
        let mut range = Range { from, to, left: heights.saturating_mul(SIBLINGS_MAX) };
        match answer.media() {
            Media::Octets => self.octets(answer, &mut range).await,
            Media::Json => self.pages(answer, &mut range).await,
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

    async fn pages(&mut self, answer: Answer, range: &mut Range) -> Result<Flow, FollowError> {
        let mut answer = answer;
        loop {
            let path = answer.path().to_owned();
            let page: PageText = from_json(&path, &answer.json(PAGE_BYTES).await?)?;
            let mut records = Vec::with_capacity(page.items.len().saturating_mul(LEN));
            for item in &page.items {
                records.extend_from_slice(raw(&path, item)?.as_bytes());
            }
            let (empty, before) = (records.is_empty(), self.last);
            if self.give(&path, records.into(), range).await? == Flow::Stop {
                return Ok(Flow::Stop);
            }
            // A list ends with a cursor behind its last block: more may come.
            let next = page.next.filter(|next| !empty && next.starts_with("inclusive:"));
            let Some(next) = next else { return Ok(Flow::On) };
            if self.last == before {
                return Err(FollowError::content(&path, "pages that bring nothing new"));
            }
            let heights = (range.from, range.to);
            answer = self.node.range(self.chain, heights, Some(&next)).await?;
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
            return Err(FollowError::content(path, "blocks of other heights"));
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
        let last = record(&records, records.len().saturating_sub(LEN)).map(rank);
        if records.is_empty() {
            return Ok(Flow::On);
        }
        self.last = last;
        let sent = self.pieces.send(Ok(records)).await;
        Ok(if sent.is_ok() { Flow::On } else { Flow::Stop })
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
