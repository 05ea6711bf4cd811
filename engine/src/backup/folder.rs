use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::contents::Contents;
use super::{BackupError, BackupId, Job, Status, disk};
use crate::cause::Cause;
use crate::failpoint::reached;
use crate::output;
use crate::regular;
use crate::types::Grow;

/// The file that is locked while a job runs, and holds its name.
const LOCK: &str = ".lock";

/// The file of a failed job that says why it failed.
pub(super) const CAUSE: &str = "error";

/// Bytes of each of these two at most.
const TEXT_BYTES_MAX: u64 = 64 << 10;

/// What names of unfinished backups begin and end with.
const UNFINISHED: (&str, &str) = (".", ".tmp");

/// What names of backups begin and end with that are being deleted.
const DELETED: (&str, &str) = (".", ".old");

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

/// One backup of a folder.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub id: BackupId,
    /// What became of it.
    pub status: Status,
    /// What it holds, if it is done.
    pub contents: Option<Contents>,
    /// Bytes that nothing else holds: those that deleting it frees.
    pub own_bytes: u64,
    /// Why it failed, if it did.
    pub cause: Option<String>,
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
        fs::create_dir_all(&self.dir).map_err(BackupError::io(&self.dir))?;
        let path = self.dir.join(LOCK);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut lock = options.open(&path).map_err(BackupError::io(&path))?;
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
        if path.exists() {
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

    /// What the folder of a backup says. That this user may not read it is no status.
    fn status_of(&self, id: &BackupId) -> Result<Option<Status>, BackupError> {
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
            None => return Ok(None),
            text => text,
        };
        Ok(Some(text.map_or(Status::Failed, |text| Status::from_name(&text))))
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

    /// All backups, the oldest first.
    ///
    /// # Errors
    ///
    /// [`BackupError::Io`] if the folder cannot be read; one that is not there has none.
    pub fn list(&self) -> Result<Vec<Listed>, BackupError> {
        let mut listed = Vec::new();
        if !disk::exists(&self.dir)? {
            return Ok(listed);
        }
        for path in disk::entries(&self.dir)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let id = named_by(&name, UNFINISHED).or_else(|| name.parse().ok());
            let Some(id) = id.filter(|_| path.is_dir()) else { continue };
            let Some(status) = self.status(&id)? else { continue };
            let done = status == Status::Done;
            let cause = regular::read_text(&path.join(CAUSE), TEXT_BYTES_MAX).ok();
            listed.push(Listed {
                status,
                contents: if done { Contents::read(&path).ok() } else { None },
                own_bytes: own_bytes(&path),
                cause: cause.map(|text| text.trim().to_owned()),
                id,
            });
        }
        listed.sort_by(|a, b| (a.id.micros(), &a.id).cmp(&(b.id.micros(), &b.id)));
        Ok(listed)
    }

    /// Takes the names of all backups away that this program made, but of the newest `keep` that are
    /// done, and of failures that are older than those. The newest that is done always stays, and so
    /// does one that is being restored. Returns which; [`Backups::sweep`] frees what they took.
    ///
    /// # Errors
    ///
    /// [`BackupError::Io`] if the folder cannot be read or written.
    pub(super) fn retain(&self, keep: usize) -> Result<Vec<BackupId>, BackupError> {
        let mut done = 0_usize;
        let mut deleted = Vec::new();
        for listed in self.list()?.into_iter().rev() {
            let made_here = listed.id.micros().is_some();
            if listed.status == Status::InProgress || !made_here || done < keep.max(1) {
                done.grow(usize::from(listed.status == Status::Done));
                continue;
            }
            let path = self.path(&listed.id);
            if listed.status == Status::Done {
                let held = regular::open(&path.join(STATUS)).map(|status| status.try_lock());
                if matches!(held, Ok(Err(TryLockError::WouldBlock))) {
                    tracing::warn!(id = %listed.id, "not deleting a backup that is in use");
                    continue;
                }
            }
            let (before, behind) = DELETED;
            let old = self.dir.join(format!("{before}{}{behind}", listed.id));
            reached("backup/retain/before");
            disk::rename(&path, &old)?;
            reached("backup/retain/after");
            deleted.push(listed.id);
        }
        Ok(deleted)
    }

    /// Deletes what has no name any more; another job may do so at the same time.
    ///
    /// # Errors
    ///
    /// [`BackupError::Io`] if something cannot be deleted.
    pub(super) fn sweep(&self) -> Result<(), BackupError> {
        let deleted = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            named_by(&name, DELETED).is_some()
        };
        let entries = disk::entries(&self.dir)?;
        entries.iter().filter(|path| deleted(path)).try_for_each(|path| disk::remove(path))
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

fn named_by(name: &str, (before, behind): (&str, &str)) -> Option<BackupId> {
    name.strip_prefix(before)?.strip_suffix(behind)?.parse().ok()
}

/// Bytes of all files that have no other name. What is gone meanwhile has none.
fn own_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = disk::files(dir).unwrap_or_default();
    let own = files.iter().filter_map(|path| path.metadata().ok());
    let own = own.filter(|data| data.nlink() == 1);
    own.fold(0, |sum, data| sum.saturating_add(data.len()))
}
