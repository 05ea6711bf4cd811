//! A folder → [`Writer`] and [`Reader`].

use std::path::Path;

use thiserror::Error;

use crate::query::Reader;
use crate::store::{History, Store, StoreError};
use crate::tree::Tree;
use crate::types::{ChainwebVersion, Micros};
use crate::verify::{Level, Verifier};
use crate::write::Writer;

/// A database cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database is of another network than asked for.
    #[error("database is of network {got}, not {expected}")]
    Network {
        /// The network of the database.
        got: ChainwebVersion,
        /// The network that was asked for.
        expected: ChainwebVersion,
    },
}

/// The ways to open a database.
///
/// # Cost
///
/// All of them read every header that is in `loose` once, to rebuild the forests.
#[derive(Debug)]
pub struct Engine;

impl Engine {
    /// Opens the database in `dir` to read and write.
    ///
    /// # Errors
    ///
    /// [`OpenError::Store`] if there is none, it is not ours, in use, or damaged.
    pub fn open(dir: &Path) -> Result<(Writer, Reader), OpenError> {
        Self::with(Store::open(dir)?)
    }

    /// Whether `dir` has a database, of any kind.
    #[must_use]
    pub fn exists(dir: &Path) -> bool {
        Store::path(dir).join("CURRENT").exists()
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
        let store = match Store::open(dir) {
            Err(StoreError::Missing { .. } | StoreError::Unfinished { .. }) => {
                Self::create(dir, version.unwrap_or(ChainwebVersion::Mainnet01), history)?
            }
            other => other?,
        };
        let got = store.meta().version;
        match version {
            Some(expected) if expected != got => Err(OpenError::Network { got, expected }),
            _ => Self::with(store),
        }
    }

    /// Opens the database in `dir` to read, as it is now. Others may have it open.
    ///
    /// # Errors
    ///
    /// As for [`Engine::open`].
    pub fn open_read_only(dir: &Path) -> Result<Reader, OpenError> {
        Self::with(Store::open_read_only(dir)?).map(|(_, reader)| reader)
    }

    fn create(dir: &Path, version: ChainwebVersion, history: History) -> Result<Store, StoreError> {
        // Genesis blocks hold by definition, whatever the time.
        let verifier = Verifier::new(version, Level::Full, Micros::new(i64::MAX));
        Store::create(dir, version, history, |store, batch| {
            if history == History::Full {
                for block in verifier.genesis() {
                    batch.put_block(store, block);
                }
            }
        })
    }

    fn with(store: Store) -> Result<(Writer, Reader), OpenError> {
        let mut tree = Tree::new(store.meta().version.chain_ids().count());
        store.snapshot().for_each(|header| {
            if let Some(forest) = tree.forest_mut(header.chain()) {
                forest.insert(header.rank(), header.parent(), header.weight());
            }
        })?;
        let reader = Reader::new(store, tree.clone());
        Ok((Writer::new(reader.clone(), tree), reader))
    }
}
