//! Answers that hyper gives by itself, made like ours.
//!
//! To a head that it cannot parse, or that is too long for it, hyper answers with a bare status
//! before any code of ours sees a request. What clients are promised of every answer holds for
//! those, too, so such a write is replaced as it leaves.

use std::io::{IoSlice, Write};

use http::{Response, StatusCode};

use crate::error::Error;
use crate::request_id::RequestId;
use crate::response::{self, Body, Stamp};

/// What every answer of ours has in its head.
const OURS: &[u8] = b"\r\nX-Peer-Addr: ";

/// The bytes to write in place of these, if they are such an answer, and its status.
pub(super) fn replaced(bufs: &[IoSlice<'_>], stamp: &Stamp) -> Option<(StatusCode, Vec<u8>)> {
    let first = bufs.iter().find(|buf| !buf.is_empty())?;
    let status = status(first)?;
    let error = Error::Unread(status);
    let mut response = response::error(&error);
    stamp.apply(response.headers_mut(), &RequestId::unique());
    let bytes = written(&response, &error.body());
    Some((status, bytes))
}

/// The status of an answer that is not ours.
fn status(bytes: &[u8]) -> Option<StatusCode> {
    let rest = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?;
    let status = StatusCode::from_bytes(rest.get(..3)?).ok()?;
    // Nearly every answer ends here; the rest looks at each byte.
    if status.as_u16() < 400 {
        return None;
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = bytes.get(..end)?;
    let ours = head.windows(OURS.len()).any(|window| window == OURS);
    (!ours).then_some(status)
}

/// The answer as HTTP/1.1 writes it, with names in Title-Case.
fn written(response: &Response<Body>, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        let mut begins = true;
        for byte in name.as_str().bytes() {
            bytes.push(if begins { byte.to_ascii_uppercase() } else { byte });
            begins = byte == b'-';
        }
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    // Writing to a vector cannot fail.
    let _ = write!(bytes, "Content-Length: {}\r\n\r\n", body.len());
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn replaced(bytes: &str) -> Option<String> {
        let stamp = Stamp::new(&"127.0.0.1:9", &HeaderValue::from_static("3.2"));
        let bytes = super::replaced(&[IoSlice::new(&[]), IoSlice::new(bytes.as_bytes())], &stamp);
        bytes.map(|(_, bytes)| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn bare_answers_are_replaced() {
        let bare = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        let answer = replaced(bare).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        for line in [
            "X-Peer-Addr: 127.0.0.1:9\r\n",
            "Connection: close\r\n",
            "Server: plait/",
            "X-Request-Id: ",
        ] {
            assert!(answer.contains(line), "{answer}");
        }
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(answer.contains(&format!("Content-Length: {}\r\n", body.len())), "{answer}");
        assert!(body.starts_with("{\"reason\":"), "{answer}");
    }

    #[test]
    fn other_bytes_are_left_alone() {
        for bytes in [
            "HTTP/1.1 404 Not Found\r\nX-Peer-Addr: 127.0.0.1:9\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-le",
            "{\"reason\":\"HTTP/1.1 400\"}",
            "",
        ] {
            assert_eq!(replaced(bytes), None, "{bytes}");
        }
    }
}
