//! Heads whose host or body another program could read differently.
//!
//! A proxy forwards requests as it understands them. If it and this server disagree on where a
//! request ends, or on its host, a client can hide one request in another (request smuggling).
//! hyper rejects most of these heads. This module rejects the others:
//!
//! | head | status |
//! | --- | --- |
//! | HTTP/1.1 without `Host`; any version with two, or with a malformed one | 400 |
//! | an absolute target or `:authority` with user information, or otherwise malformed | 400 |
//! | HTTP/2 whose `Host` names another host than `:authority` | 400 |
//! | `Transfer-Encoding: gzip, chunked`: hyper decodes only the chunks | 501 |
//! | `Transfer-Encoding: chunked, chunked` | 400 |
//! | HTTP/2 with several `Content-Length` | 400 |

use std::net::Ipv6Addr;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Version};

use crate::error::{Error, excerpt};

/// Rejects a head that is ambiguous.
///
/// # Errors
///
/// As in the table of the module.
pub(crate) fn check_framing(head: &Parts) -> Result<(), Error> {
    let (mut host, mut lengths, mut chunked) = (None, 0_usize, 0_usize);
    for (name, value) in &head.headers {
        if *name == HOST && host.replace(value).is_some() {
            return Err(Error::Host("Host is given more than once"));
        }
        if *name == CONTENT_LENGTH {
            lengths = lengths.saturating_add(1);
        }
        if *name == TRANSFER_ENCODING {
            chunked = chunked.saturating_add(codings(value)?);
        }
    }
    check_target(head.uri.authority())?;
    check_host(head, host)?;
    if chunked > 1 {
        return Err(Error::ChunkedTwice);
    }
    if lengths > 1 { Err(Error::ContentLength) } else { Ok(()) }
}

/// The authority of an absolute target, or `:authority`, must be as `Host` must be: RFC 9110,
/// section 4.2.4, and RFC 9113, section 8.3.1.
fn check_target(authority: Option<&Authority>) -> Result<(), Error> {
    let Some(authority) = authority else { return Ok(()) };
    if is_plain(authority.as_str().as_bytes()) || is_host(authority) {
        return Ok(());
    }
    Err(Error::Host("the authority of the target is not a host name with or without port"))
}

fn check_host(head: &Parts, host: Option<&HeaderValue>) -> Result<(), Error> {
    let Some(host) = host else {
        // HTTP/1.0 has no `Host`, and HTTP/2 has it in the target.
        let is_missing = head.version == Version::HTTP_11;
        return if is_missing { Err(Error::Host("Host is missing")) } else { Ok(()) };
    };
    // In HTTP/1.1 an absolute target overrides `Host`: RFC 9112, section 3.2.2.
    if head.version < Version::HTTP_2 {
        let is_valid = is_plain(host.as_bytes()) || parse_host(host).is_ok();
        return if is_valid { Ok(()) } else { Err(malformed()) };
    }
    match (parse_host(host)?, head.uri.authority()) {
        (Some(host), Some(target)) if !is_same(&host, target) => {
            Err(Error::Host("Host is not the host of :authority"))
        }
        _ => Ok(()),
    }
}

const fn malformed() -> Error {
    Error::Host("Host is not a host name with or without port")
}

/// Whether this is a name or an IPv4 address, with or without a port: nearly every `Host` is. Parsing
/// one takes ten times as long, so this comes first.
fn is_plain(host: &[u8]) -> bool {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let name = host.iter().take_while(|byte| is_of_name(byte)).count();
    let is_port = match host.get(name..) {
        Some([]) => true,
        Some([b':', digits @ ..]) => {
            let number = digits.iter().fold(0, |number: u32, digit| {
                number.saturating_mul(10).saturating_add(u32::from(digit.wrapping_sub(b'0')))
            });
            digits.iter().all(u8::is_ascii_digit) && number <= u16::MAX.into()
        }
        _ => false,
    };
    name > 0 && is_port
}

/// The value of `Host`; `None` for an empty one, which is valid.
fn parse_host(value: &HeaderValue) -> Result<Option<Authority>, Error> {
    let text = value.to_str().map_err(|_| malformed())?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let authority: Authority = text.parse().map_err(|_| malformed())?;
    if is_host(&authority) { Ok(Some(authority)) } else { Err(malformed()) }
}

/// Whether an authority is a host with or without a port. It may have user information, a host may
/// not. A port is a number, or empty. Brackets have an IPv6 address without a zone in them.
fn is_host(authority: &Authority) -> bool {
    let host = authority.host();
    let Some(port) = authority.as_str().strip_prefix(host) else { return false };
    let is_port = match port.strip_prefix(':') {
        Some(digits) => {
            let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
            is_number && (digits.is_empty() || authority.port_u16().is_some())
        }
        None => port.is_empty(),
    };
    let is_name = match host.strip_prefix('[') {
        Some(rest) => {
            rest.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
        }
        // A name may have a comma by RFC 3986, but no host has one: a proxy has joined two values.
        None => !host.is_empty() && !host.contains(','),
    };
    is_port && is_name
}

/// Whether these name the same host and port; the default port is 80.
fn is_same(a: &Authority, b: &Authority) -> bool {
    let port = |authority: &Authority| authority.port_u16().unwrap_or(80);
    a.host().eq_ignore_ascii_case(b.host()) && port(a) == port(b)
}

/// The number of times that a `Transfer-Encoding` has `chunked`, which must be its only coding.
fn codings(value: &HeaderValue) -> Result<usize, Error> {
    let text = String::from_utf8_lossy(value.as_bytes());
    let mut chunked = 0_usize;
    for coding in text.split(',').map(str::trim) {
        if !coding.eq_ignore_ascii_case("chunked") {
            return Err(Error::Coding { got: excerpt(coding) });
        }
        chunked = chunked.saturating_add(1);
    }
    Ok(chunked)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn check(version: Version, uri: &str, headers: &[(&str, &str)]) -> Result<(), u16> {
        let builder = Request::builder().version(version).uri(uri);
        let builder = headers.iter().fold(builder, |b, (name, value)| b.header(*name, *value));
        let (head, ()) = builder.body(()).unwrap().into_parts();
        check_framing(&head).map_err(|error| error.status().as_u16())
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
            "a b",
            "a,b",
            "u@a",
            "a:b",
            "a:99999",
            "a/b",
            "http://a",
            "a?b",
            "a#b",
            "[::1",
            ":80",
            "a:1:2",
            "a\u{e9}",
            "a:+80",
            "[]",
            "[zz]",
            "[::g]",
            "[fe80::1%eth0]",
            "[::1]:+80",
            "[::1]a",
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
    fn a_plain_host_is_one_that_parses() {
        const BYTES: &[u8] = b"aZ9.-:,@[]%_/ ";
        let (mut texts, mut plain) = (vec![Vec::new()], 0);
        for _ in 0..4 {
            let longer = texts.iter().flat_map(|text: &Vec<u8>| {
                BYTES.iter().map(move |byte| [&text[..], &[*byte]].concat())
            });
            texts = longer.collect();
            for text in texts.iter().filter(|text| is_plain(text)) {
                let parsed = parse_host(&HeaderValue::from_bytes(text).unwrap());
                assert!(matches!(parsed, Ok(Some(_))), "{text:?}");
                plain += 1;
            }
        }
        assert!(plain > 500, "{plain}");
        for host in ["a.example", "127.0.0.1:1848", "api.chainweb.com:", "a-b:80"] {
            assert!(is_plain(host.as_bytes()), "{host}");
        }
        assert!(
            is_plain(b"a:65535") && !is_plain(b"a:65536") && !is_plain(b"") && !is_plain(b":80")
        );
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
    fn target_has_a_host_and_no_user_information() {
        let of = |version, authority: &str| {
            check(
                version,
                &format!("http://{authority}/x"),
                &[("host", "a")][..usize::from(version == Version::HTTP_11)],
            )
        };
        for version in [Version::HTTP_11, Version::HTTP_2] {
            for good in ["a", "a:80", "a:", "[::1]:80", "127.0.0.1", "a_b"] {
                assert_eq!(of(version, good), Ok(()), "{version:?} {good}");
            }
            for bad in ["u@a", "u:p@a", "@a", "u@a:80", "a,b", "a:b", "a:99999"] {
                let uri = format!("http://{bad}/x");
                // `http` rejects some of them itself.
                let is_parsed = uri.parse::<http::Uri>().is_ok();
                assert!(!is_parsed || of(version, bad) == Err(400), "{version:?} {bad}");
            }
            assert_eq!(of(version, "u@a"), Err(400));
        }
        assert_eq!(check(Version::HTTP_2, "http://u@a/", &[("host", "u@a")]), Err(400));
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
