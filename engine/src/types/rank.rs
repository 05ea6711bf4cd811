use super::{BlockHash, BlockHeight};

/// The place of a block in the order of its chain: by height, then by hash.
///
/// The one order of the project: of keys, of pages, of cursors and between siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// Blocks above genesis.
    pub height: BlockHeight,
    /// The block.
    pub hash: BlockHash,
}
