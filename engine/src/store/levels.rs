use rocksdb::ReadOptions;
use zerocopy::{FromBytes, IntoBytes};

use super::batch::in_run;
use super::{Batch, Column, LooseKey, Snapshot, Store, StoreError, TrunkKey};
use crate::types::{BlockHeight, ChainId, Grow, Rank};
use crate::verify::Level;

impl Batch {
    /// Notes how far the blocks of a run are verified that have no row of their own for that, by
    /// ascending height from `first` on.
    pub fn put_levels(
        &mut self,
        store: &Store,
        chain: ChainId,
        first: BlockHeight,
        levels: &[Level],
    ) {
        if levels.iter().all(|level| *level == Level::Full) {
            return;
        }
        let start = store.run_length.start(first);
        let below = usize::try_from(first.get().saturating_sub(start.get())).unwrap_or_default();
        let mut value = vec![Level::Full.code(); below];
        value.extend(levels.iter().map(|level| level.code()));
        let key = TrunkKey::new(chain, start);
        self.inner.put_cf(store.column(Column::Levels), key.as_bytes(), value);
    }

    /// Gives every block of a run a row of its own in `levels`, where it needs one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or holds something else.
    pub(super) fn divide_levels(
        &mut self,
        snapshot: &Snapshot,
        chain: ChainId,
        first: BlockHeight,
        headers: &[u8],
    ) -> Result<(), StoreError> {
        let store = snapshot.store();
        let start = store.run_length.start(first);
        let key = TrunkKey::new(chain, start);
        let Some(levels) = snapshot.get(Column::Levels, key.as_bytes())? else { return Ok(()) };
        let column = store.column(Column::Levels);
        for header in in_run(headers) {
            let level = level_in_run(&levels, start, header.height(), key.as_bytes())?;
            if level < Level::Full {
                let key = LooseKey::new(chain, header.rank());
                self.inner.put_cf(column, key.as_bytes(), [level.code()]);
            }
        }
        self.inner.delete_cf(column, key.as_bytes());
        Ok(())
    }
}

impl Snapshot {
    /// How far a stored block is verified; `sealed` says whether it is of the trunk.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or holds something else.
    pub fn level(&self, chain: ChainId, rank: Rank, sealed: bool) -> Result<Level, StoreError> {
        let key = LooseKey::new(chain, rank);
        if let Some(value) = self.get(Column::Levels, key.as_bytes())? {
            return level(value.first().copied(), key.as_bytes());
        }
        let start = self.store().run_length.start(rank.height);
        let key = TrunkKey::new(chain, start);
        match self.get(Column::Levels, key.as_bytes())? {
            Some(levels) if sealed => level_in_run(&levels, start, rank.height, key.as_bytes()),
            _ => Ok(Level::Full),
        }
    }

    /// Blocks that have a row of their own and are verified up to [`Level::Hash`], at most `max`: those
    /// that were admitted without all the blocks below them are among them.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read.
    pub fn admitted(&self, max: usize) -> Result<Vec<(ChainId, Rank)>, StoreError> {
        let mut iterator = self.iterator(Column::Levels, ReadOptions::default());
        iterator.seek_to_first();
        let mut blocks = Vec::new();
        // Also rows of runs count, so that it ends early where there are many.
        for _ in 0..max {
            let Some((key, value)) = iterator.item() else { break };
            if let (Ok(key), [code]) = (LooseKey::ref_from_bytes(key), value)
                && *code == Level::Hash.code()
            {
                blocks.push((key.chain(), key.rank()));
            }
            iterator.next();
        }
        iterator.status()?;
        Ok(blocks)
    }

    /// Whether a block has a level below [`Level::Full`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read.
    pub fn has_levels(&self) -> Result<bool, StoreError> {
        let mut iterator = self.iterator(Column::Levels, ReadOptions::default());
        iterator.seek_to_first();
        iterator.status()?;
        Ok(iterator.valid())
    }

    /// The number of blocks of each level below [`Level::Full`].
    ///
    /// # Cost
    ///
    /// One scan of those blocks; none in a database that is fully verified.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::level`].
    pub fn count_levels(&self) -> Result<[u64; 2], StoreError> {
        let mut counts = [0; 2];
        let mut iterator = self.iterator(Column::Levels, ReadOptions::default());
        iterator.seek_to_first();
        while let Some((key, value)) = iterator.item() {
            for code in value {
                let level = level(Some(*code), key)?;
                if let Some(count) = counts.get_mut(usize::from(level.code())) {
                    count.grow(1);
                }
            }
            iterator.next();
        }
        iterator.status()?;
        Ok(counts)
    }
}

/// The level of the block at `height` in the row of a run that begins at `start`.
fn level_in_run(
    levels: &[u8],
    start: BlockHeight,
    height: BlockHeight,
    key: &[u8],
) -> Result<Level, StoreError> {
    let index = height.get().checked_sub(start.get()).and_then(|index| usize::try_from(index).ok());
    match index.and_then(|index| levels.get(index)) {
        Some(code) => level(Some(*code), key),
        None => Ok(Level::Full),
    }
}

fn level(code: Option<u8>, key: &[u8]) -> Result<Level, StoreError> {
    code.and_then(Level::from_code).ok_or_else(|| StoreError::damaged(Column::Levels, key))
}
