use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::{BackupError, BackupId, Job, Status, disk};
use crate::cause::Cause;
use crate::failpoint::reached;
use crate::output::{self, NewFolders};
use crate::regular;
use crate::store::{CONTENTS, STATUS};

/// The file that is locked while a job runs, and holds its name.
const LOCK: &str = ".lock";

/// The file of a failed job that says why it failed.
pub(super) const CAUSE: &str = "error";

/// Bytes of each of these two at most.
pub(super) const TEXT_BYTES_MAX: u64 = 64 << 10;

/// What names of unfinished backups begin and end with.
pub(super) const UNFINISHED: (&str, &str) = (".", ".tmp");

/// How often a lock is tried that somebody holds without being a job.
const LOCK_TRIES: u32 = 100;

/// The time between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Why a job failed whose process ended.
const INTERRUPTED: &str = "the process ended before the backup was done";

/// A folder of backups.
///
/// # Shape
///
/// `{id}/status`, `{id}/contents.json` and `{id}/0/...` for each, `{id}/status` and `{id}/error` for
/// one that failed; names with a dot in front are of jobs that run.
#[derive(Clone, Debug)]
pub struct Backups {
    dir: PathBuf,
}

/// What [`Backups::begin`] gives.
#[derive(Debug)]
pub enum Begun {
    /// A new job, to be run.
    Started(Job),
    /// Another job runs, of this process or of another one.
    Running(BackupId),
}

impl Backups {
    /// The backups in `dir`, which need not be there yet.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Where a database keeps its backups unless something else is said.
    #[must_use]
    pub fn default_dir(db: &Path) -> PathBuf {
        db.join("backups")
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Begins a job, unless one runs. What jobs of processes left that ended is cleared away.
    ///
    /// # Errors
    ///
    /// [`BackupError::Io`] if the folder cannot be written.
    pub fn begin(&self) -> Result<Begun, BackupError> {
        output::outside_tables(&self.dir)?;
        let new = NewFolders::make(&self.dir).map_err(BackupError::io(&self.dir))?;
        let path = self.dir.join(LOCK);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let lock = options.open(&path).inspect_err(|_| new.remove_empty());
        let mut lock = lock.map_err(BackupError::io(&path))?;
        for _ in 0..LOCK_TRIES {
            match lock.try_lock() {
                Ok(()) => return self.start(lock).map(Begun::Started),
                Err(TryLockError::Error(error)) => return Err(BackupError::io(&path)(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            if let Some(id) = self.named(&mut lock)?
                && self.is_under_way(&id)?
            {
                return Ok(Begun::Running(id));
            }
            // Somebody only looks whether a job runs, or one is about to begin or to end.
            thread::sleep(LOCK_PAUSE);
        }
        Err(BackupError::io(&path)(ErrorKind::ResourceBusy.into()))
    }

    fn start(&self, mut lock: File) -> Result<Job, BackupError> {
        self.clear()?;
        let mut id = BackupId::after(self.newest()?);
        while self.path(&id).exists() {
            id = BackupId::after(None);
        }
        let path = self.dir.join(LOCK);
        let named = lock.set_len(0).and_then(|()| lock.rewind());
        let named = named.and_then(|()| lock.write_all(id.as_str().as_bytes()));
        named.map_err(BackupError::io(&path))?;
        reached("backup/lock/after");
        let draft = self.draft(&id);
        fs::create_dir(&draft).map_err(BackupError::io(&draft))?;
        reached("backup/draft/after");
        disk::replace(&draft.join(STATUS), Status::InProgress.name())?;
        disk::sync(&self.dir)?;
        reached("backup/begin/after");
        Ok(Job::new(self.clone(), id, lock))
    }

    /// The greatest name that this program has given.
    fn newest(&self) -> Result<Option<u64>, BackupError> {
        let entries = disk::entries(&self.dir)?;
        let names = entries.iter().filter_map(|path| path.file_name()?.to_str());
        let ids = names.filter_map(|name| named_by(name, UNFINISHED).or_else(|| name.parse().ok()));
        Ok(ids.filter_map(|id: BackupId| id.micros()).max())
    }

    /// Makes failures of what jobs left whose process ended. Nobody else may run one.
    fn clear(&self) -> Result<(), BackupError> {
        for path in disk::entries(&self.dir)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Some(id) = named_by(&name, UNFINISHED) {
                self.fail(&id, INTERRUPTED)?;
            } else if let Ok(id) = name.parse::<BackupId>()
                && self.status_of(&id)? == Some(Status::InProgress)
            {
                self.fail(&id, INTERRUPTED)?;
            }
        }
        Ok(())
    }

    /// Notes that a job failed, and frees what it took.
    pub(super) fn fail(&self, id: &BackupId, cause: &str) -> Result<(), BackupError> {
        let (draft, path) = (self.draft(id), self.path(id));
        reached("backup/fail/before");
        if self.written_status(id)?.is_some() {
            // Under the name of what is in the making the next job finds it, wherever this one ends.
            disk::rename(&path, &draft)?;
        }
        // Not a whole backup any more, whatever is removed of it.
        disk::replace(&draft.join(STATUS), Status::Failed.name())?;
        reached("backup/fail/status");
        disk::remove(&draft.join("0"))?;
        reached("backup/fail/removed");
        disk::replace(&draft.join(CAUSE), &format!("{cause}\n"))?;
        reached("backup/fail/cause");
        disk::rename(&draft, &path)?;
        reached("backup/fail/after");
        Ok(())
    }

    /// What became of a job; `None` if there was none. One that is said to be done is so after a
    /// crash as well.
    ///
    /// # Errors
    ///
    /// [`BackupError::Io`] if the folder cannot be read.
    pub fn status(&self, id: &BackupId) -> Result<Option<Status>, BackupError> {
        let status = self.visible_status(id)?;
        if status != Some(Status::Done) {
            return Ok(status);
        }
        // The job gives the file its name, then makes the name durable: it may be between the two,
        // or its process may have ended there.
        match disk::sync_names(&self.path(id)) {
            // Retention has deleted it meanwhile.
            Err(BackupError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                self.visible_status(id)
            }
            synced => synced.map(|()| status),
        }
    }

    /// What a job says of itself, durable or not.
    fn visible_status(&self, id: &BackupId) -> Result<Option<Status>, BackupError> {
        // A job that ends takes away one name and gives the other meanwhile.
        for _ in 0..2 {
            if let Some(status) = self.status_of(id)? {
                let ended = status == Status::InProgress && !self.runs(id)?;
                // Or it has ended since, and its status is another one now.
                let now = if ended { self.status_of(id)? } else { Some(status) };
                return Ok(Some(match now {
                    Some(Status::InProgress) if ended => Status::Failed,
                    Some(status) => status,
                    None => Status::Failed,
                }));
            }
            if self.draft(id).exists() {
                if self.runs(id)? {
                    return Ok(Some(Status::InProgress));
                }
                if self.draft(id).exists() {
                    return Ok(Some(Status::Failed));
                }
            }
        }
        Ok(None)
    }

    /// What became of a backup by its folder: `None` if that is none of a backup. One that does not say what
    /// became of it is no good one.
    fn status_of(&self, id: &BackupId) -> Result<Option<Status>, BackupError> {
        match self.written_status(id)? {
            None if self.lacks_status(id)? => Ok(Some(Status::Failed)),
            status => Ok(status),
        }
    }

    /// Whether a backup has a list of its contents and no status.
    fn lacks_status(&self, id: &BackupId) -> Result<bool, BackupError> {
        let has_contents = || self.path(id).join(CONTENTS).exists();
        // A job that ends gives the folder its name meanwhile, or retention takes it away.
        Ok(has_contents() && self.written_status(id)?.is_none() && has_contents())
    }

    /// That a backup has lost the file that says what became of it, if it has. Whatever else is missing then,
    /// it is never deleted.
    ///
    /// # Errors
    ///
    /// [`BackupError::Io`] if the folder cannot be read.
    pub fn lost_status(&self, id: &BackupId) -> Result<Option<BackupError>, BackupError> {
        if !self.lacks_status(id)? {
            return Ok(None);
        }
        let path = self.path(id).join(STATUS);
        let what = if path.exists() { "is not the status of a backup" } else { "is missing" };
        Ok(Some(BackupError::Damaged { path, what: what.to_owned() }))
    }

    /// What the file of a backup says. That this user may not read it is no status.
    pub(super) fn written_status(&self, id: &BackupId) -> Result<Option<Status>, BackupError> {
        let path = self.path(id);
        let status = path.join(STATUS);
        let read = || match regular::read_text(&status, TEXT_BYTES_MAX) {
            Ok(text) => Ok(Some(text)),
            Err(error) if is_trouble(&error) => Err(BackupError::io(&status)(error)),
            Err(_) => Ok(None),
        };
        let text = match read()? {
            // The folder may have got its name since, with the status in it.
            None if path.is_dir() => read()?,
            text => text,
        };
        Ok(text.and_then(|text| Status::from_name(&text)))
    }

    /// Whether a job of this name runs, in whatever process.
    fn runs(&self, id: &BackupId) -> Result<bool, BackupError> {
        Ok(self.running()?.as_ref() == Some(id))
    }

    /// The job that runs, if any.
    ///
    /// # Errors
    ///
    /// [`BackupError::Io`] if the folder cannot be read.
    pub fn running(&self) -> Result<Option<BackupId>, BackupError> {
        let path = self.dir.join(LOCK);
        let mut lock = match regular::open(&path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BackupError::io(&path)(error)),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => self.named(&mut lock),
            Err(TryLockError::Error(error)) => Err(BackupError::io(&path)(error)),
        }
    }

    /// The name in the lock file.
    fn named(&self, lock: &mut File) -> Result<Option<BackupId>, BackupError> {
        let mut text = String::new();
        let read = lock.rewind().and_then(|()| lock.take(256).read_to_string(&mut text));
        read.map_err(BackupError::io(&self.dir.join(LOCK)))?;
        Ok(text.parse().ok())
    }

    fn is_under_way(&self, id: &BackupId) -> Result<bool, BackupError> {
        Ok(self.draft(id).exists() || self.status_of(id)? == Some(Status::InProgress))
    }

    /// The folder of a backup.
    #[must_use]
    pub fn path(&self, id: &BackupId) -> PathBuf {
        self.dir.join(id.as_str())
    }

    /// The folder of a backup in the making.
    pub(super) fn draft(&self, id: &BackupId) -> PathBuf {
        let (before, behind) = UNFINISHED;
        self.dir.join(format!("{before}{id}{behind}"))
    }
}

/// Whether an error when reading says something other than that there is no such file.
fn is_trouble(error: &io::Error) -> bool {
    matches!(Cause::of(error), Cause::Permission | Cause::Device | Cause::OpenFiles | Cause::Memory)
}

pub(super) fn named_by(name: &str, (before, behind): (&str, &str)) -> Option<BackupId> {
    name.strip_prefix(before)?.strip_suffix(behind)?.parse().ok()
}
