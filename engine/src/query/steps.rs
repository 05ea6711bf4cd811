use super::{Heights, View};
use crate::types::{BlockHeight, ChainId};

/// Heights, divided: the first part ends below the first multiple of `step`, the others have `step`
/// heights, but for the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    pub(super) first: u64,
    pub(super) last: u64,
    step: u64,
}

impl Steps {
    /// Steps of this many heights, at least one.
    #[must_use]
    pub fn new(heights: Heights, step: u64) -> Self {
        Self { first: heights.min().get(), last: heights.max().get(), step: step.max(1) }
    }

    /// Steps of these heights, as far as one of the chains has blocks there that statistics count: of this
    /// many heights each, or one. None if there are no such blocks at all.
    #[must_use]
    pub fn of(view: &View, chains: &[ChainId], asked: Heights, step: Option<u64>) -> Option<Self> {
        let (low, high) = view.counted_heights(chains)?;
        let (first, last) = (low.max(asked.min()), high.min(asked.max()));
        let heights = Heights { min: Some(first), max: Some(last) };
        Some(Self::new(heights, step.unwrap_or(u64::MAX)))
    }

    /// The number of steps.
    #[must_use]
    pub const fn count(self) -> u64 {
        if self.first > self.last {
            return 0;
        }
        self.number(self.last).saturating_sub(self.number(self.first)).saturating_add(1)
    }

    /// The number of steps, of all these chains together: a chain has those that end at its genesis block or
    /// above it, and none if it has not begun.
    #[must_use]
    pub fn count_of(self, view: &View, chains: &[ChainId]) -> u64 {
        let of_chain = |begin: BlockHeight| {
            let first = self.first.max(begin.get());
            Self { first, ..self }.count()
        };
        let counts = chains.iter().filter_map(|chain| view.begin(*chain)).map(of_chain);
        counts.fold(0, u64::saturating_add)
    }

    /// The number of the step with this height, if steps were counted from height 0 on.
    const fn number(self, height: u64) -> u64 {
        match height.checked_div(self.step) {
            Some(number) => number,
            // A step has at least one height.
            None => 0,
        }
    }

    /// The same heights in steps rounded up to a multiple of `length`, if there is one.
    #[must_use]
    pub fn rounded(self, length: u64) -> Self {
        let step = self.step.checked_next_multiple_of(length.max(1)).unwrap_or(self.step);
        Self { step, ..self }
    }

    /// The first and the last height of each.
    pub fn iter(self) -> impl Iterator<Item = (BlockHeight, BlockHeight)> {
        (0..self.count()).map(move |number| {
            let start = self.number(self.first).saturating_add(number).saturating_mul(self.step);
            let last = start.saturating_add(self.step.saturating_sub(1)).min(self.last);
            (BlockHeight::new(start.max(self.first)), BlockHeight::new(last))
        })
    }
}

impl View {
    /// The height of the genesis block of `chain`, if the chain has begun: the cut has a block of it, or
    /// another block than that one is stored.
    ///
    /// The genesis blocks of all chains are stored from the start. Those of chains 10 to 19 of mainnet01
    /// are at height 852,054, and until the cut gets there, statistics do not count them.
    pub(super) fn begin(&self, chain: ChainId) -> Option<BlockHeight> {
        let begin = self.version().genesis_height(chain)?;
        let highest = self.tree().forest(chain)?.highest()?;
        (highest > begin || self.is_in_cut(chain)).then_some(begin)
    }

    /// The lowest and the highest height at which one of these chains has a block, without those that have
    /// not begun.
    #[must_use]
    pub fn counted_heights(&self, chains: &[ChainId]) -> Option<(BlockHeight, BlockHeight)> {
        let begun = || chains.iter().copied().filter(|chain| self.begin(*chain).is_some());
        let low = begun().filter_map(|chain| self.lowest(chain)).min()?;
        let high = begun().filter_map(|chain| self.tree().forest(chain)?.highest()).max()?;
        Some((low, high))
    }
}
