use thiserror::Error;

use crate::cause::{Classified, Fault};
use crate::store::StoreError;
use crate::types::BlockHash;

/// A query has no answer.
#[derive(Debug, Error)]
pub enum QueryError {
    /// A bound or a cursor names a block that the chain does not have.
    #[error("no block {0} on this chain")]
    UnknownHash(BlockHash),
    /// It takes the disk, which a [`View::cached`](super::View::cached) does not wait for.
    #[error("not in memory")]
    Cold,
    /// The store cannot be read.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for QueryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Cold => Self::Cold,
            error => Self::Store(error),
        }
    }
}

#[cfg(feature = "store")]
impl Classified for QueryError {
    fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => error.fault(),
            Self::UnknownHash(_) | Self::Cold => Fault::OTHER,
        }
    }
}
