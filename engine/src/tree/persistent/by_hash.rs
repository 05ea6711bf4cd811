use std::sync::Arc;

use crate::tree::NodeId;

/// Bits of a hash that one level of the tree uses.
const BITS: u32 = 4;

const WIDTH: usize = 1 << BITS;

/// Entries at which a leaf is divided.
const LEAF_MAX: usize = 32;

/// Nodes, found by the hash of a key that the node itself holds.
///
/// Beside each node 32 bits of its hash are kept: they lead to its leaf, from the highest ones down, and
/// make most comparisons of keys unnecessary. The caller compares the keys. The hashes must be seeded: a
/// leaf of equal hashes is searched from end to end.
///
/// # Cost
///
/// A search takes one step for every four bits of the length, and looks through a leaf of at most 32 entries. A change copies the
/// arrays on its way, unless no clone holds them.
#[derive(Clone, Debug)]
pub(in crate::tree) struct ByHash {
    root: Branch,
}

type Entry = (u32, NodeId);

#[derive(Clone, Debug)]
enum Branch {
    Leaf(Arc<[Entry]>),
    Inner(Arc<[Branch; WIDTH]>),
}

impl Default for ByHash {
    fn default() -> Self {
        Self { root: Branch::empty() }
    }
}

impl ByHash {
    /// The node with this hash for which `is_it` holds.
    pub(in crate::tree) fn find(
        &self,
        hash: u64,
        is_it: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        let (mut branch, mut rest) = (&self.root, prefix(hash));
        loop {
            match branch {
                Branch::Leaf(entries) => {
                    let alike = entries.iter().filter(|(other, _)| *other == prefix(hash));
                    return alike.map(|(_, id)| *id).find(|id| is_it(*id));
                }
                Branch::Inner(children) => {
                    branch = children.get(child(rest))?;
                    rest <<= BITS;
                }
            }
        }
    }

    /// Adds a node that is not in the tree.
    pub(in crate::tree) fn insert(&mut self, hash: u64, id: NodeId) {
        self.root.insert((prefix(hash), id), 0);
    }

    /// Removes a node.
    pub(in crate::tree) fn remove(&mut self, hash: u64, id: NodeId) {
        let (mut branch, mut rest) = (&mut self.root, prefix(hash));
        loop {
            match branch {
                Branch::Leaf(entries) => {
                    let others = entries.iter().copied().filter(|(_, other)| *other != id);
                    *entries = others.collect();
                    return;
                }
                Branch::Inner(children) => {
                    let Some(next) = Arc::make_mut(children).get_mut(child(rest)) else { return };
                    (branch, rest) = (next, rest << BITS);
                }
            }
        }
    }
}

impl Branch {
    fn empty() -> Self {
        Self::Leaf(Arc::default())
    }

    /// Adds an entry whose `depth` highest bits lead here.
    fn insert(&mut self, entry: Entry, depth: u32) {
        match self {
            Self::Leaf(entries) if entries.len() < LEAF_MAX || depth >= u32::BITS => {
                *entries = entries.iter().copied().chain([entry]).collect();
            }
            Self::Leaf(entries) => {
                let entries = Arc::clone(entries);
                *self = Self::Inner(Arc::new(std::array::from_fn(|_| Self::empty())));
                for entry in entries.iter().copied().chain([entry]) {
                    self.insert(entry, depth);
                }
            }
            Self::Inner(children) => {
                let child = child(entry.0.checked_shl(depth).unwrap_or(0));
                if let Some(next) = Arc::make_mut(children).get_mut(child) {
                    next.insert(entry, depth.saturating_add(BITS));
                }
            }
        }
    }
}

/// The bits of a hash that are kept.
const fn prefix(hash: u64) -> u32 {
    (hash >> u32::BITS) as u32
}

/// The child to which the highest bits lead.
const fn child(bits: u32) -> usize {
    (bits >> (u32::BITS - BITS)) as usize
}

#[cfg(test)]
impl ByHash {
    /// The number of arrays that the other one does not share.
    pub(in crate::tree) fn own_arrays(&self, other: &Self) -> usize {
        fn own(branch: &Branch, other: Option<&Branch>) -> usize {
            match (branch, other) {
                (Branch::Leaf(a), Some(Branch::Leaf(b))) if Arc::ptr_eq(a, b) => 0,
                (Branch::Inner(a), Some(Branch::Inner(b))) if Arc::ptr_eq(a, b) => 0,
                (Branch::Leaf(_), _) => 1,
                (Branch::Inner(children), Some(Branch::Inner(others))) => {
                    let pairs = children.iter().zip(others.iter());
                    1 + pairs.map(|(child, other)| own(child, Some(other))).sum::<usize>()
                }
                (Branch::Inner(children), _) => {
                    1 + children.iter().map(|child| own(child, None)).sum::<usize>()
                }
            }
        }
        own(&self.root, Some(&other.root))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn check(by_hash: &ByHash, expected: &BTreeMap<u32, u64>) {
        for (id, hash) in expected {
            let found = by_hash.find(*hash, |other| other.0 == *id);
            assert_eq!(found, Some(NodeId(*id)));
            assert_eq!(by_hash.find(hash ^ (1 << 40), |other| other.0 == *id), None);
        }
    }

    #[test]
    fn nodes_are_found_by_hash_and_clones_stay_as_they_are() {
        let (mut by_hash, mut expected, mut kept) = (ByHash::default(), BTreeMap::new(), vec![]);
        for id in 0..30_000_u32 {
            // Ten of every hundred have the same hash.
            let seed = if id % 100 < 10 { 1 } else { u64::from(id) };
            let hash = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            by_hash.insert(hash, NodeId(id));
            expected.insert(id, hash);
            if id.is_multiple_of(3) {
                let gone = id / 2;
                if let Some(hash) = expected.remove(&gone) {
                    by_hash.remove(hash, NodeId(gone));
                    assert_eq!(by_hash.find(hash, |other| other.0 == gone), None);
                }
            }
            if id.is_multiple_of(9_001) {
                kept.push((by_hash.clone(), expected.clone()));
            }
        }
        kept.push((by_hash, expected));
        for (by_hash, expected) in kept {
            check(&by_hash, &expected);
        }
    }
}
