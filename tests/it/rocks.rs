//! RocksDB as others see it: databases of nodes, and what ours hold.

use std::collections::BTreeMap;
use std::path::Path;

use plait_engine::payload::PayloadRef;
use plait_engine::store::{Column, Store};
use plait_engine::{Header, HeaderRef};
use rocksdb::{DB, IteratorMode, Options};
use serde_json::{Value, json};
use testkit::carried;

/// A database in the layout of a chainweb-node.
pub(crate) struct NodeDb(DB);

impl NodeDb {
    /// A new one in `path`, with nothing in it.
    pub(crate) fn create(path: &Path) -> Self {
        let mut options = Options::default();
        options.create_if_missing(true);
        Self::create_with(path, &options)
    }

    /// The same with these options, or the one that is there.
    pub(crate) fn create_with(path: &Path, options: &Options) -> Self {
        std::fs::create_dir_all(path).unwrap();
        Self(DB::open(options, path).unwrap())
    }

    /// Adds a header as a node does, without its row in the rank table.
    pub(crate) fn put(&self, header: HeaderRef<'_>) {
        self.put_row(header, header.as_bytes());
    }

    /// Adds headers as [`NodeDb::put`] does.
    pub(crate) fn put_all<'a>(&self, headers: impl IntoIterator<Item = &'a Header>) {
        headers.into_iter().for_each(|header| self.put(header.view()));
    }

    /// Adds a row under the key of `header`.
    pub(crate) fn put_row(&self, header: HeaderRef<'_>, value: &[u8]) {
        let height = big_endian(header.height().get());
        let key = [&height[..], header.hash().as_bytes()].concat();
        self.put_key(&format!("BlockHeader/{}/header", header.chain()), &key, value);
    }

    /// Adds a header's row in the rank table.
    pub(crate) fn put_rank(&self, header: HeaderRef<'_>) {
        let mut height = big_endian(header.height().get());
        height.reverse();
        let table = format!("BlockHeader/{}/rank", header.chain());
        self.put_key(&table, header.hash().as_bytes(), &height);
    }

    /// Adds a row of any table.
    pub(crate) fn put_key(&self, table: &str, key: &[u8], value: &[u8]) {
        self.put_raw(&[format!("-{table}$").as_bytes(), key].concat(), value);
    }

    /// Adds a row under this key as it is.
    pub(crate) fn put_raw(&self, key: &[u8], value: &[u8]) {
        self.0.put(key, value).unwrap();
    }

    /// Writes the log to the disk.
    pub(crate) fn sync(&self) {
        self.0.flush_wal(true).unwrap();
    }

    /// Adds what a block carries, as nodes of today do: in binary, by height.
    pub(crate) fn put_payload(&self, header: HeaderRef<'_>, payload: PayloadRef<'_>) {
        self.put_by_height("BlockPayload2", header, payload.hash().as_bytes(), &roots(payload));
        let hash = payload.transactions_hash();
        let row = binary_row(hash.as_bytes(), payload.inputs(), payload.miner_data());
        self.put_by_height("BlockTransactions2", header, hash.as_bytes(), &row);
        if let (Some(outputs), Some(coinbase)) = (payload.outputs(), payload.coinbase()) {
            let hash = payload.outputs_hash();
            let row = binary_row(hash.as_bytes(), outputs, coinbase);
            self.put_by_height("BlockOutputs2", header, hash.as_bytes(), &row);
        }
    }

    /// Adds a row of a table whose keys begin with the height, least significant byte first.
    pub(crate) fn put_by_height(
        &self,
        table: &str,
        header: HeaderRef<'_>,
        hash: &[u8],
        value: &[u8],
    ) {
        let mut key = big_endian(header.height().get()).to_vec();
        key.reverse();
        key.extend_from_slice(hash);
        self.put_key(table, &key, value);
    }

    /// Adds a payload as nodes did before: as JSON, by hash.
    pub(crate) fn put_old_payload(&self, payload: PayloadRef<'_>) {
        let object: Value = serde_json::from_str(&carried::object(payload)).unwrap();
        let (transactions, outputs): (Vec<&Value>, Vec<&Value>) = object["transactions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (&pair[0], &pair[1]))
            .unzip();
        let (of_transactions, of_outputs) = (&object["transactionsHash"], &object["outputsHash"]);
        let row = json!({
            "transactionsHash": of_transactions,
            "outputsHash": of_outputs,
            "payloadHash": object["payloadHash"],
        });
        self.put_key("BlockPayload", payload.hash().as_bytes(), row.to_string().as_bytes());
        let row = json!({
            "transactionHash": of_transactions,
            "transaction": transactions,
            "minerData": object["minerData"],
        });
        let key = payload.transactions_hash();
        self.put_key("BlockTransactions", key.as_bytes(), row.to_string().as_bytes());
        let row = json!({
            "outputsHash": of_outputs,
            "outputs": outputs,
            "coinbaseOutput": object["coinbase"],
        });
        let key = payload.outputs_hash();
        self.put_key("BlockOutputs", key.as_bytes(), row.to_string().as_bytes());
    }

    /// Adds the last key of every node's database.
    pub(crate) fn put_end(&self) {
        self.0.put(".", "").unwrap();
    }

    /// Moves what is in the log to a table file.
    pub(crate) fn flush(&self) {
        self.0.flush().unwrap();
    }
}

/// The three hashes of a payload, as a node keeps them.
pub(crate) fn roots(payload: PayloadRef<'_>) -> Vec<u8> {
    let (payload, transactions, outputs) =
        (payload.hash(), payload.transactions_hash(), payload.outputs_hash());
    let hashes = [payload.as_bytes(), transactions.as_bytes(), outputs.as_bytes()];
    hashes.into_iter().flatten().copied().collect()
}

/// A hash, the number of items, each item behind its length, and one more.
pub(crate) fn binary_row<'a>(
    hash: &[u8],
    items: impl ExactSizeIterator<Item = &'a [u8]>,
    last: &'a [u8],
) -> Vec<u8> {
    let mut row = hash.to_vec();
    row.extend(big_endian(items.len() as u64));
    for item in items.chain([last]) {
        row.extend(big_endian(item.len() as u64));
        row.extend(item);
    }
    row
}

/// The bytes of a number, most significant first.
pub(crate) fn big_endian(number: u64) -> [u8; 8] {
    std::array::from_fn(|i| u8::try_from(number >> (56 - 8 * i) & 0xFF).unwrap())
}

/// A new node's database in `path` with these headers, still in the log.
pub(crate) fn node_db<'a>(path: &Path, headers: impl IntoIterator<Item = &'a Header>) -> NodeDb {
    let db = NodeDb::create(path);
    headers.into_iter().for_each(|header| db.put(header.view()));
    db
}

/// Every key and value of the database in `dir`, by column family.
pub(crate) fn columns(dir: &Path) -> BTreeMap<(&'static str, Vec<u8>), Vec<u8>> {
    let names = Column::ALL.map(Column::name);
    let db = DB::open_cf_for_read_only(&Options::default(), Store::path(dir), names, false);
    let db = db.unwrap();
    let mut rows = BTreeMap::new();
    for name in names {
        for row in db.iterator_cf(db.cf_handle(name).unwrap(), IteratorMode::Start) {
            let (key, value) = row.unwrap();
            rows.insert((name, key.into_vec()), value.into_vec());
        }
    }
    rows
}

/// Sets an entry of the column `meta` of the database in `dir`.
pub(crate) fn put_meta(dir: &Path, name: &str, value: &[u8]) {
    let names = Column::ALL.map(Column::name);
    let db = DB::open_cf(&Options::default(), Store::path(dir), names).unwrap();
    db.put_cf(db.cf_handle("meta").unwrap(), name, value).unwrap();
}

/// Sets a row of a column family of the database in `dir`.
pub(crate) fn put_row(dir: &Path, column: &str, key: &[u8], value: &[u8]) {
    let names = Column::ALL.map(Column::name);
    let db = DB::open_cf(&Options::default(), Store::path(dir), names).unwrap();
    db.put_cf(db.cf_handle(column).unwrap(), key, value).unwrap();
}

/// Adds a column family to the database in `dir`.
pub(crate) fn add_column(dir: &Path, name: &str) {
    let names = Column::ALL.map(Column::name);
    let mut db = DB::open_cf(&Options::default(), Store::path(dir), names).unwrap();
    db.create_cf(name, &Options::default()).unwrap();
}

/// Drops column families of the database in `dir`.
pub(crate) fn drop_columns(dir: &Path, names: &[&str]) {
    let all = Column::ALL.map(Column::name);
    let mut db = DB::open_cf(&Options::default(), Store::path(dir), all).unwrap();
    for name in names {
        db.drop_cf(name).unwrap();
    }
}

/// Leaves in `dir` what an interruption leaves of a database that was being made: these column
/// families, with nothing in them.
pub(crate) fn only_some_columns(dir: &Path, names: &[&str]) {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    std::fs::create_dir_all(Store::path(dir)).unwrap();
    drop(DB::open_cf(&options, Store::path(dir), names).unwrap());
}

/// Removes a row of a column family of the database in `dir`.
pub(crate) fn delete_row(dir: &Path, column: &str, key: &[u8]) {
    let names = Column::ALL.map(Column::name);
    let db = DB::open_cf(&Options::default(), Store::path(dir), names).unwrap();
    db.delete_cf(db.cf_handle(column).unwrap(), key).unwrap();
}
