//! The Merkle log: roots, block hashes and the parent hash of genesis blocks.
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

pub(crate) type Node = [u8; 32];

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

/// Makes the root over entries that come one by one, however many.
///
/// Two subtrees of equal height are joined as soon as they exist, and what is left over at the end
/// from the right. That splits every tree at the largest power of two below its number of entries.
pub(crate) struct Log {
    /// The subtree of each height that waits for its right-hand neighbour, the lowest first.
    waiting: [Option<Node>; usize::BITS as usize],
}

impl Log {
    /// A log without entries.
    pub(crate) const fn new() -> Self {
        Self { waiting: [None; usize::BITS as usize] }
    }

    /// Appends an entry: a leaf, or a root as it is.
    pub(crate) fn push(&mut self, entry: Node) {
        let mut node = entry;
        for slot in &mut self.waiting {
            match slot.take() {
                Some(left) => node = join(&left, &node),
                None => return *slot = Some(node),
            }
        }
    }

    /// The root; of no entries, the hash of nothing.
    pub(crate) fn root(self) -> Node {
        let subtrees = self.waiting.into_iter().flatten();
        subtrees.reduce(|right, left| join(&left, &right)).unwrap_or_else(|| digest(&[]))
    }
}

impl Extend<Node> for Log {
    fn extend<I: IntoIterator<Item = Node>>(&mut self, entries: I) {
        entries.into_iter().for_each(|entry| self.push(entry));
    }
}

/// The root over `entries`.
fn root(entries: &[Node]) -> Node {
    let mut log = Log::new();
    log.extend(entries.iter().copied());
    log.root()
}

/// The hash of an inner node.
pub(crate) fn join(left: &Node, right: &Node) -> Node {
    digest(&[&[1], left, right])
}

/// The hash of a leaf that holds these bytes.
pub(crate) fn leaf_of(tag: u16, bytes: &[u8]) -> Node {
    digest(&[&[0], U16::new(tag).as_bytes(), bytes])
}

fn leaf<T: IntoBytes + Immutable>(tag: u16, field: &T) -> Node {
    leaf_of(tag, field.as_bytes())
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
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The tree as RFC 6962 defines it: split at the largest power of two below the number.
    fn root_by_splitting(entries: &[Node]) -> Node {
        match entries {
            [] => digest(&[]),
            [entry] => *entry,
            _ => {
                let (left, right) = entries.split_at(entries.len().next_power_of_two() / 2);
                digest(&[&[1], &root_by_splitting(left), &root_by_splitting(right)])
            }
        }
    }

    #[test]
    fn tree_of_every_small_size_has_the_shape_of_the_definition() {
        let entries: Vec<Node> = (0..=255).map(|i| [i; 32]).collect();
        for count in 0..entries.len() {
            let entries = &entries[..count];
            assert_eq!(root(entries), root_by_splitting(entries), "{count}");
        }
    }

    proptest! {
        #[test]
        fn root_is_that_of_the_definition(entries in vec(any::<Node>(), 0..600)) {
            prop_assert_eq!(root(&entries), root_by_splitting(&entries));
        }
    }

    #[test]
    fn genesis_parent_hash_is_the_golden_one() {
        let hash = genesis_parent_hash(ChainwebVersion::Mainnet01, ChainId::new(0));
        assert_eq!(hash.to_string(), "wJ6fVF6_vrzfemqQsWB6nCzfrMwznbZscn53-0DpAcI");
    }
}
