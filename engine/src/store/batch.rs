use rocksdb::WriteBatch;
use zerocopy::IntoBytes;

use super::{
    Column, History, IndexEntry, IndexOf, LooseKey, Meta, PayloadKey, PendingKey, RunSums,
    Snapshot, Store, StoreError, TrunkKey,
};
use crate::header::{HeaderRef, LEN};
use crate::payload::Payload;
use crate::types::{BlockHeight, ChainId, Rank};
use crate::verify::{Level, Verified};

/// Blocks that become a run.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a> {
    /// The height of the first header.
    pub first: BlockHeight,
    /// All headers of the run, by ascending height.
    pub headers: &'a [u8],
    /// Those of them that were loose.
    pub from_loose: &'a [Rank],
    /// The first height of the run that this one takes the place of, with all that was in it.
    pub instead_of: Option<BlockHeight>,
    /// What the trunk comes to, up to the end of the run.
    pub sums: RunSums,
}

/// Writes that take effect together or not at all.
#[derive(Default)]
pub struct Batch {
    pub(super) inner: WriteBatch,
    pub(super) partial: bool,
    /// The indexes that it adds rows to which are not sorted.
    pub(super) unindexed: Vec<IndexOf>,
}

impl Batch {
    /// An empty one that has room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { inner: WriteBatch::with_capacity_bytes(bytes), ..Self::default() }
    }

    /// Adds a block of `store` to `loose`, where it is to `heights`, and its level to `levels` if it
    /// is not fully verified.
    pub fn put_block(&mut self, store: &Store, verified: Verified<'_>) {
        let header = verified.header();
        self.put_indexed(store, IndexOf::Blocks, &IndexEntry::of(header));
        self.put_loose(store, header, verified.level());
    }

    /// Adds a block to `loose`, and its level to `levels` if it is not fully verified. Where it is,
    /// is left to [`Batch::put_unindexed`].
    pub fn put_loose(&mut self, store: &Store, header: HeaderRef<'_>, level: Level) {
        let key = LooseKey::new(header.chain(), header.rank());
        self.inner.put_cf(store.column(Column::Loose), key.as_bytes(), header.as_bytes());
        if level < Level::Full {
            let column = store.column(Column::Levels);
            self.inner.put_cf(column, key.as_bytes(), [level.code()]);
        }
    }

    /// Moves blocks of `chain` from `loose` to `trunk`, as the run that begins at `first`.
    ///
    /// Each of them was put into `loose` once, which is what lets RocksDB drop both entries where
    /// they meet.
    pub fn seal(&mut self, store: &Store, chain: ChainId, run: &Sealed<'_>) {
        for rank in run.from_loose {
            let key = LooseKey::new(chain, *rank);
            self.inner.single_delete_cf(store.column(Column::Loose), key.as_bytes());
        }
        let trunk = store.column(Column::Trunk);
        if let Some(first) = run.instead_of {
            self.inner.delete_cf(trunk, TrunkKey::new(chain, first).as_bytes());
            self.delete_sums(store, chain, first);
        }
        self.put_sums(store, chain, run.first, &run.sums);
        self.inner.put_cf(trunk, TrunkKey::new(chain, run.first).as_bytes(), run.headers);
    }

    /// Moves the headers of the run that begins at `first` back from `trunk` to `loose`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or holds something else.
    pub fn unseal(
        &mut self,
        snapshot: &Snapshot,
        chain: ChainId,
        first: BlockHeight,
        headers: &[u8],
    ) -> Result<(), StoreError> {
        let store = snapshot.store();
        let key = TrunkKey::new(chain, first);
        self.inner.delete_cf(store.column(Column::Trunk), key.as_bytes());
        self.delete_sums(store, chain, first);
        for header in in_run(headers) {
            let key = LooseKey::new(chain, header.rank());
            self.inner.put_cf(store.column(Column::Loose), key.as_bytes(), header.as_bytes());
        }
        self.divide_levels(snapshot, chain, first, headers)
    }

    /// Adds a payload to `payloads`, and where it is to `payload_heights`.
    pub fn put_payload(&mut self, store: &Store, key: &PayloadKey, payload: &Payload) {
        self.put_indexed(store, IndexOf::Payloads, &IndexEntry::of_payload(key));
        self.put_payload_row(store, key, payload);
    }

    /// Adds a payload to `payloads`. Where it is, is left to [`Batch::put_unindexed`].
    pub fn put_payload_row(&mut self, store: &Store, key: &PayloadKey, payload: &Payload) {
        self.inner.put_cf(store.column(Column::Payloads), key.as_bytes(), payload.as_bytes());
    }

    /// Puts a block aside until its parents are there, and its payload, if that came with it: one
    /// that was put aside before stays. `place` says where in its input it stood.
    pub fn put_pending(
        &mut self,
        store: &Store,
        header: HeaderRef<'_>,
        place: &str,
        payload: Option<&Payload>,
    ) {
        let key = PendingKey::new(header.chain(), header.rank());
        let value = [header.as_bytes().as_slice(), place.as_bytes()].concat();
        self.inner.put_cf(store.column(Column::Pending), key.as_bytes(), value);
        if let Some(payload) = payload {
            let column = store.column(Column::PendingPayloads);
            self.inner.put_cf(column, key.as_bytes(), payload.as_bytes());
        }
    }

    /// Takes a block back that was put aside, with its payload if it has one.
    pub fn delete_pending(&mut self, store: &Store, header: HeaderRef<'_>, has_payload: bool) {
        let key = PendingKey::new(header.chain(), header.rank());
        self.inner.delete_cf(store.column(Column::Pending), key.as_bytes());
        if has_payload {
            self.inner.delete_cf(store.column(Column::PendingPayloads), key.as_bytes());
        }
    }

    /// Notes that the history of `store` no longer begins at genesis alone.
    pub fn put_partial(&mut self, store: &Store) {
        self.put_meta(store, Meta { history: History::Partial, ..store.meta() });
        self.partial = true;
    }

    /// Sets what `store` says of itself.
    pub(super) fn put_meta(&mut self, store: &Store, meta: Meta) {
        for (name, value) in meta.entries() {
            self.inner.put_cf(store.column(Column::Meta), name, value);
        }
    }
}

/// The headers of a run.
pub(super) fn in_run(headers: &[u8]) -> impl Iterator<Item = HeaderRef<'_>> {
    headers.chunks_exact(LEN).filter_map(|header| HeaderRef::parse(header).ok())
}
