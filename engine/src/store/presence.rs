//! Whether a folder has a database, and how one is created so that a crash at any instant leaves either
//! nothing, a creation that can be started again, or a database.
//!
//! - `I-1` A database is created only in a place that is empty, or that has only the files of an interrupted
//!   creation.
//! - `I-2` The marker is durable before RocksDB creates its first file, and durably removed before anything
//!   but the first rows is written.
//! - `I-3` A file that cannot be examined is an error, and never assumed to be missing.
//!
//! The marker is the file `creating` among RocksDB's files. It is locked by the process that creates the
//! database, so two processes never clear away each other's files. A creation passes through
//!
//! ```text
//! nothing → folders → marker → RocksDB's files → first rows, synced → no marker
//! ```
//!
//! A crash just before the last step leaves a marker and a database that opens: the database is
//! kept and the marker removed. Otherwise RocksDB's files are removed and the creation starts again, unless
//! there is a table, a blob file, a long log or an unknown file, which is an error.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::claim::resolved;
use super::live::{self, CURRENT};
use super::{Store, StoreError};
use crate::failpoint::reached;

/// The file that says that a database is being created.
const MARKER: &str = "creating";

/// What the marker says to those who look.
const NOTICE: &str = "Plait is creating a database here. If none of its processes runs, the creation was \
                      interrupted, and the same command starts it again.\n";

/// Folders in the folder of a database that show that there was one: its backups, and a restore that was
/// interrupted.
const TRACES: [&str; 2] = ["backups", ".restore"];

/// Bytes of a log that has more than the first rows.
const LOG_BYTES_MAX: u64 = 1 << 20;

/// What a folder has of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Nothing.
    Absent,
    /// What an interrupted creation left.
    Unfinished,
    /// A database, whole or not.
    Present,
}

impl Presence {
    /// Examines the folder `dir`.
    ///
    /// # Errors
    ///
    /// [`StoreError::MissingFile`] if files of a database are there without `CURRENT`,
    /// [`StoreError::Occupied`] if other things are where a database would be, [`StoreError::Denied`],
    /// [`StoreError::NotFolder`] and [`StoreError::Io`] if it cannot be looked at.
    pub fn of(dir: &Path) -> Result<Self, StoreError> {
        let path = Store::path(dir);
        let names = match names_in(&path)? {
            Some(names) if !names.is_empty() => names,
            Some(_) | None => return vacant(dir).map(|()| Self::Absent),
        };
        let has = |name: &str| names.iter().any(|found| found == name);
        if has(MARKER) {
            return Ok(Self::Unfinished);
        }
        if has(CURRENT) {
            return Ok(Self::Present);
        }
        if names.iter().any(|name| live::is_of_rocksdb(name)) {
            return Err(StoreError::MissingFile { path: path.join(CURRENT) });
        }
        let found = names.first().map_or_else(|| path.clone(), |name| path.join(name));
        Err(StoreError::Occupied { dir: dir.to_owned(), found })
    }
}

/// Makes sure that the folder `dir`, which has no files of RocksDB's, shows no trace of a database either.
fn vacant(dir: &Path) -> Result<(), StoreError> {
    outside(dir)?;
    let occupied = |found| Err(StoreError::Occupied { dir: dir.to_owned(), found });
    let (path, inner) = (Store::path(dir), dir.join("0"));
    for name in names_in(&inner)?.unwrap_or_default() {
        if path != inner.join(&name) {
            return occupied(inner.join(name));
        }
    }
    for trace in TRACES.map(|trace| dir.join(trace)) {
        if names_in(&trace)?.is_some_and(|names| !names.is_empty()) {
            return occupied(trace);
        }
    }
    Ok(())
}

/// Makes sure that a folder without a database is not inside another database. None may be created there, and
/// a user who names it means the outer one.
fn outside(dir: &Path) -> Result<(), StoreError> {
    let real = resolved(&std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()));
    let has_tables = |folder: &Path| {
        let names = names_in(folder).ok().flatten().unwrap_or_default();
        names.iter().any(|name| live::is_of_rocksdb(name))
    };
    // From the outermost one on: of `DB/0/rocksDb` that is `DB`.
    let mut around: Vec<&Path> = real.ancestors().skip(1).collect();
    around.reverse();
    let database = around.into_iter().find(|folder| has_tables(&Store::path(folder)));
    // A RocksDB folder of any program. Its other files have names that any folder may have.
    let is_raw = |folder: &&Path| folder.join(CURRENT).is_file();
    let database = database.or_else(|| real.ancestors().find(is_raw));
    let inside =
        |database: &Path| StoreError::Inside { dir: dir.to_owned(), database: database.to_owned() };
    database.map_or(Ok(()), |database| Err(inside(database)))
}

/// The names in a folder, sorted; `None` if there is none.
fn names_in(path: &Path) -> Result<Option<Vec<String>>, StoreError> {
    let entries = match path.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io(&first_file(path), error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| StoreError::io(path, error))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(Some(names))
}

/// The part of `path` that is a file where a folder should be; `path` itself if none is.
fn first_file(path: &Path) -> PathBuf {
    let mut parts: Vec<&Path> = path.ancestors().collect();
    parts.reverse();
    let is_file = |part: &&Path| part.metadata().is_ok_and(|data| !data.is_dir());
    parts.into_iter().find(is_file).unwrap_or(path).to_owned()
}

/// A database that is being created, by this process alone.
pub(super) struct Creation {
    path: PathBuf,
    /// Locked until the process ends or the creation does.
    _marker: File,
}

/// What a creation finds.
pub(super) enum Begun {
    /// Nothing: RocksDB may create its files.
    New(Creation),
    /// A database that is whole, of a creation that was interrupted at its end.
    Whole(Creation),
}

impl Creation {
    /// Marks the folder of RocksDB's files in `dir`, which is made where it is missing, and clears away what
    /// an interrupted creation left. `is_whole` says whether a database is there that opens.
    ///
    /// # Errors
    ///
    /// [`StoreError::Occupied`] if something else is there, [`StoreError::Locked`] if another process is
    /// creating the database.
    pub(super) fn begin(
        dir: &Path,
        is_whole: impl FnOnce(&Path) -> bool,
    ) -> Result<Begun, StoreError> {
        let path = Store::path(dir);
        let was_marked = match Presence::of(dir)? {
            Presence::Absent => false,
            Presence::Unfinished => true,
            Presence::Present => return Err(occupied(dir, path.join(CURRENT))),
        };
        make_folder(&path)?;
        reached("create/folder/after");
        let marker = mark(&path, was_marked)?;
        let creation = Self { path, _marker: marker };
        reached("create/mark/after");
        if is_whole(&creation.path) {
            return Ok(Begun::Whole(creation));
        }
        creation.clear(dir)?;
        Ok(Begun::New(creation))
    }

    /// Removes the files of RocksDB's that are there, of which none may hold anything.
    fn clear(&self, dir: &Path) -> Result<(), StoreError> {
        let names = names_in(&self.path)?.unwrap_or_default();
        let mut left: Vec<&String> = names.iter().filter(|name| *name != MARKER).collect();
        for name in &left {
            let file = self.path.join(name);
            let is_short = || file.metadata().is_ok_and(|data| data.len() <= LOG_BYTES_MAX);
            let is_log = live::is_log(name);
            if !live::is_of_rocksdb(name) || live::is_table(name) || is_log && !is_short() {
                return Err(occupied(dir, file));
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        // Without it nobody takes the others for a database.
        left.sort_by_key(|name| *name != CURRENT);
        for name in left {
            let file = self.path.join(name);
            fs::remove_file(&file).map_err(|error| StoreError::io(&file, error))?;
            reached("create/clear/after");
        }
        sync(&self.path)
    }

    /// Removes the marker, for good.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn end(self) -> Result<(), StoreError> {
        let file = self.path.join(MARKER);
        reached("create/unmark/before");
        fs::remove_file(&file).map_err(|error| StoreError::io(&file, error))?;
        reached("create/unmark/after");
        sync(&self.path)
    }
}

fn occupied(dir: &Path, found: PathBuf) -> StoreError {
    StoreError::Occupied { dir: dir.to_owned(), found }
}

/// Makes the marker, or takes the one that is there, and makes it durable.
fn mark(path: &Path, was_marked: bool) -> Result<File, StoreError> {
    let file = path.join(MARKER);
    let io = |error| StoreError::io(&file, error);
    let locked = || StoreError::Locked { path: path.to_owned() };
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let marker = match options.create_new(!was_marked).open(&file) {
        // Another process was faster, to begin or to end.
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
            return Err(locked());
        }
        opened => opened.map_err(io)?,
    };
    match marker.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(locked()),
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    // Its process may have ended the creation before the lock was taken here.
    let here = marker.metadata().map_err(io)?;
    let is_same =
        file.metadata().is_ok_and(|there| (there.dev(), there.ino()) == (here.dev(), here.ino()));
    if !is_same {
        return Err(locked());
    }
    if here.len() == 0 {
        (&marker).write_all(NOTICE.as_bytes()).map_err(io)?;
    }
    marker.sync_all().map_err(io)?;
    sync(path)?;
    Ok(marker)
}

/// Makes a folder and those above it, each durably, as far as they are missing.
fn make_folder(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        make_folder(above)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists || !path.is_dir() => {
            return Err(StoreError::io(path, error));
        }
        _ => {}
    }
    match sync(above.unwrap_or_else(|| Path::new("."))) {
        // A user who may create a folder may lack permission to read its parent.
        Err(StoreError::Denied { .. }) => Ok(()),
        synced => synced,
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|error| StoreError::io(path, error))
}
