use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::source::Source;
use super::stage::{AHEAD_BYTES, CheckedChunk, Next, Stage};
use super::{Admission, Clock, Event, Progress, ReplayError, Summary};
use crate::header::Header;
use crate::store::{Mark, MarkedAt};
use crate::types::{BlockHash, BlockHeight, Grow};
use crate::verify::{Failures, Verifier};
use crate::write::Writer;

/// Blocks of a commit while they come in order: 83 MB. What is not buried is written twice, some
/// 8,000 blocks of each commit.
const COMMIT_BLOCKS: usize = 1 << 18;

/// Bytes of payloads from which on a commit ends early: there are as many again while the one before
/// is written.
const COMMIT_PAYLOAD_BYTES: usize = 64 << 20;

/// Time between two commits at most, as long as there is something to commit.
const COMMIT_EVERY: Duration = Duration::from_secs(2);

/// Time to wait for input before looking around.
const WAIT: Duration = Duration::from_millis(100);

/// Records from which on it is worth taking them in order: below, one log is less work than many
/// tables.
const ORDERED_MIN: u64 = 32 << 10;

/// The same in bytes of payloads: no more than this much is read ahead.
const ORDERED_BYTES_MIN: usize = AHEAD_BYTES / 4;

/// Chunks that are taken one by one before it is tried in order: in the beginning, where the input is
/// slow, and after blocks did not come in order, then twice as many each time.
const PATIENCE: u32 = 8;

/// The same at most.
const PATIENCE_MAX: u32 = 1024;

/// Time to wait for enough records to be worth taking in order.
const GATHER: Duration = Duration::from_millis(300);

/// A replay into one database.
pub struct Replay<'a> {
    pub(super) writer: &'a mut Writer,
    pub(super) verifier: Verifier,
    /// What tells the present time, if that goes on.
    pub(super) clock: Option<Clock>,
    pub(super) admission: Admission,
    pub(super) keep_going: bool,
    /// Whether a block that waits is as one that is wrong.
    pub(super) connected: bool,
    pub(super) stop: &'a AtomicBool,
    pub(super) summary: Summary,
    /// Records that are wrong, by what is wrong.
    pub(super) rejected_by: BTreeMap<&'static str, u64>,
    pub(super) height: BlockHeight,
    /// Blocks of which the last one that was linked shows that they are wrong.
    pub(super) wrong_starts: Vec<(Header, Failures)>,
    /// Blocks that wait, and that are wrong by others that wait: see [`Replay::finish`].
    pub(super) condemned: HashMap<BlockHash, Failures>,
    /// Records from which on they are taken in order.
    ordered_min: u64,
    /// Blocks of a commit while they come in order.
    commit_blocks: usize,
    /// Bytes of payloads from which on a commit ends early.
    pub(super) commit_bytes: usize,
    /// Chunks to take one by one before it is tried again in order.
    patience: u32,
    /// How many that will be the next time.
    patience_next: u32,
    committed: Instant,
    /// How often views are to see what is stored, and when they last did.
    shows: Option<(Duration, Instant)>,
    /// Inputs that have a mark.
    pub(super) marked: Vec<[u8; 32]>,
}

/// Whether to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    On,
    Stop,
}

/// What comes behind the chunks that were read.
enum More {
    MayCome,
    None,
    Failed(ReplayError),
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
            verifier,
            clock: None,
            admission,
            keep_going,
            connected: false,
            stop,
            summary: Summary::default(),
            rejected_by: BTreeMap::new(),
            height: BlockHeight::default(),
            wrong_starts: Vec::new(),
            condemned: HashMap::new(),
            ordered_min: ORDERED_MIN,
            commit_blocks: COMMIT_BLOCKS,
            commit_bytes: COMMIT_PAYLOAD_BYTES,
            patience: PATIENCE,
            patience_next: PATIENCE,
            committed: Instant::now(),
            shows: None,
            marked: Vec::new(),
        }
    }

    /// The same, which takes blocks in order if there are at least so many records. That is faster
    /// where there are many, and changes nothing else.
    #[must_use]
    pub fn ordered_from(self, records: u64) -> Self {
        Self { ordered_min: records, ..self }
    }

    /// The same, which commits so many blocks at once while they come in order.
    #[must_use]
    pub fn committing(self, blocks: usize) -> Self {
        Self { commit_blocks: blocks, ..self }
    }

    /// The same, which puts nothing aside: a block whose parents did not come before it is as one
    /// that is wrong, by [`MissingParent`](crate::verify::Failure::MissingParent) and its like.
    #[must_use]
    pub fn connected(self) -> Self {
        Self { connected: true, ..self }
    }

    /// The same, which shows to views what is stored, that often and at the end of every input.
    #[must_use]
    pub fn showing(self, every: Duration) -> Self {
        Self { shows: Some((every, Instant::now())), ..self }
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
        let stage = Stage::begin(source, &self.verifier, self.clock)?;
        let result = self.read(&stage, &mut input, observer);
        // Also behind a failure: what came before it stays. But what was to be written with it may be
        // lost, so that a mark could say too much.
        let mark = result.as_ref().ok().and_then(|()| self.mark(&input));
        let kept = self.keep(mark);
        self.show_now();
        result.and(kept).map(|()| self.summary)
    }

    /// Shows what is stored; nothing is taken in order now.
    pub(super) fn show_now(&self) {
        if self.shows.is_some() {
            self.writer.publish();
        }
    }

    /// Shows what is stored, if it is time to.
    fn show_sometimes(&mut self) -> Result<(), ReplayError> {
        if let Some((every, shown)) = &mut self.shows
            && shown.elapsed() >= *every
        {
            self.writer.show()?;
            *shown = Instant::now();
        }
        Ok(())
    }

    /// What came of the records so far.
    #[must_use]
    pub const fn summary(&self) -> Summary {
        self.summary
    }

    /// How many records break each rule, by its name; one may break several.
    #[must_use]
    pub const fn rejected_by(&self) -> &BTreeMap<&'static str, u64> {
        &self.rejected_by
    }

    /// Skips what an earlier replay of the same input had read.
    fn resume(&mut self, source: &mut dyn Source, input: &mut Input) -> Result<(), ReplayError> {
        let Some(name) = input.name else { return Ok(()) };
        self.marked.push(name);
        if let Some(at) = self.writer.mark(&name)?
            && source.resume(at)?
        {
            input.at = at;
            let records = at.records.get();
            self.summary.known = self.summary.known.saturating_add(records);
            self.summary.skipped = self.summary.skipped.saturating_add(records);
        }
        Ok(())
    }

    fn read(
        &mut self,
        stage: &Stage,
        input: &mut Input,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), ReplayError> {
        let (mut first, mut more) = self.first_chunks(stage);
        first.reverse();
        while !self.is_stopped() {
            let next = match (first.pop(), &mut more) {
                (Some(chunk), _) => Next::Chunk(chunk),
                (None, More::MayCome) => stage.next(WAIT)?,
                (None, More::None) => Next::End,
                (None, More::Failed(_)) => break,
            };
            match next {
                Next::End => return Ok(()),
                Next::Waiting => {
                    // An input that is slower than this is as well taken one by one.
                    self.patience = self.patience.max(PATIENCE);
                    self.commit_sometimes(input)?;
                    self.show_sometimes()?;
                }
                Next::Chunk(chunk) => {
                    let (at, is_early) = (chunk.chunk().end(), chunk.chunk().is_early());
                    self.summary.log_lines.grow(chunk.chunk().skipped());
                    let flow = self.take(stage, chunk, observer)?;
                    if flow == Flow::Stop {
                        return Ok(());
                    }
                    input.at = at;
                    self.commit_sometimes(input)?;
                    if !is_early {
                        self.try_order()?;
                    }
                    self.show_sometimes()?;
                    observer(Event::Progress(self.progress(at.position.get(), input.size)));
                }
            }
        }
        match more {
            More::Failed(error) if !self.summary.stopped => Err(error),
            More::Failed(_) | More::MayCome | More::None => Ok(()),
        }
    }

    /// The chunks that are there at once, up to so many that it is worth taking them in order, which
    /// begins then; and what comes behind them.
    fn first_chunks(&mut self, stage: &Stage) -> (Vec<CheckedChunk>, More) {
        let (mut chunks, mut records, start) = (Vec::new(), 0, Instant::now());
        let (mut bytes, bytes_min) = (0, self.tries_order().then_some(ORDERED_BYTES_MIN));
        loop {
            if records >= self.ordered_min || bytes_min.is_some_and(|min| bytes >= min) {
                let begun = self.writer.begin_bulk();
                return (chunks, begun.map_or_else(|e| More::Failed(e.into()), |_| More::MayCome));
            }
            match stage.next(WAIT) {
                Ok(Next::End) => return (chunks, More::None),
                Err(error) => return (chunks, More::Failed(error)),
                Ok(Next::Waiting) if self.is_stopped() || start.elapsed() > GATHER => {
                    return (chunks, More::MayCome);
                }
                Ok(Next::Waiting) => {}
                Ok(Next::Chunk(chunk)) => {
                    records.grow(chunk.chunk().len() as u64);
                    bytes.grow(chunk.payload_bytes());
                    let is_slow = chunk.chunk().is_early() && start.elapsed() > GATHER;
                    chunks.push(chunk);
                    if is_slow {
                        return (chunks, More::MayCome);
                    }
                }
            }
        }
    }

    pub(super) fn is_stopped(&mut self) -> bool {
        self.summary.stopped |= self.stop.load(Ordering::Relaxed);
        self.summary.stopped
    }

    pub(super) fn commit(&mut self) -> Result<(), ReplayError> {
        self.summary.stored.grow(self.writer.commit()? as u64);
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
            let much = bulk.payload_bytes() >= self.commit_bytes;
            if staged >= self.commit_blocks || much || due {
                // Where blocks come slowly, it may be long until there is enough to be flushed.
                self.summary.stored.grow(bulk.commit(mark, due)? as u64);
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
        if self.writer.bulk().is_none() && self.tries_order() {
            self.patience = self.patience.saturating_sub(1);
            if self.patience == 0 && !self.writer.begin_bulk()? {
                self.wait_for_order();
            }
        }
        Ok(())
    }

    /// Whether it takes blocks in order at all.
    const fn tries_order(&self) -> bool {
        self.ordered_min < u64::MAX
    }

    fn wait_for_order(&mut self) {
        self.patience = self.patience_next;
        self.patience_next = self.patience_next.saturating_mul(2).min(PATIENCE_MAX);
    }

    /// Up to where the input was read, unless that is not all there is to know: what was rejected is
    /// to be reported again.
    fn mark(&self, input: &Input) -> Option<Mark> {
        input.mark().filter(|_| self.summary.rejected == 0)
    }

    /// Keeps what is staged, so that it outlives a crash of the machine.
    fn keep(&mut self, mark: Option<Mark>) -> Result<(), ReplayError> {
        if self.writer.bulk().is_some() {
            self.summary.stored.grow(self.writer.end_bulk(mark)? as u64);
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
        self.summary.stored.grow(self.writer.end_bulk(None)? as u64);
        self.wait_for_order();
        Ok(())
    }
}
