//! Event streams over HTTP/2.

use std::time::{Duration, Instant};

use h2::RecvStream;
use h2::client::Builder;
use http::{Method, Request, Response};
use plait::Config;
use plait_engine::{Header, Past};
use tokio::time::{sleep, timeout};

use crate::http_two::{Sender, connect_with};
use crate::live::{HEADERS, LONG, Live, hashes, line};

fn quick() -> Config {
    Config { updates_interval: Duration::from_millis(1), ..Config::default() }
}

async fn connect(live: &Live) -> Sender {
    connect_with(live.address(), Builder::new().initial_connection_window_size(1 << 20)).await
}

async fn ask(sender: &Sender, method: Method, path: &str) -> Response<RecvStream> {
    let request = Request::builder().method(method).uri(format!("http://plait.test{path}"));
    let mut sender = sender.clone().ready().await.unwrap();
    let (answer, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
    timeout(LONG, answer).await.unwrap().unwrap()
}

/// An event stream of which what comes is joined.
struct Stream {
    body: RecvStream,
    text: String,
}

impl Stream {
    async fn open(sender: &Sender, path: &str) -> Self {
        let (head, body) = ask(sender, Method::GET, path).await.into_parts();
        assert_eq!(head.status.as_u16(), 200);
        assert_eq!(head.headers["content-type"], "text/event-stream");
        assert_eq!(head.headers["x-accel-buffering"], "no");
        assert!(head.headers.get("transfer-encoding").is_none());
        Self { body, text: String::new() }
    }

    /// The next event; `None` at the end.
    async fn event(&mut self) -> Result<Option<String>, h2::Error> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                return Ok(Some(event));
            }
            let Some(data) = timeout(LONG, self.body.data()).await.expect("something comes") else {
                return Ok(None);
            };
            let data = data?;
            self.body.flow_control().release_capacity(data.len())?;
            self.text.push_str(str::from_utf8(&data).unwrap());
        }
    }

    async fn assert_hears(&mut self, blocks: &[Header]) {
        for hash in hashes(blocks) {
            let event = self.event().await.unwrap().expect("the stream goes on");
            assert!(event.starts_with("event:BlockHeader\ndata:{\"header\":{"), "{event}");
            assert!(event.contains(&format!("\"hash\":\"{hash}\"}}")), "{event}");
        }
    }
}

#[tokio::test]
async fn many_streams_share_a_connection() {
    let blocks = line(0, 60);
    let mut live = Live::new(&blocks[..2], quick());
    let sender = connect(&live).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(Stream::open(&sender, HEADERS).await);
    }
    for some in blocks[2..].chunks(10) {
        live.add(some);
        for stream in &mut streams {
            stream.assert_hears(some).await;
        }
        let info = ask(&sender, Method::GET, "/info").await;
        assert_eq!(info.status().as_u16(), 200);
    }
    let head = ask(&sender, Method::HEAD, HEADERS).await;
    assert!(head.body().is_end_stream() && head.headers().get("content-length").is_none());
    drop(streams);
    await_none(&live).await;
}

/// Waits until nobody listens; meanwhile the client says that it has gone.
async fn await_none(live: &Live) {
    let begin = Instant::now();
    while live.metric("plait_subscribers_open") != Some(0.0) {
        assert!(begin.elapsed() < LONG, "somebody listens");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn silent_streams_get_empty_lines_be_they_waiting_for_a_block_or_not() {
    let blocks = line(0, 6);
    let keep_alive = Duration::from_millis(100);
    let mut live = Live::new(&blocks[..2], Config { updates_keep_alive: keep_alive, ..quick() });
    let sender = connect(&live).await;
    let block = blocks[3].view();
    let id = Past::new([(block.chain(), block.rank())]).position();
    let waiting = format!("{HEADERS}?resume&lastEventId={id}");
    let mut streams = [Stream::open(&sender, HEADERS).await, Stream::open(&sender, &waiting).await];
    for _ in 0..3 {
        for stream in &mut streams {
            let data = timeout(LONG, stream.body.data()).await.expect("something comes");
            assert_eq!(data.unwrap().unwrap(), "\n");
        }
    }
    live.add(&blocks[2..]);
    let [plain, resumed] = &mut streams;
    let is_line = |event: &Option<String>| event.as_ref().is_some_and(String::is_empty);
    for (stream, missed) in [(plain, &blocks[2..]), (resumed, &blocks[4..])] {
        for hash in hashes(missed) {
            let event = loop {
                let event = stream.event().await.unwrap();
                let event = event.map(|event| event.trim_start_matches('\n').to_owned());
                if !is_line(&event) {
                    break event.expect("the stream goes on");
                }
            };
            assert!(event.contains("event:BlockHeader\n"), "{event}");
            assert!(event.contains(&format!("\"hash\":\"{hash}\"}}")), "{event}");
        }
    }
}

#[tokio::test]
async fn streams_end_as_they_should_when_the_server_stops() {
    let blocks = line(0, 4);
    let mut live = Live::new(&blocks[..2], quick());
    let sender = connect(&live).await;
    let mut stream = Stream::open(&sender, HEADERS).await;
    live.add(&blocks[2..]);
    stream.assert_hears(&blocks[2..]).await;
    let begin = Instant::now();
    live.stop();
    assert_eq!(stream.event().await.unwrap(), None, "no reset, no error");
    // Elsewhere, for the client has to answer meanwhile.
    tokio::task::spawn_blocking(move || drop(live.end())).await.unwrap();
    assert!(begin.elapsed() < Config::default().drain_time);
}

#[tokio::test]
async fn stream_that_waits_outlives_all_times() {
    let short = Duration::from_millis(300);
    let config = Config { idle_time: short, stall_time: short, head_time: short, ..quick() };
    let config = Config { updates_keep_alive: Duration::ZERO, ..config };
    let blocks = line(0, 5);
    let mut live = Live::new(&blocks[..2], config);
    let sender = connect(&live).await;
    let mut stream = Stream::open(&sender, HEADERS).await;
    for block in &blocks[2..] {
        sleep(short * 4).await;
        live.add([block]);
        stream.assert_hears(std::slice::from_ref(block)).await;
    }
}

#[tokio::test]
async fn stream_that_makes_no_room_is_dropped_though_another_is_lively() {
    let blocks = line(0, 600);
    let config = Config { stall_time: Duration::from_millis(700), ..quick() };
    let mut live = Live::new(&blocks[..2], config);
    let sender = connect(&live).await;
    let mut lively = Stream::open(&sender, HEADERS).await;
    let stalled = Stream::open(&sender, HEADERS).await;
    let begin = Instant::now();
    // Each has a window of 64 kB, which takes some sixty events.
    let mut rest = blocks[2..].chunks(5);
    loop {
        let Some(some) = rest.next() else { panic!("the connection lives on") };
        live.add(some);
        let mut broken = false;
        for _ in some {
            broken |= !matches!(lively.event().await, Ok(Some(_)));
        }
        if broken {
            break;
        }
        sleep(Duration::from_millis(40)).await;
    }
    assert!(begin.elapsed() > Duration::from_millis(700) && begin.elapsed() < LONG);
    drop(stalled);
    await_none(&live).await;
}
