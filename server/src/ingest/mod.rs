//! The operator's listener: blocks that are pushed into the database while it is served.
//!
//! Enters: requests whose bodies are streams of headers. Leaves: a stream of JSON lines that tells
//! what was stored, and why the rest was not.
//!
//! - `I-1` Off unless the configuration says so, and then on the loopback or on a Unix socket: whoever
//!   reaches it can write, though nothing but valid blocks.
//! - `I-2` A client holds a buffer of one batch and one JSON value, whatever it sends; it never holds the
//!   writer, which is asked once a batch is there. Items of a page are taken one by one, and the answer
//!   lists so many blocks that are not stored and counts the others.
//! - `I-3` What is told to be stored is stored. Where a batch fails, the stream ends there and says so.

mod batch;
mod body;
#[cfg(fuzzing)]
pub(crate) mod fuzzed;
mod patience;
mod report;
mod send;
mod socket;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, DATE, ORIGIN, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::select;
use tokio::task::JoinSet;
use tokio::time::sleep;

pub use send::Blocks;
pub use socket::IngestListener;

use self::batch::Form;
use self::body::Body;
use self::patience::Patient;
use self::report::Lines;
use crate::clock::date_now;
use crate::config::Ingest;
use crate::error::Error;
use crate::inlet::{Inlet, PushError};
use crate::metrics::Metrics;
use crate::request::{QueryRule, check_framing};

/// How long a client may take for the head of a request, and be silent between two.
const HEAD_TIME: Duration = Duration::from_secs(75);

/// Wait after an error of `accept`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The path that takes blocks.
const PATH: &str = "/push";

const TEXT: &str = "text/plain;charset=utf-8";

const LINES: &str = "application/x-ndjson";

/// What answers: lines under way, or a few words.
type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Takes blocks on `listener` and has `inlet` store them, until the future is dropped.
pub async fn ingest(inlet: Inlet, config: Ingest, metrics: Metrics, listener: IngestListener) {
    metrics.ingest();
    let config = Arc::new(config);
    // Dropped with this future, and the connections with it.
    let mut clients = JoinSet::new();
    loop {
        select! {
            Some(_) = clients.join_next() => {}
            accepted = listener.accept(), if clients.len() < config.connections_max => match accepted {
                Ok(stream) => {
                    let stream = Patient::new(stream, config.idle_time);
                    let way = Way { inlet: inlet.clone(), config: Arc::clone(&config), metrics: metrics.clone() };
                    clients.spawn(serve(way, stream));
                }
                Err(error) => {
                    tracing::warn!("cannot accept connections that push: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// What a request needs.
#[derive(Clone)]
struct Way {
    inlet: Inlet,
    config: Arc<Ingest>,
    metrics: Metrics,
}

async fn serve(way: Way, stream: Patient) {
    let service = service_fn(|request| answer(way.clone(), request));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).title_case_headers(true);
    // A client that has sent its last block may close its sending side, and still waits for the
    // response.
    builder.half_close(true);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!("connection of a client that pushes ended: {error}");
    }
}

/// Most likely the client wants the API.
const NOT_FOUND: &str =
    "This address takes POST /push; the API is on the address that --listen sets.\n";

/// The query parameters of a push.
const PARAMETERS: QueryRule = QueryRule::Only(&["each"]);

async fn answer(way: Way, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    if let Err(error) = check_framing(&head) {
        return Ok(misframed(&error));
    }
    if head.uri.path() != PATH {
        return Ok(text(StatusCode::NOT_FOUND, NOT_FOUND));
    }
    if head.method != Method::POST {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Use POST.\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Ok(response);
    }
    if let Err(error) = PARAMETERS.check(head.uri.query()) {
        let body = BoxBody::new(Full::new(Bytes::from(format!("{error}\n"))));
        return Ok(typed(StatusCode::BAD_REQUEST, TEXT, body));
    }
    // A browser sends it along, and no page of a stranger is to reach this through one.
    if head.headers.contains_key(ORIGIN) {
        return Ok(text(StatusCode::FORBIDDEN, "Not for browsers.\n"));
    }
    let Some(form) = form(&head.headers) else {
        let wanted = "Send application/octet-stream, or JSON as application/x-ndjson.\n";
        return Ok(text(StatusCode::UNSUPPORTED_MEDIA_TYPE, wanted));
    };
    // Before the body is read, so that a client that waits for 100 gets the final status at once.
    if let Err(error) = way.inlet.push(Vec::new()).await {
        return Ok(refused(&error));
    }
    let each = is_flagged(head.uri.query().unwrap_or_default());
    let (lines, answer) = Lines::new(each, way.config.idle_time);
    let body = Body::expected(&head.headers, body, way.config.idle_time).await;
    tokio::spawn(body::take(way, form, body, lines));
    Ok(typed(StatusCode::OK, LINES, answer))
}

/// Whether the query has the flag `each`, with any value except `false` and `0`.
fn is_flagged(query: &str) -> bool {
    query.split('&').any(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        name == "each" && !matches!(value, "false" | "0")
    })
}

/// What the body is, by what the client says.
fn form(headers: &HeaderMap) -> Option<Form> {
    let given = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/octet-stream" => Some(Form::Octets),
        "application/x-ndjson" | "application/jsonl" | "application/json" => Some(Form::Lines),
        _ => None,
    }
}

/// The response to a head that a proxy could read differently.
fn misframed(error: &Error) -> Answer {
    let body = BoxBody::new(Full::new(Bytes::from(format!("{error}\n"))));
    let mut response = typed(error.status(), TEXT, body);
    // What follows could be taken for the next request.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn refused(error: &PushError) -> Answer {
    let text = format!("{error}\n");
    let body = BoxBody::new(Full::new(Bytes::from(text)));
    let mut response = typed(StatusCode::SERVICE_UNAVAILABLE, TEXT, body);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

fn text(status: StatusCode, text: &'static str) -> Answer {
    typed(status, TEXT, BoxBody::new(Full::new(Bytes::from_static(text.as_bytes()))))
}

fn typed(
    status: StatusCode,
    content_type: &'static str,
    body: BoxBody<Bytes, Infallible>,
) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, max-age=0"));
    headers.insert(DATE, date_now());
    response
}
