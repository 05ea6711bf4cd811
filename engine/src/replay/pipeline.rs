use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::link::Link;
use super::source::{Chunk, Source};
use super::{Rejection, ReplayError, Wrong};
use crate::header::{HeaderRef, RawHeader};
use crate::types::{BlockHash, BlockHeight};
use crate::verify::{Checked, Verifier};
use crate::write::Writer;

/// Records that are read, verified and committed together: 1.3 MB.
pub(super) const CHUNK_RECORDS: usize = 4096;

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
    /// Blocks were committed.
    Committed(Progress),
    /// A record was not stored.
    Rejected(&'a Rejection<'a>),
    /// At the end, a block waits for one that did not come.
    Waiting(&'a Rejection<'a>),
}

/// A replay into one database.
pub struct Replay<'a> {
    pub(super) writer: &'a mut Writer,
    pub(super) verifier: Verifier,
    pub(super) admission: Admission,
    pub(super) keep_going: bool,
    pub(super) stop: &'a AtomicBool,
    pub(super) summary: Summary,
    pub(super) height: BlockHeight,
}

/// Whether to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
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
    /// Blocks whose parents or adjacent parents are still to come are put aside;
    /// [`Replay::finish`] takes them up when all inputs are read.
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
        while !self.is_stopped() {
            let Some(chunk) = source.next(CHUNK_RECORDS)? else { break };
            let flow = self.chunk(&chunk, observer);
            // Also behind a failure: what came before it stays.
            self.commit()?;
            let flow = flow?;
            observer(Event::Committed(self.progress(source.position(), source.size())));
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
        let check = |raw| Ok::<Checked<'_>, Wrong>(self.verifier.check(HeaderRef::new(raw)?));
        let checked: Vec<_> = records.par_iter().map(|record| record.map(check)).collect();
        for (index, (record, checked)) in records.iter().zip(checked).enumerate() {
            let wrong = match checked {
                Ok(Ok(checked)) => match self.link(checked, true)? {
                    Link::Done => continue,
                    Link::Waits(header, _) => {
                        self.summary.waiting += 1;
                        self.writer.defer(header, &chunk.place(index).to_string());
                        continue;
                    }
                    Link::Broken(failures) => &failures.into(),
                },
                Ok(Err(ref wrong)) | Err(&ref wrong) => wrong,
            };
            let rejection = Rejection::new(chunk.place(index), record.ok(), wrong);
            if self.reject(&rejection, observer) == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::On)
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
