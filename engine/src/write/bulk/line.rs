use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use zerocopy::FromBytes;

use crate::header::{Header, HeaderRef, LEN, RawHeader};
use crate::types::{BlockHash, BlockHeight, ChainId, RunLength, Weight};
use crate::verify::Level;

/// The blocks of one chain above its trunk: the heaviest branch as the runs that it will be, and
/// beside it what else there is at these heights.
///
/// # Cost
///
/// A block is found by its height, without hashing anything. A block that goes on with the branch
/// is copied once, to where its run is written from.
#[derive(Debug)]
pub(super) struct Line {
    chain: ChainId,
    run_length: RunLength,
    /// By ascending height, without gaps; never empty. All but the first and the last are whole.
    runs: VecDeque<Run>,
    /// Blocks beside the branch, in the order they came. There are few.
    side: Vec<Side>,
    /// The height at which the next run begins.
    turn: BlockHeight,
    tip: BlockHash,
    weight: Weight,
    spare: Spare,
}

/// Memory of runs that were written: the kernel clears every page that it gives out anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spare {
    /// An empty buffer for `blocks` headers.
    fn take(&self, blocks: usize) -> Vec<u8> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut records = spare.unwrap_or_default();
        records.reserve(blocks.saturating_mul(LEN));
        records
    }

    /// Takes a buffer back.
    pub(super) fn give(&self, mut records: Vec<u8>) {
        records.clear();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(records);
    }
}

/// Consecutive blocks, up to where a run of the trunk ends.
#[derive(Debug)]
pub(super) struct Run {
    /// The height of the first block.
    pub(super) first: BlockHeight,
    /// The headers.
    pub(super) records: Vec<u8>,
    /// What is known of each.
    pub(super) states: Vec<State>,
}

/// What is known of a block besides its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// How far it is verified.
    pub(super) level: Level,
    /// Whether it is in `loose`.
    pub(super) loose: bool,
}

#[derive(Debug)]
struct Side {
    header: Header,
    state: State,
}

/// What becomes of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It goes on with the branch, or stands beside it.
    Here,
    /// Its parent is not here.
    Elsewhere,
}

impl Line {
    /// The branch of these blocks of `chain`, which are not in the trunk and have ascending heights
    /// without gaps; `None` if there is no block.
    pub(super) fn new(
        chain: ChainId,
        run_length: RunLength,
        spare: Spare,
        blocks: impl IntoIterator<Item = (Header, State)>,
    ) -> Option<Self> {
        let mut blocks = blocks.into_iter();
        let (first, state) = blocks.next()?;
        let view = first.view();
        let (tip, weight) = (view.hash(), view.weight());
        let (runs, side) = (VecDeque::new(), Vec::new());
        let turn = view.height();
        let mut line = Self { chain, run_length, runs, side, turn, tip, weight, spare };
        line.push(view, state);
        for (header, state) in blocks {
            line.push(header.view(), state);
        }
        Some(line)
    }

    /// Adds a block that is known to be beside the branch.
    pub(super) fn push_side(&mut self, header: HeaderRef<'_>, state: State) {
        self.side.push(Side { header: header.to_owned(), state });
    }

    pub(super) const fn chain(&self) -> ChainId {
        self.chain
    }

    /// The lowest height.
    pub(super) fn first(&self) -> BlockHeight {
        self.runs.front().map_or(BlockHeight::new(0), |run| run.first)
    }

    /// The height above the tip.
    pub(super) fn next(&self) -> BlockHeight {
        self.runs.back().map_or(BlockHeight::new(0), Run::end)
    }

    /// The block of the branch at `height`.
    pub(super) fn at(&self, height: BlockHeight) -> Option<HeaderRef<'_>> {
        let (run, index) = self.position(height)?;
        self.runs.get(run)?.header(index)
    }

    /// The block with this hash at `height`, if it is here.
    pub(super) fn find(&self, height: BlockHeight, hash: BlockHash) -> Option<HeaderRef<'_>> {
        let on_branch = self.at(height).filter(|header| header.hash() == hash);
        on_branch.or_else(|| {
            let side = self.side.iter().map(|side| side.header.view());
            side.into_iter().find(|header| header.hash() == hash && header.height() == height)
        })
    }

    /// Whether there is one block at this height, and no more.
    pub(super) fn is_alone_at(&self, height: BlockHeight) -> bool {
        let beside = self.side.iter().filter(|side| side.height() == height).count();
        beside.saturating_add(self.at(height).is_some().into()) == 1
    }

    /// Takes a block that is not here yet.
    pub(super) fn insert(&mut self, header: HeaderRef<'_>, level: Level) -> Place {
        let state = State { level, loose: false };
        let is_next = header.height() == self.next() && header.parent() == self.tip;
        // Weights that are not verified may not ascend.
        if is_next && header.weight() > self.weight {
            self.push(header, state);
            return Place::Here;
        }
        let below = header.height().parent();
        if below.and_then(|below| self.find(below, header.parent())).is_none() {
            return Place::Elsewhere;
        }
        let heavier = header.weight() > self.weight
            || (header.weight() == self.weight && header.hash() < self.tip);
        let branch = if heavier { self.branch(header) } else { None };
        self.push_side(header, state);
        if let Some(blocks) = branch {
            self.switch(&blocks);
        }
        Place::Here
    }

    /// The blocks beside the branch from the lowest to this one, whose ancestors they are.
    fn branch(&self, top: HeaderRef<'_>) -> Option<Vec<BlockHash>> {
        let mut blocks = vec![top.hash()];
        let (mut height, mut hash) = (top.height().parent()?, top.parent());
        while self.at(height).is_none_or(|header| header.hash() != hash) {
            let header = self.find(height, hash)?;
            blocks.push(hash);
            (height, hash) = (height.parent()?, header.parent());
        }
        blocks.reverse();
        Some(blocks)
    }

    /// Makes these blocks, which are beside the branch, its upper end.
    fn switch(&mut self, blocks: &[BlockHash]) {
        let mut taken = Vec::with_capacity(blocks.len());
        for hash in blocks {
            let at = self.side.iter().position(|side| side.header.view().hash() == *hash);
            taken.extend(at.map(|at| self.side.swap_remove(at)));
        }
        let Some(lowest) = taken.first().map(|side| side.header.view().height()) else { return };
        while self.next() > lowest {
            let several = self.runs.len() > 1;
            let Some(run) = self.runs.back_mut() else { return };
            self.side.extend(run.pop());
            if run.states.is_empty() && several {
                self.turn = run.first;
                self.runs.pop_back();
            }
        }
        for Side { header, state } in taken {
            self.push(header.view(), state);
        }
    }

    /// Goes on with the branch.
    fn push(&mut self, header: HeaderRef<'_>, state: State) {
        if header.height() >= self.turn {
            self.begin_run(header.height());
        }
        if let Some(run) = self.runs.back_mut() {
            run.records.extend_from_slice(header.as_bytes());
            run.states.push(state);
        }
        (self.tip, self.weight) = (header.hash(), header.weight());
    }

    fn begin_run(&mut self, first: BlockHeight) {
        if self.runs.back().is_some_and(|run| run.first == first) {
            return;
        }
        self.turn = self.run_length.end(first);
        let blocks = self.turn.since(first).unwrap_or(0).min(RunLength::DEFAULT.heights());
        // Runs of tests are short, and those of databases have 256 blocks.
        let blocks = usize::try_from(blocks).unwrap_or(0);
        let (records, states) = (self.spare.take(blocks), Vec::with_capacity(blocks));
        self.runs.push_back(Run { first, records, states });
    }

    /// Takes the whole runs that end at least `window` heights below the top, and the blocks that
    /// stand beside them or lower.
    pub(super) fn take_buried(&mut self, window: u64) -> (Vec<Run>, Vec<(Header, State)>) {
        let buried = BlockHeight::new(self.next().get().saturating_sub(window.max(1)));
        let is_buried = |run: &Run| self.run_length.end(run.first) <= buried;
        let count = self.runs.iter().take_while(|run| is_buried(run)).count();
        let runs: Vec<Run> = self.runs.drain(..count).collect();
        let first = self.first();
        let (sunk, side) =
            mem::take(&mut self.side).into_iter().partition(|side| side.height() < first);
        self.side = side;
        let sunk: Vec<Side> = sunk;
        (runs, sunk.into_iter().map(|side| (side.header, side.state)).collect())
    }

    /// Calls `visit` for each block that is not in `loose`, which it is from then on.
    pub(super) fn loosen(&mut self, mut visit: impl FnMut(HeaderRef<'_>, Level)) {
        for run in &mut self.runs {
            for (record, state) in run.records.chunks_exact(LEN).zip(&mut run.states) {
                if !state.loose
                    && let Ok(header) = HeaderRef::parse(record)
                {
                    visit(header, state.level);
                    state.loose = true;
                }
            }
        }
        for side in self.side.iter_mut().filter(|side| !side.state.loose) {
            visit(side.header.view(), side.state.level);
            side.state.loose = true;
        }
    }

    /// The run that a block at `height` belongs to, and the number that it has in it: nobody says that
    /// there is such a block, as the height may be that of any header.
    fn position(&self, height: BlockHeight) -> Option<(usize, usize)> {
        // Nearly always it is one of the last blocks.
        if let Some(index) = height.since(self.runs.back()?.first) {
            return Some((self.runs.len().checked_sub(1)?, usize::try_from(index).ok()?));
        }
        let offset = height.since(self.run_length.start(self.runs.front()?.first))?;
        let run = usize::try_from(offset.checked_div(self.run_length.heights())?).ok()?;
        let index = height.since(self.runs.get(run)?.first)?;
        Some((run, usize::try_from(index).ok()?))
    }
}

impl Run {
    /// The header with this number, if there are so many.
    fn header(&self, index: usize) -> Option<HeaderRef<'_>> {
        let record = self.records.get(index.checked_mul(LEN)?..)?.first_chunk::<LEN>()?;
        HeaderRef::new(RawHeader::ref_from_bytes(record).ok()?).ok()
    }

    fn end(&self) -> BlockHeight {
        BlockHeight::new(self.first.get().saturating_add(self.states.len() as u64))
    }

    fn pop(&mut self) -> Option<Side> {
        let state = self.states.pop()?;
        let start = self.records.len().checked_sub(LEN)?;
        let header = HeaderRef::parse(self.records.get(start..)?).ok()?.to_owned();
        self.records.truncate(start);
        Some(Side { header, state })
    }
}

impl Side {
    fn height(&self) -> BlockHeight {
        self.header.view().height()
    }
}
