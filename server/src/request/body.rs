use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::budget::{BodyBudget, BodyShare};
use crate::error::Error;

/// Checks that the body of a request is declared as JSON, or not declared at all.
///
/// # Errors
///
/// [`Error::ContentType`] if it is declared as something else.
fn check_type(head: &Parts) -> Result<(), Error> {
    for value in head.headers.get_all(CONTENT_TYPE) {
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        if !essence.trim().eq_ignore_ascii_case("application/json") {
            return Err(Error::ContentType);
        }
    }
    Ok(())
}

/// The body of a request, and its share of the budget for all bodies.
#[derive(Debug)]
pub(crate) struct ReadBody {
    bytes: Vec<u8>,
    _share: BodyShare,
}

impl Deref for ReadBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Limits of one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// Maximum length in bytes.
    pub(crate) bytes_max: usize,
    /// Time from the end of the head to the end of the body.
    pub(crate) time: Duration,
}

/// Reads the body of a request to its end, within `limits` and the rest of `budget`.
///
/// # Errors
///
/// - [`Error::ContentType`] if it is declared as something else than JSON.
/// - [`Error::BodyLong`] if it is longer than allowed; a declared length is believed at once.
/// - [`Error::BodiesFull`] if the bodies of all requests together exceed the budget.
/// - [`Error::BodySlow`] if it takes longer than allowed, [`Error::BodyCut`] if it does not end.
pub(crate) async fn read_json<B>(
    head: &Parts,
    body: B,
    limits: BodyLimits,
    budget: &Arc<BodyBudget>,
) -> Result<ReadBody, Error>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    check_type(head)?;
    let (mut bytes, mut share) = (Vec::new(), budget.share());
    read(head, body, limits, |frame| {
        // Copy the bytes, because a frame keeps the whole buffer that it was read into: a client
        // that sends a body in chunks of one byte would hold a multiple of its length.
        share.append(&mut bytes, &frame, limits.bytes_max)
    })
    .await?;
    Ok(ReadBody { bytes, _share: share })
}

/// Reads a body that the endpoint ignores to its end, and discards it.
///
/// What is left of it hyper would read behind the answer: if it then ends, or breaks the protocol, before
/// all of the answer has left, hyper cuts that off, or puts the answer to what follows in the middle.
///
/// # Errors
///
/// As for [`read_json`], except for the content type and the budget.
pub(crate) async fn pass_over<B>(head: &Parts, body: B, limits: BodyLimits) -> Result<(), Error>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    if body.is_end_stream() {
        return Ok(());
    }
    read(head, body, limits, |_| Ok(())).await
}

/// Reads what is left of a body after the response has been made, and discards it: at most
/// `limits.bytes_max` bytes. A body that is declared as longer is not read at all.
///
/// Over HTTP/2, a server that drops the body of a request resets the stream after the response (RFC
/// 9113, section 8.1). Clients must keep the response, but some, such as curl 7.88, report only the
/// reset.
pub(crate) async fn discard<B>(body: B, limits: BodyLimits)
where
    B: Body<Data = Bytes>,
{
    let mut left = limits.bytes_max;
    if body.is_end_stream() || usize::try_from(body.size_hint().lower()).map_or(true, |n| n > left)
    {
        return;
    }
    let all = async {
        let mut body = pin!(body);
        while let Some(Ok(frame)) = body.frame().await {
            let len = frame.data_ref().map_or(0, Bytes::len);
            let Some(less) = left.checked_sub(len) else { return };
            left = less;
        }
    };
    let _ = timeout(limits.time, all).await;
}

/// Passes every data frame of a body to `take`.
async fn read<B>(
    head: &Parts,
    body: B,
    limits: BodyLimits,
    mut take: impl FnMut(Bytes) -> Result<(), Error>,
) -> Result<(), Error>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let max = limits.bytes_max;
    let declared = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared = declared.and_then(|text| text.parse::<u64>().ok());
    if declared.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > max)) {
        return Err(Error::BodyLong { max });
    }
    let all = async {
        let mut body = pin!(body);
        let mut left = max;
        while let Some(frame) = body.frame().await {
            // Ignore trailers.
            let Ok(data) = frame.map_err(|_| Error::BodyCut)?.into_data() else { continue };
            left = left.checked_sub(data.len()).ok_or(Error::BodyLong { max })?;
            take(data)?;
        }
        Ok(())
    };
    timeout(limits.time, all).await.unwrap_or(Err(Error::BodySlow))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http::Request;
    use http_body::{Frame, SizeHint};
    use http_body_util::Full;

    use super::*;

    /// A body of which nothing ever arrives.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    /// A body of these parts, with its length or without.
    struct Parted<'a> {
        parts: &'a mut VecDeque<Bytes>,
        hint: bool,
    }

    impl Body for Parted<'_> {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.parts.pop_front().map(|part| Ok(Frame::data(part))))
        }

        fn size_hint(&self) -> SizeHint {
            let bytes = self.parts.iter().map(Bytes::len).sum::<usize>() as u64;
            if self.hint { SizeHint::with_exact(bytes) } else { SizeHint::new() }
        }
    }

    fn head(headers: &[(&str, &str)]) -> Parts {
        let builder =
            headers.iter().fold(Request::builder(), |b, (name, value)| b.header(*name, *value));
        builder.body(()).unwrap().into_parts().0
    }

    fn limits(bytes_max: usize) -> BodyLimits {
        BodyLimits { bytes_max, time: Duration::from_secs(10) }
    }

    async fn read_within<B: Body<Data = Bytes, Error = Infallible>>(
        headers: &[(&str, &str)],
        body: B,
    ) -> Result<Vec<u8>, Error> {
        let budget = BodyBudget::new(1 << 20);
        let body = read_json(&head(headers), body, limits(10), &budget).await?;
        Ok(body.to_vec())
    }

    async fn read_of(headers: &[(&str, &str)], length: usize) -> Result<Vec<u8>, Error> {
        read_within(headers, Full::new(Bytes::from(vec![b' '; length]))).await
    }

    #[tokio::test]
    async fn body_up_to_the_limit_is_read() {
        assert_eq!(read_of(&[], 10).await.unwrap().len(), 10);
        assert_eq!(read_of(&[("content-length", "10")], 10).await.unwrap().len(), 10);
    }

    #[tokio::test]
    async fn longer_body_is_refused_declared_or_not() {
        let result = read_within(&[("content-length", "11")], Silent).await;
        assert!(matches!(result, Err(Error::BodyLong { max: 10 })));
        assert!(matches!(read_of(&[], 11).await, Err(Error::BodyLong { max: 10 })));
        let (head, long) = (head(&[]), Full::new(Bytes::from_static(b"01234567890")));
        let ignored = pass_over(&head, long, limits(10)).await;
        assert!(matches!(ignored, Err(Error::BodyLong { max: 10 })));
    }

    #[tokio::test(start_paused = true)]
    async fn silent_body_is_given_up() {
        assert!(matches!(read_within(&[], Silent).await, Err(Error::BodySlow)));
        discard(Silent, limits(10)).await;
    }

    #[tokio::test]
    async fn bodies_up_to_the_limit_are_discarded_whole() {
        let left = |length: usize, hint: bool| async move {
            let mut parts = VecDeque::from(vec![Bytes::from_static(b"x"); length]);
            discard(Parted { parts: &mut parts, hint }, limits(10)).await;
            parts.len()
        };
        for hint in [false, true] {
            assert_eq!(left(0, hint).await, 0);
            assert_eq!(left(10, hint).await, 0);
        }
        // The eleventh byte is over the limit, and the rest is not read.
        assert_eq!(left(20, false).await, 9);
        assert_eq!(left(11, true).await, 11);
    }

    #[tokio::test]
    async fn bodies_of_all_requests_share_a_budget() {
        let budget = BodyBudget::new(1 << 20);
        let body = |length: usize| Full::new(Bytes::from(vec![b' '; length]));
        let (head, limits) = (head(&[]), limits(1 << 20));
        let first = read_json(&head, body(1 << 19), limits, &budget).await.unwrap();
        let second = read_json(&head, body(1 << 19), limits, &budget).await;
        assert!(matches!(second, Err(Error::BodiesFull)));
        assert!(read_json(&head, body(1 << 12), limits, &budget).await.is_ok());
        assert_eq!(first.len(), 1 << 19);
        drop(first);
        assert!(read_json(&head, body(1 << 19), limits, &budget).await.is_ok());
    }

    #[tokio::test]
    async fn only_json_is_read_and_no_declaration_is_json() {
        for good in
            ["application/json", "Application/JSON;charset=utf-8", " application/json ; x=y"]
        {
            assert!(read_of(&[("content-type", good)], 2).await.is_ok(), "{good}");
        }
        for bad in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            let result = read_of(&[("content-type", bad)], 2).await;
            assert!(matches!(result, Err(Error::ContentType)), "{bad}");
        }
    }
}
