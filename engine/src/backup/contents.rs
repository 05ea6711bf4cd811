use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::{BackupError, disk};
use crate::open::Engine;
use crate::query::View;
use crate::regular;
use crate::store::{CONTENTS, is_table};

/// Bytes of that file at most: those of some 400,000 files, of which mainnet01 has some 2,000.
const BYTES_MAX: u64 = 64 << 20;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
    /// The release that made it.
    pub plait: String,
    /// The network.
    pub network: String,
    /// The layout of the database.
    pub format_version: u32,
    /// How many blocks.
    pub blocks: u64,
    /// The sum of the block heights of the cut.
    pub cut_height: u64,
    /// The name of the cut.
    pub cut_id: String,
    /// What was wrong with the log of the database: what was written last is not in the backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged_log: Option<String>,
    /// Every file, by name.
    pub files: Vec<FileEntry>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileEntry {
    /// Below the folder of the backup, with `/` between its parts.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its BLAKE3 checksum; tables have checksums of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
}

impl Contents {
    /// What the backup in the folder `dir` holds, whose database `view` shows; `origin` is of the database
    /// that it was made of.
    pub(super) fn of(
        dir: &Path,
        view: &View,
        origin: &View,
        stop: &AtomicBool,
    ) -> Result<Self, BackupError> {
        let version = view.version();
        let cut = view.cut(None)?;
        let mut files = Vec::new();
        for path in disk::files(&dir.join("0"))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let sum = if is_table(&name) { None } else { Some(disk::checksum(&path, stop)?) };
            let below = path.strip_prefix(dir).unwrap_or(&path);
            files.push(FileEntry {
                path: below.to_string_lossy().into_owned(),
                bytes: disk::metadata(&path)?.len(),
                blake3: sum.map(|sum| sum.to_string()),
            });
        }
        Ok(Self {
            plait: env!("CARGO_PKG_VERSION").to_owned(),
            network: version.name().to_owned(),
            format_version: view.format_version(),
            blocks: view.total_block_count(),
            cut_height: cut.height(),
            cut_id: cut.id().to_string(),
            damaged_log: [origin, view]
                .iter()
                .find_map(|view| view.snapshot().damaged_log().map(str::to_owned)),
            files,
        })
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        // As the file says, which anybody may have written.
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// Writes it into the folder of its backup.
    pub(super) fn write(&self, dir: &Path) -> Result<(), BackupError> {
        let path = dir.join(CONTENTS);
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|error| BackupError::io(&path)(error.into()))?;
        disk::replace(&path, &(text + "\n"))
    }

    /// Reads it from the folder of a backup.
    pub(super) fn read(dir: &Path) -> Result<Self, BackupError> {
        let path = dir.join(CONTENTS);
        let text = regular::read_text(&path, BYTES_MAX).map_err(|error| match error.kind() {
            // Every backup that is done has it.
            ErrorKind::NotFound | ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                BackupError::Damaged { path: path.clone(), what: error.to_string() }
            }
            _ => BackupError::io(&path)(error),
        })?;
        serde_json::from_str(&text)
            .map_err(|error| BackupError::Damaged { path, what: error.to_string() })
    }

    /// Checks that the folder `dir` has every file with its listed length, and no other file. Returns
    /// their paths, in the order of the list.
    ///
    /// # Cost
    ///
    /// One look at each file, of which nothing is read.
    pub(super) fn check_lengths(&self, dir: &Path) -> Result<Vec<PathBuf>, BackupError> {
        let inner = dir.join("0");
        let all = if disk::exists(&inner)? { disk::files(&inner)? } else { Vec::new() };
        let mut found = HashMap::new();
        for path in all {
            let below = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into_owned();
            found.insert(below, path);
        }
        let mut paths = Vec::with_capacity(self.files.len().min(found.len()));
        for file in &self.files {
            // Only names that were found are followed: none of them leads out of the folder.
            let Some(path) = found.remove(&file.path) else {
                let path = dir.join(&file.path);
                return Err(BackupError::Damaged { path, what: "is not there".into() });
            };
            let len = match disk::metadata(&path) {
                Ok(data) => data.len(),
                // A link to nothing.
                Err(BackupError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                    return Err(BackupError::Damaged { path, what: "is not there".into() });
                }
                Err(error) => return Err(error),
            };
            if len != file.bytes {
                let what = format!("has {len} bytes, not {}", file.bytes);
                return Err(BackupError::Damaged { path, what });
            }
            paths.push(path);
        }
        match found.into_values().min() {
            Some(path) => {
                Err(BackupError::Damaged { path, what: "is not among the contents".into() })
            }
            None => Ok(paths),
        }
    }

    /// Checks the same, and also the content of every file whose checksum is known.
    pub(super) fn check_files(&self, dir: &Path, stop: &AtomicBool) -> Result<(), BackupError> {
        for (file, path) in self.files.iter().zip(self.check_lengths(dir)?) {
            if let Some(sum) = &file.blake3
                && disk::checksum(&path, stop)?.to_string() != *sum
            {
                let what = "does not match its checksum".into();
                return Err(BackupError::Damaged { path, what });
            }
        }
        Ok(())
    }

    /// Checks that the database in the folder `dir` is the one that was backed up.
    pub(super) fn check_database(&self, dir: &Path) -> Result<(), BackupError> {
        let reader = Engine::open_read_only(dir)?;
        let view = reader.view();
        let cut = view.cut(None)?;
        let got =
            (view.version().name(), view.total_block_count(), cut.height(), cut.id().to_string());
        let expected = (&*self.network, self.blocks, self.cut_height, self.cut_id.clone());
        if got == expected {
            return Ok(());
        }
        Err(BackupError::Differs { what: format!("it has {got:?}, not {expected:?}") })
    }
}
