//! Fork state: the number of the fork that a block was made for, and the votes for the next one.
//!
//! # Source
//!
//! `Chainweb.ForkState`. All sums are modulo 2^32.

use crate::header::HeaderRef;
use crate::types::BlockHeight;

/// Blocks of a fork epoch: about five days.
const EPOCH: u64 = 120 * 120;

/// Blocks at the end of a fork epoch in which votes are counted.
const COUNTING: u64 = 120;

/// Two thirds of the blocks that could vote: a whole number.
const NEEDED: u64 = (EPOCH - COUNTING) / 3 * 2;

/// What one vote adds.
pub(crate) const STEP: u32 = 1000;

/// Where in its fork epoch a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The first block: votes begin anew.
    Start,
    /// Blocks vote.
    Voting,
    /// Votes of neighbours are averaged.
    Counting,
}

impl Phase {
    pub(crate) fn at(height: BlockHeight) -> Self {
        match height.get() % EPOCH {
            0 => Self::Start,
            position if position < EPOCH - COUNTING => Self::Voting,
            _ => Self::Counting,
        }
    }
}

/// The number of the fork.
#[expect(clippy::cast_possible_truncation, reason = "the low half is asked for")]
pub(crate) fn number(header: HeaderRef<'_>) -> u32 {
    header.feature_flags() as u32
}

/// The votes so far.
pub(crate) fn votes(header: HeaderRef<'_>) -> u32 {
    (header.feature_flags() >> 32) as u32
}

/// Whether `votes` follow on `before`, with a vote or without.
pub(crate) fn follow(votes: u32, before: u32) -> bool {
    votes == before || votes == before.wrapping_add(STEP)
}

/// Whether these votes of a block, the last of its epoch, decide for the next fork: by two thirds
/// of the blocks that could vote. Thousands are rounded half to even.
pub(crate) fn decide(votes: u32) -> bool {
    let (whole, rest) = (u64::from(votes / STEP), votes % STEP);
    let half = STEP / 2;
    let up = rest > half || rest == half && whole % 2 == 1;
    whole.saturating_add(u64::from(up)) >= NEEDED
}

/// What counting makes of the votes of the parents.
pub(crate) fn count(votes: impl ExactSizeIterator<Item = u32>) -> Option<u32> {
    let parents = u32::try_from(votes.len()).ok()?;
    votes.fold(0, u32::wrapping_add).checked_div(parents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_of_an_epoch() {
        let at = |height| Phase::at(BlockHeight::new(height));
        assert_eq!([at(0), at(14_400)], [Phase::Start; 2]);
        assert_eq!([at(1), at(14_279)], [Phase::Voting; 2]);
        assert_eq!([at(14_280), at(14_399)], [Phase::Counting; 2]);
    }

    #[test]
    fn two_thirds_decide() {
        assert!(decide(9_520_000) && decide(9_519_501) && decide(9_519_500));
        assert!(!decide(9_519_499) && !decide(0));
        // Half is rounded to even: 9,520.5 down, 9,519.5 up.
        assert!(decide(9_520_500));
    }
}
