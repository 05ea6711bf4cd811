use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::half_closed::HalfClosed;
use crate::error::Error;
use crate::request::{BodyBudget, BodyShare};

/// The body of a request.
///
/// Over HTTP/1 it detects that the missing bytes will not arrive. Over HTTP/2 it can be read before the request
/// is handled, because all bodies of a connection share one flow-control window of 1 MiB. If a request that
/// waits for a slot left its body there, the requests that have the slots would not get theirs:
///
/// ```text
/// 100 requests of 47 kB, 32 of which have slots and none of which has its whole body
/// the window is full of the first 10 kB of each    68 of them are not read before a slot is free
/// ```
#[derive(Debug)]
pub(super) struct RequestBody {
    body: Incoming,
    /// None over HTTP/2.
    half_closed: Option<Arc<HalfClosed>>,
    /// What was read before the request is handled, and its share of the budget for all bodies.
    ahead: Option<(Vec<u8>, BodyShare)>,
}

impl RequestBody {
    pub(super) const fn new(body: Incoming, half_closed: Option<Arc<HalfClosed>>) -> Self {
        Self { body, half_closed, ahead: None }
    }

    /// Reads up to `bytes_max` bytes into memory, then waits forever.
    ///
    /// # Errors
    ///
    /// - [`Error::BodyLong`] if the body is longer.
    /// - [`Error::BodiesFull`] if the bodies of all requests together exceed `budget`.
    pub(super) async fn read_ahead(
        &mut self,
        bytes_max: usize,
        budget: &Arc<BodyBudget>,
    ) -> Result<(), Error> {
        while let Some(Ok(frame)) = self.body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            let (bytes, share) = self.ahead.get_or_insert_with(|| (Vec::new(), budget.share()));
            share.append(bytes, &data, bytes_max)?;
        }
        std::future::pending().await
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
        if let Some((bytes, _)) = mem::take(&mut this.ahead) {
            return Poll::Ready(Some(Ok(Frame::data(bytes.into()))));
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        let Some(half_closed) = &this.half_closed else { return polled };
        if polled.is_pending() {
            if half_closed.starve() {
                cx.waker().wake_by_ref();
            }
        } else if this.body.is_end_stream() || !matches!(polled, Poll::Ready(Some(Ok(_)))) {
            half_closed.end_body();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
