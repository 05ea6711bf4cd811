//! The folder of a database, held by a descriptor.
//!
//! RocksDB works by path: it opens, renames and deletes files under the path that it was given, at any
//! moment and also in background threads. If that path leads elsewhere meanwhile, because
//! a symlink was switched, or the folder was moved and another one put there, RocksDB writes its list of
//! files into a database that it does not know, and deletes the tables that are not on the list.
//!
//! So RocksDB is given a path that cannot lead elsewhere. The folder is opened once, and Linux resolves
//! `/proc/self/fd/N` to the folder that descriptor `N` has open, whatever its name is at that time:
//!
//! ```text
//! serve --db db    open("db/0/rocksDb") = 7,  RocksDB opens "/proc/self/fd/7"
//! mv db db.old     "/proc/self/fd/7/000012.sst" is db.old/0/rocksDb/000012.sst
//! mv new db        the same; no file of the new db has a name that RocksDB would use
//! rm -r db.old     "/proc/self/fd/7" is a folder without a name: to make a file there fails
//! ```
//!
//! Every file and every sync of the folder goes through that path, so there is no race between a check and
//! its use. [`Directory::check`] is for users: a server whose folder is no longer at its path reports that,
//! and refuses further blocks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::StoreError;
use super::listed::LOCK;

/// Where Linux has a name for each open descriptor of this process.
const DESCRIPTORS: &str = "/proc/self/fd/";

/// What the system adds to the name of a folder that was removed.
const REMOVED: &str = " (deleted)";

/// The names of folders by their descriptors, for messages: RocksDB's have the path that it was given.
/// They stay when a folder is closed, until the system gives its descriptor to another one: an error is
/// often shown after that.
static NAMES: Mutex<BTreeMap<RawFd, PathBuf>> = Mutex::new(BTreeMap::new());

/// Device and inode: what a file or folder is, whatever its name.
pub(super) type FileId = (u64, u64);

/// A folder that is open. No other one is ever reached by its [`Directory::path`].
#[derive(Debug)]
pub(super) struct Directory {
    file: File,
    /// As it was named, from the root on.
    named: PathBuf,
    path: PathBuf,
    /// The file that RocksDB has locked, if it has.
    lock: OnceLock<FileId>,
}

impl Directory {
    /// Opens the folder at `named` to read. Without a `/proc`, which some jails lack, its path is its
    /// name.
    pub(super) fn to_read(named: &Path) -> io::Result<Self> {
        Self::open(named, |named| Ok(named.to_owned()))
    }

    /// Opens the folder at `named` to write in it.
    pub(super) fn to_write(named: &Path) -> io::Result<Self> {
        Self::open(named, |_| {
            let what = "/proc is not mounted: mount it there (mount -t proc proc /proc). Without \
                        it a database that is moved cannot be told from the one in its place";
            Err(io::Error::new(ErrorKind::Unsupported, what))
        })
    }

    fn open(
        named: &Path,
        otherwise: impl FnOnce(&Path) -> io::Result<PathBuf>,
    ) -> io::Result<Self> {
        let named = std::path::absolute(named)?;
        // Descriptors are closed in programs that this one starts: the standard library asks for that.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(&named)?;
        let mut path = PathBuf::from(format!("{DESCRIPTORS}{}", file.as_raw_fd()));
        let held = id(&file.metadata()?);
        if path.metadata().is_ok_and(|data| id(&data) == held) {
            names().insert(file.as_raw_fd(), named.clone());
        } else {
            path = otherwise(&named)?;
        }
        Ok(Self { file, named, path, lock: OnceLock::new() })
    }

    /// The path for RocksDB, and for whoever else uses files of this folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// As it was named, from the root on.
    pub(super) fn named(&self) -> &Path {
        &self.named
    }

    /// The folder itself, for locks.
    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// What it is.
    pub(super) fn id(&self) -> io::Result<FileId> {
        self.file.metadata().map(|data| id(&data))
    }

    /// Notes that RocksDB has locked it.
    pub(super) fn note_lock(&self) -> io::Result<()> {
        let lock = id(&self.path.join(LOCK).metadata()?);
        self.lock.get_or_init(|| lock);
        Ok(())
    }

    /// That its name still leads to it, and that the file is there which RocksDB has locked.
    ///
    /// # Errors
    ///
    /// [`StoreError::Displaced`]. A name that cannot be looked at says nothing, and is no error.
    ///
    /// # Cost
    ///
    /// Three calls of the system, some 3 us.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let at_name = self.named.metadata().map(|data| id(&data));
        let is_here = leads_to(at_name, self.id().ok());
        if is_here && self.is_locked() {
            return Ok(());
        }
        Err(StoreError::Displaced { path: self.named.clone(), now: self.name_now() })
    }

    /// Whether the file is in the folder that RocksDB has locked, or none was noted. Where it is not, other
    /// files may be those of another database as well.
    pub(super) fn is_locked(&self) -> bool {
        self.lock.get().is_none_or(|lock| {
            leads_to(self.path.join(LOCK).metadata().map(|data| id(&data)), Some(*lock))
        })
    }

    /// Where the folder is now, as far as the system knows; `None` if it was removed.
    fn name_now(&self) -> Option<PathBuf> {
        let name = fs::read_link(&self.path).ok()?;
        let is_removed = name.to_string_lossy().ends_with(REMOVED);
        (!is_removed && name != self.named).then_some(name)
    }
}

/// Whether a name leads to this file. Where that cannot be looked at, it is taken to.
fn leads_to(at_name: io::Result<FileId>, file: Option<FileId>) -> bool {
    match at_name {
        Ok(id) => file.is_none_or(|file| id == file),
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

fn id(data: &Metadata) -> FileId {
    (data.dev(), data.ino())
}

/// Nothing that holds this lock panics.
fn names() -> MutexGuard<'static, BTreeMap<RawFd, PathBuf>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A text with the names of folders in place of the paths that RocksDB was given.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(DESCRIPTORS) {
        return Cow::Borrowed(text);
    }
    let names = names();
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, behind)) = rest.split_once(DESCRIPTORS) {
        let after = behind.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = behind.strip_suffix(after).unwrap_or_default();
        out.push_str(before);
        match number.parse().ok().and_then(|number: RawFd| names.get(&number)) {
            Some(name) => out.push_str(&name.to_string_lossy()),
            None => out.extend([DESCRIPTORS, number]),
        }
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The same of a path.
pub(super) fn shown_path(path: &Path) -> String {
    shown(&path.to_string_lossy()).into_owned()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn now(error: Result<(), StoreError>) -> Option<PathBuf> {
        match error {
            Err(StoreError::Displaced { now, .. }) => now,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_folder_is_reached_by_its_descriptor_wherever_it_is_moved() {
        let dir = TempDir::new().unwrap();
        let (one, two, old) = (dir.path().join("1"), dir.path().join("2"), dir.path().join("old"));
        for (folder, text) in [(&one, "1"), (&two, "2")] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("file"), text).unwrap();
        }
        let held = Directory::to_write(&one).unwrap();
        let read = || fs::read_to_string(held.path().join("file"));
        held.check().unwrap();
        fs::rename(&one, &old).unwrap();
        assert_eq!(now(held.check()), Some(old.clone()));
        fs::rename(&two, &one).unwrap();
        assert_eq!((now(held.check()), read().unwrap()), (Some(old.clone()), "1".to_owned()));
        fs::write(held.path().join("more"), "1").unwrap();
        assert!(old.join("more").exists() && !one.join("more").exists());
        fs::remove_dir_all(&old).unwrap();
        assert_eq!(now(held.check()), None);
        assert!(fs::write(held.path().join("more"), "1").is_err());
        assert_eq!(fs::read_dir(&one).unwrap().count(), 1);
    }

    #[test]
    fn a_switched_symlink_and_a_lost_lock_are_noticed() {
        let dir = TempDir::new().unwrap();
        let (one, two, link) = (dir.path().join("1"), dir.path().join("2"), dir.path().join("db"));
        fs::create_dir(&one).unwrap();
        fs::create_dir(&two).unwrap();
        std::os::unix::fs::symlink(&one, &link).unwrap();
        let held = Directory::to_write(&link).unwrap();
        fs::write(held.path().join(LOCK), "").unwrap();
        held.note_lock().unwrap();
        held.check().unwrap();
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&two, &link).unwrap();
        assert_eq!(now(held.check()), Some(one.clone()));
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&one, &link).unwrap();
        held.check().unwrap();
        // As a program leaves it that replaces files one by one.
        fs::write(one.join("other"), "").unwrap();
        fs::rename(one.join("other"), one.join(LOCK)).unwrap();
        assert!(held.check().is_err());
    }

    #[test]
    fn messages_have_the_name_and_not_the_descriptor() {
        let dir = TempDir::new().unwrap();
        let held = Directory::to_read(dir.path()).unwrap();
        let text =
            format!("IO error: {}/000012.sst: and {}", held.path().display(), "/proc/self/fd/");
        let name = dir.path().display();
        assert_eq!(shown(&text), format!("IO error: {name}/000012.sst: and /proc/self/fd/"));
        assert_eq!(shown("/proc/self/fd/9999/x"), "/proc/self/fd/9999/x");
        drop(held);
        assert!(shown(&text).contains(&name.to_string()), "an error is shown later");
    }
}
