//! What is where in the folder that processes are killed in.

use std::path::{Path, PathBuf};

/// The database.
#[must_use]
pub(super) fn database(folder: &Path) -> PathBuf {
    folder.join("db")
}

/// Its backups.
#[must_use]
pub(super) fn backups(folder: &Path) -> PathBuf {
    folder.join("backups")
}

/// Its archive.
#[must_use]
pub(super) fn archive(folder: &Path) -> PathBuf {
    folder.join("archive")
}

/// A backup that is restored.
#[must_use]
pub(super) fn restored(folder: &Path) -> PathBuf {
    folder.join("restored")
}

/// What says that the database has lost its `CURRENT` and is not repaired yet.
#[must_use]
pub(super) fn vanished(folder: &Path) -> PathBuf {
    folder.join("vanished")
}
