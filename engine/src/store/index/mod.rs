//! Where a hash is: two indexes of one make, of blocks and of payloads.
//!
//! Rows of an index are sorted by hash, and hashes come in no order. One by one they go to where
//! they belong; of many that come at once, rows are noted as they come, and sorted later.

mod entry;
mod sort;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::Grow;
use rocksdb::{DB, DBRawIterator};
use zerocopy::byteorder::big_endian::U64;
use zerocopy::{FromBytes, IntoBytes};

pub use entry::{HeightValue, IndexEntry, UnindexedKey};

pub(super) use sort::PUT_MAX;

use super::format::{PAYLOAD_UNINDEXED, UNINDEXED};
use super::{Batch, Column, Store, StoreError};

/// What an index is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexOf {
    /// Blocks by their hashes, each of which is in one place.
    Blocks,
    /// Payloads by their hashes. Equal ones may be in many places.
    Payloads,
}

impl IndexOf {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Blocks, Self::Payloads];

    /// What it is of, in a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Payloads => "payloads",
        }
    }

    /// Where its rows are sorted.
    #[must_use]
    pub const fn sorted(self) -> Column {
        match self {
            Self::Blocks => Column::Heights,
            Self::Payloads => Column::PayloadHeights,
        }
    }

    /// Where rows are on their way there.
    #[must_use]
    pub const fn unsorted(self) -> Column {
        match self {
            Self::Blocks => Column::Unindexed,
            Self::Payloads => Column::PayloadUnindexed,
        }
    }

    /// The entry in `meta` with the number of the next rows of [`IndexOf::unsorted`].
    #[must_use]
    pub const fn number_name(self) -> &'static str {
        match self {
            Self::Blocks => UNINDEXED,
            Self::Payloads => PAYLOAD_UNINDEXED,
        }
    }

    /// Key and value of the sorted row of an entry: a hash with one place is the key by itself.
    #[must_use]
    pub fn row(self, entry: &IndexEntry) -> (&[u8], &[u8]) {
        let bytes = entry.as_bytes();
        bytes.split_at(match self {
            Self::Blocks => size_of_val(&entry.hash),
            Self::Payloads => bytes.len(),
        })
    }

    /// The entry of a sorted row, if it is one.
    #[must_use]
    pub fn entry(self, key: &[u8], value: &[u8]) -> Option<IndexEntry> {
        let bytes: [u8; size_of::<IndexEntry>()] = [key, value].concat().try_into().ok()?;
        let entry: IndexEntry = zerocopy::transmute!(bytes);
        (self.row(&entry).0.len() == key.len()).then_some(entry)
    }
}

/// An index of one database, as far as it is in memory.
pub(super) struct Index {
    unsorted: Unsorted,
    /// The number of the next rows.
    next: AtomicU64,
}

/// Whether there are rows that are not sorted: an even number while there are none, and another
/// number each time that this changes.
struct Unsorted(AtomicU64);

impl Unsorted {
    /// Only one thread writes.
    fn set_empty(&self) {
        self.0.fetch_add(u64::from(!self.is_empty()), Ordering::AcqRel);
    }

    fn set_filled(&self) {
        self.0.fetch_add(u64::from(self.is_empty()), Ordering::AcqRel);
    }

    fn is_empty(&self) -> bool {
        self.0.load(Ordering::Acquire).is_multiple_of(2)
    }
}

impl Index {
    /// One with rows that are not sorted, until something else is known.
    pub(super) fn open(db: &DB, of: IndexOf) -> Result<Self, StoreError> {
        let name = of.number_name();
        let column = db.cf_handle(Column::Meta.name());
        let value = column.map(|column| db.get_cf(column, name)).transpose()?.flatten();
        let next = match value {
            None => 0,
            Some(value) => U64::read_from_bytes(&value).map_err(|_| StoreError::meta(name))?.get(),
        };
        Ok(Self { unsorted: Unsorted(AtomicU64::new(1)), next: AtomicU64::new(next) })
    }

    /// Whether every row is where it belongs.
    pub(super) fn is_sorted(&self) -> bool {
        self.unsorted.is_empty()
    }

    /// A number that no other time has at which it was sorted or was not.
    pub(super) fn number(&self) -> u64 {
        self.unsorted.0.load(Ordering::Acquire)
    }

    pub(super) fn set_unsorted(&self) {
        self.unsorted.set_filled();
    }

    /// Looks whether it has any rows that are not sorted.
    pub(super) fn look(&self, store: &Store, of: IndexOf) -> Result<(), StoreError> {
        let rows = store.unsorted_rows(of, 0, None);
        if rows.valid() {
            self.unsorted.set_filled();
        } else {
            rows.status()?;
            self.unsorted.set_empty();
        }
        Ok(())
    }
}

/// Parts of all hashes, by their first byte.
const PARTS: usize = 256;

impl Batch {
    /// Notes rows for [`Store::index`]: cheaper than putting them where they belong, as hashes come
    /// in no order.
    pub fn put_unindexed(&mut self, store: &Store, of: IndexOf, entries: &[IndexEntry]) {
        if entries.is_empty() {
            return;
        }
        let number = store.index_of(of).next.fetch_add(1, Ordering::Relaxed);
        let mut counts = [0_usize; PARTS];
        let part = |entry: &IndexEntry| usize::from(entry.first_byte());
        for entry in entries {
            if let Some(count) = counts.get_mut(part(entry)) {
                count.grow(1);
            }
        }
        let mut parts: Vec<Vec<IndexEntry>> =
            counts.iter().map(|count| Vec::with_capacity(*count)).collect();
        for entry in entries {
            if let Some(of_part) = parts.get_mut(part(entry)) {
                of_part.push(*entry);
            }
        }
        for (first_byte, of_part) in (0..=u8::MAX).zip(&parts).filter(|(_, part)| !part.is_empty())
        {
            let key = UnindexedKey::new(first_byte, number);
            self.inner.put_cf(store.column(of.unsorted()), key.as_bytes(), of_part.as_bytes());
        }
        let column = store.column(Column::Meta);
        self.inner.put_cf(column, of.number_name(), U64::new(number.saturating_add(1)).as_bytes());
        self.unindexed.push(of);
    }

    /// Puts a row where it belongs.
    pub(super) fn put_indexed(&mut self, store: &Store, of: IndexOf, entry: &IndexEntry) {
        let (key, value) = of.row(entry);
        self.inner.put_cf(store.column(of.sorted()), key, value);
    }
}

/// Lends the entries with this hash in `rows`, which are those that are not sorted, to `visit` until
/// it has enough.
pub(super) fn visit_unsorted(
    of: IndexOf,
    mut rows: DBRawIterator<'_>,
    hash: &[u8; 32],
    mut visit: impl FnMut(&IndexEntry) -> std::ops::ControlFlow<()>,
) -> Result<(), StoreError> {
    let [first_byte, ..] = *hash;
    rows.seek(UnindexedKey::new(first_byte, 0).as_bytes());
    while let Some((key, value)) = rows.item() {
        if key.first() != Some(&first_byte) {
            break;
        }
        let entries = <[IndexEntry]>::ref_from_bytes(value);
        let entries = entries.map_err(|_| StoreError::damaged(of.unsorted(), key))?;
        for entry in entries.iter().filter(|entry| entry.hash == *hash) {
            if visit(entry).is_break() {
                return Ok(());
            }
        }
        rows.next();
    }
    Ok(rows.status()?)
}
