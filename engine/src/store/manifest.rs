//! Which logs a RocksDB database should have, according to its list of files, the MANIFEST.
//!
//! The MANIFEST is a log of edits. It does not name logs, unless the program that wrote it enabled that
//! (`track_and_verify_wals_in_manifest`), but gives the number of the first log that is needed: the contents
//! of older ones are in tables. RocksDB has at least one such log while a database is open for writing, and
//! leaves it there. So if there is none, somebody removed it, or the folder is a copy that was made without
//! it. Whether it had any data is unknown: if all data was flushed to tables, it was empty.

use std::collections::BTreeMap;
use std::path::Path;

use zerocopy::FromBytes;
use zerocopy::byteorder::little_endian::U64;

use super::journal::End;
use super::{journal, live};

/// Bytes of one edit that are read. A flush writes some hundreds, a new MANIFEST one edit a table.
const EDIT_BYTES_MAX: usize = 4 << 20;

/// Logs that are counted one by one.
const TRACKED_MAX: usize = 1 << 16;

/// What a MANIFEST says of logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Logs {
    /// Logs from this number on have what is in no table.
    pub(super) needed_from: u64,
    /// Those that it names, and how many bytes they have at least.
    pub(super) tracked: BTreeMap<u64, u64>,
    /// Where the MANIFEST ends in the middle of an edit, if it does.
    pub(super) cut_at: Option<u64>,
}

impl Logs {
    /// What the MANIFEST of the database at `path` says; `None` if it cannot be read. Why is for RocksDB
    /// to say.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let name = live::current(path).ok()??;
        let (mut logs, mut edit) = (Edits::default(), Vec::new());
        let mut is_read = true;
        let end = journal::walk(&path.join(name), 0, &mut |kind, bytes| {
            // Edits are records that are whole (1), or begin (2), go on (3), and end (4).
            if matches!(kind, 1 | 2) {
                edit.clear();
            }
            if edit.len().saturating_add(bytes.len()) > EDIT_BYTES_MAX {
                is_read = false;
                return;
            }
            edit.extend_from_slice(bytes);
            if matches!(kind, 1 | 4) {
                is_read &= logs.apply(&edit).is_some();
            }
        });
        let end = end.ok().filter(|_| is_read)?;
        let cut_at = if let End::Cut { at } = end { Some(at) } else { None };
        Some(Self { cut_at, ..logs.logs() })
    }
}

/// What the edits that were read come to.
#[derive(Default)]
struct Edits {
    /// That of the default column family, the only one that a node has.
    log_number: u64,
    kept_from: u64,
    tracked: BTreeMap<u64, u64>,
}

impl Edits {
    fn logs(self) -> Logs {
        let needed_from = self.log_number.max(self.kept_from);
        let tracked = self.tracked.into_iter().filter(|(number, _)| *number >= needed_from);
        Logs { needed_from, tracked: tracked.collect(), cut_at: None }
    }

    /// Adds what an edit says of logs; `None` if it cannot be read.
    fn apply(&mut self, edit: &[u8]) -> Option<()> {
        let (mut input, mut family, mut log_number) = (Input(edit), 0, None);
        while !input.0.is_empty() {
            match input.number()? {
                // A comparator, and the name of a column family.
                1 | 201 => drop(input.slice()?),
                2 => log_number = Some(input.number()?),
                // The next file, the last sequence number, and numbers that are not used any more.
                3 | 4 | 9 | 203 | 300 => drop(input.number()?),
                10 => self.kept_from = self.kept_from.max(input.number()?),
                5 => input.skip(1, 1)?,
                6 => input.skip(2, 0)?,
                7 => input.skip(3, 2)?,
                100 => {
                    input.skip(3, 2)?;
                    input.skip(2, 0)?;
                }
                102 => {
                    input.skip(4, 2)?;
                    input.skip(2, 0)?;
                }
                103 => self.new_file(&mut input)?,
                200 => family = input.number()?,
                202 => {}
                400 => {
                    input.skip(3, 2)?;
                    input.skip_fields(0)?;
                }
                401 => {
                    input.skip(3, 0)?;
                    input.skip_fields(0)?;
                }
                8196 => self.track(&mut input)?,
                8197 => self.forget(&mut input)?,
                8199 => self.track(&mut Input(input.slice()?))?,
                8200 => self.forget(&mut Input(input.slice()?))?,
                // All others of these have a length, so that earlier releases can pass over them.
                tag if tag > 8192 => drop(input.slice()?),
                _ => return None,
            }
        }
        if let (Some(number), 0) = (log_number, family) {
            self.log_number = number;
        }
        Some(())
    }

    /// A new table: its fields may say which logs are kept.
    fn new_file(&mut self, input: &mut Input<'_>) -> Option<()> {
        input.skip(3, 2)?;
        input.skip(2, 0)?;
        loop {
            match input.number()? {
                1 => return Some(()),
                3 => {
                    let number = U64::read_from_bytes(input.slice()?).ok()?;
                    self.kept_from = self.kept_from.max(number.get());
                }
                _ => drop(input.slice()?),
            }
        }
    }

    fn track(&mut self, input: &mut Input<'_>) -> Option<()> {
        let (number, mut bytes) = (input.number()?, 0);
        loop {
            match input.number()? {
                1 => break,
                2 => bytes = input.number()?,
                _ => return None,
            }
        }
        if self.tracked.len() < TRACKED_MAX {
            let known = self.tracked.entry(number).or_default();
            *known = bytes.max(*known);
        }
        Some(())
    }

    fn forget(&mut self, input: &mut Input<'_>) -> Option<()> {
        let before = input.number()?;
        self.tracked = self.tracked.split_off(&before);
        Some(())
    }
}

/// What is left of an edit.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// A number, seven bits a byte, least significant first.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7F).wrapping_shl(shift);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn slice(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (slice, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(slice)
    }

    /// Passes over some numbers, and some slices after them.
    fn skip(&mut self, numbers: usize, slices: usize) -> Option<()> {
        for _ in 0..numbers {
            self.number()?;
        }
        for _ in 0..slices {
            self.slice()?;
        }
        Some(())
    }

    /// Passes over fields that each have a number and a length, up to the number `end`.
    fn skip_fields(&mut self, end: u64) -> Option<()> {
        while self.number()? != end {
            self.slice()?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use rocksdb::{DB, Options};

    use super::*;

    fn numbers(path: &Path) -> Vec<u64> {
        let mut numbers: Vec<u64> = live::logs(path)
            .iter()
            .map(|log| log.file_stem().unwrap().to_str().unwrap().parse().unwrap())
            .collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn the_manifest_says_from_which_log_on_there_is_more_than_tables_have() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::default();
        options.create_if_missing(true);
        let mut last = 0;
        for round in 0..4_u8 {
            let db = DB::open(&options, folder.path()).unwrap();
            for key in 0..=255_u8 {
                db.put([round, key], [7; 1000]).unwrap();
                if key == 100 {
                    db.flush().unwrap();
                    db.compact_range(None::<&[u8]>, None::<&[u8]>);
                }
            }
            drop(db);
            let logs = Logs::of(folder.path()).unwrap();
            let there = numbers(folder.path());
            assert!(logs.needed_from > last, "round {round}: {logs:?}");
            assert_eq!(logs.needed_from, *there.last().unwrap(), "round {round}: {there:?}");
            assert!(logs.tracked.is_empty());
            last = logs.needed_from;
        }
    }

    #[test]
    fn the_logs_that_a_manifest_names_are_known_with_their_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_track_and_verify_wals_in_manifest(true);
        let db = DB::open(&options, folder.path()).unwrap();
        let mut synced = rocksdb::WriteOptions::default();
        synced.set_sync(true);
        db.put_opt([1], [7; 1000], &synced).unwrap();
        db.put_opt([2], [7; 1000], &synced).unwrap();
        db.flush().unwrap();
        db.put_opt([3], [7; 1000], &synced).unwrap();
        drop(db);
        let logs = Logs::of(folder.path()).unwrap();
        let there = numbers(folder.path());
        assert!(logs.needed_from <= *there.last().unwrap(), "{logs:?}, {there:?}");
        assert!(logs.tracked.keys().all(|number| there.contains(number)), "{logs:?}, {there:?}");
    }

    #[test]
    fn an_edit_that_is_cut_is_none_and_no_panic() {
        let edits: [&[u8]; 4] =
            [&[2, 0x85, 1, 200, 1], &[103, 1, 1, 1, 1, 5, 1, 5, 1, 1, 3], &[0xFF; 12], &[1, 9, 1]];
        assert!(edits.iter().all(|edit| Edits::default().apply(edit).is_none()));
        let mut edits = Edits::default();
        edits.apply(&[2, 0x85, 1]).unwrap();
        assert_eq!(edits.log_number, 133);
        // That of another column family says nothing of the default one.
        edits.apply(&[2, 7, 0xC8, 1, 3]).unwrap();
        assert_eq!(edits.log_number, 133);
    }
}
