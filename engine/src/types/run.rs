use std::num::NonZeroU32;

use super::BlockHeight;

/// The number of heights in a run of sealed blocks. Runs begin at its multiples; the lowest run
/// of a chain may begin in between, where the chain does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLength(NonZeroU32);

impl RunLength {
    /// That of databases: 81 kB of headers, which is what a disk reads as fast as a single one.
    pub const DEFAULT: Self = Self(NonZeroU32::new(256).expect("256 is not zero"));

    /// The length with this number.
    #[must_use]
    pub const fn new(heights: NonZeroU32) -> Self {
        Self(heights)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The same number, to count heights with.
    #[must_use]
    pub const fn heights(self) -> u64 {
        self.0.get() as u64
    }

    /// The height at which the run with a block at `height` begins, in a chain long enough.
    #[must_use]
    pub const fn start(self, height: BlockHeight) -> BlockHeight {
        match height.get().checked_rem(self.heights()) {
            Some(above) => height.down(above),
            // It is not zero.
            None => height,
        }
    }

    /// The last height of that run.
    #[must_use]
    pub const fn last(self, height: BlockHeight) -> BlockHeight {
        self.start(height).up(self.heights().saturating_sub(1))
    }

    /// The height behind that run.
    #[must_use]
    pub const fn end(self, height: BlockHeight) -> BlockHeight {
        self.start(height).up(self.heights())
    }
}

impl Default for RunLength {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_begin_at_multiples_and_cover_every_height_once() {
        let length = RunLength::new(NonZeroU32::new(4).unwrap());
        for height in 0..50 {
            let (start, end) =
                (length.start(BlockHeight::new(height)), length.end(BlockHeight::new(height)));
            assert!((start.get()..end.get()).contains(&height));
            assert_eq!((start.get() % 4, end.get() - start.get()), (0, 4));
        }
        let highest = BlockHeight::new(u64::MAX);
        assert_eq!((length.last(highest), length.end(highest)), (highest, highest));
    }
}
