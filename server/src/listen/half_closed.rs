//! Clients that close their sending side and wait for the response, such as `printf … | nc -N` and
//! HTTP/1.0 tools.
//!
//! hyper drops a connection as soon as the client closes its sending side, even in the middle of a
//! response. A client that is gone sends the same FIN as one that closed only its sending side. So
//! the [`Socket`](super::socket::Socket) withholds the end of the input from hyper until the
//! response has been sent. Then it hands over the end, and hyper closes the connection as after any
//! last request.
//!
//! - While hyper still waits for part of the request, the socket hands over the end at once: the
//!   request is truncated, and gets 400. [`RequestBody`](super::request_body::RequestBody) detects this: it has nothing more to read
//!   although the input has ended. Only the body can tell, because hyper may have the last bytes in
//!   its buffer.
//! - A client that is gone answers the first byte that it gets with a reset. A response sends a
//!   byte soon enough; an event stream without events sends an empty line now and then, which
//!   clients ignore. Then the socket checks for an error.
//! - A client that does not read has the same timeouts as any other: this does not affect the
//!   timers of [`Activity`](super::activity::Activity).
//! - Over HTTP/2 the socket hands over the end at once: a client that closes such a connection is
//!   gone, because it would have to acknowledge frames.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::response::{Body, Cut, EventSource};

/// The time between two empty lines and checks of the socket. It starts at the minimum and doubles
/// up to the maximum.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(100);
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A line that neither ends nor begins an event.
const EMPTY_LINE: &[u8] = b"\n";

/// The state of the input of an HTTP/1 connection.
#[derive(Debug, Default)]
pub(super) struct HalfClosed {
    /// The client has closed its side.
    ended: AtomicBool,
    /// hyper does not know that yet.
    withheld: AtomicBool,
    /// The body of the current request has not been read to its end.
    body_open: AtomicBool,
    /// This body is longer than what the client has sent.
    starved: AtomicBool,
    /// An event stream must find out whether the client is still there.
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

    /// Whether the client has closed its side.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// All of the current body has been read, or no more of it can be.
    pub(super) fn end_body(&self) {
        self.body_open.store(false, Relaxed);
    }

    /// The body needs more than what has arrived. Returns whether that is new and the end of the input is
    /// withheld, so that hyper must read the socket once more.
    pub(super) fn starve(&self) -> bool {
        self.is_withheld() && !self.starved.swap(true, Relaxed)
    }

    /// Whether the end of the input truncates a request, and so must not be withheld.
    pub(super) fn is_starved(&self) -> bool {
        self.body_open.load(Relaxed) && self.starved.load(Relaxed)
    }

    /// Whether the current request has a body that has not been read to its end.
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

    /// Makes an event stream find out whether the client is still there.
    pub(super) fn probe(&self) {
        self.probe.store(true, Relaxed);
    }

    /// Whether the end of the input is withheld.
    pub(super) fn is_withheld(&self) -> bool {
        self.withheld.load(Relaxed)
    }

    /// Stops withholding the end of the input. Returns whether it was withheld.
    pub(super) fn hand_over(&self) -> bool {
        self.withheld.load(Relaxed) && self.withheld.swap(false, Relaxed)
    }

    /// Waits until the end of the input is withheld.
    pub(super) async fn noticed(&self) {
        self.told.notified().await;
    }
}

/// Makes the body of an HTTP/1 response find out whether its client is still there, if it may wait
/// indefinitely.
pub(super) fn probe(body: &mut Body, half_closed: &Arc<HalfClosed>) {
    if let Body::Events(_) = body
        && let Body::Events(source) = mem::replace(body, Body::empty())
    {
        let half_closed = Arc::clone(half_closed);
        *body = Body::Events(Box::new(Probing { source, half_closed }));
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
