//! A backup → a database in a new place.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::check::{require_done, verify};
use super::contents::{Contents, FileEntry};
use super::{BackupError, BackupId, Backups, disk};
use crate::audit;
use crate::failpoint::reached;
use crate::output::{self, InsideDatabase, NewFolders};
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
    /// restore of the same backup left. A restore that was killed before its backup was verified leaves
    /// nothing that another backup could not use.
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

/// The folder of a restore, which no other may use meanwhile.
struct Claim {
    lock: File,
    mark: Mark,
    /// What was made for it.
    new: NewFolders,
}

impl Restore {
    /// Restores the backup until `stop` is set. What was interrupted goes on where it was.
    ///
    /// The database gets its name only when all of it is there and durable.
    ///
    /// # Errors
    ///
    /// [`BackupError`]. Until the backup is verified, only the mark is written; it is removed again
    /// if the verification fails.
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
        // Verification takes hours, and a missing file shows at once.
        contents.check_lengths(&from)?;
        let Claim { lock: _lock, mut mark, new } = self.claim(backups, &contents)?;
        if !mark.verified {
            let mut tell = |event: audit::Event<'_>| observer(Event::Verifying(event));
            let places = self.places(&from, &contents);
            let ready = places.and_then(|places| self.require_space(&places));
            let ready = ready.and_then(|()| verify(backups, &self.id, stop, now, &mut tell));
            if let Err(error) = ready {
                self.give_up(&new);
                return Err(error);
            }
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
    fn claim(&self, backups: &Backups, contents: &Contents) -> Result<Claim, BackupError> {
        let unfinished = self.to.join(UNFINISHED);
        let has_begun = disk::exists(&unfinished)?;
        if !has_begun && disk::exists(&self.to)? && !disk::entries(&self.to)?.is_empty() {
            return Err(BackupError::Occupied { path: self.to.clone() });
        }
        self.require_unused()?;
        let new = NewFolders::make(&unfinished).map_err(BackupError::io(&unfinished))?;
        reached("restore/folder/after");
        let claimed = self.lock().and_then(|lock| Ok((lock, self.mark(backups, contents)?)));
        match claimed {
            Ok((lock, mark)) => Ok(Claim { lock, mark, new }),
            Err(error) => {
                new.remove_empty();
                Err(error)
            }
        }
    }

    /// Keeps other restores away from the folder as long as the file is open.
    fn lock(&self) -> Result<File, BackupError> {
        let unfinished = self.to.join(UNFINISHED);
        let lock = File::open(&unfinished).map_err(BackupError::io(&unfinished))?;
        match lock.try_lock() {
            // A restore that ended meanwhile has removed the folder: this lock protects nothing.
            Ok(()) if disk::is_at(&lock, &unfinished) => Ok(lock),
            Ok(()) | Err(TryLockError::WouldBlock) => Err(BackupError::Restoring(self.to.clone())),
            Err(TryLockError::Error(error)) => Err(BackupError::io(&unfinished)(error)),
        }
    }

    /// How far the restore of this backup is; it begins here if it did not before.
    ///
    /// Only a mark that says `verified` binds the folder to its backup: nothing is copied before that.
    /// Any other mark was left by a restore that was killed early, and any backup may replace it.
    ///
    /// ```text
    /// mark of           verified   this backup          another one
    /// none, no 0/       -          begins               begins
    /// none, with 0/     -          lacks its last step  the folder is not empty
    /// some              no         goes on              begins
    /// some              yes        goes on              is refused
    /// ```
    fn mark(&self, backups: &Backups, contents: &Contents) -> Result<Mark, BackupError> {
        let occupied = || BackupError::Occupied { path: self.to.clone() };
        let from = backups.dir().canonicalize().map_err(BackupError::io(backups.dir()))?;
        let mut mark = Mark { backup: self.id.to_string(), from, verified: false };
        let path = self.to.join(UNFINISHED).join(MARK);
        let found: Option<Mark> = match regular::read_text(&path, MARK_BYTES_MAX) {
            Ok(text) => Some(serde_json::from_str(&text).map_err(|_| occupied())?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(BackupError::io(&path)(error)),
        };
        match found {
            Some(found) if found.backup == mark.backup && found.from == mark.from => Ok(found),
            Some(found) if found.verified => {
                Err(BackupError::Other { path: self.to.clone(), id: found.backup })
            }
            None if disk::exists(&self.to.join("0"))? => {
                // The last step removes the mark first: a crash may have followed.
                match contents.check_database(&self.to) {
                    Ok(()) => mark.verified = true,
                    Err(BackupError::Differs { .. }) => return Err(occupied()),
                    Err(error) => return Err(error),
                }
                Ok(mark)
            }
            Some(_) | None => {
                self.write(&mark)?;
                reached("restore/mark/after");
                Ok(mark)
            }
        }
    }

    /// Removes what this restore has made so far; it has not copied anything yet. What cannot be
    /// removed does no harm.
    fn give_up(&self, new: &NewFolders) {
        let unfinished = self.to.join(UNFINISHED);
        let _ = fs::remove_file(unfinished.join(MARK));
        let _ = fs::remove_dir(&unfinished);
        new.remove_empty();
    }

    fn write(&self, mark: &Mark) -> Result<(), BackupError> {
        let path = self.to.join(UNFINISHED).join(MARK);
        let text = serde_json::to_string(mark);
        let text = text.map_err(|error| BackupError::io(&path)(error.into()))?;
        disk::replace(&path, &(text + "\n"))
    }

    /// Where every file comes from and goes to.
    fn places(&self, from: &Path, contents: &Contents) -> Result<Vec<FilePlace>, BackupError> {
        let links = !self.copy && disk::share_partition(from, &self.to)?;
        let place = |file: &FileEntry| {
            let (source, target) = (from.join(&file.path), self.to.join(UNFINISHED));
            let target = target.join(&file.path);
            let name = target.file_name().unwrap_or_default().to_string_lossy();
            let is_linked = links && is_table(&name);
            FilePlace { source, target, bytes: file.bytes, is_linked }
        };
        Ok(contents.files.iter().map(place).collect())
    }

    /// Ends with an error if there is no room for the files that are to be copied.
    fn require_space(&self, places: &[FilePlace]) -> Result<(), BackupError> {
        let copied = places.iter().filter(|place| !place.is_linked && !place.is_there());
        let needed = copied.fold(0_u64, |sum, place| sum.saturating_add(place.bytes));
        disk::require_space(&self.to, needed)
    }

    fn copy(
        &self,
        from: &Path,
        contents: &Contents,
        stop: &AtomicBool,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), BackupError> {
        let places = self.places(from, contents)?;
        // Checked again: this may continue an interrupted restore, or others took room meanwhile.
        self.require_space(&places)?;
        let (mut done, all) = (0_u64, contents.bytes());
        for place in places {
            if stop.load(Ordering::Relaxed) {
                return Err(BackupError::Stopped);
            }
            let FilePlace { source, target, bytes, is_linked } = &place;
            if let Some(folder) = target.parent() {
                fs::create_dir_all(folder).map_err(BackupError::io(folder))?;
            }
            if !place.is_there() {
                if *is_linked {
                    reached("restore/link/before");
                    link(source, target).map_err(BackupError::io(target))?;
                    reached("restore/link/after");
                } else {
                    disk::copy(source, target, stop)?;
                }
            }
            done = done.saturating_add(*bytes);
            observer(Event::Copied(done, all));
        }
        Ok(())
    }
}

/// A file of a backup, and where it goes.
struct FilePlace {
    source: PathBuf,
    target: PathBuf,
    bytes: u64,
    /// Whether it gets another name there, which takes no room.
    is_linked: bool,
}

impl FilePlace {
    fn is_there(&self) -> bool {
        self.target.metadata().is_ok_and(|data| data.is_file() && data.len() == self.bytes)
    }
}
