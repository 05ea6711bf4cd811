//! How long the logs are at least, so that one that was cut can be told from one that a crash left.
//!
//! RocksDB takes a log that is empty, or that ends between two records, for a whole one: nothing else says how
//! much it should have. So each [`Store::sync`](super::Store::sync) leaves a mark, the file `log-synced`: the
//! number of each log, and a length that was synced. For example,
//!
//! ```text
//! 000025.log has 4,000 bytes          the length is read: 4,000
//! sync                                4,000 bytes, and whatever was written meanwhile, are durable
//! log-synced says 25, 4,000           from here on a 000025.log of 3,999 bytes was cut
//! ```
//!
//! - `I-1` The mark is written after the sync, with the lengths from before it. So each log has at least that
//!   many bytes whatever a crash loses, and an older mark is also true. So the mark is not synced, and
//!   errors in writing it are ignored: a missing mark says nothing.
//! - `I-2` The mark is about logs that the list of files needs. Once a log has been flushed to tables, the
//!   mark says nothing about it.
//! - `I-3` When a database is closed and its last log is empty, the mark says so: that log holds nothing, and
//!   may be missing.

use std::fmt::Write as _;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::live;
use crate::regular;

/// The file of the mark.
pub(super) const MARK: &str = "log-synced";

/// Bytes of the mark, so that a new one covers all of the old one.
const MARK_LEN: usize = 1 << 10;

/// Logs that the mark names at most: the newest ones. There are rarely more than two.
const LOGS_MAX: usize = 12;

/// A log, and a length of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length {
    /// The number of the log.
    pub(super) log: u64,
    /// How many bytes it has, or has at least.
    pub(super) bytes: u64,
}

impl Length {
    /// What the mark of the database at `path` says, in the order of the numbers. One that a crash has torn
    /// says nothing.
    pub(super) fn marked(path: &Path) -> Vec<Self> {
        let text = regular::read_text(&path.join(MARK), MARK_LEN as u64);
        text.ok().and_then(|text| parse(&text)).unwrap_or_default()
    }

    /// How many bytes of the log with this number were synced at least, as the mark at `path` says.
    pub(super) fn synced(path: &Path, log: u64) -> Option<u64> {
        let marked = Self::marked(path).into_iter().find(|marked| marked.log == log)?;
        Some(marked.bytes)
    }

    /// Where the log is, in the database at `path`.
    pub(super) fn path(self, path: &Path) -> PathBuf {
        path.join(format!("{:06}.log", self.log))
    }

    /// All logs at `path`, in the order of their numbers, as long as they are now.
    pub(super) fn all(path: &Path) -> Vec<Self> {
        let number = |log: PathBuf| log.file_stem()?.to_str()?.parse().ok();
        let mut numbers: Vec<u64> = live::logs(path).into_iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers.into_iter().filter_map(|log| Self { log, bytes: 0 }.now(path)).collect()
    }

    /// The same log with the length that it has now.
    fn now(self, path: &Path) -> Option<Self> {
        let bytes = self.path(path).metadata().ok()?.len();
        Some(Self { bytes, ..self })
    }
}

/// The text of the mark, which is always as long.
pub(super) fn text(lengths: &[Length]) -> String {
    let mut text = String::with_capacity(MARK_LEN);
    for Length { log, bytes } in lengths.iter().skip(lengths.len().saturating_sub(LOGS_MAX)) {
        // A string takes everything.
        let _ = writeln!(text, "log {log} bytes {bytes}");
    }
    let sum = crc32c::crc32c(text.as_bytes());
    let _ = writeln!(text, "crc32c {sum:08x}");
    format!("{text:MARK_LEN$}")
}

/// Whether the mark of the database at `path` is neither one, nor what a crash leaves of one.
pub(super) fn is_damaged(path: &Path) -> bool {
    match regular::read(&path.join(MARK), MARK_LEN as u64) {
        Ok(bytes) => {
            let is_blank = bytes.iter().all(|byte| *byte == 0);
            !is_blank && std::str::from_utf8(&bytes).ok().and_then(parse).is_none()
        }
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

fn parse(mark: &str) -> Option<Vec<Length>> {
    let (lines, _) = mark.split_once("crc32c")?;
    let line = |line: &str| {
        let (log, bytes) = line.strip_prefix("log ")?.split_once(" bytes ")?;
        Some(Length { log: log.parse().ok()?, bytes: bytes.parse().ok()? })
    };
    let lengths: Vec<Length> = lines.lines().map(line).collect::<Option<_>>()?;
    (text(&lengths) == mark).then_some(lengths)
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
    lengths: Vec<Length>,
    file: Option<File>,
}

impl Synced {
    /// That of the database at `path`.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), last: Mutex::default() }
    }

    /// The lengths of the logs now, before they are synced.
    ///
    /// # Cost
    ///
    /// A call of the system for each log. Where the last one has not grown since the last mark, the folder is
    /// listed: RocksDB may have begun another one.
    pub(super) fn lengths(&self) -> Vec<Length> {
        let last = self.last().lengths.clone();
        let now: Vec<Length> = last.iter().filter_map(|log| log.now(&self.path)).collect();
        let has_grown = match (last.last(), now.last()) {
            (Some(last), Some(now)) => last.log == now.log && last.bytes < now.bytes,
            _ => false,
        };
        if has_grown { now } else { Length::all(&self.path) }
    }

    /// Marks lengths that were read before a sync of the logs. That sync must have ended.
    pub(super) fn set(&self, lengths: Vec<Length>) {
        let mut last = self.last();
        let order = |lengths: &[Length]| lengths.last().map(|last| (last.log, last.bytes));
        if order(&lengths) <= order(&last.lengths) {
            return;
        }
        if last.file.is_none() {
            last.file = regular::open_or_create(&self.path.join(MARK)).ok();
        }
        // See `I-1`.
        let _ = last.file.as_ref().map(|file| file.write_all_at(text(&lengths).as_bytes(), 0));
        last.lengths = lengths;
    }

    /// Nothing that holds this lock panics.
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Synced {
    fn drop(&mut self) {
        // See `I-3`. Of other logs it is not known what is synced.
        let mut lengths = self.last().lengths.clone();
        let last = Length::all(&self.path).last().copied().filter(|last| last.bytes == 0);
        lengths.extend(last.filter(|last| lengths.iter().all(|known| known.log < last.log)));
        self.set(lengths);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn write(path: &Path, length: Length) {
        fs::write(length.path(path), vec![b'x'; usize::try_from(length.bytes).unwrap()]).unwrap();
    }

    #[test]
    fn a_mark_has_the_lengths_from_before_the_sync_and_follows_the_log_that_is_written() {
        let dir = TempDir::new().unwrap();
        let path = dir.path();
        let mark = Synced::new(path);
        assert_eq!((mark.lengths(), Length::marked(path)), (vec![], vec![]));
        mark.set(vec![]);
        assert!(!path.join(MARK).exists());
        let mut logs: Vec<Length> = Vec::new();
        for (log, bytes) in [(9, 0), (9, 5), (9, 5), (9, 70_000), (12, 0), (12, 3), (13, 7)] {
            let length = Length { log, bytes };
            logs.retain(|other| other.log != log);
            logs.push(length);
            write(path, length);
            let found = mark.lengths();
            assert_eq!(found, logs);
            mark.set(found);
            assert_eq!(Length::marked(path), logs);
        }
        // Of two syncs at once the later one may end first.
        mark.set(vec![Length { log: 13, bytes: 2 }]);
        assert_eq!(Length::marked(path), logs);
        fs::remove_file(logs.remove(0).path(path)).unwrap();
        let grown = Length { log: 13, bytes: 8 };
        write(path, grown);
        logs[1] = grown;
        mark.set(mark.lengths());
        assert_eq!(Length::marked(path), logs);
        // A new log that is empty when the database is closed, and one that is not.
        write(path, Length { log: 20, bytes: 9 });
        drop(mark);
        assert_eq!(Length::marked(path), logs);
        write(path, Length { log: 21, bytes: 0 });
        drop(Synced::new(path));
        assert_eq!(Length::marked(path), [Length { log: 21, bytes: 0 }]);
    }

    #[test]
    fn the_mark_names_the_newest_logs_and_one_that_was_torn_says_nothing() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join(MARK);
        let lengths: Vec<Length> =
            (0..20).map(|number| Length { log: u64::MAX - 20 + number, bytes: u64::MAX }).collect();
        fs::write(&file, text(&lengths)).unwrap();
        assert_eq!(Length::marked(dir.path()), lengths[8..]);
        let text = text(&lengths[18..]);
        assert_eq!(text.len(), MARK_LEN);
        for cut in 0..text.len() {
            fs::write(&file, &text[..cut]).unwrap();
            assert_eq!(Length::marked(dir.path()), [], "{cut} bytes");
            assert_eq!(is_damaged(dir.path()), cut > 0, "{cut} bytes");
            let mut other = text.clone().into_bytes();
            other[cut] ^= 1;
            fs::write(&file, &other).unwrap();
            assert_eq!(Length::marked(dir.path()), [], "byte {cut}");
        }
        fs::write(&file, &text).unwrap();
        assert!(!is_damaged(dir.path()));
        fs::write(&file, vec![0; text.len()]).unwrap();
        assert!(!is_damaged(dir.path()));
        assert_eq!(Length::marked(dir.path()), []);
    }
}
