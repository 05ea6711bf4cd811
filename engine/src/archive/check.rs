use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::inspect::inspect;
use super::target::MARK;
use super::{ArchiveError, Damage, Entry, MANIFEST, Manifest, Place, Reader};
use crate::header::HeaderRef;
use crate::store::History;
use crate::types::{BlockHeight, ChainId, Grow};
use crate::verify::{Failures, Verifier};
use crate::walk::{FutureBlocks, Rules, Source, Window, walk};

/// Records that are verified together: 5 MB.
const WINDOW_RECORDS: usize = 16 << 10;

/// Files that are checked between two looks at whether to stop, on all cores.
const CHUNK_FILES: usize = 16;

/// What came of the check of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files that are what the manifest says.
    pub sound: u64,
    /// Files that are not.
    pub damaged: u64,
    /// Blocks that passed, by the [`Level`](crate::verify::Level) that they were verified at.
    pub passed: [u64; 3],
    /// Blocks that did not.
    pub broken: u64,
    /// Blocks that are dated after the present time, which is no fault of theirs.
    pub future: FutureBlocks,
    /// The height up to which blocks were verified.
    pub height: BlockHeight,
    /// Whether it was asked to stop before the end.
    pub stopped: bool,
}

impl Report {
    /// The number of blocks that were verified.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.passed.iter().sum::<u64>().saturating_add(self.broken)
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.damaged == 0 && self.broken == 0
    }
}

/// What an observer of a check is told.
#[derive(Debug)]
pub enum Event<'a> {
    /// Sent first: the amount of work.
    Begin {
        /// Files to check.
        files: u64,
        /// Headers in these files.
        records: u64,
    },
    /// Some files or blocks are done.
    Progress(Report),
    /// A file is not what the manifest says.
    Damaged(String, &'a Damage),
    /// A block is not what it should be; where it stands.
    Broken(String, HeaderRef<'a>, &'a Failures),
    /// The folder has something that the manifest does not name.
    Unlisted(String),
}

/// Checks all of an archive until `stop` is set: first every file by itself, then every block of
/// the sound ones, by ascending height, by the rules of the verifier that `verifier` makes for the
/// network of the archive.
///
/// A block whose parent or adjacent parent would be in a damaged file is verified as far as it can
/// be, and so is one whose parent is not there in a partial history.
///
/// # Cost
///
/// Two passes over the files, on all cores. Memory is bounded.
///
/// # Errors
///
/// As for [`Manifest::read`]; [`ArchiveError::Io`] if a file cannot be read any more, and
/// [`ArchiveError::File`] if it cannot be read for a cause that says nothing of it.
pub fn check(
    dir: &Path,
    verifier: impl FnOnce(&Manifest) -> Verifier,
    stop: &AtomicBool,
    observer: &mut dyn FnMut(Event<'_>),
) -> Result<Report, ArchiveError> {
    let (manifest, _) = Manifest::read(dir)?;
    let mut report = Report::default();
    let files = manifest.files.len() as u64;
    observer(Event::Begin { files, records: manifest.records() });
    tell_unlisted(dir, &manifest, observer)?;
    let (mut sound, mut holes) = (Vec::new(), HashSet::new());
    let numbers: Vec<usize> = (0..manifest.files.len()).collect();
    for some in numbers.chunks(CHUNK_FILES) {
        if stop.load(Ordering::Relaxed) {
            return Ok(Report { stopped: true, ..report });
        }
        let files = some.par_iter().filter_map(|number| {
            let entry = manifest.files.get(*number)?;
            Some((*number, entry, inspect(dir, &manifest, entry)))
        });
        for (number, entry, result) in files.collect::<Vec<_>>() {
            match result {
                Ok(()) => {
                    report.sound.grow(1);
                    sound.push(number);
                }
                Err(damage) => {
                    let damage = damage.of_data(&dir.join(entry.name()))?;
                    report.damaged.grow(1);
                    holes.insert((entry.chain, entry.from));
                    observer(Event::Damaged(entry.name(), &damage));
                }
            }
        }
        observer(Event::Progress(report));
    }
    let verifier = verifier(&manifest);
    let mut reader = Reader::checked(dir, manifest.clone(), sound);
    let lacks = Lacks { manifest: &manifest, holes };
    check_blocks(&mut reader, &lacks, &verifier, &mut report, stop, observer)?;
    Ok(report)
}

fn tell_unlisted(
    dir: &Path,
    manifest: &Manifest,
    observer: &mut dyn FnMut(Event<'_>),
) -> Result<(), ArchiveError> {
    let listed: HashSet<String> = manifest.files.iter().map(Entry::name).collect();
    let entries = dir.read_dir().map_err(|error| ArchiveError::io(dir, error))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> =
        names.filter(|name| !listed.contains(name) && name != MANIFEST && name != MARK).collect();
    names.sort();
    for name in names {
        observer(Event::Unlisted(name));
    }
    Ok(())
}

/// The records of the sound files, some at a time.
struct Records<'a>(&'a mut Reader);

impl Source for Records<'_> {
    /// Where each record stands.
    type Note = Vec<Place>;
    type Error = ArchiveError;

    fn next_window(&mut self) -> Result<Option<Window<Vec<Place>>>, ArchiveError> {
        let records = self.0.next_records(WINDOW_RECORDS)?;
        Ok(records.map(|records| Window::new(records.bytes, records.places)))
    }
}

/// What blocks of an archive may lack.
struct Lacks<'a> {
    manifest: &'a Manifest,
    /// Chain and range of damaged files.
    holes: HashSet<(ChainId, BlockHeight)>,
}

impl Rules<Vec<Place>> for Lacks<'_> {
    /// Whether the history begins here, or a damaged file has what is right below.
    fn may_lack(&self, window: &Window<Vec<Place>>, number: usize, chain: ChainId) -> bool {
        let below = window.header(number).and_then(|header| header.height().parent());
        let range = below.map(|below| (chain, self.manifest.heights.start(below)));
        let is_lost = range.is_some_and(|range| self.holes.contains(&range));
        is_lost || self.manifest.history == History::Partial
    }
}

fn check_blocks(
    reader: &mut Reader,
    lacks: &Lacks<'_>,
    verifier: &Verifier,
    report: &mut Report,
    stop: &AtomicBool,
    observer: &mut dyn FnMut(Event<'_>),
) -> Result<(), ArchiveError> {
    let place = |place: &Place| place.name(lacks.manifest);
    report.stopped = walk(&mut Records(reader), verifier, lacks, stop, &mut |window, outcome| {
        for (sum, count) in report.passed.iter_mut().zip(outcome.passed) {
            sum.grow(count);
        }
        report.broken.grow(outcome.broken.len() as u64);
        report.future.merge(outcome.future);
        for (number, failures) in &outcome.broken {
            let Some(header) = window.header(*number) else { continue };
            let place = window.note.get(*number).map(place).unwrap_or_default();
            observer(Event::Broken(place, header, failures));
        }
        // Records come by ascending height.
        let last = window.records().len().checked_sub(1).and_then(|last| window.header(last));
        report.height = last.map_or(report.height, HeaderRef::height);
        observer(Event::Progress(*report));
    })?;
    // A file that changed since it was checked.
    for (name, damage) in reader.skipped() {
        report.damaged.grow(1);
        observer(Event::Damaged(name, &damage));
    }
    Ok(())
}
