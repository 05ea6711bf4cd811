//! Event streams by the thousand, of which many do not read: those that do hear every block, those
//! over the cap are told so, and all that they held is free when they are gone.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use testkit::block::dump;
use testkit::http::{Client, Events, Request};
use testkit::say;

use crate::http_data::{BASE, on};
use crate::http_slow::crowd_of;
use crate::live::hashes;
use crate::push::{LONG, generated};
use crate::push_http::{OCTETS, assert_sum, client, folder, request, taking};

/// Streams that are let in, and those that come too late.
const CAP: u64 = 4096;
const OVER: u64 = 200;

#[test]
fn thousands_of_event_streams_are_borne_and_those_over_the_cap_are_told() {
    let crowd = crowd_of(CAP + OVER);
    let cap = crowd - OVER;
    let headers = generated(3, 1, 0.0);
    let db = folder();
    let places = cap.to_string();
    let limits = ["--max-connections", "8192", "--max-subscribers", &places];
    let mut server = taking(db.path(), &[&limits[..], &["--metrics", "127.0.0.1:0"]].concat());
    let mut pusher = client(&server);
    let (first, rest) = headers.split_at(20);
    assert_sum(&pusher.ask(&request(OCTETS, dump(first))), [20, 0, 0, 0]);
    let before = server.resident_bytes();

    let stream = Request::get(format!("{BASE}/header/updates"));
    let mut events: Vec<Events> =
        (0..cap).map(|_| Events::open(server.address(), &stream)).collect();
    for _ in 0..OVER {
        let answer = server.ask(&stream);
        assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("1")));
    }
    let refused = server.metric("plait_subscribers_refused_total");
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let (let_in, told) = (cap as f64, OVER as f64);
    assert_eq!((server.metric("plait_subscribers_open"), refused), (Some(let_in), Some(told)));

    let expected = hashes(rest);
    // Every other one reads nothing.
    let heard = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for events in events.iter_mut().step_by(2) {
                // Blocks that were there before may be told to those that came first.
                let mut left: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
                while !left.is_empty() {
                    let event = events.event().expect("the stream goes on");
                    left.remove(event.member("hash"));
                }
            }
        });
        for some in rest.chunks(20) {
            assert_sum(&pusher.ask(&request(OCTETS, dump(some))), [some.len() as u64, 0, 0, 0]);
            assert_eq!(server.get(&on(0, "hash?limit=10")).status, 200);
        }
        reader.join()
    });
    heard.expect("all that read hear all");
    if let (Some(before), Some(now)) = (before, server.resident_bytes()) {
        let each = now.saturating_sub(before) / cap;
        say(&format!("{cap} event streams hold {each} bytes each"));
        assert!(each < 64 << 10, "{each} bytes each");
    }

    drop(events);
    let begin = Instant::now();
    while server.metric("plait_subscribers_open") != Some(0.0) {
        assert!(begin.elapsed() < LONG, "{:?}", server.metric("plait_subscribers_open"));
        thread::sleep(Duration::from_millis(20));
    }
    let mut again = Client::connect(server.address());
    again.send(stream.to_bytes()).unwrap();
    assert_eq!(again.read_head().unwrap().status, 200, "there is a place again");
    assert!(server.is_running());
}
