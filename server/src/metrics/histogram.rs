use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper ends of the buckets, in microseconds.
const MICROS: [u64; 15] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 250_000, 1_000_000, 2_500_000,
    10_000_000, 60_000_000,
];

/// How long something takes.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// What is in a bucket and not in those below it.
    buckets: [AtomicU64; MICROS.len()],
    longer: AtomicU64,
    nanos: AtomicU64,
}

/// A [`Histogram`] as it is scraped.
#[derive(Debug, PartialEq)]
pub(super) struct Scraped {
    /// Upper ends in seconds, each with the number of what is below it.
    pub(super) buckets: Vec<(f64, u64)>,
    /// The number of all.
    pub(super) count: u64,
    /// Their sum, in seconds.
    pub(super) sum: f64,
}

impl Histogram {
    /// Something took so long.
    pub(super) fn add(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let at = MICROS.iter().position(|micros| nanos <= micros.saturating_mul(1_000));
        at.and_then(|at| self.buckets.get(at)).unwrap_or(&self.longer).fetch_add(1, Relaxed);
        self.nanos.fetch_add(nanos, Relaxed);
    }

    /// What it has now.
    pub(super) fn scrape(&self) -> Scraped {
        let mut count = 0_u64;
        let mut bucket = |(micros, bucket): (&u64, &AtomicU64)| {
            count = bucket.load(Relaxed).saturating_add(count);
            (Duration::from_micros(*micros).as_secs_f64(), count)
        };
        let buckets = MICROS.iter().zip(&self.buckets).map(&mut bucket).collect();
        count = self.longer.load(Relaxed).saturating_add(count);
        let sum = Duration::from_nanos(self.nanos.load(Relaxed)).as_secs_f64();
        Scraped { buckets, count, sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_all_that_is_below_their_end() {
        let histogram = Histogram::default();
        for micros in [50, 51, 3_000, 61_000_000] {
            histogram.add(Duration::from_micros(micros));
        }
        let Scraped { buckets, count, sum } = histogram.scrape();
        assert_eq!(count, 4);
        assert_eq!(buckets[..2], [(0.00005, 1), (0.0001, 2)]);
        assert_eq!(buckets.last(), Some(&(60.0, 3)));
        assert!((sum - 61.003_101).abs() < 1e-6);
    }
}
