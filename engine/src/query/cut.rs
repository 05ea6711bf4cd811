use ruint::aliases::U256;
use sha2::{Digest, Sha512_256};

use super::{QueryError, View};
use crate::header::{Header, text};
use crate::types::{BlockHash, BlockHeight, ChainId, Rank, Weight};

/// One block of each chain that together are the state of the chainweb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    members: Vec<(ChainId, Rank, Weight)>,
}

impl Cut {
    /// The cut of these blocks, in any order of their chains.
    #[must_use]
    pub fn new(mut members: Vec<(ChainId, Rank, Weight)>) -> Self {
        members.sort_unstable_by_key(|(chain, _, _)| text::hash_map_rank(*chain));
        Self { members }
    }

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

    /// The name of the cut: SHA-512/256 over the block hashes in the order of [`Cut::blocks`].
    ///
    /// Releases of the reference order them as their hash maps did, so they name one cut
    /// differently. This is the name of chainweb-node 2.32, the last one, with hashable 1.5.
    #[must_use]
    pub fn id(&self) -> BlockHash {
        self.id_by(text::hash_map_rank)
    }

    /// The name that nodes of 2024 gave to the cut, with hashable 1.4.
    ///
    /// Known from a cut of ten chains; of twenty it is what the same formula gives.
    #[must_use]
    pub fn id_of_hashable_1_4(&self) -> BlockHash {
        self.id_by(text::hash_map_rank_1_4)
    }

    /// The name that nodes before 2024 gave to the cut, with hashable 1.2 and 1.3.
    #[must_use]
    pub fn id_of_hashable_1_2(&self) -> BlockHash {
        self.id_by(text::hash_map_rank_1_2)
    }

    fn id_by<K: Ord>(&self, order: impl Fn(ChainId) -> K) -> BlockHash {
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|(chain, _, _)| order(*chain));
        let mut hasher = Sha512_256::new();
        for (_, rank, _) in members {
            hasher.update(rank.hash.as_bytes());
        }
        BlockHash::new(hasher.finalize().into())
    }
}

impl View {
    /// The heaviest consistent cut, or with `max_cut_height` what it was at about this sum of
    /// heights.
    ///
    /// # Shape
    ///
    /// At most one block of each chain, concurrent in pairs on adjacent chains; of a full history
    /// the chains that the network has at the lowest height in the cut. [`tree::cut`] says what
    /// that means; of all cuts it is the heaviest, found among the blocks near the tips and
    /// farther down only where these do not agree. Where no cut is found, which takes a partial
    /// history whose parts lie apart or were never braided, it is the heaviest block of each chain
    /// that is held.
    ///
    /// With `max_cut_height` members are cut back to the block height that this makes: divided by
    /// the number of chains that the network has at that cut height, rounded down. A chain that
    /// begins above it has none.
    ///
    /// # Cost
    ///
    /// One lookup for each chain where the heaviest blocks agree. Otherwise a scan of a few heights
    /// around the tips, of 128 at most, and once more above where the heaviest blocks part, which
    /// is found by bisection.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`].
    ///
    /// # Source
    ///
    /// [`GET /cut`](https://github.com/kadena-io/chainweb-openapi); `limitCut` of the reference.
    ///
    /// [`tree::cut`]: crate::tree::cut
    pub fn cut(&self, max_cut_height: Option<u64>) -> Result<Cut, QueryError> {
        let mut members = self.heaviest_cut()?;
        if let Some(max) = max_cut_height {
            let height = self.block_height_of_cut(max);
            let mut below = Vec::with_capacity(members.len());
            for (chain, rank, weight) in members {
                if rank.height <= height {
                    below.push((chain, rank, weight));
                } else if let Some(header) = self.ancestor(chain, rank, height)? {
                    below.push((chain, header.view().rank(), header.view().weight()));
                }
            }
            members = below;
        }
        Ok(Cut::new(members))
    }

    fn block_height_of_cut(&self, cut_height: u64) -> BlockHeight {
        let graphs = self.version.graphs().iter().rev();
        let order = |order: usize| u64::try_from(order).unwrap_or(u64::MAX);
        let mut orders = graphs.filter_map(|(from, graph)| {
            let order = order(graph.order());
            (from.get().saturating_mul(order) <= cut_height).then_some(order)
        });
        BlockHeight::new(orders.next().and_then(|order| cut_height.checked_div(order)).unwrap_or(0))
    }

    /// The ancestor at `height` of a block that is held.
    pub(super) fn ancestor(
        &self,
        chain: ChainId,
        block: Rank,
        height: BlockHeight,
    ) -> Result<Option<Header>, QueryError> {
        let Some(blocks) = self.blocks(chain) else { return Ok(None) };
        let place = blocks.place(&block.hash)?;
        let below = place.and_then(|place| blocks.forest().ancestor(place, height));
        Ok(below.map(|place| blocks.header(place)).transpose()?)
    }
}
