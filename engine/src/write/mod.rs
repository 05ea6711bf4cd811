//! [`Verified`] → disk: the one way in.
//!
//! Enters: verified headers. Leaves: a committed batch, then a tree that has its blocks.
//!
//! - `I-1` A commit is one batch; memory changes after disk.
//! - `I-2` A block is stored once: what is held already is not written again.

mod error;

pub use error::WriteError;

use std::mem;

use hashbrown::HashMap;

use crate::header::{Header, HeaderRef};
use crate::query::Reader;
use crate::store::{Batch, History, Pending, Store};
use crate::tree::Tree;
use crate::types::{BlockHash, ChainwebVersion};
use crate::verify::Verified;

/// Adds blocks to a database. There is one for each open database.
pub struct Writer {
    reader: Reader,
    /// What is on disk; ahead of what `reader` shows until [`Writer::publish`].
    tree: Tree,
    batch: Batch,
    /// The blocks of `batch`, in the order they came.
    staged: Vec<BlockHash>,
    /// The blocks of this batch and of the last one, by hash: where most parents are.
    recent: HashMap<BlockHash, Header>,
}

impl Writer {
    pub(crate) fn new(reader: Reader, tree: Tree) -> Self {
        let (batch, staged, recent) = (Batch::default(), Vec::new(), HashMap::new());
        Self { reader, tree, batch, staged, recent }
    }

    /// The network of the database.
    #[must_use]
    pub fn version(&self) -> ChainwebVersion {
        self.reader.version()
    }

    /// Whether the block is stored or staged.
    #[must_use]
    pub fn holds(&self, header: HeaderRef<'_>) -> bool {
        let forest = self.tree.forest(header.chain());
        self.recent.contains_key(&header.hash())
            || forest.is_some_and(|forest| forest.find(&header.hash()).is_some())
    }

    /// The block with this hash, if it is stored or staged; on any chain, at any height: whether
    /// that is right is for [`verify`](crate::verify) to say.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`].
    pub fn find(&self, hash: BlockHash) -> Result<Option<Header>, WriteError> {
        if let Some(header) = self.recent.get(&hash) {
            return Ok(Some(*header));
        }
        Ok(self.store().snapshot().find(hash)?)
    }

    /// Puts a block aside until its parents are there, with the next commit. `place` says where in
    /// its input it stood.
    pub fn defer(&mut self, header: HeaderRef<'_>, place: &str) {
        self.batch.put_pending(self.reader.store(), header, place);
    }

    /// Takes a block back that was put aside, with the next commit.
    pub fn take_back(&mut self, header: HeaderRef<'_>) {
        self.batch.delete_pending(self.reader.store(), header);
    }

    /// Some of the blocks that are put aside, by ascending height, from behind `after` on.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`].
    pub fn pending(
        &self,
        after: Option<HeaderRef<'_>>,
        blocks_max: usize,
    ) -> Result<Vec<Pending>, WriteError> {
        Ok(self.store().snapshot().pending(after, blocks_max)?)
    }

    /// Takes a block for the next commit. It must not be held.
    pub fn stage(&mut self, verified: Verified<'_>) {
        let header = verified.header();
        self.batch.put_block(self.reader.store(), verified);
        self.recent.insert(header.hash(), header.to_owned());
        self.staged.push(header.hash());
    }

    /// Takes a block for the next commit that begins a part of the history.
    pub fn stage_root(&mut self, verified: Verified<'_>) {
        self.stage(verified);
        if self.store().meta().history == History::Full {
            self.batch.put_partial(self.reader.store());
        }
    }

    /// Writes what is staged, whole or not at all; returns how many blocks that were.
    ///
    /// They outlive a crash of the process from now on, and one of the machine after
    /// [`Writer::sync`].
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`], for example when the disk is full. What was staged is dropped then.
    pub fn commit(&mut self) -> Result<usize, WriteError> {
        let (staged, batch) = (mem::take(&mut self.staged), mem::take(&mut self.batch));
        if let Err(error) = self.store().write(batch) {
            self.recent.clear();
            return Err(error.into());
        }
        let mut recent = HashMap::with_capacity(staged.len());
        for hash in &staged {
            let Some(header) = self.recent.remove(hash) else { continue };
            let view = header.view();
            if let Some(forest) = self.tree.forest_mut(view.chain()) {
                forest.insert(view.rank(), view.parent(), view.weight());
            }
            recent.insert(*hash, header);
        }
        self.recent = recent;
        Ok(staged.len())
    }

    /// Returns when all that was committed outlives a crash of the machine.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`].
    pub fn sync(&self) -> Result<(), WriteError> {
        Ok(self.store().sync()?)
    }

    /// Shows what was committed to views that are made from now on.
    ///
    /// # Cost
    ///
    /// The next commit copies the forests that the published tree shares.
    pub fn publish(&self) {
        self.reader.publish(self.tree.clone());
    }

    fn store(&self) -> &Store {
        self.reader.store()
    }
}
