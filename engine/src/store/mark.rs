use zerocopy::byteorder::big_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Batch, Column, Snapshot, Store, StoreError};

/// What names of marks in `meta` begin with.
const PREFIX: &[u8] = b"replay ";

/// Up to where an input was read: everything before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which input.
    pub input: [u8; 32],
    /// Where in it.
    pub at: MarkedAt,
}

/// A place in an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct MarkedAt {
    /// Bytes before it.
    pub position: U64,
    /// Lines or heights before it, where the input is read by those.
    pub steps: U64,
    /// Records before it.
    pub records: U64,
}

impl Batch {
    /// Notes up to where an input is read with this batch.
    pub fn put_mark(&mut self, store: &Store, mark: &Mark) {
        self.inner.put_cf(store.column(Column::Meta), name(&mark.input), mark.at.as_bytes());
    }

    /// Forgets where this input was read up to.
    pub fn delete_mark(&mut self, store: &Store, input: &[u8; 32]) {
        self.inner.delete_cf(store.column(Column::Meta), name(input));
    }
}

impl Snapshot {
    /// Up to where an input was read, if it was not read to its end.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or holds something else.
    pub fn mark(&self, input: &[u8; 32]) -> Result<Option<MarkedAt>, StoreError> {
        let Some(value) = self.get(Column::Meta, &name(input))? else { return Ok(None) };
        let at = MarkedAt::read_from_bytes(&value).map_err(|_| StoreError::meta("replay"))?;
        Ok(Some(at))
    }
}

/// Whether an entry of `meta` with this name is a mark.
pub(super) fn is_mark(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}

fn name(input: &[u8; 32]) -> Vec<u8> {
    [PREFIX, input].concat()
}
