use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use plait_engine::header::LEN;
use plait_engine::{
    BlockHash, ChainId, ChainwebVersion, Cursor, Header, HeaderRef, Page, Payload, PayloadHash,
    QueryError, Reader, View,
};

use super::App;
use super::branch::branch;
use super::headers::range;
use super::page::Query;
use crate::budget::{Budget, PIECE_BYTES, charged};
use crate::chunks::{Chunk, ChunkFeed, Chunks, Made};
use crate::error::Error;
use crate::reading::{logged, read_view};
use crate::request::{Media, Params, negotiate};
use crate::request_id::RequestId;
use crate::response::{self, Blocks, Body, Stream, block_len};

/// Blocks of a page that may be read and written where the request arrived.
const SMALL_BLOCKS: usize = 16;

/// Bytes of a small page, not counting its first block.
const SMALL_BYTES: usize = 256 << 10;

/// The most blocks of the rest of a page that are looked up together.
const TOGETHER: usize = 64;

/// Bytes at the end of a page, with its cursor.
const END_BYTES: usize = 128;

/// `GET chain/{chain}/block`: a page of all blocks, ascending.
pub(crate) async fn blocks(
    app: &App,
    head: &Parts,
    chain: ChainId,
) -> Result<Response<Body>, Error> {
    let media = negotiate(&head.headers, Media::JSON)?;
    let params = Params::parse(head.uri.query())?;
    answer(app, chain, range(params, app.config.page_blocks_max), media).await
}

/// `POST chain/{chain}/block/branch`: a page of the blocks of a branch, descending.
pub(crate) async fn block_branch<B>(
    app: &App,
    head: &Parts,
    body: B,
    chain: ChainId,
) -> Result<Response<Body>, Error>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let media = negotiate(&head.headers, Media::JSON)?;
    let params = Params::parse(head.uri.query())?;
    let query = branch(app, head, body, params, app.config.page_blocks_max).await?;
    answer(app, chain, query, media).await
}

async fn answer(
    app: &App,
    chain: ChainId,
    query: Query,
    media: Media,
) -> Result<Response<Body>, Error> {
    let (bytes_max, version) = (app.bridge.piece_bytes(), app.version);
    let query = Arc::new(query);
    if query.is_small(SMALL_BLOCKS) {
        let query = Arc::clone(&query);
        let job = move |view: &View| begin(&query, view, chain, SMALL_BYTES.min(bytes_max));
        let page = app.bridge.read(job).await?.map_err(Error::from)?;
        if page.items.is_whole() {
            let body = response::blocks(&page, version);
            return Ok(response::json(media.content_type(), body));
        }
    }
    let (reader, budget) = (app.bridge.reader(), app.budget.clone());
    let spare = app.budget.spare(bytes_max);
    let piece_bytes = if spare.is_some() { bytes_max } else { bytes_max.min(PIECE_BYTES) };
    let job = move |view: &View| {
        let page = match begin(&query, view, chain, piece_bytes)? {
            Ok(page) if page.items.is_whole() => {
                return Ok(Ok((response::blocks(&page, version), None)));
            }
            Ok(page) => page,
            Err(missing) => return Ok(Err(missing)),
        };
        if let Some(missing) = missing_payload(&page, view, chain)? {
            return Ok(Err(missing));
        }
        let (first, count) = response::begin_blocks(&page, version, piece_bytes);
        let left = Left::of(page.items.headers.iter().skip(count), &budget);
        let block_bytes = first.len().checked_div(count).unwrap_or(0);
        let reader = reader.clone();
        let rest = Rest { reader, chain, version, left, begin: 0, block_bytes, next: page.next };
        Ok(Ok((first.into(), Some(rest))))
    };
    let (mut first, rest): (Bytes, _) =
        app.bridge.read_blocking(job).await?.map_err(Error::from)?;
    let Some(rest) = rest else { return Ok(response::json(media.content_type(), first)) };
    let charge = match spare.filter(|spare| spare.bytes() >= first.len()) {
        Some(mut spare) => {
            spare.shrink(first.len());
            Some(spare)
        }
        // The first block is longer than a piece.
        None if first.len() > PIECE_BYTES => Some(app.take_room(first.len())?),
        None => None,
    };
    if let Some(charge) = charge {
        first = charged(first, Arc::new(charge));
    }
    let stream = Stream::begun(first, Box::new(ChunkFeed::new(&app.bridge, rest)));
    Ok(response::streamed(media.content_type(), stream))
}

/// A block whose payload is required but not stored.
struct NoPayload {
    block: BlockHash,
    payload: PayloadHash,
    /// Whether no payload is stored at all.
    headers_only: bool,
}

impl NoPayload {
    /// The payload of this block.
    fn of(view: &View, header: HeaderRef<'_>) -> Result<Self, QueryError> {
        let (block, payload) = (header.hash(), header.payload_hash());
        Ok(Self { block, payload, headers_only: view.payload_count_estimate()? == 0 })
    }
}

impl From<NoPayload> for Error {
    fn from(missing: NoPayload) -> Self {
        let NoPayload { block, payload, headers_only } = missing;
        Self::PayloadOfBlock { block, payload, headers_only }
    }
}

/// Makes the page of blocks for `query`, with payloads of at most `bytes_max` bytes if it has more
/// than one block; or finds the first block whose payload is not stored.
fn begin(
    query: &Query,
    view: &View,
    on: ChainId,
    bytes_max: usize,
) -> Result<Result<Page<Blocks>, NoPayload>, QueryError> {
    let Page { items: headers, next } = query.headers(view, on)?;
    // Three bytes are four characters: records of more than that have no place on the page.
    let found = view.block_payloads(headers.iter(), (bytes_max / 4).saturating_mul(3))?;
    let (mut payloads, mut bytes) = (Vec::<Payload>::with_capacity(found.len()), 0);
    for (header, payload) in headers.iter().zip(found) {
        let payload = match payload.filter(|payload| payload.view().has_outputs()) {
            Some(payload) => payload,
            None => match elsewhere(view, on, header)? {
                Some(payload) => payload,
                None => return Ok(Err(NoPayload::of(view, header)?)),
            },
        };
        bytes = block_len(payload.view()).saturating_add(bytes);
        if bytes > bytes_max && !payloads.is_empty() {
            break;
        }
        payloads.push(payload);
    }
    Ok(Ok(Page { items: Blocks { headers, payloads }, next }))
}

/// The payload of a block with outputs, if it is stored for another block.
fn elsewhere(
    view: &View,
    on: ChainId,
    header: HeaderRef<'_>,
) -> Result<Option<Payload>, QueryError> {
    let payload = view.payload(on, &header.payload_hash(), None)?;
    Ok(payload.filter(|payload| payload.view().has_outputs()))
}

/// A block in the rest of a page whose payload is not stored. Payloads are never removed: a payload
/// that is stored now will be there when its piece is made.
fn missing_payload(
    page: &Page<Blocks>,
    view: &View,
    on: ChainId,
) -> Result<Option<NoPayload>, QueryError> {
    let rest = || page.items.headers.iter().skip(page.items.payloads.len());
    for (header, is_there) in rest().zip(view.has_block_payloads(rest())?) {
        if !is_there && elsewhere(view, on, header)?.is_none() {
            return NoPayload::of(view, header).map(Some);
        }
    }
    Ok(None)
}

/// The rest of a page of blocks, which is made piece by piece.
struct Rest {
    reader: Reader,
    chain: ChainId,
    version: ChainwebVersion,
    left: Left,
    /// The index of the next block.
    begin: usize,
    /// Approximate length of a block, in bytes.
    block_bytes: usize,
    next: Option<Cursor>,
}

/// The blocks of the rest of a page.
enum Left {
    /// The headers, charged to the budget: 114 kB for a page of 360 blocks.
    Headers(Bytes),
    /// The hashes, by which the headers are looked up again, one by one. They take a tenth of the memory,
    /// which matters if many clients do not read.
    Hashes(Vec<BlockHash>),
}

impl Left {
    /// The blocks with these headers.
    fn of<'h>(headers: impl Iterator<Item = HeaderRef<'h>>, budget: &Budget) -> Self {
        let mut records = Vec::new();
        headers.for_each(|header| records.extend_from_slice(header.as_bytes()));
        match budget.spare(records.len()) {
            Some(charge) => Self::Headers(charged(records, Arc::new(charge))),
            None => Self::Hashes(parsed(&records).map(HeaderRef::hash).collect()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Headers(records) => records.len() / LEN,
            Self::Hashes(hashes) => hashes.len(),
        }
    }

    /// Up to this many headers from this index on.
    fn headers(
        &self,
        view: &View,
        chain: ChainId,
        begin: usize,
        count: usize,
    ) -> Result<Vec<Header>, QueryError> {
        match self {
            Self::Headers(records) => {
                let records = records.get(begin.saturating_mul(LEN)..).unwrap_or_default();
                Ok(parsed(records).take(count).map(HeaderRef::to_owned).collect())
            }
            Self::Hashes(hashes) => {
                let hashes = hashes.iter().skip(begin).take(count);
                let lost = |hash: &BlockHash| QueryError::UnknownHash(*hash);
                hashes.map(|hash| view.header(chain, hash)?.ok_or_else(|| lost(hash))).collect()
            }
        }
    }
}

/// Headers that were checked when they were read.
fn parsed(records: &[u8]) -> impl Iterator<Item = HeaderRef<'_>> {
    records.chunks_exact(LEN).filter_map(|record| HeaderRef::parse(record).ok())
}

/// The next blocks of a page.
enum Piece {
    /// The text of blocks, and the index of the next one.
    Made(Vec<u8>, usize),
    /// The first block needs this many bytes, for which there is no room.
    Longer(usize),
}

impl Rest {
    fn piece(&self, view: &View, room: usize) -> Result<Piece, QueryError> {
        let (mut found, mut bytes) = (Vec::new(), END_BYTES);
        let together = room.checked_div(self.block_bytes).unwrap_or(1).clamp(1, TOGETHER);
        'piece: loop {
            let end = self.begin.saturating_add(found.len());
            let headers = self.left.headers(view, self.chain, end, together)?;
            let left = (room.saturating_sub(bytes) / 4).saturating_mul(3);
            let payloads = view.block_payloads(headers.iter().map(Header::view), left)?;
            let is_last = headers.is_empty() || payloads.len() < headers.len();
            for (header, payload) in headers.into_iter().zip(payloads) {
                let payload = match payload.filter(|payload| payload.view().has_outputs()) {
                    Some(payload) => Some(payload),
                    None => elsewhere(view, self.chain, header.view())?,
                };
                let lost = || QueryError::UnknownHash(header.view().hash());
                let payload = payload.ok_or_else(lost)?;
                // Including a comma.
                let more = block_len(payload.view()).saturating_add(1);
                if bytes.saturating_add(more) > room && found.is_empty() {
                    return Ok(Piece::Longer(bytes.saturating_add(more)));
                }
                if bytes.saturating_add(more) > room {
                    break 'piece;
                }
                bytes = bytes.saturating_add(more);
                found.push((header, payload));
            }
            if is_last {
                break;
            }
        }
        let mut out = Vec::with_capacity(bytes);
        for (header, payload) in &found {
            response::push_next_block(&mut out, header.view(), payload.view(), self.version);
        }
        Ok(Piece::Made(out, self.begin.saturating_add(found.len())))
    }
}

impl Chunks for Rest {
    const IS_FILE: bool = false;

    fn next(self, room: usize) -> Result<Made<Self>, Error> {
        let piece = logged(read_view(&self.reader, &mut |view: &View| self.piece(view, room)));
        let piece = piece.inspect_err(|_| {
            let request = RequestId::current();
            tracing::error!(%request, "a page of blocks was cut: one of its blocks can no longer be read");
        })?;
        let (mut out, end) = match piece {
            Piece::Made(out, end) => (out, end),
            Piece::Longer(bytes) => return Ok(Made::Longer(bytes, self)),
        };
        let rest = Self { begin: end, ..self };
        if rest.begin < rest.left.len() {
            return Ok(Made::Chunk(Chunk { bytes: out.into(), rest: Some(rest) }));
        }
        response::end_blocks(&mut out, rest.next);
        Ok(Made::Chunk(Chunk { bytes: out.into(), rest: None }))
    }
}
