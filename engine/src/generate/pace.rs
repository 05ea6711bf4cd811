//! When blocks are made. Creation times are all that difficulty adjustment looks at, so choosing
//! them steers difficulty: down to a few hashes a block where blocks are mined, up and down again
//! everywhere, and never so far that a target wraps around.

use super::random::{Random, Use};
use crate::header::{Header, HeaderRef};
use crate::types::{BlockHeight, ChainId, ChainwebVersion, Grow, Micros};
use crate::verify::difficulty;

/// Ratios are in units of one in 1024.
const ONE: u64 = 1024;

/// An epoch takes at most so many times as long as it should.
const RATIO_MAX: u64 = 4096 * ONE;

/// By how much a target must stay below the point where it would wrap around. Forks and the uneven
/// progress of chains stay well within it.
const MARGIN: u64 = 3;

/// One in so many epochs has a long pause, where that makes difficulty adjust at once.
const PAUSE_ONE_IN: u64 = 16;

/// A pause is longer than this, and shorter than twice this: five hours.
const PAUSE: u64 = 5 * 3_600_000_000;

/// The difficulty to which a slow epoch brings mined chains back.
const GOAL: u64 = 4;

/// The clock of a history: one tick a height, to which each chain adds some delay of its own.
#[derive(Debug)]
pub(super) struct Pace {
    version: ChainwebVersion,
    seed: u64,
    /// The present tick.
    now: i64,
    /// The mean time between ticks in this epoch.
    gap: u64,
    /// The height before which nothing is made for a long time, and how long.
    pause: Option<(BlockHeight, u64)>,
}

impl Pace {
    /// A clock that stands at the time of the genesis blocks.
    pub(super) fn new(version: ChainwebVersion, seed: u64, genesis: &[Header]) -> Self {
        let genesis = genesis.iter().map(Header::view);
        let now = genesis.clone().map(|header| header.creation_time().get()).max().unwrap_or(0);
        let mut pace = Self { version, seed, now, gap: 0, pause: None };
        // Chains that begin later do not count yet: their targets are those of the real network.
        let first = genesis.clone().map(HeaderRef::height).min().unwrap_or_default();
        pace.steer(first, genesis.filter(|header| header.height() == first));
        pace
    }

    /// Moves to the tick of the blocks at `height`.
    pub(super) fn tick(&mut self, height: BlockHeight) {
        let mut random = Random::new(self.seed, Use::Pace, ChainId::new(0), height);
        let mut gap = (self.gap / 4).saturating_add(random.below(self.gap.saturating_mul(3) / 2));
        if let Some((_, pause)) = self.pause.take_if(|(at, _)| *at <= height) {
            gap.grow(pause);
        }
        self.now = self.now.saturating_add_unsigned(gap);
    }

    /// When the block with these blocks below it is made: at the tick or somewhat later, and after
    /// those that it must not precede.
    pub(super) fn time(
        &self,
        parent: HeaderRef<'_>,
        adjacents: &[HeaderRef<'_>],
        height: BlockHeight,
        random: &mut Random,
    ) -> Micros {
        let ordered = if self.version.old_da_guard(height) { &[] } else { adjacents };
        let below = ordered.iter().chain([&parent]).map(|header| header.creation_time().get());
        let delay = self.gap.min(self.version.block_delay().get().unsigned_abs());
        let time = self.now.saturating_add_unsigned(random.below(delay));
        let soon = random.below(1000).saturating_add(1);
        Micros::new(below.map(|below| below.saturating_add_unsigned(soon)).fold(time, i64::max))
    }

    /// Looks at the blocks at `height`; where they begin an epoch, chooses how long it takes.
    pub(super) fn look<'a>(
        &mut self,
        height: BlockHeight,
        layer: impl Iterator<Item = HeaderRef<'a>>,
    ) {
        if height.parent().is_some_and(|last| difficulty::is_last_in_epoch(self.version, last)) {
            self.steer(height, layer);
        }
    }

    fn steer<'a>(&mut self, height: BlockHeight, layer: impl Iterator<Item = HeaderRef<'a>>) {
        let mut random = Random::new(self.seed, Use::Pace, ChainId::new(1), height);
        let difficulties = layer.map(|header| {
            difficulty::difficulty(header.target()).map_or(u64::MAX, |found| found.saturating_to())
        });
        let (low, high) =
            difficulties.fold((u64::MAX, 0), |(low, high), d| (low.min(d), high.max(d)));
        let mut ratio = self.ratio(low, high, &mut random);
        if !self.version.old_da_guard(self.next_epoch(height)) {
            // Forks may have less difficulty than this layer as long as each chain adjusts alone.
            let low = if self.version.old_da_guard(height) { 1 } else { low };
            ratio = ratio.min(low.saturating_mul(ONE) / MARGIN);
        }
        self.gap = self.version.block_delay().get().unsigned_abs().saturating_mul(ratio) / ONE;
        if self.version.slow_epoch_guard(height) && random.below(PAUSE_ONE_IN) == 0 {
            let at = height.up(1).up(random.below(self.version.window()));
            self.pause = Some((at, random.below(PAUSE).saturating_add(PAUSE)));
        }
    }

    /// How long the epoch takes, as a multiple of how long it should: the longer, the less
    /// difficulty the next one has.
    fn ratio(&self, low: u64, high: u64, random: &mut Random) -> u64 {
        let mined = self.version.checks_pow();
        let (low_min, high_max) = if mined { (2, 10) } else { (1 << 12, 1 << 22) };
        let slow = random.below(ONE / 3).saturating_add(ONE);
        // It is not zero.
        let fast = (ONE * ONE).checked_div(slow).unwrap_or(ONE);
        if high > high_max {
            if mined { (high.saturating_mul(ONE) / GOAL).min(RATIO_MAX) } else { slow }
        } else if low < low_min || random.below(2) == 0 {
            fast
        } else {
            slow
        }
    }

    /// The height at which the epoch after the one of `height` begins.
    fn next_epoch(&self, height: BlockHeight) -> BlockHeight {
        let mut last = height;
        while !difficulty::is_last_in_epoch(self.version, last)
            && let Some(next) = last.child()
        {
            last = next;
        }
        last.up(1)
    }
}
