use std::fs;
use std::path::{Path, PathBuf};

use plait_engine::header::text;
use plait_engine::replay::ReplayError;
use plait_engine::replay::source::{self, Chunk, Reading, Source};
use plait_engine::store::MarkedAt;

use super::{Number, World};
use crate::block::NETWORK;
use crate::carried;

/// How a dump is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Headers one behind the other.
    Binary,
    /// A header a line.
    Lines,
    /// A block a line, with what it carries.
    Blocks,
    /// An archive.
    Archive,
}

impl Format {
    /// All of them but the archive, of which there is one.
    pub const FILES: [Self; 3] = [Self::Binary, Self::Lines, Self::Blocks];

    /// The name in the ledger.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Lines => "lines",
            Self::Blocks => "blocks",
            Self::Archive => "archive",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::FILES.into_iter().chain([Self::Archive]).find(|format| format.name() == name)
    }

    /// Whether it has what blocks carry.
    #[must_use]
    pub const fn has_payloads(self) -> bool {
        matches!(self, Self::Blocks)
    }
}

/// Where the dump with this number is.
#[must_use]
pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join("dumps").join(number.to_string())
}

/// Writes a dump: all of it, or nothing.
///
/// # Panics
///
/// If that cannot be.
pub(super) fn write(folder: &Path, number: u64, world: &World, format: Format, blocks: &[Number]) {
    let mut bytes = Vec::new();
    for block in blocks {
        let header = world.header(*block);
        match format {
            Format::Binary => bytes.extend_from_slice(header.as_bytes()),
            Format::Lines => {
                text::push_string(&mut bytes, header);
                bytes.push(b'\n');
            }
            Format::Blocks => {
                bytes.extend_from_slice(carried::line(&world.blocks[*block as usize]).as_bytes());
            }
            Format::Archive => panic!("an archive is exported"),
        }
    }
    let path = path(folder, number);
    let draft = path.with_extension("draft");
    let written = fs::write(&draft, bytes).and_then(|()| fs::rename(&draft, &path));
    written.expect("a dump can be written");
}

/// Opens a dump, to be read a few records at a time.
///
/// # Panics
///
/// If it is none.
#[must_use]
pub(super) fn open(folder: &Path, number: u64, records: usize) -> Box<dyn Source> {
    let source = source::open(&path(folder, number), NETWORK, Reading::default());
    Box::new(Small { source: source.expect("a dump to read"), records })
}

/// A source in small chunks: what large ones have in many, these have in few records.
struct Small {
    source: Box<dyn Source>,
    records: usize,
}

impl Source for Small {
    fn next(&mut self, records_max: usize) -> Result<Option<Chunk>, ReplayError> {
        self.source.next(records_max.min(self.records))
    }

    fn size(&self) -> Option<u64> {
        self.source.size()
    }

    fn name(&self) -> Option<[u8; 32]> {
        self.source.name()
    }

    fn resume(&mut self, at: MarkedAt) -> Result<bool, ReplayError> {
        self.source.resume(at)
    }
}
