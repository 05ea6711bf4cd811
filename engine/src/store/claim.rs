//! Who writes to a database.
//!
//! RocksDB locks the file `LOCK`. That keeps out other processes, but not this one: RocksDB detects a second
//! opening by this process only by its path, and each [`Directory`] has a different path. And it keeps nobody
//! out once that file is replaced. So the folder itself is locked as well, and recorded for this process.
//!
//! A claim also leaves a [`Sign`] for [`Store::user_of`], and so does a replica: a socket without a file, whose name has a checksum of the name of
//! the database and the process ID. The system lists it in `/proc/net/unix` and removes it with
//! the process. A restore finds it even if the folder was moved away and no longer shows its former name.

use std::collections::BTreeSet;
use std::fs::{self, TryLockError};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directory::{Directory, FileId};
use super::{Store, StoreError};

/// What the names of signs begin with.
const SIGN: &str = "plait";

/// The folders that this process writes in.
static CLAIMED: Mutex<BTreeSet<FileId>> = Mutex::new(BTreeSet::new());

/// Signs that this process has made: each has another name.
static SIGNS: AtomicU64 = AtomicU64::new(0);

/// The right to write in a folder, as long as it lives.
#[derive(Debug)]
pub(super) struct Claim {
    directory: Arc<Directory>,
    id: FileId,
    /// Held for those who look for it.
    sign: Option<Sign>,
}

/// That this process uses a folder, as long as it lives.
#[derive(Debug)]
pub struct Sign {
    _sockets: Vec<UnixDatagram>,
}

impl Claim {
    /// Claims a folder.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] if another process has, or this one.
    pub(super) fn new(directory: &Arc<Directory>) -> Result<Self, StoreError> {
        let io = |source| StoreError::Io { path: directory.named().to_owned(), source };
        let locked = || StoreError::Locked { path: directory.named().to_owned() };
        let id = directory.id().map_err(io)?;
        if !claimed().insert(id) {
            return Err(locked());
        }
        // From here on it is taken back when this is dropped.
        let mut claim = Self { directory: Arc::clone(directory), id, sign: None };
        match directory.file().try_lock() {
            Err(TryLockError::WouldBlock) => return Err(locked()),
            // Not all file systems can: `LOCK` is there still.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        claim.sign = Some(Sign::of(directory.named()));
        Ok(claim)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Whoever watches the folder may have it open for longer. An error means that it was not
        // locked.
        let _ = self.directory.file().unlock();
        claimed().remove(&self.id);
    }
}

impl Store {
    /// A sign that this process uses the database that is in `dir`.
    #[must_use]
    pub fn sign(dir: &Path) -> Sign {
        Sign::of(&Self::path(dir))
    }

    /// The process that has a database open to write, or serves it as a replica, which was in `dir` when it
    /// was opened, if there is one on this machine, and in this network namespace: be it there still, moved,
    /// or removed.
    #[must_use]
    pub fn user_of(dir: &Path) -> Option<u32> {
        let names = names_of(&Self::path(dir));
        let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
        sockets.lines().find_map(|line| {
            let (_, sign) = line.rsplit_once(&format!(" @{SIGN}/"))?;
            let mut parts = sign.split('/');
            let (name, process) = (parts.next()?, parts.next()?);
            names.iter().any(|known| known == name).then(|| process.parse().ok())?
        })
    }
}

impl Sign {
    /// A socket for each name of a folder. Where the system refuses them there are none.
    fn of(named: &Path) -> Self {
        let socket = |name: &String| {
            let number = SIGNS.fetch_add(1, Ordering::Relaxed);
            let text = format!("{SIGN}/{name}/{}/{number}", std::process::id());
            let address = SocketAddr::from_abstract_name(text.as_bytes()).ok()?;
            UnixDatagram::bind_addr(&address).ok()
        };
        Self { _sockets: names_of(named).iter().filter_map(socket).collect() }
    }
}

/// A checksum of the path from the root on, and of the same without symlinks.
fn names_of(path: &Path) -> BTreeSet<String> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = resolved(&absolute);
    let checksum = |path: PathBuf| {
        let hash = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex();
        hash.chars().take(32).collect()
    };
    [absolute, real].map(checksum).into_iter().collect()
}

/// A path without symlinks, as far as it is there.
pub(super) fn resolved(path: &Path) -> PathBuf {
    for above in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (above.canonicalize(), path.strip_prefix(above)) {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    path.to_owned()
}

/// Nothing that holds this lock panics.
fn claimed() -> MutexGuard<'static, BTreeSet<FileId>> {
    CLAIMED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_folder_is_claimed_once_however_it_is_named() {
        let dir = TempDir::new().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let open = |path: &Path| Arc::new(Directory::to_write(path).unwrap());
        let claim = Claim::new(&open(&real)).unwrap();
        for path in [&real, &link] {
            assert!(matches!(Claim::new(&open(path)), Err(StoreError::Locked { .. })));
        }
        // Who was refused has not taken the claim of the other one away.
        assert!(matches!(Claim::new(&open(&real)), Err(StoreError::Locked { .. })));
        drop(claim);
        Claim::new(&open(&link)).unwrap();
    }

    #[test]
    fn who_writes_to_a_database_is_found_by_each_of_its_names() {
        let dir = TempDir::new().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        let path = Store::path(&real);
        fs::create_dir_all(&path).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(Store::user_of(&real), None);
        let directory = Arc::new(Directory::to_write(&Store::path(&link)).unwrap());
        let claim = Claim::new(&directory).unwrap();
        let this = Some(std::process::id());
        assert_eq!((Store::user_of(&real), Store::user_of(&link)), (this, this));
        assert_eq!(Store::user_of(dir.path()), None);
        fs::remove_file(&link).unwrap();
        fs::remove_dir_all(&real).unwrap();
        assert_eq!((Store::user_of(&real), Store::user_of(&link)), (this, this));
        drop(claim);
        assert_eq!((Store::user_of(&real), Store::user_of(&link)), (None, None));
    }
}
