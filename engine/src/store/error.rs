use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use zerocopy::IntoBytes;

use super::text::RocksText;
use super::{Column, FORMAT_VERSION, TrunkKey};
use crate::cause::{Cause, Classified, Fault};
use crate::types::{BlockHash, BlockHeight, ChainId};

/// What is wrong with a record of a log or a list of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordFlaw {
    /// It is of a kind, a number of RocksDB's, that is never written there: RocksDB would read it without an
    /// end.
    #[error("a record of kind {0}")]
    Kind(u8),
    /// It is longer than the file by what it says, and whole with another length: RocksDB would take it for
    /// one that a crash has cut, and not see what follows.
    #[error("a record of {got} bytes, expected {expected}")]
    Length {
        /// What it says.
        got: usize,
        /// With which length it has its checksum.
        expected: usize,
    },
}

/// The store cannot do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is no database.
    #[error("no database in {dir}", dir = dir.display())]
    Missing {
        /// The folder that was named.
        dir: PathBuf,
    },
    /// The database was not made by this program.
    #[error("{path} is a RocksDB database, but not one of Plait's", path = path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// The making of the database was interrupted before it held anything.
    #[error("{path} was never finished", path = path.display())]
    Unfinished {
        /// The database.
        path: PathBuf,
    },
    /// The database has a layout that this release does not know.
    #[error("database has format version {got}, this release reads {FORMAT_VERSION}")]
    Format {
        /// The version found.
        got: u32,
    },
    /// Another process has the database open.
    #[error("{path} is in use by another process", path = path.display())]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// What is on disk is not what was written.
    #[error("column {column} is damaged at key {key}", column = column.name())]
    Damaged {
        /// The column family.
        column: Column,
        /// The key, in hexadecimal digits.
        key: String,
    },
    /// A log or a list of files has a record that RocksDB would not take for a damaged one.
    #[error("{path} is damaged at byte {at}: {flaw}", path = path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Bytes before the record.
        at: u64,
        /// What is wrong with it.
        flaw: RecordFlaw,
    },
    /// A file or folder cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What was asked for is not in memory, and the disk was not to be waited for.
    #[error("not in memory")]
    Cold,
    /// Caches are to take more memory than there is.
    #[error("caches of {bytes} bytes do not fit: this process may use {limit} bytes of memory")]
    Caches {
        /// Bytes of all caches.
        bytes: u64,
        /// Bytes that the process may use.
        limit: u64,
    },
    /// RocksDB refuses.
    #[error("{}", RocksText::new(.0.as_ref()).brief())]
    RocksDb(rocksdb::Error),
}

impl From<rocksdb::Error> for StoreError {
    fn from(error: rocksdb::Error) -> Self {
        match error.kind() {
            rocksdb::ErrorKind::Incomplete => Self::Cold,
            _ => Self::RocksDb(error),
        }
    }
}

impl StoreError {
    pub(super) fn damaged(column: Column, key: &[u8]) -> Self {
        use std::fmt::Write as _;
        let mut text = String::new();
        for byte in key {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self::Damaged { column, key: text }
    }

    /// The trunk has no block at a height where it should.
    pub(crate) fn gap(chain: ChainId, height: BlockHeight) -> Self {
        Self::damaged(Column::Trunk, TrunkKey::new(chain, height).as_bytes())
    }

    /// A block is in `heights` and nowhere else.
    pub(crate) fn lost(hash: &BlockHash) -> Self {
        Self::damaged(Column::Heights, hash.as_bytes())
    }

    pub(super) fn meta(name: &str) -> Self {
        Self::Damaged { column: Column::Meta, key: name.to_owned() }
    }

    /// Tells apart why a database does not open; RocksDB has only texts for it.
    pub(super) fn opening(path: &Path, error: rocksdb::Error) -> Self {
        let text: &str = error.as_ref();
        if RocksText::new(text).is_lock() {
            Self::Locked { path: path.to_owned() }
        } else if text.contains("Column family not found")
            || text.contains("Column families not opened")
        {
            Self::Foreign { path: path.to_owned() }
        } else {
            Self::RocksDb(error)
        }
    }
}

impl Classified for StoreError {
    fn fault(&self) -> Fault {
        match self {
            Self::Missing { dir } => Fault::new(Cause::Missing, dir),
            Self::Format { .. } => Fault { cause: Cause::Format, path: None },
            Self::Locked { path } => Fault::new(Cause::Locked, path),
            Self::Damaged { .. } => Fault { cause: Cause::Damage, path: None },
            Self::Record { path, .. } => Fault::new(Cause::Damage, path),
            Self::Io { path, source } => Fault::io(path, source),
            Self::Caches { .. } => Fault { cause: Cause::Memory, path: None },
            Self::RocksDb(error) => RocksText::new(error.as_ref()).fault(),
            Self::Foreign { .. } | Self::Unfinished { .. } | Self::Cold => Fault::OTHER,
        }
    }
}
