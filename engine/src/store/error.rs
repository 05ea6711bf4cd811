use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use zerocopy::IntoBytes;

use super::directory::{shown, shown_path};
use super::losses::LostLog;
use super::text::RocksText;
use super::{Column, FORMAT_VERSION, Store, TrunkKey, torn};
use crate::cause::{Cause, Classified, Fault};
use crate::types::{BlockHash, BlockHeight, ChainId};

/// What is wrong with a record of a log or a list of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordFlaw {
    /// Its kind, a number of RocksDB's, is never written there, and would send RocksDB into an endless
    /// loop.
    #[error("a record of kind {0}")]
    Kind(u8),
    /// Its stated length exceeds the file, but with another length its checksum matches: RocksDB would
    /// treat it as cut by a crash, and ignore the records after it.
    #[error("a record of {got} bytes, expected {expected}")]
    Length {
        /// The stated length.
        got: usize,
        /// The length for which its checksum matches.
        expected: usize,
    },
    /// It is not what was written, and RocksDB cannot read what follows it.
    #[error("{0}")]
    Damaged(&'static str),
    /// There are zeros in its place, and more data after them: RocksDB would skip them silently.
    #[error("zeros where a record should be")]
    Zeros,
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
    #[error("{path} is a RocksDB database, but not one of Plait's", path = shown_path(.path))]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// The creation of the database was interrupted, and nothing was stored in it. A command that may
    /// create a database starts it again.
    #[error("the creation of {path} was interrupted", path = shown_path(.path))]
    Unfinished {
        /// The database.
        path: PathBuf,
    },
    /// There is no database, but its place is occupied, so none is created there.
    #[error("there is no database in {dir}, but {found} exists", dir = dir.display(), found = found.display())]
    Occupied {
        /// The folder that was named.
        dir: PathBuf,
        /// What is in it.
        found: PathBuf,
    },
    /// The folder is among the files of a database, or of a chainweb-node's.
    #[error("{dir} is inside the database {database}", dir = dir.display(), database = database.display())]
    Inside {
        /// The folder that was named.
        dir: PathBuf,
        /// The database.
        database: PathBuf,
    },
    /// A file without which the database does not open is missing.
    #[error("{path} is missing", path = shown_path(.path))]
    MissingFile {
        /// The file.
        path: PathBuf,
    },
    /// A file is missing that the list of files names, and that list does not name one that exists.
    #[error("{path} is missing, and {list} does not name {unlisted}: either {list} has lost its end, or somebody removed the file", path = shown_path(.path), list = shown_path(.list), unlisted = shown_path(.unlisted))]
    ListCut {
        /// The list of files.
        list: PathBuf,
        /// The missing file.
        path: PathBuf,
        /// The other one.
        unlisted: PathBuf,
    },
    /// A log is missing or incomplete, and the writes in the logs after it cannot be read without its own.
    #[error("{lost}; {next} cannot be read without it", next = shown_path(.next))]
    LogHole {
        /// What is wrong with the log.
        lost: LostLog,
        /// The next log.
        next: PathBuf,
    },
    /// `CURRENT` does not name a list of files.
    #[error("{path} does not name a MANIFEST", path = shown_path(.path))]
    Current {
        /// The file.
        path: PathBuf,
    },
    /// A table or a blob file has another length than the list of files says.
    #[error("the database is damaged: {path} has {got} bytes, and the MANIFEST says {expected}", path = shown_path(.path))]
    Length {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        got: u64,
        /// The bytes that it should have.
        expected: u64,
    },
    /// The database has no column families or no settings, and no creation of it is under way: an earlier
    /// release was interrupted while it created it, or it has lost its log or the end of its list of files.
    #[error("{path} has no settings: its log or the end of its MANIFEST is lost, or an earlier release was interrupted while it created the database", path = shown_path(.path))]
    Incomplete {
        /// The database.
        path: PathBuf,
    },
    /// A path that should be a folder is not one.
    #[error("{path} is not a folder", path = shown_path(.path))]
    NotFolder {
        /// What it is.
        path: PathBuf,
    },
    /// This user may not read or write a file or folder.
    #[error("{path}: permission denied", path = shown_path(.path))]
    Denied {
        /// The file or folder.
        path: PathBuf,
    },
    /// The database has a layout that this release does not know.
    #[error("database has format version {got}, this release reads {FORMAT_VERSION}")]
    Format {
        /// The version found.
        got: u32,
    },
    /// The folder is a backup; writing to it would spoil the backup.
    #[error("{dir} is a backup, and opening it to write would change it", dir = dir.display())]
    Backup {
        /// The folder that was named.
        dir: PathBuf,
    },
    /// Another process has the database open.
    #[error("{path} is in use by another process", path = shown_path(.path))]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// The name of the database leads to another folder than the one that is open, or to none.
    #[error("{}", displaced(.path, .now.as_deref()))]
    Displaced {
        /// The folder, as it was named.
        path: PathBuf,
        /// Its name now; `None` if it was removed, or if it has lost its lock file.
        now: Option<PathBuf>,
    },
    /// The data on disk is not what was written.
    #[error("column {column} is damaged at key {key}", column = column.name())]
    Damaged {
        /// The column family.
        column: Column,
        /// The key, in hexadecimal digits.
        key: String,
    },
    /// A log or a list of files has a damaged record that RocksDB would not recognize as damaged.
    #[error("{path} is damaged at byte {at}: {flaw}", path = shown_path(.path))]
    Record {
        /// The file.
        path: PathBuf,
        /// Bytes before the record.
        at: u64,
        /// What is wrong with it.
        flaw: RecordFlaw,
    },
    /// A file or folder cannot be used.
    #[error("{path}: {source}", path = shown_path(.path))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What was asked for is not in memory, and the disk was not to be waited for.
    #[error("not in memory")]
    Cold,
    /// The caches are set to more memory than there is.
    #[error("caches of {bytes} bytes do not fit: this process may use {limit} bytes of memory")]
    Caches {
        /// Bytes of all caches.
        bytes: u64,
        /// Bytes that the process may use.
        limit: u64,
    },
    /// RocksDB refuses.
    #[error("{}", shown(&RocksText::new(.0.as_ref()).brief()))]
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
    /// An error of the system about a file or folder, other than that it is missing. It never means that
    /// there is none.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            io::ErrorKind::NotADirectory => Self::NotFolder { path },
            _ => Self::Io { path, source },
        }
    }

    pub(super) fn damaged(column: Column, key: &[u8]) -> Self {
        use std::fmt::Write as _;
        let mut text = String::new();
        for byte in key {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self::Damaged { column, key: text }
    }

    /// Whether a file to be read was missing. If another process writes the database, it deletes files
    /// that it no longer needs, and their contents are in other files by then.
    #[must_use]
    pub fn is_of_lost_file(&self) -> bool {
        matches!(self, Self::RocksDb(error) if error.as_ref().contains("No such file"))
    }

    /// The trunk lacks a block at a height where there should be one.
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

    /// The log with a record that RocksDB must not read, and where the record begins, if a crash of the machine may
    /// have left it: the log of the database in `dir` may be cut there.
    pub(super) fn of_unsynced(&self, dir: &Path) -> Option<(PathBuf, u64)> {
        let Self::Record { path, at, .. } = self else { return None };
        let log = Store::path(dir).join(path.file_name()?);
        torn::is_unsynced(&log, *at).then_some((log, *at))
    }

    /// Finds out why a database does not open; RocksDB reports it only as text.
    pub(super) fn opening(path: &Path, error: rocksdb::Error) -> Self {
        let text: &str = error.as_ref();
        if RocksText::new(text).is_lock() {
            Self::Locked { path: path.to_owned() }
        } else if text.contains("Column family not found")
            || text.contains("Column families not opened")
        {
            Self::Foreign { path: path.to_owned() }
        } else if text.contains("Permission denied") {
            // The file, where RocksDB names it.
            let file = RocksText::new(text).fault().path;
            Self::Denied { path: file.unwrap_or_else(|| path.to_owned()) }
        } else {
            Self::RocksDb(error)
        }
    }
}

fn displaced(path: &Path, now: Option<&Path>) -> String {
    let path = path.display();
    match now {
        Some(now) => format!(
            "{path} is no longer the database that this process has open: that one is now at {}",
            now.display()
        ),
        None => format!(
            "{path} is no longer the database that this process has open: it was removed or replaced"
        ),
    }
}

impl Classified for StoreError {
    fn fault(&self) -> Fault {
        let fault = match self {
            Self::Missing { dir } => Fault::new(Cause::Missing, dir),
            Self::MissingFile { path } => Fault::new(Cause::Missing, path),
            Self::Denied { path } => Fault::new(Cause::Permission, path),
            Self::Format { .. } => Fault { cause: Cause::Format, path: None },
            Self::Locked { path } => Fault::new(Cause::Locked, path),
            Self::Damaged { .. } => Fault { cause: Cause::Damage, path: None },
            Self::Record { path, .. }
            | Self::Length { path, .. }
            | Self::Current { path }
            | Self::LogHole { next: path, .. }
            | Self::ListCut { list: path, .. } => Fault::new(Cause::Damage, path),
            Self::Io { path, source } => Fault::io(path, source),
            Self::Caches { .. } => Fault { cause: Cause::Memory, path: None },
            Self::RocksDb(error) => RocksText::new(error.as_ref()).fault(),
            Self::Foreign { .. }
            | Self::Unfinished { .. }
            | Self::Occupied { .. }
            | Self::Inside { .. }
            | Self::Incomplete { .. }
            | Self::NotFolder { .. }
            | Self::Backup { .. }
            | Self::Displaced { .. }
            | Self::Cold => Fault::OTHER,
        };
        // RocksDB knows the folder by a descriptor, which may be closed by now.
        Fault { path: fault.path.map(|path| shown_path(&path).into()), ..fault }
    }
}
