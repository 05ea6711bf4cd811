use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::link::Link;
use super::source::{Item, Source};
use super::stage::{CheckedChunk, Next, Stage};
use super::{Rejection, ReplayError, Wrong};
use crate::header::HeaderRef;
use crate::store::{Mark, MarkedAt};
use crate::types::{BlockHash, BlockHeight};
use crate::verify::Verifier;
use crate::write::{Held, Writer};

/// Blocks of a commit while they come in order: 83 MB. What is not buried is written twice, some
/// 8,000 blocks of each commit.
const COMMIT_BLOCKS: usize = 1 << 18;

/// Time between two commits at most, as long as there is something to commit.
const COMMIT_EVERY: Duration = Duration::from_secs(2);

/// Time to wait for input before looking around.
const WAIT: Duration = Duration::from_millis(100);

/// Records from which on it is worth taking them in order: below, one log is less work than many
/// tables.
const ORDERED_MIN: u64 = 32 << 10;

/// Chunks that are taken one by one before it is tried in order: in the beginning, where the input is
/// slow, and after blocks did not come in order, then twice as many each time.
const PATIENCE: u32 = 8;

/// The same at most.
const PATIENCE_MAX: u32 = 1024;

/// Time to wait for enough records to be worth taking in order.
const GATHER: Duration = Duration::from_secs(1);

/// Which blocks may be stored without the blocks below them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// None but the network's genesis blocks.
    #[default]
    Genesis,
    /// These blocks.
    Roots(HashSet<BlockHash>),
    /// Any block.
    Any,
}

impl Admission {
    pub(super) fn admits(&self, hash: BlockHash) -> bool {
        match self {
            Self::Genesis => false,
            Self::Roots(roots) => roots.contains(&hash),
            Self::Any => true,
        }
    }
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the present input that were read.
    pub position: u64,
    /// Bytes of the present input, if that is known.
    pub size: Option<u64>,
    /// The height of the last block that was stored.
    pub height: BlockHeight,
    /// What came of the records so far, of all inputs.
    pub summary: Summary,
}

/// What came of the records of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Blocks that were stored.
    pub stored: u64,
    /// Of those, the ones that were admitted without all the blocks below them, and so are not
    /// fully verified though the replay was to.
    pub partial: u64,
    /// Blocks that were stored before.
    pub known: u64,
    /// Of those, the ones that were not read again: an earlier replay had read up to there.
    pub skipped: u64,
    /// Blocks that wait for a parent or an adjacent parent.
    pub waiting: u64,
    /// Records that are wrong.
    pub rejected: u64,
    /// Whether it was asked to stop before the end.
    pub stopped: bool,
}

/// What an observer of a replay is told.
#[derive(Debug)]
pub enum Event<'a> {
    /// Records were read.
    Progress(Progress),
    /// A record was not stored.
    Rejected(&'a Rejection<'a>),
    /// At the end, a block waits for one that did not come.
    Waiting(&'a Rejection<'a>),
    /// At the end, so many blocks are sorted into the hash index.
    Indexed(u64),
}

/// A replay into one database.
pub struct Replay<'a> {
    pub(super) writer: &'a mut Writer,
    pub(super) verifier: Arc<Verifier>,
    pub(super) admission: Admission,
    pub(super) keep_going: bool,
    pub(super) stop: &'a AtomicBool,
    pub(super) summary: Summary,
    pub(super) height: BlockHeight,
    /// Records from which on they are taken in order.
    ordered_min: u64,
    /// Chunks to take one by one before it is tried again in order.
    patience: u32,
    /// How many that will be the next time.
    patience_next: u32,
    committed: Instant,
    /// Inputs that have a mark.
    marked: Vec<[u8; 32]>,
}

/// Whether to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    On,
    Stop,
}

/// An input that is read.
struct Input {
    name: Option<[u8; 32]>,
    size: Option<u64>,
    at: MarkedAt,
}

impl Input {
    fn mark(&self) -> Option<Mark> {
        self.name.map(|input| Mark { input, at: self.at })
    }
}

impl<'a> Replay<'a> {
    /// A replay with `writer` that ends early once `stop` is set. Bad records end it too, unless it
    /// is to `keep_going`.
    #[must_use]
    pub fn new(
        writer: &'a mut Writer,
        verifier: Verifier,
        admission: Admission,
        keep_going: bool,
        stop: &'a AtomicBool,
    ) -> Self {
        Self {
            writer,
            verifier: Arc::new(verifier),
            admission,
            keep_going,
            stop,
            summary: Summary::default(),
            height: BlockHeight::default(),
            ordered_min: ORDERED_MIN,
            patience: PATIENCE,
            patience_next: PATIENCE,
            committed: Instant::now(),
            marked: Vec::new(),
        }
    }

    /// The same, which takes blocks in order if there are at least so many records. That is faster
    /// where there are many, and changes nothing else.
    #[must_use]
    pub fn ordered_from(self, records: u64) -> Self {
        Self { ordered_min: records, ..self }
    }

    /// Reads `source` to its end, or to its first bad record, and tells `observer`.
    ///
    /// Where an earlier replay was interrupted, this one goes on. Blocks whose parents or adjacent
    /// parents are still to come are put aside; [`Replay::finish`] takes them up when all inputs are
    /// read.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] if the input cannot be read or a block cannot be written. What was
    /// committed before stays.
    pub fn run(
        &mut self,
        mut source: Box<dyn Source>,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<Summary, ReplayError> {
        let (name, size, at) = (source.name(), source.size(), MarkedAt::default());
        let mut input = Input { name, size, at };
        self.resume(source.as_mut(), &mut input)?;
        let stage = Stage::begin(source, &self.verifier);
        let result = self.read(&stage, &mut input, observer);
        // Also behind a failure: what came before it stays.
        let kept = self.keep(&input);
        result.and(kept).map(|()| self.summary)
    }

    /// What came of the records so far.
    #[must_use]
    pub const fn summary(&self) -> Summary {
        self.summary
    }

    /// Skips what an earlier replay of the same input had read.
    fn resume(&mut self, source: &mut dyn Source, input: &mut Input) -> Result<(), ReplayError> {
        let Some(name) = input.name else { return Ok(()) };
        self.marked.push(name);
        if let Some(at) = self.writer.mark(&name)?
            && source.resume(at)?
        {
            input.at = at;
            self.summary.known += at.records.get();
            self.summary.skipped += at.records.get();
        }
        Ok(())
    }

    fn read(
        &mut self,
        stage: &Stage,
        input: &mut Input,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), ReplayError> {
        let (mut first, mut more) = self.first_chunks(stage)?;
        first.reverse();
        while !self.is_stopped() {
            let next = match first.pop() {
                Some(chunk) => Next::Chunk(chunk),
                None if more => stage.next(WAIT)?,
                None => Next::End,
            };
            match next {
                Next::End => more = false,
                Next::Waiting => self.commit_sometimes(input)?,
                Next::Chunk(chunk) => {
                    let at = chunk.chunk().end();
                    let flow = self.chunk(stage, chunk, observer)?;
                    if flow == Flow::Stop {
                        break;
                    }
                    input.at = at;
                    self.commit_sometimes(input)?;
                    self.try_order()?;
                    observer(Event::Progress(self.progress(at.position.get(), input.size)));
                }
            }
            if !more && first.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// The chunks that are there at once, up to so many that it is worth taking them in order; and
    /// whether more may come.
    fn first_chunks(&mut self, stage: &Stage) -> Result<(Vec<CheckedChunk>, bool), ReplayError> {
        let (mut chunks, mut records, start) = (Vec::new(), 0, Instant::now());
        loop {
            if records >= self.ordered_min {
                self.writer.begin_bulk()?;
                return Ok((chunks, true));
            }
            match stage.next(WAIT)? {
                Next::End => return Ok((chunks, false)),
                Next::Waiting if self.is_stopped() || start.elapsed() > GATHER => {
                    return Ok((chunks, true));
                }
                Next::Waiting => {}
                Next::Chunk(chunk) => {
                    records += chunk.chunk().len() as u64;
                    chunks.push(chunk);
                }
            }
        }
    }

    pub(super) fn is_stopped(&mut self) -> bool {
        self.summary.stopped |= self.stop.load(Ordering::Relaxed);
        self.summary.stopped
    }

    pub(super) fn commit(&mut self) -> Result<(), ReplayError> {
        self.summary.stored += self.writer.commit()? as u64;
        Ok(())
    }

    pub(super) const fn progress(&self, position: u64, size: Option<u64>) -> Progress {
        Progress { position, size, height: self.height, summary: self.summary }
    }

    /// Commits what is staged if there is enough of it or it waited long enough.
    fn commit_sometimes(&mut self, input: &Input) -> Result<(), ReplayError> {
        let mark = self.mark(input);
        if let Some(bulk) = self.writer.bulk() {
            let staged = bulk.staged();
            let due = staged > 0 && self.committed.elapsed() >= COMMIT_EVERY;
            if staged >= COMMIT_BLOCKS || due {
                self.summary.stored += bulk.commit(mark)? as u64;
                self.committed = Instant::now();
            }
            return Ok(());
        }
        if let Some(mark) = mark {
            self.writer.put_mark(&mark);
        }
        self.commit()
    }

    /// Takes blocks in order again, once that was not tried for long enough.
    fn try_order(&mut self) -> Result<(), ReplayError> {
        if self.writer.bulk().is_none() {
            self.patience = self.patience.saturating_sub(1);
            if self.patience == 0 && !self.writer.begin_bulk()? {
                self.wait_for_order();
            }
        }
        Ok(())
    }

    fn wait_for_order(&mut self) {
        self.patience = self.patience_next;
        self.patience_next = (2 * self.patience_next).min(PATIENCE_MAX);
    }

    /// Up to where the input was read, unless that is not all there is to know: what was rejected is
    /// to be reported again.
    fn mark(&self, input: &Input) -> Option<Mark> {
        input.mark().filter(|_| self.summary.rejected == 0)
    }

    /// Keeps what is staged, so that it outlives a crash of the machine.
    fn keep(&mut self, input: &Input) -> Result<(), ReplayError> {
        let mark = self.mark(input);
        if let Some(bulk) = self.writer.bulk() {
            let committed = bulk.commit(mark).and_then(|earlier| Ok(earlier + bulk.finish()?));
            self.summary.stored += committed? as u64;
            return Ok(());
        }
        if let Some(mark) = mark {
            self.writer.put_mark(&mark);
        }
        self.commit()?;
        Ok(self.writer.sync()?)
    }

    /// Goes back to taking blocks one by one.
    pub(super) fn leave_order(&mut self) -> Result<(), ReplayError> {
        self.summary.stored += self.writer.end_bulk(None)? as u64;
        self.wait_for_order();
        Ok(())
    }

    /// Stages the blocks of a chunk, up to the first bad record unless it is to keep going.
    fn chunk(
        &mut self,
        stage: &Stage,
        chunk: CheckedChunk,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<Flow, ReplayError> {
        let known = self.count_known(&chunk)?;
        stage.skip_checks(known == chunk.chunk().len());
        if known == chunk.chunk().len() {
            return Ok(Flow::On);
        }
        let chunk = chunk.checked(&self.verifier);
        for item in chunk.chunk().items(known) {
            let flow = match item {
                Item::Wrong(place, wrong) => {
                    self.reject(&Rejection::new(place.clone(), None, wrong), observer)
                }
                Item::Record(number) => self.record(&chunk, number, observer)?,
            };
            if flow == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::On)
    }

    /// Stages the block that a record is.
    fn record(
        &mut self,
        chunk: &CheckedChunk,
        number: usize,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<Flow, ReplayError> {
        let wrong = match chunk.outcome(number) {
            None => return Ok(Flow::On),
            Some(Err(error)) => Wrong::Bytes(*error),
            Some(Ok(checked)) => match self.link_any(checked)? {
                Link::Done => return Ok(Flow::On),
                Link::Waits(header, _) => {
                    self.summary.waiting += 1;
                    self.writer.defer(header, &chunk.chunk().place(number).to_string());
                    return Ok(Flow::On);
                }
                Link::Broken(failures) => failures.into(),
            },
        };
        let raw = chunk.chunk().records().get(number);
        Ok(self.reject(&Rejection::new(chunk.chunk().place(number), raw, &wrong), observer))
    }

    /// Sorts what came in order into the hash index.
    pub(super) fn index(
        &mut self,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), ReplayError> {
        if self.writer.is_indexed() {
            return Ok(());
        }
        let (writer, blocks) = (&mut *self.writer, AtomicU64::new(0));
        let result = thread::scope(|scope| {
            let note = |indexed| blocks.store(indexed, Ordering::Relaxed);
            let indexing = scope.spawn(move || writer.index(&note));
            while !indexing.is_finished() {
                thread::sleep(WAIT / 10);
                observer(Event::Indexed(blocks.load(Ordering::Relaxed)));
            }
            indexing.join()
        });
        match result {
            Ok(indexed) => Ok(indexed?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Forgets where inputs were read up to: all of them are stored, to their ends.
    pub(super) fn forget_marks(&mut self) -> Result<(), ReplayError> {
        for input in &self.marked {
            self.writer.delete_mark(input);
        }
        self.commit()
    }

    /// How many records at the beginning of a chunk are stored already, byte by byte. Those are
    /// done.
    fn count_known(&mut self, chunk: &CheckedChunk) -> Result<usize, ReplayError> {
        let Some(bulk) = self.writer.bulk() else { return Ok(0) };
        let mut known = 0;
        for header in chunk.chunk().records().iter().map(HeaderRef::new).map_while(Result::ok) {
            if bulk.holds(header)? != Held::Yes {
                break;
            }
            known += 1;
        }
        // In front of them may be what is no record.
        let items = chunk.chunk().items(0).take(known);
        let known = items.take_while(|item| matches!(item, Item::Record(_))).count();
        self.summary.known += known as u64;
        Ok(known)
    }

    pub(super) fn reject(
        &mut self,
        rejection: &Rejection<'_>,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Flow {
        self.summary.rejected += 1;
        observer(Event::Rejected(rejection));
        if self.keep_going { Flow::On } else { Flow::Stop }
    }
}
