use std::ops::ControlFlow;
use std::sync::Arc;

use rocksdb::{DBPinnableSlice, DBRawIterator, ReadOptions, ReadTier};
use self_cell::self_cell;
use zerocopy::{FromBytes, IntoBytes};

use super::index::visit_unsorted;
use super::runs::is_run;
use super::{Column, HeightValue, IndexOf, LooseKey, Meta, Store, StoreError, TrunkKey};
use crate::header::{Header, HeaderRef, LEN};
use crate::types::{BlockHash, BlockHeight, ChainId, Rank};

type AtMoment<'a> = rocksdb::Snapshot<'a>;

self_cell! {
    /// A snapshot, and the database that it is of.
    struct Pinned {
        owner: Arc<Store>,
        #[covariant]
        dependent: AtMoment,
    }
}

/// An immutable view of a [`Store`]. Cheap to clone; RocksDB keeps what it shows.
#[derive(Clone)]
pub struct Snapshot {
    pinned: Arc<Pinned>,
    cached_only: bool,
    /// Whether every row of the indexes of blocks and of payloads is where it belongs.
    indexed: [bool; 2],
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

impl Snapshot {
    pub(super) fn of(store: &Arc<Store>) -> Self {
        let numbers = || IndexOf::ALL.map(|of| store.index_of(of).number());
        let before = numbers();
        let pinned = Pinned::new(Arc::clone(store), |store| store.db.snapshot());
        let mut indexed = IndexOf::ALL.map(|of| store.index_of(of).is_sorted());
        for (indexed, (before, after)) in indexed.iter_mut().zip(before.into_iter().zip(numbers()))
        {
            *indexed &= before == after;
        }
        Self { pinned: Arc::new(pinned), cached_only: false, indexed }
    }

    /// The same view, for reads that do not wait for the disk: what is not in memory is
    /// [`StoreError::Cold`].
    #[must_use]
    pub fn cached(&self) -> Self {
        Self { cached_only: true, ..self.clone() }
    }

    pub(super) fn is_cached_only(&self) -> bool {
        self.cached_only
    }

    /// [`Store::damaged_log`] of its database.
    #[must_use]
    pub fn damaged_log(&self) -> Option<&str> {
        self.store().damaged_log()
    }

    pub(super) fn store(&self) -> &Store {
        self.pinned.borrow_owner()
    }

    /// The store that it is of.
    pub(crate) fn owner(&self) -> &Arc<Store> {
        self.pinned.borrow_owner()
    }

    pub(super) fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        if self.cached_only {
            options.set_read_tier(ReadTier::BlockCache);
        }
        options
    }

    /// Options for reads that go to the database itself.
    pub(super) fn options_at_moment(&self) -> ReadOptions {
        let mut options = self.options();
        options.set_snapshot(self.pinned.borrow_dependent());
        options
    }

    pub(super) fn get(
        &self,
        column: Column,
        key: &[u8],
    ) -> Result<Option<DBPinnableSlice<'_>>, StoreError> {
        let column = self.store().column(column);
        let snapshot = self.pinned.borrow_dependent();
        Ok(snapshot.get_pinned_cf_opt(column, key, self.options())?)
    }

    pub(super) fn iterator(&self, column: Column, options: ReadOptions) -> DBRawIterator<'_> {
        self.pinned.borrow_dependent().raw_iterator_cf_opt(self.store().column(column), options)
    }

    /// Whether every block of it can be found by one lookup in `heights`, and every payload by one in
    /// `payload_heights`.
    pub(crate) fn is_indexed(&self) -> bool {
        self.indexed == [true; 2]
    }

    /// Whether every row of this index is where it belongs.
    pub(super) const fn is_sorted(&self, of: IndexOf) -> bool {
        let [blocks, payloads] = self.indexed;
        match of {
            IndexOf::Blocks => blocks,
            IndexOf::Payloads => payloads,
        }
    }

    /// Keys together, in their order, at this moment.
    pub(super) fn get_many<'a>(
        &self,
        column: Column,
        keys: impl Iterator<Item = &'a [u8]>,
    ) -> Vec<Result<Option<DBPinnableSlice<'_>>, StoreError>> {
        let options = self.options_at_moment();
        let store = self.store();
        let column = store.column(column);
        let values = store.db.batched_multi_get_cf_opt(column, keys, false, &options);
        values.into_iter().map(|value| Ok(value?)).collect()
    }

    /// Chain and height of the block with this hash.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or holds something else.
    pub fn place(&self, hash: &BlockHash) -> Result<Option<(ChainId, BlockHeight)>, StoreError> {
        let Some(value) = self.get(Column::Heights, hash.as_bytes())? else {
            return self.unindexed_place(hash);
        };
        place_in(hash, &value).map(Some)
    }

    /// The same of a block that is in `unindexed`: of many entries each is looked at.
    fn unindexed_place(
        &self,
        hash: &BlockHash,
    ) -> Result<Option<(ChainId, BlockHeight)>, StoreError> {
        if self.is_sorted(IndexOf::Blocks) {
            return Ok(None);
        }
        let (rows, mut place) = (self.iterator(Column::Unindexed, self.options()), None);
        visit_unsorted(IndexOf::Blocks, rows, hash.as_bytes(), |entry| {
            place = Some((entry.place.chain(), entry.place.height()));
            ControlFlow::Break(())
        })?;
        Ok(place)
    }

    /// What [`Snapshot::place`] does not find any more because it was moved to `heights` since, and
    /// its files are gone: where the block is now, which may be of a later moment than this one.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::place`].
    pub fn moved_place(
        &self,
        hash: &BlockHash,
    ) -> Result<Option<(ChainId, BlockHeight)>, StoreError> {
        if self.is_sorted(IndexOf::Blocks) {
            return Ok(None);
        }
        let column = self.store().column(Column::Heights);
        let value = self.store().db.get_pinned_cf_opt(column, hash.as_bytes(), &self.options())?;
        value.map(|value| place_in(hash, &value)).transpose()
    }

    /// The header of a block that is in `loose`.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::place`]; a block that is not there is damage.
    pub fn loose(&self, chain: ChainId, rank: Rank) -> Result<Header, StoreError> {
        let key = LooseKey::new(chain, rank);
        let value = self.get(Column::Loose, key.as_bytes())?;
        let value = value.ok_or_else(|| StoreError::damaged(Column::Loose, key.as_bytes()))?;
        Ok(checked(&key, &value)?.to_owned())
    }

    /// The heights of `chain` that are sealed: the first one, the one behind the last, and what
    /// the first block names as its parent.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::place`].
    pub fn sealed(
        &self,
        chain: ChainId,
    ) -> Result<Option<(BlockHeight, BlockHeight, BlockHash)>, StoreError> {
        let mut iterator = self.iterator(Column::Trunk, self.options());
        iterator.seek(TrunkKey::new(chain, BlockHeight::new(0)).as_bytes());
        let Some((first, _, parent)) = self.run_at(&iterator, chain)? else { return Ok(None) };
        iterator.seek_for_prev(TrunkKey::new(chain, BlockHeight::new(u64::MAX)).as_bytes());
        let last = self.run_at(&iterator, chain)?;
        Ok(last.map(|(_, end, _)| (first, end, parent)))
    }

    /// The run under an iterator, if it is of `chain`: like [`Snapshot::sealed`].
    fn run_at(
        &self,
        iterator: &DBRawIterator<'_>,
        chain: ChainId,
    ) -> Result<Option<(BlockHeight, BlockHeight, BlockHash)>, StoreError> {
        let Some((key, run)) = iterator.item() else {
            iterator.status()?;
            return Ok(None);
        };
        let damaged = || StoreError::damaged(Column::Trunk, key);
        let typed = TrunkKey::ref_from_bytes(key).map_err(|_| damaged())?;
        if typed.chain() != chain {
            return Ok(None);
        }
        let fits = is_run(run, chain, typed.first(), self.meta().run_length);
        let lowest = run.get(..LEN).filter(|_| fits).ok_or_else(damaged)?;
        let parent = HeaderRef::parse(lowest).map_err(|_| damaged())?.parent();
        let blocks = (run.len() / LEN) as u64;
        let end = BlockHeight::new(typed.first().get().saturating_add(blocks));
        Ok(Some((typed.first(), end, parent)))
    }

    /// [`Store::format_version`] of its database.
    #[must_use]
    pub fn format_version(&self) -> u32 {
        self.store().format_version()
    }

    /// What the database says of itself.
    #[must_use]
    pub fn meta(&self) -> Meta {
        self.store().meta()
    }

    /// Appends the headers of blocks that are in `loose`, in the order of `ranks`.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::place`]; a block that is not there is damage.
    pub fn headers(
        &self,
        chain: ChainId,
        ranks: &[Rank],
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let keys: Vec<LooseKey> = ranks.iter().map(|rank| LooseKey::new(chain, *rank)).collect();
        let values = self.get_many(Column::Loose, keys.iter().map(IntoBytes::as_bytes));
        out.reserve(ranks.len().saturating_mul(LEN));
        for (key, value) in keys.iter().zip(values) {
            let value = value?.ok_or_else(|| StoreError::damaged(Column::Loose, key.as_bytes()))?;
            out.extend_from_slice(checked(key, &value)?.as_bytes());
        }
        Ok(())
    }

    /// Lends the headers of a chain that are in `loose` to `visit`, by ascending rank, up to the
    /// height `max`, until it breaks.
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
        let mut options = self.options();
        let mut end = LooseKey::last(chain, max).as_bytes().to_vec();
        end.push(0);
        options.set_iterate_upper_bound(end);
        let mut iterator = self.iterator(Column::Loose, options);
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

    /// Lends every header of `chain` that is in `loose` to `visit`, by ascending rank.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::place`].
    pub fn for_each_loose(
        &self,
        chain: ChainId,
        mut visit: impl FnMut(HeaderRef<'_>),
    ) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        // One pass over everything: what queries have in the cache is worth more.
        options.fill_cache(false);
        options.set_readahead_size(4 << 20);
        let max = BlockHeight::new(u64::MAX);
        let mut end = LooseKey::last(chain, max).as_bytes().to_vec();
        end.push(0);
        options.set_iterate_upper_bound(end);
        let mut iterator = self.iterator(Column::Loose, options);
        iterator.seek(LooseKey::first(chain, BlockHeight::new(0)).as_bytes());
        lend(&mut iterator, |header| {
            visit(header);
            ControlFlow::Continue(())
        })
    }
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

/// What the value of a row of `heights` says.
fn place_in(hash: &BlockHash, value: &[u8]) -> Result<(ChainId, BlockHeight), StoreError> {
    let place = HeightValue::read_from_bytes(value)
        .map_err(|_| StoreError::damaged(Column::Heights, hash.as_bytes()))?;
    Ok((place.chain(), place.height()))
}

/// The header in `value`, if it is the one that its key says.
fn checked<'a>(key: &LooseKey, value: &'a [u8]) -> Result<HeaderRef<'a>, StoreError> {
    HeaderRef::parse(value)
        .ok()
        .filter(|header| header.rank() == key.rank() && header.chain() == key.chain())
        .ok_or_else(|| StoreError::damaged(Column::Loose, key.as_bytes()))
}
