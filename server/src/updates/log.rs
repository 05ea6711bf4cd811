//! The events of the last while, once for all subscribers.

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use plait_engine::Past;
use plait_engine::query::UnknownTop;
use tokio::time::Instant;

use super::Kind;
use super::item::{Given, Item};
use super::render::Entry;
use super::seekers::{Awaited, Seekers};
use crate::clock::after;
use crate::config::Config;

/// Events that a subscriber takes at once.
const TAKE_EVENTS: usize = 16;

/// Bytes of events from which on it takes no more.
const TAKE_BYTES: usize = 64 << 10;

/// The log.
#[derive(Debug)]
pub(super) struct Log {
    state: Mutex<State>,
    bytes_max: usize,
    subscribers_max: usize,
}

#[derive(Debug)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    /// The number of the first item; they are numbered on and on.
    first: u64,
    /// The past behind the last item; none before the first look.
    past: Option<Past>,
    /// The number of the view of the last completed scan.
    seen: u64,
    /// Who waits for more, by place; places that are free are none.
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
    /// The subscribers that do not follow the log yet, by place, and what each waits for.
    seekers: Seekers,
    /// How many listen to each kind, and when they were last given something.
    listeners: [Listeners; 2],
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Listeners {
    count: usize,
    told: Instant,
}

/// What came of taking events.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// There are more, up to this item.
    UpTo(u64),
    /// There are none yet. The task is woken when there are.
    NoneYet,
    /// They are no longer in the log.
    Lost,
    /// There will be no more.
    Closed,
}

/// A subscriber of the log, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    log: Arc<Log>,
    at: usize,
    pub(super) kind: Kind,
}

impl Log {
    pub(super) fn new(config: &Config) -> Self {
        let listeners = Listeners { count: 0, told: Instant::now() };
        let state = State {
            items: VecDeque::new(),
            bytes: 0,
            first: 0,
            past: None,
            seen: 0,
            wakers: Vec::new(),
            free: Vec::new(),
            seekers: Seekers::default(),
            listeners: [listeners; 2],
            closed: false,
        };
        let (bytes_max, subscribers_max) = (config.updates_log_bytes, config.subscribers_max);
        Self { state: Mutex::new(state), bytes_max, subscribers_max }
    }

    /// Nothing that holds this lock panics, and nothing waits while it does.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a subscriber, unless all are taken.
    pub(super) fn subscribe(self: &Arc<Self>, kind: Kind) -> Option<Place> {
        let mut state = self.state();
        let taken = state.wakers.len().saturating_sub(state.free.len());
        if taken >= self.subscribers_max {
            return None;
        }
        let at = state.free.pop().unwrap_or_else(|| {
            state.wakers.push(None);
            state.wakers.len().saturating_sub(1)
        });
        let listeners = state.listeners_mut(kind);
        if listeners.count == 0 {
            listeners.told = Instant::now();
        }
        listeners.count = listeners.count.saturating_add(1);
        Some(Place { log: Arc::clone(self), at, kind })
    }

    /// The number of the item that comes next, and the past before it, once there was a look.
    pub(super) fn head(&self) -> Option<(u64, Past)> {
        let state = self.state();
        state.past.clone().map(|past| (state.end(), past))
    }

    /// Whether an item is in the log, or the next one to come.
    pub(super) fn holds(&self, number: u64) -> bool {
        number >= self.state().first
    }

    /// Whether anybody listens, and whether to blocks.
    pub(super) fn listened(&self) -> (bool, bool) {
        let counts = self.state().listeners.map(|listeners| listeners.count);
        (counts.iter().any(|count| *count > 0), Kind::Blocks.of(counts) > 0)
    }

    /// How many bytes it holds at most.
    pub(super) const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Whether all streams have ended.
    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// If nobody listens, continues at `past` without items. Otherwise changes nothing and returns
    /// false.
    ///
    /// `seen` is the number of the view with this past, here and below.
    pub(super) fn jump_unheard(&self, past: &Past, seen: u64) -> bool {
        let mut state = self.state();
        let unheard = state.past.is_none() || state.listeners.iter().all(|kind| kind.count == 0);
        if unheard {
            state.jump(past.clone(), seen);
            let wakers = state.take_wakers();
            drop(state);
            wake(wakers);
        }
        unheard
    }

    /// Goes on at `past` without items: whoever waits for those has lost them.
    pub(super) fn jump(&self, past: Past, seen: u64) {
        let mut state = self.state();
        state.jump(past, seen);
        let wakers = state.take_wakers();
        drop(state);
        wake(wakers);
    }

    /// Goes on at `past`, which is as good as the one before: nothing has joined.
    pub(super) fn settle(&self, past: Past, seen: u64) {
        let mut state = self.state();
        (state.past, state.seen) = (Some(past), seen);
    }

    /// The blocks that streams wait for, each once.
    pub(super) fn awaited(&self) -> BTreeSet<UnknownTop> {
        self.state().seekers.blocks()
    }

    /// Wakes the streams that wait for one of these blocks, and those for which the log is recent
    /// enough.
    pub(super) fn wake_seekers(&self, blocks: &BTreeSet<UnknownTop>) {
        let mut state = self.state();
        let seen = state.seen;
        let woken = state.seekers.take(seen, blocks);
        drop(state);
        wake(woken);
    }

    /// Appends what has joined, up to `past`, and drops what is too old; `blocks` says whether the
    /// events with payloads are among it. False if these are asked for by now and are not: then
    /// nothing has changed.
    pub(super) fn append(&self, entries: Vec<Entry>, past: Past, blocks: bool) -> bool {
        let mut state = self.state();
        if !blocks && state.listeners_mut(Kind::Blocks).count > 0 {
            return false;
        }
        let now = Instant::now();
        for entry in entries {
            for kind in Kind::ALL {
                if entry.event(kind, false).is_some() {
                    state.listeners_mut(kind).told = now;
                }
            }
            state.push(Item::Block(entry), self.bytes_max);
        }
        state.past = Some(past);
        let wakers = state.take_wakers();
        drop(state);
        wake(wakers);
        true
    }

    /// Sends an empty line to subscribers that got nothing for `quiet`.
    pub(super) fn keep_open(&self, quiet: Duration) {
        let mut state = self.state();
        let now = Instant::now();
        let due = state
            .listeners
            .map(|kind| kind.count > 0 && now.saturating_duration_since(kind.told) >= quiet);
        let Some(past) = state.past.as_ref().filter(|_| due.contains(&true)) else { return };
        let position = past.position().to_string().into();
        for (listeners, due) in state.listeners.iter_mut().zip(due) {
            if due {
                listeners.told = now;
            }
        }
        state.push(Item::Silence(due, position), self.bytes_max);
        let wakers = state.take_wakers();
        drop(state);
        wake(wakers);
    }

    /// When somebody will have been given nothing for so long, at the earliest.
    pub(super) fn quiet_until(&self, quiet: Duration) -> Instant {
        let state = self.state();
        let listened = state.listeners.iter().filter(|kind| kind.count > 0);
        after(listened.map(|kind| kind.told).min().unwrap_or_else(Instant::now), quiet)
    }

    /// Ends all streams.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let mut wakers = state.take_wakers();
        wakers.extend(mem::take(&mut state.seekers).into_wakers());
        drop(state);
        wake(wakers);
    }
}

impl State {
    fn end(&self) -> u64 {
        self.first.saturating_add(self.items.len() as u64)
    }

    const fn listeners_mut(&mut self, kind: Kind) -> &mut Listeners {
        let [headers, blocks] = &mut self.listeners;
        match kind {
            Kind::Headers => headers,
            Kind::Blocks => blocks,
        }
    }

    fn jump(&mut self, past: Past, seen: u64) {
        // One more than there were, so that who has taken all of them is told, too.
        self.first = self.end().saturating_add(u64::from(self.past.is_some()));
        self.items = VecDeque::new();
        self.bytes = 0;
        (self.past, self.seen) = (Some(past), seen);
    }

    fn push(&mut self, item: Item, bytes_max: usize) {
        self.bytes = self.bytes.saturating_add(item.len());
        self.items.push_back(item);
        while self.bytes > bytes_max
            && let Some(oldest) = self.items.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(oldest.len());
            self.first = self.first.saturating_add(1);
        }
    }

    /// Has the task of a subscriber woken when something happens.
    fn wait(&mut self, at: usize, cx: &Context<'_>) {
        match self.wakers.get_mut(at) {
            Some(Some(waker)) if waker.will_wake(cx.waker()) => {}
            Some(slot) => *slot = Some(cx.waker().clone()),
            None => {}
        }
    }

    fn take_wakers(&mut self) -> Vec<Waker> {
        self.wakers.iter_mut().filter_map(Option::take).collect()
    }
}

fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

impl Place {
    /// The log.
    pub(super) const fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Takes some events from the item `next` on; `last` is the position of the one before, for who
    /// wants positions.
    pub(super) fn take(
        &self,
        next: u64,
        last: Option<&Bytes>,
        out: &mut VecDeque<Given>,
        cx: &Context<'_>,
    ) -> Taken {
        let mut state = self.log.state();
        if state.closed {
            return Taken::Closed;
        }
        let Some(before) = next.checked_sub(state.first) else { return Taken::Lost };
        let before = usize::try_from(before).unwrap_or(usize::MAX);
        let (mut upto, mut bytes) = (next, 0);
        for item in state.items.iter().skip(before) {
            if out.len() >= TAKE_EVENTS || bytes >= TAKE_BYTES {
                break;
            }
            upto = upto.saturating_add(1);
            let last = last.map(|last| out.back().map_or(last, |given: &Given| &given.position));
            if let Some(given) = item.give(self.kind, last) {
                bytes = given.bytes.len().saturating_add(bytes);
                out.push_back(given);
            }
        }
        if upto == next {
            state.wait(self.at, cx);
            return Taken::NoneYet;
        }
        Taken::UpTo(upto)
    }

    /// Waits for what a stream needs before it can follow the log. If that is a block, the task may
    /// be woken before the block has arrived.
    pub(super) fn wait_for(&self, awaited: &Awaited, cx: &Context<'_>) -> Taken {
        let mut state = self.log.state();
        let has_come = match awaited {
            Awaited::End => false,
            Awaited::Log(number) => state.past.is_some() && state.seen >= *number,
            // A scan has completed since, and did not test this block.
            Awaited::Block(_, number) => state.seen > *number,
        };
        if state.closed {
            Taken::Closed
        } else if has_come {
            Taken::UpTo(state.end())
        } else {
            state.seekers.add(self.at, awaited.clone(), cx.waker().clone());
            Taken::NoneYet
        }
    }

    /// Waits for the first look. `UpTo` says where the log ends since then.
    pub(super) fn begin(&self, cx: &Context<'_>) -> Taken {
        let mut state = self.log.state();
        if state.closed {
            Taken::Closed
        } else if state.past.is_some() {
            Taken::UpTo(state.end())
        } else {
            state.wait(self.at, cx);
            Taken::NoneYet
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.log.state();
        let seeker = state.seekers.remove(self.at);
        let listeners = state.listeners_mut(self.kind);
        listeners.count = listeners.count.saturating_sub(1);
        state.free.push(self.at);
        let waker = state.wakers.get_mut(self.at).and_then(Option::take);
        // What it wakes may be dropped with it, and that may be another place.
        drop(state);
        drop((waker, seeker));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use plait_engine::{BlockHash, BlockHeight, ChainId, Rank};
    use tokio::time::advance;

    use super::super::render::{self, KEEP_ALIVE, tests::entry};
    use super::*;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn log(bytes_max: usize) -> Arc<Log> {
        let config =
            Config { updates_log_bytes: bytes_max, subscribers_max: 3, ..Config::default() };
        Arc::new(Log::new(&config))
    }

    fn past(height: u64) -> Past {
        let rank = Rank { height: BlockHeight::new(height), hash: BlockHash::new([1; 32]) };
        Past::new([(ChainId::new(0), rank)])
    }

    fn append(log: &Log, numbers: std::ops::Range<u64>) {
        let behind = past(numbers.end);
        assert!(log.append(numbers.map(entry).collect(), behind, false));
    }

    fn positions(given: &VecDeque<Given>) -> Vec<Bytes> {
        given.iter().map(|given| given.position.clone()).collect()
    }

    fn position(number: u64) -> Bytes {
        entry(number).position
    }

    #[test]
    fn subscribers_get_what_comes_after_them_and_are_woken_for_it() {
        let (log, woken) = (log(1 << 20), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let (cx, mut out) = (Context::from_waker(&waker), VecDeque::new());
        let place = log.subscribe(Kind::Headers).unwrap();
        assert_eq!(place.begin(&cx), Taken::NoneYet);
        assert!(log.jump_unheard(&past(0), 0), "nobody has begun");
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert_eq!(log.head(), Some((0, past(0))));
        assert_eq!(place.take(0, None, &mut out, &cx), Taken::NoneYet);
        assert_eq!(place.take(0, None, &mut out, &cx), Taken::NoneYet);
        append(&log, 0..3);
        assert_eq!(woken.0.load(Ordering::SeqCst), 2, "once, however often it asked");
        assert_eq!(place.take(0, None, &mut out, &cx), Taken::UpTo(3));
        assert_eq!(positions(&out), [0, 1, 2].map(position));
        assert_eq!(log.head(), Some((3, past(3))));
        append(&log, 3..4);
        assert_eq!(woken.0.load(Ordering::SeqCst), 2, "it does not wait");
        assert!(!log.jump_unheard(&past(9), 1), "somebody listens");
    }

    #[test]
    fn as_much_as_is_taken_at_once_is_bounded() {
        let log = log(1 << 20);
        let (cx, mut out) = (Context::from_waker(Waker::noop()), VecDeque::new());
        let place = log.subscribe(Kind::Headers).unwrap();
        log.jump_unheard(&past(0), 0);
        append(&log, 0..100);
        let mut next = 0;
        while let Taken::UpTo(upto) = place.take(next, None, &mut out, &cx) {
            assert!(upto - next <= TAKE_EVENTS as u64);
            let expected: Vec<Bytes> = (next..upto).map(position).collect();
            assert_eq!(positions(&out), expected);
            (next, out) = (upto, VecDeque::new());
        }
        assert_eq!(next, 100);
    }

    #[test]
    fn log_forgets_what_it_has_no_room_for() {
        let log = log(entry(0).len() * 5);
        let (cx, mut out) = (Context::from_waker(Waker::noop()), VecDeque::new());
        let place = log.subscribe(Kind::Headers).unwrap();
        log.jump_unheard(&past(0), 0);
        append(&log, 0..5);
        assert!(log.holds(0));
        append(&log, 5..7);
        assert!(!log.holds(1) && log.holds(2) && log.holds(7));
        assert_eq!(place.take(1, None, &mut out, &cx), Taken::Lost);
        assert_eq!(place.take(2, None, &mut out, &cx), Taken::UpTo(7));
        log.jump(past(90), 1);
        assert_eq!(place.take(7, None, &mut out, &cx), Taken::Lost, "though it had all");
        assert_eq!(log.head(), Some((8, past(90))));
        log.close();
        assert_eq!(place.take(8, None, &mut out, &cx), Taken::Closed);
        assert_eq!(place.begin(&cx), Taken::Closed);
    }

    #[test]
    fn seekers_are_woken_for_what_they_wait_for_and_for_nothing_else() {
        let (log, woken) = (log(1 << 20), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        let count = || woken.0.load(Ordering::SeqCst);
        let places = [(); 3].map(|()| log.subscribe(Kind::Headers).unwrap());
        log.jump(past(0), 4);
        assert_eq!(places[0].wait_for(&Awaited::Log(4), &cx), Taken::UpTo(log.head().unwrap().0));
        assert_eq!(places[0].wait_for(&Awaited::Log(5), &cx), Taken::NoneYet);
        assert_eq!(places[1].wait_for(&Awaited::End, &cx), Taken::NoneYet);
        append(&log, 0..3);
        log.wake_seekers(&BTreeSet::new());
        assert_eq!(count(), 0, "the log is not new enough");
        log.settle(past(3), 5);
        log.wake_seekers(&BTreeSet::new());
        assert_eq!(count(), 1);
        assert_eq!(places[0].wait_for(&Awaited::Log(5), &cx), Taken::UpTo(log.head().unwrap().0));
        let [first, second, third] = places;
        assert_eq!(first.wait_for(&Awaited::Log(9), &cx), Taken::NoneYet);
        drop(first);
        log.settle(past(3), 9);
        log.wake_seekers(&BTreeSet::new());
        assert_eq!(count(), 1, "it has gone");
        assert_eq!(third.wait_for(&Awaited::Log(10), &cx), Taken::NoneYet);
        log.close();
        assert_eq!(count(), 3);
        for place in [second, third] {
            assert_eq!(place.wait_for(&Awaited::End, &cx), Taken::Closed);
        }
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let log = log(1 << 20);
        let places = [(); 3].map(|()| log.subscribe(Kind::Blocks).unwrap());
        assert!(log.subscribe(Kind::Headers).is_none());
        let [first, ..] = places;
        drop(first);
        assert_eq!(log.listened(), (true, true));
        let headers = log.subscribe(Kind::Headers).unwrap();
        assert!(log.subscribe(Kind::Headers).is_none());
        drop(headers);
        assert_eq!(log.state().wakers.len(), 3);
    }

    #[test]
    fn payloads_that_are_asked_for_meanwhile_are_not_left_out() {
        let log = log(1 << 20);
        let _headers = log.subscribe(Kind::Headers).unwrap();
        log.jump_unheard(&past(0), 0);
        let (_, blocks) = log.listened();
        let _blocks = log.subscribe(Kind::Blocks).unwrap();
        assert!(!log.append(vec![entry(0)], past(1), blocks));
        assert_eq!(log.head(), Some((0, past(0))));
        assert!(log.append(vec![entry(0)], past(1), true));
    }

    #[tokio::test(start_paused = true)]
    async fn empty_lines_are_for_those_who_were_given_nothing() {
        let quiet = Duration::from_secs(20);
        let log = log(1 << 20);
        let cx = Context::from_waker(Waker::noop());
        let (headers, blocks) =
            (log.subscribe(Kind::Headers).unwrap(), log.subscribe(Kind::Blocks).unwrap());
        log.jump_unheard(&past(0), 0);
        let begin = Instant::now();
        assert_eq!(log.quiet_until(quiet), begin + quiet);
        advance(quiet / 2).await;
        log.keep_open(quiet);
        assert!(log.append(vec![entry(0)], past(1), true));
        advance(quiet / 2).await;
        log.keep_open(quiet);
        let take = |place: &Place, next| {
            let mut out = VecDeque::new();
            let last = Bytes::from_static(b"before");
            let taken = place.take(next, Some(&last), &mut out, &cx);
            (taken, out.into_iter().map(|given: Given| given.bytes).collect::<Vec<_>>())
        };
        let event = entry(0).event(Kind::Headers, true).unwrap();
        assert_eq!(take(&headers, 0), (Taken::UpTo(2), vec![event]));
        // Blocks had no event, but the position has moved.
        let mark = render::mark(past(1).position().to_string().as_bytes());
        assert_eq!(take(&blocks, 0), (Taken::UpTo(2), vec![mark]));
        assert_eq!(log.quiet_until(quiet), begin + quiet + quiet / 2);
        advance(quiet).await;
        log.keep_open(quiet);
        let mut out = VecDeque::new();
        assert_eq!(headers.take(2, None, &mut out, &cx), Taken::UpTo(3));
        assert_eq!(out.pop_front().unwrap().bytes, KEEP_ALIVE);
    }
}
