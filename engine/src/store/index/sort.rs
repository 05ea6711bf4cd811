use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use rocksdb::{
    DBRawIterator, IngestExternalFileOptions, ReadOptions, SstFileWriter, WriteBatch, WriteOptions,
};
use zerocopy::{FromBytes, IntoBytes};

use super::{IndexEntry, IndexOf, PARTS, UnindexedKey};
use crate::failpoint::reached;
use crate::store::{Column, Store, StoreError, options};
use crate::types::Grow;

/// Entries up to which they are simply put into their index: that takes some 0.2 s, and a log.
pub(in crate::store) const PUT_MAX: usize = 100_000;

/// Bytes of entries that go to one table file.
const FILE_BYTES: u64 = 256 << 20;

impl Store {
    /// Whether every row of both indexes is where it belongs.
    #[must_use]
    pub fn is_indexed(&self) -> bool {
        IndexOf::ALL.into_iter().all(|of| self.index_of(of).is_sorted())
    }

    /// Moves all rows of both indexes to where they belong; `progress` is told how many were.
    ///
    /// # Cost
    ///
    /// Where there is much, every entry is read, sorted and written once, in table files that are
    /// put beside each other under all others: no compaction sees them again. Only if the index
    /// held about as much before, all of it is merged.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or written. What was not moved still is where it
    /// was, in which lookups are slow but right.
    pub fn index(&self, progress: &(dyn Fn(u64) + Sync)) -> Result<(), StoreError> {
        if self.is_indexed() {
            return Ok(());
        }
        // What comes now is in the log, which must not know more than tables do.
        self.flush()?;
        let done = AtomicU64::new(0);
        for of in IndexOf::ALL.into_iter().filter(|of| !self.index_of(*of).is_sorted()) {
            let entries = self.some_unsorted(of)?;
            if entries.len() <= self.put_max.load(Ordering::Relaxed) {
                self.put_sorted(of, &entries)?;
            } else {
                tracing::info!("sorting the index of {}", of.name());
                self.ingest_index(of, &|entries| {
                    progress(done.fetch_add(entries, Ordering::Relaxed).saturating_add(entries));
                })?;
            }
            self.index_of(of).next.store(0, Ordering::Release);
            self.index_of(of).unsorted.set_empty();
        }
        Ok(())
    }

    /// Sorts into tables what is more than so many rows, where fewer are simply put into their index.
    /// That is faster where there are many, and changes nothing else.
    pub fn sort_from(&self, rows: usize) {
        self.put_max.store(rows, Ordering::Relaxed);
    }

    /// All entries, or more than are put one by one.
    fn some_unsorted(&self, of: IndexOf) -> Result<Vec<IndexEntry>, StoreError> {
        let (mut entries, put_max) = (Vec::new(), self.put_max.load(Ordering::Relaxed));
        let mut rows = self.unsorted_rows(of, 0, None);
        while entries.len() <= put_max
            && let Some((_, value)) = rows.item()
        {
            entries.extend_from_slice(listed(of, value, &rows)?);
            rows.next();
        }
        rows.status()?;
        Ok(entries)
    }

    fn put_sorted(&self, of: IndexOf, entries: &[IndexEntry]) -> Result<(), StoreError> {
        self.require_place()?;
        let mut batch = WriteBatch::default();
        for entry in entries {
            let (key, value) = of.row(entry);
            batch.put_cf(self.column(of.sorted()), key, value);
        }
        let mut rows = self.unsorted_rows(of, 0, None);
        while let Some((key, _)) = rows.item() {
            batch.delete_cf(self.column(of.unsorted()), key);
            rows.next();
        }
        rows.status()?;
        batch.delete_cf(self.column(Column::Meta), of.number_name());
        reached("index/put/before");
        self.db.write_opt(batch, &WriteOptions::default())?;
        reached("index/put/after");
        Ok(())
    }

    /// `count` is told how many entries were sorted since the last time.
    pub(super) fn ingest_index(
        &self,
        of: IndexOf,
        count: &(dyn Fn(u64) + Sync),
    ) -> Result<(), StoreError> {
        let folder = self.index_folder();
        let io = |source| StoreError::Io { path: folder.clone(), source };
        self.clear_index_folder()?;
        fs::create_dir_all(&folder).map_err(io)?;
        let had = self.count_estimate(of.sorted())?;
        let (bytes, done) =
            (self.unsorted_bytes(of, 0)?.saturating_mul(PARTS as u64), AtomicU64::new(0));
        let files = usize::try_from(bytes.div_ceil(FILE_BYTES)).unwrap_or(PARTS).clamp(1, PARTS);
        let parts_a_file = PARTS.checked_div(files).unwrap_or(1);
        let firsts: Vec<usize> = (0..PARTS).step_by(parts_a_file).collect();
        let files = firsts.par_iter().map(|first| {
            let path = folder.join(format!("{first:03}.sst"));
            let parts = *first..first.saturating_add(parts_a_file).min(PARTS);
            let mut note = |entries: usize| {
                done.fetch_add(entries as u64, Ordering::Relaxed);
                count(entries as u64);
            };
            self.write_file(of, &path, parts, &mut note).map(|written| written.then_some(path))
        });
        let files: Vec<PathBuf> =
            files.collect::<Result<Vec<_>, StoreError>>()?.into_iter().flatten().collect();
        let mut how = IngestExternalFileOptions::default();
        how.set_move_files(true);
        self.require_place()?;
        reached("index/ingest/before");
        self.db.ingest_external_file_cf_opts(self.column(of.sorted()), &how, files)?;
        reached("index/ingest/after");
        self.drop_unsorted(of)?;
        self.clear_index_folder()?;
        if had > 0 && had / 4 < done.into_inner() {
            let all: (Option<&[u8]>, Option<&[u8]>) = (None, None);
            self.db.compact_range_cf(self.column(of.sorted()), all.0, all.1);
            reached("index/merge/after");
        }
        Ok(())
    }

    /// Writes the entries of some parts into a table file; `false` if there are none.
    fn write_file(
        &self,
        of: IndexOf,
        path: &Path,
        parts: std::ops::Range<usize>,
        count: &mut dyn FnMut(usize),
    ) -> Result<bool, StoreError> {
        let options = options::tuned(of.sorted(), &self.memory.blocks);
        let mut writer = SstFileWriter::create(&options);
        writer.open(path)?;
        let mut empty = true;
        for part in parts {
            let entries = self.part(of, part)?;
            for entry in sorted(of, &entries) {
                let (key, value) = of.row(entry);
                writer.put(key, value)?;
                empty = false;
            }
            count(entries.len());
        }
        if empty {
            return Ok(false);
        }
        reached("index/table/before");
        writer.finish()?;
        reached("index/table/after");
        Ok(true)
    }

    fn part(&self, of: IndexOf, part: usize) -> Result<Vec<IndexEntry>, StoreError> {
        let mut entries = Vec::new();
        let mut rows = self.unsorted_rows(of, part, Some(part.saturating_add(1)));
        while let Some((_, value)) = rows.item() {
            entries.extend_from_slice(listed(of, value, &rows)?);
            rows.next();
        }
        rows.status()?;
        Ok(entries)
    }

    fn unsorted_bytes(&self, of: IndexOf, part: usize) -> Result<u64, StoreError> {
        let mut bytes = 0;
        let mut rows = self.unsorted_rows(of, part, Some(part.saturating_add(1)));
        while let Some((_, value)) = rows.item() {
            bytes.grow(value.len() as u64);
            rows.next();
        }
        rows.status()?;
        Ok(bytes)
    }

    /// The rows that are not sorted from one part up to another, which is not among them.
    pub(super) fn unsorted_rows(
        &self,
        of: IndexOf,
        first: usize,
        end: Option<usize>,
    ) -> DBRawIterator<'_> {
        let key = |part: usize| {
            let first_byte = u8::try_from(part).ok()?;
            Some(UnindexedKey::new(first_byte, 0).as_bytes().to_vec())
        };
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        if let Some(end) = end.and_then(key) {
            options.set_iterate_upper_bound(end);
        }
        let mut rows = self.db.raw_iterator_cf_opt(self.column(of.unsorted()), options);
        rows.seek(key(first).unwrap_or_default());
        rows
    }

    /// Drops all rows that are not sorted, files and all.
    fn drop_unsorted(&self, of: IndexOf) -> Result<(), StoreError> {
        let column = self.column(of.unsorted());
        let first = UnindexedKey::new(0, 0);
        // Greater than any key.
        let end = [u8::MAX; size_of::<UnindexedKey>() + 1];
        let all: (Option<&[u8]>, Option<&[u8]>) = (None, None);
        // Out of the first level, where files cannot be dropped; rows are a few bytes each. Dropping
        // files does not wait for snapshots, as deleting rows would.
        self.db.compact_range_cf(column, all.0, all.1);
        reached("index/compact/after");
        self.db.delete_file_in_range_cf(column, first.as_bytes(), end.as_slice())?;
        reached("index/drop-files/after");
        self.db.delete_range_cf(column, first.as_bytes(), end.as_slice())?;
        reached("index/drop-rows/after");
        self.db.delete_cf(self.column(Column::Meta), of.number_name())?;
        reached("index/number/after");
        Ok(())
    }

    /// Where table files are written before they are moved to those of the database. A crash may
    /// leave some.
    fn index_folder(&self) -> PathBuf {
        self.db.path().join("index")
    }

    fn clear_index_folder(&self) -> Result<(), StoreError> {
        let path = self.index_folder();
        reached("index/folder/before");
        let removed = fs::remove_dir_all(&path);
        reached("index/folder/after");
        match removed {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::Io { path, source })
            }
            _ => Ok(()),
        }
    }
}

/// The entries in a row.
fn listed<'a>(
    of: IndexOf,
    value: &'a [u8],
    rows: &DBRawIterator<'_>,
) -> Result<&'a [IndexEntry], StoreError> {
    let damaged = || StoreError::damaged(of.unsorted(), rows.key().unwrap_or_default());
    <[IndexEntry]>::ref_from_bytes(value).map_err(|_| damaged())
}

/// The entries in the order of their rows, one for each key.
fn sorted(of: IndexOf, entries: &[IndexEntry]) -> impl Iterator<Item = &IndexEntry> {
    // Sixteen bytes are moved while sorting instead of 44, and hashes differ early.
    let mut order: Vec<(u64, &IndexEntry)> =
        entries.iter().map(|entry| (entry.prefix(), entry)).collect();
    order.sort_unstable_by(|(a, left), (b, right)| {
        a.cmp(b).then_with(|| left.as_bytes().cmp(right.as_bytes()))
    });
    order.dedup_by(|(_, later), (_, earlier)| of.row(later).0 == of.row(earlier).0);
    order.into_iter().map(|(_, entry)| entry)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use tempfile::TempDir;
    use zerocopy::IntoBytes;
    use zerocopy::byteorder::big_endian::U64;

    use super::super::visit_unsorted;
    use super::*;
    use crate::store::live::logs as live_logs;
    use crate::store::{Batch, HeightValue, History, Meta};
    use crate::types::{BlockHeight, ChainId, ChainwebVersion, RunLength};

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
            let hash = distinct(number * ENTRIES + n);
            let place = HeightValue::new(ChainId::new(0), BlockHeight::new(n));
            IndexEntry { hash, place }
        };
        (0..ENTRIES).map(entry).collect()
    }

    /// Writes the entries of round `number` without the log.
    fn put_unlogged(store: &Store, of: IndexOf, number: u64) {
        let mut batch = Batch::default();
        batch.put_unindexed(store, of, &entries(number));
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

    /// Whether a copy has an entry, sorted or not.
    fn has(copy: &Arc<Store>, of: IndexOf, entry: &IndexEntry) -> bool {
        copy.snapshot().get(of.sorted(), of.row(entry).0).unwrap().is_some()
            || is_unsorted(copy, of, entry)
    }

    fn is_unsorted(copy: &Arc<Store>, of: IndexOf, entry: &IndexEntry) -> bool {
        let mut found = false;
        let snapshot = copy.snapshot();
        let rows = snapshot.iterator(of.unsorted(), ReadOptions::default());
        visit_unsorted(of, rows, &entry.hash, |other| {
            found |= other == entry;
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        found
    }

    #[test]
    fn a_checkpoint_has_every_entry_that_is_being_sorted() {
        for of in IndexOf::ALL {
            let write = |store: &Store, number| {
                put_unlogged(store, of, number);
                store.ingest_index(of, &|_| ()).unwrap();
            };
            beside_checkpoints(100, write, |copy, before| {
                for entry in (0..before).flat_map(entries) {
                    assert!(has(copy, of, &entry), "{of:?} {before} {:?}", entry.hash);
                }
            });
        }
    }

    #[test]
    fn a_checkpoint_has_no_write_of_the_log_without_one_that_was_not_logged_before_it() {
        let of = IndexOf::Blocks;
        let write = |store: &Store, number| {
            put_unlogged(store, of, number);
            let mut batch = Batch::default();
            for entry in entries(number) {
                batch.put_indexed(store, of, &entry);
            }
            store.write(batch).unwrap();
        };
        beside_checkpoints(100, write, |copy, _| {
            let snapshot = copy.snapshot();
            for entry in (0..100).flat_map(entries) {
                let logged = snapshot.get(of.sorted(), of.row(&entry).0).unwrap();
                assert!(logged.is_none() || is_unsorted(copy, of, &entry), "{:?}", entry.hash);
            }
        });
    }

    #[test]
    fn equal_payloads_have_a_row_for_each_place_and_a_block_has_one() {
        let mut twice = entries(0);
        twice.extend(entries(0));
        let elsewhere = |entry: IndexEntry| {
            let place = HeightValue::new(ChainId::new(7), BlockHeight::new(9));
            IndexEntry { place, ..entry }
        };
        twice.extend(entries(0).into_iter().map(elsewhere));
        for (of, rows) in [(IndexOf::Blocks, ENTRIES), (IndexOf::Payloads, 2 * ENTRIES)] {
            assert_eq!(sorted(of, &twice).count() as u64, rows);
            for entry in &twice {
                let (key, value) = of.row(entry);
                assert_eq!(of.entry(key, value), Some(*entry));
                assert_eq!(of.entry(&key[1..], value), None);
                assert_eq!(
                    of.entry(&[key, value].concat()[..40], &entry.place.as_bytes()[8..]),
                    None
                );
            }
        }
    }
}
