use thiserror::Error;

use crate::store::StoreError;

/// Blocks cannot be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}
