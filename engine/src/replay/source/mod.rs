//! One reader a format, and how to tell formats apart.

mod binary;
mod detect;
mod jsonl;
mod node;

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

pub use binary::Binary;
pub use detect::Format;
pub use jsonl::Jsonl;
pub use node::Node;

use super::{ReplayError, Wrong};
use crate::header::{LEN, RawHeader};
use crate::types::{ChainId, ChainwebVersion};

/// Where in an input a record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Bytes before it.
    Offset(u64),
    /// Its line, from 1.
    Line(u64),
    /// The item on a line with several, both from 1.
    Item {
        /// The line.
        line: u64,
        /// The item on it.
        item: u64,
    },
    /// Its row in a node's database.
    Row {
        /// The chain of the header table.
        chain: ChainId,
        /// The key in it: height, big endian, and hash.
        key: Box<[u8]>,
    },
    /// Put aside, in this replay or an earlier one; where it stood in its input.
    Aside(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "offset {offset}"),
            Self::Line(line) => write!(f, "line {line}"),
            Self::Item { line, item } => write!(f, "line {line}, item {item}"),
            Self::Aside(place) => f.write_str(place),
            Self::Row { chain, key } => {
                write!(f, "key BlockHeader/{chain}/header$")?;
                key.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// Some records in the order of the input.
#[derive(Debug)]
pub enum Chunk<'a> {
    /// Records where they lie, one right behind the other.
    Mapped {
        /// Bytes before the first one.
        offset: u64,
        /// The records.
        records: &'a [RawHeader],
    },
    /// Records of their own, or why they are none.
    Owned(Vec<(Place, Result<RawHeader, Wrong>)>),
}

impl Chunk<'_> {
    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Mapped { records, .. } => records.len(),
            Self::Owned(records) => records.len(),
        }
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The place of the record at `index`.
    #[must_use]
    pub fn place(&self, index: usize) -> Place {
        match self {
            Self::Mapped { offset, .. } => Place::Offset(offset + (index as u64) * (LEN as u64)),
            Self::Owned(records) => {
                records.get(index).map_or(Place::Offset(0), |(place, _)| place.clone())
            }
        }
    }
}

/// An input, read from its beginning to its end.
pub trait Source {
    /// The next records, about `records_max` of them; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] if the input cannot be read. A bad record is no error but an item.
    fn next(&mut self, records_max: usize) -> Result<Option<Chunk<'_>>, ReplayError>;

    /// Bytes of input that were read.
    fn position(&self) -> u64;

    /// Bytes of the whole input, if that is known.
    fn size(&self) -> Option<u64>;
}

/// Opens an input: `-` is standard input.
///
/// # Errors
///
/// [`ReplayError`] if it cannot be read, is empty, or is of no known format.
pub fn open(
    input: &Path,
    format: Option<Format>,
    version: ChainwebVersion,
) -> Result<Box<dyn Source>, ReplayError> {
    if input.as_os_str() == "-" {
        return stream("standard input".to_owned(), Box::new(io::stdin()), None, format);
    }
    let metadata = std::fs::metadata(input).map_err(|e| ReplayError::io(input, e))?;
    if metadata.is_dir() || format == Some(Format::Node) {
        return match format {
            None | Some(Format::Node) => Ok(Box::new(Node::open(input, version)?)),
            Some(Format::Binary | Format::Jsonl) => Err(ReplayError::Format {
                input: input.display().to_string(),
                reason: "is a folder, and this format is that of files".to_owned(),
            }),
        };
    }
    let file = File::open(input).map_err(|e| ReplayError::io(input, e))?;
    if metadata.is_file() && metadata.len() > 0 {
        let map = super::mapped::Mapped::new(&file).map_err(|e| ReplayError::io(input, e))?;
        let name = input.display().to_string();
        match format.map_or_else(|| detect::detect(&name, map.bytes()), Ok)? {
            Format::Binary => return Ok(Box::new(Binary::mapped(map))),
            Format::Jsonl | Format::Node => {}
        }
    }
    let size = metadata.is_file().then_some(metadata.len());
    stream(input.display().to_string(), Box::new(file), size, format)
}

fn stream(
    name: String,
    mut input: Box<dyn Read>,
    size: Option<u64>,
    format: Option<Format>,
) -> Result<Box<dyn Source>, ReplayError> {
    let mut head = Vec::new();
    let read = input.by_ref().take(4 * LEN as u64).read_to_end(&mut head);
    read.map_err(|source| ReplayError::Io { input: name.clone(), source })?;
    if head.is_empty() {
        return Err(ReplayError::Empty { input: name });
    }
    let format = format.map_or_else(|| detect::detect(&name, &head), Ok)?;
    let input = BufReader::with_capacity(1 << 20, io::Cursor::new(head).chain(input));
    match format {
        Format::Binary => Ok(Box::new(Binary::streamed(name, Box::new(input)))),
        Format::Jsonl => Ok(Box::new(Jsonl::new(name, Box::new(input), size))),
        Format::Node => Err(ReplayError::Format {
            input: name,
            reason: "a node's database is a folder, not a stream".to_owned(),
        }),
    }
}
