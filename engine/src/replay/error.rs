use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::source::Place;
use crate::archive::{ArchiveError, Damage};
use crate::cause::{Cause, Classified, Fault};
use crate::header::{DecodeError, LEN, RawHeader, TextError};
use crate::payload::{self, PayloadError, RecordError};
use crate::store::{LogFinding, StoreError};
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
    /// The input is of another network than the database.
    #[error("{input}: its network is {got}, and that of the database is {expected}")]
    Network {
        /// The file, folder or `standard input`.
        input: String,
        /// The network of its first record.
        got: ChainwebVersion,
        /// The network of the database.
        expected: ChainwebVersion,
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
    /// All headers of a node's database are of another network.
    #[error("{path}: the database of a {got} node, not of {version}", path = path.display())]
    OtherNetwork {
        /// The database.
        path: PathBuf,
        /// The network of its headers.
        got: ChainwebVersion,
        /// The network that was asked for.
        version: ChainwebVersion,
    },
    /// A log of a node's database is damaged before the first header, cut, or missing.
    #[error("{path}: no header could be read: {damage}", path = path.display())]
    Unread {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        damage: Box<LogFinding>,
    },
    /// An input does not begin with the genesis blocks, and nothing below it is stored.
    #[error("{input}: the history does not begin with the genesis blocks; {notices}")]
    Partial {
        /// The input.
        input: String,
        /// Which heights it has.
        notices: String,
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
            Self::Unread { path, .. } => Fault::new(Cause::Damage, path),
            Self::Empty { .. }
            | Self::Format { .. }
            | Self::Network { .. }
            | Self::NoHeaders { .. }
            | Self::OtherNetwork { .. }
            | Self::Partial { .. } => Fault::OTHER,
        }
    }
}

impl ReplayError {
    /// Whether the folder of the database is not where it was: its name may lead to another one by now.
    #[must_use]
    pub const fn is_of_displaced(&self) -> bool {
        matches!(self, Self::Write(WriteError::Store(StoreError::Displaced { .. })))
    }

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
    /// It is something other than a header.
    #[error("{0}")]
    Line(&'static str),
    /// It is longer than any header or block.
    #[error("the value is longer than {bytes_max} bytes")]
    TooLong {
        /// Bytes of a value at most.
        bytes_max: usize,
    },
    /// The text is not JSON at that place.
    #[error(
        "not JSON: {reason}{}",
        begins.map(|line| format!(", in the value that begins on line {line}")).unwrap_or_default()
    )]
    Syntax {
        /// What is wrong.
        reason: &'static str,
        /// The line where the value begins that it is in, if that is another one.
        begins: Option<u64>,
    },
    /// Its object is not that of a header.
    #[error("not a header object: {reason} (line {line}, column {column})")]
    Object {
        /// What is wrong.
        reason: String,
        /// The line in the input, from 1.
        line: u64,
        /// The column there, from 1.
        column: u64,
    },
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
    /// Some of a node's writes are missing or damaged.
    #[error(transparent)]
    Log(LogFinding),
    /// It breaks rules of its network.
    #[error(transparent)]
    Rules(#[from] Failures),
    /// It was admitted without the blocks below it, which have arrived since and show that it breaks
    /// rules of its network.
    #[error(
        "it was stored without the blocks below it, which have now arrived and show that it is wrong: {0}; to get rid of it, create the database again without it"
    )]
    Start(Failures),
}

impl Wrong {
    /// The rules that are broken by name, or what else is wrong.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let (name, failures) = match self {
            Self::Cut { .. } => (Some("Cut"), None),
            Self::Bytes(_) => (Some("Bytes"), None),
            Self::Text(_) | Self::Object { .. } => (Some("Text"), None),
            Self::Line(_) | Self::TooLong { .. } => (Some("Line"), None),
            Self::Syntax { .. } => (Some("Json"), None),
            Self::Key => (Some("Key"), None),
            Self::Payload(error) => (Some(hash_name(error)), None),
            Self::PayloadText(_) | Self::PayloadParts(_) | Self::Row(_) => (Some("Payload"), None),
            Self::File(_) => (Some("File"), None),
            Self::Log(finding) if finding.is_cut() => (Some("Cut"), None),
            Self::Log(_) => (Some("Log"), None),
            Self::Rules(failures) | Self::Start(failures) => (None, Some(failures)),
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
    /// Its place in the input.
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
