use std::time::Duration;

use http::StatusCode;
use plait_engine::{BlockHash, ChainId};
use thiserror::Error;

use crate::inlet::PushError;
use crate::metrics::FollowFailure;

/// Why following has stopped for now.
#[derive(Debug, Error)]
pub(super) enum FollowError {
    /// There is no connection, or it broke.
    #[error("no connection: {0}")]
    Connect(String),
    /// Nothing arrives, or too slowly.
    #[error("{path}: nothing came for {}", seconds(*time))]
    Timeout {
        /// The requested path.
        path: String,
        /// How long was waited.
        time: Duration,
    },
    /// The status is not a success.
    #[error("{path}: answered with {status}")]
    Status {
        /// The requested path.
        path: String,
        /// The status.
        status: StatusCode,
    },
    /// The node has no cut: a partial history before its first blocks.
    #[error("it has no blocks yet")]
    Empty,
    /// The node does not know a block that was requested by its hash.
    #[error("block {0} is not known there")]
    Unknown(BlockHash),
    /// A chain ends below the cut, or leaves out heights.
    #[error("it gave no block of chain {chain} at height {height}, which is below its cut")]
    Short {
        /// The chain.
        chain: ChainId,
        /// The first height without a block.
        height: u64,
    },
    /// The node lacks a part of the history that the database also lacks.
    #[error("{0}")]
    Partial(String),
    /// The node is of another network.
    #[error("its network is {got}, and that of the database is {expected}")]
    Network {
        /// The network that the node is of.
        got: String,
        /// The network of the database.
        expected: &'static str,
    },
    /// The answer is not what is promised.
    #[error("{path}: {wrong}")]
    Content {
        /// The requested path.
        path: String,
        /// What is wrong with the answer.
        wrong: String,
    },
    /// A block breaks the rules of the network.
    #[error("it gave a block that is wrong: {0}")]
    Rules(String),
    /// Its chains begin with other genesis blocks than the database has.
    #[error(
        "its genesis blocks differ from those of the database ({0}); to keep such a network, \
         replay a dump of it with --allow-partial into a new folder and follow into that"
    )]
    Genesis(String),
    /// Blocks do not stand on any that are stored.
    #[error("it gave blocks whose parents neither it nor the database has: {0}")]
    Unconnected(String),
    /// A block was made after the present time, by the clock of this machine.
    #[error("it gave a block of the future, or the clock of this machine is slow: {0}")]
    Clock(String),
    /// What was found is not stored.
    #[error(transparent)]
    Push(#[from] PushError),
    /// The database cannot be read or written.
    #[error("the database: {0}")]
    Store(String),
}

impl FollowError {
    pub(super) fn content(path: &str, wrong: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), wrong: wrong.into() }
    }

    /// Whether the error shows that the answering node is wrong: another node may answer better.
    pub(super) const fn is_lie(&self) -> bool {
        matches!(self, Self::Content { .. } | Self::Rules(_) | Self::Genesis(_))
    }

    /// Of which kind it is, for those who count.
    pub(super) const fn failure(&self) -> FollowFailure {
        match self {
            Self::Connect(_) => FollowFailure::Connect,
            Self::Timeout { .. } => FollowFailure::Timeout,
            Self::Status { .. } | Self::Empty => FollowFailure::Status,
            Self::Unknown(_) | Self::Content { .. } | Self::Short { .. } => FollowFailure::Content,
            Self::Partial(_) => FollowFailure::Partial,
            Self::Network { .. } | Self::Genesis(_) => FollowFailure::Network,
            Self::Rules(_) => FollowFailure::Rules,
            Self::Unconnected(_) => FollowFailure::Unconnected,
            Self::Clock(_) => FollowFailure::Clock,
            Self::Push(_) | Self::Store(_) => FollowFailure::Store,
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}
