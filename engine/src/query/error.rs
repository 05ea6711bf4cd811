use thiserror::Error;

use crate::store::StoreError;
use crate::types::BlockHash;

/// A query has no answer.
#[derive(Debug, Error)]
pub enum QueryError {
    /// A bound or a cursor names a block that the chain does not have.
    #[error("no block {0} on this chain")]
    UnknownHash(BlockHash),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}
