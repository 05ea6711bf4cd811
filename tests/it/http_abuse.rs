//! Clients that mean harm: shapes that smuggle a request past a proxy, floods of frames, everything huge,
//! and more connections than the process may open. The server answers others meanwhile, holds little,
//! and lives on.

use std::time::{Duration, Instant};

use testkit::http::{Client, Ended, Request};
use testkit::say;
use testkit::server::Server;

use crate::http_data::{on, served, served_with};

/// How a connection of HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that a process may hold more than before, whatever one client sends.
const MEMORY_MAX: u64 = 64 << 20;

/// Bytes of one flood: far more than any buffer.
const FLOOD_BYTES: usize = 4 << 20;

/// How long others may wait during a flood. Generous, for machines that do other things as well.
const PATIENCE: Duration = Duration::from_secs(15);

/// A request in a request's body: whoever reads on where the body is takes it for one.
const SMUGGLED: &str = "0\r\n\r\nDELETE /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

/// Heads that say twice, or wrongly, where a body ends.
pub(crate) const SHAPES: [&str; 24] = [
    "Content-Length: 5\r\nContent-Length: 6\r\n",
    "Content-Length: 5, 6\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: -5\r\n",
    "Content-Length: 0x5\r\n",
    "Content-Length: 5 5\r\n",
    "Content-Length: 18446744073709551621\r\n",
    "Content-Length : 5\r\n",
    "Content-Length:\r\n",
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\n Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding: \"chunked\"\r\n",
    "Transfer-Encoding: \u{b}chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding\u{0}: chunked\r\n",
    "Transfer-Encoding: chunked\u{0}\r\n",
    "X: y\rTransfer-Encoding: chunked\r\n",
    "X: y\r\n\tTransfer-Encoding: chunked\r\n",
    ": chunked\r\n",
];

/// The status of each answer on a connection until it ends.
fn statuses(client: &mut Client) -> Vec<u16> {
    let mut all = Vec::new();
    loop {
        match client.read("POST") {
            Ok(answer) => all.push(answer.status),
            Err(Ended::Closed | Ended::Cut(_)) => return all,
            Err(other) => panic!("after {all:?}: {other:?}"),
        }
    }
}

#[test]
fn a_body_whose_end_is_not_plain_is_never_taken_for_another_request() {
    let server = served();
    let path = on(0, "hash/branch");
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        for shape in SHAPES {
            let mut client = server.connect();
            let head = format!("POST {path} {version}\r\nHost: x\r\n{shape}\r\n");
            client.send(head + SMUGGLED).unwrap();
            client.finish();
            let all = statuses(&mut client);
            let is_refused = |status: &u16| (400..500).contains(status);
            assert!(all.len() <= 1 && all.iter().all(is_refused), "{version} {shape:?}: {all:?}");
            // 404 would be the answer to what was smuggled.
            assert_ne!(all, [404], "{version} {shape:?}");
        }
    }
    assert_eq!(server.get("/health-check").status, 200);
}

#[test]
fn a_body_without_a_length_is_none() {
    // So what follows is a request of its own: a proxy that sends it on says so as well.
    let server = served();
    let mut client = server.connect();
    client.send(format!("POST {} HTTP/1.1\r\nHost: x\r\n\r\n", on(0, "hash/branch"))).unwrap();
    client.send("DELETE /smuggled HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let answers = [client.read("POST"), client.read("DELETE")];
    assert_eq!(answers.map(|answer| answer.unwrap().status), [400, 404]);
}

/// What a hostile client writes again and again behind some beginning.
struct Flood {
    name: &'static str,
    begin: Vec<u8>,
    again: Vec<u8>,
}

impl Flood {
    fn first(name: &'static str, begin: &str, again: &str) -> Self {
        Self { name, begin: begin.into(), again: again.into() }
    }

    fn second(name: &'static str, begin: &[u8], again: Vec<u8>) -> Self {
        let settings = frame(4, 0, 0, &[]);
        Self { name, begin: [PREFACE, &settings, begin].concat(), again }
    }
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    // The greatest byte first.
    let byte = |number: u32, bits: u32| u8::try_from(number >> bits & 0xff).unwrap();
    let bytes = |number: u32| [24, 16, 8, 0].map(|bits| byte(number, bits));
    let [_, len @ ..] = bytes(u32::try_from(payload.len()).unwrap());
    [&len[..], &[kind, flags], &bytes(stream), payload].concat()
}

/// The head of `GET /info`, compressed.
const HEAD: &[u8] = b"\x82\x86\x04\x05/info\x01\x01x";

/// Requests that are taken back at once, each on a stream of its own.
fn resets(count: u32) -> Vec<u8> {
    let both = |number: u32| {
        let stream = 2 * number + 1;
        [frame(1, 5, stream, HEAD), frame(3, 0, stream, &[0, 0, 0, 8])].concat()
    };
    (0..count).flat_map(both).collect()
}

/// A header of 4 kB, and then a reference of one byte to it, many times.
fn bomb() -> Vec<u8> {
    let long = [&b"\x40\x01x\x7f\xa1\x1e"[..], &[b'a'; 4000]].concat();
    let head = [HEAD, &long, &[0xbe; 12_000]].concat();
    frame(1, 5, 1, &head)
}

fn floods() -> Vec<Flood> {
    let chunked = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        on(0, "hash/branch")
    );
    let open_head = frame(1, 1, 1, HEAD);
    vec![
        Flood::first("a line without end", "GET /", "a"),
        Flood::first("a header without end", "GET /info HTTP/1.1\r\nX: ", "a"),
        Flood::first("headers without end", "GET /info HTTP/1.1\r\n", "X: y\r\n"),
        Flood::first("a body without end", &chunked, "1\r\n \r\n"),
        Flood::first("an extension without end", &format!("{chunked}1;"), "a=b;"),
        Flood::first("trailers without end", &format!("{chunked}0\r\n"), "X: y\r\n"),
        Flood::first("a size without end", &chunked, "0"),
        Flood::first("empty lines", "", "\r\n"),
        Flood::first("requests without reading", "", "GET /info HTTP/1.1\r\nHost: x\r\n\r\n"),
        Flood::second("settings", &[], frame(4, 0, 0, &[0, 3, 0, 0, 0, 9])),
        Flood::second("pings", &[], frame(6, 0, 0, &[7; 8])),
        Flood::second("windows", &[], frame(8, 0, 0, &[0, 0, 0, 1])),
        Flood::second("priorities", &[], frame(2, 0, 1, &[0, 0, 0, 3, 1])),
        Flood::second("unknown frames", &[], frame(99, 0, 0, &[1; 100])),
        Flood::second("continuations", &open_head, frame(9, 0, 1, b"\x00\x01x\x01y")),
        Flood::second("empty continuations", &open_head, frame(9, 0, 1, &[])),
        Flood::second("a bomb", &bomb(), frame(6, 0, 0, &[7; 8])),
        Flood::second("resets", &resets(40_000), Vec::new()),
        Flood::second("streams that end nowhere", &[], open_streams()),
    ]
}

/// Heads of requests whose bodies never come, more than may be open.
fn open_streams() -> Vec<u8> {
    let post = b"\x83\x86\x04\x05/info\x01\x01x";
    (0..2000).flat_map(|number| frame(1, 4, 2 * number + 1, post)).collect()
}

/// Writes a flood for as long as the server takes it, and reads none of what it answers.
fn pour(server: &Server, flood: &Flood) {
    let mut client = server.connect();
    client.set_patience(Duration::from_millis(500));
    let _ = client.send(&flood.begin);
    if flood.again.is_empty() {
        return;
    }
    let many = flood.again.repeat((64 << 10) / flood.again.len() + 1);
    for _ in 0..FLOOD_BYTES / many.len() {
        if client.send(&many).is_err() {
            return;
        }
    }
}

#[test]
fn floods_of_every_kind_cost_little_and_others_are_served() {
    let server = served_with(&["--log", "error", "--head-time", "5", "--body-time", "5"]);
    assert_eq!(server.get("/info").status, 200);
    let before = server.resident_bytes();
    for flood in floods() {
        std::thread::scope(|scope| {
            let poured = scope.spawn(|| pour(&server, &flood));
            while !poured.is_finished() {
                let begin = Instant::now();
                assert_eq!(server.get("/info").status, 200, "{}", flood.name);
                assert!(begin.elapsed() < PATIENCE, "{}: {:?}", flood.name, begin.elapsed());
            }
        });
        if let (Some(before), Some(now)) = (before, server.resident_bytes()) {
            let more = now.saturating_sub(before);
            assert!(more < MEMORY_MAX, "{}: {more} bytes", flood.name);
        }
    }
    assert_eq!(server.get("/health-check").status, 200);
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

#[test]
fn rapid_resets_end_the_connection() {
    let server = served();
    let mut client = server.connect();
    client.set_patience(PATIENCE);
    let _ = client.send([PREFACE, &frame(4, 0, 0, &[]), &resets(20_000)].concat());
    assert!(client.drain(), "it stays open");
    assert_eq!(server.get("/info").status, 200);
}

/// Leaves a process so many files more than it has, and lets it have more again when dropped.
#[cfg(target_os = "linux")]
struct FewFiles<'a>(&'a Server, rustix::process::Rlimit);

#[cfg(target_os = "linux")]
impl<'a> FewFiles<'a> {
    fn more(server: &'a Server, more: u64) -> Self {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let pid = Pid::from_raw(i32::try_from(server.id()).unwrap());
        let open = std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count() as u64;
        let old = rustix::process::getrlimit(Resource::Nofile);
        let few = Rlimit { current: Some(open + more), maximum: old.maximum };
        Self(server, prlimit(pid, Resource::Nofile, few).unwrap())
    }
}

#[cfg(target_os = "linux")]
impl Drop for FewFiles<'_> {
    fn drop(&mut self) {
        use rustix::process::{Pid, Resource, prlimit};
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap_or_default());
        let _ = prlimit(pid, Resource::Nofile, self.1);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn without_files_to_open_new_clients_wait_and_those_that_are_in_are_served() {
    let server = served_with(&[]);
    let mut inside: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    for client in &mut inside {
        assert_eq!(client.ask(&Request::get("/info")).status, 200);
    }
    let few = FewFiles::more(&server, 4);
    // Connected by the system; most are not accepted.
    let mut waiting: Vec<Client> = (0..32).map(|_| server.connect()).collect();
    let heads = on(0, "header?limit=3");
    for _ in 0..20 {
        for client in &mut inside {
            assert_eq!(client.ask(&Request::get(&heads)).status, 200);
        }
    }
    server.logged("cannot accept connections");
    drop(few);
    for client in &mut waiting {
        assert_eq!(client.ask(&Request::get("/info")).status, 200);
    }
    say("files: 36 connections with 8 to open, all answered in the end");
}

/// Every frame until the server sends nothing for three seconds: kind, flags, stream, payload.
fn frames(client: &mut Client) -> Vec<(u8, u8, u32, Vec<u8>)> {
    client.set_patience(Duration::from_secs(3));
    let (mut frames, mut bytes) = (Vec::new(), Vec::new());
    while let Ok(more) = client.read_some(1 << 16)
        && !more.is_empty()
    {
        bytes.extend(more);
        while let [a, b, c, kind, flags, stream @ ..] = &bytes[..]
            && let [w, x, y, z, rest @ ..] = stream
        {
            let number =
                |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
            let len = usize::try_from(number(&[*a, *b, *c])).unwrap();
            let Some(payload) = rest.get(..len) else { break };
            frames.push((*kind, *flags, number(&[*w, *x, *y, *z]), payload.to_vec()));
            bytes.drain(..9 + len);
        }
    }
    frames
}

#[test]
fn hundred_streams_that_are_opened_before_the_settings_are_read_are_all_served() {
    // As node and h2load do. The first frame of the server has the limit.
    let server = served();
    for count in [100, 128] {
        let mut client = server.connect();
        let requests = (0..count).flat_map(|number| frame(1, 5, 2 * number + 1, HEAD));
        let requests: Vec<u8> = requests.collect();
        // A window for all responses: this client reads, but sends no window updates.
        let window = frame(8, 0, 0, &[0, 0x7f, 0xff, 0xff]);
        client.send([PREFACE, &frame(4, 0, 0, &[]), &window, &requests].concat()).unwrap();
        let frames = frames(&mut client);
        let of_kind = |wanted: u8| frames.iter().filter(move |(kind, ..)| *kind == wanted).count();
        assert_eq!((of_kind(3), of_kind(7)), (0, 0), "streams that are refused, or a farewell");
        // Status 200, as its index in the static table of HPACK.
        let answered = frames.iter().filter(|(kind, _, _, head)| *kind == 1 && head[0] == 0x88);
        assert_eq!(answered.count(), usize::try_from(count).unwrap());
    }
}

#[test]
fn more_streams_of_one_connection_hold_no_more_than_32_did() {
    let server = served_with(&["--metrics", "127.0.0.1:0", "--stall-time", "60"]);
    let path = on(1, "header");
    let length = u8::try_from(path.len()).unwrap();
    // A binary response without a limit: it stays open while the client does not read.
    let accept = [&b"\x0f\x04\x18"[..], b"application/octet-stream"].concat();
    let head = [&b"\x82\x86\x01\x01x\x04"[..], &[length], path.as_bytes(), &accept].concat();
    let mut client = server.connect();
    // A window of one byte.
    let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 1]);
    let requests: Vec<u8> =
        (0..128).flat_map(|number| frame(1, 5, 2 * number + 1, &head)).collect();
    client.send([PREFACE, &settings, &requests].concat()).unwrap();
    let open = || server.metric("plait_streams_open");
    let begin = Instant::now();
    while open() != Some(32.0) {
        assert!(begin.elapsed() < PATIENCE, "{:?} streams", open());
    }
    let answered = frames(&mut client).iter().filter(|(kind, ..)| *kind == 1).count();
    assert_eq!((answered, open()), (32, Some(32.0)), "the others wait");
    // A cancelled stream frees a slot for the next.
    client.send(frame(3, 0, 1, &[0, 0, 0, 8])).unwrap();
    assert_eq!(frames(&mut client).iter().filter(|(kind, ..)| *kind == 1).count(), 1);
    assert_eq!(server.get("/info").status, 200);
}
