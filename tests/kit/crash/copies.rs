//! Backups, archives and restored databases, after a process was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use plait_engine::archive::{self, Checksum, MANIFEST, Manifest};
use plait_engine::backup::{self, Backups, Status};
use plait_engine::verify::{Level, Verifier};
use plait_engine::{Engine, OpenError, store::StoreError};

use super::check::Counts;
use super::world::NOW;
use super::{Kind, Known, Model, Set, folder, held};
use crate::block::NETWORK;

/// What was verified already, and has not changed since.
#[derive(Default)]
pub(super) struct Checked {
    /// Names of backups, and the files of each.
    backups: BTreeMap<String, Files>,
    /// The checksum of the manifest, and the files.
    archive: Option<(String, Files)>,
}

/// Names of files below a folder, and their lengths.
type Files = BTreeMap<PathBuf, u64>;

fn files(dir: &Path) -> Files {
    let mut files = Files::new();
    for entry in dir.read_dir().into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(data) if data.is_dir() => files.extend(self::files(&entry.path())),
            Ok(data) => files.extend([(entry.path(), data.len())]),
            Err(_) => {}
        }
    }
    files
}

/// Checks every backup.
///
/// # Errors
///
/// What is wrong first.
pub(super) fn backups(
    path: &Path,
    model: &Model,
    checked: &mut Checked,
    counts: &mut Counts,
) -> Result<(), String> {
    let dir = folder::backups(path);
    let backups = Backups::new(&dir);
    let mut done = BTreeSet::new();
    for listed in backups.list().map_err(|error| error.to_string())? {
        let id = listed.id.to_string();
        match listed.status {
            Status::InProgress => return Err(format!("{id} is in progress, of no process")),
            Status::Failed if model.is_tidy && backups.path(&listed.id).join("0").exists() => {
                return Err(format!("{id} failed, and takes room still"));
            }
            Status::Failed => {}
            Status::Done => {
                let Some(copy) = model.backups.get(&id) else {
                    return Err(format!("{id} is done, and was never begun"));
                };
                done.insert(id.clone());
                let files = files(&backups.path(&listed.id));
                match checked.backups.get(&id) {
                    Some(known) if *known == files => {}
                    Some(_) => return Err(format!("{id} has other files than before")),
                    None => {
                        verify(&backups, &listed.id, model, &copy.known, counts)?;
                        checked.backups.insert(id, files);
                        counts.backups += 1;
                    }
                }
            }
        }
    }
    checked.backups.retain(|id, _| done.contains(id));
    let lost =
        model.backups.iter().find(|(id, copy)| copy.done && copy.kept && !done.contains(*id));
    if let Some((id, _)) = lost {
        return Err(format!("{id} was said to be done, and is not"));
    }
    if model.is_tidy { nothing_left(&dir) } else { Ok(()) }
}

fn verify(
    backups: &Backups,
    id: &backup::BackupId,
    model: &Model,
    known: &Known,
    counts: &mut Counts,
) -> Result<(), String> {
    let stop = AtomicBool::new(false);
    let verified = backup::verify(backups, id, &stop, NOW, &mut |_| ());
    let (_, report) = verified.map_err(|error| format!("{id}: {error}"))?;
    counts.blocks += report.blocks();
    whole(&backups.path(id), model, known).map_err(|error| format!("{id}: {error}"))
}

/// Checks that a copy of a database has what was known when it was begun, and nothing that was never
/// begun.
fn whole(dir: &Path, model: &Model, known: &Known) -> Result<(), String> {
    let reader = Engine::open_read_only(dir).map_err(|error| error.to_string())?;
    let found = held::held(&reader, &model.world)?;
    within(&known.held, &found.held, &model.begun)?;
    within(&known.payloads, &found.payloads, &model.begun)
        .map_err(|error| format!("payloads: {error}"))
}

fn within(least: &Set, found: &Set, most: &Set) -> Result<(), String> {
    if let Some(lost) = least.difference(found).next() {
        return Err(format!("block {lost} is lost"));
    }
    match found.difference(most).next() {
        Some(more) => Err(format!("block {more} was never begun")),
        None => Ok(()),
    }
}

/// Whether jobs left nothing in the folder of backups that was to be cleared away.
fn nothing_left(backups: &Path) -> Result<(), String> {
    let Ok(entries) = backups.read_dir() else { return Ok(()) };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    match names.into_iter().find(|name| name.starts_with('.') && name != ".lock") {
        Some(name) => Err(format!("{name} is there still")),
        None => Ok(()),
    }
}

/// Checks the archive.
///
/// # Errors
///
/// What is wrong first.
pub(super) fn archive(
    path: &Path,
    model: &Model,
    checked: &mut Checked,
    counts: &mut Counts,
) -> Result<(), String> {
    let dir = folder::archive(path);
    if !dir.join(MANIFEST).exists() {
        return match &model.archive {
            Some(_) => Err("it was said to be there".into()),
            None => Ok(()),
        };
    }
    let (_, bytes) = Manifest::read(&dir).map_err(|error| error.to_string())?;
    let sum = Checksum::of(&bytes).to_string();
    let known = (sum.clone(), files(&dir));
    if !model.archive_changes && checked.archive.as_ref() == Some(&known) {
        return Ok(());
    }
    let mut wrong = None;
    let level = if model.world.kind == Kind::Full { Level::Full } else { Level::Hash };
    let verifier = |_: &Manifest| Verifier::new(NETWORK, level, NOW);
    let report = archive::check(&dir, verifier, &AtomicBool::new(false), &mut |event| {
        let text = match event {
            archive::Event::Damaged(name, damage) => format!("{name}: {damage}"),
            archive::Event::Broken(place, _, failures) => format!("{place}: {failures}"),
            archive::Event::Begin { .. }
            | archive::Event::Progress(_)
            | archive::Event::Unlisted(_) => return,
        };
        wrong.get_or_insert(text);
    });
    let report = report.map_err(|error| error.to_string())?;
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    counts.archives += 1;
    counts.blocks += report.passed.iter().sum::<u64>();
    let genesis: Vec<_> = model.world.genesis();
    let mut found = Set::new();
    for header in crate::archive::read_all(&dir) {
        match model.world.find(&header.view().hash()) {
            Some(number) => found.extend([number]),
            None if genesis.contains(&header) => {}
            None => return Err(format!("{} is of no world", header.view().hash())),
        }
    }
    let least = model.archive.as_ref().map(|(_, known)| known.held.clone()).unwrap_or_default();
    within(&least, &found, &model.begun)?;
    match &model.archive {
        Some((said, _)) if !model.archive_changes && *said != sum => {
            Err(format!("its manifest has checksum {sum}, not {said}"))
        }
        _ => {
            checked.archive = Some(known);
            Ok(())
        }
    }
}

/// Checks the database that was restored, or is being.
///
/// # Errors
///
/// What is wrong first.
pub(super) fn restored(path: &Path, model: &Model, counts: &mut Counts) -> Result<(), String> {
    let dir = folder::restored(path);
    let Some((id, done)) = &model.restore else { return Ok(()) };
    match Engine::open_read_only(&dir) {
        Err(OpenError::Store(StoreError::Missing { .. } | StoreError::Occupied { .. }))
            if !done =>
        {
            return Ok(());
        }
        opened => drop(opened.map_err(|error| error.to_string())?),
    }
    let copy = model.backups.get(id).ok_or_else(|| format!("{id} was never begun"))?;
    whole(&dir, model, &copy.known)?;
    let reader = Engine::open_read_only(&dir).map_err(|error| error.to_string())?;
    counts.blocks += held::audit(&reader, &model.world)?;
    counts.restored += 1;
    Ok(())
}
