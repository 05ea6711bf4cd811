use crate::types::Micros;

/// Blocks that are dated after the present time, by the clock of this machine.
///
/// Stored blocks were in the past when they were stored, so this says something of the clock and
/// nothing of the blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FutureBlocks {
    /// How many there are.
    pub blocks: u64,
    /// How far the last of them is ahead of the clock, in microseconds.
    pub ahead: u64,
}

impl FutureBlocks {
    /// Counts a block that was made then, if that is after `now`.
    pub(super) const fn add(&mut self, created: Micros, now: Micros) {
        if created.get() > now.get() {
            self.blocks = self.blocks.saturating_add(1);
            let ahead = created.get().abs_diff(now.get());
            self.ahead = if ahead > self.ahead { ahead } else { self.ahead };
        }
    }

    /// Counts those, too.
    pub(crate) const fn merge(&mut self, other: Self) {
        self.blocks = self.blocks.saturating_add(other.blocks);
        self.ahead = if other.ahead > self.ahead { other.ahead } else { self.ahead };
    }
}
