//! Cross-chain transfers between their first and their second step.
//!
//! ```text
//! height   chain 2              chain 3
//!   10     first step, key K    -
//!   11     -                    -              too early: no proof of K yet
//!   14     -                    second step of pact K
//! ```
//!
//! Only canonical blocks change the list. An orphan continues a transfer that the canonical blocks
//! below it began, so the same transfer can be continued in an orphan and in a canonical block. The
//! transfers to a chain are numbered and continued in this order, so a branch needs to know one number
//! only: that of the first transfer which none of its blocks has continued.

use std::collections::VecDeque;

use crate::types::{BlockHeight, ChainId, Grow};

/// Heights between the two steps, at least: the target chain must have a block above the first step.
const PROOF_HEIGHTS: u64 = 4;

/// The most transfers to one chain that wait; the oldest one is never continued if there are more.
const WAITING_MAX: usize = 256;

/// A transfer whose first step is in a block.
#[derive(Clone, Debug)]
pub(super) struct Crossing {
    /// The chain that it goes to.
    pub(super) target: u32,
    /// The height of its first step.
    pub(super) height: BlockHeight,
    /// The request key of its first step, by which the second one names it.
    pub(super) pact: String,
    /// Public keys.
    pub(super) from: String,
    pub(super) to: String,
    pub(super) amount: String,
}

/// The transfers that wait for their second step, by the chain that they go to.
#[derive(Debug, Default)]
pub(super) struct Crossings(Vec<Waiting>);

/// The transfers to one chain, by ascending number.
#[derive(Debug, Default)]
struct Waiting {
    /// The number of the first one.
    first: u64,
    crossings: VecDeque<Crossing>,
}

impl Waiting {
    /// Removes the first one.
    fn pop(&mut self) {
        if self.crossings.pop_front().is_some() {
            self.first.grow(1);
        }
    }
}

impl Crossings {
    /// The first transfer from number `from` on that a block of `chain` at `height` can continue, and its
    /// number.
    pub(super) fn next(
        &self,
        chain: ChainId,
        height: BlockHeight,
        from: u64,
    ) -> Option<(u64, &Crossing)> {
        let Waiting { first, crossings } = self.0.get(chain.index())?;
        let number = from.max(*first);
        let next = crossings.get(usize::try_from(number.saturating_sub(*first)).ok()?)?;
        let is_proven = height.since(next.height).is_some_and(|heights| heights >= PROOF_HEIGHTS);
        is_proven.then_some((number, next))
    }

    /// Records that a canonical block of `chain` has continued the transfers below number `end`, and
    /// has begun others.
    pub(super) fn record(&mut self, chain: ChainId, end: u64, begun: Vec<Crossing>) {
        if let Some(waiting) = self.0.get_mut(chain.index()) {
            while waiting.first < end && !waiting.crossings.is_empty() {
                waiting.pop();
            }
        }
        for crossing in begun {
            let Ok(target) = usize::try_from(crossing.target) else { continue };
            if self.0.len() <= target {
                self.0.resize_with(target.saturating_add(1), Waiting::default);
            }
            if let Some(waiting) = self.0.get_mut(target) {
                waiting.crossings.push_back(crossing);
                if waiting.crossings.len() > WAITING_MAX {
                    waiting.pop();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_are_continued_once_in_their_order_and_not_at_once() {
        let crossing = |target, height: u64, pact: &str| Crossing {
            target,
            height: BlockHeight::new(height),
            pact: pact.to_owned(),
            from: String::new(),
            to: String::new(),
            amount: String::new(),
        };
        let (chain, other) = (ChainId::new(3), ChainId::new(2));
        let mut crossings = Crossings::default();
        crossings.record(other, 0, vec![crossing(3, 10, "a"), crossing(3, 11, "b")]);
        let next = |crossings: &Crossings, height, from| {
            let next = crossings.next(chain, BlockHeight::new(height), from);
            next.map(|(number, crossing)| (number, crossing.pact.clone()))
        };
        let named = |number, pact: &str| Some((number, pact.to_owned()));
        assert_eq!(next(&crossings, 13, 0), None);
        assert_eq!(next(&crossings, 14, 0), named(0, "a"));
        assert_eq!(next(&crossings, 14, 1), None);
        assert_eq!(next(&crossings, 15, 1), named(1, "b"));
        assert_eq!(crossings.next(other, BlockHeight::new(99), 0).map(|_| ()), None);
        crossings.record(chain, 1, Vec::new());
        assert_eq!(next(&crossings, 99, 0), named(1, "b"));
        assert_eq!(next(&crossings, 99, 1), named(1, "b"), "a branch that has continued the first");
        assert_eq!(next(&crossings, 99, 2), None, "a branch that has continued both");
        let many = (0..=WAITING_MAX as u64).map(|height| crossing(3, height, "c"));
        crossings.record(other, 0, many.collect());
        let last = WAITING_MAX as u64 + 2;
        assert_eq!(next(&crossings, 9_999, 0), named(3, "c"), "the oldest are gone");
        assert_eq!(next(&crossings, 9_999, last), named(last, "c"));
        assert_eq!(next(&crossings, 9_999, last + 1), None);
    }
}
