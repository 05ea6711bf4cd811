use rocksdb::WriteBatch;
use zerocopy::IntoBytes;

use super::{Column, HeightValue, History, LooseKey, Meta, Store};
use crate::verify::Verified;

/// Writes that take effect together or not at all.
#[derive(Default)]
pub struct Batch {
    pub(super) inner: WriteBatch,
    pub(super) partial: bool,
}

impl Batch {
    /// Adds a block of `store` to `loose`, and where it is to `heights`.
    pub fn put_block(&mut self, store: &Store, verified: Verified<'_>) {
        let header = verified.header();
        let key = LooseKey::new(header.chain(), header.rank());
        let place = HeightValue::new(header.chain(), header.height());
        self.inner.put_cf(store.column(Column::Loose), key.as_bytes(), header.as_bytes());
        self.inner.put_cf(
            store.column(Column::Heights),
            header.hash().as_bytes(),
            place.as_bytes(),
        );
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
