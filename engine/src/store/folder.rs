use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::DB;

use super::claim::Claim;
use super::directory::{Directory, shown_path};
use super::listed::Checked;
use super::logs::number;
use super::losses::{self, Losses, LostLog};
use super::synced::Length;
use super::torn::Cut;
use super::{
    Meta, Opened, Presence, Store, StoreError, listed, options, own, records, synced, torn,
};

/// The file of a backup that says what became of it.
pub(crate) const STATUS: &str = "status";

/// The file of a backup that says what it holds.
pub(crate) const CONTENTS: &str = "contents.json";

/// Ends with an error if `dir` is a backup, which is only to be read.
pub(super) fn require_no_backup(dir: &Path) -> Result<(), StoreError> {
    if [STATUS, CONTENTS].iter().all(|name| dir.join(name).exists()) {
        return Err(StoreError::Backup { dir: dir.to_owned() });
    }
    Ok(())
}

/// The folder of a database that is to be opened.
pub(super) struct Folder {
    /// As it was named.
    pub(super) dir: PathBuf,
    pub(super) claim: Option<Claim>,
    pub(super) directory: Arc<Directory>,
    /// A log that is missing or was cut.
    pub(super) lost_log: Option<LostLog>,
    /// Logs after it that are not empty.
    pub(super) later_logs: Vec<PathBuf>,
    /// A log that ends in the middle of a record that was not synced.
    pub(super) cut_log: Option<Cut>,
    /// Writes that were lost before.
    pub(super) losses: Option<Losses>,
}

impl Folder {
    /// Opens the folder of a database of ours.
    pub(super) fn existing(
        dir: &Path,
        open: impl FnOnce(&Path) -> io::Result<Directory>,
    ) -> Result<Self, StoreError> {
        match Presence::of(dir)? {
            Presence::Absent => return Err(StoreError::Missing { dir: dir.to_owned() }),
            Presence::Unfinished => {
                return Err(StoreError::Unfinished { path: Store::path(dir) });
            }
            Presence::Present => {}
        }
        let folder = match Self::open(dir, open) {
            Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Err(StoreError::Missing { dir: dir.to_owned() });
            }
            folder => folder?,
        };
        folder.checked()
    }

    /// The same, which holds a database of ours of which every file is there, but perhaps a log.
    pub(super) fn checked(self) -> Result<Self, StoreError> {
        let path = self.directory.path();
        records::check(path)?;
        let Checked { lost_log, later_logs, has_tables } = listed::check(path)?;
        own::check(path)?;
        let (mut lost_log, mut cut_log) = (lost_log, torn::cut(path));
        // A crash does not take what was synced.
        let of_synced = cut_log.as_ref().and_then(|cut| {
            let (got, expected) = (cut.at, Length::synced(path, number(&cut.log)?)?);
            let path = cut.log.clone();
            (got < expected).then_some(LostLog::Short { path, got, expected })
        });
        if of_synced.is_some() {
            cut_log = None;
            lost_log = lost_log.or(of_synced);
        }
        let folder = Self { lost_log, later_logs, cut_log, losses: losses::read(path), ..self };
        if !has_tables || folder.lost_log.is_some() {
            // Its settings may be in a log that is lost. RocksDB would write to it before they are read.
            let blocks = options::cache(0);
            let opened = Opened::to_read(folder.directory.path(), || options::columns(&blocks))?;
            folder.meta(&opened.db)?;
        }
        Ok(folder)
    }

    /// What the database says of itself, and its format version.
    ///
    /// # Errors
    ///
    /// [`StoreError::MissingFile`] or [`StoreError::Io`] if that was in a log that is missing or was cut.
    pub(super) fn meta(&self, db: &DB) -> Result<(Meta, u32), StoreError> {
        match (Meta::read(db, self.directory.path()), &self.lost_log) {
            (Err(StoreError::Incomplete { .. }), Some(log)) => Err(log.clone().into()),
            (read, _) => read,
        }
    }

    /// Makes sure that no log follows one that is missing or incomplete: RocksDB would read it.
    ///
    /// # Errors
    ///
    /// [`StoreError::LogHole`].
    pub(super) fn require_no_hole(&self) -> Result<(), StoreError> {
        match (&self.lost_log, self.later_logs.first()) {
            (Some(lost), Some(next)) => {
                Err(StoreError::LogHole { lost: lost.clone(), next: next.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Reports writes that were lost before, and those that are lost now, except for damage in the middle
    /// of a log.
    pub(super) fn report_losses(&self) {
        if let Some(losses) = &self.losses {
            losses.report();
        }
        let path = self.directory.path();
        if synced::is_damaged(path) {
            let mark = shown_path(&path.join(synced::MARK));
            tracing::warn!(
                "{mark} is damaged: a log that was cut is not noticed before the next sync"
            );
        }
        if let Some(Cut { log, bytes, .. }) = &self.cut_log {
            tracing::warn!(
                "{} ends with {bytes} bytes of an incomplete record: the machine crashed, or the file was \
                 cut. If it was cut, the writes after that are lost: replay, push or follow them again",
                shown_path(log)
            );
        }
        if let Some(lost) = &self.lost_log {
            tracing::error!("{lost}; the last writes are lost: replay, push or follow them again");
        }
    }

    pub(super) fn open(
        dir: &Path,
        open: impl FnOnce(&Path) -> io::Result<Directory>,
    ) -> Result<Self, StoreError> {
        let path = Store::path(dir);
        let directory = open(&path).map_err(|source| StoreError::Io { path, source })?;
        Ok(Self {
            dir: dir.to_owned(),
            claim: None,
            directory: Arc::new(directory),
            lost_log: None,
            later_logs: Vec::new(),
            cut_log: None,
            losses: None,
        })
    }

    /// The same for this process to write in it.
    pub(super) fn claimed(self) -> Result<Self, StoreError> {
        let claim = Some(Claim::new(&self.directory)?);
        Ok(Self { claim, ..self })
    }
}
