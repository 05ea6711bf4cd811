use zerocopy::byteorder::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::AdjacentRecord;
use crate::types::{BlockHash, PayloadHash};

/// Bytes of a header.
pub const LEN: usize = 318;

/// Bytes of a header that are mined: all but the block hash at the end.
pub const WORK_LEN: usize = LEN - 32;

/// The bytes of a header, field by field; any 318 bytes are one.
///
/// [`HeaderRef`](super::HeaderRef) is the checked view. Integers are little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawHeader {
    /// Offset 0: fork state. Before height 530,500 of mainnet01 miners put their nonce here.
    pub feature_flags: U64,
    /// Offset 8: microseconds since 1970.
    pub creation_time: I64,
    /// Offset 16: block hash of the parent.
    pub parent: BlockHash,
    /// Offset 48: the adjacent parents.
    pub adjacents: AdjacentRecord,
    /// Offset 158: what the proof-of-work hash must not exceed.
    pub target: [u8; 32],
    /// Offset 190: Merkle root of the payload.
    pub payload_hash: PayloadHash,
    /// Offset 222: the chain.
    pub chain: U32,
    /// Offset 226: sum of the difficulties from genesis.
    pub weight: [u8; 32],
    /// Offset 258: blocks above genesis.
    pub height: U64,
    /// Offset 266: code of the network.
    pub version: U32,
    /// Offset 270: microseconds since 1970.
    pub epoch_start: I64,
    /// Offset 278: what miners vary.
    pub nonce: U64,
    /// Offset 286: block hash, the Merkle root over the fields above.
    pub hash: BlockHash,
}

const _: () = assert!(size_of::<RawHeader>() == LEN);
const _: () = assert!(std::mem::offset_of!(RawHeader, target) == 158);
const _: () = assert!(std::mem::offset_of!(RawHeader, height) == 258);
const _: () = assert!(std::mem::offset_of!(RawHeader, hash) == WORK_LEN);
