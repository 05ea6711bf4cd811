//! A whole database, verified again.
//!
//! Enters: what is stored. Leaves: every block that is not what it should be, and everything else
//! that is not.
//!
//! - `I-1` A block is checked against blocks as they are stored, at the level that it is said to
//!   have, or at a lower one if that is asked for.
//! - `I-2` Every row of every column family is read once, its checksum checked. What cannot be read
//!   is reported, and the rest is read. If something other than the data prevents reading, for example
//!   a limit of open files, the audit ends with that error.
//! - `I-3` The index of blocks has exactly the blocks that are held, each where it is, and that of
//!   payloads the payloads, or that is told of.
//! - `I-4` Every payload has the hashes that it says, and a block that is held has it, or that is told
//!   of. A block may have none that is held.

mod chain;
mod flaw;
mod index;
mod parts;
mod payloads;
mod rest;
mod rows;
mod windows;

pub use flaw::Flaw;

use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cause::Classified;
use crate::header::{Header, HeaderRef};
use crate::query::{QueryError, Reader, View};
use crate::store::{History, IndexEntry, IndexOf, StoreError};
use crate::types::{BlockHash, BlockHeight, ChainId, Grow};
use crate::verify::{Failures, Level, Verifier};
use crate::walk::{FutureBlocks, Rules, Window, walk};
use index::{Held, Index};
use parts::Parts;
use payloads::Found;
use windows::{Note, Windows};

/// What came of the blocks of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Blocks that passed, by the [`Level`] that they were verified at.
    pub passed: [u64; 3],
    /// Blocks that did not.
    pub broken: u64,
    /// Blocks that are dated after the present time, which is no fault of theirs.
    pub future: FutureBlocks,
    /// Payloads whose hashes are right.
    pub payloads: u64,
    /// What else is wrong.
    pub flaws: u64,
    /// The height up to which every chain was verified.
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

    /// Whether nothing is wrong, as far as it was looked at: see [`Report::stopped`].
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.broken == 0 && self.flaws == 0
    }
}

/// A verification of everything that a database holds.
pub struct Audit<'a> {
    view: View,
    verifier: &'a Verifier,
    as_stored: bool,
    /// What was found when the database was opened.
    known: Vec<Flaw>,
    report: Report,
}

/// What an observer of an audit is told.
#[derive(Debug)]
pub enum Event<'a> {
    /// Sent first: the amount of work.
    Begin {
        /// Blocks to verify.
        blocks: u64,
        /// Payloads to verify, an estimate.
        payloads: u64,
    },
    /// A window of heights is done, or some payloads more.
    Progress(Report),
    /// A block is not what it should be.
    Broken(HeaderRef<'a>, &'a Failures),
    /// Something else is not.
    Flaw(&'a Flaw),
}

impl<'a> Audit<'a> {
    /// An audit of what `reader` has now, by the rules of `verifier`.
    #[must_use]
    pub fn new(reader: &Reader, verifier: &'a Verifier) -> Self {
        let (view, known, report) = (reader.view(), Vec::new(), Report::default());
        Self { view, verifier, as_stored: false, known, report }
    }

    /// The same, of a database of which these flaws were found when it was opened: see
    /// [`Engine::open_to_verify`](crate::Engine::open_to_verify).
    #[must_use]
    pub fn knowing(self, known: Vec<Flaw>) -> Self {
        Self { known, ..self }
    }

    /// The same, which asks no more of a block than was asked when it was stored.
    #[must_use]
    pub fn as_stored(self) -> Self {
        Self { as_stored: true, ..self }
    }

    /// Verifies every block, by ascending height, then every payload, and then both indexes, until
    /// `stop` is set.
    ///
    /// What cannot be read is passed over, a run of a chain or more, or the rest of a part of the hash
    /// index; blocks are not reported for what they lack there.
    ///
    /// # Cost
    ///
    /// One pass over the files, mostly in their order; blocks are verified on all cores and read ahead
    /// meanwhile. Memory: some windows of a thousand heights, and 2 bytes for each row of `heights`.
    /// Where the hash index differs, all blocks are read again to say which.
    ///
    /// # Errors
    ///
    /// Those whose cause says nothing of the data: see
    /// [`Cause::is_of_data`](crate::cause::Cause::is_of_data). Everything else that cannot be read is a
    /// [`Flaw`].
    pub fn run(
        mut self,
        stop: &AtomicBool,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<Report, QueryError> {
        let view = self.view.clone();
        let mut flaws = std::mem::take(&mut self.known);
        let snapshot = view.snapshot();
        // Without the estimate there is only no percentage; the audit itself reports why it cannot
        // be read.
        let payloads = view.payload_count_estimate().unwrap_or_default();
        observer(Event::Begin { blocks: view.total_block_count(), payloads });
        let [blocks_end, payloads_end] = rest::read(snapshot, &mut flaws);
        self.tell(flaws, observer)?;
        let held = self.blocks(stop, observer)?;
        if self.report.stopped {
            return Ok(self.report);
        }
        let payloads = self.payloads(stop, observer)?;
        if self.report.stopped {
            return Ok(self.report);
        }
        let index = Index::new(snapshot, IndexOf::Blocks, blocks_end);
        let lend = |visit: &mut dyn FnMut(&IndexEntry)| windows::lend(snapshot, visit);
        self.index(&index, &lend, held.as_ref(), stop, observer)?;
        let index = Index::new(snapshot, IndexOf::Payloads, payloads_end);
        let lend = |visit: &mut dyn FnMut(&IndexEntry)| payloads::lend(snapshot, visit);
        self.index(&index, &lend, payloads.as_ref(), stop, observer)?;
        if let Err(error) = snapshot.read_filters() {
            let place = "heights and payload_heights, their filters and their indexes".to_owned();
            self.tell([Flaw::Unreadable { place, error }], observer)?;
        }
        self.report.stopped = stop.load(Ordering::Relaxed);
        Ok(self.report)
    }

    /// Verifies all blocks; what is held, if all of it could be read.
    fn blocks(
        &mut self,
        stop: &AtomicBool,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<Parts>, QueryError> {
        let view = self.view.clone();
        let (mut windows, mut whole) = (Windows::new(view.snapshot()), true);
        let rules = Lacks { view: &view, as_stored: self.as_stored, failed: OnceLock::new() };
        let walked = walk(&mut windows, self.verifier, &rules, stop, &mut |window, outcome| {
            self.report.flaws.grow(window.note.flaws.len() as u64);
            window.note.flaws.iter().for_each(|flaw| observer(Event::Flaw(flaw)));
            whole &= window.note.holes.is_empty();
            let report = &mut self.report;
            for (sum, count) in report.passed.iter_mut().zip(outcome.passed) {
                sum.grow(count);
            }
            report.future.merge(outcome.future);
            for (number, failures) in &outcome.broken {
                report.broken.grow(1);
                if let Some(header) = window.header(*number) {
                    observer(Event::Broken(header, failures));
                }
            }
            report.height = window.note.last;
            observer(Event::Progress(*report));
        });
        self.report.stopped = walked?;
        match rules.failed.into_inner() {
            Some(error) => Err(error),
            None => Ok(whole.then_some(windows.parts)),
        }
    }

    /// Verifies all payloads; what is held, if all of it could be read.
    fn payloads(
        &mut self,
        stop: &AtomicBool,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<Parts>, QueryError> {
        let (view, mut told) = (self.view.clone(), Ok(()));
        let read = payloads::read(view.snapshot(), stop, &mut |found| {
            match found {
                Found::Flaw(flaw) => told = self.tell([flaw], observer),
                Found::Verified(payloads) => {
                    self.report.payloads.grow(payloads);
                    observer(Event::Progress(self.report));
                }
            }
            if told.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        told?;
        self.report.stopped = stop.load(Ordering::Relaxed);
        Ok(read.whole.then_some(read.parts))
    }

    /// Reads an index and compares it with what is held, all of which `lend` lends.
    fn index(
        &mut self,
        index: &Index<'_>,
        lend: Held<'_>,
        held: Option<&Parts>,
        stop: &AtomicBool,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), QueryError> {
        let read = index.read(stop);
        let whole = read.flaws.is_empty();
        self.tell(read.flaws, observer)?;
        // What is not known cannot be compared.
        if let Some(held) = held.filter(|_| whole && !stop.load(Ordering::Relaxed)) {
            let (differing, mut told) = (held.differing(&read.parts).collect(), Ok(()));
            index.name(lend, differing, stop, &mut |flaw| {
                if told.is_ok() {
                    told = self.tell([flaw], observer);
                }
            });
            told?;
        }
        Ok(())
    }

    /// Tells of flaws, up to one that says nothing of the data.
    fn tell(
        &mut self,
        flaws: impl IntoIterator<Item = Flaw>,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), StoreError> {
        for flaw in flaws {
            let flaw = flaw.of_data()?;
            self.report.flaws.grow(1);
            observer(Event::Flaw(&flaw));
        }
        Ok(())
    }
}

/// What blocks of a database may lack, and where the others are.
struct Lacks<'a> {
    view: &'a View,
    as_stored: bool,
    /// Why a block could not be looked up, where that says nothing of the data.
    failed: OnceLock<QueryError>,
}

impl Rules<Note> for Lacks<'_> {
    /// Whether it never claimed to be fully verified, or what it lacks may be where nothing could be
    /// read.
    fn may_lack(&self, window: &Window<Note>, number: usize, chain: ChainId) -> bool {
        let is_full = window.note.levels.get(number) == Some(&Level::Full);
        !is_full || window.note.holes.contains(&chain)
    }

    fn enough(&self, window: &Window<Note>, number: usize) -> Level {
        let level = window.note.levels.get(number).copied().filter(|_| self.as_stored);
        level.unwrap_or(Level::Full)
    }

    /// Asked only where no more is asked of a block than when it was stored.
    fn may_begin(&self) -> bool {
        self.view.snapshot().meta().history == History::Partial
    }

    fn find(&self, hash: &BlockHash) -> Option<Header> {
        let found = self.view.find(hash).map_err(|error| {
            if !error.fault().cause.is_of_data() {
                let _ = self.failed.set(error);
            }
        });
        found.ok().flatten()
    }
}
