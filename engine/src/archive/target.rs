//! The folder that an export writes into: what is there, and whether it may be used.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::{ArchiveError, Checksum, Entry, FileHeights, Kind, MANIFEST, Manifest};
use crate::durable::is_draft;
use crate::failpoint::reached;
use crate::types::{BlockHeight, ChainId, ChainwebVersion};

/// A file of the exporter's own, which is no part of the archive: it is locked during an export,
/// and holds the checksum of the last manifest whose blocks all had checked hashes.
pub(super) const MARK: &str = ".export";

/// Where a file belongs: chain, range, kind.
type Place = (ChainId, BlockHeight, Kind);

/// What is in the folder.
pub(super) struct Target {
    dir: PathBuf,
    heights: FileHeights,
    /// The files of the last export, if what they hold follows from their last blocks.
    trusted: HashMap<Place, Entry>,
    /// Lengths of all files that are named as those of archives are.
    lengths: HashMap<String, u64>,
    mark: File,
}

impl Target {
    /// Opens the folder `dir`, or makes it, for an export of `version`.
    pub(super) fn open(
        dir: &Path,
        version: ChainwebVersion,
        heights: Option<FileHeights>,
    ) -> Result<Self, ArchiveError> {
        fs::create_dir_all(dir).map_err(|error| ArchiveError::io(dir, error))?;
        reached("export/folder/after");
        let lengths = look_around(dir)?;
        let old = match Manifest::read(dir) {
            Ok((old, bytes)) => Some((old, Checksum::of(&bytes))),
            Err(ArchiveError::Missing { .. }) => None,
            Err(error) => return Err(error),
        };
        let mut files = HashMap::new();
        let mark = lock(dir)?;
        reached("export/lock/after");
        let mut text = String::new();
        // Text that is none says nothing, too.
        let _ = (&mark).take(1024).read_to_string(&mut text);
        let mut used = heights.unwrap_or(FileHeights::DEFAULT);
        if let Some((old, checksum)) = old {
            if old.version != version {
                let (dir, got) = (dir.to_owned(), old.version);
                return Err(ArchiveError::Network { dir, got, expected: version });
            }
            if let Some(expected) = heights.filter(|heights| *heights != old.heights) {
                let (dir, got) = (dir.to_owned(), old.heights.get());
                return Err(ArchiveError::Heights { dir, got, expected: expected.get() });
            }
            used = old.heights;
            if text.trim() == checksum.to_string() {
                files.extend(old.files.into_iter().map(|entry| (entry.place(), entry)));
            }
        }
        remove_drafts(dir)?;
        reached("export/drafts/after");
        Ok(Self { dir: dir.to_owned(), heights: used, trusted: files, lengths, mark })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) const fn heights(&self) -> FileHeights {
        self.heights
    }

    /// Forgets what was known of files: all are to be read.
    pub(super) fn distrust(&mut self) {
        self.trusted.clear();
    }

    /// What the last export said of the file at this place, if that can be relied on.
    pub(super) fn trusted(&self, place: Place) -> Option<&Entry> {
        self.trusted.get(&place)
    }

    /// Whether a file of this name and length is there.
    pub(super) fn has(&self, entry: &Entry) -> bool {
        self.lengths.get(&entry.name()) == Some(&entry.bytes())
    }

    /// Whether any file of this length is there for this place.
    pub(super) fn has_some(&self, (chain, from, kind): Place, len: u64) -> bool {
        let prefix = format!("{:02}-{:010}-{}-", chain.get(), from.get(), kind.name());
        self.lengths.iter().any(|(name, other)| *other == len && name.starts_with(&prefix))
    }

    /// Writes down whether the manifest that was just written can be relied on by the next export.
    pub(super) fn record(&mut self, manifest: &str, is_hashed: bool) -> Result<(), ArchiveError> {
        let text = is_hashed.then(|| format!("{}\n", Checksum::of(manifest.as_bytes())));
        let write = |mut file: &File| {
            reached("export/mark/before");
            file.rewind()?;
            file.set_len(0)?;
            reached("export/mark/cut");
            file.write_all(text.unwrap_or_default().as_bytes())?;
            file.sync_all()?;
            reached("export/mark/after");
            Ok(())
        };
        write(&self.mark).map_err(|error| ArchiveError::io(&self.dir.join(MARK), error))
    }

    /// Counts the files that the manifest does not name, and removes them if it is to `prune`.
    pub(super) fn clean(
        &self,
        manifest: &Manifest,
        prune: bool,
    ) -> Result<(u64, u64), ArchiveError> {
        let named: std::collections::HashSet<String> =
            manifest.files.iter().map(Entry::name).collect();
        let (mut stale, mut removed) = (0, 0);
        for name in self.lengths.keys().filter(|name| !named.contains(*name)) {
            stale += 1;
            if prune {
                let path = self.dir.join(name);
                reached("export/remove/before");
                fs::remove_file(&path).map_err(|error| ArchiveError::io(&path, error))?;
                reached("export/remove/after");
                removed += 1;
            }
        }
        Ok((stale, removed))
    }
}

/// Names and lengths of the files of archives; anything else must not be there, unless there is a
/// manifest.
fn look_around(dir: &Path) -> Result<HashMap<String, u64>, ArchiveError> {
    let is_archive = dir.join(MANIFEST).try_exists();
    let is_archive = is_archive.map_err(|error| ArchiveError::io(dir, error))?;
    let (mut lengths, mut strange) = (HashMap::new(), None);
    for entry in fs::read_dir(dir).map_err(|error| ArchiveError::io(dir, error))? {
        let entry = entry.map_err(|error| ArchiveError::io(dir, error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let data = entry.metadata().map_err(|error| ArchiveError::io(&entry.path(), error))?;
        if data.is_file() && is_file_name(&name) {
            lengths.insert(name, data.len());
        } else if name != MARK && !is_draft(&name) {
            strange = strange.or(Some(name));
        }
    }
    match strange {
        Some(found) if !is_archive => Err(ArchiveError::Occupied { dir: dir.to_owned(), found }),
        _ => Ok(lengths),
    }
}

/// Whether files of archives are named so.
pub(super) fn is_file_name(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".plait") else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = stem.split('-');
    let (chain, from, kind, sum) = (parts.next(), parts.next(), parts.next(), parts.next());
    chain.is_some_and(digits)
        && from.is_some_and(digits)
        && kind.and_then(Kind::from_name).is_some()
        && sum.is_some_and(|sum| sum.len() == 32 && sum.bytes().all(|b| b.is_ascii_hexdigit()))
        && parts.next().is_none()
}

/// Opens the mark, and keeps other exports away as long as it is open.
fn lock(dir: &Path) -> Result<File, ArchiveError> {
    let path = dir.join(MARK);
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|error| ArchiveError::io(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ArchiveError::Locked { dir: dir.to_owned() }),
        // Some network file systems have no locks; then it is up to the operator.
        Err(TryLockError::Error(error)) => {
            tracing::warn!("{}: cannot be locked: {error}", path.display());
            Ok(file)
        }
    }
}

/// Removes what an export left that did not end.
fn remove_drafts(dir: &Path) -> Result<(), ArchiveError> {
    for entry in fs::read_dir(dir).map_err(|error| ArchiveError::io(dir, error))?.flatten() {
        if is_draft(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())
                .map_err(|error| ArchiveError::io(&entry.path(), error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_archives_are_taken_for_them() {
        let sum = "0123456789abcdef0123456789abcdef";
        assert!(is_file_name(&format!("00-0000000000-canonical-{sum}.plait")));
        assert!(is_file_name(&format!("19-0006291456-orphans-{sum}.plait")));
        for name in [
            "manifest.json".to_owned(),
            format!("00-0000000000-canonical-{sum}"),
            format!("00-0000000000-other-{sum}.plait"),
            format!("00-0000000000-canonical-{sum}-x.plait"),
            format!("../0-0000000000-canonical-{sum}.plait"),
            format!("00-0000000000-canonical-{}.plait", &sum[1..]),
        ] {
            assert!(!is_file_name(&name), "{name}");
        }
    }
}
