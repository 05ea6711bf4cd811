use crate::types::{BlockHeight, ChainId};

/// What a random number is for: each use draws from a stream of its own, so that a plan with forks
/// has the same canonical blocks as one without.
#[derive(Clone, Copy, Debug)]
pub(super) enum Use {
    Pace = 1,
    Canonical = 2,
    Forks = 3,
}

/// Random numbers that are the same on every machine and in every release.
///
/// # Source
///
/// `SplitMix64` of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

/// What each step adds: 2^64 divided by the golden ratio, odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The stream of one use at one place of the history with this seed.
    pub(super) fn new(seed: u64, purpose: Use, chain: ChainId, height: BlockHeight) -> Self {
        let words = [purpose as u64, u64::from(chain.get()), height.get()];
        Self(words.into_iter().fold(seed, |state, word| mix(state.wrapping_add(GAMMA) ^ word)))
    }

    /// The stream of one number.
    pub(super) const fn from(number: u64) -> Self {
        Self(number)
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// A number below `bound`, or 0 if that is 0. The bias is at most `bound` in 2^64.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let (_, upper) = self.next().carrying_mul(bound, 0);
        upper
    }

    /// Whether something happens that does so in `chance` of 2^32 cases.
    pub(super) fn happens(&mut self, chance: u64) -> bool {
        self.next() >> 32 < chance
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_splitmix64() {
        let mut random = Random(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!([random.next(), random.next()], expected);
    }

    #[test]
    fn streams_differ_by_use_and_place() {
        let first = |purpose, chain, height| {
            Random::new(1, purpose, ChainId::new(chain), BlockHeight::new(height)).next()
        };
        let mut numbers = vec![
            first(Use::Pace, 0, 0),
            first(Use::Canonical, 0, 0),
            first(Use::Forks, 0, 1),
            first(Use::Forks, 1, 0),
        ];
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 4);
    }

    #[test]
    fn numbers_below_a_bound_are_spread() {
        let mut random = Random(7);
        let mut counts = [0_u32; 10];
        for _ in 0..10_000 {
            counts[usize::try_from(random.below(10)).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        assert_eq!(random.below(0), 0);
    }
}
