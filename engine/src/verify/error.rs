use std::fmt;

use thiserror::Error;

use crate::types::{BlockHash, BlockHeight, ChainId};

/// A rule that a header breaks; named as the reference's `ValidationFailureType` where it has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// The stated block hash is not the Merkle root of the header.
    #[error("block hash is {got}, expected {expected}")]
    IncorrectHash {
        /// The hash that the header states.
        got: BlockHash,
        /// The hash of its fields.
        expected: BlockHash,
    },
    /// The proof-of-work hash exceeds the target.
    #[error("proof-of-work hash {got} exceeds the target")]
    IncorrectPow {
        /// The proof-of-work hash, most significant byte first, in base64url.
        got: BlockHash,
    },
    /// The height is not one above that of the parent.
    #[error("height is {got}, but that of the parent is {parent}")]
    IncorrectHeight {
        /// The height that the header states.
        got: BlockHeight,
        /// The height of its parent.
        parent: BlockHeight,
    },
    /// The network is not that of the store or of the parent.
    #[error("network code is {got}, expected {expected}")]
    VersionMismatch {
        /// The code that the header states.
        got: u32,
        /// The code of the network.
        expected: u32,
    },
    /// The chain is not that of the parent.
    #[error("chain is {got}, but that of the parent is {parent}")]
    ChainMismatch {
        /// The chain that the header states.
        got: ChainId,
        /// The chain of its parent.
        parent: ChainId,
    },
    /// The adjacent parents are not on the chains that the graph joins to this one.
    #[error("adjacent parents are on chains {}, {} and {}", got[0], got[1], got[2])]
    AdjacentChainMismatch {
        /// The chains that the header states.
        got: [ChainId; 3],
    },
    /// The network has no such chain at this height.
    #[error("the network has no chain {got} at height {height}")]
    UnknownChain {
        /// The chain that the header states.
        got: ChainId,
        /// The height that the header states.
        height: BlockHeight,
    },
    /// The block below is not known.
    #[error("parent {parent} is not stored")]
    MissingParent {
        /// The hash that the header states.
        parent: BlockHash,
    },
}

impl Failure {
    /// The name of the rule.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::IncorrectHash { .. } => "IncorrectHash",
            Self::IncorrectPow { .. } => "IncorrectPow",
            Self::IncorrectHeight { .. } => "IncorrectHeight",
            Self::VersionMismatch { .. } => "VersionMismatch",
            Self::ChainMismatch { .. } => "ChainMismatch",
            Self::AdjacentChainMismatch { .. } => "AdjacentChainMismatch",
            Self::UnknownChain { .. } => "UnknownChain",
            Self::MissingParent { .. } => "MissingParent",
        }
    }
}

/// Every rule that a header breaks; at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Error)]
pub struct Failures(Vec<Failure>);

impl Failures {
    /// The rules, in the reference's order.
    pub fn iter(&self) -> impl Iterator<Item = &Failure> {
        self.0.iter()
    }

    /// Adds a rule, unless it stands there in the same words.
    pub(super) fn push(&mut self, failure: Failure) {
        if !self.0.contains(&failure) {
            self.0.push(failure);
        }
    }

    pub(super) fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, failure) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {failure}", failure.name())?;
        }
        Ok(())
    }
}
