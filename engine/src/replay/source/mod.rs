//! One reader a format, and how to tell formats apart.

mod again;
mod archive;
mod binary;
mod chunk;
mod decode;
mod detect;
mod json;
mod jsonl;
mod live;
mod merged;
mod node;
mod notice;
mod payload;
mod peek;
mod rows;
mod texts;

use std::fs::{File, Metadata};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

pub use archive::Archive;
pub use binary::Binary;
pub use chunk::{Chunk, Item, Place, Record};
pub use detect::{Format, detect, detect_stream};
pub use json::{Limits, Next, Records, Values};
pub use jsonl::{Jsonl, push_text};
pub use merged::{Feed, Merged, Watcher};
pub use node::Node;
pub use notice::{Notice, Skips, Span};
pub use payload::RawPayload;
pub use peek::{Peeked, peek};
pub use rows::Rows;

use self::again::Again;
use self::live::Live;
use super::ReplayError;
use crate::archive::MANIFEST;
use crate::header::LEN;
use crate::store::MarkedAt;
use crate::types::ChainwebVersion;

/// An input, read from its beginning to its end.
pub trait Source: Send {
    /// The next records, about `records_max` of them, or fewer where no more come for a moment;
    /// `None` at the end.
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

    /// What is to be known of it before it is read.
    fn notices(&self) -> Vec<Notice> {
        Vec::new()
    }

    /// Whether it is known to lack blocks between the genesis blocks and its lowest ones.
    fn begins_late(&self) -> bool {
        false
    }
}

/// How an input is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its format, if that is not detected from its content.
    pub format: Option<Format>,
    /// Whether damaged files of an archive are wrong records, which a replay may go on after, or
    /// errors; and whether a damaged log of a node's database is read after the damage.
    pub keep_going: bool,
    /// Whether what blocks carry is read too, where it is there.
    pub payloads: bool,
    /// Whether log lines between JSON values are skipped and counted. One with a header in it is a wrong
    /// record.
    pub lenient: bool,
}

impl Default for Reading {
    fn default() -> Self {
        Self { format: None, keep_going: false, payloads: true, lenient: false }
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
    match open_stream(input, reading)? {
        Opened::Stream(source) => Ok(source),
        Opened::Folder(format) => open_folder(input, format, version, reading),
    }
}

/// What an input is that was opened without knowing its network.
enum Opened {
    Stream(Box<dyn Source>),
    /// A folder of this format.
    Folder(Format),
}

fn open_folder(
    input: &Path,
    format: Format,
    version: ChainwebVersion,
    reading: Reading,
) -> Result<Box<dyn Source>, ReplayError> {
    Ok(match format {
        Format::Archive => Box::new(Archive::open(input, version, reading.keep_going)?),
        _ => Box::new(Node::open(input, version, reading.keep_going, reading.payloads)?),
    })
}

fn open_stream(input: &Path, reading: Reading) -> Result<Opened, ReplayError> {
    let format = reading.format;
    let wrong = |reason: &str| ReplayError::Format {
        input: input.display().to_string(),
        reason: reason.to_owned(),
    };
    if input.as_os_str() == "-" {
        if matches!(format, Some(Format::Node | Format::Archive)) {
            return Err(ReplayError::Format {
                input: "standard input".to_owned(),
                reason: "this format needs a folder, not a stream".to_owned(),
            });
        }
        let name = "standard input".to_owned();
        let live = Live::stdin();
        let live = live.map_err(|source| ReplayError::Io { input: name.clone(), source })?;
        return stream(name, Box::new(live), None, reading).map(Opened::Stream);
    }
    let metadata = std::fs::metadata(input).map_err(|e| ReplayError::io(input, e))?;
    match format {
        Some(Format::Node) if metadata.is_file() => {
            return Err(wrong(
                "is a file, but a chainweb-node's database is a folder; omit --format",
            ));
        }
        Some(format @ (Format::Node | Format::Archive)) => return Ok(Opened::Folder(format)),
        Some(_) if metadata.is_dir() => {
            return Err(wrong("is a folder, but this format is for files"));
        }
        None if metadata.is_dir() => {
            let is_archive = input.join(MANIFEST).try_exists();
            let is_archive = is_archive.map_err(|e| ReplayError::io(input, e))?;
            let format =
                if is_archive || has_archived(input) { Format::Archive } else { Format::Node };
            return Ok(Opened::Folder(format));
        }
        _ => {}
    }
    let file = File::open(input).map_err(|e| ReplayError::io(input, e))?;
    let name = input.display().to_string();
    if !metadata.is_file() {
        return stream(name, Box::new(Live::new(file)), None, reading).map(Opened::Stream);
    }
    let again = again(input, &file, &metadata)?;
    stream(name, Box::new(file), Some(again), reading).map(Opened::Stream)
}

/// Whether a folder has files of an archive. Without a manifest, that is what is missing.
fn has_archived(dir: &Path) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| PathBuf::from(entry.file_name()));
    names.any(|name| name.extension().is_some_and(|end| end == "plait"))
}

/// Bytes at the beginning of a file that tell it from others.
const NAMED_LEN: usize = 4 * LEN;

/// What is needed to read a file again.
fn again(input: &Path, file: &File, metadata: &Metadata) -> Result<Again, ReplayError> {
    let mut head = Vec::with_capacity(NAMED_LEN);
    let mut first = file;
    let read = first.by_ref().take(NAMED_LEN as u64).read_to_end(&mut head);
    let read = read.and_then(|_| first.rewind()).and_then(|()| file.try_clone());
    let file = read.map_err(|e| ReplayError::io(input, e))?;
    let (name, id) = (input.display().to_string(), file_name(metadata, &head));
    Ok(Again { file, name, id, size: metadata.len(), is_compressed: false })
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

/// What a stream has, which is a file if it can be read `again`.
fn stream(
    name: String,
    input: Box<dyn Read + Send>,
    again: Option<Again>,
    reading: Reading,
) -> Result<Box<dyn Source>, ReplayError> {
    let Reading { format, payloads, lenient, .. } = reading;
    let decoded = decode::decoded(&name, input)?;
    if decoded.head.is_empty() {
        return Err(ReplayError::Empty { input: name });
    }
    let is_compressed = decoded.is_compressed;
    let format = format.map_or_else(|| detect::detect(&name, &decoded.head, lenient), Ok)?;
    let again = again.map(|again| Again { is_compressed, ..again });
    let Format::Jsonl = format else {
        return Ok(match again {
            Some(Again { file, size, id, .. }) if !is_compressed => {
                Box::new(Binary::mapped(file, name, size, id))
            }
            again => Box::new(Binary::streamed(name, decoded.into_read()).with(again)),
        });
    };
    let size = again.as_ref().filter(|again| !again.is_compressed).map(|again| again.size);
    let source = Jsonl::new(name, decoded.into_read(), size, payloads, lenient);
    Ok(match again {
        Some(again) => {
            let id = if payloads { with_payloads(again.id) } else { again.id };
            Box::new(source.with(Again { id, ..again }))
        }
        None => Box::new(source),
    })
}
