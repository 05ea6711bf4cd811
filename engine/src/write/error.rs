use thiserror::Error;

use crate::payload::PayloadError;
use crate::store::StoreError;

/// Blocks cannot be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A payload is not that of the block that it is to be stored with.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}
