//! Dumps of every format that is a file, in pieces of any size; and rows of a node's tables.
#![no_main]

use std::io::{BufReader, Cursor, Read, Write};
use std::num::NonZeroUsize;

use fuzz::replay_both;
use libfuzzer_sys::fuzz_target;
use plait_engine::header::LEN;
use plait_engine::replay::source::{
    Binary, Chunk, Item, Jsonl, Place, Reading, Rows, Source, detect, open,
};
use plait_engine::verify::Level;
use plait_engine::{ChainwebVersion, RawHeader};
use zerocopy::FromBytes;

/// One record, or why it is none.
type Found = (Place, Result<RawHeader, String>, usize);

// A dump behind the number of records that are taken at once and that of bytes that come at once; or,
// behind two zeros, three rows in JSON, a line each; or, behind a zero and another byte, three rows in binary.
fuzz_target!(|data: &[u8]| match data {
    [0, binary, rows @ ..] => {
        let mut rows = rows.splitn(3, |byte| *byte == b'\n');
        let mut row = || rows.next().unwrap_or_default();
        match binary {
            0 => json_rows(row(), row(), row()),
            _ => binary_rows(data),
        }
    }
    [records_max, step, data @ ..] => bytes((*records_max).into(), *step, data),
    _ => {}
});

fn bytes(records_max: usize, step: u8, data: &[u8]) {
    let name = || "memory".to_owned();
    let _ = detect("memory", data, step.is_multiple_of(2));
    let slow = |data: &[u8]| Slow { rest: data.to_vec(), step };
    let buffered = || Box::new(BufReader::with_capacity(1 + usize::from(step), slow(data)));
    let some = all(&mut Binary::streamed(name(), Box::new(slow(data))), records_max);
    assert_eq!(some, binary_twin(data), "headers of 318 bytes");
    let some = all(&mut Jsonl::new(name(), buffered(), None, true, false), records_max);
    let whole = json(data);
    assert_eq!(some, whole, "JSON depends on how it comes");
    if !data.is_empty() {
        file(records_max, data);
    }
    // In order from the first record on, and one by one.
    let level = Level::ALL.into_iter().cycle().nth(step.into()).unwrap_or_default();
    if data.len() >= LEN {
        replay_both(level, false, &|| {
            let input = Box::new(Cursor::new(data.to_vec()));
            Some(Box::new(Binary::streamed(name(), input)) as Box<dyn Source>)
        });
    }
    if whole.iter().any(|(_, found, _)| found.is_ok()) {
        replay_both(level, false, &|| {
            let input = Box::new(Cursor::new(data.to_vec()));
            Some(Box::new(Jsonl::new(name(), input, None, true, false)) as Box<dyn Source>)
        });
    }
}

/// The records of JSON that is there at once. The target `json` compares them with their twin.
fn json(data: &[u8]) -> Vec<Found> {
    let read = Box::new(Cursor::new(data.to_vec()));
    all(&mut Jsonl::new("memory".to_owned(), read, None, true, false), 1000)
}

/// A file is read as a stream is, also from every place on that a chunk ended at.
fn file(records_max: usize, data: &[u8]) {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    if file.write_all(data).is_err() {
        return;
    }
    let reading = Reading::default();
    let Ok(mut source) = open(file.path(), ChainwebVersion::Development, reading) else { return };
    if source.size().is_none() {
        // It is compressed, and may have no end.
        for _ in 0..1000 {
            let Ok(Some(_)) = source.next(records_max) else { return };
        }
        return;
    }
    assert_eq!(source.size(), Some(data.len() as u64));
    let mut chunks: Vec<(Vec<Found>, _)> = Vec::new();
    while let Ok(Some(mut chunk)) = source.next(records_max) {
        chunks.push((found(&mut chunk), chunk.end()));
        assert!(chunk.end().position.get() <= data.len() as u64);
    }
    let whole: Vec<Found> = chunks.iter().flat_map(|(found, _)| found.clone()).collect();
    let is_binary = matches!(whole.first(), Some((Place::Offset(_), ..)));
    assert_eq!(whole, if is_binary { binary_twin(data) } else { json(data) });
    let mut before = 0;
    for (found, end) in chunks {
        before += found.len();
        // No mark is kept behind what is wrong.
        if found.iter().any(|(_, header, _)| header.is_err()) {
            break;
        }
        if !source.resume(end).is_ok_and(|resumed| resumed) {
            // Not where a record is cut off.
            assert!(is_binary && !end.position.get().is_multiple_of(LEN as u64));
            continue;
        }
        let rest = all(&mut *source, records_max);
        let rest: Vec<Found> = rest.into_iter().map(unnumbered).collect();
        let expected = whole.iter().skip(before).cloned().map(unnumbered);
        assert_eq!(rest, expected.collect::<Vec<_>>(), "what is read from a mark on");
    }
}

/// The same without its number in its array, which nobody knows who begins within it.
fn unnumbered((place, header, len): Found) -> Found {
    match place {
        Place::Value { line, column, offset, .. } => {
            (Place::Value { line, column, offset, item: None }, header, len)
        }
        place => (place, header, len),
    }
}

fn all(source: &mut (impl Source + ?Sized), records_max: usize) -> Vec<Found> {
    let mut all = Vec::new();
    while let Ok(Some(mut chunk)) = source.next(records_max) {
        assert!(!chunk.is_empty(), "an empty chunk");
        all.append(&mut found(&mut chunk));
    }
    all
}

fn found(chunk: &mut Chunk) -> Vec<Found> {
    let payloads = chunk.take_payloads();
    let carried = |number| {
        let payload = payloads.iter().find(|(record, _)| *record == number);
        payload.map_or(0, |(_, payload)| payload.len())
    };
    let item = |item| match item {
        Item::Record(number) => {
            let raw = chunk.records().get(number).copied();
            let raw = raw.ok_or_else(|| "a record that is not there".to_owned());
            (chunk.place(number), raw, carried(number))
        }
        Item::Wrong(place, wrong) => (place.clone(), Err(wrong.to_string()), 0),
    };
    chunk.items(0).map(item).collect()
}

/// The slow twin: each 318 bytes are a record, and the rest is none.
fn binary_twin(data: &[u8]) -> Vec<Found> {
    let mut offset = 0;
    let record = |bytes: &[u8]| {
        let place = Place::Offset(offset);
        offset += bytes.len() as u64;
        let raw = RawHeader::read_from_bytes(bytes);
        let cut = |_| plait_engine::replay::Wrong::Cut { got: bytes.len() }.to_string();
        (place, raw.map_err(cut), 0)
    };
    data.chunks(LEN).map(record).collect()
}

/// Rows in JSON are read or refused.
fn json_rows(roots: &[u8], transactions: &[u8], outputs: &[u8]) {
    let rows = Rows::fuzzed(false, roots, [transactions, outputs]);
    if let Some(payload) = rows.and_then(|rows| rows.decoded()) {
        assert_eq!(payload.view().has_outputs(), !outputs.is_empty());
    }
}

/// A payload of rows in binary is what stands in them; other rows are refused. The first two lengths
/// are in front of the rows.
fn binary_rows(data: &[u8]) {
    let Some(([_, _, first, second], rows)) = data.split_first_chunk() else { return };
    let Some((roots, rest)) = rows.split_at_checked(96) else { return };
    let len = usize::from(*first) + 256 * usize::from(*second);
    let (transactions, outputs) = rest.split_at(len.min(rest.len()));
    let Some(rows) = Rows::fuzzed(true, roots, [transactions, outputs]) else { return };
    let Some(payload) = rows.decoded() else { return };
    let view = payload.view();
    let hashes = [
        *view.hash().as_bytes(),
        *view.transactions_hash().as_bytes(),
        *view.outputs_hash().as_bytes(),
    ];
    assert_eq!(hashes.concat(), roots);
    let mut written = written(view.transactions().map(|(transaction, _)| transaction));
    push(&mut written, view.miner_data());
    assert_eq!(Some(written.as_slice()), transactions.get(32..));
    assert_eq!(view.has_outputs(), !outputs.is_empty());
    if let Some(coinbase) = view.coinbase() {
        let mut written = self::written(view.transactions().filter_map(|(_, output)| output));
        push(&mut written, coinbase);
        assert_eq!(Some(written.as_slice()), outputs.get(32..));
    }
}

fn written<'a>(items: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let items: Vec<&[u8]> = items.collect();
    let mut bytes = big_endian(items.len());
    items.into_iter().for_each(|item| push(&mut bytes, item));
    bytes
}

fn push(bytes: &mut Vec<u8>, item: &[u8]) {
    bytes.append(&mut big_endian(item.len()));
    bytes.extend_from_slice(item);
}

fn big_endian(number: usize) -> Vec<u8> {
    zerocopy::byteorder::big_endian::U64::new(number as u64).to_bytes().to_vec()
}

/// An input that gives few bytes at a time.
struct Slow {
    rest: Vec<u8>,
    step: u8,
}

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let step = NonZeroUsize::new(self.step.into()).map_or(usize::MAX, NonZeroUsize::get);
        let len = self.rest.len().min(buffer.len()).min(step);
        let rest = self.rest.split_off(len);
        buffer.iter_mut().zip(std::mem::replace(&mut self.rest, rest)).for_each(|(to, b)| *to = b);
        Ok(len)
    }
}
