use thiserror::Error;

use crate::cause::{Classified, Fault};
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

impl Classified for WriteError {
    fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => error.fault(),
            Self::Payload(_) => Fault::OTHER,
        }
    }
}
