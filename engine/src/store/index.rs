use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use rocksdb::{
    DBRawIterator, IngestExternalFileOptions, ReadOptions, SstFileWriter, WriteBatch, WriteOptions,
};
use zerocopy::byteorder::big_endian::U64;
use zerocopy::{FromBytes, IntoBytes};

use super::format::UNINDEXED;
use super::{Batch, Column, IndexEntry, Store, StoreError, UnindexedKey, options};
use crate::types::{BlockHash, BlockHeight, ChainId};

/// Whether `unindexed` holds anything: even while it is empty, and another number each time that
/// changes.
pub(super) struct Unindexed(AtomicU64);

impl Unindexed {
    pub(super) const fn new(is_empty: bool) -> Self {
        Self(AtomicU64::new(!is_empty as u64))
    }

    fn is_empty(&self) -> bool {
        self.number().is_multiple_of(2)
    }

    /// A number that no other time has at which it was empty or was not.
    pub(super) fn number(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Only one thread writes.
    pub(super) fn set_empty(&self) {
        self.0.fetch_add(u64::from(!self.is_empty()), Ordering::AcqRel);
    }

    pub(super) fn set_filled(&self) {
        self.0.fetch_add(u64::from(self.is_empty()), Ordering::AcqRel);
    }
}

/// Entries up to which they are simply put into `heights`: that takes some 0.2 s, and a log.
const PUT_MAX: usize = 100_000;

/// Bytes of entries that go to one table file.
const FILE_BYTES: u64 = 256 << 20;

/// Parts of all hashes, by their first byte.
const PARTS: usize = 256;

impl Batch {
    /// Notes blocks for [`Store::index`]: cheaper than rows of `heights`, whose hashes come in no
    /// order.
    pub fn put_unindexed(&mut self, store: &Store, entries: &[IndexEntry]) {
        if entries.is_empty() {
            return;
        }
        let number = store.next_unindexed.fetch_add(1, Ordering::Relaxed);
        let mut counts = [0_usize; PARTS];
        let part = |entry: &IndexEntry| usize::from(first_byte(&entry.hash));
        for entry in entries {
            if let Some(count) = counts.get_mut(part(entry)) {
                *count += 1;
            }
        }
        let mut parts: Vec<Vec<IndexEntry>> =
            counts.iter().map(|count| Vec::with_capacity(*count)).collect();
        for entry in entries {
            if let Some(of_part) = parts.get_mut(part(entry)) {
                of_part.push(*entry);
            }
        }
        for (first_byte, of_part) in (0..=u8::MAX).zip(&parts).filter(|(_, part)| !part.is_empty())
        {
            let key = UnindexedKey::new(first_byte, number);
            let column = store.column(Column::Unindexed);
            self.inner.put_cf(column, key.as_bytes(), of_part.as_bytes());
        }
        let column = store.column(Column::Meta);
        self.inner.put_cf(column, UNINDEXED, U64::new(number + 1).as_bytes());
        self.unindexed = true;
    }
}

impl Store {
    /// Whether every block can be found by one lookup in `heights`.
    #[must_use]
    pub fn is_indexed(&self) -> bool {
        self.unindexed.is_empty()
    }

    /// Moves all of `unindexed` to `heights`, sorted; `progress` is told how many entries were.
    ///
    /// # Cost
    ///
    /// Where there is much, every entry is read, sorted and written once, in table files that are
    /// put beside each other under all others: no compaction sees them again. Only if `heights`
    /// held about as much before, all of it is merged.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or written. What was not moved still is in
    /// `unindexed`, in which lookups are slow but right.
    pub fn index(&self, progress: &(dyn Fn(u64) + Sync)) -> Result<(), StoreError> {
        if self.is_indexed() {
            return Ok(());
        }
        // What comes now is in the log, which must not know more than tables do.
        self.flush()?;
        let entries = self.some_unindexed()?;
        if entries.len() <= PUT_MAX {
            self.put_index(&entries)?;
        } else {
            tracing::info!("sorting the hash index");
            self.ingest_index(progress)?;
        }
        self.next_unindexed.store(0, Ordering::Release);
        self.unindexed.set_empty();
        Ok(())
    }

    /// All entries, or more than [`PUT_MAX`] of them.
    fn some_unindexed(&self) -> Result<Vec<IndexEntry>, StoreError> {
        let mut entries = Vec::new();
        let mut rows = self.unindexed_rows(0, None);
        while entries.len() <= PUT_MAX
            && let Some((_, value)) = rows.item()
        {
            entries.extend_from_slice(listed(value, &rows)?);
            rows.next();
        }
        rows.status()?;
        Ok(entries)
    }

    fn put_index(&self, entries: &[IndexEntry]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for entry in entries {
            let heights = self.column(Column::Heights);
            batch.put_cf(heights, entry.hash.as_bytes(), entry.place.as_bytes());
        }
        let mut rows = self.unindexed_rows(0, None);
        while let Some((key, _)) = rows.item() {
            batch.delete_cf(self.column(Column::Unindexed), key);
            rows.next();
        }
        rows.status()?;
        batch.delete_cf(self.column(Column::Meta), UNINDEXED);
        Ok(self.db.write_opt(batch, &WriteOptions::default())?)
    }

    fn ingest_index(&self, progress: &(dyn Fn(u64) + Sync)) -> Result<(), StoreError> {
        let folder = self.index_folder();
        let io = |source| StoreError::Io { path: folder.clone(), source };
        self.clear_index_folder()?;
        fs::create_dir_all(&folder).map_err(io)?;
        let had = self.count_estimate(Column::Heights)?;
        let (bytes, done) = (self.unindexed_bytes(0)? * PARTS as u64, AtomicU64::new(0));
        let parts_a_file =
            PARTS / usize::try_from(bytes.div_ceil(FILE_BYTES)).unwrap_or(PARTS).clamp(1, PARTS);
        let firsts: Vec<usize> = (0..PARTS).step_by(parts_a_file).collect();
        let files = firsts.par_iter().map(|first| {
            let path = folder.join(format!("{first:03}.sst"));
            let parts = *first..(first + parts_a_file).min(PARTS);
            let mut count = |entries: usize| {
                let entries = entries as u64;
                progress(done.fetch_add(entries, Ordering::Relaxed) + entries);
            };
            self.write_file(&path, parts, &mut count).map(|written| written.then_some(path))
        });
        let files: Vec<PathBuf> =
            files.collect::<Result<Vec<_>, StoreError>>()?.into_iter().flatten().collect();
        let mut how = IngestExternalFileOptions::default();
        how.set_move_files(true);
        self.db.ingest_external_file_cf_opts(self.column(Column::Heights), &how, files)?;
        self.drop_unindexed()?;
        self.clear_index_folder()?;
        if had > 0 && had / 4 < done.into_inner() {
            let all: (Option<&[u8]>, Option<&[u8]>) = (None, None);
            self.db.compact_range_cf(self.column(Column::Heights), all.0, all.1);
        }
        Ok(())
    }

    /// Writes the entries of some parts into a table file; `false` if there are none.
    fn write_file(
        &self,
        path: &Path,
        parts: std::ops::Range<usize>,
        count: &mut dyn FnMut(usize),
    ) -> Result<bool, StoreError> {
        let options = options::heights(&self.blocks);
        let mut writer = SstFileWriter::create(&options);
        writer.open(path)?;
        let mut empty = true;
        for part in parts {
            let entries = self.part(part)?;
            for entry in sorted(&entries) {
                writer.put(entry.hash.as_bytes(), entry.place.as_bytes())?;
                empty = false;
            }
            count(entries.len());
        }
        if empty {
            return Ok(false);
        }
        writer.finish()?;
        Ok(true)
    }

    fn part(&self, part: usize) -> Result<Vec<IndexEntry>, StoreError> {
        let mut entries = Vec::new();
        let mut rows = self.unindexed_rows(part, Some(part + 1));
        while let Some((_, value)) = rows.item() {
            entries.extend_from_slice(listed(value, &rows)?);
            rows.next();
        }
        rows.status()?;
        Ok(entries)
    }

    fn unindexed_bytes(&self, part: usize) -> Result<u64, StoreError> {
        let mut bytes = 0;
        let mut rows = self.unindexed_rows(part, Some(part + 1));
        while let Some((_, value)) = rows.item() {
            bytes += value.len() as u64;
            rows.next();
        }
        rows.status()?;
        Ok(bytes)
    }

    /// The rows of `unindexed` from one part up to another, which is not among them.
    fn unindexed_rows(&self, first: usize, end: Option<usize>) -> DBRawIterator<'_> {
        let key = |part: usize| {
            let first_byte = u8::try_from(part).ok()?;
            Some(UnindexedKey::new(first_byte, 0).as_bytes().to_vec())
        };
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        if let Some(end) = end.and_then(key) {
            options.set_iterate_upper_bound(end);
        }
        let mut rows = self.db.raw_iterator_cf_opt(self.column(Column::Unindexed), options);
        rows.seek(key(first).unwrap_or_default());
        rows
    }

    /// Drops all of `unindexed`, files and all.
    fn drop_unindexed(&self) -> Result<(), StoreError> {
        let column = self.column(Column::Unindexed);
        let first = UnindexedKey::new(0, 0);
        // Greater than any key.
        let end = [u8::MAX; size_of::<UnindexedKey>() + 1];
        let all: (Option<&[u8]>, Option<&[u8]>) = (None, None);
        // Out of the first level, where files cannot be dropped; rows are a few bytes each. Dropping
        // files does not wait for snapshots, as deleting rows would.
        self.db.compact_range_cf(column, all.0, all.1);
        self.db.delete_file_in_range_cf(column, first.as_bytes(), end.as_slice())?;
        self.db.delete_range_cf(column, first.as_bytes(), end.as_slice())?;
        self.db.delete_cf(self.column(Column::Meta), UNINDEXED)?;
        Ok(())
    }

    /// Whether `unindexed` holds anything.
    pub(super) fn has_unindexed(&self) -> Result<bool, StoreError> {
        let rows = self.unindexed_rows(0, None);
        let has = rows.valid();
        rows.status()?;
        Ok(has)
    }

    fn count_estimate(&self, column: Column) -> Result<u64, StoreError> {
        let column = self.column(column);
        let keys = self.db.property_int_value_cf(column, "rocksdb.estimate-num-keys")?;
        Ok(keys.unwrap_or_default())
    }

    /// Where table files are written before they are moved to those of the database. A crash may
    /// leave some.
    fn index_folder(&self) -> PathBuf {
        self.db.path().join("index")
    }

    fn clear_index_folder(&self) -> Result<(), StoreError> {
        let path = self.index_folder();
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::Io { path, source })
            }
            _ => Ok(()),
        }
    }
}

/// Where `rows`, which are those of `unindexed`, say that a block is.
pub(super) fn find_unindexed(
    mut rows: DBRawIterator<'_>,
    hash: &BlockHash,
) -> Result<Option<(ChainId, BlockHeight)>, StoreError> {
    rows.seek(UnindexedKey::new(first_byte(hash), 0).as_bytes());
    while let Some((key, value)) = rows.item() {
        if key.first() != Some(&first_byte(hash)) {
            break;
        }
        let entries = listed(value, &rows)?;
        if let Some(entry) = entries.iter().find(|entry| entry.hash == *hash) {
            return Ok(Some((entry.place.chain(), entry.place.height())));
        }
        rows.next();
    }
    rows.status()?;
    Ok(None)
}

/// The entries in a row.
fn listed<'a>(value: &'a [u8], rows: &DBRawIterator<'_>) -> Result<&'a [IndexEntry], StoreError> {
    let damaged = || StoreError::damaged(Column::Unindexed, rows.key().unwrap_or_default());
    <[IndexEntry]>::ref_from_bytes(value).map_err(|_| damaged())
}

/// The entries by ascending hash, each hash once.
fn sorted(entries: &[IndexEntry]) -> impl Iterator<Item = &IndexEntry> {
    // Sixteen bytes are moved while sorting instead of 44, and hashes differ early.
    let mut order: Vec<(u64, &IndexEntry)> =
        entries.iter().map(|entry| (prefix(&entry.hash), entry)).collect();
    order.sort_unstable_by(|(a, left), (b, right)| {
        a.cmp(b).then_with(|| left.hash.cmp(&right.hash))
    });
    order.dedup_by(|(_, later), (_, earlier)| later.hash == earlier.hash);
    order.into_iter().map(|(_, entry)| entry)
}

const fn first_byte(hash: &BlockHash) -> u8 {
    let [first_byte, ..] = *hash.as_bytes();
    first_byte
}

/// The first bytes as a number in the order of hashes.
fn prefix(hash: &BlockHash) -> u64 {
    U64::read_from_prefix(hash.as_bytes()).map_or(0, |(prefix, _)| prefix.get())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use tempfile::TempDir;

    use super::*;
    use crate::store::live::logs as live_logs;
    use crate::store::{HeightValue, History, Meta};
    use crate::types::{ChainwebVersion, RunLength};

    /// Entries of one row.
    const ENTRIES: u64 = 8;

    fn create(dir: &Path) -> Store {
        let version = ChainwebVersion::Development;
        let meta = Meta { version, history: History::Full, run_length: RunLength::default() };
        Store::create(dir, meta, |_, _| ()).unwrap()
    }

    /// The entries that round `number` writes.
    fn entries(number: u64) -> Vec<IndexEntry> {
        let entry = |n: u64| {
            let hash = BlockHash::new(distinct(number * ENTRIES + n));
            let place = HeightValue::new(ChainId::new(0), BlockHeight::new(n));
            IndexEntry { hash, place }
        };
        (0..ENTRIES).map(entry).collect()
    }

    /// Writes the entries of round `number` without the log.
    fn put_unlogged(store: &Store, number: u64) {
        let mut batch = Batch::default();
        batch.put_unindexed(store, &entries(number));
        store.write_unlogged(batch).unwrap();
        store.flush().unwrap();
    }

    /// Bytes that differ early.
    fn distinct(n: u64) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (k, part) in (1_u64..).zip(bytes.chunks_exact_mut(8)) {
            let mixed = (n + k).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            part.copy_from_slice(U64::new(mixed).as_bytes());
        }
        bytes
    }

    /// Writes rounds with `write` while checkpoints are made, and looks with `check` for what must
    /// be in each: it is told how many rounds were over before.
    fn beside_checkpoints(
        rounds: u64,
        write: impl Fn(&Store, u64) + Sync,
        check: impl Fn(&Arc<Store>, u64),
    ) {
        let dir = TempDir::new().unwrap();
        let store = create(&dir.path().join("db"));
        let (over, ended) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let writing = scope.spawn(|| {
                for number in 0..rounds {
                    write(&store, number);
                    over.store(number + 1, Ordering::Release);
                }
                ended.store(true, Ordering::Release);
            });
            let mut copies = 0;
            while !ended.load(Ordering::Acquire) || copies == 0 {
                let before = over.load(Ordering::Acquire);
                let copy = dir.path().join(format!("copy-{copies}"));
                fs::create_dir_all(copy.join("0")).unwrap();
                store.checkpoint(&Store::path(&copy)).unwrap();
                // With it, what follows fails in one of many runs on a machine with much to do.
                assert_eq!(live_logs(&Store::path(&copy)), Vec::<PathBuf>::new());
                let opened = Arc::new(Store::open_read_only(&copy).unwrap());
                check(&opened, before);
                drop(opened);
                fs::remove_dir_all(copy).unwrap();
                copies += 1;
            }
            writing.join().unwrap();
        });
    }

    #[test]
    fn a_checkpoint_has_every_entry_that_is_being_sorted() {
        let write = |store: &Store, number| {
            put_unlogged(store, number);
            store.ingest_index(&|_| ()).unwrap();
        };
        beside_checkpoints(100, write, |copy, before| {
            let snapshot = copy.snapshot();
            for entry in (0..before).flat_map(entries) {
                assert!(snapshot.place(&entry.hash).unwrap().is_some(), "{before} {}", entry.hash);
            }
        });
    }

    #[test]
    fn a_checkpoint_has_no_write_of_the_log_without_one_that_was_not_logged_before_it() {
        let write = |store: &Store, number| {
            put_unlogged(store, number);
            let mut batch = Batch::default();
            for entry in entries(number) {
                let heights = store.column(Column::Heights);
                batch.inner.put_cf(heights, entry.hash.as_bytes(), entry.place.as_bytes());
            }
            store.write(batch).unwrap();
        };
        beside_checkpoints(100, write, |copy, _| {
            let snapshot = copy.snapshot();
            for entry in (0..100).flat_map(entries) {
                let logged = snapshot.get(Column::Heights, entry.hash.as_bytes()).unwrap();
                let rows = snapshot.iterator(Column::Unindexed, ReadOptions::default());
                let unlogged = find_unindexed(rows, &entry.hash).unwrap();
                assert!(logged.is_none() || unlogged.is_some(), "{}", entry.hash);
            }
        });
    }
}
