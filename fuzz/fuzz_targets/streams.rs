//! What comes piece by piece: events of a node that is followed, bodies that push blocks. How it is
//! cut changes nothing.
#![no_main]

use fuzz::pieces;
use libfuzzer_sys::fuzz_target;
use plait::fuzzed::{events, records};
use plait_engine::header::LEN;
use plait_engine::replay::source::{Place, Record};
use zerocopy::IntoBytes;

// Bytes that are allowed of a value or an event, in sixteens, records that are taken at once, and where to
// cut what follows behind a line.
fuzz_target!(|data: &[u8]| {
    let [bytes_max, records_max, rest @ ..] = data else { return };
    let mut parts = rest.splitn(2, |byte| *byte == b'\n');
    let (cuts, data) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (pieces, bytes_max) = (pieces(data, cuts), 16 * usize::from(*bytes_max));
    let records_max = usize::from(*records_max);
    event_stream(&pieces, data, bytes_max);
    headers(&pieces, data, records_max);
    json(&pieces, data, bytes_max, records_max);
});

fn event_stream(pieces: &[&[u8]], data: &[u8], bytes_max: usize) {
    // Where a limit is exceeded, it depends on the pieces how much was read before.
    let (found, _) = events(pieces, bytes_max);
    for (name, data) in &found {
        assert!(data.len() <= bytes_max && name.len() <= bytes_max.max("message".len()));
    }
    let (found, whole) = events(pieces, usize::MAX);
    let expected = events_twin(data);
    assert_eq!(whole, expected.is_ok(), "text or not");
    match expected {
        Ok(expected) => assert_eq!(found, expected),
        Err(before) => assert_eq!(found, before),
    }
}

/// The slow twin: whole lines first. With an error the events before it.
fn events_twin(data: &[u8]) -> Result<Vec<(String, String)>, Vec<(String, String)>> {
    // The mark is told from a line once three bytes are there, or a line is.
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let (mut all, mut name, mut lines) = (Vec::new(), String::new(), Vec::new());
    let mut rest = data;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        let (line, behind) = rest.split_at(at);
        rest = behind.strip_prefix(b"\r\n").or(behind.get(1..)).unwrap_or_default();
        let Ok(line) = std::str::from_utf8(line) else { return Err(all) };
        if line.is_empty() {
            let named = std::mem::take(&mut name);
            if !lines.is_empty() {
                let named = if named.is_empty() { "message".to_owned() } else { named };
                all.push((named, std::mem::take(&mut lines).join("\n")));
            }
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "event" => name = value,
            "data" => lines.push(value),
            _ => {}
        }
    }
    Ok(all)
}

fn headers(pieces: &[&[u8]], data: &[u8], records_max: usize) {
    let found = records(pieces, false, 0, records_max);
    assert_eq!(found.len(), data.len().div_ceil(LEN));
    for ((number, record), bytes) in (0..).zip(found).zip(data.chunks(LEN)) {
        assert_eq!(record.place, Place::Offset(number * LEN as u64));
        assert_eq!(
            record.header.as_ref().ok().map(IntoBytes::as_bytes),
            Some(bytes).filter(|b| b.len() == LEN)
        );
    }
}

fn json(pieces: &[&[u8]], data: &[u8], bytes_max: usize, records_max: usize) {
    let found = records(pieces, true, bytes_max, records_max);
    assert_eq!(shown(&found), shown(&records(&[data], true, bytes_max, usize::MAX)));
}

fn shown(records: &[Record]) -> Vec<String> {
    let shown = |record: &Record| match &record.header {
        Ok(raw) => format!("{:?} {:?} {:?}", record.place, raw.as_bytes(), record.payload),
        Err(wrong) => format!("{:?} {wrong}", record.place),
    };
    records.iter().map(shown).collect()
}
