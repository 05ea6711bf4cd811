use std::collections::VecDeque;
use std::fmt;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use plait_engine::Cursor;
use thiserror::Error;

/// The header, and the trailer, that says where to resume.
pub(crate) const X_NEXT: HeaderName = HeaderName::from_static("x-next");

/// Slices shorter than this are joined: each would cost a chunk of its own on the wire.
const SLICE_BYTES_MIN: usize = 16 * 1024;

/// Joined slices grow up to this.
const SLICE_BYTES_MAX: usize = 64 * 1024;

/// What a source gives when it is asked for more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The next records, whole ones.
    Records(Vec<Bytes>),
    /// The server stops; the rest begins here.
    Stop(Cursor),
    /// There are no more.
    End,
}

/// Records in order, read only when asked for.
pub(crate) trait Source: Send {
    /// Begins to read ahead, at most one step.
    fn prefetch(&mut self);

    /// The next step; after [`Step::Stop`], [`Step::End`] or an error it is not called again.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step, Cut>>;
}

/// A stream ends early, in a way that the client must notice: the connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Cut {
    /// The source failed.
    #[error("stream cut: its source failed")]
    Failed,
    /// The client reads too little of it.
    #[error("stream cut: the client does not read it")]
    Stalled,
    /// The server stops, and the client does not read trailers.
    #[error("stream cut: the server stops")]
    Stopped,
}

/// A body of as many records as its source gives.
///
/// # Shape
///
/// Whole records only. If the server stops, the trailer `X-Next` says where to resume; a client
/// that did not ask for trailers would take such an end for the end of the data, so for it the
/// stream breaks instead, and it resumes behind the last whole record that it has.
pub(crate) struct Stream {
    source: Box<dyn Source>,
    ready: VecDeque<Bytes>,
    trailers: bool,
    /// Bytes that are still to be given, if that is known.
    left: Option<u64>,
    ended: bool,
}

impl Stream {
    /// A stream of `source`; `trailers` says whether the client reads them.
    pub(crate) fn new(source: Box<dyn Source>, trailers: bool) -> Self {
        Self { source, ready: VecDeque::new(), trailers, left: None, ended: false }
    }

    /// A stream that begins with `first`, and continues with `source`.
    pub(crate) fn begun(first: Bytes, source: Box<dyn Source>) -> Self {
        Self { ready: [first].into(), ..Self::new(source, false) }
    }

    /// A stream of `source`, which gives `len` bytes unless it breaks.
    pub(crate) fn sized(source: Box<dyn Source>, len: u64) -> Self {
        Self { left: Some(len), ..Self::new(source, false) }
    }

    /// Bytes that are still to be given, if that is known.
    pub(super) const fn left(&self) -> Option<u64> {
        self.left
    }

    /// The next frame, as of [`http_body::Body::poll_frame`].
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        while self.ready.is_empty() && !self.ended {
            match ready!(self.source.poll_step(cx)) {
                Ok(Step::Records(slices)) => self.ready = join(slices),
                Ok(Step::Stop(cursor)) => {
                    self.ended = true;
                    let last = if self.trailers { trailer(cursor) } else { None };
                    return Poll::Ready(Some(last.ok_or(Cut::Stopped)));
                }
                Ok(Step::End) => self.ended = true,
                Err(cut) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(cut)));
                }
            }
        }
        let next = self.ready.pop_front();
        if next.is_some() && self.ready.is_empty() {
            self.source.prefetch();
        }
        if let (Some(left), Some(next)) = (&mut self.left, &next) {
            *left = left.saturating_sub(next.len() as u64);
        }
        Poll::Ready(next.map(|data| Ok(Frame::data(data))))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

fn trailer(cursor: Cursor) -> Option<Frame<Bytes>> {
    let value = HeaderValue::try_from(cursor.to_string()).ok()?;
    Some(Frame::trailers(HeaderMap::from_iter([(X_NEXT, value)])))
}

/// Joins short slices with those behind them, copying each once, and leaves long ones as they are.
pub(super) fn join(slices: Vec<Bytes>) -> VecDeque<Bytes> {
    let mut joined = VecDeque::with_capacity(slices.len().min(64));
    let is_short = |slice: &Bytes| slice.len() < SLICE_BYTES_MIN;
    let mut short_bytes: usize =
        slices.iter().filter(|slice| is_short(slice)).map(Bytes::len).sum();
    let mut open = BytesMut::new();
    for slice in slices {
        if !is_short(&slice) {
            joined.extend((!open.is_empty()).then(|| open.split().freeze()));
            joined.push_back(slice);
            continue;
        }
        if open.len().saturating_add(slice.len()) > SLICE_BYTES_MAX {
            joined.push_back(open.split().freeze());
        }
        if open.is_empty() {
            open.reserve(short_bytes.min(SLICE_BYTES_MAX));
        }
        short_bytes = short_bytes.saturating_sub(slice.len());
        open.extend_from_slice(&slice);
    }
    joined.extend((!open.is_empty()).then(|| open.freeze()));
    joined
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http_body_util::BodyExt;

    use super::super::Body;
    use super::*;

    /// Gives these steps, and counts how often it was told to read ahead.
    struct Steps(VecDeque<Result<Step, Cut>>);

    impl Source for Steps {
        fn prefetch(&mut self) {}

        fn poll_step(&mut self, _: &mut Context<'_>) -> Poll<Result<Step, Cut>> {
            self.0.pop_front().map_or(Poll::Pending, Poll::Ready)
        }
    }

    fn stream(steps: impl IntoIterator<Item = Result<Step, Cut>>, trailers: bool) -> Body {
        let source = Box::new(Steps(steps.into_iter().collect()));
        Body::Stream(Box::new(Stream::new(source, trailers)))
    }

    fn records(bytes: &'static [u8]) -> Step {
        Step::Records(bytes.chunks(2).map(Bytes::from_static).collect())
    }

    fn cursor() -> Cursor {
        "inclusive:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse().unwrap()
    }

    #[tokio::test]
    async fn stream_is_what_its_source_gives() {
        let body = stream(
            [Ok(records(b"abc")), Ok(Step::Records(vec![])), Ok(records(b"d")), Ok(Step::End)],
            true,
        );
        let collected = body.collect().await.unwrap();
        assert!(collected.trailers().is_none());
        assert_eq!(collected.to_bytes(), "abcd");
    }

    #[tokio::test]
    async fn stopped_stream_names_where_to_resume() {
        let collected =
            stream([Ok(records(b"ab")), Ok(Step::Stop(cursor()))], true).collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()[X_NEXT], cursor().to_string());
        assert_eq!(collected.to_bytes(), "ab");
    }

    #[tokio::test]
    async fn stopped_stream_breaks_where_trailers_are_not_read() {
        let error = stream([Ok(records(b"ab")), Ok(Step::Stop(cursor()))], false).collect().await;
        assert_eq!(error.unwrap_err(), Cut::Stopped);
    }

    #[tokio::test]
    async fn failed_source_breaks_the_stream() {
        let error = stream([Ok(records(b"ab")), Err(Cut::Failed)], true).collect().await;
        assert_eq!(error.unwrap_err(), Cut::Failed);
    }

    #[test]
    fn source_is_asked_only_when_the_stream_is_polled() {
        let mut source = Stream::new(Box::new(Steps([Ok(records(b"ab"))].into())), false);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(source.poll_frame(&mut cx).is_ready());
        assert!(source.poll_frame(&mut cx).is_pending());
    }

    #[test]
    fn short_slices_are_joined_and_long_ones_are_not_copied() {
        let long = Bytes::from(vec![1; SLICE_BYTES_MIN]);
        let short = Bytes::from(vec![2; 318]);
        let mut slices = vec![short.clone(), short.clone(), long.clone(), short.clone()];
        slices.extend(vec![short.clone(); 300]);
        let joined = join(slices.clone());
        assert_eq!(joined.iter().map(Bytes::len).collect::<Vec<_>>(), [636, 16384, 65508, 30210]);
        assert_eq!(joined[1].as_ptr(), long.as_ptr());
        assert_eq!(joined.into_iter().flatten().collect::<Vec<_>>(), slices.concat());
        assert!(join(vec![]).is_empty());
    }
}
