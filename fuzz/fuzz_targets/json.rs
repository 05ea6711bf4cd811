//! JSON values of headers and blocks in any layout, fed in pieces of any size.
#![no_main]

use std::ops::Range;

use fuzz::pieces;
use libfuzzer_sys::fuzz_target;
use plait_engine::header::text;
use plait_engine::replay::source::{Limits, Next, Place, Record, Records, Values};
use plait_engine::{Header, RawHeader};
use serde_json::value::RawValue;

/// The names of the members of a header's object, and how many of them make one in what is skipped.
const NAMES: [&str; 13] = [
    "nonce",
    "creationTime",
    "parent",
    "adjacents",
    "target",
    "payloadHash",
    "chainId",
    "weight",
    "height",
    "chainwebVersion",
    "epochStart",
    "featureFlags",
    "hash",
];
const NAMES_MIN: usize = 7;

/// Arrays and pages within each other at most.
const DEPTH_MAX: usize = 8;

const LIMITS: Limits =
    Limits { payloads: true, lenient: false, value_bytes: 1 << 20, window_bytes: 1 << 20 };

// Where to cut what follows behind a line.
fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (cuts, data) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let whole = all(Values::new(LIMITS), &[data]);
    assert_eq!(shown(&whole), shown(&all(Values::new(LIMITS), &pieces(data, cuts))), "pieces");
    marks(data, &whole);
    let values = twin(data, &whole);
    lenient(data, &whole, &values);
});

fn all(mut values: Values, pieces: &[&[u8]]) -> Vec<Record> {
    let mut records = Records::default();
    for piece in pieces {
        values.feed(piece);
        while values.next(&mut records) == Next::Window {}
    }
    values.finish(&mut records);
    records.settle();
    records.list
}

/// What each record is, without its number in its array, which nobody knows who begins within it.
fn shown(records: &[Record]) -> Vec<String> {
    let shown = |record: &Record| {
        let place = match &record.place {
            Place::Value { line, column, offset, .. } => format!("{line}:{column} {offset}"),
            place => panic!("{place:?}"),
        };
        match &record.header {
            Ok(raw) => format!("{place} {raw:?} {:?}", record.payload),
            Err(wrong) => format!("{place} {wrong}"),
        }
    };
    records.iter().map(shown).collect()
}

/// Up to the first thing that is wrong: what comes after that depends on the containers that are open there,
/// which a mark does not have.
fn right(records: &[Record]) -> &[Record] {
    let end = records.iter().position(|record| record.header.is_err());
    end.and_then(|at| records.get(..=at)).unwrap_or(records)
}

/// From every place between two windows the rest is read, as long as nothing was wrong.
fn marks(data: &[u8], whole: &[Record]) {
    let (mut values, mut records) = (Values::new(LIMITS), Records::default());
    values.feed(data);
    while values.next(&mut records) == Next::Window {
        if records.list.iter().any(|record| record.header.is_err()) {
            return;
        }
        let mark = values.mark(records.list.len() as u64);
        let at = usize::try_from(mark.position.get()).expect("a place in memory");
        let (before, behind) = data.split_at(at);
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = all(Values::resumed(LIMITS, mark, line_start as u64), &[behind]);
        let expected = whole.get(records.list.len()..).unwrap_or_default();
        assert_eq!(shown(right(&rest)), shown(right(expected)), "behind {at} bytes");
    }
}

/// Where nothing is wrong, nothing is taken for a log; and no header is lost by looking for one: of each of
/// the `values` that has a header in it there is a record, behind text a wrong one.
fn lenient(data: &[u8], whole: &[Record], values: &[Range<usize>]) {
    let read = |text: &[u8]| all(Values::new(Limits { lenient: true, ..LIMITS }), &[text]);
    let found = read(data);
    if whole.iter().all(|record| record.header.is_ok()) {
        assert_eq!(shown(&found), shown(whole), "lenient");
    }
    for range in values {
        let value = data.get(range.clone()).and_then(|value| std::str::from_utf8(value).ok());
        let value = value.expect("what was parsed is text").trim();
        if !contains(value) {
            continue;
        }
        let is_there = |record: &Record| match &record.place {
            Place::Value { offset, .. } => range.contains(&(*offset as usize)),
            place => panic!("{place:?}"),
        };
        assert!(found.iter().any(is_there), "a header is skipped in {value}");
        if !value.contains('\n') {
            let behind = read(format!("[Info] {value}\n").as_bytes());
            let is_wrong = matches!(&behind[..], [Record { header: Err(_), .. }]);
            assert!(is_wrong, "a header is skipped behind text: {value}");
        }
    }
}

/// Whether a value has a header in it at any depth, as far as that is written without escapes.
fn contains(text: &str) -> bool {
    let is_in = |value: &RawValue| contains(value.get());
    if text.contains('\\') {
        return false;
    }
    match text.as_bytes() {
        [b'"', ..] => header(text).is_some(),
        [b'[', ..] => {
            let items: Result<Vec<Box<RawValue>>, _> = serde_json::from_str(text);
            items.is_ok_and(|items| items.iter().any(|item| is_in(item)))
        }
        [b'{', ..] => serde_json::from_str(text).is_ok_and(|Members(members)| {
            let has = |name: &&str| members.iter().any(|(other, _)| other == *name);
            NAMES.iter().filter(|name| has(name)).count() >= NAMES_MIN
                || members.iter().any(|(_, value)| is_in(value))
        }),
        _ => false,
    }
}

/// The slow twin parses each value whole. Of the values before the first thing that is no JSON, the
/// headers are the same. Returns where these values are.
fn twin(data: &[u8], whole: &[Record]) -> Vec<Range<usize>> {
    let mut values = serde_json::Deserializer::from_slice(data).into_iter::<Box<RawValue>>();
    let (mut expected, mut ranges) = (Vec::new(), Vec::new());
    let is_all = loop {
        let start = values.byte_offset();
        let Some(value) = values.next() else { break true };
        let Ok(value) = value else { break false };
        // One that stands alone is a word of text, which need not be JSON.
        if !value.get().starts_with(['{', '[', '"']) {
            break false;
        }
        // Deeper ones are refused.
        let containers = value.get().bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
        let mut some = Vec::new();
        if containers > 110 || !walk(value.get(), 0, &mut some) {
            break false;
        }
        expected.append(&mut some);
        ranges.push(start..values.byte_offset());
    };
    let mut found: Vec<String> =
        whole.iter().filter_map(|record| record.header.as_ref().ok()).map(named).collect();
    let mut expected: Vec<String> = expected.iter().map(named).collect();
    // Values ascend, but each is put in order by itself.
    if !is_all {
        found.truncate(expected.len());
    }
    (found.sort(), expected.sort());
    assert_eq!(found, expected, "headers");
    ranges
}

/// All but what is settled by the block hash: network, flags and nonce.
fn named(raw: &RawHeader) -> String {
    let RawHeader { creation_time, parent, adjacents, target, payload_hash, .. } = raw;
    let RawHeader { chain, weight, height, epoch_start, hash, .. } = raw;
    format!(
        "{creation_time} {parent} {adjacents:?} {target:?} {payload_hash} {chain} {weight:?} {height} \
         {epoch_start} {hash}"
    )
}

/// The members of an object in their order, doubles too.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Appends the headers of a value; `false` if it is not read to its end.
fn walk(text: &str, depth: usize, out: &mut Vec<RawHeader>) -> bool {
    let is_array = |text: &str| text.starts_with('[');
    if is_array(text) {
        return depth < DEPTH_MAX && items(text, depth, out);
    }
    if !text.starts_with('{') {
        out.extend(header(text));
        return true;
    }
    let Ok(Members(members)) = serde_json::from_str(text) else { return false };
    let pages = members.iter().filter(|(name, value)| name == "items" && is_array(value.get()));
    let pages: Vec<_> = pages.collect();
    if pages.is_empty() {
        out.extend(block(text, &members));
        return true;
    }
    pages.iter().all(|(_, value)| depth < DEPTH_MAX && items(value.get(), depth, out))
}

fn items(text: &str, depth: usize, out: &mut Vec<RawHeader>) -> bool {
    let Ok(items) = serde_json::from_str::<Vec<Box<RawValue>>>(text) else { return false };
    items.iter().all(|item| walk(item.get(), depth + 1, out))
}

fn block(text: &str, members: &[(String, Box<RawValue>)]) -> Option<RawHeader> {
    let names = ["header", "payloadWithOutputs", "data"];
    let count = |name: &str| members.iter().filter(|(other, _)| other == name).count();
    if names.iter().any(|name| count(name) > 1) {
        return None;
    }
    let member = |name: &str| {
        let value = members.iter().find(|(other, _)| other == name)?.1.get();
        (value != "null").then_some(value)
    };
    match (member("header"), member("data")) {
        (Some(inner), _) => header(inner),
        (None, Some(data)) if data.starts_with('{') => {
            let Members(inner) = serde_json::from_str(data).ok()?;
            let count = |name: &str| inner.iter().filter(|(other, _)| other == name).count();
            if names.iter().any(|name| count(name) > 1) {
                return None;
            }
            let value =
                inner.iter().find(|(name, _)| name == "header").map(|(_, value)| value.get());
            header(value.filter(|value| *value != "null").unwrap_or(data))
        }
        (None, Some(data)) => header(data),
        (None, None) => header(text),
    }
}

fn header(text: &str) -> Option<RawHeader> {
    let header: Header = if text.starts_with('"') {
        text::from_string(&serde_json::from_str::<String>(text).ok()?).ok()?
    } else {
        text::from_object(text).ok()?
    };
    Some(*header.view().raw())
}
