//! [`Verified`](crate::verify::Verified) → disk: the one way in.
//!
//! Enters: verified headers, and what their blocks carry. Leaves: a committed batch, then a tree that
//! has its blocks.
//!
//! - `I-1` A commit is one batch; memory changes after disk.
//! - `I-2` A block is stored once: what is held already is not written again.
//! - `I-3` The payload of a block is in its batch, or in a later one. It is stored once, too.
//! - `I-4` Between two batches a block is in `loose` or in `trunk`, never in neither or in both.

mod bulk;
mod deferred;
mod error;
mod payloads;
mod seal;
mod stage;
mod starts;

pub use bulk::{Bulk, Held};
pub use error::WriteError;

use std::collections::BTreeSet;
use std::mem;
use std::path::Path;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::failpoint::reached;
use crate::header::{Header, HeaderRef};
use crate::query::{Blocks, Loaded, Members, Reader, Standing, load};
use crate::store::{Batch, Mark, MarkedAt, Snapshot, Store, StoreError};
use crate::tree::{Place, Tree};
use crate::types::{BlockHash, ChainId, ChainwebVersion};
use payloads::Payloads;
use starts::Starts;

/// Adds blocks to a database. There is one for each open database.
pub struct Writer {
    reader: Reader,
    store: Arc<Store>,
    /// What is on disk; ahead of what `reader` shows until [`Writer::publish`].
    tree: Tree,
    /// The heaviest cut of `tree`: the state that advances it, and its members.
    standing: Standing,
    cut: Option<Members>,
    /// Of what is on disk, for lookups.
    snapshot: Snapshot,
    /// Heights at the tip that are not sealed.
    window: u64,
    /// Chains that have blocks left to seal or to give back.
    unsettled: BTreeSet<ChainId>,
    batch: Batch,
    /// The blocks of `batch`, in the order they came.
    staged: Vec<BlockHash>,
    /// The blocks of this batch and of the last one, by hash: where most parents are.
    recent: HashMap<BlockHash, Header>,
    /// What comes with the next commit beside blocks.
    payloads: Payloads,
    /// Blocks that were admitted without all the blocks below them, once they are asked for.
    starts: Option<Starts>,
    /// While blocks come in order. What is above is as it was when that began.
    bulk: Option<Bulk>,
}

impl Writer {
    pub(crate) fn new(
        reader: Reader,
        tree: Tree,
        (standing, cut): (Standing, Option<Members>),
        window: u64,
    ) -> Self {
        let (batch, staged, recent) = (Batch::default(), Vec::new(), HashMap::new());
        let store = reader.store();
        let snapshot = store.snapshot();
        let payloads = Payloads::new(Arc::clone(&store));
        let (starts, bulk) = (None, None);
        Self {
            reader,
            store,
            tree,
            standing,
            cut,
            snapshot,
            window,
            unsettled: BTreeSet::new(),
            batch,
            staged,
            recent,
            payloads,
            starts,
            bulk,
        }
    }

    /// The network of the database.
    #[must_use]
    pub fn version(&self) -> ChainwebVersion {
        self.reader.version()
    }

    /// The folder of the database.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.reader.dir()
    }

    /// That the name of the folder still leads to this database: where it does not, nothing is written.
    ///
    /// # Errors
    ///
    /// [`StoreError::Displaced`].
    pub fn require_place(&self) -> Result<(), StoreError> {
        self.store.require_place()
    }

    /// What takes blocks that come in order, between [`Writer::begin_bulk`] and
    /// [`Writer::end_bulk`].
    pub const fn bulk(&mut self) -> Option<&mut Bulk> {
        self.bulk.as_mut()
    }

    /// Begins to take blocks in order, if that can be with what is stored; all that was staged must
    /// be committed. Until [`Writer::end_bulk`] nothing else of the writer may be used.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`].
    pub fn begin_bulk(&mut self) -> Result<bool, WriteError> {
        if self.bulk.is_none() {
            // What comes now is not in the log.
            self.store().sync()?;
            let lacked = self.lacked()?;
            self.bulk = Bulk::begin(self.store(), &self.tree, self.window, lacked)?;
        }
        Ok(self.bulk.is_some())
    }

    /// Commits what was taken in order, and goes back to taking blocks one by one; returns how many
    /// blocks were committed since the last time.
    ///
    /// # Cost
    ///
    /// One scan of what is not sealed.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`]. What was committed before stays.
    pub fn end_bulk(&mut self, mark: Option<Mark>) -> Result<usize, WriteError> {
        let Some(mut bulk) = self.bulk.take() else { return Ok(0) };
        let committed =
            bulk.commit(mark, false).and_then(|earlier| Ok(earlier.saturating_add(bulk.finish()?)));
        drop(bulk);
        self.reload()?;
        committed
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

    /// Writes what is staged, whole or not at all, and seals what is buried deep by it; returns how
    /// many blocks were written.
    ///
    /// They outlive a crash of the process from now on, and one of the machine after
    /// [`Writer::sync`].
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`], for example when the disk is full. What was staged is dropped then,
    /// unless it was the sealing that failed; views show neither until [`Writer::publish`].
    pub fn commit(&mut self) -> Result<usize, WriteError> {
        self.commit_sealing(u64::MAX)
    }

    /// Commits, and seals or gives back blocks until about this many were moved.
    fn commit_sealing(&mut self, moved_max: u64) -> Result<usize, WriteError> {
        if !self.is_indexed() {
            // Rows of the indexes are looked up from now on.
            self.index(&|_| ())?;
        }
        let (staged, mut batch) = (mem::take(&mut self.staged), mem::take(&mut self.batch));
        for (key, payload) in self.payloads.take() {
            batch.put_payload(self.store(), &key, &payload);
        }
        let stored = self.on_trunk(&staged).and_then(|on_trunk| {
            reached("commit/write/before");
            self.store().write(batch)?;
            reached("commit/write/after");
            Ok(on_trunk)
        });
        let on_trunk = stored.inspect_err(|_| {
            self.recent.clear();
            self.payloads.clear();
        })?;
        self.snapshot = self.store().snapshot();
        // From here on the tree has what the disk has, whatever else goes wrong.
        let mut recent = HashMap::with_capacity(staged.len());
        for hash in &staged {
            let Some(header) = self.recent.remove(hash) else { continue };
            let view = header.view();
            self.unsettled.insert(view.chain());
            self.note(view);
            if let Some(forest) = self.tree.forest_mut(view.chain()) {
                if on_trunk.contains(hash) {
                    forest.insert_on_trunk(view.rank(), view.weight());
                } else {
                    forest.insert(view.rank(), view.parent(), view.weight());
                }
            }
            recent.insert(*hash, header);
        }
        self.recent = recent;
        let sealed = self.seal(moved_max);
        self.snapshot = self.store().snapshot();
        self.cut = self.standing.settle(&self.tree, &self.snapshot, &self.recent);
        sealed.map(|()| staged.len())
    }

    /// Adds a block to the search for the cut, before it is added to the tree.
    fn note(&mut self, header: HeaderRef<'_>) {
        self.standing.add(header);
        let forest = self.tree.forest(header.chain());
        if forest.is_some_and(|forest| forest.is_awaited(&header.hash())) {
            self.standing.add_below(header.chain(), header.height());
        }
    }

    /// Those of the staged blocks whose parent is of the trunk of their chain.
    fn on_trunk(&self, staged: &[BlockHash]) -> Result<HashSet<BlockHash>, WriteError> {
        let mut on_trunk = HashSet::new();
        for hash in staged {
            let Some(header) = self.recent.get(hash).map(Header::view) else { continue };
            let (height, parent) = (header.height(), header.parent());
            if let Some(forest) = self.tree.forest(header.chain())
                && let Some(below) = height.parent()
                && forest.may_stand_on_trunk(height, &parent)
            {
                // That the parent is stored is not enough: it may be loose, and come with this one.
                let blocks = Blocks::new(header.chain(), forest, &self.snapshot);
                if blocks.rank(Place::Trunk(below))?.hash == parent {
                    on_trunk.insert(*hash);
                }
            }
        }
        Ok(on_trunk)
    }

    /// The number of blocks that are not on the heaviest branch of their chain.
    #[must_use]
    pub fn orphan_count(&self) -> u64 {
        self.tree.iter().map(|(_, forest)| forest.orphan_count()).sum()
    }

    /// Whether every block is in the hash index.
    #[must_use]
    pub fn is_indexed(&self) -> bool {
        self.store().is_indexed()
    }

    /// Sorts into the hash index what came in order; `progress` is told how many blocks were.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`].
    pub fn index(&mut self, progress: &(dyn Fn(u64) + Sync)) -> Result<(), WriteError> {
        self.store().index(progress)?;
        self.snapshot = self.store().snapshot();
        Ok(())
    }

    /// From how many rows on [`Writer::index`] sorts them into tables: that is faster where there are
    /// many, and changes nothing else.
    pub fn sort_from(&self, rows: usize) {
        self.store().sort_from(rows);
    }

    /// Up to where an input was read, if it was not read to its end.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`].
    pub fn mark(&self, input: &[u8; 32]) -> Result<Option<MarkedAt>, WriteError> {
        Ok(self.snapshot.mark(input)?)
    }

    /// Notes with the next commit up to where an input is read.
    pub fn put_mark(&mut self, mark: &Mark) {
        self.batch.put_mark(&self.store, mark);
    }

    /// Forgets with the next commit where an input was read up to.
    pub fn delete_mark(&mut self, input: &[u8; 32]) {
        self.batch.delete_mark(&self.store, input);
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

    /// Gives back the room of blocks that waited with what they carry, if none does any more.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`].
    pub fn tidy(&self) -> Result<(), WriteError> {
        Ok(self.store().tidy_pending()?)
    }

    /// Makes the commit visible to views that are made from now on. They share the forests, of which the next
    /// commits copy what they change.
    pub fn publish(&self) {
        self.reader.publish(self.tree.clone(), self.snapshot.clone(), self.cut.clone());
    }

    /// The same as [`Writer::publish`], also while blocks are taken in order, of which it shows what
    /// is committed.
    ///
    /// # Cost
    ///
    /// In order, one scan of what is not sealed.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`].
    pub fn show(&mut self) -> Result<(), WriteError> {
        if self.bulk.is_some() {
            self.reload()?;
        }
        self.publish();
        Ok(())
    }

    /// Takes snapshot and tree from the disk.
    fn reload(&mut self) -> Result<(), WriteError> {
        self.snapshot = self.store().snapshot();
        let (mut forests, mut ceilings) = (Vec::new(), Vec::new());
        for (chain, earlier) in self.tree.iter() {
            let Loaded { mut forest, ceiling } = load(&self.snapshot, chain)?;
            forest.follow(earlier);
            forests.push(forest);
            ceilings.push(ceiling);
        }
        self.tree = Tree::new(forests);
        let earlier = self.cut.as_deref().unwrap_or_default();
        self.standing = Standing::after(ceilings, &self.tree, &self.snapshot, earlier);
        self.cut = self.standing.settle(&self.tree, &self.snapshot, &HashMap::new());
        Ok(())
    }

    const fn store(&self) -> &Arc<Store> {
        &self.store
    }
}
