//! chainweb-node's tree queries: sets of blocks that go down one height at a time.

use std::collections::HashMap;
use std::mem;

use plait_engine::header::LEN;
use plait_engine::{BlockHash, BlockHeight, BranchQuery, Cursor, Header};

use crate::Node;

type Blocks = HashMap<BlockHash, Header>;

impl Node {
    /// A page of branches.
    ///
    /// # Cost
    ///
    /// Two lookups for every block between the bounds and the end of the page, and one more block to
    /// know whether the page is the last. A cursor does not save the way to it. A `maxheight` does,
    /// where few blocks are beside the one at that height.
    #[must_use]
    pub fn branch(&self, query: &BranchQuery) -> Vec<u8> {
        let mut upper = self.all(&query.bounds.upper);
        if let Some(max) = query.heights.max {
            upper.retain(|_, header| header.view().height() >= max);
            let ancestors = upper.values().filter_map(|header| self.ancestor(header, max));
            upper = ancestors.map(|header| (header.view().hash(), header)).collect();
        }
        let mut walk = Walk::new(self, upper, self.all(&query.bounds.lower));
        let (mut page, mut begun) = (Vec::with_capacity(query.limit * LEN), query.cursor.is_none());
        while let Some(layer) = walk.next() {
            for header in layer.iter().map(Header::view) {
                if header.height() < query.heights.min() {
                    return page;
                }
                let reached = query.cursor.is_some_and(|cursor| cursor.hash() == header.hash());
                begun |= reached;
                let skipped = reached && matches!(query.cursor, Some(Cursor::Exclusive(_)));
                if begun && !skipped {
                    if page.len() == query.limit * LEN {
                        return page;
                    }
                    page.extend_from_slice(header.as_bytes());
                }
            }
        }
        page
    }

    /// The ancestor at `height`: the only block there, or else what all blocks somewhat above have in
    /// common, or else the end of the way from the block itself.
    fn ancestor(&self, block: &Header, height: BlockHeight) -> Option<Header> {
        let top = block.view().height().get();
        if top == height.get() {
            return Some(*block);
        }
        let here = self.at(height, 2);
        if here.len() == 1 {
            return here.first().copied();
        }
        for exponent in 1..32 {
            let above = 1 << exponent;
            if height.get() + 2 * above >= top {
                break;
            }
            let from = self.at(BlockHeight::new(height.get() + above), usize::MAX);
            if let [only] = self.down_to(from, height).as_slice() {
                return Some(*only);
            }
        }
        self.down_to(vec![*block], height).first().copied()
    }

    fn down_to(&self, from: Vec<Header>, height: BlockHeight) -> Vec<Header> {
        let from = from.into_iter().map(|header| (header.view().hash(), header)).collect();
        let mut walk = Walk::new(self, from, Blocks::new());
        while let Some(layer) = walk.next() {
            if layer.first().is_some_and(|header| header.view().height() == height) {
                return layer;
            }
        }
        Vec::new()
    }

    fn all(&self, hashes: &[BlockHash]) -> Blocks {
        hashes.iter().filter_map(|hash| Some((*hash, self.lookup(hash)?))).collect()
    }
}

/// The ancestors of `upper` that are not ancestors of `lower`, one height after the other.
struct Walk<'a> {
    node: &'a Node,
    height: u64,
    upper: Side,
    lower: Side,
}

/// Blocks at the height that the walk is at, and those farther below.
struct Side {
    here: Blocks,
    below: Blocks,
}

impl Side {
    fn arrive(&mut self, height: u64) {
        let arrived = |header: &Header| header.view().height().get() == height;
        self.here.extend(self.below.extract_if(|_, header| arrived(header)));
    }
}

impl<'a> Walk<'a> {
    fn new(node: &'a Node, upper: Blocks, lower: Blocks) -> Self {
        let heights = upper.values().chain(lower.values()).map(|block| block.view().height().get());
        let height = heights.max().unwrap_or(0);
        let [mut upper, mut lower] =
            [upper, lower].map(|below| Side { here: Blocks::new(), below });
        upper.arrive(height);
        lower.arrive(height);
        Self { node, height, upper, lower }
    }

    fn parents(&self, blocks: &Blocks) -> Blocks {
        let below = blocks.values().map(Header::view).filter(|block| block.height().get() > 0);
        let parent = |hash| (hash, self.node.lookup(&hash).expect("a parent is held"));
        below.map(|block| parent(block.parent())).collect()
    }

    /// The blocks of the next height, which may be none; `None` at the end.
    fn next(&mut self) -> Option<Vec<Header>> {
        if self.upper.here.is_empty() && self.upper.below.is_empty() {
            return None;
        }
        self.upper.here.retain(|hash, _| !self.lower.here.contains_key(hash));
        let (upper, lower) = (mem::take(&mut self.upper.here), mem::take(&mut self.lower.here));
        (self.upper.here, self.lower.here) = (self.parents(&upper), self.parents(&lower));
        self.height = self.height.saturating_sub(1);
        self.upper.arrive(self.height);
        self.lower.arrive(self.height);
        Some(upper.into_values().collect())
    }
}
