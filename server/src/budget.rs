//! One budget of bytes for all responses in progress.
//!
//! A response takes memory until its client has read it: a body made whole takes its length, a stream a
//! fixed number of pieces, and a piece that is longer than usual its length. The sum has a limit, so that
//! clients that do not read cannot take all memory, however many they are and whatever they request.
//!
//! Long responses give way first. With the default of 256 MiB, a page of 188 kB is refused once 192 MiB
//! are in use, a payload of 2 MB once 126 MiB are, and a header of 400 bytes only at 256 MiB.
//!
//! Streams are made in pieces of 2 MiB while less than a quarter of the budget is in use: each piece takes a
//! turn of its own on a blocking thread, and thirty times as many turns make a page of blocks cost several times
//! as much. Beyond that quarter, pieces have 64 KiB, so that more clients have room. With the default, some 16
//! clients that do not read get two long pieces each, and all further ones two short ones.
//!
//! - `I-1` A charge is made before the bytes are handed to the connection, and is returned when the last
//!   of them has left memory: written to the socket, or dropped with the connection or the stream.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use crate::metrics::Metrics;

/// Bytes of a short piece of a stream, if a piece can end there. A response of up to twice as many bytes
/// is still short.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// Bytes charged for a stream as long as it lasts: a short piece that is sent, one that waits to be sent,
/// and one that is being read. Longer pieces are charged separately.
pub(crate) const STREAM_BYTES: usize = 3 * PIECE_BYTES;

/// Bytes of a response of medium length.
const MEDIUM_BYTES: usize = 512 << 10;

/// Bytes up to which a response is not charged: there are not more of these than connections and
/// streams.
pub(crate) const FREE_BYTES: usize = 1 << 10;

/// How long a stream waits before it asks for room again.
const RETRY_TIME: Duration = Duration::from_millis(10);

/// The budget. Cheap to clone; every clone is the same budget.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    metrics: Metrics,
    max: u64,
}

/// Bytes in use, until the charge is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    metrics: Metrics,
    bytes: u64,
}

impl Budget {
    /// A budget of `max` bytes, of which nothing is in use.
    pub(crate) const fn new(max: usize, metrics: Metrics) -> Self {
        Self { metrics, max: max as u64 }
    }

    /// Charges a response of this length, unless too much is in use now.
    pub(crate) fn take(&self, bytes: usize) -> Option<Charge> {
        let bytes = if bytes <= FREE_BYTES { 0 } else { bytes };
        let limit = self.limit(bytes);
        self.charge(bytes as u64, limit, limit / 2)
    }

    /// Charges `bytes` unless more than `limit` would then be in use. A piece longer than `need_max` needs only
    /// that much room: it has to be sent, too, when little is in use.
    fn charge(&self, bytes: u64, limit: u64, need_max: u64) -> Option<Charge> {
        let used = &self.metrics.counters().response_bytes;
        let fits = |used: u64| {
            let is_free = bytes == 0 || used.saturating_add(bytes.min(need_max)) <= limit;
            is_free.then(|| used.saturating_add(bytes))
        };
        used.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some(Charge { metrics: self.metrics.clone(), bytes })
    }

    /// Charges a long piece that could also be a short one, unless a quarter of the budget is in use.
    pub(crate) fn spare(&self, bytes: usize) -> Option<Charge> {
        self.charge(bytes as u64, self.max / 4, u64::MAX)
    }

    /// Charges a piece of a response that has begun. Waits for room as long as it takes: clients that do not
    /// read are cut off, and return their charges.
    ///
    /// Streams take at most three quarters of the budget, so the pieces that wait here at once never wait
    /// only for each other.
    pub(crate) async fn wait(&self, bytes: usize) -> Charge {
        loop {
            if let Some(charge) = self.charge(bytes as u64, self.max, self.max / 8) {
                return charge;
            }
            sleep(RETRY_TIME).await;
        }
    }

    /// Bytes in use up to which a response of this length is accepted.
    fn limit(&self, bytes: usize) -> u64 {
        let quarter = self.max / 4;
        if bytes <= 2 * PIECE_BYTES {
            self.max
        } else if bytes <= MEDIUM_BYTES {
            self.max.saturating_sub(quarter)
        } else {
            self.max / 2
        }
    }
}

impl Charge {
    /// The bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    /// Returns the charge for everything beyond `bytes`.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let beyond = self.bytes.saturating_sub(bytes as u64);
        self.bytes = self.bytes.saturating_sub(beyond);
        self.metrics.counters().response_bytes.fetch_sub(beyond, Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.metrics.counters().response_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

/// Bytes that return their charge when the last part of them is dropped.
pub(crate) fn charged(bytes: impl AsRef<[u8]> + Send + 'static, charge: Arc<Charge>) -> Bytes {
    Bytes::from_owner(Charged { bytes, _charge: charge })
}

struct Charged<B> {
    bytes: B,
    _charge: Arc<Charge>,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Charged<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(max: usize) -> Budget {
        Budget::new(max, Metrics::new())
    }

    fn used(budget: &Budget) -> u64 {
        budget.metrics.counters().response_bytes.load(Relaxed)
    }

    #[test]
    fn long_responses_are_refused_first_and_the_shortest_never() {
        let budget = budget(1 << 20);
        let half = budget.take(512 << 10).unwrap();
        assert!(budget.take(600 << 10).is_none(), "a long one");
        let quarter = budget.take(256 << 10).unwrap();
        assert!(budget.take(129 << 10).is_none(), "one of medium length");
        let short: Vec<_> = (0..4).map(|_| budget.take(PIECE_BYTES).unwrap()).collect();
        assert!(budget.take(FREE_BYTES + 1).is_none());
        assert!(budget.take(FREE_BYTES).is_some());
        assert_eq!(used(&budget), 1 << 20);
        drop((half, quarter, short));
        assert_eq!(used(&budget), 0);
    }

    #[test]
    fn response_that_is_longer_than_the_budget_is_served_alone() {
        let budget = budget(1 << 20);
        let long = budget.take(5 << 20).unwrap();
        assert!(budget.take(2 << 20).is_none());
        assert!(budget.take(2 << 10).is_none());
        drop(long);
        assert!(budget.take(2 << 20).is_some());
    }

    #[test]
    fn charge_is_returned_with_the_last_part_of_the_bytes() {
        let budget = budget(1 << 20);
        let charge = Arc::new(budget.take(100_000).unwrap());
        let mut bytes = charged(vec![7; 100_000], charge);
        let tail = bytes.split_off(99_999);
        drop(bytes);
        assert_eq!((used(&budget), &tail[..]), (100_000, &[7][..]));
        drop(tail);
        assert_eq!(used(&budget), 0);
    }

    #[test]
    fn long_pieces_are_charged_up_to_a_quarter_and_return_what_they_do_not_use() {
        let budget = budget(1 << 20);
        let mut first = budget.spare(200 << 10).unwrap();
        assert!(budget.spare(57 << 10).is_none());
        first.shrink(300 << 10);
        assert_eq!(first.bytes(), 200 << 10);
        first.shrink(100 << 10);
        assert_eq!((first.bytes(), used(&budget)), (100 << 10, 100 << 10));
        assert!(budget.spare(156 << 10).is_some());
        drop(first);
        assert_eq!(used(&budget), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_leave_room_for_their_longest_pieces() {
        let budget = budget(1 << 20);
        let streams: Vec<_> = std::iter::from_fn(|| budget.take(STREAM_BYTES)).collect();
        assert_eq!(streams.len(), 4);
        // Longer than the whole budget: one at a time.
        let first = budget.wait(3 << 20).await;
        let second = tokio::spawn({
            let budget = budget.clone();
            async move { budget.wait(3 << 20).await.bytes }
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!second.is_finished());
        drop(first);
        assert_eq!(second.await.unwrap(), 3 << 20);
    }

    #[tokio::test(start_paused = true)]
    async fn piece_waits_until_there_is_room() {
        let budget = budget(1 << 20);
        let all: Vec<_> = (0..16).map(|_| budget.take(PIECE_BYTES).unwrap()).collect();
        let waits = tokio::spawn({
            let budget = budget.clone();
            async move { budget.wait(PIECE_BYTES).await.bytes }
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!waits.is_finished());
        drop(all);
        assert_eq!(waits.await.unwrap(), 65_536);
    }
}
