//! All backups of a folder, and how old ones are deleted: only folders that say themselves that they are
//! backups.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};

use super::contents::Contents;
use super::folder::{CAUSE, TEXT_BYTES_MAX, UNFINISHED, named_by};
use super::{BackupError, BackupId, Backups, Status, disk};
use crate::failpoint::reached;
use crate::regular;
use crate::store::STATUS;
use crate::types::Grow;

/// What names of backups begin and end with that are being deleted.
const DELETED: (&str, &str) = (".", ".old");

/// One backup of a folder.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub id: BackupId,
    /// What became of it.
    pub status: Status,
    /// What it holds, if it is done.
    pub contents: Option<Contents>,
    /// What is wrong with the first file that is missing or has the wrong length, if the backup is done.
    /// The files themselves are not read.
    pub damage: Option<String>,
    /// Bytes that nothing else holds: those that deleting it frees.
    pub own_bytes: u64,
    /// Why it failed, if it did.
    pub cause: Option<String>,
}

impl Backups {
    /// All backups, the oldest first.
    ///
    /// # Errors
    ///
    /// [`BackupError::Io`] if the folder cannot be read; one that is not there has none.
    pub fn list(&self) -> Result<Vec<Listed>, BackupError> {
        let mut listed = Vec::new();
        if !disk::exists(self.dir())? {
            return Ok(listed);
        }
        for path in disk::entries(self.dir())? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let id = named_by(&name, UNFINISHED).or_else(|| name.parse().ok());
            let Some(id) = id.filter(|_| path.is_dir()) else { continue };
            let Some(status) = self.status(&id)? else { continue };
            let done = status == Status::Done;
            let read = done.then(|| {
                let contents = Contents::read(&path)?;
                let checked = contents.check_lengths(&path);
                Ok((contents, checked))
            });
            let (contents, damage) = match read {
                Some(Ok((contents, checked))) => (Some(contents), checked.err()),
                Some(Err(error)) => (None, Some(error)),
                None => (None, None),
            };
            // A lack of permission says nothing about the backup.
            let damage = damage.filter(|error| matches!(error, BackupError::Damaged { .. }));
            if damage.is_some() && self.written_status(&id)?.is_none() {
                // Retention has taken it away meanwhile.
                continue;
            }
            let cause = match self.lost_status(&id)? {
                Some(error) => Some(error.to_string()),
                None => regular::read_text(&path.join(CAUSE), TEXT_BYTES_MAX).ok(),
            };
            listed.push(Listed {
                status,
                contents,
                damage: damage.map(|error| error.to_string()),
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
    /// does one that is being restored, or that does not say what became of it. Returns which;
    /// [`Backups::sweep`] frees what they took.
    ///
    /// # Errors
    ///
    /// [`BackupError::Io`] if the folder cannot be read or written.
    pub(super) fn retain(&self, keep: usize) -> Result<Vec<BackupId>, BackupError> {
        let mut done = 0_usize;
        let mut deleted = Vec::new();
        for listed in self.list()?.into_iter().rev() {
            let made_here = listed.id.micros().is_some();
            let spared = listed.status == Status::InProgress || !made_here;
            if spared || done < keep.max(1) || self.written_status(&listed.id)?.is_none() {
                // One that is damaged, or lacks what was written last, does not take the place of a good one.
                let is_whole = listed.damage.is_none();
                let good = listed.contents.is_some_and(|contents| contents.damaged_log.is_none());
                done.grow(usize::from(good && is_whole));
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
            let old = self.dir().join(format!("{before}{}{behind}", listed.id));
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
        let entries = disk::entries(self.dir())?;
        entries.iter().filter(|path| deleted(path)).try_for_each(|path| disk::remove(path))
    }
}

/// Bytes of all files that have no other name. What is gone meanwhile has none.
fn own_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = disk::files(dir).unwrap_or_default();
    let own = files.iter().filter_map(|path| path.metadata().ok());
    let own = own.filter(|data| data.nlink() == 1);
    own.fold(0, |sum, data| sum.saturating_add(data.len()))
}
