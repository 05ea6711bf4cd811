//! Proof of work and block hash: what is left when every other field of a block is there.

use blake2s_simd::Params;
use blake2s_simd::many::{HashManyJob, MAX_DEGREE, hash_many};
#[cfg(feature = "store")]
use rayon::iter::{IntoParallelRefMutIterator, ParallelIterator};
use ruint::aliases::U256;
use zerocopy::byteorder::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, Unaligned};

use crate::header::{RawHeader, WORK_LEN};
use crate::types::{BlockHash, Target};
use crate::verify::{Hasher, difficulty};

/// Bytes of a header that BLAKE2s takes in whole blocks before the nonce.
const HEAD_LEN: usize = 256;

/// Tries from which it is faster to hash many nonces at once than to share the head.
const MANY: U256 = U256::from_limbs([64, 0, 0, 0]);

/// A header as it is mined here.
#[derive(FromBytes)]
#[repr(C)]
struct Mined {
    head: [u8; HEAD_LEN],
    tail: Tail,
    _hash: BlockHash,
}

/// The rest of what is mined.
#[derive(FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Tail {
    before: [u8; WORK_LEN - 8 - HEAD_LEN],
    nonce: U64,
}

/// Tries from which the blocks of a height are worth dividing among threads.
#[cfg(feature = "store")]
const DIVIDE: U256 = U256::from_limbs([10_000, 0, 0, 0]);

/// Seals the blocks of a height: mines them if `mine`, on all cores where they are hard, and sets
/// their block hashes.
pub(super) fn seal_all(hasher: &mut Hasher, raws: &mut [RawHeader], mine: bool) {
    if mine {
        mine_all(raws);
    }
    let mut found = Vec::with_capacity(raws.len());
    hasher.block_hashes(raws, &mut found);
    for (raw, hash) in raws.iter_mut().zip(found) {
        raw.hash = hash;
    }
}

fn mine_all(raws: &mut [RawHeader]) {
    #[cfg(feature = "store")]
    if raws.iter().any(|raw| tries(raw) >= DIVIDE) {
        return raws.par_iter_mut().for_each(find_nonce);
    }
    raws.iter_mut().for_each(find_nonce);
}

/// Hashes that a block takes on average.
fn tries(raw: &RawHeader) -> U256 {
    difficulty::difficulty(Target::from_le(raw.target)).unwrap_or(U256::MAX)
}

/// Finds the first nonce, from the present one on, whose hash meets the target.
fn find_nonce(raw: &mut RawHeader) {
    let target = Target::from_le(raw.target);
    let hard = tries(raw) >= MANY;
    raw.nonce = if hard { search_many(raw, target) } else { search(raw, target) };
}

fn meets(hash: &[u8; 32], target: Target) -> bool {
    Target::from_le(*hash) <= target
}

/// Hashes what lies before the nonce once.
fn search(raw: &RawHeader, target: Target) -> U64 {
    let Mined { head, mut tail, .. } = zerocopy::transmute!(*raw);
    let mut shared = Params::new().hash_length(32).to_state();
    shared.update(&head);
    loop {
        let hash = shared.clone().update(tail.as_bytes()).finalize();
        if hash.as_bytes().try_into().is_ok_and(|hash| meets(hash, target)) {
            return tail.nonce;
        }
        tail.nonce = U64::new(tail.nonce.get().wrapping_add(1));
    }
}

/// Hashes as many nonces at once as the processor can.
fn search_many(raw: &RawHeader, target: Target) -> U64 {
    let params = Params::new();
    let mut raws = [*raw; MAX_DEGREE];
    let mut first = raw.nonce.get();
    loop {
        for (raw, offset) in raws.iter_mut().zip(0..) {
            raw.nonce = U64::new(first.wrapping_add(offset));
        }
        let mut jobs = raws.each_ref().map(|raw| {
            let (work, _) = raw.as_bytes().split_at(WORK_LEN);
            HashManyJob::new(&params, work)
        });
        hash_many(jobs.iter_mut());
        for (job, raw) in jobs.iter().zip(&raws) {
            if job.to_hash().as_bytes().try_into().is_ok_and(|hash| meets(hash, target)) {
                return raw.nonce;
            }
        }
        first = first.wrapping_add(MAX_DEGREE as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ChainId, ChainwebVersion};

    #[test]
    fn both_searches_find_the_first_nonce() {
        let genesis = ChainwebVersion::Mainnet01.genesis_header(ChainId::new(3)).unwrap();
        for (start, tries) in [(0, 1_u64), (7, 30), (u64::MAX - 20, 500)] {
            let mut raw = *genesis.view().raw();
            raw.nonce = U64::new(start);
            let target = Target::new(U256::MAX / U256::from(tries));
            raw.target = target.to_le();
            let found = search(&raw, target);
            assert_eq!(found, search_many(&raw, target));
            let hash = |nonce| {
                let raw = RawHeader { nonce, ..raw };
                *blake2s_simd::blake2s(&raw.as_bytes()[..WORK_LEN]).as_array()
            };
            assert!(meets(&hash(found), target));
            let mut before = start;
            while before != found.get() {
                assert!(!meets(&hash(U64::new(before)), target));
                before = before.wrapping_add(1);
            }
        }
    }
}
