use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::claim::Claim;
use super::directory::Directory;
use super::{Store, StoreError, own, records};

/// The folder of a database that is to be opened.
pub(super) struct Folder {
    /// As it was named.
    pub(super) dir: PathBuf,
    pub(super) claim: Option<Claim>,
    pub(super) directory: Arc<Directory>,
}

impl Folder {
    /// Opens the folder of a database of ours.
    pub(super) fn existing(
        dir: &Path,
        open: impl FnOnce(&Path) -> io::Result<Directory>,
    ) -> Result<Self, StoreError> {
        let folder = match Self::open(dir, open) {
            Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Err(StoreError::Missing { dir: dir.to_owned() });
            }
            folder => folder?,
        };
        folder.check()?;
        Ok(folder)
    }

    /// That it holds a database of ours.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let path = self.directory.path();
        if !path.join("CURRENT").exists() {
            return Err(StoreError::Missing { dir: self.dir.clone() });
        }
        records::check(path)?;
        own::check(path)
    }

    pub(super) fn open(
        dir: &Path,
        open: impl FnOnce(&Path) -> io::Result<Directory>,
    ) -> Result<Self, StoreError> {
        let path = Store::path(dir);
        let directory = open(&path).map_err(|source| StoreError::Io { path, source })?;
        Ok(Self { dir: dir.to_owned(), claim: None, directory: Arc::new(directory) })
    }

    /// The same for this process to write in it.
    pub(super) fn claimed(self) -> Result<Self, StoreError> {
        let claim = Some(Claim::new(&self.directory)?);
        Ok(Self { claim, ..self })
    }
}
