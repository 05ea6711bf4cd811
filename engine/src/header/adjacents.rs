use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::DecodeError;
use crate::types::{BlockHash, ChainId};

/// Adjacent parents of a header: the degree of the graphs of every known network.
pub const DEGREE: usize = 3;

/// [`DEGREE`] as the record states it.
const DEGREE_ON_WIRE: U16 = U16::from_bytes([3, 0]);

/// One adjacent parent: the block of the layer below on a neighbouring chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Adjacent {
    chain: U32,
    hash: BlockHash,
}

/// The 110 bytes that name the adjacent parents: their number, then chain and hash of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct AdjacentRecord {
    count: U16,
    entries: [Adjacent; DEGREE],
}

const _: () = assert!(size_of::<AdjacentRecord>() == 110);

impl AdjacentRecord {
    /// The record of these adjacent parents, put into ascending order of chain.
    #[must_use]
    pub fn new(mut adjacents: [(ChainId, BlockHash); DEGREE]) -> Self {
        adjacents.sort_unstable_by_key(|(chain, _)| *chain);
        let entries = adjacents.map(|(chain, hash)| Adjacent { chain: chain.get().into(), hash });
        Self { count: DEGREE_ON_WIRE, entries }
    }

    /// Chain and hash of each adjacent parent, by ascending chain.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ChainId, BlockHash)> + '_ {
        self.entries.iter().map(|adjacent| (ChainId::new(adjacent.chain.get()), adjacent.hash))
    }

    /// Chain and hash of all adjacent parents, by ascending chain.
    #[must_use]
    #[inline]
    pub fn all(&self) -> [(ChainId, BlockHash); DEGREE] {
        self.entries.map(|adjacent| (ChainId::new(adjacent.chain.get()), adjacent.hash))
    }

    /// The adjacent parent on `chain`, if the header names one.
    #[must_use]
    pub fn on(&self, chain: ChainId) -> Option<BlockHash> {
        self.iter().find_map(|(adjacent, hash)| (adjacent == chain).then_some(hash))
    }

    /// Called for every header of every page: a call is a fifth of a page of hashes.
    #[inline]
    pub(super) fn check(&self) -> Result<(), DecodeError> {
        if self.count != DEGREE_ON_WIRE {
            return Err(DecodeError::Degree { got: self.count.get() });
        }
        let [a, b, c] = self.entries.map(|adjacent| adjacent.chain.get());
        match () {
            () if a >= b => Err(DecodeError::AdjacentOrder { first: a, second: b }),
            () if b >= c => Err(DecodeError::AdjacentOrder { first: b, second: c }),
            () => Ok(()),
        }
    }
}
