use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::contents::Contents;
use super::folder::Backups;
use super::{BackupError, BackupId, Status, disk, take};
use crate::cause::chain;
use crate::failpoint::reached;
use crate::query::Reader;
use crate::store::STATUS;

/// What a backup is made of.
#[derive(Clone)]
pub enum Origin {
    /// A database that is open here.
    Here(Reader),
    /// The database in a folder, which another process may have open; nothing of it is changed.
    There(PathBuf),
}

/// What is asked of a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Whether it has the databases of Pact as well.
    pub pact: bool,
    /// How many backups that are done are kept, this one among them; all if it is not said, or if
    /// [`Contents::damaged_log`] is.
    pub keep: Option<usize>,
}

/// The one job of a folder of backups. Dropped before it has run, it failed.
#[derive(Debug)]
pub struct Job {
    backups: Backups,
    id: BackupId,
    /// Held as long as the job runs.
    lock: File,
    is_over: bool,
}

impl Job {
    pub(super) const fn new(backups: Backups, id: BackupId, lock: File) -> Self {
        Self { backups, id, lock, is_over: false }
    }

    /// The name of the backup.
    #[must_use]
    pub const fn id(&self) -> &BackupId {
        &self.id
    }

    /// Makes the backup, until `stop` is set.
    ///
    /// # Cost
    ///
    /// Of headers on the same partition: what is in memory is written to tables, then some hundred
    /// links, and opening the copy. Elsewhere, and of Pact: all bytes.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; the job failed then, and what it took is freed.
    pub fn run(
        mut self,
        origin: &Origin,
        request: Request,
        stop: &AtomicBool,
    ) -> Result<Contents, BackupError> {
        // What a crash left takes space that this one may need.
        self.sweep();
        let result = self.make(origin, request, stop);
        self.is_over = true;
        match &result {
            Ok(contents) => self.retain(request.keep, contents),
            Err(error) => self.fail(&chain(error)),
        }
        // Many files take long to delete, and the next job may begin.
        let _ = self.lock.unlock();
        self.sweep();
        result
    }

    fn sweep(&self) {
        if let Err(error) = self.backups.sweep() {
            tracing::error!("what an old backup took cannot be freed: {error}");
        }
    }

    fn make(
        &self,
        origin: &Origin,
        request: Request,
        stop: &AtomicBool,
    ) -> Result<Contents, BackupError> {
        let (draft, path) = (self.backups.draft(&self.id), self.backups.path(&self.id));
        let contents = take::take(origin, &draft, request.pact, stop)?;
        if stop.load(Ordering::Relaxed) {
            return Err(BackupError::Stopped);
        }
        reached("backup/name/before");
        disk::rename(&draft, &path)?;
        reached("backup/name/after");
        disk::replace(&path.join(STATUS), Status::Done.name())?;
        reached("backup/status/after");
        Ok(contents)
    }

    fn fail(&self, cause: &str) {
        if let Err(error) = self.backups.fail(&self.id, cause) {
            tracing::error!(id = %self.id, "what a failed backup left cannot be cleared: {error}");
        }
    }

    /// The backup is done, whatever comes of this. Where it lacks what was written last, older ones may have
    /// more.
    fn retain(&self, keep: Option<usize>, contents: &Contents) {
        if let Some(damage) = &contents.damaged_log {
            tracing::error!(
                id = %self.id,
                "the log of the database is damaged: this backup may lack the last writes, and no older \
                 one is deleted: {damage}"
            );
            return;
        }
        let Some(keep) = keep else { return };
        match self.backups.retain(keep) {
            Ok(deleted) => {
                for id in deleted {
                    tracing::info!(%id, "deleted an old backup");
                }
            }
            Err(error) => tracing::error!("an old backup cannot be deleted: {error}"),
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.is_over {
            self.fail("the job ended before it began");
        }
        // Closing the file would do, were it not for another handle in a child process.
        let _ = self.lock.unlock();
    }
}
