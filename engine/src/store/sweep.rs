use rocksdb::{DBRawIterator, ReadOptions};

use super::{Column, Opened, Snapshot, StoreError, options};
use crate::types::Grow;

/// Bytes of a table file that are read at once.
const READAHEAD_BYTES: usize = 512 << 10;

/// A key, and what is there.
pub type KeyValue<'a> = (&'a [u8], &'a [u8]);

/// Rows of a column family one behind the other, for those who read everything once: nothing of it is
/// kept in memory, and every checksum is checked.
pub struct Sweep<'a> {
    column: Column,
    rows: DBRawIterator<'a>,
}

impl Snapshot {
    /// The rows of `column` with keys from `first` on, up to `end`, which is not among them.
    #[must_use]
    pub fn sweep(&self, column: Column, first: &[u8], end: Option<&[u8]>) -> Sweep<'_> {
        let mut rows = self.iterator(column, sweeping(end));
        rows.seek(first);
        Sweep { column, rows }
    }

    /// The number of rows that are in no column family of ours.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read.
    pub fn count_foreign(&self) -> Result<u64, StoreError> {
        let store = self.store();
        let Some(column) = store.db.cf_handle("default") else { return Ok(0) };
        let mut rows = store.db.raw_iterator_cf_opt(column, sweeping(None));
        rows.seek_to_first();
        let mut count = 0;
        while rows.valid() {
            count.grow(1);
            rows.next();
        }
        Ok(rows.status().map(|()| count)?)
    }

    /// Reads every part of the index and of the filter of the tables of `heights`: lookups alone read
    /// these, and RocksDB goes on without a filter that is damaged.
    ///
    /// # Cost
    ///
    /// Some 2 bytes of memory a row, until it returns.
    ///
    /// # Errors
    ///
    /// [`StoreError`] that names the table.
    pub fn read_filters(&self) -> Result<(), StoreError> {
        Opened::to_read(self.store().db.path(), options::pinned).map(drop)
    }
}

pub(super) fn sweeping(end: Option<&[u8]>) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_readahead_size(READAHEAD_BYTES);
    if let Some(end) = end {
        options.set_iterate_upper_bound(end);
    }
    options
}

impl Sweep<'_> {
    /// The row that it is at; `None` behind the last.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be read. Only [`Sweep::seek`] goes on from there.
    pub fn row(&self) -> Result<Option<KeyValue<'_>>, StoreError> {
        match self.rows.item() {
            Some(row) => Ok(Some(row)),
            None => Ok(self.rows.status().map(|()| None)?),
        }
    }

    /// Goes to the next row.
    pub fn advance(&mut self) {
        self.rows.next();
    }

    /// Goes to the first row whose key is not less than `key`.
    pub fn seek(&mut self, key: &[u8]) {
        self.rows.seek(key);
    }

    /// That the row that it is at is not what it should be.
    #[must_use]
    pub fn damaged(&self) -> StoreError {
        StoreError::damaged(self.column, self.rows.key().unwrap_or_default())
    }
}
