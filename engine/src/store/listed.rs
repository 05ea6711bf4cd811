//! The files that a list of files (`MANIFEST`) names, and whether they exist.
//!
//! RocksDB opens a database that lacks a blob file or a log, and one whose list has lost its end: then
//! it deletes the tables that the shortened list does not name. So the list is read here first.
//!
//! A list is a log of edits. Each adds tables and blob files to a column family or removes them, and those of
//! a flush also say which log is needed from then on: "log 15, next file 21" means that a log with a number
//! from 15 up to 20 exists until a later edit names another one, since the log that is being written always
//! has a number that was given out before the edit. For example, of the files 9.sst, 15.log and a list that
//! lost its last edit, which named 22.sst and log 21, only 22.sst and 21.log are left: no log from 15 up to
//! 20 exists, so the list is incomplete.
//!
//! A copy of a database has no log and no `LOCK`, which RocksDB makes when it first opens one to write.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::edits::{Edit, each_record};
use super::journal::{self, End, Log};
use super::live::{self, CURRENT};
use super::losses::LostLog;
use super::synced::Length;
use super::{Column, StoreError};

/// The file that RocksDB locks while it has a database open to write.
pub(super) const LOCK: &str = "LOCK";

/// What the name of a list of files begins with.
pub(super) const LIST: &str = "MANIFEST-";

/// How often a database is looked at again that another process changes meanwhile.
const TRIES: u32 = 40;

/// The time between two tries.
const PAUSE: Duration = Duration::from_millis(25);

/// Bytes of a blob file in addition to its blobs: its header and its footer.
const BLOB_FRAME_BYTES: u64 = 30 + 32;

/// A table, as its list names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Table {
    column: u32,
    bytes: u64,
    /// The first blob file that it has values in.
    oldest_blob: Option<u64>,
}

/// A blob file, as its list names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Blob {
    column: u32,
    bytes: u64,
    count: u64,
    garbage: u64,
}

/// What a list of files names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    columns: BTreeMap<u32, String>,
    tables: BTreeMap<u64, Table>,
    blobs: BTreeMap<u64, Blob>,
    /// The number of the log that is needed is at least the first, and below the second.
    log: Option<(u64, Option<u64>)>,
}

/// A file that is missing or not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// A table or a blob file.
    File {
        /// The file.
        path: PathBuf,
        /// A file that the list does not name. If there is one, the list may have lost its end.
        unlisted: Option<PathBuf>,
    },
    /// A table or a blob file has another length than it should.
    Length {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        got: u64,
        /// The bytes that it should have.
        expected: u64,
    },
    /// A log. If it is missing, and there is a table that the list does not name, the list may have lost its
    /// end.
    Log {
        /// The log.
        lost: LostLog,
        /// Such a table.
        unlisted: Option<PathBuf>,
        /// Logs after it that are not empty.
        later: Vec<PathBuf>,
    },
}

/// A database of which all files are there that it needs to be opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checked {
    /// A log that is missing or was cut.
    pub(super) lost_log: Option<LostLog>,
    /// Logs after it that are not empty, whose writes must not be read without its own.
    pub(super) later_logs: Vec<PathBuf>,
    /// Whether it has a table: all it has is in its log otherwise.
    pub(super) has_tables: bool,
}

/// Checks that all files exist that the database at `path` needs, with the lengths that they should have.
///
/// # Errors
///
/// [`StoreError::MissingFile`], [`StoreError::ListCut`] or [`StoreError::Length`] for the first one that is
/// not so.
pub(super) fn check(path: &Path) -> Result<Checked, StoreError> {
    let io = |source| StoreError::io(path, source);
    let mut tries = 0;
    loop {
        let current = path.join(CURRENT);
        let before = match state(path) {
            // It is not text, or too long for a name.
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Err(StoreError::Current { path: current });
            }
            before => before.map_err(|error| StoreError::io(&current, error))?,
        };
        let mut has_tables = true;
        let list = before.as_ref().map(|(list, _)| list).filter(|list| list.starts_with(LIST));
        let Some(list) = list else { return Err(StoreError::Current { path: current }) };
        let gap = match read(&path.join(list)) {
            Ok(Some(listed)) => {
                has_tables = !listed.tables.is_empty();
                listed.gap(path).map_err(io)?
            }
            // RocksDB says what is wrong with it.
            Ok(None) => None,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Some(Gap::File { path: path.join(list), unlisted: None })
            }
            Err(error) => return Err(StoreError::io(&path.join(list), error)),
        };
        let Some(gap) = gap else { return Ok(Checked { has_tables, ..Checked::default() }) };
        // The process that writes the database has changed it meanwhile.
        if state(path).map_err(io)? != before && tries < TRIES {
            tries = tries.saturating_add(1);
            thread::sleep(PAUSE);
            continue;
        }
        let (lost_log, later_logs) = gap.tolerated(&path.join(list))?;
        return Ok(Checked { lost_log: Some(lost_log), later_logs, has_tables });
    }
}

impl Gap {
    /// The log, if that is all, so that a database opens without it, and the logs after it.
    ///
    /// # Errors
    ///
    /// What is wrong with the database otherwise, whose list of files is `list`.
    pub(super) fn tolerated(self, list: &Path) -> Result<(LostLog, Vec<PathBuf>), StoreError> {
        match self {
            Self::Log { lost, unlisted: None, later } => Ok((lost, later)),
            Self::File { path, unlisted: None } => Err(StoreError::MissingFile { path }),
            Self::Log { lost: log, unlisted: Some(unlisted), .. } => {
                Err(StoreError::ListCut { list: list.to_owned(), path: log.path(), unlisted })
            }
            Self::File { path, unlisted: Some(unlisted) } => {
                Err(StoreError::ListCut { list: list.to_owned(), path, unlisted })
            }
            Self::Length { path, got, expected } => Err(StoreError::Length { path, got, expected }),
        }
    }
}

/// Whether a log lacks its end, which is not so for one that is not the last: RocksDB begins another one only
/// after a whole record. After a write that failed for lack of space it does, too, and then the next log goes on
/// with the number of that write.
fn is_incomplete(log: Length, next: Length, path: &Path) -> io::Result<bool> {
    let read = |length: Length| match Log::read(&length.path(path), length.log) {
        // RocksDB has deleted it meanwhile, since it was not needed any more.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    };
    if log.bytes > 0 && !matches!(journal::tail(&log.path(path), log.log), Ok(End::Cut { .. })) {
        return Ok(false);
    }
    let (Some(log), Some(next)) = (read(log)?, read(next)?) else { return Ok(false) };
    Ok(log.next.is_none() || log.next != next.first)
}

/// The length of a file; `None` if there is none.
fn bytes_of(path: &Path) -> io::Result<Option<u64>> {
    match path.metadata() {
        Ok(data) => Ok(Some(data.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name of the current list of files, and its length.
fn state(path: &Path) -> io::Result<Option<(String, Option<u64>)>> {
    let Some(list) = live::current(path)? else { return Ok(None) };
    let len = path.join(&list).metadata().ok().map(|data| data.len());
    Ok(Some((list, len)))
}

/// Reads a list of files; `None` if it is damaged.
///
/// # Errors
///
/// What the system says.
pub(super) fn read(path: &Path) -> io::Result<Option<Listed>> {
    let (mut listed, mut group) = (Listed::default(), Vec::new());
    let is_whole = each_record(path, &mut |record| {
        let Some(edit) = Edit::parse(record) else { return false };
        let left = edit.group_left;
        group.push(edit);
        if left.is_none_or(|left| left == 0) {
            group.drain(..).for_each(|edit| listed.apply(edit));
        }
        true
    })?;
    Ok(is_whole.then_some(listed))
}

impl Listed {
    /// Whether it names all column families of a database, of this release or of the one before.
    pub(super) fn is_complete(&self) -> bool {
        let has = |column: &Column| self.columns.values().any(|name| name == column.name());
        Column::ALL.iter().all(|column| has(column) || *column == Column::Sums)
    }

    /// The numbers of the tables and blob files that hold something.
    pub(super) fn files(&self) -> impl Iterator<Item = String> + '_ {
        let tables = self.tables.keys().map(|number| format!("{number:06}.sst"));
        tables.chain(self.live_blobs().map(|(number, _)| format!("{number:06}.blob")))
    }

    /// The blob files that RocksDB keeps: of each column family those from the first one on that a table has
    /// values in, unless all values of it are overwritten.
    fn live_blobs(&self) -> impl Iterator<Item = (u64, &Blob)> {
        let mut first = BTreeMap::new();
        let mut linked = BTreeSet::new();
        for table in self.tables.values() {
            let Some(blob) = table.oldest_blob else { continue };
            linked.insert(blob);
            first
                .entry(table.column)
                .and_modify(|first: &mut u64| *first = blob.min(*first))
                .or_insert(blob);
        }
        self.blobs.iter().filter_map(move |(number, blob)| {
            let is_kept = first.get(&blob.column).is_some_and(|first| number >= first);
            let has_values = blob.garbage < blob.count || linked.contains(number);
            (is_kept && has_values).then_some((*number, blob))
        })
    }

    /// The first file that is missing in the folder `path`, or has another length than it should.
    pub(super) fn gap(&self, path: &Path) -> io::Result<Option<Gap>> {
        let names: BTreeSet<String> = live::listing(path)?.into_iter().collect();
        let lens =
            self.tables.iter().map(|(number, table)| (format!("{number:06}.sst"), table.bytes));
        let blobs = self.live_blobs();
        let blobs = blobs.map(|(number, blob)| {
            (format!("{number:06}.blob"), blob.bytes.saturating_add(BLOB_FRAME_BYTES))
        });
        for (name, expected) in lens.chain(blobs) {
            match bytes_of(&path.join(&name))? {
                Some(got) if got == expected => {}
                Some(got) => {
                    return Ok(Some(Gap::Length { path: path.join(&name), got, expected }));
                }
                None => {
                    let unlisted = self.unlisted(path, &names);
                    return Ok(Some(Gap::File { path: path.join(&name), unlisted }));
                }
            }
        }
        let Some((number, lost)) = self.lost_log(path, names.contains(LOCK))? else {
            return Ok(None);
        };
        let is_gone = matches!(lost, LostLog::From { .. } | LostLog::Missing { .. });
        let unlisted = is_gone.then(|| self.unlisted(path, &names)).flatten();
        let later = Length::all(path).into_iter().filter(|log| log.log > number && log.bytes > 0);
        Ok(Some(Gap::Log { lost, unlisted, later: later.map(|log| log.path(path)).collect() }))
    }

    /// The first log that is missing in the folder `path`, or is incomplete, and its number. A copy that was
    /// never opened to write has no `LOCK`, and needs no log.
    fn lost_log(&self, path: &Path, has_lock: bool) -> io::Result<Option<(u64, LostLog)>> {
        let Some((first, end)) = self.log else { return Ok(None) };
        let is_needed = |log: &Length| log.log >= first;
        // The mark before the logs: a log only grows.
        let marked: Vec<Length> = Length::marked(path).into_iter().filter(is_needed).collect();
        let there: Vec<Length> = Length::all(path).into_iter().filter(is_needed).collect();
        let mut lost: Vec<(u64, LostLog)> = Vec::new();
        for marked in &marked {
            let (number, expected) = (marked.log, marked.bytes);
            let path = marked.path(path);
            match there.iter().find(|log| log.log == number) {
                Some(log) if log.bytes < expected => {
                    lost.push((number, LostLog::Short { path, got: log.bytes, expected }));
                }
                None if expected > 0 => lost.push((number, LostLog::Missing { path })),
                Some(_) | None => {}
            }
        }
        let with_writes: Vec<&Length> = there.iter().filter(|log| log.bytes > 0).collect();
        for (log, next) in there.iter().zip(there.iter().skip(1)) {
            let has_later = with_writes.last().is_some_and(|last| last.log > log.log);
            if has_later && is_incomplete(*log, *next, path)? {
                let [log_path, next] = [log, next].map(|log| log.path(path));
                lost.push((log.log, LostLog::Incomplete { path: log_path, next }));
            }
        }
        let first_lost = lost.into_iter().min_by_key(|(number, _)| *number);
        let was_empty = marked.last().is_some_and(|last| last.bytes == 0);
        let is_it = |log: &Length| end.is_none_or(|end| log.log < end);
        if first_lost.is_some() || was_empty || !has_lock || there.iter().any(is_it) {
            return Ok(first_lost);
        }
        Ok(Some((first, LostLog::From { path: path.join(format!("{first:06}.log")) })))
    }

    /// A table or a blob file among these `names` that is not on the list.
    fn unlisted(&self, path: &Path, names: &BTreeSet<String>) -> Option<PathBuf> {
        let listed: BTreeSet<String> = self.files().collect();
        let name = names.iter().find(|name| live::is_table(name) && !listed.contains(*name))?;
        Some(path.join(name))
    }

    fn apply(&mut self, edit: Edit) {
        let Edit { column, added, dropped, log, next_file, .. } = edit;
        if dropped {
            self.columns.remove(&column);
            self.tables.retain(|_, table| table.column != column);
            self.blobs.retain(|_, blob| blob.column != column);
        }
        if let Some(name) = added {
            self.columns.insert(column, name);
        }
        for number in edit.removed {
            self.tables.remove(&number);
        }
        for (number, bytes, oldest_blob) in edit.tables {
            self.tables.insert(number, Table { column, bytes, oldest_blob });
        }
        for (number, count, bytes) in edit.blobs {
            self.blobs.insert(number, Blob { column, bytes, count, garbage: 0 });
        }
        for (number, count) in edit.garbage {
            if let Some(blob) = self.blobs.get_mut(&number) {
                blob.garbage = blob.garbage.saturating_add(count);
            }
        }
        if let Some(log) = log.filter(|log| *log > self.log.map_or(0, |(first, _)| first)) {
            self.log = Some((log, None));
        }
        if let (Some((_, end @ None)), Some(next)) = (&mut self.log, next_file) {
            *end = Some(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use rocksdb::{ColumnFamilyDescriptor, DB, Options};
    use tempfile::TempDir;
    use zerocopy::byteorder::little_endian::{U16, U32};

    use super::*;
    use crate::store::records::{BLOCK_LEN, checksum};
    use crate::store::synced::{self, MARK};
    use crate::store::{History, Meta, Store};
    use crate::types::{ChainwebVersion, RunLength};

    fn open(path: &Path) -> DB {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let mut blobs = Options::default();
        blobs.set_enable_blob_files(true);
        blobs.set_min_blob_size(100);
        blobs.set_enable_blob_gc(true);
        let columns = [("default", Options::default()), ("a", blobs.clone()), ("b", blobs)];
        let columns = columns.map(|(name, options)| ColumnFamilyDescriptor::new(name, options));
        DB::open_cf_descriptors(&options, path, columns).unwrap()
    }

    fn listed(path: &Path) -> Listed {
        let list = live::current(path).unwrap().unwrap();
        read(&path.join(list)).unwrap().unwrap()
    }

    /// Names what RocksDB has left in the folder, which is what it needs.
    fn assert_names_all(path: &Path) -> BTreeSet<String> {
        let listed = listed(path);
        let names = live::listing(path).unwrap().into_iter();
        let tables: BTreeSet<String> = names.filter(|name| live::is_table(name)).collect();
        assert_eq!(listed.files().collect::<BTreeSet<_>>(), tables);
        assert_eq!(listed.gap(path).unwrap(), None);
        tables
    }

    #[test]
    fn a_list_names_the_files_that_rocksdb_keeps_and_the_log_that_it_needs() {
        let dir = TempDir::new().unwrap();
        let path = dir.path();
        let mut seen = BTreeSet::new();
        for round in 0..6_u8 {
            let db = open(path);
            for part in 0..4_u8 {
                for name in ["a", "b"] {
                    let column = db.cf_handle(name).unwrap();
                    for key in 0..40_u8 {
                        let value = vec![round ^ part ^ key; if key % 3 == 0 { 20 } else { 500 }];
                        db.put_cf(column, [key % (10 + 5 * part)], value).unwrap();
                    }
                    db.delete_cf(column, [part]).unwrap();
                    db.flush_cf(column).unwrap();
                }
                if round % 2 == 1 {
                    let column = db.cf_handle("b").unwrap();
                    db.compact_range_cf(column, None::<&[u8]>, None::<&[u8]>);
                }
                // While it is open, too.
                assert_eq!(listed(path).gap(path).unwrap(), None);
            }
            drop(db);
            seen.extend(assert_names_all(path));
        }
        assert!(seen.len() > 20, "{seen:?}");
        for name in assert_names_all(path) {
            let bytes = std::fs::read(path.join(&name)).unwrap();
            std::fs::remove_file(path.join(&name)).unwrap();
            assert_eq!(
                listed(path).gap(path).unwrap(),
                Some(Gap::File { path: path.join(&name), unlisted: None })
            );
            std::fs::write(path.join(&name), &bytes[1..]).unwrap();
            let (expected, got) = (bytes.len() as u64, bytes.len() as u64 - 1);
            let cut = Gap::Length { path: path.join(&name), got, expected };
            assert_eq!(listed(path).gap(path).unwrap(), Some(cut));
            std::fs::write(path.join(&name), bytes).unwrap();
        }
        for log in live::logs(path) {
            std::fs::remove_file(log).unwrap();
        }
        let gap = listed(path).gap(path).unwrap();
        assert!(matches!(gap, Some(Gap::Log { unlisted: None, .. })), "{gap:?}");
        // A copy, which nobody has opened to write.
        std::fs::remove_file(path.join(LOCK)).unwrap();
        assert_eq!(listed(path).gap(path).unwrap(), None);
    }

    /// A log of these batches.
    fn log_of(batches: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for batch in batches {
            let (mut rest, mut is_first) = (&batch[..], true);
            loop {
                let left = BLOCK_LEN - bytes.len() % BLOCK_LEN;
                if left < 7 {
                    bytes.extend(std::iter::repeat_n(0, left));
                    continue;
                }
                let (part, behind) = rest.split_at(rest.len().min(left - 7));
                let kind = match (is_first, behind.is_empty()) {
                    (true, true) => 1,
                    (true, false) => 2,
                    (false, false) => 3,
                    (false, true) => 4,
                };
                bytes.extend(U32::new(checksum(kind, part)).to_bytes());
                bytes.extend(U16::new(part.len().try_into().unwrap()).to_bytes());
                bytes.push(kind);
                bytes.extend(part);
                (rest, is_first) = (behind, false);
                if rest.is_empty() {
                    break;
                }
            }
        }
        bytes
    }

    /// A database with twenty rows in two logs that it needs, as a process that is killed leaves it right
    /// after RocksDB has begun the second one; and the logs.
    fn with_two_logs() -> (TempDir, [Length; 2]) {
        let dir = TempDir::new().unwrap();
        let version = ChainwebVersion::Development;
        let meta = Meta { version, history: History::Full, run_length: RunLength::default() };
        drop(Store::create(dir.path(), meta, |_, _| ()).unwrap());
        let store = Store::open(dir.path()).unwrap();
        for key in 0..20_u8 {
            store.db.put_cf(store.column(Column::Levels), [key], vec![key; 5000]).unwrap();
        }
        drop(store);
        let path = Store::path(dir.path());
        let log = *Length::all(&path).last().unwrap();
        let (mut batches, mut open) = (Vec::new(), Vec::new());
        let end = journal::walk(&log.path(&path), log.log, &mut |kind, bytes| {
            open.extend_from_slice(bytes);
            if matches!(kind, 1 | 4) {
                batches.push(std::mem::take(&mut open));
            }
        });
        assert_eq!((end.unwrap(), batches.len()), (End::Whole, 20));
        let next = Length { log: log.log + 9, bytes: 0 };
        std::fs::write(log.path(&path), log_of(&batches[..12])).unwrap();
        std::fs::write(next.path(&path), log_of(&batches[12..])).unwrap();
        let _ = std::fs::remove_file(path.join(MARK));
        assert_eq!(rows(&Store::open_read_only(dir.path()).unwrap()), 20);
        let [log, next] = Length::all(&path)[..] else { panic!("other logs") };
        (dir, [log, next])
    }

    /// How many rows there are, the first ones.
    fn rows(store: &Store) -> usize {
        let rows = store.db.iterator_cf(store.column(Column::Levels), rocksdb::IteratorMode::Start);
        let keys: Vec<u8> = rows.map(|row| row.unwrap().0[0]).collect();
        let expected: Vec<u8> = (0..20).take(keys.len()).collect();
        assert_eq!(keys, expected, "there is a hole");
        keys.len()
    }

    #[test]
    fn no_log_is_read_after_one_that_lacks_its_end() {
        for (case, kept) in [(0, 0), (1, 11), (2, 6), (3, 12), (4, 0)] {
            let (dir, [log, next]) = with_two_logs();
            let path = Store::path(dir.path());
            match case {
                0 => std::fs::write(log.path(&path), "").unwrap(),
                // Nothing but the mark shows that it did not end there.
                3 => std::fs::write(
                    path.join(MARK),
                    synced::text(&[Length { bytes: log.bytes + 1, ..log }, next]),
                )
                .unwrap(),
                4 => {
                    std::fs::write(path.join(MARK), synced::text(&[log, next])).unwrap();
                    std::fs::remove_file(log.path(&path)).unwrap();
                }
                _ => {
                    let len = if case == 1 { log.bytes - 1 } else { log.bytes / 2 };
                    let file = std::fs::File::options().write(true).open(log.path(&path));
                    file.unwrap().set_len(len).unwrap();
                }
            }
            let later = std::fs::read(next.path(&path)).unwrap();
            let refused = Store::open_read_only(dir.path()).err();
            assert!(matches!(refused, Some(StoreError::LogHole { .. })), "{case}: {refused:?}");
            let store = Store::open(dir.path()).unwrap();
            assert_eq!(rows(&store), kept, "{case}");
            assert!(store.damaged_log().is_some(), "{case}");
            drop(store);
            let lost = path.join("lost");
            assert!(std::fs::read(next.path(&lost)).unwrap() == later, "{case}");
            let store = Store::open_read_only(dir.path()).unwrap();
            assert_eq!((rows(&store), store.damaged_log().is_some()), (kept, true), "{case}");
        }
    }

    #[test]
    fn damage_after_what_was_synced_is_what_a_crash_leaves() {
        for (synced, is_crash) in [(2, true), (5, true), (6, false)] {
            let (dir, [log, next]) = with_two_logs();
            let path = Store::path(dir.path());
            let mut bytes = std::fs::read(next.path(&path)).unwrap();
            let batch = bytes.len() / 8;
            bytes[batch * 5 + 2000] ^= 1;
            std::fs::write(next.path(&path), bytes).unwrap();
            let marked = Length { bytes: (batch * synced) as u64, ..next };
            std::fs::write(path.join(MARK), synced::text(&[log, marked])).unwrap();
            for _ in 0..2 {
                let store = Store::open_read_only(dir.path()).unwrap();
                assert_eq!((rows(&store), store.damaged_log().is_none()), (17, is_crash));
                drop(store);
                let store = Store::open(dir.path()).unwrap();
                assert_eq!((rows(&store), store.damaged_log().is_none()), (17, is_crash));
            }
            assert_eq!(path.join("lost").exists(), !is_crash);
        }
    }

    #[test]
    fn a_log_with_zeros_after_what_was_synced_is_cut_there_by_whoever_writes() {
        for (more, is_crash) in [(0, true), (1, false)] {
            let (dir, [log, next]) = with_two_logs();
            let path = Store::path(dir.path());
            let mut bytes = std::fs::read(next.path(&path)).unwrap();
            let at = 3 * (7 + usize::from(bytes[4]) + 256 * usize::from(bytes[5]));
            bytes[at..at + 20].fill(0);
            std::fs::write(next.path(&path), &bytes).unwrap();
            let marked = Length { bytes: (at + more) as u64, ..next };
            std::fs::write(path.join(MARK), synced::text(&[log, marked])).unwrap();
            let refused = Store::open_read_only(dir.path()).err();
            assert!(matches!(refused, Some(StoreError::Record { .. })), "{refused:?}");
            let opened = Store::open(dir.path());
            if !is_crash {
                let refused = opened.err();
                assert!(matches!(refused, Some(StoreError::Record { .. })), "{refused:?}");
                continue;
            }
            assert_eq!(rows(&opened.unwrap()), 15);
            assert!(std::fs::read(next.path(&path.join("lost"))).unwrap() == bytes);
            let store = Store::open_read_only(dir.path()).unwrap();
            assert_eq!((rows(&store), store.damaged_log()), (15, None));
        }
    }

    #[test]
    fn the_log_after_a_write_that_failed_goes_on_with_it() {
        let (dir, [log, _]) = with_two_logs();
        let mut bytes = std::fs::read(log.path(&Store::path(dir.path()))).unwrap();
        // As a full disk leaves it: the next log has the write again.
        bytes.extend([7; 100]);
        std::fs::write(log.path(&Store::path(dir.path())), bytes).unwrap();
        let found = listed(&Store::path(dir.path())).gap(&Store::path(dir.path())).unwrap();
        assert_eq!(found, None);
    }

    #[test]
    fn a_list_that_lost_its_last_flush_needs_a_log_that_is_gone() {
        let dir = TempDir::new().unwrap();
        let path = dir.path();
        let db = open(path);
        let mut before = Vec::new();
        let list = live::current(path).unwrap().unwrap();
        for key in 0..3_u8 {
            before = std::fs::read(path.join(&list)).unwrap();
            for name in ["a", "b"] {
                db.put_cf(db.cf_handle(name).unwrap(), [key], [key; 500]).unwrap();
            }
            let columns = ["a", "b"].map(|name| db.cf_handle(name).unwrap());
            db.flush_cfs_opt(&columns, &rocksdb::FlushOptions::default()).unwrap();
        }
        drop(db);
        assert_names_all(path);
        std::fs::write(path.join(&list), before).unwrap();
        let gap = listed(path).gap(path).unwrap();
        assert!(matches!(gap, Some(Gap::Log { unlisted: Some(_), .. })), "{gap:?}");
        assert!(matches!(check(path), Err(StoreError::ListCut { .. })));
    }
}
