//! The `Date` of answers, and moments after a time that a setting gives.
//!
//! hyper writes a `Date` by itself, but renders a new one only when the clock shows a later second than
//! the last one. If a clock that was an hour ahead is corrected, hyper therefore sends a wrong date for
//! an hour. So every answer brings its own `Date`, rendered whenever the second differs, be it later or
//! earlier.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use httpdate::fmt_http_date;
use tokio::time::Instant;

/// The last second that a `Date` can show: of the year 9999.
const SECOND_MAX: u64 = 253_402_300_799;

/// A time to wait that nothing outlives: a year.
pub(crate) const WAIT_MAX: Duration = Duration::from_hours(365 * 24);

thread_local! {
    /// The second that was rendered last on this thread, and how.
    static LAST: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) };
}

/// Whole seconds since 1970; before that, none.
pub(crate) fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The `Date` of this second since 1970.
pub(crate) fn date(second: u64) -> HeaderValue {
    LAST.with_borrow_mut(|last| match last {
        Some((rendered, date)) if *rendered == second => date.clone(),
        _ => {
            let at = UNIX_EPOCH.checked_add(Duration::from_secs(second.min(SECOND_MAX)));
            let date = fmt_http_date(at.unwrap_or(UNIX_EPOCH));
            // A date has letters, digits and a few signs.
            let date = HeaderValue::try_from(date).unwrap_or(HeaderValue::from_static(""));
            last.insert((second, date)).1.clone()
        }
    })
}

/// The `Date` of now.
pub(crate) fn date_now() -> HeaderValue {
    date(seconds(SystemTime::now()))
}

/// The moment `wait` after `since`, where a timer is to end. Longer than [`WAIT_MAX`] no timer waits,
/// so that the moment exists.
pub(crate) fn after(since: Instant, wait: Duration) -> Instant {
    since.checked_add(wait.min(WAIT_MAX)).unwrap_or(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_follows_the_clock_forwards_and_back() {
        let real = 784_111_777;
        assert_eq!(date(real), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(real + 3600), "Sun, 06 Nov 1994 09:49:37 GMT");
        assert_eq!(date(real + 3600), "Sun, 06 Nov 1994 09:49:37 GMT");
        assert_eq!(date(real), "Sun, 06 Nov 1994 08:49:37 GMT", "the clock was corrected");
    }

    #[test]
    fn no_clock_is_too_wrong_for_a_date() {
        assert_eq!(seconds(UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        for second in [SECOND_MAX, SECOND_MAX + 1, u64::MAX] {
            assert_eq!(date(second), "Fri, 31 Dec 9999 23:59:59 GMT", "{second}");
        }
    }

    #[test]
    fn there_is_a_moment_after_any_time() {
        let now = Instant::now();
        assert_eq!(after(now, Duration::from_secs(5)) - now, Duration::from_secs(5));
        for long in [WAIT_MAX, Duration::from_secs(1 << 61), Duration::MAX] {
            assert_eq!(after(now, long) - now, WAIT_MAX);
        }
    }
}
