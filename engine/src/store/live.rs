use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rocksdb::checkpoint::Checkpoint;

use super::listed::LOCK;
use super::synced::Length;
use super::{Opened, Store, StoreError, options, synced};
use crate::failpoint::reached;
use crate::regular;

/// How often a database is tried to be linked that another process changes meanwhile. A change of
/// its list of files is seldom, and linking takes milliseconds.
const LINK_TRIES: u32 = 200;

/// The time between two tries.
const LINK_PAUSE: Duration = Duration::from_millis(20);

/// The folder beside a copy that tells for a moment what the list of files names.
const SCRATCH: &str = "listed";

/// The file that names the current list of files.
pub(super) const CURRENT: &str = "CURRENT";

/// Bytes of that file at most: a name.
const CURRENT_BYTES_MAX: u64 = 1 << 10;

impl Store {
    /// Makes a copy of the database as it is now in the folder `to`, which must not exist while the
    /// one above it must: by hard links on the same partition, else byte by byte. All that was
    /// written before is in it.
    ///
    /// RocksDB writes all columns to tables at one moment and takes their list, then the log, which
    /// may go on meanwhile. The log is left out: it may rest on tables that the list does not have
    /// yet, since what is written without it, or comes as tables, is in no log.
    ///
    /// # Cost
    ///
    /// What is in memory only is written to tables first. Links take microseconds each.
    ///
    /// # Errors
    ///
    /// [`StoreError::RocksDb`], for example when the disk is full.
    pub fn checkpoint(&self, to: &Path) -> Result<(), StoreError> {
        self.require_place()?;
        reached("checkpoint/make/before");
        Checkpoint::new(&self.db)?.create_checkpoint(to)?;
        reached("checkpoint/make/after");
        let io = |source| StoreError::Io { path: to.to_owned(), source };
        for name in listing(to).map_err(io)?.iter().filter(|name| Kind::of(name) == Kind::Log) {
            fs::remove_file(to.join(name)).map_err(io)?;
            reached("checkpoint/log/after");
        }
        Ok(())
    }

    /// Bytes that were written and are in memory only, or in the log: what [`Store::checkpoint`]
    /// writes to tables.
    ///
    /// # Errors
    ///
    /// [`StoreError::RocksDb`].
    pub fn unflushed_bytes(&self) -> Result<u64, StoreError> {
        let bytes = |column| {
            let name = "rocksdb.cur-size-all-mem-tables";
            Ok(self.db.property_int_value_cf(self.column(column), name)?.unwrap_or_default())
        };
        self.columns().map(bytes).sum()
    }

    /// Bytes of all its files.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the folder cannot be read.
    pub fn file_bytes(&self) -> Result<u64, StoreError> {
        let path = self.files();
        let files = listing(path).map_err(|source| self.failure(source))?;
        let len = |name: &String| path.join(name).metadata().map_or(0, |data| data.len());
        Ok(files.iter().map(len).sum())
    }

    /// Like [`Store::checkpoint`], of a database that is open here to read and that another process may
    /// be writing; nothing of it is changed. What that process did not write to a file yet is not
    /// in the copy.
    ///
    /// The copy is what a crash would have left at one moment, and that is what RocksDB restores
    /// from: the log is copied first, then all tables are linked, then the list of files is copied.
    /// If the list has changed meanwhile, files on it may be gone, and all begins anew. Tables that
    /// are on it never change; others are taken away again: the other process may be writing them
    /// still, and a link would grow with them.
    ///
    /// # Cost
    ///
    /// Some microseconds a table, and opening the copy once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Displaced`] if its name leads elsewhere by now, [`StoreError::Io`] if `to` cannot
    /// be written, and if the list did not stay the same for long enough.
    pub fn link_in_use(&self, to: &Path) -> Result<(), StoreError> {
        self.require_place()?;
        let path = self.files();
        let io = |source| StoreError::Io { path: to.to_owned(), source };
        for _ in 0..LINK_TRIES {
            fs::create_dir(to).map_err(io)?;
            reached("link/folder/after");
            if try_link(path, to).map_err(io)? {
                return Self::drop_unlisted(to);
            }
            fs::remove_dir_all(to).map_err(io)?;
            thread::sleep(LINK_PAUSE);
        }
        let busy = io::Error::new(ErrorKind::ResourceBusy, "the database changes too fast");
        Err(self.failure(busy))
    }

    /// Removes tables from the database at `path`, which nobody else has open, that its list of
    /// files does not name. A copy that RocksDB makes has only those that it names.
    fn drop_unlisted(path: &Path) -> Result<(), StoreError> {
        let io = |source| StoreError::Io { path: path.to_owned(), source };
        let (scratch, blocks) = (path.with_file_name(SCRATCH), options::cache(0));
        let Opened { db, .. } = Opened::to_read(path, || options::columns(&blocks))?;
        // Nothing is to be flushed, however long the log is.
        Checkpoint::new(&db)?.create_checkpoint_with_log_size(&scratch, u64::MAX)?;
        reached("link/scratch/after");
        let listed: HashSet<String> = listing(&scratch).map_err(io)?.into_iter().collect();
        for name in listing(path).map_err(io)? {
            if is_table(&name) && !listed.contains(&name) {
                fs::remove_file(path.join(name)).map_err(io)?;
            }
        }
        reached("link/unlisted/after");
        fs::remove_dir_all(&scratch).map_err(io)?;
        reached("link/removed/after");
        Ok(())
    }
}

/// What kind of file of RocksDB's a name is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Written once.
    Table,
    /// Appended to.
    Log,
    /// The options and the identity: small, and not needed to open the database.
    Side,
    /// Anything else, such as the lock.
    Other,
}

impl Kind {
    fn of(name: &str) -> Self {
        let end = name.rsplit_once('.').map(|(_, end)| end);
        match end {
            Some("sst" | "blob") => Self::Table,
            Some("log") => Self::Log,
            _ if name == "IDENTITY" || name.starts_with("OPTIONS-") => Self::Side,
            _ => Self::Other,
        }
    }
}

/// Whether a file with this name is written once, so that a link to it is a copy.
#[must_use]
pub fn is_table(name: &str) -> bool {
    Kind::of(name) == Kind::Table
}

/// Whether a file with this name is a log.
pub(super) fn is_log(name: &str) -> bool {
    Kind::of(name) == Kind::Log
}

/// Whether a file with this name is one of RocksDB's, or one about them.
pub(super) fn is_of_rocksdb(name: &str) -> bool {
    let is_begun = |begin| name.starts_with(begin);
    Kind::of(name) != Kind::Other
        || matches!(name, CURRENT | LOCK | options::PROBE | synced::MARK)
        || is_begun("MANIFEST-")
        || is_begun("LOG")
        || name.rsplit_once('.').is_some_and(|(_, end)| end == "dbtmp")
}

/// Links or copies all that is in the folder `from`; `false` if that changed meanwhile.
fn try_link(from: &Path, to: &Path) -> io::Result<bool> {
    // The mark before the logs, which only grow.
    let marked = Length::marked(from);
    // The log before the list: what it has in excess of the list is of an earlier moment.
    for name in listing(from)?.iter().filter(|name| Kind::of(name) == Kind::Log) {
        if !tolerated(copy_prefix(&from.join(name), &to.join(name), u64::MAX))? {
            return Ok(false);
        }
    }
    mark_copied(&marked, to)?;
    reached("link/log/after");
    let Some(list) = current(from)? else { return Ok(false) };
    let Ok(data) = from.join(&list).metadata() else { return Ok(false) };
    let len = data.len();
    for name in listing(from)? {
        let (source, target) = (from.join(&name), to.join(&name));
        let done = match Kind::of(&name) {
            Kind::Table => tolerated(link(&source, &target))?,
            Kind::Side => tolerated(copy_prefix(&source, &target, u64::MAX))?,
            Kind::Log | Kind::Other => true,
        };
        if !done {
            return Ok(false);
        }
        reached("link/table/after");
    }
    if !tolerated(copy_prefix(&from.join(&list), &to.join(&list), len))? {
        return Ok(false);
    }
    reached("link/list/after");
    let now = from.join(&list).metadata().map(|data| data.len());
    let unchanged = now.is_ok_and(|now| now == len) && current(from)?.as_deref() == Some(&list);
    if unchanged {
        fs::write(to.join(CURRENT), format!("{list}\n"))?;
        reached("link/current/after");
    }
    Ok(unchanged)
}

/// Marks in the copy at `to` what was synced of the logs that it has.
fn mark_copied(marked: &[Length], to: &Path) -> io::Result<()> {
    let copied = Length::all(to);
    let is_copied = |length: &&Length| copied.iter().any(|copy| copy.log == length.log);
    let lengths: Vec<Length> = marked.iter().filter(is_copied).copied().collect();
    if lengths.is_empty() {
        Ok(())
    } else {
        fs::write(to.join(synced::MARK), synced::text(&lengths))
    }
}

/// Whether it succeeded; that a file is gone is no failure, but a change.
fn tolerated(done: io::Result<()>) -> io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The name of the current list of files.
pub(super) fn current(path: &Path) -> io::Result<Option<String>> {
    match regular::read_text(&path.join(CURRENT), CURRENT_BYTES_MAX) {
        Ok(text) => Ok(text.strip_suffix('\n').map(str::to_owned)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The log of the database at `path`, as far as it can be read. The oldest part is deleted first.
pub(super) fn logs(path: &Path) -> Vec<PathBuf> {
    let names = names(path, false).unwrap_or_default();
    names.iter().filter(|name| Kind::of(name) == Kind::Log).map(|name| path.join(name)).collect()
}

/// What a database is opened from, by name and length: its list of files, and its log. Both only grow, or
/// are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    list: Option<(String, u64)>,
    logs: BTreeMap<String, u64>,
}

impl Listed {
    /// As it is now, as far as it can be read.
    pub(super) fn now(path: &Path) -> Self {
        let len = |name: &str| path.join(name).metadata().map(|data| data.len()).ok();
        let list = current(path).ok().flatten();
        let list = list.and_then(|list| len(&list).map(|len| (list, len)));
        let logs = logs(path).into_iter().filter_map(|log| {
            let name = log.file_name()?.to_str()?.to_owned();
            let len = len(&name)?;
            Some((name, len))
        });
        Self { list, logs: logs.collect() }
    }

    /// Whether what was read of both between this and `later` is of one moment: either the list stayed, and
    /// all logs that it needs, or the logs stayed as they were, and the list that was read may be older.
    pub(super) fn is_one_moment(&self, later: &Self) -> bool {
        let logs_stayed = self.logs.keys().all(|log| later.logs.contains_key(log));
        logs_stayed && (self.list == later.list || self.logs == later.logs)
    }
}

/// Files of the database at `path` that are made of records: its log, and its list of files.
pub(super) fn journals(path: &Path) -> Vec<PathBuf> {
    let names = names(path, false).unwrap_or_default();
    let is_one = |name: &&String| Kind::of(name) == Kind::Log || is_list(name);
    names.iter().filter(is_one).map(|name| path.join(name)).collect()
}

/// Checks that each file that RocksDB may open in the folder `path` is a regular file: it would wait for
/// ever for somebody to write into a FIFO.
///
/// # Errors
///
/// [`StoreError::Io`] that names the first that is none.
pub(super) fn check_regular(path: &Path) -> Result<(), StoreError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Io { path, source }
    };
    for entry in path.read_dir().map_err(io(path))? {
        let entry = entry.map_err(io(path))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_read = Kind::of(&name) != Kind::Other || name == CURRENT || is_list(&name);
        // What is gone by now, or leads nowhere, is for RocksDB to say.
        let is_odd = is_read && entry.path().metadata().is_ok_and(|data| !data.is_file());
        if is_odd {
            return Err(io(&entry.path())(regular::not_regular()));
        }
    }
    Ok(())
}

/// Whether a list of files has this name.
pub(super) fn is_list(name: &str) -> bool {
    name.starts_with("MANIFEST-")
}

/// The names of the files in a folder.
pub(super) fn listing(path: &Path) -> io::Result<Vec<String>> {
    names(path, true)
}

/// Names of the files in the folder `path`: `real` ones, or those that links lead to as well.
fn names(path: &Path, real: bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in path.read_dir()? {
        let entry = entry?;
        let is_file = if real {
            entry.file_type().is_ok_and(|kind| kind.is_file())
        } else {
            entry.path().metadata().is_ok_and(|data| data.is_file())
        };
        // Temporary files may be gone by now.
        if is_file {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

/// A hard link, or a copy where there cannot be one.
///
/// # Errors
///
/// What the system says.
pub fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::CrossesDevices
                    | ErrorKind::Unsupported
                    | ErrorKind::TooManyLinks
                    | ErrorKind::PermissionDenied
            ) =>
        {
            fs::copy(from, to).map(|_| ())
        }
        linked => linked,
    }
}

/// Copies at most the first `len` bytes of a file that may be growing.
fn copy_prefix(from: &Path, to: &Path, len: u64) -> io::Result<()> {
    let file = regular::open(from)?;
    let len = file.metadata()?.len().min(len);
    let copied = io::copy(&mut file.take(len), &mut File::create(to)?)?;
    if copied < len { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_their_names() {
        for (name, kind) in [
            ("000012.sst", Kind::Table),
            ("000013.blob", Kind::Table),
            ("000014.log", Kind::Log),
            ("OPTIONS-000007", Kind::Side),
            ("OPTIONS-000007.dbtmp", Kind::Side),
            ("IDENTITY", Kind::Side),
            ("MANIFEST-000005", Kind::Other),
            ("CURRENT", Kind::Other),
            ("LOCK", Kind::Other),
            ("direct-io", Kind::Other),
            ("log-synced", Kind::Other),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
    }

    #[test]
    fn a_list_and_a_log_are_of_one_moment_unless_both_changed_or_a_log_went() {
        let listed = |list: u64, logs: &[(&str, u64)]| Listed {
            list: Some(("MANIFEST-000004".to_owned(), list)),
            logs: logs.iter().map(|(name, len)| ((*name).to_owned(), *len)).collect(),
        };
        let before = listed(10, &[("000005.log", 7)]);
        for (later, expected) in [
            (listed(10, &[("000005.log", 7)]), true),
            (listed(10, &[("000005.log", 8)]), true),
            (listed(10, &[("000005.log", 8), ("000006.log", 1)]), true),
            (listed(11, &[("000005.log", 7)]), true),
            (listed(11, &[("000005.log", 8)]), false),
            (listed(11, &[("000005.log", 7), ("000006.log", 0)]), false),
            (listed(10, &[("000006.log", 0)]), false),
            (listed(11, &[]), false),
        ] {
            assert_eq!(before.is_one_moment(&later), expected, "{later:?}");
        }
    }
}
