//! Bytes of a connection: every request among them has an answer, and none is an error of ours.
#![no_main]

use fuzz::World;
use libfuzzer_sys::fuzz_target;

/// Headers of an answer at most.
const HEADERS_MAX: usize = 32;

/// Every status that the server has for a client, and none that says that it failed.
const STATUSES: [u16; 17] =
    [100, 200, 204, 206, 304, 400, 404, 405, 406, 408, 413, 414, 415, 416, 431, 501, 503];

/// How a connection of HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fuzz_target!(|data: &[u8]| {
    let world = World::get();
    let answers = world.exchange(data);
    let is_second = data.starts_with(b"PRI ");
    if !is_second {
        // Of `HEAD` an answer has a length and no body.
        let has_head = data.windows(4).any(|some| some == b"HEAD");
        let parsed = parsed(&answers, has_head);
        let again = self::parsed(&world.exchange(data), has_head);
        assert_eq!(parsed, again, "the same bytes have other answers");
    } else if data.starts_with(PREFACE) {
        // Settings come first.
        assert_eq!(answers.get(3), Some(&4), "no frame of settings");
    }
});

/// Status and body of each answer.
fn parsed(mut bytes: &[u8], has_head: bool) -> Vec<(u16, Vec<u8>)> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut answer = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(len)) = answer.parse(bytes) else {
            panic!("no answer of HTTP: {}", String::from_utf8_lossy(bytes));
        };
        let status = answer.code.unwrap_or_default();
        assert!(STATUSES.contains(&status), "status {status}");
        let value = |name: &str| {
            let header =
                answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            header.and_then(|header| std::str::from_utf8(header.value).ok())
        };
        let rest = bytes.get(len..).unwrap_or_default();
        let is_without = matches!(status, 100 | 204 | 304);
        let (body, behind) = match (value("content-length"), value("transfer-encoding")) {
            _ if is_without => (Vec::new(), rest),
            (Some(length), None) => {
                let length: usize = length.parse().unwrap_or_else(|_| panic!("length {length}"));
                let body = rest.get(..length);
                // The next answer may be as long as the body that `HEAD` leaves out.
                let is_next = |body: &[u8]| body.starts_with(b"HTTP/");
                let is_left_out = body.is_none_or(is_next);
                if has_head && (is_left_out || rest.get(length..).is_some_and(is_odd)) {
                    return answers;
                }
                let body = body.unwrap_or_else(|| {
                    panic!("a body is cut off: {} of {length} bytes", rest.len())
                });
                (body.to_vec(), rest.get(length..).unwrap_or_default())
            }
            (None, Some("chunked")) if has_head => return answers,
            (None, Some("chunked")) => unchunked(rest),
            (None, None) => (rest.to_vec(), [].as_slice()),
            other => panic!("{other:?} say how long an answer is"),
        };
        if value("content-type").is_some_and(|of| of.starts_with("application/json"))
            && !body.is_empty()
        {
            let json: Result<serde_json::Value, _> = serde_json::from_slice(&body);
            assert!(json.is_ok(), "no JSON: {}", String::from_utf8_lossy(&body));
        }
        answers.push((status, body));
        bytes = behind;
    }
    answers
}

fn is_odd(bytes: &[u8]) -> bool {
    !bytes.is_empty() && !bytes.starts_with(b"HTTP/")
}

fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((start, len))) = httparse::parse_chunk_size(bytes) else {
            panic!("no chunk: {}", String::from_utf8_lossy(bytes));
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let rest = bytes.get(start..).unwrap_or_default();
        if len == 0 {
            // Trailers end with an empty line.
            let end = rest.windows(2).position(|some| some == b"\r\n" && rest.starts_with(some));
            let end = end
                .or_else(|| rest.windows(4).position(|some| some == b"\r\n\r\n").map(|at| at + 2));
            return (body, rest.get(end.unwrap_or(rest.len()) + 2..).unwrap_or_default());
        }
        let Some(chunk) = rest.get(..len) else { panic!("a chunk is cut off") };
        body.extend_from_slice(chunk);
        bytes = rest.get(len + 2..).unwrap_or_default();
    }
}
