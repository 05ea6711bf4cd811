use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;

use super::draft::{Content, Draft, file_len};
use super::target::Target;
use super::{ArchiveError, Entry, FileHeader, FileHeights, Kind, MANIFEST, Manifest, Member};
use crate::cause::{Cause, Classified};
use crate::durable;
use crate::failpoint::reached;
use crate::output;
use crate::query::{Divided, Reader, View};
use crate::regular;
use crate::store::StoreError;
use crate::types::{BlockHeight, ChainId, Grow, Rank};

/// How far an export is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Blocks of files that are done.
    pub records: u64,
    /// Blocks of the database.
    pub of: u64,
}

/// What came of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Blocks of the archive.
    pub records: u64,
    /// Files of the archive.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Files that were written.
    pub written: u64,
    /// Bytes of these.
    pub written_bytes: u64,
    /// Of those that were not, the ones that were not even read from the database.
    pub unread: u64,
    /// Files of earlier exports that are no part of the archive any more.
    pub stale: u64,
    /// Of those, the ones that were removed.
    pub removed: u64,
    /// Whether it was asked to stop before the end: the archive is the one that was there before.
    pub stopped: bool,
}

/// An export of one database into one folder.
pub struct Export<'a> {
    reader: &'a Reader,
    dir: &'a Path,
    heights: Option<FileHeights>,
    prune: bool,
}

/// A file that may be to be made: what of a chain, from which height on.
type Job<'a> = (Arc<Divided<'a>>, ChainId, BlockHeight, Kind);

/// Why a file was not made.
enum Failed {
    Error(ArchiveError),
    Stopped,
}

impl<E: Into<ArchiveError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// What one export works with, on all threads.
struct Work<'a> {
    view: &'a View,
    target: &'a Target,
    heights: FileHeights,
    stop: &'a AtomicBool,
    done: AtomicU64,
    of: u64,
    /// Files that this export has made.
    made: Mutex<Vec<PathBuf>>,
    observer: &'a (dyn Fn(Progress) + Sync),
}

/// A file, and what was done for it.
struct Made {
    entry: Entry,
    written: bool,
    read: bool,
}

impl<'a> Export<'a> {
    /// An export of what `reader` has now into the folder `dir`, which is made if it is not there.
    /// The number of heights of a file is that of the archive there, or the usual one.
    #[must_use]
    pub const fn new(reader: &'a Reader, dir: &'a Path) -> Self {
        Self { reader, dir, heights: None, prune: false }
    }

    /// With files of so many heights.
    #[must_use]
    pub const fn heights(self, heights: Option<FileHeights>) -> Self {
        Self { heights, ..self }
    }

    /// Removes the files of earlier exports that are no part of the archive any more.
    #[must_use]
    pub const fn prune(self, prune: bool) -> Self {
        Self { prune, ..self }
    }

    /// Writes what is not there yet, until `stop` is set.
    ///
    /// # Cost
    ///
    /// Every block is read once, hashed, and written where it is not there yet. What a file holds
    /// that is full of canonical blocks follows from the hash of the last one, so such a file is
    /// not even read, provided that hashes were checked: when the archive was written, and now.
    /// Memory does not grow with the database: a few runs for each core.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`]; [`ArchiveError::Space`], before anything is written, if the disk would be too full
    /// for others then. The archive that was there before is there still, and no file that is not whole.
    pub fn run(
        &self,
        stop: &AtomicBool,
        observer: &(dyn Fn(Progress) + Sync),
    ) -> Result<Summary, ArchiveError> {
        output::outside_databases(self.dir)?;
        let view = self.reader.view();
        let mut target = Target::open(self.dir, view.version(), self.heights)?;
        let written = self.write(&view, &mut target, stop, observer);
        if written.as_ref().map_or(true, |summary| summary.stopped) {
            target.give_up();
        }
        written
    }

    fn write(
        &self,
        view: &View,
        target: &mut Target,
        stop: &AtomicBool,
        observer: &(dyn Fn(Progress) + Sync),
    ) -> Result<Summary, ArchiveError> {
        let is_hashed = view.count_levels()?[0] == 0;
        if !is_hashed {
            target.distrust();
        }
        let cut = view.cut(None)?;
        let member = |(chain, height, hash)| Member { chain, rank: Rank { height, hash } };
        let mut cut: Vec<Member> = cut.blocks().map(member).collect();
        cut.sort_by_key(|member| member.chain);
        let chains: Vec<ChainId> = view.version().chain_ids().collect();
        let work = Work {
            view,
            target,
            heights: target.heights(),
            stop,
            done: AtomicU64::new(0),
            of: chains.iter().map(|chain| view.block_count(*chain)).sum(),
            made: Mutex::new(Vec::new()),
            observer,
        };
        let made = match work.files(&chains, &cut) {
            Ok(made) => made,
            Err(Failed::Stopped) => return Ok(Summary { stopped: true, ..Summary::default() }),
            Err(Failed::Error(error)) => {
                work.give_back(&error);
                return Err(error);
            }
        };
        let mut summary = summary(&made);
        let manifest = Manifest {
            version: view.version(),
            history: self.reader.meta().history,
            heights: work.heights,
            cut,
            files: made.into_iter().map(|made| made.entry).collect(),
        };
        publish(self.dir, &manifest, target, is_hashed)?;
        (summary.stale, summary.removed) = target.clean(&manifest, self.prune)?;
        Ok(summary)
    }
}

fn summary(made: &[Made]) -> Summary {
    let mut summary = Summary::default();
    for made in made {
        summary.files.grow(1);
        summary.records.grow(made.entry.records);
        summary.bytes.grow(made.entry.bytes());
        summary.unread.grow(u64::from(!made.read));
        if made.written {
            summary.written.grow(1);
            summary.written_bytes.grow(made.entry.bytes());
        }
    }
    summary
}

/// Puts the manifest in its place, behind everything that it names.
fn publish(
    dir: &Path,
    manifest: &Manifest,
    target: &mut Target,
    is_hashed: bool,
) -> Result<(), ArchiveError> {
    let (text, path) = (manifest.render(), dir.join(MANIFEST));
    let is_there =
        regular::read(&path, text.len() as u64).is_ok_and(|there| there == text.as_bytes());
    let error = |error| ArchiveError::io(&path, error);
    reached("export/files/after");
    durable::sync(dir).map_err(error)?;
    if !is_there {
        reached("export/manifest/before");
        durable::replace(&path, text.as_bytes()).map_err(error)?;
        reached("export/manifest/after");
        durable::sync(dir).map_err(error)?;
    }
    target.record(&text, &manifest.files, is_hashed)
}

impl Work<'_> {
    /// Makes all files, each on one thread.
    fn files(&self, chains: &[ChainId], cut: &[Member]) -> Result<Vec<Made>, Failed> {
        let tops: BTreeMap<ChainId, _> = cut.iter().map(|m| (m.chain, m.rank.hash)).collect();
        let mut jobs = Vec::new();
        for chain in chains {
            let Some(divided) = self.view.divided(*chain, tops.get(chain).copied())? else {
                continue;
            };
            let (divided, mut next) = (Arc::new(divided), BlockHeight::new(0));
            while let Some(height) = divided.next_height(next) {
                let from = self.heights.start(height);
                for kind in Kind::ALL {
                    jobs.push((Arc::clone(&divided), *chain, from, kind));
                }
                let Some(above) = self.heights.last(from).child() else { break };
                next = above;
            }
        }
        self.require_space(&jobs)?;
        let made = jobs.par_iter().with_max_len(1).filter_map(|(divided, chain, from, kind)| {
            self.file(divided, (*chain, *from, *kind)).transpose()
        });
        made.collect()
    }

    /// Ends with an error if what is to be written would fill the disk: others write there too, a
    /// database for example.
    fn require_space(&self, jobs: &[Job<'_>]) -> Result<(), Failed> {
        let mut needed = 0_u64;
        for (divided, chain, from, kind) in jobs {
            let place = (*chain, *from, *kind);
            let (records, heights) = self.records(divided, place);
            let is_there = records == 0
                || self.target.has_some(place, file_len(records))
                || self.unchanged(divided, place, heights)?.is_some();
            needed = needed.saturating_add(if is_there { 0 } else { file_len(records) });
        }
        let dir = self.target.dir();
        let room = output::require_spare(dir, needed);
        room.map_err(|error| ArchiveError::io(dir, error))?.map_err(ArchiveError::from)?;
        Ok(())
    }

    /// How many records a file has, and the canonical heights among its own.
    fn records(
        &self,
        divided: &Divided<'_>,
        (_, from, kind): (ChainId, BlockHeight, Kind),
    ) -> (u64, Option<(BlockHeight, BlockHeight)>) {
        let last = self.heights.last(from);
        let heights = divided.canonical_heights(from, last);
        let records = match kind {
            Kind::Canonical => heights
                .map_or(0, |(low, high)| high.get().saturating_sub(low.get()).saturating_add(1)),
            Kind::Orphans => divided.orphan_count(from, last),
        };
        (records, heights)
    }

    /// Removes what this export has made, if it failed because there is no room for it.
    fn give_back(&self, error: &ArchiveError) {
        if matches!(error.fault().cause, Cause::DiskFull | Cause::Quota)
            && let Ok(made) = self.made.lock()
        {
            for path in made.iter() {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Makes one file, if there are blocks for it.
    fn file(
        &self,
        divided: &Divided<'_>,
        place: (ChainId, BlockHeight, Kind),
    ) -> Result<Option<Made>, Failed> {
        let (_, from, kind) = place;
        let (records, heights) = self.records(divided, place);
        if records == 0 {
            return Ok(None);
        }
        if let Some(entry) = self.unchanged(divided, place, heights)? {
            self.count(entry.records);
            return Ok(Some(Made { entry, written: false, read: false }));
        }
        let header = FileHeader::new(self.view.version(), self.heights, place, records);
        let fill = |mut draft: Draft| self.fill(divided, kind, from, &mut draft).map(|()| draft);
        // Something of this length is there: perhaps it is this.
        if self.target.has_some(place, file_len(records)) {
            let content = content(&fill(Draft::checksum_only(&header))?, records, place)?;
            let entry = entry(place, content);
            if self.target.has(&entry) {
                self.count(records);
                return Ok(Some(Made { entry, written: false, read: true }));
            }
        }
        let draft = fill(Draft::create(self.target.dir(), &label(place), &header)?)?;
        let entry = entry(place, content(&draft, records, place)?);
        let path = self.path(&entry);
        draft.finish(&path)?;
        if let Ok(mut made) = self.made.lock() {
            made.push(path);
        }
        self.count(records);
        Ok(Some(Made { entry, written: true, read: true }))
    }

    /// What the old manifest says of the file, if it must be the same: canonical blocks of the same
    /// heights that end with the same block.
    fn unchanged(
        &self,
        divided: &Divided<'_>,
        place: (ChainId, BlockHeight, Kind),
        heights: Option<(BlockHeight, BlockHeight)>,
    ) -> Result<Option<Entry>, Failed> {
        let old = self.target.trusted(place).filter(|_| place.2 == Kind::Canonical);
        let Some((old, (low, high))) = old.zip(heights) else { return Ok(None) };
        let same = (old.first.height, old.last.height) == (low, high)
            && divided.canonical_rank(high)? == old.last
            && self.target.has(old);
        Ok(same.then(|| old.clone()))
    }

    fn fill(
        &self,
        divided: &Divided<'_>,
        kind: Kind,
        from: BlockHeight,
        draft: &mut Draft,
    ) -> Result<(), Failed> {
        let last = self.heights.last(from);
        let mut push = |records: &[u8]| {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Failed::Stopped);
            }
            Ok(draft.push(records)?)
        };
        match kind {
            Kind::Canonical => divided.canonical(from, last, &mut push),
            Kind::Orphans => divided.orphans(from, last, &mut push),
        }
    }

    fn path(&self, entry: &Entry) -> PathBuf {
        self.target.dir().join(entry.name())
    }

    fn count(&self, records: u64) {
        let records = self.done.fetch_add(records, Ordering::Relaxed).saturating_add(records);
        (self.observer)(Progress { records, of: self.of });
    }
}

fn label((chain, from, kind): (ChainId, BlockHeight, Kind)) -> String {
    format!("{:02}-{:010}-{}", chain.get(), from.get(), kind.name())
}

fn entry((chain, from, kind): (ChainId, BlockHeight, Kind), content: Content) -> Entry {
    let Content { records, first, last, parent, checksum } = content;
    let parent = (kind == Kind::Canonical).then_some(parent);
    Entry { chain, kind, from, records, first, last, parent, checksum }
}

/// What a draft holds, which is as many records as were counted.
fn content(
    draft: &Draft,
    records: u64,
    (chain, from, _): (ChainId, BlockHeight, Kind),
) -> Result<Content, ArchiveError> {
    let content = draft.content().filter(|content| content.records == records);
    content.ok_or_else(|| StoreError::gap(chain, from).into())
}
