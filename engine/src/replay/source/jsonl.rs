use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::payload::PAYLOAD_BYTES_MAX;
use super::{Chunk, Place, RawPayload, Record, Source, with_payloads};
use crate::header::{Header, RawHeader, TextError, merkle, text};
use crate::replay::{ReplayError, Wrong};
use crate::store::MarkedAt;
use crate::types::{BlockHeight, ChainwebVersion};

/// Bytes of a line at most: a page of 360 headers as objects has about 300 kB, and one of blocks what
/// these carry, which is some kilobytes each for the most part, and sometimes a megabyte.
const LINE_LEN_MAX: u64 = 64 << 20;

/// Bytes that are read from a file at once.
const BUFFER_LEN: usize = 1 << 20;

/// One header or block a line, or one page of the API, or one event of a stream that was saved.
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
    /// Whether what blocks carry is read, too.
    payloads: bool,
}

impl Jsonl {
    /// The headers of a stream, and with `payloads` what their blocks carry; `size` is its length in
    /// bytes, if known.
    #[must_use]
    pub fn new(
        name: String,
        read: Box<dyn BufRead + Send>,
        size: Option<u64>,
        payloads: bool,
    ) -> Self {
        let (line, position, records, within_line) = (0, 0, 0, false);
        Self { name, read, file: None, line, position, records, size, within_line, payloads }
    }

    /// The same of a file of `size` bytes; `id` tells it from others.
    #[must_use]
    pub fn file(name: String, file: File, size: u64, id: [u8; 32], payloads: bool) -> Self {
        let id = if payloads { with_payloads(id) } else { id };
        let again = file.try_clone().ok().map(|again| (again, id));
        let read = Box::new(BufReader::with_capacity(BUFFER_LEN, file));
        Self { file: again, ..Self::new(name, read, Some(size), payloads) }
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
        let mut lines = Lines { payloads: self.payloads, ..Lines::default() };
        let mut line = Vec::new();
        while lines.records.len() < records_max
            && lines.payload_bytes < PAYLOAD_BYTES_MAX
            && self.read_line(&mut line)?
        {
            if line.len() as u64 == LINE_LEN_MAX && !line.ends_with(b"\n") {
                lines.push_wrong(self.line, "the line is longer than 64 MiB");
                // Its rest may have no end, so this record goes out first.
                self.within_line = true;
                break;
            }
            match std::str::from_utf8(&line).map(str::trim) {
                Ok("") => {}
                Ok(text) => lines.push(self.line, text),
                Err(_) => lines.push_wrong(self.line, "the line is not UTF-8 text"),
            }
        }
        let records = lines.records;
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
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outer<'a> {
    /// A page of the API.
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
    /// A block of the API, or an update event.
    #[serde(borrow)]
    header: Option<&'a RawValue>,
    /// What it carries.
    #[serde(borrow)]
    payload_with_outputs: Option<&'a RawValue>,
}

/// Appends what a line has, by ascending height: one header as a string or an object, the block of an
/// item or of an update event with what it carries, or the items of a page.
pub fn push_line(records: &mut Vec<Record>, line: u64, text: &str) {
    let mut lines = Lines { records: std::mem::take(records), payloads: true, payload_bytes: 0 };
    lines.push(line, text);
    *records = lines.records;
}

/// Lines that were read.
#[derive(Default)]
struct Lines {
    records: Vec<Record>,
    payloads: bool,
    payload_bytes: usize,
}

impl Lines {
    fn push_wrong(&mut self, line: u64, wrong: &'static str) {
        let header = Err(Wrong::Line(wrong));
        self.records.push(Record { place: Place::Line(line), header, payload: None });
    }

    fn push(&mut self, line: u64, text: &str) {
        let Some(text) = event_data(text) else { return };
        let outer = Outer::of(text);
        let Some(items) = outer.items else {
            let record = self.record(Place::Line(line), text, &outer);
            return self.records.push(record);
        };
        let first = self.records.len();
        for (item, value) in (1..).zip(items) {
            let text = value.get();
            let record = self.record(Place::Item { line, item }, text, &Outer::of(text));
            self.records.push(record);
        }
        // Branch pages descend, and parents come first here.
        let page = self.records.get_mut(first..).unwrap_or_default();
        page.sort_by_key(|record| record.header.as_ref().map_or(u64::MAX, |raw| raw.height.get()));
    }

    /// A header as a string, bare or in quotes, as an object, or within the object of its block.
    fn record(&mut self, place: Place, text: &str, outer: &Outer<'_>) -> Record {
        let payload = outer.payload_with_outputs.filter(|_| self.payloads);
        let payload = payload.map(|payload| RawPayload::Object(payload.get().into()));
        self.payload_bytes += payload.as_ref().map_or(0, RawPayload::len);
        let header = header(text, outer).map(|header| *header.view().raw());
        Record { place, header: header.map_err(Wrong::from), payload }
    }
}

impl<'a> Outer<'a> {
    /// Of a line or an item; with nothing, if it is no object.
    fn of(text: &'a str) -> Self {
        let is_object = text.starts_with('{');
        is_object.then(|| serde_json::from_str(text).ok()).flatten().unwrap_or_default()
    }
}

/// What there is to read on a line: of an event stream the data of its events.
fn event_data(text: &str) -> Option<&str> {
    // No header has a colon as text, and objects do not begin with a name.
    match text.split_once(':') {
        Some(("data", data)) => Some(data.trim_start()).filter(|data| !data.is_empty()),
        Some(("" | "event" | "id" | "retry", _)) => None,
        _ => Some(text),
    }
}

fn header(text: &str, outer: &Outer<'_>) -> Result<Header, TextError> {
    if text.starts_with('"') {
        return text::from_string(&serde_json::from_str::<String>(text)?);
    }
    if !text.starts_with('{') {
        return text::from_string(text);
    }
    let header = text::from_object(outer.header.map_or(text, RawValue::get))?;
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
