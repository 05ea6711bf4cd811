use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use http::request::Request;
use http::{Method, StatusCode, Uri};

use crate::config::Requests;
use crate::metrics::{Endpoint, GONE, Held, Metrics};
use crate::request_id::RequestId;

/// Bytes of path and query that are logged.
const PATH_BYTES_MAX: usize = 512;

/// One request as metrics and log see it; told when it is dropped, at the end of its answer or
/// without one.
#[derive(Debug)]
pub(super) struct Record {
    metrics: Metrics,
    begin: Instant,
    id: RequestId,
    endpoint: Endpoint,
    status: StatusCode,
    bytes: u64,
    whole: bool,
    line: Option<Box<Line>>,
}

/// What else is logged.
#[derive(Debug)]
struct Line {
    requests: Requests,
    peer: SocketAddr,
    method: Method,
    uri: Uri,
}

impl Record {
    /// The head of `request` is read. `requests` says which are logged.
    pub(super) fn begin<B>(
        metrics: &Metrics,
        requests: Requests,
        peer: SocketAddr,
        request: &Request<B>,
    ) -> Self {
        let line = (requests != Requests::None).then(|| {
            let (method, uri) = (request.method().clone(), request.uri().clone());
            Box::new(Line { requests, peer, method, uri })
        });
        Self {
            metrics: metrics.clone(),
            begin: Instant::now(),
            id: RequestId::of(request.headers()),
            endpoint: Endpoint::default(),
            status: StatusCode::from_u16(GONE).unwrap_or_default(),
            bytes: 0,
            whole: false,
            line,
        }
    }

    /// The name of the request.
    pub(super) const fn id(&self) -> &RequestId {
        &self.id
    }

    /// Where it leads, to be filled in.
    pub(super) const fn endpoint(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    /// There is an answer; `is_empty` says whether without a body.
    pub(super) const fn answer(&mut self, status: StatusCode, is_empty: bool) {
        self.status = status;
        self.whole = is_empty;
    }

    /// Some of the body is given to the connection; `whole` says whether that was the last of it.
    pub(super) const fn give(&mut self, bytes: usize, whole: bool) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.whole |= whole;
    }

    /// The stream of the answer was reset because its client did not read it.
    pub(super) fn cut(&self) {
        self.metrics.counters().streams_cut.fetch_add(1, Relaxed);
    }

    /// Counts a stream until what is returned is dropped.
    pub(super) fn hold_stream(&self) -> Held {
        self.metrics.hold(|counters| &counters.streams_open)
    }

    #[cfg(test)]
    pub(super) fn of_test() -> Self {
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        Self::begin(&Metrics::new(), Requests::None, peer, &Request::new(()))
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.begin.elapsed();
        self.metrics.counters().request(self.endpoint, self.status, self.bytes, took);
        let Some(line) = &self.line else { return };
        let failed = self.status.is_server_error() || !self.whole;
        if line.requests == Requests::Errors && !failed {
            return;
        }
        let path = line.uri.path_and_query().map_or("*", |path| path.as_str());
        let path = path.get(..PATH_BYTES_MAX).unwrap_or(path);
        tracing::info!(
            target: "plait::requests",
            request = %self.id,
            peer = %line.peer,
            method = %line.method,
            path,
            status = self.status.as_u16(),
            bytes = self.bytes,
            milliseconds = (took.as_secs_f64() * 1e6).round() / 1e3,
            whole = self.whole,
        );
    }
}
