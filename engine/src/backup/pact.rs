//! The `SQLite` databases of Pact, one a chain, which another process may be writing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{BackupError, disk};
use crate::types::{ChainId, Grow};

/// How long to wait for a database that another process has locked.
const LOCK_TIME: Duration = Duration::from_secs(30);

/// The time between two looks at whether it still is.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Pages that are copied between two looks at whether to stop; of 1 kB in chainweb-node's.
const STEP_PAGES: i32 = 4096;

/// Where a database folder keeps those of Pact.
pub(super) fn folder(dir: &Path) -> PathBuf {
    dir.join("0").join("sqlite")
}

fn name(chain: ChainId) -> String {
    format!("pact-v1-chain-{chain}.sqlite")
}

/// Where they are, and how many bytes they have together, with what is in their logs.
///
/// # Errors
///
/// [`BackupError::PactMissing`] if that of a chain is not there.
pub(super) fn survey(dir: &Path, chains: &[ChainId]) -> Result<u64, BackupError> {
    let mut bytes = 0_u64;
    for chain in chains {
        let path = folder(dir).join(name(*chain));
        if !disk::exists(&path)? || !path.is_file() {
            return Err(BackupError::PactMissing { chain: *chain, path });
        }
        let log = folder(dir).join(format!("{}-wal", name(*chain)));
        let log_bytes = log.metadata().map_or(0, |data| data.len());
        bytes.grow(disk::metadata(&path)?.len().saturating_add(log_bytes));
    }
    Ok(bytes)
}

/// Copies the databases of `chains` from one database folder to another, and checks the copies.
///
/// Each copy is one state of its database: what is written meanwhile is not in it, and in the
/// write-ahead mode that chainweb-node uses nobody waits for it.
///
/// # Errors
///
/// [`BackupError::Pact`] and its like.
pub(super) fn copy_all(
    from: &Path,
    to: &Path,
    chains: &[ChainId],
    stop: &AtomicBool,
) -> Result<(), BackupError> {
    let (from, to) = (folder(from), folder(to));
    fs::create_dir_all(&to).map_err(BackupError::io(&to))?;
    for chain in chains {
        let (source, target) = (from.join(name(*chain)), to.join(name(*chain)));
        copy(&source, &target, stop)?;
        // The copy says that it is of the source what the source says of itself.
        check(&target).map_err(|error| match error {
            BackupError::PactDamaged { report, .. } => {
                BackupError::PactDamaged { path: source, report }
            }
            error => error,
        })?;
    }
    Ok(())
}

/// Checks every database of Pact in a database folder.
///
/// # Errors
///
/// [`BackupError::PactDamaged`] names the first that is damaged.
pub(super) fn check_all(dir: &Path, stop: &AtomicBool) -> Result<(), BackupError> {
    let folder = folder(dir);
    if !disk::exists(&folder)? {
        return Ok(());
    }
    for path in disk::entries(&folder)? {
        if stop.load(Ordering::Relaxed) {
            return Err(BackupError::Stopped);
        }
        check(&path)?;
    }
    Ok(())
}

fn copy(source: &Path, target: &Path, stop: &AtomicBool) -> Result<(), BackupError> {
    let failed = |source_error| BackupError::Pact { path: source.to_owned(), source: source_error };
    let from = read(source).map_err(failed)?;
    let pact = |error| BackupError::Pact { path: target.to_owned(), source: error };
    let mut to = Connection::open(target).map_err(pact)?;
    // What is here is made durable at the end, with everything else.
    to.pragma_update(None, "synchronous", "OFF").map_err(pact)?;
    let backup = Backup::new(&from, &mut to).map_err(pact)?;
    let mut blocked_since: Option<Instant> = None;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(BackupError::Stopped);
        }
        match backup.step(STEP_PAGES).map_err(failed)? {
            StepResult::Done => return Ok(()),
            StepResult::More => blocked_since = None,
            _ => {
                let since = *blocked_since.get_or_insert_with(Instant::now);
                if since.elapsed() > LOCK_TIME {
                    return Err(failed(locked()));
                }
                thread::sleep(LOCK_PAUSE);
            }
        }
    }
}

fn locked() -> rusqlite::Error {
    let text = "locked by another process, which must not use locking_mode=EXCLUSIVE";
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(5), Some(text.to_owned()))
}

/// Opens a database to read, and holds the state that it has now: without that a copy would begin
/// anew with every write of another process.
fn read(path: &Path) -> Result<Connection, rusqlite::Error> {
    let open = |access| -> Result<Connection, rusqlite::Error> {
        let connection =
            Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(LOCK_TIME)?;
        connection.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")?;
        Ok(connection)
    };
    match open(OpenFlags::SQLITE_OPEN_READ_ONLY) {
        // A crash left a journal that has to be played back first.
        Err(error) if needs_recovery(&error) => open(OpenFlags::SQLITE_OPEN_READ_WRITE),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Err(locked()),
        opened => opened,
    }
}

fn needs_recovery(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen))
}

/// Checks that nothing of a database is damaged that nobody writes.
fn check(path: &Path) -> Result<(), BackupError> {
    let report = || -> Result<String, rusqlite::Error> {
        // Neither locks nor logs: the file is all there is, and it stays as it is.
        let uri = format!("file:{}?immutable=1", escaped(path));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(uri, flags)?;
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
    };
    let damaged = |report| BackupError::PactDamaged { path: path.to_owned(), report };
    match report() {
        Ok(report) if report == "ok" => Ok(()),
        Ok(report) => Err(damaged(report)),
        Err(error)
            if matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            ) =>
        {
            Err(damaged(error.to_string()))
        }
        Err(source) => Err(BackupError::Pact { path: path.to_owned(), source }),
    }
}

/// A path as it stands in a URI.
fn escaped(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).iter();
    let escape =
        |byte: &u8| if plain(*byte) { char::from(*byte).into() } else { format!("%{byte:02x}") };
    bytes.map(escape).collect::<String>()
}
