use std::collections::HashSet;

use super::Rejection;
use crate::types::{BlockHash, BlockHeight};

/// Which blocks may be stored without the blocks below them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// None but the network's genesis blocks.
    #[default]
    Genesis,
    /// These blocks.
    Roots(HashSet<BlockHash>),
    /// Any block.
    Any,
}

impl Admission {
    pub(super) fn admits(&self, hash: BlockHash) -> bool {
        match self {
            Self::Genesis => false,
            Self::Roots(roots) => roots.contains(&hash),
            Self::Any => true,
        }
    }
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the present input that were read.
    pub position: u64,
    /// Bytes of the present input, if that is known.
    pub size: Option<u64>,
    /// The height of the last block that was stored.
    pub height: BlockHeight,
    /// What came of the records so far, of all inputs.
    pub summary: Summary,
}

/// What came of the records of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Blocks that were stored.
    pub stored: u64,
    /// Of those, the ones that were admitted without all the blocks below them, and so are not
    /// fully verified though the replay was to.
    pub partial: u64,
    /// Blocks that were stored before.
    pub known: u64,
    /// Of those, the ones that were not read again: an earlier replay had read up to there.
    pub skipped: u64,
    /// Blocks that wait for a parent or an adjacent parent.
    pub waiting: u64,
    /// Records that are wrong.
    pub rejected: u64,
    /// Lines of a log between JSON values that were skipped.
    pub log_lines: u64,
    /// Payloads that were stored, of blocks that were too or had been before.
    pub payloads: u64,
    /// Rows of another network, which were passed over.
    pub foreign: u64,
    /// Blocks whose payloads the input should have and does not.
    pub bare: u64,
    /// Whether it was asked to stop before the end.
    pub stopped: bool,
}

impl Summary {
    /// The number of records.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.stored.saturating_add(self.known).saturating_add(self.rejected)
    }
}

/// What an observer of a replay is told.
#[derive(Debug)]
pub enum Event<'a> {
    /// Records were read.
    Progress(Progress),
    /// At the end: some of the blocks that were held back for their parents have been verified.
    Held {
        /// Blocks verified so far.
        done: u64,
        /// Blocks that this replay has held back. `done` may exceed it: it also counts those of
        /// earlier replays.
        of: u64,
        /// Progress over all records.
        progress: Progress,
    },
    /// A record was not stored.
    Rejected(&'a Rejection<'a>),
    /// At the end, a block waits for one that did not come.
    Waiting(&'a Rejection<'a>),
    /// At the end, so many blocks are sorted into the hash index.
    Indexed(u64),
}
