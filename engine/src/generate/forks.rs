//! Branches beside the canonical chain.
//!
//! An orphan is made somewhat later than the canonical block of its height, never less late than
//! its parent, and upon the same adjacent parents. So it comes after all of them as the canonical
//! block does, its epochs take at least as long, and its branch never has more weight than the
//! canonical chain at the same height; as it ends lower, the canonical tip stays the heaviest.

use std::collections::VecDeque;

use super::random::Random;
use super::{Branch, Plan};
use crate::header::Header;
use crate::types::{BlockHeight, ChainId, Grow, Micros};

/// One in so many random branches leaves from another branch, where there is one.
const NESTED_ONE_IN: u64 = 4;

/// A first block is made at most so much later than its canonical sibling, in microseconds.
const LATE: u64 = 2_000_000;

/// Each further block is made at most so much later still.
const LATER: u64 = 20_000;

/// What always happens, as a number of 2^32 cases.
const ALWAYS: u64 = 1 << 32;

/// A branch that still grows.
#[derive(Clone, Debug)]
pub(super) struct Live {
    /// Its highest block; in the beginning the block that it leaves.
    pub(super) tip: Header,
    /// How much later than the canonical block its next one is made, in microseconds.
    late: u64,
    /// The height of its last block.
    end: u64,
    /// The number of the first cross-chain transfer that it has not continued.
    pub(super) crossing: u64,
}

impl Live {
    /// When its next block is made, where the canonical one is made at `time`.
    pub(super) fn time(&mut self, time: Micros, random: &mut Random) -> Micros {
        let late = self.late;
        self.late.grow(random.below(LATER));
        Micros::new(time.get().saturating_add_unsigned(late))
    }
}

/// Where branches begin and end.
#[derive(Debug)]
pub(super) struct Forks {
    /// Random branches for each canonical block, in 2^32.
    rate: u64,
    depth_max: u64,
    /// The last height of the canonical chains.
    heights: u64,
    /// Branches at chosen places, by ascending height and chain.
    chosen: VecDeque<Branch>,
    /// Branches by chain.
    live: Vec<Vec<Live>>,
}

impl Forks {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut chosen = plan.branches.clone();
        chosen.sort_by_key(|branch| (branch.height, branch.chain));
        Self {
            rate: of_2_32(plan.forks / depth_mean(plan.fork_depth)),
            depth_max: plan.fork_depth,
            heights: plan.heights,
            chosen: chosen.into(),
            live: plan.version.chain_ids().map(|_| Vec::new()).collect(),
        }
    }

    /// The branches of `chain` that have a block at `height`: those that go on, and those that
    /// begin there. `parent` is the canonical block below.
    ///
    /// Heights ascend from call to call, and chains at one height.
    pub(super) fn at(
        &mut self,
        chain: ChainId,
        height: BlockHeight,
        parent: &Header,
        random: &mut Random,
    ) -> &mut [Live] {
        let Some(live) = self.live.get_mut(chain.index()) else { return &mut [] };
        live.retain(|branch| branch.end >= height.get());
        let end_max = self.heights.saturating_sub(1);
        let end = |depth: u64| height.get().saturating_add(depth.saturating_sub(1)).min(end_max);
        let older = live.len();
        let more = random.happens(self.rate % ALWAYS);
        let count = (self.rate / ALWAYS).saturating_add(u64::from(more));
        for _ in 0..if height.get() <= end_max { count } else { 0 } {
            let nested = older > 0 && random.below(NESTED_ONE_IN) == 0;
            let index = usize::try_from(random.below(older as u64)).unwrap_or(0);
            let from = live.get(index).filter(|_| nested);
            let (tip, late, crossing) =
                from.map_or((*parent, 0, 0), |from| (from.tip, from.late, from.crossing));
            let depth = depth(self.depth_max, random);
            let late = first_late(late, random);
            live.push(Live { tip, late, end: end(depth), crossing });
        }
        while self.chosen.front().is_some_and(|next| (next.height, next.chain) == (height, chain)) {
            let Some(Branch { depth, count, .. }) = self.chosen.pop_front() else { break };
            live.extend((0..count).map(|_| Live {
                tip: *parent,
                late: first_late(0, random),
                end: end(depth),
                crossing: 0,
            }));
        }
        live
    }

    /// The branches of `chain` that [`Forks::at`] gave last, in its order.
    pub(super) fn live(&mut self, chain: ChainId) -> &mut [Live] {
        self.live.get_mut(chain.index()).map_or(&mut [], Vec::as_mut_slice)
    }
}

/// How late the first block of a branch is that leaves a block which is so late.
fn first_late(late: u64, random: &mut Random) -> u64 {
    late.saturating_add(1).saturating_add(random.below(LATE))
}

/// The depths of a class from `shortest` on: each class has twice that of the one before.
fn class(shortest: u64, depth_max: u64) -> (u64, u64) {
    (shortest, shortest.saturating_add(shortest.saturating_sub(1)).min(depth_max))
}

/// The number of classes.
const fn classes(depth_max: u64) -> u32 {
    depth_max.ilog2().saturating_add(1)
}

/// Draws the blocks of a branch: a class of depths first, then a depth of the class.
fn depth(depth_max: u64, random: &mut Random) -> u64 {
    let (shortest, longest) = class(1 << random.below(u64::from(classes(depth_max))), depth_max);
    let depths = longest.saturating_sub(shortest).saturating_add(1);
    shortest.saturating_add(random.below(depths))
}

/// The mean of [`depth`].
#[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
fn depth_mean(depth_max: u64) -> f64 {
    let classes = classes(depth_max);
    let means = (0..classes).map(|exponent| {
        let (shortest, longest) = class(1 << exponent, depth_max);
        f64::midpoint(shortest as f64, longest as f64)
    });
    means.sum::<f64>() / f64::from(classes)
}

/// A rate as a number of 2^32 cases.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a plan has small rates that are not negative"
)]
pub(super) fn of_2_32(rate: f64) -> u64 {
    (rate * ALWAYS as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::super::random::Use;
    use super::*;

    #[test]
    fn depths_have_the_mean_that_rates_are_made_of() {
        let mut random = Random::new(0, Use::Forks, ChainId::new(0), BlockHeight::new(0));
        for depth_max in [1, 2, 3, 10, 1000] {
            let depths: Vec<u64> = (0..20_000).map(|_| depth(depth_max, &mut random)).collect();
            assert!(depths.iter().all(|depth| (1..=depth_max).contains(depth)));
            assert!(depths.contains(&1) && depths.iter().any(|depth| depth * 2 > depth_max));
            let expected = of_2_32(depth_mean(depth_max) * 20_000.0);
            let ratio = depths.iter().sum::<u64>() * ALWAYS * 100 / expected;
            assert!((95..=105).contains(&ratio), "{depth_max}: {ratio}");
        }
    }
}
