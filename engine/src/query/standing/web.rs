use std::ops::ControlFlow;

use hashbrown::HashSet;

use super::super::QueryError;
use super::super::blocks::Blocks;
use crate::header::{HeaderRef, LEN};
use crate::store::{From, History, Snapshot};
use crate::tree::cut::{Candidate, Most};
use crate::tree::{Place, Tree};
use crate::types::{BlockHash, BlockHeight, ChainId, ChainwebVersion, Rank};

/// Blocks of a chain that a search reads at most. If there are more, it leaves out blocks without
/// children.
pub(super) const READ_MAX: u64 = 1 << 13;

/// The blocks of all chains at one moment, as a search reads them.
pub(super) trait Source {
    fn version(&self) -> ChainwebVersion;

    fn is_partial(&self) -> bool;

    /// The height of the highest block of `chain`, if it has any.
    fn highest(&self, chain: ChainId) -> Option<u64>;

    /// The number of blocks of `chain` at `height`.
    fn count(&self, chain: ChainId, height: u64) -> u64;

    /// The heaviest sealed block at heights from `low` to `high`, which is the highest sealed one.
    fn sealed_most(&self, chain: ChainId, low: u64, high: u64) -> Result<Option<Most>, QueryError>;

    /// The blocks of `chain` at heights from `low` to `high`, by ascending rank.
    fn between(&self, chain: ChainId, low: u64, high: u64) -> Result<Vec<Candidate>, QueryError>;

    /// The heaviest block of `chain`, or its ancestor at this height.
    fn below_tip(
        &self,
        chain: ChainId,
        height: Option<u64>,
    ) -> Result<Option<Candidate>, QueryError>;

    /// A bound for searches instead of [`PARTS_MAX`](crate::tree::cut::PARTS_MAX).
    fn parts_max(&self) -> Option<usize> {
        None
    }

    fn candidate(&self, header: HeaderRef<'_>) -> Candidate {
        let first = Some(header.height()) == self.version().genesis_height(header.chain());
        Candidate {
            chain: header.chain(),
            rank: header.rank(),
            parent: header.parent(),
            adjacents: (!first).then(|| header.adjacents().all()),
            weight: header.weight(),
        }
    }
}

/// The blocks of a database.
pub(super) struct Web<'a> {
    tree: &'a Tree,
    snapshot: &'a Snapshot,
}

impl Source for Web<'_> {
    fn version(&self) -> ChainwebVersion {
        self.snapshot.meta().version
    }

    fn is_partial(&self) -> bool {
        self.snapshot.meta().history == History::Partial
    }

    fn highest(&self, chain: ChainId) -> Option<u64> {
        self.tree.forest(chain)?.highest().map(BlockHeight::get)
    }

    fn count(&self, chain: ChainId, height: u64) -> u64 {
        let height = BlockHeight::new(height);
        self.tree.forest(chain).map_or(0, |forest| {
            let sealed = forest.trunk().is_some_and(|trunk| trunk.contains(height));
            forest.node_count(height, height).saturating_add(sealed.into())
        })
    }

    fn sealed_most(&self, chain: ChainId, low: u64, high: u64) -> Result<Option<Most>, QueryError> {
        let Some(blocks) = self.blocks(chain) else { return Ok(None) };
        let Some(trunk) = blocks.forest().trunk() else { return Ok(None) };
        let last = trunk.end().parent().map_or(0, BlockHeight::get).min(high);
        if trunk.is_empty() || last < trunk.first().get().max(low) {
            return Ok(None);
        }
        let header = blocks.header(Place::Trunk(BlockHeight::new(last)))?;
        let weight = header.view().weight().get();
        Ok(Some(Most { weight, height: last, is_alone: false }))
    }

    fn between(&self, chain: ChainId, low: u64, high: u64) -> Result<Vec<Candidate>, QueryError> {
        let Some(blocks) = self.blocks(chain) else { return Ok(Vec::new()) };
        let (first, last) = (BlockHeight::new(low), BlockHeight::new(high));
        if blocks.forest().node_count(first, last) > READ_MAX {
            return self.some_between(&blocks, first, last);
        }
        let mut found = Vec::new();
        blocks.visit(From::Height(first), last, |header| {
            found.push(self.candidate(header));
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    fn below_tip(
        &self,
        chain: ChainId,
        height: Option<u64>,
    ) -> Result<Option<Candidate>, QueryError> {
        let Some(blocks) = self.blocks(chain) else { return Ok(None) };
        let tip = blocks.forest().tip().map(Place::Node);
        let place = tip.and_then(|tip| match height {
            Some(height) => blocks.forest().ancestor(tip, BlockHeight::new(height)),
            None => Some(tip),
        });
        let header = place.map(|place| blocks.header(place)).transpose()?;
        Ok(header.map(|header| self.candidate(header.view())))
    }
}

impl<'a> Web<'a> {
    pub(super) const fn new(tree: &'a Tree, snapshot: &'a Snapshot) -> Self {
        Self { tree, snapshot }
    }

    /// The block of `chain` with this hash, if it can be read.
    pub(super) fn find(&self, chain: ChainId, hash: &BlockHash) -> Option<Candidate> {
        let blocks = self.blocks(chain)?;
        let place = blocks.place(hash).ok().flatten()?;
        blocks.header(place).ok().map(|header| self.candidate(header.view()))
    }

    /// The blocks of `chain` between two heights: all that have children, and the first of those that have
    /// none.
    fn some_between(
        &self,
        blocks: &Blocks<'_>,
        first: BlockHeight,
        last: BlockHeight,
    ) -> Result<Vec<Candidate>, QueryError> {
        let forest = blocks.forest();
        let nodes = || forest.nodes_from(first).take_while(|id| forest.rank(*id).height <= last);
        let parents: HashSet<Place> =
            nodes().filter_map(|id| forest.parent(Place::Node(id))).collect();
        let mut left = READ_MAX;
        let mut is_read = |id| {
            let is_leaf = !parents.contains(&Place::Node(id));
            left = left.saturating_sub(u64::from(is_leaf));
            !is_leaf || left > 0
        };
        let ranks: Vec<Rank> =
            nodes().filter(|id| is_read(*id)).map(|id| forest.rank(id)).collect();
        let mut records = Vec::new();
        self.snapshot.headers(blocks.chain(), &ranks, &mut records)?;
        let headers = records.chunks_exact(LEN).flat_map(HeaderRef::parse);
        let mut found: Vec<Candidate> = headers.map(|header| self.candidate(header)).collect();
        if let Some(trunk) = forest.trunk() {
            let end = last.get().saturating_add(1).min(trunk.end().get());
            for height in first.max(trunk.first()).get()..end {
                let header = blocks.header(Place::Trunk(BlockHeight::new(height)))?;
                found.push(self.candidate(header.view()));
            }
            found.sort_by_key(|block| block.rank);
        }
        Ok(found)
    }

    fn blocks(&self, chain: ChainId) -> Option<Blocks<'a>> {
        let forest = self.tree.forest(chain)?;
        Some(Blocks::new(chain, forest, self.snapshot))
    }
}
