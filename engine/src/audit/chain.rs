use std::ops::Range;

use zerocopy::FromBytes;

use super::Flaw;
use super::rows::{Row, Rows};
use super::windows::Draft;
use crate::header::{HeaderRef, LEN};
use crate::store::{Column, LooseKey, RunSums, Snapshot, StoreError, TrunkKey, is_run};
use crate::types::{BlockHeight, ChainId, Rank, RunLength};
use crate::verify::Level;

/// The blocks of one chain, by ascending height.
pub(super) struct Chain<'a> {
    id: ChainId,
    run_length: RunLength,
    trunk: Rows<'a>,
    loose: Rows<'a>,
    levels: Rows<'a>,
    /// Unless it is of a release that had none.
    sums: Option<Rows<'a>>,
    /// What the trunk comes to up to where it was read, if that is known.
    below: Option<RunSums>,
    /// The height behind that.
    summed_end: Option<BlockHeight>,
    /// The height behind the last run, if that could be read.
    sealed_end: Option<BlockHeight>,
}

/// How far a block is verified, by a row of its own.
pub(super) struct OwnLevel {
    pub(super) chain: ChainId,
    pub(super) rank: Rank,
    pub(super) level: Level,
}

/// A run: its heights, and the number of its first block.
pub(super) struct Sealed {
    pub(super) heights: Range<u64>,
    pub(super) first: usize,
}

impl<'a> Chain<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, chain: ChainId) -> Self {
        let rows = |column| Rows::new(snapshot, column, chain);
        Self {
            id: chain,
            run_length: snapshot.meta().run_length,
            trunk: rows(Column::Trunk),
            loose: rows(Column::Loose),
            levels: rows(Column::Levels),
            sums: snapshot.has_sums().then(|| rows(Column::Sums)),
            below: None,
            summed_end: None,
            sealed_end: None,
        }
    }

    /// The lowest height that has a row, or at which to try again to read one.
    pub(super) fn next_height(&self) -> Option<BlockHeight> {
        let rows = [&self.trunk, &self.loose, &self.levels].into_iter().chain(&self.sums);
        rows.filter_map(Rows::next_height).min()
    }

    /// Adds the blocks at heights from `first`, where a run begins, to `last`, without those below that
    /// were not asked for. Returns whether all could be read; the draft's notes say nothing of worth.
    pub(super) fn read_blocks(
        &mut self,
        first: BlockHeight,
        last: BlockHeight,
        draft: &mut Draft,
    ) -> bool {
        self.trunk.skip_to(first);
        self.loose.skip_to(first);
        let (trunk_is_whole, runs) = self.read_trunk(first, last, draft);
        self.read_loose(first, last, &runs, draft) && trunk_is_whole
    }

    /// Adds all that is at heights from `first` to `last`.
    pub(super) fn read(&mut self, first: BlockHeight, last: BlockHeight, draft: &mut Draft) {
        let start = draft.blocks();
        let (trunk_is_whole, runs) = self.read_trunk(first, last, draft);
        let loose_is_whole = self.read_loose(first, last, &runs, draft);
        if !(trunk_is_whole && loose_is_whole) {
            draft.note.holes.push(self.id);
        }
        self.read_sums(first, last, &runs, draft);
        draft.note.levels.resize(draft.blocks(), Level::Full);
        if !self.read_levels(first, last, &runs, draft) {
            // It is not known which of them were verified less than fully.
            draft.note.levels.iter_mut().skip(start).for_each(|level| *level = Level::Hash);
        }
    }

    /// Whether all could be read, which the others say too; and the runs.
    fn read_trunk(
        &mut self,
        first: BlockHeight,
        last: BlockHeight,
        draft: &mut Draft,
    ) -> (bool, Vec<Sealed>) {
        let (chain, length) = (self.id, self.run_length);
        let (mut runs, mut end) = (Vec::new(), self.sealed_end);
        let mut flaws = draft.note.flaws.len();
        let whole = self.trunk.read(first, last, draft, |key, run, draft| {
            let key = TrunkKey::ref_from_bytes(key).ok();
            let Some(start) = key.map(TrunkKey::first).filter(|s| is_run(run, chain, *s, length))
            else {
                return Row::Damaged;
            };
            // What follows damage need not follow the run in front of it.
            let follows = draft.note.flaws.len() == flaws;
            if let Some(gap) = end.filter(|end| *end != start && follows) {
                draft.unreadable(Column::Trunk, chain, gap, StoreError::gap(chain, gap));
            }
            flaws = draft.note.flaws.len();
            let heights = start.get()..start.get().saturating_add((run.len() / LEN) as u64);
            end = Some(BlockHeight::new(heights.end));
            runs.push(Sealed { heights, first: draft.blocks() });
            draft.bytes.extend_from_slice(run);
            Row::Good
        });
        self.sealed_end = end.filter(|_| whole);
        (whole, runs)
    }

    fn read_loose(
        &mut self,
        first: BlockHeight,
        last: BlockHeight,
        runs: &[Sealed],
        draft: &mut Draft,
    ) -> bool {
        let chain = self.id;
        self.loose.read(first, last, draft, |key, value, draft| {
            let Ok(key) = LooseKey::ref_from_bytes(key) else { return Row::Damaged };
            let header = HeaderRef::parse(value).ok();
            let fits = |header: &HeaderRef<'_>| {
                header.rank() == key.rank() && header.chain() == key.chain()
            };
            let Some(header) = header.filter(fits) else { return Row::Damaged };
            let Rank { height, hash } = header.rank();
            if draft.sealed(runs, height).map(HeaderRef::hash) == Some(hash) {
                draft.note.flaws.push(Flaw::Twice { chain, height, hash });
            } else {
                draft.bytes.extend_from_slice(value);
            }
            Row::Good
        })
    }

    /// Compares what runs are said to come to with what they do.
    fn read_sums(
        &mut self,
        first: BlockHeight,
        last: BlockHeight,
        runs: &[Sealed],
        draft: &mut Draft,
    ) {
        let Some(rows) = &mut self.sums else { return };
        let chain = self.id;
        let (mut below, mut runs) = (self.below, runs.iter().peekable());
        let wrong = |draft: &mut Draft, height: u64| {
            draft.note.flaws.push(Flaw::Sums { chain, height: BlockHeight::new(height) });
        };
        let mut end = self.summed_end;
        let whole = rows.read(first, last, draft, |key, value, draft| {
            let start = TrunkKey::ref_from_bytes(key).map(TrunkKey::first);
            let (Ok(start), Ok(sums)) = (start, RunSums::read(key, value)) else {
                return Row::Damaged;
            };
            while let Some(run) = runs.next_if(|run| run.heights.start < start.get()) {
                wrong(draft, run.heights.start);
                below = None;
            }
            match runs.next_if(|run| run.heights.start == start.get()) {
                Some(run) => {
                    let known = below.filter(|_| end == Some(start));
                    let expected = RunSums::behind(known, draft.run(run));
                    let is_right = match known {
                        Some(_) => sums == expected,
                        // It begins anew; only when its last block was made is known.
                        None => sums.last == expected.last,
                    };
                    if !is_right {
                        wrong(draft, start.get());
                    }
                    end = Some(BlockHeight::new(run.heights.end));
                }
                None if draft.note.holes.contains(&chain) => {}
                None => wrong(draft, start.get()),
            }
            below = Some(sums);
            Row::Good
        });
        for run in runs {
            if whole {
                wrong(draft, run.heights.start);
            }
            below = None;
        }
        (self.below, self.summed_end) = (below, end);
    }

    fn read_levels(
        &mut self,
        first: BlockHeight,
        last: BlockHeight,
        runs: &[Sealed],
        draft: &mut Draft,
    ) -> bool {
        let (chain, length) = (self.id, self.run_length);
        self.levels.read(first, last, draft, |key, value, draft| {
            if let (Ok(key), [code]) = (LooseKey::ref_from_bytes(key), value) {
                let level = Level::from_code(*code).filter(|level| *level < Level::Full);
                let own = level.map(|level| OwnLevel { chain, rank: key.rank(), level });
                let row = own.as_ref().map_or(Row::Damaged, |_| Row::Good);
                draft.own_levels.extend(own);
                return row;
            }
            let Ok(key) = TrunkKey::ref_from_bytes(key) else { return Row::Damaged };
            let start = key.first();
            let fits =
                length.start(start) == start && value.len() as u64 <= u64::from(length.get());
            let levels = value.iter().map(|code| Level::from_code(*code));
            let Some(levels) = levels.collect::<Option<Vec<_>>>().filter(|_| fits) else {
                return Row::Damaged;
            };
            for (height, level) in (start.get()..).zip(levels) {
                draft.set_sealed(runs, chain, BlockHeight::new(height), level);
            }
            Row::Good
        })
    }
}
