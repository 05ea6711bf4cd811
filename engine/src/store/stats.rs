use rocksdb::properties::{self, PropName};

use super::{Column, Store, StoreError};
use crate::types::Grow;

/// Levels of a tree of tables.
const LEVELS: usize = 7;

/// Blob files, which the crate has no name for.
const BLOB_FILES: &str = "rocksdb.num-blob-files";

/// Bytes of blob files, likewise.
const BLOB_BYTES: &str = "rocksdb.total-blob-file-size";

/// What a database is doing, for those who watch it.
///
/// # Cost
///
/// Some hundred lookups of counters in memory; nothing is read from the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStats {
    /// Bytes of tables in memory.
    pub block_cache_bytes: u64,
    /// Of those, bytes that cannot be dropped now.
    pub block_cache_pinned_bytes: u64,
    /// Bytes of tables that may be in memory.
    pub block_cache_bytes_max: u64,
    /// Runs in memory.
    pub runs: RunStats,
    /// Each column family.
    pub columns: Vec<(Column, ColumnStats)>,
    /// Snapshots that are held; RocksDB keeps what they show.
    pub snapshots: u64,
    /// Write buffers that are being written to tables.
    pub flushes_running: u64,
    /// Compactions under way.
    pub compactions_running: u64,
    /// Errors of work in the background since the database was opened.
    pub background_errors: u64,
    /// Whether RocksDB takes no writes until it has caught up.
    pub write_stopped: bool,
}

/// The cache of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunStats {
    /// Bytes in memory.
    pub bytes: u64,
    /// Bytes that may be in memory.
    pub bytes_max: u64,
    /// Lookups that found their run since the database was opened.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
}

/// One column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnStats {
    /// Bytes of tables on disk.
    pub table_bytes: u64,
    /// Bytes of blob files on disk.
    pub blob_bytes: u64,
    /// Bytes of write buffers.
    pub memory_bytes: u64,
    /// Tables and blob files.
    pub files: u64,
    /// Bytes that compaction has yet to write, by estimate.
    pub pending_compaction_bytes: u64,
}

impl Store {
    /// What it is doing.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let whole = |name| number(self.db.property_int_value(name));
        StoreStats {
            block_cache_bytes: self.memory.blocks.get_usage() as u64,
            block_cache_pinned_bytes: self.memory.blocks.get_pinned_usage() as u64,
            block_cache_bytes_max: self.memory.block_bytes as u64,
            runs: self.memory.caches.stats(),
            columns: self.columns().map(|column| (column, self.column_stats(column))).collect(),
            snapshots: whole(properties::NUM_SNAPSHOTS),
            flushes_running: whole(properties::NUM_RUNNING_FLUSHES),
            compactions_running: whole(properties::NUM_RUNNING_COMPACTIONS),
            background_errors: whole(properties::BACKGROUND_ERRORS),
            write_stopped: whole(properties::IS_WRITE_STOPPED) != 0,
        }
    }

    /// How many flushes and compactions have failed since it was opened.
    #[must_use]
    pub fn background_errors(&self) -> u64 {
        number(self.db.property_int_value(properties::BACKGROUND_ERRORS))
    }

    /// How many rows a column has, by what its tables say of themselves: a row that was put twice, or
    /// deleted, may count until they are compacted.
    ///
    /// RocksDB's own estimate knows only tables that were written since the database was opened,
    /// because statistics are not read then.
    ///
    /// # Cost
    ///
    /// A lookup for each table, in memory.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if RocksDB cannot tell.
    pub(crate) fn count_estimate(&self, column: Column) -> Result<u64, StoreError> {
        let handle = self.column(column);
        let tables = self.db.property_value_cf(handle, properties::AGGREGATED_TABLE_PROPERTIES)?;
        let tables = tables.unwrap_or_default();
        let of_tables = |name: &str| {
            let value = tables.split("; ").find_map(|pair| pair.strip_prefix(name));
            value.and_then(|value| value.parse().ok()).unwrap_or(0_u64)
        };
        let mut rows = of_tables("# entries=");
        let mut deleted = of_tables("# deletions=");
        for (count, names) in [
            (
                &mut rows,
                [properties::NUM_ENTRIES_ACTIVE_MEM_TABLE, properties::NUM_ENTRIES_IMM_MEM_TABLES],
            ),
            (
                &mut deleted,
                [properties::NUM_DELETES_ACTIVE_MEM_TABLE, properties::NUM_DELETES_IMM_MEM_TABLES],
            ),
        ] {
            for name in names {
                count.grow(self.db.property_int_value_cf(handle, name)?.unwrap_or_default());
            }
        }
        // A deletion is an entry, too.
        Ok(rows.saturating_sub(deleted.saturating_mul(2)))
    }

    fn column_stats(&self, column: Column) -> ColumnStats {
        let handle = self.column(column);
        let of = |name: &PropName| number(self.db.property_int_value_cf(handle, name));
        let of_blobs = |name: &str| number(self.db.property_int_value_cf(handle, name));
        let level = |level| {
            let name = properties::num_files_at_level(level);
            number(self.db.property_int_value_cf(handle, &name))
        };
        ColumnStats {
            table_bytes: of(properties::TOTAL_SST_FILES_SIZE),
            blob_bytes: of_blobs(BLOB_BYTES),
            memory_bytes: of(properties::CUR_SIZE_ALL_MEM_TABLES),
            files: (0..LEVELS).map(level).sum::<u64>().saturating_add(of_blobs(BLOB_FILES)),
            pending_compaction_bytes: of(properties::ESTIMATE_PENDING_COMPACTION_BYTES),
        }
    }
}

/// A property that is not known, or cannot be read now, is 0.
fn number(property: Result<Option<u64>, rocksdb::Error>) -> u64 {
    property.ok().flatten().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::{CacheSizes, History};
    use crate::types::ChainwebVersion;
    use crate::{Engine, Reader};

    fn column(reader: &Reader, wanted: Column) -> ColumnStats {
        let columns = reader.stats().columns;
        columns.into_iter().find(|(column, _)| *column == wanted).unwrap().1
    }

    #[test]
    fn stats_tell_of_what_was_written_and_cached() {
        let dir = TempDir::new().unwrap();
        let version = Some(ChainwebVersion::Development);
        let (writer, reader) = Engine::open_or_create(dir.path(), version, History::Full).unwrap();
        assert!(column(&reader, Column::Loose).memory_bytes > 0);
        assert_eq!(column(&reader, Column::Loose).table_bytes, 0);
        reader.store().flush().unwrap();
        let loose = column(&reader, Column::Loose);
        assert!(loose.table_bytes > 0 && loose.files == 1, "{loose:?}");
        assert_eq!(reader.store().count_estimate(Column::Loose).unwrap(), 20);
        let stats = reader.stats();
        assert_eq!((stats.background_errors, stats.write_stopped), (0, false));
        assert!(stats.snapshots > 0, "{stats:?}");
        drop((writer, reader));
        let sizes = CacheSizes { block_bytes: 1 << 20, run_bytes: 2 << 20 };
        let (_, reader) = Engine::open_with(dir.path(), sizes).unwrap();
        let stats = reader.stats();
        assert_eq!((stats.block_cache_bytes_max, stats.runs.bytes_max), (1 << 20, 2 << 20));
        assert_eq!((stats.runs.hits, stats.runs.bytes), (0, 0));
        assert_eq!(reader.store().count_estimate(Column::Loose).unwrap(), 20);
    }
}
