use std::num::NonZeroU32;
use std::path::Path;

use rocksdb::DB;
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes};

use super::mark::is_mark;
use super::{Column, MarkedAt, StoreError};
use crate::types::{ChainwebVersion, RunLength};

/// The layout of keys and values that this release reads and writes.
pub const FORMAT_VERSION: u32 = 5;

/// The layout before [`Column::Sums`], which this release reads, and turns into its own when it opens a
/// database to write.
pub(super) const WITHOUT_SUMS: u32 = 4;

pub(super) const FORMAT: &str = "format";
pub(super) const NETWORK: &str = "network";
pub(super) const HISTORY: &str = "history";
pub(super) const RUN_LENGTH: &str = "run";
pub(super) const UNINDEXED: &str = "unindexed";
pub(super) const PAYLOAD_UNINDEXED: &str = "payload_unindexed";

/// Where a history begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// At the network's genesis blocks, which are there from the start.
    Full,
    /// Wherever the operator let it begin: it holds exactly what it was given.
    Partial,
}

impl History {
    /// The name, as it stands in `meta`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
        }
    }
}

/// What a database says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The network of every header.
    pub version: ChainwebVersion,
    /// Where the history begins.
    pub history: History,
    /// The heights of a run.
    pub run_length: RunLength,
}

impl Meta {
    /// Reads and checks the column `meta`: what it says, and the format version.
    pub(super) fn read(db: &DB, path: &Path) -> Result<(Self, u32), StoreError> {
        let path = path.to_owned();
        let read = |name: &'static str| -> Result<Option<Vec<u8>>, StoreError> {
            let column = db.cf_handle(Column::Meta.name());
            let column = column.ok_or_else(|| StoreError::Foreign { path: path.clone() })?;
            Ok(db.get_cf(column, name)?)
        };
        let number = |name| -> Result<Option<u32>, StoreError> {
            let Some(value) = read(name)? else { return Ok(None) };
            let value = U32::read_from_bytes(&value);
            value.map(|value| Some(value.get())).map_err(|_| StoreError::meta(name))
        };
        let format = match number(FORMAT)? {
            None => return Err(StoreError::Incomplete { path: path.clone() }),
            Some(format @ (FORMAT_VERSION | WITHOUT_SUMS)) => format,
            Some(got) => return Err(StoreError::Format { got }),
        };
        let version = number(NETWORK)?.and_then(ChainwebVersion::from_code);
        let history = match read(HISTORY)?.as_deref() {
            Some(b"full") => Some(History::Full),
            Some(b"partial") => Some(History::Partial),
            _ => None,
        };
        let run_length = number(RUN_LENGTH)?.and_then(NonZeroU32::new).map(RunLength::new);
        let meta = Self {
            version: version.ok_or_else(|| StoreError::meta(NETWORK))?,
            history: history.ok_or_else(|| StoreError::meta(HISTORY))?,
            run_length: run_length.ok_or_else(|| StoreError::meta(RUN_LENGTH))?,
        };
        Ok((meta, format))
    }

    /// Whether an entry is one that this release knows, or of a name that it does not.
    pub(crate) fn is_entry(name: &[u8], value: &[u8]) -> bool {
        match name {
            b"format" | b"network" | b"run" => value.len() == size_of::<U32>(),
            b"unindexed" | b"payload_unindexed" => value.len() == size_of::<U64>(),
            b"history" => matches!(value, b"full" | b"partial"),
            name if is_mark(name) => MarkedAt::ref_from_bytes(value).is_ok(),
            _ => true,
        }
    }

    /// Name and value of each entry that is there from the start.
    pub(super) fn entries(self) -> [(&'static str, Vec<u8>); 4] {
        [
            (FORMAT, U32::new(FORMAT_VERSION).as_bytes().to_vec()),
            (NETWORK, U32::new(self.version.code()).as_bytes().to_vec()),
            (HISTORY, self.history.name().as_bytes().to_vec()),
            (RUN_LENGTH, U32::new(self.run_length.get()).as_bytes().to_vec()),
        ]
    }
}
