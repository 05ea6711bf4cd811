//! A folder → [`Writer`] and [`Reader`].

use std::path::Path;
use std::sync::Arc;

use hashbrown::HashMap;
use rayon::prelude::*;
use thiserror::Error;

use crate::audit::Flaw;
use crate::cause::{Classified, Fault};
use crate::query::{Loaded, Reader, Standing, load};
use crate::store::{CacheSizes, History, IndexEntry, IndexOf, Meta, Presence, Store, StoreError};
use crate::tree::cut::Ceiling;
use crate::tree::{Forest, Sealing, Tree};
use crate::types::{ChainId, ChainwebVersion, Micros};
use crate::verify::{Level, Verifier};
use crate::write::Writer;

/// A database cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database is of another network than asked for.
    #[error("database belongs to network {got}, not {expected}")]
    Network {
        /// The network of the database.
        got: ChainwebVersion,
        /// The network that was asked for.
        expected: ChainwebVersion,
    },
}

impl Classified for OpenError {
    fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => error.fault(),
            Self::Network { .. } => Fault::OTHER,
        }
    }
}

/// The ways to open a database.
///
/// # Cost
///
/// All of them read every header that is in `loose` once, to rebuild the forests; of what is sealed
/// they read the first and the last run of each chain.
#[derive(Debug)]
pub struct Engine;

impl Engine {
    /// Opens the database in `dir` to read and write. If a replay was interrupted, what it left to
    /// be done for fast lookups is done now.
    ///
    /// # Errors
    ///
    /// [`OpenError::Store`] if there is none, it is not ours, in use, or damaged.
    pub fn open(dir: &Path) -> Result<(Writer, Reader), OpenError> {
        Self::open_with(dir, CacheSizes::default())
    }

    /// [`Engine::open`] with caches of these sizes.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_with(dir: &Path, sizes: CacheSizes) -> Result<(Writer, Reader), OpenError> {
        let store = Store::open_with(dir, sizes)?;
        store.index(&|_| ())?;
        Self::with(store, Sealing::default().window)
    }

    /// Whether `dir` has a database, of any kind. What an interrupted creation left is none.
    ///
    /// # Errors
    ///
    /// As for [`Presence::of`].
    pub fn exists(dir: &Path) -> Result<bool, OpenError> {
        Ok(Presence::of(dir)? == Presence::Present)
    }

    /// Ends with an error unless `dir` has a database of ours of which every file is there, but perhaps a
    /// log. It is not opened.
    ///
    /// # Errors
    ///
    /// As for [`Engine::open_read_only`].
    pub fn check(dir: &Path) -> Result<(), OpenError> {
        Ok(Store::check(dir)?)
    }

    /// Opens the database in `dir`, or makes it if there is none: of `version`, or of mainnet01 if
    /// that is not said. A new full history has the network's genesis blocks from the start.
    ///
    /// # Errors
    ///
    /// As for [`Engine::open`], and [`OpenError::Network`] if there is one of another network.
    pub fn open_or_create(
        dir: &Path,
        version: Option<ChainwebVersion>,
        history: History,
    ) -> Result<(Writer, Reader), OpenError> {
        Self::open_or_create_sealing(dir, version, history, Sealing::default())
    }

    /// [`Engine::open_or_create`] with other runs than the usual ones, and another window. A
    /// database keeps the length of its runs.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_or_create_sealing(
        dir: &Path,
        version: Option<ChainwebVersion>,
        history: History,
        sealing: Sealing,
    ) -> Result<(Writer, Reader), OpenError> {
        let store = match Store::open(dir) {
            Err(StoreError::Missing { .. } | StoreError::Unfinished { .. }) => {
                let version = version.unwrap_or(ChainwebVersion::Mainnet01);
                Self::create(dir, Meta { version, history, run_length: sealing.run_length })?
            }
            other => other?,
        };
        let got = store.meta().version;
        match version {
            Some(expected) if expected != got => Err(OpenError::Network { got, expected }),
            _ => Self::with(store, sealing.window),
        }
    }

    /// Opens the database in `dir` to read, as it is now. Others may have it open.
    ///
    /// # Errors
    ///
    /// As for [`Engine::open`].
    pub fn open_read_only(dir: &Path) -> Result<Reader, OpenError> {
        Self::read_only(Store::open_read_only(dir)?)
    }

    /// The same, to verify the database: a chain that cannot be loaded because of damage is
    /// opened without its blocks, which [`Audit`](crate::audit::Audit) reads for itself.
    ///
    /// # Errors
    ///
    /// As for [`Engine::open`], where RocksDB does not open its files, or the error says nothing of the
    /// data: see [`Cause::is_of_data`](crate::cause::Cause::is_of_data).
    pub fn open_to_verify(dir: &Path) -> Result<(Reader, Vec<Flaw>), OpenError> {
        let store = Arc::new(Store::open_read_only(dir)?);
        let (snapshot, meta) = (store.snapshot(), store.meta());
        let chains: Vec<ChainId> = meta.version.chain_ids().collect();
        let loaded = chains.par_iter().map(|chain| match load(&snapshot, *chain) {
            Ok(loaded) => Ok((loaded, None)),
            Err(error) if error.fault().cause.is_of_data() => {
                let flaw = Flaw::Unopened { chain: *chain, error };
                let forest = Forest::new(meta.run_length, None);
                Ok((Loaded { forest, ceiling: Ceiling::default() }, Some(flaw)))
            }
            Err(error) => Err(error),
        });
        let loaded = loaded.collect::<Result<Vec<_>, StoreError>>()?;
        let (loaded, flaws): (Vec<_>, Vec<_>) = loaded.into_iter().unzip();
        let (tree, mut standing) = split(loaded);
        let cut = standing.settle(&tree, &snapshot, &HashMap::new());
        let reader = Reader::new(&store, tree, snapshot, cut);
        Ok((reader, flaws.into_iter().flatten().collect()))
    }

    pub(crate) fn read_only(store: Store) -> Result<Reader, OpenError> {
        Self::with(store, 0).map(|(_, reader)| reader)
    }

    /// How many blocks the database in `dir` has on the disk, whatever whoever writes it has in memory
    /// only: what another process would find.
    ///
    /// # Errors
    ///
    /// As for [`Engine::open_read_only`].
    pub fn durable_blocks(dir: &Path) -> Result<u64, OpenError> {
        Ok(Self::open_read_only(dir)?.view().total_block_count())
    }

    fn create(dir: &Path, meta: Meta) -> Result<Store, StoreError> {
        // Genesis blocks hold by definition, whatever the time.
        let verifier = Verifier::new(meta.version, Level::Full, Micros::new(i64::MAX));
        Store::create(dir, meta, |store, batch| {
            if meta.history == History::Full {
                let mut entries = Vec::new();
                for block in verifier.genesis() {
                    batch.put_loose(store, block.header(), block.level());
                    entries.push(IndexEntry::of(block.header()));
                }
                batch.put_unindexed(store, IndexOf::Blocks, &entries);
            }
        })
    }

    fn with(store: Store, window: u64) -> Result<(Writer, Reader), OpenError> {
        let store = Arc::new(store);
        let snapshot = store.snapshot();
        let chains: Vec<ChainId> = store.meta().version.chain_ids().collect();
        let loaded = chains.par_iter().map(|chain| load(&snapshot, *chain));
        let (tree, mut standing) = split(loaded.collect::<Result<_, _>>()?);
        let cut = standing.settle(&tree, &snapshot, &HashMap::new());
        let reader = Reader::new(&store, tree.clone(), snapshot, cut.clone());
        Ok((Writer::new(reader.clone(), tree, (standing, cut), window), reader))
    }
}

/// The tree of the loaded chains, and a [`Standing`] that has not searched for the heaviest cut
/// yet.
fn split(loaded: Vec<Loaded>) -> (Tree, Standing) {
    let (forests, ceilings) =
        loaded.into_iter().map(|loaded| (loaded.forest, loaded.ceiling)).unzip();
    (Tree::new(forests), Standing::new(ceilings))
}
