use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::EXPECT;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use plait_engine::RawHeader;
use plait_engine::push::{Block, Outcome};
use plait_engine::replay::Wrong;
use plait_engine::replay::source::{Place, Record, Records};
use tokio::time::timeout;

use super::Way;
use super::batch::{Cutter, Form};
use super::report::{Lines, Unread};

/// How long a batch that is not full waits for more of the body.
const LINGER: Duration = Duration::from_millis(5);

/// Why a body is not read to its end.
enum Stop {
    /// The client is told so.
    Told(String),
    /// It does not listen.
    Unread,
}

impl From<Unread> for Stop {
    fn from(_: Unread) -> Self {
        Self::Unread
    }
}

/// The body of a request. Its first frame may already have been read.
pub(super) struct Body {
    first: Option<Result<Frame<Bytes>, hyper::Error>>,
    rest: Incoming,
}

impl Body {
    /// A body whose client may wait for `100 Continue`; if so, this reads its first frame.
    ///
    /// hyper sends 100 when the body is first read, but not once the response has begun. A client
    /// that gets neither waits for about a second, as curl does.
    pub(super) async fn expected(headers: &HeaderMap, mut rest: Incoming, time: Duration) -> Self {
        let waits = headers.contains_key(EXPECT);
        // If the client sends nothing for this time, the reader of the rest reports it.
        let first = if waits { timeout(time, rest.frame()).await.ok().flatten() } else { None };
        Self { first, rest }
    }

    async fn frame(&mut self) -> Option<Result<Frame<Bytes>, hyper::Error>> {
        match self.first.take() {
            Some(first) => Some(first),
            None => self.rest.frame().await,
        }
    }
}

/// Stores the blocks of `body` and reports them in `lines`.
pub(super) async fn take(way: Way, form: Form, body: Body, mut lines: Lines) {
    let config = &way.config;
    let cutter = Cutter::new(form, config.line_bytes_max);
    let mut reading = Reading { body, cutter, ended: false, idle_time: config.idle_time };
    let error = loop {
        match next(&mut reading, &way, &mut lines).await {
            Ok(true) => {}
            Ok(false) => break None,
            Err(Stop::Told(error)) => break Some(error),
            Err(Stop::Unread) => {
                tracing::debug!("a client that pushes does not read what comes of it");
                return;
            }
        }
    };
    // Whether it is read is for the client to know.
    let _ = lines.end(error.as_deref()).await;
}

/// Stores one batch; `false` at the end.
async fn next(reading: &mut Reading, way: &Way, lines: &mut Lines) -> Result<bool, Stop> {
    let (records, more) = reading.batch(way.config.batch).await;
    if !records.is_empty() {
        let outcomes = push(way, records).await?;
        way.metrics.ingested(lines.batch(&outcomes).await?);
    }
    more.map_err(Stop::Told)
}

async fn push(
    way: &Way,
    records: Vec<Record>,
) -> Result<Vec<(Place, Option<RawHeader>, Outcome)>, Stop> {
    let (mut blocks, mut places) = (Vec::new(), Vec::with_capacity(records.len()));
    for Record { place, header, payload } in records {
        places.push((
            place,
            header.inspect(|header| {
                blocks.push(Block { header: *header, payload });
            }),
        ));
    }
    let pushed = way.inlet.push(blocks).await;
    let pushed = pushed.inspect_err(|_| way.metrics.fail_ingest());
    let mut pushed = pushed.map_err(|error| Stop::Told(error.to_string()))?.into_iter();
    let outcome = |(place, header): (Place, Result<RawHeader, Wrong>)| match header {
        Ok(raw) => pushed.next().map(|outcome| (place, Some(raw), outcome)),
        Err(wrong) => Some((place, None, Outcome::Refused(wrong))),
    };
    Ok(places.into_iter().filter_map(outcome).collect())
}

/// A body that is read.
struct Reading {
    body: Body,
    cutter: Cutter,
    ended: bool,
    idle_time: Duration,
}

impl Reading {
    /// The next records that come within a moment, and whether more may follow, or why not.
    async fn batch(&mut self, records_max: usize) -> (Vec<Record>, Result<bool, String>) {
        let mut records = Records::default();
        let more = self.fill(&mut records, records_max).await;
        records.settle();
        (records.list, more)
    }

    async fn fill(&mut self, records: &mut Records, records_max: usize) -> Result<bool, String> {
        loop {
            if self.cutter.cut(records, records_max) {
                return Ok(true);
            }
            if self.ended {
                self.cutter.finish(records);
                return Ok(false);
            }
            let wait = if records.list.is_empty() { self.idle_time } else { LINGER };
            match timeout(wait, self.body.frame()).await {
                Ok(None) => self.ended = true,
                Ok(Some(Ok(frame))) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.cutter.push(bytes);
                    }
                }
                Ok(Some(Err(error))) => {
                    return Err(format!("the body cannot be read: {error}"));
                }
                Err(_) if records.list.is_empty() => {
                    return Err("nothing came for too long".to_owned());
                }
                Err(_) => return Ok(true),
            }
        }
    }
}
