use std::path::Path;
use std::thread;
use std::time::Duration;

use rocksdb::{ColumnFamilyDescriptor, DB, DBRecoveryMode, Error, ErrorKind};

use super::{Column, StoreError, live, options};
use crate::types::Grow;

/// How often the opening of a database is tried again that another process is writing.
pub(super) const TRIES: u32 = 20;

/// The time between two tries.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// A database that RocksDB has opened.
pub(super) struct Opened {
    pub(super) db: DB,
    /// What is wrong with its log, of which only what is before that was read.
    pub(super) damaged_log: Option<String>,
}

impl Opened {
    /// One that was just made.
    pub(super) const fn whole(db: DB) -> Self {
        Self { db, damaged_log: None }
    }

    /// Opens the database at `path` to read and write.
    pub(super) fn to_write(
        path: &Path,
        columns: impl Fn() -> Vec<ColumnFamilyDescriptor>,
    ) -> Result<Self, StoreError> {
        let opened = Self::recovered(|mode| {
            let mut options = options::writing(path);
            options.set_wal_recovery_mode(mode);
            // The release before had one less; that all others are there was checked.
            options.create_missing_column_families(true);
            DB::open_cf_descriptors(&options, path, columns())
        });
        opened.map_err(|error| StoreError::opening(path, error))
    }

    /// Opens the database at `path` to read. One of the release before lacks [`Column::Sums`].
    pub(super) fn to_read(
        path: &Path,
        columns: impl Fn() -> Vec<ColumnFamilyDescriptor>,
    ) -> Result<Self, StoreError> {
        let mut tries = 0;
        loop {
            let logs = live::logs(path);
            let opened = Self::recovered(|mode| {
                let mut options = options::database();
                options.set_wal_recovery_mode(mode);
                // See `options::foreign`.
                options.set_track_and_verify_wals_in_manifest(true);
                let (has, sums) = (DB::list_cf(&options::foreign(), path)?, Column::Sums.name());
                let mut columns = columns();
                columns.retain(|column| column.name() != sums || has.iter().any(|has| has == sums));
                DB::open_cf_descriptors_read_only(&options, path, columns, false)
            });
            let again = match &opened {
                // The writer has just replaced a file that was to be opened: its list is read anew.
                Err(error) => error.to_string().contains("No such file"),
                // It has moved what a log had to tables that the list did not name yet, and deleted
                // the log before it was read: what was written last would be missing.
                Ok(_) => !logs.iter().all(|log| log.exists()),
            };
            if !again || tries == TRIES {
                return opened.map_err(|error| StoreError::opening(path, error));
            }
            tries.grow(1);
            thread::sleep(PAUSE);
        }
    }

    /// What `open` gives that is told how to read logs. A log that ends in the middle of a batch is what
    /// a crash leaves. Any other that is not whole is damaged, and what is before the damage is taken.
    fn recovered(open: impl Fn(DBRecoveryMode) -> Result<DB, Error>) -> Result<Self, Error> {
        let error = match open(DBRecoveryMode::TolerateCorruptedTailRecords) {
            Ok(db) => return Ok(Self::whole(db)),
            Err(error) if error.kind() == ErrorKind::Corruption => error,
            Err(error) => return Err(error),
        };
        // Where something else is damaged, this fails as well.
        let db = open(DBRecoveryMode::PointInTime)?;
        Ok(Self { db, damaged_log: Some(error.to_string()) })
    }
}
