//! The folder that an export writes into: what is there, and whether it may be used.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::stamp::Stamp;
use super::{ArchiveError, Checksum, Entry, FileHeights, Hasher, Kind, MANIFEST, Manifest};
use crate::durable::is_draft;
use crate::failpoint::reached;
use crate::output::NewFolders;
use crate::regular;
use crate::types::{BlockHeight, ChainId, ChainwebVersion, Grow};

/// A file of the exporter's own, which is no part of the archive: it is locked during an export,
/// and holds the checksum of the last manifest if all its blocks had checked hashes, and how the files of
/// the archive looked when their bytes were compared with their checksums.
pub(super) const MARK: &str = ".export";

/// Bytes of the mark that are read: those of some 500,000 files.
const MARK_BYTES_MAX: u64 = 64 << 20;

/// The content of the mark if blocks were not hashed.
const UNHASHED: &str = "unhashed";

/// Bytes of a file that are compared at once.
const COMPARED_BYTES: usize = 1 << 20;

/// Where a file belongs: chain, range, kind.
type Place = (ChainId, BlockHeight, Kind);

/// What is in the folder.
pub(super) struct Target {
    dir: PathBuf,
    heights: FileHeights,
    /// The files of the last export, if what they hold follows from their last blocks.
    trusted: HashMap<Place, Entry>,
    /// All files that are named as those of archives are.
    files: HashMap<String, Stamp>,
    /// How files looked that were compared with their checksums.
    compared: HashMap<String, Stamp>,
    mark: File,
    /// What was made for it.
    new: NewFolders,
}

impl Target {
    /// Opens the folder `dir`, or makes it, for an export of `version`.
    pub(super) fn open(
        dir: &Path,
        version: ChainwebVersion,
        heights: Option<FileHeights>,
    ) -> Result<Self, ArchiveError> {
        let new = NewFolders::make(dir).map_err(|error| ArchiveError::io(dir, error))?;
        reached("export/folder/after");
        match Self::open_in(dir, version, heights) {
            Ok(target) => Ok(Self { new, ..target }),
            Err(error) => {
                new.remove_empty();
                Err(error)
            }
        }
    }

    fn open_in(
        dir: &Path,
        version: ChainwebVersion,
        heights: Option<FileHeights>,
    ) -> Result<Self, ArchiveError> {
        let there = look_around(dir)?;
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
        let _ = (&mark).take(MARK_BYTES_MAX).read_to_string(&mut text);
        let mut lines = text.lines();
        let hashed = lines.next().unwrap_or_default();
        let compared = Stamp::read(lines);
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
            if hashed == checksum.to_string() {
                files.extend(old.files.into_iter().map(|entry| (entry.place(), entry)));
            }
        }
        remove_drafts(dir)?;
        reached("export/drafts/after");
        let (dir, trusted, new) = (dir.to_owned(), files, NewFolders::default());
        Ok(Self { dir, heights: used, trusted, files: there, compared, mark, new })
    }

    /// Takes away what was made for an export that ends before it has written a file.
    pub(super) fn give_up(&self) {
        self.new.remove_but_for(MARK);
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

    /// Whether the file of this entry is there, with the bytes that it should have. It is read unless it looks
    /// as it did when that was last done.
    pub(super) fn has(&self, entry: &Entry) -> bool {
        let name = entry.name();
        let Some(stamp) = self.files.get(&name) else { return false };
        stamp.bytes == entry.bytes()
            && (self.compared.get(&name) == Some(stamp)
                || checksum(&self.dir.join(&name)).is_ok_and(|sum| sum == entry.checksum))
    }

    /// Whether any file of this length is there for this place.
    pub(super) fn has_some(&self, (chain, from, kind): Place, len: u64) -> bool {
        let prefix = format!("{:02}-{:010}-{}-", chain.get(), from.get(), kind.name());
        let mut files = self.files.iter();
        files.any(|(name, stamp)| stamp.bytes == len && name.starts_with(&prefix))
    }

    /// Writes down whether the manifest that was just written can be relied on by the next export, and how
    /// the `files` that it names look, all of which were written or compared.
    pub(super) fn record(
        &mut self,
        manifest: &str,
        files: &[Entry],
        is_hashed: bool,
    ) -> Result<(), ArchiveError> {
        let checksum = is_hashed.then(|| Checksum::of(manifest.as_bytes()).to_string());
        let mut text = checksum.unwrap_or_else(|| UNHASHED.to_owned()) + "\n";
        for name in files.iter().map(Entry::name) {
            // What has gone by now is looked for by the next export.
            let stamp = self.dir.join(&name).symlink_metadata().map(|data| Stamp::of(&data));
            if let Ok(stamp) = stamp
                && stamp.is_settled()
            {
                stamp.push(&name, &mut text);
            }
        }
        let write = |mut file: &File| {
            reached("export/mark/before");
            file.rewind()?;
            file.set_len(0)?;
            reached("export/mark/cut");
            file.write_all(text.as_bytes())?;
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
        for name in self.files.keys().filter(|name| !named.contains(*name)) {
            stale.grow(1);
            if prune {
                let path = self.dir.join(name);
                reached("export/remove/before");
                fs::remove_file(&path).map_err(|error| ArchiveError::io(&path, error))?;
                reached("export/remove/after");
                removed.grow(1);
            }
        }
        Ok((stale, removed))
    }
}

/// The checksum of a file.
fn checksum(path: &Path) -> io::Result<Checksum> {
    let (mut file, mut hasher) = (regular::open(path)?, Hasher::default());
    let mut buffer = vec![0; COMPARED_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            len => hasher.update(buffer.get(..len).unwrap_or_default()),
        }
    }
}

/// Names and looks of the files of archives; anything else must not be there, unless there is a
/// manifest.
fn look_around(dir: &Path) -> Result<HashMap<String, Stamp>, ArchiveError> {
    let is_archive = dir.join(MANIFEST).try_exists();
    let is_archive = is_archive.map_err(|error| ArchiveError::io(dir, error))?;
    let (mut files, mut strange) = (HashMap::new(), None);
    for entry in fs::read_dir(dir).map_err(|error| ArchiveError::io(dir, error))? {
        let entry = entry.map_err(|error| ArchiveError::io(dir, error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let data = entry.metadata().map_err(|error| ArchiveError::io(&entry.path(), error))?;
        if data.is_file() && is_file_name(&name) {
            files.insert(name, Stamp::of(&data));
        } else if name != MARK && !is_draft(&name) {
            strange = strange.or(Some(name));
        }
    }
    match strange {
        Some(found) if !is_archive => Err(ArchiveError::Occupied { dir: dir.to_owned(), found }),
        _ => Ok(files),
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
    let file = regular::open_or_create(&path).map_err(|error| ArchiveError::io(&path, error))?;
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
