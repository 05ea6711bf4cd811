use std::sync::Arc;

use super::{Forest, NodeId};
use crate::types::{BlockHeight, Rank};

/// The blocks that are an ancestor of (or equal to) some upper bound and not an ancestor of (or
/// equal to) any lower bound, by descending height, ties by ascending hash.
///
/// A sweep: it jumps to its first height and then holds, for one height at a time, the ancestors
/// of the upper bounds there and those of the lower bounds. Bounds that meet go on as one.
///
/// # Shape
///
/// Every [`Rank`] once. At each height at most as many blocks as there are upper bounds.
///
/// # Cost
///
/// To start, `O(log height)` a bound. Then every height costs one step a distinct path; a path
/// that meets a lower bound is dropped for good, so each height that is stepped through yields
/// a block.
#[derive(Clone, Debug)]
pub struct Ancestors {
    forest: Arc<Forest>,
    /// Upper bounds that the sweep has not come down to, by ascending height.
    pending: Vec<NodeId>,
    /// Ancestors of upper bounds at the next height: sorted, none twice, all of one height.
    upper: Vec<NodeId>,
    /// Ancestors of lower bounds at the height of the sweep, or lower bounds still below it.
    lower: Vec<NodeId>,
    /// Blocks of the present height that are still to be yielded, the next one last.
    level: Vec<Rank>,
    /// Nothing below this height is yielded.
    min: BlockHeight,
}

impl Ancestors {
    /// The ancestors of `upper` that are not ancestors of `lower`, at heights from `min` to `max`,
    /// both included.
    #[must_use]
    pub fn new(
        forest: Arc<Forest>,
        upper: &[NodeId],
        lower: &[NodeId],
        min: BlockHeight,
        max: BlockHeight,
    ) -> Self {
        let below = |id: &NodeId| {
            let height = forest.rank(*id).height;
            if height > max { forest.ancestor(*id, max) } else { Some(*id) }
        };
        let mut pending: Vec<NodeId> = upper.iter().filter_map(below).collect();
        pending.sort_unstable_by_key(|id| (forest.rank(*id).height, *id));
        pending.dedup();
        let lower = lower.to_vec();
        Self { forest, pending, upper: Vec::new(), lower, level: Vec::new(), min }
    }

    /// Goes on at `cursor`, itself included; ends if `cursor` is not in the set.
    ///
    /// Only before the first block is yielded.
    pub fn skip_to(&mut self, cursor: Rank) {
        let mut ahead = Self::new(
            Arc::clone(&self.forest),
            &self.pending,
            &self.lower,
            self.min,
            cursor.height,
        );
        ahead.descend();
        // The next block stands last, so the blocks before the cursor stand behind it.
        match ahead.level.iter().position(|rank| *rank == cursor) {
            Some(at) => ahead.level.truncate(at + 1),
            None => ahead.end(),
        }
        *self = ahead;
    }

    /// The next block, without taking it.
    #[must_use]
    pub fn peek(&mut self) -> Option<Rank> {
        if self.level.is_empty() {
            self.descend();
        }
        self.level.last().copied()
    }

    /// Fills `level` with the next height that has blocks, if there is one.
    fn descend(&mut self) {
        while self.level.is_empty() {
            let next = self.upper.first().or(self.pending.last());
            let Some(height) = next.map(|id| self.forest.rank(*id).height) else { return };
            if height < self.min {
                return self.end();
            }
            self.gather(height);
            let forest = &self.forest;
            self.level.extend(self.upper.iter().map(|id| forest.rank(*id)));
            self.level.sort_unstable_by(|a, b| b.cmp(a));
            self.upper.retain_mut(|id| forest.parent(*id).map(|parent| *id = parent).is_some());
        }
    }

    /// Brings `upper` and `lower` down to `height`, without those of `upper` that are excluded.
    fn gather(&mut self, height: BlockHeight) {
        let forest = &self.forest;
        while let Some(id) = self.pending.pop_if(|id| forest.rank(*id).height == height) {
            self.upper.push(id);
        }
        sort_dedup(&mut self.upper);
        self.lower.retain_mut(|id| {
            let above = forest.rank(*id).height > height;
            !above || forest.ancestor(*id, height).map(|below| *id = below).is_some()
        });
        sort_dedup(&mut self.lower);
        let lower = &self.lower;
        self.upper.retain(|id| lower.binary_search(id).is_err());
    }

    fn end(&mut self) {
        self.pending.clear();
        self.upper.clear();
        self.level.clear();
    }
}

impl Iterator for Ancestors {
    type Item = Rank;

    fn next(&mut self) -> Option<Rank> {
        self.peek()?;
        self.level.pop()
    }
}

fn sort_dedup(ids: &mut Vec<NodeId>) {
    ids.sort_unstable();
    ids.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BlockHash, Weight};
    use proptest::prelude::*;
    use ruint::aliases::U256;
    use std::collections::BTreeSet;

    fn hash(block: usize) -> BlockHash {
        // Spread, so that the order of hashes is not that of arrival.
        let mut bytes = [0; 32];
        bytes[0] = u8::try_from(block * 37 % 256).unwrap();
        bytes[1] = u8::try_from(block / 256).unwrap();
        BlockHash::new(bytes)
    }

    struct Drawn {
        forest: Arc<Forest>,
        parents: Vec<Option<usize>>,
        ranks: Vec<Rank>,
    }

    /// A forest of several parts: block `i` has parent `parents[i]`, or none.
    fn draw(parents: &[Option<usize>]) -> Drawn {
        let mut forest = Forest::default();
        let mut ranks: Vec<Rank> = Vec::new();
        for (block, parent) in parents.iter().enumerate() {
            let below = parent.map_or(2, |parent| ranks[parent].height.get());
            let rank = Rank { height: BlockHeight::new(below + 1), hash: hash(block) };
            let parent = parent.map_or(BlockHash::new([0xFF; 32]), hash);
            forest.insert(rank, parent, Weight::new(U256::ZERO));
            ranks.push(rank);
        }
        Drawn { forest: Arc::new(forest), parents: parents.to_vec(), ranks }
    }

    impl Drawn {
        fn lineage(&self, blocks: &[usize]) -> BTreeSet<usize> {
            let mut lineage = BTreeSet::new();
            for block in blocks {
                let mut next = Some(*block);
                while let Some(block) = next {
                    lineage.insert(block);
                    next = self.parents[block];
                }
            }
            lineage
        }

        /// The oracle: walk every parent of every bound.
        fn naive(&self, upper: &[usize], lower: &[usize], min: u64, max: u64) -> Vec<Rank> {
            let lower = self.lineage(lower);
            let blocks = self.lineage(upper).into_iter().filter(|block| !lower.contains(block));
            let mut ranks: Vec<Rank> = blocks.map(|block| self.ranks[block]).collect();
            ranks.retain(|rank| (min..=max).contains(&rank.height.get()));
            ranks.sort_by_key(|rank| (std::cmp::Reverse(rank.height), rank.hash));
            ranks
        }

        fn sweep(&self, upper: &[usize], lower: &[usize], min: u64, max: u64) -> Ancestors {
            let ids = |blocks: &[usize]| -> Vec<NodeId> {
                blocks.iter().map(|block| self.forest.find(&hash(*block)).unwrap()).collect()
            };
            let (min, max) = (BlockHeight::new(min), BlockHeight::new(max));
            Ancestors::new(Arc::clone(&self.forest), &ids(upper), &ids(lower), min, max)
        }
    }

    fn parents() -> impl Strategy<Value = Vec<Option<usize>>> {
        let step = (0..10_usize, any::<prop::sample::Index>());
        prop::collection::vec(step, 0..120).prop_map(|steps| {
            let mut parents = vec![None];
            for (kind, index) in steps {
                let len = parents.len();
                parents.push(match kind {
                    0 => None,
                    1 | 2 => Some(index.index(len)),
                    3 | 4 => Some(len.saturating_sub(1 + index.index(5))),
                    _ => Some(len - 1),
                });
            }
            parents
        })
    }

    type Case = (Vec<Option<usize>>, Vec<usize>, Vec<usize>, u64, u64);

    fn case() -> impl Strategy<Value = Case> {
        parents().prop_flat_map(|parents| {
            let bounds = |n| prop::collection::vec(0..parents.len(), 0..n);
            let (upper, lower) = (bounds(7), bounds(5));
            let heights = (0..60_u64, prop_oneof![Just(u64::MAX), 0..90_u64]);
            (Just(parents), upper, lower, heights.0, heights.1)
        })
    }

    proptest! {
        #[test]
        fn sweep_equals_the_walk_of_every_parent((parents, upper, lower, min, max) in case()) {
            let drawn = draw(&parents);
            let sweep: Vec<Rank> = drawn.sweep(&upper, &lower, min, max).collect();
            prop_assert_eq!(sweep, drawn.naive(&upper, &lower, min, max));
        }

        #[test]
        fn sweep_goes_on_at_every_cursor((parents, upper, lower, min, max) in case()) {
            let drawn = draw(&parents);
            let all = drawn.naive(&upper, &lower, min, max);
            for cursor in &drawn.ranks {
                let mut sweep = drawn.sweep(&upper, &lower, min, max);
                sweep.skip_to(*cursor);
                let rest = all.iter().position(|rank| rank == cursor).map_or(&[][..], |at| &all[at..]);
                prop_assert_eq!(sweep.collect::<Vec<_>>(), rest);
            }
        }
    }
}
