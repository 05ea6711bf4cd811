//! Records of RocksDB's logs and lists of files, as far as RocksDB itself does not look.
//!
//! Some kinds of records belong to logs that are written over again. Where one of them stands among
//! others, as one flipped bit can have it, RocksDB reads it again and again without an end, and where it
//! comes first, it takes it for the end of the log. So such records are looked for before it reads.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{StoreError, live};

/// Bytes in front of what a record holds: a checksum of four bytes, a length of two, a kind.
const HEAD_LEN: u64 = size_of::<Head>() as u64;

type Head = [u8; 7];

/// Bytes of a block of these files.
const BLOCK_LEN: u64 = 32 << 10;

/// Whether a kind of records belongs to a log that is written over again.
const fn is_recycled(kind: u8) -> bool {
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
    for file in live::journals(path) {
        if let Some((at, kind)) = odd_record(&file, may_recycle) {
            return Err(StoreError::Record { path: file, at, kind });
        }
    }
    Ok(())
}

/// Where the first record is that does not belong here, and its kind. What cannot be read is for
/// RocksDB to say.
fn odd_record(path: &Path, may_recycle: bool) -> Option<(u64, u8)> {
    let file = File::open(path).ok()?;
    let (mut at, mut head): (u64, Head) = (0, Head::default());
    while file.read_exact_at(&mut head, at).is_ok() {
        let [_, _, _, _, low, high, kind] = head;
        if is_recycled(kind) {
            return (at > 0 || !may_recycle).then_some((at, kind));
        }
        at += HEAD_LEN + u64::from(low) + (u64::from(high) << 8);
        // No head crosses the end of a block.
        let left = at.next_multiple_of(BLOCK_LEN) - at;
        at += if left < HEAD_LEN { left } else { 0 };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of records of these kinds and lengths.
    fn file(records: &[(u8, u16)]) -> tempfile::NamedTempFile {
        let mut bytes = Vec::new();
        for (kind, len) in records {
            let left = bytes.len().next_multiple_of(32 << 10) - bytes.len();
            bytes.extend(std::iter::repeat_n(0, if left < 7 { left } else { 0 }));
            let [low, high] = [len % 256, len / 256].map(|byte| u8::try_from(byte).unwrap());
            bytes.extend([9, 9, 9, 9, low, high, *kind]);
            bytes.extend(std::iter::repeat_n(5, usize::from(*len)));
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn records_of_logs_that_are_written_over_again_are_found_where_they_do_not_belong() {
        let whole = file(&[(2, 32_761), (3, 32_756), (4, 10), (1, 700), (0, 0)]);
        assert_eq!(odd_record(whole.path(), false), None);
        // The second block has no room for a head behind its record.
        let odd = file(&[(2, 32_761), (3, 32_756), (4, 10), (8, 700)]);
        assert_eq!(odd_record(odd.path(), false), Some((65_553, 8)));
        assert_eq!(odd_record(odd.path(), true), Some((65_553, 8)));
        for kind in [5, 6, 7, 11, 131] {
            let first = file(&[(kind, 30), (kind, 3)]);
            assert_eq!(odd_record(first.path(), false), Some((0, kind)));
            assert_eq!(odd_record(first.path(), true), None);
        }
    }
}
