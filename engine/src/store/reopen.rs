use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::directory::Directory;
use super::folder::Folder;
use super::live::Listed;
use super::memory::Memory;
use super::{CacheSizes, Opened, Store, StoreError, options};

impl Store {
    /// [`Store::open_read_only`] with caches of these sizes.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_read_only_with(dir: &Path, sizes: CacheSizes) -> Result<Self, StoreError> {
        let sizes = sizes.fitting()?;
        let folder = Folder::existing(dir, Directory::to_read)?;
        folder.require_no_hole()?;
        folder.report_losses();
        let path = folder.directory.path();
        let memory = Memory::new(sizes);
        let opened = Opened::to_read(path, || options::columns(&memory.blocks))?;
        let (meta, format) = folder.meta(&opened.db)?;
        Self::new(opened, folder, meta, format, memory)
    }

    /// Ends with an error unless `dir` has a database of ours of which every file is there, but perhaps a
    /// log.
    ///
    /// # Errors
    ///
    /// As for [`Store::open_read_only`].
    pub fn check(dir: &Path) -> Result<(), StoreError> {
        Folder::existing(dir, Directory::to_read)?.require_no_hole()
    }

    /// The same database as it is now, with the same caches; `None` if nothing was written since it was
    /// opened. It must have been opened to read. Where its name leads elsewhere by now, this is still
    /// its own folder.
    ///
    /// # Cost
    ///
    /// If nothing was written, one look at the names and lengths of its files. Else that of opening it: every
    /// table is opened, and the log is read.
    ///
    /// # Errors
    ///
    /// As for [`Store::open`].
    pub(crate) fn reopened(&self) -> Result<Option<Self>, StoreError> {
        let path = self.directory.path();
        let before = Listed::now(path);
        if self.listed.as_ref() == Some(&before) {
            return Ok(None);
        }
        let (dir, directory) = (self.dir.clone(), Arc::clone(&self.directory));
        let folder = Folder {
            dir,
            claim: None,
            directory,
            lost_log: None,
            later_logs: Vec::new(),
            cut_log: None,
            losses: None,
        };
        let folder = folder.checked()?;
        if let Some(log) = folder.lost_log {
            return Err(log.into());
        }
        let opened = Opened::to_read(path, || options::columns(&self.memory.blocks))?;
        if let Some(damage) = opened.damaged_log {
            // What is before the damage may be older than what is known.
            let text = format!("the log is damaged: {damage}");
            return Err(self.failure(io::Error::new(ErrorKind::InvalidData, text)));
        }
        let (meta, format) = folder.meta(&opened.db)?;
        let store = Self::new(opened, folder, meta, format, self.memory.clone())?;
        store.require_one_moment()?;
        Ok(Some(store))
    }

    /// That a database that was opened to read is as it was at one moment.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if its writer was too fast for that.
    pub(crate) fn require_one_moment(&self) -> Result<(), StoreError> {
        if self.listed.is_some() {
            return Ok(());
        }
        let text = "the database changes too fast to be read";
        Err(self.failure(io::Error::new(ErrorKind::ResourceBusy, text)))
    }
}
