use rocksdb::WriteBatch;
use zerocopy::IntoBytes;

use super::{Column, HeightValue, History, LooseKey, Meta, PendingKey, Store};
use crate::header::HeaderRef;
use crate::verify::{Level, Verified};

/// Writes that take effect together or not at all.
#[derive(Default)]
pub struct Batch {
    pub(super) inner: WriteBatch,
    pub(super) partial: bool,
}

impl Batch {
    /// Adds a block of `store` to `loose`, where it is to `heights`, and its level to `levels` if it
    /// is not fully verified. It waits no longer.
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
        if verified.level() < Level::Full {
            let level = [verified.level().code()];
            self.inner.put_cf(store.column(Column::Levels), key.as_bytes(), level);
        }
    }

    /// Puts a block aside until its parents are there. `place` says where in its input it stood.
    pub fn put_pending(&mut self, store: &Store, header: HeaderRef<'_>, place: &str) {
        let key = PendingKey::new(header.chain(), header.rank());
        let value = [header.as_bytes().as_slice(), place.as_bytes()].concat();
        self.inner.put_cf(store.column(Column::Pending), key.as_bytes(), value);
    }

    /// Takes a block back that was put aside.
    pub fn delete_pending(&mut self, store: &Store, header: HeaderRef<'_>) {
        let key = PendingKey::new(header.chain(), header.rank());
        self.inner.delete_cf(store.column(Column::Pending), key.as_bytes());
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
