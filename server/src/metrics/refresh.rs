use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::text::{Kind, Text};

/// The result of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// There was new data, and the refresh took this long.
    Done(Duration),
    /// There was no new data.
    Unchanged,
    /// It failed, and the old state is still served.
    Failed,
}

/// A database that another process writes.
#[derive(Debug, Default)]
pub(super) struct Refresh {
    is_on: AtomicBool,
    done: AtomicU64,
    unchanged: AtomicU64,
    failed: AtomicU64,
    last_micros: AtomicU64,
    last_success: AtomicU64,
}

impl Refresh {
    pub(super) fn switch_on(&self) {
        self.is_on.store(true, Relaxed);
    }

    pub(super) fn add(&self, outcome: Refreshed) {
        let count = match outcome {
            Refreshed::Done(took) => {
                let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                self.last_micros.store(micros, Relaxed);
                &self.done
            }
            Refreshed::Unchanged => &self.unchanged,
            Refreshed::Failed => &self.failed,
        };
        count.fetch_add(1, Relaxed);
        if outcome != Refreshed::Failed {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.last_success.store(now.as_secs(), Relaxed);
        }
    }

    pub(super) fn write(&self, text: &mut Text) {
        if !self.is_on.load(Relaxed) {
            return;
        }
        let name = "plait_refreshes_total";
        text.family(
            name,
            Kind::Counter,
            "Refreshes of a database that another process writes, by outcome.",
        );
        for (outcome, count) in
            [("done", &self.done), ("unchanged", &self.unchanged), ("failed", &self.failed)]
        {
            text.sample(name, &[("outcome", outcome)], count.load(Relaxed));
        }
        let took = Duration::from_micros(self.last_micros.load(Relaxed)).as_secs_f64();
        let help = "Duration of the last refresh that found new data.";
        text.gauge("plait_refresh_last_duration_seconds", help, took);
        let help = "Unix time of the last successful refresh; 0 for never.";
        let last = self.last_success.load(Relaxed);
        text.gauge("plait_refresh_last_success_timestamp_seconds", help, last);
    }
}
