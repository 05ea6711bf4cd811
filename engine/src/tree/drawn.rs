//! Drawn forests for the tests of this layer.

use std::num::NonZeroU32;

use proptest::prelude::*;
use ruint::aliases::U256;

use super::{Forest, NodeId, Place, Step};
use crate::types::{BlockHash, BlockHeight, Rank, RunLength, Weight};

/// A forest, and the drawing that it is of: block `i` has parent `parents[i]`, or none.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) forest: Forest,
    pub(super) parents: Vec<Option<usize>>,
    pub(super) ranks: Vec<Rank>,
    /// By height: what is sealed.
    trunk: Vec<Option<usize>>,
    held: Vec<bool>,
}

/// Parents that are mostly the last block, sometimes a near one, any one, or none.
pub(super) fn parents() -> impl Strategy<Value = Vec<Option<usize>>> {
    let step = (0..12_usize, any::<prop::sample::Index>());
    prop::collection::vec(step, 0..160).prop_map(|steps| {
        let mut parents = vec![None];
        for (kind, index) in steps {
            let len = parents.len();
            parents.push(match kind {
                0 => None,
                1 => Some(index.index(len)),
                2 | 3 => Some(len.saturating_sub(1 + index.index(5))),
                _ => Some(len - 1),
            });
        }
        parents
    })
}

fn hash(block: usize) -> BlockHash {
    // Spread, so that the order of hashes is not that of arrival.
    let mut bytes = [0; 32];
    bytes[0] = u8::try_from(block * 37 % 256).unwrap();
    bytes[1] = u8::try_from(block / 256).unwrap();
    BlockHash::new(bytes)
}

impl Drawn {
    pub(super) fn new(parents: &[Option<usize>], run_length: u32) -> Self {
        let mut ranks: Vec<Rank> = Vec::new();
        for (block, parent) in parents.iter().enumerate() {
            let below = parent.map_or(2, |parent| ranks[parent].height.get());
            ranks.push(Rank { height: BlockHeight::new(below + 1), hash: hash(block) });
        }
        let run_length = RunLength::new(NonZeroU32::new(run_length).unwrap());
        let forest = Forest::new(run_length, None);
        let (trunk, held) = (vec![None; parents.len() + 4], vec![false; parents.len()]);
        Self { forest, parents: parents.to_vec(), ranks, trunk, held }
    }

    /// With all blocks, sealed as they came.
    pub(super) fn sealed(parents: &[Option<usize>], run_length: u32, window: u64) -> Self {
        let mut drawn = Self::new(parents, run_length);
        for block in 0..parents.len() {
            drawn.insert(block);
            drawn.seal(window, 2);
        }
        drawn
    }

    pub(super) fn insert(&mut self, block: usize) {
        let rank = self.ranks[block];
        let parent = self.parents[block];
        let weight = Weight::new(U256::from(rank.height.get()));
        let named = parent.map_or(BlockHash::new([0xFF; 32]), hash);
        let below = parent.filter(|parent| self.held[*parent]);
        if self.forest.may_stand_on_trunk(rank.height, &named) && below.is_some() {
            self.forest.insert_on_trunk(rank, weight);
        } else {
            self.forest.insert(rank, named, weight);
        }
        self.held[block] = true;
    }

    /// Takes some of the next steps.
    pub(super) fn seal(&mut self, window: u64, steps_max: usize) {
        for _ in 0..steps_max.min(10_000) {
            let Some(step) = self.forest.next_step(window) else { return };
            match step {
                Step::Seal(nodes) | Step::SealBelow(nodes) => self.seal_nodes(&nodes),
                Step::Unseal(from) => {
                    let from_index = usize::try_from(from.get()).unwrap();
                    let blocks: Vec<Rank> = self.trunk[from_index..]
                        .iter_mut()
                        .map_while(Option::take)
                        .map(|block| self.ranks[block])
                        .collect();
                    self.forest.unseal(from, &blocks);
                }
            }
        }
        assert!(steps_max < 10_000 || self.forest.next_step(window).is_none(), "no end");
    }

    fn seal_nodes(&mut self, nodes: &[NodeId]) {
        let blocks: Vec<usize> =
            nodes.iter().map(|id| self.number(self.forest.rank(*id))).collect();
        for block in &blocks {
            let height = usize::try_from(self.ranks[*block].height.get()).unwrap();
            self.trunk[height] = Some(*block);
        }
        let parent = self.parents[blocks[0]].map_or(BlockHash::new([0xFF; 32]), hash);
        self.forest.seal(nodes, parent);
    }

    fn number(&self, rank: Rank) -> usize {
        self.ranks.iter().position(|other| *other == rank).unwrap()
    }

    pub(super) fn place(&self, block: usize) -> Place {
        let node = self.forest.find(&self.ranks[block].hash);
        node.map_or(Place::Trunk(self.ranks[block].height), Place::Node)
    }

    pub(super) fn rank(&self, place: Place) -> Rank {
        match place {
            Place::Node(id) => self.forest.rank(id),
            Place::Trunk(height) => {
                self.ranks[self.trunk[usize::try_from(height.get()).unwrap()].unwrap()]
            }
        }
    }

    /// A block and its ancestors that are held, one by one.
    pub(super) fn lineage(&self, block: usize) -> Vec<usize> {
        let parent = |block: &usize| self.parents[*block].filter(|parent| self.held[*parent]);
        std::iter::successors(Some(block), parent).collect()
    }

    /// Compares every link with the drawing.
    pub(super) fn check(&self) {
        let held = || (0..self.parents.len()).filter(|block| self.held[*block]);
        assert_eq!(self.forest.len(), held().count() as u64);
        for block in held() {
            let (place, lineage) = (self.place(block), self.lineage(block));
            assert_eq!(self.rank(place), self.ranks[block]);
            let parent = self.forest.parent(place).map(|place| self.rank(place));
            assert_eq!(parent, lineage.get(1).map(|below| self.ranks[*below]));
            for height in 0..self.ranks[block].height.get() + 2 {
                let at = |block: &&usize| self.ranks[**block].height.get() == height;
                let naive = lineage.iter().find(at).map(|below| self.ranks[*below]);
                let found = self.forest.ancestor(place, BlockHeight::new(height));
                assert_eq!(found.map(|place| self.rank(place)), naive);
            }
            let of_trunk = |below: &&usize| matches!(self.place(**below), Place::Trunk(_));
            let join = lineage.iter().find(of_trunk).map(|below| self.ranks[*below].height);
            assert_eq!(self.forest.join(place), join);
        }
        let mut nodes: Vec<Rank> = held()
            .filter(|block| matches!(self.place(*block), Place::Node(_)))
            .map(|block| self.ranks[block])
            .collect();
        nodes.sort();
        let found = self.forest.nodes_from(BlockHeight::new(0)).map(|id| self.forest.rank(id));
        assert_eq!(found.collect::<Vec<_>>(), nodes);
        let tip = held().max_by_key(|b| (self.ranks[*b].height, std::cmp::Reverse(hash(*b))));
        assert_eq!(self.forest.tip().map(|id| self.forest.rank(id)), tip.map(|b| self.ranks[b]));
    }
}
