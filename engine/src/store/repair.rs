//! Repairs a database that has lost `CURRENT`, or whose `CURRENT` does not name a list of files.
//!
//! `CURRENT` has the name of the list of files, `MANIFEST-000123` for example, and nothing else. It is
//! written again if exactly one list can be meant: the latest one that names all column families and whose
//! tables and blob files all exist with the right lengths. A later list without them was left by a crash, or
//! by a release that created the database again. The database is first opened through hard links in a
//! scratch folder, which RocksDB reads and never writes.
//!
//! RocksDB's own repair, which builds a new list from the tables, is not used: it leaves out blob files, and
//! RocksDB deletes files that are not listed when it opens the database. So a lost list is not rebuilt.
//!
//! - `I-1` No existing file changes until `CURRENT` is renamed into place, and then the database is
//!   repaired. Files that are not listed, which RocksDB would delete, are kept in the folder `lost`.
//! - `I-2` No process has the database open for writing meanwhile.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

use super::directory::Directory;
use super::folder::Folder;
use super::listed::{self, LIST, LOCK, Listed};
use super::live::{self, CURRENT};
use super::losses::{self, LOST, LostLog};
use super::presence::sync;
use super::{Presence, Store, StoreError, torn};
use crate::failpoint::reached;

/// The folder among RocksDB's files for what is not finished.
const SCRATCH: &str = ".repair";

/// A database that opens once `CURRENT` names a list of files that was found.
#[derive(Debug)]
pub struct Repair {
    path: PathBuf,
    list: String,
    listed: Listed,
    /// A log that is missing or was cut.
    lost_log: Option<LostLog>,
    /// Held as long as this lives.
    _locks: Locks,
}

/// What there is to repair.
#[derive(Debug)]
pub enum Found {
    /// A database that can be repaired.
    Repair(Repair),
    /// One whose list of files is the one that `CURRENT` names, and all of whose tables exist.
    Whole {
        /// A log that is missing or was cut: what was written last is lost.
        lost_log: Option<LostLog>,
    },
}

/// Keeps all others from opening the database to write.
#[derive(Debug)]
struct Locks {
    _folder: File,
    _lock: Option<File>,
}

impl Repair {
    /// Finds out how to repair the database in `dir`.
    ///
    /// # Errors
    ///
    /// [`StoreError::MissingFile`], [`StoreError::ListCut`], [`StoreError::Length`] and
    /// [`StoreError::Incomplete`] if it cannot be repaired, and what else is wrong with it: nothing has
    /// changed then.
    pub fn find(dir: &Path) -> Result<Found, StoreError> {
        let path = Store::path(dir);
        let error = match Presence::of(dir) {
            Ok(Presence::Absent) => return Err(StoreError::Missing { dir: dir.to_owned() }),
            Ok(Presence::Unfinished) => return Err(StoreError::Unfinished { path }),
            Ok(Presence::Present) => None,
            Err(error @ StoreError::MissingFile { .. }) => Some(error),
            Err(error) => return Err(error),
        };
        let locks = lock(&path)?;
        // Of a repair that was interrupted.
        remove_scratch(&path)?;
        let error = match error {
            Some(error) => error,
            None => match existing(dir) {
                Ok(Folder { lost_log, later_logs, .. }) => {
                    if let Some(lost) = lost_log.as_ref().filter(|_| !later_logs.is_empty()) {
                        losses::set_aside(&path, &lost.to_string(), &later_logs)?;
                    }
                    return Ok(Found::Whole { lost_log });
                }
                Err(error) => error,
            },
        };
        let Some((list, listed, lost_log)) = latest_list(&path)? else { return Err(error) };
        if live::current(&path).ok().flatten().as_ref() == Some(&list) {
            // It is not the list that is at fault.
            return Err(error);
        }
        Ok(Found::Repair(Self { path, list, listed, lost_log, _locks: locks }))
    }

    /// The name of the list of files.
    #[must_use]
    pub fn list(&self) -> &str {
        &self.list
    }

    /// A log that is missing or was cut: what was written last is lost.
    #[must_use]
    pub const fn lost_log(&self) -> Option<&LostLog> {
        self.lost_log.as_ref()
    }

    /// Makes the database of hard links, to be opened to read; the folder for that.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn linked(&self) -> Result<PathBuf, StoreError> {
        let dir = self.path.join(SCRATCH);
        let to = Store::path(&dir);
        fs::create_dir_all(&to).map_err(|error| StoreError::io(&to, error))?;
        reached("repair/folder/after");
        let listed: BTreeSet<String> = self.listed.files().collect();
        for name in self.names()? {
            let is_other = self.is_other_list(&name);
            let is_unlisted = live::is_table(&name) && !listed.contains(&name);
            if is_other || is_unlisted || matches!(name.as_str(), CURRENT | LOCK) {
                continue;
            }
            hard_link(&self.path.join(&name), &to.join(&name))?;
            reached("repair/link/after");
        }
        let current = to.join(CURRENT);
        fs::write(&current, self.current()).map_err(|error| StoreError::io(&current, error))?;
        Ok(dir)
    }

    /// Repairs the database: the names of what is kept in the folder `lost`.
    ///
    /// # Errors
    ///
    /// What the system says. The database is as it was then, or repaired.
    pub fn apply(self) -> Result<Vec<PathBuf>, StoreError> {
        let kept = self.keep_unlisted()?;
        let (draft, current) = (self.path.join(SCRATCH).join(CURRENT), self.path.join(CURRENT));
        let written = File::create(&draft).and_then(|mut file| {
            file.write_all(self.current().as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| StoreError::io(&draft, error))?;
        reached("repair/rename/before");
        fs::rename(&draft, &current).map_err(|error| StoreError::io(&current, error))?;
        reached("repair/rename/after");
        sync(&self.path)?;
        // RocksDB leaves a later list alone, and it would be in the way of another repair.
        for name in self.names()?.iter().filter(|name| self.is_other_list(name)) {
            let file = self.path.join(name);
            fs::remove_file(&file).map_err(|error| StoreError::io(&file, error))?;
        }
        remove_scratch(&self.path)?;
        Ok(kept)
    }

    /// Changes nothing after all.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn abandon(self) -> Result<(), StoreError> {
        remove_scratch(&self.path)
    }

    fn current(&self) -> String {
        format!("{}\n", self.list)
    }

    fn is_other_list(&self, name: &str) -> bool {
        name.starts_with(LIST) && name != self.list
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        let mut names =
            live::listing(&self.path).map_err(|error| StoreError::io(&self.path, error))?;
        names.sort();
        Ok(names)
    }

    /// Links what RocksDB will delete into the folder `lost`: tables that the list does not name, other lists,
    /// and what `CURRENT` was.
    fn keep_unlisted(&self) -> Result<Vec<PathBuf>, StoreError> {
        let listed: BTreeSet<String> = self.listed.files().collect();
        let mut kept = Vec::new();
        for name in self.names()? {
            let is_other = name == CURRENT || self.is_other_list(&name);
            if !is_other && (!live::is_table(&name) || listed.contains(&name)) {
                continue;
            }
            let lost = losses::folder(&self.path)?;
            hard_link(&self.path.join(&name), &lost.join(&name))?;
            reached("repair/keep/after");
            kept.push(lost.join(&name));
        }
        if !kept.is_empty() {
            sync(&self.path.join(LOST))?;
            sync(&self.path)?;
        }
        Ok(kept)
    }
}

/// Opens the folder of a database whose log is cut if a crash of the machine left its end. It is locked.
fn existing(dir: &Path) -> Result<Folder, StoreError> {
    let opened = Folder::existing(dir, Directory::to_read);
    let torn = opened.as_ref().err().and_then(|error| error.of_unsynced(dir));
    let Some((log, at)) = torn else { return opened };
    torn::cut_unsynced(&log, at)?;
    Folder::existing(dir, Directory::to_read)
}

/// The latest list of files that the database at `path` opens with, and the log that is missing then.
fn latest_list(path: &Path) -> Result<Option<(String, Listed, Option<LostLog>)>, StoreError> {
    let io = |error| StoreError::io(path, error);
    let mut lists: Vec<(u64, String)> = Vec::new();
    for name in live::listing(path).map_err(io)? {
        let number = name.strip_prefix(LIST).and_then(|number| number.parse().ok());
        lists.extend(number.map(|number| (number, name)));
    }
    lists.sort();
    let mut has_later = false;
    for (_, name) in lists.into_iter().rev() {
        let file = path.join(&name);
        let listed = listed::read(&file).map_err(|error| StoreError::io(&file, error))?;
        // Of a later one that is damaged nobody knows what it named.
        let Some(listed) = listed else { return Ok(None) };
        if !listed.is_complete() {
            has_later = true;
            continue;
        }
        let gap = listed.gap(path).map_err(io)?;
        let lost_log = gap.map(|gap| gap.tolerated(&file)).transpose()?.map(|(lost, _)| lost);
        let files: BTreeSet<String> = listed.files().collect();
        let names = live::listing(path).map_err(io)?;
        let has_unlisted = names.iter().any(|name| live::is_table(name) && !files.contains(name));
        // What the later one named may be among them.
        if has_later && has_unlisted {
            return Ok(None);
        }
        return Ok(Some((name, listed, lost_log)));
    }
    Ok(None)
}

/// Locks the database at `path`, as opening it for writing does.
fn lock(path: &Path) -> Result<Locks, StoreError> {
    let locked = || StoreError::Locked { path: path.to_owned() };
    let folder = File::open(path).map_err(|error| StoreError::io(path, error))?;
    match folder.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(locked()),
        // Not all file systems can.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    let file = path.join(LOCK);
    let lock = match OpenOptions::new().read(true).write(true).open(&file) {
        // Nobody has ever written to it, or that was lost as well.
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        opened => Some(opened.map_err(|error| StoreError::io(&file, error))?),
    };
    if let Some(lock) = &lock {
        match fcntl_lock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::AGAIN | Errno::ACCESS) => return Err(locked()),
            tried => tried.map_err(|error| StoreError::io(&file, error.into()))?,
        }
    }
    Ok(Locks { _folder: folder, _lock: lock })
}

fn hard_link(from: &Path, to: &Path) -> Result<(), StoreError> {
    match fs::hard_link(from, to) {
        // By a repair that was interrupted.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked.map_err(|error| StoreError::io(to, error)),
    }
}

fn remove_scratch(path: &Path) -> Result<(), StoreError> {
    let scratch = path.join(SCRATCH);
    match fs::remove_dir_all(&scratch) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::io(&scratch, error)),
        _ => {
            reached("repair/remove/after");
            Ok(())
        }
    }
}
