use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError as EncodeError;
use plait_engine::cause::{Cause, Classified, Fault};
use plait_engine::output::{InsideDatabase, LackOfSpace};
use plait_engine::store::StoreError;
use plait_engine::{BlockHeight, ChainId, QueryError};
use thiserror::Error;

/// A dataset cannot be made.
#[derive(Debug, Error)]
pub enum ParquetError {
    /// A file or folder cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another export writes there.
    #[error("another export writes into {dir}", dir = dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// A block stands higher than a column can say.
    #[error("chain {chain} has a block at height {height}, expected at most {max}", max = i64::MAX)]
    Height {
        /// The chain.
        chain: ChainId,
        /// The height of the block.
        height: BlockHeight,
    },
    /// Rows cannot be encoded.
    #[error("{path}", path = path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// What the encoder says.
        source: EncodeError,
    },
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database cannot answer.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// There is less room than it takes.
    #[error(transparent)]
    Space(#[from] LackOfSpace),
    /// The folder lies where a database keeps its files.
    #[error(transparent)]
    Inside(#[from] InsideDatabase),
}

impl Classified for ParquetError {
    fn fault(&self) -> Fault {
        match self {
            Self::Io { path, source } => Fault::io(path, source),
            Self::Locked { dir } => Fault::new(Cause::Locked, dir),
            Self::Store(error) => error.fault(),
            Self::Query(error) => error.fault(),
            Self::Height { .. } | Self::Encode { .. } | Self::Space(_) | Self::Inside(_) => {
                Fault::OTHER
            }
        }
    }
}

impl ParquetError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    /// What the encoder says of the file at `path`: mostly, that it could not be written.
    pub(crate) fn encode(path: &Path, error: EncodeError) -> Self {
        let path = path.to_owned();
        match error {
            EncodeError::External(error) => match error.downcast::<io::Error>() {
                Ok(source) => Self::Io { path, source: *source },
                Err(error) => Self::Encode { path, source: EncodeError::External(error) },
            },
            source => {
                let cause = source.source().and_then(|cause| cause.downcast_ref::<io::Error>());
                match cause.map(|cause| io::Error::new(cause.kind(), cause.to_string())) {
                    Some(source) => Self::Io { path, source },
                    None => Self::Encode { path, source },
                }
            }
        }
    }
}
