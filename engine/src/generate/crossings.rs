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
//! below it began, so the same transfer can be continued in an orphan and in a canonical block.

use std::collections::VecDeque;

use crate::types::{BlockHeight, ChainId};

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

/// The transfers that wait for their second step.
#[derive(Debug, Default)]
pub(super) struct Crossings(Vec<VecDeque<Crossing>>);

impl Crossings {
    /// The transfer that a block of `chain` at `height` can continue, after `taken` others.
    pub(super) fn next(
        &self,
        chain: ChainId,
        height: BlockHeight,
        taken: usize,
    ) -> Option<&Crossing> {
        let next = self.0.get(chain.index())?.get(taken)?;
        height.since(next.height).is_some_and(|heights| heights >= PROOF_HEIGHTS).then_some(next)
    }

    /// Records that a canonical block of `chain` has continued the first `taken` transfers, and has
    /// begun others.
    pub(super) fn record(&mut self, chain: ChainId, taken: usize, begun: Vec<Crossing>) {
        if let Some(waiting) = self.0.get_mut(chain.index()) {
            waiting.drain(..taken.min(waiting.len()));
        }
        for crossing in begun {
            let Ok(target) = usize::try_from(crossing.target) else { continue };
            if self.0.len() <= target {
                self.0.resize_with(target.saturating_add(1), VecDeque::new);
            }
            if let Some(waiting) = self.0.get_mut(target) {
                waiting.push_back(crossing);
                if waiting.len() > WAITING_MAX {
                    waiting.pop_front();
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
        let next = |crossings: &Crossings, height, taken| {
            let next = crossings.next(chain, BlockHeight::new(height), taken);
            next.map(|crossing| crossing.pact.clone())
        };
        assert_eq!(next(&crossings, 13, 0), None);
        assert_eq!(next(&crossings, 14, 0).as_deref(), Some("a"));
        assert_eq!(next(&crossings, 14, 1), None);
        assert_eq!(next(&crossings, 15, 1).as_deref(), Some("b"));
        assert_eq!(crossings.next(other, BlockHeight::new(99), 0).map(|_| ()), None);
        crossings.record(chain, 1, Vec::new());
        assert_eq!(next(&crossings, 99, 0).as_deref(), Some("b"));
        let many = (0..=WAITING_MAX as u64).map(|height| crossing(3, height, "c"));
        crossings.record(other, 0, many.collect());
        assert_eq!(next(&crossings, 9_999, WAITING_MAX), None);
        assert_eq!(next(&crossings, 9_999, WAITING_MAX - 1).as_deref(), Some("c"));
    }
}
