use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{BackupId, Status};
use crate::cause::{Cause, Classified, Fault};
use crate::open::OpenError;
use crate::output::InsideDatabase;
use crate::query::QueryError;
use crate::store::StoreError;
use crate::types::ChainId;

/// A backup cannot be made, read or restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// A file or folder cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The database, or a copy of it, does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database, or a copy of it, cannot be read.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// There is less room than it takes.
    #[error("{path}: {needed} bytes are needed, {free} are free", path = path.display())]
    Space {
        /// A folder of the partition.
        path: PathBuf,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The copy is not what it was made of.
    #[error("the copy differs from the database: {what}")]
    Differs {
        /// In what.
        what: String,
    },
    /// A database of Pact is not there.
    #[error("no Pact database of chain {chain}: {path}", path = path.display())]
    PactMissing {
        /// The chain.
        chain: ChainId,
        /// Where it should be.
        path: PathBuf,
    },
    /// A database of Pact cannot be copied.
    #[error("{path}: {source}", path = path.display())]
    Pact {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A database of Pact is damaged.
    #[error("{path} is damaged: {report}", path = path.display())]
    PactDamaged {
        /// The database.
        path: PathBuf,
        /// What SQLite's check found first.
        report: String,
    },
    /// There is no backup with this name.
    #[error("no backup {id} in {dir}", dir = dir.display())]
    Unknown {
        /// The name.
        id: BackupId,
        /// The folder of backups.
        dir: PathBuf,
    },
    /// The backup is not whole.
    #[error("backup {id} is {status}, not backup-done", status = status.name())]
    Unfinished {
        /// The name.
        id: BackupId,
        /// What became of it.
        status: Status,
    },
    /// A file of the backup is not what it was.
    #[error("{path}: {what}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Blocks of the backup are not what they should be.
    #[error("verification found {findings} faults in backup {id}")]
    Unsound {
        /// The name.
        id: BackupId,
        /// How many faults.
        findings: u64,
    },
    /// Where the backup is to be restored there is something.
    #[error("{path} is not empty", path = path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// A process has a database open that was where the backup is to be restored, though its folder was
    /// moved or removed.
    #[error("process {process} still uses the database that was in {path}", path = path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The number of the process.
        process: u32,
    },
    /// Another process restores to the same place.
    #[error("another restore to {path} is running", path = .0.display())]
    Restoring(PathBuf),
    /// Where the backup is to be restored there is an unfinished restore of another one.
    #[error("{path} has an unfinished restore of backup {id}", path = path.display())]
    Other {
        /// The folder.
        path: PathBuf,
        /// The other backup.
        id: String,
    },
    /// Backups would lie, or be restored, where a database keeps its files.
    #[error(transparent)]
    Inside(#[from] InsideDatabase),
    /// The database lies where its backups are deleted.
    #[error("the database {database} is in the folder of backups {dir}, which deletes old ones", database = database.display(), dir = dir.display())]
    Around {
        /// The folder of backups.
        dir: PathBuf,
        /// The database.
        database: PathBuf,
    },
    /// It was asked to stop.
    #[error("stopped before the end")]
    Stopped,
}

impl Classified for BackupError {
    fn fault(&self) -> Fault {
        match self {
            Self::Io { path, source } => Fault::io(path, source),
            Self::Open(error) => error.fault(),
            Self::Query(error) => error.fault(),
            Self::InUse { path, .. } | Self::Restoring(path) => Fault::new(Cause::Locked, path),
            // What to do about a backup that is damaged is not what to do about a database.
            Self::Space { .. }
            | Self::Damaged { .. }
            | Self::Differs { .. }
            | Self::PactMissing { .. }
            | Self::Pact { .. }
            | Self::PactDamaged { .. }
            | Self::Unknown { .. }
            | Self::Unfinished { .. }
            | Self::Unsound { .. }
            | Self::Occupied { .. }
            | Self::Other { .. }
            | Self::Inside(_)
            | Self::Around { .. }
            | Self::Stopped => Fault::OTHER,
        }
    }
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        Self::Query(error.into())
    }
}

impl BackupError {
    /// What makes an error of the system one of a file or folder.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
