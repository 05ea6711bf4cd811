use std::sync::Arc;

use arc_swap::ArcSwap;

use super::QueryError;
use crate::header::Header;
use crate::store::{Snapshot, Store};
use crate::tree::Tree;
use crate::types::{BlockHash, BlockHeight, ChainId, ChainwebVersion, Rank};

/// Answers queries. Cheap to clone; every clone reads the same database.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    tree: ArcSwap<Tree>,
}

impl Reader {
    pub(crate) fn new(store: Store, tree: Tree) -> Self {
        Self { shared: Arc::new(Shared { store, tree: ArcSwap::from_pointee(tree) }) }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Shows a new tree to views that are made from now on. Its blocks must be on disk.
    pub(crate) fn publish(&self, tree: Tree) {
        self.shared.tree.store(Arc::new(tree));
    }

    /// The network of the database.
    #[must_use]
    pub fn version(&self) -> ChainwebVersion {
        self.shared.store.meta().version
    }

    /// What the database says of itself.
    #[must_use]
    pub fn meta(&self) -> crate::store::Meta {
        self.shared.store.meta()
    }

    /// An immutable view of the database as it is now.
    ///
    /// Reads from it block. Made for one page, not to be held: RocksDB keeps what it shows.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        // The tree first: its blocks are on disk, so the snapshot, being later, has them all.
        let tree = self.shared.tree.load_full();
        View { tree, snapshot: self.shared.store.snapshot(), version: self.version() }
    }
}

/// The database at one moment.
pub struct View<'a> {
    pub(super) tree: Arc<Tree>,
    pub(super) snapshot: Snapshot<'a>,
    pub(super) version: ChainwebVersion,
}

impl View<'_> {
    /// The header of the block with this hash, if `chain` has it.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`].
    pub fn header(&self, chain: ChainId, hash: &BlockHash) -> Result<Option<Header>, QueryError> {
        match self.rank(chain, hash)? {
            Some(rank) => Ok(self.snapshot.header(chain, rank)?),
            None => Ok(None),
        }
    }

    /// The heaviest block of `chain`, if it has any.
    #[must_use]
    pub fn tip(&self, chain: ChainId) -> Option<Rank> {
        let forest = self.tree.forest(chain)?;
        forest.tip().map(|id| forest.rank(id))
    }

    /// The number of blocks of `chain`.
    #[must_use]
    pub fn block_count(&self, chain: ChainId) -> usize {
        self.tree.forest(chain).map_or(0, |forest| forest.len())
    }

    /// The number of blocks of each level below [`Level::Full`](crate::verify::Level::Full).
    ///
    /// # Cost
    ///
    /// One scan of those blocks.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`].
    pub fn count_levels(&self) -> Result<[u64; 2], QueryError> {
        Ok(self.snapshot.count_levels()?)
    }

    /// The number of blocks that wait for a parent or an adjacent parent.
    ///
    /// # Cost
    ///
    /// One scan of those blocks.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`].
    pub fn count_pending(&self) -> Result<u64, QueryError> {
        Ok(self.snapshot.count_pending()?)
    }

    /// The lowest height of `chain` that has a block, if any.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`].
    pub fn lowest(&self, chain: ChainId) -> Result<Option<BlockHeight>, QueryError> {
        let mut lowest = None;
        let from = crate::store::From::Height(BlockHeight::new(0));
        self.snapshot.ascend(chain, from, BlockHeight::new(u64::MAX), |header| {
            lowest = Some(header.height());
            std::ops::ControlFlow::Break(())
        })?;
        Ok(lowest)
    }

    pub(super) fn rank(
        &self,
        chain: ChainId,
        hash: &BlockHash,
    ) -> Result<Option<Rank>, QueryError> {
        let place = self.snapshot.place(hash)?.filter(|(on, _)| *on == chain);
        Ok(place.map(|(_, height)| Rank { height, hash: *hash }))
    }
}
