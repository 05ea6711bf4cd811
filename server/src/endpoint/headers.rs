use http::Response;
use http::request::Parts;
use plait_engine::{ChainId, RangeQuery};

use super::App;
use super::page::{Query, answer_hashes, answer_headers};
use crate::error::Error;
use crate::request::{Media, Params, negotiate};
use crate::response::Body;

/// `GET chain/{chain}/hash`: a page of the hashes of all blocks, ascending.
pub(crate) async fn hashes(
    app: &App,
    head: &Parts,
    chain: ChainId,
) -> Result<Response<Body>, Error> {
    let media = negotiate(&head.headers, Media::JSON)?;
    let params = Params::parse(head.uri.query())?;
    let query = range(params, app.config.page_hashes_max);
    answer_hashes(app, chain, query, media).await
}

/// `GET chain/{chain}/header`: a page of all headers, ascending, or all of them as a stream.
pub(crate) async fn headers(
    app: &App,
    head: &Parts,
    chain: ChainId,
) -> Result<Response<Body>, Error> {
    let media = negotiate(&head.headers, Media::HEADERS)?;
    let params = Params::parse(head.uri.query())?;
    let query = range(params, app.config.page_headers_max);
    answer_headers(app, head, chain, query, media, params.limit.is_none()).await
}

/// What `params` ask for of all blocks, with pages of at most `page_max`.
pub(super) fn range(params: Params, page_max: usize) -> Query {
    Query::Range(RangeQuery {
        heights: params.heights,
        cursor: params.next,
        limit: params.limit_of(page_max),
    })
}
