use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::pause_after;
use crate::clock::date_now;
use crate::metrics::{CONTENT_TYPE as PAGE_TYPE, Metrics, Unready};

/// Those who watch at once; further ones wait until one has gone.
const WATCHERS_MAX: usize = 32;

/// How long one may take for the head of a request, and be silent between two.
const HEAD_TIME: Duration = Duration::from_secs(75);

/// How long one is kept, whatever it does.
const CONNECTION_TIME: Duration = Duration::from_mins(30);

const TEXT: &str = "text/plain;charset=utf-8";

/// Answers those who watch the server that `metrics` are of, for ever.
pub(crate) async fn watch(metrics: Metrics, listener: TcpListener) {
    // Dropped with this future, and the connections with it.
    let mut watchers = JoinSet::new();
    loop {
        select! {
            Some(_) = watchers.join_next() => {}
            accepted = listener.accept(), if watchers.len() < WATCHERS_MAX => match accepted {
                Ok((stream, _)) => {
                    watchers.spawn(timeout(CONNECTION_TIME, serve(metrics.clone(), stream)));
                }
                Err(error) => pause_after(&error).await,
            },
        }
    }
}

async fn serve(metrics: Metrics, stream: TcpStream) {
    let service = service_fn(|request| answer(metrics.clone(), request));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).title_case_headers(true);
    // A client that closes its sending side after its request still waits for the response.
    builder.half_close(true);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!("connection of a watcher ended: {error}");
    }
}

/// Most likely the client wants the API.
const NOT_FOUND: &str = "This address serves /metrics, /ready and /health-check; the API is on the \
                         address that --listen sets.\n";

async fn answer(
    metrics: Metrics,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (method, path) = (request.method(), request.uri().path());
    let is_known = matches!(path, "/metrics" | "/ready" | "/health-check");
    if !is_known {
        return Ok(text(StatusCode::NOT_FOUND, NOT_FOUND));
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Use GET.\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    Ok(match path {
        "/metrics" => page(metrics).await,
        "/ready" => state(metrics.unready(), "Ready.\n"),
        // It lives while it starts, and while it is overloaded.
        _ => state(metrics.unready().filter(|why| *why == Unready::Leaving), "Health check OK.\n"),
    })
}

/// The page is made where it may block: the cut may be on disk.
async fn page(metrics: Metrics) -> Response<Full<Bytes>> {
    match spawn_blocking(move || metrics.page()).await {
        Ok(page) => typed(StatusCode::OK, PAGE_TYPE, page.into()),
        Err(error) => {
            tracing::error!("the page of metrics cannot be made: {error}");
            text(StatusCode::INTERNAL_SERVER_ERROR, "Internal error.\n")
        }
    }
}

fn state(wrong: Option<Unready>, right: &'static str) -> Response<Full<Bytes>> {
    let Some(wrong) = wrong else { return text(StatusCode::OK, right) };
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, wrong.text());
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    typed(status, TEXT, Bytes::from_static(body.as_bytes()))
}

fn typed(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, max-age=0"));
    headers.insert(DATE, date_now());
    response
}
