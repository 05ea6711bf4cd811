//! Whether a file is what the manifest says of it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use zerocopy::FromBytes;

use super::layout::HEADER_LEN;
use super::manifest::is_absent;
use super::{Damage, Entry, Fault, FileHeader, Hasher, Kind, Manifest, RecordFlaw};
use crate::header::{HeaderRef, LEN, RawHeader, merkle};
use crate::regular;
use crate::types::{BlockHash, BlockHeight, Grow, Rank};

/// Records that are read together: 650 kB.
const TOGETHER: usize = 2048;

/// Checks a file: its length, its header, its checksum, and that its records are in order, of its
/// range, and linked. What takes other files, and the rules of the chain, is not checked.
///
/// # Cost
///
/// One pass over the file; a second one over a damaged file, to find the record.
pub(super) fn inspect(dir: &Path, manifest: &Manifest, entry: &Entry) -> Result<(), Damage> {
    let mut file = open(dir, entry)?;
    let mut header = [0; HEADER_LEN];
    file.read_exact(&mut header).map_err(Damage::Io)?;
    let mut hasher = Hasher::default();
    hasher.update(&header);
    let header = FileHeader::read_from_bytes(&header).map_err(|_| Damage::Header("magic"))?;
    if let Some(field) = header.difference(&manifest.header(entry)) {
        return Err(Damage::Header(field));
    }
    let mut order = Order::new(manifest, entry);
    let mut flaw = None;
    each_record(&mut file, entry, |records| {
        hasher.update(records);
        flaw = flaw.take().or_else(|| order.check(records).err());
    })?;
    let (got, expected) = (hasher.finish(), entry.checksum);
    if got != expected {
        let at = flaw.map_or_else(|| wrong_hash(&mut file, entry), |flaw| Ok(Some(flaw)));
        return Err(Damage::Checksum { got, expected, at: at.ok().flatten().map(Box::new) });
    }
    flaw.map_or(Ok(()), |flaw| Err(Damage::Record(Box::new(flaw))))
}

/// Opens a file and checks its length.
pub(super) fn open(dir: &Path, entry: &Entry) -> Result<File, Damage> {
    let file = regular::open(&dir.join(entry.name()));
    let file =
        file.map_err(|error| if is_absent(&error) { Damage::Missing } else { Damage::Io(error) })?;
    let (got, expected) = (file.metadata().map_err(Damage::Io)?.len(), entry.bytes());
    if got == expected { Ok(file) } else { Err(Damage::Length { got, expected }) }
}

/// Lends the records of a file, many at a time.
fn each_record(file: &mut File, entry: &Entry, mut visit: impl FnMut(&[u8])) -> Result<(), Damage> {
    file.seek(SeekFrom::Start(HEADER_LEN as u64)).map_err(Damage::Io)?;
    let mut buffer = vec![0; TOGETHER * LEN];
    let mut left = entry.records;
    while left > 0 {
        let count = left.min(TOGETHER as u64);
        let len = usize::try_from(count).unwrap_or(TOGETHER).saturating_mul(LEN);
        let some = buffer.get_mut(..len).unwrap_or_default();
        file.read_exact(some).map_err(Damage::Io)?;
        visit(some);
        left.shrink(count);
    }
    Ok(())
}

/// The first record whose block hash is not that of its fields.
fn wrong_hash(file: &mut File, entry: &Entry) -> Result<Option<RecordFlaw>, Damage> {
    let (mut number, mut found) = (0, None);
    each_record(file, entry, |records| {
        for record in records.chunks_exact(LEN) {
            let header = HeaderRef::parse(record).ok().filter(|_| found.is_none());
            if let Some(header) = header.filter(|h| merkle::block_hash(*h) != h.hash()) {
                found = Some(flaw(number, header.raw(), Fault::Hash));
            }
            number.grow(1);
        }
    })?;
    Ok(found)
}

fn flaw(number: u64, raw: &RawHeader, fault: Fault) -> RecordFlaw {
    RecordFlaw { number, height: BlockHeight::new(raw.height.get()), hash: raw.hash, fault }
}

/// The records of a file, one after the other.
struct Order<'a> {
    manifest: &'a Manifest,
    entry: &'a Entry,
    number: u64,
    last: Option<Rank>,
    /// What the next record of a canonical file has to name.
    parent: Option<BlockHash>,
}

impl<'a> Order<'a> {
    const fn new(manifest: &'a Manifest, entry: &'a Entry) -> Self {
        Self { manifest, entry, number: 0, last: None, parent: entry.parent }
    }

    fn check(&mut self, records: &[u8]) -> Result<(), RecordFlaw> {
        let Ok(records) = <[RawHeader]>::ref_from_bytes(records) else { return Ok(()) };
        for raw in records {
            self.record(raw).map_err(|fault| flaw(self.number, raw, fault))?;
            self.number.grow(1);
        }
        Ok(())
    }

    fn record(&mut self, raw: &RawHeader) -> Result<(), Fault> {
        let (header, entry) = (HeaderRef::new(raw)?, self.entry);
        let rank = header.rank();
        if header.version_code() != self.manifest.version.code() {
            return Err(Fault::Network);
        }
        if header.chain() != entry.chain {
            return Err(Fault::Chain);
        }
        if rank.height < entry.from || rank.height > self.manifest.heights.last(entry.from) {
            return Err(Fault::Height);
        }
        if self.last.is_some_and(|last| last >= rank) {
            return Err(Fault::Order);
        }
        if entry.kind == Kind::Canonical {
            if self.last.is_some_and(|last| last.height.child() != Some(rank.height)) {
                return Err(Fault::Order);
            }
            if self.parent.is_some_and(|parent| parent != header.parent()) {
                return Err(Fault::Parent);
            }
            self.parent = Some(rank.hash);
        }
        let is_last = self.number.saturating_add(1) == entry.records;
        if self.number == 0 && rank != entry.first || is_last && rank != entry.last {
            return Err(Fault::Edge);
        }
        self.last = Some(rank);
        Ok(())
    }
}
