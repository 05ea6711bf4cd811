//! Minimum and maximum values of settings. `tests/it/extremes.rs` starts a server with each of them.

use std::time::Duration;

/// The shortest time, where none at all would be an endless loop or refuse everybody: timers count
/// in milliseconds.
pub(super) const SOME_TIME: Duration = Duration::from_millis(1);

/// The longest time, a year: a timer of more is a mistake, and moments beyond the clock's range do not
/// exist.
pub(super) const TIME_MAX: Duration = Duration::from_hours(365 * 24);

/// The longest time between two updates of event streams, which nobody would take for working.
pub(super) const INTERVAL_MAX: Duration = Duration::from_hours(1);

/// The most connections, subscribers, items on a page: far above what a machine of today serves, far below
/// what a counter takes.
pub(super) const COUNT_MAX: usize = 1_000_000;

/// The least that is kept of events: a log that has no room for one gives none to anybody.
pub(super) const LOG_BYTES_MIN: usize = 1 << 16;

/// The most that is read into memory at once for one client.
pub(super) const BYTES_MAX: usize = 1 << 30;

/// The most that is kept in memory for all of them: 1 TiB.
pub(super) const CACHE_BYTES_MAX: usize = 1 << 40;

/// The minimum for all request bodies together: enough for a few branch queries.
pub(super) const BODIES_BYTES_MIN: usize = 1 << 16;
