use thiserror::Error;

use crate::cause::Classified;
use crate::payload::PayloadError;
use crate::store::{IndexOf, StoreError};
use crate::types::{BlockHash, BlockHeight, ChainId, PayloadHash};

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
    /// A chain cannot be loaded when its database is opened: only a verification opens such a
    /// database.
    #[error("chain {chain} cannot be opened: {error}")]
    Unopened {
        /// The chain.
        chain: ChainId,
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
    /// A payload is not in the index of payloads, or is there with another place.
    #[error("chain {chain}, height {height}, payload {hash} is not in the index of payloads")]
    PayloadNotIndexed {
        /// The chain.
        chain: ChainId,
        /// The height.
        height: BlockHeight,
        /// The payload.
        hash: PayloadHash,
    },
    /// The index of payloads says where one is, and it is not held there.
    #[error(
        "the index of payloads has {hash} on chain {chain} at height {height}, where it is not"
    )]
    PayloadNotHeld {
        /// The chain.
        chain: ChainId,
        /// The height.
        height: BlockHeight,
        /// The payload.
        hash: PayloadHash,
    },
    /// Parts of an index differ from what is held, beside those that rows were named of.
    #[error("{parts} more parts of the index of {}, of 4096, differ from what is held", of.name())]
    Parts {
        /// Which index.
        of: IndexOf,
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
    /// `sums` does not say what the blocks of a run come to, or says it where there is none.
    #[error("chain {chain}, height {height}: sums are not those of the run that begins there")]
    Sums {
        /// The chain.
        chain: ChainId,
        /// Where the run begins.
        height: BlockHeight,
    },
    /// A payload is not what its hashes say.
    #[error("chain {chain}, height {height}, payload {hash}: {error}")]
    Payload {
        /// The chain.
        chain: ChainId,
        /// The height.
        height: BlockHeight,
        /// The payload.
        hash: PayloadHash,
        /// Which hash is wrong.
        error: PayloadError,
    },
    /// There is a payload, and no block there has it.
    #[error("chain {chain}, height {height}: no block has the payload {hash}")]
    NoBlock {
        /// The chain.
        chain: ChainId,
        /// The height.
        height: BlockHeight,
        /// The payload.
        hash: PayloadHash,
    },
    /// There is what a block carries that waits for its parents, and no such block.
    #[error("chain {chain}, height {height}: what the waiting block {hash} carries, without it")]
    NotPending {
        /// The chain.
        chain: ChainId,
        /// The height.
        height: BlockHeight,
        /// The block.
        hash: BlockHash,
    },
    /// The log was damaged when the database was opened: what had been written behind that is lost.
    #[error("the log: {error}")]
    Log {
        /// What RocksDB says.
        error: String,
    },
    /// There are rows that are in none of the column families that a database has.
    #[error("{rows} rows in the column family default, which should have none")]
    Foreign {
        /// How many.
        rows: u64,
    },
}

impl Flaw {
    /// The flaw, unless it is an error that says nothing of the data: see
    /// [`Cause::is_of_data`](crate::cause::Cause::is_of_data).
    pub(super) fn of_data(self) -> Result<Self, StoreError> {
        match self {
            Self::Unreadable { error, .. } | Self::Unopened { error, .. }
                if !error.fault().cause.is_of_data() =>
            {
                Err(error)
            }
            flaw => Ok(flaw),
        }
    }

    /// What kind it is, in a word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreadable { .. }
            | Self::Unopened { .. }
            | Self::Log { .. }
            | Self::Foreign { .. } => "damaged",
            Self::Twice { .. } => "twice",
            Self::NotIndexed { .. }
            | Self::NotHeld { .. }
            | Self::PayloadNotIndexed { .. }
            | Self::PayloadNotHeld { .. }
            | Self::Parts { .. } => "index",
            Self::Payload { .. } | Self::NoBlock { .. } | Self::NotPending { .. } => "payload",
            Self::Level { .. } => "levels",
            Self::Sums { .. } => "statistics",
        }
    }
}

fn name(hash: Option<&BlockHash>) -> String {
    hash.map(|hash| format!(", {hash}")).unwrap_or_default()
}
