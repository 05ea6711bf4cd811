use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Checksum, FORMAT_VERSION};
use crate::cause::{self, Cause, Classified};
use crate::header::DecodeError;
use crate::output::{InsideDatabase, LackOfSpace};
use crate::query::QueryError;
use crate::store::StoreError;
use crate::types::{BlockHash, BlockHeight, ChainwebVersion};

/// An archive cannot be made or read.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// A file or folder cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The folder has no manifest.
    #[error("no archive in {dir}: manifest.json is missing", dir = dir.display())]
    Missing {
        /// The folder that was named.
        dir: PathBuf,
    },
    /// The folder has other things than an archive.
    #[error("{dir} has {found:?}, which is no part of an archive", dir = dir.display())]
    Occupied {
        /// The folder that was named.
        dir: PathBuf,
        /// The first thing in it.
        found: String,
    },
    /// Another export writes there.
    #[error("another export writes into {dir}", dir = dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// The manifest is not what was written.
    #[error("{path}: {flaw}", path = path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The archive is of another network.
    #[error("{dir} is an archive of network {got}, not {expected}", dir = dir.display())]
    Network {
        /// The folder.
        dir: PathBuf,
        /// The network of the archive.
        got: ChainwebVersion,
        /// The network of the database.
        expected: ChainwebVersion,
    },
    /// The files of the archive have another number of heights.
    #[error("{dir} has files of {got} heights, not {expected}", dir = dir.display())]
    Heights {
        /// The folder.
        dir: PathBuf,
        /// The number in the archive.
        got: u64,
        /// The number asked for.
        expected: u64,
    },
    /// A file of the archive is not what was written.
    #[error("{path}: {damage}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cut cannot be found.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// There is less room than it takes.
    #[error(transparent)]
    Space(#[from] LackOfSpace),
    /// The folder lies where a database keeps its files.
    #[error(transparent)]
    Inside(#[from] InsideDatabase),
}

impl ArchiveError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

impl Classified for ArchiveError {
    fn fault(&self) -> cause::Fault {
        use cause::Fault;
        match self {
            Self::Io { path, source } | Self::File { path, damage: Damage::Io(source) } => {
                Fault::io(path, source)
            }
            Self::Missing { dir } => Fault::new(Cause::Missing, dir),
            Self::Locked { dir } => Fault::new(Cause::Locked, dir),
            Self::Manifest { path, flaw: Flaw::Format { .. } } => Fault::new(Cause::Format, path),
            Self::Manifest { path, .. } | Self::File { path, .. } => {
                Fault::new(Cause::Damage, path)
            }
            Self::Store(error) => error.fault(),
            Self::Query(error) => error.fault(),
            Self::Space(_)
            | Self::Inside(_)
            | Self::Occupied { .. }
            | Self::Network { .. }
            | Self::Heights { .. } => Fault::OTHER,
        }
    }
}

/// What is wrong with a manifest.
#[derive(Debug, Error)]
pub enum Flaw {
    /// It does not end with its own checksum.
    #[error("the manifest does not end with a checksum: it is cut off, or was written by hand")]
    Unsigned,
    /// Its checksum is that of other bytes.
    #[error("the manifest is damaged: its checksum is {expected}, its bytes have {got}")]
    Checksum {
        /// The checksum of its bytes.
        got: Checksum,
        /// The checksum that it states.
        expected: Checksum,
    },
    /// It is longer than any manifest.
    #[error("the manifest has over {max} bytes")]
    Long {
        /// Bytes allowed.
        max: u64,
    },
    /// It is of a format that this release does not know.
    #[error("the archive has format version {got}, this release reads {FORMAT_VERSION}")]
    Format {
        /// The version found.
        got: u32,
    },
    /// It is not JSON of the expected form.
    #[error("the manifest is not of the expected form: {0}")]
    Json(serde_json::Error),
    /// A member has a value that none may have.
    #[error("the manifest has a wrong value of {0:?}")]
    Value(&'static str),
    /// What it says of a file cannot be.
    #[error("the manifest is wrong about {name:?}: {reason}")]
    Entry {
        /// The name that it gives the file.
        name: String,
        /// What cannot be.
        reason: &'static str,
    },
    /// It does not fit together.
    #[error("the manifest does not fit together: {0}")]
    Outline(&'static str),
}

/// What is wrong with a file of an archive.
#[derive(Debug, Error)]
pub enum Damage {
    /// It is not there.
    #[error("the file is missing")]
    Missing,
    /// It cannot be read.
    #[error("{0}")]
    Io(io::Error),
    /// It is longer or shorter than it should be.
    #[error("the file has {got} bytes, expected {expected}")]
    Length {
        /// Bytes found.
        got: u64,
        /// Bytes by the manifest.
        expected: u64,
    },
    /// Its header says other things than the manifest.
    #[error("the {0} in the header of the file is wrong")]
    Header(&'static str),
    /// It has other bytes than it should.
    #[error("the checksum is {got}, expected {expected}{}", at.as_ref().map_or(String::new(), |at| format!("; {at}")))]
    Checksum {
        /// The checksum of its bytes.
        got: Checksum,
        /// The checksum by the manifest.
        expected: Checksum,
        /// The first record that shows it, if one does.
        at: Option<Box<RecordFlaw>>,
    },
    /// A record cannot be in this file, though the checksum says that it was written so.
    #[error(transparent)]
    Record(Box<RecordFlaw>),
}

impl Damage {
    /// The damage of the file in `path`, unless it could not be read for a cause that says nothing of it: see
    /// [`Cause::is_of_data`].
    pub(super) fn of_data(self, path: &Path) -> Result<Self, ArchiveError> {
        match self {
            Self::Io(error) if !Cause::of(&error).is_of_data() => {
                Err(ArchiveError::File { path: path.to_owned(), damage: Self::Io(error) })
            }
            damage => Ok(damage),
        }
    }
}

/// What is wrong with a record of a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("record {number}, height {height}, block {hash}: {fault}")]
pub struct RecordFlaw {
    /// The record, from 0.
    pub number: u64,
    /// The height that it says.
    pub height: BlockHeight,
    /// The block that it says it is.
    pub hash: BlockHash,
    /// What is wrong.
    pub fault: Fault,
}

/// See [`RecordFlaw`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// Its bytes are not a header.
    #[error(transparent)]
    Bytes(#[from] DecodeError),
    /// It is of another network.
    #[error("the record is of another network")]
    Network,
    /// It is of another chain.
    #[error("the record is of another chain")]
    Chain,
    /// It is not at a height of the file.
    #[error("the height is not one of this file")]
    Height,
    /// It does not come after the record before it.
    #[error("the record is not in order")]
    Order,
    /// The record before it is not its parent.
    #[error("the record before it is not its parent")]
    Parent,
    /// The file begins or ends with another block than the manifest says.
    #[error("the manifest has another block here")]
    Edge,
    /// It has another hash than its fields ask for.
    #[error("the block hash is not that of the record")]
    Hash,
}
