//! Moments after a time that a setting gives.

use std::time::Duration;

use tokio::time::Instant;

/// A time to wait that nothing outlives: a year.
pub(crate) const WAIT_MAX: Duration = Duration::from_hours(365 * 24);

/// The moment `wait` after `since`, where a timer is to end. Longer than [`WAIT_MAX`] no timer waits,
/// so that the moment exists.
pub(crate) fn after(since: Instant, wait: Duration) -> Instant {
    since.checked_add(wait.min(WAIT_MAX)).unwrap_or(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_moment_after_any_time() {
        let now = Instant::now();
        assert_eq!(after(now, Duration::from_secs(5)) - now, Duration::from_secs(5));
        for long in [WAIT_MAX, Duration::from_secs(1 << 61), Duration::MAX] {
            assert_eq!(after(now, long) - now, WAIT_MAX);
        }
    }
}
