use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap};

use super::Trunk;
use super::nodes::Node;
use super::persistent::{ByHash, List, Sorted};
use crate::types::{BlockHash, BlockHeight, Grow, Rank, RunLength, Weight};

/// A block of one [`Forest`] that is not of its trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// In place of a parent: the block of the trunk right below.
    pub(super) const TRUNK: Self = Self(u32::MAX);

    /// In place of a parent: what was this node is of the trunk by now.
    pub(super) const SEALED: Self = Self(u32::MAX - 1);
}

/// A block that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// That of the trunk at this height.
    Trunk(BlockHeight),
    /// One that is kept by itself.
    Node(NodeId),
}

/// The blocks of one chain: a [`Trunk`], and nodes beside and above it, linked child to parent.
///
/// A node whose parent is not held begins a tree of its own, until the parent arrives. Nothing here
/// depends on the trunk being on the heaviest branch; it is just straight.
///
/// When a block is sealed, the next new block gets its node. A jump to the sealed block is recognized by the age
/// of the node, and the search goes on from the parent instead. At most every step down to the trunk needs that,
/// and each halves the way that is left (Myers below), so sealing needs no repair of jumps.
///
/// # Cost
///
/// The trunk takes a few words, every node about 75 bytes. A clone shares the nodes, and a change copies
/// logarithmically many: see `tree/persistent`. An ancestor at any height is found in logarithmic time
/// over skew-binary jump pointers (Myers, "An applicative random-access stack", 1983); setting the
/// pointer of a new block takes constant time.
#[derive(Clone, Debug, Default)]
pub struct Forest {
    pub(super) run_length: RunLength,
    pub(super) trunk: Option<Trunk>,
    /// How often the trunk lost blocks, or runs of it were cut anew.
    pub(super) epoch: u64,
    /// How often anything changed.
    pub(super) generation: u64,
    /// Nodes, in use and free.
    pub(super) nodes: List<Node>,
    /// The latest node to become free, which names the one freed before it as its parent; the first one
    /// freed names itself.
    pub(super) free: Option<NodeId>,
    pub(super) by_hash: ByHash,
    pub(super) hasher: DefaultHashBuilder,
    /// All nodes by ascending rank.
    pub(super) order: Sorted,
    /// First nodes of parts, by the parent that they name.
    pub(super) waiting: Arc<HashMap<BlockHash, Vec<NodeId>>>,
    pub(super) tip: Option<(Weight, NodeId)>,
    highest: Option<BlockHeight>,
}

impl Forest {
    /// A forest without blocks but those of a trunk, if there is one.
    #[must_use]
    pub fn new(run_length: RunLength, trunk: Option<Trunk>) -> Self {
        Self { run_length, trunk, ..Self::default() }
    }

    /// Counts on where `earlier` is, of which this is a later state that was not made step by step
    /// and whose trunk only got more runs.
    pub fn follow(&mut self, earlier: &Self) {
        (self.epoch, self.generation) = (earlier.epoch, earlier.generation.saturating_add(1));
    }

    /// Says that the trunk is not that of the state before, or more of it.
    pub const fn cut_anew(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// The sealed part.
    #[must_use]
    pub const fn trunk(&self) -> Option<&Trunk> {
        self.trunk.as_ref()
    }

    /// A number that another trunk at the same heights does not have: the runs of one epoch only
    /// ever get more.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A number that changes with every block: what is made of numbers of nodes holds in one state
    /// of the forest.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// How the trunk is divided.
    #[must_use]
    pub const fn run_length(&self) -> RunLength {
        self.run_length
    }

    /// The node with this hash, if there is one.
    #[must_use]
    pub fn find(&self, hash: &BlockHash) -> Option<NodeId> {
        self.by_hash.find(self.hasher.hash_one(hash), |id| self.rank(id).hash == *hash)
    }

    /// Height and hash of a node.
    #[must_use]
    pub fn rank(&self, id: NodeId) -> Rank {
        self.node(id).rank
    }

    /// The height of a block.
    #[must_use]
    pub fn height(&self, place: Place) -> BlockHeight {
        match place {
            Place::Trunk(height) => height,
            Place::Node(id) => self.rank(id).height,
        }
    }

    /// The block below, if it is held.
    #[must_use]
    pub fn parent(&self, place: Place) -> Option<Place> {
        match place {
            Place::Trunk(height) => {
                let trunk = self.trunk?;
                let below = height.parent().filter(|below| trunk.contains(*below));
                below.map(Place::Trunk).or_else(|| trunk.below.map(Place::Node))
            }
            Place::Node(id) => match self.node(id).parent {
                NodeId::TRUNK => self.rank(id).height.parent().map(Place::Trunk),
                parent => Some(Place::Node(parent)).filter(|_| parent != id),
            },
        }
    }

    /// The ancestor of a block at `height`: itself at its own height, `None` above it and below
    /// the first block of its part.
    #[must_use]
    pub fn ancestor(&self, place: Place, height: BlockHeight) -> Option<Place> {
        let mut id = match place {
            Place::Trunk(top) => return self.ancestor_on_trunk(top, height),
            Place::Node(id) => id,
        };
        loop {
            let node = self.node(id);
            if node.rank.height <= height {
                return (node.rank.height == height).then_some(Place::Node(id));
            }
            let jump = self.jump(node).filter(|(to, far)| *to != id && far.rank.height >= height);
            let below = jump.map_or(node.parent, |(far, _)| far);
            if below == NodeId::TRUNK {
                return self.ancestor_on_trunk(node.rank.height.parent()?, height);
            }
            if below == id {
                return None;
            }
            id = below;
        }
    }

    fn ancestor_on_trunk(&self, top: BlockHeight, height: BlockHeight) -> Option<Place> {
        let trunk = self.trunk?;
        if height < trunk.first {
            return self.ancestor(Place::Node(trunk.below?), height);
        }
        (height <= top).then_some(Place::Trunk(height))
    }

    /// The lowest node of the line that leads down from `id`: below it is the trunk, or nothing.
    #[must_use]
    pub fn root(&self, mut id: NodeId) -> NodeId {
        let first = self.trunk.map_or(BlockHeight::new(0), |trunk| trunk.first);
        loop {
            let node = self.node(id);
            // A jump from above the start of the trunk to below it may lead over the trunk.
            let leads_over = |far: &Node| far.rank.height < first && first < node.rank.height;
            let jump = self.jump(node).filter(|(far, at)| *far != id && !leads_over(at));
            let below = jump.map_or(node.parent, |(far, _)| far);
            if below == id || below == NodeId::TRUNK {
                return id;
            }
            id = below;
        }
    }

    /// The height at which the line that leads down from a block joins the trunk: its own, if it
    /// is of the trunk; `None` if it does not.
    #[must_use]
    pub fn join(&self, place: Place) -> Option<BlockHeight> {
        match place {
            Place::Trunk(height) => Some(height),
            Place::Node(id) => match self.parent(Place::Node(self.root(id))) {
                Some(Place::Trunk(height)) => Some(height),
                Some(Place::Node(_)) | None => None,
            },
        }
    }

    /// The nodes from `top` down to the height `bottom`, at least `top` itself; it ends where the
    /// trunk begins or a parent is not held.
    pub fn line(&self, top: NodeId, bottom: BlockHeight) -> impl Iterator<Item = NodeId> {
        std::iter::successors(Some(top), move |id| match self.parent(Place::Node(*id)) {
            Some(Place::Node(parent)) if self.rank(parent).height >= bottom => Some(parent),
            _ => None,
        })
    }

    /// The nodes from `height` on, by ascending rank.
    pub fn nodes_from(&self, height: BlockHeight) -> impl Iterator<Item = NodeId> {
        self.order.from(self.nodes_below(height))
    }

    /// The number of nodes at heights from `first` to `last`.
    #[must_use]
    pub fn node_count(&self, first: BlockHeight, last: BlockHeight) -> u64 {
        let end = last.child().map_or(self.order.len(), |end| self.nodes_below(end));
        end.saturating_sub(self.nodes_below(first)) as u64
    }

    /// The number of nodes below `height`.
    pub(super) fn nodes_below(&self, height: BlockHeight) -> usize {
        self.order.below(height, |id| self.rank(id))
    }

    /// The heaviest block: the tip of the canonical chain. Of equals, that of the smaller hash. It
    /// is never sealed.
    #[must_use]
    pub fn tip(&self) -> Option<NodeId> {
        self.tip.map(|(_, id)| id)
    }

    /// The height of the highest block, which need not be the heaviest.
    #[must_use]
    pub fn highest(&self) -> Option<BlockHeight> {
        self.highest
    }

    /// The first nodes of all parts but that of the trunk: those whose parent is not held.
    pub fn roots(&self) -> impl Iterator<Item = NodeId> {
        self.waiting.values().flatten().copied()
    }

    /// The same with the parent that each of them names.
    pub fn waiting(&self) -> impl Iterator<Item = (BlockHash, NodeId)> {
        self.waiting.iter().flat_map(|(parent, nodes)| nodes.iter().map(|node| (*parent, *node)))
    }

    /// Whether this block is not stored, but children of it are.
    #[must_use]
    pub fn is_awaited(&self, hash: &BlockHash) -> bool {
        let is_below = |trunk: Trunk| trunk.below.is_none() && trunk.parent == *hash;
        self.waiting.contains_key(hash) || self.trunk.is_some_and(is_below)
    }

    /// Whether a block at `height` with this parent may stand on the trunk: if the parent is held
    /// at all, it does.
    #[must_use]
    pub fn may_stand_on_trunk(&self, height: BlockHeight, parent: &BlockHash) -> bool {
        let below = height.parent();
        let on_trunk = self.trunk.is_some_and(|trunk| below.is_some_and(|at| trunk.contains(at)));
        on_trunk && self.find(parent).is_none()
    }

    /// Adds a block and links it to its parent and to the blocks that waited for it. A node that
    /// is held already stays as it is. The parent must not be of the trunk.
    ///
    /// # Panics
    ///
    /// If a forest has nearly 2^32 nodes.
    pub fn insert(&mut self, rank: Rank, parent: BlockHash, weight: Weight) {
        if self.find(&rank.hash).is_some() {
            return;
        }
        let below = self.find(&parent).filter(|below| self.is_below(*below, rank));
        let id = self.add(rank, weight);
        match below {
            Some(below) => self.link(id, below),
            None => self.wait(id, parent),
        }
        self.link_waiting(id);
    }

    /// Adds a block whose parent is that of the trunk right below it, as [`Forest::insert`] does.
    ///
    /// # Panics
    ///
    /// As there.
    pub fn insert_on_trunk(&mut self, rank: Rank, weight: Weight) {
        if self.find(&rank.hash).is_some() {
            return;
        }
        let id = self.add(rank, weight);
        self.put_on_trunk(id);
        self.link_waiting(id);
    }

    fn add(&mut self, rank: Rank, weight: Weight) -> NodeId {
        self.generation.grow(1);
        let id = self.push(rank);
        let heavier = |(best, tip): (Weight, NodeId)| {
            weight > best || (weight == best && rank.hash < self.rank(tip).hash)
        };
        if self.tip.is_none_or(heavier) {
            self.tip = Some((weight, id));
        }
        self.highest = self.highest.max(Some(rank.height));
        id
    }

    /// Links the parts that begin right above a new block to it.
    fn link_waiting(&mut self, id: NodeId) {
        let rank = self.rank(id);
        if let Some(trunk) = &mut self.trunk
            && trunk.parent == rank.hash
            && rank.height.child() == Some(trunk.first)
        {
            trunk.below = Some(id);
        }
        if !self.waiting.contains_key(&rank.hash) {
            return;
        }
        let waiting = Arc::make_mut(&mut self.waiting).remove(&rank.hash).unwrap_or_default();
        let (children, others): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|child| self.is_below(id, self.rank(*child)));
        for child in children {
            self.link(child, id);
        }
        if !others.is_empty() {
            Arc::make_mut(&mut self.waiting).insert(rank.hash, others);
        }
    }

    fn is_below(&self, id: NodeId, child: Rank) -> bool {
        self.rank(id).height.child() == Some(child.height)
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
                let block = Place::Node(forest.find(&hash(block)).unwrap());
                let found = forest.ancestor(block, BlockHeight::new(height));
                let found = found.map(|place| match place {
                    Place::Node(id) => forest.rank(id).hash,
                    Place::Trunk(_) => panic!("nothing is sealed"),
                });
                prop_assert_eq!(found, naive);
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
    fn a_block_that_is_added_to_a_clone_copies_little_however_deep_two_branches_part() {
        for depth in [200, 40_000] {
            // Blocks of two branches, in turns.
            let parents: Vec<usize> =
                (0..depth).map(|block: usize| block.saturating_sub(1)).collect();
            let order: Vec<usize> = (0..=parents.len()).collect();
            let mut published = forest(&parents, &order);
            assert!(published.highest().unwrap().get() >= 100 + depth as u64 / 2);
            for block in depth + 1..depth + 50 {
                let mut next = published.clone();
                let height = published.highest().unwrap().get() + block as u64 % 2;
                let rank = Rank { height: BlockHeight::new(height), hash: hash(block) };
                next.insert(rank, hash(block - 2), Weight::new(U256::from(height)));
                assert!(next.find(&hash(block)).is_some());
                let copied = next.nodes.own_arrays(&published.nodes)
                    + next.by_hash.own_arrays(&published.by_hash)
                    + next.order.own_arrays(&published.order);
                assert!(copied <= 40, "{copied} arrays copied at {depth} blocks");
                published = next;
            }
        }
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
        assert_eq!(forest.ancestor(Place::Node(id), BlockHeight::new(5)), None);
    }
}
