use blake2s_simd::Params;
use zerocopy::IntoBytes;
use zerocopy::byteorder::big_endian::U32;

use super::backend::Works;
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

/// Appends the [`pow_hash`] of each record, made in lanes.
pub(super) fn in_lanes<const M: usize>(
    lanes: impl Works<M>,
    records: &[RawHeader],
    out: &mut Vec<BlockHash>,
) {
    let (groups, rest) = records.as_chunks::<M>();
    for group in groups {
        push(&lanes.work(group), M, out);
    }
    if let [first, ..] = rest {
        let mut group = [*first; M];
        group.iter_mut().zip(rest).for_each(|(slot, record)| *slot = *record);
        push(&lanes.work(&group), rest.len(), out);
    }
}

/// Appends the hashes of the first lanes.
fn push<const M: usize>(words: &[[u32; M]; 8], lanes: usize, out: &mut Vec<BlockHash>) {
    out.extend((0..lanes).map(|lane| {
        let mut words = words.each_ref().map(|column| column.get(lane).copied().unwrap_or(0));
        // The last word and in it the last byte come first.
        words.reverse();
        BlockHash::new(zerocopy::transmute!(words.map(U32::new)))
    }));
}

fn of_work(bytes: &[u8]) -> BlockHash {
    let mut bytes = *Params::new().hash(bytes).as_array();
    bytes.reverse();
    BlockHash::new(bytes)
}
