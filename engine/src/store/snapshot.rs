use std::ops::ControlFlow;

use rocksdb::{DBRawIterator, ReadOptions};
use zerocopy::{FromBytes, IntoBytes};

use super::{Column, HeightValue, LooseKey, Meta, Store, StoreError};
use crate::header::{Header, HeaderRef, LEN};
use crate::types::{BlockHash, BlockHeight, ChainId, Rank};
use crate::verify::Level;

/// An immutable view of a [`Store`].
pub struct Snapshot<'a> {
    pub(super) store: &'a Store,
    pub(super) inner: rocksdb::Snapshot<'a>,
}

/// Where an ascending scan begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With the first block at this height or above.
    Height(BlockHeight),
    /// With this block, or the next one.
    Rank(Rank),
    /// With the next block after this one.
    After(Rank),
}

impl<'a> Snapshot<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, inner: store.db.snapshot() }
    }

    /// Chain and height of the block with this hash.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or holds something else.
    pub fn place(&self, hash: &BlockHash) -> Result<Option<(ChainId, BlockHeight)>, StoreError> {
        let column = self.store.column(Column::Heights);
        let Some(value) = self.inner.get_pinned_cf(column, hash.as_bytes())? else {
            return Ok(None);
        };
        let place = HeightValue::read_from_bytes(&value)
            .map_err(|_| StoreError::damaged(Column::Heights, hash.as_bytes()))?;
        Ok(Some((place.chain(), place.height())))
    }

    /// The header of a block.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::place`].
    pub fn header(&self, chain: ChainId, rank: Rank) -> Result<Option<Header>, StoreError> {
        let key = LooseKey::new(chain, rank);
        let column = self.store.column(Column::Loose);
        let value = self.inner.get_pinned_cf(column, key.as_bytes())?;
        value.map(|value| Ok(checked(&key, &value)?.to_owned())).transpose()
    }

    /// The header of a block that is known to be here.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::place`]; a block that is not here is damage.
    pub fn held_header(&self, chain: ChainId, rank: Rank) -> Result<Header, StoreError> {
        let key = LooseKey::new(chain, rank);
        self.header(chain, rank)?.ok_or_else(|| StoreError::damaged(Column::Loose, key.as_bytes()))
    }

    /// The block with this hash, on whatever chain and at whatever height it is.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::place`].
    pub fn find(&self, hash: BlockHash) -> Result<Option<Header>, StoreError> {
        let Some((chain, height)) = self.place(&hash)? else { return Ok(None) };
        Ok(Some(self.held_header(chain, Rank { height, hash })?))
    }

    /// What the database says of itself.
    #[must_use]
    pub fn meta(&self) -> Meta {
        self.store.meta()
    }

    /// Appends the headers of blocks that are known to be here, in the order of `ranks`.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::place`]; a block that is not here is damage.
    pub fn headers(
        &self,
        chain: ChainId,
        ranks: &[Rank],
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let keys: Vec<LooseKey> = ranks.iter().map(|rank| LooseKey::new(chain, *rank)).collect();
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.inner);
        let column = self.store.column(Column::Loose);
        let bytes = keys.iter().map(IntoBytes::as_bytes);
        let values = self.store.db.batched_multi_get_cf_opt(column, bytes, false, &options);
        out.reserve(ranks.len() * LEN);
        for (key, value) in keys.iter().zip(values) {
            let value = value?.ok_or_else(|| StoreError::damaged(Column::Loose, key.as_bytes()))?;
            out.extend_from_slice(checked(key, &value)?.as_bytes());
        }
        Ok(())
    }

    /// Lends the headers of a chain to `visit`, by ascending rank, up to the height `max`, until
    /// it breaks.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::place`].
    pub fn ascend(
        &self,
        chain: ChainId,
        from: From,
        max: BlockHeight,
        visit: impl FnMut(HeaderRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        let mut end = LooseKey::last(chain, max).as_bytes().to_vec();
        end.push(0);
        options.set_iterate_upper_bound(end);
        let column = self.store.column(Column::Loose);
        let mut iterator = self.inner.raw_iterator_cf_opt(column, options);
        match from {
            From::Height(height) => iterator.seek(LooseKey::first(chain, height).as_bytes()),
            From::Rank(rank) => iterator.seek(LooseKey::new(chain, rank).as_bytes()),
            From::After(rank) => {
                let mut key = LooseKey::new(chain, rank).as_bytes().to_vec();
                key.push(0);
                iterator.seek(key);
            }
        }
        lend(&mut iterator, visit)
    }

    /// How far a stored block is verified.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::place`].
    pub fn level(&self, chain: ChainId, rank: Rank) -> Result<Level, StoreError> {
        let key = LooseKey::new(chain, rank);
        let value = self.inner.get_pinned_cf(self.store.column(Column::Levels), key.as_bytes())?;
        value.map_or(Ok(Level::Full), |value| level(key.as_bytes(), &value))
    }

    /// The number of blocks of each level below [`Level::Full`].
    ///
    /// # Cost
    ///
    /// One scan of those blocks; none in a database that is fully verified.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::place`].
    pub fn count_levels(&self) -> Result<[u64; 2], StoreError> {
        let mut counts = [0; 2];
        let mut iterator = self.inner.raw_iterator_cf(self.store.column(Column::Levels));
        iterator.seek_to_first();
        while let Some((key, value)) = iterator.item() {
            let level = level(key, value)?;
            if let Some(count) = counts.get_mut(usize::from(level.code())) {
                *count += 1;
            }
            iterator.next();
        }
        iterator.status()?;
        Ok(counts)
    }

    /// Lends every header of every chain to `visit`, by ascending chain and rank.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::place`].
    pub fn for_each(&self, mut visit: impl FnMut(HeaderRef<'_>)) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        // One pass over everything: what queries have in the cache is worth more.
        options.fill_cache(false);
        options.set_readahead_size(4 << 20);
        let column = self.store.column(Column::Loose);
        let mut iterator = self.inner.raw_iterator_cf_opt(column, options);
        iterator.seek_to_first();
        lend(&mut iterator, |header| {
            visit(header);
            ControlFlow::Continue(())
        })
    }
}

fn level(key: &[u8], value: &[u8]) -> Result<Level, StoreError> {
    let level = value.first().copied().and_then(Level::from_code);
    level.ok_or_else(|| StoreError::damaged(Column::Levels, key))
}

fn lend(
    iterator: &mut DBRawIterator<'_>,
    mut visit: impl FnMut(HeaderRef<'_>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    while let Some((key, value)) = iterator.item() {
        let typed = LooseKey::ref_from_bytes(key);
        let typed = typed.map_err(|_| StoreError::damaged(Column::Loose, key))?;
        if visit(checked(typed, value)?).is_break() {
            return Ok(());
        }
        iterator.next();
    }
    Ok(iterator.status()?)
}

/// The header in `value`, if it is the one that its key says.
fn checked<'a>(key: &LooseKey, value: &'a [u8]) -> Result<HeaderRef<'a>, StoreError> {
    HeaderRef::parse(value)
        .ok()
        .filter(|header| header.rank() == key.rank() && header.chain() == key.chain())
        .ok_or_else(|| StoreError::damaged(Column::Loose, key.as_bytes()))
}
