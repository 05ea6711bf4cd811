use std::path::Path;

use rocksdb::{DB, IteratorMode};

use super::format::WITHOUT_SUMS;
use super::{Column, Meta, StoreError, options};

/// The column family that RocksDB makes by itself; ours are beside it.
const DEFAULT: &str = "default";

/// Checks that the database at `path` is one of ours, before anything else does: to open a
/// database is to write to it, since RocksDB moves its log to tables then.
///
/// # Errors
///
/// [`StoreError::Foreign`] if it is that of another program, [`StoreError::Incomplete`] if it has lost the
/// end of its list of files, [`StoreError::Format`] if it is of another release.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    let columns = DB::list_cf(&options::foreign(), path);
    let columns = columns.map_err(|error| StoreError::opening(path, error))?;
    let has = |name: &str| columns.iter().any(|column| column == name);
    let is_ours = |name: &str| Column::ALL.iter().any(|column| column.name() == name);
    let is_complete = |but: Option<Column>| {
        Column::ALL.iter().all(|column| has(column.name()) || Some(*column) == but)
    };
    let (complete, others) =
        (is_complete(None), columns.iter().any(|name| name != DEFAULT && !is_ours(name)));
    if complete && !others {
        return Ok(());
    }
    if has(Column::Meta.name()) {
        // One of another release, which had others.
        let meta = [Column::Meta.name()];
        let db = DB::open_cf_for_read_only(&options::foreign(), path, meta, false)?;
        match Meta::read(&db, path) {
            Err(error @ StoreError::Format { .. }) => return Err(error),
            Ok((_, WITHOUT_SUMS)) if is_complete(Some(Column::Sums)) && !others => return Ok(()),
            Ok(_) | Err(_) => {}
        }
    }
    if !complete && !others && is_empty(path)? {
        return Err(StoreError::Incomplete { path: path.to_owned() });
    }
    Err(StoreError::Foreign { path: path.to_owned() })
}

/// Whether [`DEFAULT`] holds nothing, as in all databases of ours.
fn is_empty(path: &Path) -> Result<bool, StoreError> {
    let db = DB::open_for_read_only(&options::foreign(), path, false)?;
    let first = db.iterator(IteratorMode::Start).next();
    Ok(first.transpose()?.is_none())
}
