use super::{Column, PendingKey, Snapshot, Store, StoreError};
use crate::failpoint::reached;
use crate::header::{Header, HeaderRef, LEN};
use crate::payload::{Payload, PayloadRef};
use crate::types::Grow;
use rocksdb::ReadOptions;
use zerocopy::IntoBytes;

/// Bytes of payloads of waiting blocks that are read at once, and one more.
const PAYLOAD_BYTES_MAX: usize = 32 << 20;

/// A block that was put aside.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The block.
    pub header: Header,
    /// Where in its input it stood.
    pub place: String,
    /// What it carries, if that came with it.
    pub payload: Option<Payload>,
}

impl Snapshot {
    /// Some of the blocks that wait for parents, by ascending height, from behind `after` on: so many
    /// at most, and fewer if they carry much.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or holds something else.
    pub fn pending(
        &self,
        after: Option<HeaderRef<'_>>,
        blocks_max: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        let [mut headers, mut payloads] = [Column::Pending, Column::PendingPayloads]
            .map(|column| self.iterator(column, ReadOptions::default()));
        let first = after.map_or_else(Vec::new, |header| {
            let mut key = PendingKey::new(header.chain(), header.rank()).as_bytes().to_vec();
            key.push(0);
            key
        });
        headers.seek(&first);
        payloads.seek(&first);
        let (mut blocks, mut payload_bytes) = (Vec::new(), 0);
        while blocks.len() < blocks_max
            && payload_bytes < PAYLOAD_BYTES_MAX
            && let Some((key, value)) = headers.item()
        {
            let mut block = Pending::read(key, value)?;
            while payloads.key().is_some_and(|of| of < key) {
                payloads.next();
            }
            if let Some((_, record)) = payloads.item().filter(|(of, _)| *of == key) {
                block.payload = Some(Pending::read_payload(&block.header, key, record)?);
                payload_bytes.grow(record.len());
            }
            blocks.push(block);
            headers.next();
        }
        headers.status()?;
        payloads.status()?;
        Ok(blocks)
    }

    /// Calls `visit` for the header of each block that waits for parents, by ascending height.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::pending`].
    pub fn for_each_pending(&self, visit: &mut dyn FnMut(HeaderRef<'_>)) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_readahead_size(4 << 20);
        let mut iterator = self.iterator(Column::Pending, options);
        iterator.seek_to_first();
        while let Some((key, value)) = iterator.item() {
            let header = value.get(..LEN).and_then(|header| HeaderRef::parse(header).ok());
            visit(header.ok_or_else(|| StoreError::damaged(Column::Pending, key))?);
            iterator.next();
        }
        Ok(iterator.status()?)
    }

    /// The number of blocks that wait for parents.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::pending`].
    pub fn count_pending(&self) -> Result<u64, StoreError> {
        let mut iterator = self.iterator(Column::Pending, ReadOptions::default());
        iterator.seek_to_first();
        let mut count = 0;
        while iterator.valid() {
            count.grow(1);
            iterator.next();
        }
        iterator.status()?;
        Ok(count)
    }
}

impl Pending {
    /// The block in a row of `pending`.
    pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        let read = || {
            let (header, place) = value.split_at_checked(LEN)?;
            let header = HeaderRef::parse(header).ok()?;
            let fits = PendingKey::new(header.chain(), header.rank()).as_bytes() == key;
            let place = std::str::from_utf8(place).ok()?.to_owned();
            fits.then(|| Self { header: header.to_owned(), place, payload: None })
        };
        read().ok_or_else(|| StoreError::damaged(Column::Pending, key))
    }

    /// What a waiting block carries, if it is what its header names.
    pub(crate) fn read_payload(
        header: &Header,
        key: &[u8],
        record: &[u8],
    ) -> Result<Payload, StoreError> {
        PayloadRef::parse(record)
            .ok()
            .filter(|payload| payload.hash() == header.view().payload_hash())
            .map(PayloadRef::to_owned)
            .ok_or_else(|| StoreError::damaged(Column::PendingPayloads, key))
    }
}

impl Store {
    /// Gives back the room of blocks that waited with what they carry, once none does: what was
    /// deleted is in files until they are compacted.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or written.
    pub fn tidy_pending(&self) -> Result<(), StoreError> {
        if self.count_estimate(Column::PendingPayloads)? > 0 {
            return Ok(());
        }
        let all: (Option<&[u8]>, Option<&[u8]>) = (None, None);
        reached("tidy/compact/before");
        self.db.compact_range_cf(self.column(Column::PendingPayloads), all.0, all.1);
        reached("tidy/compact/after");
        Ok(())
    }
}
