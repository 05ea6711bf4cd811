use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};

use zerocopy::byteorder::big_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::payload::PAYLOAD_BYTES_MAX;
use super::rows::Tables;
use super::{Chunk, Place, RawPayload, Record, Source, with_payloads};
use crate::header::{DecodeError, RawHeader};
use crate::replay::{ReplayError, Wrong};
use crate::store::{MarkedAt, NodeDatabase, NodeHeaders, StoreError};
use crate::types::{BlockHash, ChainId, ChainwebVersion};

/// Blocks whose payloads are looked up together: enough for several threads, and not too much memory
/// even where each has some hundred kilobytes.
const LOOKED_UP: usize = 256;

/// The header tables of a chainweb-node, merged by height so that parents come first on every
/// chain, and what the tables of payloads have for them.
///
/// Rank tables are not read: the header tables alone say everything.
pub struct Node {
    path: PathBuf,
    database: NodeDatabase,
    /// Those of payloads, if they are to be read and there are any.
    tables: Option<Tables>,
    /// For each chain the first key that is still to be read; `None` behind the last one.
    cursors: Vec<(ChainId, Option<Vec<u8>>)>,
    position: u64,
    records: u64,
}

/// Key in a header table.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct HeaderKey {
    height: U64,
    hash: BlockHash,
}

impl Node {
    /// Opens the database in `path`: the RocksDB directory itself, or a folder above it. `payloads`
    /// says whether what blocks carry is read, too.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] if there is none, or it has no headers of `version`.
    pub fn open(
        path: &Path,
        version: ChainwebVersion,
        payloads: bool,
    ) -> Result<Self, ReplayError> {
        let places = [path.to_owned(), path.join("0").join("rocksDb"), path.join("rocksDb")];
        let mut found = None;
        for place in places {
            // That it may not be seen is not that it is not there.
            let is_here = place.join("CURRENT").try_exists();
            if is_here.map_err(|error| ReplayError::io(&place, error))? {
                found = Some(place);
                break;
            }
        }
        let path = found.ok_or_else(|| ReplayError::NoDatabase { path: path.to_owned() })?;
        if NodeDatabase::is_own(&path) {
            return Err(ReplayError::Format {
                input: path.display().to_string(),
                reason: "is a database of Plait's own, not of a chainweb-node".to_owned(),
            });
        }
        let fail = |source| ReplayError::Database { path: path.clone(), source };
        let database = NodeDatabase::open(&path).map_err(fail)?;
        let mut cursors = Vec::new();
        for chain in version.chain_ids() {
            let rows = database.headers(chain, None);
            cursors.push((chain, rows.row().map_err(fail)?.map(|(key, _)| key.to_owned())));
        }
        if cursors.iter().all(|(_, key)| key.is_none()) {
            return Err(ReplayError::NoHeaders { path, version });
        }
        let tables = if payloads { Tables::of(&database).map_err(fail)? } else { None };
        Ok(Self { path, database, tables, cursors, position: 0, records: 0 })
    }

    fn read(&mut self, records_max: usize) -> Result<Vec<Record>, StoreError> {
        let mut tables: Vec<(ChainId, NodeHeaders<'_>)> = Vec::new();
        let mut heap = BinaryHeap::new();
        for (chain, cursor) in self.cursors.iter().filter(|(_, cursor)| cursor.is_some()) {
            let rows = self.database.headers(*chain, cursor.as_deref());
            if let Some((key, _)) = rows.row()? {
                heap.push(Reverse((height_of(key), tables.len())));
            }
            tables.push((*chain, rows));
        }
        let mut records = Vec::with_capacity(records_max);
        while records.len() < records_max
            && let Some(Reverse((_, index))) = heap.pop()
        {
            let Some((chain, rows)) = tables.get_mut(index) else { continue };
            if let Some((key, value)) = rows.row()? {
                self.position += (key.len() + value.len()) as u64;
                records.push(record(*chain, key, value));
            }
            rows.advance();
            if let Some((key, _)) = rows.row()? {
                heap.push(Reverse((height_of(key), index)));
            }
        }
        let mut cursors = Vec::with_capacity(tables.len());
        for (chain, rows) in &tables {
            cursors.push((*chain, rows.row()?.map(|(key, _)| key.to_owned())));
        }
        drop(tables);
        self.cursors = cursors;
        Ok(records)
    }

    /// The same with what these blocks carry; fewer of them if that is much.
    fn read_with_payloads(&mut self, records_max: usize) -> Result<Vec<Record>, StoreError> {
        let (mut records, mut bytes) = (Vec::with_capacity(records_max), 0);
        while records.len() < records_max && bytes < PAYLOAD_BYTES_MAX {
            let mut some = self.read(LOOKED_UP.min(records_max - records.len()))?;
            let Some(tables) = self.tables.as_ref().filter(|_| !some.is_empty()) else {
                return Ok(if records.is_empty() { some } else { records });
            };
            let headers: Vec<RawHeader> =
                some.iter().filter_map(|record| record.header.as_ref().ok()).copied().collect();
            let rows = tables.read(&self.database, &headers)?;
            let right = some.iter_mut().filter(|record| record.header.is_ok());
            for (record, payload) in right.zip(rows) {
                bytes += payload.as_ref().map_or(0, RawPayload::len);
                record.payload = payload;
            }
            records.append(&mut some);
        }
        self.position += bytes as u64;
        Ok(records)
    }
}

impl Source for Node {
    fn next(&mut self, records_max: usize) -> Result<Option<Chunk>, ReplayError> {
        let records = match &self.tables {
            Some(_) => self.read_with_payloads(records_max.max(1)),
            None => self.read(records_max.max(1)),
        };
        let records =
            records.map_err(|source| ReplayError::Database { path: self.path.clone(), source })?;
        self.records += records.len() as u64;
        let keys = self.cursors.iter().filter_map(|(_, key)| key.as_deref());
        let height = keys.map(height_of).min().unwrap_or(u64::MAX);
        let end = MarkedAt {
            position: self.position.into(),
            steps: height.into(),
            records: self.records.into(),
        };
        Ok((!records.is_empty()).then(|| Chunk::each(records, end)))
    }

    fn size(&self) -> Option<u64> {
        None
    }

    fn name(&self) -> Option<[u8; 32]> {
        let text = format!("{} {}", self.path.display(), self.database.sequence_number());
        let name = *blake2s_simd::blake2s(text.as_bytes()).as_array();
        Some(if self.tables.is_some() { with_payloads(name) } else { name })
    }

    fn resume(&mut self, at: MarkedAt) -> Result<bool, ReplayError> {
        for (_, cursor) in self.cursors.iter_mut().filter(|(_, cursor)| cursor.is_some()) {
            *cursor = Some(at.steps.to_bytes().to_vec());
        }
        (self.position, self.records) = (at.position.get(), at.records.get());
        Ok(true)
    }
}

fn height_of(key: &[u8]) -> u64 {
    U64::read_from_prefix(key).map_or(0, |(height, _)| height.get())
}

/// The header of a row, if its key is the one that the node would give it.
fn record(chain: ChainId, key: &[u8], value: &[u8]) -> Record {
    let place = Place::Row { chain, key: key.into() };
    let header = header(chain, key, value);
    Record { place, header, payload: None }
}

fn header(chain: ChainId, key: &[u8], value: &[u8]) -> Result<RawHeader, Wrong> {
    let Ok(raw) = RawHeader::read_from_bytes(value) else {
        return Err(DecodeError::Length { got: value.len() }.into());
    };
    let fits = HeaderKey::ref_from_bytes(key).is_ok_and(|key| {
        key.height.get() == raw.height.get()
            && key.hash == raw.hash
            && chain.get() == raw.chain.get()
    });
    if fits { Ok(raw) } else { Err(Wrong::Key) }
}
