use super::{Column, PendingKey, Snapshot, StoreError};
use crate::header::{Header, HeaderRef, LEN};
use rocksdb::ReadOptions;
use zerocopy::IntoBytes;

/// A block that was put aside.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The block.
    pub header: Header,
    /// Where in its input it stood.
    pub place: String,
}

impl Snapshot {
    /// Some of the blocks that wait for parents, by ascending height, from behind `after` on.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or holds something else.
    pub fn pending(
        &self,
        after: Option<HeaderRef<'_>>,
        blocks_max: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        let mut iterator = self.iterator(Column::Pending, ReadOptions::default());
        match after {
            Some(header) => {
                let mut key = PendingKey::new(header.chain(), header.rank()).as_bytes().to_vec();
                key.push(0);
                iterator.seek(key);
            }
            None => iterator.seek_to_first(),
        }
        let mut blocks = Vec::new();
        while blocks.len() < blocks_max
            && let Some((key, value)) = iterator.item()
        {
            blocks.push(Pending::read(key, value)?);
            iterator.next();
        }
        iterator.status()?;
        Ok(blocks)
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
            count += 1;
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
            fits.then(|| Self { header: header.to_owned(), place })
        };
        read().ok_or_else(|| StoreError::damaged(Column::Pending, key))
    }
}
