//! RocksDB's logs and lists of files, record by record, and where they end.
//!
//! A file consists of blocks of 32 KiB, and a block of records. A record has a checksum, a length, a kind and
//! bytes; none crosses the end of a block, so a longer batch is written as several records.
//!
//! A log ends where a crash cut it, or a copy that was made while the database was written: in the middle of
//! a record. Damage differs from that in that intact records follow it. RocksDB does not distinguish the two
//! reliably. A recycled log (`recycle_log_file_num`) has the rest of an older log after its end, so RocksDB
//! treats any unreadable record as the end, and ignores everything after it; and if it reads zeros, it silently
//! skips the rest of the block. For example, log 7 was written over log 3, and one bit of record 2 is flipped:
//!
//! ```text
//! 7: record 1 │ 7: record 2 (damaged) │ 7: record 3 │ 3: the rest of an old record │ 3: record 9
//!             └ RocksDB ends here     └ a whole record of 7 follows: this is damage
//! ```

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use zerocopy::FromBytes;
use zerocopy::byteorder::little_endian::{U32, U64};

use super::records::{BLOCK_LEN, Head, checksum, is_recycled};
use crate::regular;

/// The kind of a record that says how all others are compressed.
const COMPRESSION: u8 = 9;

/// How a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With its last record, or where an older log goes on that it was written over.
    Whole,
    /// In the middle of a record, after so many bytes.
    Cut { at: u64 },
    /// After so many bytes there is an unreadable record, and it is not the last one.
    Damaged { at: u64, why: &'static str },
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Odd {
    /// Zeros: a part of the file that was never written.
    Blank,
    /// It is longer than what is left of its block.
    Long,
    /// It is one of an older log.
    Old,
    Checksum,
}

/// Reads the file at `path`, a log with this `number`, and gives `visit` the kind and the bytes of each
/// record, up to the first that does not read.
pub(super) fn walk(path: &Path, number: u64, visit: &mut dyn FnMut(u8, &[u8])) -> io::Result<End> {
    walk_on(&mut regular::open(path)?, Walk::new(number), visit)
}

/// How the log with this `number` at `path` ends, by its last block that has more than zeros. Damage before
/// that block is not seen.
pub(super) fn tail(path: &Path, number: u64) -> io::Result<End> {
    let mut file = regular::open(path)?;
    let blocks = file.metadata()?.len().div_ceil(BLOCK_LEN as u64);
    let (mut before, mut block) = (0, Vec::with_capacity(BLOCK_LEN));
    for last in (0..blocks).rev() {
        before = last.saturating_mul(BLOCK_LEN as u64);
        file.seek(SeekFrom::Start(before))?;
        block.clear();
        file.by_ref().take(BLOCK_LEN as u64).read_to_end(&mut block)?;
        if block.iter().any(|byte| *byte != 0) {
            break;
        }
    }
    file.seek(SeekFrom::Start(before))?;
    walk_on(&mut file, Walk { before, ..Walk::new(number) }, &mut |_, _| ())
}

fn walk_on(file: &mut File, mut walk: Walk, visit: &mut dyn FnMut(u8, &[u8])) -> io::Result<End> {
    let mut block = Vec::with_capacity(BLOCK_LEN);
    loop {
        block.clear();
        file.by_ref().take(BLOCK_LEN as u64).read_to_end(&mut block)?;
        walk.block(&block, visit);
        if block.len() < BLOCK_LEN || walk.is_followed {
            return Ok(walk.end());
        }
    }
}

struct Walk {
    /// The lowest 32 bits of the number of the log, as in the records of recycled ones.
    number: u32,
    /// Bytes of the blocks that were read.
    before: u64,
    is_recycled: bool,
    /// The first place that is no record, why, and whether it is in a block that the file cuts off.
    odd: Option<(u64, Odd, bool)>,
    /// Whether there is a record after that place.
    is_followed: bool,
}

impl Walk {
    #[expect(clippy::cast_possible_truncation, reason = "RocksDB writes the lowest 32 bits")]
    const fn new(number: u64) -> Self {
        let (odd, is_recycled, is_followed) = (None, false, false);
        Self { number: number as u32, before: 0, is_recycled, odd, is_followed }
    }

    fn block(&mut self, block: &[u8], visit: &mut dyn FnMut(u8, &[u8])) {
        if self.odd.is_some() {
            // A block begins with a record.
            self.is_followed |= self.is_record(block);
            return;
        }
        let (mut rest, is_last) = (block, block.len() < BLOCK_LEN);
        // Where no head has room, zeros fill the block.
        while rest.len() >= size_of::<Head>() {
            match self.record(rest) {
                Ok((kind, bytes, next)) => {
                    visit(kind, bytes);
                    self.is_recycled |= is_recycled(kind);
                    rest = next;
                }
                Err(odd) => return self.stop(block, rest, odd),
            }
        }
        if is_last && !rest.is_empty() {
            return self.stop(block, rest, Odd::Long);
        }
        self.before = self.before.saturating_add(block.len() as u64);
    }

    /// Notes that `rest` does not begin with a record, and looks for one in it.
    fn stop(&mut self, block: &[u8], rest: &[u8], odd: Odd) {
        let at = self.before.saturating_add(block.len().saturating_sub(rest.len()) as u64);
        self.odd = Some((at, odd, block.len() < BLOCK_LEN));
        self.is_followed =
            (1..rest.len()).any(|from| self.is_record(rest.get(from..).unwrap_or_default()));
    }

    /// Whether `bytes` begin with a record that is not empty. Checksums of empty ones match by chance once in
    /// a while: they are looked for at every byte.
    fn is_record(&self, bytes: &[u8]) -> bool {
        self.record(bytes).is_ok_and(|(_, bytes, _)| !bytes.is_empty())
    }

    /// Kind and bytes of the record that `bytes` begin with, and the bytes after it.
    fn record<'a>(&self, bytes: &'a [u8]) -> Result<(u8, &'a [u8], &'a [u8]), Odd> {
        let (head, behind) = Head::ref_from_prefix(bytes).map_err(|_| Odd::Long)?;
        let len = usize::from(head.len.get());
        if head.kind == 0 && len == 0 {
            return Err(Odd::Blank);
        }
        // Those of recycled logs say of which log they are.
        let more = if is_recycled(head.kind) { size_of::<U32>() } else { 0 };
        let (body, rest) = behind.split_at_checked(more.saturating_add(len)).ok_or(Odd::Long)?;
        if checksum(head.kind, body) != head.checksum.get() {
            return Err(Odd::Checksum);
        }
        let (number, record) = body.split_at_checked(more).ok_or(Odd::Long)?;
        let is_own = U32::ref_from_bytes(number).is_ok_and(|number| number.get() == self.number);
        if more > 0 && !is_own {
            return Err(Odd::Old);
        }
        Ok((head.kind, record, rest))
    }

    const fn end(&self) -> End {
        let Some((at, odd, in_last)) = self.odd else { return End::Whole };
        let why = match odd {
            Odd::Blank => "zeros where a record should be",
            Odd::Long => "a record is longer than its block",
            Odd::Old => "a record of another log",
            Odd::Checksum => "a record does not match its checksum",
        };
        match odd {
            _ if self.is_followed => End::Damaged { at, why },
            // The data after the end of a recycled log is left from an older one.
            _ if self.is_recycled => End::Whole,
            Odd::Blank => End::Cut { at },
            Odd::Long if in_last => End::Cut { at },
            Odd::Old | Odd::Long | Odd::Checksum => End::Damaged { at, why },
        }
    }
}

/// What a log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) end: End,
    /// The number of the first write, if it has one.
    pub(super) first: Option<u64>,
    /// The number after that of the last one.
    pub(super) next: Option<u64>,
    /// Rows that its writes say they have.
    pub(super) rows: u64,
    /// Whether its records are compressed.
    pub(super) is_compressed: bool,
}

/// How a batch begins.
#[derive(FromBytes, zerocopy::Immutable, zerocopy::KnownLayout, zerocopy::Unaligned)]
#[repr(C)]
struct BatchHead {
    sequence: U64,
    rows: U32,
}

impl Log {
    /// Reads the log with this `number` at `path`.
    pub(super) fn read(path: &Path, number: u64) -> io::Result<Self> {
        let mut log =
            Self { end: End::Whole, first: None, next: None, rows: 0, is_compressed: false };
        // Of a batch of several records, until its last one.
        let mut open = None;
        let end = walk(path, number, &mut |kind, bytes| log.record(kind, bytes, &mut open))?;
        Ok(Self { end, ..log })
    }

    fn record(&mut self, kind: u8, bytes: &[u8], open: &mut Option<(u64, u64)>) {
        self.is_compressed |= kind == COMPRESSION;
        // Kinds from 5 on are those of recycled logs.
        let (begins, ends) = (matches!(kind, 1 | 2 | 5 | 6), matches!(kind, 1 | 4 | 5 | 8));
        if begins {
            let head = BatchHead::ref_from_prefix(bytes).ok();
            *open = head.map(|(head, _)| (head.sequence.get(), u64::from(head.rows.get())));
        }
        if ends && let Some((sequence, rows)) = open.take() {
            self.first = self.first.or(Some(sequence));
            self.next = Some(sequence.saturating_add(rows));
            self.rows = self.rows.saturating_add(rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::byteorder::little_endian::U16;

    use super::*;

    /// A log of records of these kinds, each with `len` bytes; those of recycled logs of this number.
    fn log(kinds: &[(u8, u32)], len: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, number) in kinds {
            let left = BLOCK_LEN - bytes.len() % BLOCK_LEN;
            assert!(left >= 11 + usize::from(len), "a record would cross the end of a block");
            let number = U32::new(*number).to_bytes();
            let mut held = if is_recycled(*kind) { number.to_vec() } else { vec![] };
            held.extend(vec![6; usize::from(len)]);
            bytes.extend(U32::new(checksum(*kind, &held)).to_bytes());
            bytes.extend(U16::new(len).to_bytes());
            bytes.push(*kind);
            bytes.extend(held);
        }
        bytes
    }

    fn end(bytes: &[u8], number: u64) -> End {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        walk(file.path(), number, &mut |_, _| {}).unwrap()
    }

    #[test]
    fn a_log_ends_whole_or_cut_wherever_it_is_cut() {
        let whole = log(&[(1, 0); 5], 40);
        for len in 0..=whole.len() {
            let expected = match len % 47 {
                0 => End::Whole,
                _ => End::Cut { at: (len / 47 * 47) as u64 },
            };
            assert_eq!(end(&whole[..len], 7), expected, "{len} bytes");
        }
        let zeros = [&whole[..], &vec![0; 100_000]].concat();
        assert_eq!(end(&zeros, 7), End::Cut { at: whole.len() as u64 });
    }

    #[test]
    fn a_flipped_bit_in_any_record_but_the_last_is_damage_in_recycled_logs_as_well() {
        for (kind, len) in [(1, 47), (5, 51)] {
            let whole = log(&[(kind, 7); 5], 40);
            // Data of an older log after the end.
            let old = log(&[(kind, 3); 4], 40);
            let tail = if kind == 5 { &old[20..] } else { &[] };
            let bytes = [&whole[..], tail].concat();
            assert_eq!(end(&bytes, 7), End::Whole);
            for at in 0..4 * len {
                let mut bytes = bytes.clone();
                bytes[at] ^= 0x10;
                let place = (at / len * len) as u64;
                let found = end(&bytes, 7);
                assert!(matches!(found, End::Damaged { at, .. } if at == place), "{at}: {found:?}");
            }
        }
    }

    #[test]
    fn zeros_between_records_are_damage() {
        let mut bytes = log(&[(1, 0); 300], 100);
        bytes.resize(BLOCK_LEN, 0);
        bytes.extend(log(&[(1, 0); 3], 100));
        assert!(matches!(end(&bytes, 7), End::Damaged { at: 32_100, .. }));
        let mut bytes = log(&[(1, 0); 9], 3000);
        bytes[3007 * 4..3007 * 5].fill(0);
        assert!(matches!(end(&bytes, 7), End::Damaged { at: 12_028, .. }));
    }

    #[test]
    fn the_tail_of_a_log_says_how_it_ends_as_the_whole_does() {
        // Each block has ten records of 3,007 bytes, one of 2,694, and four zeros: no head has room there.
        let mut block = [log(&[(1, 0); 10], 3000), log(&[(1, 0)], 2687)].concat();
        block.resize(BLOCK_LEN, 0);
        let whole = block.repeat(3);
        let ends = |bytes: &[u8]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            (walk(file.path(), 7, &mut |_, _| ()).unwrap(), tail(file.path(), 7).unwrap())
        };
        let mut seen = [0; 2];
        for len in (0..whole.len()).step_by(331).chain([BLOCK_LEN, 2 * BLOCK_LEN, whole.len()]) {
            for zeros in [0, 5, 40_000, 100_000] {
                let (expected, found) = ends(&[&whole[..len], &vec![0; zeros]].concat());
                assert_eq!(found, expected, "{len} bytes and {zeros} zeros");
                seen[usize::from(found == End::Whole)] += 1;
            }
        }
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    }

    #[test]
    fn numbers_of_writes_and_rows_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        let db = rocksdb::DB::open(&options, folder.path()).unwrap();
        for key in 0..10_u8 {
            db.put([key], vec![9; 20_000 * usize::from(key)]).unwrap();
        }
        let path = super::super::live::logs(folder.path()).remove(0);
        let number = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let log = Log::read(&path, number).unwrap();
        let expected =
            Log { end: End::Whole, first: Some(1), next: Some(11), rows: 10, is_compressed: false };
        assert_eq!(log, expected);
    }
}
