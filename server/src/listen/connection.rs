use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Method, Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
#[cfg(any(target_os = "android", target_os = "linux"))]
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::activity::{Activity, Turn};
use super::half_closed::{self, HalfClosed, PAUSE_MAX, PAUSE_MIN};
use super::patrol::Patrol;
use super::record::Record;
use super::request_body::RequestBody;
use super::socket::Socket;
use super::streams::StreamExecutor;
use super::tracked::Tracked;
use crate::bridge::Phase;
use crate::budget::FREE_BYTES;
use crate::config::Config;
use crate::endpoint::App;
use crate::error::Error;
use crate::request::{check_framing, discard};
use crate::response::{self, Body, Stamp};
use crate::route;

/// Bytes that hyper buffers before it waits for the socket. Small, so that a client that does not
/// read holds little; a slice of a page or a stream may stand above it.
const BUFFER_BYTES: usize = 64 * 1024;

/// Bytes of responses that the kernel buffers for a connection before they are sent. Without this
/// limit it buffers 1.7 MB for a client that does not read, and charges them to the control group
/// of the server.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT_BYTES: u32 = 128 * 1024;

/// Maximum concurrent streams of an HTTP/2 connection. Some clients (node, h2load, Go) open 100
/// before they have read this number.
const STREAMS_MAX: u32 = 128;

/// Maximum concurrent requests of an HTTP/2 connection; the others wait. This bounds the memory of
/// a connection, which is 64 KiB and two chunks per response. An event stream does not count once
/// it has begun: it may never end, and event streams have a limit of their own.
const SLOTS: usize = 32;

/// Maximum number of waiting requests on all connections. Each holds a head, and its body counts to
/// `limits.bodiesBytes`.
const WAITING_MAX: usize = 4096;

/// Maximum number of open streams on all HTTP/2 connections, whatever they do: each takes some 10 kB.
const OPEN_STREAMS_MAX: usize = 16_384;

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// How often a silent connection of HTTP/2 is asked whether it lives, and how long it may take.
const PING_TIME: Duration = Duration::from_secs(20);

/// What serves connections: one for all of them.
pub(super) struct Server {
    app: Arc<App>,
    builder: Builder<StreamExecutor>,
    patrol: Arc<Patrol>,
    waiting: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// The place of an HTTP/2 stream among those of all connections. The response has it, and what reads the
/// rest of the request.
type StreamPermit = Arc<OwnedSemaphorePermit>;

impl Server {
    /// A server for `app`, with the limits of its configuration; `patrol` looks after its
    /// connections.
    pub(super) fn new(app: Arc<App>, patrol: Arc<Patrol>) -> Self {
        let builder = builder(&app.config);
        let [waiting, streams] =
            [WAITING_MAX, OPEN_STREAMS_MAX].map(|max| Arc::new(Semaphore::new(max)));
        Self { app, builder, patrol, waiting, streams }
    }

    /// Serves one connection to its end; one that is not admitted gets 503 to its first request.
    pub(super) async fn serve(&self, stream: TcpStream, peer: SocketAddr, admitted: bool) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, "cannot set TCP_NODELAY: {error}");
        }
        #[cfg(any(target_os = "android", target_os = "linux"))]
        if let Err(error) = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES) {
            tracing::debug!(%peer, "cannot set TCP_NOTSENT_LOWAT: {error}");
        }
        let activity = Activity::new();
        self.patrol.watch(&activity);
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let stamp = Stamp::new(&peer, &self.app.config.node_version);
        let (half_closed, slots) =
            (Arc::new(HalfClosed::default()), Arc::new(Semaphore::new(SLOTS)));
        let service = service_fn(|request: Request<Incoming>| {
            let App { metrics, config, .. } = &*self.app;
            let entry = self.entry(&request, &activity, &slots, &half_closed);
            let entry =
                entry.map(|entry| (entry, Record::begin(metrics, config.requests, peer, &request)));
            let (app, stamp) = (Arc::clone(&self.app), stamp.clone());
            async move {
                // The client may repeat the request on another connection: RFC 9113, section 8.7.
                let entry = entry.ok_or(h2::Reason::REFUSED_STREAM)?;
                Ok::<_, h2::Error>(answer(app, stamp, request, entry, admitted).await)
            }
        });
        let socket = TokioIo::new(Socket::new(
            stream,
            Arc::clone(&activity),
            Arc::clone(&half_closed),
            stamp.clone(),
            self.app.metrics.clone(),
        ));
        let mut connection = pin!(self.builder.serve_connection(socket, service));
        // Dropped before the connection, at the end of this function or of the task.
        let _farewell = Farewell(&activity);
        let mut phase = self.app.phase.clone();
        let mut draining = false;
        let mut pause = PAUSE_MIN;
        loop {
            select! {
                biased;
                ended = &mut connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, "connection ended: {error}");
                    }
                    return;
                }
                _ = phase.wait_for(|phase| *phase >= Phase::Draining), if !draining => {
                    draining = true;
                    activity.drain();
                    connection.as_mut().graceful_shutdown();
                }
                reason = activity.dropped() => {
                    tracing::debug!(%peer, "connection dropped: {reason}");
                    return;
                }
                () = half_closed.noticed() => pause = PAUSE_MIN,
                // This polls the connection again, and with it the socket.
                () = sleep(pause), if half_closed.is_withheld() => {
                    half_closed.probe();
                    pause = pause.saturating_mul(2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// How `request` arrived; `None`, which is counted, if too many HTTP/2 streams are open.
    fn entry(
        &self,
        request: &Request<Incoming>,
        activity: &Arc<Activity>,
        slots: &Arc<Semaphore>,
        half_closed: &Arc<HalfClosed>,
    ) -> Option<Entry> {
        if request.version() != Version::HTTP_2 {
            half_closed.begin(!request.body().is_end_stream());
            let turn = Turn::begin(activity, request.version());
            return Some(Entry::Only(turn, Arc::clone(half_closed)));
        }
        let Ok(permit) = Arc::clone(&self.streams).try_acquire_owned() else {
            self.app.metrics.counters().streams_refused.fetch_add(1, Relaxed);
            return None;
        };
        Some(Entry::Stream {
            activity: Arc::clone(activity),
            slots: Arc::clone(slots),
            waiting: Arc::clone(&self.waiting),
            permit: Arc::new(permit),
        })
    }
}

/// Tells that a connection ends, however it does.
struct Farewell<'a>(&'a Activity);

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// How a request arrived.
enum Entry {
    /// Over HTTP/1: the only request in flight on its connection.
    Only(Turn, Arc<HalfClosed>),
    /// Over HTTP/2: waits for a slot of its connection, unless too many requests wait.
    Stream {
        activity: Arc<Activity>,
        slots: Arc<Semaphore>,
        waiting: Arc<Semaphore>,
        permit: StreamPermit,
    },
}

impl Entry {
    /// Waits until the request may be served, and reads its body meanwhile. Returns an error if too many
    /// requests wait, or if there is no room for the body.
    async fn enter(
        self,
        app: &App,
        body: &mut RequestBody,
    ) -> (Turn, Option<OwnedSemaphorePermit>, Result<(), Error>) {
        let (activity, slots, waiting) = match self {
            Self::Only(turn, _) => return (turn, None, Ok(())),
            Self::Stream { activity, slots, waiting, .. } => (activity, slots, waiting),
        };
        // While a request waits for a slot, the server does not owe the client anything: its turn
        // begins when the wait is over.
        let begin = || Turn::begin(&activity, Version::HTTP_2);
        if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
            return (begin(), Some(slot), Ok(()));
        }
        let Ok(_waits) = waiting.try_acquire() else { return (begin(), None, Err(Error::Busy)) };
        let read = body.read_ahead(app.config.longest_body_bytes(), &app.bodies);
        select! {
            biased;
            // The semaphore is never closed.
            slot = slots.acquire_owned() => (begin(), slot.ok(), Ok(())),
            failed = read => (begin(), None, failed),
        }
    }

    fn permit(&self) -> Option<StreamPermit> {
        match self {
            Self::Only(..) => None,
            Self::Stream { permit, .. } => Some(Arc::clone(permit)),
        }
    }

    fn half_closed(&self) -> Option<Arc<HalfClosed>> {
        match self {
            Self::Only(_, half_closed) => Some(Arc::clone(half_closed)),
            Self::Stream { .. } => None,
        }
    }
}

async fn answer(
    app: Arc<App>,
    stamp: Stamp,
    request: Request<Incoming>,
    (entry, mut record): (Entry, Record),
    admitted: bool,
) -> Response<Tracked> {
    let id = record.id().clone();
    let (half_closed, permit) = (entry.half_closed(), entry.permit());
    let (head, body) = request.into_parts();
    let expects = !body.is_end_stream() && head.headers.contains_key(EXPECT);
    let is_head = head.method == Method::HEAD;
    let mut body = RequestBody::new(body, half_closed.clone());
    let (mut turn, slot, entered) = entry.enter(&app, &mut body).await;
    let checked = if admitted { entered } else { Err(Error::Full) };
    let mut response = match checked.and_then(|()| check_framing(&head)) {
        Ok(()) => {
            let answer = pin!(route::answer(&app, &head, &mut body, record.endpoint()));
            id.clone().scope(answer).await
        }
        Err(error) => refused(&error, is_head),
    };
    if head.version == Version::HTTP_2 && !body.is_end_stream() {
        // Up to twice as much as the longest body that any endpoint takes.
        let limits = app.body_limits(app.config.longest_body_bytes().saturating_mul(2));
        let permit = permit.clone();
        tokio::spawn(async move {
            discard(body, limits).await;
            drop(permit);
        });
    }
    let held_bytes = response.body().held_bytes();
    let charge = if held_bytes > FREE_BYTES { app.take_room(held_bytes).ok() } else { None };
    if held_bytes > FREE_BYTES && charge.is_none() {
        response = without_room(&response, is_head);
    }
    // An event stream has `Connection: close` for another reason.
    let is_of_events = matches!(response.body(), Body::Events(_));
    let mut leaves_unread = response.headers().contains_key(CONNECTION) && !is_of_events;
    if let Some(half_closed) = &half_closed {
        // The client was not told to continue, so the body may or may not arrive.
        if expects && half_closed.is_body_open() {
            response.headers_mut().insert(CONNECTION, CLOSE);
            leaves_unread = true;
        }
        half_closed::probe(response.body_mut(), half_closed);
    }
    if leaves_unread {
        turn.leave_unread();
    }
    if let Some(permit) = permit {
        turn.keep_stream(permit);
    }
    if let Some(slot) = slot.filter(|_| !matches!(response.body(), Body::Events(_))) {
        turn.keep(slot);
    }
    record.answer(response.status(), response.body().is_end_stream());
    stamp.apply(response.headers_mut(), &id);
    response.map(|body| Tracked::new(body, turn, record, charge))
}

/// The response to a rejected request.
fn refused(error: &Error, is_head: bool) -> Response<Body> {
    let mut response = response::error(error);
    if matches!(error, Error::Full) {
        response.headers_mut().insert(CONNECTION, CLOSE);
    }
    if is_head { response::without_body(response) } else { response }
}

/// The response that replaces one for which there is no memory.
fn without_room(instead: &Response<Body>, is_head: bool) -> Response<Body> {
    let mut response = refused(&Error::Memory, is_head);
    // Part of the request may be unread.
    if let Some(close) = instead.headers().get(CONNECTION) {
        response.headers_mut().insert(CONNECTION, close.clone());
    }
    response
}

/// How connections are served.
pub(crate) fn builder(config: &Config) -> Builder<StreamExecutor> {
    let mut builder = Builder::new(StreamExecutor);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .title_case_headers(true)
        // Every answer brings its own, which follows a clock that is put back.
        .auto_date_header(false)
        // Heads up to this are read, so that those over their limit get an answer of ours.
        .max_buf_size(BUFFER_BYTES.max(config.head_bytes_max.saturating_mul(2)));
    builder
        .http2()
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(config.head_bytes_max).unwrap_or(u32::MAX))
        .max_send_buf_size(BUFFER_BYTES)
        .keep_alive_interval(PING_TIME)
        .keep_alive_timeout(PING_TIME);
    builder
}
