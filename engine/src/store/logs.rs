//! Checks that the logs of another program's database exist, are intact, and are not too long.
//!
//! - Data in damaged, cut or missing logs is lost to the reader, who has to be told, since RocksDB does not
//!   report it.
//! - Only a running node may be in the middle of writing a record. If no node runs, a crash or a copy has cut
//!   the last record, and perhaps many more.
//! - A log that was cut exactly between two records looks complete.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::process::{Flock, FlockType, fcntl_getlk};
use thiserror::Error;

use super::journal::{End, Log};
use super::listed::LOCK;
use super::manifest::Logs as Listed;
use super::{RecordFlaw, StoreError, live, records};
use crate::regular;

/// Bytes that logs take in memory at most: RocksDB holds all of them as long as a database is only read.
const MEMORY_MAX: u64 = 1 << 30;

/// The same of a row, in addition to its bytes.
const ROW_BYTES: u64 = 96;

/// What is to be known of the logs of another program's database.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LogFinding {
    /// There is none.
    #[error(
        "no log is there{}: blocks that were only in it are missing (those that the node wrote last; \
         snapshots are often made without logs)",
        expected(*.from)
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
    },
    /// The last record is incomplete.
    #[error("{log:06}.log ends with {bytes} bytes of an incomplete record: {}", why_cut(*.is_running))]
    Cut {
        /// The number of the log.
        log: u64,
        /// Bytes of the incomplete record.
        bytes: u64,
        /// Whether a node is running, and may be writing the record.
        is_running: bool,
    },
    /// The list of files is incomplete.
    #[error("the MANIFEST ends at byte {at} with an incomplete edit: {}", why_cut(*.is_running))]
    ListCut {
        /// Bytes before it.
        at: u64,
        /// Whether a node is running, and may be writing the edit.
        is_running: bool,
    },
    /// It has no bytes, and there are no tables.
    #[error(
        "{log:06}.log is empty, and there is no table: if the node has stored anything, the file was cut"
    )]
    Empty {
        /// The number of the log.
        log: u64,
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
    /// Whether the missing data is known to have been written, or to have been cut off.
    #[must_use]
    pub const fn is_loss(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Refused(_) | Self::Gap { .. } => true,
            Self::Cut { is_running, .. } | Self::ListCut { is_running, .. } => !*is_running,
            Self::Missing { .. } | Self::Empty { .. } => false,
        }
    }

    /// Whether a log has unreadable bytes, after which there may be readable ones.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Refused(_))
    }

    /// Whether a file ends in the middle of what was being written.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        matches!(self, Self::Cut { .. } | Self::ListCut { .. } | Self::Empty { .. })
    }
}

/// Which log the MANIFEST expects, if that is known.
fn expected(from: u64) -> String {
    if from == 0 {
        return String::new();
    }
    format!(", and the MANIFEST expects {from:06}.log or a newer one")
}

/// Why a file ends in the middle of a record.
const fn why_cut(is_running: bool) -> &'static str {
    if is_running {
        "the running node is writing it"
    } else {
        "the node crashed while it was writing, or the file was cut when it was copied. What came after it \
         is missing"
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
        "the writes in its logs are not in order: one of them is a copy of another, or from an earlier \
         moment. Copy the whole folder while the node is stopped"
    )]
    Order,
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

/// The error of RocksDB for the database at `path`, in other words if it is about its logs.
pub(super) fn refusal(path: &Path, error: rocksdb::Error) -> StoreError {
    if error.to_string().contains("Sequence number is being set backwards") {
        return Unreadable::Order.at(path);
    }
    error.into()
}

/// A log that has what no table has.
struct Needed {
    number: u64,
    path: PathBuf,
    bytes: u64,
    log: Log,
}

/// Whether a process has the database at `path` open to write.
pub(super) fn is_running(path: &Path) -> bool {
    let asked = Flock::from(FlockType::WriteLock);
    let lock = regular::open(&path.join(LOCK));
    // If the system cannot tell, no process counts as running: missing data is then reported as lost.
    lock.is_ok_and(|lock| fcntl_getlk(&lock, &asked).is_ok_and(|holder| holder.is_some()))
}

/// Reads the logs of the database at `path`.
///
/// # Errors
///
/// [`StoreError`] if RocksDB would read one for ever, or would take more memory than [`MEMORY_MAX`].
pub(super) fn inspect(path: &Path) -> Result<Vec<LogFinding>, StoreError> {
    // Before the files: a node that stops meanwhile completes what it writes.
    let (is_running, mut findings) = (is_running(path), Vec::new());
    let flaw = match records::check_foreign(path) {
        // RocksDB reads what is before it, and takes that for all.
        Err(StoreError::Record { path, at, flaw })
            if number(&path).is_some()
                && !matches!(flaw, RecordFlaw::Kind(_) | RecordFlaw::Damaged(_)) =>
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
        findings.extend(listed.cut_at.map(|at| LogFinding::ListCut { at, is_running }));
    }
    for (number, log) in logs.iter().enumerate() {
        let behind = logs.get(number.saturating_add(1));
        findings.extend(gap(log, behind));
        let odd = flaw.as_ref().filter(|(path, ..)| *path == log.path);
        let odd = odd.map(|(_, at, flaw)| (*at, *flaw));
        findings.extend(finding(log, odd, listed.as_ref(), is_running));
    }
    findings.extend(empty(path, &logs)?);
    Ok(findings)
}

/// The number of the log at `path`.
pub(super) fn number(path: &Path) -> Option<u64> {
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
    Ok(())
}

/// Writes that are neither in a log nor in the next one.
fn gap(before: &Needed, after: Option<&Needed>) -> Option<LogFinding> {
    let after = after?;
    let writes = after.log.first?.checked_sub(before.log.next?).filter(|writes| *writes > 0)?;
    Some(LogFinding::Gap { before: before.number, after: after.number, writes })
}

/// A log without bytes where there is nothing else.
fn empty(path: &Path, logs: &[Needed]) -> Result<Option<LogFinding>, StoreError> {
    let Some(last) = logs.last().filter(|_| logs.iter().all(|log| log.bytes == 0)) else {
        return Ok(None);
    };
    let names = live::listing(path).map_err(|error| StoreError::io(path, error))?;
    let has_tables =
        names.iter().any(|name| name.rsplit_once('.').is_some_and(|(_, end)| end == "sst"));
    Ok((!has_tables).then_some(LogFinding::Empty { log: last.number }))
}

/// How a log ends, if not as it should. `flaw` is one that only [`records`] finds.
fn finding(
    log: &Needed,
    flaw: Option<(u64, RecordFlaw)>,
    listed: Option<&Listed>,
    is_running: bool,
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
            let bytes = bytes.saturating_sub(at);
            Some(LogFinding::Cut { log: number, bytes, is_running })
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
