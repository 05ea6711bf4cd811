use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};

use super::listed::LOCK;
use super::{Store, StoreError};

impl Store {
    /// Whether the file system of the database can be written, without a write to the database: sets the
    /// time of the lock file. Of a database that is only read it can always.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`], for example when the file system has become read-only.
    pub fn probe(&self) -> Result<(), StoreError> {
        if self.claim.is_none() {
            return Ok(());
        }
        let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: omit, last_modification: now };
        // Not opened: to close it would give up RocksDB's lock.
        let path = self.directory.path().join(LOCK);
        let touched = utimensat(CWD, &path, &times, AtFlags::empty());
        touched.map_err(|error| StoreError::Io { path, source: error.into() })
    }

    /// Whether RocksDB takes writes, as it does not after a flush or compaction has failed: writes a batch
    /// with nothing in it, which is in no later reader's way, whatever is written without the log.
    ///
    /// # Errors
    ///
    /// [`StoreError::RocksDb`].
    pub fn probe_write(&self) -> Result<(), StoreError> {
        if self.claim.is_some() { self.sync() } else { Ok(()) }
    }
}
