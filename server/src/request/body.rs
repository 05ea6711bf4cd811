use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::config::Config;
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

/// Reads the body of a request to its end, within the limits of `config`.
///
/// # Errors
///
/// - [`Error::ContentType`] if it is declared as something else than JSON.
/// - [`Error::BodyLong`] if it is longer than allowed; a declared length is believed at once.
/// - [`Error::BodySlow`] if it takes longer than allowed, [`Error::BodyCut`] if it does not end.
pub(crate) async fn read_json<B>(head: &Parts, body: B, config: &Config) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    check_type(head)?;
    read(head, body, config).await
}

/// Reads a body that means nothing to its end, within the same limits.
///
/// What is left of it hyper would read behind the answer: if it then ends, or breaks the protocol, before
/// all of the answer has left, hyper cuts that off, or puts the answer to what follows in the middle.
///
/// # Errors
///
/// As for [`read_json`], whatever its type.
pub(crate) async fn pass_over<B>(head: &Parts, body: B, config: &Config) -> Result<(), Error>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    if body.is_end_stream() {
        return Ok(());
    }
    read(head, body, config).await.map(drop)
}

async fn read<B>(head: &Parts, body: B, config: &Config) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let max = config.body_bytes_max;
    let declared = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared = declared.and_then(|text| text.parse::<u64>().ok());
    if declared.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > max)) {
        return Err(Error::BodyLong { max });
    }
    match timeout(config.body_time, Limited::new(body, max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Error::BodyLong { max }),
        Ok(Err(_)) => Err(Error::BodyCut),
        Err(_) => Err(Error::BodySlow),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http::Request;
    use http_body::Frame;
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

    fn head(headers: &[(&str, &str)]) -> Parts {
        let builder =
            headers.iter().fold(Request::builder(), |b, (name, value)| b.header(*name, *value));
        builder.body(()).unwrap().into_parts().0
    }

    async fn read_of(headers: &[(&str, &str)], length: usize) -> Result<Bytes, Error> {
        let config = Config { body_bytes_max: 10, ..Config::default() };
        read_json(&head(headers), Full::new(Bytes::from(vec![b' '; length])), &config).await
    }

    #[tokio::test]
    async fn body_up_to_the_limit_is_read() {
        assert_eq!(read_of(&[], 10).await.unwrap().len(), 10);
        assert_eq!(read_of(&[("content-length", "10")], 10).await.unwrap().len(), 10);
    }

    #[tokio::test]
    async fn longer_body_is_refused_declared_or_not() {
        let config = Config { body_bytes_max: 10, ..Config::default() };
        let result = read_json(&head(&[("content-length", "11")]), Silent, &config).await;
        assert!(matches!(result, Err(Error::BodyLong { max: 10 })));
        assert!(matches!(read_of(&[], 11).await, Err(Error::BodyLong { max: 10 })));
    }

    #[tokio::test(start_paused = true)]
    async fn silent_body_is_given_up() {
        let result = read_json(&head(&[]), Silent, &Config::default()).await;
        assert!(matches!(result, Err(Error::BodySlow)));
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
