//! Random forests and random queries, for property tests.

use std::fmt;

use plait_engine::{
    BlockHash, BlockHeight, Bounds, BranchQuery, ChainId, Cursor, Header, Heights, RangeQuery,
    UnknownLower,
};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::block::{child, genesis, root};
use crate::drawing::CHAIN;

/// A chain whose blocks are no blocks of [`CHAIN`].
pub const OTHER_CHAIN: ChainId = ChainId::new(7);

/// Blocks of one chain with forks, siblings, and more than one part.
#[derive(Clone)]
pub struct Forest {
    /// The blocks, parents before children.
    pub blocks: Vec<Header>,
    /// Blocks of [`OTHER_CHAIN`].
    pub others: Vec<Header>,
    /// A height at which there are about as many blocks above as below.
    middle: u64,
}

/// How a block comes to a forest.
///
/// Numbers of blocks are taken modulo the blocks that there are.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Above the last one.
    Extend,
    /// Above the parent of the last one.
    Sibling,
    /// Above one of the last few.
    ShallowFork(usize),
    /// Above any block.
    DeepFork(usize),
    /// Without a parent; those with the same name name the same one.
    Root {
        /// How far above the lowest.
        above: u64,
        /// The name.
        parent: u8,
    },
}

/// A forest of 1 to `blocks_max` blocks. It may begin at genesis, somewhere, or so high that the
/// greatest height is near.
pub fn forest(blocks_max: usize) -> impl Strategy<Value = Forest> {
    let step = prop_oneof![
        8 => Just(Step::Extend),
        2 => Just(Step::Sibling),
        2 => any::<usize>().prop_map(Step::ShallowFork),
        2 => any::<usize>().prop_map(Step::DeepFork),
        1 => (0..12_u64, 1..4_u8).prop_map(|(above, parent)| Step::Root { above, parent }),
    ];
    let lowest = prop_oneof![3 => Just(0), 3 => 1..2000_u64, 1 => u64::MAX - 20..u64::MAX];
    let steps = prop::collection::vec(step, 0..blocks_max);
    (lowest, steps).prop_map(|(lowest, steps)| Forest::new(lowest, &steps))
}

impl Forest {
    /// The forest that grows by these steps from a first block at the height `lowest`.
    #[must_use]
    pub fn new(lowest: u64, steps: &[Step]) -> Self {
        let height = |above: u64| BlockHeight::new(lowest.saturating_add(above));
        let first = if lowest == 0 { genesis(CHAIN) } else { root(CHAIN, height(0), 1, 0) };
        let mut blocks = vec![first];
        for (nonce, step) in (1..).zip(steps) {
            let len = blocks.len();
            let parent = match *step {
                Step::Extend => len - 1,
                Step::Sibling => parent_of(&blocks, len - 1).unwrap_or(len - 1),
                Step::ShallowFork(number) => len - 1 - number % len.min(5),
                Step::DeepFork(number) => number % len,
                Step::Root { above, parent } => {
                    blocks.push(root(CHAIN, height(above + 1), parent, nonce));
                    continue;
                }
            };
            let parent = blocks[parent];
            if parent.view().height().child().is_some() {
                blocks.push(child(parent.view(), nonce));
            }
        }
        let mut others = vec![genesis(OTHER_CHAIN)];
        others.push(child(others[0].view(), 0));
        let middle = blocks[blocks.len() / 2].view().height().get();
        Self { blocks, others, middle }
    }

    /// The index of the parent of each block, `None` for the first block of a part.
    pub fn parents(&self) -> impl Iterator<Item = Option<usize>> {
        (0..self.blocks.len()).map(|index| parent_of(&self.blocks, index))
    }

    /// The hash of a block, now and then of one that the chain does not have.
    fn hash(&self) -> impl Strategy<Value = BlockHash> + use<> {
        let hashes = |blocks: &[Header]| -> Vec<BlockHash> {
            blocks.iter().map(|header| header.view().hash()).collect()
        };
        prop_oneof![
            80 => select(hashes(&self.blocks)),
            1 => select(hashes(&self.others)),
            1 => any::<[u8; 32]>().prop_map(BlockHash::new),
        ]
    }

    fn heights(&self) -> impl Strategy<Value = Heights> + use<> {
        let (low, high) = (self.middle.saturating_sub(15), self.middle.saturating_add(15));
        let height = move || {
            let height = prop_oneof![
                1 => Just(0),
                20 => low..=high,
                1 => Just(u64::MAX),
            ];
            option::weighted(0.4, height.prop_map(BlockHeight::new))
        };
        (height(), height()).prop_map(|(min, max)| Heights { min, max })
    }

    fn cursor(&self) -> impl Strategy<Value = Option<Cursor>> + use<> {
        let cursor = (any::<bool>(), self.hash()).prop_map(|(inclusive, hash)| {
            if inclusive { Cursor::Inclusive(hash) } else { Cursor::Exclusive(hash) }
        });
        option::weighted(0.4, cursor)
    }

    /// Branch queries with every parameter combined.
    pub fn branch_query(&self) -> impl Strategy<Value = BranchQuery> + use<> {
        let bounds = |hash, len| prop::collection::vec(hash, len);
        (
            bounds(self.hash().boxed(), 0..6),
            bounds(self.hash().boxed(), 0..4),
            self.heights(),
            self.cursor(),
            prop_oneof![Just(UnknownLower::Refuse), Just(UnknownLower::Ignore)],
            limit(),
        )
            .prop_map(|(upper, lower, heights, cursor, unknown_lower, limit)| {
                let bounds = Bounds { upper, lower };
                BranchQuery { bounds, heights, cursor, unknown_lower, limit }
            })
    }

    /// Range queries with every parameter combined.
    pub fn range_query(&self) -> impl Strategy<Value = RangeQuery> + use<> {
        (self.heights(), self.cursor(), limit()).prop_map(|(heights, cursor, limit)| RangeQuery {
            heights,
            cursor,
            limit,
        })
    }
}

/// A forest, and its blocks in another order than that of their ages.
pub fn shuffled(
    forest: impl Strategy<Value = Forest>,
) -> impl Strategy<Value = (Forest, Vec<Header>)> {
    forest.prop_flat_map(|forest| {
        let blocks: Vec<Header> = forest.blocks.iter().chain(&forest.others).copied().collect();
        (Just(forest), Just(blocks).prop_shuffle())
    })
}

fn limit() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..12_usize, 1 => Just(360), 1 => Just(usize::MAX)]
}

fn parent_of(blocks: &[Header], index: usize) -> Option<usize> {
    let parent = blocks[index].view().parent();
    blocks.iter().position(|block| block.view().hash() == parent)
}

/// Each block as `index<parent`, or `index@height` for the first block of a part.
impl fmt::Debug for Forest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (block, parent)) in self.blocks.iter().zip(self.parents()).enumerate() {
            let (height, hash) = (block.view().height(), block.view().hash());
            match parent {
                Some(parent) => write!(f, "{index}<{parent} {hash:.6}, ")?,
                None => write!(f, "{index}@{height} {hash:.6}, ")?,
            }
        }
        Ok(())
    }
}
