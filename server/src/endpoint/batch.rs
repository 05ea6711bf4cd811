use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use plait_engine::{ChainId, Payload, QueryError, Reader, View};

use super::App;
use crate::chunks::{Chunk, ChunkFeed, Chunks, Made};
use crate::error::Error;
use crate::reading::{logged, read_view};
use crate::request::{Asked, Media, negotiate, parse_batch, read_json};
use crate::response::{self, Body, Form, List, Stream};

/// Payloads of a batch that may be read and written where the request arrived.
const SMALL_PAYLOADS: usize = 16;

/// The same in bytes, but for the last payload.
const SMALL_BYTES: usize = 256 << 10;

/// Maximum bytes of a body that is parsed on the thread that received it, in under half a
/// millisecond.
const SMALL_BODY_BYTES: usize = 64 << 10;

/// Bytes of payloads to read at once to find out which are stored.
const STORED_BYTES: usize = 256 << 10;

/// `POST chain/{chain}/payload/batch`: the payloads of these hashes that are stored.
pub(crate) async fn payload_batch<B>(
    app: &App,
    head: &Parts,
    body: B,
    chain: ChainId,
) -> Result<Response<Body>, Error>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    answer(app, head, body, chain, false).await
}

/// `POST chain/{chain}/payload/outputs/batch`: the same with what became of them.
pub(crate) async fn outputs_batch<B>(
    app: &App,
    head: &Parts,
    body: B,
    chain: ChainId,
) -> Result<Response<Body>, Error>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    answer(app, head, body, chain, true).await
}

/// What is asked for in the order in which it is asked for, without what is not stored. Whole if it
/// is not long, else as a stream.
async fn answer<B>(
    app: &App,
    head: &Parts,
    body: B,
    chain: ChainId,
    outputs: bool,
) -> Result<Response<Body>, Error>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let media = negotiate(&head.headers, Media::PAYLOADS)?;
    let form = Form { outputs, octets: media == Media::Octets };
    let limits = app.body_limits(app.config.batch_body_bytes_max);
    let body = read_json(head, body, limits, &app.bodies).await?;
    let payloads_max = app.config.batch_payloads_max;
    let asked = if body.len() <= SMALL_BODY_BYTES {
        parse_batch(&body, payloads_max)?
    } else {
        app.bridge.read_file(move || parse_batch(&body, payloads_max)).await??
    };
    let batch = Batch { asked: asked.into(), chain, form };
    let bytes_max = app.bridge.piece_bytes();
    if batch.asked.len() <= SMALL_PAYLOADS {
        let small = batch.clone();
        let job = move |view: &View| small.gather(view, 0, SMALL_BYTES.min(bytes_max));
        let found = app.bridge.read(job).await?;
        if found.end == batch.asked.len() {
            let body = response::payloads(form, &found.payloads);
            return Ok(response::json(media.content_type(), body));
        }
    }
    // If much room is left, make a response up to that length at once.
    if let Some(spare) = app.budget.spare(bytes_max) {
        let whole = batch.clone();
        let job = move |view: &View| {
            let found = whole.gather(view, 0, bytes_max)?;
            let is_all = found.end == whole.asked.len();
            Ok(is_all.then(|| response::payloads(form, &found.payloads)))
        };
        let body = app.bridge.read_blocking(job).await?;
        drop(spare);
        if let Some(body) = body {
            return Ok(response::json(media.content_type(), body));
        }
    }
    // A list of bytes begins with their number.
    let batch = if form.octets { batch.stored(app).await? } else { batch };
    let rest = Rest { reader: app.bridge.reader(), batch, begun: None };
    let stream = Stream::new(Box::new(ChunkFeed::new(&app.bridge, rest)), false);
    Ok(response::streamed(media.content_type(), stream))
}

/// What is asked for.
#[derive(Clone)]
struct Batch {
    asked: Arc<[Asked]>,
    chain: ChainId,
    form: Form,
}

/// What of it is stored, up to some place in it.
struct Found {
    asked: Vec<Asked>,
    payloads: Vec<Payload>,
    /// Their total length.
    bytes: usize,
    end: usize,
}

impl Batch {
    /// Finds the stored ones of the requested payloads from `start` on, at most `bytes_max` bytes or one
    /// payload.
    fn gather(&self, view: &View, start: usize, bytes_max: usize) -> Result<Found, QueryError> {
        let (mut asked, mut payloads, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
        for (place, wanted) in self.asked.iter().enumerate().skip(start) {
            let payload = view.payload(self.chain, &wanted.hash, wanted.height)?;
            if let Some(payload) = payload.filter(|payload| self.form.covers(payload.view())) {
                // Including a comma.
                let more = self.form.len(payload.view()).saturating_add(bytes).saturating_add(1);
                if more > bytes_max && !payloads.is_empty() {
                    return Ok(Found { asked, payloads, bytes, end: place });
                }
                bytes = more;
                asked.push(*wanted);
                payloads.push(payload);
            }
        }
        Ok(Found { asked, payloads, bytes, end: self.asked.len() })
    }

    /// The part of it that is stored, which it will be for ever.
    async fn stored(self, app: &App) -> Result<Self, Error> {
        let (mut stored, mut start) = (Vec::new(), 0);
        while start < self.asked.len() {
            let batch = self.clone();
            let job = move |view: &View| {
                let Found { asked, end, .. } = batch.gather(view, start, STORED_BYTES)?;
                Ok((asked, end))
            };
            let (asked, end) = app.bridge.read_blocking(job).await?;
            stored.extend(asked);
            start = end;
        }
        Ok(Self { asked: stored.into(), ..self })
    }
}

/// A batch that is written chunk by chunk.
struct Rest {
    reader: Reader,
    batch: Batch,
    /// The list, if it is begun, and where in the batch it goes on.
    begun: Option<(List, usize)>,
}

impl Chunks for Rest {
    const IS_FILE: bool = false;

    fn next(self, room: usize) -> Result<Made<Self>, Error> {
        let Self { reader, batch, begun } = self;
        let start = begun.as_ref().map_or(0, |(_, start)| *start);
        let mut gather = |view: &View| batch.gather(view, start, room.saturating_sub(64));
        let found = logged(read_view(&reader, &mut gather))?;
        // Plus brackets, or the number of payloads.
        let bytes = found.bytes.saturating_add(16);
        if bytes > room {
            return Ok(Made::Longer(bytes, Self { reader, batch, begun }));
        }
        let mut out = Vec::with_capacity(bytes);
        let mut list = match begun {
            Some((list, _)) => list,
            None => List::begin(batch.form, batch.asked.len(), &mut out),
        };
        list.push(&found.payloads, &mut out);
        if found.end < batch.asked.len() {
            let rest = Self { reader, batch, begun: Some((list, found.end)) };
            return Ok(Made::Chunk(Chunk { bytes: out.into(), rest: Some(rest) }));
        }
        list.end(&mut out);
        Ok(Made::Chunk(Chunk { bytes: out.into(), rest: None }))
    }
}
