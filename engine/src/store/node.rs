use std::path::Path;
use std::thread;

use rocksdb::{DB, DBRawIterator, DBRecoveryMode, Error, ErrorKind, ReadOptions};

use super::logs::{self, LogFinding};
use super::opened::{PAUSE, TRIES};
use super::{CacheSizes, Column, StoreError, live, options, records};
use crate::types::ChainId;

/// The database of a chainweb-node, read-only: nothing in its folder changes.
///
/// One column family; keys are `-`, the table's name, `$`, and the key in the table. The node may
/// be running; what it writes after the opening is not seen.
pub struct NodeDatabase {
    db: DB,
    findings: Vec<LogFinding>,
}

/// A value of a table.
#[derive(Debug)]
pub enum NodeValue {
    /// Its bytes.
    Bytes(Box<[u8]>),
    /// It has more bytes than were asked for: so many.
    Long(usize),
}

impl NodeDatabase {
    /// Opens the RocksDB directory at `path`. Of a log that is damaged, what is before the damage is
    /// read, or `all` that is whole. What was not is among the [findings](Self::findings).
    ///
    /// # Errors
    ///
    /// [`StoreError::RocksDb`] if there is none, or something else of it is damaged,
    /// [`StoreError::Io`] if its logs would take too much memory.
    pub fn open(path: &Path, all: bool) -> Result<Self, StoreError> {
        CacheSizes::default().fitting()?;
        let lenient =
            if all { DBRecoveryMode::SkipAnyCorruptedRecord } else { DBRecoveryMode::PointInTime };
        let mut tries = 0;
        loop {
            let files = live::logs(path);
            let mut findings = logs::inspect(path)?;
            let is_damaged = findings.iter().any(LogFinding::is_loss);
            let opened = if is_damaged {
                read_only(path, lenient)
            } else {
                // What RocksDB finds besides, as in the rows of a batch, is not taken for the end of
                // the log either.
                read_only(path, DBRecoveryMode::TolerateCorruptedTailRecords).or_else(|error| {
                    if error.kind() != ErrorKind::Corruption {
                        return Err(error);
                    }
                    let db = read_only(path, lenient)?;
                    findings.push(LogFinding::Refused(error.to_string()));
                    Ok(db)
                })
            };
            // A node that runs has replaced a file meanwhile, or moved what a log had to tables that
            // the list which was read did not name yet.
            let has_moved = match &opened {
                Err(error) => error.to_string().contains("No such file"),
                Ok(_) => !files.iter().all(|log| log.exists()),
            };
            if !has_moved || tries == TRIES {
                let db = opened.map_err(|error| logs::refusal(path, error))?;
                return Ok(Self { db, findings });
            }
            tries = tries.saturating_add(1);
            thread::sleep(PAUSE);
        }
    }

    /// What is missing of what the node wrote, as far as its logs tell.
    #[must_use]
    pub fn findings(&self) -> &[LogFinding] {
        &self.findings
    }

    /// Whether `path` has files that only a database has, though it may lack others.
    #[must_use]
    pub fn is_begun(path: &Path) -> bool {
        let names = live::listing(path).unwrap_or_default();
        names.iter().any(|name| live::is_list(name) || live::is_table(name))
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
        self.db.latest_sequence_number()
    }

    /// Whether the table with this name has a row.
    ///
    /// # Errors
    ///
    /// [`StoreError::RocksDb`] if it cannot be read.
    pub fn has_table(&self, name: &str) -> Result<bool, StoreError> {
        let prefix = prefix(name);
        let mut iterator = self.db.raw_iterator_opt(ReadOptions::default());
        iterator.seek(&prefix);
        let has = iterator.key().is_some_and(|key| key.starts_with(&prefix));
        iterator.status()?;
        Ok(has)
    }

    /// The value under a key of the table with this name, if it has no more than `bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// [`StoreError::RocksDb`] if it cannot be read.
    pub fn get(
        &self,
        table: &str,
        key: &[u8],
        bytes_max: usize,
    ) -> Result<Option<NodeValue>, StoreError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        // It is copied only if it is wanted.
        let value = self.db.get_pinned_opt([&prefix(table), key].concat(), &options)?;
        Ok(value.map(|value| match value.len() {
            len if len > bytes_max => NodeValue::Long(len),
            _ => NodeValue::Bytes((&*value).into()),
        }))
    }

    /// The headers of `chain`, by ascending height and hash, from the key `from` on, or all.
    #[must_use]
    pub fn headers(&self, chain: ChainId, from: Option<&[u8]>) -> NodeHeaders<'_> {
        let prefix = header_prefix(chain);
        let mut options = bounded(&prefix);
        options.set_readahead_size(2 << 20);
        let mut iterator = self.db.raw_iterator_opt(options);
        let start = from.map_or_else(|| prefix.clone(), |key| [&prefix, key].concat());
        iterator.seek(start);
        NodeHeaders { iterator, prefix_len: prefix.len() }
    }

    /// The same from the last one on.
    #[must_use]
    pub fn last_header(&self, chain: ChainId) -> NodeHeaders<'_> {
        let prefix = header_prefix(chain);
        let mut options = bounded(&prefix);
        options.set_iterate_lower_bound(prefix.clone());
        let mut iterator = self.db.raw_iterator_opt(options);
        iterator.seek_to_last();
        NodeHeaders { iterator, prefix_len: prefix.len() }
    }
}

/// Opens the database at `path` to read, and its logs so.
fn read_only(path: &Path, mode: DBRecoveryMode) -> Result<DB, Error> {
    let mut options = options::foreign();
    options.set_wal_recovery_mode(mode);
    DB::open_for_read_only(&options, path, false)
}

/// Options to read the keys that begin with `prefix` and no others.
fn bounded(prefix: &[u8]) -> ReadOptions {
    let mut end = prefix.to_vec();
    // It ends with `$`.
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(end);
    options.fill_cache(false);
    options
}

fn header_prefix(chain: ChainId) -> Vec<u8> {
    prefix(&format!("BlockHeader/{chain}/header"))
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

    /// Goes to the row before.
    pub fn step_back(&mut self) {
        self.iterator.prev();
    }
}
