use super::Cursor;
use crate::types::{BlockHash, BlockHeight};

/// The heights that a result is cut to, both included; literally, without effect on bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heights {
    /// Nothing below it.
    pub min: Option<BlockHeight>,
    /// Nothing above it.
    pub max: Option<BlockHeight>,
}

impl Heights {
    /// Whether a block at `height` may be in the result.
    #[must_use]
    pub fn contain(self, height: BlockHeight) -> bool {
        self.min() <= height && height <= self.max()
    }

    /// The lowest height of the result.
    #[must_use]
    pub fn min(self) -> BlockHeight {
        self.min.unwrap_or_default()
    }

    /// The highest height of the result.
    #[must_use]
    pub fn max(self) -> BlockHeight {
        self.max.unwrap_or(BlockHeight::new(u64::MAX))
    }
}

/// Which branches of a chain are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The result has ancestors of these blocks, and the blocks themselves.
    pub upper: Vec<BlockHash>,
    /// The result has no ancestor of these blocks, nor the blocks themselves.
    pub lower: Vec<BlockHash>,
}

/// What an unknown lower bound does to a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownLower {
    /// It fails the query, as an unknown upper bound does.
    #[default]
    Refuse,
    /// It excludes nothing: the way of chainweb-node.
    Ignore,
}

/// A page of all blocks of a chain, orphans too, by ascending [`Rank`](crate::Rank).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeQuery {
    /// Heights of the result.
    pub heights: Heights,
    /// Where to begin.
    pub cursor: Option<Cursor>,
    /// Blocks at most.
    pub limit: usize,
}

/// A page of branches of a chain, by descending height.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BranchQuery {
    /// The branches.
    pub bounds: Bounds,
    /// Heights of the result.
    pub heights: Heights,
    /// Where to begin.
    pub cursor: Option<Cursor>,
    /// What an unknown lower bound does.
    pub unknown_lower: UnknownLower,
    /// Blocks at most.
    pub limit: usize,
}
