//! Event streams that are taken up again: nothing is left out, and nothing comes twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use plait::Config;
use plait_engine::Header;
use testkit::block::child;
use testkit::http::{Client, Events, Request, Sent};
use testkit::{Database, tree};

use crate::http_data::{Chance, reason};
use crate::live::{BLOCKS, HEADERS, LONG, Live, fork, hashes, line};

fn quick() -> Config {
    Config { updates_interval: Duration::from_millis(1), ..Config::default() }
}

/// The path with the flag.
fn resume() -> String {
    format!("{HEADERS}?resume")
}

/// The id that a stream begins with.
fn first_id(events: &mut Events) -> String {
    match events.next_sent() {
        Some(Sent::Mark(id)) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ids_are_there_if_asked_for() {
    let blocks = line(0, 4);
    let mut live = Live::new(&blocks[..2], quick());
    let (mut with, mut without) = (live.listen(&resume()), live.listen(HEADERS));
    let begin = first_id(&mut with);
    live.add(&blocks[2..]);
    for _ in 0..2 {
        let (with, without) = (with.event().unwrap(), without.event().unwrap());
        assert_eq!((with.name, with.data), (without.name, without.data));
        assert_eq!(without.id, None);
        assert_ne!(with.id.expect("an id"), begin);
    }
    // They stand before the event, in one chunk with it.
    let mut again = live.resume(HEADERS, &begin);
    let chunk = String::from_utf8(again.chunk().unwrap().unwrap()).unwrap();
    assert!(chunk.starts_with("id:") && chunk.contains("\nevent:BlockHeader\ndata:{"), "{chunk}");
}

#[test]
fn every_id_is_followed_by_the_rest() {
    let (a, b) = (line(0, 10), line(3, 10));
    let mut live = Live::new([&a[0], &b[0]], quick());
    let mut events = live.listen(&resume());
    let mut ids = vec![first_id(&mut events)];
    live.add(a[1..7].iter().chain(&b[1..4]));
    live.add(a[7..].iter().chain(&b[4..]));
    let mut all: Vec<(u64, String, String)> = Vec::new();
    for _ in 0..18 {
        let event = events.event().unwrap();
        let [height, chain, hash] = ["height", "chainId", "hash"].map(|name| event.member(name));
        all.push((height.parse().unwrap(), chain.to_owned(), hash.to_owned()));
        ids.push(event.id.unwrap());
    }
    // What is missing comes as if it had joined all at once.
    let rest = |at: usize| {
        let mut rest = all[at..].to_vec();
        rest.sort();
        rest.into_iter().map(|(_, _, hash)| hash).collect::<Vec<_>>()
    };
    for (at, id) in ids.iter().enumerate() {
        let mut again = live.resume(HEADERS, id);
        assert_eq!(again.hashes(18 - at), rest(at), "{at}");
    }
    let mut live = Live::of(live.end().reopen(), quick());
    let mut streams: Vec<Events> = ids.iter().map(|id| live.resume(HEADERS, id)).collect();
    let last = fork(&a[9], 1, 0);
    live.add(&last);
    for (at, events) in streams.iter_mut().enumerate() {
        let expected = [rest(at), hashes(&last)].concat();
        assert_eq!(events.hashes(19 - at), expected, "{at} after a restart");
    }
}

#[test]
fn what_was_reorganised_meanwhile_is_told_from_where_it_parts() {
    let trunk = line(0, 8);
    let mut live = Live::new(&trunk[..2], quick());
    let mut events = live.listen(&resume());
    first_id(&mut events);
    live.add(&trunk[2..]);
    let seen: Vec<_> = (0..6).map(|_| events.event().unwrap()).collect();
    let side = fork(&trunk[3], 9, 7);
    live.add(&side);
    assert_eq!(events.hashes(9), hashes(&side));
    let more = fork(&trunk[7], 9, 0);
    live.add(&more);
    let back: Vec<&Header> = trunk[4..].iter().chain(&more).collect();
    assert_eq!(events.hashes(13), hashes(back));
    // Who was away all the time sees no more than what is new to him.
    for (at, event) in seen.iter().enumerate() {
        let mut again = live.resume(HEADERS, event.id.as_ref().unwrap());
        let rest: Vec<&Header> = trunk[3 + at..].iter().chain(&more).collect();
        assert_eq!(again.hashes(rest.len()), hashes(rest), "{at}");
    }
    // An orphan by now.
    let side_id = {
        let mut again = live.resume(HEADERS, seen[5].id.as_ref().unwrap());
        again.event().unwrap().id.unwrap()
    };
    let highest = fork(&side[8], 9, 0);
    live.add(&highest);
    let mut again = live.resume(HEADERS, &side_id);
    let all: Vec<&Header> = side.iter().chain(&highest).collect();
    assert_eq!(again.hashes(18), hashes(all));
}

#[test]
fn another_server_with_these_blocks_goes_on() {
    let trunk = line(0, 20);
    let side = fork(&trunk[9], 6, 3);
    let mut live = Live::new(&trunk[..3], quick());
    let mut events = live.listen(&resume());
    first_id(&mut events);
    live.add(&trunk[3..10]);
    live.add(&side);
    for _ in 0..10 {
        events.event().unwrap();
    }
    let id = events.last_id().unwrap().to_owned();
    // It never had the fork on its cut, and sealed other runs.
    let mut other = Database::sealing(3, 2);
    other.add(&trunk);
    other.add(&side);
    let other = Live::of(other, quick());
    let mut again = other.resume(HEADERS, &id);
    assert_eq!(again.hashes(10), hashes(&trunk[10..]));
    let request = Request::get(format!("{HEADERS}?resume=1&lastEventId={id}"));
    let mut again = Events::open(other.address(), &request);
    assert_eq!(again.hashes(10), hashes(&trunk[10..]));
}

#[test]
fn texts_that_are_no_ids_are_refused() {
    let blocks = line(0, 5);
    let mut live = Live::new(&blocks[..1], quick());
    let mut events = live.listen(&resume());
    first_id(&mut events);
    live.add(&blocks[1..]);
    let id = events.event().unwrap().id.unwrap();
    for id in ["1", "abc", "%", &id[1..], &format!("{id}A"), &"A".repeat(3000)] {
        let request = Request::get(resume()).header("Last-Event-ID", id);
        let refused = Client::connect(live.address()).ask(&request);
        let reason = reason(&refused, 400);
        assert!(reason.contains("not the id of an event"), "{id}: {reason}");
    }
}

#[test]
fn marks_bring_streams_forward_that_have_nothing_to_say() {
    let blocks = line(0, 400);
    let keep_alive = Duration::from_millis(100);
    let mut live = Live::new(&blocks[..2], Config { updates_keep_alive: keep_alive, ..quick() });
    let mut events = live.listen(&format!("{BLOCKS}?resume"));
    let begin = first_id(&mut events);
    assert_eq!(events.next_sent(), Some(Sent::Empty), "it stands still");
    // No payload is held, so there is no event.
    live.add(&blocks[2..]);
    let moved = loop {
        match events.next_sent() {
            Some(Sent::Empty) => {}
            Some(Sent::Mark(id)) => break id,
            other => panic!("{other:?}"),
        }
    };
    assert_ne!(moved, begin);
    assert_eq!(events.next_sent(), Some(Sent::Empty));
    // From the database, too.
    let mut again = live.resume(BLOCKS, &begin);
    let mut last = None;
    while last.as_ref() != Some(&moved) {
        match again.next_sent() {
            Some(Sent::Mark(id)) => last = Some(id),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn who_resumes_outlives_a_jump_and_others_do_not() {
    let blocks = line(0, 600);
    // Room for some thirty blocks.
    let config = Config { updates_log_bytes: 45_000, ..quick() };
    let mut live = Live::new(&blocks[..1], config);
    let (mut plain, mut resumes) = (live.listen(HEADERS), live.listen(&resume()));
    live.add(&blocks[1..11]);
    assert_eq!(plain.hashes(10), hashes(&blocks[1..11]));
    live.add(&blocks[11..580]);
    assert_eq!(plain.event(), None);
    live.await_metric("plait_subscribers_lost_total", |lost| lost > 0.5);
    live.add(&blocks[580..]);
    assert_eq!(resumes.hashes(599), hashes(&blocks[1..]));
    let mut plain = live.listen(HEADERS);
    let last = fork(&blocks[599], 1, 0);
    live.add(&last);
    assert_eq!(plain.hashes(1), hashes(&last));
    assert_eq!(resumes.hashes(1), hashes(&last));
}

/// What a client knows that hears of blocks: that of each chain it can walk down from the last.
#[derive(Clone, Default)]
pub(crate) struct Heard {
    blocks: BTreeMap<String, (String, u64)>,
    tops: BTreeMap<String, String>,
}

impl Heard {
    pub(crate) fn begin(&mut self, blocks: &[Header]) {
        for block in blocks {
            let view = block.view();
            let (hash, parent) = (view.hash().to_string(), view.parent().to_string());
            self.blocks.insert(hash.clone(), (parent, view.height().get()));
            self.tops.insert(view.chain().to_string(), hash);
        }
    }

    /// Whether a block is the highest of its chain, or below it.
    fn is_below(&self, block: &str, top: &str) -> bool {
        let mut at = top.to_owned();
        while let Some((parent, _)) = self.blocks.get(&at) {
            if at == block {
                return true;
            }
            at.clone_from(parent);
        }
        false
    }

    /// Takes an event, which must be of a block that is new on top of what the client has.
    pub(crate) fn hear(&mut self, event: &testkit::http::Event) {
        let [hash, parent, chain] = ["hash", "parent", "chainId"].map(|name| event.member(name));
        // `hash` is the last member of the header.
        let (_, hash_at_end) = event.data.rsplit_once("\"hash\":\"").unwrap();
        assert!(hash_at_end.starts_with(hash));
        let height = event.member("height").parse().unwrap();
        if let Some(top) = self.tops.get(chain) {
            assert!(!self.is_below(hash, top), "{hash} comes twice");
            assert!(self.is_below(parent, top), "something is missing before {hash}");
        }
        self.blocks.insert(hash.to_owned(), (parent.to_owned(), height));
        self.tops.insert(chain.to_owned(), hash.to_owned());
    }

    /// Whether it has received all these tops, by chain. The cut may have gone back on a chain, for
    /// which there is no event.
    pub(crate) fn has(&self, tops: &[(String, String)]) -> bool {
        tops.iter()
            .all(|(chain, hash)| self.tops.get(chain).is_some_and(|top| self.is_below(hash, top)))
    }
}

/// Chains that grow at random, with reorganizations.
pub(crate) struct Growing {
    chance: Chance,
    chains: Vec<Vec<Header>>,
    nonce: u64,
}

impl Growing {
    pub(crate) fn new(tips: &[Header]) -> Self {
        let chains = tips.iter().map(|tip| vec![*tip]).collect();
        Self { chance: Chance::new(5), chains, nonce: 0 }
    }

    /// Some more blocks.
    pub(crate) fn grow(&mut self) -> Vec<Header> {
        let mut new = Vec::new();
        for _ in 0..=self.chance.below(12) {
            self.nonce += 1;
            let chain = &mut self.chains[self.chance.below(3)];
            if self.chance.below(10) == 0 {
                // A fork that outweighs what it leaves.
                let depth = self.chance.below(chain.len().min(6));
                chain.truncate(chain.len() - depth);
                for _ in 0..=depth {
                    let block = child(chain.last().unwrap().view(), self.nonce);
                    chain.push(block);
                    new.push(block);
                }
            }
            let block = child(chain.last().unwrap().view(), self.nonce);
            chain.push(block);
            new.push(block);
        }
        new
    }
}

/// The members of the cut, by chain.
pub(crate) fn cut(live: &Live) -> Vec<(String, String)> {
    let past = live.database.reader().view().past().unwrap();
    past.tops().map(|(chain, rank)| (chain.to_string(), rank.hash.to_string())).collect()
}

/// Extends chains until `stop` is set. Returns the members of the cut.
fn grow(live: &mut Live, tips: &[Header], stop: &AtomicBool) -> Vec<(String, String)> {
    let (mut growing, mut chance) = (Growing::new(tips), Chance::new(6));
    while !stop.load(Ordering::Relaxed) {
        live.add(&growing.grow());
        if chance.below(4) == 0 {
            thread::sleep(Duration::from_millis(3));
        }
    }
    cut(live)
}

#[test]
fn nothing_is_missing_or_comes_twice_where_database_and_log_meet() {
    let first = [line(0, 1), line(7, 1), line(12, 1)].concat();
    // Little room, so that the log forgets often.
    let config = Config { updates_log_bytes: 60_000, ..quick() };
    let mut live = Live::new(&first, config);
    let (address, heard_enough) = (live.address(), AtomicBool::new(false));
    let written_enough = AtomicBool::new(false);
    let mut first_stream = live.listen(&resume());
    let begin = first_id(&mut first_stream);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|seed| {
                let (stop, first, begin) = (&heard_enough, &first, &begin);
                scope.spawn(move || {
                    let mut chance = Chance::new(seed);
                    let (mut heard, mut id) = (Heard::default(), begin.clone());
                    heard.begin(first);
                    let mut streams = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let request = Request::get(resume()).header("Last-Event-ID", &id);
                        let mut events = Events::open(address, &request);
                        streams += 1;
                        for _ in 0..chance.below(60) {
                            if chance.below(20) == 0 {
                                thread::sleep(Duration::from_millis(5));
                            }
                            let Some(event) = events.event() else { break };
                            heard.hear(&event);
                        }
                        id = events.last_id().map_or(id, str::to_owned);
                    }
                    (heard, id, streams)
                })
            })
            .collect();
        let writing = Instant::now();
        let writer = {
            let (live, stop, tips) = (&mut live, &written_enough, &first);
            scope.spawn(move || grow(live, tips, stop))
        };
        while writing.elapsed() < Duration::from_secs(4) {
            thread::sleep(Duration::from_millis(20));
        }
        heard_enough.store(true, Ordering::Relaxed);
        // Each of them waits for events still.
        let clients: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        written_enough.store(true, Ordering::Relaxed);
        let tips = writer.join().unwrap();
        for (mut heard, id, streams) in clients {
            assert!(streams > 5, "{streams} streams");
            let request = Request::get(resume()).header("Last-Event-ID", &id);
            let mut events = Events::open(address, &request);
            while !heard.has(&tips) {
                heard.hear(&events.event().expect("the rest comes"));
            }
            events.assert_silent(Duration::from_millis(100));
        }
    });
}

#[test]
fn drawn_reorganisation_is_told_as_the_documentation_has_it() {
    let mut drawn = tree("0-1-2-3");
    let view = || drawn.database().reader().view();
    let before = view().past().unwrap();
    drawn.add("2-3a-4a-5a");
    let after = drawn.database().reader().view().past().unwrap();
    let joined = |from, to| {
        let view = drawn.database().reader().view();
        let mut joined = view.joined(from, to).unwrap();
        let mut labels = Vec::new();
        while let Some(records) = joined.next(&view, 2).unwrap() {
            labels.extend(records.iter().map(|block| drawn.drawing().label(block.hash())));
        }
        labels
    };
    assert_eq!(joined(&before, &after), ["3a", "4a", "5a"]);
    assert_eq!(joined(&after, &before), ["3"]);
}

#[test]
fn streams_that_read_the_database_end_when_the_server_stops() {
    let blocks = line(0, 3000);
    let mut live = Live::new(&blocks[..1], quick());
    let begin = first_id(&mut live.listen(&resume()));
    live.add(&blocks[1..]);
    let mut streams: Vec<Events> = (0..5).map(|_| live.resume(HEADERS, &begin)).collect();
    for events in &mut streams {
        assert!(events.event().is_some());
    }
    let since = Instant::now();
    live.stop();
    for events in &mut streams {
        while events.event().is_some() {}
    }
    drop(live.end());
    assert!(since.elapsed() < LONG);
}
