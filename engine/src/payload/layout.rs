use zerocopy::byteorder::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::types::{OutputsHash, PayloadHash, TransactionsHash};

/// Bytes of the shortest record.
pub const LEN_MIN: usize = size_of::<Head>();

/// What every record begins with. Integers are big endian.
///
/// Behind it are the lengths of the transactions, then the length of the coinbase and those of the
/// outputs if they are known; then, in this order and without gaps, miner data, transactions,
/// coinbase and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Head {
    /// Offset 0: Merkle root of the two below.
    pub(super) payload_hash: PayloadHash,
    /// Offset 32: Merkle root of miner data and transactions.
    pub(super) transactions_hash: TransactionsHash,
    /// Offset 64: Merkle root of coinbase and outputs.
    pub(super) outputs_hash: OutputsHash,
    /// Offset 96: one of [`WITHOUT_OUTPUTS`] and [`WITH_OUTPUTS`].
    pub(super) kind: u8,
    /// Offset 97: number of transactions.
    pub(super) transactions: U32,
    /// Offset 101: bytes of the miner data.
    pub(super) miner_data: U32,
}

const _: () = assert!(LEN_MIN == 105);

/// A record that ends with the transactions.
pub(super) const WITHOUT_OUTPUTS: u8 = 0;

/// A record with coinbase and outputs.
pub(super) const WITH_OUTPUTS: u8 = 1;
