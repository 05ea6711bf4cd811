use std::mem;
use std::ops::Deref;
use std::sync::Arc;

use rocksdb::DB;

use super::directory::Directory;

/// A database that RocksDB has open, and closes when this is dropped.
///
/// To close a database is to write: where RocksDB does not find its list of files as it left it, it writes a
/// new one, and deletes all tables that are not on it. If the files of the folder were replaced by those of
/// another database, that would destroy it. Then RocksDB is left as it is, and the process ends with it: what
/// was acknowledged was in the files that are gone.
pub(super) struct Held {
    /// There until it is dropped.
    db: Option<DB>,
    directory: Arc<Directory>,
}

impl Held {
    pub(super) const fn new(db: DB, directory: Arc<Directory>) -> Self {
        Self { db: Some(db), directory }
    }
}

impl Deref for Held {
    type Target = DB;

    #[expect(clippy::expect_used, reason = "only a drop takes it out")]
    fn deref(&self) -> &DB {
        self.db.as_ref().expect("the database is open")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.directory.is_locked() {
            return;
        }
        tracing::error!(
            "{}: the files of the database were replaced or removed while it was open; they are left \
             as they are",
            self.directory.named().display()
        );
        mem::forget(self.db.take());
        // RocksDB goes on to use the path of its descriptor, which must not lead to another folder.
        mem::forget(Arc::clone(&self.directory));
    }
}
