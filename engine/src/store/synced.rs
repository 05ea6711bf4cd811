//! How long the log is at least, so that one that was cut can be told from one that a crash left.
//!
//! RocksDB takes a log that is empty, or that ends between two records, for a whole one: nothing else says how
//! much it should have. So each [`Store::sync`](super::Store::sync) leaves a mark, the file `log-synced`: the
//! number of the log that is written, and a length that was synced. For example,
//!
//! ```text
//! 000025.log has 4,000 bytes          the length is read: 4,000
//! sync                                4,000 bytes, and whatever was written meanwhile, are durable
//! log-synced says 25, 4,000           from here on a 000025.log of 3,999 bytes was cut
//! ```
//!
//! - `I-1` The mark is written after the sync, with the length from before it. So the log has at least that
//!   many bytes whatever a crash loses, and an older mark is also true. So the mark is not synced, and
//!   errors in writing it are ignored: a missing mark says nothing.
//! - `I-2` The mark is about a log that the list of files needs. Once the log has been flushed to tables, the
//!   mark says nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::live;
use crate::regular;

/// The file of the mark.
pub(super) const MARK: &str = "log-synced";

/// Bytes of the mark at most.
const MARK_BYTES_MAX: u64 = 1 << 10;

/// A log, and a length of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length {
    /// The number of the log.
    pub(super) log: u64,
    /// How many bytes it has, or has at least.
    pub(super) bytes: u64,
}

impl Length {
    /// What the mark of the database at `path` says. One that a crash has torn says nothing.
    pub(super) fn marked(path: &Path) -> Option<Self> {
        Self::parse(&regular::read_text(&path.join(MARK), MARK_BYTES_MAX).ok()?)
    }

    /// Where the log is, in the database at `path`.
    pub(super) fn path(self, path: &Path) -> PathBuf {
        path.join(format!("{:06}.log", self.log))
    }

    /// The longest log with the highest number that is at `path` now.
    fn last(path: &Path) -> Option<Self> {
        let number = |log: PathBuf| log.file_stem()?.to_str()?.parse().ok();
        let log = live::logs(path).into_iter().filter_map(number).max()?;
        Self { log, bytes: 0 }.now(path)
    }

    /// The same log with the length that it has now.
    fn now(self, path: &Path) -> Option<Self> {
        let bytes = self.path(path).metadata().ok()?.len();
        Some(Self { bytes, ..self })
    }

    /// The text of the mark, which is always as long.
    fn text(self) -> String {
        let Self { log, bytes } = self;
        let text = format!("log {log:020} bytes {bytes:020}");
        format!("{text} crc32c {:08x}\n", crc32c::crc32c(text.as_bytes()))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (log, bytes) = (words.nth(1)?.parse().ok()?, words.nth(1)?.parse().ok()?);
        let read = Self { log, bytes };
        (read.text() == text).then_some(read)
    }
}

/// The mark of a database that is open to write.
#[derive(Debug)]
pub(super) struct Synced {
    /// The folder of the database.
    path: PathBuf,
    last: Mutex<Last>,
}

/// What was marked last.
#[derive(Debug, Default)]
struct Last {
    length: Option<Length>,
    file: Option<File>,
}

impl Synced {
    /// That of the database at `path`.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), last: Mutex::default() }
    }

    /// The length of the log now, before it is synced.
    ///
    /// # Cost
    ///
    /// A call of the system. Where the log has not grown since the last mark, the folder is listed: RocksDB
    /// may have begun another one.
    pub(super) fn length(&self) -> Option<Length> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).length;
        let grown = last.and_then(|last| last.now(&self.path).filter(|now| now.bytes > last.bytes));
        grown.or_else(|| Length::last(&self.path))
    }

    /// Marks a length that was read before a sync of the log. That sync must have ended.
    pub(super) fn set(&self, length: Option<Length>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_later = |length: &Length| {
            last.length.is_none_or(|last| (length.log, length.bytes) > (last.log, last.bytes))
        };
        let Some(length) = length.filter(is_later) else { return };
        last.length = Some(length);
        if last.file.is_none() {
            last.file = regular::open_or_create(&self.path.join(MARK)).ok();
        }
        // See `I-1`.
        let _ = last.file.as_ref().map(|file| file.write_all_at(length.text().as_bytes(), 0));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_mark_has_the_length_from_before_the_sync_and_follows_the_log_that_is_written() {
        let dir = TempDir::new().unwrap();
        let path = dir.path();
        let mark = Synced::new(path);
        assert_eq!((mark.length(), Length::marked(path)), (None, None));
        mark.set(None);
        assert!(!path.join(MARK).exists());
        for (log, bytes) in [(9, 0), (9, 5), (9, 5), (9, 70_000), (12, 0), (12, 3)] {
            let length = Length { log, bytes };
            fs::write(length.path(path), vec![b'x'; usize::try_from(bytes).unwrap()]).unwrap();
            let found = mark.length();
            assert_eq!(found, Some(length));
            mark.set(found);
            assert_eq!(Length::marked(path), Some(length));
        }
        // Of two syncs at once the later one may end first.
        mark.set(Some(Length { log: 12, bytes: 2 }));
        assert_eq!(Length::marked(path), Some(Length { log: 12, bytes: 3 }));
        // Another process goes on with the same file.
        let again = Synced::new(path);
        again.set(Some(Length { log: 13, bytes: 1 }));
        assert_eq!(Length::marked(path), Some(Length { log: 13, bytes: 1 }));
    }

    #[test]
    fn a_mark_that_was_torn_says_nothing() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join(MARK);
        let length = Length { log: 25, bytes: 123_456 };
        let text = length.text();
        fs::write(&file, &text).unwrap();
        assert_eq!(Length::marked(dir.path()), Some(length));
        for cut in 0..text.len() {
            fs::write(&file, &text[..cut]).unwrap();
            assert_eq!(Length::marked(dir.path()), None, "{cut} bytes");
            let mut other = text.clone().into_bytes();
            other[cut] ^= 1;
            fs::write(&file, &other).unwrap();
            assert_eq!(Length::marked(dir.path()), None, "byte {cut}");
        }
        fs::write(&file, vec![0; text.len()]).unwrap();
        assert_eq!(Length::marked(dir.path()), None);
    }
}
