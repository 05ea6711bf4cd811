use super::{Forest, Place, Trunk};
use crate::types::BlockHeight;

/// Blocks of a set of ancestors that come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A block and those below it, down to the one at `bottom`: all of the trunk, or all nodes.
    Line {
        /// The highest block.
        top: Place,
        /// The height of the lowest one.
        bottom: BlockHeight,
    },
    /// Several blocks of one height, in no order.
    Level(Vec<Place>),
}

/// The blocks that are an ancestor of (or equal to) some upper bound and not an ancestor of (or
/// equal to) any lower bound, by descending height.
///
/// A sweep: it jumps to its first height and then holds, for one height at a time, the ancestors
/// of the upper bounds there and those of the lower bounds. Bounds that meet go on as one. Where
/// one path is left it takes as much of it as there is until another bound has a say.
///
/// It holds no forest; each call must be given the one that it was made for.
///
/// # Shape
///
/// Every block once. At each height at most as many blocks as there are upper bounds.
///
/// # Cost
///
/// To start, `O(log height)` a bound. Then every line costs that much a lower bound, whatever its
/// length, and every level one step a distinct path; a path that meets a lower bound is dropped
/// for good.
#[derive(Clone, Debug)]
pub struct Ancestors {
    /// Upper bounds that the sweep has not come down to, by ascending height.
    pending: Vec<Place>,
    /// Ancestors of upper bounds at the next height: sorted, none twice, all of one height.
    upper: Vec<Place>,
    /// Ancestors of lower bounds at the height of the sweep, or lower bounds still below it.
    lower: Vec<Place>,
    /// Nothing below this height is in the set.
    min: BlockHeight,
}

impl Ancestors {
    /// The ancestors of `upper` that are not ancestors of `lower`, at heights from `min` to `max`,
    /// both included.
    #[must_use]
    pub fn new(
        forest: &Forest,
        upper: &[Place],
        lower: &[Place],
        min: BlockHeight,
        max: BlockHeight,
    ) -> Self {
        let below = |place: &Place| {
            if forest.height(*place) > max { forest.ancestor(*place, max) } else { Some(*place) }
        };
        let mut pending = without_lower_trunk(upper.iter().filter_map(below).collect());
        pending.sort_unstable_by_key(|place| (forest.height(*place), *place));
        pending.dedup();
        let mut lower = without_lower_trunk(lower.to_vec());
        sort_dedup(&mut lower);
        Self { pending, upper: Vec::new(), lower, min }
    }

    /// Goes on at the height of `cursor` and returns whether `cursor` is in the set; ends if not.
    ///
    /// Only before the first part is taken.
    pub fn skip_to(&mut self, forest: &Forest, cursor: Place) -> bool {
        let height = forest.height(cursor);
        let mut ahead = Self::new(forest, &self.pending, &self.lower, self.min, height);
        if height >= self.min && ahead.next_height(forest) == Some(height) {
            ahead.gather(forest, height);
        }
        let found = ahead.upper.contains(&cursor);
        if !found {
            ahead.end();
        }
        *self = ahead;
        found
    }

    /// The next blocks; a line has `blocks_max` at most, and at least one.
    pub fn next(&mut self, forest: &Forest, blocks_max: u64) -> Option<Part> {
        loop {
            let height = self.next_height(forest)?;
            if height < self.min {
                self.end();
                return None;
            }
            self.gather(forest, height);
            match self.upper.as_slice() {
                [] => {}
                [top] => {
                    let top = *top;
                    let bottom = self.bottom(forest, top, blocks_max);
                    let below = bottom.parent().and_then(|below| forest.ancestor(top, below));
                    self.upper.clear();
                    self.upper.extend(below);
                    return Some(Part::Line { top, bottom });
                }
                _ => {
                    let level = self.upper.clone();
                    let below = |place: &mut Place| {
                        forest.parent(*place).map(|parent| *place = parent).is_some()
                    };
                    self.upper.retain_mut(below);
                    return Some(Part::Level(level));
                }
            }
        }
    }

    fn next_height(&self, forest: &Forest) -> Option<BlockHeight> {
        let next = self.upper.first().or(self.pending.last());
        next.map(|place| forest.height(*place))
    }

    /// Brings `upper` and `lower` down to `height`, without those of `upper` that are excluded.
    fn gather(&mut self, forest: &Forest, height: BlockHeight) {
        while let Some(place) = self.pending.pop_if(|place| forest.height(*place) == height) {
            self.upper.push(place);
        }
        sort_dedup(&mut self.upper);
        self.lower.retain_mut(|place| {
            let above = forest.height(*place) > height;
            !above || forest.ancestor(*place, height).map(|below| *place = below).is_some()
        });
        sort_dedup(&mut self.lower);
        let lower = &self.lower;
        self.upper.retain(|place| lower.binary_search(place).is_err());
    }

    /// Down to where the only path goes on as it is.
    fn bottom(&self, forest: &Forest, top: Place, blocks_max: u64) -> BlockHeight {
        let height = forest.height(top);
        let most =
            BlockHeight::new(height.get().saturating_sub(blocks_max.max(1).saturating_sub(1)));
        let mut bottom = self.min.max(most);
        // A pending bound is below; that its path is another one is not said.
        if let Some(above) = self.pending.last().and_then(|place| forest.height(*place).child()) {
            bottom = bottom.max(above);
        }
        bottom = bottom.max(lowest_alike(forest, top, bottom));
        for lower in &self.lower {
            let meet = meet(forest, top, *lower, bottom);
            bottom = bottom.max(meet.and_then(BlockHeight::child).unwrap_or(bottom));
        }
        bottom
    }

    fn end(&mut self) {
        self.pending.clear();
        self.upper.clear();
    }
}

/// The lowest height from `bottom` on down to which a block and its ancestors are all of the trunk,
/// or all nodes.
fn lowest_alike(forest: &Forest, top: Place, bottom: BlockHeight) -> BlockHeight {
    let trunk = forest.trunk();
    match top {
        Place::Trunk(height) => trunk.map_or(height, Trunk::first),
        // Below the trunk there may be nodes again.
        Place::Node(_)
            if trunk.is_none_or(|trunk| trunk.first() <= bottom)
                && matches!(forest.ancestor(top, bottom), Some(Place::Node(_))) =>
        {
            bottom
        }
        Place::Node(id) => forest.rank(forest.root(id)).height,
    }
}

/// The highest height from `bottom` on at which two blocks have one ancestor, if there is any. They
/// have it at every height below, too.
fn meet(forest: &Forest, a: Place, b: Place, bottom: BlockHeight) -> Option<BlockHeight> {
    if let Place::Trunk(top) = a {
        return forest.join(b).map(|join| join.min(top)).filter(|join| *join >= bottom);
    }
    let is_one = |height| forest.ancestor(a, height) == forest.ancestor(b, height);
    let (mut low, mut high) = (bottom, forest.height(a).min(forest.height(b)));
    if low > high || !is_one(low) {
        return None;
    }
    while low < high {
        let middle =
            BlockHeight::new(high.get().saturating_sub(high.get().saturating_sub(low.get()) / 2));
        if is_one(middle) {
            low = middle;
        } else {
            high = BlockHeight::new(middle.get().saturating_sub(1));
        }
    }
    Some(low)
}

/// Leaves out all blocks of the trunk but the highest: they are ancestors of it.
fn without_lower_trunk(mut places: Vec<Place>) -> Vec<Place> {
    let of_trunk = |place: &Place| matches!(place, Place::Trunk(_));
    let highest = places.iter().copied().filter(of_trunk).max();
    places.retain(|place| !of_trunk(place) || Some(*place) == highest);
    places
}

fn sort_dedup(places: &mut Vec<Place>) {
    places.sort_unstable();
    places.dedup();
}

#[cfg(test)]
mod tests {
    use super::super::drawn::{Drawn, parents};
    use super::*;
    use crate::types::Rank;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    impl Drawn {
        /// The oracle: walk every parent of every bound.
        fn naive(&self, upper: &[usize], lower: &[usize], min: u64, max: u64) -> Vec<Rank> {
            let lineage = |blocks: &[usize]| -> BTreeSet<usize> {
                blocks.iter().flat_map(|block| self.lineage(*block)).collect()
            };
            let (upper, lower) = (lineage(upper), lineage(lower));
            let blocks = upper.difference(&lower);
            let mut ranks: Vec<Rank> = blocks.map(|block| self.ranks[*block]).collect();
            ranks.retain(|rank| (min..=max).contains(&rank.height.get()));
            ranks.sort_by_key(|rank| (std::cmp::Reverse(rank.height), rank.hash));
            ranks
        }

        fn sweep(&self, upper: &[usize], lower: &[usize], min: u64, max: u64) -> Ancestors {
            let places = |blocks: &[usize]| -> Vec<Place> {
                blocks.iter().map(|block| self.place(*block)).collect()
            };
            let (min, max) = (BlockHeight::new(min), BlockHeight::new(max));
            Ancestors::new(&self.forest, &places(upper), &places(lower), min, max)
        }

        /// All that is left, block by block.
        fn rest(&self, mut sweep: Ancestors, blocks_max: u64) -> Vec<Rank> {
            let mut ranks = Vec::new();
            while let Some(part) = sweep.next(&self.forest, blocks_max) {
                match part {
                    Part::Level(mut places) => {
                        assert!(places.len() > 1);
                        places.sort_by_key(|place| self.rank(*place));
                        ranks.extend(places.iter().map(|place| self.rank(*place)));
                    }
                    Part::Line { top, bottom } => {
                        let mut next = Some(top);
                        while let Some(place) =
                            next.filter(|place| self.forest.height(*place) >= bottom)
                        {
                            let kind = std::mem::discriminant(&place);
                            assert_eq!(kind, std::mem::discriminant(&top));
                            ranks.push(self.rank(place));
                            next = self.forest.parent(place);
                        }
                        let blocks = self.forest.height(top).get() - bottom.get() + 1;
                        assert!(blocks <= blocks_max);
                    }
                }
            }
            ranks
        }
    }

    #[derive(Debug)]
    struct Case {
        drawn: Drawn,
        upper: Vec<usize>,
        lower: Vec<usize>,
        heights: (u64, u64),
        blocks_max: u64,
    }

    fn case() -> impl Strategy<Value = Case> {
        (parents(), 1..6_u32, 1..12_u64).prop_flat_map(|(parents, run_length, window)| {
            let bounds = |n| prop::collection::vec(0..parents.len(), 0..n);
            let (upper, lower) = (bounds(7), bounds(5));
            let heights = (0..60_u64, prop_oneof![Just(u64::MAX), 0..90_u64]);
            let most = prop_oneof![Just(u64::MAX), 1..9_u64];
            (Just(parents), upper, lower, heights, most).prop_map(
                move |(parents, upper, lower, heights, blocks_max)| {
                    let drawn = Drawn::sealed(&parents, run_length, window);
                    Case { drawn, upper, lower, heights, blocks_max }
                },
            )
        })
    }

    proptest! {
        #[test]
        fn sweep_equals_the_walk_of_every_parent(case in case()) {
            let Case { drawn, upper, lower, heights: (min, max), blocks_max } = case;
            let sweep = drawn.sweep(&upper, &lower, min, max);
            let naive = drawn.naive(&upper, &lower, min, max);
            prop_assert_eq!(drawn.rest(sweep, blocks_max), naive);
        }

        #[test]
        fn sweep_goes_on_at_every_cursor(case in case()) {
            let Case { drawn, upper, lower, heights: (min, max), blocks_max } = case;
            let all = drawn.naive(&upper, &lower, min, max);
            for (block, cursor) in drawn.ranks.iter().enumerate() {
                let mut sweep = drawn.sweep(&upper, &lower, min, max);
                let found = sweep.skip_to(&drawn.forest, drawn.place(block));
                let at = all.iter().position(|rank| rank == cursor);
                prop_assert_eq!(found, at.is_some());
                // From the height of the cursor on; its siblings before it are the caller's.
                let mut rest = drawn.rest(sweep, blocks_max);
                rest.retain(|rank| rank.height < cursor.height || rank.hash >= cursor.hash);
                prop_assert_eq!(rest, at.map_or(&[][..], |at| &all[at..]));
            }
        }
    }
}
