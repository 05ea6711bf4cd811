use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use http::Version;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

use super::sends::Sends;
use crate::config::Config;

/// Bytes of the longest frame by which HTTP/2 merely keeps a connection alive, a ping.
const PING_BYTES: usize = 17;

/// How long a connection that is shut down waits for the client to send more or to close it, too.
/// Closing at once would answer what still comes, be it the rest of a body or an HTTP/2 window
/// update, with a reset, and that throws away what the client has not read.
const LINGER_TIME: Duration = Duration::from_secs(5);

/// How long it waits at most, whatever the client sends.
const LINGER_TIME_MAX: Duration = Duration::from_secs(30);

/// A connection on which nothing happened for so long has nothing on its way.
const CALM_TIME: Duration = Duration::from_secs(1);

/// What happened on one connection, and when: the socket and the requests write it, a timer reads
/// it.
///
/// hyper has no timeout while it waits for the first byte, none for writing, and one for reading
/// heads that it takes for the idle time as well; so all of them are kept here.
#[derive(Debug)]
pub(super) struct Activity {
    begin: Instant,
    /// Requests whose head is read, and those of them that are answered to the end.
    begun: AtomicU64,
    ended: AtomicU64,
    /// Requests for which the client waits, not the server; those for events do not count.
    awaited: AtomicU64,
    /// Of every request for events: when the client was given one that it has not made room behind
    /// since, 0 while it is the server that has none.
    listening: Mutex<Vec<Arc<AtomicU64>>>,
    /// Parts in flight of all other requests over HTTP/2.
    sends: Mutex<Vec<Weak<Sends>>>,
    /// Milliseconds after `begin`: when the last request or write was over, when the first byte
    /// of a head came (0 for no), when the last bytes came, since when the socket takes no more
    /// bytes (0 for no), when it was shut down (0 for no).
    quiet_since: AtomicU64,
    last_read: AtomicU64,
    head_since: AtomicU64,
    blocked_since: AtomicU64,
    closed_at: AtomicU64,
    http2: AtomicBool,
    /// HTTP/1.1 frames its bodies: a body that ends with the connection is seen to be cut. Before
    /// that a cut body looks whole, and clients of HTTP/2 are known to take it for whole, too.
    http11: AtomicBool,
    /// The server stops: the connection ends as soon as nothing is in flight on it.
    draining: AtomicBool,
    /// An answer has left some of its request unread, so that more of it may come.
    unread: AtomicBool,
    /// Breaking the connection is the only way to tell the client that the answer is cut.
    must_reset: AtomicBool,
    /// Why it is to be dropped.
    reason: OnceLock<&'static str>,
    told: Notify,
}

impl Activity {
    /// A connection that begins now.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            begin: Instant::now(),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            awaited: AtomicU64::new(0),
            listening: Mutex::new(Vec::new()),
            sends: Mutex::new(Vec::new()),
            quiet_since: AtomicU64::new(0),
            last_read: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            blocked_since: AtomicU64::new(0),
            closed_at: AtomicU64::new(0),
            http2: AtomicBool::new(false),
            http11: AtomicBool::new(true),
            draining: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            must_reset: AtomicBool::new(false),
            reason: OnceLock::new(),
            told: Notify::new(),
        })
    }

    /// Milliseconds since the connection began, at least 1: 0 stands for never.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// Whether a request is not answered to its end.
    pub(super) fn is_answering(&self) -> bool {
        self.begun.load(Relaxed) > self.ended.load(Relaxed)
    }

    /// Whether the connection is one of HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    /// Bytes came in.
    pub(super) fn read(&self) {
        let now = self.now();
        self.last_read.store(now, Relaxed);
        if !self.is_answering() {
            let _ = self.head_since.compare_exchange(0, now, Relaxed, Relaxed);
        }
    }

    /// Bytes went out.
    pub(super) fn wrote(&self, bytes: usize) {
        self.blocked_since.store(0, Relaxed);
        if bytes > PING_BYTES || !self.http2.load(Relaxed) {
            self.quiet_since.store(self.now(), Relaxed);
        }
    }

    /// The socket takes no bytes for now.
    pub(super) fn block(&self) {
        let _ = self.blocked_since.compare_exchange(0, self.now(), Relaxed, Relaxed);
    }

    /// The server stops.
    pub(super) fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// The socket was shut down for writing. Returns whether something may be on its way.
    ///
    /// A server that stops does not wait for clients of HTTP/1.x that keep their connection open for
    /// a next request: whoever has sent a whole request sends nothing more before it has read the
    /// answer. A client of HTTP/2 does, window updates for one, while it reads.
    pub(super) fn close(&self) -> bool {
        let now = self.now();
        self.closed_at.store(now, Relaxed);
        let is_whole = !self.http2.load(Relaxed) && !self.unread.load(Relaxed);
        if self.draining.load(Relaxed) && is_whole {
            return false;
        }
        let last = self.last_read.load(Relaxed).max(self.quiet_since.load(Relaxed));
        last > 0 && !over(last, now, CALM_TIME)
    }

    /// The connection is given up: an answer under way must not look whole.
    pub(super) fn abandon(&self) {
        if self.is_answering() && !self.http11.load(Relaxed) {
            self.must_reset.store(true, Relaxed);
        }
    }

    /// The connection is to be dropped, for this reason.
    pub(super) fn drop_for(&self, reason: &'static str) {
        // The first one counts.
        let _ = self.reason.set(reason);
        self.told.notify_one();
    }

    /// Waits until the connection is to be dropped, and says why.
    pub(super) async fn dropped(&self) -> &'static str {
        self.told.notified().await;
        self.reason.get().copied().unwrap_or_default()
    }

    /// Whether to reset the connection rather than to close it.
    pub(super) fn must_reset(&self) -> bool {
        self.must_reset.load(Relaxed)
    }

    /// Why the connection is to be dropped, if it is.
    pub(super) fn overdue(&self, config: &Config) -> Option<&'static str> {
        let now = self.now();
        let over = |since, limit| over(since, now, limit);
        let closed_at = self.closed_at.load(Relaxed);
        let head_since = self.head_since.load(Relaxed);
        let quiet_since = self.quiet_since.load(Relaxed);
        if closed_at > 0 {
            let last_read = self.last_read.load(Relaxed).max(closed_at);
            let draining = self.draining.load(Relaxed);
            let linger_time = if draining { CALM_TIME } else { LINGER_TIME };
            let is_over = over(last_read, linger_time) || over(closed_at, LINGER_TIME_MAX);
            return is_over.then_some("the client does not close");
        }
        if self.cut_stalled(|since| over(since, config.stall_time)) {
            return Some("the client does not read its response");
        }
        let blocked_since = self.blocked_since.load(Relaxed);
        if blocked_since > 0 || self.is_answering() {
            let is_blocked = blocked_since > 0 && over(blocked_since, config.stall_time);
            let stalled = is_blocked || self.is_stalled(|since| over(since, config.stall_time));
            return stalled.then_some("the client does not read its response");
        }
        // A server that stops waits for the rest of a head only as long as it takes to arrive.
        let is_draining = self.draining.load(Relaxed);
        let head_time =
            if is_draining { config.head_time.min(CALM_TIME) } else { config.head_time };
        if self.begun.load(Relaxed) == 0 {
            return over(0, head_time).then_some("no request came");
        }
        if head_since > 0 && !self.http2.load(Relaxed) && over(head_since, head_time) {
            return Some("the head of a request came too slowly");
        }
        over(quiet_since, config.idle_time).then_some("idle")
    }
}

impl Activity {
    /// Whether an answer is ready that the client does not take, though its socket may.
    ///
    /// While a request for events waits for one, nothing is: that says nothing of the others.
    fn is_stalled(&self, over: impl Fn(u64) -> bool) -> bool {
        let listening = self.listening();
        let given = |since: &Arc<AtomicU64>| Some(since.load(Relaxed)).filter(|since| *since > 0);
        let open = self.begun.load(Relaxed).saturating_sub(self.ended.load(Relaxed));
        // HTTP/2 streams with parts in flight are watched one by one.
        let others =
            open > listening.len() as u64 && self.awaited.load(Relaxed) == 0 && !self.is_sending();
        listening.iter().filter_map(given).any(&over)
            || (others && over(self.quiet_since.load(Relaxed)))
    }

    /// Watches a stream for parts that are not sent in time.
    pub(super) fn watch_sends(&self, sends: &Arc<Sends>) {
        self.sends.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(sends));
    }

    /// Resets HTTP/2 streams that do not move. Returns whether one of them cannot be reset.
    fn cut_stalled(&self, over: impl Fn(u64) -> bool) -> bool {
        let mut must_close = false;
        self.sends.lock().unwrap_or_else(PoisonError::into_inner).retain(|sends| {
            let Some(sends) = sends.upgrade() else { return false };
            if sends.since().is_some_and(&over) {
                must_close |= !sends.cut();
            }
            true
        });
        must_close
    }

    /// Whether an HTTP/2 stream has a part in flight.
    fn is_sending(&self) -> bool {
        let sends = self.sends.lock().unwrap_or_else(PoisonError::into_inner);
        sends.iter().filter_map(Weak::upgrade).any(|sends| sends.since().is_some())
    }

    /// Nothing that holds this lock panics.
    fn listening(&self) -> MutexGuard<'_, Vec<Arc<AtomicU64>>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether more than `limit` passed between these milliseconds.
fn over(since: u64, now: u64, limit: Duration) -> bool {
    u128::from(now.saturating_sub(since)) > limit.as_millis()
}

/// One request, from its head to the end of its answer.
#[derive(Debug)]
pub(super) struct Turn {
    activity: Arc<Activity>,
    version: Version,
    awaited: bool,
    /// Its place in `listening`, if it is for events.
    given_since: Option<Arc<AtomicU64>>,
    /// Its slot among the requests of its connection.
    slot: Option<OwnedSemaphorePermit>,
    /// Its place among the streams of all connections, over HTTP/2.
    stream: Option<Arc<OwnedSemaphorePermit>>,
}

impl Turn {
    /// The head of a request is read.
    pub(super) fn begin(activity: &Arc<Activity>, version: Version) -> Self {
        activity.begun.fetch_add(1, Relaxed);
        activity.awaited.fetch_add(1, Relaxed);
        activity.head_since.store(0, Relaxed);
        activity.http2.store(version == Version::HTTP_2, Relaxed);
        activity.http11.store(version == Version::HTTP_11, Relaxed);
        Self {
            activity: Arc::clone(activity),
            version,
            awaited: true,
            given_since: None,
            slot: None,
            stream: None,
        }
    }

    /// Keeps the place of the request among the streams of all connections until it has ended.
    pub(super) fn keep_stream(&mut self, permit: Arc<OwnedSemaphorePermit>) {
        self.stream = Some(permit);
    }

    /// Keeps the slot of the request until it has ended.
    pub(super) fn keep(&mut self, slot: OwnedSemaphorePermit) {
        self.slot = Some(slot);
    }

    /// Its answer leaves some of it unread.
    pub(super) fn leave_unread(&self) {
        self.activity.unread.store(true, Relaxed);
    }

    /// It is for events, of which the first is to come.
    pub(super) fn listen(&mut self) {
        self.await_server(false);
        let since = self.given_since.insert(Arc::new(AtomicU64::new(self.activity.now())));
        self.activity.listening().push(Arc::clone(since));
    }

    /// The answer was cut in a way that looks like its end: the connection has to break.
    pub(super) fn break_off(&self) {
        self.activity.must_reset.store(true, Relaxed);
    }

    /// The version of HTTP.
    pub(super) const fn version(&self) -> Version {
        self.version
    }

    /// Watches the parts in flight of its answer, over HTTP/2. None are in flight yet.
    pub(super) fn sends(&self) -> Option<Arc<Sends>> {
        (self.version == Version::HTTP_2).then(|| Sends::new(&self.activity))
    }

    /// Says whether the client waits for the server now, or the other way round.
    pub(super) fn await_server(&mut self, awaited: bool) {
        if let Some(since) = &self.given_since {
            since.store(if awaited { 0 } else { self.activity.now() }, Relaxed);
            return;
        }
        if awaited == self.awaited {
            return;
        }
        self.awaited = awaited;
        if awaited {
            self.activity.awaited.fetch_add(1, Relaxed);
        } else {
            self.activity.quiet_since.store(self.activity.now(), Relaxed);
            self.activity.awaited.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        match self.given_since.take() {
            Some(since) => self.activity.listening().retain(|other| !Arc::ptr_eq(other, &since)),
            None => self.await_server(false),
        }
        self.activity.quiet_since.store(self.activity.now(), Relaxed);
        self.activity.ended.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use tokio::time::advance;

    use super::super::record::Record;
    use super::super::tracked::Tracked;
    use super::*;
    use crate::response::{Body, Cut, EventSource};

    const SECOND: Duration = Duration::from_secs(1);

    fn config() -> Config {
        Config {
            head_time: 10 * SECOND,
            idle_time: 75 * SECOND,
            stall_time: 30 * SECOND,
            ..Config::default()
        }
    }

    fn answer(turn: Turn) -> Tracked {
        let body = Bytes::from_static(b"body").into();
        Tracked::new(body, turn, Record::of_test(), None)
    }

    #[tokio::test(start_paused = true)]
    async fn connection_without_a_request_is_dropped_after_the_head_time() {
        let activity = Activity::new();
        advance(10 * SECOND).await;
        activity.read();
        assert_eq!(activity.overdue(&config()), None);
        advance(SECOND).await;
        assert_eq!(activity.overdue(&config()), Some("no request came"));
    }

    #[tokio::test(start_paused = true)]
    async fn server_that_stops_does_not_wait_for_a_head_that_was_sent_in_part() {
        for requests in 0..2 {
            let activity = Activity::new();
            (0..requests).for_each(|_| drop(answer(Turn::begin(&activity, Version::HTTP_11))));
            advance(2 * SECOND).await;
            activity.read();
            assert_eq!(activity.overdue(&config()), None);
            activity.drain();
            advance(CALM_TIME + Duration::from_millis(2)).await;
            assert!(activity.overdue(&config()).is_some(), "{requests} requests before");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connection_between_requests_is_dropped_after_the_idle_time() {
        let activity = Activity::new();
        drop(answer(Turn::begin(&activity, Version::HTTP_11)));
        advance(75 * SECOND).await;
        assert_eq!(activity.overdue(&config()), None);
        advance(SECOND).await;
        assert_eq!(activity.overdue(&config()), Some("idle"));
    }

    #[tokio::test(start_paused = true)]
    async fn server_that_stops_waits_only_for_clients_that_may_be_sending() {
        let used = |version: Version| {
            let activity = Activity::new();
            let turn = Turn::begin(&activity, version);
            activity.read();
            (activity, turn)
        };
        let (serving, turn) = used(Version::HTTP_11);
        drop(answer(turn));
        assert!(serving.close(), "it may send the rest of a body that was refused");
        let (idle, turn) = used(Version::HTTP_11);
        drop(answer(turn));
        idle.drain();
        assert!(!idle.close());
        let (unread, turn) = used(Version::HTTP_11);
        turn.leave_unread();
        drop(answer(turn));
        unread.drain();
        assert!(unread.close());
        let (two, turn) = used(Version::HTTP_2);
        drop(answer(turn));
        two.drain();
        assert!(two.close(), "it may tell how much it has read");
        assert_eq!(two.overdue(&config()), None);
        advance(CALM_TIME + Duration::from_millis(2)).await;
        assert_eq!(two.overdue(&config()), Some("the client does not close"));
        assert_eq!(serving.overdue(&config()), None, "nothing is stopping");
    }

    #[tokio::test(start_paused = true)]
    async fn second_head_has_the_head_time_from_its_first_byte() {
        let activity = Activity::new();
        drop(answer(Turn::begin(&activity, Version::HTTP_11)));
        advance(60 * SECOND).await;
        activity.read();
        advance(10 * SECOND).await;
        activity.read();
        assert_eq!(activity.overdue(&config()), None);
        advance(SECOND).await;
        assert_eq!(activity.overdue(&config()), Some("the head of a request came too slowly"));
    }

    #[tokio::test(start_paused = true)]
    async fn client_is_not_blamed_while_it_waits_for_the_server() {
        let activity = Activity::new();
        let turn = Turn::begin(&activity, Version::HTTP_11);
        advance(1000 * SECOND).await;
        assert_eq!(activity.overdue(&config()), None);
        let answer = answer(turn);
        advance(30 * SECOND).await;
        assert_eq!(activity.overdue(&config()), None);
        activity.wrote(1);
        advance(31 * SECOND).await;
        assert_eq!(activity.overdue(&config()), Some("the client does not read its response"));
        drop(answer);
        assert_eq!(activity.overdue(&config()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_does_not_take_the_end_of_an_answer_is_dropped() {
        let activity = Activity::new();
        drop(answer(Turn::begin(&activity, Version::HTTP_11)));
        activity.block();
        advance(31 * SECOND).await;
        assert_eq!(activity.overdue(&config()), Some("the client does not read its response"));
    }

    #[tokio::test]
    async fn connection_is_reset_where_a_cut_answer_would_look_whole() {
        for (version, reset) in
            [(Version::HTTP_10, true), (Version::HTTP_11, false), (Version::HTTP_2, true)]
        {
            let activity = Activity::new();
            let answer = answer(Turn::begin(&activity, version));
            activity.abandon();
            assert_eq!(activity.must_reset(), reset, "{version:?}");
            drop(answer);
        }
        let activity = Activity::new();
        drop(answer(Turn::begin(&activity, Version::HTTP_10)));
        activity.abandon();
        assert!(!activity.must_reset());
    }

    /// Events that come when there is one, which is when this says so.
    struct Tap(Arc<AtomicBool>);

    impl EventSource for Tap {
        fn poll_event(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
            if self.0.swap(false, Relaxed) {
                return Poll::Ready(Some(Ok(Bytes::from_static(b":\n"))));
            }
            Poll::Pending
        }
    }

    fn listening(activity: &Arc<Activity>) -> (Tracked, Arc<AtomicBool>) {
        let tap = Arc::new(AtomicBool::new(false));
        let body = Body::Events(Box::new(Tap(Arc::clone(&tap))));
        let turn = Turn::begin(activity, Version::HTTP_2);
        (Tracked::new(body, turn, Record::of_test(), None), tap)
    }

    fn poll(body: &mut Tracked) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        http_body::Body::poll_frame(Pin::new(body), &mut cx).is_ready()
    }

    const STALLED: Option<&str> = Some("the client does not read its response");

    #[tokio::test(start_paused = true)]
    async fn event_stream_may_wait_for_ever_but_not_for_its_client() {
        let activity = Activity::new();
        let (mut events, tap) = listening(&activity);
        for _ in 0..3 {
            assert!(!poll(&mut events));
            advance(1000 * SECOND).await;
            assert_eq!(activity.overdue(&config()), None);
            tap.store(true, Relaxed);
            assert!(poll(&mut events));
            advance(30 * SECOND).await;
            assert_eq!(activity.overdue(&config()), None);
        }
        advance(SECOND).await;
        assert_eq!(activity.overdue(&config()), STALLED, "it makes no room for the next");
        drop(events);
        assert_eq!(activity.overdue(&config()), None);
        advance(76 * SECOND).await;
        assert_eq!(activity.overdue(&config()), Some("idle"));
    }

    #[tokio::test(start_paused = true)]
    async fn socket_that_takes_nothing_is_noticed_though_no_event_is_ready() {
        let activity = Activity::new();
        let (mut events, _tap) = listening(&activity);
        assert!(!poll(&mut events));
        advance(100 * SECOND).await;
        activity.block();
        advance(20 * SECOND).await;
        activity.block();
        assert_eq!(activity.overdue(&config()), None, "it has blocked only now");
        advance(11 * SECOND).await;
        assert_eq!(activity.overdue(&config()), STALLED);
        activity.wrote(1);
        assert_eq!(activity.overdue(&config()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_event_stream_says_nothing_of_other_answers_on_its_connection() {
        let activity = Activity::new();
        let (mut idle, _tap) = listening(&activity);
        assert!(!poll(&mut idle));
        let turn = Turn::begin(&activity, Version::HTTP_2);
        advance(100 * SECOND).await;
        assert_eq!(activity.overdue(&config()), None, "the server takes its time");
        let stalled = answer(turn);
        advance(31 * SECOND).await;
        assert_eq!(activity.overdue(&config()), STALLED);
        drop(stalled);
        assert_eq!(activity.overdue(&config()), None);
        // Nor does one that gets events of one that takes none.
        let (mut other, tap) = listening(&activity);
        tap.store(true, Relaxed);
        assert!(poll(&mut other));
        for _ in 0..4 {
            advance(8 * SECOND).await;
            activity.wrote(1000);
            assert!(!poll(&mut idle));
        }
        assert_eq!(activity.overdue(&config()), STALLED);
    }

    #[tokio::test(start_paused = true)]
    async fn pings_do_not_keep_a_connection() {
        let activity = Activity::new();
        drop(answer(Turn::begin(&activity, Version::HTTP_2)));
        for _ in 0..8 {
            advance(10 * SECOND).await;
            activity.read();
            activity.wrote(PING_BYTES);
        }
        assert_eq!(activity.overdue(&config()), Some("idle"));
    }

    #[tokio::test(start_paused = true)]
    async fn closed_connection_lingers_only_so_long() {
        let activity = Activity::new();
        assert!(!activity.close(), "nothing ever happened");
        activity.read();
        assert!(activity.close());
        for _ in 0..10 {
            assert_eq!(activity.overdue(&config()), None);
            advance(3 * SECOND).await;
            activity.read();
        }
        advance(SECOND).await;
        assert_eq!(activity.overdue(&config()), Some("the client does not close"));
        assert!(activity.close());
        advance(5 * SECOND).await;
        assert_eq!(activity.overdue(&config()), None);
        advance(SECOND).await;
        assert_eq!(activity.overdue(&config()), Some("the client does not close"));
        assert!(!activity.close(), "nothing happened for a while");
    }
}
