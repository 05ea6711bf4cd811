//! What a crash leaves at the end of the log of one of our databases.
//!
//! A crash of the process leaves a whole log, or one that ends in the middle of a record. One of the machine may
//! leave anything after the bytes that were synced, since the system writes pages in any order:
//!
//! ```text
//! synced          │ not synced
//! record │ record │ record │ zeros │ record      the log ends before the zeros
//! ```
//!
//! RocksDB reads up to there by itself in most cases. If zeros begin where a record should, for example, it goes on
//! after them, and there the log is cut before it reads.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::directory::shown_path;
use super::journal::{self, End};
use super::logs::{is_running, number};
use super::synced::Length;
use super::{StoreError, live, losses};

/// A log that ends in the middle of a record.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) log: PathBuf,
    /// Where the record begins.
    pub(super) at: u64,
    /// Bytes of it.
    pub(super) bytes: u64,
}

/// A log of one of our databases that ends in the middle of a record although no process writes it. A power
/// failure leaves such a log, and so does truncating it.
pub(super) fn cut(path: &Path) -> Option<Cut> {
    if is_running(path) {
        return None;
    }
    live::logs(path).into_iter().find_map(|log| {
        let End::Cut { at } = journal::tail(&log, number(&log)?).ok()? else { return None };
        let bytes = log.metadata().ok()?.len().saturating_sub(at);
        Some(Cut { log, at, bytes })
    })
}

/// The log of one of our databases whose only damage is after what was synced, and how many bytes are before
/// it: a crash of the machine may leave any bytes there.
pub(super) fn torn(path: &Path) -> Option<(PathBuf, u64)> {
    let logs: Vec<Length> = Length::all(path).into_iter().filter(|log| log.bytes > 0).collect();
    let (last, others) = logs.split_last()?;
    let end = |log: &Length| journal::walk(&log.path(path), log.log, &mut |_, _| ()).ok();
    let End::Damaged { at, .. } = end(last)? else { return None };
    let is_only = || others.iter().all(|log| end(log) == Some(End::Whole));
    (is_after_synced(path, last.log, at) && is_only()).then(|| (last.path(path), at))
}

/// Whether the record at the byte `at` of this log, which RocksDB must not read, is after all that was synced, so
/// that a crash of the machine may have left it: then the log may be cut there.
pub(super) fn is_unsynced(log: &Path, at: u64) -> bool {
    let (Some(path), Some(number)) = (log.parent(), number(log)) else { return false };
    let last = Length::all(path).into_iter().rfind(|log| log.bytes > 0);
    is_after_synced(path, number, at) && last.is_some_and(|last| last.log == number)
}

/// Whether the byte `at` of a log is after all that was synced of it, and something was.
fn is_after_synced(path: &Path, log: u64, at: u64) -> bool {
    Length::synced(path, log).is_some_and(|synced| (1..=at).contains(&synced))
}

/// Cuts a log at the byte `at`, and keeps a copy of it in the folder `lost`.
///
/// # Errors
///
/// What the system says.
pub(super) fn cut_unsynced(log: &Path, at: u64) -> Result<(), StoreError> {
    losses::copy(log)?;
    let cut = File::options().write(true).open(log).and_then(|file| {
        file.set_len(at)?;
        file.sync_all()
    });
    cut.map_err(|error| StoreError::io(log, error))?;
    report_torn(log, at);
    Ok(())
}

/// Tells of a log that is not whole after what was synced.
pub(super) fn report_torn(log: &Path, at: u64) {
    tracing::warn!(
        "{} is not whole after byte {at}, nothing of which was synced: the machine crashed",
        shown_path(log)
    );
}
