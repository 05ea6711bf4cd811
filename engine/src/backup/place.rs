//! Where a folder of backups may be.

use std::path::Path;

use super::{BackupError, BackupId, Backups};
use crate::output;

impl Backups {
    /// Ends with an error if the folder lies among the files of a database, or the database in `db` lies in
    /// it under a name that an old backup may have, which are deleted.
    ///
    /// # Errors
    ///
    /// [`BackupError::Inside`], [`BackupError::Around`].
    pub fn check_place(&self, db: &Path) -> Result<(), BackupError> {
        output::outside_tables(self.dir())?;
        let (Ok(dir), Ok(database)) = (output::real(self.dir()), output::real(db)) else {
            return Ok(());
        };
        let Ok(below) = database.strip_prefix(&dir) else { return Ok(()) };
        let name = below.components().next().and_then(|part| part.as_os_str().to_str());
        let may_be_deleted = name.is_some_and(|name| {
            name.starts_with('.') || name.parse().is_ok_and(|id: BackupId| id.micros().is_some())
        });
        if !may_be_deleted {
            return Ok(());
        }
        Err(BackupError::Around { dir: self.dir().to_owned(), database: db.to_owned() })
    }
}
