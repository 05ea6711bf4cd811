use blake2s_simd::Params;

use crate::header::HeaderRef;
use crate::types::{BlockHash, Target};

/// The proof-of-work hash of a header, most significant byte first: BLAKE2s-256 over all but the
/// block hash, reversed as explorers and event streams print it.
#[must_use]
pub fn pow_hash(header: HeaderRef<'_>) -> BlockHash {
    let mut bytes = little_endian(header);
    bytes.reverse();
    BlockHash::new(bytes)
}

/// Whether the proof-of-work hash, as a little-endian number, is at most the target.
pub(super) fn holds(header: HeaderRef<'_>) -> bool {
    Target::from_le(little_endian(header)) <= header.target()
}

fn little_endian(header: HeaderRef<'_>) -> [u8; 32] {
    let mut bytes = [0; 32];
    let hash = Params::new().hash_length(bytes.len()).hash(header.work_bytes());
    bytes.copy_from_slice(hash.as_bytes());
    bytes
}
