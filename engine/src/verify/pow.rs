use blake2s_simd::Params;
use blake2s_simd::many::{HashManyJob, MAX_DEGREE, hash_many};

use crate::header::{HeaderRef, RawHeader, WORK_LEN};
use crate::types::{BlockHash, Target};

/// The proof-of-work hash of a header, most significant byte first: BLAKE2s-256 over all but the
/// block hash, reversed as explorers and event streams print it.
#[must_use]
pub fn pow_hash(header: HeaderRef<'_>) -> BlockHash {
    reversed(&Params::new().hash(header.work_bytes()))
}

/// Whether a proof-of-work hash, as a number, is at most the target.
pub(super) fn meets(hash: BlockHash, target: Target) -> bool {
    let mut bytes = *hash.as_bytes();
    bytes.reverse();
    Target::from_le(bytes) <= target
}

/// Appends the [`pow_hash`] of each record.
pub(super) fn pow_hashes(records: &[RawHeader], out: &mut Vec<BlockHash>) {
    let params = Params::new();
    for records in records.chunks(MAX_DEGREE) {
        let [first, ..] = records else { return };
        let mut jobs = [first; MAX_DEGREE];
        jobs.iter_mut().zip(records).for_each(|(slot, record)| *slot = record);
        let mut jobs = jobs.map(|record| HashManyJob::new(&params, work_bytes(record)));
        hash_many(jobs.iter_mut().take(records.len()));
        out.extend(jobs.iter().take(records.len()).map(|job| reversed(&job.to_hash())));
    }
}

fn work_bytes(record: &RawHeader) -> &[u8] {
    use zerocopy::IntoBytes;
    record.as_bytes().split_at(WORK_LEN).0
}

fn reversed(hash: &blake2s_simd::Hash) -> BlockHash {
    let mut bytes = *hash.as_array();
    bytes.reverse();
    BlockHash::new(bytes)
}
