use crate::types::Micros;

/// The number of bins that block times are counted in.
pub const BINS: usize = BOUNDS.len() + 1;

/// Where bins end: the times of bin *i* are below `BOUNDS[i]` and not below the bound before. Two to an
/// octave, from a quarter of a second to 34 minutes; the last bin has no end.
pub const BOUNDS: [Micros; 27] = [
    ms(250),
    ms(354),
    ms(500),
    ms(707),
    ms(1_000),
    ms(1_414),
    ms(2_000),
    ms(2_828),
    ms(4_000),
    ms(5_657),
    ms(8_000),
    ms(11_314),
    ms(16_000),
    ms(22_627),
    ms(32_000),
    ms(45_255),
    ms(64_000),
    ms(90_510),
    ms(128_000),
    ms(181_019),
    ms(256_000),
    ms(362_039),
    ms(512_000),
    ms(724_077),
    ms(1_024_000),
    ms(1_448_155),
    ms(2_048_000),
];

const fn ms(milliseconds: i64) -> Micros {
    Micros::new(milliseconds.saturating_mul(1_000))
}

/// How many block times each bin has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bins([u32; BINS]);

impl Bins {
    /// Bins with these counts.
    #[must_use]
    pub const fn new(counts: [u32; BINS]) -> Self {
        Self(counts)
    }

    /// The counts.
    #[must_use]
    pub const fn get(&self) -> &[u32; BINS] {
        &self.0
    }

    /// The number of block times in all of them.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().copied().map(u64::from).sum()
    }

    pub(crate) fn add(&mut self, time: Micros) {
        let bin = BOUNDS.partition_point(|bound| *bound <= time);
        if let Some(count) = self.0.get_mut(bin) {
            *count = count.wrapping_add(1);
        }
    }

    /// Each count with that of `other`, as `join` makes one of the two.
    pub(super) fn joined(mut self, other: &Self, join: impl Fn(u32, u32) -> u32) -> Self {
        for (count, other) in self.0.iter_mut().zip(other.0) {
            *count = join(*count, other);
        }
        self
    }
}

impl Default for Bins {
    fn default() -> Self {
        Self([0; BINS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_ascend_two_to_an_octave() {
        assert!(BOUNDS.is_sorted());
        for [low, _, high] in BOUNDS.array_windows() {
            assert!((high.get() - 2 * low.get()).abs() * 300 < low.get(), "{low} to {high}");
        }
    }

    #[test]
    fn a_time_is_in_the_bin_that_ends_above_it() {
        for (time, bin) in [
            (i64::MIN, 0),
            (-1, 0),
            (0, 0),
            (249_999, 0),
            (250_000, 1),
            (30_000_000, 14),
            (2_047_999_999, 26),
            (2_048_000_000, 27),
            (i64::MAX, 27),
        ] {
            let mut bins = Bins::default();
            bins.add(Micros::new(time));
            assert_eq!(bins.get().iter().position(|count| *count == 1), Some(bin), "{time}");
            assert_eq!(bins.count(), 1);
        }
    }
}
