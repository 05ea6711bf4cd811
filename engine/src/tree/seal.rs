use std::sync::Arc;

use super::{Forest, NodeId, Place, Trunk};
use crate::types::{BlockHash, BlockHeight, Grow, Rank, RunLength};

/// What to do next so that the blocks of the heaviest branch that are buried deep are the trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Seal these nodes, which go on where the trunk ends, or begin it. By ascending height.
    Seal(Vec<NodeId>),
    /// Seal these nodes, which lead up to where the trunk begins. By ascending height.
    SealBelow(Vec<NodeId>),
    /// Give back what is sealed from this height on, where a run begins.
    Unseal(BlockHeight),
}

impl Forest {
    /// What to do next, if anything. A block is buried if the tip is `window` heights above it.
    ///
    /// # Shape
    ///
    /// `Seal` fills up one run. Where another branch has become the heaviest, the trunk is given
    /// back run by run, down to where it leaves, once there is as much to seal in its place: what two
    /// branches in turn can cause is at most as much as they grow.
    #[must_use]
    pub fn next_step(&self, window: u64) -> Option<Step> {
        let tip = self.tip()?;
        let above = self.rank(tip).height.child()?;
        let buried = BlockHeight::new(above.get().checked_sub(window.max(1))?);
        let Some(trunk) = self.trunk else {
            return self.step_up(tip, self.rank(self.root(tip)).height, buried);
        };
        let join = self.join(Place::Node(tip)).and_then(BlockHeight::child);
        if join == Some(trunk.end) {
            let up = self.step_up(tip, trunk.end, buried);
            return up.or_else(|| self.step_down(&trunk));
        }
        let gained = join.unwrap_or_else(|| self.rank(self.root(tip)).height);
        let gained = buried.get().saturating_sub(gained.get());
        let keep = join.unwrap_or(trunk.first);
        let lost = trunk.end.get().saturating_sub(keep.get());
        let worth = gained >= lost && gained >= self.run_length.get().into();
        worth.then(|| Step::Unseal(self.given_back(&trunk)))
    }

    /// The run that begins at `first`, if it is buried.
    fn step_up(&self, tip: NodeId, first: BlockHeight, buried: BlockHeight) -> Option<Step> {
        let end = self.run_length.end(first);
        if end > buried {
            return None;
        }
        self.nodes_between(Place::Node(tip), first, end).map(Step::Seal)
    }

    /// What is missing of the lowest run, or the one below it, if all of it is there.
    fn step_down(&self, trunk: &Trunk) -> Option<Step> {
        let first = self.run_length.start(trunk.first.parent()?);
        let below = Place::Node(trunk.below?);
        self.nodes_between(below, first, trunk.first).map(Step::SealBelow)
    }

    /// The nodes of the line below `top` at heights from `first` up to `end`, which is not among
    /// them; `None` if they are not all nodes.
    fn nodes_between(
        &self,
        top: Place,
        first: BlockHeight,
        end: BlockHeight,
    ) -> Option<Vec<NodeId>> {
        let Some(Place::Node(top)) = self.ancestor(top, end.parent()?) else { return None };
        let mut nodes: Vec<NodeId> = self.line(top, first).collect();
        nodes.reverse();
        (nodes.len() as u64 == end.get().saturating_sub(first.get())).then_some(nodes)
    }

    /// Where the part of the trunk that is given back next begins: its last run.
    fn given_back(&self, trunk: &Trunk) -> BlockHeight {
        let last = trunk.end.parent().map_or(trunk.first, |last| self.run_length.start(last));
        last.max(trunk.first)
    }

    /// Makes nodes a part of the trunk, as [`Forest::next_step`] said; the lowest of them names
    /// `parent`.
    pub fn seal(&mut self, nodes: &[NodeId], parent: BlockHash) {
        let (Some(lowest), Some(highest)) = (nodes.first(), nodes.last()) else { return };
        let (first, last) = (self.rank(*lowest).height, self.rank(*highest).height);
        let end = BlockHeight::new(last.get().saturating_add(1));
        let below = match self.parent(Place::Node(*lowest)) {
            Some(Place::Node(below)) => Some(below),
            Some(Place::Trunk(_)) | None => None,
        };
        let goes_on = self.trunk.is_some_and(|trunk| trunk.end == first);
        match &mut self.trunk {
            Some(trunk) if goes_on => trunk.end = end,
            trunk => {
                let end = trunk.map_or(end, |trunk| trunk.end);
                *trunk = Some(Trunk { first, end, parent, below });
                self.epoch.grow(1);
                Arc::make_mut(&mut self.waiting).retain(|_, waiting| {
                    waiting.retain(|id| id != lowest);
                    !waiting.is_empty()
                });
            }
        }
        self.generation.grow(1);
        for id in nodes {
            self.remove(*id);
        }
        let above = BlockHeight::new(end.get().saturating_add(1));
        let near: Vec<NodeId> =
            self.nodes_from(first).take_while(|id| self.rank(*id).height < above).collect();
        for id in near {
            let parent = self.node(id).parent;
            if parent != NodeId::TRUNK && self.node(parent).parent == NodeId::SEALED {
                self.put_on_trunk(id);
            }
        }
        for id in nodes {
            self.free(*id);
        }
    }

    /// Makes the trunk from `from` on nodes again; `blocks` are its blocks there, by ascending
    /// height.
    pub fn unseal(&mut self, from: BlockHeight, blocks: &[Rank]) {
        (self.epoch, self.generation) =
            (self.epoch.saturating_add(1), self.generation.saturating_add(1));
        let Some(mut trunk) = self.trunk.take() else { return };
        // Nodes whose parent was on the trunk now have nodes of these heights as parents.
        let above = BlockHeight::new(trunk.end.get().saturating_add(1));
        let standing: Vec<NodeId> = self
            .nodes_from(from)
            .take_while(|id| self.rank(*id).height < above)
            .filter(|id| self.node(*id).parent == NodeId::TRUNK && self.rank(*id).height > from)
            .collect();
        let mut new: Vec<NodeId> = Vec::with_capacity(blocks.len());
        for rank in blocks {
            let id = self.push(*rank);
            match new.last().copied().or(trunk.below.filter(|_| from == trunk.first)) {
                Some(below) => self.link(id, below),
                None if from > trunk.first => self.put_on_trunk(id),
                None => self.wait(id, trunk.parent),
            }
            new.push(id);
        }
        for id in standing {
            let below = self.rank(id).height.get().checked_sub(from.get().saturating_add(1));
            let below = below.and_then(|number| usize::try_from(number).ok());
            if let Some(below) = below.and_then(|number| new.get(number)) {
                self.link(id, *below);
            }
        }
        if from > trunk.first {
            trunk.end = from;
            self.trunk = Some(trunk);
        }
    }
}

/// How much is left loose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealing {
    /// The heights of a run, in a database that is made.
    pub run_length: RunLength,
    /// Heights at the tip that are not sealed.
    pub window: u64,
}

impl Default for Sealing {
    fn default() -> Self {
        Self { run_length: RunLength::DEFAULT, window: 256 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::drawn::{Drawn, parents};
    use super::*;
    use proptest::prelude::*;

    /// The blocks of a drawing in an order in which each has its parent before it or not.
    fn arrivals() -> impl Strategy<Value = (Vec<Option<usize>>, Vec<usize>)> {
        parents().prop_flat_map(|parents| {
            let in_order: Vec<usize> = (0..parents.len()).collect();
            let shuffled = Just(in_order.clone()).prop_shuffle();
            (Just(parents), prop_oneof![Just(in_order), shuffled])
        })
    }

    proptest! {
        #[test]
        fn what_is_sealed_changes_no_link(
            (parents, order) in arrivals(),
            run_length in 1..6_u32,
            window in 0..12_u64,
        ) {
            let mut drawn = Drawn::new(&parents, run_length);
            for (i, block) in order.iter().enumerate() {
                drawn.insert(*block);
                drawn.seal(window, 3);
                if i % 16 == 0 {
                    drawn.check();
                }
            }
            drawn.seal(window, usize::MAX);
            drawn.check();
        }

        #[test]
        fn trunk_follows_the_heaviest_branch(parents in parents(), run_length in 1..4_u32) {
            let mut drawn = Drawn::new(&parents, run_length);
            for block in 0..parents.len() {
                drawn.insert(block);
                drawn.seal(1, usize::MAX);
            }
            let tip = drawn.forest.tip().unwrap();
            let Some(trunk) = drawn.forest.trunk() else { return Ok(()) };
            let join = drawn.forest.join(Place::Node(tip));
            let height = drawn.forest.rank(tip).height.get();
            let straight = join.is_some_and(|join| join.get() + 1 == trunk.end().get());
            // Or there is more to give back than to seal.
            let base = join.map_or(drawn.forest.rank(drawn.forest.root(tip)).height.get(), |j| j.get() + 1);
            let lost = trunk.end().get() - join.map_or(trunk.first().get(), |join| join.get() + 1);
            prop_assert!(straight || height - base < lost.max(run_length.into()));
            if straight {
                prop_assert!(height - trunk.end().get() <= 2 * u64::from(run_length));
            }
        }
    }

    #[test]
    fn memory_of_what_is_sealed_is_given_back() {
        let parents: Vec<Option<usize>> =
            (0..20_000_usize).map(|block| block.checked_sub(1)).collect();
        let mut drawn = Drawn::new(&parents, 16);
        for block in 0..parents.len() {
            drawn.insert(block);
            drawn.seal(16, usize::MAX);
            assert!(drawn.forest.nodes.len() < 64);
        }
        assert_eq!(drawn.forest.len(), 20_000);
    }
}
