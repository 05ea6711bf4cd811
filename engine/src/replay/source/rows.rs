//! The tables of a chainweb-node that say what blocks carry: since a few releases in binary and by
//! height, in older databases as JSON and by hash.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use base64::Engine as _;
use serde::Deserialize;
use zerocopy::byteorder::{big_endian, little_endian};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::texts::Texts;
use super::{RawPayload, Record};
use crate::header::RawHeader;
use crate::payload::{Outputs, Parts, Payload, PayloadError, RecordError};
use crate::replay::Wrong;
use crate::store::{NodeDatabase, NodeValue, StoreError};
use crate::types::{BASE64URL, OutputsHash, PayloadHash, TransactionsHash, decode_32};

/// Bytes of a row at most: as many as a line of JSON may have.
const ROW_BYTES_MAX: usize = 64 << 20;

/// Transactions, or outputs, of a row at most. A block of mainnet01 has some hundreds, and what they may cost
/// together allows some thousands. Each takes about 50 bytes of memory in addition to its own, however short it is.
pub(super) const ITEMS_MAX: u64 = 1 << 18;

/// A row of one of the tables.
#[derive(Debug)]
enum Row {
    Binary(Box<[u8]>),
    Json(Box<[u8]>),
}

impl Row {
    const fn bytes(&self) -> &[u8] {
        match self {
            Self::Binary(bytes) | Self::Json(bytes) => bytes,
        }
    }
}

/// The rows of one payload.
#[derive(Debug)]
pub struct Rows {
    roots: Roots,
    transactions: Row,
    /// A node that did not run the block has none.
    outputs: Option<Row>,
}

/// A row of the table of payloads, as it is in newer databases.
#[derive(Clone, Copy, Debug)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Roots {
    payload: PayloadHash,
    transactions: TransactionsHash,
    outputs: OutputsHash,
}

/// Key in the newer tables.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Key {
    height: little_endian::U64,
    hash: [u8; 32],
}

/// What a table has under a key.
enum Found {
    Row(Row),
    /// A row that is longer than any of a block.
    Long,
    Nothing,
}

impl Found {
    fn of(value: NodeValue, row: impl FnOnce(Box<[u8]>) -> Row) -> Self {
        match value {
            NodeValue::Bytes(bytes) => Self::Row(row(bytes)),
            NodeValue::Long(_) => Self::Long,
        }
    }
}

/// The tables of one database, as far as it has them.
pub(super) struct Tables {
    binary: bool,
    json: bool,
    /// Whether the last blocks that were looked up had long rows.
    is_long: bool,
}

impl Tables {
    /// Those of `database`; `None` if it has none.
    pub(super) fn of(database: &NodeDatabase) -> Result<Option<Self>, StoreError> {
        let binary = database.has_table("BlockPayload2")?;
        let json = database.has_table("BlockPayload")?;
        Ok((binary || json).then_some(Self { binary, json, is_long: false }))
    }

    /// What the first of these blocks carry, as far as that is there: of as many, and of one at least,
    /// as have about `bytes_max` bytes.
    ///
    /// Threads take blocks one by one, and no more of them once there are so many bytes. So no more is held
    /// at once than that and a block for each thread, whatever the rows have. Where a block alone has so many
    /// bytes, the next ones are looked up by one thread: RocksDB holds each row once more while it reads it.
    pub(super) fn read(
        &mut self,
        database: &NodeDatabase,
        blocks: &[Record],
        bytes_max: usize,
    ) -> Result<Vec<Option<RawPayload>>, StoreError> {
        let (next, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            let mut found = Vec::new();
            while bytes.load(Ordering::Relaxed) < bytes_max {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(block) = blocks.get(number) else { break };
                let Ok(header) = &block.header else { continue };
                let payload = self.rows(database, header)?;
                bytes.fetch_add(payload.as_ref().map_or(0, RawPayload::len), Ordering::Relaxed);
                found.extend(payload.map(|payload| (number, payload)));
            }
            Ok(found)
        };
        // Lookups in a database that is not in memory are waiting for the most part.
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = if self.is_long { 1 } else { cores };
        let found = thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut found = work()?;
            for other in others {
                let more: Result<Vec<_>, StoreError> =
                    other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                found.append(&mut more?);
            }
            Ok::<_, StoreError>(found)
        })?;
        self.is_long = found.iter().any(|(_, payload)| payload.len() >= bytes_max);
        // Every block that a thread took was looked up, so all up to the last of them were.
        let looked_up = next.into_inner().min(blocks.len());
        let mut payloads: Vec<Option<RawPayload>> = Vec::new();
        payloads.resize_with(looked_up, || None);
        for (number, payload) in found {
            if let Some(place) = payloads.get_mut(number) {
                *place = Some(payload);
            }
        }
        Ok(payloads)
    }

    fn rows(
        &self,
        database: &NodeDatabase,
        header: &RawHeader,
    ) -> Result<Option<RawPayload>, StoreError> {
        let get = |table: &str, hash: &[u8; 32]| self.get(database, table, header, hash);
        let (odd, long) = (Some(RawPayload::Odd(ODD)), Some(RawPayload::Odd(LONG)));
        let roots = match get("BlockPayload", header.payload_hash.as_bytes())? {
            Found::Row(roots) => roots,
            Found::Long => return Ok(long),
            Found::Nothing => return Ok(None),
        };
        let Some(roots) = roots.roots() else { return Ok(odd) };
        let transactions = match get("BlockTransactions", roots.transactions.as_bytes())? {
            Found::Row(transactions) => transactions,
            Found::Long => return Ok(long),
            // Of a block that it did not get whole, a node has not all rows.
            Found::Nothing => return Ok(None),
        };
        let outputs = match get("BlockOutputs", roots.outputs.as_bytes())? {
            Found::Row(outputs) => Some(outputs),
            Found::Long => return Ok(long),
            Found::Nothing => None,
        };
        Ok(Some(RawPayload::Rows(Rows { roots, transactions, outputs })))
    }

    /// A row, from the newer table first, as nodes do.
    fn get(
        &self,
        database: &NodeDatabase,
        table: &str,
        header: &RawHeader,
        hash: &[u8; 32],
    ) -> Result<Found, StoreError> {
        if self.binary {
            let key = Key { height: header.height, hash: *hash };
            let row = database.get(&format!("{table}2"), key.as_bytes(), ROW_BYTES_MAX)?;
            if let Some(row) = row {
                return Ok(Found::of(row, Row::Binary));
            }
        }
        let row = if self.json { database.get(table, hash, ROW_BYTES_MAX)? } else { None };
        Ok(row.map_or(Found::Nothing, |row| Found::of(row, Row::Json)))
    }
}

impl Rows {
    /// Rows with these bytes: of the newer tables, or of the older ones.
    #[cfg(fuzzing)]
    #[must_use]
    pub fn fuzzed(binary: bool, roots: &[u8], parts: [&[u8]; 2]) -> Option<Self> {
        let row = |bytes: &[u8]| match binary {
            true => Row::Binary(bytes.into()),
            false => Row::Json(bytes.into()),
        };
        let [transactions, outputs] = parts;
        let outputs = (!outputs.is_empty()).then(|| row(outputs));
        Some(Self { roots: row(roots).roots()?, transactions: row(transactions), outputs })
    }

    /// The payload of these rows.
    #[cfg(fuzzing)]
    #[must_use]
    pub fn decoded(&self) -> Option<Payload> {
        self.decode().ok()
    }

    pub(super) fn len(&self) -> usize {
        let outputs = self.outputs.as_ref().map_or(0, |outputs| outputs.bytes().len());
        let transactions = self.transactions.bytes().len();
        size_of::<Roots>().saturating_add(transactions).saturating_add(outputs)
    }

    /// The payload of these rows, its hashes as they say.
    pub(super) fn decode(&self) -> Result<Payload, Wrong> {
        let odd = || Wrong::Row(ODD);
        let (transactions, miner_data) = self.transactions.transactions().ok_or_else(odd)?;
        let transactions: Vec<&[u8]> = transactions.iter().map(Item::bytes).collect();
        let outputs = self.outputs.as_ref().map(|row| row.outputs().ok_or_else(odd));
        let outputs = outputs.transpose()?;
        let outputs = outputs.as_ref().map(|(outputs, coinbase)| {
            (outputs.iter().map(Item::bytes).collect::<Vec<&[u8]>>(), coinbase.bytes())
        });
        let outputs = outputs.as_ref();
        let outputs = outputs.map(|(outputs, coinbase)| Outputs { coinbase, outputs });
        let parts = Parts {
            payload_hash: self.roots.payload,
            transactions_hash: self.roots.transactions,
            outputs_hash: self.roots.outputs,
            miner_data: miner_data.bytes(),
            transactions: &transactions,
            outputs,
        };
        let packed = parts.pack();
        // One output for each transaction there is, if they are those that the hashes name.
        if let (Err(RecordError::Outputs { .. }), Some(outputs)) = (&packed, parts.outputs) {
            let sealed = Parts::sealed(parts.miner_data, parts.transactions, outputs);
            let (got, expected) = (parts.transactions_hash, sealed.transactions_hash);
            if got != expected {
                return Err(PayloadError::TransactionsHash { got, expected }.into());
            }
            let (got, expected) = (parts.outputs_hash, sealed.outputs_hash);
            if got != expected {
                return Err(PayloadError::OutputsHash { got, expected }.into());
            }
        }
        Ok(packed?)
    }
}

/// A transaction, an output, or what stands behind these.
enum Item<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
}

impl Item<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    fn decoded(text: &str) -> Option<Self> {
        BASE64URL.decode(text).ok().map(Self::Owned)
    }
}

/// That a row is not of the form that its table has.
const ODD: &str = "a row of its tables is not what a node writes";

/// That a row is longer than one may be.
const LONG: &str = "a row of its tables has over 64 MiB";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names in the JSON")]
struct JsonRoots {
    payload_hash: String,
    transactions_hash: String,
    outputs_hash: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonTransactions<'a> {
    #[serde(borrow)]
    transaction: Texts<'a>,
    miner_data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonOutputs<'a> {
    #[serde(borrow)]
    outputs: Texts<'a>,
    coinbase_output: String,
}

/// Items, and the one behind them.
type Items<'a> = (Vec<Item<'a>>, Item<'a>);

impl Row {
    fn roots(&self) -> Option<Roots> {
        match self {
            Self::Binary(bytes) => Roots::read_from_bytes(bytes).ok(),
            Self::Json(text) => {
                let roots: JsonRoots = serde_json::from_slice(text).ok()?;
                Some(Roots {
                    payload: PayloadHash::new(decode_32(&roots.payload_hash).ok()?),
                    transactions: TransactionsHash::new(decode_32(&roots.transactions_hash).ok()?),
                    outputs: OutputsHash::new(decode_32(&roots.outputs_hash).ok()?),
                })
            }
        }
    }

    /// Transactions, and miner data.
    fn transactions(&self) -> Option<Items<'_>> {
        match self {
            Self::Binary(bytes) => items(bytes),
            Self::Json(text) => {
                let row: JsonTransactions<'_> = serde_json::from_slice(text).ok()?;
                decoded(&row.transaction, &row.miner_data)
            }
        }
    }

    /// Outputs, and that of the reward.
    fn outputs(&self) -> Option<Items<'_>> {
        match self {
            Self::Binary(bytes) => items(bytes),
            Self::Json(text) => {
                let row: JsonOutputs<'_> = serde_json::from_slice(text).ok()?;
                decoded(&row.outputs, &row.coinbase_output)
            }
        }
    }
}

fn decoded<'a>(Texts(items): &Texts<'_>, last: &str) -> Option<Items<'a>> {
    let items: Option<Vec<Item<'a>>> = items.iter().map(|text| Item::decoded(text)).collect();
    Some((items?, Item::decoded(last)?))
}

/// A hash, the number of items, each item behind its length, and one more.
fn items(row: &[u8]) -> Option<Items<'_>> {
    let (_, rest) = row.split_at_checked(size_of::<[u8; 32]>())?;
    let (count, mut rest) = number(rest).filter(|(count, _)| *count <= ITEMS_MAX)?;
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(item(&mut rest)?);
    }
    let last = item(&mut rest)?;
    rest.is_empty().then_some((items, last))
}

fn item<'a>(rest: &mut &'a [u8]) -> Option<Item<'a>> {
    let (len, behind) = number(rest)?;
    let (item, behind) = behind.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = behind;
    Some(Item::Borrowed(item))
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = big_endian::U64::read_from_prefix(bytes).ok()?;
    Some((number.get(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row as a node writes it.
    fn row(items: &[&[u8]], last: &[u8]) -> Vec<u8> {
        let number = |len: usize| big_endian::U64::new(len as u64).to_bytes();
        let mut row = vec![7; 32];
        row.extend(number(items.len()));
        for item in items.iter().chain([&last]) {
            row.extend(number(item.len()));
            row.extend(*item);
        }
        row
    }

    #[test]
    fn rows_are_read_as_nodes_write_them() {
        let cases: [&[&[u8]]; 3] = [&[], &[b"one"], &[b"", b"two", b"three"]];
        for items in cases {
            let row = row(items, b"last");
            let (read, last) = super::items(&row).unwrap();
            assert!(read.iter().map(Item::bytes).eq(items.iter().copied()));
            assert_eq!(last.bytes(), b"last");
        }
    }

    #[test]
    fn a_row_that_is_cut_or_too_long_or_claims_too_much_is_none() {
        let whole = row(&[b"one", b"two"], b"last");
        for len in 0..whole.len() {
            assert!(items(&whole[..len]).is_none(), "{len}");
        }
        assert!(items(&[&whole[..], b"x"].concat()).is_none());
        for byte in 32..48 {
            let mut claims = whole.clone();
            claims[byte] = 0xFF;
            assert!(items(&claims).is_none(), "{byte}");
        }
    }
}
