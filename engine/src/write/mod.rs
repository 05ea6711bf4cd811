//! [`Verified`] → disk: the one way in.
//!
//! Enters: verified headers. Leaves: a committed batch, then a tree that has its blocks.
//!
//! - `I-1` A commit is one batch; memory changes after disk.
//! - `I-2` A block is stored once: what is held already is not written again.
//! - `I-3` Between two batches a block is in `loose` or in `trunk`, never in neither or in both.

mod error;
mod seal;

pub use error::WriteError;

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::header::{Header, HeaderRef};
use crate::query::{Blocks, Reader};
use crate::store::{Batch, History, Pending, Snapshot, Store, StoreError};
use crate::tree::{Place, Tree};
use crate::types::{BlockHash, ChainwebVersion};
use crate::verify::Verified;

/// Adds blocks to a database. There is one for each open database.
pub struct Writer {
    reader: Reader,
    /// What is on disk; ahead of what `reader` shows until [`Writer::publish`].
    tree: Tree,
    /// Of what is on disk, for lookups.
    snapshot: Snapshot,
    /// Heights at the tip that are not sealed.
    window: u64,
    batch: Batch,
    /// The blocks of `batch`, in the order they came.
    staged: Vec<BlockHash>,
    /// The blocks of this batch and of the last one, by hash: where most parents are.
    recent: HashMap<BlockHash, Header>,
}

impl Writer {
    pub(crate) fn new(reader: Reader, tree: Tree, window: u64) -> Self {
        let (batch, staged, recent) = (Batch::default(), Vec::new(), HashMap::new());
        let snapshot = reader.store().snapshot();
        Self { reader, tree, snapshot, window, batch, staged, recent }
    }

    /// The network of the database.
    #[must_use]
    pub fn version(&self) -> ChainwebVersion {
        self.reader.version()
    }

    /// Whether the block is stored or staged.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`].
    pub fn holds(&self, header: HeaderRef<'_>) -> Result<bool, WriteError> {
        let (chain, hash) = (header.chain(), header.hash());
        if self.recent.contains_key(&hash) {
            return Ok(true);
        }
        let Some(forest) = self.tree.forest(chain) else { return Ok(false) };
        let may_be_sealed = forest.trunk().is_some_and(|trunk| trunk.contains(header.height()));
        Ok(forest.find(&hash).is_some()
            || (may_be_sealed && self.snapshot.place(&hash)? == Some((chain, header.height()))))
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
        let Some((chain, _)) = self.snapshot.place(&hash)? else { return Ok(None) };
        let forest = self.tree.forest(chain).ok_or_else(|| StoreError::lost(&hash))?;
        let blocks = Blocks::new(chain, forest, &self.snapshot);
        let place = blocks.place(&hash)?;
        Ok(place.map(|place| blocks.header(place)).transpose()?)
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
        Ok(self.snapshot.pending(after, blocks_max)?)
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

    /// Writes what is staged, whole or not at all, and seals what is buried deep by it; returns how
    /// many blocks were written.
    ///
    /// They outlive a crash of the process from now on, and one of the machine after
    /// [`Writer::sync`].
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`], for example when the disk is full. What was staged is dropped then,
    /// unless it was the sealing that failed.
    pub fn commit(&mut self) -> Result<usize, WriteError> {
        let (staged, batch) = (mem::take(&mut self.staged), mem::take(&mut self.batch));
        if let Err(error) = self.store().write(batch) {
            self.recent.clear();
            return Err(error.into());
        }
        self.snapshot = self.store().snapshot();
        let mut recent = HashMap::with_capacity(staged.len());
        let mut chains = BTreeSet::new();
        for hash in &staged {
            let Some(header) = self.recent.remove(hash) else { continue };
            self.insert(header.view())?;
            chains.insert(header.view().chain());
            recent.insert(*hash, header);
        }
        self.recent = recent;
        let sealed = chains.into_iter().try_for_each(|chain| self.seal(chain));
        self.snapshot = self.store().snapshot();
        sealed.map(|()| staged.len())
    }

    /// Adds a block that is on disk to the tree.
    fn insert(&mut self, header: HeaderRef<'_>) -> Result<(), WriteError> {
        let (chain, rank, parent) = (header.chain(), header.rank(), header.parent());
        let Some(forest) = self.tree.forest(chain) else { return Ok(()) };
        let mut on_trunk = false;
        if let Some(below) = rank.height.parent()
            && forest.may_stand_on_trunk(rank.height, &parent)
        {
            // That the parent is stored is not enough: it may come next in this very commit.
            let blocks = Blocks::new(chain, forest, &self.snapshot);
            on_trunk = blocks.rank(Place::Trunk(below))?.hash == parent;
        }
        let Some(forest) = self.tree.forest_mut(chain) else { return Ok(()) };
        if on_trunk {
            forest.insert_on_trunk(rank, header.weight());
        } else {
            forest.insert(rank, parent, header.weight());
        }
        Ok(())
    }

    /// Returns when all that was committed outlives a crash of the machine.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`].
    pub fn sync(&self) -> Result<(), WriteError> {
        Ok(self.store().sync()?)
    }

    /// Returns when all that was committed is in tables: the next one to open the database has no
    /// log to read.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`].
    pub fn flush(&self) -> Result<(), WriteError> {
        Ok(self.store().flush()?)
    }

    /// Shows what was committed to views that are made from now on.
    ///
    /// # Cost
    ///
    /// The next commit copies the forests that the published tree shares.
    pub fn publish(&self) {
        self.reader.publish(self.tree.clone());
    }

    fn store(&self) -> &Arc<Store> {
        self.reader.store()
    }
}
