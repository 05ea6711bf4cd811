//! Checks that the logs of another program's database exist, are intact, and are not too long.
//!
//! - A record that a crash or a copy cut at the end of a log was never completely written: that is only a
//!   warning.
//! - Data in damaged or missing logs is lost to the reader, who has to be told, since RocksDB does not
//!   report it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::journal::{End, Log};
use super::manifest::Logs as Listed;
use super::{RecordFlaw, StoreError, live, records};

/// Bytes that logs take in memory at most: RocksDB holds all of them as long as a database is only read.
const MEMORY_MAX: u64 = 1 << 30;

/// The same of a row, in addition to its bytes.
const ROW_BYTES: u64 = 96;

/// What is to be known of the logs of another program's database.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LogFinding {
    /// There is none.
    #[error(
        "no log is there, and the MANIFEST expects {from:06}.log or a newer one: blocks that were only \
         in it are missing (those that the node wrote last; snapshots are often made without logs)"
    )]
    Missing {
        /// The number of the oldest that is expected.
        from: u64,
    },
    /// Between two of them others are missing.
    #[error(
        "{writes} writes between {before:06}.log and {after:06}.log are missing: they are in no log"
    )]
    Gap {
        /// The number of the one before.
        before: u64,
        /// The number of the one after.
        after: u64,
        /// How many writes are missing.
        writes: u64,
        /// Whether the one before is cut off.
        is_cut: bool,
    },
    /// The last record is incomplete, because the node or its machine crashed, or was writing.
    #[error(
        "{log:06}.log ends with {bytes} bytes of an incomplete record: the node crashed, or was \
         writing it"
    )]
    Cut {
        /// The number of the log.
        log: u64,
        /// Bytes of the incomplete record.
        bytes: u64,
    },
    /// The list of files is incomplete.
    #[error(
        "the MANIFEST ends at byte {at} with an incomplete edit: the node crashed, or was writing it"
    )]
    ListCut {
        /// Bytes before it.
        at: u64,
    },
    /// Bytes of it are not what was written.
    #[error("{log:06}.log is damaged at byte {at} of {bytes}: {why}")]
    Damaged {
        /// The number of the log.
        log: u64,
        /// Bytes before the damage.
        at: u64,
        /// Bytes of the log.
        bytes: u64,
        /// What is wrong.
        why: String,
    },
    /// RocksDB refuses some of it.
    #[error("a log is damaged: {0}")]
    Refused(String),
}

impl LogFinding {
    /// Whether the missing data is known to have been written.
    #[must_use]
    pub const fn is_loss(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Refused(_) | Self::Gap { is_cut: true, .. })
    }
}

/// Why the logs of another program's database are not read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
enum Unreadable {
    #[error(
        "the logs would take {bytes} bytes of memory, and the limit is {MEMORY_MAX}. Start and stop the \
         node once: it flushes them to tables"
    )]
    Long { bytes: u64 },
    #[error(
        "the log is compressed, which is not supported. Open and close the database once with the \
         program that wrote it: that flushes the log to tables"
    )]
    Compressed,
    #[error(
        "{count} logs that the MANIFEST names are missing, the first of them {first:06}.log: at least \
         {bytes} bytes of the last writes. Copy them from the source of the folder"
    )]
    Lost { first: u64, count: usize, bytes: u64 },
}

impl Unreadable {
    fn at(self, path: &Path) -> StoreError {
        let source = io::Error::new(ErrorKind::InvalidData, self);
        StoreError::Io { path: path.to_owned(), source }
    }
}

/// A log that has what no table has.
struct Needed {
    number: u64,
    path: PathBuf,
    bytes: u64,
    log: Log,
}

/// Reads the logs of the database at `path`.
///
/// # Errors
///
/// [`StoreError`] if RocksDB would read one for ever, or would take more memory than [`MEMORY_MAX`].
pub(super) fn inspect(path: &Path) -> Result<Vec<LogFinding>, StoreError> {
    let mut findings = Vec::new();
    let flaw = match records::check_foreign(path) {
        // RocksDB reads what is before it, and takes that for all.
        Err(StoreError::Record { path, at, flaw })
            if number(&path).is_some() && !matches!(flaw, RecordFlaw::Kind(_)) =>
        {
            Some((path, at, flaw))
        }
        checked => checked.map(|()| None)?,
    };
    // The list before the logs: those that it asks for are older than any that is made meanwhile.
    let listed = Listed::of(path);
    let mut logs = needed(path, listed.as_ref().map_or(0, |listed| listed.needed_from))?;
    logs.sort_by_key(|log| log.number);
    check_memory(path, &logs)?;
    if let Some(listed) = &listed {
        missing(path, listed, &logs, &mut findings)?;
    }
    for (number, log) in logs.iter().enumerate() {
        let behind = logs.get(number.saturating_add(1));
        findings.extend(gap(log, behind));
        let odd = flaw.as_ref().filter(|(path, ..)| *path == log.path);
        findings.extend(finding(log, odd.map(|(_, at, flaw)| (*at, *flaw)), listed.as_ref()));
    }
    Ok(findings)
}

/// The number of the log at `path`.
fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()
}

fn needed(path: &Path, from: u64) -> Result<Vec<Needed>, StoreError> {
    let logs = live::logs(path).into_iter().filter_map(|path| Some((number(&path)?, path)));
    let logs: Vec<(u64, PathBuf)> = logs.filter(|(number, _)| *number >= from).collect();
    // Before they are read: a file may say that it has a million times what is on the disk.
    let lens = logs.iter().filter_map(|(_, path)| path.metadata().ok());
    let bytes = lens.fold(0_u64, |sum, data| sum.saturating_add(data.len()));
    if bytes > MEMORY_MAX {
        return Err(Unreadable::Long { bytes }.at(path));
    }
    let mut needed = Vec::new();
    for (number, path) in logs {
        let read = Log::read(&path, number).and_then(|log| Ok((log, path.metadata()?.len())));
        match read {
            Ok((log, bytes)) => needed.push(Needed { number, path, bytes, log }),
            // The node has deleted it meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(StoreError::Io { path, source }),
        }
    }
    Ok(needed)
}

fn check_memory(path: &Path, logs: &[Needed]) -> Result<(), StoreError> {
    // How much they have when they are expanded cannot be told.
    if let Some(log) = logs.iter().find(|log| log.log.is_compressed) {
        return Err(Unreadable::Compressed.at(&log.path));
    }
    let bytes = logs.iter().fold(0_u64, |sum, log| {
        sum.saturating_add(log.bytes).saturating_add(log.log.rows.saturating_mul(ROW_BYTES))
    });
    if bytes > MEMORY_MAX {
        return Err(Unreadable::Long { bytes }.at(path));
    }
    Ok(())
}

/// What the list of files says of logs, as far as that does not fit.
///
/// # Errors
///
/// [`StoreError::Io`] if logs that it names are not there, which RocksDB refuses as well.
fn missing(
    path: &Path,
    listed: &Listed,
    logs: &[Needed],
    findings: &mut Vec<LogFinding>,
) -> Result<(), StoreError> {
    let is_there = |number: u64| logs.iter().any(|log| log.number == number);
    // One that has no bytes was not synced yet, and may never have had any.
    let gone = listed.tracked.iter().filter(|(number, bytes)| **bytes > 0 && !is_there(**number));
    let gone: Vec<(u64, u64)> = gone.map(|(number, bytes)| (*number, *bytes)).collect();
    if let Some((first, _)) = gone.first() {
        let bytes = gone.iter().fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        return Err(Unreadable::Lost { first: *first, count: gone.len(), bytes }.at(path));
    }
    if logs.is_empty() {
        findings.push(LogFinding::Missing { from: listed.needed_from });
    }
    findings.extend(listed.cut_at.map(|at| LogFinding::ListCut { at }));
    Ok(())
}

/// Writes that are neither in a log nor in the next one.
fn gap(before: &Needed, after: Option<&Needed>) -> Option<LogFinding> {
    let after = after?;
    let writes = after.log.first?.checked_sub(before.log.next?).filter(|writes| *writes > 0)?;
    let is_cut = matches!(before.log.end, End::Cut { .. });
    Some(LogFinding::Gap { before: before.number, after: after.number, writes, is_cut })
}

/// How a log ends, if not as it should. `flaw` is one that only [`records`] finds.
fn finding(
    log: &Needed,
    flaw: Option<(u64, RecordFlaw)>,
    listed: Option<&Listed>,
) -> Option<LogFinding> {
    let (number, bytes) = (log.number, log.bytes);
    let damaged = |at, why: String| LogFinding::Damaged { log: number, at, bytes, why };
    let synced = listed.and_then(|listed| listed.tracked.get(&number)).copied().unwrap_or_default();
    match (log.log.end, flaw) {
        (End::Damaged { at, why }, _) => Some(damaged(at, why.to_owned())),
        (_, Some((at, flaw))) => Some(damaged(at, flaw.to_string())),
        _ if bytes < synced => {
            Some(damaged(bytes, format!("the MANIFEST says that it had {synced} bytes")))
        }
        (End::Cut { at }, _) => {
            Some(LogFinding::Cut { log: number, bytes: bytes.saturating_sub(at) })
        }
        (End::Whole, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_count_as_memory_however_short_they_are() {
        let log = |bytes, rows, is_compressed| {
            let log = Log { end: End::Whole, first: None, next: None, rows, is_compressed };
            [Needed { number: 7, path: PathBuf::from("000007.log"), bytes, log }]
        };
        let check =
            |logs: &[Needed]| check_memory(Path::new("node"), logs).map_err(|e| e.to_string());
        assert_eq!(check(&log(MEMORY_MAX, 0, false)), Ok(()));
        assert!(check(&log(MEMORY_MAX, 1, false)).unwrap_err().contains("bytes of memory"));
        assert!(check(&log(100 << 20, 20_000_000, false)).unwrap_err().contains("bytes of memory"));
        assert!(check(&log(1, u64::MAX, false)).unwrap_err().contains("bytes of memory"));
        assert!(check(&log(1, 1, true)).unwrap_err().contains("compressed"));
    }
}
