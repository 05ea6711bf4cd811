use std::path::{Path, PathBuf};
use std::sync::Arc;

use zerocopy::FromBytes;

use super::{Chunk, Place, Source};
use crate::archive::{Manifest, Reader};
use crate::header::RawHeader;
use crate::replay::{ReplayError, Wrong};
use crate::store::MarkedAt;
use crate::types::{BlockHeight, ChainwebVersion};

/// The files of an archive, merged by height so that parents and adjacent parents come first.
pub struct Archive {
    dir: PathBuf,
    reader: Reader,
    manifest: Arc<Manifest>,
    keep_going: bool,
    name: [u8; 32],
    records: u64,
}

impl Archive {
    /// Opens the archive in `dir`. A file that is damaged ends the replay, unless it is to
    /// `keep_going`: then it is a wrong record.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] if there is no archive of `version`, or its manifest is damaged.
    pub fn open(
        dir: &Path,
        version: ChainwebVersion,
        keep_going: bool,
    ) -> Result<Self, ReplayError> {
        let (manifest, bytes) = Manifest::read(dir)?;
        if manifest.version != version {
            return Err(ReplayError::Format {
                input: dir.display().to_string(),
                reason: format!("is an archive of {}, not of {version}", manifest.version),
            });
        }
        let name = *blake2s_simd::blake2s(&bytes).as_array();
        let manifest = Arc::new(manifest);
        let reader = Reader::open(dir, BlockHeight::new(0), keep_going)?;
        let (dir, records) = (dir.to_owned(), 0);
        Ok(Self { dir, reader, manifest, keep_going, name, records })
    }
}

impl Source for Archive {
    fn next(&mut self, records_max: usize) -> Result<Option<Chunk>, ReplayError> {
        let records = self.reader.next_records(records_max)?;
        let damaged = self.reader.skipped();
        if records.is_none() && damaged.is_empty() {
            return Ok(None);
        }
        let records = records.unwrap_or_default();
        let last = records.bytes.rchunks_exact(size_of::<RawHeader>()).next();
        let last = last.and_then(|last| RawHeader::ref_from_bytes(last).ok());
        self.records = self.records.saturating_add(records.places.len() as u64);
        let end = MarkedAt {
            position: self.reader.position().into(),
            // More of this height may come.
            steps: last.map_or(0, |last| last.height.get()).into(),
            records: self.records.into(),
        };
        let manifest = Arc::clone(&self.manifest);
        let chunk = Chunk::archived(manifest, records, end);
        Ok(Some(damaged.into_iter().fold(chunk, |chunk, (file, damage)| {
            chunk.with_wrong(Place::File(file), Wrong::File(damage))
        })))
    }

    fn size(&self) -> Option<u64> {
        Some(self.reader.size())
    }

    fn name(&self) -> Option<[u8; 32]> {
        Some(self.name)
    }

    fn resume(&mut self, at: MarkedAt) -> Result<bool, ReplayError> {
        let from = BlockHeight::new(at.steps.get());
        self.reader = Reader::open(&self.dir, from, self.keep_going)?;
        self.records = at.records.get();
        Ok(true)
    }
}
