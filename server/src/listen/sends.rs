//! Response bytes that a connection has, and has not yet sent to the client.
//!
//! hyper and h2 take a part of a response from its body at once, and keep it until the socket and the client's
//! windows have room for all of it. So each part records how much of it is left, and when it is dropped. That
//! bounds what an HTTP/2 stream holds, and shows which streams do not move:
//!
//! ```text
//! t = 0 s   a part of 64 KiB is given,           since = 0      (and one more at most)
//! t = 3 s   16 KiB of it are written,            since = 3
//! t = 40 s  only some bytes more were written    37 s > stallTime: the stream is reset
//! ```
//!
//! A client that opens its window byte by byte does not read 16 KiB in time, either.
//!
//! There are three ways to reset a stream, depending on where it waits. If the body waits until a part of
//! it is sent, it fails, and hyper resets the stream, which drops h2's data of it. If hyper waits for a
//! window of 0, h2 has no data, and ending the task resets the stream. If h2 has the last part, and hyper has
//! ended the stream, only closing the connection helps. That is why a long response ends for hyper only when
//! all of it was sent.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};

use super::activity::Activity;
use super::streams::StreamTask;
use crate::budget::Charge;
use crate::response::Cut;

/// Bytes of a short response over HTTP/2. It fits into the initial window of most streams, so it waits for
/// no client, and ends for hyper as soon as it is handed over.
pub(super) const SHORT_BYTES: usize = (64 << 10) - 1;

/// A client that takes less than this in `stallTime` stalls. It is the length of a frame of HTTP/2.
const STALL_BYTES: usize = 16 << 10;

/// Attempts to end a stream before its connection is closed.
const ASKED_MAX: usize = 3;

/// A part of a response, in flight until it is dropped.
#[derive(Debug)]
pub(super) struct Part {
    bytes: Bytes,
    /// Set for a stream of HTTP/2.
    under_way: Option<UnderWay>,
    /// Returned with the last part that holds it.
    _charge: Option<Arc<Charge>>,
}

impl Part {
    /// Makes a part that is not watched.
    pub(super) const fn new(bytes: Bytes, charge: Option<Arc<Charge>>) -> Self {
        Self { bytes, under_way: None, _charge: charge }
    }
}

impl Buf for Part {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(under_way) = &self.under_way {
            under_way.0.write(count);
        }
    }
}

#[derive(Debug)]
struct UnderWay(Arc<Sends>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// The parts in flight of one HTTP/2 stream.
#[derive(Debug)]
pub(super) struct Sends {
    activity: Arc<Activity>,
    task: Option<Arc<StreamTask>>,
    /// Since when the client has read too little; 0 if nothing is in flight.
    since: AtomicU64,
    /// Bytes written since then.
    written: AtomicUsize,
    /// Attempts to end the stream so far.
    asked: AtomicUsize,
    is_cut: AtomicBool,
    waits: Mutex<Waits>,
}

#[derive(Debug, Default)]
struct Waits {
    parts: usize,
    /// Wakes the body that waits until fewer are in flight.
    waker: Option<Waker>,
}

impl Sends {
    /// A stream with nothing in flight; it is the one that the current task answers.
    pub(super) fn new(activity: &Arc<Activity>) -> Arc<Self> {
        let sends = Arc::new(Self {
            activity: Arc::clone(activity),
            task: StreamTask::current(),
            since: AtomicU64::new(0),
            written: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            is_cut: AtomicBool::new(false),
            waits: Mutex::default(),
        });
        activity.watch_sends(&sends);
        sends
    }

    /// Since when the client has read too little of the parts in flight.
    pub(super) fn since(&self) -> Option<u64> {
        Some(self.since.load(Relaxed)).filter(|since| *since > 0)
    }

    /// Whether the stream was reset because of that.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Relaxed)
    }

    /// Resets the stream; returns false if only closing the connection can end it.
    pub(super) fn cut(&self) -> bool {
        self.is_cut.store(true, Relaxed);
        let has_ended = self.task.as_ref().is_none_or(|task| task.has_ended());
        if has_ended || self.asked.fetch_add(1, Relaxed) >= ASKED_MAX {
            return false;
        }
        match (self.waits().waker.take(), &self.task) {
            (Some(body), _) => body.wake(),
            (None, Some(task)) => task.cut(),
            (None, None) => {}
        }
        true
    }

    /// Makes a part that is in flight until it is dropped.
    pub(super) fn give(self: &Arc<Self>, bytes: Bytes, charge: Option<Arc<Charge>>) -> Part {
        let mut waits = self.waits();
        waits.parts = waits.parts.saturating_add(1);
        self.written.store(0, Relaxed);
        self.since.store(self.activity.now(), Relaxed);
        Part { bytes, under_way: Some(UnderWay(Arc::clone(self))), _charge: charge }
    }

    /// Waits until at most `parts_max` parts are in flight.
    ///
    /// # Errors
    ///
    /// [`Cut::Stalled`] if that takes too long.
    pub(super) fn poll_sent(
        &self,
        cx: &mut Context<'_>,
        parts_max: usize,
    ) -> Poll<Result<(), Cut>> {
        let mut waits = self.waits();
        if self.is_cut() {
            return Poll::Ready(Err(Cut::Stalled));
        }
        if waits.parts <= parts_max {
            return Poll::Ready(Ok(()));
        }
        waits.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn write(&self, bytes: usize) {
        let written = self.written.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if written >= STALL_BYTES {
            self.written.store(0, Relaxed);
            self.since.store(self.activity.now(), Relaxed);
        }
    }

    fn finish(&self) {
        let waker = {
            let mut waits = self.waits();
            waits.parts = waits.parts.saturating_sub(1);
            let since = if waits.parts > 0 { self.activity.now() } else { 0 };
            self.since.store(since, Relaxed);
            waits.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Nothing that holds this lock panics.
    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test]
    async fn a_body_is_woken_when_its_part_is_sent() {
        let sends = Sends::new(&Activity::new());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(sends.poll_sent(&mut cx, 0).is_ready() && sends.since().is_none());
        let mut part = sends.give(Bytes::from_static(b"part"), None);
        let sent = tokio::spawn({
            let sends = Arc::clone(&sends);
            async move { std::future::poll_fn(|cx| sends.poll_sent(cx, 0)).await }
        });
        tokio::task::yield_now().await;
        assert!(!sent.is_finished() && sends.since().is_some());
        part.advance(3);
        assert_eq!(part.chunk(), b"t");
        drop(part);
        assert_eq!(sent.await.unwrap(), Ok(()));
        assert!(sends.since().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_bytes_are_progress() {
        let sends = Sends::new(&Activity::new());
        let mut part = sends.give(Bytes::from(vec![0; SHORT_BYTES]), None);
        let since = sends.since();
        advance(Duration::from_secs(1)).await;
        part.advance(STALL_BYTES - 1);
        assert_eq!(sends.since(), since);
        part.advance(1);
        assert_ne!(sends.since(), since);
        // Without a task, only the connection can be closed.
        assert!(!sends.cut() && sends.is_cut());
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(sends.poll_sent(&mut cx, 0), Poll::Ready(Err(Cut::Stalled)));
    }
}
