use super::NodeId;
use crate::types::{BlockHash, BlockHeight};

/// The straight part of a chain that is sealed: one block at each height from `first` on, each the
/// parent of the next. A block of it is known by its height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trunk {
    pub(super) first: BlockHeight,
    /// The height behind the last block.
    pub(super) end: BlockHeight,
    /// What the first block names as its parent.
    pub(super) parent: BlockHash,
    /// That parent, once it is held; it is a node, since what is sealed is the trunk.
    pub(super) below: Option<NodeId>,
}

impl Trunk {
    /// The trunk of the heights from `first` up to `end`, which is not in it.
    #[must_use]
    pub const fn new(first: BlockHeight, end: BlockHeight, parent: BlockHash) -> Self {
        Self { first, end, parent, below: None }
    }

    /// The lowest height.
    #[must_use]
    pub const fn first(&self) -> BlockHeight {
        self.first
    }

    /// The height behind the last block.
    #[must_use]
    pub const fn end(&self) -> BlockHeight {
        self.end
    }

    /// What the first block names as its parent.
    #[must_use]
    pub const fn parent(&self) -> BlockHash {
        self.parent
    }

    /// Whether that parent is held, right below.
    #[must_use]
    pub const fn is_joined(&self) -> bool {
        self.below.is_some()
    }

    /// Whether there is a block of the trunk at `height`.
    #[must_use]
    pub fn contains(&self, height: BlockHeight) -> bool {
        (self.first..self.end).contains(&height)
    }

    /// The number of blocks.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.end.get().saturating_sub(self.first.get())
    }

    /// Whether there is no block.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
