//! A backup → a database in a new place.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::check::{require_done, verify};
use super::contents::Contents;
use super::{BackupError, BackupId, Backups, disk};
use crate::audit;
use crate::failpoint::reached;
use crate::output::{self, InsideDatabase};
use crate::regular;
use crate::store::{STATUS, Store, is_table, link};
use crate::types::Micros;

/// The folder in the new one where the database is until it is whole.
const UNFINISHED: &str = ".restore";

/// The file there that says what is being restored.
const MARK: &str = "mark.json";

/// Bytes of that file at most.
const MARK_BYTES_MAX: u64 = 64 << 10;

/// What is to be restored, and how.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The backup.
    pub id: BackupId,
    /// The folder of the new database: one that is not there, is empty, or has what an interrupted
    /// restore of the same backup left.
    pub to: PathBuf,
    /// Whether tables are copied even where links would do. Links are of the same bytes on the same
    /// disk: what damages one damages both.
    pub copy: bool,
}

/// What an observer of a restore is told.
#[derive(Debug)]
pub enum Event<'a> {
    /// The backup is verified.
    Verifying(audit::Event<'a>),
    /// So many bytes of so many are in their place.
    Copied(u64, u64),
}

/// How far a restore is; one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mark {
    backup: String,
    /// The folder of backups.
    from: PathBuf,
    verified: bool,
}

impl Restore {
    /// Restores the backup until `stop` is set. What was interrupted goes on where it was.
    ///
    /// The database gets its name only when all of it is there and durable.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; nothing is written before the backup is verified, but the mark.
    pub fn run(
        &self,
        backups: &Backups,
        stop: &AtomicBool,
        now: Micros,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<Contents, BackupError> {
        // One that is there already is for `claim` to refuse, or to go on with.
        if let Some(above) = output::real(&self.to).ok().as_deref().and_then(Path::parent) {
            let inside = |error: InsideDatabase| InsideDatabase { path: self.to.clone(), ..error };
            output::outside_databases(above).map_err(inside)?;
        }
        if output::is_within(&self.to, backups.dir()) {
            let (dir, database) = (backups.dir().to_owned(), self.to.clone());
            return Err(BackupError::Around { dir, database });
        }
        require_done(backups, &self.id)?;
        let from = backups.path(&self.id);
        // Retention leaves it alone while this is held.
        let path = from.join(STATUS);
        let held = regular::open(&path).map_err(BackupError::io(&path))?;
        held.lock_shared().map_err(BackupError::io(&path))?;
        let contents = Contents::read(&from)?;
        let (_lock, mut mark) = self.claim(backups)?;
        if !mark.verified {
            let mut tell = |event: audit::Event<'_>| observer(Event::Verifying(event));
            verify(backups, &self.id, stop, now, &mut tell)?;
            mark.verified = true;
            self.write(&mark)?;
            reached("restore/verify/after");
        }
        let unfinished = self.to.join(UNFINISHED);
        // Otherwise only the last step is missing.
        if !disk::exists(&self.to.join("0"))? {
            self.copy(&from, &contents, stop, observer)?;
            reached("restore/copy/after");
            disk::sync_tree(&unfinished)?;
            reached("restore/sync/after");
            contents.check_database(&unfinished)?;
            self.require_unused()?;
            disk::rename(&unfinished.join("0"), &self.to.join("0"))?;
            reached("restore/name/after");
        }
        disk::remove(&unfinished)?;
        reached("restore/remove/after");
        disk::sync(&self.to)?;
        Ok(contents)
    }

    /// That no process goes on with a database that was in this folder: it would answer for the new one,
    /// by name, with what the old one has.
    fn require_unused(&self) -> Result<(), BackupError> {
        match Store::user_of(&self.to) {
            Some(process) => Err(BackupError::InUse { path: self.to.clone(), process }),
            None => Ok(()),
        }
    }

    /// Takes the folder for this restore.
    fn claim(&self, backups: &Backups) -> Result<(File, Mark), BackupError> {
        let unfinished = self.to.join(UNFINISHED);
        let occupied = || BackupError::Occupied { path: self.to.clone() };
        let has_begun = disk::exists(&unfinished)?;
        if !has_begun && disk::exists(&self.to)? && !disk::entries(&self.to)?.is_empty() {
            return Err(occupied());
        }
        self.require_unused()?;
        fs::create_dir_all(&unfinished).map_err(BackupError::io(&unfinished))?;
        reached("restore/folder/after");
        let lock = File::open(&unfinished).map_err(BackupError::io(&unfinished))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BackupError::Restoring(self.to.clone())),
            Err(TryLockError::Error(error)) => return Err(BackupError::io(&unfinished)(error)),
        }
        let from = backups.dir().canonicalize().map_err(BackupError::io(backups.dir()))?;
        let path = unfinished.join(MARK);
        let mark = match regular::read_text(&path, MARK_BYTES_MAX) {
            Ok(text) => serde_json::from_str(&text).map_err(|_| occupied())?,
            // Nothing is copied before there is a mark.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mark =
                    Mark { backup: self.id.to_string(), from: from.clone(), verified: false };
                self.write(&mark)?;
                reached("restore/mark/after");
                mark
            }
            Err(error) => return Err(BackupError::io(&path)(error)),
        };
        if mark.backup == self.id.as_str() && mark.from == from {
            return Ok((lock, mark));
        }
        if mark.verified {
            return Err(BackupError::Other { path: self.to.clone(), id: mark.backup });
        }
        // Nothing of that one was copied: it may be damaged, and this one is chosen instead.
        let mark = Mark { backup: self.id.to_string(), from, verified: false };
        self.write(&mark)?;
        Ok((lock, mark))
    }

    fn write(&self, mark: &Mark) -> Result<(), BackupError> {
        let path = self.to.join(UNFINISHED).join(MARK);
        let text = serde_json::to_string(mark);
        let text = text.map_err(|error| BackupError::io(&path)(error.into()))?;
        disk::replace(&path, &(text + "\n"))
    }

    fn copy(
        &self,
        from: &Path,
        contents: &Contents,
        stop: &AtomicBool,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), BackupError> {
        let links = !self.copy && disk::share_partition(from, &self.to)?;
        let is_linked = |path: &Path| {
            links && is_table(&path.file_name().unwrap_or_default().to_string_lossy())
        };
        let is_there = |path: &Path, bytes: u64| {
            path.metadata().is_ok_and(|data| data.is_file() && data.len() == bytes)
        };
        let mut places = Vec::new();
        for file in &contents.files {
            let target = self.to.join(UNFINISHED).join(&file.path);
            places.push((from.join(&file.path), target, file.bytes));
        }
        let missing =
            places.iter().filter(|(_, path, bytes)| !is_there(path, *bytes) && !is_linked(path));
        let needed = missing.fold(0_u64, |sum, (_, _, bytes)| sum.saturating_add(*bytes));
        disk::require_space(&self.to, needed)?;
        let (mut done, all) = (0_u64, contents.bytes());
        for (source, target, bytes) in places {
            if stop.load(Ordering::Relaxed) {
                return Err(BackupError::Stopped);
            }
            if let Some(folder) = target.parent() {
                fs::create_dir_all(folder).map_err(BackupError::io(folder))?;
            }
            if !is_there(&target, bytes) {
                if is_linked(&target) {
                    reached("restore/link/before");
                    link(&source, &target).map_err(BackupError::io(&target))?;
                    reached("restore/link/after");
                } else {
                    disk::copy(&source, &target, stop)?;
                }
            }
            done = done.saturating_add(bytes);
            observer(Event::Copied(done, all));
        }
        Ok(())
    }
}
