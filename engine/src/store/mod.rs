//! Bytes on disk: the only module that names RocksDB.
//!
//! Enters: typed batches. Leaves: typed reads from one immutable snapshot.
//!
//! - `I-1` All keys are big endian, so byte order is [`Rank`](crate::Rank) order.
//! - `I-2` A commit is one atomic batch: a block is in `heights` and in one of `loose` and `trunk`,
//!   or in none of them.
//! - `I-3` What is read is checked against its key; what does not fit is
//!   [`StoreError::Damaged`], never an answer.
//! - `I-4` What is cached is named by what it holds: a run that is cut anew has another name.
//! - `I-5` A store of an unknown format version is not opened. One of the version before is read as it
//!   is, and becomes one of this version when it is opened to be written.
//! - `I-7` Every run has a row in `sums`, from the batch that it comes with.
//! - `I-6` A payload is stored where a block is that names it, in the batch of that block or in a
//!   later one, and found by its hash from then on. What waits with a block goes with it.

#![doc = include_str!("../../../docs/formats.md")]

mod batch;
mod claim;
mod columns;
mod create;
mod directory;
mod edits;
mod error;
mod folder;
mod format;
mod held;
mod index;
mod journal;
mod key;
mod levels;
mod listed;
mod live;
mod logs;
mod losses;
mod manifest;
mod mark;
mod memory;
mod node;
mod opened;
mod options;
mod own;
mod payloads;
mod pending;
mod presence;
mod probe;
mod records;
mod reopen;
mod repair;
mod runs;
mod snapshot;
mod stats;
mod sums;
mod sweep;
mod synced;
mod text;
mod torn;
mod upgrade;

pub use batch::{Batch, Sealed};
pub use claim::Sign;
pub use columns::Column;
pub use error::{RecordFlaw, StoreError};
pub use format::{FORMAT_VERSION, History, Meta};
pub use index::{HeightValue, IndexEntry, IndexOf, UnindexedKey};
pub use key::{LooseKey, PayloadKey, PendingKey, TrunkKey};
pub use live::{is_table, link};
pub use logs::LogFinding;
pub(crate) use losses::EARLIER;
pub use losses::LostLog;
pub use mark::{Mark, MarkedAt};
pub use node::{NodeDatabase, NodeHeaders, NodeValue};
pub use pending::Pending;
pub use presence::Presence;
pub use repair::{Found, Repair};
pub(crate) use runs::is_run;
pub use runs::{CacheSizes, RunId, SealedAt};
pub use snapshot::{From, Snapshot};
pub use stats::{ColumnStats, RunStats, StoreStats};
pub use sums::RunSums;
pub use sweep::{KeyValue, Sweep};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rocksdb::{ColumnFamily, FlushOptions, WriteOptions};

use crate::failpoint::reached;
use crate::types::{ChainwebVersion, RunLength};
use claim::Claim;
use directory::Directory;
use folder::Folder;
pub(crate) use folder::{CONTENTS, STATUS};
use format::WITHOUT_SUMS;
use held::Held;
use index::Index;
use live::Listed;
use memory::Memory;
use opened::Opened;
use synced::Synced;

/// A RocksDB database in the layout of a node's: `DIR/0/rocksDb`.
pub struct Store {
    db: Held,
    version: ChainwebVersion,
    partial: AtomicBool,
    run_length: RunLength,
    /// Of blocks, and of payloads.
    indexes: [Index; 2],
    /// Rows that are not sorted up to which they are put into their index one by one.
    put_max: AtomicUsize,
    memory: Memory,
    /// Dropped when RocksDB has closed the database, which is above.
    synced: Option<Synced>,
    /// What was wrong with its log when it was opened.
    damaged_log: Option<String>,
    /// What it was opened from, if it was opened to read, and that was one moment.
    listed: Option<Listed>,
    /// Whether every run has its row in `sums`.
    has_sums: bool,
    /// The folder, as it was named.
    dir: PathBuf,
    /// Given back when RocksDB has closed the database, which is above.
    claim: Option<Claim>,
    /// Where the database is, whatever its name.
    directory: Arc<Directory>,
}

impl Store {
    /// Opens the database in `dir` to read and write; no other process may have it open so.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`] if there is none, [`StoreError::Format`] and its like if it is not
    /// one of ours, [`StoreError::Backup`] if it is a backup, [`StoreError::Locked`] if another process
    /// has it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, CacheSizes::default())
    }

    /// [`Store::open`] with caches of these sizes.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_with(dir: &Path, sizes: CacheSizes) -> Result<Self, StoreError> {
        let sizes = sizes.fitting()?;
        let folder = match Folder::existing(dir, Directory::to_write) {
            Err(error) => {
                let Some((log, at)) = error.of_unsynced(dir) else { return Err(error) };
                folder::require_no_backup(dir)?;
                let _claimed = Folder::open(dir, Directory::to_write)?.claimed()?;
                torn::cut_unsynced(&log, at)?;
                Folder::existing(dir, Directory::to_write)?
            }
            Ok(folder) => folder,
        };
        folder::require_no_backup(dir)?;
        let folder = folder.claimed()?;
        folder.report_losses();
        let path = folder.directory.path();
        if let Some(lost) = &folder.lost_log {
            losses::set_aside(path, &lost.to_string(), &folder.later_logs)?;
        }
        let memory = Memory::new(sizes);
        reached("open/before");
        let opened = Opened::to_write(path, || options::columns(&memory.blocks))?;
        reached("open/after");
        let (meta, format) = folder.meta(&opened.db)?;
        let mut store = Self::new(opened, folder, meta, format, memory)?;
        if format == WITHOUT_SUMS {
            store.add_sums()?;
        }
        Ok(store)
    }

    /// Opens the database in `dir` to read; others may write it meanwhile, which is not seen.
    ///
    /// # Errors
    ///
    /// As for [`Store::open`].
    pub fn open_read_only(dir: &Path) -> Result<Self, StoreError> {
        Self::open_read_only_with(dir, CacheSizes::default())
    }

    /// Where `dir` keeps its headers.
    #[must_use]
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("0").join("rocksDb")
    }

    /// The folder of the database, as it was named.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where its files are, whatever the name of the folder by now; for this process only.
    #[must_use]
    pub fn files(&self) -> &Path {
        self.directory.path()
    }

    /// That the name of the folder still leads to this database. Where it does not, nothing more is
    /// written: who asks for it means another database.
    ///
    /// # Errors
    ///
    /// [`StoreError::Displaced`].
    pub fn require_place(&self) -> Result<(), StoreError> {
        self.directory.check()
    }

    /// What was wrong with its log when it was opened, or earlier if the sign of that loss still exists. The
    /// writes after that are not in the database, unless they were stored again.
    #[must_use]
    pub fn damaged_log(&self) -> Option<&str> {
        self.damaged_log.as_deref()
    }

    /// The layout that it has: [`FORMAT_VERSION`], or an earlier one if it is only read.
    #[must_use]
    pub const fn format_version(&self) -> u32 {
        if self.has_sums { FORMAT_VERSION } else { WITHOUT_SUMS }
    }

    /// What the database says of itself.
    #[must_use]
    pub fn meta(&self) -> Meta {
        let partial = self.partial.load(Ordering::Acquire);
        let history = if partial { History::Partial } else { History::Full };
        Meta { version: self.version, history, run_length: self.run_length }
    }

    /// Writes a batch, whole or not at all. It outlives a crash of the process at once, and one
    /// of the machine from the next [`Store::sync`] on.
    ///
    /// # Errors
    ///
    /// [`StoreError::RocksDb`], for example when the disk is full.
    pub fn write(&self, batch: Batch) -> Result<(), StoreError> {
        self.write_with(batch, &WriteOptions::default())
    }

    /// Writes a batch, whole or not at all, without the log: it outlives a crash only from the next
    /// [`Store::flush`] on, or from when RocksDB does so by itself, together with all batches
    /// before it. Until then [`Store::write`] must not be called: the log would know of a later
    /// batch and not of this one.
    ///
    /// # Errors
    ///
    /// As for [`Store::write`].
    pub fn write_unlogged(&self, batch: Batch) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.write_with(batch, &options)
    }

    fn write_with(&self, batch: Batch, options: &WriteOptions) -> Result<(), StoreError> {
        self.require_place()?;
        let Batch { inner, partial, unindexed } = batch;
        for of in unindexed {
            // Before it is: who looks where nothing is only takes longer.
            self.index_of(of).set_unsorted();
        }
        self.db.write_opt(inner, options)?;
        if partial {
            self.partial.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Returns when all that was written outlives a crash of the machine.
    ///
    /// # Errors
    ///
    /// [`StoreError::RocksDb`].
    pub fn sync(&self) -> Result<(), StoreError> {
        // Not by `flush_wal`: after a write that failed, for want of room, that would write to the same
        // log again, which RocksDB takes for an error that it cannot recover from. A write is refused
        // until it has recovered.
        let mut options = WriteOptions::default();
        options.set_sync(true);
        let lengths = self.synced.as_ref().map(Synced::lengths);
        reached("log/sync/before");
        self.write_with(Batch::default(), &options)?;
        reached("log/sync/after");
        if let (Some(synced), Some(lengths)) = (&self.synced, lengths) {
            synced.set(lengths);
        }
        Ok(())
    }

    /// Returns when all that was written is in tables, so that opening it need not read the log.
    ///
    /// # Errors
    ///
    /// [`StoreError::RocksDb`].
    pub fn flush(&self) -> Result<(), StoreError> {
        self.require_place()?;
        let columns: Vec<&ColumnFamily> =
            self.columns().map(|column| self.column(column)).collect();
        reached("tables/flush/before");
        self.db.flush_cfs_opt(&columns, &FlushOptions::default())?;
        reached("tables/flush/after");
        Ok(())
    }

    /// An immutable view of what is written by now.
    #[must_use]
    pub fn snapshot(self: &Arc<Self>) -> Snapshot {
        Snapshot::of(self)
    }

    /// That something around the database went wrong.
    pub(crate) fn failure(&self, source: std::io::Error) -> StoreError {
        StoreError::Io { path: self.db.path().to_owned(), source }
    }

    fn new(
        Opened { db, damaged_log, listed }: Opened,
        Folder { dir, claim, directory, lost_log, losses, .. }: Folder,
        meta: Meta,
        format: u32,
        memory: Memory,
    ) -> Result<Self, StoreError> {
        let Meta { version, history, run_length } = meta;
        if let Some(damage) = &damaged_log {
            tracing::error!(
                "{}: the log is damaged; what was written after the damage is lost: replay, push or \
                 follow it again ({damage})",
                directory.named().display()
            );
        }
        let lost = lost_log.map(|lost| lost.to_string());
        let damaged_log = damaged_log.or(lost).or_else(|| losses.map(|losses| losses.to_string()));
        let synced = claim.is_some().then(|| Synced::new(directory.path()));
        let index = |of| Index::open(&db, of);
        let indexes = [index(IndexOf::Blocks)?, index(IndexOf::Payloads)?];
        let store = Self {
            db: Held::new(db, Arc::clone(&directory)),
            version,
            partial: AtomicBool::new(history == History::Partial),
            run_length,
            indexes,
            put_max: AtomicUsize::new(index::PUT_MAX),
            memory,
            synced,
            damaged_log,
            listed,
            has_sums: format != WITHOUT_SUMS,
            dir,
            claim,
            directory,
        };
        if store.claim.is_some() {
            store.directory.note_lock().map_err(|source| store.failure(source))?;
        }
        for of in IndexOf::ALL {
            store.index_of(of).look(&store, of)?;
        }
        Ok(store)
    }

    const fn index_of(&self, of: IndexOf) -> &Index {
        let [blocks, payloads] = &self.indexes;
        match of {
            IndexOf::Blocks => blocks,
            IndexOf::Payloads => payloads,
        }
    }

    /// The columns that it has: all, but for what a database that is only read may lack.
    fn columns(&self) -> impl Iterator<Item = Column> {
        Column::ALL.into_iter().filter(|column| self.db.cf_handle(column.name()).is_some())
    }

    #[expect(clippy::expect_used, reason = "a database is only opened with every column family")]
    fn column(&self, column: Column) -> &ColumnFamily {
        self.db.cf_handle(column.name()).expect("every column family is open")
    }
}
