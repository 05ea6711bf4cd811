//! Many HTTP/2 streams at once, and the bodies of their requests.

use std::future::poll_fn;
use std::time::Duration;

use h2::client::{Builder, ResponseFuture};
use h2::{Reason, SendStream};
use http::{Method, Request, StatusCode};
use serde_json::json;
use testkit::server::Server;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::http_data::{on, served, served_with};
use crate::http_two::{Sender, connect_with};

/// Far more than any limit set here.
const LONG: Duration = Duration::from_secs(20);

/// As in the server.
const STREAMS_MAX: usize = 128;
const OPEN_STREAMS_MAX: usize = 16_384;

async fn connect(server: &Server) -> Sender {
    connect_with(server.address(), Builder::new().initial_max_send_streams(STREAMS_MAX)).await
}

async fn open(sender: &Sender, path: &str) -> (ResponseFuture, SendStream<&'static [u8]>) {
    let request = Request::builder().method(Method::POST).uri(format!("http://plait.test{path}"));
    let request = request.header("content-type", "application/json").body(()).unwrap();
    sender.clone().ready().await.unwrap().send_request(request, false).unwrap()
}

/// Sends a body as the windows of the stream and the connection allow it.
async fn send(
    mut stream: SendStream<&'static [u8]>,
    mut body: &'static [u8],
) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(capacity) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return Ok(()) };
        let (part, rest) = body.split_at(capacity?.min(body.len()));
        stream.send_data(part, rest.is_empty())?;
        body = rest;
    }
    Ok(())
}

/// 1,000 hashes, 46 kB: 100 of these are longer than the window of a connection. The server has none of the
/// payloads.
fn batch() -> &'static [u8] {
    json!(vec!["A".repeat(43); 1000]).to_string().leak().as_bytes()
}

#[tokio::test]
async fn a_hundred_long_bodies_at_once_on_one_connection_all_arrive() {
    let server = served();
    let sender = connect(&server).await;
    let (mut answers, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let (answer, stream) = open(&sender, &on(0, "payload/batch")).await;
        answers.push(answer);
        streams.push(stream);
    }
    // The bodies of the requests that wait for a slot come first, and fill the window.
    for stream in streams.into_iter().rev() {
        tokio::spawn(send(stream, batch()));
    }
    for answer in answers {
        let answer = timeout(LONG, answer).await.expect("in time").unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn waiting_bodies_beyond_the_budget_get_503_and_the_others_are_answered() {
    let server = served_with(&["--max-bodies-bytes", "524288"]);
    let sender = connect(&server).await;
    let (batch, mut answers, mut streams) = (batch(), JoinSet::new(), Vec::new());
    // The first 10 kB of a hundred bodies: none of them is whole, and no more than 51 fit into the budget.
    for _ in 0..100 {
        let (answer, mut stream) = open(&sender, &on(0, "payload/batch")).await;
        stream.send_data(&batch[..10_000], false).unwrap();
        streams.push(stream);
        answers.spawn(async { answer.await.unwrap().status().as_u16() });
    }
    let first = timeout(LONG, answers.join_next()).await.expect("in time").unwrap();
    assert_eq!(first.unwrap(), 503);
    for stream in streams {
        tokio::spawn(send(stream, &batch[10_000..]));
    }
    let statuses = timeout(LONG, answers.join_all()).await.expect("in time");
    let count = |status| statuses.iter().filter(|got| **got == status).count();
    assert!(count(200) > 0 && count(200) + count(503) == 99, "{statuses:?}");
    let (answer, stream) = open(&sender, &on(0, "payload/batch")).await;
    send(stream, batch).await.unwrap();
    assert_eq!(timeout(LONG, answer).await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn streams_beyond_the_limit_of_all_connections_are_refused_and_return_their_memory() {
    let server = served_with(&["--body-time", "60"]);
    let resident = || server.resident_bytes().unwrap();
    let before = resident();
    let (mut senders, mut held) = (Vec::new(), Vec::new());
    for _ in 0..OPEN_STREAMS_MAX / STREAMS_MAX + 2 {
        let sender = connect(&server).await;
        for _ in 0..STREAMS_MAX {
            held.push(open(&sender, &on(0, "payload/batch")).await);
        }
        senders.push(sender);
    }
    // The last connections find no place, or few.
    let (mut refused, mut served_late) = (0, 0);
    for (answer, _stream) in held.drain(OPEN_STREAMS_MAX + STREAMS_MAX..) {
        match timeout(LONG, answer).await {
            Ok(Err(error)) if error.reason() == Some(Reason::REFUSED_STREAM) => refused += 1,
            Ok(Ok(_)) | Err(_) => served_late += 1,
            Ok(Err(error)) => panic!("{error}"),
        }
    }
    assert!(refused > 0, "{served_late} were not refused");
    let grown = resident().saturating_sub(before);
    println!("{OPEN_STREAMS_MAX} streams: {} MB", grown / 1_000_000);
    assert!(grown < 400 << 20, "{grown} bytes");
    drop((held, senders));
    let sender = connect(&server).await;
    let answer = async {
        loop {
            let (answer, stream) = open(&sender, &on(0, "payload/batch")).await;
            let sent = send(stream, b"[]").await;
            match answer.await {
                Ok(answer) if answer.status() == StatusCode::OK => return,
                answer => drop((answer, sent)),
            }
        }
    };
    timeout(LONG, answer).await.expect("there are places again");
}
