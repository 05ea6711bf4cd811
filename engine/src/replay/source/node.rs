use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};

use zerocopy::byteorder::big_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Chunk, Place, Source};
use crate::header::{DecodeError, RawHeader};
use crate::replay::{ReplayError, Wrong};
use crate::store::{MarkedAt, NodeDatabase, NodeHeaders, StoreError};
use crate::types::{BlockHash, ChainId, ChainwebVersion};

/// The header tables of a chainweb-node, merged by height so that parents come first on every
/// chain.
///
/// Rank tables are not read: the header tables alone say everything.
pub struct Node {
    path: PathBuf,
    database: NodeDatabase,
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
    /// Opens the database in `path`: the RocksDB directory itself, or a folder above it.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] if there is none, or it has no headers of `version`.
    pub fn open(path: &Path, version: ChainwebVersion) -> Result<Self, ReplayError> {
        let places = [path.to_owned(), path.join("0").join("rocksDb"), path.join("rocksDb")];
        let found = places.into_iter().find(|place| place.join("CURRENT").exists());
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
        Ok(Self { path, database, cursors, position: 0, records: 0 })
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
}

impl Source for Node {
    fn next(&mut self, records_max: usize) -> Result<Option<Chunk>, ReplayError> {
        let records = self
            .read(records_max.max(1))
            .map_err(|source| ReplayError::Database { path: self.path.clone(), source })?;
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
        Some(*blake2s_simd::blake2s(text.as_bytes()).as_array())
    }

    fn resume(&mut self, at: MarkedAt) -> Result<bool, ReplayError> {
        for (_, cursor) in self.cursors.iter_mut().filter(|(_, cursor)| cursor.is_some()) {
            *cursor = Some(at.steps.to_bytes().to_vec());
        }
        (self.position, self.records) = (at.position.get(), at.records.get());
        Ok(true)
    }
}

type Record = (Place, Result<RawHeader, Wrong>);

fn height_of(key: &[u8]) -> u64 {
    U64::read_from_prefix(key).map_or(0, |(height, _)| height.get())
}

/// The header of a row, if its key is the one that the node would give it.
fn record(chain: ChainId, key: &[u8], value: &[u8]) -> Record {
    let place = Place::Row { chain, key: key.into() };
    let Ok(raw) = RawHeader::read_from_bytes(value) else {
        return (place, Err(DecodeError::Length { got: value.len() }.into()));
    };
    let fits = HeaderKey::ref_from_bytes(key).is_ok_and(|key| {
        key.height.get() == raw.height.get()
            && key.hash == raw.hash
            && chain.get() == raw.chain.get()
    });
    (place, if fits { Ok(raw) } else { Err(Wrong::Key) })
}
