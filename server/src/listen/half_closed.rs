//! Clients that have sent their last byte and wait for the response, as `printf … | nc -N` does, and
//! tools of HTTP/1.0.
//!
//! hyper drops a connection as soon as the client closes its side, even in the middle of a response.
//! TCP does not tell a client that closed its side only from one that is gone: both send the same
//! FIN. So the [`Socket`](super::socket::Socket) withholds the end of the input from hyper until the
//! response has left, and hands it over then; hyper closes the connection as behind any last request.
//!
//! - While hyper still waits for a part of the request, the end is handed over at once: the request
//!   is cut off, and gets 400. [`RequestBody`] notices that: it finds nothing more to read although
//!   the input has ended. The body alone tells, for hyper may have the last of it in its buffer.
//! - A client that is gone answers the first byte that it gets with a reset. A response sends one soon
//!   enough; an event stream that has no event sends an empty line now and then, which no client
//!   takes for one. Then the socket is asked for its error.
//! - A client that does not read has the same time to do so as others: the timers of
//!   [`Activity`](super::activity::Activity) know nothing of this.
//! - Over HTTP/2 the end is handed over at once: whoever closes such a connection is gone, for it has
//!   to answer what it gets.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::Notify;

use crate::response::{Body, Cut, EventSource};

/// The time between two such lines, and two such questions: at first, and at most, for it doubles.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(100);
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What ends no event and begins none.
const EMPTY_LINE: &[u8] = b"\n";

/// What is known of the input of a connection of HTTP/1.
#[derive(Debug, Default)]
pub(super) struct HalfClosed {
    /// The client has closed its side.
    ended: AtomicBool,
    /// hyper does not know that yet.
    withheld: AtomicBool,
    /// The body of the request under way is not read to its end.
    body_open: AtomicBool,
    /// That body needs more than the client has sent.
    starved: AtomicBool,
    /// An event stream has to find out whether somebody is there.
    probe: AtomicBool,
    told: Notify,
}

impl HalfClosed {
    /// A request begins, with a body or without.
    pub(super) fn begin(&self, has_body: bool) {
        self.body_open.store(has_body, Relaxed);
        self.starved.store(false, Relaxed);
    }

    /// The client has closed its side.
    pub(super) fn end(&self) {
        self.ended.store(true, Relaxed);
    }

    /// Whether it has.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// Whether the end of the input is not to be withheld, as it cuts off a request.
    pub(super) fn is_starved(&self) -> bool {
        self.body_open.load(Relaxed) && self.starved.load(Relaxed)
    }

    /// Whether the body of the request under way, if it has one, is not read to its end.
    pub(super) fn is_body_open(&self) -> bool {
        self.body_open.load(Relaxed)
    }

    /// The end of the input is withheld.
    pub(super) fn withhold(&self) {
        if !self.withheld.swap(true, Relaxed) {
            self.probe.store(true, Relaxed);
            self.told.notify_one();
        }
    }

    /// It is time to find out whether the client is there.
    pub(super) fn probe(&self) {
        self.probe.store(true, Relaxed);
    }

    /// Whether the end of the input is withheld.
    pub(super) fn is_withheld(&self) -> bool {
        self.withheld.load(Relaxed)
    }

    /// The end of the input is withheld no longer. Returns whether it was.
    pub(super) fn hand_over(&self) -> bool {
        self.withheld.load(Relaxed) && self.withheld.swap(false, Relaxed)
    }

    /// Waits until the end of the input is withheld.
    pub(super) async fn noticed(&self) {
        self.told.notified().await;
    }
}

/// The body of a request of HTTP/1, which notices that it lacks bytes that will not come.
#[derive(Debug)]
pub(super) struct RequestBody {
    body: Incoming,
    /// None over HTTP/2.
    half_closed: Option<Arc<HalfClosed>>,
}

impl RequestBody {
    pub(super) const fn new(body: Incoming, half_closed: Option<Arc<HalfClosed>>) -> Self {
        Self { body, half_closed }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        let Some(half_closed) = &this.half_closed else { return polled };
        if polled.is_pending() {
            if half_closed.is_withheld() && !half_closed.starved.swap(true, Relaxed) {
                // hyper asks the socket once more.
                cx.waker().wake_by_ref();
            }
        } else if this.body.is_end_stream() || !matches!(polled, Poll::Ready(Some(Ok(_)))) {
            half_closed.body_open.store(false, Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a response of HTTP/1, which finds out whether its client is there, if it would wait
/// for ever.
pub(super) fn probing(body: Body, half_closed: &Arc<HalfClosed>) -> Body {
    match body {
        Body::Events(source) => {
            Body::Events(Box::new(Probing { source, half_closed: Arc::clone(half_closed) }))
        }
        body => body,
    }
}

struct Probing {
    source: Box<dyn EventSource>,
    half_closed: Arc<HalfClosed>,
}

impl EventSource for Probing {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        let polled = self.source.poll_event(cx);
        if polled.is_pending() && self.half_closed.probe.swap(false, Relaxed) {
            return Poll::Ready(Some(Ok(Bytes::from_static(EMPTY_LINE))));
        }
        polled
    }
}
