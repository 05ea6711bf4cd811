use super::Replay;
use crate::types::Micros;

/// What tells the present time.
pub type Clock = fn() -> Micros;

impl Replay<'_> {
    /// The same, which judges every block by the time that `clock` tells when the block comes, rather
    /// than by the one that the verifier had in the beginning: an input may be a pipe that brings
    /// blocks for days.
    #[must_use]
    pub const fn by_clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Takes the time of now for the present one.
    pub(super) fn look_at_clock(&mut self) {
        if let Some(clock) = self.clock {
            self.verifier.set_now(clock());
        }
    }
}
