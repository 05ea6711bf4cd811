use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use zerocopy::{FromBytes, IntoBytes};

use super::{RawPayload, Skips};
use crate::archive::{self, Entry, Manifest, Records};
use crate::header::{LEN, RawHeader};
use crate::replay::Wrong;
use crate::store::MarkedAt;
use crate::types::ChainId;

/// Where in an input a record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Bytes before it.
    Offset(u64),
    /// In text, where the value begins, or where text is that is none.
    Value {
        /// The line, from 1.
        line: u64,
        /// Its bytes before it, and one.
        column: u64,
        /// Bytes of the input before it.
        offset: u64,
        /// Its number in the innermost array or page, from 1, if it is in one.
        item: Option<u64>,
    },
    /// Its row in a node's database.
    Row {
        /// The chain of the header table.
        chain: ChainId,
        /// The key in it: height, big endian, and hash.
        key: Box<[u8]>,
    },
    /// In a file of an archive.
    Record {
        /// The name of the file.
        file: String,
        /// The number of the record, from 0.
        record: u64,
    },
    /// A file of an archive, by its name.
    File(String),
    /// Put aside, in this replay or an earlier one; where it stood in its input.
    Aside(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "offset {offset}"),
            Self::Value { line, column, offset, item } => {
                write!(f, "line {line}")?;
                item.map_or(Ok(()), |item| write!(f, ", item {item}"))?;
                write!(f, ", column {column}, offset {offset}")
            }
            Self::Record { file, record } => write!(f, "{file}, record {record}"),
            Self::Aside(place) | Self::File(place) => f.write_str(place),
            Self::Row { chain, key } => {
                write!(f, "key BlockHeader/{chain}/header$")?;
                key.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

impl Place {
    /// The place in a few words: of a value that has a line to itself, the line.
    #[must_use]
    pub fn brief(&self) -> String {
        match self {
            Self::Value { line, column: 1, item: None, .. } => format!("line {line}"),
            Self::Value { line, item: Some(item), .. } => format!("line {line}, item {item}"),
            Self::Value { line, column, .. } => format!("line {line}, column {column}"),
            place => place.to_string(),
        }
    }
}

/// Some records in the order of the input.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Whole records, one right behind the other.
    bytes: Bytes,
    places: Places,
    /// Places that hold no header, and how many records come before each.
    wrong: Vec<(usize, Place, Wrong)>,
    /// What records carry, by their numbers, which ascend.
    payloads: Vec<(usize, RawPayload)>,
    /// What was passed over before them, between and behind.
    skips: Skips,
    /// The place in the input behind them.
    end: MarkedAt,
    /// Lines of a log that were passed over.
    skipped: u64,
    /// Whether it is not full because no more came for a moment.
    is_early: bool,
}

/// A record, as it stands in an input.
#[derive(Debug)]
pub struct Record {
    /// Where.
    pub place: Place,
    /// The header, or why there is none.
    pub header: Result<RawHeader, Wrong>,
    /// What its block carries, if the input has that.
    pub payload: Option<RawPayload>,
}

#[derive(Debug)]
enum Places {
    /// Bytes before the first one.
    From(u64),
    Each(Vec<Place>),
    /// In files of this archive.
    Archived(Arc<Manifest>, Vec<archive::Place>),
}

impl Default for Places {
    fn default() -> Self {
        Self::From(0)
    }
}

/// One of a [`Chunk`].
#[derive(Debug)]
pub enum Item<'a> {
    /// The record with this number.
    Record(usize),
    /// No record.
    Wrong(&'a Place, &'a Wrong),
}

impl Chunk {
    /// Records as they lie in a file or stream, the first behind `offset` bytes.
    #[must_use]
    pub fn whole(offset: u64, bytes: Bytes, end: MarkedAt) -> Self {
        let places = Places::From(offset);
        Self { bytes, places, end, ..Self::default() }
    }

    /// Records that each have a place of their own.
    #[must_use]
    pub fn each(records: impl IntoIterator<Item = Record>, end: MarkedAt) -> Self {
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        let (mut wrong, mut payloads) = (Vec::new(), Vec::new());
        for Record { place, header, payload } in records {
            match header {
                Ok(raw) => {
                    bytes.extend_from_slice(raw.as_bytes());
                    payloads.extend(payload.map(|payload| (places.len(), payload)));
                    places.push(place);
                }
                Err(error) => wrong.push((places.len(), place, error)),
            }
        }
        let (bytes, places) = (bytes.into(), Places::Each(places));
        Self { bytes, places, wrong, payloads, end, ..Self::default() }
    }

    /// Records of an archive.
    #[must_use]
    pub fn archived(manifest: Arc<Manifest>, records: Records, end: MarkedAt) -> Self {
        let Records { bytes, places } = records;
        let (bytes, places) = (bytes.into(), Places::Archived(manifest, places));
        Self { bytes, places, end, ..Self::default() }
    }

    /// What records carry, by their numbers: taken out, so that it is held once.
    pub fn take_payloads(&mut self) -> Vec<(usize, RawPayload)> {
        std::mem::take(&mut self.payloads)
    }

    /// Bytes of what records carry.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.payloads.iter().map(|(_, payload)| payload.len()).sum()
    }

    /// The same with a place behind all records that holds none.
    #[must_use]
    pub fn with_wrong(mut self, place: Place, wrong: Wrong) -> Self {
        self.wrong.push((self.records().len(), place, wrong));
        self
    }

    /// The same with what was passed over.
    #[must_use]
    pub fn skipping(self, skips: Skips) -> Self {
        Self { skips, ..self }
    }

    /// What was passed over.
    #[must_use]
    pub const fn skips(&self) -> Skips {
        self.skips
    }

    /// What the first place says that holds no record, if there is one.
    #[must_use]
    pub fn first_wrong(&self) -> Option<String> {
        self.wrong.first().map(|(_, place, wrong)| format!("{place}: {wrong}"))
    }

    /// The same, with so many lines of a log among them.
    #[must_use]
    pub fn with_skipped(self, skipped: u64) -> Self {
        Self { skipped, ..self }
    }

    /// The same, which is not full because no more came for a moment.
    #[must_use]
    pub(super) fn early_if(self, is_early: bool) -> Self {
        Self { is_early, ..self }
    }

    /// Whether it is not full because no more came for a moment.
    #[must_use]
    pub const fn is_early(&self) -> bool {
        self.is_early
    }

    /// Lines of a log that were passed over.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> &[RawHeader] {
        let whole = (self.bytes.len() / LEN).saturating_mul(LEN);
        let records = self.bytes.get(..whole).map(<[RawHeader]>::ref_from_bytes);
        records.and_then(Result::ok).unwrap_or_default()
    }

    /// The number of records, and of what should be some.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records().len().saturating_add(self.wrong.len())
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them in the order of the input, from the record with the number `from` on.
    pub fn items(&self, from: usize) -> impl Iterator<Item = Item<'_>> {
        let mut wrong = self.wrong.iter().filter(move |(before, _, _)| *before >= from).peekable();
        let mut records = from..self.records().len();
        std::iter::from_fn(move || {
            let next = records.start;
            if let Some((_, place, error)) = wrong.next_if(|(before, _, _)| *before <= next) {
                return Some(Item::Wrong(place, error));
            }
            records.next().map(Item::Record)
        })
    }

    /// The place of a record.
    #[must_use]
    pub fn place(&self, record: usize) -> Place {
        match &self.places {
            Places::From(offset) => {
                Place::Offset(offset.saturating_add(record.saturating_mul(LEN) as u64))
            }
            Places::Each(places) => places.get(record).cloned().unwrap_or(Place::Offset(0)),
            Places::Archived(manifest, places) => {
                let place = places.get(record).copied();
                let (file, record) = place.map_or((0, 0), |place| (place.file, place.record));
                let file = manifest.files.get(file).map(Entry::name).unwrap_or_default();
                Place::Record { file, record }
            }
        }
    }

    /// The place in the input behind all of them.
    #[must_use]
    pub const fn end(&self) -> MarkedAt {
        self.end
    }
}
