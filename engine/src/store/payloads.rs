use std::ops::ControlFlow;

use rocksdb::DBRawIterator;
use zerocopy::IntoBytes;

use super::index::visit_unsorted;
use super::{Column, IndexEntry, IndexOf, PayloadKey, Snapshot, Store, StoreError};
use crate::payload::{Payload, PayloadRef};
use crate::types::{BlockHeight, ChainId, Grow, PayloadHash};

/// Places of one payload that are looked at: genesis payloads have twenty.
const PLACES_MAX: usize = 64;

/// The most payloads that are read together.
const TOGETHER: usize = 16;

/// Keys of which the first and the last payload are read: see [`Snapshot::has_payloads`].
const SAMPLED: usize = 100;

/// How many of the first payloads are read together, whatever their length.
const TOGETHER_FIRST: usize = 4;

/// Bytes of payloads to read together, assuming that they are as long as those before them.
const TOGETHER_BYTES: usize = 1 << 20;

impl Store {
    /// Whether a payload is stored, and if so whether with its outputs: by what is written now, not
    /// by any view.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or holds something else.
    pub fn payload_has_outputs(&self, key: &PayloadKey) -> Result<Option<bool>, StoreError> {
        let record = self.db.get_pinned_cf(self.column(Column::Payloads), key.as_bytes())?;
        let has_outputs = |record: &[u8]| Ok(checked(key, record)?.has_outputs());
        record.map(|record| has_outputs(&record)).transpose()
    }
}

impl Snapshot {
    /// About how many payloads there are now.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if RocksDB cannot tell.
    pub fn payload_count_estimate(&self) -> Result<u64, StoreError> {
        self.store().count_estimate(Column::Payloads)
    }

    /// The payload that is stored under this key.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or holds something else.
    pub fn payload(&self, key: &PayloadKey) -> Result<Option<Payload>, StoreError> {
        let Some(record) = self.get(Column::Payloads, key.as_bytes())? else { return Ok(None) };
        Ok(Some(checked(key, &record)?.to_owned()))
    }

    /// The same for many: of the first `keys`, until their records have `bytes_max` bytes. Those that
    /// lie side by side are best asked for side by side.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::payload`].
    pub fn payloads(
        &self,
        keys: &[PayloadKey],
        bytes_max: usize,
    ) -> Result<Vec<Option<Payload>>, StoreError> {
        let (mut payloads, mut bytes) = (Vec::new(), 0);
        self.each_payload(keys, |payload| {
            bytes.grow(payload.map_or(0, |payload| payload.as_bytes().len()));
            payloads.push(payload.map(PayloadRef::to_owned));
            if bytes < bytes_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(payloads)
    }

    /// Whether each of these keys has a payload. The keys should lie side by side.
    ///
    /// Only a sample of the payloads is read: from a block of keys in memory, RocksDB can tell that a key is
    /// missing. A block has some 250 keys, and reading two in a hundred brings all of them into memory. If a
    /// block has been dropped again, its keys count as present. The payloads that are read must have outputs
    /// to count as present.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::payload`].
    pub fn has_payloads(&self, keys: &[PayloadKey]) -> Result<Vec<bool>, StoreError> {
        let (store, options) = (self.store(), self.options_at_moment());
        let column = store.column(Column::Payloads);
        let mut has = Vec::with_capacity(keys.len());
        for some in keys.chunks(SAMPLED) {
            let read = |key: Option<&PayloadKey>| {
                let payload = key.map(|key| self.payload(key)).transpose()?.flatten();
                Ok::<_, StoreError>(payload.is_some_and(|payload| payload.view().has_outputs()))
            };
            let (first_is_there, last_is_there) = (read(some.first())?, read(some.last())?);
            let last = some.len().saturating_sub(1);
            for (number, key) in some.iter().enumerate() {
                has.push(match number {
                    0 => first_is_there,
                    _ if number == last => last_is_there,
                    _ => store.db.key_may_exist_cf_opt(column, key.as_bytes(), &options),
                });
            }
        }
        Ok(has)
    }

    /// Lends the payload of each key to `visit` until it has enough. Several are read together: the longer
    /// the ones before, the fewer.
    fn each_payload(
        &self,
        mut keys: &[PayloadKey],
        mut visit: impl FnMut(Option<PayloadRef<'_>>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut together = TOGETHER_FIRST;
        while !keys.is_empty() {
            let (some, rest) = keys.split_at(together.min(keys.len()));
            let (mut longest, mut is_done) = (1, false);
            let records = self.get_many(Column::Payloads, some.iter().map(IntoBytes::as_bytes));
            for (key, record) in some.iter().zip(records) {
                let record = record?;
                longest = record.as_ref().map_or(0, |record| record.len()).max(longest);
                let payload = record.as_deref().map(|record| checked(key, record)).transpose()?;
                if visit(payload).is_break() {
                    is_done = true;
                    break;
                }
            }
            if is_done {
                break;
            }
            together = TOGETHER_BYTES.checked_div(longest).unwrap_or(1).clamp(1, TOGETHER);
            keys = rest;
        }
        Ok(())
    }

    /// The payload with this hash, wherever it is; with its outputs, if they are known of any of the
    /// blocks that have it. Looks on `chain` first.
    ///
    /// # Cost
    ///
    /// Two lookups. While a replay runs, or after it was interrupted, all rows are looked at that are
    /// not in the index yet and begin with the same byte.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::payload`].
    pub fn payload_anywhere(
        &self,
        chain: ChainId,
        hash: &PayloadHash,
    ) -> Result<Option<Payload>, StoreError> {
        let mut found = None;
        for key in self.payload_places(chain, hash)? {
            if let Some(payload) = self.payload(&key)? {
                if payload.view().has_outputs() {
                    return Ok(Some(payload));
                }
                found = found.or(Some(payload));
            }
        }
        Ok(found)
    }

    /// Where a payload may be: some places, those of `chain` first.
    fn payload_places(
        &self,
        chain: ChainId,
        hash: &PayloadHash,
    ) -> Result<Vec<PayloadKey>, StoreError> {
        let mut places = Vec::new();
        let mut visit = |entry: &IndexEntry| {
            let place = PayloadKey::new(entry.place.chain(), entry.place.height(), *hash);
            if !places.contains(&place) {
                places.push(place);
            }
            if places.len() < PLACES_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        let first =
            |chain| IndexEntry::of_payload(&PayloadKey::new(chain, BlockHeight::new(0), *hash));
        let sorted = || self.iterator(Column::PayloadHeights, self.options());
        for from in [first(chain), first(ChainId::new(0))] {
            visit_sorted(sorted(), &from, &mut visit)?;
        }
        if !self.is_sorted(IndexOf::Payloads) {
            let of = IndexOf::Payloads;
            let rows = self.iterator(of.unsorted(), self.options());
            visit_unsorted(of, rows, hash.as_bytes(), &mut visit)?;
            // What was moved since this view was made, and its files are gone: where it is now may be
            // of a later moment, but is looked up at this one.
            let column = self.store().column(of.sorted());
            let now = self.store().db.raw_iterator_cf_opt(column, self.options());
            visit_sorted(now, &first(ChainId::new(0)), &mut visit)?;
        }
        Ok(places)
    }
}

/// Lends the entries with the hash of `from`, from there on, to `visit` until it has enough.
fn visit_sorted(
    mut rows: DBRawIterator<'_>,
    from: &IndexEntry,
    mut visit: impl FnMut(&IndexEntry) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let of = IndexOf::Payloads;
    rows.seek(of.row(from).0);
    while let Some((key, value)) = rows.item() {
        if !key.starts_with(&from.hash) {
            break;
        }
        let entry = of.entry(key, value);
        if visit(&entry.ok_or_else(|| StoreError::damaged(of.sorted(), key))?).is_break() {
            break;
        }
        rows.next();
    }
    Ok(rows.status()?)
}

/// The payload of a record, if it is the one that its key says.
fn checked<'a>(key: &PayloadKey, record: &'a [u8]) -> Result<PayloadRef<'a>, StoreError> {
    let payload = PayloadRef::parse(record).ok().filter(|payload| payload.hash() == key.hash());
    payload.ok_or_else(|| StoreError::damaged(Column::Payloads, key.as_bytes()))
}
