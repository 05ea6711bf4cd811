use super::{Forest, Place};
use crate::types::{BlockHeight, Grow};

impl Forest {
    /// The number of blocks, those of the trunk too.
    #[must_use]
    pub fn len(&self) -> u64 {
        (self.order.len() as u64).saturating_add(self.trunk.map_or(0, |trunk| trunk.len()))
    }

    /// The number of blocks that neither are the heaviest nor lie below it.
    #[must_use]
    pub fn orphan_count(&self) -> u64 {
        let mut on_branch = 0;
        let mut next = self.tip().map(Place::Node);
        while let Some(top) = next {
            let bottom = match (top, self.trunk) {
                (Place::Trunk(_), Some(trunk)) => Place::Trunk(trunk.first),
                (Place::Trunk(_), None) => break,
                (Place::Node(id), _) => Place::Node(self.root(id)),
            };
            on_branch
                .grow(self.height(top).since(self.height(bottom)).unwrap_or(0).saturating_add(1));
            next = self.parent(bottom);
        }
        self.len().saturating_sub(on_branch)
    }

    /// Whether there is no block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of nodes at heights from `first` up to `end`, which is not among them.
    #[must_use]
    pub fn count(&self, first: BlockHeight, end: BlockHeight) -> usize {
        self.nodes_below(end).saturating_sub(self.nodes_below(first))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::drawn::{Drawn, parents};

    proptest! {
        #[test]
        fn orphans_are_all_that_do_not_lie_below_the_heaviest(
            parents in parents(),
            (run_length, window) in (1..5_u32, 0..9_u64),
        ) {
            let mut drawn = Drawn::new(&parents, run_length);
            for block in 0..parents.len() {
                drawn.insert(block);
                drawn.seal(window, usize::MAX);
            }
            let tip = drawn.forest.tip().map(|id| drawn.forest.rank(id).hash);
            let mut next = (0..parents.len()).find(|block| Some(drawn.ranks[*block].hash) == tip);
            let mut on_branch = 0;
            while let Some(block) = next {
                on_branch += 1;
                next = parents[block];
            }
            let orphans = parents.len() - on_branch;
            prop_assert_eq!(drawn.forest.orphan_count(), orphans as u64);
        }
    }
}
