//! Edits of a list of files (`MANIFEST`), as RocksDB writes them: a sequence of fields, each with a number
//! before it, in a file of records.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zerocopy::FromBytes;

use super::records::{BLOCK_LEN, Head, checksum};

/// One edit of a list.
#[derive(Debug, Default)]
pub(super) struct Edit {
    pub(super) column: u32,
    pub(super) added: Option<String>,
    pub(super) dropped: bool,
    /// Number, bytes, and the first blob file of each table.
    pub(super) tables: Vec<(u64, u64, Option<u64>)>,
    pub(super) removed: Vec<u64>,
    /// Number, values and their bytes.
    pub(super) blobs: Vec<(u64, u64, u64)>,
    /// Number, and values that are overwritten.
    pub(super) garbage: Vec<(u64, u64)>,
    pub(super) log: Option<u64>,
    pub(super) next_file: Option<u64>,
    /// How many edits follow that belong to the same moment.
    pub(super) group_left: Option<u32>,
}

impl Edit {
    /// By RocksDB's `VersionEdit::DecodeFrom`. `None` if it is not one that this release of RocksDB writes.
    pub(super) fn parse(record: &[u8]) -> Option<Self> {
        let (mut edit, mut rest) = (Self::default(), Bytes(record));
        while !rest.0.is_empty() {
            match rest.number32()? {
                // The comparator, and all that an older release may leave out of account.
                1 | 0x2000.. => rest.pass(&[Form::Prefixed])?,
                2 => edit.log = Some(rest.number()?),
                3 => edit.next_file = Some(rest.number()?),
                // The last sequence number, the log before, the oldest log, the last column family.
                4 | 9 | 10 | 203 => rest.pass(&[Form::Number])?,
                // Where the last compaction of a level ended.
                5 => rest.pass(&[Form::Number, Form::Prefixed])?,
                6 => {
                    rest.number()?;
                    edit.removed.push(rest.number()?);
                }
                103 => {
                    let table = rest.table()?;
                    edit.tables.push(table);
                }
                200 => edit.column = rest.number32()?,
                201 => edit.added = Some(String::from_utf8(rest.prefixed()?.to_vec()).ok()?),
                202 => edit.dropped = true,
                300 => edit.group_left = Some(rest.number32()?),
                400 => {
                    edit.blobs.push((rest.number()?, rest.number()?, rest.number()?));
                    // A checksum, which is not written.
                    rest.pass(&[Form::Prefixed, Form::Prefixed])?;
                    rest.fields(0, |_, _| Some(()))?;
                }
                401 => {
                    edit.garbage.push((rest.number()?, rest.number()?));
                    rest.number()?;
                    rest.fields(0, |_, _| Some(()))?;
                }
                _ => return None,
            }
        }
        Some(edit)
    }
}

/// How a part of an edit is written.
#[derive(Clone, Copy)]
enum Form {
    Number,
    Prefixed,
}

/// Bytes of an edit that are not read yet.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// Seven bits a byte, the lowest first; the highest bit says that another byte follows.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if bits.leading_zeros() < shift {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn number32(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    /// Bytes with their number in front.
    fn prefixed(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Passes over what is not needed.
    fn pass(&mut self, forms: &[Form]) -> Option<()> {
        for form in forms {
            match form {
                Form::Number => self.number().map(|_| ())?,
                Form::Prefixed => self.prefixed().map(|_| ())?,
            }
        }
        Some(())
    }

    /// Numbered fields up to the one with the number `end`, which has no bytes.
    fn fields(
        &mut self,
        end: u32,
        mut take: impl FnMut(u32, &'a [u8]) -> Option<()>,
    ) -> Option<()> {
        loop {
            let tag = self.number32()?;
            if tag == end {
                return Some(());
            }
            take(tag, self.prefixed()?)?;
        }
    }

    /// Number, bytes, and the first blob file of a table.
    fn table(&mut self) -> Option<(u64, u64, Option<u64>)> {
        // The level.
        self.number()?;
        let (number, bytes) = (self.number()?, self.number()?);
        // The first and the last key, and their sequence numbers.
        self.pass(&[Form::Prefixed, Form::Prefixed, Form::Number, Form::Number])?;
        let mut oldest_blob = None;
        self.fields(1, |tag, field| {
            if tag == 4 {
                oldest_blob = Some(Bytes(field).number()?);
            }
            Some(())
        })?;
        Some((number, bytes, oldest_blob))
    }
}

/// Calls `take` with each record of a file of records. `false` if one is damaged, or is refused by `take`;
/// the last one may be cut, as by a crash.
pub(super) fn each_record(path: &Path, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let (mut block, mut record) = (Vec::with_capacity(BLOCK_LEN), Vec::new());
    loop {
        block.clear();
        file.by_ref().take(BLOCK_LEN as u64).read_to_end(&mut block)?;
        let mut rest = block.as_slice();
        while let Ok((head, behind)) = Head::ref_from_prefix(rest) {
            let len = usize::from(head.len.get());
            if head.kind == 0 && len == 0 {
                break;
            }
            let Some((held, next)) = behind.split_at_checked(len) else {
                return Ok(block.len() < BLOCK_LEN);
            };
            if checksum(head.kind, held) != head.checksum.get() {
                return Ok(false);
            }
            // 1 is whole, 2 to 4 are the first, a middle and the last part of one.
            if matches!(head.kind, 1 | 2) {
                record.clear();
            }
            match head.kind {
                1..=4 => record.extend_from_slice(held),
                _ => return Ok(false),
            }
            if matches!(head.kind, 1 | 4) && !take(&record) {
                return Ok(false);
            }
            rest = next;
        }
        if block.len() < BLOCK_LEN {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written_and_no_longer_ones() {
        for (bytes, number) in [
            (&[0][..], Some(0)),
            (&[0x7f], Some(127)),
            (&[0x80, 0x01], Some(128)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Some(u64::MAX)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], None),
            (&[0x80], None),
            (&[], None),
        ] {
            assert_eq!(Bytes(bytes).number(), number, "{bytes:?}");
        }
        assert_eq!(Bytes(&[3, 1, 2]).prefixed(), None);
    }
}
