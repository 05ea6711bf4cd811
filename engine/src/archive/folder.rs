use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::inspect::open;
use super::stamp::Stamp;
use super::{ArchiveError, Checksum, Damage, Entry, MANIFEST, Manifest};

/// An archive that is offered to others, as its manifest is at any time.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    known: Mutex<Option<Known>>,
}

/// A manifest that was read, and how its file looked before.
#[derive(Debug)]
struct Known {
    /// The device, and what changes with the file: a link that leads to another archive now leads to
    /// another file, be it as long and as old.
    seen: (u64, Stamp),
    listed: Arc<Listed>,
}

/// What a manifest lists.
#[derive(Debug)]
pub struct Listed {
    manifest: Manifest,
    bytes: Bytes,
    tag: Checksum,
    by_name: HashMap<String, usize>,
}

impl Folder {
    /// The archive in `dir`, which need not be there yet.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), known: Mutex::new(None) }
    }

    /// What the manifest lists now. It is read when its file has changed.
    ///
    /// # Errors
    ///
    /// As for [`Manifest::read`].
    pub fn listed(&self) -> Result<Arc<Listed>, ArchiveError> {
        // One reads while others wait: they would read the same.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.dir.join(MANIFEST);
        let seen = path.metadata().map(|data| (data.dev(), Stamp::of(&data)));
        if let (Ok(seen), Some(known)) = (&seen, &*known)
            && known.seen == *seen
        {
            return Ok(Arc::clone(&known.listed));
        }
        let (manifest, bytes) = Manifest::read(&self.dir)?;
        let names = manifest.files.iter().enumerate();
        let by_name = names.map(|(number, entry)| (entry.name(), number)).collect();
        let (tag, bytes) = (Checksum::of(&bytes), Bytes::from(bytes));
        let listed = Arc::new(Listed { manifest, bytes, tag, by_name });
        *known = seen.ok().map(|seen| Known { seen, listed: Arc::clone(&listed) });
        Ok(listed)
    }

    /// Opens a file that the manifest lists, to be read from its byte `first` on.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::File`] if it is not there, or of another length.
    pub fn open(&self, entry: &Entry, first: u64) -> Result<File, ArchiveError> {
        let file = open(&self.dir, entry).and_then(|mut file| {
            file.seek(SeekFrom::Start(first)).map_err(Damage::Io)?;
            Ok(file)
        });
        file.map_err(|damage| ArchiveError::File { path: self.dir.join(entry.name()), damage })
    }
}

impl Listed {
    /// The bytes of the manifest.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The checksum of those bytes.
    #[must_use]
    pub const fn tag(&self) -> Checksum {
        self.tag
    }

    /// The file with this name.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.manifest.files.get(*self.by_name.get(name)?)
    }
}
