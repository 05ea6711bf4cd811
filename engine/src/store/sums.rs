use ruint::aliases::U256;
use zerocopy::byteorder::big_endian::{I64, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::batch::in_run;
use super::{Batch, Column, Snapshot, Store, StoreError, TrunkKey};
use crate::tally::{BINS, Bins, Sums, Tally};
use crate::types::{BlockHeight, ChainId, Micros};

/// What the blocks of a trunk come to, up to the end of a run.
///
/// From where on they are added up is the same for all runs of a chain, and means nothing else: only what
/// lies between two runs does. So runs are put above and below others, and those stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunSums {
    /// Up to the last block of the run.
    pub sums: Sums,
    /// When that was made.
    pub last: Micros,
}

/// Value in `sums`: the same, big endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct SumsValue {
    last: I64,
    time: I64,
    difficulty: [u8; 32],
    times: [U32; BINS],
}

const _: () = assert!(size_of::<SumsValue>() == 160);

impl RunSums {
    /// Of a run with these headers, which goes on from the end of another one, or begins a trunk.
    #[must_use]
    pub fn behind(below: Option<Self>, headers: &[u8]) -> Self {
        let (sums, last) = below.map_or_else(Default::default, |run| (run.sums, Some(run.last)));
        let mut tally = Tally::new(sums, last);
        in_run(headers).for_each(|header| tally.push(header));
        // A run has a block.
        Self { sums: *tally.sums(), last: tally.last().unwrap_or(Micros::new(0)) }
    }

    /// Of a run with the headers `below`, when this is of the run behind it, with the headers `own`.
    #[must_use]
    pub fn in_front_of(self, below: &[u8], own: &[u8]) -> Self {
        let below = Self::behind(None, below);
        let own = Self::behind(Some(Self { sums: Sums::default(), ..below }), own);
        Self { sums: self.sums.minus(&own.sums), ..below }
    }

    /// What a row says.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if it is none.
    pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        let value = SumsValue::ref_from_bytes(value);
        let value = value.map_err(|_| StoreError::damaged(Column::Sums, key))?;
        let sums = Sums {
            difficulty: U256::from_be_bytes(value.difficulty),
            time: value.time.get(),
            times: Bins::new(value.times.map(U32::get)),
        };
        Ok(Self { sums, last: Micros::new(value.last.get()) })
    }

    fn value(&self) -> SumsValue {
        SumsValue {
            last: self.last.get().into(),
            time: self.sums.time.into(),
            difficulty: self.sums.difficulty.to_be_bytes(),
            times: self.sums.times.get().map(U32::from),
        }
    }
}

impl Batch {
    /// Notes what the trunk of `chain` comes to, up to the end of the run that begins at `first`.
    pub(super) fn put_sums(
        &mut self,
        store: &Store,
        chain: ChainId,
        first: BlockHeight,
        sums: &RunSums,
    ) {
        let key = TrunkKey::new(chain, first);
        self.inner.put_cf(store.column(Column::Sums), key.as_bytes(), sums.value().as_bytes());
    }

    /// Forgets what was noted of a run.
    pub(super) fn delete_sums(&mut self, store: &Store, chain: ChainId, first: BlockHeight) {
        let key = TrunkKey::new(chain, first);
        self.inner.delete_cf(store.column(Column::Sums), key.as_bytes());
    }
}

impl Snapshot {
    /// Whether it has what trunks come to: a database that an earlier release made has not, until it is
    /// opened to be written.
    #[must_use]
    pub fn has_sums(&self) -> bool {
        self.store().has_sums
    }

    /// What the trunk of `chain` comes to, up to the end of the run that begins at `first`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or holds something else.
    pub fn run_sums(&self, chain: ChainId, first: BlockHeight) -> Result<RunSums, StoreError> {
        let key = TrunkKey::new(chain, first);
        let value = self.get(Column::Sums, key.as_bytes())?;
        let value = value.ok_or_else(|| StoreError::damaged(Column::Sums, key.as_bytes()))?;
        RunSums::read(key.as_bytes(), &value)
    }

    /// The same of the run that ends where one begins at `first`, if there is one.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::run_sums`].
    pub fn sums_below(
        &self,
        chain: ChainId,
        first: BlockHeight,
    ) -> Result<Option<RunSums>, StoreError> {
        let Some(below) = first.parent() else { return Ok(None) };
        let mut runs = self.iterator(Column::Trunk, self.options());
        runs.seek_for_prev(TrunkKey::new(chain, below).as_bytes());
        let Some(key) = runs.key() else {
            runs.status()?;
            return Ok(None);
        };
        let key = TrunkKey::read_from_bytes(key);
        let key = key.map_err(|_| StoreError::gap(chain, below))?;
        let is_next = key.chain() == chain && self.meta().run_length.end(key.first()) == first;
        is_next.then(|| self.run_sums(chain, key.first())).transpose()
    }
}
