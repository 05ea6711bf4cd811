use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::combinators::BoxBody;
use plait_engine::push::{Counts, Outcome};
use plait_engine::replay::source::Place;
use plait_engine::verify::{Failures, Level};
use plait_engine::{HeaderRef, RawHeader};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Pieces of the answer that wait for the client to read.
const AHEAD: usize = 8;

/// Bytes of a piece from which on it is sent.
const PIECE_BYTES: usize = 16 << 10;

/// Blocks that are not stored, of one request, that have a line each. Further ones are counted: an item of
/// a page may have two bytes, and its line has a hundred.
const LISTED_MAX: u64 = 10_000;

/// The lines of an answer.
pub(super) struct Lines {
    pieces: mpsc::Sender<Bytes>,
    stall_time: Duration,
    /// Whether every block has a line, or only those that are not stored.
    each: bool,
    open: Vec<u8>,
    counts: Counts,
    /// Lines of blocks that are not stored.
    listed: u64,
    /// Blocks that are not stored and have none.
    unlisted: u64,
}

/// Nobody reads the answer.
pub(super) struct Unread;

impl Lines {
    /// Lines, and the body that they become.
    pub(super) fn new(each: bool, stall_time: Duration) -> (Self, BoxBody<Bytes, Infallible>) {
        let (pieces, body) = mpsc::channel(AHEAD);
        let (open, counts, listed, unlisted) = (Vec::new(), Counts::default(), 0, 0);
        let lines = Self { pieces, stall_time, each, open, counts, listed, unlisted };
        (lines, BoxBody::new(Pieces(body)))
    }

    /// Tells what came of a batch, and returns how many blocks had each outcome.
    pub(super) async fn batch(
        &mut self,
        outcomes: &[(Place, Option<RawHeader>, Outcome)],
    ) -> Result<Counts, Unread> {
        let mut counts = Counts::default();
        counts.add(outcomes.iter().map(|(_, _, outcome)| outcome));
        self.counts.add(outcomes.iter().map(|(_, _, outcome)| outcome));
        for (place, raw, outcome) in outcomes {
            if self.is_listed(raw.is_some(), outcome) {
                self.block(place, raw.as_ref(), outcome).await?;
            }
        }
        self.line(&Sum::of(counts)).await?;
        self.send().await.map(|()| counts)
    }

    /// Whether a block has a line. A header is longer than its line, so with `each` all of them have one.
    fn is_listed(&mut self, is_header: bool, outcome: &Outcome) -> bool {
        if outcome.is_whole() || self.each && is_header {
            return self.each;
        }
        let is_listed = self.listed < LISTED_MAX;
        let count = if is_listed { &mut self.listed } else { &mut self.unlisted };
        *count = count.saturating_add(1);
        is_listed
    }

    /// Tells all in all, and why it ends here if the body does not.
    pub(super) async fn end(mut self, error: Option<&str>) -> Result<(), Unread> {
        let done = Some(error.is_none());
        let sum = Sum { unlisted: self.unlisted, done, error, ..Sum::of(self.counts) };
        self.line(&sum).await?;
        self.send().await
    }

    async fn line(&mut self, line: &(impl Serialize + Sync)) -> Result<(), Unread> {
        // Writing to a vector cannot fail, and what is written here has no keys but names.
        let _ = serde_json::to_writer(&mut self.open, line);
        self.open.push(b'\n');
        if self.open.len() >= PIECE_BYTES { self.send().await } else { Ok(()) }
    }

    /// Waits until the client has read enough of what came before.
    async fn send(&mut self) -> Result<(), Unread> {
        let piece = std::mem::take(&mut self.open).into();
        match timeout(self.stall_time, self.pieces.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Unread),
        }
    }
}

/// How many blocks had each outcome, of a batch or all in all.
#[derive(Serialize)]
struct Sum<'a> {
    records: u64,
    stored: u64,
    known: u64,
    waiting: u64,
    refused: u64,
    #[serde(rename = "payloadsRefused")]
    payloads_refused: u64,
    /// In the last line only: those that are not stored, or whose payload is not, and that have no line.
    #[serde(skip_serializing_if = "is_zero")]
    unlisted: u64,
    /// In the last line only: whether the body was read to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<bool>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl Sum<'_> {
    const fn of(counts: Counts) -> Self {
        let Counts { stored, known, waiting, refused, payloads_refused } = counts;
        let records = counts.records();
        let (unlisted, done, error) = (0, None, None);
        Self { records, stored, known, waiting, refused, payloads_refused, unlisted, done, error }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What came of one block.
#[derive(Serialize)]
struct Block<'a> {
    /// Of its header.
    outcome: &'static str,
    /// `refused` where the header is stored and the payload is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'static str>,
    place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rules: &'a [&'static str],
}

impl Lines {
    async fn block(
        &mut self,
        place: &Place,
        raw: Option<&RawHeader>,
        outcome: &Outcome,
    ) -> Result<(), Unread> {
        let header = raw.and_then(|raw| HeaderRef::new(raw).ok());
        let (verified, reason, rules) = match outcome {
            Outcome::Stored(level) => (Some(level.name()), None, Vec::new()),
            Outcome::Known => (None, None, Vec::new()),
            Outcome::Waits(failure) => {
                let reason = Failures::from(*failure).to_string();
                (None, Some(reason), vec![failure.name()])
            }
            Outcome::HeaderOnly(level, wrong) => {
                let verified = level.map(Level::name);
                (verified, Some(wrong.to_string()), wrong.names().collect())
            }
            Outcome::Refused(wrong) => (None, Some(wrong.to_string()), wrong.names().collect()),
        };
        let block = Block {
            outcome: outcome.name(),
            payload: matches!(outcome, Outcome::HeaderOnly(..)).then_some("refused"),
            place: place.brief(),
            chain: header.map(|header| header.chain().get()),
            height: header.map(|header| header.height().get()),
            hash: header.map(|header| header.hash().to_string()),
            verified,
            reason,
            rules: &rules,
        };
        self.line(&block).await
    }
}

/// The pieces as a body.
struct Pieces(mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
