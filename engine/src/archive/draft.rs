use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use zerocopy::IntoBytes;

use super::layout::HEADER_LEN;
use super::{ArchiveError, Checksum, FileHeader, Hasher};
use crate::durable::draft_name;
use crate::failpoint::reached;
use crate::header::{HeaderRef, LEN};
use crate::types::{BlockHash, Grow, Rank};

/// Bytes that are written at once; a run goes out as it is.
const BUFFER_BYTES: usize = 64 << 10;

/// What a file holds, or would hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) records: u64,
    pub(super) first: Rank,
    pub(super) last: Rank,
    /// The parent of the first block.
    pub(super) parent: BlockHash,
    pub(super) checksum: Checksum,
}

/// A file in the making, under a name that is no file's, or only its checksum.
pub(super) struct Draft {
    out: Option<(PathBuf, BufWriter<File>)>,
    hasher: Hasher,
    records: u64,
    first: Option<(Rank, BlockHash)>,
    last: Option<Rank>,
}

impl Draft {
    /// A file in `dir` under the name `.label.tmp`.
    pub(super) fn create(
        dir: &Path,
        label: &str,
        header: &FileHeader,
    ) -> Result<Self, ArchiveError> {
        let path = dir.join(draft_name(label));
        reached("export/draft/before");
        let file = File::create(&path).map_err(|error| ArchiveError::io(&path, error))?;
        let mut draft = Self::checksum_only(header);
        draft.out = Some((path, BufWriter::with_capacity(BUFFER_BYTES, file)));
        draft.write(header.as_bytes())?;
        Ok(draft)
    }

    /// No file, but what is to be known of one.
    pub(super) fn checksum_only(header: &FileHeader) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(header.as_bytes());
        Self { out: None, hasher, records: 0, first: None, last: None }
    }

    /// Appends whole records, by ascending rank.
    pub(super) fn push(&mut self, records: &[u8]) -> Result<(), ArchiveError> {
        if self.first.is_none() {
            let first = header(records.get(..LEN));
            self.first = first.map(|first| (first.rank(), first.parent()));
        }
        let last = header(records.rchunks_exact(LEN).next());
        self.last = last.map(HeaderRef::rank).or(self.last);
        self.records.grow((records.len() / LEN) as u64);
        self.hasher.update(records);
        self.write(records)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        match &mut self.out {
            Some((path, out)) => {
                out.write_all(bytes).map_err(|error| ArchiveError::io(path, error))
            }
            None => Ok(()),
        }
    }

    /// What it holds; `None` if there is no record.
    pub(super) fn content(&self) -> Option<Content> {
        let ((first, parent), last) = self.first.zip(self.last)?;
        let (records, checksum) = (self.records, self.hasher.finish());
        Some(Content { records, first, last, parent, checksum })
    }

    /// Makes it durable and gives it its name.
    pub(super) fn finish(mut self, name: &Path) -> Result<(), ArchiveError> {
        let Some((path, out)) = self.out.take() else { return Ok(()) };
        reached("export/write/before");
        let done = out.into_inner().map_err(io::IntoInnerError::into_error);
        let done = done.and_then(|file| {
            reached("export/sync/before");
            file.sync_all()?;
            reached("export/rename/before");
            fs::rename(&path, name)
        });
        reached("export/rename/after");
        done.map_err(|error| {
            let _ = fs::remove_file(&path);
            ArchiveError::io(&path, error)
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.out {
            // What is left is removed by the next export.
            let _ = fs::remove_file(path);
        }
    }
}

fn header(record: Option<&[u8]>) -> Option<HeaderRef<'_>> {
    HeaderRef::parse(record?).ok()
}

/// The length of a file with so many records.
pub(super) const fn file_len(records: u64) -> u64 {
    (HEADER_LEN as u64).saturating_add(records.saturating_mul(LEN as u64))
}
