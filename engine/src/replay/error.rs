use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::source::Place;
use crate::archive::{ArchiveError, Damage};
use crate::cause::{Cause, Classified, Fault};
use crate::header::{DecodeError, LEN, RawHeader, TextError};
use crate::payload::{self, PayloadError, RecordError};
use crate::store::StoreError;
use crate::types::ChainwebVersion;
use crate::verify::{Failure, Failures};
use crate::write::WriteError;

/// A replay cannot go on, through no fault of a record.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The input cannot be read.
    #[error("{input}: {source}")]
    Io {
        /// The file, or `standard input`.
        input: String,
        /// What the system says.
        source: io::Error,
    },
    /// The input holds nothing.
    #[error("{input}: the input is empty")]
    Empty {
        /// The file, or `standard input`.
        input: String,
    },
    /// The input is in a format that is not read.
    #[error("{input}: {reason}")]
    Format {
        /// The file, or `standard input`.
        input: String,
        /// What it seems to be, and what to do.
        reason: String,
    },
    /// A node's database cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What the store says.
        source: StoreError,
    },
    /// A folder has no database in a layout that is known.
    #[error("{path}: no chainweb-node database here (looked for CURRENT in it, in 0/rocksDb and in rocksDb)", path = path.display())]
    NoDatabase {
        /// The folder.
        path: PathBuf,
    },
    /// A RocksDB database has no header tables.
    #[error("{path}: a RocksDB database without the header tables of chainweb-node for {version}", path = path.display())]
    NoHeaders {
        /// The database.
        path: PathBuf,
        /// The network whose chains were looked for.
        version: ChainwebVersion,
    },
    /// An archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The blocks cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl ReplayError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { input: path.display().to_string(), source }
    }
}

impl Classified for ReplayError {
    fn fault(&self) -> Fault {
        match self {
            Self::Io { input, source } => Fault::io(Path::new(input), source),
            Self::Database { source, .. } => source.fault(),
            Self::NoDatabase { path } => Fault::new(Cause::Missing, path),
            Self::Archive(error) => error.fault(),
            Self::Write(error) => error.fault(),
            Self::Empty { .. } | Self::Format { .. } | Self::NoHeaders { .. } => Fault::OTHER,
        }
    }
}

impl ReplayError {
    /// Whether it is the database that fails, and not an input.
    #[must_use]
    pub const fn is_of_database(&self) -> bool {
        matches!(self, Self::Write(_))
    }
}

/// What is wrong with a record.
#[derive(Debug, Error)]
pub enum Wrong {
    /// The input ends within it.
    #[error("the input ends within a record: {got} bytes of {LEN}")]
    Cut {
        /// Bytes found.
        got: usize,
    },
    /// Its bytes are not a header.
    #[error(transparent)]
    Bytes(#[from] DecodeError),
    /// Its text is not a header.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Its line is not text, or longer than any line of headers.
    #[error("{0}")]
    Line(&'static str),
    /// Its key in the database is that of another block.
    #[error("the key is not that of the header under it")]
    Key,
    /// What it carries is not what its hashes, or its header, say.
    #[error("payload: {0}")]
    Payload(#[from] PayloadError),
    /// The text of what it carries is no payload.
    #[error("payload: {0}")]
    PayloadText(#[from] payload::TextError),
    /// The parts of what it carries make no payload.
    #[error("payload: {0}")]
    PayloadParts(#[from] RecordError),
    /// A row of what it carries is not what a node writes.
    #[error("payload: {0}")]
    Row(&'static str),
    /// A file of an archive is not what was written.
    #[error(transparent)]
    File(Damage),
    /// It breaks rules of its network.
    #[error(transparent)]
    Rules(#[from] Failures),
}

impl Wrong {
    /// The rules that are broken by name, or what else is wrong.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let (name, failures) = match self {
            Self::Cut { .. } => (Some("Cut"), None),
            Self::Bytes(_) => (Some("Bytes"), None),
            Self::Text(_) => (Some("Text"), None),
            Self::Line(_) => (Some("Line"), None),
            Self::Key => (Some("Key"), None),
            Self::Payload(error) => (Some(hash_name(error)), None),
            Self::PayloadText(_) | Self::PayloadParts(_) | Self::Row(_) => (Some("Payload"), None),
            Self::File(_) => (Some("File"), None),
            Self::Rules(failures) => (None, Some(failures)),
        };
        let rules = failures.into_iter().flat_map(Failures::iter).map(Failure::name);
        name.into_iter().chain(rules)
    }
}

/// The hash of a payload that is wrong.
const fn hash_name(error: &PayloadError) -> &'static str {
    match error {
        PayloadError::TransactionsHash { .. } => "TransactionsHash",
        PayloadError::OutputsHash { .. } => "OutputsHash",
        PayloadError::PayloadHash { .. } | PayloadError::OtherBlock { .. } => "PayloadHash",
    }
}

/// A record that was not stored.
#[derive(Debug)]
pub struct Rejection<'a> {
    /// Where in the input it stands.
    pub place: Place,
    /// The block that it says it is, as far as that can be read.
    pub block: Option<&'a RawHeader>,
    /// Why it was not stored.
    pub wrong: &'a Wrong,
}

impl<'a> Rejection<'a> {
    pub(super) const fn new(place: Place, block: Option<&'a RawHeader>, wrong: &'a Wrong) -> Self {
        Self { place, block, wrong }
    }
}

impl fmt::Display for Rejection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if let Some(raw) = self.block {
            write!(f, "chain {}, height {}, block {}: ", raw.chain, raw.height, raw.hash)?;
        }
        self.wrong.fmt(f)
    }
}
