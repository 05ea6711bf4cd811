//! Which blocks descend from which.
//!
//! Enters: what is sealed, and rank, parent and weight of every block of a chain that is not. Leaves:
//! the heaviest block, sets of ancestors in descending order, what to seal next, and of blocks of
//! many chains the heaviest [`cut`]. Knows no bytes and no disk.
//!
//! - `I-1` Two blocks are linked if one names the other as its parent and is one higher; in what
//!   order they came does not matter.
//! - `I-2` A set of ancestors equals that of walking every parent, one by one.
//! - `I-3` What is sealed changes no answer.

mod ancestors;
mod count;
pub mod cut;
#[cfg(test)]
mod drawn;
mod forest;
mod meet;
mod nodes;
mod persistent;
mod seal;
mod trunk;

use std::sync::Arc;

pub use ancestors::{Ancestors, Part};
pub use forest::{Forest, NodeId, Place};
pub use seal::{Sealing, Step};
pub use trunk::Trunk;

use crate::types::ChainId;

/// The forests of all chains.
///
/// Cheap to clone: a clone is a view that later insertions do not change.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    forests: Vec<Arc<Forest>>,
}

impl Tree {
    /// The tree of these forests, by ascending chain from 0 on.
    #[must_use]
    pub fn new(forests: Vec<Forest>) -> Self {
        Self { forests: forests.into_iter().map(Arc::new).collect() }
    }

    /// The forest of `chain`, if the tree has it.
    #[must_use]
    pub fn forest(&self, chain: ChainId) -> Option<&Arc<Forest>> {
        self.forests.get(chain.index())
    }

    /// The forest of `chain` to insert into; if a view still holds it, a clone that shares its nodes.
    pub fn forest_mut(&mut self, chain: ChainId) -> Option<&mut Forest> {
        self.forests.get_mut(chain.index()).map(Arc::make_mut)
    }

    /// Every chain with its forest, by ascending chain.
    pub fn iter(&self) -> impl Iterator<Item = (ChainId, &Arc<Forest>)> {
        (0..).map(ChainId::new).zip(&self.forests)
    }
}
