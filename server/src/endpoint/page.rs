use http::header::TE;
use http::request::Parts;
use http::{HeaderMap, Response};
use plait_engine::{
    BlockHash, BranchQuery, ChainId, Page, QueryError, RangeQuery, Records, Scan, View,
};

use super::App;
use crate::error::Error;
use crate::feed::Feed;
use crate::request::Media;
use crate::response::{self, Body, Stream};

/// Headers of a page that takes less than half a millisecond to write, in any form.
const SMALL_HEADERS: usize = 1024;

/// The same in hashes.
const SMALL_HASHES: usize = 8192;

/// The same in bounds of a branch.
const SMALL_BOUNDS: usize = 64;

/// A query of either kind; what follows is the same for both.
#[derive(Debug)]
pub(super) enum Query {
    /// All blocks, ascending.
    Range(RangeQuery),
    /// The blocks of a branch, descending.
    Branch(BranchQuery),
}

impl Query {
    /// Whether a thread that serves sockets can make a page of it, if nothing is on disk: up to so
    /// many blocks.
    pub(super) fn is_small(&self, limit_max: usize) -> bool {
        match self {
            Self::Range(query) => query.limit <= limit_max,
            Self::Branch(query) => {
                let bounds = query.bounds.upper.len().saturating_add(query.bounds.lower.len());
                query.limit <= limit_max && bounds <= SMALL_BOUNDS
            }
        }
    }

    fn hashes(&self, view: &View, on: ChainId) -> Result<Page<Vec<BlockHash>>, QueryError> {
        match self {
            Self::Range(query) => view.range_hashes(on, query),
            Self::Branch(query) => view.branch_hashes(on, query),
        }
    }

    pub(super) fn headers(&self, view: &View, on: ChainId) -> Result<Page<Records>, QueryError> {
        match self {
            Self::Range(query) => view.range_headers(on, query),
            Self::Branch(query) => view.branch_headers(on, query),
        }
    }

    fn scan(&self, view: &View, on: ChainId) -> Result<Scan, QueryError> {
        match self {
            Self::Range(query) => view.range_scan(on, query),
            Self::Branch(query) => view.branch_scan(on, query),
        }
    }
}

/// Answers with a page of hashes.
pub(super) async fn answer_hashes(
    app: &App,
    chain: ChainId,
    query: Query,
    media: Media,
) -> Result<Response<Body>, Error> {
    let small = query.is_small(SMALL_HASHES);
    let job = move |view: &View| Ok(response::hashes(&query.hashes(view, chain)?));
    Ok(response::json(media.content_type(), read(app, small, job).await?))
}

/// Answers with a page of headers, or with the whole result as a stream of records if the client
/// accepts those and named no limit. JSON is rendered where the page is read.
pub(super) async fn answer_headers(
    app: &App,
    head: &Parts,
    chain: ChainId,
    query: Query,
    media: Media,
    unlimited: bool,
) -> Result<Response<Body>, Error> {
    let small = query.is_small(SMALL_HEADERS);
    let objects = match media {
        Media::Octets if unlimited => {
            let scan = app.bridge.read_blocking(move |view| query.scan(view, chain)).await?;
            let source = Box::new(Feed::new(&app.bridge, scan, app.config.stream_headers));
            return Ok(response::stream(Stream::new(source, reads_trailers(&head.headers))));
        }
        Media::Octets => {
            let page = read(app, small, move |view| query.headers(view, chain)).await?;
            let response = response::octets(page.items.into_slices());
            return Ok(response::link_next(response, &head.uri, page.next));
        }
        Media::Json => None,
        Media::Object => Some(app.version),
    };
    let job = move |view: &View| Ok(response::headers(&query.headers(view, chain)?, objects));
    Ok(response::json(media.content_type(), read(app, small, job).await?))
}

/// Reads in place if it is little, and where it may take long if it is not.
async fn read<T, F>(app: &App, small: bool, job: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnMut(&View) -> Result<T, QueryError> + Send + 'static,
{
    if small { app.bridge.read(job).await } else { app.bridge.read_blocking(job).await }
}

/// Whether the client said that it reads trailers.
fn reads_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|list| list.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_are_sent_to_those_who_ask() {
        let headers = |te: &str| HeaderMap::from_iter([(TE, te.parse().unwrap())]);
        assert!(reads_trailers(&headers("gzip, Trailers")));
        assert!(!reads_trailers(&headers("gzip")));
        assert!(!reads_trailers(&HeaderMap::new()));
    }
}
