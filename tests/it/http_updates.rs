//! Event streams: what they say, byte for byte, and when.

use std::time::{Duration, Instant};

use plait::Config;
use plait_engine::Header;
use plait_engine::payload::text::push_object_with_outputs;
use serde_json::Value;
use testkit::block::genesis;
use testkit::http::{Client, Ended, Events, Request, Sent};

use crate::http_data::reason;
use crate::live::{BLOCKS, HEADERS, LONG, Live, carrying, fork, hashes, line};

/// A look takes place at once where none was for so long.
const AFTER_A_LOOK: Duration = Duration::from_millis(120);

fn quick() -> Config {
    Config { updates_interval: Duration::from_millis(1), ..Config::default() }
}

/// The members of a header's object as the chunk of an event has them, written by hand.
fn object(header: &Header) -> String {
    let view = header.view();
    let word = |bytes: [u8; 32]| crate::http_data::base64url(&bytes);
    let mut adjacents: Vec<_> = view.adjacents().iter().collect();
    adjacents.sort_by_key(|(chain, _)| plait_engine::header::text::hash_map_rank(*chain));
    let adjacents: Vec<String> =
        adjacents.iter().map(|(chain, hash)| format!("\"{chain}\":\"{hash}\"")).collect();
    format!(
        "{{\"nonce\":\"{}\",\"creationTime\":{},\"parent\":\"{}\",\"adjacents\":{{{}}},\
         \"target\":\"{}\",\"payloadHash\":\"{}\",\"chainId\":{},\"weight\":\"{}\",\"height\":{},\
         \"chainwebVersion\":\"development\",\"epochStart\":{},\"featureFlags\":{},\"hash\":\"{}\"}}",
        view.nonce(),
        view.creation_time().get(),
        view.parent(),
        adjacents.join(","),
        word(view.target().to_le()),
        view.payload_hash(),
        view.chain(),
        word(view.weight().to_le()),
        view.height(),
        view.epoch_start().get(),
        view.feature_flags(),
        view.hash(),
    )
}

fn hex(bytes: impl IntoIterator<Item = u8>) -> String {
    bytes.into_iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[test]
fn every_byte_of_an_event_is_as_it_should_be() {
    let blocks = line(0, 3);
    let mut live = Live::new(&blocks[..2], quick());
    let mut events = live.listen(HEADERS);
    live.add(&blocks[2..]);
    let chunk = String::from_utf8(events.chunk().unwrap().unwrap()).unwrap();
    let header = &blocks[2];
    let pow = plait_engine::verify::pow_hash(header.view());
    let expected = format!(
        "event:BlockHeader\ndata:{{\"header\":{},\"txCount\":null,\"powHash\":\"{}\",\
         \"target\":\"{}\"}}\n\n",
        object(header),
        hex(*pow.as_bytes()),
        hex(header.view().target().to_le().into_iter().rev()),
    );
    assert_eq!(chunk, expected);
    let data = chunk.lines().nth(1).unwrap().strip_prefix("data:").unwrap();
    let value: Value = serde_json::from_str(data).unwrap();
    let names: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(names, ["header", "txCount", "powHash", "target"]);
    assert_eq!(value["target"].as_str().map(str::len), Some(64));
}

#[test]
fn head_of_the_answer_keeps_others_from_collecting_events() {
    let live = Live::new(&line(0, 2), quick());
    let events = live.listen(HEADERS);
    let head = events.head();
    assert_eq!(head.header("Cache-Control"), Some("no-store, no-transform, max-age=0"));
    assert_eq!(head.header("X-Accel-Buffering"), Some("no"));
    assert_eq!(head.header("Transfer-Encoding"), Some("chunked"));
    assert_eq!(head.header("Access-Control-Allow-Origin"), Some("*"));
    assert_eq!(head.header("X-Chainweb-Node-Version"), Some("3.2"));
    assert!(head.header("X-Peer-Addr").is_some() && head.header("X-Server-Timestamp").is_some());
}

#[test]
fn blocks_that_join_are_announced_by_height_then_by_chain() {
    let (a, b, c) = (line(0, 9), line(3, 9), line(17, 9));
    let genesis = [&a[0], &b[0], &c[0]];
    let mut live = Live::new(genesis, quick());
    let mut events = live.listen(HEADERS);
    live.add(a[1..4].iter().chain(&b[1..3]).chain(&c[1..2]));
    assert_eq!(events.places(6), ["1/0", "1/3", "1/17", "2/0", "2/3", "3/0"]);
    live.add(c[2..5].iter().chain(&b[3..4]));
    assert_eq!(events.places(4), ["2/17", "3/3", "3/17", "4/17"]);
    live.add(a[4..].iter());
    assert_eq!(events.hashes(5), hashes(&a[4..]));
    events.assert_silent(AFTER_A_LOOK);
}

#[test]
fn only_what_joins_is_announced_and_each_time_it_does() {
    let trunk = line(0, 6);
    let mut live = Live::new(&trunk, quick());
    let mut events = live.listen(HEADERS);
    // An orphan does not join.
    let side = fork(&trunk[2], 5, 7);
    live.add(&side[..3]);
    events.assert_silent(AFTER_A_LOOK);
    // When it is the heaviest, all of it does.
    live.add(&side[3..]);
    assert_eq!(events.hashes(5), hashes(&side));
    // What comes back joins again.
    let more = fork(&trunk[5], 4, 0);
    live.add(&more);
    let back: Vec<&Header> = trunk[3..].iter().chain(&more).collect();
    assert_eq!(events.hashes(7), hashes(back));
    events.assert_silent(AFTER_A_LOOK);
}

#[test]
fn stream_begins_with_what_comes_after_it() {
    let blocks = line(0, 30);
    let mut live = Live::new(&blocks[..1], quick());
    for block in &blocks[1..] {
        let mut events = live.listen(HEADERS);
        live.add([block]);
        assert_eq!(events.hashes(1), hashes([block]));
    }
}

#[test]
fn blocks_without_a_payload_have_no_event_with_one() {
    let blocks = line(0, 4);
    let mut live = Live::new(&blocks[..2], quick());
    let (mut with, mut without) = (live.listen(BLOCKS), live.listen(HEADERS));
    live.add(&blocks[2..]);
    let event = without.event().unwrap();
    assert_eq!((&*event.name, event.member("txCount")), ("BlockHeader", "null"));
    with.assert_silent(AFTER_A_LOOK);
}

#[test]
fn payload_that_is_held_when_its_block_joins_is_told() {
    let first = line(0, 2);
    let (one, payload) = carrying(&first[1], 3);
    let without = fork(&one, 1, 0);
    let (three, late) = carrying(&without[0], 0);
    let (four, last) = carrying(&three, 1);
    let mut live = Live::new(&first, quick());
    let mut headers = live.listen(HEADERS);
    let mut blocks = live.listen(&format!("{BLOCKS}?resume"));
    let Some(Sent::Mark(begin)) = blocks.next_sent() else { panic!("it begins with a mark") };
    live.database.add_payload(&one, payload.clone());
    live.add([&one, &without[0], &three]);
    let mut events: Vec<_> = (0..3).map(|_| headers.event().unwrap()).collect();
    // Too late.
    live.database.add_payload(&three, late);
    live.database.add_payload(&four, last);
    live.add([&four]);
    events.push(headers.event().unwrap());
    let counts: Vec<_> = events.iter().map(|event| event.member("txCount")).collect();
    assert_eq!(counts, ["3", "null", "null", "1"]);
    let event = blocks.event().unwrap();
    let mut object = Vec::new();
    assert!(push_object_with_outputs(&mut object, payload.view()));
    let object = String::from_utf8(object).unwrap();
    let short = events[0].data.strip_suffix('}').unwrap();
    assert_eq!(event.data, format!("{short},\"payloadWithOutputs\":{object}}}"));
    assert_eq!(event.name, "BlockHeader");
    assert_eq!(blocks.hashes(1), hashes([&four]));
    // Whoever comes later finds what has come meanwhile.
    let mut again = live.resume(BLOCKS, &begin);
    assert_eq!(again.hashes(3), hashes([&one, &three, &four]));
}

#[test]
fn post_is_answered_as_get_whatever_its_body() {
    let blocks = line(0, 8);
    let mut live = Live::new(&blocks[..2], quick());
    let plain = Request::new("POST", HEADERS);
    let requests = [
        plain.clone(),
        plain.clone().header("Content-Length", "0"),
        plain.clone().accept("application/json").body("{}"),
        plain.header("Content-Type", "text/plain").body("x".repeat(100)),
        Request::post(HEADERS, "{\"upper\":[]}"),
    ];
    let mut streams = requests.map(|request| Events::open(live.address(), &request));
    live.add(&blocks[2..]);
    for events in &mut streams {
        assert_eq!(events.hashes(6), hashes(&blocks[2..]));
    }
}

#[test]
fn other_methods_are_answered_without_a_stream() {
    let live = Live::new(&line(0, 2), Config { subscribers_max: 1, ..quick() });
    let ask = |request: &Request| Client::connect(live.address()).ask(request);
    for target in [HEADERS, BLOCKS] {
        let head = ask(&Request::new("HEAD", target));
        assert_eq!((head.status, head.header("Content-Type")), (200, Some("text/event-stream")));
        assert_eq!(head.header("Cache-Control"), Some("no-store, no-transform, max-age=0"));
        assert_eq!((head.body.len(), head.header("Content-Length")), (0, None));
        let options = ask(&Request::new("OPTIONS", target));
        assert_eq!(options.status, 204);
        assert_eq!(options.header("Allow"), Some("GET, HEAD, POST, OPTIONS"));
        let headers = options.header("Access-Control-Allow-Headers").unwrap();
        assert!(headers.contains("last-event-id"), "{headers}");
        let put = ask(&Request::new("PUT", target));
        reason(&put, 405);
        assert_eq!(put.header("Allow"), Some("GET, HEAD, POST, OPTIONS"));
    }
    for target in ["/header/updates", "/chainweb/0.0/mainnet01/header/updates"] {
        reason(&ask(&Request::get(target)), 404);
    }
    assert_eq!(live.metric("plait_subscribers_open"), Some(0.0));
    drop(live.listen(&format!("{HEADERS}/?t=json&resume=0")));
}

#[test]
fn silent_stream_gets_an_empty_line_from_time_to_time() {
    let keep_alive = Duration::from_millis(300);
    let blocks = line(0, 3);
    let mut live = Live::new(&blocks[..2], Config { updates_keep_alive: keep_alive, ..quick() });
    let requests =
        [HEADERS, BLOCKS].map(|target| [Request::get(target), Request::post(target, "")]);
    let requests = requests.concat();
    let mut streams: Vec<Events> =
        requests.iter().map(|request| Events::open(live.address(), request)).collect();
    let begin = Instant::now();
    for round in 1..4 {
        for events in &mut streams {
            assert_eq!(events.next_sent(), Some(Sent::Empty));
        }
        assert!(begin.elapsed() + Duration::from_millis(50) >= keep_alive * round);
        assert!(begin.elapsed() < LONG);
    }
    live.add(&blocks[2..]);
    assert!(matches!(streams[0].next_sent(), Some(Sent::Event(_))));
    // Without chunks, byte for byte.
    let mut old = Client::connect(live.address());
    old.send(Request::get(HEADERS).version("HTTP/1.0").to_bytes()).unwrap();
    assert_eq!(old.read_head().unwrap().status, 200);
    assert_eq!(old.read_some(100).unwrap(), b"\n");

    let never = Config { updates_keep_alive: Duration::ZERO, ..quick() };
    let live = Live::new(&blocks, never);
    live.listen(HEADERS).assert_silent(Duration::from_millis(700));
}

#[test]
fn stream_outlives_all_times_that_are_for_other_connections() {
    let short = Duration::from_millis(400);
    let config = Config { idle_time: short, stall_time: short, head_time: short, ..quick() };
    let config = Config { updates_keep_alive: Duration::ZERO, ..config };
    let blocks = line(0, 5);
    let mut live = Live::new(&blocks[..2], config);
    let mut events = live.listen(HEADERS);
    for block in &blocks[2..] {
        events.assert_silent(short * 3);
        live.add([block]);
        assert_eq!(events.hashes(1), hashes([block]));
    }
}

#[test]
fn streams_end_as_they_should_when_the_server_stops() {
    let mut live = Live::new(&line(0, 2), quick());
    let mut streams: Vec<Events> =
        [HEADERS, BLOCKS, &format!("{HEADERS}?resume")].map(|target| live.listen(target)).into();
    let old = Request::get(HEADERS).version("HTTP/1.0");
    let mut old_client = Client::connect(live.address());
    old_client.send(old.to_bytes()).unwrap();
    assert_eq!(old_client.read_head().unwrap().status, 200);
    let begin = Instant::now();
    live.stop();
    for events in &mut streams {
        assert_eq!(events.event(), None);
    }
    assert!(old_client.drain());
    drop(live.end());
    assert!(begin.elapsed() < Config::default().drain_time, "nobody waits for them");
}

#[test]
fn streams_over_the_limit_are_answered_503_or_end_if_they_resume() {
    let live = Live::new(&line(0, 2), Config { subscribers_max: 3, ..quick() });
    let mut streams: Vec<Events> = (0..3).map(|_| live.listen(HEADERS)).collect();
    let refused = Client::connect(live.address()).ask(&Request::get(BLOCKS));
    assert!(reason(&refused, 503).contains("event streams"));
    assert_eq!(refused.header("Retry-After"), Some("1"));
    // An `EventSource` would give up, but these clients only want to continue.
    for method in ["GET", "POST"] {
        let request = Request::new(method, format!("{BLOCKS}?resume"));
        let mut ends = Events::open(live.address(), &request);
        assert_eq!(ends.chunk(), Ok(Some(b"retry:10000\n\n".to_vec())), "{method}");
        assert_eq!(ends.chunk(), Ok(None), "{method}");
    }
    assert_eq!(live.metric("plait_subscribers_open"), Some(3.0));
    assert_eq!(live.metric("plait_subscribers_refused_total"), Some(3.0));
    assert_eq!(live.metric("plait_streams_open"), Some(3.0));
    streams.pop();
    live.await_metric("plait_subscribers_open", |open| open < 2.5);
    streams.push(live.listen(BLOCKS));
    drop(streams);
    live.await_metric("plait_subscribers_open", |open| open < 0.5);
    live.await_metric("plait_streams_open", |open| open < 0.5);
}

#[test]
fn subscribers_that_go_are_forgotten() {
    let blocks = line(0, 40);
    let mut live = Live::new(&blocks[..1], quick());
    let mut stays = live.listen(HEADERS);
    for block in &blocks[1..] {
        let gone: Vec<Events> = (0..10).map(|_| live.listen(HEADERS)).collect();
        drop(gone);
        live.add([block]);
    }
    assert_eq!(stays.hashes(39), hashes(&blocks[1..]));
    live.await_metric("plait_subscribers_open", |open| open < 1.5);
}

#[test]
fn network_that_begins_has_its_first_blocks_announced() {
    let genesis = genesis(plait_engine::ChainId::new(4));
    let mut live = Live::new([], quick());
    let mut events = live.listen(HEADERS);
    live.add([&genesis]);
    assert_eq!(events.hashes(1), hashes([&genesis]));
}

#[test]
fn what_is_cut_off_breaks_and_what_ends_does_not() {
    let blocks = line(0, 3);
    let mut live = Live::new(&blocks[..2], quick());
    let mut events = live.listen(HEADERS);
    live.add(&blocks[2..]);
    assert!(events.event().is_some());
    live.stop();
    assert_eq!(events.chunk(), Ok(None));
    assert!(!matches!(events.chunk(), Err(Ended::Silent(_))));
}
