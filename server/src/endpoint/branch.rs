use bytes::Bytes;
use http::Response;
use http::request::Parts;
use plait_engine::{BranchQuery, ChainId};

use super::App;
use super::page::{Query, answer_hashes, answer_headers};
use crate::error::Error;
use crate::request::{Media, Params, negotiate, parse_bounds, read_json};
use crate::response::Body;

/// `POST chain/{chain}/hash/branch`: a page of the hashes of a branch, descending.
pub(crate) async fn hash_branch<B>(
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
    let query = branch(app, head, body, params, app.config.page_hashes_max).await?;
    answer_hashes(app, chain, query, media).await
}

/// `POST chain/{chain}/header/branch`: a page of the headers of a branch, descending, or the whole
/// branch as a stream.
pub(crate) async fn header_branch<B>(
    app: &App,
    head: &Parts,
    body: B,
    chain: ChainId,
) -> Result<Response<Body>, Error>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let media = negotiate(&head.headers, Media::HEADERS)?;
    let params = Params::parse(head.uri.query())?;
    let query = branch(app, head, body, params, app.config.page_headers_max).await?;
    answer_headers(app, head, chain, query, media, params.limit.is_none()).await
}

/// What `params` and the body ask for of some branches, with pages of at most `page_max`.
pub(super) async fn branch<B>(
    app: &App,
    head: &Parts,
    body: B,
    params: Params,
    page_max: usize,
) -> Result<Query, Error>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let limits = app.body_limits(app.config.branch_body_bytes());
    let body = read_json(head, body, limits, &app.bodies).await?;
    Ok(Query::Branch(BranchQuery {
        bounds: parse_bounds(&body, app.config.bounds_max)?,
        heights: params.heights,
        cursor: params.next,
        unknown_lower: app.config.unknown_lower,
        limit: params.limit_of(page_max),
    }))
}
