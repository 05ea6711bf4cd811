//! Writes that a database has lost with its log, and the sign of that.
//!
//! RocksDB moves what it can read of a log to tables when it opens a database to write, and deletes the log.
//! After that nothing in the database shows that a part of the log was damaged, cut or missing. So before
//! RocksDB opens such a database to write,
//!
//! 1. its logs are linked into the folder `lost`, where RocksDB does not delete them;
//! 2. a line about the loss is added to `lost/losses.txt`, durably.
//!
//! As long as that file exists, the database counts as damaged: `verify` reports it, and no backup takes the
//! place of an older one. Delete the file once you have replayed, pushed or followed the lost blocks again.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::directory::shown_path;
use super::presence::sync;
use super::{Store, StoreError, live};
use crate::regular;

/// The folder among RocksDB's files for what RocksDB would delete.
pub(super) const LOST: &str = "lost";

/// The sign.
const SIGN: &str = "losses.txt";

/// What comes before the reason in the text about an earlier loss.
pub(crate) const EARLIER: &str = "writes were lost earlier: ";

/// Bytes of the sign that are read at most.
const SIGN_BYTES_MAX: u64 = 1 << 20;

/// Why a log lacks writes that were made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LostLog {
    /// One of several logs is missing; it is not known which.
    #[error("{path} or a later log is missing", path = shown_path(.path))]
    From {
        /// The first that it may be.
        path: PathBuf,
    },
    /// A log is missing.
    #[error("{path} is missing", path = shown_path(.path))]
    Missing {
        /// The log.
        path: PathBuf,
    },
    /// A log is empty or ends in the middle of a record, and others follow.
    #[error("{path} is incomplete, though {next} follows it", path = shown_path(.path), next = shown_path(.next))]
    Incomplete {
        /// The log.
        path: PathBuf,
        /// The next one.
        next: PathBuf,
    },
    /// A log ends before bytes that were synced.
    #[error("{path} ends after {got} bytes, and {expected} were synced: the file was cut or damaged", path = shown_path(.path))]
    Short {
        /// The log.
        path: PathBuf,
        /// Its bytes, up to the first record that is not whole.
        got: u64,
        /// The bytes that were synced.
        expected: u64,
    },
}

impl LostLog {
    pub(super) fn path(self) -> PathBuf {
        match self {
            Self::From { path }
            | Self::Missing { path }
            | Self::Incomplete { path, .. }
            | Self::Short { path, .. } => path,
        }
    }
}

impl From<LostLog> for StoreError {
    fn from(lost: LostLog) -> Self {
        match lost {
            LostLog::From { path } | LostLog::Missing { path } => Self::MissingFile { path },
            LostLog::Incomplete { ref path, .. } | LostLog::Short { ref path, .. } => {
                let path = path.clone();
                Self::Io { path, source: io::Error::new(ErrorKind::InvalidData, lost) }
            }
        }
    }
}

/// Keeps the logs of the database at `path`, and notes why writes are lost.
///
/// # Errors
///
/// What the system says. RocksDB must not open the database to write then.
pub(super) fn note(path: &Path, why: &str) -> Result<(), StoreError> {
    let lost = folder(path)?;
    for log in live::logs(path) {
        let Some(name) = log.file_name() else { continue };
        let to = lost.join(name);
        match live::link(&log, &to) {
            // By a process that was killed before RocksDB opened the database.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            linked => linked.map_err(|error| StoreError::io(&to, error))?,
        }
    }
    sign(path, why)
}

/// The folder `lost` of the database at `path`, which is made if it does not exist.
pub(super) fn folder(path: &Path) -> Result<PathBuf, StoreError> {
    let lost = path.join(LOST);
    match fs::create_dir(&lost) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(StoreError::io(&lost, error)),
        _ => Ok(lost),
    }
}

/// Copies a log into the folder `lost`, durably.
pub(super) fn copy(log: &Path) -> Result<(), StoreError> {
    let path = log.parent().unwrap_or(log);
    let to = folder(path)?.join(log.file_name().unwrap_or_default());
    let copied = fs::copy(log, &to).and_then(|_| File::open(&to)?.sync_all());
    copied.map_err(|error| StoreError::io(&to, error))?;
    sync(&path.join(LOST))?;
    sync(path)
}

impl Store {
    /// Notes in the database in `dir`, which nobody has open, that it lacks writes.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn note_loss(dir: &Path, why: &str) -> Result<(), StoreError> {
        sign(&Self::path(dir), why)
    }
}

/// Adds a line to the sign of the database at `path`, durably.
fn sign(path: &Path, why: &str) -> Result<(), StoreError> {
    let lost = folder(path)?;
    let sign = lost.join(SIGN);
    if read(path).is_none_or(|known| known.last != why) {
        let opened = OpenOptions::new().append(true).create(true).open(&sign);
        let written = opened.and_then(|mut file| {
            file.write_all(format!("{why}\n").as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| StoreError::io(&sign, error))?;
    }
    sync(&lost)?;
    sync(path)
}

/// Notes why writes are lost, and removes logs after the incomplete one, which stay in the folder `lost`.
///
/// # Errors
///
/// What the system says.
pub(super) fn set_aside(path: &Path, why: &str, later: &[PathBuf]) -> Result<(), StoreError> {
    note(path, why)?;
    for log in later {
        match fs::remove_file(log) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(StoreError::io(log, error));
            }
            _ => {}
        }
    }
    sync(path)
}

/// What the sign of a database says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Losses {
    sign: PathBuf,
    /// Why writes were lost last.
    last: String,
}

/// Reads the sign of the database at `path`, if it has one.
pub(super) fn read(path: &Path) -> Option<Losses> {
    let sign = path.join(LOST).join(SIGN);
    let text = match regular::read_text(&sign, SIGN_BYTES_MAX) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return None;
        }
        // It is there, which says enough.
        read => read.unwrap_or_default(),
    };
    let last = text.lines().next_back().unwrap_or("see the file").to_owned();
    Some(Losses { sign, last })
}

impl Losses {
    /// Tells the operator of the sign.
    pub(super) fn report(&self) {
        tracing::error!(
            "{self}. Once you have replayed, pushed or followed the lost blocks again, delete {}",
            shown_path(&self.sign)
        );
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{EARLIER}{}", self.last)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn logs_are_kept_and_the_sign_names_the_last_loss() {
        let dir = TempDir::new().unwrap();
        let path = dir.path();
        assert_eq!(read(path), None);
        fs::write(path.join("000007.log"), "seven").unwrap();
        fs::write(path.join("000008.sst"), "table").unwrap();
        for why in ["one", "one", "two"] {
            note(path, why).unwrap();
        }
        assert_eq!(fs::read_to_string(path.join("lost/losses.txt")).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(path.join("lost/000007.log")).unwrap(), "seven");
        assert!(!path.join("lost/000008.sst").exists());
        assert_eq!(read(path).unwrap().to_string(), "writes were lost earlier: two");
        for bytes in [&b""[..], &[0xFF; 9], &vec![b'x'; 2 << 20]] {
            fs::write(path.join("lost/losses.txt"), bytes).unwrap();
            assert!(read(path).is_some(), "{} bytes", bytes.len());
        }
        fs::remove_file(path.join("lost/losses.txt")).unwrap();
        assert_eq!(read(path), None);
    }
}
