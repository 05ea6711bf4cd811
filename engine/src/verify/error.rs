use std::fmt;

use thiserror::Error;

use crate::types::{BlockHash, BlockHeight, ChainId, Micros, Target, Weight};

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
    /// A genesis block has another target than its network gives it.
    #[error("a genesis block has another target")]
    IncorrectGenesisTarget,
    /// The block was made after the present time of whoever verifies.
    #[error("creation time {got} lies after the present time {now}")]
    BlockInTheFuture {
        /// The time that the header states.
        got: Micros,
        /// The time by the clock.
        now: Micros,
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
    /// The weight is not that of the parent and the difficulty of the block.
    #[error("weight is {got}, not that of the parent and the difficulty of the target")]
    IncorrectWeight {
        /// The weight that the header states.
        got: Weight,
    },
    /// The votes for a fork do not follow on those of the parents.
    #[error("fork votes are {got}, which do not follow on those of the parents")]
    InvalidForkVotes {
        /// The votes that the header states.
        got: u32,
    },
    /// The fork number is not that of the parent, or one more where votes decided so.
    #[error("fork number is {got}, expected {expected}")]
    IncorrectForkNumber {
        /// The number that the header states.
        got: u32,
        /// The number by the votes.
        expected: u32,
    },
    /// The epoch did not start then.
    #[error("{}", epoch(*got, *expected, *created))]
    IncorrectEpoch {
        /// The time that the header states.
        got: Micros,
        /// The time by the rules, if they give one; it must not lie after the creation time.
        expected: Option<Micros>,
        /// The creation time that the header states.
        created: Micros,
    },
    /// The target is not that of difficulty adjustment.
    #[error("target is {got}, expected {}", expected.map_or("none".to_owned(), |e| e.to_string()))]
    IncorrectTarget {
        /// The target that the header states.
        got: Target,
        /// The target by the rules, if they give one.
        expected: Option<Target>,
    },
    /// The block was not made after its parents.
    #[error("creation time {got} is not after those of the parents")]
    CreatedBeforeParent {
        /// The time that the header states.
        got: Micros,
    },
    /// An adjacent parent is on another chain than the header says.
    #[error("an adjacent parent is on another chain than the header says")]
    AdjacentParentChainMismatch,
    /// An adjacent parent is of another network.
    #[error("an adjacent parent is of another network")]
    InvalidAdjacentVersion,
    /// The chain begins with another genesis block than the network's.
    #[error(
        "the genesis block of chain {chain} is {got} here, and {expected} on the network of this name"
    )]
    OtherGenesis {
        /// The chain.
        chain: ChainId,
        /// The genesis block that the header is, or stands on.
        got: BlockHash,
        /// The genesis block of the network.
        expected: BlockHash,
    },
    /// A block below on a neighbouring chain is not known.
    #[error("adjacent parent {hash} on chain {chain} is not stored")]
    MissingAdjacentParent {
        /// The neighbouring chain.
        chain: ChainId,
        /// The hash that the header states.
        hash: BlockHash,
    },
    /// The block below is not known.
    #[error("parent {parent} is not stored")]
    MissingParent {
        /// The hash that the header states.
        parent: BlockHash,
    },
}

/// What is wrong with the start of an epoch.
fn epoch(got: Micros, expected: Option<Micros>, created: Micros) -> String {
    match expected {
        None => format!("epoch start is {got}, expected none"),
        Some(expected) if expected != got => format!("epoch start is {got}, expected {expected}"),
        Some(_) if got > created => {
            format!("epoch start {got} lies after the creation time {created}")
        }
        Some(_) => format!("epoch start {got} lies before that of the parent"),
    }
}

impl Failure {
    /// Whether it is no more than that a block below is not there, and may come.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::MissingParent { .. } | Self::MissingAdjacentParent { .. })
    }

    /// The name of the rule.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::IncorrectHash { .. } => "IncorrectHash",
            Self::IncorrectPow { .. } => "IncorrectPow",
            Self::IncorrectGenesisTarget => "IncorrectGenesisTarget",
            Self::BlockInTheFuture { .. } => "BlockInTheFuture",
            Self::IncorrectWeight { .. } => "IncorrectWeight",
            Self::InvalidForkVotes { .. } => "InvalidForkVotes",
            Self::IncorrectForkNumber { .. } => "IncorrectForkNumber",
            Self::IncorrectEpoch { .. } => "IncorrectEpoch",
            Self::IncorrectTarget { .. } => "IncorrectTarget",
            Self::CreatedBeforeParent { .. } => "CreatedBeforeParent",
            Self::AdjacentParentChainMismatch => "AdjacentParentChainMismatch",
            Self::InvalidAdjacentVersion => "InvalidAdjacentVersion",
            Self::OtherGenesis { .. } => "OtherGenesis",
            Self::MissingAdjacentParent { .. } => "MissingAdjacentParent",
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
    /// Whether no rule is broken.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rules, in the reference's order.
    pub fn iter(&self) -> impl Iterator<Item = &Failure> {
        self.0.iter()
    }

    pub(super) fn push(&mut self, failure: Failure) {
        self.0.push(failure);
    }

    /// Adds a rule, unless it stands there in the same words.
    pub(super) fn push_once(&mut self, failure: Failure) {
        if !self.0.contains(&failure) {
            self.0.push(failure);
        }
    }

    pub(super) fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl From<Failure> for Failures {
    fn from(failure: Failure) -> Self {
        Self(vec![failure])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_epoch_says_what_is_wrong() {
        let text = |got, expected: Option<i64>, created| {
            epoch(Micros::new(got), expected.map(Micros::new), Micros::new(created))
        };
        assert_eq!(text(5, Some(4), 9), "epoch start is 5, expected 4");
        assert_eq!(text(5, None, 9), "epoch start is 5, expected none");
        assert_eq!(text(5, Some(5), 4), "epoch start 5 lies after the creation time 4");
        assert_eq!(text(5, Some(5), 5), "epoch start 5 lies before that of the parent");
    }
}
