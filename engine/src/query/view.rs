use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::QueryError;
use super::blocks::Blocks;
use super::load::{Loaded, load};
use super::news::News;
use super::standing::{Members, Standing};
use crate::header::Header;
use crate::store::{Snapshot, Store, StoreError};
use crate::tree::{Tree, Trunk};
use crate::types::{BlockHash, BlockHeight, ChainId, ChainwebVersion, Rank};

/// Answers queries. Cheap to clone; every clone reads the same database.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

struct Shared {
    version: ChainwebVersion,
    dir: PathBuf,
    state: ArcSwap<State>,
    news: News,
    /// Whether it is refreshed periodically.
    is_replica: AtomicBool,
}

/// The published state: a tree, the snapshot that it was built from, and the heaviest cut.
struct State {
    tree: Tree,
    snapshot: Snapshot,
    /// `None` if the search for it could not read the disk.
    cut: Option<Members>,
    /// The number of states that were published before it.
    number: u64,
}

impl Reader {
    /// `cut` is the heaviest cut of the tree.
    pub(crate) fn new(
        store: &Arc<Store>,
        tree: Tree,
        snapshot: Snapshot,
        cut: Option<Members>,
    ) -> Self {
        let (version, dir) = (store.meta().version, store.dir().to_owned());
        let state = ArcSwap::from_pointee(State { tree, snapshot, cut, number: 0 });
        let is_replica = AtomicBool::new(false);
        let shared = Shared { version, dir, state, news: News::default(), is_replica };
        Self { shared: Arc::new(shared) }
    }

    /// The current store. A writer's stays the same; a [replica](crate::replica) replaces it.
    pub(crate) fn store(&self) -> Arc<Store> {
        Arc::clone(self.shared.state.load().snapshot.owner())
    }

    /// Publishes a tree, its snapshot and its heaviest cut to views that are created from now on.
    pub(crate) fn publish(&self, tree: Tree, snapshot: Snapshot, cut: Option<Members>) {
        // Only the owner of the database publishes, so there is no race.
        let number = self.shared.state.load().number.saturating_add(1);
        self.shared.state.store(Arc::new(State { tree, snapshot, cut, number }));
        self.shared.news.tell();
    }

    /// What is shown now.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.shared.state.load_full())
    }

    /// Marks it as refreshed periodically.
    pub(crate) fn expect_more(&self) {
        self.shared.is_replica.store(true, Ordering::Relaxed);
    }

    /// Waits until something is shown after [`Reader::shown`] was `seen`, if it is a replica; whether
    /// something was. A file that a view of a replica reads may be gone: the next view does not need it.
    #[must_use]
    pub fn wait_for_more(&self, seen: u64, limit: Duration) -> bool {
        if !self.shared.is_replica.load(Ordering::Relaxed) {
            return false;
        }
        let (sender, receiver) = channel();
        self.on_shown(seen, move || {
            // Who waited may have given up.
            let _ = sender.send(());
        });
        receiver.recv_timeout(limit).is_ok()
    }

    /// How many states were published. Views that are created from now on show them.
    #[must_use]
    pub fn shown(&self) -> u64 {
        self.shared.news.number()
    }

    /// Calls `listener` once, as soon as something is shown after [`Reader::shown`] was `seen`.
    ///
    /// # Cost
    ///
    /// The writer waits for it, so it should do no more than wake somebody.
    pub fn on_shown(&self, seen: u64, listener: impl FnOnce() + Send + 'static) {
        self.shared.news.listen(seen, Box::new(listener));
    }

    /// The network of the database.
    #[must_use]
    pub fn version(&self) -> ChainwebVersion {
        self.shared.version
    }

    /// What was wrong with the log of its database when that was opened.
    #[must_use]
    pub fn damaged_log(&self) -> Option<String> {
        self.store().damaged_log().map(str::to_owned)
    }

    /// The folder of the database, as it was named when it was opened.
    #[must_use]
    pub fn dir(&self) -> &std::path::Path {
        &self.shared.dir
    }

    /// That the name of its folder still leads to this database: see
    /// [`Store::require_place`](crate::store::Store::require_place).
    ///
    /// # Errors
    ///
    /// [`StoreError::Displaced`].
    pub fn require_place(&self) -> Result<(), StoreError> {
        self.store().require_place()
    }

    /// A RocksDB checkpoint in a new folder: unlike a [backup](crate::backup), not compared or
    /// synced.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn checkpoint(&self, to: &std::path::Path) -> Result<(), StoreError> {
        self.store().checkpoint(to)
    }

    /// What the database says of itself.
    #[must_use]
    pub fn meta(&self) -> crate::store::Meta {
        self.store().meta()
    }

    /// What the database is doing, for those who watch it.
    #[must_use]
    pub fn stats(&self) -> crate::store::StoreStats {
        self.store().stats()
    }

    /// How many flushes and compactions have failed since the database was opened.
    #[must_use]
    pub fn background_errors(&self) -> u64 {
        self.store().background_errors()
    }

    /// Whether the file system of the database can be written: see
    /// [`Store::probe`](crate::store::Store::probe).
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot.
    pub fn probe(&self) -> Result<(), StoreError> {
        self.store().probe()
    }

    /// Whether the database takes writes: see
    /// [`Store::probe_write`](crate::store::Store::probe_write).
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it does not.
    pub fn probe_write(&self) -> Result<(), StoreError> {
        self.store().probe_write()
    }

    /// An immutable view of the database as it is now.
    ///
    /// Reads from it block. Made for one page, not to be held: RocksDB keeps what it shows.
    #[must_use]
    pub fn view(&self) -> View {
        let state = self.shared.state.load_full();
        View { state, cached: None, version: self.version() }
    }
}

/// What was shown at one moment. It is kept as long as this, or a view of it.
pub(crate) struct Moment(Arc<State>);

impl Moment {
    /// Whether no view of it is left, if it is not shown any more.
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.0.tree
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.0.snapshot
    }

    pub(crate) fn store(&self) -> &Store {
        self.0.snapshot.owner()
    }

    pub(crate) fn cut(&self) -> Option<&Members> {
        self.0.cut.as_ref()
    }
}

/// The database at one moment.
#[derive(Clone)]
pub struct View {
    state: Arc<State>,
    /// The snapshot to read from, if it is another one than that of the state.
    cached: Option<Snapshot>,
    pub(super) version: ChainwebVersion,
}

impl View {
    /// The same view without disk reads: a query that needs one returns [`QueryError::Cold`].
    #[must_use]
    pub fn cached(self) -> Self {
        let cached = Some(self.state.snapshot.cached());
        Self { cached, ..self }
    }

    /// The number of states published before it. A view with a greater number has all its blocks.
    #[must_use]
    pub fn shown(&self) -> u64 {
        self.state.number
    }

    /// The layout of the database: see [`FORMAT_VERSION`](crate::store::FORMAT_VERSION).
    #[must_use]
    pub fn format_version(&self) -> u32 {
        self.snapshot().format_version()
    }

    /// The network of the database.
    #[must_use]
    pub const fn version(&self) -> ChainwebVersion {
        self.version
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        self.cached.as_ref().unwrap_or(&self.state.snapshot)
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.state.tree
    }

    /// The members of the heaviest cut; if there is none, the heaviest block of each chain.
    pub(super) fn heaviest_cut(&self) -> Result<Members, QueryError> {
        if let Some(cut) = &self.state.cut {
            return Ok(Arc::clone(cut));
        }
        if self.cached.is_some() {
            return Err(QueryError::Cold);
        }
        // The search at publication could not read the disk: search again to return the error.
        let snapshot = &self.state.snapshot;
        let (mut ceilings, mut forests) = (Vec::new(), Vec::new());
        for (chain, _) in self.tree().iter() {
            let Loaded { forest, ceiling } = load(snapshot, chain)?;
            forests.push(forest);
            ceilings.push(ceiling);
        }
        Standing::new(ceilings).settle_anew(&Tree::new(forests), snapshot)
    }

    /// Whether the heaviest cut has a block of `chain`; true for all if the cut is not known.
    pub(super) fn is_in_cut(&self, chain: ChainId) -> bool {
        let members = self.state.cut.as_ref();
        members.is_none_or(|members| members.iter().any(|(on, ..)| *on == chain))
    }

    /// The blocks of `chain`, if the network has it.
    pub(crate) fn blocks(&self, chain: ChainId) -> Option<Blocks<'_>> {
        let forest = self.tree().forest(chain)?;
        Some(Blocks::new(chain, forest, self.snapshot()))
    }

    /// The header of the block with this hash, if `chain` has it.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`] and [`QueryError::Cold`].
    pub fn header(&self, chain: ChainId, hash: &BlockHash) -> Result<Option<Header>, QueryError> {
        let Some(blocks) = self.blocks(chain) else { return Ok(None) };
        let place = blocks.place(hash)?;
        let header = place.map(|place| blocks.header(place)).transpose()?;
        match header {
            Some(header) if header.view().hash() != *hash => Err(StoreError::lost(hash).into()),
            header => Ok(header),
        }
    }

    /// The block with this hash, on whatever chain it is.
    ///
    /// # Errors
    ///
    /// As for [`View::header`].
    pub(crate) fn find(&self, hash: &BlockHash) -> Result<Option<Header>, QueryError> {
        let snapshot = self.snapshot();
        let found =
            snapshot.place(hash)?.map_or_else(|| snapshot.moved_place(hash), |at| Ok(Some(at)));
        found?.map_or(Ok(None), |(chain, _)| self.header(chain, hash))
    }

    /// The heaviest block of `chain`, if it has any.
    #[must_use]
    pub fn tip(&self, chain: ChainId) -> Option<Rank> {
        let forest = self.tree().forest(chain)?;
        forest.tip().map(|id| forest.rank(id))
    }

    /// The number of blocks of `chain`.
    #[must_use]
    pub fn block_count(&self, chain: ChainId) -> u64 {
        self.tree().forest(chain).map_or(0, |forest| forest.len())
    }

    /// The number of blocks of all chains.
    #[must_use]
    pub fn total_block_count(&self) -> u64 {
        self.tree().iter().map(|(_, forest)| forest.len()).sum()
    }

    /// The number of blocks of `chain` that are sealed.
    #[must_use]
    pub fn sealed_count(&self, chain: ChainId) -> u64 {
        self.trunk(chain).map_or(0, Trunk::len)
    }

    /// What of `chain` is sealed.
    pub(crate) fn trunk(&self, chain: ChainId) -> Option<&Trunk> {
        self.tree().forest(chain)?.trunk()
    }

    /// The lowest height of `chain` that has a block, if any.
    #[must_use]
    pub fn lowest(&self, chain: ChainId) -> Option<BlockHeight> {
        let forest = self.tree().forest(chain)?;
        let sealed = forest.trunk().map(Trunk::first);
        let node = forest.nodes_from(BlockHeight::new(0)).next();
        let node = node.map(|id| forest.rank(id).height);
        sealed.into_iter().chain(node).min()
    }
}
