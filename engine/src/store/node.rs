use std::path::Path;

use rocksdb::{DB, DBRawIterator, ReadOptions};

use super::{CacheSizes, Column, StoreError, options, records};
use crate::types::ChainId;

/// The database of a chainweb-node, read-only: nothing in its folder changes.
///
/// One column family; keys are `-`, the table's name, `$`, and the key in the table. The node may
/// be running; what it writes after the opening is not seen.
pub struct NodeDatabase(DB);

impl NodeDatabase {
    /// Opens the RocksDB directory at `path`.
    ///
    /// # Errors
    ///
    /// [`StoreError::RocksDb`] if there is none, or it is damaged.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        CacheSizes::default().fitting()?;
        records::check_foreign(path)?;
        Ok(Self(DB::open_for_read_only(&options::foreign(), path, false)?))
    }

    /// Whether `path` is one of our own databases.
    #[must_use]
    pub fn is_own(path: &Path) -> bool {
        if records::check_foreign(path).is_err() {
            return false;
        }
        let columns = DB::list_cf(&options::foreign(), path).unwrap_or_default();
        columns.iter().any(|name| name == Column::Loose.name())
    }

    /// A number that grows with everything that the node writes.
    #[must_use]
    pub fn sequence_number(&self) -> u64 {
        self.0.latest_sequence_number()
    }

    /// Whether the table with this name has a row.
    ///
    /// # Errors
    ///
    /// [`StoreError::RocksDb`] if it cannot be read.
    pub fn has_table(&self, name: &str) -> Result<bool, StoreError> {
        let prefix = prefix(name);
        let mut iterator = self.0.raw_iterator_opt(ReadOptions::default());
        iterator.seek(&prefix);
        let has = iterator.key().is_some_and(|key| key.starts_with(&prefix));
        iterator.status()?;
        Ok(has)
    }

    /// The value under a key of the table with this name.
    ///
    /// # Errors
    ///
    /// [`StoreError::RocksDb`] if it cannot be read.
    pub fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        Ok(self.0.get_opt([&prefix(table), key].concat(), &options)?)
    }

    /// The headers of `chain`, by ascending height and hash, from the key `from` on, or all.
    #[must_use]
    pub fn headers(&self, chain: ChainId, from: Option<&[u8]>) -> NodeHeaders<'_> {
        let prefix = prefix(&format!("BlockHeader/{chain}/header"));
        let mut end = prefix.clone();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end);
        options.fill_cache(false);
        options.set_readahead_size(2 << 20);
        let mut iterator = self.0.raw_iterator_opt(options);
        let start = from.map_or_else(|| prefix.clone(), |key| [&prefix, key].concat());
        iterator.seek(start);
        NodeHeaders { iterator, prefix_len: prefix.len() }
    }
}

/// What the keys of a table begin with.
fn prefix(table: &str) -> Vec<u8> {
    format!("-{table}$").into_bytes()
}

/// Key in a table, and value.
type Row<'a> = (&'a [u8], &'a [u8]);

/// The header table of one chain, from some key on.
pub struct NodeHeaders<'a> {
    iterator: DBRawIterator<'a>,
    prefix_len: usize,
}

impl NodeHeaders<'_> {
    /// Key in the table and value of the present row; `None` behind the last one.
    ///
    /// # Errors
    ///
    /// [`StoreError::RocksDb`] if the table cannot be read on.
    pub fn row(&self) -> Result<Option<Row<'_>>, StoreError> {
        match self.iterator.item() {
            Some((key, value)) => Ok(key.get(self.prefix_len..).map(|key| (key, value))),
            None => Ok(self.iterator.status().map(|()| None)?),
        }
    }

    /// Goes to the next row.
    pub fn advance(&mut self) {
        self.iterator.next();
    }
}
