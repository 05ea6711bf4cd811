use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;
use rayon::prelude::*;

use super::inspect::inspect;
use super::target::MARK;
use super::{ArchiveError, Damage, Entry, MANIFEST, Manifest, Place, Reader, Records};
use crate::header::{DEGREE, Header, HeaderRef, LEN};
use crate::store::History;
use crate::types::{BlockHash, BlockHeight, ChainId};
use crate::verify::{Adjacents, Failures, Level, Parent, Verified, Verifier};

/// Records that are verified together.
const CHUNK_RECORDS: usize = 8192;

/// Files that are checked between two looks at whether to stop, on all cores.
const CHUNK_FILES: usize = 16;

/// What came of the check of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files that are what the manifest says.
    pub sound: u64,
    /// Files that are not.
    pub damaged: u64,
    /// Blocks that passed, by the [`Level`] that they were verified at.
    pub passed: [u64; 3],
    /// Blocks that did not.
    pub broken: u64,
    /// The height up to which blocks were verified.
    pub height: BlockHeight,
    /// Whether it was asked to stop before the end.
    pub stopped: bool,
}

impl Report {
    /// The number of blocks that were verified.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.passed.iter().sum::<u64>() + self.broken
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
/// As for [`Manifest::read`]; and [`ArchiveError::Io`] if a file cannot be read any more.
pub fn check(
    dir: &Path,
    verifier: impl FnOnce(&Manifest) -> Verifier,
    stop: &AtomicBool,
    observer: &mut dyn FnMut(Event<'_>),
) -> Result<Report, ArchiveError> {
    let (manifest, _) = Manifest::read(dir)?;
    let mut report = Report::default();
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
                    report.sound += 1;
                    sound.push(number);
                }
                Err(damage) => {
                    report.damaged += 1;
                    holes.insert((entry.chain, entry.from));
                    observer(Event::Damaged(entry.name(), &damage));
                }
            }
        }
        observer(Event::Progress(report));
    }
    let verifier = verifier(&manifest);
    let reader = Reader::checked(dir, manifest, sound);
    let mut blocks = Blocks { reader, verifier: &verifier, holes, below: Vec::new(), report };
    blocks.run(stop, observer)?;
    Ok(blocks.report)
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

/// The blocks of the sound files.
struct Blocks<'a> {
    reader: Reader,
    verifier: &'a Verifier,
    /// Chain and range of damaged files.
    holes: HashSet<(ChainId, BlockHeight)>,
    /// The blocks of the last heights that were verified.
    below: Vec<Header>,
    report: Report,
}

/// Why the blocks below a block are not there.
enum Absent {
    /// They must be.
    Wrong,
    /// The history begins here, or a damaged file has them.
    Excused,
}

impl Blocks<'_> {
    fn run(
        &mut self,
        stop: &AtomicBool,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), ArchiveError> {
        while let Some(records) = self.reader.next_records(CHUNK_RECORDS)? {
            if stop.load(Ordering::Relaxed) {
                self.report.stopped = true;
                break;
            }
            self.chunk(&records, observer);
            observer(Event::Progress(self.report));
        }
        // A file that changed since it was checked.
        for (name, damage) in self.reader.skipped() {
            self.report.damaged += 1;
            observer(Event::Damaged(name, &damage));
        }
        Ok(())
    }

    fn chunk(&mut self, records: &Records, observer: &mut dyn FnMut(Event<'_>)) {
        let headers = records.bytes.chunks_exact(LEN).map(HeaderRef::parse);
        // Files were checked: every record is a header.
        let headers: Vec<HeaderRef<'_>> = headers.filter_map(Result::ok).collect();
        let below = self.below.iter().map(Header::view);
        let known: HashMap<BlockHash, HeaderRef<'_>> =
            below.chain(headers.iter().copied()).map(|header| (header.hash(), header)).collect();
        let verified: Vec<Result<Level, Failures>> =
            headers.par_iter().map(|header| self.block(*header, &known)).collect();
        for ((header, place), result) in headers.iter().zip(&records.places).zip(verified) {
            self.report.height = header.height();
            match result {
                Ok(level) => {
                    if let Some(count) = self.report.passed.get_mut(usize::from(level.code())) {
                        *count += 1;
                    }
                }
                Err(failures) => {
                    self.report.broken += 1;
                    observer(Event::Broken(self.place(*place), *header, &failures));
                }
            }
        }
        let Some(last) = headers.last().map(|header| header.height()) else { return };
        let lowest = last.parent().unwrap_or(last);
        let kept = known.values().filter(|header| header.height() >= lowest);
        let kept: Vec<Header> = kept.copied().map(HeaderRef::to_owned).collect();
        drop(known);
        self.below = kept;
    }

    fn place(&self, place: Place) -> String {
        self.reader.name(place)
    }

    /// Verifies a block against the blocks below it; the level that it reached.
    fn block(
        &self,
        header: HeaderRef<'_>,
        known: &HashMap<BlockHash, HeaderRef<'_>>,
    ) -> Result<Level, Failures> {
        let checked = self.verifier.check(header);
        let parent = match known.get(&header.parent()) {
            Some(parent) => Parent::Block(*parent),
            None => match self.absent(header.chain(), header.height()) {
                Absent::Wrong => Parent::Missing,
                Absent::Excused => Parent::Admitted,
            },
        };
        let mut blocks = [header; DEGREE];
        let mut missing = None;
        let genesis: [Option<Header>; DEGREE] = self.genesis(header);
        for ((slot, genesis), (chain, hash)) in
            blocks.iter_mut().zip(&genesis).zip(header.adjacents().iter())
        {
            match known.get(&hash).copied().or(genesis.as_ref().map(Header::view)) {
                Some(block) => *slot = block,
                None => missing = missing.or(Some((chain, hash))),
            }
        }
        let adjacents = match missing {
            None => Adjacents::Blocks(blocks),
            Some((chain, hash)) => match self.absent(chain, header.height()) {
                Absent::Wrong => Adjacents::Missing(chain, hash),
                Absent::Excused => Adjacents::Admitted,
            },
        };
        self.verifier.conclude(checked, parent, adjacents).map(Verified::level)
    }

    /// The genesis blocks among the adjacent parents: a partial history need not hold them.
    fn genesis(&self, header: HeaderRef<'_>) -> [Option<Header>; DEGREE] {
        let mut adjacents = header.adjacents().iter();
        [(); DEGREE].map(|()| {
            let (chain, hash) = adjacents.next()?;
            self.verifier.genesis_block(chain, hash)
        })
    }

    /// Why a block of `chain` right below `height` is not there.
    fn absent(&self, chain: ChainId, height: BlockHeight) -> Absent {
        let manifest = self.reader.manifest();
        let range = height.parent().map(|below| (chain, manifest.heights.start(below)));
        let is_lost = range.is_some_and(|range| self.holes.contains(&range));
        if is_lost || manifest.history == History::Partial {
            Absent::Excused
        } else {
            Absent::Wrong
        }
    }
}
