use std::collections::BTreeSet;
use std::fs::{self, File};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use parquet::errors::ParquetError as EncodeError;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;
use plait_engine::archive::{FileHeights, Hasher};
use plait_engine::cause::{Cause, Classified};
use plait_engine::header::LEN;
use plait_engine::output;
use plait_engine::query::Divided;
use plait_engine::{BlockHeight, ChainId, Reader, View};
use rayon::prelude::*;

use crate::ParquetError;
use crate::columns::Group;
use crate::folder::{CONTENT, Folder, Place, bytes_of};
use crate::rows::ranked;
use crate::schema::{properties, schema};

/// Heights of a file: full ones have two row groups and some 60 MB.
pub const HEIGHTS: FileHeights = FileHeights::new(NonZeroU32::new(1 << 18).expect("not zero"));

/// The version of the schema.
const SCHEMA: &str = "1";

/// The lowest height that a column cannot say.
const TOO_HIGH: BlockHeight = BlockHeight::new(1 << 63);

/// Rows of a row group: what engines read on one thread.
const GROUP_ROWS: usize = 1 << 17;

/// How far an export is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows that are done.
    pub rows: u64,
    /// Rows of the dataset.
    pub of: u64,
}

/// What came of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows of the dataset, one a block.
    pub rows: u64,
    /// Of those, the ones of orphans.
    pub orphans: u64,
    /// Files of the dataset.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Files that were written.
    pub written: u64,
    /// Bytes of these.
    pub written_bytes: u64,
    /// Files of earlier exports that were removed.
    pub removed: u64,
    /// Whether it was asked to stop before the end: the dataset is not whole.
    pub stopped: bool,
}

/// An export of one database into one folder.
pub struct Export<'a> {
    reader: &'a Reader,
    dir: &'a Path,
    heights: FileHeights,
}

/// Why a file was not made.
enum Failed {
    Error(ParquetError),
    Stopped,
}

impl<E: Into<ParquetError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// What one export works with, on all threads.
struct Work<'a> {
    view: &'a View,
    folder: &'a Folder,
    /// Whether a block hash says what a block and all below it are.
    is_hashed: bool,
    stop: &'a AtomicBool,
    rows: AtomicU64,
    of: u64,
    /// Files that this export has made.
    made: Mutex<Vec<PathBuf>>,
    observer: &'a (dyn Fn(Progress) + Sync),
}

/// A file that is to be made.
struct Job<'a> {
    place: Place,
    divided: Arc<Divided<'a>>,
}

/// A file, and what was done for it.
#[derive(Default)]
struct Made {
    rows: u64,
    orphans: u64,
    bytes: u64,
    is_new: bool,
}

impl<'a> Export<'a> {
    /// An export of what `reader` has now into the folder `dir`, which is made if it is not there.
    #[must_use]
    pub const fn new(reader: &'a Reader, dir: &'a Path) -> Self {
        Self { reader, dir, heights: HEIGHTS }
    }

    /// With files of so many heights.
    #[must_use]
    pub const fn heights(self, heights: FileHeights) -> Self {
        Self { heights, ..self }
    }

    /// Writes what is not there yet, until `stop` is set, and removes files of earlier exports that have
    /// no place in the dataset any more.
    ///
    /// # Cost
    ///
    /// Every block is read once. What is in a file follows from the last canonical block of its heights and
    /// from the orphans there; where an earlier export wrote the same, only its footer is read, provided
    /// that the hashes of all blocks were checked. Files are made in parallel, one on each core, with the
    /// rows of one row group in memory: 42 MB, and some for what they are encoded to.
    ///
    /// # Errors
    ///
    /// [`ParquetError`]; [`ParquetError::Space`], before anything is written, if the disk would be too full
    /// for others then. Each file that is there is whole, but `_SUCCESS` is not there.
    pub fn run(
        &self,
        stop: &AtomicBool,
        observer: &(dyn Fn(Progress) + Sync),
    ) -> Result<Summary, ParquetError> {
        output::outside_databases(self.dir)?;
        let view = self.reader.view();
        let chains: Vec<ChainId> = view.version().chain_ids().collect();
        let folder = Folder::open(self.dir, view.version())?;
        let jobs = jobs(&view, &chains, self.heights).inspect_err(|_| folder.give_up())?;
        let places: BTreeSet<Place> = jobs.iter().map(|job| job.place).collect();
        let work = Work {
            view: &view,
            folder: &folder,
            is_hashed: view.count_levels()?[0] == 0,
            stop,
            rows: AtomicU64::new(0),
            of: chains.iter().map(|chain| view.block_count(*chain)).sum(),
            made: Mutex::new(Vec::new()),
            observer,
        };
        work.require_space(&jobs).inspect_err(|_| folder.give_up())?;
        let removed = folder.begin(&chains, &places)?;
        let made = jobs.par_iter().with_max_len(1).map(|job| work.file(job));
        let made: Vec<Made> = match made.collect() {
            Ok(made) => made,
            Err(Failed::Stopped) => {
                return Ok(Summary { removed, stopped: true, ..Summary::default() });
            }
            Err(Failed::Error(error)) => {
                work.give_back(&error);
                return Err(error);
            }
        };
        folder.end(&chains)?;
        let mut summary = Summary { removed, ..Summary::default() };
        for made in made {
            summary.rows += made.rows;
            summary.orphans += made.orphans;
            summary.files += 1;
            summary.bytes += made.bytes;
            summary.written += u64::from(made.is_new);
            summary.written_bytes += if made.is_new { made.bytes } else { 0 };
        }
        Ok(summary)
    }
}

/// The files of a view: those in which there are blocks.
fn jobs<'a>(
    view: &'a View,
    chains: &[ChainId],
    heights: FileHeights,
) -> Result<Vec<Job<'a>>, ParquetError> {
    let cut = view.cut(None)?;
    let mut jobs = Vec::new();
    for chain in chains {
        let member = cut.blocks().find(|(on, ..)| on == chain);
        let Some(divided) = view.divided(*chain, member.map(|(.., hash)| hash))? else { continue };
        let (divided, mut next) = (Arc::new(divided), BlockHeight::new(0));
        if let Some(height) = divided.next_height(TOO_HIGH) {
            return Err(ParquetError::Height { chain: *chain, height });
        }
        while let Some(height) = divided.next_height(next) {
            let last = heights.last(height);
            let place = (*chain, (heights.start(height), last));
            jobs.push(Job { place, divided: Arc::clone(&divided) });
            let Some(above) = last.child() else { break };
            next = above;
        }
    }
    Ok(jobs)
}

impl Work<'_> {
    /// Ends with an error if what is to be written would fill the disk. A row takes fewer bytes than the
    /// header that it is of, some 200; what an earlier export wrote, and is the same, is not counted.
    fn require_space(&self, jobs: &[Job<'_>]) -> Result<(), ParquetError> {
        let mut needed = 0_u64;
        for job in jobs {
            let (_, (first, last)) = job.place;
            let canonical = job.divided.canonical_heights(first, last);
            let canonical = canonical
                .map_or(0, |(low, high)| high.get().saturating_sub(low.get()).saturating_add(1));
            let rows = canonical.saturating_add(job.divided.orphan_count(first, last));
            // Whether it is the same is not known before it is read; the draft of one that is not is
            // beside it for a while.
            let is_there = self.folder.path(job.place).exists();
            needed =
                needed.saturating_add(if is_there { 0 } else { rows.saturating_mul(LEN as u64) });
        }
        let dir = self.folder.dir();
        Ok(output::require_spare(dir, needed).map_err(|error| ParquetError::io(dir, error))??)
    }

    /// Removes what this export has made, if it failed because there is no room for it.
    fn give_back(&self, error: &ParquetError) {
        if matches!(error.fault().cause, Cause::DiskFull | Cause::Quota)
            && let Ok(made) = self.made.lock()
        {
            for path in made.iter() {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Makes one file, or sees that it is there.
    fn file(&self, job: &Job<'_>) -> Result<Made, Failed> {
        let (_, (first, last)) = job.place;
        let divided = &job.divided;
        let canonical = divided.canonical_heights(first, last);
        let canonical = canonical.map_or(0, |(low, high)| high.get() - low.get() + 1);
        let orphans = divided.orphan_count(first, last);
        let made = Made { rows: canonical + orphans, orphans, ..Made::default() };
        let holds = self.is_hashed.then(|| self.content(job)).transpose()?;
        let path = self.folder.path(job.place);
        let there = holds.as_ref().and_then(|holds| bytes_of(&path, holds));
        if let Some(bytes) = there {
            self.count(made.rows);
            return Ok(Made { bytes, ..made });
        }
        let draft = self.folder.draft(job.place);
        let written = self.write(job, &draft, (made.rows, holds)).and_then(|file| {
            let error = |error| Failed::Error(ParquetError::io(&draft, error));
            file.sync_all().map_err(error)?;
            fs::rename(&draft, &path).map_err(error)?;
            Ok(file.metadata().map_err(error)?.len())
        });
        match written {
            Ok(bytes) => {
                if let Ok(mut paths) = self.made.lock() {
                    paths.push(path);
                }
                Ok(Made { bytes, is_new: true, ..made })
            }
            Err(failed) => {
                // What is left is removed by the next export.
                let _ = fs::remove_file(&draft);
                Err(failed)
            }
        }
    }

    /// What is in a file: its place, the lowest and the highest canonical block, and all orphans.
    fn content(&self, job: &Job<'_>) -> Result<String, Failed> {
        let (chain, (first, last)) = job.place;
        let mut hasher = Hasher::default();
        let version = self.view.version();
        hasher.update(format!("{SCHEMA} {version} {chain} {first} {last}\n").as_bytes());
        if let Some((low, high)) = job.divided.canonical_heights(first, last) {
            let top = job.divided.canonical_rank(high)?.hash;
            hasher.update(format!("{low} {high} {top}\n").as_bytes());
        }
        job.divided.orphans(first, last, |records| {
            hasher.update(records);
            self.go_on()
        })?;
        Ok(hasher.finish().to_string())
    }

    /// Writes all rows of a file to `path`: how many there are, and what it is to say that it holds.
    fn write(
        &self,
        job: &Job<'_>,
        path: &Path,
        (count, holds): (u64, Option<String>),
    ) -> Result<File, Failed> {
        let file = File::create(path).map_err(|error| ParquetError::io(path, error))?;
        let mut about = vec![
            KeyValue::new("plait.schema".to_owned(), SCHEMA.to_owned()),
            KeyValue::new("chainwebVersion".to_owned(), self.view.version().to_string()),
            KeyValue::new("chainId".to_owned(), job.place.0.to_string()),
        ];
        about.extend(holds.map(|holds| KeyValue::new(CONTENT.to_owned(), holds)));
        let encode = |error| ParquetError::encode(path, error);
        let schema = schema().map_err(encode)?;
        let file = SerializedFileWriter::new(file, schema, Arc::new(properties(about)));
        let mut file = file.map_err(encode)?;
        let mut rows = Rows::with_room(count);
        ranked(&job.divided, job.place.1, |mut records, orphan| {
            self.go_on()?;
            while !records.is_empty() {
                let room = (GROUP_ROWS - rows.orphans.len()) * LEN;
                let (some, others) = records.split_at(room.min(records.len()));
                rows.push(some, orphan);
                records = others;
                if rows.orphans.len() == GROUP_ROWS {
                    self.count(rows.write(&mut file).map_err(encode)?);
                }
            }
            Ok::<_, Failed>(())
        })?;
        self.count(rows.write(&mut file).map_err(encode)?);
        Ok(file.into_inner().map_err(encode)?)
    }

    fn go_on(&self) -> Result<(), Failed> {
        if self.stop.load(Ordering::Relaxed) { Err(Failed::Stopped) } else { Ok(()) }
    }

    fn count(&self, rows: u64) {
        let rows = self.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        (self.observer)(Progress { rows, of: self.of });
    }
}

/// Rows of the next row group.
struct Rows {
    records: Vec<u8>,
    orphans: Vec<bool>,
}

impl Rows {
    /// With room for a row group of a file with this many rows.
    fn with_room(rows: u64) -> Self {
        let rows = usize::try_from(rows).unwrap_or(GROUP_ROWS).min(GROUP_ROWS);
        Self { records: Vec::with_capacity(rows * LEN), orphans: Vec::with_capacity(rows) }
    }

    fn push(&mut self, records: &[u8], orphan: bool) {
        self.records.extend_from_slice(records);
        self.orphans.resize(self.records.len() / LEN, orphan);
    }

    /// Writes them, if there are any, and forgets them. Returns how many.
    fn write(&mut self, file: &mut SerializedFileWriter<File>) -> Result<u64, EncodeError> {
        let rows = self.orphans.len();
        if rows == 0 {
            return Ok(0);
        }
        let records = Bytes::from(std::mem::take(&mut self.records));
        Group::new(&records, &self.orphans).write(file)?;
        // Nobody else has them any more, so this is the same memory.
        self.records = Vec::from(records);
        self.records.clear();
        self.orphans.clear();
        Ok(rows as u64)
    }
}
