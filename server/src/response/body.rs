use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::EventSource;
use super::octets::{Cut, Stream};
use crate::budget::STREAM_BYTES;

/// The body of an answer: of known length, a stream, or events.
#[derive(Debug)]
pub(crate) enum Body {
    /// Slices, sent as they are.
    Whole(VecDeque<Bytes>),
    /// Bytes that the server keeps in any case.
    Shared(Bytes),
    /// As much as its source gives.
    Stream(Box<Stream>),
    /// Events, each a frame of its own, for as long as the client listens.
    Events(Box<dyn EventSource>),
}

impl Body {
    /// No bytes.
    pub(crate) const fn empty() -> Self {
        Self::Whole(VecDeque::new())
    }

    fn len(&self) -> Option<u64> {
        match self {
            Self::Whole(slices) => Some(slices.iter().map(|slice| slice.len() as u64).sum()),
            Self::Shared(bytes) => Some(bytes.len() as u64),
            Self::Stream(stream) => stream.left(),
            Self::Events(_) => None,
        }
    }

    /// The most bytes that the body holds until they are sent, as charged to the budget.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::Whole(slices) => slices.iter().map(Bytes::len).fold(0, usize::saturating_add),
            Self::Stream(_) => STREAM_BYTES,
            // Events have limits of their own.
            Self::Shared(_) | Self::Events(_) => 0,
        }
    }

    /// Whether it is read while it is sent.
    pub(crate) const fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_) | Self::Events(_))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(if bytes.is_empty() { VecDeque::new() } else { [bytes].into() })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Whole(slices) => {
                Poll::Ready(slices.pop_front().map(|data| Ok(Frame::data(data))))
            }
            Self::Shared(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Stream(stream) => stream.poll_frame(cx),
            Self::Events(events) => {
                events.poll_event(cx).map(|event| event.map(|event| event.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(slices) => slices.is_empty(),
            Self::Shared(bytes) => bytes.is_empty(),
            Self::Stream(stream) => stream.left() == Some(0),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.len().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
