use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use zerocopy::IntoBytes;

use super::stats::RunStats;
use super::{Column, Snapshot, StoreError, TrunkKey};
use crate::header::{HeaderRef, LEN};
use crate::memory::{self, Room};
use crate::types::{BlockHash, BlockHeight, ChainId, Rank, RunLength};

/// Bytes of a run of the usual length.
const RUN_BYTES: usize = 256 * LEN;

/// Hashes whose places are kept in memory: 5 MB.
const PLACES: usize = 1 << 16;

/// How much of a database is kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSizes {
    /// Bytes of tables that RocksDB keeps, uncompressed, of all column families together. 512 MiB
    /// unless said otherwise.
    pub block_bytes: usize,
    /// Bytes of runs that queries keep. 512 MiB unless said otherwise, those of 1.7 M headers.
    pub run_bytes: usize,
}

impl Default for CacheSizes {
    fn default() -> Self {
        Self { block_bytes: 512 << 20, run_bytes: 512 << 20 }
    }
}

impl CacheSizes {
    /// These, if this process may use so much memory; of the usual ones as much as it may.
    ///
    /// # Errors
    ///
    /// [`StoreError::Caches`].
    pub(super) fn fitting(self) -> Result<Self, StoreError> {
        memory::room().map_or(Ok(self), |room| self.within(room))
    }

    fn within(self, Room { bytes: room, limit }: Room) -> Result<Self, StoreError> {
        let bytes = (self.block_bytes as u64).saturating_add(self.run_bytes as u64);
        if bytes <= room && room > 0 {
            return Ok(self);
        }
        if self != Self::default() || room == 0 {
            return Err(StoreError::Caches { bytes, limit });
        }
        let half = usize::try_from(room / 2).unwrap_or(self.block_bytes);
        tracing::debug!(
            "caches have {room} bytes instead of {bytes}: this process may use {limit} bytes of memory"
        );
        Ok(Self { block_bytes: half, run_bytes: half })
    }
}

/// A run of `trunk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId {
    /// The chain.
    pub chain: ChainId,
    /// Of the trunk: runs of two epochs are not the same, whatever their heights.
    pub epoch: u64,
    /// The height of the first header.
    pub first: BlockHeight,
}

/// Where a block of `trunk` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedAt {
    /// The chain.
    pub chain: ChainId,
    /// Of the trunk, as in [`RunId`].
    pub epoch: u64,
    /// The height.
    pub height: BlockHeight,
}

/// What is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Name {
    /// A run as it is stored.
    Ascending(RunId),
    /// The same, the highest header first.
    Descending(RunId),
    /// The same with all siblings, of which there are so many: those of one trunk only get more.
    Merged(RunId, usize),
    /// Some ancestors of this block, which is the first, by descending height.
    Line(BlockHash),
}

/// What queries keep in memory beside the blocks of RocksDB.
pub(super) struct Caches {
    /// [`Bytes`], so that a page is slices of them.
    runs: Runs,
    /// Blocks of the trunk. A client that pages asks for the same bounds again and again.
    sealed: Cache<BlockHash, SealedAt>,
}

/// Runs that were read, and how often they are found.
struct Runs {
    cache: Cache<Name, Bytes, ByLength>,
    bytes_max: usize,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Runs {
    fn get(&self, name: &Name) -> Option<Bytes> {
        let found = self.cache.get(name);
        let count = if found.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    fn insert(&self, name: Name, run: Bytes) {
        self.cache.insert(name, run);
    }
}

#[derive(Clone)]
struct ByLength;

impl Weighter<Name, Bytes> for ByLength {
    fn weight(&self, _: &Name, run: &Bytes) -> u64 {
        run.len().saturating_add(size_of::<Name>()) as u64
    }
}

impl Caches {
    /// Caches with nothing in them, for this many bytes of runs.
    pub(super) fn new(run_bytes: usize) -> Self {
        let cache = Cache::with_weighter(run_bytes / RUN_BYTES, run_bytes as u64, ByLength);
        let (hits, misses) = (AtomicU64::new(0), AtomicU64::new(0));
        let runs = Runs { cache, bytes_max: run_bytes, hits, misses };
        Self { runs, sealed: Cache::new(PLACES) }
    }

    /// What became of the lookups of runs.
    pub(super) fn stats(&self) -> RunStats {
        RunStats {
            bytes: self.runs.cache.weight(),
            bytes_max: self.runs.bytes_max as u64,
            hits: self.runs.hits.load(Ordering::Relaxed),
            misses: self.runs.misses.load(Ordering::Relaxed),
        }
    }
}

impl Snapshot {
    /// The headers of a run, by ascending height.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or holds something else; a run that is not there
    /// is damage.
    pub fn ascending(&self, id: RunId) -> Result<Bytes, StoreError> {
        let runs = &self.store().memory.caches.runs;
        let name = Name::Ascending(id);
        if let Some(run) = runs.get(&name) {
            return Ok(run);
        }
        let run = self.read_run(id)?;
        runs.insert(name, run.clone());
        Ok(run)
    }

    /// The headers of a run, by descending height.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::ascending`].
    pub fn descending(&self, id: RunId) -> Result<Bytes, StoreError> {
        let runs = &self.store().memory.caches.runs;
        let name = Name::Descending(id);
        if let Some(run) = runs.get(&name) {
            return Ok(run);
        }
        let ascending = runs.get(&Name::Ascending(id)).map_or_else(|| self.read_run(id), Ok)?;
        let mut run = Vec::with_capacity(ascending.len());
        for header in ascending.rchunks_exact(LEN) {
            run.extend_from_slice(header);
        }
        let run = Bytes::from(run);
        runs.insert(name, run.clone());
        Ok(run)
    }

    /// The record of the header at `height` of a run.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::ascending`].
    pub fn sealed_header(&self, id: RunId, height: BlockHeight) -> Result<Bytes, StoreError> {
        let (runs, number) =
            (&self.store().memory.caches.runs, height.get().checked_sub(id.first.get()));
        let gap = || StoreError::gap(id.chain, height);
        let number = number.and_then(|number| usize::try_from(number).ok()).ok_or_else(gap)?;
        let record = |run: &Bytes, number: usize| {
            let records = number.saturating_mul(LEN)..number.saturating_add(1).saturating_mul(LEN);
            (records.end <= run.len()).then(|| run.slice(records))
        };
        if let Some(run) = runs.get(&Name::Descending(id)) {
            let number = (run.len() / LEN).checked_sub(number.saturating_add(1));
            return number.and_then(|number| record(&run, number)).ok_or_else(gap);
        }
        record(&self.ascending(id)?, number).ok_or_else(gap)
    }

    /// The headers of a block that is in `loose` and of its ancestors, by descending height: at
    /// least as many as `count`. `ranks` gives them, if they are not in memory.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::ascending`].
    pub fn line(
        &self,
        chain: ChainId,
        top: BlockHash,
        count: usize,
        ranks: impl FnOnce() -> Vec<Rank>,
    ) -> Result<Bytes, StoreError> {
        let runs = &self.store().memory.caches.runs;
        let name = Name::Line(top);
        if let Some(line) = runs.get(&name).filter(|line| line.len() >= count.saturating_mul(LEN)) {
            return Ok(line);
        }
        if self.is_cached_only() {
            return Err(StoreError::Cold);
        }
        let mut line = Vec::new();
        self.headers(chain, &ranks(), &mut line)?;
        let line = Bytes::from(line);
        runs.insert(name, line.clone());
        Ok(line)
    }

    /// A run with its siblings, if it is in memory.
    ///
    /// # Errors
    ///
    /// [`StoreError::Cold`] if it is not, and the disk is not to be waited for.
    pub fn recall_merged(&self, id: RunId, siblings: usize) -> Result<Option<Bytes>, StoreError> {
        match self.store().memory.caches.runs.get(&Name::Merged(id, siblings)) {
            None if self.is_cached_only() => Err(StoreError::Cold),
            records => Ok(records),
        }
    }

    /// Keeps a run with its siblings in memory.
    pub fn remember_merged(&self, id: RunId, siblings: usize, records: Bytes) {
        self.store().memory.caches.runs.insert(Name::Merged(id, siblings), records);
    }

    /// Where this block was found before, if it was of a trunk.
    #[must_use]
    pub fn recall(&self, hash: &BlockHash) -> Option<SealedAt> {
        self.store().memory.caches.sealed.get(hash)
    }

    /// Keeps in mind where a block of a trunk was found.
    pub fn remember(&self, hash: BlockHash, at: SealedAt) {
        self.store().memory.caches.sealed.insert(hash, at);
    }

    /// The block of a trunk that begins at `first` at `height`, from the disk.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::ascending`].
    pub(crate) fn sealed_hash(
        &self,
        chain: ChainId,
        first: BlockHeight,
        height: BlockHeight,
    ) -> Result<BlockHash, StoreError> {
        let begin = self.meta().run_length.start(height).max(first);
        let run = self.read_run(RunId { chain, epoch: 0, first: begin })?;
        let number = height.get().checked_sub(begin.get()).and_then(|at| usize::try_from(at).ok());
        let record = number.and_then(|number| run.chunks_exact(LEN).nth(number));
        let header = record.and_then(|record| HeaderRef::parse(record).ok());
        header.map(HeaderRef::hash).ok_or_else(|| StoreError::gap(chain, height))
    }

    /// The same as [`Snapshot::ascending`], from the disk and without keeping it in memory: for those
    /// who read everything once.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read_run(&self, id: RunId) -> Result<Bytes, StoreError> {
        // A read from the disk into the block cache, which does not hold runs.
        if self.is_cached_only() {
            return Err(StoreError::Cold);
        }
        let key = TrunkKey::new(id.chain, id.first);
        let run = self.get(Column::Trunk, key.as_bytes())?;
        let run = run.filter(|run| is_run(run, id.chain, id.first, self.meta().run_length));
        let run = run.ok_or_else(|| StoreError::damaged(Column::Trunk, key.as_bytes()))?;
        Ok(Bytes::copy_from_slice(&run))
    }
}

/// Whether these are the headers of `chain` from the height `first` on to where a run ends, each the
/// parent of the next.
pub(crate) fn is_run(run: &[u8], chain: ChainId, first: BlockHeight, length: RunLength) -> bool {
    let count = length.end(first).get().saturating_sub(first.get());
    let whole = run.len() as u64 == count.saturating_mul(LEN as u64);
    let mut next = (Some(first), None);
    let mut fits = |record: &[u8]| {
        HeaderRef::parse(record).is_ok_and(|header| {
            let fits = header.chain() == chain
                && Some(header.height()) == next.0
                && next.1.is_none_or(|parent| parent == header.parent());
            next = (header.height().child(), Some(header.hash()));
            fits
        })
    };
    whole && run.chunks_exact(LEN).all(&mut fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_that_do_not_fit_are_refused_and_usual_ones_give_way() {
        let room = |bytes| Room { bytes, limit: bytes + 100 };
        let some = CacheSizes { block_bytes: 700, run_bytes: 300 };
        assert_eq!(some.within(room(1000)).unwrap(), some);
        let error = some.within(room(999)).unwrap_err();
        assert!(matches!(error, StoreError::Caches { bytes: 1000, limit: 1099 }));
        let usual = CacheSizes::default();
        let half = CacheSizes { block_bytes: 1 << 20, run_bytes: 1 << 20 };
        assert_eq!(usual.within(room(2 << 20)).unwrap(), half);
        assert!(usual.within(room(0)).is_err());
        let huge = CacheSizes { block_bytes: usize::MAX, run_bytes: usize::MAX };
        assert!(huge.within(room(1 << 40)).is_err());
    }
}
