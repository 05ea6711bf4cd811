use std::io::{BufRead, ErrorKind};

use super::again::Again;
use super::json::{Limits, Next, Records, Values};
use super::payload::PAYLOAD_BYTES_MAX;
use super::{Chunk, Record, Source};
use crate::replay::ReplayError;
use crate::store::MarkedAt;
use crate::types::Grow;

/// Bytes of a value at most: a header has less than one kilobyte, and a block what it carries, which is
/// some kilobytes for the most part, and sometimes a megabyte.
const VALUE_BYTES_MAX: usize = 32 << 20;

/// Bytes of the payloads of one page at most that are put in order together.
const WINDOW_BYTES_MAX: usize = 32 << 20;

/// JSON values in any layout: headers and blocks, arrays and pages of them, events of a stream that was
/// saved.
pub struct Jsonl {
    name: String,
    read: Box<dyn BufRead + Send>,
    /// The same again, to read from elsewhere.
    again: Option<Again>,
    values: Values,
    limits: Limits,
    records: u64,
    size: Option<u64>,
    has_ended: bool,
    /// Why no more can be read after what was read before.
    failed: Option<ReplayError>,
}

impl Jsonl {
    /// The headers of a stream, and with `payloads` what their blocks carry; `size` is its length in
    /// bytes, if known. Where it is `lenient`, log lines are skipped and counted; one with a header in
    /// it is a wrong record.
    #[must_use]
    pub fn new(
        name: String,
        read: Box<dyn BufRead + Send>,
        size: Option<u64>,
        payloads: bool,
        lenient: bool,
    ) -> Self {
        let (value_bytes, window_bytes) = (VALUE_BYTES_MAX, WINDOW_BYTES_MAX);
        let limits = Limits { payloads, lenient, value_bytes, window_bytes };
        let (again, failed) = (None, None);
        let values = Values::new(limits);
        Self { name, read, again, values, limits, records: 0, size, has_ended: false, failed }
    }

    /// The same of what can be read from elsewhere again.
    pub(super) fn with(self, again: Again) -> Self {
        Self { again: Some(again), ..self }
    }

    /// The place after the last window, with these records before it and those of the chunks before.
    fn mark(&self, records: &Records) -> MarkedAt {
        self.values.mark(self.records.saturating_add(records.list.len() as u64))
    }

    /// Feeds the next piece; `false` if none has arrived yet. The end of the input, and an error, are noted.
    fn feed(&mut self) -> bool {
        let piece = loop {
            match self.read.fill_buf() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Ok(piece) => break Ok(piece),
                Err(error) => break Err(error),
            }
        };
        match piece {
            Ok([]) => self.has_ended = true,
            Ok(piece) => {
                let len = piece.len();
                self.values.feed(piece);
                self.read.consume(len);
            }
            Err(source) => {
                self.has_ended = true;
                self.failed = Some(ReplayError::Io { input: self.name.clone(), source });
            }
        }
        true
    }
}

impl Source for Jsonl {
    fn next(&mut self, records_max: usize) -> Result<Option<Chunk>, ReplayError> {
        let mut records = Records::default();
        let (mut end, mut skipped) = (self.values.mark(self.records), 0_u64);
        let mut is_early = false;
        while records.list.len() < records_max.max(1) && records.payload_bytes < PAYLOAD_BYTES_MAX {
            match self.values.next(&mut records) {
                Next::Window => end = self.mark(&records),
                Next::Input if !self.has_ended => {
                    is_early = !self.feed() && !records.list.is_empty();
                    if is_early {
                        break;
                    }
                }
                Next::Input => {
                    // What is cut off where reading failed is not wrong.
                    if self.failed.is_none() {
                        self.values.finish(&mut records);
                        end = self.mark(&records);
                        skipped = self.values.take_skipped();
                        self.values = Values::new(self.limits);
                    }
                    break;
                }
            }
        }
        skipped.grow(self.values.take_skipped());
        if records.list.is_empty() && skipped == 0 {
            return self.failed.take().map_or(Ok(None), Err);
        }
        records.settle();
        self.records.grow(records.list.len() as u64);
        Ok(Some(Chunk::each(records.list, end).with_skipped(skipped).early_if(is_early)))
    }

    fn size(&self) -> Option<u64> {
        self.size
    }

    fn name(&self) -> Option<[u8; 32]> {
        self.again.as_ref().map(Again::id)
    }

    fn resume(&mut self, at: MarkedAt) -> Result<bool, ReplayError> {
        let Some(again) = &self.again else { return Ok(false) };
        let (read, line_start) = again.from(at.position.get())?;
        self.read = read;
        self.values = Values::resumed(self.limits, at, line_start);
        (self.records, self.has_ended, self.failed) = (at.records.get(), false, None);
        Ok(true)
    }
}

/// Appends the records of a text, by ascending height within each array or page.
pub fn push_text(records: &mut Vec<Record>, text: &[u8]) {
    let (value_bytes, window_bytes) = (VALUE_BYTES_MAX, WINDOW_BYTES_MAX);
    let limits = Limits { payloads: true, lenient: false, value_bytes, window_bytes };
    let (mut values, mut read) = (Values::new(limits), Records::default());
    values.feed(text);
    while values.next(&mut read) == Next::Window {}
    values.finish(&mut read);
    read.settle();
    records.append(&mut read.list);
}
