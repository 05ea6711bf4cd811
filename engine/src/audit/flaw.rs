use thiserror::Error;

use crate::store::StoreError;
use crate::types::{BlockHash, BlockHeight, ChainId};

/// What is wrong with a database, beside blocks that break rules.
#[derive(Debug, Error)]
pub enum Flaw {
    /// Rows that cannot be read, or that are not what their keys say.
    #[error("{place}: {error}")]
    Unreadable {
        /// The column family, and which part of it was being read.
        place: String,
        /// What the store says.
        error: StoreError,
    },
    /// A block is in `loose` and in `trunk`.
    #[error("chain {chain}, height {height}, block {hash} is in loose and in trunk")]
    Twice {
        /// The chain.
        chain: ChainId,
        /// The height.
        height: BlockHeight,
        /// The block.
        hash: BlockHash,
    },
    /// A block is held, and its hash is not in the hash index, or is there with another place.
    #[error("chain {chain}, height {height}, block {hash} is not in the hash index")]
    NotIndexed {
        /// The chain.
        chain: ChainId,
        /// The height.
        height: BlockHeight,
        /// The block.
        hash: BlockHash,
    },
    /// The hash index says where a block is, and it is not held there.
    #[error("the hash index has block {hash} on chain {chain} at height {height}, where it is not")]
    NotHeld {
        /// The chain.
        chain: ChainId,
        /// The height.
        height: BlockHeight,
        /// The block.
        hash: BlockHash,
    },
    /// Parts of the hash index differ from what is held, beside those that blocks were named of.
    #[error("{parts} more parts of the hash index, of 4096, differ from the blocks that are held")]
    Parts {
        /// How many.
        parts: usize,
    },
    /// `levels` says how far a block is verified that is not held.
    #[error("chain {chain}, height {height}: levels has a block that is not held{}", name(.hash.as_ref()))]
    Level {
        /// The chain.
        chain: ChainId,
        /// The height.
        height: BlockHeight,
        /// The block, if it has a row of its own.
        hash: Option<BlockHash>,
    },
    /// There are rows that are in none of the column families that a database has.
    #[error("{rows} rows in the column family default, which should have none")]
    Foreign {
        /// How many.
        rows: u64,
    },
}

impl Flaw {
    /// What kind it is, in a word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } | Self::Foreign { .. } => "damaged",
            Self::Twice { .. } => "twice",
            Self::NotIndexed { .. } | Self::NotHeld { .. } | Self::Parts { .. } => "index",
            Self::Level { .. } => "levels",
        }
    }
}

fn name(hash: Option<&BlockHash>) -> String {
    hash.map(|hash| format!(", {hash}")).unwrap_or_default()
}
