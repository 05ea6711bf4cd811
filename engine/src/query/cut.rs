use ruint::aliases::U256;
use sha2::{Digest, Sha512_256};
use thiserror::Error;

use super::{Member, QueryError, View};
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

/// The requested cut does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoCut {
    /// The database has no block.
    #[error("no block is stored, so there is no cut")]
    Empty,
    /// The network has this chain at this height, but the stored history of the chain starts above
    /// it.
    #[error("no cut at block height {height}: chain {chain} is stored from height {from} on")]
    Below {
        /// The first such chain.
        chain: ChainId,
        /// The block height for the requested cut height.
        height: BlockHeight,
        /// The lowest ancestor of the chain's block in the cut.
        from: BlockHeight,
    },
}

impl View {
    /// The heaviest consistent cut, or with `max_cut_height` what it was at about this sum of
    /// heights.
    ///
    /// # Shape
    ///
    /// One block of each chain, concurrent in pairs on adjacent chains: [`tree::cut`] says what
    /// that means. In a full history it has the chains of the network at the lowest height in the
    /// cut; in a partial one those of them that have blocks. Among all cuts it is the heaviest;
    /// among equally heavy ones the first by height, then hash, of its blocks in chain order. If
    /// there is no cut, which requires a partial history whose parts are disconnected or were never
    /// braided, it is the heaviest stored block of each chain.
    ///
    /// With `max_cut_height`, each member above the corresponding block height is replaced by its
    /// ancestor there. The block height is `max_cut_height` divided by the number of chains that
    /// the network has at that cut height, rounded down. A chain without a block there has no
    /// member.
    ///
    /// # Cost
    ///
    /// None: the cut was found before the view was published. With `max_cut_height`, one lookup for
    /// each chain.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`], and [`QueryError::Cold`].
    ///
    /// # Source
    ///
    /// [`GET /cut`](https://github.com/kadena-io/chainweb-openapi); `limitCut` of the reference.
    ///
    /// [`tree::cut`]: crate::tree::cut
    pub fn cut(&self, max_cut_height: Option<u64>) -> Result<Cut, QueryError> {
        Ok(Cut::new(self.limited(max_cut_height)?.0))
    }

    /// The same as [`View::cut`], but only a complete cut.
    ///
    /// # Errors
    ///
    /// As for [`View::cut`]. The inner error if there is no block, or if the stored history of a
    /// chain of the network starts above that height.
    pub fn cut_below(&self, max_cut_height: Option<u64>) -> Result<Result<Cut, NoCut>, QueryError> {
        let (members, lack) = self.limited(max_cut_height)?;
        let lack = lack.or(members.is_empty().then_some(NoCut::Empty));
        Ok(lack.map_or_else(|| Ok(Cut::new(members)), Err))
    }

    /// The members that are stored, and an error for the first chain that lacks one.
    fn limited(
        &self,
        max_cut_height: Option<u64>,
    ) -> Result<(Vec<Member>, Option<NoCut>), QueryError> {
        let members = self.heaviest_cut()?;
        let Some(max) = max_cut_height else { return Ok((members.to_vec(), None)) };
        let height = self.block_height_of_cut(max);
        let (mut below, mut lacking) = (Vec::with_capacity(members.len()), Vec::new());
        for &(chain, rank, weight) in members.iter() {
            if rank.height <= height {
                below.push((chain, rank, weight));
            } else if let Some(header) = self.ancestor(chain, rank, height)? {
                below.push((chain, header.view().rank(), header.view().weight()));
            } else if self.version.genesis_height(chain).is_none_or(|first| first <= height) {
                let from = self.lowest_below(chain, rank)?.unwrap_or(rank.height);
                lacking.push(NoCut::Below { chain, height, from });
            }
        }
        let is_none = below.is_empty() && lacking.is_empty();
        if let Some(&(chain, rank, _)) = members.first().filter(|_| is_none) {
            let from = self.lowest_below(chain, rank)?.unwrap_or(rank.height);
            lacking.push(NoCut::Below { chain, height, from });
        }
        Ok((below, lacking.into_iter().next()))
    }

    /// The height of the lowest stored ancestor of a block.
    fn lowest_below(&self, chain: ChainId, block: Rank) -> Result<Option<BlockHeight>, QueryError> {
        let Some(blocks) = self.blocks(chain) else { return Ok(None) };
        let place = blocks.place(&block.hash)?;
        Ok(place.map(|place| blocks.forest().bottom(place)))
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
    pub(crate) fn ancestor(
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
