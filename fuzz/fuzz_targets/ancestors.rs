//! Random forests and queries: the sweep against the walk of every parent.
#![no_main]
#![expect(clippy::indexing_slicing, reason = "a wrong index is a bug here, and ends the run")]

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use plait_engine::tree::{Ancestors, Forest, NodeId};
use plait_engine::{BlockHash, BlockHeight, Rank, Weight};
use ruint::aliases::U256;

/// Blocks of a case, so that walking every parent stays cheap.
const BLOCKS_MAX: usize = 400;

/// Bounds of each kind.
const BOUNDS_MAX: usize = 40;

/// Pages that are joined.
const PAGES_MAX: usize = 8;

/// A forest and a query. All numbers of blocks are taken modulo the blocks that there are.
#[derive(Arbitrary, Debug)]
struct Case {
    /// The lowest height of what has no parent.
    base: u64,
    limit: u8,
    cursor: u16,
    /// Heights of the result, counted from `base`.
    min: Option<i16>,
    max: Option<i16>,
    upper: Vec<u16>,
    lower: Vec<u16>,
    /// When each block comes; blocks may wait for their parents.
    arrival: Vec<u8>,
    blocks: Vec<Step>,
}

/// How a block is drawn.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    /// Above the block before.
    Straight,
    /// Above a block that was drawn so much earlier.
    Fork(u8),
    /// Above a block that never comes, so high.
    Root(u8),
    /// Above any block, also itself and one that is drawn later, at a height of its own.
    Claim { parent: u16, height: u8 },
}

struct Block {
    rank: Rank,
    parent: BlockHash,
    weight: Weight,
}

struct Drawn {
    blocks: Vec<Block>,
    /// The slow twin: the block below each block, if the two are linked.
    below: Vec<Option<usize>>,
    forest: Arc<Forest>,
}

fuzz_target!(|case: Case| {
    if !case.blocks.is_empty() {
        let drawn = Drawn::new(&case);
        drawn.check_forest();
        drawn.check_ancestors(drawn.index(case.cursor));
        drawn.check_sweep(&case);
    }
});

/// Spread, so that the order of hashes is not that of drawing.
fn hash(block: usize) -> BlockHash {
    BlockHash::new(U256::from(block * 40_503 % 65_536).to_le_bytes())
}

impl Drawn {
    fn new(case: &Case) -> Self {
        let steps = &case.blocks[..case.blocks.len().min(BLOCKS_MAX)];
        let mut parents: Vec<Option<usize>> = Vec::new();
        let mut blocks: Vec<Block> = Vec::new();
        for (i, step) in steps.iter().enumerate() {
            let (parent, height) = match *step {
                Step::Straight => (i.checked_sub(1), None),
                Step::Fork(back) => (i.checked_sub(1 + usize::from(back)), None),
                Step::Root(up) => (None, Some(up)),
                Step::Claim { parent, height } => {
                    (Some(usize::from(parent) % steps.len()), Some(height))
                }
            };
            let above = |i: usize| blocks[i].rank.height.get().saturating_add(1);
            let height = match (parent, height) {
                (Some(parent), None) => above(parent),
                (_, up) => case.base.saturating_add(up.unwrap_or(0).into()),
            };
            // A block that never comes is one above all that do.
            let parent_hash = hash(parent.unwrap_or(BLOCKS_MAX + i % 3));
            blocks.push(Block {
                rank: Rank { height: BlockHeight::new(height), hash: hash(i) },
                parent: parent_hash,
                weight: Weight::new(U256::from(height / 2)),
            });
            parents.push(parent);
        }
        let height = |i: usize| blocks[i].rank.height;
        let linked = |(i, parent): (usize, &Option<usize>)| {
            parent.filter(|parent| height(*parent).child() == Some(height(i)))
        };
        let below = parents.iter().enumerate().map(linked).collect();

        let mut order: Vec<usize> = (0..blocks.len()).collect();
        let arrival = |i: &usize| case.arrival.get(i % case.arrival.len().max(1)).copied();
        order.sort_by_key(arrival);
        let mut forest = Forest::default();
        for block in order.iter().map(|i| &blocks[*i]) {
            forest.insert(block.rank, block.parent, block.weight);
            // A block that comes twice stays as it is.
            forest.insert(block.rank, hash(0), Weight::new(U256::MAX));
        }
        Self { blocks, below, forest: Arc::new(forest) }
    }

    fn index(&self, number: u16) -> usize {
        usize::from(number) % self.blocks.len()
    }

    fn indices(&self, numbers: &[u16]) -> Vec<usize> {
        numbers.iter().take(BOUNDS_MAX).map(|number| self.index(*number)).collect()
    }

    fn id(&self, block: usize) -> NodeId {
        let found = self.forest.find(&self.blocks[block].rank.hash);
        found.unwrap_or_else(|| panic!("block {block} is lost"))
    }

    /// A block and all below it, from above.
    fn lineage(&self, block: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(block), |block| self.below[*block])
    }

    /// Links, parts and tip do not depend on what came first.
    fn check_forest(&self) {
        let forest = &self.forest;
        assert_eq!(forest.len(), self.blocks.len());
        let below = (0..self.blocks.len()).map(|block| forest.parent(self.id(block)));
        assert!(below.eq(self.below.iter().map(|below| below.map(|below| self.id(below)))));
        assert!(self.blocks.iter().enumerate().all(|(i, b)| forest.rank(self.id(i)) == b.rank));
        let roots: BTreeSet<NodeId> = forest.roots().collect();
        let without = (0..self.blocks.len()).filter(|block| self.below[*block].is_none());
        assert_eq!(roots, without.map(|block| self.id(block)).collect());
        let heaviest = self.blocks.iter().max_by_key(|b| (b.weight, Reverse(b.rank.hash)));
        assert_eq!(forest.tip().map(|id| forest.rank(id)), heaviest.map(|block| block.rank));
    }

    /// The ancestor at a height is the block that walking comes to.
    fn check_ancestors(&self, block: usize) {
        let id = self.id(block);
        let mut last = self.blocks[block].rank.height;
        for walked in self.lineage(block) {
            last = self.blocks[walked].rank.height;
            assert_eq!(self.forest.ancestor(id, last), Some(self.id(walked)));
        }
        let outside = [last.parent(), self.blocks[block].rank.height.child()];
        assert!(outside.into_iter().flatten().all(|at| self.forest.ancestor(id, at).is_none()));
    }

    /// The sweep is the walk; pages joined are the sweep; every cursor resumes it.
    fn check_sweep(&self, case: &Case) {
        let height = |from: Option<i16>, or| {
            BlockHeight::new(from.map_or(or, |from| case.base.saturating_add_signed(from.into())))
        };
        let (min, max) = (height(case.min, 0), height(case.max, u64::MAX));
        let (upper, lower) = (self.indices(&case.upper), self.indices(&case.lower));
        let ids = |blocks: &[usize]| blocks.iter().map(|i| self.id(*i)).collect::<Vec<_>>();
        let (upper_ids, lower_ids) = (ids(&upper), ids(&lower));
        let sweep = || Ancestors::new(Arc::clone(&self.forest), &upper_ids, &lower_ids, min, max);

        let walk = self.walk(&upper, &lower, min, max);
        assert_eq!(sweep().collect::<Vec<_>>(), walk, "the sweep is not the walk");

        let limit = usize::from(case.limit).max(1);
        let (mut pages, mut next) = (Vec::new(), walk.first().copied());
        for _ in 0..PAGES_MAX {
            let mut page = sweep();
            if let Some(next) = next {
                page.skip_to(next);
            }
            pages.extend(page.by_ref().take(limit));
            next = page.peek();
            if next.is_none() {
                break;
            }
        }
        assert_eq!(pages, walk[..walk.len().min(PAGES_MAX * limit)], "pages tear or repeat");

        let cursor = self.blocks[self.index(case.cursor)].rank;
        let mut resumed = sweep();
        resumed.skip_to(cursor);
        let rest = walk.iter().position(|rank| *rank == cursor).map_or(&[][..], |at| &walk[at..]);
        assert_eq!(resumed.collect::<Vec<_>>(), rest, "a cursor does not resume");
    }

    /// The slow twin: walks every parent of every bound.
    fn walk(
        &self,
        upper: &[usize],
        lower: &[usize],
        min: BlockHeight,
        max: BlockHeight,
    ) -> Vec<Rank> {
        let set = |bounds: &[usize]| -> BTreeSet<usize> {
            bounds.iter().flat_map(|block| self.lineage(*block)).collect()
        };
        let (upper, lower) = (set(upper), set(lower));
        let mut ranks: Vec<Rank> =
            upper.difference(&lower).map(|block| self.blocks[*block].rank).collect();
        ranks.retain(|rank| (min..=max).contains(&rank.height));
        ranks.sort_by_key(|rank| (Reverse(rank.height), rank.hash));
        ranks
    }
}
