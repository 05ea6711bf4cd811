use super::{Forest, Place};
use crate::types::BlockHeight;

impl Forest {
    /// The highest height at which two blocks have one ancestor, or are it: where their lines part.
    /// `None` if they have none.
    ///
    /// # Cost
    ///
    /// A bisection over heights, of one search for an ancestor each; on the trunk a comparison.
    #[must_use]
    pub fn meet(&self, a: Place, b: Place) -> Option<BlockHeight> {
        if let (Place::Trunk(a), Place::Trunk(b)) = (a, b) {
            return Some(a.min(b));
        }
        // Where both have none they are alike, too, and so at every height below.
        let alike = |height| self.ancestor(a, height) == self.ancestor(b, height);
        let (mut low, mut high) = (0, self.height(a).min(self.height(b)).get());
        if !alike(BlockHeight::new(low)) {
            return None;
        }
        while low < high {
            let middle = high.saturating_sub(high.saturating_sub(low) / 2);
            if alike(BlockHeight::new(middle)) {
                low = middle;
            } else {
                high = middle.saturating_sub(1);
            }
        }
        let height = BlockHeight::new(low);
        self.ancestor(a, height).map(|_| height)
    }

    /// The height of the lowest ancestor of a block, or its own.
    ///
    /// # Cost
    ///
    /// As of [`Forest::meet`].
    #[must_use]
    pub fn bottom(&self, place: Place) -> BlockHeight {
        let (mut low, mut high) = (0, self.height(place).get());
        while low < high {
            let middle = low.saturating_add(high.saturating_sub(low) / 2);
            if self.ancestor(place, BlockHeight::new(middle)).is_some() {
                high = middle;
            } else {
                low = middle.saturating_add(1);
            }
        }
        BlockHeight::new(low)
    }
}

#[cfg(test)]
mod tests {
    use super::super::drawn::{Drawn, parents};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_meet_at_the_highest_block_that_both_have(
            parents in parents(),
            run_length in 1..6_u32,
            window in 0..12_u64,
            pairs in prop::collection::vec(any::<[prop::sample::Index; 2]>(), 1..40),
        ) {
            let drawn = Drawn::sealed(&parents, run_length, window);
            for pair in pairs {
                let [a, b] = pair.map(|index| index.index(parents.len()));
                let (one, other) = (drawn.lineage(a), drawn.lineage(b));
                let both = one.iter().find(|block| other.contains(block));
                let naive = both.map(|block| drawn.ranks[*block].height);
                prop_assert_eq!(drawn.forest.meet(drawn.place(a), drawn.place(b)), naive);
                let lowest = one.last().map(|block| drawn.ranks[*block].height);
                prop_assert_eq!(Some(drawn.forest.bottom(drawn.place(a))), lowest);
            }
        }
    }
}
