use bytes::Bytes;
use zerocopy::FromBytes;

use crate::header::{HeaderRef, LEN, RawHeader};

/// Headers of a result, as slices of whole 318-byte records.
#[derive(Clone, Debug, Default)]
pub struct Records(Vec<Bytes>);

impl Records {
    /// The records in `bytes`, which were checked one by one when they were read.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        debug_assert!(bytes.len().is_multiple_of(LEN), "records are whole");
        Self(if bytes.is_empty() { Vec::new() } else { vec![bytes.into()] })
    }

    /// The number of headers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|slice| slice.len() / LEN).sum()
    }

    /// Whether there is no header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The headers, in the order of the result.
    pub fn iter(&self) -> impl Iterator<Item = HeaderRef<'_>> {
        let records = self.0.iter().flat_map(|slice| slice.chunks_exact(LEN));
        records.filter_map(|record| {
            RawHeader::ref_from_bytes(record).ok().and_then(|raw| HeaderRef::new(raw).ok())
        })
    }

    /// The bytes, without copying them.
    #[must_use]
    pub fn into_slices(self) -> Vec<Bytes> {
        self.0
    }
}
