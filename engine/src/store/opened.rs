use std::path::Path;
use std::thread;
use std::time::Duration;

use rocksdb::{ColumnFamilyDescriptor, DB, DBRecoveryMode, Error, ErrorKind};

use super::directory::shown;
use super::live::Listed;
use super::{Column, StoreError, losses, options, torn};
use crate::types::Grow;

/// How often the opening of a database is tried again that another process is writing.
pub(super) const TRIES: u32 = 20;

/// How logs are read: they may end in the middle of a batch, as a crash leaves them, and all else is damage.
const STRICT: DBRecoveryMode = DBRecoveryMode::TolerateCorruptedTailRecords;

/// The time between two tries.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// A database that RocksDB has opened.
pub(super) struct Opened {
    pub(super) db: DB,
    /// What is wrong with its log, of which only what is before that was read.
    pub(super) damaged_log: Option<String>,
    /// What it was opened from, if it was opened to read, and that was one moment.
    pub(super) listed: Option<Listed>,
}

impl Opened {
    /// One that was just made.
    pub(super) const fn whole(db: DB) -> Self {
        Self { db, damaged_log: None, listed: None }
    }

    /// Opens the database at `path` to read and write. If its log is damaged, the log is kept and the loss is
    /// noted before RocksDB deletes it.
    pub(super) fn to_write(
        path: &Path,
        columns: impl Fn() -> Vec<ColumnFamilyDescriptor>,
    ) -> Result<Self, StoreError> {
        let open = |mode| {
            let mut options = options::writing(path);
            options.set_wal_recovery_mode(mode);
            // The release before had one less; that all others are there was checked.
            options.create_missing_column_families(true);
            DB::open_cf_descriptors(&options, path, columns())
        };
        let error = match open(STRICT) {
            Ok(db) => return Ok(Self::whole(db)),
            Err(error) => StoreError::opening(path, error),
        };
        let point_in_time = || {
            let db = open(DBRecoveryMode::PointInTime);
            db.map_err(|error| StoreError::opening(path, error))
        };
        if let Some((log, at)) = torn::torn(path) {
            let db = point_in_time()?;
            torn::report_torn(&log, at);
            return Ok(Self::whole(db));
        }
        // Find out whether the log is at fault: opening the database to read changes nothing.
        let Ok(Self { damaged_log: Some(damage), .. }) = Self::to_read(path, &columns) else {
            return Err(error);
        };
        losses::note(path, &format!("a log is damaged: {damage}"))?;
        let db = point_in_time()?;
        Ok(Self { db, damaged_log: Some(damage), listed: None })
    }

    /// Opens the database at `path` to read. One of the release before lacks [`Column::Sums`].
    ///
    /// What is read is the list of files, then the log. A writer that goes on meanwhile may have moved what
    /// the log had to tables that the list does not name yet, and deleted that log: then what was written
    /// last would be missing. Or it may log what rests on such tables, as it does when it ends a replay:
    /// then a part would be missing in the middle. So both are looked at before and after, and all begins
    /// anew where it is not one moment.
    pub(super) fn to_read(
        path: &Path,
        columns: impl Fn() -> Vec<ColumnFamilyDescriptor>,
    ) -> Result<Self, StoreError> {
        let mut tries = 0;
        loop {
            let before = Listed::now(path);
            let opened = Self::recovered(path, |mode| {
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
                Err(error) => is_of_lost_file(error),
                Ok(_) => !before.is_one_moment(&Listed::now(path)),
            };
            if !again || tries == TRIES {
                let listed = (!again).then_some(before);
                let opened = opened.map(|opened| Self { listed, ..opened });
                return opened.map_err(|error| StoreError::opening(path, error));
            }
            tries.grow(1);
            thread::sleep(PAUSE);
        }
    }

    /// The result of `open`, which takes the WAL recovery mode. If a log is damaged, only what is before the
    /// damage is read.
    fn recovered(
        path: &Path,
        open: impl Fn(DBRecoveryMode) -> Result<DB, Error>,
    ) -> Result<Self, Error> {
        let error = match open(STRICT) {
            Ok(db) => return Ok(Self::whole(db)),
            // Of a file that is not there it says the same: a writer may have deleted it just now.
            Err(error) if error.kind() == ErrorKind::Corruption && !is_of_lost_file(&error) => {
                error
            }
            Err(error) => return Err(error),
        };
        // Where something else is damaged, this fails as well.
        let db = open(DBRecoveryMode::PointInTime)?;
        let damage = || shown(error.as_ref()).into_owned();
        let torn = torn::torn(path);
        if let Some((log, at)) = &torn {
            torn::report_torn(log, *at);
        }
        let damaged_log = torn.is_none().then(damage);
        Ok(Self { db, damaged_log, listed: None })
    }
}

/// Whether a file is not there that its list names.
fn is_of_lost_file(error: &Error) -> bool {
    error.as_ref().contains("No such file")
}
