//! Random forests, sealed or not, and queries: the sweep against the walk of every parent.
#![no_main]
#![expect(clippy::indexing_slicing, reason = "a wrong index is a bug here, and ends the run")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use plait_engine::tree::{Ancestors, Forest, Part, Place, Step};
use plait_engine::types::RunLength;
use plait_engine::{BlockHash, BlockHeight, Rank, Weight};
use ruint::aliases::U256;

/// Blocks of a case, so that walking every parent stays cheap.
const BLOCKS_MAX: usize = 400;

/// Bounds of each kind.
const BOUNDS_MAX: usize = 40;

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
    /// Heights of a run, less one.
    run_length: u8,
    /// Heights at the tip that are not sealed; all, if there is none.
    window: Option<u8>,
    /// When each block comes; blocks may wait for their parents.
    arrival: Vec<u8>,
    blocks: Vec<Stroke>,
}

/// How a block is drawn.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Stroke {
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
    forest: Forest,
    /// What is sealed, by height.
    trunk: BTreeMap<BlockHeight, usize>,
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
                Stroke::Straight => (i.checked_sub(1), None),
                Stroke::Fork(back) => (i.checked_sub(1 + usize::from(back)), None),
                Stroke::Root(up) => (None, Some(up)),
                Stroke::Claim { parent, height } => {
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
        let run_length = NonZeroU32::MIN.saturating_add(u32::from(case.run_length % 8));
        let forest = Forest::new(RunLength::new(run_length), None);
        let mut drawn = Self { blocks, below, forest, trunk: BTreeMap::new() };
        let mut held = BTreeSet::new();
        for block in order {
            drawn.insert(block, &held);
            held.insert(block);
            if let Some(window) = case.window {
                drawn.seal(window.into());
            }
        }
        drawn
    }

    fn insert(&mut self, number: usize, held: &BTreeSet<usize>) {
        let block = &self.blocks[number];
        let below = self.below[number].filter(|below| held.contains(below));
        let forest = &mut self.forest;
        if forest.may_stand_on_trunk(block.rank.height, &block.parent) && below.is_some() {
            forest.insert_on_trunk(block.rank, block.weight);
        } else {
            forest.insert(block.rank, block.parent, block.weight);
            // A block that comes twice stays as it is.
            forest.insert(block.rank, hash(0), Weight::new(U256::MAX));
        }
    }

    /// Takes the next steps, of which there must be an end.
    fn seal(&mut self, window: u64) {
        for _ in 0..4 * BLOCKS_MAX {
            match self.forest.next_step(window) {
                None => return,
                Some(Step::Seal(nodes) | Step::SealBelow(nodes)) => {
                    let numbers: Vec<usize> =
                        nodes.iter().map(|id| self.number(self.forest.rank(*id))).collect();
                    let sealed = numbers.iter().map(|i| (self.blocks[*i].rank.height, *i));
                    self.trunk.extend(sealed);
                    self.forest.seal(&nodes, self.blocks[numbers[0]].parent);
                }
                Some(Step::Unseal(from)) => {
                    let back = self.trunk.split_off(&from);
                    let ranks: Vec<Rank> = back.values().map(|i| self.blocks[*i].rank).collect();
                    self.forest.unseal(from, &ranks);
                }
            }
        }
        panic!("sealing has no end");
    }

    fn number(&self, rank: Rank) -> usize {
        let number = self.blocks.iter().position(|block| block.rank == rank);
        number.unwrap_or_else(|| panic!("no block {rank:?}"))
    }

    fn index(&self, number: u16) -> usize {
        usize::from(number) % self.blocks.len()
    }

    fn indices(&self, numbers: &[u16]) -> Vec<usize> {
        numbers.iter().take(BOUNDS_MAX).map(|number| self.index(*number)).collect()
    }

    fn place(&self, block: usize) -> Place {
        let rank = self.blocks[block].rank;
        match self.forest.find(&rank.hash) {
            Some(id) => Place::Node(id),
            None if self.trunk.get(&rank.height) == Some(&block) => Place::Trunk(rank.height),
            None => panic!("block {block} is lost"),
        }
    }

    fn rank(&self, place: Place) -> Rank {
        match place {
            Place::Node(id) => self.forest.rank(id),
            Place::Trunk(height) => self.blocks[self.trunk[&height]].rank,
        }
    }

    /// A block and all below it, from above.
    fn lineage(&self, block: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(block), |block| self.below[*block])
    }

    /// Links, parts and tip do not depend on what came first, nor on what is sealed.
    fn check_forest(&self) {
        let forest = &self.forest;
        assert_eq!(forest.len(), self.blocks.len() as u64);
        let below = (0..self.blocks.len()).map(|block| forest.parent(self.place(block)));
        assert!(below.eq(self.below.iter().map(|below| below.map(|below| self.place(below)))));
        let ranks = (0..self.blocks.len()).map(|block| self.rank(self.place(block)));
        assert!(ranks.eq(self.blocks.iter().map(|block| block.rank)));
        let roots: BTreeSet<Place> = forest.roots().map(Place::Node).collect();
        let without = (0..self.blocks.len()).filter(|block| self.below[*block].is_none());
        let without = without.map(|block| self.place(block));
        assert_eq!(roots, without.filter(|place| matches!(place, Place::Node(_))).collect());
        let heaviest = self.blocks.iter().max_by_key(|b| (b.weight, Reverse(b.rank.hash)));
        assert_eq!(forest.tip().map(|id| forest.rank(id)), heaviest.map(|block| block.rank));
    }

    /// The ancestor at a height is the block that walking comes to.
    fn check_ancestors(&self, block: usize) {
        let place = self.place(block);
        let mut last = self.blocks[block].rank.height;
        let mut join = None;
        for walked in self.lineage(block) {
            last = self.blocks[walked].rank.height;
            assert_eq!(self.forest.ancestor(place, last), Some(self.place(walked)));
            let of_trunk = matches!(self.place(walked), Place::Trunk(_));
            join = join.or(of_trunk.then_some(last));
        }
        assert_eq!(self.forest.join(place), join);
        let outside = [last.parent(), self.blocks[block].rank.height.child()];
        assert!(outside.into_iter().flatten().all(|at| self.forest.ancestor(place, at).is_none()));
    }

    /// The sweep is the walk, in parts of any size; every cursor resumes it.
    fn check_sweep(&self, case: &Case) {
        let height = |from: Option<i16>, or| {
            BlockHeight::new(from.map_or(or, |from| case.base.saturating_add_signed(from.into())))
        };
        let (min, max) = (height(case.min, 0), height(case.max, u64::MAX));
        let (upper, lower) = (self.indices(&case.upper), self.indices(&case.lower));
        let places = |blocks: &[usize]| blocks.iter().map(|i| self.place(*i)).collect::<Vec<_>>();
        let (upper_places, lower_places) = (places(&upper), places(&lower));
        let sweep = || Ancestors::new(&self.forest, &upper_places, &lower_places, min, max);

        let walk = self.walk(&upper, &lower, min, max);
        assert_eq!(self.rest(sweep(), u64::MAX), walk, "the sweep is not the walk");
        let limit = u64::from(case.limit).max(1);
        assert_eq!(self.rest(sweep(), limit), walk, "its parts are not the walk");

        let cursor = self.index(case.cursor);
        let mut resumed = sweep();
        let found = resumed.skip_to(&self.forest, self.place(cursor));
        let cursor = self.blocks[cursor].rank;
        let rest = walk.iter().position(|rank| *rank == cursor);
        assert_eq!(found, rest.is_some(), "a cursor is taken for what it is not");
        let mut ranks = self.rest(resumed, limit);
        // Siblings before the cursor are the caller's to drop.
        ranks.retain(|rank| rank.height < cursor.height || rank.hash >= cursor.hash);
        assert_eq!(ranks, rest.map_or(&[][..], |at| &walk[at..]), "a cursor does not resume");
    }

    /// All that is left of a sweep, block by block.
    fn rest(&self, mut sweep: Ancestors, blocks_max: u64) -> Vec<Rank> {
        let mut ranks = Vec::new();
        while let Some(part) = sweep.next(&self.forest, blocks_max) {
            match part {
                Part::Level(places) => {
                    let mut level: Vec<Rank> = places.iter().map(|at| self.rank(*at)).collect();
                    level.sort();
                    ranks.extend(level);
                }
                Part::Line { top, bottom } => {
                    let line = std::iter::successors(Some(top), |at| self.forest.parent(*at));
                    let line = line.take_while(|at| self.forest.height(*at) >= bottom);
                    ranks.extend(line.map(|at| self.rank(at)));
                }
            }
        }
        ranks
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
