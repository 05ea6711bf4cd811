use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Chunk, Place, Source};
use crate::header::{Header, RawHeader, TextError, merkle, text};
use crate::replay::{ReplayError, Wrong};
use crate::store::MarkedAt;
use crate::types::{BlockHeight, ChainwebVersion};

/// Bytes of a line at most: a page of 360 headers as objects has about 300 kB.
const LINE_LEN_MAX: u64 = 16 << 20;

/// Bytes that are read from a file at once.
const BUFFER_LEN: usize = 1 << 20;

/// One header a line, or one page of the API a line.
pub struct Jsonl {
    name: String,
    read: Box<dyn BufRead + Send>,
    /// The same again, to read from elsewhere, with its name.
    file: Option<(File, [u8; 32])>,
    line: u64,
    position: u64,
    records: u64,
    size: Option<u64>,
    /// Whether the last line was too long and its rest is still to be skipped.
    within_line: bool,
}

impl Jsonl {
    /// The headers of a stream; `size` is its length in bytes, if known.
    #[must_use]
    pub fn new(name: String, read: Box<dyn BufRead + Send>, size: Option<u64>) -> Self {
        let (line, position, records) = (0, 0, 0);
        Self { name, read, file: None, line, position, records, size, within_line: false }
    }

    /// The headers of a file of `size` bytes; `id` tells it from others.
    #[must_use]
    pub fn file(name: String, file: File, size: u64, id: [u8; 32]) -> Self {
        let again = file.try_clone().ok().map(|again| (again, id));
        let read = Box::new(BufReader::with_capacity(BUFFER_LEN, file));
        Self { file: again, ..Self::new(name, read, Some(size)) }
    }

    /// The next line into `line`; `false` at the end.
    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<bool, ReplayError> {
        line.clear();
        let fail = |source| ReplayError::Io { input: self.name.clone(), source };
        if std::mem::take(&mut self.within_line) {
            self.position += self.read.skip_until(b'\n').map_err(fail)? as u64;
        }
        let mut limited = self.read.by_ref().take(LINE_LEN_MAX);
        limited.read_until(b'\n', line).map_err(fail)?;
        self.line += 1;
        self.position += line.len() as u64;
        Ok(!line.is_empty())
    }
}

impl Source for Jsonl {
    fn next(&mut self, records_max: usize) -> Result<Option<Chunk>, ReplayError> {
        let mut records = Vec::with_capacity(records_max);
        let mut line = Vec::new();
        while records.len() < records_max && self.read_line(&mut line)? {
            if line.len() as u64 == LINE_LEN_MAX && !line.ends_with(b"\n") {
                let wrong = Wrong::Line("the line is longer than 16 MiB");
                records.push((Place::Line(self.line), Err(wrong)));
                // Its rest may have no end, so this record goes out first.
                self.within_line = true;
                break;
            }
            match std::str::from_utf8(&line).map(str::trim) {
                Ok("") => {}
                Ok(text) => push_line(&mut records, self.line, text),
                Err(_) => {
                    let wrong = Wrong::Line("the line is not UTF-8 text");
                    records.push((Place::Line(self.line), Err(wrong)));
                }
            }
        }
        self.records += records.len() as u64;
        let end = MarkedAt {
            position: self.position.into(),
            steps: self.line.into(),
            records: self.records.into(),
        };
        Ok((!records.is_empty()).then(|| Chunk::each(records, end)))
    }

    fn size(&self) -> Option<u64> {
        self.size
    }

    fn name(&self) -> Option<[u8; 32]> {
        self.file.as_ref().map(|(_, name)| *name)
    }

    fn resume(&mut self, at: MarkedAt) -> Result<bool, ReplayError> {
        let Some((file, _)) = &self.file else { return Ok(false) };
        let fail = |source| ReplayError::Io { input: self.name.clone(), source };
        let mut file = file.try_clone().map_err(fail)?;
        file.seek(SeekFrom::Start(at.position.get())).map_err(fail)?;
        self.read = Box::new(BufReader::with_capacity(BUFFER_LEN, file));
        (self.position, self.line) = (at.position.get(), at.steps.get());
        self.records = at.records.get();
        Ok(true)
    }
}

/// What a line or an item may be besides a header's object.
#[derive(Deserialize)]
struct Outer<'a> {
    /// A page of the API.
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
    /// A block of the API, or an update event.
    #[serde(borrow)]
    header: Option<&'a RawValue>,
}

type Record = (Place, Result<RawHeader, Wrong>);

fn push_line(records: &mut Vec<Record>, line: u64, text: &str) {
    let outer =
        if text.starts_with('{') { serde_json::from_str::<Outer<'_>>(text).ok() } else { None };
    let Some(items) = outer.and_then(|outer| outer.items) else {
        let record = item(text).map(|header| *header.view().raw());
        return records.push((Place::Line(line), record.map_err(Wrong::from)));
    };
    let mut page: Vec<Record> = (1..)
        .zip(items)
        .map(|(number, value)| {
            let record = item(value.get()).map(|header| *header.view().raw());
            (Place::Item { line, item: number }, record.map_err(Wrong::from))
        })
        .collect();
    // Branch pages descend, and parents come first here.
    page.sort_by_key(|(_, record)| record.as_ref().map_or(u64::MAX, |raw| raw.height.get()));
    records.append(&mut page);
}

/// A header as a string, bare or in quotes, as an object, or within the object of its block.
fn item(text: &str) -> Result<Header, TextError> {
    if text.starts_with('"') {
        return text::from_string(&serde_json::from_str::<String>(text)?);
    }
    if !text.starts_with('{') {
        return text::from_string(text);
    }
    let block = serde_json::from_str::<Outer<'_>>(text)?;
    let header = text::from_object(block.header.map_or(text, RawValue::get))?;
    Ok(exchanged(&header).unwrap_or(header))
}

/// The header with feature flags and nonce exchanged, if only that gives its block hash.
///
/// The two fields changed places in version 1.7 of the node, while the bytes stayed: objects that
/// older nodes made of blocks from before show each under the name of the other.
fn exchanged(header: &Header) -> Option<Header> {
    const LAST: BlockHeight = BlockHeight::new(530_500);
    let view = header.view();
    let old = view.height() < LAST
        && view.version_code() == ChainwebVersion::Mainnet01.code()
        && view.feature_flags() == 0
        && view.nonce() != 0;
    if !old || merkle::block_hash(view) == view.hash() {
        return None;
    }
    let raw = view.raw();
    let raw = RawHeader { feature_flags: raw.nonce, nonce: raw.feature_flags, ..*raw };
    let exchanged = Header::new(raw).ok()?;
    (merkle::block_hash(exchanged.view()) == exchanged.view().hash()).then_some(exchanged)
}
