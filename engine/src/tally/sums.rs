use ruint::aliases::U256;

use super::Bins;
use crate::header::HeaderRef;
use crate::types::{Micros, Target};
use crate::verify::difficulty::difficulty;

/// Sums over blocks of one chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// The sum of the difficulties, modulo 2^256.
    pub difficulty: U256,
    /// The sum of the block times, in microseconds, modulo 2^64. A block has one if its parent is
    /// known.
    pub time: i64,
    /// How many block times are how long.
    pub times: Bins,
}

impl Sums {
    /// Sums over the blocks of both.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        Self {
            difficulty: self.difficulty.wrapping_add(other.difficulty),
            time: self.time.wrapping_add(other.time),
            times: self.times.joined(&other.times, u32::wrapping_add),
        }
    }

    /// Sums over the blocks of these that are not among the others, all of which are among these.
    #[must_use]
    pub fn minus(self, others: &Self) -> Self {
        Self {
            difficulty: self.difficulty.wrapping_sub(others.difficulty),
            time: self.time.wrapping_sub(others.time),
            times: self.times.joined(&others.times, u32::wrapping_sub),
        }
    }
}

/// Adds up blocks, each the parent of the next.
#[derive(Clone, Debug)]
pub struct Tally {
    sums: Sums,
    last: Option<Micros>,
    /// The last target and its difficulty: a target stands for a whole epoch, and a division takes
    /// as long as all else here.
    known: (Target, U256),
}

impl Tally {
    /// Goes on from `sums` with the child of a block that was made at `last`, or of one that is not
    /// known.
    #[must_use]
    pub const fn new(sums: Sums, last: Option<Micros>) -> Self {
        Self { sums, last, known: (Target::new(U256::ZERO), U256::ZERO) }
    }

    /// Adds the next block.
    pub fn push(&mut self, header: HeaderRef<'_>) {
        let target = header.target();
        if target != self.known.0 {
            // Of 0, which nothing meets, there is none.
            self.known = (target, difficulty(target).unwrap_or_default());
        }
        self.sums.difficulty = self.sums.difficulty.wrapping_add(self.known.1);
        let made = header.creation_time();
        if let Some(last) = self.last {
            // Of blocks that nobody verified it may be anything.
            let time = made.get().wrapping_sub(last.get());
            self.sums.time = self.sums.time.wrapping_add(time);
            self.sums.times.add(Micros::new(time));
        }
        self.last = Some(made);
    }

    /// The sums by now.
    #[must_use]
    pub const fn sums(&self) -> &Sums {
        &self.sums
    }

    /// When the last block was made, if there was one.
    #[must_use]
    pub const fn last(&self) -> Option<Micros> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::RawHeader;
    use crate::types::{ChainId, ChainwebVersion};
    use proptest::prelude::*;

    fn header() -> impl Strategy<Value = RawHeader> {
        let targets = prop_oneof![Just([0xFF; 32]), Just([0; 32]), any::<[u8; 32]>()];
        let times = prop_oneof![any::<i64>(), 0..60_000_000_i64];
        (targets, times).prop_map(|(target, time)| {
            let genesis = ChainwebVersion::Development.genesis_header(ChainId::new(0)).unwrap();
            let mut raw = *genesis.view().raw();
            raw.target = target;
            raw.creation_time.set(time);
            raw
        })
    }

    fn tally(blocks: &[RawHeader], last: Option<Micros>) -> Sums {
        let mut tally = Tally::new(Sums::default(), last);
        for raw in blocks {
            tally.push(HeaderRef::new(raw).unwrap());
        }
        *tally.sums()
    }

    fn time(raw: &RawHeader) -> Micros {
        Micros::new(raw.creation_time.get())
    }

    proptest! {
        #[test]
        fn sums_are_those_of_each_block_alone(
            blocks in prop::collection::vec(header(), 0..40),
            split: prop::sample::Index,
            last in prop::option::of(any::<i64>().prop_map(Micros::new)),
        ) {
            let mut naive = Sums::default();
            for (at, raw) in blocks.iter().enumerate() {
                let target = U256::from_le_bytes(raw.target);
                let below = at.checked_sub(1).map_or(last, |below| Some(time(&blocks[below])));
                let difficulty = if target.is_zero() { target } else { U256::MAX / target };
                let mut one = Sums { difficulty, ..Sums::default() };
                if let Some(below) = below {
                    one.time = time(raw).get().wrapping_sub(below.get());
                    one.times.add(Micros::new(one.time));
                }
                naive = naive.plus(&one);
            }
            let all = tally(&blocks, last);
            prop_assert_eq!(all, naive);
            let (low, high) = blocks.split_at(split.index(blocks.len() + 1));
            let upper = tally(high, low.last().map(time).or(last));
            prop_assert_eq!(all.minus(&tally(low, last)), upper);
            prop_assert_eq!(all.minus(&upper), tally(low, last));
        }
    }
}
