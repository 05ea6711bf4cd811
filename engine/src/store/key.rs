use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::header::HeaderRef;
use crate::types::{BlockHash, BlockHeight, ChainId, PayloadHash, Rank};

/// Key of one block in `loose`: chain, then [`Rank`], big endian, so that byte order is rank order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LooseKey {
    chain: U32,
    height: U64,
    hash: BlockHash,
}

const _: () = assert!(size_of::<LooseKey>() == 44);

impl LooseKey {
    /// The key of this block.
    #[must_use]
    pub fn new(chain: ChainId, rank: Rank) -> Self {
        Self { chain: chain.get().into(), height: rank.height.get().into(), hash: rank.hash }
    }

    /// The least key that a block at `height` can have.
    #[must_use]
    pub fn first(chain: ChainId, height: BlockHeight) -> Self {
        Self::new(chain, Rank { height, hash: BlockHash::new([0; 32]) })
    }

    /// The greatest key that a block at `height` can have.
    #[must_use]
    pub fn last(chain: ChainId, height: BlockHeight) -> Self {
        Self::new(chain, Rank { height, hash: BlockHash::new([0xFF; 32]) })
    }

    /// The chain.
    #[must_use]
    pub fn chain(&self) -> ChainId {
        ChainId::new(self.chain.get())
    }

    /// The block.
    #[must_use]
    pub fn rank(&self) -> Rank {
        Rank { height: BlockHeight::new(self.height.get()), hash: self.hash }
    }
}

/// Key of one run in `trunk`: chain, then height of its first header, big endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TrunkKey {
    chain: U32,
    first: U64,
}

const _: () = assert!(size_of::<TrunkKey>() == 12);

impl TrunkKey {
    /// The key of the run that begins at `first`.
    #[must_use]
    pub fn new(chain: ChainId, first: BlockHeight) -> Self {
        Self { chain: chain.get().into(), first: first.get().into() }
    }

    /// The height of the first header.
    #[must_use]
    pub fn first(&self) -> BlockHeight {
        BlockHeight::new(self.first.get())
    }

    /// The chain.
    #[must_use]
    pub fn chain(&self) -> ChainId {
        ChainId::new(self.chain.get())
    }
}

/// Key in `pending`: height first, so that a scan meets every block after its parents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PendingKey {
    height: U64,
    chain: U32,
    hash: BlockHash,
}

const _: () = assert!(size_of::<PendingKey>() == 44);

impl PendingKey {
    /// The key of this block.
    #[must_use]
    pub fn new(chain: ChainId, rank: Rank) -> Self {
        Self { height: rank.height.get().into(), chain: chain.get().into(), hash: rank.hash }
    }

    /// The height.
    #[must_use]
    pub fn height(&self) -> BlockHeight {
        BlockHeight::new(self.height.get())
    }

    /// The chain.
    #[must_use]
    pub fn chain(&self) -> ChainId {
        ChainId::new(self.chain.get())
    }

    /// The block.
    #[must_use]
    pub const fn hash(&self) -> BlockHash {
        self.hash
    }
}

/// Key of a payload in `payloads`: where its blocks are, so that the payloads of a page lie side by
/// side, then its hash. Blocks of one chain and height with equal payloads share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PayloadKey {
    chain: U32,
    height: U64,
    hash: PayloadHash,
}

const _: () = assert!(size_of::<PayloadKey>() == 44);

impl PayloadKey {
    /// The key of this payload of a block of `chain` at `height`.
    #[must_use]
    pub fn new(chain: ChainId, height: BlockHeight, hash: PayloadHash) -> Self {
        Self { chain: chain.get().into(), height: height.get().into(), hash }
    }

    /// The key of the payload of this block.
    #[must_use]
    pub fn of(header: HeaderRef<'_>) -> Self {
        Self::new(header.chain(), header.height(), header.payload_hash())
    }

    /// The chain.
    #[must_use]
    pub fn chain(&self) -> ChainId {
        ChainId::new(self.chain.get())
    }

    /// The height.
    #[must_use]
    pub fn height(&self) -> BlockHeight {
        BlockHeight::new(self.height.get())
    }

    /// The hash.
    #[must_use]
    pub const fn hash(&self) -> PayloadHash {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rank() -> impl Strategy<Value = Rank> {
        (any::<u64>(), any::<[u8; 32]>()).prop_map(|(height, hash)| Rank {
            height: BlockHeight::new(height),
            hash: BlockHash::new(hash),
        })
    }

    proptest! {
        #[test]
        fn byte_order_is_rank_order(a in rank(), b in rank(), chains: (u32, u32)) {
            let key = |chain, rank| LooseKey::new(ChainId::new(chain), rank);
            let bytes = key(chains.0, a).as_bytes().cmp(key(chains.1, b).as_bytes());
            prop_assert_eq!(bytes, (chains.0, a).cmp(&(chains.1, b)));
        }

        #[test]
        fn a_height_lies_between_its_first_and_its_last_key(a in rank(), chain: u32) {
            let chain = ChainId::new(chain);
            let key = LooseKey::new(chain, a);
            prop_assert!(LooseKey::first(chain, a.height).as_bytes() <= key.as_bytes());
            prop_assert!(key.as_bytes() <= LooseKey::last(chain, a.height).as_bytes());
            prop_assert_eq!((key.chain(), key.rank()), (chain, a));
        }
    }
}
