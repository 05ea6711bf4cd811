use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::types::{BlockHash, BlockHeight, Rank, Weight};

/// A block of one [`Forest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

#[derive(Clone, Copy, Debug)]
struct Node {
    rank: Rank,
    /// The block below; itself, if that is not held.
    parent: NodeId,
    /// A block far below, on the way down; itself for the first block of a part.
    jump: NodeId,
}

/// The blocks of one chain, linked child to parent.
///
/// A block whose parent is not held begins a part of its own, until the parent arrives.
///
/// # Cost
///
/// 48 bytes and one hash-table entry a block. An ancestor at any height is found in logarithmic
/// time over skew-binary jump pointers (Myers, "An applicative random-access stack", 1983), which
/// a new block gets in constant time.
#[derive(Clone, Debug, Default)]
pub struct Forest {
    nodes: Vec<Node>,
    by_hash: HashTable<NodeId>,
    hasher: DefaultHashBuilder,
    /// First blocks of parts, by the parent that they name.
    waiting: HashMap<BlockHash, Vec<NodeId>>,
    tip: Option<(Weight, NodeId)>,
    highest: Option<BlockHeight>,
}

impl Forest {
    /// The number of blocks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The block with this hash, if it is held.
    #[must_use]
    pub fn find(&self, hash: &BlockHash) -> Option<NodeId> {
        let found =
            self.by_hash.find(self.hasher.hash_one(hash), |id| self.rank(*id).hash == *hash);
        found.copied()
    }

    /// Height and hash of a block.
    #[must_use]
    pub fn rank(&self, id: NodeId) -> Rank {
        self.node(id).rank
    }

    /// The block below, if it is held.
    #[must_use]
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        Some(self.node(id).parent).filter(|parent| *parent != id)
    }

    /// The ancestor of a block at `height`: itself at its own height, `None` above it and below
    /// the first block of its part.
    #[must_use]
    pub fn ancestor(&self, mut id: NodeId, height: BlockHeight) -> Option<NodeId> {
        loop {
            let node = self.node(id);
            if node.rank.height <= height {
                return (node.rank.height == height).then_some(id);
            }
            let jump_reaches = self.node(node.jump).rank.height >= height;
            let below = if jump_reaches && node.jump != id { node.jump } else { node.parent };
            if below == id {
                return None;
            }
            id = below;
        }
    }

    /// The heaviest block: the tip of the canonical chain. Of equals, that of the smaller hash.
    #[must_use]
    pub fn tip(&self) -> Option<NodeId> {
        self.tip.map(|(_, id)| id)
    }

    /// The height of the highest block, which need not be the heaviest.
    #[must_use]
    pub fn highest(&self) -> Option<BlockHeight> {
        self.highest
    }

    /// The first blocks of all parts: those whose parent is not held.
    pub fn roots(&self) -> impl Iterator<Item = NodeId> {
        self.waiting.values().flatten().copied()
    }

    /// Adds a block and links it to its parent and to the blocks that waited for it. A block that
    /// is held already stays as it is.
    ///
    /// # Panics
    ///
    /// If a chain has more than 2^32 blocks.
    pub fn insert(&mut self, rank: Rank, parent: BlockHash, weight: Weight) {
        if self.find(&rank.hash).is_some() {
            return;
        }
        #[expect(
            clippy::expect_used,
            reason = "at one block in 30 s, 2^32 blocks take 4,000 years"
        )]
        let id = NodeId(u32::try_from(self.nodes.len()).expect("a chain has under 2^32 blocks"));
        let below = self.find(&parent).filter(|below| self.is_below(*below, rank));
        self.nodes.push(Node { rank, parent: id, jump: id });
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        self.by_hash.insert_unique(hasher.hash_one(rank.hash), id, |other| {
            hasher.hash_one(Self::at(nodes, *other).rank.hash)
        });
        match below {
            Some(below) => self.link(id, below),
            None => self.waiting.entry(parent).or_default().push(id),
        }
        self.link_waiting(id);
        let heavier = |(best, tip): (Weight, NodeId)| {
            weight > best || (weight == best && rank.hash < self.rank(tip).hash)
        };
        if self.tip.is_none_or(heavier) {
            self.tip = Some((weight, id));
        }
        self.highest = self.highest.max(Some(rank.height));
    }

    /// Links the parts that begin right above a new block to it.
    fn link_waiting(&mut self, id: NodeId) {
        let rank = self.rank(id);
        let Some(waiting) = self.waiting.remove(&rank.hash) else { return };
        let (children, others): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|child| self.is_below(id, self.rank(*child)));
        for child in children {
            self.link(child, id);
        }
        if !others.is_empty() {
            self.waiting.insert(rank.hash, others);
        }
    }

    fn is_below(&self, id: NodeId, child: Rank) -> bool {
        self.rank(id).height.child() == Some(child.height)
    }

    /// Sets the parent of a block. Blocks above it keep their pointers, which stay true.
    fn link(&mut self, id: NodeId, parent: NodeId) {
        let near = self.node(self.node(parent).jump);
        let far = self.node(near.jump);
        let height = |node: &Node| node.rank.height.get();
        let balanced = height(self.node(parent)) - height(near) == height(near) - height(far);
        let jump = if balanced { near.jump } else { parent };
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            (node.parent, node.jump) = (parent, jump);
        }
    }

    fn node(&self, id: NodeId) -> &Node {
        Self::at(&self.nodes, id)
    }

    #[expect(clippy::indexing_slicing, reason = "ids are made here and blocks are never removed")]
    fn at(nodes: &[Node], id: NodeId) -> &Node {
        &nodes[id.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ruint::aliases::U256;

    fn hash(block: usize) -> BlockHash {
        let mut bytes = [0xAB; 32];
        bytes[0] = u8::try_from(block % 251).unwrap();
        bytes[1] = u8::try_from(block / 251).unwrap();
        BlockHash::new(bytes)
    }

    /// Parent of each block but the first; heights follow.
    fn heights(parents: &[usize]) -> Vec<u64> {
        let mut heights = vec![100];
        for parent in parents {
            heights.push(heights[*parent] + 1);
        }
        heights
    }

    fn forest(parents: &[usize], order: &[usize]) -> Forest {
        let heights = heights(parents);
        let mut forest = Forest::default();
        for &block in order {
            let rank = Rank { height: BlockHeight::new(heights[block]), hash: hash(block) };
            let parent = if block == 0 { hash(60_000) } else { hash(parents[block - 1]) };
            forest.insert(rank, parent, Weight::new(U256::from(heights[block])));
        }
        forest
    }

    fn parents() -> impl Strategy<Value = Vec<usize>> {
        // Mostly straight, sometimes a fork from far below.
        prop::collection::vec((0..8_usize, any::<prop::sample::Index>()), 0..300).prop_map(
            |steps| {
                let step = |(i, (kind, index)): (usize, (usize, prop::sample::Index))| {
                    if kind > 0 { i } else { index.index(i + 1) }
                };
                steps.into_iter().enumerate().map(step).collect()
            },
        )
    }

    proptest! {
        #[test]
        fn ancestors_are_those_of_walking_parents_in_any_order_of_arrival(
            (parents, order) in parents().prop_flat_map(|parents| {
                let blocks: Vec<usize> = (0..=parents.len()).collect();
                (Just(parents), Just(blocks).prop_shuffle())
            }),
            height in 95..410_u64,
        ) {
            let forest = forest(&parents, &order);
            let heights = heights(&parents);
            prop_assert_eq!(forest.roots().count(), 1);
            for block in 0..=parents.len() {
                let mut naive = Some(block);
                while let Some(at) = naive.filter(|at| heights[*at] > height) {
                    naive = at.checked_sub(1).map(|i| parents[i]);
                }
                let naive = naive.filter(|at| heights[*at] == height).map(hash);
                let found = forest.ancestor(forest.find(&hash(block)).unwrap(), BlockHeight::new(height));
                prop_assert_eq!(found.map(|id| forest.rank(id).hash), naive);
            }
        }

        #[test]
        fn tip_is_the_heaviest_block_whatever_came_first(
            (parents, order) in parents().prop_flat_map(|parents| {
                let blocks: Vec<usize> = (0..=parents.len()).collect();
                (Just(parents), Just(blocks).prop_shuffle())
            }),
        ) {
            let forest = forest(&parents, &order);
            let heights = heights(&parents);
            let best = (0..=parents.len()).max_by_key(|b| (heights[*b], std::cmp::Reverse(hash(*b))));
            prop_assert_eq!(forest.tip().map(|id| forest.rank(id).hash), best.map(hash));
            let highest = heights.iter().max().copied().map(BlockHeight::new);
            prop_assert_eq!(forest.highest(), highest);
        }
    }

    #[test]
    fn jumps_are_logarithmic() {
        let parents: Vec<usize> = (0..60_000).collect();
        let order: Vec<usize> = (0..=parents.len()).collect();
        let forest = forest(&parents, &order);
        let mut id = forest.find(&hash(60_000)).unwrap();
        let mut steps = 0;
        while forest.rank(id).height.get() > 101 {
            let node = forest.node(id);
            id = if forest.rank(node.jump).height.get() >= 101 { node.jump } else { node.parent };
            steps += 1;
        }
        assert!(steps <= 3 * 16, "{steps} steps for 60,000 blocks");
    }

    #[test]
    fn a_block_that_lies_about_its_height_is_not_linked() {
        let mut forest = Forest::default();
        let at = |height, block| Rank { height: BlockHeight::new(height), hash: hash(block) };
        let weight = Weight::new(U256::ZERO);
        forest.insert(at(5, 1), hash(0), weight);
        forest.insert(at(9, 2), hash(1), weight);
        forest.insert(at(3, 0), hash(7), weight);
        assert_eq!(forest.roots().count(), 3);
        let id = forest.find(&hash(2)).unwrap();
        assert_eq!(forest.ancestor(id, BlockHeight::new(5)), None);
    }
}
