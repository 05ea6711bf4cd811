//! A database that does not open because a file is missing → one that does, if that is safe.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use thiserror::Error;

use crate::audit::{Audit, Event, Report};
use crate::open::{Engine, OpenError};
use crate::query::QueryError;
use crate::store::{Found, LostLog, Repair, StoreError};
use crate::types::Micros;
use crate::verify::{Level, Verifier};

/// A database is not repaired, and nothing of it has changed.
#[derive(Debug, Error)]
pub enum RepairError {
    /// It cannot be, or is in use, or its files cannot be read or written.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be verified.
    #[error(transparent)]
    Query(#[from] QueryError),
}

impl From<StoreError> for RepairError {
    fn from(error: StoreError) -> Self {
        Self::Open(error.into())
    }
}

/// The result of a repair.
#[derive(Clone, Debug)]
pub enum Repaired {
    /// The list of files is the one that `CURRENT` names, so there was nothing to do.
    Whole {
        /// A log that is missing or was cut: the last writes are lost.
        lost_log: Option<LostLog>,
        /// What the verification of the database found.
        report: Report,
    },
    /// It was stopped before anything changed.
    Stopped,
    /// The database opens again.
    Again {
        /// The list of files that it has.
        list: String,
        /// A log that is missing or was cut: what was written last is lost.
        lost_log: Option<LostLog>,
        /// What the list does not name, in the folder where it is kept.
        kept: Vec<PathBuf>,
        /// What the verification of the database found.
        report: Report,
    },
}

/// Repairs the database in `dir`: it gets `CURRENT` again, if the list of files is there that it named. All
/// blocks are verified first, at `level` or at the lower one that they were stored at, unless `stop` is set.
///
/// What the verification finds does not keep the database from being repaired: it is the database that it was
/// before. It is for the caller to report.
///
/// # Errors
///
/// [`RepairError`]; nothing has changed then.
pub fn repair(
    dir: &Path,
    level: Level,
    now: Micros,
    stop: &AtomicBool,
    observer: &mut dyn FnMut(Event<'_>),
) -> Result<Repaired, RepairError> {
    let repair = match Repair::find(dir)? {
        Found::Repair(repair) => repair,
        Found::Whole { lost_log } => return whole(dir, lost_log, level, now, stop, observer),
    };
    let linked = repair.linked().map_err(RepairError::from);
    let report = match linked.and_then(|dir| verified(&dir, level, now, stop, observer)) {
        Ok(report) => report,
        Err(error) => {
            repair.abandon()?;
            return Err(error);
        }
    };
    if report.stopped {
        repair.abandon()?;
        return Ok(Repaired::Stopped);
    }
    let (list, lost_log) = (repair.list().to_owned(), repair.lost_log().cloned());
    let kept = repair.apply()?;
    Ok(Repaired::Again { list, lost_log, kept, report })
}

/// The result for a database that has all files that its list names, but for the log.
fn whole(
    dir: &Path,
    lost_log: Option<LostLog>,
    level: Level,
    now: Micros,
    stop: &AtomicBool,
    observer: &mut dyn FnMut(Event<'_>),
) -> Result<Repaired, RepairError> {
    let (reader, flaws) = Engine::open_to_verify(dir)?;
    let verifier = Verifier::new(reader.version(), level, now);
    let report = Audit::new(&reader, &verifier).knowing(flaws).as_stored().run(stop, observer)?;
    Ok(if report.stopped { Repaired::Stopped } else { Repaired::Whole { lost_log, report } })
}

fn verified(
    dir: &Path,
    level: Level,
    now: Micros,
    stop: &AtomicBool,
    observer: &mut dyn FnMut(Event<'_>),
) -> Result<Report, RepairError> {
    let reader = Engine::open_read_only(dir)?;
    let verifier = Verifier::new(reader.version(), level, now);
    Ok(Audit::new(&reader, &verifier).as_stored().run(stop, observer)?)
}
