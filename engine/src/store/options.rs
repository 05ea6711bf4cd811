//! Tuning, one function a column family, each setting with its reason.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BlockBasedTablePinningTier, Cache,
    ColumnFamilyDescriptor, DBCompressionType, InfoLogger, LogLevel, Options,
};

use super::directory::shown;
use super::{CacheSizes, Column};

/// Bytes of a column family's writes that are held before they go to a file.
const WRITE_BUFFER_BYTES: usize = 64 << 20;

/// The same of `trunk`: about what a replay commits at once.
const TRUNK_WRITE_BUFFER_BYTES: usize = 128 << 20;

/// Write buffers of a column family, of which all but one wait to be written.
const WRITE_BUFFERS: i32 = 3;

/// Bytes of a table file. Of a whole mainnet's there are some two hundred, all of them open.
const FILE_BYTES: u64 = 256 << 20;

/// Bytes of a value from which on it goes to a file of its own kind: all runs but those of tests,
/// and payloads of any length.
const BLOB_BYTES_MIN: u64 = 4 << 10;

/// Bytes of a table file of keys of payloads: some half a million. The keys of a replay come as one
/// ascending sequence a chain, and tables that hold little of one chain are moved down a level where
/// those that hold all chains would be merged.
const PAYLOAD_FILE_BYTES: u64 = 16 << 20;

/// Tables of keys of payloads, one a flush, from which on they are merged into the next level: each
/// merge reads what that has at the end of each chain.
const PAYLOAD_TABLES: i32 = 8;

/// Bytes of payloads and keys that go to one file of each kind: of a whole mainnet's 150 GB there are
/// some 1,200.
const PAYLOAD_WRITE_BUFFER_BYTES: usize = 128 << 20;

/// Bytes of a part of an index or a filter.
const METADATA_BYTES: usize = 4 << 10;

/// The layout of table files. Pinned, so that an upgrade of RocksDB does not change what is
/// written; it is part of the format version.
const TABLE_FORMAT_VERSION: i32 = 6;

/// Bytes of a table or blob file that are collected before they are written: the disk of a cloud
/// machine takes 1.4 GB/s in steps of 1 MB, and 0.6 in steps of 64 kB.
const FILE_BUFFER_BYTES: u64 = 4 << 20;

/// The file that shows whether files can be written past the page cache.
pub(super) const PROBE: &str = "direct-io";

/// Options to write the database at `path`, which exists.
pub(super) fn writing(path: &Path) -> Options {
    let mut options = database();
    // What is flushed or compacted is not what is asked for next: it would be copied to the page
    // cache for nothing, and push out what is. A replay takes two thirds of the time so.
    options.set_use_direct_io_for_flush_and_compaction(has_direct_io(path));
    options.set_writable_file_max_buffer_size(FILE_BUFFER_BYTES);
    options
}

/// Whether files in the folder `path` can be written past the page cache: not all file systems can.
fn has_direct_io(path: &Path) -> bool {
    let probe = path.join(PROBE);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).custom_flags(libc::O_DIRECT);
    let opened = options.open(&probe);
    // Where it cannot be opened, it may have been made nevertheless.
    let _ = fs::remove_file(&probe);
    opened.is_ok()
}

pub(super) fn database() -> Options {
    let mut options = Options::default();
    options.set_info_logger(logger());
    // One flush and one compaction thread a core.
    options.increase_parallelism(2);
    // Batches touch `loose` and `heights` together; without this a crash between the flushes of
    // the two would rely on the log alone.
    options.set_atomic_flush(true);
    // Checked on the way in as well as on the way out.
    options.set_paranoid_checks(true);
    // Every file stays open: a lookup never waits for the table cache.
    options.set_max_open_files(-1);
    // Streams read runs one behind the other: the kernel may read ahead where it sees that.
    options.set_advise_random_on_open(false);
    // Otherwise opening reads the properties of every file again, for numbers that nobody needs.
    options.set_skip_stats_update_on_db_open(true);
    // Dirty pages go out steadily rather than in one long stall.
    options.set_bytes_per_sync(1 << 20);
    options.set_wal_bytes_per_sync(1 << 20);
    // The room for a log is made when it is begun. In memory that takes most of a short run's time.
    #[cfg(fuzzing)]
    options.set_max_total_wal_size(64 << 10);
    options
}

/// Options to read a database that is not ours.
pub(super) fn foreign() -> Options {
    let mut options = Options::default();
    options.set_info_logger(logger());
    options.set_max_open_files(256);
    // Without it RocksDB 11.8 follows a null pointer where a list of files that is only read names logs.
    options.set_track_and_verify_wals_in_manifest(true);
    options
}

/// What RocksDB keeps of uncompressed blocks, for all column families together.
pub(super) fn cache(bytes: usize) -> Cache {
    Cache::new_lru_cache(bytes)
}

pub(super) fn columns(cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
    let mut columns: Vec<ColumnFamilyDescriptor> = Column::ALL
        .into_iter()
        .map(|column| ColumnFamilyDescriptor::new(column.name(), tuned(column, cache)))
        .collect();
    columns.push(ColumnFamilyDescriptor::new("default", plain()));
    columns
}

/// The same to read all of each index and filter when a table is opened.
pub(super) fn pinned() -> Vec<ColumnFamilyDescriptor> {
    let cache = cache(CacheSizes::default().block_bytes);
    let mut columns = columns(&cache);
    for (column, mut table) in [
        (Column::Heights, heights_table(&cache)),
        (Column::PayloadHeights, payload_heights_table(&cache)),
    ] {
        table.set_partition_pinning_tier(BlockBasedTablePinningTier::All);
        columns.retain(|descriptor| descriptor.name() != column.name());
        columns.push(ColumnFamilyDescriptor::new(column.name(), column_of(&table)));
    }
    columns
}

pub(super) fn tuned(column: Column, cache: &Cache) -> Options {
    match column {
        Column::Loose => loose(cache),
        Column::Trunk => trunk(cache),
        Column::Unindexed | Column::PayloadUnindexed => unindexed(cache),
        Column::Heights => column_of(&heights_table(cache)),
        Column::Payloads => payloads(cache),
        Column::PayloadHeights => column_of(&payload_heights_table(cache)),
        Column::PendingPayloads => pending_payloads(cache),
        // Written and read in order, and empty most of the time.
        Column::Levels | Column::Pending => ordered(cache),
        Column::Sums => sums(cache),
        Column::Meta => plain(),
    }
}

fn loose(cache: &Cache) -> Options {
    let mut table = table(cache);
    // About 50 headers a block: what is read here is read in order, or kept as a line afterwards.
    table.set_block_size(16 << 10);
    column_of(&table)
}

fn trunk(cache: &Cache) -> Options {
    // A run is written once and never again.
    let mut options = with_blob_files(&table(cache));
    options.set_write_buffer_size(TRUNK_WRITE_BUFFER_BYTES);
    options
}

fn unindexed(cache: &Cache) -> Options {
    // A row is written once, read once, and dropped with all others.
    with_blob_files(&table(cache))
}

fn payloads(cache: &Cache) -> Options {
    let mut table = table(cache);
    // Some 250 keys a block; a page of 360 heights reads two or three of them.
    table.set_block_size(16 << 10);
    // Not all of them in memory, which is what opening would read: see `heights_table`. There is no
    // filter: whoever asks for a payload knows from a header that it should be there.
    in_parts(&mut table);
    let mut options = with_blob_files(&table);
    // Keys only in the tables, however small a payload is: these are merged, and hold 60 bytes of
    // each 1,300. Payloads are written once, in the order of their keys, so that those of a page lie
    // side by side.
    options.set_min_blob_size(0);
    options.set_write_buffer_size(PAYLOAD_WRITE_BUFFER_BYTES);
    options.set_target_file_size_base(PAYLOAD_FILE_BYTES);
    options.set_level_zero_file_num_compaction_trigger(PAYLOAD_TABLES);
    // What a payload has is text, and keys and signatures in it: of 1,000 blocks of mainnet01 a third
    // goes, at 3 us each; with zstd it would be two fifths at 90 us.
    options.set_blob_compression_type(DBCompressionType::Lz4);
    // What was read once is asked for again: by all who follow the tip, for example.
    options.set_blob_cache(cache);
    options
}

fn pending_payloads(cache: &Cache) -> Options {
    // As small ones would be merged several times on their way out again.
    let mut options = with_blob_files(&table(cache));
    options.set_min_blob_size(0);
    options.set_blob_compression_type(DBCompressionType::Lz4);
    options
}

fn payload_heights_table(cache: &Cache) -> BlockBasedOptions {
    let mut table = table(cache);
    // No filter: nobody asks often for a payload that is not there, and the row of a hash is found by
    // what it begins with.
    in_parts(&mut table);
    table
}

/// Values go to files of their own: compaction leaves them alone there, which in a tree of levels
/// it would write some ten times.
fn with_blob_files(table: &BlockBasedOptions) -> Options {
    let mut options = column_of(table);
    options.set_enable_blob_files(true);
    options.set_min_blob_size(BLOB_BYTES_MIN);
    options.set_blob_file_size(FILE_BYTES);
    options.set_blob_compression_type(DBCompressionType::None);
    options
}

fn heights_table(cache: &Cache) -> BlockBasedOptions {
    let mut table = table(cache);
    // Point lookups of hashes only, many of them for hashes that are not there.
    table.set_bloom_filter(10.0, false);
    table.set_whole_key_filtering(true);
    table.set_partition_filters(true);
    in_parts(&mut table);
    table
}

/// Index and filter are read in parts, when they are needed. Whole ones are read when a file is
/// opened, and all files are opened with the database: of a whole mainnet's `heights` 250 MB.
fn in_parts(table: &mut BlockBasedOptions) {
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_metadata_block_size(METADATA_BYTES);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_top_level_index_and_filter(true);
}

fn sums(cache: &Cache) -> Options {
    let mut options = ordered(cache);
    // Counts and sums, most of whose bytes are those of the row before: two thirds go.
    options.set_compression_type(DBCompressionType::Lz4);
    options
}

/// What RocksDB has by itself, but for the layout of tables. Some rows, or none.
fn plain() -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_format_version(TABLE_FORMAT_VERSION);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options
}

fn ordered(cache: &Cache) -> Options {
    column_of(&table(cache))
}

fn table(cache: &Cache) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_format_version(TABLE_FORMAT_VERSION);
    table
}

fn column_of(table: &BlockBasedOptions) -> Options {
    let mut options = Options::default();
    options.set_block_based_table_factory(table);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    // All column families are flushed together, so that one that is written while another waits is
    // waited for.
    options.set_max_write_buffer_number(WRITE_BUFFERS);
    options.set_target_file_size_base(FILE_BYTES);
    // Headers are hashes and random numbers for the most part: nothing to compress.
    options.set_compression_type(DBCompressionType::None);
    options
}

/// RocksDB's own log goes to ours, for those who look for it (`--log rocksdb=debug`), and no `LOG` file is
/// written. It warns of much that is in order, such as that it waits for a table to be written, and of an
/// error it writes a hundred lines, with names of C++ files. Whoever asked for what failed reports that in
/// one line, and what fails in the background is counted: see
/// [`StoreStats::background_errors`](super::StoreStats::background_errors).
fn logger() -> InfoLogger {
    InfoLogger::new_callback_logger(LogLevel::Warn, |_, message| {
        tracing::debug!(target: "rocksdb", "{}", shown(message));
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rocksdb::DB;
    use tempfile::TempDir;

    use super::*;
    use crate::store::{History, Meta, Store};
    use crate::types::{ChainwebVersion, RunLength};

    /// The layout of a table, which its last twelve bytes begin with.
    fn table_format(path: &Path) -> u8 {
        let bytes = fs::read(path).unwrap();
        let end = &bytes[bytes.len() - 12..];
        assert_eq!(end[4..], [0xf7, 0xcf, 0xf4, 0x85, 0xb7, 0x41, 0xe2, 0x88], "no table");
        assert_eq!(end[1..4], [0; 3]);
        end[0]
    }

    #[test]
    fn tables_of_every_column_have_the_pinned_layout() {
        let dir = TempDir::new().unwrap();
        let version = ChainwebVersion::Development;
        let meta = Meta { version, history: History::Full, run_length: RunLength::default() };
        let store = Store::create(dir.path(), meta, |_, _| ()).unwrap();
        let names = DB::list_cf(&foreign(), store.files()).unwrap();
        assert_eq!(names.len(), Column::ALL.len() + 1);
        for name in &names {
            store.db.put_cf(store.db.cf_handle(name).unwrap(), "key", "value").unwrap();
        }
        let columns: Vec<_> = names.iter().map(|name| store.db.cf_handle(name).unwrap()).collect();
        store.db.flush_cfs_opt(&columns, &rocksdb::FlushOptions::default()).unwrap();
        let files = store.db.live_files().unwrap();
        for name in names {
            let of_column = files.iter().filter(|file| file.column_family_name == name);
            let mut count = 0;
            for file in of_column {
                let path = store.files().join(file.name.trim_start_matches('/'));
                assert_eq!(table_format(&path), 6, "{name}: {}", file.name);
                count += 1;
            }
            assert!(count > 0, "{name} has no table");
        }
    }
}
