use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::Cut;

/// Events in order, each when it is there.
pub(crate) trait EventSource: Send {
    /// The next event, all of it; `None` at the end, or an error, after which it is not called again.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>>;
}

/// None at all: of an answer of which only the head is wanted.
pub(super) struct NoEvents;

impl EventSource for NoEvents {
    fn poll_event(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        Poll::Ready(None)
    }
}

impl fmt::Debug for dyn EventSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventSource")
    }
}
