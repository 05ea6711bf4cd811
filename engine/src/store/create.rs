use std::path::Path;

use rocksdb::DB;

use super::directory::Directory;
use super::folder::{Folder, require_no_backup};
use super::memory::Memory;
use super::presence::{Begun, Creation};
use super::{Batch, CacheSizes, FORMAT_VERSION, Meta, Opened, Store, StoreError, options, own};
use crate::failpoint::reached;

impl Store {
    /// Makes a database in `dir` with what `first` puts there. There must be nothing, or what an interrupted
    /// creation left; one that was interrupted at its very end is opened as it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::Occupied`] if something else is there, [`StoreError::Backup`] if it is a backup that
    /// has lost its database, and [`StoreError`] if the folder cannot be
    /// written.
    pub fn create(
        dir: &Path,
        meta: Meta,
        first: impl FnOnce(&Self, &mut Batch),
    ) -> Result<Self, StoreError> {
        let sizes = CacheSizes::default().fitting()?;
        require_no_backup(dir)?;
        let creation = match Creation::begin(dir, Self::is_whole)? {
            Begun::New(creation) => creation,
            Begun::Whole(creation) => {
                creation.end()?;
                return Self::open(dir);
            }
        };
        let folder = Folder::open(dir, Directory::to_write)?.claimed()?;
        let path = folder.directory.path();
        let mut options = options::writing(path);
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let memory = Memory::new(sizes);
        let db = DB::open_cf_descriptors(&options, path, options::columns(&memory.blocks));
        let db = db.map_err(|e| StoreError::opening(path, e))?;
        reached("create/tables/after");
        let opened = Opened::whole(db);
        let store = Self::new(opened, folder, meta, FORMAT_VERSION, memory)?;
        let mut batch = Batch::default();
        batch.put_meta(&store, store.meta());
        first(&store, &mut batch);
        store.write(batch)?;
        reached("create/rows/after");
        store.sync()?;
        creation.end()?;
        Ok(store)
    }

    /// Whether the database at `path` opens and has its settings. It need not have any file.
    fn is_whole(path: &Path) -> bool {
        let blocks = options::cache(0);
        own::check(path).is_ok()
            && Opened::to_read(path, || options::columns(&blocks))
                .is_ok_and(|opened| Meta::read(&opened.db, path).is_ok())
    }
}
