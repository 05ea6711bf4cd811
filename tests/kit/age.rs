//! Databases as earlier releases left them.

use std::path::Path;

use plait_engine::store::{Column, Store};
use rocksdb::{DB, Options, WriteOptions};

/// Makes the database in `dir` one of the format before this one, which had no statistics. Whenever it is
/// interrupted, it is one or the other.
///
/// # Errors
///
/// What RocksDB says.
pub fn age(dir: &Path) -> Result<(), rocksdb::Error> {
    let names = Column::ALL.map(Column::name);
    let mut db = DB::open_cf(&Options::default(), Store::path(dir), names)?;
    let mut options = WriteOptions::default();
    options.set_sync(true);
    if let Some(meta) = db.cf_handle(Column::Meta.name()) {
        db.put_cf_opt(meta, "format", [0, 0, 0, 4], &options)?;
    }
    db.drop_cf(Column::Sums.name())
}
