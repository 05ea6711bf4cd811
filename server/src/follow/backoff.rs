use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The pause before the next try: longer each time, and random, so that servers do not all retry at once.
#[derive(Debug)]
pub(super) struct Backoff {
    least: Duration,
    most: Duration,
    failures: u32,
    random: RandomState,
}

impl Backoff {
    pub(super) fn new(least: Duration, most: Duration) -> Self {
        Self { least: least.min(most), most, failures: 0, random: RandomState::new() }
    }

    /// Resets the pause after a success.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause after a failure.
    pub(super) fn next(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let longest = self.least.saturating_mul(factor).min(self.most);
        // Between half of it and all of it, at random.
        let random = self.random.hash_one(self.failures) % 1024;
        let half = longest.div_f64(2.0);
        half.saturating_add(half.mul_f64(f64::from(u32::try_from(random).unwrap_or(0)) / 1024.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit_and_begin_anew() {
        let (least, most) = (Duration::from_secs(1), Duration::from_mins(1));
        let mut backoff = Backoff::new(least, most);
        for round in 0..100_u32 {
            let longest = least.saturating_mul(1 << round.min(20)).min(most);
            let wait = backoff.next();
            assert!(wait >= longest / 2 && wait <= longest, "{round}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= least);
        let waits: Vec<_> = (0..50).map(|_| Backoff::new(most, most).next()).collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]), "all wait for the same time");
    }
}
