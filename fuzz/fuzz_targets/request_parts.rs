//! The parts of a request: query, bodies, `Accept`, `Range`, `Last-Event-ID`, by slow twins.
#![no_main]

use std::collections::HashSet;
use std::fmt;

use arbitrary::{Arbitrary, Unstructured};
use fuzz::Edge;
use http::header::{ACCEPT, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Request};
use libfuzzer_sys::fuzz_target;
use plait::fuzzed::{accepted, batch, bounds, query, range, resume};
use plait_engine::{BlockHash, BlockHeight, Cursor, Heights, PayloadHash};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A range of media types with a quality in thousandths.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Wish {
    media: u8,
    quality: Option<u16>,
    /// How it is written.
    style: u8,
    /// Whether it begins a header of its own.
    apart: bool,
}

const OBJECT: &str = "application/json;blockheader-encoding=object";

/// What headers are offered as, the default first.
const OFFERED: [&str; 3] = ["application/json;charset=utf-8", OBJECT, "application/octet-stream"];

/// Ranges, how close they are, and which of the offered ones they cover.
const MEDIA: [(&str, u8, [bool; 3]); 7] = [
    ("*/*", 0, [true, true, true]),
    ("application/*", 1, [true, true, true]),
    ("application/json", 2, [true, true, false]),
    ("application/octet-stream", 2, [false, false, true]),
    (OBJECT, 3, [false, true, false]),
    ("text/html", 2, [false, false, false]),
    ("application/json; blockheader-encoding=xml", 2, [false, false, false]),
];

// The first byte says which part the others are.
fuzz_target!(|data: &[u8]| {
    let Some((part, data)) = data.split_first() else { return };
    match part {
        b'q' => queries(&String::from_utf8_lossy(data)),
        b'b' => bodies(data, 3),
        b'B' => batches(data, 3),
        b'a' => any_accept(data),
        b'A' => {
            let wishes = Vec::<Wish>::arbitrary_take_rest(Unstructured::new(data));
            wishes.iter().for_each(|wishes| accept(wishes));
        }
        b'r' => any_range(data),
        b'R' => {
            type Parts = (Option<Edge>, Option<Edge>, Edge, Option<bool>);
            let parts = Parts::arbitrary_take_rest(Unstructured::new(data));
            if let Ok((first, last, len, condition)) = parts {
                ranges(first.map(Edge::get), last.map(Edge::get), len.get(), condition);
            }
        }
        b'e' => {
            let mut lines = data.splitn(2, |byte| *byte == b'\n');
            let query = String::from_utf8_lossy(lines.next().unwrap_or_default());
            resumes(&query, lines.next());
        }
        _ => {}
    }
});

fn any_accept(data: &[u8]) {
    let mut headers = HeaderMap::new();
    let values = data.split(|byte| *byte == b'\n');
    for value in values.filter_map(|value| HeaderValue::from_bytes(value).ok()) {
        headers.append(ACCEPT, value);
    }
    assert!(accepted(&headers).is_none_or(|media| OFFERED.contains(&media)));
}

fn any_range(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let headers = [(RANGE, value)].into_iter().collect();
    for len in [0, 1, 1000, u64::MAX] {
        if let Some(Some((first, last))) = range(&headers, "\"tag\"", len) {
            assert!(first <= last && last < len);
        }
    }
}

/// Names and values of a query as its standard has them, without what has no `=`.
fn pairs(text: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| {
        let bytes = text.as_bytes();
        let (mut out, mut at) = (Vec::new(), 0);
        while let Some(byte) = bytes.get(at).copied() {
            let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
            let hex = hex.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let value = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
            match (byte, value) {
                (b'%', Some(value)) => {
                    out.push(value);
                    at += 2;
                }
                (b'+', _) => out.push(b' '),
                _ => out.push(byte),
            }
            at += 1;
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

fn queries(text: &str) {
    let pairs = pairs(text);
    let first =
        |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let number = |name: &str| match first(name) {
        None => Ok(None),
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            // By hand, saturating.
            let number = digits.bytes().fold(0_u64, |sum, digit| {
                sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
            });
            Ok(Some(number))
        }
        Some(_) => Err(()),
    };
    let next: Result<Option<Cursor>, _> = first("next").map(|text| text.parse()).transpose();
    let expected = (|| {
        let (limit, next) = (number("limit")?, next.map_err(|_| ())?);
        let (min, max) = (number("minheight")?, number("maxheight")?);
        let heights = Heights { min: min.map(BlockHeight::new), max: max.map(BlockHeight::new) };
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Ok::<_, ()>((limit, next, heights))
    })();
    let got = query(Some(text));
    if let Err(reason) = &got {
        assert!(reason.len() < 900, "a reason of {} bytes", reason.len());
    }
    assert_eq!(got.ok(), expected.ok(), "{text}");
}

/// The items of a list of strings, if it is one.
fn strings(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

/// The names of the members of an object, as often as each is there.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = members.next_entry()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Whether one of these members is there twice, which is refused, even if only the first is wrong. The
/// twin takes the last one.
fn is_repeated(body: &[u8], members: [&str; 2]) -> bool {
    let names = serde_json::from_slice(body).map_or_else(|_| Vec::new(), |Names(names)| names);
    let count = |member: &str| names.iter().filter(|name| *name == member).count();
    members.into_iter().any(|member| count(member) > 1)
}

/// Whether the twin is stricter about members that nobody reads: nesting, numbers, surrogates.
fn is_passed_over(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

fn bodies(body: &[u8], max: usize) {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    if value.is_none() && is_passed_over(body) {
        return;
    }
    let side = |name: &str| {
        let hashes = match value.as_ref()?.get(name) {
            None | Some(Value::Null) => Vec::new(),
            Some(value) => strings(value)?,
        };
        let hashes: Option<Vec<BlockHash>> = hashes.iter().map(|text| text.parse().ok()).collect();
        let mut seen = HashSet::new();
        let hashes: Vec<BlockHash> =
            hashes?.into_iter().filter(|hash| seen.insert(*hash)).collect();
        (hashes.len() <= max).then_some(hashes)
    };
    let is_object = matches!(value, Some(Value::Object(_) | Value::Null));
    let expected = side("upper").zip(side("lower")).filter(|_| is_object);
    match (bounds(body, max), expected) {
        (Ok(got), expected) => assert_eq!(Some((got.upper, got.lower)), expected),
        (Err(reason), Some(_)) => {
            assert!(is_repeated(body, ["upper", "lower"]), "refused: {reason}");
        }
        (Err(reason), None) => assert!(reason.len() < 900),
    }
}

/// A number without a sign or a fraction, however it is written.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in the range")]
fn whole(value: &Value) -> Option<u64> {
    let fits = |number: &f64| {
        number.fract() == 0.0 && (0.0..18_446_744_073_709_551_616.0).contains(number)
    };
    value.as_u64().or_else(|| value.as_f64().filter(fits).map(|number| number as u64))
}

fn batches(body: &[u8], max: usize) {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    if value.is_none() && is_passed_over(body) {
        return;
    }
    let expected = (|| {
        let value = value.as_ref()?;
        let (hashes, heights) = match value {
            Value::Array(_) => (strings(value)?, Vec::new()),
            Value::Object(members) => {
                let heights = match members.get("heights") {
                    None | Some(Value::Null) => Vec::new(),
                    Some(list) => {
                        let list = list.as_array()?.iter().map(whole);
                        list.collect::<Option<Vec<u64>>>()?
                    }
                };
                (strings(members.get("hashes")?)?, heights)
            }
            _ => return None,
        };
        let hash = |text: &&str| text.parse().ok();
        let hashes: Vec<PayloadHash> = hashes.iter().map(hash).collect::<Option<_>>()?;
        let at = |number: usize| heights.get(number).copied().map(BlockHeight::new);
        Some(
            hashes
                .into_iter()
                .zip(0..)
                .map(|(hash, i)| (hash, at(i)))
                .take(max)
                .collect::<Vec<_>>(),
        )
    })();
    match (batch(body, max), expected) {
        (Ok(got), expected) => assert_eq!(Some(got), expected),
        (Err(reason), Some(_)) => {
            assert!(is_repeated(body, ["hashes", "heights"]), "refused: {reason}");
        }
        (Err(reason), None) => assert!(reason.len() < 900),
    }
}

/// The best of what is offered: for each, of the closest ranges that cover it the one of most quality.
fn accept(wishes: &[Wish]) {
    let (mut values, mut meant) = (vec![String::new()], Vec::new());
    for wish in wishes.iter().take(12) {
        let (name, closeness, covers) = MEDIA[usize::from(wish.media) % MEDIA.len()];
        let quality = wish.quality.map_or(1000, |quality| quality % 1001);
        meant.push((closeness, quality, covers));
        let text = written(name, wish);
        match values.last_mut() {
            Some(last) if !wish.apart && !last.is_empty() => *last += &(",".to_owned() + &text),
            Some(last) if last.is_empty() => *last = text,
            _ => values.push(text),
        }
    }
    let mut headers = HeaderMap::new();
    for value in values.iter().filter(|value| !value.is_empty()) {
        headers.append(ACCEPT, HeaderValue::from_str(value).unwrap_or_else(|e| panic!("{e}")));
    }
    let mut best: Option<((u16, u8), &str)> = None;
    for (number, media) in OFFERED.into_iter().enumerate() {
        let covering = meant.iter().filter(|(.., covers)| covers[number]);
        let closest = covering.map(|(closeness, quality, _)| (*closeness, *quality)).max();
        let closest = if meant.is_empty() { Some((0, 1000)) } else { closest };
        let Some((closeness, quality)) = closest.filter(|(_, quality)| *quality > 0) else {
            continue;
        };
        if best.is_none_or(|(rank, _)| (quality, closeness) > rank) {
            best = Some(((quality, closeness), media));
        }
    }
    assert_eq!(accepted(&headers), best.map(|(_, media)| media), "{values:?}");
}

fn written(name: &str, wish: &Wish) -> String {
    let name = if wish.style & 1 > 0 { name.to_ascii_uppercase() } else { name.to_owned() };
    let name = if wish.style & 2 > 0 { name.replace(';', " ; ") } else { name };
    let quality = wish.quality.map(|quality| quality % 1001);
    let text = quality.map_or(String::new(), |q| format!("{}.{:03}", q / 1000, q % 1000));
    let text = if wish.style & 4 > 0 { text.trim_end_matches('0').to_owned() } else { text };
    let blank = if wish.style & 8 > 0 { " " } else { "" };
    let quality = quality.map_or(String::new(), |_| format!(";{blank}q={text}"));
    format!("{blank}{name}{quality}{blank}")
}

fn ranges(first: Option<u64>, last: Option<u64>, len: u64, condition: Option<bool>) {
    let text = |number: Option<u64>| number.map_or(String::new(), |number| number.to_string());
    let mut headers = HeaderMap::new();
    let value = format!("bytes={}-{}", text(first), text(last));
    headers.insert(RANGE, HeaderValue::from_str(&value).unwrap_or_else(|e| panic!("{e}")));
    if let Some(same) = condition {
        let tag = if same { "\"tag\"" } else { "\"other\"" };
        headers.insert(IF_RANGE, HeaderValue::from_static(tag));
    }
    // In numbers that hold whatever is added.
    let wide = u128::from;
    let part = match (first, last) {
        (None, None) => None,
        (Some(first), Some(last)) if first > last => None,
        (Some(first), last) => Some((wide(first), last.map_or(u128::MAX, wide))),
        (None, Some(count)) => {
            Some((wide(len).saturating_sub(wide(count)), if count == 0 { 0 } else { u128::MAX }))
        }
    };
    let is_empty = first.is_none() && last == Some(0);
    let expected = part.filter(|_| condition != Some(false)).map(|(first, last)| {
        let last = last.min(wide(len).saturating_sub(1));
        (first < wide(len) && !is_empty).then_some((first, last))
    });
    let got = range(&headers, "\"tag\"", len);
    let got = got.map(|part| part.map(|(first, last)| (wide(first), wide(last))));
    assert_eq!(got, expected, "{value} of {len}");
}

fn resumes(query: &str, id: Option<&[u8]>) {
    let query: String = query.chars().filter(|c| c.is_ascii_graphic() && *c != '#').collect();
    let Ok(mut request) = Request::get(format!("/x?{query}")).body(()) else { return };
    let id = id.and_then(|id| HeaderValue::from_bytes(id).ok());
    if let Some(id) = &id {
        request.headers_mut().insert("last-event-id", id.clone());
    }
    let (head, ()) = request.into_parts();
    let flag = query
        .split('&')
        .any(|pair| pair.split('=').next().is_some_and(|n| n.contains('%') || n == "resume"));
    match resume(&head) {
        Ok(Some(position)) => {
            assert!(flag, "nobody asked to resume");
            let text = id.as_ref().and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
            assert!(text.is_none_or(|text| text.parse() == Ok(position)));
        }
        Ok(None) => {}
        Err(reason) => assert!(flag && reason.len() < 900, "{reason}"),
    }
}
