//! A whole database, verified again.
//!
//! Enters: what is stored. Leaves: every block that is not what it should be.
//!
//! - `I-1` A block is checked against blocks as they are stored, at the level that it is said to
//!   have, or at a lower one if that is asked for.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;
use rayon::prelude::*;

use crate::header::{DEGREE, Header, HeaderRef};
use crate::query::{QueryError, Reader, View};
use crate::store::From;
use crate::types::{BlockHash, BlockHeight, ChainId};
use crate::verify::{Adjacents, Checked, Failures, Level, Parent, Verified, Verifier};

/// Heights that are read and verified together: some 10,000 blocks of twenty chains.
const WINDOW: u64 = 512;

/// What came of the blocks of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Blocks that passed, by the [`Level`] that they were verified at.
    pub passed: [u64; 3],
    /// Blocks that did not.
    pub broken: u64,
    /// The height up to which every chain was verified.
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
        self.broken == 0
    }
}

/// A verification of everything that a database holds.
pub struct Audit<'a> {
    view: View,
    verifier: &'a Verifier,
    /// The blocks of this window and of the last one, where nearly all parents are.
    recent: HashMap<BlockHash, Header>,
    report: Report,
}

/// What an observer of an audit is told.
#[derive(Debug)]
pub enum Event<'a> {
    /// A window of heights is done.
    Progress(Report),
    /// A block is not what it should be.
    Broken(HeaderRef<'a>, &'a Failures),
}

impl<'a> Audit<'a> {
    /// An audit of what `reader` has now, by the rules of `verifier`.
    #[must_use]
    pub fn new(reader: &Reader, verifier: &'a Verifier) -> Self {
        let (view, recent) = (reader.view(), HashMap::new());
        Self { view, verifier, recent, report: Report::default() }
    }

    /// Verifies every block, by ascending height, until `stop` is set.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`] if the disk cannot be read or holds something else.
    pub fn run(
        mut self,
        stop: &AtomicBool,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<Report, QueryError> {
        let mut next = self.lowest_from(BlockHeight::new(0))?;
        while let Some(first) = next {
            if stop.load(Ordering::Relaxed) {
                self.report.stopped = true;
                break;
            }
            let last = BlockHeight::new(first.get().saturating_add(WINDOW - 1));
            let blocks = self.read(first, last)?;
            self.window(&blocks, observer)?;
            self.report.height = last;
            observer(Event::Progress(self.report));
            next = match last.child() {
                Some(above) => self.lowest_from(above)?,
                None => None,
            };
        }
        Ok(self.report)
    }

    /// The lowest height from `from` on that has a block.
    fn lowest_from(&self, from: BlockHeight) -> Result<Option<BlockHeight>, QueryError> {
        let mut lowest: Option<BlockHeight> = None;
        for chain in self.view.version().chain_ids() {
            let max = lowest.unwrap_or(BlockHeight::new(u64::MAX));
            let Some(of_chain) = self.view.blocks(chain) else { continue };
            of_chain.visit(From::Height(from), max, |header| {
                lowest = Some(header.height());
                ControlFlow::Break(())
            })?;
        }
        Ok(lowest)
    }

    /// The blocks of all chains from `first` to `last`, by ascending height.
    fn read(&self, first: BlockHeight, last: BlockHeight) -> Result<Vec<Header>, QueryError> {
        let mut blocks = Vec::new();
        for chain in self.view.version().chain_ids() {
            let Some(of_chain) = self.view.blocks(chain) else { continue };
            of_chain.visit(From::Height(first), last, |header| {
                blocks.push(header.to_owned());
                ControlFlow::Continue(())
            })?;
        }
        blocks.sort_by_key(|block| block.view().rank());
        Ok(blocks)
    }

    fn window(
        &mut self,
        blocks: &[Header],
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), QueryError> {
        let verifier = self.verifier;
        let checked: Vec<Checked<'_>> =
            blocks.par_iter().map(|block| verifier.check(block.view())).collect();
        let mut recent = HashMap::with_capacity(blocks.len());
        recent.extend(blocks.iter().map(|block| (block.view().hash(), *block)));
        let last = std::mem::take(&mut self.recent);
        for checked in checked {
            let header = checked.header();
            let near = |hash| recent.get(&hash).or_else(|| last.get(&hash)).copied();
            match self.block(checked, near)? {
                Ok(level) => {
                    if let Some(count) = self.report.passed.get_mut(usize::from(level.code())) {
                        *count += 1;
                    }
                }
                Err(failures) => {
                    self.report.broken += 1;
                    observer(Event::Broken(header, &failures));
                }
            }
        }
        self.recent = recent;
        Ok(())
    }

    /// Verifies a block against the blocks below it; the level that it reached.
    fn block(
        &self,
        checked: Checked<'_>,
        near: impl Fn(BlockHash) -> Option<Header>,
    ) -> Result<Result<Level, Failures>, QueryError> {
        let header = checked.header();
        let claimed = self.view.verified_level(header)?;
        let parent = self.find(header.parent(), &near)?;
        let mut blocks = Vec::with_capacity(DEGREE);
        let mut missing: Option<(ChainId, BlockHash)> = None;
        for (chain, hash) in header.adjacents().iter() {
            match self.find(hash, &near)?.or_else(|| self.verifier.genesis_block(chain, hash)) {
                Some(block) => blocks.push(block),
                None => missing = missing.or(Some((chain, hash))),
            }
        }
        let below = match &parent {
            Some(parent) => Parent::Block(parent.view()),
            // What never claimed to be fully verified may lack what is below it.
            None if claimed < Level::Full => Parent::Admitted,
            None => Parent::Missing,
        };
        let adjacents = match (<[Header; DEGREE]>::try_from(blocks), missing) {
            (Ok(blocks), _) => {
                let blocks = blocks.each_ref().map(Header::view);
                return Ok(self.conclude(checked, below, Adjacents::Blocks(blocks)));
            }
            (Err(_), Some((chain, hash))) if claimed == Level::Full => {
                Adjacents::Missing(chain, hash)
            }
            (Err(_), _) => Adjacents::Admitted,
        };
        Ok(self.conclude(checked, below, adjacents))
    }

    fn conclude(
        &self,
        checked: Checked<'_>,
        parent: Parent<'_>,
        adjacents: Adjacents<'_>,
    ) -> Result<Level, Failures> {
        self.verifier.conclude(checked, parent, adjacents).map(Verified::level)
    }

    fn find(
        &self,
        hash: BlockHash,
        near: impl Fn(BlockHash) -> Option<Header>,
    ) -> Result<Option<Header>, QueryError> {
        match near(hash) {
            Some(header) => Ok(Some(header)),
            None => self.view.find(&hash),
        }
    }
}
