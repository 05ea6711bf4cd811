use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use plait_engine::output::NewFolders;
use plait_engine::{BlockHeight, ChainId, ChainwebVersion, regular};

use crate::ParquetError;

/// Is there when the dataset is whole, as Hadoop and Spark have it.
const SUCCESS: &str = "_SUCCESS";

/// Keeps other exports away.
const LOCK: &str = "_lock";

/// What names of files in the making end with.
const UNFINISHED: &str = ".tmp";

/// Under which name a file says what it holds.
pub(crate) const CONTENT: &str = "plait.content";

/// A file: its chain, and its heights.
pub(crate) type Place = (ChainId, (BlockHeight, BlockHeight));

/// The folder of one network, which is locked.
pub(crate) struct Folder {
    dir: PathBuf,
    _lock: File,
    /// What was made for it.
    new: NewFolders,
}

impl Folder {
    /// Opens that of `version` in the folder `dir`, or makes both.
    pub(crate) fn open(dir: &Path, version: ChainwebVersion) -> Result<Self, ParquetError> {
        let dir = dir.join(format!("chainwebVersion={}", version.name()));
        let new = NewFolders::make(&dir).map_err(|error| ParquetError::io(&dir, error))?;
        match lock(&dir) {
            Ok(lock) => Ok(Self { dir, _lock: lock, new }),
            Err(error) => {
                new.remove_empty();
                Err(error)
            }
        }
    }

    /// Takes away what was made for an export that is refused before it has written anything.
    pub(crate) fn give_up(&self) {
        self.new.remove_but_for(LOCK);
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the file of this place is.
    pub(crate) fn path(&self, (chain, (first, last)): Place) -> PathBuf {
        let name = format!("{:010}-{:010}.parquet", first.get(), last.get());
        self.chain(chain).join(name)
    }

    /// The same while it is in the making.
    pub(crate) fn draft(&self, (chain, (first, last)): Place) -> PathBuf {
        let name = format!(".{:010}-{:010}{UNFINISHED}", first.get(), last.get());
        self.chain(chain).join(name)
    }

    fn chain(&self, chain: ChainId) -> PathBuf {
        self.dir.join(format!("chainId={}", chain.get()))
    }

    /// Says that the dataset is not whole, makes the folders of these chains, and removes every other file
    /// of earlier exports than those of these places, whole or not. Returns how many whole ones there were.
    pub(crate) fn begin(
        &self,
        chains: &[ChainId],
        places: &BTreeSet<Place>,
    ) -> Result<u64, ParquetError> {
        let success = self.dir.join(SUCCESS);
        match fs::remove_file(&success) {
            Ok(()) => sync(&self.dir)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(ParquetError::io(&success, error)),
        }
        for chain in chains {
            let dir = self.chain(*chain);
            fs::create_dir_all(&dir).map_err(|error| ParquetError::io(&dir, error))?;
        }
        let kept: BTreeSet<PathBuf> = places.iter().map(|place| self.path(*place)).collect();
        let mut removed = 0;
        for dir in list(&self.dir)?.iter().filter(|path| name(path).starts_with("chainId=")) {
            for path in list(dir)? {
                let is_whole = is_ours(&name(&path)) && !kept.contains(&path);
                if is_whole || is_draft(&name(&path)) {
                    fs::remove_file(&path).map_err(|error| ParquetError::io(&path, error))?;
                    removed += u64::from(is_whole);
                }
            }
        }
        Ok(removed)
    }

    /// Says that the dataset is whole, behind everything in it.
    pub(crate) fn end(&self, chains: &[ChainId]) -> Result<(), ParquetError> {
        for chain in chains {
            sync(&self.chain(*chain))?;
        }
        sync(&self.dir)?;
        let success = self.dir.join(SUCCESS);
        File::create(&success).map_err(|error| ParquetError::io(&success, error))?;
        sync(&success)?;
        sync(&self.dir)
    }
}

/// The length of the file at `path`, if its footer says that it holds this.
pub(crate) fn bytes_of(path: &Path, content: &str) -> Option<u64> {
    let file = regular::open(path).ok()?;
    let bytes = file.metadata().ok()?.len();
    let reader = SerializedFileReader::new(file).ok()?;
    let about = reader.metadata().file_metadata().key_value_metadata()?;
    let says = about.iter().find(|entry| entry.key == CONTENT)?.value.as_deref()?;
    (says == content).then_some(bytes)
}

fn sync(path: &Path) -> Result<(), ParquetError> {
    let done = File::open(path).and_then(|file| file.sync_all());
    done.map_err(|error| ParquetError::io(path, error))
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, ParquetError> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| ParquetError::io(dir, error))?;
    Ok(entries.iter().map(fs::DirEntry::path).collect())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_draft(name: &str) -> bool {
    name.strip_prefix('.').and_then(|name| name.strip_suffix(UNFINISHED)).is_some_and(is_range)
}

/// Whether files of an export have names like this.
fn is_ours(name: &str) -> bool {
    name.strip_suffix(".parquet").is_some_and(is_range)
}

fn is_range(text: &str) -> bool {
    let is_height = |text: &str| text.len() >= 10 && text.bytes().all(|b| b.is_ascii_digit());
    text.split_once('-').is_some_and(|(first, last)| is_height(first) && is_height(last))
}

fn lock(dir: &Path) -> Result<File, ParquetError> {
    let path = dir.join(LOCK);
    let file = regular::open_or_create(&path).map_err(|error| ParquetError::io(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ParquetError::Locked { dir: dir.to_owned() }),
        // Some network file systems have no locks; then it is up to the operator.
        Err(TryLockError::Error(error)) => {
            tracing::warn!("{}: cannot be locked: {error}", path.display());
            Ok(file)
        }
    }
}
