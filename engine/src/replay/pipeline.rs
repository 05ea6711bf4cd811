use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::source::{Chunk, Source};
use super::{Rejection, ReplayError, Wrong};
use crate::header::{Header, HeaderRef, RawHeader};
use crate::types::{BlockHash, BlockHeight};
use crate::verify::{Failures, Intrinsic, Parent, Verifier};
use crate::write::Writer;

/// Records that are read, verified and committed together: 1.3 MB.
const CHUNK_RECORDS: usize = 4096;

/// Which blocks may be stored without their parent.
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
    fn admits(&self, hash: BlockHash) -> bool {
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
    /// Blocks that were stored before.
    pub known: u64,
    /// Records that are wrong.
    pub rejected: u64,
    /// Whether it was asked to stop before the end.
    pub stopped: bool,
}

/// What an observer of a replay is told.
#[derive(Debug)]
pub enum Event<'a> {
    /// Blocks were committed.
    Committed(Progress),
    /// A record was not stored.
    Rejected(&'a Rejection<'a>),
}

/// A replay into one database.
pub struct Replay<'a> {
    writer: &'a mut Writer,
    verifier: Verifier,
    admission: Admission,
    keep_going: bool,
    stop: &'a AtomicBool,
    summary: Summary,
    height: BlockHeight,
}

/// Whether to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    Stop,
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
        let (summary, height) = (Summary::default(), BlockHeight::default());
        Self { writer, verifier, admission, keep_going, stop, summary, height }
    }

    /// Reads `source` to its end, or to its first bad record, and tells `observer`.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] if the input cannot be read or a block cannot be written. What was
    /// committed before stays.
    pub fn run(
        &mut self,
        source: &mut dyn Source,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<Summary, ReplayError> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                self.summary.stopped = true;
                break;
            }
            let Some(chunk) = source.next(CHUNK_RECORDS)? else { break };
            let flow = self.chunk(&chunk, observer);
            // Also behind a failure: what came before it stays.
            let committed = self.writer.commit();
            self.summary.stored += committed? as u64;
            let flow = flow?;
            let (position, size) = (source.position(), source.size());
            let (height, summary) = (self.height, self.summary);
            observer(Event::Committed(Progress { position, size, height, summary }));
            if flow == Flow::Stop {
                break;
            }
        }
        self.writer.sync()?;
        Ok(self.summary)
    }

    /// What came of the records so far.
    #[must_use]
    pub const fn summary(&self) -> Summary {
        self.summary
    }

    /// Stages the blocks of a chunk, up to the first bad record unless it is to keep going.
    fn chunk(
        &mut self,
        chunk: &Chunk<'_>,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<Flow, ReplayError> {
        let records: Vec<Result<&RawHeader, &Wrong>> = match chunk {
            Chunk::Mapped { records, .. } => records.iter().map(Ok).collect(),
            Chunk::Owned(records) => records.iter().map(|(_, record)| record.as_ref()).collect(),
        };
        let check = |raw| Ok::<_, Wrong>(self.verifier.intrinsic(HeaderRef::new(raw)?)?);
        let checked: Vec<_> = records.par_iter().map(|record| record.map(check)).collect();
        for (index, (record, checked)) in records.iter().zip(checked).enumerate() {
            let wrong = match checked {
                Ok(Ok(header)) => match self.link(header)? {
                    Ok(()) => continue,
                    Err(failures) => &failures.into(),
                },
                Ok(Err(Wrong::Rules(first))) => &self.all_failures(record, first)?.into(),
                Ok(Err(ref wrong)) | Err(&ref wrong) => wrong,
            };
            self.summary.rejected += 1;
            let rejection = Rejection::new(chunk.place(index), record.ok(), wrong);
            observer(Event::Rejected(&rejection));
            if !self.keep_going {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::On)
    }

    /// Stages a block if its lineage is right and it is not stored yet.
    fn link(&mut self, header: Intrinsic<'_>) -> Result<Result<(), Failures>, ReplayError> {
        let view = header.header();
        if self.writer.holds(view) {
            self.summary.known += 1;
            return Ok(Ok(()));
        }
        let parent = self.writer.parent(view)?;
        let parent = self.below(view, parent.as_ref());
        let verified = match self.verifier.lineage(header, parent) {
            Ok(verified) => verified,
            Err(failures) => return Ok(Err(failures)),
        };
        self.height = view.height();
        match parent {
            Parent::Admitted => self.writer.stage_root(verified),
            Parent::Block(_) | Parent::Missing => self.writer.stage(verified),
        }
        Ok(Ok(()))
    }
    /// The rules that a record breaks alone, which are `first`, and those against the block below.
    fn all_failures(
        &self,
        record: &Result<&RawHeader, &Wrong>,
        first: Failures,
    ) -> Result<Failures, ReplayError> {
        let view = record.ok().and_then(|raw| HeaderRef::new(raw).ok());
        let Some(view) = view else { return Ok(first) };
        let parent = self.writer.parent(view)?;
        Ok(self.verifier.all_failures(view, self.below(view, parent.as_ref()), first))
    }

    fn below<'p>(&self, view: HeaderRef<'_>, parent: Option<&'p Header>) -> Parent<'p> {
        match parent {
            Some(parent) => Parent::Block(parent.view()),
            None if self.admission.admits(view.hash()) => Parent::Admitted,
            None => Parent::Missing,
        }
    }
}
