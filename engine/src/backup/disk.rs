//! Files and folders, made durable.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::BackupError;
use crate::archive::{Checksum, Hasher};
use crate::durable;
use crate::failpoint::reached;
use crate::output::{self, LackOfSpace};
use crate::regular;

/// Bytes that are copied or read between two looks at whether to stop.
const STEP_BYTES: usize = 4 << 20;

/// Makes everything below a folder durable, and its own name.
pub(super) fn sync_tree(dir: &Path) -> Result<(), BackupError> {
    for path in entries(dir)? {
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            sync(&path)?;
        }
    }
    sync(dir)
}

/// Makes a file, or the names in a folder, durable.
pub(super) fn sync(path: &Path) -> Result<(), BackupError> {
    durable::sync(path).map_err(BackupError::io(path))
}

/// Makes the names in a folder durable, where it can be written at all.
pub(super) fn sync_names(dir: &Path) -> Result<(), BackupError> {
    match sync(dir) {
        Err(BackupError::Io { source, .. })
            if matches!(source.kind(), ErrorKind::InvalidInput | ErrorKind::ReadOnlyFilesystem) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// Whether something has this name. That it cannot be looked at is an error.
pub(super) fn exists(path: &Path) -> Result<bool, BackupError> {
    path.try_exists().map_err(BackupError::io(path))
}

/// What is in a folder, by name.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let entries = dir.read_dir().map_err(BackupError::io(dir))?;
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(BackupError::io(dir))?;
    paths.sort();
    Ok(paths)
}

/// All files below a folder, by name.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let mut found = Vec::new();
    for path in entries(dir)? {
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

/// Writes a small file in one step and makes it durable: whoever reads it sees the old text or the
/// new one, after a crash as well.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), BackupError> {
    durable::replace(path, text.as_bytes()).map_err(BackupError::io(path))?;
    path.parent().map_or(Ok(()), sync)
}

/// Copies a file and makes it durable, under its name only when it is whole.
pub(super) fn copy(from: &Path, to: &Path, stop: &AtomicBool) -> Result<(), BackupError> {
    let draft = draft_of(to);
    let mut input = regular::open(from).map_err(BackupError::io(from))?;
    reached("copy/create/before");
    let mut output = File::create(&draft).map_err(BackupError::io(&draft))?;
    reached("copy/write/before");
    let mut buffer = vec![0; STEP_BYTES];
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(BackupError::Stopped);
        }
        let len = input.read(&mut buffer).map_err(BackupError::io(from))?;
        let Some(bytes) = buffer.get(..len).filter(|bytes| !bytes.is_empty()) else { break };
        output.write_all(bytes).map_err(BackupError::io(&draft))?;
    }
    reached("copy/sync/before");
    output.sync_all().map_err(BackupError::io(&draft))?;
    reached("copy/rename/before");
    fs::rename(&draft, to).map_err(BackupError::io(to))?;
    reached("copy/rename/after");
    Ok(())
}

/// The checksum of a file.
pub(super) fn checksum(path: &Path, stop: &AtomicBool) -> Result<Checksum, BackupError> {
    let mut file = regular::open(path).map_err(BackupError::io(path))?;
    let (mut hasher, mut buffer) = (Hasher::default(), vec![0; STEP_BYTES]);
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(BackupError::Stopped);
        }
        let len = file.read(&mut buffer).map_err(BackupError::io(path))?;
        match buffer.get(..len) {
            Some(bytes) if !bytes.is_empty() => hasher.update(bytes),
            _ => return Ok(hasher.finish()),
        }
    }
}

/// Removes a folder with all that is in it, if it is there.
pub(super) fn remove(dir: &Path) -> Result<(), BackupError> {
    reached("remove/before");
    let removed = fs::remove_dir_all(dir);
    reached("remove/after");
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(BackupError::io(dir)(error)),
        _ => Ok(()),
    }
}

/// Gives a folder another name, durably.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), BackupError> {
    reached("rename/before");
    fs::rename(from, to).map_err(BackupError::io(to))?;
    reached("rename/after");
    to.parent().map_or(Ok(()), sync)
}

/// Whether two files or folders are on one partition, so that links can lead from one to the other.
pub(super) fn share_partition(one: &Path, other: &Path) -> Result<bool, BackupError> {
    Ok(metadata(one)?.dev() == metadata(other)?.dev())
}

/// Whether two names are of one file.
pub(super) fn is_same_file(one: &Path, other: &Path) -> Result<bool, BackupError> {
    let (one, other) = (metadata(one)?, metadata(other)?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// Whether an open file or folder still has this name.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let id = |data: io::Result<fs::Metadata>| data.ok().map(|data| (data.dev(), data.ino()));
    let here = id(file.metadata());
    here.is_some() && here == id(path.metadata())
}

/// Ends with an error if there is less room for new files in the folder `dir`.
pub(super) fn require_space(dir: &Path, needed: u64) -> Result<(), BackupError> {
    match output::require_space(dir, needed).map_err(BackupError::io(dir))? {
        Ok(()) => Ok(()),
        Err(LackOfSpace { path, needed, free }) => Err(BackupError::Space { path, needed, free }),
    }
}

pub(super) fn metadata(path: &Path) -> Result<fs::Metadata, BackupError> {
    path.metadata().map_err(BackupError::io(path))
}

fn draft_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(durable::draft_name(&name))
}
