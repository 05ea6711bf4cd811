//! One reader a format, and how to tell formats apart.

mod archive;
mod binary;
mod chunk;
mod detect;
mod jsonl;
mod merged;
mod node;
mod payload;
mod rows;

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;
use std::time::UNIX_EPOCH;

pub use archive::Archive;
pub use binary::Binary;
pub use chunk::{Chunk, Item, Place, Record};
pub use detect::{Format, detect};
pub use jsonl::{Jsonl, push_line};
pub use merged::{Feed, Merged, Watcher};
pub use node::Node;
pub use payload::RawPayload;
pub use rows::Rows;

use super::ReplayError;
use crate::archive::MANIFEST;
use crate::header::LEN;
use crate::store::MarkedAt;
use crate::types::ChainwebVersion;

/// An input, read from its beginning to its end.
pub trait Source: Send {
    /// The next records, about `records_max` of them; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] if the input cannot be read. A bad record is no error but an item.
    fn next(&mut self, records_max: usize) -> Result<Option<Chunk>, ReplayError>;

    /// Bytes of the whole input, if that is known.
    fn size(&self) -> Option<u64>;

    /// A name that no other input has, and not this one either once it is changed, as far as can be
    /// told without reading all of it; `None` if it cannot be read from anywhere but its beginning.
    fn name(&self) -> Option<[u8; 32]>;

    /// Reads on from a place that a chunk ended at; `false` if that cannot be, and then it is where
    /// it was.
    ///
    /// # Errors
    ///
    /// As for [`Source::next`].
    fn resume(&mut self, at: MarkedAt) -> Result<bool, ReplayError>;
}

/// How an input is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its format, if that is not told by its content.
    pub format: Option<Format>,
    /// Whether damaged files of an archive are wrong records, which a replay may go on after, or
    /// errors.
    pub keep_going: bool,
    /// Whether what blocks carry is read too, where it is there.
    pub payloads: bool,
}

impl Default for Reading {
    fn default() -> Self {
        Self { format: None, keep_going: false, payloads: true }
    }
}

/// Opens an input: `-` is standard input.
///
/// # Errors
///
/// [`ReplayError`] if it cannot be read, is empty, or is of no known format.
pub fn open(
    input: &Path,
    version: ChainwebVersion,
    reading: Reading,
) -> Result<Box<dyn Source>, ReplayError> {
    let Reading { format, keep_going, payloads } = reading;
    if input.as_os_str() == "-" {
        return stream("standard input".to_owned(), Box::new(io::stdin()), None, reading);
    }
    let metadata = std::fs::metadata(input).map_err(|e| ReplayError::io(input, e))?;
    let folder = matches!(format, Some(Format::Node | Format::Archive));
    if metadata.is_dir() || folder {
        let is_archive = input.join(MANIFEST).try_exists();
        let is_archive = is_archive.map_err(|e| ReplayError::io(input, e))?;
        return match format {
            None if is_archive => Ok(Box::new(Archive::open(input, version, keep_going)?)),
            Some(Format::Archive) => Ok(Box::new(Archive::open(input, version, keep_going)?)),
            None | Some(Format::Node) => Ok(Box::new(Node::open(input, version, payloads)?)),
            Some(Format::Binary | Format::Jsonl) => Err(ReplayError::Format {
                input: input.display().to_string(),
                reason: "is a folder, and this format is that of files".to_owned(),
            }),
        };
    }
    let file = File::open(input).map_err(|e| ReplayError::io(input, e))?;
    if metadata.is_file() && metadata.len() > 0 {
        let name = input.display().to_string();
        let mut head = Vec::with_capacity(4 * LEN);
        let read =
            (&file).take(4 * LEN as u64).read_to_end(&mut head).and_then(|_| (&file).rewind());
        read.map_err(|e| ReplayError::io(input, e))?;
        let (size, id) = (metadata.len(), file_name(&metadata, &head));
        match format.map_or_else(|| detect::detect(&name, &head), Ok)? {
            Format::Binary => return Ok(Box::new(Binary::mapped(file, name, size, id))),
            Format::Jsonl => return Ok(Box::new(Jsonl::file(name, file, size, id, payloads))),
            Format::Node | Format::Archive => {}
        }
    }
    let size = metadata.is_file().then_some(metadata.len());
    stream(input.display().to_string(), Box::new(file), size, reading)
}

/// Tells a file from others and from itself when it was changed: by length, time of change and
/// first records.
fn file_name(metadata: &Metadata, head: &[u8]) -> [u8; 32] {
    let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let mut state = blake2s_simd::Params::new().hash_length(32).to_state();
    state.update(format!("{} {:?} ", metadata.len(), changed).as_bytes());
    state.update(head);
    *state.finalize().as_array()
}

/// The name of an input of which payloads are read: a mark of one of which they were not says that
/// they may be skipped, and says too much for it.
fn with_payloads(name: [u8; 32]) -> [u8; 32] {
    *blake2s_simd::blake2s(&[b"payloads ", name.as_slice()].concat()).as_array()
}

fn stream(
    name: String,
    mut input: Box<dyn Read + Send>,
    size: Option<u64>,
    Reading { format, payloads, .. }: Reading,
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
        Format::Jsonl => Ok(Box::new(Jsonl::new(name, Box::new(input), size, payloads))),
        Format::Node | Format::Archive => Err(ReplayError::Format {
            input: name,
            reason: "this format is that of a folder, not of a stream".to_owned(),
        }),
    }
}
