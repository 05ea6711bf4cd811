use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::header::HeaderRef;
use crate::store::PayloadKey;
use crate::types::{BlockHeight, ChainId};

/// Value in `heights`: chain and height of a block, big endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct HeightValue {
    chain: U32,
    height: U64,
}

const _: () = assert!(size_of::<HeightValue>() == 12);

impl HeightValue {
    /// The place of a block.
    #[must_use]
    pub fn new(chain: ChainId, height: BlockHeight) -> Self {
        Self { chain: chain.get().into(), height: height.get().into() }
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
}

/// A row of an index: of a block key and value of `heights`, of a payload the key of
/// `payload_heights`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IndexEntry {
    /// Of a block or of a payload: an index has only one kind.
    pub hash: [u8; 32],
    /// Where that is.
    pub place: HeightValue,
}

const _: () = assert!(size_of::<IndexEntry>() == 44);

impl IndexEntry {
    /// The entry of a block.
    #[must_use]
    pub fn of(header: HeaderRef<'_>) -> Self {
        let place = HeightValue::new(header.chain(), header.height());
        Self { hash: *header.hash().as_bytes(), place }
    }

    /// The entry of a payload.
    #[must_use]
    pub fn of_payload(key: &PayloadKey) -> Self {
        let place = HeightValue::new(key.chain(), key.height());
        Self { hash: *key.hash().as_bytes(), place }
    }

    pub(super) const fn first_byte(&self) -> u8 {
        let [first_byte, ..] = self.hash;
        first_byte
    }

    /// The first bytes of the hash as a number in the order of hashes.
    pub(super) fn prefix(&self) -> u64 {
        U64::read_from_prefix(&self.hash).map_or(0, |(prefix, _)| prefix.get())
    }
}

/// Key of rows that are not sorted: which part of all hashes, then a number that no other row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct UnindexedKey {
    first_byte: u8,
    number: U64,
}

const _: () = assert!(size_of::<UnindexedKey>() == 9);

impl UnindexedKey {
    /// The key of entries whose hashes begin with `first_byte`.
    #[must_use]
    pub fn new(first_byte: u8, number: u64) -> Self {
        Self { first_byte, number: number.into() }
    }

    /// The number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number.get()
    }
}
