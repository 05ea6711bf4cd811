use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::path::{Path, PathBuf};

use zerocopy::byteorder::big_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::payload::PAYLOAD_BYTES_MAX;
use super::rows::Tables;
use super::{Chunk, Notice, Place, RawPayload, Record, Skips, Source, Span, with_payloads};
use crate::header::{DecodeError, HeaderRef, RawHeader, merkle};
use crate::replay::{ReplayError, Wrong};
use crate::store::{LogFinding, MarkedAt, NodeDatabase, NodeHeaders, StoreError};
use crate::types::{BlockHash, BlockHeight, ChainId, ChainwebVersion, Grow};

/// The header tables of a chainweb-node, merged by height so that parents come first on every
/// chain, and what the tables of payloads have for them.
///
/// Rank tables are not read: the header tables alone say everything. Rows of another network are passed over
/// and counted: nodes that began with the software of another one have its genesis blocks.
pub struct Node {
    path: PathBuf,
    version: ChainwebVersion,
    database: NodeDatabase,
    /// Those of payloads, if they are to be read and there are any.
    tables: Option<Tables>,
    /// For each chain the first key that is still to be read; `None` behind the last one.
    cursors: Vec<(ChainId, Option<Vec<u8>>)>,
    /// Blocks that were read, and whose payloads are still to be looked up.
    ahead: VecDeque<Record>,
    /// The heights that each chain has, as far as it has any.
    spans: Vec<Span>,
    /// The network of the headers, if one of the first ones names a known one.
    network: Option<ChainwebVersion>,
    /// The missing data, which is reported at the end.
    losses: Vec<LogFinding>,
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
    /// says whether what blocks carry is read, too. After damage in a log it is read on only if it is to
    /// `keep_going`.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] if there is none, or it has no headers of `version`.
    pub fn open(
        path: &Path,
        version: ChainwebVersion,
        keep_going: bool,
        payloads: bool,
    ) -> Result<Self, ReplayError> {
        let places = [path.to_owned(), path.join("0").join("rocksDb"), path.join("rocksDb")];
        let mut found = None;
        for place in &places {
            // That it may not be seen is not that it is not there.
            let is_here = place.join("CURRENT").try_exists();
            if is_here.map_err(|error| ReplayError::io(place, error))? {
                found = Some(place.clone());
                break;
            }
        }
        let path = found.ok_or_else(|| {
            // A copy may lack that file only.
            let rest = places.into_iter().find(|place| NodeDatabase::is_begun(place));
            match rest.map(|path| StoreError::MissingFile { path: path.join("CURRENT") }) {
                Some(source) => ReplayError::Database { path: path.to_owned(), source },
                None => ReplayError::NoDatabase { path: path.to_owned() },
            }
        })?;
        if NodeDatabase::is_own(&path) {
            return Err(ReplayError::Format {
                input: path.display().to_string(),
                reason: "is a database of Plait's own, not of a chainweb-node".to_owned(),
            });
        }
        let fail = |source| ReplayError::Database { path: path.clone(), source };
        let database = NodeDatabase::open(&path, keep_going).map_err(fail)?;
        let (mut cursors, mut spans, mut named) = (Vec::new(), Vec::new(), Named::default());
        for chain in version.chain_ids() {
            let rows = database.headers(chain, None);
            cursors.push((chain, rows.row().map_err(fail)?.map(|(key, _)| key.to_owned())));
            let first = first_of(rows, version, &mut named).map_err(fail)?;
            let last = last_of(database.last_header(chain), version).map_err(fail)?;
            spans.extend(first.zip(last).map(|(first, last)| Span { chain, first, last }));
        }
        let losses: Vec<LogFinding> =
            database.findings().iter().filter(|finding| finding.is_loss()).cloned().collect();
        if spans.is_empty() {
            // What is missing may be a warning only, and is the likely reason here.
            let found = losses.into_iter().next().or_else(|| database.findings().first().cloned());
            return Err(match (found, named.other) {
                (_, Some(got)) => ReplayError::OtherNetwork { path, got, version },
                (Some(damage), None) => ReplayError::Unread { path, damage: Box::new(damage) },
                (None, None) => ReplayError::NoHeaders { path, version },
            });
        }
        let network = if named.is_own { Some(version) } else { named.other };
        let tables = if payloads { Tables::of(&database).map_err(fail)? } else { None };
        let (ahead, position, records) = (VecDeque::new(), 0, 0);
        Ok(Self {
            path,
            version,
            database,
            tables,
            cursors,
            ahead,
            spans,
            network,
            losses,
            position,
            records,
        })
    }

    /// The network that it was opened as, if a header is of it; else another known one that a header names.
    #[must_use]
    pub const fn network(&self) -> Option<ChainwebVersion> {
        self.network
    }

    /// The next records, and how many rows of other networks come before them, between and behind.
    fn read(&mut self, records_max: usize) -> Result<(Vec<Record>, u64), StoreError> {
        let mut foreign = 0_u64;
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
            && foreign < FOREIGN_MAX
            && let Some(Reverse((_, index))) = heap.pop()
        {
            let Some((chain, rows)) = tables.get_mut(index) else { continue };
            if let Some((key, value)) = rows.row()? {
                self.position =
                    self.position.saturating_add(key.len().saturating_add(value.len()) as u64);
                match record(*chain, key, value) {
                    Record { header: Ok(raw), .. } if is_foreign(&raw, self.version) => {
                        foreign.grow(1);
                    }
                    record => records.push(record),
                }
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
        Ok((records, foreign))
    }

    /// The first records that were read ahead, with what these blocks carry; and how many of them carry what
    /// is not there.
    fn looked_up(&mut self, tables: &mut Tables) -> Result<(Vec<Record>, u64), StoreError> {
        let blocks = self.ahead.make_contiguous();
        let payloads = tables.read(&self.database, blocks, PAYLOAD_BYTES_MAX)?;
        let (mut bare, mut bytes) = (0_u64, 0_u64);
        let records = self.ahead.drain(..payloads.len()).zip(payloads).map(|(block, payload)| {
            bare.grow(u64::from(block.header.is_ok() && payload.is_none()));
            bytes.grow(payload.as_ref().map_or(0, RawPayload::len) as u64);
            Record { payload, ..block }
        });
        let records = records.collect();
        self.position = self.position.saturating_add(bytes);
        Ok((records, bare))
    }

    /// The next records, and what was passed over.
    fn next_records(&mut self, records_max: usize) -> Result<(Vec<Record>, Skips), StoreError> {
        let mut skips = Skips::default();
        if self.ahead.is_empty() {
            let (records, foreign) = self.read(records_max)?;
            (self.ahead, skips.foreign) = (records.into(), foreign);
        }
        let Some(mut tables) = self.tables.take() else {
            return Ok((std::mem::take(&mut self.ahead).into(), skips));
        };
        let looked_up = self.looked_up(&mut tables);
        self.tables = Some(tables);
        let (records, bare) = looked_up?;
        Ok((records, Skips { bare, ..skips }))
    }

    /// The lowest height that is still to be given; all below it was.
    fn height(&self) -> u64 {
        let keys = self.cursors.iter().filter_map(|(_, key)| key.as_deref());
        let ahead = self.ahead.iter().map(|record| match &record.place {
            Place::Row { key, .. } => height_of(key),
            _ => 0,
        });
        keys.map(height_of).chain(ahead).min().unwrap_or(u64::MAX)
    }
}

impl Source for Node {
    fn next(&mut self, records_max: usize) -> Result<Option<Chunk>, ReplayError> {
        let read = self.next_records(records_max.max(1));
        let (records, skips) =
            read.map_err(|source| ReplayError::Database { path: self.path.clone(), source })?;
        self.records = self.records.saturating_add(records.len() as u64);
        let end = MarkedAt {
            position: self.position.into(),
            steps: self.height().into(),
            records: self.records.into(),
        };
        if records.is_empty() && skips == Skips::default() {
            // Missing data is reported last, so that a replay stores all existing data before it ends.
            let losses = std::mem::take(&mut self.losses);
            let chunk = Chunk::each(Vec::new(), end);
            return Ok((!losses.is_empty()).then(|| {
                losses.into_iter().fold(chunk, |chunk, loss| {
                    let place = Place::File("logs".to_owned());
                    chunk.with_wrong(place, Wrong::Log(loss))
                })
            }));
        }
        Ok(Some(Chunk::each(records, end).skipping(skips)))
    }

    fn notices(&self) -> Vec<Notice> {
        let logs = self.database.findings().iter().filter(|finding| !finding.is_loss());
        let logs = logs.cloned().map(Notice::Log);
        // How far it goes is of interest where some of it is missing.
        let lacks_some = self.begins_late() || !self.database.findings().is_empty();
        let heights = lacks_some.then(|| Notice::Heights(self.spans.clone()));
        logs.chain(heights).collect()
    }

    fn begins_late(&self) -> bool {
        self.spans.iter().any(|span| span.begins_late(self.version))
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
        self.ahead.clear();
        (self.position, self.records) = (at.position.get(), at.records.get());
        Ok(true)
    }
}

/// Rows of other networks that are passed over at once.
const FOREIGN_MAX: u64 = 1 << 16;

/// Whether a header is whole, and of another network than `version`. One whose hash is another than its
/// fields ask for is damaged, whatever network it says.
fn is_foreign(raw: &RawHeader, version: ChainwebVersion) -> bool {
    let is_right = |header: HeaderRef<'_>| merkle::block_hash(header) == header.hash();
    raw.version.get() != version.code() && HeaderRef::new(raw).is_ok_and(is_right)
}

/// The code of the network in the value of a row.
fn code_of(value: &[u8]) -> Option<u32> {
    RawHeader::ref_from_prefix(value).ok().map(|(raw, _)| raw.version.get())
}

/// The networks that the first headers name.
#[derive(Default)]
struct Named {
    /// Whether one is of the network that was asked for.
    is_own: bool,
    /// Another one.
    other: Option<ChainwebVersion>,
}

/// The height of the first header of `version`, or of one that names no network, which is reported when it is
/// read; the networks of those that are looked at go to `named`.
fn first_of(
    mut rows: NodeHeaders<'_>,
    version: ChainwebVersion,
    named: &mut Named,
) -> Result<Option<BlockHeight>, StoreError> {
    let (mut first, mut passed) = (None, 0_u64);
    while let Some((key, value)) = rows.row()? {
        let code = code_of(value);
        let is_own = code == Some(version.code());
        named.is_own |= is_own;
        if code.is_none() || is_own || passed == FOREIGN_MAX {
            first = first.or(Some(BlockHeight::new(height_of(key))));
        }
        named.other = named.other.or(code.filter(|_| !is_own).and_then(ChainwebVersion::from_code));
        if is_own || passed == FOREIGN_MAX {
            break;
        }
        passed.grow(1);
        rows.advance();
    }
    Ok(first)
}

/// The height of the last header of `version`.
fn last_of(
    mut rows: NodeHeaders<'_>,
    version: ChainwebVersion,
) -> Result<Option<BlockHeight>, StoreError> {
    let mut passed = 0_u64;
    while let Some((key, value)) = rows.row()? {
        if code_of(value).is_none_or(|code| code == version.code()) || passed == FOREIGN_MAX {
            return Ok(Some(BlockHeight::new(height_of(key))));
        }
        passed.grow(1);
        rows.step_back();
    }
    Ok(None)
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
