use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a server that had to refuse someone is not to be sent more.
const RECOVERY_TIME: Duration = Duration::from_secs(5);

/// How long a server that follows another node may go without having heard of it, from its start on:
/// what it has is better than nothing then.
const CONTACT_TIME: Duration = Duration::from_secs(30);

/// Minimum time without a successful refresh, after which a read-only server is not ready.
const STALE_TIME: Duration = Duration::from_secs(30);

/// The same in refreshes.
const STALE_REFRESHES: u32 = 10;

/// No lag is expected, or none is known.
const NO_LAG: u64 = u64::MAX;

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const LEAVING: u8 = 2;

/// Whether requests are to be sent here.
#[derive(Debug)]
pub(super) struct Readiness {
    begin: Instant,
    state: AtomicU8,
    /// Milliseconds after `begin` when someone was refused last; 0 for never.
    refused_at: AtomicU64,
    /// How far behind another node the server may be.
    lag_max: AtomicU64,
    /// How far it is, as that told last.
    lag: AtomicU64,
    /// Milliseconds that may pass between two refreshes; 0 if there are none.
    refresh_max: AtomicU64,
    /// Milliseconds after `begin` when the database was read anew last.
    refreshed_at: AtomicU64,
    /// Whether the folder of the database is not where it was.
    displaced: AtomicBool,
    /// Whether the last write to the database failed.
    write_failing: AtomicBool,
}

/// Why no requests are to be sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unready {
    /// The database is being opened.
    Starting,
    /// The server stops.
    Leaving,
    /// Someone was refused just now, for want of a connection or of a place to read.
    Overloaded,
    /// The folder of the database was moved, removed or replaced.
    Displaced,
    /// Another process writes the database, and it could not be refreshed for some time.
    Stale,
    /// The database cannot be written.
    Unwritable,
    /// It follows another node, and is far behind, or has not heard of it yet.
    Behind,
}

impl Unready {
    /// As the body of an answer.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Starting => "Starting.\n",
            Self::Leaving => "Shutting down.\n",
            Self::Overloaded => "Overloaded.\n",
            Self::Displaced => {
                "The folder of the database was moved, removed or replaced: restart the server.\n"
            }
            Self::Stale => "The database could not be refreshed: its old state is served.\n",
            Self::Unwritable => "The database cannot be written.\n",
            Self::Behind => "Behind.\n",
        }
    }
}

impl Default for Readiness {
    fn default() -> Self {
        let begin = Instant::now();
        Self {
            begin,
            state: AtomicU8::new(STARTING),
            refused_at: AtomicU64::new(0),
            lag_max: AtomicU64::new(NO_LAG),
            lag: AtomicU64::new(NO_LAG),
            refresh_max: AtomicU64::new(0),
            refreshed_at: AtomicU64::new(0),
            displaced: AtomicBool::new(false),
            write_failing: AtomicBool::new(false),
        }
    }
}

impl Readiness {
    /// Requests are taken from now on.
    pub(super) fn serve(&self) {
        self.state.store(SERVING, Relaxed);
    }

    /// They are to go elsewhere from now on.
    pub(super) fn leave(&self) {
        self.state.store(LEAVING, Relaxed);
    }

    /// Someone is refused.
    pub(super) fn refuse(&self) {
        self.refused_at.store(self.now(), Relaxed);
    }

    /// Why no requests are to be sent here now, if so.
    pub(super) fn unready(&self) -> Option<Unready> {
        match self.state.load(Relaxed) {
            STARTING => Some(Unready::Starting),
            SERVING if self.is_displaced() => Some(Unready::Displaced),
            SERVING if self.is_overloaded(self.now()) => Some(Unready::Overloaded),
            SERVING if self.is_stale(self.now()) => Some(Unready::Stale),
            SERVING if self.is_write_failing() => Some(Unready::Unwritable),
            SERVING => self.is_behind(self.now()).then_some(Unready::Behind),
            _ => Some(Unready::Leaving),
        }
    }

    /// The database is read anew so often.
    pub(super) fn expect_refreshes(&self, interval: Duration) {
        let most = STALE_TIME.max(interval.saturating_mul(STALE_REFRESHES));
        self.refresh_max.store(u64::try_from(most.as_millis()).unwrap_or(u64::MAX), Relaxed);
        self.refreshed();
    }

    /// The database was read anew.
    pub(super) fn refreshed(&self) {
        self.refreshed_at.store(self.now(), Relaxed);
    }

    fn is_stale(&self, now: u64) -> bool {
        let most = self.refresh_max.load(Relaxed);
        most > 0 && now.saturating_sub(self.refreshed_at.load(Relaxed)) > most
    }

    /// Whether the folder of the database is not where it was; returns whether it was said before.
    pub(super) fn displace(&self, displaced: bool) -> bool {
        self.displaced.swap(displaced, Relaxed)
    }

    pub(super) fn is_displaced(&self) -> bool {
        self.displaced.load(Relaxed)
    }

    /// A write to the database failed. Returns whether the one before it did not.
    pub(super) fn fail_write(&self) -> bool {
        !self.write_failing.swap(true, Relaxed)
    }

    /// The database takes writes.
    pub(super) fn wrote(&self) {
        self.write_failing.store(false, Relaxed);
    }

    pub(super) fn is_write_failing(&self) -> bool {
        self.write_failing.load(Relaxed)
    }

    /// It is not to be further behind another node than this.
    pub(super) fn expect_lag(&self, lag_max: u64) {
        self.lag_max.store(lag_max.min(NO_LAG - 1), Relaxed);
    }

    /// It is so far behind.
    pub(super) fn lag(&self, lag: u64) {
        self.lag.store(lag.min(NO_LAG - 1), Relaxed);
    }

    fn is_behind(&self, now: u64) -> bool {
        match (self.lag_max.load(Relaxed), self.lag.load(Relaxed)) {
            (NO_LAG, _) => false,
            (_, NO_LAG) => u128::from(now) < CONTACT_TIME.as_millis(),
            (most, lag) => lag > most,
        }
    }

    fn is_overloaded(&self, now: u64) -> bool {
        let refused_at = self.refused_at.load(Relaxed);
        let passed = u128::from(now.saturating_sub(refused_at));
        refused_at > 0 && passed < RECOVERY_TIME.as_millis()
    }

    /// Milliseconds since the beginning, at least 1.
    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_is_ready_between_start_and_stop() {
        let readiness = Readiness::default();
        assert_eq!(readiness.unready(), Some(Unready::Starting));
        readiness.refuse();
        assert_eq!(readiness.unready(), Some(Unready::Starting));
        readiness.leave();
        assert_eq!(readiness.unready(), Some(Unready::Leaving));
    }

    #[test]
    fn server_whose_database_is_not_where_it_was_is_unready_until_it_is() {
        let readiness = Readiness::default();
        readiness.serve();
        assert!(!readiness.displace(true) && readiness.displace(true));
        assert_eq!(readiness.unready(), Some(Unready::Displaced));
        assert!(readiness.displace(false));
        assert_eq!(readiness.unready(), None);
    }

    #[test]
    fn server_that_cannot_read_its_database_anew_is_unready_after_a_while() {
        let readiness = Readiness::default();
        readiness.serve();
        readiness.expect_refreshes(Duration::from_secs(1));
        let at = readiness.refreshed_at.load(Relaxed);
        assert!(!readiness.is_stale(at + 30_000) && readiness.is_stale(at + 30_001));
        readiness.expect_refreshes(Duration::from_mins(1));
        let at = readiness.refreshed_at.load(Relaxed);
        assert!(!readiness.is_stale(at + 600_000) && readiness.is_stale(at + 600_001));
        assert_eq!(readiness.unready(), None);
    }

    #[test]
    fn server_that_follows_another_is_ready_once_it_is_near() {
        let readiness = Readiness::default();
        readiness.serve();
        readiness.expect_lag(10);
        assert_eq!(readiness.unready(), Some(Unready::Behind), "nothing is known yet");
        assert!(readiness.is_behind(29_999) && !readiness.is_behind(30_000), "nor for long");
        readiness.lag(11);
        assert_eq!(readiness.unready(), Some(Unready::Behind));
        assert!(readiness.is_behind(u64::MAX));
        readiness.lag(10);
        assert_eq!(readiness.unready(), None);
    }

    #[test]
    fn server_whose_writes_fail_is_unready_until_one_succeeds() {
        let readiness = Readiness::default();
        assert!(readiness.fail_write() && !readiness.fail_write(), "news only once");
        assert_eq!(readiness.unready(), Some(Unready::Starting));
        readiness.serve();
        assert_eq!(readiness.unready(), Some(Unready::Unwritable));
        readiness.wrote();
        assert_eq!(readiness.unready(), None);
        assert!(readiness.fail_write());
    }

    #[test]
    fn server_that_refused_someone_is_unready_for_a_while() {
        let readiness = Readiness::default();
        readiness.serve();
        assert_eq!(readiness.unready(), None);
        readiness.refuse();
        assert_eq!(readiness.unready(), Some(Unready::Overloaded));
        let refused_at = readiness.refused_at.load(Relaxed);
        assert!(readiness.is_overloaded(refused_at + 4_999));
        assert!(!readiness.is_overloaded(refused_at + 5_000));
    }
}
