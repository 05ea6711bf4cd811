//! Clients that do not do their part: each holds one connection for a limited time and little
//! memory, and nobody else waits for it. Limits are short here; bounds on time are generous.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use testkit::http::{Client, Ended, Request};
use testkit::say;
use testkit::server::{Replayed, Server};

use crate::http_data::{OCTETS, Served, Tree, bounds, on, served_with, world};

/// Far more than any limit set here.
const LONG: Duration = Duration::from_secs(20);

/// Waits until the server closes the connection, and says how long that took since `begin`.
fn closed(client: &mut Client, begin: Instant) -> Duration {
    client.set_patience(LONG);
    assert!(client.drain(), "the connection is still open");
    begin.elapsed()
}

#[test]
fn connection_without_a_request_is_closed() {
    let server = served_with(&["--head-time", "0.5"]);
    let begin = Instant::now();
    let mut client = server.connect();
    assert!(closed(&mut client, begin) >= Duration::from_millis(400));
}

#[test]
fn half_a_request_is_given_up_however_steadily_it_comes() {
    let server = served_with(&["--head-time", "0.5"]);
    let whole = Request::get("/info").to_bytes();
    let begin = Instant::now();
    let mut silent = server.connect();
    silent.send(&whole[..20]).unwrap();
    assert!(closed(&mut silent, begin) >= Duration::from_millis(400));

    let mut steady = server.connect();
    let begin = Instant::now();
    steady.send("GET /info HTTP/1.1\r\n").unwrap();
    while steady.send("X: y\r\n").is_ok() {
        assert!(begin.elapsed() < LONG, "a head of one line every 50 ms goes on");
        thread::sleep(Duration::from_millis(50));
    }

    let mut second = server.connect();
    assert_eq!(second.ask(&Request::get("/info")).status, 200);
    let begin = Instant::now();
    second.send(&whole[..20]).unwrap();
    assert!(closed(&mut second, begin) >= Duration::from_millis(400));
}

#[test]
fn idle_connection_is_closed() {
    let server = served_with(&["--idle-time", "0.5", "--head-time", "30"]);
    let mut client = server.connect();
    assert_eq!(client.ask(&Request::get("/info")).status, 200);
    let begin = Instant::now();
    assert!(closed(&mut client, begin) >= Duration::from_millis(400));
}

#[test]
fn slow_body_is_answered_408() {
    let server = served_with(&["--body-time", "0.5"]);
    let head = Request::new("POST", on(0, "hash/branch")).header("Content-Length", "1000");
    let mut silent = server.connect();
    silent.send(head.to_bytes()).unwrap();
    silent.send("{").unwrap();
    let answer = silent.read("POST").unwrap();
    assert_eq!(answer.status, 408);
    assert!(answer.text().contains("in time") && answer.closes());

    let mut steady = server.connect();
    steady.send(head.to_bytes()).unwrap();
    let begin = Instant::now();
    for _ in 0..100 {
        assert!(begin.elapsed() < LONG);
        if steady.send(" ").is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(steady.read("POST").unwrap().status, 408);
}

/// A chain of forty thousand blocks: 12.7 MB, more than the system keeps for a connection.
fn endless(flags: &[&str]) -> (Served, Tree) {
    let mut tree = Tree::new(2);
    tree.grow(0, 40_000);
    let database = Replayed::new("development", tree.dump(), &["--format", "binary"]);
    (Served::new(database, flags), tree)
}

#[test]
fn client_that_stops_reading_holds_little_and_is_cut_off() {
    let (server, tree) = endless(&["--stall-time", "2"]);
    let whole = tree.len() * 318;
    let list = Request::get(on(2, "header")).accept(OCTETS);
    let body = bounds(&[tree.hash(tree.len() - 1)], &[]);
    let branch = Request::post(on(2, "header/branch"), body).accept(OCTETS);
    // As many at once as will stall, so that the caches and heaps of all threads are warm.
    thread::scope(|scope| {
        for i in 0..32 {
            let request = if i % 2 == 0 { &list } else { &branch };
            scope.spawn(|| assert_eq!(server.ask(request).body.len(), whole));
        }
    });
    let before = server.resident_bytes();
    let mut stalled: Vec<Client> = (0..32)
        .map(|i| {
            let mut client = server.connect();
            client.send(if i % 2 == 0 { list.to_bytes() } else { branch.to_bytes() }).unwrap();
            assert_eq!(client.read_head().unwrap().status, 200);
            client
        })
        .collect();
    // Meanwhile others are served, and the stalled hold no thread.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(1) {
        assert_eq!(server.get(&on(2, "hash?limit=10")).status, 200);
        assert_eq!(server.get("/health-check").status, 200);
    }
    if let (Some(before), Some(after)) = (before, server.resident_bytes()) {
        let grown = after.saturating_sub(before) / 1_000_000;
        assert!(grown < 100, "32 clients of 12.7 MB each hold {grown} MB");
        say(&format!("32 clients that do not read hold {grown} MB"));
    }
    thread::sleep(Duration::from_millis(2500));
    for client in &mut stalled {
        client.set_patience(LONG);
        let mut got = 0;
        loop {
            match client.read_some(1 << 20) {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => got += bytes.len(),
                Err(error) => {
                    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "still open");
                    break;
                }
            }
        }
        assert!(got < whole, "{got} of {whole}");
    }
    assert_eq!(server.ask(&list).body.len(), whole);
}

#[test]
fn slow_reader_gets_everything() {
    let (server, tree) = endless(&["--stall-time", "1.5", "--idle-time", "1", "--head-time", "1"]);
    let mut client = server.connect();
    client.send(Request::get(on(2, "header")).accept(OCTETS).to_bytes()).unwrap();
    let mut got = Vec::new();
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(300));
        let end = got.len() + 700_000;
        while got.len() < end {
            got.extend(client.read_some(end - got.len()).unwrap());
        }
    }
    while !got.ends_with(b"0\r\n\r\n") {
        let more = client.read_some(1 << 20).unwrap();
        assert!(!more.is_empty(), "cut after {}", got.len());
        got.extend(more);
    }
    assert!(got.len() > tree.len() * 318);
}

#[test]
fn client_that_reads_none_of_its_pipelined_answers_is_cut_off() {
    let (mut server, _) = endless(&["--stall-time", "1"]);
    let mut client = server.connect();
    client.set_patience(LONG);
    let request = Request::get(on(2, "header")).to_bytes();
    let begin = Instant::now();
    // Each answer has 150 kB: more than all buffers together after some hundred.
    while client.send(&request).is_ok() {
        assert!(begin.elapsed() < LONG, "the server reads on");
    }
    assert!(server.is_running());
    assert_eq!(server.get("/health-check").status, 200);
}

#[test]
fn connections_over_the_cap_are_answered_503() {
    let server = served_with(&["--max-connections", "2"]);
    let info = Request::get("/info");
    let mut first = server.connect();
    let mut second = server.connect();
    assert_eq!((first.ask(&info).status, second.ask(&info).status), (200, 200));
    for path in ["/info", "/health-check"] {
        let mut third = server.connect();
        let answer = third.ask(&Request::get(path));
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("Retry-After"), Some("1"));
        assert_eq!(answer.header("X-Peer-Addr"), Some(&*third.address().to_string()));
        assert!(answer.text().contains("too many connections") && answer.closes());
        assert!(third.drain());
    }
    assert_eq!(first.ask(&info).status, 200, "those that are in stay in");
    drop(second);
    let begin = Instant::now();
    while server.get("/info").status != 200 {
        assert!(begin.elapsed() < LONG, "the place of one that left is free");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn flood_of_connections_over_the_cap_is_survived() {
    let server = served_with(&["--max-connections", "4", "--head-time", "1"]);
    let idle: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    let begin = Instant::now();
    drop(idle);
    loop {
        match server.connect().try_ask(&Request::get("/health-check")) {
            Ok(answer) if answer.status == 200 => break,
            Ok(answer) => assert_eq!(answer.status, 503),
            Err(Ended::Closed | Ended::Cut(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
        assert!(begin.elapsed() < LONG);
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn clients_that_vanish_do_no_harm() {
    let mut server = served_with(&[]);
    let body = bounds(&[world().forked.hash(world().trunk[700])], &[]);
    for round in 0..60 {
        let mut client = server.connect();
        let request = match round % 3 {
            0 => Request::get(on(1, "header")).accept(OCTETS).to_bytes(),
            1 => Request::post(on(0, "header/branch"), body.clone()).to_bytes(),
            _ => Request::post(on(0, "header/branch"), body.clone()).to_bytes()[..90].to_vec(),
        };
        client.send(request).unwrap();
        drop(client);
    }
    assert!(server.is_running());
    assert_eq!(server.get("/health-check").status, 200);
}

/// Waits until a number of the server is at most what it was.
fn await_at_most(server: &Server, sample: &str, before: f64) {
    let begin = Instant::now();
    loop {
        let now = server.metric(sample).expect("the system tells");
        if now <= before {
            return;
        }
        assert!(begin.elapsed() < LONG, "{sample}: {now}, and {before} before");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn clients_that_vanish_in_a_stream_leave_nothing_behind() {
    let (server, tree) = endless(&["--metrics", "127.0.0.1:0"]);
    let whole = tree.len() * 318;
    let list = Request::get(on(2, "header")).accept(OCTETS);
    let branch = Request::post(on(2, "header/branch"), bounds(&[tree.hash(tree.len() - 1)], &[]));
    let branch = branch.accept(OCTETS);
    // As many at once as will vanish, so that all threads there will be are there.
    thread::scope(|scope| {
        for i in 0..32 {
            let request = if i % 2 == 0 { &list } else { &branch };
            scope.spawn(|| assert_eq!(server.ask(request).body.len(), whole));
        }
    });
    let held = ["process_open_fds", "process_threads", "plait_snapshots_open"];
    await_at_most(&server, "plait_connections_open", 0.0);
    let before = held.map(|sample| server.metric(sample).unwrap());
    for round in 0..96 {
        let mut client = server.connect();
        client.send(if round % 2 == 0 { list.to_bytes() } else { branch.to_bytes() }).unwrap();
        if round % 3 > 0 {
            assert_eq!(client.read_head().unwrap().status, 200);
            let some = client.read_some(1 << (round % 20)).unwrap();
            assert!(!some.is_empty());
        }
        if round % 3 == 2 {
            client.finish();
        }
    }
    for sample in ["plait_streams_open", "plait_connections_open", "plait_reads_running"] {
        await_at_most(&server, sample, 0.0);
    }
    for (sample, before) in held.into_iter().zip(before) {
        await_at_most(&server, sample, before);
    }
}

/// So many connections, or as many as the system lets this process and one that it starts open.
pub(crate) fn crowd_of(clients: u64) -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let crowd = maximum.map_or(clients, |most| clients.min(most.saturating_sub(1000)));
    if crowd < clients {
        say(&format!("only {crowd} connections: the system allows {maximum:?} open files"));
    }
    crowd
}

#[test]
fn ten_thousand_idle_and_slow_connections_are_borne() {
    let crowd = crowd_of(10_000);
    let most = (crowd + 100).to_string();
    let flags = ["--max-connections", &*most, "--head-time", "3600", "--metrics", "127.0.0.1:0"];
    let server = served_with(&flags);
    assert_eq!(server.get(&on(0, "hash?limit=10")).status, 200);
    await_at_most(&server, "plait_connections_open", 0.0);
    let files = server.metric("process_open_fds").unwrap();
    let memory = server.resident_bytes();
    let mut clients: Vec<Client> = (0..crowd).map(|_| server.connect()).collect();
    let half = clients.len() / 2;
    for byte in b"GET /info" {
        for client in &mut clients[..half] {
            client.send([*byte]).unwrap();
        }
        assert_eq!(server.get(&on(0, "hash?limit=10")).status, 200);
        assert_eq!(server.get("/ready").status, 200);
    }
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let open = crowd as f64;
    assert!(server.metric("plait_connections_open").unwrap() >= open);
    if let (Some(before), Some(now)) = (memory, server.resident_bytes()) {
        let each = now.saturating_sub(before) / crowd;
        say(&format!("{crowd} connections hold {each} bytes each"));
        assert!(each < 64 << 10, "{each} bytes each");
    }
    // One of them goes on, and is answered.
    clients[0].send(" HTTP/1.1\r\nHost: slow\r\n\r\n").unwrap();
    assert_eq!(clients[0].read("GET").unwrap().status, 200);
    drop(clients);
    await_at_most(&server, "plait_connections_open", 0.0);
    await_at_most(&server, "process_open_fds", files);
    assert_eq!(server.get(&on(0, "hash?limit=10")).status, 200);
}
