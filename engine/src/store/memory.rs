use std::sync::Arc;

use rocksdb::Cache;

use super::runs::Caches;
use super::{CacheSizes, options};

/// What is kept in memory of a database. A replica keeps it from one opening to the next.
#[derive(Clone)]
pub(super) struct Memory {
    /// What RocksDB keeps of its tables.
    pub(super) blocks: Cache,
    pub(super) block_bytes: usize,
    pub(super) caches: Arc<Caches>,
}

impl Memory {
    pub(super) fn new(sizes: CacheSizes) -> Self {
        let caches = Arc::new(Caches::new(sizes.run_bytes));
        Self { blocks: options::cache(sizes.block_bytes), block_bytes: sizes.block_bytes, caches }
    }
}
