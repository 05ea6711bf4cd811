use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::contents::Contents;
use super::{BackupError, BackupId, Backups, Listed, Status, pact};
use crate::audit::{Audit, Event, Flaw, Report};
use crate::cause::{Cause, Classified};
use crate::open::Engine;
use crate::types::Micros;
use crate::verify::{Level, Verifier};

/// Verifies all of a backup until `stop` is set: that every file is there, that the database has
/// what it had, every block of it, and every database of Pact.
///
/// # Cost
///
/// That of verifying a database, and of reading all of Pact.
///
/// # Errors
///
/// [`BackupError`] says what is wrong first; blocks are told to `observer` one by one.
pub fn verify(
    backups: &Backups,
    id: &BackupId,
    stop: &AtomicBool,
    now: Micros,
    observer: &mut dyn FnMut(Event<'_>),
) -> Result<(Contents, Report), BackupError> {
    require_done(backups, id)?;
    let dir = backups.path(id);
    let contents = Contents::read(&dir)?;
    contents.check_files(&dir, stop)?;
    contents.check_database(&dir).map_err(|error| of_backup(&dir, error))?;
    pact::check_all(&dir, stop)?;
    let mut of_log = 0_u64;
    let report = audit(&dir, stop, now, &mut |event| {
        of_log = of_log.saturating_add(u64::from(matches!(event, Event::Flaw(Flaw::Log { .. }))));
        observer(event);
    });
    let report = report.map_err(|error| of_backup(&dir, error))?;
    // What the backup says itself: the log was damaged when it was copied.
    let known = if contents.damaged_log.is_some() { of_log } else { 0 };
    match report.broken.saturating_add(report.flaws).saturating_sub(known) {
        _ if report.stopped => Err(BackupError::Stopped),
        0 => Ok((contents, report)),
        findings => Err(BackupError::Unsound { id: id.clone(), findings }),
    }
}

impl Backups {
    /// Ends with an error unless a backup that is done has every file with its listed length.
    ///
    /// # Cost
    ///
    /// One look at each file, of which nothing is read.
    ///
    /// # Errors
    ///
    /// [`BackupError::Damaged`] names the first that is missing or has another length.
    pub fn check_lengths(&self, id: &BackupId) -> Result<(), BackupError> {
        let dir = self.path(id);
        Contents::read(&dir)?.check_lengths(&dir).map(drop)
    }

    /// [`Contents::damaged_log`] of a backup, as far as its contents can be read.
    ///
    /// # Errors
    ///
    /// [`BackupError::Damaged`] if they cannot be read.
    pub fn damaged_log(&self, id: &BackupId) -> Result<Option<String>, BackupError> {
        Ok(Contents::read(&self.path(id))?.damaged_log)
    }

    /// The newest backup other than `id` that is done, has every file with its listed length, and lacks no
    /// writes.
    ///
    /// # Errors
    ///
    /// As for [`Backups::list`].
    pub fn newest_other(&self, id: &BackupId) -> Result<Option<BackupId>, BackupError> {
        let is_good = |listed: &Listed| {
            let lacks_none = |contents: &Contents| contents.damaged_log.is_none();
            let is_whole =
                listed.damage.is_none() && listed.contents.as_ref().is_some_and(lacks_none);
            listed.id != *id && listed.status == Status::Done && is_whole
        };
        let newest = self.list()?.into_iter().rev().find(is_good);
        Ok(newest.map(|listed| listed.id))
    }
}

fn audit(
    dir: &Path,
    stop: &AtomicBool,
    now: Micros,
    observer: &mut dyn FnMut(Event<'_>),
) -> Result<Report, BackupError> {
    let reader = Engine::open_read_only(dir)?;
    let verifier = Verifier::new(reader.version(), Level::Full, now);
    Ok(Audit::new(&reader, &verifier).as_stored().run(stop, observer)?)
}

/// The error of a database that is the backup in `dir`: if it is damaged, so is the backup.
fn of_backup(dir: &Path, error: BackupError) -> BackupError {
    let is_damage = matches!(error.fault().cause, Cause::Damage | Cause::Missing);
    let what = match &error {
        BackupError::Open(_) | BackupError::Query(_) if is_damage => error.to_string(),
        BackupError::Differs { what } => format!("is not the database that was backed up: {what}"),
        _ => return error,
    };
    BackupError::Damaged { path: dir.to_owned(), what }
}

/// Ends with an error unless the backup is done.
pub(super) fn require_done(backups: &Backups, id: &BackupId) -> Result<(), BackupError> {
    match backups.status(id)? {
        Some(Status::Done) => Ok(()),
        Some(Status::Failed) if let Some(error) = backups.lost_status(id)? => Err(error),
        Some(status) => Err(BackupError::Unfinished { id: id.clone(), status }),
        None => Err(BackupError::Unknown { id: id.clone(), dir: backups.dir().to_owned() }),
    }
}
