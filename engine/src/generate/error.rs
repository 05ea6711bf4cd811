use thiserror::Error;

use crate::types::{BlockHeight, ChainId, ChainwebVersion};

/// A plan that no history can follow.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PlanError {
    /// The blocks above would take too much work: new chains begin with the target of the real
    /// network.
    #[error(
        "{version} can be generated up to height {max}, not {got}: chains 10 to 19 begin there \
         with a target that takes {hashes} hashes a block"
    )]
    Work {
        /// The network.
        version: ChainwebVersion,
        /// Heights asked for.
        got: u64,
        /// The last height that can be mined.
        max: u64,
        /// What one block takes, in words.
        hashes: &'static str,
    },
    /// The last blocks would be made after the end of 2025: to whoever verifies they might lie in
    /// the future.
    #[error(
        "{version} can be generated up to height {max}, not {got}: at 30 seconds a block, later \
         ones would lie in the future"
    )]
    Time {
        /// The network.
        version: ChainwebVersion,
        /// Heights asked for.
        got: u64,
        /// The last height that is made in time.
        max: u64,
    },
    /// The rate of orphans is negative, absurd or no number.
    #[error("there can be 0 to {max} orphans for each canonical block, not {got}")]
    Forks {
        /// The rate asked for.
        got: f64,
        /// The greatest rate.
        max: f64,
    },
    /// Random branches would have no block.
    #[error("a branch has at least one block")]
    ForkDepth,
    /// The share of the blocks that vote is none.
    #[error("0 to 1 of the blocks can vote for a fork, not {got}")]
    Votes {
        /// The share asked for.
        got: f64,
    },
    /// A branch leaves a chain where it has no mined block, or is longer than the canonical one.
    #[error(
        "a branch of {depth} blocks from height {height} of chain {chain} does not fit: it must \
         leave a mined block, and end below the last height"
    )]
    Branch {
        /// The chain.
        chain: ChainId,
        /// The height of the first block of the branch.
        height: BlockHeight,
        /// Blocks of the branch.
        depth: u64,
    },
}
