//! A database that another process writes, refreshed periodically.
//!
//! Enters: a folder. Leaves: a [`Reader`] that shows what was written up to the last refresh.
//!
//! A refresh opens the database a second time for reading, loads the tree of that moment, and publishes
//! both atomically. So a view shows one moment, like a view of a writer, and does not change while it is
//! in use: its opening is closed when its last view is dropped. RocksDB's secondary mode, which follows a
//! writer in place, has no snapshots: the data would change under a view, and a block that is sealed
//! meanwhile would be found in neither place.
//!
//! ```text
//! writer    ─ push ─────── seal ──────── push ──────→
//! openings    1 ────────────┐
//!                  2 ───────────────────┐             closed when no view of it is left
//!                               3 ──────────────────→
//! ```
//!
//! The caches survive a refresh: RocksDB's cache identifies blocks by their table, and runs are keyed by
//! epoch. An epoch continues if the last block of the old trunk is at the same place in the new trunk, which
//! pins all blocks below it.
//!
//! - `I-1` Nothing is written, and nothing is locked: the medium may be read-only.
//! - `I-2` A view shows one moment of the writer, and never an earlier one than the view before.
//! - `I-3` A refresh that fails changes nothing.

use std::path::Path;
use std::sync::Arc;

use hashbrown::HashMap;
use rayon::prelude::*;

use crate::open::{Engine, OpenError};
use crate::query::{Loaded, Members, Moment, Reader, Standing, load};
use crate::store::{CacheSizes, Sign, Snapshot, Store, StoreError};
use crate::tree::{Forest, Tree};
use crate::types::{ChainId, ChainwebVersion};

/// Refreshes a database that another process writes.
pub struct Replica {
    reader: Reader,
    /// What was shown before and may still be looked at. To close an opening takes time, so that is done
    /// here and not by who looks at it.
    earlier: Vec<Moment>,
    /// Shows that the folder is in use, so that a restore does not put another database there.
    _sign: Sign,
}

impl Engine {
    /// Opens the database in `dir` to read it again and again. Others may have it open.
    ///
    /// # Errors
    ///
    /// As for [`Engine::open`].
    pub fn open_replica(dir: &Path, sizes: CacheSizes) -> Result<(Replica, Reader), OpenError> {
        let store = Store::open_read_only_with(dir, sizes)?;
        store.require_one_moment()?;
        let reader = Self::read_only(store)?;
        reader.expect_more();
        let replica =
            Replica { reader: reader.clone(), earlier: Vec::new(), _sign: Store::sign(dir) };
        Ok((replica, reader))
    }
}

impl Replica {
    /// Shows what was written since the last time; whether anything was.
    ///
    /// # Cost
    ///
    /// If nothing was written, a look at the names and lengths of files. Else every table is opened, the log
    /// is read, and every header that is in `loose`, as when a database is opened.
    ///
    /// # Errors
    ///
    /// [`OpenError`], after which what is shown is what was. [`OpenError::Network`] if it is another database.
    pub fn refresh(&mut self) -> Result<bool, OpenError> {
        self.close_earlier();
        let before = self.reader.moment();
        let Some(store) = before.store().reopened()? else { return Ok(false) };
        let (got, expected) = (store.meta().version, before.store().meta().version);
        if got != expected {
            return Err(OpenError::Network { got, expected });
        }
        let store = Arc::new(store);
        let snapshot = store.snapshot();
        let (tree, cut) = tree(expected, &before, &snapshot)?;
        self.reader.publish(tree, snapshot, cut);
        self.earlier.push(before);
        self.close_earlier();
        Ok(true)
    }

    /// Closes openings that are no longer in use.
    fn close_earlier(&mut self) {
        self.earlier.retain(|moment| !moment.is_alone());
    }
}

fn tree(
    version: ChainwebVersion,
    before: &Moment,
    snapshot: &Snapshot,
) -> Result<(Tree, Option<Members>), StoreError> {
    let chains: Vec<ChainId> = version.chain_ids().collect();
    let loaded = chains.par_iter().map(|chain| {
        let Loaded { mut forest, ceiling } = load(snapshot, *chain)?;
        if let Some(earlier) = before.tree().forest(*chain) {
            forest.follow(earlier);
            if !goes_on(*chain, (earlier, before.snapshot()), (&forest, snapshot)) {
                forest.cut_anew();
            }
        }
        Ok((forest, ceiling))
    });
    let (forests, ceilings) = loaded.collect::<Result<(Vec<_>, Vec<_>), StoreError>>()?;
    let tree = Tree::new(forests);
    let earlier = before.cut().map(|cut| &cut[..]).unwrap_or_default();
    let mut standing = Standing::after(ceilings, &tree, snapshot, earlier);
    let cut = standing.settle(&tree, snapshot, &HashMap::new());
    Ok((tree, cut))
}

/// Whether the trunk of a chain is what it was, or more of it. Where that cannot be read it is taken for
/// another one.
fn goes_on(
    chain: ChainId,
    (earlier, before): (&Forest, &Snapshot),
    (forest, now): (&Forest, &Snapshot),
) -> bool {
    let Some(old) = earlier.trunk() else { return true };
    let (Some(new), Some(last)) = (forest.trunk(), old.end().parent()) else { return false };
    if new.first() != old.first() || new.end() < old.end() {
        return false;
    }
    let hash = |snapshot: &Snapshot| snapshot.sealed_hash(chain, old.first(), last);
    matches!((hash(before), hash(now)), (Ok(before), Ok(now)) if before == now)
}
