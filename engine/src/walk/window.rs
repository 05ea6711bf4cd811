use hashbrown::HashMap;
use zerocopy::FromBytes;

use crate::header::{HeaderRef, LEN, RawHeader};
use crate::types::BlockHash;

/// Blocks that are verified together, in any order.
#[derive(Debug)]
pub(crate) struct Window<N> {
    /// Whole headers.
    bytes: Vec<u8>,
    numbers: HashMap<BlockHash, usize>,
    /// What its source says of it.
    pub(crate) note: N,
}

impl<N> Window<N> {
    /// The blocks in `bytes`, which are whole headers.
    ///
    /// # Cost
    ///
    /// Enters each block in a map: for the thread that reads.
    pub(crate) fn new(bytes: Vec<u8>, note: N) -> Self {
        let mut numbers = HashMap::with_capacity(bytes.len() / LEN);
        let headers = bytes.chunks_exact(LEN).map(HeaderRef::parse).enumerate();
        let hash = |(number, header): (usize, Result<HeaderRef<'_>, _>)| {
            Some((header.ok()?.hash(), number))
        };
        numbers.extend(headers.filter_map(hash));
        Self { bytes, numbers, note }
    }

    /// The blocks, by their numbers.
    pub(crate) fn records(&self) -> &[RawHeader] {
        <[RawHeader]>::ref_from_bytes(&self.bytes).unwrap_or_default()
    }

    /// The block with this number.
    pub(crate) fn header(&self, number: usize) -> Option<HeaderRef<'_>> {
        HeaderRef::new(self.records().get(number)?).ok()
    }

    /// The number of the block with this hash.
    pub(crate) fn number(&self, hash: &BlockHash) -> Option<usize> {
        self.numbers.get(hash).copied()
    }

    /// The block with this hash.
    pub(crate) fn find(&self, hash: &BlockHash) -> Option<HeaderRef<'_>> {
        self.header(self.number(hash)?)
    }
}
