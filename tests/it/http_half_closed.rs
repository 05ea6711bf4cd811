//! Clients that close their sending side after a request and wait for the response: `nc -N`,
//! HTTP/1.0 tools. And clients that close both sides.

use std::thread;
use std::time::{Duration, Instant};

use testkit::http::{Client, Ended, Request};

use crate::http_data::{BASE, OCTETS, bounds, on, page, served, served_with, world};
use crate::push_http::{folder, request, taking};

const LONG: Duration = Duration::from_secs(30);

/// A client that has sent `bytes` and closed its sending side.
fn sent(mut client: Client, bytes: &[u8]) -> Client {
    client.send(bytes).unwrap();
    client.finish();
    client
}

#[test]
fn client_that_closes_its_side_gets_every_response() {
    let server = served();
    let tree = &world().forked;
    let body = bounds(&[tree.hash(world().trunk[700])], &[]);
    let all = [
        Request::get("/info"),
        Request::get(format!("{BASE}/cut")),
        Request::get(on(1, "hash")),
        Request::get(on(1, "header")),
        Request::get(on(1, "header")).accept(OCTETS),
        Request::post(on(0, "header/branch"), body.clone()),
        Request::post(on(0, "hash/branch"), body),
        Request::get("/nowhere"),
        Request::post(on(0, "hash/branch"), "{"),
        Request::new("OPTIONS", "/info"),
    ];
    for request in all {
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            let request = request.clone().version(version);
            let expected = server.ask(&request);
            // This was a race: half of the attempts failed.
            for _ in 0..10 {
                let mut client = sent(server.connect(), &request.to_bytes());
                let got = client.read(request.method());
                let got = got.unwrap_or_else(|ended| panic!("{version} {request}: {ended:?}"));
                assert_eq!((got.status, &got.body), (expected.status, &expected.body), "{request}");
                assert!(
                    client.drain(),
                    "{version} {request}: the server closes the connection after the response"
                );
            }
        }
    }
}

#[test]
fn pipeline_of_a_client_that_closes_its_side_is_answered_to_the_end() {
    let server = served();
    let one = Request::get(on(0, "hash?limit=700")).to_bytes();
    let mut client = sent(server.connect(), &one.repeat(50));
    for _ in 0..50 {
        assert_eq!(page(&client.read("GET").unwrap()).items.len(), 700);
    }
    assert_eq!(client.read("GET"), Err(Ended::Closed));
}

#[test]
fn long_response_reaches_a_slow_client_that_has_closed_its_side() {
    let server = served();
    let request = Request::get(on(1, "header")).accept(OCTETS);
    let expected = server.ask(&request).body;
    let mut client = sent(server.connect(), &request.to_bytes());
    // By then the socket buffers are full, and the response is not complete.
    thread::sleep(Duration::from_millis(300));
    assert!(client.read("GET").unwrap().body == expected);
    assert!(client.drain());
}

#[test]
fn request_that_is_cut_off_is_refused_at_once() {
    let server = served_with(&["--body-time", "60"]);
    let request = Request::new("POST", on(0, "hash/branch")).header("Content-Length", "100");
    // If the server waited for the rest, the status would be 408.
    for part in ["", "{\"upper\":"] {
        let bytes = [&request.to_bytes()[..], part.as_bytes()].concat();
        assert_eq!(sent(server.connect(), &bytes).read("POST").unwrap().status, 400);
    }
    let chunked = Request::new("POST", on(0, "hash/branch")).header("Transfer-Encoding", "chunked");
    let bytes = [&chunked.to_bytes()[..], b"2\r\n{}\r\n"].concat();
    assert_eq!(sent(server.connect(), &bytes).read("POST").unwrap().status, 400);
    let half = b"GET /info HTTP/1.1\r\nHost:";
    assert!(sent(server.connect(), half).drain());
}

/// Polls a metric of the server.
fn until(server: &testkit::server::Server, sample: &str, value: f64) {
    let begin = Instant::now();
    while server.metric(sample) != Some(value) {
        assert!(begin.elapsed() < LONG, "{sample} is {:?}", server.metric(sample));
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn client_that_closes_its_side_and_reads_nothing_is_dropped() {
    let flags = ["--stall-time", "0.5", "--metrics", "127.0.0.1:0", "--max-page-headers", "100000"];
    let server = served_with(&flags);
    let request = Request::get(on(1, "header"));
    // Far more than the socket buffers hold.
    let clients: Vec<Client> =
        (0..4).map(|_| sent(server.connect(), &request.to_bytes().repeat(20))).collect();
    until(&server, "plait_connections_open", 0.0);
    drop(clients);
}

#[test]
fn event_stream_of_a_client_that_closes_its_side_goes_on_until_it_is_gone() {
    let flags = ["--metrics", "127.0.0.1:0", "--updates-keep-alive", "0"];
    let server = served_with(&flags);
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        let request = Request::get(format!("{BASE}/header/updates")).version(version);
        let mut client = sent(server.connect(), &request.to_bytes());
        assert_eq!(client.read_head().unwrap().status, 200);
        until(&server, "plait_connections_open", 1.0);
        // It gets only empty lines, for as long as it is connected.
        client.set_patience(Duration::from_secs(2));
        for _ in 0..3 {
            let line = if version == "HTTP/1.1" {
                client.read_chunk().unwrap().unwrap()
            } else {
                client.read_some(1).unwrap()
            };
            assert_eq!(line, b"\n", "{version}");
        }
        assert_eq!(server.metric("plait_connections_open"), Some(1.0), "{version}");
        drop(client);
        until(&server, "plait_connections_open", 0.0);
    }
}

#[test]
fn client_that_is_gone_is_noticed_though_no_event_comes() {
    let flags = ["--metrics", "127.0.0.1:0", "--updates-keep-alive", "0"];
    let server = served_with(&flags);
    let request = Request::get(format!("{BASE}/header/updates")).to_bytes();
    let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(&request).unwrap();
        assert_eq!(client.read_head().unwrap().status, 200);
    }
    until(&server, "plait_connections_open", 20.0);
    drop(clients);
    until(&server, "plait_connections_open", 0.0);
}

#[test]
fn client_that_pushes_or_watches_may_close_its_side_too() {
    let db = folder();
    let headers = crate::push::generated(5, 1, 0.0);
    let server = taking(db.path(), &["--metrics", "127.0.0.1:0"]);
    let bytes = request(OCTETS, testkit::block::dump(&headers)).to_bytes();
    for known in [false, true] {
        let mut client = sent(crate::push_http::client(&server), &bytes);
        let answer = client.read("POST").unwrap();
        let sum = if known { [0, 100, 0, 0] } else { [100, 0, 0, 0] };
        crate::push_http::assert_sum(&answer, sum);
        assert!(client.drain());
    }
    for _ in 0..10 {
        let watcher = Client::connect(server.watched());
        let mut watcher = sent(watcher, &Request::get("/metrics").to_bytes());
        assert_eq!(watcher.read("GET").unwrap().status, 200);
    }
}
