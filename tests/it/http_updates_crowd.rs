//! Many subscribers, and those that do not read: nobody waits for them.

use std::thread;
use std::time::{Duration, Instant};

use plait::Config;
use plait_engine::Header;
use testkit::http::{Ended, Events};
use testkit::say;

use crate::live::{HEADERS, LONG, Live, hashes, line};

fn quick() -> Config {
    Config { updates_interval: Duration::from_millis(1), ..Config::default() }
}

/// Reads a stream that was left alone to its end, and says how it ended.
fn read_out(events: &mut Events) -> (usize, Result<(), Ended>) {
    events.client().set_patience(LONG);
    let mut count = 0;
    loop {
        match events.chunk() {
            Ok(Some(_)) => count += 1,
            Ok(None) => return (count, Ok(())),
            Err(ended) => return (count, Err(ended)),
        }
    }
}

#[test]
fn two_hundred_subscribers_of_which_twenty_stop_reading_do_not_keep_the_writer() {
    const COMMITS: usize = 60;
    let blocks = line(0, 1 + COMMITS * 20);
    let mut live = Live::new(&blocks[..1], quick());
    let alone = {
        let mut other = Live::new(&blocks[..1], quick());
        write(&mut other, &blocks[1..])
    };
    let mut readers: Vec<Events> = (0..180).map(|_| live.listen(HEADERS)).collect();
    let stalled: Vec<Events> = (0..20).map(|_| live.listen(HEADERS)).collect();
    let expected = hashes(&blocks[1..]);
    let beside = thread::scope(|scope| {
        for some in readers.chunks_mut(45) {
            let expected = &expected;
            scope.spawn(move || {
                for hash in expected {
                    for events in &mut *some {
                        let event = events.event().expect("the stream goes on");
                        assert_eq!(event.member("hash"), hash);
                    }
                }
            });
        }
        write(&mut live, &blocks[1..])
    });
    say(&format!("{COMMITS} commits took {alone:?} alone, {beside:?} beside 200 subscribers"));
    assert!(beside < alone * 20 + Duration::from_secs(5), "{beside:?} against {alone:?}");
    drop(stalled);
}

/// Stores blocks, twenty at a time, and says how long that took.
fn write(live: &mut Live, blocks: &[Header]) -> Duration {
    let begin = Instant::now();
    for some in blocks.chunks(20) {
        live.add(some);
    }
    begin.elapsed()
}

#[test]
fn client_that_stops_reading_is_dropped_and_holds_little_until_then() {
    const STALLED: usize = 8;
    let blocks = line(0, 12_000);
    let config =
        Config { stall_time: Duration::from_secs(1), updates_log_bytes: 4 << 20, ..quick() };
    let mut live = Live::new(&blocks[..1], config);
    let mut stalled: Vec<Events> = (0..STALLED).map(|_| live.listen(HEADERS)).collect();
    let mut healthy = live.listen(&format!("{HEADERS}?resume"));
    thread::scope(|scope| {
        let (expected, healthy) = (&blocks[1..], &mut healthy);
        let reader = scope.spawn(move || {
            for block in expected {
                let event = healthy.event().expect("the stream goes on");
                assert_eq!(event.member("hash"), block.view().hash().to_string());
            }
        });
        for some in blocks[1..].chunks(500) {
            live.add(some);
            thread::sleep(Duration::from_millis(30));
        }
        reader.join().unwrap();
    });
    live.await_metric("plait_subscribers_open", |open| open < 1.5);
    for events in &mut stalled {
        let (count, _) = read_out(events);
        assert!(count < blocks.len() - 1, "it has all {count}");
    }
    healthy.assert_silent(Duration::from_millis(1500));
}

#[test]
fn slow_reader_that_resumes_gets_everything_at_its_own_pace() {
    let blocks = line(0, 4000);
    let config = Config { updates_log_bytes: 1 << 18, ..quick() };
    let mut live = Live::new(&blocks[..1], config);
    let mut slow = live.listen(&format!("{HEADERS}?resume"));
    for some in blocks[1..].chunks(100) {
        live.add(some);
    }
    for (at, block) in blocks[1..].iter().enumerate() {
        if at % 500 == 0 {
            thread::sleep(Duration::from_millis(100));
        }
        let event = slow.event().expect("the stream goes on");
        assert_eq!(event.member("hash"), block.view().hash().to_string());
    }
    assert_eq!(live.metric("plait_subscribers_lost_total"), Some(0.0));
}
