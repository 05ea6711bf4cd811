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
    },
}

/// A database of which all files are there that it needs to be opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checked {
    /// A log that is missing or was cut.
    pub(super) lost_log: Option<LostLog>,
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
        let Some(gap) = gap else { return Ok(Checked { lost_log: None, has_tables }) };
        // The process that writes the database has changed it meanwhile.
        if state(path).map_err(io)? != before && tries < TRIES {
            tries = tries.saturating_add(1);
            thread::sleep(PAUSE);
            continue;
        }
        let lost_log = Some(gap.tolerated(&path.join(list))?);
        return Ok(Checked { lost_log, has_tables });
    }
}

impl Gap {
    /// The log, if that is all, so that a database opens without it.
    ///
    /// # Errors
    ///
    /// What is wrong with the database otherwise, whose list of files is `list`.
    pub(super) fn tolerated(self, list: &Path) -> Result<LostLog, StoreError> {
        match self {
            Self::Log { lost, unlisted: None } => Ok(lost),
            Self::File { path, unlisted: None } => Err(StoreError::MissingFile { path }),
            Self::Log { lost: log, unlisted: Some(unlisted) } => {
                Err(StoreError::ListCut { list: list.to_owned(), path: log.path(), unlisted })
            }
            Self::File { path, unlisted: Some(unlisted) } => {
                Err(StoreError::ListCut { list: list.to_owned(), path, unlisted })
            }
            Self::Length { path, got, expected } => Err(StoreError::Length { path, got, expected }),
        }
    }
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
        let lost = if names.contains(LOCK) { self.lost_log(path, &names)? } else { None };
        Ok(lost.map(|lost| {
            let is_gone = !matches!(lost, LostLog::Short { .. });
            let unlisted = is_gone.then(|| self.unlisted(path, &names)).flatten();
            Gap::Log { lost, unlisted }
        }))
    }

    /// A log that is missing in the folder `path`, or was cut; `names` are the files in that folder.
    fn lost_log(&self, path: &Path, names: &BTreeSet<String>) -> io::Result<Option<LostLog>> {
        let Some((first, end)) = self.log else { return Ok(None) };
        let marked = Length::marked(path).filter(|marked| marked.log >= first);
        if let Some(marked) = marked {
            let (path, expected) = (marked.path(path), marked.bytes);
            match bytes_of(&path)? {
                Some(got) if got < expected => {
                    return Ok(Some(LostLog::Short { path, got, expected }));
                }
                Some(_) => {}
                None => return Ok(Some(LostLog::Missing { path })),
            }
        }
        let is_it = |name: &String| {
            let number = name.strip_suffix(".log").and_then(|number| number.parse::<u64>().ok());
            number.is_some_and(|number| number >= first && end.is_none_or(|end| number < end))
        };
        let from = || LostLog::From { path: path.join(format!("{first:06}.log")) };
        Ok((!names.iter().any(is_it)).then(from))
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

    use super::*;

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
