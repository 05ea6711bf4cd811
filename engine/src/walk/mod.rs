//! Blocks by ascending height → what each of them is, as fast as they can be hashed.
//!
//! Enters: windows of blocks from a source, which a thread of its own reads ahead. Leaves: of each
//! window the blocks that passed, by level, and those that did not.
//!
//! - `I-1` A block is checked against blocks as they are stored, never against what another block
//!   says of them.
//! - `I-2` What comes of a block does not depend on where windows begin and end.
//! - `I-3` The verdict on a block does not depend on the clock. Blocks that are dated after the present
//!   time are counted separately: they were verified once, so the clock is wrong.

mod block;
mod future;
mod window;

pub use future::FutureBlocks;
pub(crate) use window::Window;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rayon::prelude::*;

use crate::header::{Header, RawHeader};
use crate::types::{BlockHash, ChainId, Grow, Micros};
use crate::verify::{Failures, Hasher, Level, Verifier};
use block::Below;

/// Windows that are read ahead, beside the one that is verified and the one that is being read.
const AHEAD: usize = 1;

/// Blocks that one core verifies in one go: 160 kB, which its cache holds beside what it hashes.
const TOGETHER: usize = 512;

/// Where blocks come from.
pub(crate) trait Source: Send {
    /// What it says of a window.
    type Note: Send + Sync;
    /// Why it cannot go on.
    type Error: Send;

    /// The next blocks. None of them is lower than two heights below the highest that came before,
    /// unless it does not matter that its parents are not found.
    fn next_window(&mut self) -> Result<Option<Window<Self::Note>>, Self::Error>;
}

/// What a walk needs to know beside the blocks.
pub(crate) trait Rules<N>: Sync {
    /// Whether the block with this number may lack a parent or an adjacent parent, which would be
    /// on `chain`.
    fn may_lack(&self, window: &Window<N>, number: usize, chain: ChainId) -> bool;

    /// The level from which on it does not matter what rules the block with this number breaks.
    fn enough(&self, _window: &Window<N>, _number: usize) -> Level {
        Level::Full
    }

    /// Whether a block that was verified at level `hash` only may be one that was admitted without its
    /// parent, so that it is not asked to fit on one that came later.
    fn may_begin(&self) -> bool {
        false
    }

    /// A block that is neither in this window nor right below it.
    fn find(&self, _hash: &BlockHash) -> Option<Header> {
        None
    }
}

/// What came of a window.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Blocks that passed, by the level that they were verified at.
    pub(crate) passed: [u64; 3],
    /// The number in the window of each block that did not, by ascending rank.
    pub(crate) broken: Vec<(usize, Failures)>,
    /// Blocks that are dated after the present time.
    pub(crate) future: FutureBlocks,
}

/// Verifies all blocks of `source`, window after window, until `stop` is set; `each` is told what
/// came of a window. Returns whether it was stopped.
///
/// # Cost
///
/// Memory: some windows, and the blocks of two heights.
///
/// # Errors
///
/// Those of `source`.
pub(crate) fn walk<S: Source>(
    source: &mut S,
    verifier: &Verifier,
    rules: &impl Rules<S::Note>,
    stop: &AtomicBool,
    each: &mut dyn FnMut(&Window<S::Note>, &Outcome),
) -> Result<bool, S::Error> {
    let (now, verifier) = (verifier.now(), &verifier.at_any_time());
    let (hashers, below) = (Mutex::default(), Below::default());
    let mut walk = Walk { verifier, now, rules, hashers, below };
    thread::scope(|scope| {
        let (windows, queue) = sync_channel(AHEAD);
        scope.spawn(move || {
            loop {
                let window = source.next_window().transpose();
                let last = !matches!(window, Some(Ok(_)));
                // Nobody takes it if the walk was stopped.
                if window.is_some_and(|window| windows.send(window).is_err()) || last {
                    return;
                }
            }
        });
        walk.take(&queue, stop, each)
    })
}

struct Walk<'a, R> {
    verifier: &'a Verifier,
    now: Micros,
    rules: &'a R,
    /// Those that no core uses now: what they remember is worth more than a lock.
    hashers: Mutex<Vec<Hasher>>,
    below: Below,
}

impl<R> Walk<'_, R> {
    fn take<N: Send + Sync, E>(
        &mut self,
        queue: &Receiver<Result<Window<N>, E>>,
        stop: &AtomicBool,
        each: &mut dyn FnMut(&Window<N>, &Outcome),
    ) -> Result<bool, E>
    where
        R: Rules<N>,
    {
        while let Ok(window) = queue.recv() {
            let window = window?;
            if stop.load(Ordering::Relaxed) {
                return Ok(true);
            }
            each(&window, &self.window(&window));
            self.below.follow(&window);
        }
        Ok(false)
    }

    fn window<N: Send + Sync>(&self, window: &Window<N>) -> Outcome
    where
        R: Rules<N>,
    {
        let parts = window.records().par_chunks(TOGETHER).enumerate();
        let parts =
            parts.map(|(part, records)| self.part(window, part.saturating_mul(TOGETHER), records));
        let mut outcome = Outcome::default();
        for part in parts.collect::<Vec<_>>() {
            for (sum, count) in outcome.passed.iter_mut().zip(part.passed) {
                sum.grow(count);
            }
            outcome.broken.extend(part.broken);
            outcome.future.merge(part.future);
        }
        let place =
            |number: usize| window.header(number).map(|header| (header.rank(), header.chain()));
        outcome.broken.sort_by_key(|(number, _)| place(*number));
        outcome
    }

    /// Some blocks of a window; `first` is the number of the first.
    fn part<N>(&self, window: &Window<N>, first: usize, records: &[RawHeader]) -> Outcome
    where
        R: Rules<N>,
    {
        let lock = || self.hashers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hasher = lock().pop().unwrap_or_default();
        let mut checked = Vec::with_capacity(records.len());
        self.verifier.check_many(&mut hasher, records, &mut checked);
        lock().push(hasher);
        let mut outcome = Outcome::default();
        // A window has nothing that is no header.
        for (number, checked) in (first..).zip(checked).filter_map(|(n, c)| Some((n, c.ok()?))) {
            let header = checked.header();
            let mut result = self.block(self.verifier, window, number, checked);
            let enough = self.rules.enough(window, number);
            if result.is_err() && enough < self.verifier.level() {
                let verifier = self.verifier.at(enough);
                result = self.block(&verifier, window, number, verifier.check(header));
                if result.is_err() && enough == Level::Hash && self.rules.may_begin() {
                    result = Self::first_block(&verifier, header);
                }
            }
            if self.verifier.level() == Level::Full {
                outcome.future.add(header.creation_time(), self.now);
            }
            match result {
                Ok(level) => {
                    if let Some(count) = outcome.passed.get_mut(usize::from(level.code())) {
                        count.grow(1);
                    }
                }
                Err(failures) => outcome.broken.push((number, failures)),
            }
        }
        outcome
    }
}
