//! The Merkle log: block hashes and the parent hash of genesis blocks.
//!
//! SHA-512/256 over a binary tree shaped as in RFC 6962. A leaf is `H(0x00 ‖ tag ‖ bytes)`, an
//! inner node `H(0x01 ‖ left ‖ right)`; an entry that is a root itself goes in as it is.
//!
//! Source: `Chainweb.Crypto.MerkleLog` and `Data.MerkleLog` of the reference.

use sha2::{Digest, Sha512_256};
use zerocopy::byteorder::big_endian::U16;
use zerocopy::{Immutable, IntoBytes};

use super::{DEGREE, HeaderRef, RawHeader};
use crate::types::{BlockHash, ChainId, ChainwebVersion};

/// Entries of a header's log.
const ENTRIES: usize = 11 + DEGREE;

type Node = [u8; 32];

/// The block hash that belongs to the fields of `header`, whatever hash it states.
#[must_use]
pub fn block_hash(header: HeaderRef<'_>) -> BlockHash {
    hash_of(header.raw())
}

pub(crate) fn hash_of(raw: &RawHeader) -> BlockHash {
    let mut entries = [Node::default(); ENTRIES];
    let (fields, adjacents) = entries.split_at_mut(ENTRIES - DEGREE);
    fields.copy_from_slice(&[
        leaf(0x0006, &raw.feature_flags),
        leaf(0x0007, &raw.creation_time),
        *raw.parent.as_bytes(),
        leaf(0x0011, &raw.target),
        *raw.payload_hash.as_bytes(),
        leaf(0x0002, &raw.chain),
        leaf(0x0004, &raw.weight),
        leaf(0x0003, &raw.height),
        leaf(0x0008, &raw.version),
        leaf(0x0019, &raw.epoch_start),
        leaf(0x0020, &raw.nonce),
    ]);
    for (entry, (_, hash)) in adjacents.iter_mut().zip(raw.adjacents.iter()) {
        *entry = *hash.as_bytes();
    }
    BlockHash::new(root(&entries))
}

/// What a genesis block of `chain` states as its parent.
#[must_use]
pub fn genesis_parent_hash(version: ChainwebVersion, chain: ChainId) -> BlockHash {
    use zerocopy::byteorder::little_endian::U32;
    BlockHash::new(root(&[
        digest(&[&[0], b"CHAINWEB_GENESIS"]),
        digest(&[&[0], U32::new(version.code()).as_bytes()]),
        digest(&[&[0], U32::new(chain.get()).as_bytes()]),
    ]))
}

/// The root over `entries`: split at the largest power of two below their number.
fn root(entries: &[Node]) -> Node {
    match entries {
        [] => digest(&[]),
        [entry] => *entry,
        _ => {
            let (left, right) = entries.split_at(entries.len().next_power_of_two() / 2);
            digest(&[&[1], &root(left), &root(right)])
        }
    }
}

fn leaf<T: IntoBytes + Immutable>(tag: u16, field: &T) -> Node {
    digest(&[&[0], U16::new(tag).as_bytes(), field.as_bytes()])
}

fn digest(parts: &[&[u8]]) -> Node {
    let mut hasher = Sha512_256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference's way: join equal-height subtrees at once, the leftovers from the right.
    fn root_by_stack(entries: &[Node]) -> Node {
        let mut stack: Vec<(u32, Node)> = Vec::new();
        for entry in entries {
            let (mut height, mut node) = (0, *entry);
            while stack.last().is_some_and(|(other, _)| *other == height) {
                node = digest(&[&[1], &stack.pop().unwrap().1, &node]);
                height += 1;
            }
            stack.push((height, node));
        }
        let last = stack.pop().map_or_else(|| digest(&[]), |(_, node)| node);
        stack.iter().rev().fold(last, |right, (_, left)| digest(&[&[1], left, &right]))
    }

    #[test]
    fn tree_has_the_shape_that_the_stack_machine_makes() {
        let entries: Vec<Node> = (0..40).map(|i| [i; 32]).collect();
        for count in 0..entries.len() {
            assert_eq!(root(&entries[..count]), root_by_stack(&entries[..count]), "{count}");
        }
    }

    #[test]
    fn genesis_parent_hash_is_the_golden_one() {
        let hash = genesis_parent_hash(ChainwebVersion::Mainnet01, ChainId::new(0));
        assert_eq!(hash.to_string(), "wJ6fVF6_vrzfemqQsWB6nCzfrMwznbZscn53-0DpAcI");
    }
}
