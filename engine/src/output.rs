//! Where output may be written: not inside a database, and only with enough free space.
//!
//! Paths are compared as the system resolves them, so that a symbolic link cannot hide where a folder
//! is. A folder that does not exist yet counts as inside its nearest existing parent.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use crate::store::Store;

/// There is less room than something takes.
#[derive(Debug, Error)]
#[error("{path}: {needed} bytes are needed, {free} are free", path = path.display())]
pub struct LackOfSpace {
    /// A folder of the file system.
    pub path: PathBuf,
    /// Bytes that are needed.
    pub needed: u64,
    /// Bytes that are free.
    pub free: u64,
}

/// A folder for output lies where a database keeps its files.
#[derive(Debug, Error)]
#[error("{path} is inside the database {database}", path = path.display(), database = database.display())]
pub struct InsideDatabase {
    /// The folder, as it was named.
    pub path: PathBuf,
    /// The database, resolved.
    pub database: PathBuf,
}

/// Bytes that this user may still write to the file system of `path`, which need not exist.
///
/// # Errors
///
/// What the system says.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(nearest(path)?.0.as_path())?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes that an export leaves free, at least and at most: whoever writes to a database on the same file
/// system needs room for its write buffers.
const SPARE_BYTES: (u64, u64) = (16 << 20, 128 << 20);

/// Ends with an error if so many bytes would not leave enough free for others on the file system of
/// `dir`, which need not exist.
///
/// # Errors
///
/// What the system says; the inner error says how much room there is.
pub fn require_spare(dir: &Path, bytes: u64) -> io::Result<Result<(), LackOfSpace>> {
    if bytes == 0 {
        return Ok(Ok(()));
    }
    let stat = rustix::fs::statvfs(nearest(dir)?.0.as_path())?;
    let (least, most) = SPARE_BYTES;
    let spare = (stat.f_blocks.saturating_mul(stat.f_frsize) / 20).clamp(least, most);
    require_space(dir, bytes.saturating_add(spare))
}

/// Ends with an error if there is less room than `needed` for new files in the folder `dir`; the inner
/// error says how much there is.
pub(crate) fn require_space(dir: &Path, needed: u64) -> io::Result<Result<(), LackOfSpace>> {
    let free = free_bytes(dir)?;
    let lack = || LackOfSpace { path: dir.to_owned(), needed, free };
    Ok(if free < needed { Err(lack()) } else { Ok(()) })
}

/// Folders that were made for output. A command that is refused before it writes anything removes them
/// again.
#[derive(Debug, Default)]
pub struct NewFolders {
    /// The innermost first.
    made: Vec<PathBuf>,
}

impl NewFolders {
    /// Makes the folder `dir`, and those above it that are not there.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn make(dir: &Path) -> io::Result<Self> {
        let above = dir.ancestors().filter(|above| !above.as_os_str().is_empty());
        let missing = above.take_while(|above| is_missing(above));
        let new = Self { made: missing.map(Path::to_owned).collect() };
        match fs::create_dir_all(dir) {
            Ok(()) => Ok(new),
            Err(error) => {
                new.remove_empty();
                Err(error)
            }
        }
    }

    /// Like [`NewFolders::remove_empty`], but first removes the file `mark` if the innermost folder has
    /// nothing else. The caller must hold the lock on that file.
    pub fn remove_but_for(&self, mark: &str) {
        let Some(inner) = self.made.first() else { return };
        let mut names = fs::read_dir(inner).into_iter().flatten().flatten();
        if names.all(|entry| entry.file_name() == mark) {
            let _ = fs::remove_file(inner.join(mark));
        }
        self.remove_empty();
    }

    /// Removes the folders that are still empty.
    pub fn remove_empty(&self) {
        // A missing folder was never made. If one is not empty, neither are those above it.
        for dir in &self.made {
            let _ = fs::remove_dir(dir);
        }
    }
}

fn is_missing(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Ends with an error if the folder `path` is a database or lies in one.
///
/// # Errors
///
/// [`InsideDatabase`]. What cannot be resolved is for whoever writes there to report.
pub fn outside_databases(path: &Path) -> Result<(), InsideDatabase> {
    let found = real(path).ok().and_then(|real| real.ancestors().find_map(database));
    found.map_or(Ok(()), |database| Err(InsideDatabase { path: path.to_owned(), database }))
}

/// The same of backups, which a database may have in a folder of its own: see
/// [`Backups::default_dir`](crate::backup::Backups::default_dir).
pub(crate) fn outside_tables(path: &Path) -> Result<(), InsideDatabase> {
    let Ok(real) = real(path) else { return Ok(()) };
    let found = real.ancestors().find_map(|above| {
        let database = database(above)?;
        let below = real.strip_prefix(&database).ok()?;
        let first = below.components().next();
        (first != Some(Component::Normal("backups".as_ref()))).then_some(database)
    });
    found.map_or(Ok(()), |database| Err(InsideDatabase { path: path.to_owned(), database }))
}

/// Ends with an error if the file `path` would lie among the files of a database.
///
/// # Errors
///
/// The same.
pub fn file_outside_tables(path: &Path) -> Result<(), InsideDatabase> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let Ok(real) = real(folder) else { return Ok(()) };
    let found = real.ancestors().find_map(|above| {
        let database = database(above)?;
        let below = real.strip_prefix(&database).ok()?;
        let is_raw = database.join("CURRENT").is_file();
        let first = below.components().next();
        (is_raw || first == Some(Component::Normal("0".as_ref()))).then_some(database)
    });
    found.map_or(Ok(()), |database| Err(InsideDatabase { path: path.to_owned(), database }))
}

/// Whether `inner` is `outer` or lies in it, both resolved.
#[must_use]
pub fn is_within(inner: &Path, outer: &Path) -> bool {
    real(inner).is_ok_and(|inner| real(outer).is_ok_and(|outer| inner.starts_with(outer)))
}

/// The folder, if it is one of a database: of Plait's, or RocksDB's own.
fn database(dir: &Path) -> Option<PathBuf> {
    let is_one = Store::path(dir).is_dir() || dir.join("CURRENT").is_file();
    is_one.then(|| dir.to_owned())
}

/// The path without symbolic links and dots, though its end may not exist.
///
/// # Errors
///
/// What the system says, for example that a folder may not be searched.
pub fn real(path: &Path) -> io::Result<PathBuf> {
    let (mut real, rest) = nearest(path)?;
    for part in rest.components() {
        match part {
            Component::Normal(name) => real.push(name),
            Component::ParentDir => {
                real.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Ok(real)
}

/// The nearest existing folder or file above `path`, resolved, and what is to come below it.
fn nearest(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let mut above = path;
    loop {
        let here = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match here.canonicalize() {
            Ok(real) => {
                let rest = path.strip_prefix(above).unwrap_or(Path::new("")).to_owned();
                return Ok((real, rest));
            }
            // A link to nothing is not followed: whoever creates something there finds that out.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                above = above.parent().ok_or(error)?;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn output_inside_a_database_is_found_behind_links_and_before_it_exists() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("db/0/rocksDb")).unwrap();
        fs::create_dir_all(at("node")).unwrap();
        fs::write(at("node/CURRENT"), "MANIFEST-000004\n").unwrap();
        symlink(at("db/0"), at("link")).unwrap();
        symlink("db", at("other")).unwrap();
        let database = |path: &str| outside_databases(&at(path)).err().map(|e| e.database);
        let real_db = Some(at("db").canonicalize().unwrap());
        for path in [
            "db",
            "db/archive",
            "db/0/rocksDb",
            "db/0/rocksDb/new/deep",
            "link/new",
            "other/new",
            "other/../db/x",
            "new/../db/0/x",
        ] {
            assert_eq!(database(path), real_db, "{path}");
        }
        assert_eq!(database("node/x"), Some(at("node").canonicalize().unwrap()));
        for path in ["archive", "db-archive", "new/deep", "db/../archive", ""] {
            assert_eq!(database(path), None, "{path}");
        }
        assert!(outside_tables(&at("db/backups")).is_ok());
        assert!(outside_tables(&at("db/backups/1")).is_ok());
        for path in ["db", "db/0/rocksDb", "db/0/backups", "link/backups", "db/others"] {
            assert!(outside_tables(&at(path)).is_err(), "{path}");
        }
        assert!(file_outside_tables(&at("db/dump")).is_ok());
        for path in ["db/0/dump", "link/dump", "node/dump"] {
            assert!(file_outside_tables(&at(path)).is_err(), "{path}");
        }
        assert!(is_within(&at("other/new"), &at("db")) && !is_within(&at("db"), &at("db/x")));
    }
}
