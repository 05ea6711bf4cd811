//! A file that is gone: nothing is lost silently, nothing is created in its place, and all other files stay as
//! they are.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use plait_engine::backup::{BackupError, Backups, Begun, Origin, Request};
use plait_engine::repair::{Repaired, repair};
use plait_engine::store::{Presence, Store, StoreError};
use plait_engine::verify::Level;
use plait_engine::{Engine, OpenError, Reader};

use super::check::Counts;
use super::world::NOW;
use super::{Known, Random, World, held};
use crate::block::NETWORK;

/// What the files that are gone begin and end with.
const KINDS: [(&str, &str); 9] = [
    ("CURRENT", ""),
    ("MANIFEST-", ""),
    ("", ".sst"),
    ("", ".blob"),
    ("", ".log"),
    ("IDENTITY", ""),
    ("OPTIONS-", ""),
    ("LOCK", ""),
    // All of them, with a folder of another program's beside them.
    ("", ""),
];

/// Every file below a folder, with its bytes.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What opens a database, or may create one.
const WAYS: [&str; 4] = ["read", "write", "create", "copy"];

/// Removes files of one kind from copies of the database in `db`, which holds what is `known`, and checks what
/// becomes of each way to open it.
///
/// # Errors
///
/// What is wrong first.
pub(super) fn check(
    db: &Path,
    world: &World,
    known: &Known,
    random: &mut Random,
    counts: &mut Counts,
) -> Result<(), String> {
    let (begin, end) = random.one(&KINDS);
    let gone = gone(db, begin, end, random)?;
    if gone.is_empty() {
        return Ok(());
    }
    let way = random.one(&WAYS);
    let what = format!("{} gone, {way}", gone.join(", "));
    let copy = without(db, &gone)?;
    let place = copy.path().join("db");
    if (begin, end) == ("", "") {
        fs::create_dir(place.join("0/sqlite")).map_err(|e| e.to_string())?;
        fs::write(place.join("0/sqlite/rows"), "rows").map_err(|e| e.to_string())?;
    }
    counts.vanished += 1;
    let before = files(&place)?;
    let is_synced = is_synced(&place, &gone)?;
    let opened = open(&place, way, world, copy.path());
    let after = files(&place)?;
    let fail = |text: String| Err(format!("{what}: {text}"));
    match (begin, opened) {
        // A log that is not needed, or was empty; else it is told. A copy is of what is there.
        ("", Ok(reader)) if end == ".log" => {
            let Some(reader) = reader else { return Ok(()) };
            return told(reader, &place, world, known, is_synced).or_else(fail);
        }
        // What RocksDB makes again, and what a crash left, which the list does not name.
        ("IDENTITY" | "OPTIONS-" | "LOCK" | "", Ok(reader)) if (begin, end) != ("", "") => {
            let found = reader.map_or_else(|| reread(&place), Ok)?;
            if held::held(&found, world)? != *known {
                return fail("it holds something else".into());
            }
        }
        (_, Ok(_)) => return fail("it opens".into()),
        (_, Err(error)) => {
            let is_named = match error {
                StoreError::MissingFile { .. }
                | StoreError::ListCut { .. }
                | StoreError::Occupied { .. } => true,
                // The log had the settings.
                StoreError::Incomplete { .. } => end == ".log",
                _ => false,
            };
            if !is_named {
                return fail(format!("it says {error}"));
            }
            if before != after {
                return fail("other files have changed".into());
            }
            counts.refused += 1;
        }
    }
    // Of two lists, one of which is not whole, nobody knows whether it was the latest: that is refused.
    if begin == "CURRENT" && lists(&before) == 1 {
        mended(&place, world, known).map_err(|error| format!("{what}: {error}"))?;
        counts.repaired += 1;
    }
    Ok(())
}

/// Whether one of the logs that are `gone` has bytes that were synced, going by the mark of the last sync. Of the
/// others a crash of the machine may leave nothing, not even the name, so their loss is not reported.
fn is_synced(db: &Path, gone: &[String]) -> Result<bool, String> {
    let synced = synced(db)?;
    Ok(synced.iter().any(|(log, bytes)| *bytes > 0 && gone.contains(&log_name(*log))))
}

/// The logs that the mark of the last sync names, and how many bytes of each were synced.
fn synced(db: &Path) -> Result<Vec<(u64, u64)>, String> {
    let mark = fs::read_to_string(Store::path(db).join("log-synced")).unwrap_or_default();
    let logs = mark.lines().filter(|line| line.starts_with("log ")).map(|line| {
        let [_, log, _, bytes] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return None;
        };
        Some((log.parse().ok()?, bytes.parse().ok()?))
    });
    logs.collect::<Option<_>>().ok_or_else(|| format!("the mark is {mark}"))
}

fn log_name(log: u64) -> String {
    format!("{log:06}.log")
}

/// That a database without its logs tells of what is lost, also once it was opened to write. Without a synced
/// log, it holds all that was there or a part of it.
fn told(
    reader: Reader,
    place: &Path,
    world: &World,
    known: &Known,
    is_synced: bool,
) -> Result<(), String> {
    if reader.damaged_log().is_some() {
        drop(reader);
        // RocksDB has begun another log by then.
        let again = reread(place)?.damaged_log();
        return again.map(drop).ok_or_else(|| "the loss is forgotten".into());
    }
    let left = held::held(&reader, world)?;
    let is_part = left.held.is_subset(&known.held) && left.payloads.is_subset(&known.payloads);
    let is_right = left == *known || (!is_synced && is_part);
    if is_right { Ok(()) } else { Err("what was lost is not told".into()) }
}

/// Cuts the last log of a copy of the database in `db`, which holds what is `known`. What was synced is missed.
///
/// # Errors
///
/// What is wrong.
pub(super) fn check_cut(
    db: &Path,
    world: &World,
    known: &Known,
    random: &mut Random,
    counts: &mut Counts,
) -> Result<(), String> {
    let copy = without(db, &[])?;
    let place = copy.path().join("db");
    let path = Store::path(&place);
    let logs = synced(&place)?;
    if logs.is_empty() {
        return Ok(());
    }
    let (log, synced) = random.one(&logs);
    if synced == 0 {
        return Ok(());
    }
    let Ok(log) = OpenOptions::new().write(true).open(path.join(log_name(log))) else {
        return Ok(());
    };
    let len = random.index(usize::try_from(synced).unwrap_or(usize::MAX)) as u64;
    log.set_len(len).map_err(|error| error.to_string())?;
    counts.cut += 1;
    for way in ["read", "write", "read"] {
        let found = match open(&place, way, world, copy.path()) {
            // The settings were in it.
            Err(StoreError::Io { .. }) => return Ok(()),
            // Another log follows it.
            Err(StoreError::LogHole { .. }) if way == "read" => continue,
            found => found.map_err(|error| format!("cut to {len} of {synced} bytes: {error}"))?,
        };
        let is_told = found.is_some_and(|reader| reader.damaged_log().is_some());
        // A log that is not needed any more, since all of it is in tables.
        if !is_told && held::held(&reread(&place)?, world)? != *known {
            return Err(format!("{way}: cut to {len} of {synced} bytes, which is not told"));
        }
    }
    Ok(())
}

/// A database whose creation was interrupted, without its marker: nobody may begin it anew, unless nothing is
/// there.
///
/// # Errors
///
/// What is wrong.
pub(super) fn check_unfinished(
    db: &Path,
    world: &World,
    counts: &mut Counts,
) -> Result<(), String> {
    if !Store::path(db).join("creating").exists() {
        return Ok(());
    }
    let copy = without(db, &["creating".to_owned()])?;
    let place = copy.path().join("db");
    let before = files(&place)?;
    let opened = open(&place, "create", world, copy.path());
    counts.vanished += 1;
    let was_empty = files(&Store::path(db))?.len() == 1;
    let was_whole = Engine::open_read_only(&place).is_ok();
    match opened {
        Ok(_) if was_empty || was_whole => Ok(()),
        Ok(_) => Err("a creation without a marker was begun anew".into()),
        Err(_) if files(&place)? == before => {
            counts.refused += 1;
            Ok(())
        }
        Err(error) => Err(format!("a creation without a marker has changed: {error}")),
    }
}

/// Repairs a copy of a database whose `CURRENT` is gone; the folder with it.
///
/// # Errors
///
/// What is wrong.
pub(super) fn repaired(db: &Path) -> Result<tempfile::TempDir, String> {
    let copy = without(db, &[])?;
    again(&copy.path().join("db"))?;
    Ok(copy)
}

/// How many lists of files there are.
fn lists(files: &Files) -> usize {
    let is_list = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("MANIFEST-");
    files.keys().filter(|path| path.file_name().is_some_and(is_list)).count()
}

fn mended(place: &Path, world: &World, known: &Known) -> Result<(), String> {
    again(place)?;
    let found = held::held(&reread(place)?, world)?;
    if found == *known { Ok(()) } else { Err("the repaired database holds something else".into()) }
}

fn again(place: &Path) -> Result<(), String> {
    let stop = AtomicBool::new(false);
    let done = repair(place, Level::Hash, NOW, &stop, &mut |_| ()).map_err(|e| e.to_string())?;
    match done {
        Repaired::Again { report, lost_log: None, .. } if report.is_sound() => Ok(()),
        Repaired::Whole { lost_log: None, report } if report.is_sound() => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

fn reread(place: &Path) -> Result<Reader, String> {
    Engine::open_read_only(place).map_err(|error| error.to_string())
}

/// Opens a database in one of [`WAYS`].
fn open(
    place: &Path,
    way: &str,
    world: &World,
    beside: &Path,
) -> Result<Option<Reader>, StoreError> {
    let store = |error| match error {
        OpenError::Store(error) => error,
        OpenError::Network { .. } => panic!("{error}"),
    };
    match way {
        "read" => Engine::open_read_only(place).map(Some).map_err(store),
        "write" => Engine::open(place).map(|(_, reader)| Some(reader)).map_err(store),
        "create" => {
            let (network, history) = (Some(NETWORK), world.history());
            let opened = Engine::open_or_create_sealing(place, network, history, World::sealing());
            opened.map(|(_, reader)| Some(reader)).map_err(store)
        }
        _ => {
            if Presence::of(place)? != Presence::Present {
                return Err(StoreError::Missing { dir: place.to_owned() });
            }
            let backups = Backups::new(&beside.join("copies"));
            let Ok(Begun::Started(job)) = backups.begin() else { panic!("another job runs") };
            let request = Request { pact: false, keep: None };
            let done = job.run(&Origin::There(place.to_owned()), request, &AtomicBool::new(false));
            match done {
                Ok(_) => Ok(None),
                Err(BackupError::Open(OpenError::Store(error))) => Err(error),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// The names of files that begin and end so: one of them, or all logs, since of several the last one is not
/// known to any other file.
fn gone(db: &Path, begin: &str, end: &str, random: &mut Random) -> Result<Vec<String>, String> {
    let entries = Store::path(db).read_dir().map_err(|error| error.to_string())?;
    let names = entries.flatten().filter(|entry| entry.path().is_file());
    let mut names: Vec<String> =
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.starts_with(begin) && name.ends_with(end));
    names.sort();
    if names.is_empty() || end == ".log" || (begin, end) == ("", "") {
        return Ok(names);
    }
    if begin == "MANIFEST-" {
        // The one that is used; others are what crashes left.
        let current = fs::read_to_string(Store::path(db).join("CURRENT"));
        names.retain(|name| current.as_ref().is_ok_and(|current| current.trim() == name));
        return Ok(names);
    }
    let at = random.index(names.len());
    Ok(vec![names.swap_remove(at)])
}

/// A copy of the database in `db` without some files.
fn without(db: &Path, gone: &[String]) -> Result<tempfile::TempDir, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    for (file, bytes) in files(db)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let to = folder.path().join("db").join(&file);
        fs::create_dir_all(to.parent().unwrap_or(&to)).map_err(|error| error.to_string())?;
        if !gone.contains(&name) {
            fs::write(&to, bytes).map_err(|error| error.to_string())?;
        }
    }
    Ok(folder)
}

/// Every file below `dir`, by its path from there, but what a repair that was interrupted has linked.
fn files(dir: &Path) -> Result<Files, String> {
    let mut found = Files::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().map_err(|error| error.to_string())? {
            let path = entry.map_err(|error| error.to_string())?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = match fs::read(&path) {
                // RocksDB has removed it since, as it does once it has a database open to write.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                read => read.map_err(|error| error.to_string())?,
            };
            let name = path.strip_prefix(dir).map_err(|error| error.to_string())?;
            found.insert(name.to_owned(), bytes);
        }
    }
    Ok(found)
}
