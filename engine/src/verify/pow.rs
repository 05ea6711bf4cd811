use blake2s_simd::Params;
use zerocopy::IntoBytes;

use crate::header::{HeaderRef, RawHeader, WORK_LEN};
use crate::types::{BlockHash, Target};

/// The proof-of-work hash of a header, most significant byte first: BLAKE2s-256 over all but the
/// block hash, reversed as explorers and event streams print it.
#[must_use]
pub fn pow_hash(header: HeaderRef<'_>) -> BlockHash {
    of_work(header.work_bytes())
}

/// Whether a proof-of-work hash, as a number, is at most the target.
pub(super) fn meets(hash: BlockHash, target: Target) -> bool {
    let mut bytes = *hash.as_bytes();
    bytes.reverse();
    Target::from_le(bytes) <= target
}

/// Appends the [`pow_hash`] of each record.
pub(super) fn one_by_one(records: &[RawHeader], out: &mut Vec<BlockHash>) {
    out.extend(records.iter().map(|record| of_work(record.as_bytes().split_at(WORK_LEN).0)));
}

fn of_work(bytes: &[u8]) -> BlockHash {
    let mut bytes = *Params::new().hash(bytes).as_array();
    bytes.reverse();
    BlockHash::new(bytes)
}
