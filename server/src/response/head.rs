use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW,
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, DATE, ETAG, LINK, REFERRER_POLICY, RETRY_AFTER, SERVER, TRAILER, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use http_body::Body as _;
use plait_engine::Cursor;

use super::events::NoEvents;
use super::octets::{X_NEXT, join};
use super::{Body, EventSource, Stream};
use crate::clock;
use crate::error::{Error, allowed};
use crate::request_id::{RequestId, X_REQUEST_ID};

const X_PEER_ADDR: HeaderName = HeaderName::from_static("x-peer-addr");
const X_SERVER_TIMESTAMP: HeaderName = HeaderName::from_static("x-server-timestamp");
const X_CHAINWEB_NODE_VERSION: HeaderName = HeaderName::from_static("x-chainweb-node-version");

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const SERVER_NAME: HeaderValue =
    HeaderValue::from_static(concat!("plait/", env!("CARGO_PKG_VERSION")));

const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-peer-addr, x-server-timestamp, x-chainweb-node-version, x-request-id, x-next, link, etag, \
     accept-ranges, content-range",
);

/// Headers of nearly any answer: its own, those of [`Stamp`], and those that hyper adds.
const HEADERS_MAX: usize = 14;

/// For a response that never changes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// For a response that a cache may store but must revalidate before each use.
///
/// `max-age=0` repeats this for caches that look only at `max-age`: a Varnish whose configuration
/// skips the built-in rules stores everything else for two minutes.
const REVALIDATED: HeaderValue = HeaderValue::from_static("no-cache, max-age=0");

/// For every other response, because it may differ next time. The cut, pages and `/ready` change. A
/// missing block may arrive in a second, so caches must not store a 404 either, which they may do
/// without this header.
const NOT_STORED: HeaderValue = HeaderValue::from_static("no-store, max-age=0");

const OCTETS: &str = "application/octet-stream";

const EVENTS: &str = "text/event-stream";

/// What a page of ours may load and run: only what comes from here, as a file.
const POLICY: &str = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const TEXT: &str = "text/plain;charset=utf-8";

/// What every answer on one connection says of it.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    peer: HeaderValue,
    /// The value of `X-Chainweb-Node-Version`.
    node_version: HeaderValue,
}

impl Stamp {
    /// The stamp of a connection with this client.
    pub(crate) fn new(peer: &impl ToString, node_version: &HeaderValue) -> Self {
        let peer = HeaderValue::try_from(peer.to_string());
        let peer = peer.unwrap_or(HeaderValue::from_static("unknown"));
        Self { peer, node_version: node_version.clone() }
    }

    /// Adds the headers that every answer has, this one to the request of that name.
    pub(crate) fn apply(&self, headers: &mut HeaderMap, id: &RequestId) {
        let now = clock::seconds(SystemTime::now());
        headers.insert(X_PEER_ADDR, self.peer.clone());
        headers.insert(X_REQUEST_ID, id.value());
        headers.insert(X_SERVER_TIMESTAMP, now.into());
        headers.insert(DATE, clock::date(now));
        headers.insert(X_CHAINWEB_NODE_VERSION, self.node_version.clone());
        headers.insert(SERVER, SERVER_NAME);
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        headers.entry(CACHE_CONTROL).or_insert(NOT_STORED);
    }
}

/// An answer without headers, with room for all that it will have.
fn bare(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().reserve(HEADERS_MAX);
    response
}

fn typed(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = bare(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A JSON response whose body the server keeps in any case.
pub(crate) fn shared_json(body: Bytes) -> Response<Body> {
    typed("application/json", Body::Shared(body))
}

/// An answer of JSON, in whichever of its types.
pub(crate) fn json(content_type: &'static str, body: Bytes) -> Response<Body> {
    typed(content_type, body.into())
}

/// An answer of text.
pub(crate) fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    let mut response = typed(TEXT, Bytes::from_static(body.as_bytes()).into());
    *response.status_mut() = status;
    response
}

/// An answer of text that may be another one the next time.
pub(crate) fn current_text(body: String) -> Response<Body> {
    typed(TEXT, Bytes::from(body).into())
}

/// An answer of records, whole ones, of known length.
pub(crate) fn octets(slices: Vec<Bytes>) -> Response<Body> {
    typed(OCTETS, Body::Whole(join(slices)))
}

/// An answer of records, as many as there are.
pub(crate) fn stream(stream: Stream) -> Response<Body> {
    let mut response = typed(OCTETS, Body::Stream(Box::new(stream)));
    response.headers_mut().insert(TRAILER, HeaderValue::from_static("X-Next"));
    response
}

/// An answer of this type whose length is not known.
pub(crate) fn streamed(content_type: &'static str, stream: Stream) -> Response<Body> {
    typed(content_type, Body::Stream(Box::new(stream)))
}

/// An answer of events, which are of no use to who asks later; `None` for the head alone.
///
/// `X-Accel-Buffering` is for nginx, which would collect them; `no-transform` for those that compress
/// what they pass on, which is to collect it as well.
pub(crate) fn events(source: Option<Box<dyn EventSource>>) -> Response<Body> {
    let source = source.unwrap_or_else(|| Box::new(NoEvents));
    let mut response = typed(EVENTS, Body::Events(source));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform, max-age=0"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// Marks a response as the last of its connection.
pub(crate) fn last(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An answer of a file of known length, or of a part of one: the first byte, the last one, and how
/// many the whole file has.
pub(crate) fn file(stream: Stream, part: Option<(u64, u64, u64)>) -> Response<Body> {
    let mut response = typed(OCTETS, Body::Stream(Box::new(stream)));
    if let Some((first, last, len)) = part {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = HeaderValue::try_from(format!("bytes {first}-{last}/{len}"));
        response.headers_mut().extend(range.ok().map(|range| (CONTENT_RANGE, range)));
    }
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

/// An answer without a body.
fn empty(status: StatusCode) -> Response<Body> {
    let mut response = bare(Body::empty());
    *response.status_mut() = status;
    response
}

/// The answer to a request that failed.
pub(crate) fn error(error: &Error) -> Response<Body> {
    let mut response = json("application/json;charset=utf-8", error.body());
    *response.status_mut() = error.status();
    let headers = response.headers_mut();
    match error {
        Error::Method(methods) => {
            headers.extend(HeaderValue::try_from(allowed(methods)).ok().map(|list| (ALLOW, list)));
        }
        Error::Busy
        | Error::Full
        | Error::Memory
        | Error::NoSums
        | Error::Subscribers
        | Error::Displaced => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Error::BodiesFull => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            // The server has not read the body.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Error::Range { len } => {
            let range = HeaderValue::try_from(format!("bytes */{len}"));
            headers.extend(range.ok().map(|range| (CONTENT_RANGE, range)));
        }
        // What follows would be taken for the next request.
        Error::BodyLong { .. }
        | Error::BodySlow
        | Error::BodyCut
        | Error::Host(_)
        | Error::ContentLength
        | Error::Coding { .. }
        | Error::ChunkedTwice
        | Error::Unread(_) => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

/// The answer to `OPTIONS`, which browsers ask before requests to another origin.
pub(crate) fn preflight(methods: &[Method]) -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    if let Ok(list) = HeaderValue::try_from(allowed(methods)) {
        headers.insert(ALLOW, list.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, list);
    }
    let allowed_headers = HeaderValue::from_static(
        "content-type, if-none-match, if-range, range, x-request-id, last-event-id, cache-control",
    );
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

/// Marks an answer as one that never changes.
pub(crate) fn immutable(mut response: Response<Body>, tag: &str) -> Response<Body> {
    let headers = response.headers_mut();
    headers.extend(HeaderValue::try_from(tag).ok().map(|tag| (ETAG, tag)));
    headers.insert(CACHE_CONTROL, IMMUTABLE);
    response
}

/// Marks an answer as one that is to be asked for anew each time, which is cheap by its tag.
pub(crate) fn revalidated(response: Response<Body>, tag: &str) -> Response<Body> {
    let mut response = immutable(response, tag);
    response.headers_mut().insert(CACHE_CONTROL, REVALIDATED);
    response
}

/// A file of the explorer.
pub(crate) fn asset(content_type: &'static str, bytes: &'static [u8]) -> Response<Body> {
    typed(content_type, Body::Shared(Bytes::from_static(bytes)))
}

/// Marks an answer as a part of a page that asks nobody but this server for anything, and runs nothing
/// but what it is made of.
pub(crate) fn page(response: Response<Body>, tag: &str) -> Response<Body> {
    let mut response = revalidated(response, tag);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The answer to a client that has the representation already.
pub(crate) fn not_modified(tag: &str) -> Response<Body> {
    immutable(empty(StatusCode::NOT_MODIFIED), tag)
}

/// Adds `X-Next` and `Link` to a page of records that has a next one.
pub(crate) fn link_next(
    mut response: Response<Body>,
    uri: &Uri,
    next: Option<Cursor>,
) -> Response<Body> {
    if let Some(next) = next.map(|cursor| cursor.to_string()) {
        let others = uri.query().unwrap_or_default().split('&');
        let others = others.filter(|pair| !pair.is_empty() && !pair.starts_with("next="));
        let query: String = others.flat_map(|pair| [pair, "&"]).collect();
        let link = format!("<{}?{query}next={next}>; rel=\"next\"", uri.path());
        let headers = response.headers_mut();
        headers.extend(HeaderValue::try_from(link).ok().map(|link| (LINK, link)));
        headers.extend(HeaderValue::try_from(next).ok().map(|next| (X_NEXT, next)));
    }
    response
}

/// The answer to `HEAD`: what `GET` would have, but the body.
pub(crate) fn without_body(mut response: Response<Body>) -> Response<Body> {
    let length = response.body().size_hint().exact();
    let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if let Some(length) = length.filter(|_| !bodiless) {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    *response.body_mut() = Body::empty();
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash() -> plait_engine::BlockHash {
        plait_engine::BlockHash::new([0; 32])
    }

    #[test]
    fn every_answer_is_stamped() {
        let id = RequestId::unique();
        let stamp = Stamp::new(&"1.2.3.4:5", &HeaderValue::from_static("3.2"));
        let mut response = error(&Error::Busy);
        stamp.apply(response.headers_mut(), &id);
        let headers = response.headers();
        assert_eq!(headers["x-peer-addr"], "1.2.3.4:5");
        assert_eq!(headers["x-request-id"], id.to_string());
        assert!(headers["x-server-timestamp"].to_str().unwrap().parse::<u64>().unwrap() > 1 << 30);
        assert_eq!(headers["x-chainweb-node-version"], "3.2");
        assert_eq!(headers["server"], concat!("plait/", env!("CARGO_PKG_VERSION")));
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert_eq!(headers["vary"], "Accept");
        assert_eq!(headers["cache-control"], "no-store, max-age=0");
        let second = headers["x-server-timestamp"].to_str().unwrap().parse().unwrap();
        assert_eq!(headers["date"], clock::date(second), "both are of one moment");
    }

    #[test]
    fn errors_say_what_helps() {
        let methods = error(&Error::Method(&[Method::GET, Method::HEAD]));
        assert_eq!(methods.headers()["allow"], "GET, HEAD");
        assert_eq!(error(&Error::Busy).headers()["retry-after"], "1");
        assert_eq!(error(&Error::BodySlow).headers()["connection"], "close");
        assert_eq!(error(&Error::NoArchive).headers().get("connection"), None);
    }

    #[test]
    fn link_replaces_the_cursor_and_keeps_the_rest() {
        let next = Cursor::Inclusive(hash());
        for (uri, expected) in [
            ("/a/b?limit=3", "/a/b?limit=3&next="),
            ("/a/b?next=old&limit=3&t=%20&next=older", "/a/b?limit=3&t=%20&next="),
            ("http://host/a?limit=3&", "/a?limit=3&next="),
            ("/a", "/a?next="),
        ] {
            let response = link_next(empty(StatusCode::OK), &uri.parse().unwrap(), Some(next));
            assert_eq!(response.headers()["link"], format!("<{expected}{next}>; rel=\"next\""));
            assert_eq!(response.headers()["x-next"], next.to_string());
        }
        let last = link_next(empty(StatusCode::OK), &"/a".parse().unwrap(), None);
        assert!(last.headers().is_empty());
    }

    #[test]
    fn head_keeps_the_length_and_drops_the_body() {
        let response = without_body(json("application/json", Bytes::from_static(b"{}")));
        assert_eq!(response.headers()["content-length"], "2");
        assert!(response.body().is_end_stream());
        assert_eq!(without_body(not_modified("\"x\"")).headers().get("content-length"), None);
    }
}
