use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use zerocopy::{FromZeros, IntoBytes};

use super::inspect::{inspect, open};
use super::layout::HEADER_LEN;
use super::{ArchiveError, Damage, Entry, Manifest};
use crate::header::{LEN, RawHeader};
use crate::types::{BlockHeight, Grow};

/// Bytes that are read of a file at once. There are two files a chain at most that are open.
const BUFFER_BYTES: usize = 200 * LEN;

/// Records that room is made for at once.
const RESERVED_MAX: usize = 1 << 16;

/// Where in an archive a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the file in the manifest, from 0.
    pub file: usize,
    /// The record in it, from 0.
    pub record: u64,
}

impl Place {
    /// The same in words.
    pub(super) fn name(self, manifest: &Manifest) -> String {
        let name = manifest.files.get(self.file).map(Entry::name).unwrap_or_default();
        format!("{name}, record {}", self.record)
    }
}

/// Some records of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Whole records of 318 bytes.
    pub bytes: Vec<u8>,
    /// Where each of them stands.
    pub places: Vec<Place>,
}

/// The records of all files of an archive by ascending height, so that parents and adjacent parents
/// come first; at one height by chain, and the canonical one before orphans.
///
/// A file is checked as a whole before any record of it is given: what is given is what was
/// written. Whether that was right is for [`verify`](crate::verify).
///
/// # Cost
///
/// Each file is read twice, and a buffer of 64 kB is held for each file of the present range.
pub struct Reader {
    dir: PathBuf,
    manifest: Manifest,
    from: BlockHeight,
    keep_going: bool,
    /// Numbers of files, the last one first: by range, then as in the manifest.
    rest: Vec<usize>,
    cursors: Vec<Cursor>,
    /// The height that is being given, and the cursor that has its turn.
    turn: (BlockHeight, usize),
    position: u64,
    skipped: Vec<(usize, Damage)>,
    /// Why the files of the next range cannot be given, until that is told.
    failed: Option<ArchiveError>,
    /// Whether the files were checked before.
    is_checked: bool,
}

/// A file, and its next record.
struct Cursor {
    file: BufReader<File>,
    number: usize,
    place: u64,
    left: u64,
    next: RawHeader,
}

impl Reader {
    /// The records of the archive in `dir` from the height `from` on. A damaged file is an error,
    /// unless it is to `keep_going`: then it is left out and told of by [`Reader::skipped`].
    ///
    /// # Errors
    ///
    /// As for [`Manifest::read`].
    pub fn open(dir: &Path, from: BlockHeight, keep_going: bool) -> Result<Self, ArchiveError> {
        let (manifest, _) = Manifest::read(dir)?;
        let files = 0..manifest.files.len();
        Ok(Self::of(dir, manifest, files.collect(), from, keep_going))
    }

    /// The same of these files, which were checked already.
    pub(super) fn checked(dir: &Path, manifest: Manifest, files: Vec<usize>) -> Self {
        let reader = Self::of(dir, manifest, files, BlockHeight::new(0), true);
        Self { is_checked: true, ..reader }
    }

    fn of(
        dir: &Path,
        manifest: Manifest,
        mut rest: Vec<usize>,
        from: BlockHeight,
        keep_going: bool,
    ) -> Self {
        let start = |number: &usize| manifest.files.get(*number).map(|entry| entry.from);
        rest.sort_by_key(|number| (start(number), *number));
        rest.reverse();
        Self {
            dir: dir.to_owned(),
            manifest,
            from,
            keep_going,
            rest,
            cursors: Vec::new(),
            turn: (BlockHeight::new(0), 0),
            position: 0,
            skipped: Vec::new(),
            failed: None,
            is_checked: false,
        }
    }

    /// What the archive says of itself.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes of the records that were given, passed over and left out so far, and of their files'
    /// headers.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of all files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.manifest.bytes()
    }

    /// A place in words: the name of the file, and the record.
    #[must_use]
    pub fn name(&self, place: Place) -> String {
        place.name(&self.manifest)
    }

    /// The files that were left out since this was last asked, and why.
    pub fn skipped(&mut self) -> Vec<(String, Damage)> {
        let skipped = std::mem::take(&mut self.skipped);
        let name = |number: usize| self.manifest.files.get(number).map(Entry::name);
        skipped.into_iter().filter_map(|(number, why)| Some((name(number)?, why))).collect()
    }

    /// The next records, at most `max` and at least one; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::File`] if a file is damaged, unless it is to keep going; and if it cannot be read for
    /// a cause that says nothing of it. Nothing of the file is given then, and the next call goes on without
    /// it.
    pub fn next_records(&mut self, max: usize) -> Result<Option<Records>, ArchiveError> {
        let max = max.max(1);
        // Records before an error are returned first.
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut records = Records::default();
        // No more than there is: many files of one record each are no reason to take much for each.
        let left = self.cursors.iter().fold(0_u64, |sum, cursor| sum.saturating_add(cursor.left));
        let expected = usize::try_from(left).unwrap_or(max).min(max).min(RESERVED_MAX);
        records.bytes.reserve(expected.saturating_mul(LEN));
        while records.places.len() < max {
            if self.has_turn() || self.next_height() {
                self.give(max, &mut records)?;
                continue;
            }
            match self.next_range() {
                // Omitted records are reported after the records before them.
                Ok(true) if self.skipped.is_empty() || records.places.is_empty() => {}
                Ok(true | false) => break,
                Err(error) if records.places.is_empty() => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        Ok(Some(records).filter(|records| !records.places.is_empty()))
    }

    /// Whether a cursor is still to be asked for its records at the present height.
    const fn has_turn(&self) -> bool {
        self.turn.1 < self.cursors.len()
    }

    /// Begins with the lowest height that has records left.
    fn next_height(&mut self) -> bool {
        let heights = self.cursors.iter().filter(|cursor| cursor.left > 0).map(Cursor::height);
        let Some(height) = heights.min() else { return false };
        self.turn = (height, 0);
        true
    }

    /// Gives the records at the present height of the cursors that have their turn.
    fn give(&mut self, max: usize, records: &mut Records) -> Result<(), ArchiveError> {
        let (height, turn) = &mut self.turn;
        while let Some(cursor) = self.cursors.get_mut(*turn) {
            while cursor.left > 0 && cursor.height() == *height {
                if records.places.len() == max {
                    return Ok(());
                }
                if *height >= self.from {
                    records.bytes.extend_from_slice(cursor.next.as_bytes());
                    records.places.push(Place { file: cursor.number, record: cursor.place });
                }
                self.position = self.position.saturating_add(LEN as u64);
                if let Err(error) = cursor.advance() {
                    let path = self.dir.join(
                        self.manifest
                            .files
                            .get(cursor.number)
                            .map_or_else(String::new, Entry::name),
                    );
                    cursor.left = 0;
                    return Err(ArchiveError::io(&path, error));
                }
            }
            turn.grow(1);
        }
        Ok(())
    }

    /// Opens the files of the next range; `false` if there is none.
    fn next_range(&mut self) -> Result<bool, ArchiveError> {
        let start = |number: &usize| self.manifest.files.get(*number).map(|entry| entry.from);
        let Some(from) = self.rest.last().map(start) else { return Ok(false) };
        let behind = self.rest.iter().rposition(|number| start(number) != from);
        let mut numbers = self.rest.split_off(behind.map_or(0, |behind| behind.saturating_add(1)));
        numbers.reverse();
        (self.cursors, self.turn) = (Vec::new(), (BlockHeight::new(0), 0));
        let passed = |entry: &Entry| entry.last.height < self.from;
        let opened: Vec<_> = numbers
            .par_iter()
            .filter_map(|number| Some((*number, self.manifest.files.get(*number)?)))
            .map(|(number, entry)| {
                (number, entry, (!passed(entry)).then(|| self.cursor(number, entry)))
            })
            .collect();
        let (mut cursors, mut position, mut failed) = (Vec::new(), 0_u64, Vec::new());
        for (number, entry, cursor) in opened {
            match cursor {
                Some(Ok(cursor)) => {
                    cursors.push(cursor);
                    position = position.saturating_add(HEADER_LEN as u64);
                }
                Some(Err(damage)) => {
                    failed.push((number, damage));
                    position = position.saturating_add(entry.bytes());
                }
                None => position = position.saturating_add(entry.bytes()),
            }
        }
        self.cursors = cursors;
        self.position = self.position.saturating_add(position);
        if self.keep_going {
            for (number, damage) in failed {
                let name = self.manifest.files.get(number).map(Entry::name).unwrap_or_default();
                self.skipped.push((number, damage.of_data(&self.dir.join(name))?));
            }
            return Ok(true);
        }
        // The first is reported; the others wait until it is mended.
        match failed.into_iter().next() {
            None => Ok(true),
            Some((number, damage)) => {
                let name = self.manifest.files.get(number).map(Entry::name).unwrap_or_default();
                Err(ArchiveError::File { path: self.dir.join(name), damage })
            }
        }
    }

    fn cursor(&self, number: usize, entry: &Entry) -> Result<Cursor, Damage> {
        if !self.is_checked {
            inspect(&self.dir, &self.manifest, entry)?;
        }
        let mut file = BufReader::with_capacity(BUFFER_BYTES, open(&self.dir, entry)?);
        file.read_exact(&mut [0; HEADER_LEN]).map_err(Damage::Io)?;
        let mut next = RawHeader::new_zeroed();
        file.read_exact(next.as_mut_bytes()).map_err(Damage::Io)?;
        Ok(Cursor { file, number, place: 0, left: entry.records, next })
    }
}

impl Cursor {
    const fn height(&self) -> BlockHeight {
        BlockHeight::new(self.next.height.get())
    }

    /// Reads the next record, if there is one.
    fn advance(&mut self) -> std::io::Result<()> {
        self.left.shrink(1);
        self.place.grow(1);
        if self.left == 0 { Ok(()) } else { self.file.read_exact(self.next.as_mut_bytes()) }
    }
}
