//! What fuzz targets reach and nobody else: parts of a request, and answers without sockets.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use plait_engine::{BlockHeight, Bounds, Cursor, Heights, PayloadHash, Position, Reader};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::bridge::Phase;
use crate::config::Config;
use crate::endpoint::App;
use crate::listen;
use crate::metrics::{Endpoint, Metrics};
use crate::request::{Media, Params, Resume, Wanted};
use crate::{request, route};

pub use crate::follow::fuzzed::events;
pub use crate::ingest::fuzzed::records;

/// A server without a socket.
pub struct Router {
    app: Arc<App>,
    _phase: watch::Sender<Phase>,
}

impl Router {
    /// One that answers from `reader`.
    #[must_use]
    pub fn new(reader: Reader, config: Config) -> Self {
        let (phase, watcher) = watch::channel(Phase::Serving);
        let app = Arc::new(App::new(reader, config, Metrics::new(), watcher));
        Self { app, _phase: phase }
    }

    /// Answers one request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<impl Body<Data = Bytes> + use<B>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (head, body) = request.into_parts();
        route::answer(&self.app, &head, body, &mut Endpoint::Other).await
    }

    /// Serves a connection, as those of sockets are but for the times of patience. What breaks it off
    /// is no error here.
    pub async fn serve<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request: Request<_>| {
            let (app, (head, body)) = (Arc::clone(&self.app), request.into_parts());
            async move {
                let answer = route::answer(&app, &head, body, &mut Endpoint::Other).await;
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        let builder = listen::builder(&self.app.config);
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    }
}

/// Limit, cursor and heights of a query; a limit is at most `usize::MAX`.
///
/// # Errors
///
/// Why it is refused.
pub fn query(query: Option<&str>) -> Result<(Option<usize>, Option<Cursor>, Heights), String> {
    let params = Params::parse(query).map_err(|error| error.to_string())?;
    Ok((params.limit, params.next, params.heights))
}

/// The bounds of a branch, from the body of a request.
///
/// # Errors
///
/// Why it is refused.
pub fn bounds(body: &[u8], max: usize) -> Result<Bounds, String> {
    request::parse_bounds(body, max).map_err(|error| error.to_string())
}

/// The payloads that a batch asks for.
///
/// # Errors
///
/// Why it is refused.
pub fn batch(body: &[u8], max: usize) -> Result<Vec<(PayloadHash, Option<BlockHeight>)>, String> {
    let asked = request::parse_batch(body, max).map_err(|error| error.to_string())?;
    Ok(asked.into_iter().map(|asked| (asked.hash, asked.height)).collect())
}

/// The media type that the `Accept` headers choose of those that headers have.
#[must_use]
pub fn accepted(headers: &HeaderMap) -> Option<&'static str> {
    request::negotiate(headers, Media::HEADERS).ok().map(Media::content_type)
}

/// The first and the last byte that the headers ask for of a file; `None` for all of it, `Some(None)`
/// for a range behind its end.
#[must_use]
pub fn range(headers: &HeaderMap, tag: &str, len: u64) -> Option<Option<(u64, u64)>> {
    match Wanted::of(headers, tag, len) {
        Wanted::Whole => None,
        Wanted::Part { first, last } => Some(Some((first, last))),
        Wanted::Nothing => Some(None),
    }
}

/// Behind which event a stream is to begin; `None` if at what is new.
///
/// # Errors
///
/// Why it is refused.
pub fn resume(head: &Parts) -> Result<Option<Position>, String> {
    match Resume::of(head).map_err(|error| error.to_string())? {
        Resume::No | Resume::Now | Resume::Behind(None) => Ok(None),
        Resume::Behind(Some(position)) => Ok(Some(position)),
    }
}
