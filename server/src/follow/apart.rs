use plait_engine::ChainwebVersion;
use thiserror::Error;

use super::error::FollowError;

/// Why a database is not in step: the text names the node.
#[derive(Debug, Error)]
pub enum Apart {
    /// The nodes hold only part of the history, and the database lacks what is below.
    #[error("{0}")]
    Partial(String),
    /// The node belongs to another network, or to one with other genesis blocks.
    #[error("{0}")]
    Network(String),
    /// The node sends blocks that this release refuses, and will refuse again.
    #[error("{0}")]
    Refused(String),
    /// A clock is wrong.
    #[error("{0}")]
    Clock(String),
    /// The headers are in step, and payloads are missing, of which all were asked for.
    #[error("{0}")]
    Payloads(String),
    /// Anything else, which may pass.
    #[error("{0}")]
    Other(String),
}

impl Apart {
    /// Why the node with this name could not be followed to its cut.
    pub(super) fn of(name: &str, error: &FollowError) -> Self {
        let text = if error.is_own() { error.to_string() } else { format!("{name}: {error}") };
        match error {
            FollowError::Partial(_) => Self::Partial(text),
            FollowError::Network { .. } | FollowError::Genesis(_) => Self::Network(text),
            FollowError::Rules(_) | FollowError::Content { .. } => Self::Refused(text),
            FollowError::Clock(_) => Self::Clock(text),
            FollowError::NoPayloads(_) => Self::Payloads(text),
            _ => Self::Other(text),
        }
    }
}

/// No node of a network is found.
#[derive(Debug)]
pub enum Unfit {
    /// Nodes report other networks: the URLs, and the names of the networks.
    Network(Vec<(String, String)>),
    /// No node reports its network in time; the text says why.
    Silent(String),
}

/// No node reports its network.
#[derive(Debug, Error)]
pub enum Unreported {
    /// There is no connection, or no answer.
    #[error("{0}")]
    Silent(String),
    /// A node answers something else.
    #[error("{0}")]
    Other(String),
}

impl Unreported {
    pub(super) fn of(name: &str, error: &FollowError) -> Self {
        let text = format!("{name}: {error}");
        if error.may_pass() { Self::Silent(text) } else { Self::Other(text) }
    }
}

/// The network with this name.
pub(super) fn known(name: &str) -> Result<ChainwebVersion, FollowError> {
    ChainwebVersion::from_name(name)
        .ok_or_else(|| FollowError::content("/info", format!("its network is {name:?}")))
}
