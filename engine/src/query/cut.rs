use ruint::aliases::U256;
use sha2::{Digest, Sha512_256};

use super::{QueryError, View};
use crate::header::{Header, HeaderRef, text};
use crate::store::History;
use crate::tree::{Forest, NodeId};
use crate::types::{BlockHash, BlockHeight, ChainId, Rank, Weight};

/// How often a block is moved down in search of concurrent neighbours. No fork of a braid is nearly
/// as deep; histories that never agree must not make a walk to genesis.
const STEPS_MAX: usize = 20_000;

/// One block of each chain that together are the state of the chainweb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    members: Vec<(ChainId, Rank, Weight)>,
}

impl Cut {
    /// The blocks, in the order of chainweb-node 2.32's hash maps, which is that of its answers.
    pub fn blocks(&self) -> impl Iterator<Item = (ChainId, BlockHeight, BlockHash)> {
        self.members.iter().map(|(chain, rank, _)| (*chain, rank.height, rank.hash))
    }

    /// The sum of the block heights.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.members.iter().fold(0, |sum, (_, rank, _)| sum.saturating_add(rank.height.get()))
    }

    /// The sum of the block weights, modulo 2^256.
    #[must_use]
    pub fn weight(&self) -> Weight {
        let weights = self.members.iter().map(|(_, _, weight)| weight.get());
        Weight::new(weights.fold(U256::ZERO, U256::wrapping_add))
    }

    /// SHA-512/256 over the block hashes in the order of [`Cut::blocks`].
    #[must_use]
    pub fn id(&self) -> BlockHash {
        let mut hasher = Sha512_256::new();
        for (_, rank, _) in &self.members {
            hasher.update(rank.hash.as_bytes());
        }
        BlockHash::new(hasher.finalize().into())
    }

    fn new(headers: &[Header]) -> Self {
        let member = |header: HeaderRef<'_>| (header.chain(), header.rank(), header.weight());
        let mut members: Vec<_> = headers.iter().map(|header| member(header.view())).collect();
        members.sort_unstable_by_key(|(chain, _, _)| text::hash_map_rank(*chain));
        Self { members }
    }
}

impl View<'_> {
    /// The current cut, or with `max_cut_height` the one that had about this sum of heights.
    ///
    /// # Shape
    ///
    /// At most one block of each chain. From a full history, blocks that are pairwise concurrent:
    /// the heaviest block of each chain, moved down where neighbours do not agree, of the chains
    /// that the network has at the lowest height in it. Where that has no end within reason, or
    /// would run out of blocks of a partial history, the heaviest block of each chain that is
    /// held.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`].
    ///
    /// # Source
    ///
    /// [`GET /cut`](https://github.com/kadena-io/chainweb-openapi); `max_cut_height` is divided by
    /// the number of chains that the network has at that cut height, as `limitCut` does.
    pub fn cut(&self, max_cut_height: Option<u64>) -> Result<Cut, QueryError> {
        let mut tips: Vec<Header> = Vec::new();
        for (chain, forest) in self.tree.iter() {
            if let Some(id) = forest.tip() {
                tips.push(self.block(chain, forest, id)?);
            }
        }
        let mut cut = match self.concurrent(tips.clone())? {
            Some(cut) => cut,
            None => tips,
        };
        if let Some(max) = max_cut_height {
            let height = self.block_height_of_cut(max);
            cut = self.cut_back(&cut, height)?;
        }
        Ok(Cut::new(&cut))
    }

    /// Moves blocks down until neighbours are concurrent. `None` if a partial history runs out, or
    /// after too many steps.
    fn concurrent(&self, mut cut: Vec<Header>) -> Result<Option<Vec<Header>>, QueryError> {
        let partial = self.snapshot.meta().history == History::Partial;
        for _ in 0..STEPS_MAX {
            let lowest = cut.iter().map(|header| header.view().height()).min().unwrap_or_default();
            let graph = self.version.graph_at(lowest);
            if !partial {
                cut.retain(|header| graph.adjacent(header.view().chain()).is_some());
            }
            let conflict = cut.iter().enumerate().find_map(|(i, a)| {
                let neighbours = graph.adjacent(a.view().chain())?;
                let mut others = cut.iter().filter(|b| neighbours.contains(&b.view().chain()));
                others.find_map(|b| Some((i, moves_down(a.view(), b.view())?)))
            });
            let Some((i, height)) = conflict else { return Ok(Some(cut)) };
            let Some(header) = cut.get_mut(i) else { return Ok(None) };
            match self.ancestor(header.view(), height)? {
                Some(below) => *header = below,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Replaces blocks above `height` by their ancestor there.
    fn cut_back(&self, cut: &[Header], height: BlockHeight) -> Result<Vec<Header>, QueryError> {
        let mut members = Vec::with_capacity(cut.len());
        for header in cut {
            if header.view().height() <= height {
                members.push(*header);
            } else if let Some(below) = self.ancestor(header.view(), height)? {
                members.push(below);
            }
        }
        Ok(members)
    }

    fn block_height_of_cut(&self, cut_height: u64) -> BlockHeight {
        let graphs = self.version.graphs().iter().rev();
        let order = |order: usize| u64::try_from(order).unwrap_or(u64::MAX);
        let mut orders = graphs.filter_map(|(from, graph)| {
            let order = order(graph.order());
            (from.get().saturating_mul(order) <= cut_height).then_some(order)
        });
        BlockHeight::new(orders.next().map_or(0, |order| cut_height / order))
    }

    fn ancestor(
        &self,
        header: HeaderRef<'_>,
        height: BlockHeight,
    ) -> Result<Option<Header>, QueryError> {
        let Some(forest) = self.tree.forest(header.chain()) else { return Ok(None) };
        let id = forest.find(&header.hash()).and_then(|id| forest.ancestor(id, height));
        id.map(|id| self.block(header.chain(), forest, id)).transpose()
    }

    fn block(&self, chain: ChainId, forest: &Forest, id: NodeId) -> Result<Header, QueryError> {
        Ok(self.snapshot.held_header(chain, forest.rank(id))?)
    }
}

/// Whether `a` has to go down for its neighbour `b`, and to what height.
fn moves_down(a: HeaderRef<'_>, b: HeaderRef<'_>) -> Option<BlockHeight> {
    let (high, low) = (a.height(), b.height());
    let names = |child: HeaderRef<'_>, other: HeaderRef<'_>| child.adjacents().on(other.chain());
    if high > low {
        let right_above = low.child().filter(|above| *above < high);
        let agree = right_above.is_none() && names(a, b) == Some(b.hash());
        return if agree { None } else { right_above.or(high.parent()) };
    }
    // Of two that disagree at one height the lighter one goes down, of equals that of the greater
    // hash; blocks without parents agree.
    let agree = names(a, b) == Some(b.parent()) && names(b, a) == Some(a.parent());
    let lighter =
        (a.weight(), std::cmp::Reverse(a.hash())) < (b.weight(), std::cmp::Reverse(b.hash()));
    (high == low && !agree && lighter).then(|| high.parent()).flatten()
}
