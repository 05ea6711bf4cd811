//! Records of RocksDB's logs and lists of files, as far as RocksDB itself does not look.
//!
//! Some kinds of records belong to logs that are written over again. Where one of them stands among
//! others, as one flipped bit can have it, RocksDB reads it again and again without an end, and where it
//! comes first, it takes it for the end of the log. And a record that is longer than the file, by what it
//! says, it takes for one that a crash has cut, though there may be many whole ones in what it passes over. So
//! such records are looked for before it reads.

use std::io::{self, Read};
use std::path::Path;

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::journal::{self, End};
use super::{RecordFlaw, StoreError, live};
use crate::regular;
use crate::types::Grow;

/// Bytes of a block of these files. No record crosses the end of one.
pub(super) const BLOCK_LEN: usize = 32 << 10;

/// Bytes that a list of files has at most: that of a million tables has a fifth of it. A file may say that it
/// has a million times what is on the disk.
const JOURNAL_BYTES_MAX: u64 = 1 << 30;

/// What stands in front of what a record holds.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Head {
    /// The [`checksum`] of the kind and of what the record holds.
    pub(super) checksum: U32,
    pub(super) len: U16,
    pub(super) kind: u8,
}

/// Whether a kind of records belongs to a log that is written over again.
pub(super) const fn is_recycled(kind: u8) -> bool {
    matches!(kind, 5..=8 | 11 | 131)
}

/// Checks the logs and lists of files of a database of ours, which has no log that is written over
/// again.
///
/// # Errors
///
/// [`StoreError::Record`] that names the first such record.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    check_files(path, false)
}

/// The same of another program's database, which may have such logs: in these, all records are so.
///
/// # Errors
///
/// The same.
pub(super) fn check_foreign(path: &Path) -> Result<(), StoreError> {
    check_files(path, true)
}

fn check_files(path: &Path, may_recycle: bool) -> Result<(), StoreError> {
    live::check_regular(path)?;
    for file in live::journals(path) {
        if file.metadata().is_ok_and(|data| data.len() > JOURNAL_BYTES_MAX) {
            if live::is_list(&file.file_name().unwrap_or_default().to_string_lossy()) {
                let text = format!("the list of files has over {JOURNAL_BYTES_MAX} bytes");
                let source = io::Error::new(io::ErrorKind::InvalidData, text);
                return Err(StoreError::Io { path: file, source });
            }
            // Where it is needed it is refused for its length.
            if may_recycle {
                continue;
            }
        }
        if let Some((at, flaw)) = odd_record(&file, may_recycle) {
            let is_kind = matches!(flaw, RecordFlaw::Kind(_));
            let first = is_kind.then(|| first_damage(&file, at)).flatten();
            let (at, flaw) = first.unwrap_or((at, flaw));
            return Err(StoreError::Record { path: file, at, flaw });
        }
    }
    Ok(())
}

/// The first damage before the byte `end`, which may be the reason for what was found there. Where a byte is
/// missing, for example, all blocks after it begin in the middle of a record.
fn first_damage(path: &Path, end: u64) -> Option<(u64, RecordFlaw)> {
    match journal::walk(path, 0, &mut |_, _| ()).ok()? {
        End::Damaged { at, why } if at < end => Some((at, RecordFlaw::Damaged(why))),
        _ => None,
    }
}

/// Where the first record is that does not belong here, and why. What cannot be read is for
/// RocksDB to say.
fn odd_record(path: &Path, may_recycle: bool) -> Option<(u64, RecordFlaw)> {
    let mut file = regular::open(path).ok()?;
    let (mut before, mut block) = (0_u64, Vec::with_capacity(BLOCK_LEN));
    // Where zeros begin: at the end of a file they are room that was made for records to come.
    let mut zeros = None;
    loop {
        block.clear();
        file.by_ref().take(BLOCK_LEN as u64).read_to_end(&mut block).ok()?;
        if let Some(at) = zeros {
            if block.iter().any(|byte| *byte != 0) {
                return Some((at, RecordFlaw::Zeros));
            }
            if block.len() < BLOCK_LEN {
                return None;
            }
            continue;
        }
        match odd_in(&block) {
            Some((at, RecordFlaw::Zeros)) if block.iter().skip(at).all(|byte| *byte == 0) => {
                zeros = Some(before.saturating_add(at as u64));
                if block.len() < BLOCK_LEN {
                    return None;
                }
            }
            // A whole log of these.
            Some((0, RecordFlaw::Kind(_))) if before == 0 && may_recycle => return None,
            Some((at, flaw)) => return Some((before.saturating_add(at as u64), flaw)),
            None if block.len() < BLOCK_LEN => return None,
            None => before.grow(block.len() as u64),
        }
    }
}

/// The same of a block.
fn odd_in(block: &[u8]) -> Option<(usize, RecordFlaw)> {
    let mut rest = block;
    loop {
        let (head, behind) = Head::ref_from_prefix(rest).ok()?;
        let (before, _) = block.split_at_checked(block.len().saturating_sub(rest.len()))?;
        // Behind a record that is damaged RocksDB passes over the rest of the block.
        let found = |flaw| is_whole(before).then_some((before.len(), flaw));
        if is_recycled(head.kind) {
            return found(RecordFlaw::Kind(head.kind));
        }
        if head.kind == 0 && head.len.get() == 0 {
            return found(RecordFlaw::Zeros);
        }
        match behind.split_at_checked(head.len.get().into()) {
            Some((_, next)) => rest = next,
            // Of other blocks RocksDB says that they are damaged.
            None if block.len() == BLOCK_LEN => return None,
            None => {
                let (got, expected) = (head.len.get().into(), other_len(head, behind)?);
                return found(RecordFlaw::Length { got, expected });
            }
        }
    }
}

/// With which length a record is whole that is longer than the file by what it says, if another record
/// follows then or the file ends.
fn other_len(head: &Head, behind: &[u8]) -> Option<usize> {
    let mut sum = crc32c::crc32c(&[head.kind]);
    for len in 0..=behind.len() {
        let (_, next) = behind.split_at_checked(len)?;
        if masked(sum) == head.checksum.get() && begins_whole(next) {
            return Some(len);
        }
        sum = crc32c::crc32c_append(sum, next.get(..1).unwrap_or_default());
    }
    None
}

/// Whether there is nothing, or a record with its checksum.
fn begins_whole(records: &[u8]) -> bool {
    let Ok((head, behind)) = Head::ref_from_prefix(records) else { return records.is_empty() };
    let record = behind.get(..usize::from(head.len.get()));
    record.is_some_and(|record| checksum(head.kind, record) == head.checksum.get())
}

/// Whether records have their checksums.
fn is_whole(mut records: &[u8]) -> bool {
    while let Ok((head, behind)) = Head::ref_from_prefix(records) {
        let Some((held, rest)) = behind.split_at_checked(head.len.get().into()) else {
            return false;
        };
        if checksum(head.kind, held) != head.checksum.get() {
            return false;
        }
        records = rest;
    }
    records.is_empty()
}

/// RocksDB's checksum: CRC-32C, turned and moved, so that one of a checksum is not a plain one again.
pub(super) fn checksum(kind: u8, held: &[u8]) -> u32 {
    masked(crc32c::crc32c_append(crc32c::crc32c(&[kind]), held))
}

const fn masked(sum: u32) -> u32 {
    sum.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of records of these kinds and lengths, in blocks.
    fn records(records: &[(u8, u16)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, len) in records {
            let left = bytes.len().next_multiple_of(BLOCK_LEN) - bytes.len();
            bytes.extend(std::iter::repeat_n(0, if left < 7 { left } else { 0 }));
            let held = vec![6; usize::from(*len)];
            bytes.extend(U32::new(checksum(*kind, &held)).to_bytes());
            bytes.extend(U16::new(*len).to_bytes());
            bytes.push(*kind);
            bytes.extend(held);
        }
        bytes
    }

    fn odd_of(bytes: &[u8], may_recycle: bool) -> Option<(u64, RecordFlaw)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        odd_record(file.path(), may_recycle)
    }

    fn odd(bytes: &[u8], may_recycle: bool) -> Option<(u64, u8)> {
        odd_of(bytes, may_recycle).map(|(at, flaw)| match flaw {
            RecordFlaw::Kind(kind) => (at, kind),
            _ => panic!("{flaw}"),
        })
    }

    #[test]
    fn a_record_that_is_longer_than_the_file_is_whole_with_another_length_or_was_cut() {
        let whole = records(&[(2, 32_761), (4, 10), (1, 700), (1, 0), (1, 33)]);
        let heads = [(32_768, 10_u16), (32_785, 700), (33_492, 0), (33_499, 33)];
        for (at, expected) in heads {
            for bit in 0..16 {
                let (got, mut bytes) = (expected ^ (1 << bit), whole.clone());
                bytes[at + 4..at + 6].copy_from_slice(&U16::new(got).to_bytes());
                let is_longer = at + 7 + usize::from(got) > whole.len();
                let (got, expected) = (got.into(), expected.into());
                let flaw = is_longer.then_some((at as u64, RecordFlaw::Length { got, expected }));
                assert_eq!(odd_of(&bytes, false), flaw, "{got} for {expected}");
            }
        }
        for len in (0..whole.len()).step_by(61).chain(33_480..whole.len()) {
            assert_eq!(odd_of(&whole[..len], false), None, "{len} bytes");
        }
        // What is in front of it is damaged, so it is never read.
        let mut bytes = whole.clone();
        bytes[32_785 + 5] |= 0x80;
        bytes[32_780] ^= 1;
        assert_eq!(odd_of(&bytes, false), None);
    }

    #[test]
    fn records_of_logs_that_are_written_over_again_are_found_where_they_do_not_belong() {
        let whole = records(&[(2, 32_761), (3, 32_756), (4, 10), (1, 700)]);
        assert_eq!(odd(&whole, false), None);
        // The second block has no room for a head behind its record.
        let late = records(&[(2, 32_761), (3, 32_756), (4, 10), (8, 700)]);
        assert_eq!(odd(&late, false), Some((65_553, 8)));
        assert_eq!(odd(&late, true), Some((65_553, 8)));
        for kind in [5, 6, 7, 11, 131] {
            let first = records(&[(kind, 30), (kind, 3)]);
            assert_eq!(odd(&first, false), Some((0, kind)));
            assert_eq!(odd(&first, true), None);
        }
    }

    #[test]
    fn zeros_are_room_at_the_end_and_damage_in_front_of_anything_else() {
        let whole = records(&[(2, 32_761), (4, 10), (1, 700)]);
        for room in [1, 7, 100, 32_768, 100_000] {
            assert_eq!(odd_of(&[&whole[..], &vec![0; room]].concat(), false), None, "{room}");
        }
        for (at, len) in [(32_768, 17), (32_785, 300), (0, 33_000), (0, 32_768)] {
            let mut bytes = whole.clone();
            bytes[at..at + len].fill(0);
            let found = odd_of(&bytes, false);
            // Zeros start again after the end of a block.
            assert_eq!(found, Some((at as u64, RecordFlaw::Zeros)), "{len} bytes at {at}");
        }
    }

    #[test]
    fn behind_a_damaged_record_nothing_of_its_block_is_read() {
        let mut bytes = records(&[(1, 300), (1, 32_454), (7, 9)]);
        assert_eq!(odd(&bytes, false), Some((32_768, 7)));
        let mut same_block = records(&[(1, 300), (7, 9)]);
        assert_eq!(odd(&same_block, false), Some((307, 7)));
        // Another length: what is read as a kind then is none.
        for len in [0_u8, 6, 43] {
            bytes[4] = len;
            assert_eq!(odd(&bytes, false), Some((32_768, 7)), "{len}");
            same_block[4] = len;
            assert_eq!(odd(&same_block, false), None, "{len}");
        }
    }

    #[test]
    fn checksums_are_those_of_rocksdb() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        let db = rocksdb::DB::open(&options, folder.path()).unwrap();
        db.put(b"key", vec![9; 100_000]).unwrap();
        let files = live::journals(folder.path());
        assert!(files.len() >= 2, "{files:?}");
        let mut records = 0;
        for file in files {
            for block in std::fs::read(file).unwrap().chunks(BLOCK_LEN) {
                assert!(is_whole(block));
                records += 1;
            }
        }
        assert!(records > 4, "{records}");
    }
}
