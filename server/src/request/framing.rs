//! Heads whose host or body another program could read differently.
//!
//! A proxy forwards requests as it understands them. If it and this server disagree on where a
//! request ends, or on its host, a client can hide one request in another (request smuggling).
//! hyper rejects most of these heads. This module rejects the others:
//!
//! | head | status |
//! | --- | --- |
//! | HTTP/1.1 without `Host`; any version with two, or with a malformed one | 400 |
//! | HTTP/2 whose `Host` names another host than `:authority` | 400 |
//! | `Transfer-Encoding: gzip, chunked`: hyper decodes only the chunks | 501 |
//! | `Transfer-Encoding: chunked, chunked` | 400 |
//! | HTTP/2 with several `Content-Length` | 400 |

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderValue, Request, Version};

use crate::error::{Error, excerpt};

/// Rejects a head that is ambiguous.
///
/// # Errors
///
/// As in the table of the module.
pub(crate) fn check_framing<B>(head: &Request<B>) -> Result<(), Error> {
    check_host(head)?;
    check_codings(head)?;
    let is_repeated = head.headers().get_all(CONTENT_LENGTH).iter().nth(1).is_some();
    if is_repeated { Err(Error::ContentLength) } else { Ok(()) }
}

fn check_host<B>(head: &Request<B>) -> Result<(), Error> {
    let mut hosts = head.headers().get_all(HOST).iter();
    let Some(host) = hosts.next() else {
        // HTTP/1.0 has no `Host`, and HTTP/2 has it in the target.
        let is_missing = head.version() == Version::HTTP_11;
        return if is_missing { Err(Error::Host("Host is missing")) } else { Ok(()) };
    };
    if hosts.next().is_some() {
        return Err(Error::Host("Host is given more than once"));
    }
    let host = parse_host(host)?;
    // In HTTP/1.1 an absolute target overrides `Host`: RFC 9112, section 3.2.2.
    if head.version() < Version::HTTP_2 {
        return Ok(());
    }
    match (host, head.uri().authority()) {
        (Some(host), Some(target)) if !is_same(&host, target) => {
            Err(Error::Host("Host is not the host of :authority"))
        }
        _ => Ok(()),
    }
}

/// The value of `Host`; `None` for an empty one, which is valid.
fn parse_host(value: &HeaderValue) -> Result<Option<Authority>, Error> {
    let wrong = || Error::Host("Host is not a host name with or without port");
    let text = value.to_str().map_err(|_| wrong())?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let authority: Authority = text.parse().map_err(|_| wrong())?;
    // An authority may have user information, a host may not. A port is a number, or empty.
    let host = authority.host();
    let port = text.strip_prefix(host).ok_or_else(wrong)?;
    let is_port = match port.strip_prefix(':') {
        Some(digits) => digits.is_empty() || authority.port_u16().is_some(),
        None => port.is_empty(),
    };
    // A name may have a comma by RFC 3986, but no host has one: a proxy has joined two values.
    let is_host = !host.is_empty() && !host.contains(',');
    if is_port && is_host { Ok(Some(authority)) } else { Err(wrong()) }
}

/// Whether these name the same host and port; the default port is 80.
fn is_same(a: &Authority, b: &Authority) -> bool {
    let port = |authority: &Authority| authority.port_u16().unwrap_or(80);
    a.host().eq_ignore_ascii_case(b.host()) && port(a) == port(b)
}

fn check_codings<B>(head: &Request<B>) -> Result<(), Error> {
    let mut chunked = 0_usize;
    for value in head.headers().get_all(TRANSFER_ENCODING) {
        let text = String::from_utf8_lossy(value.as_bytes());
        for coding in text.split(',').map(str::trim) {
            if !coding.eq_ignore_ascii_case("chunked") {
                return Err(Error::Coding { got: excerpt(coding) });
            }
            chunked = chunked.saturating_add(1);
        }
    }
    if chunked > 1 { Err(Error::ChunkedTwice) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn check(version: Version, uri: &str, headers: &[(&str, &str)]) -> Result<(), u16> {
        let builder = Request::builder().version(version).uri(uri);
        let builder = headers.iter().fold(builder, |b, (name, value)| b.header(*name, *value));
        check_framing(&builder.body(()).unwrap()).map_err(|error| error.status().as_u16())
    }

    #[test]
    fn host_is_there_once_and_is_a_host() {
        let one = |host: &str| check(Version::HTTP_11, "/", &[("host", host)]);
        for good in [
            "a",
            "a.example",
            "A.example:80",
            "a:",
            "127.0.0.1:1848",
            "[::1]",
            "[::1]:80",
            "",
            " a ",
        ] {
            assert_eq!(one(good), Ok(()), "{good:?}");
        }
        for bad in [
            "a b", "a,b", "u@a", "a:b", "a:99999", "a/b", "http://a", "a?b", "a#b", "[::1", ":80",
            "a:1:2", "a\u{e9}",
        ] {
            assert_eq!(one(bad), Err(400), "{bad:?}");
        }
        assert_eq!(check(Version::HTTP_11, "/", &[]), Err(400));
        assert_eq!(check(Version::HTTP_10, "/", &[]), Ok(()));
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            let twice = [("host", "a"), ("host", "a")];
            assert_eq!(check(version, "/", &twice), Err(400), "{version:?}");
        }
    }

    #[test]
    fn host_of_http_2_is_that_of_its_target() {
        let both = |uri: &str, host: &str| check(Version::HTTP_2, uri, &[("host", host)]);
        assert_eq!(both("http://a.example/x", "A.example:80"), Ok(()));
        assert_eq!(both("http://a.example:1848/x", "a.example:1848"), Ok(()));
        assert_eq!(both("http://a.example/x", ""), Ok(()));
        assert_eq!(both("http://a.example/x", "b.example"), Err(400));
        assert_eq!(both("http://a.example/x", "a.example:81"), Err(400));
        assert_eq!(check(Version::HTTP_2, "http://a.example/x", &[]), Ok(()));
        // Requests to a proxy have this form, and the target counts.
        assert_eq!(check(Version::HTTP_11, "http://a.example/x", &[("host", "b")]), Ok(()));
    }

    #[test]
    fn bodies_are_chunked_once_or_not_at_all() {
        let of = |values: &[&str]| {
            let mut headers = vec![("host", "a")];
            headers.extend(values.iter().map(|value| ("transfer-encoding", *value)));
            check(Version::HTTP_11, "/", &headers)
        };
        assert_eq!(of(&[]), Ok(()));
        assert_eq!(of(&["chunked"]), Ok(()));
        assert_eq!(of(&["Chunked "]), Ok(()));
        assert_eq!(of(&["gzip, chunked"]), Err(501));
        assert_eq!(of(&["gzip", "chunked"]), Err(501));
        assert_eq!(of(&["identity, chunked"]), Err(501));
        assert_eq!(of(&["chunked;q=1"]), Err(501));
        assert_eq!(of(&[", chunked"]), Err(501));
        assert_eq!(of(&["chunked, chunked"]), Err(400));
        assert_eq!(of(&["chunked", "chunked"]), Err(400));
        let lengths = [("host", "a"), ("content-length", "2"), ("content-length", "2")];
        assert_eq!(check(Version::HTTP_2, "/", &lengths), Err(400));
    }
}
