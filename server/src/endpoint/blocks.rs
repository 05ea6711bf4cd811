use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use plait_engine::{BlockHash, ChainId, Cursor, Page, Payload, PayloadHash, QueryError, View};

use super::App;
use super::branch::branch;
use super::headers::range;
use super::page::Query;
use crate::error::Error;
use crate::request::{Media, Params, negotiate};
use crate::response::{self, Blocks, Body, block_len};

/// Blocks of a page that may be read and written where the request arrived.
const SMALL_BLOCKS: usize = 16;

/// The same in bytes, as far as a page can end between two blocks.
const SMALL_BYTES: usize = 256 << 10;

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
    let (bytes_max, version) = (app.config.page_bytes_max, app.version);
    let query = Arc::new(query);
    if query.is_small(SMALL_BLOCKS) {
        let query = Arc::clone(&query);
        let job = move |view: &View| read(&query, view, chain, SMALL_BYTES.min(bytes_max));
        let page = app.bridge.read(job).await?.map_err(Error::from)?;
        if !page.is_cut || bytes_max <= SMALL_BYTES {
            let body = response::blocks(&page.page, version);
            return Ok(response::json(media.content_type(), body));
        }
    }
    let job = move |view: &View| {
        let page = read(&query, view, chain, bytes_max)?;
        Ok(page.map(|page| response::blocks(&page.page, version)))
    };
    let body = app.bridge.read_blocking(job).await?.map_err(Error::from)?;
    Ok(response::json(media.content_type(), body))
}

/// A page, and whether it ends earlier than asked for because of its bytes.
struct Read {
    page: Page<Blocks>,
    is_cut: bool,
}

/// A block whose payload is required but not stored.
struct NoPayload {
    block: BlockHash,
    payload: PayloadHash,
    /// Whether no payload is stored at all.
    headers_only: bool,
}

impl From<NoPayload> for Error {
    fn from(missing: NoPayload) -> Self {
        let NoPayload { block, payload, headers_only } = missing;
        Self::PayloadOfBlock { block, payload, headers_only }
    }
}

/// The page of blocks for `query`, of at most `bytes_max` bytes if it has more than one block; or
/// the first block whose payload is not stored.
fn read(
    query: &Query,
    view: &View,
    on: ChainId,
    bytes_max: usize,
) -> Result<Result<Read, NoPayload>, QueryError> {
    let Page { items: headers, mut next } = query.headers(view, on)?;
    // Three bytes are four characters: records of more than that have no place on the page.
    let found = view.block_payloads(headers.iter(), (bytes_max / 4).saturating_mul(3))?;
    let (mut payloads, mut bytes) = (Vec::<Payload>::with_capacity(found.len()), 0);
    for (header, payload) in headers.iter().zip(found) {
        let has_outputs = |payload: &Payload| payload.view().has_outputs();
        let mut payload = payload.filter(has_outputs);
        if payload.is_none() {
            // Another block may have the same.
            payload = view.payload(on, &header.payload_hash(), None)?.filter(has_outputs);
        }
        let Some(payload) = payload else {
            let (block, payload) = (header.hash(), header.payload_hash());
            let headers_only = view.payload_count_estimate()? == 0;
            return Ok(Err(NoPayload { block, payload, headers_only }));
        };
        bytes = block_len(payload.view()).saturating_add(bytes);
        if bytes > bytes_max && !payloads.is_empty() {
            break;
        }
        payloads.push(payload);
    }
    let left = headers.iter().nth(payloads.len());
    if let Some(left) = left {
        next = Some(Cursor::Inclusive(left.hash()));
    }
    let is_cut = left.is_some();
    Ok(Ok(Read { page: Page { items: Blocks { headers, payloads }, next }, is_cut }))
}
