use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Version;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::activity::Turn;
use super::record::Record;
use super::sends::{Part, SHORT_BYTES, Sends};
use crate::budget::Charge;
use crate::metrics::Held;
use crate::response::{Body, Cut};

/// Bytes from which on a part of a response over HTTP/2 is watched, and charged until it is sent.
const WATCHED_BYTES_MIN: usize = 1 << 10;

/// A body that reports the progress of its request.
#[derive(Debug)]
pub(super) struct Tracked {
    body: Body,
    turn: Turn,
    record: Record,
    /// Counts the answer as a stream, if it is one.
    stream: Option<Held>,
    charge: Option<Arc<Charge>>,
    /// The parts in flight, over HTTP/2.
    sends: Option<Arc<Sends>>,
    /// Whether the answer is long: a long one ends only when all of it was sent.
    is_long: bool,
    /// Whether the body has reported its end.
    has_ended: bool,
}

impl Tracked {
    /// Makes the body of the answer to `turn`, which reports to `record`; `charge` pays for its
    /// bytes.
    pub(super) fn new(body: Body, mut turn: Turn, record: Record, charge: Option<Charge>) -> Self {
        let (mut sends, len) = (None, body.size_hint().exact().unwrap_or(u64::MAX));
        if let Body::Events(_) = body {
            turn.listen();
        } else {
            turn.await_server(false);
            sends = (len > WATCHED_BYTES_MIN as u64).then(|| turn.sends()).flatten();
        }
        let stream = body.is_stream().then(|| record.hold_stream());
        let is_long = len > SHORT_BYTES as u64;
        let charge = charge.map(Arc::new);
        Self { body, turn, record, stream, charge, sends, is_long, has_ended: false }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Err(cut) = ready!(self.poll_sent(cx)) {
            return Poll::Ready(Some(Err(cut)));
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        let body = Pin::new(&mut self.body);
        let polled = match self.stream {
            Some(_) => self.record.id().clone().run(|| body.poll_frame(cx)),
            None => body.poll_frame(cx),
        };
        self.turn.await_server(polled.is_pending());
        if matches!(polled, Poll::Ready(None)) {
            self.has_ended = true;
            if let Err(cut) = ready!(self.poll_sent(cx)) {
                return Poll::Ready(Some(Err(cut)));
            }
        }
        polled
    }

    /// Waits until another part may be in flight, over HTTP/2: one may already be, and none when a long
    /// response ends.
    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        let Some(sends) = &self.sends else { return Poll::Ready(Ok(())) };
        let ends = self.has_ended || self.body.is_end_stream();
        sends.poll_sent(cx, usize::from(!ends))
    }

    /// The next part of the response, which records when it is sent.
    fn give(&mut self, bytes: Bytes) -> Part {
        self.is_long |= bytes.len() > SHORT_BYTES;
        self.record.give(bytes.len(), self.body.is_end_stream());
        let sends = self.sends.as_ref().filter(|_| bytes.len() > WATCHED_BYTES_MIN);
        let charge = self.charge.clone();
        match sends {
            Some(sends) => sends.give(bytes, charge),
            None => Part::new(bytes, charge),
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if self.sends.as_ref().is_some_and(|sends| sends.is_cut()) {
            self.record.cut();
        }
    }
}

impl HttpBody for Tracked {
    type Data = Part;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Part>, Cut>>> {
        let this = self.get_mut();
        let next = ready!(this.poll_body(cx));
        // Before HTTP/1.1 the end of a stream is the end of the connection, cut or not.
        if matches!(next, Some(Err(_))) && this.turn.version() < Version::HTTP_11 {
            this.turn.break_off();
        }
        if next.is_none() {
            this.record.give(0, true);
        }
        Poll::Ready(next.map(|next| next.map(|frame| frame.map_data(|bytes| this.give(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        // Its task can be ended only before the body has ended.
        self.body.is_end_stream() && (self.sends.is_none() || !self.is_long)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
