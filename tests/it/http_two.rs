//! HTTP/2 without TLS, from clients that know beforehand that the server speaks it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use h2::RecvStream;
use h2::client::{Builder, ResponseFuture, SendRequest};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use testkit::http::Request as Plain;
use testkit::server::{Replayed, Server, Signal, utf8};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::http_data::{BASE, OCTETS, Tree, bounds, on, served, world};

pub(crate) type Sender = SendRequest<&'static [u8]>;

/// Far more than any limit set here.
const LONG: Duration = Duration::from_secs(20);

/// A connection whose client has the settings of `builder`.
pub(crate) async fn connect_with(address: SocketAddr, builder: &Builder) -> Sender {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(async move {
        // It ends with an error where a test breaks it.
        let _ = connection.await;
    });
    sender
}

async fn connect(server: &Server) -> Sender {
    connect_with(server.address(), &Builder::new()).await
}

async fn send(
    sender: &Sender,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> ResponseFuture {
    let uri = format!("http://plait.test{path}");
    let builder = Request::builder().method(method).uri(uri);
    let builder = headers.iter().fold(builder, |b, (name, value)| b.header(*name, *value));
    let mut sender = sender.clone().ready().await.unwrap();
    let (answer, mut stream) =
        sender.send_request(builder.body(()).unwrap(), body.is_empty()).unwrap();
    if !body.is_empty() {
        // Bodies here are few: they may live as long as the test.
        stream.send_data(body.to_owned().leak().as_bytes(), true).unwrap();
    }
    answer
}

/// The whole of an answer: its head, its body, its trailers.
async fn whole(
    answer: ResponseFuture,
) -> Result<(Response<()>, Vec<u8>, Option<HeaderMap>), h2::Error> {
    rest(answer.await?).await
}

/// The whole of an answer whose head has come.
async fn rest(
    answer: Response<RecvStream>,
) -> Result<(Response<()>, Vec<u8>, Option<HeaderMap>), h2::Error> {
    let (head, mut body) = answer.into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?;
    Ok((Response::from_parts(head, ()), bytes, trailers))
}

async fn get(sender: &Sender, path: &str) -> (Response<()>, Vec<u8>) {
    let answer = send(sender, Method::GET, path, &[], "").await;
    let (head, body, _) = timeout(LONG, whole(answer)).await.unwrap().unwrap();
    (head, body)
}

#[tokio::test]
async fn answers_are_those_of_the_older_protocol() {
    let server = served();
    let sender = connect(&server).await;
    let hash = world().forked.hash(3);
    for path in [
        "/info".to_owned(),
        "/health-check".to_owned(),
        format!("{BASE}/cut"),
        on(0, "hash?limit=5"),
        on(0, "header"),
        on(0, &format!("header/{hash}")),
        on(0, "header/short"),
        on(20, "hash"),
        on(0, "hash/branch"),
    ] {
        let plain = server.get(&path);
        let (head, body) = get(&sender, &path).await;
        assert_eq!((head.status().as_u16(), &body), (plain.status, &plain.body), "{path}");
        let moving = ["Date", "X-Server-Timestamp", "X-Peer-Addr", "X-Request-Id", "Connection"];
        for (name, value) in &plain.headers {
            if !moving.contains(&&**name) {
                let got = head.headers().get(name.to_ascii_lowercase());
                assert_eq!(
                    got.map(HeaderValue::as_bytes),
                    Some(value.as_bytes()),
                    "{path}: {name}"
                );
            }
        }
        for name in ["x-peer-addr", "x-request-id"] {
            assert!(head.headers().contains_key(name), "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn requests_share_a_connection() {
    let server = served();
    let sender = connect(&server).await;
    let tree = &world().forked;
    let mut answers = Vec::new();
    for place in 0..30 {
        let body = bounds(&[tree.hash(place)], &[]);
        let headers = [("content-type", "application/json")];
        let path = on(0, "hash/branch?limit=1");
        answers.push(send(&sender, Method::POST, &path, &headers, &body).await);
    }
    for (place, answer) in answers.into_iter().enumerate().rev() {
        let (head, body, _) = timeout(LONG, whole(answer)).await.unwrap().unwrap();
        assert_eq!(head.status(), StatusCode::OK);
        let text = String::from_utf8(body).unwrap();
        assert!(
            text.starts_with(&format!(r#"{{"limit":1,"items":["{}"]"#, tree.hash(place))),
            "{text}"
        );
    }
}

#[tokio::test]
async fn streams_are_whole() {
    let server = served();
    let sender = connect(&server).await;
    let tree = &world().long;
    let headers = [("accept", OCTETS), ("te", "trailers")];
    let answer = send(&sender, Method::GET, &on(1, "header"), &headers, "").await;
    let (head, body, trailers) = timeout(LONG, whole(answer)).await.unwrap().unwrap();
    assert_eq!(head.headers()["content-type"], OCTETS);
    assert!(body == tree.records(&(0..tree.len()).collect::<Vec<_>>()));
    assert_eq!(trailers, None);
    let answer = send(&sender, Method::HEAD, &on(1, "header"), &headers, "").await;
    let (head, body, _) = timeout(LONG, whole(answer)).await.unwrap().unwrap();
    assert_eq!((head.status(), body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn long_bodies_and_heads_are_refused() {
    let server = served();
    let sender = connect(&server).await;
    let body = " ".repeat(70_000);
    let path = on(0, "hash/branch");
    let uri = format!("http://plait.test{path}");
    let request = Request::builder().method(Method::POST).uri(uri);
    let request = request.header("content-length", "70000").body(()).unwrap();
    let (answer, _) = sender.clone().send_request(request, false).unwrap();
    let (head, _, _) = timeout(LONG, whole(answer)).await.unwrap().unwrap();
    assert_eq!(head.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let answer = send(&sender, Method::POST, &path, &[], &body).await;
    if let Ok((head, _, _)) = timeout(LONG, whole(answer)).await.unwrap() {
        assert_eq!(head.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    let long = "x".repeat(10_000);
    let headers = [("a", &*long), ("b", &*long), ("c", &*long), ("d", &*long)];
    let answer = send(&sender, Method::GET, "/info", &headers, "").await;
    let (head, _, _) = timeout(LONG, whole(answer)).await.unwrap().unwrap();
    assert_eq!(head.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let (head, _) = get(&sender, &format!("/info?{}", "x".repeat(9000))).await;
    assert_eq!(head.status(), StatusCode::URI_TOO_LONG);
    assert_eq!(get(&sender, "/health-check").await.0.status(), StatusCode::OK);
}

/// A server of a chain of 12.7 MB.
fn endless(flags: &[&str]) -> (Server, Replayed, Tree) {
    let mut tree = Tree::new(2);
    tree.grow(0, 40_000);
    let database = Replayed::new("development", tree.dump(), &["--format", "binary"]);
    (Server::start(&database, flags), database, tree)
}

#[tokio::test]
async fn stream_that_is_not_read_is_cut_and_others_go_on() {
    let (server, _database, tree) = endless(&["--stall-time", "1"]);
    let (stalled, other) = (connect(&server).await, connect(&server).await);
    let headers = [("accept", OCTETS)];
    let answer = send(&stalled, Method::GET, &on(2, "header"), &headers, "").await;
    let (_, mut body) = timeout(LONG, answer).await.unwrap().unwrap().into_parts();
    for _ in 0..25 {
        sleep(Duration::from_millis(100)).await;
        assert_eq!(get(&other, "/health-check").await.0.status(), StatusCode::OK);
    }
    let mut got = 0;
    let cut = loop {
        match timeout(LONG, body.data()).await.expect("it ends") {
            Some(Ok(data)) => got += data.len(),
            Some(Err(_)) => break true,
            None => break false,
        }
    };
    assert!(cut && got < tree.len() * 318, "{got}");
}

#[tokio::test]
async fn stopping_server_says_where_to_resume() {
    let (mut server, _database, tree) = endless(&["--drain-time", "0.3", "--cut-time", "10"]);
    let sender = connect(&server).await;
    let headers = [("accept", OCTETS), ("te", "trailers")];
    let answer = send(&sender, Method::GET, &on(2, "header"), &headers, "").await;
    let silent = send(&sender, Method::GET, &on(2, "header"), &headers[..1], "").await;
    // A server that has not read the requests yet has nothing to end.
    let answer = timeout(LONG, answer).await.unwrap().unwrap();
    let silent = timeout(LONG, silent).await.unwrap().unwrap();
    server.signal(Signal::TERM);
    sleep(Duration::from_millis(800)).await;
    // Together, for unread bytes of the one would hold up the other.
    let (answer, silent) = tokio::join!(timeout(LONG, rest(answer)), timeout(LONG, rest(silent)));
    let (_, bytes, trailers) = answer.unwrap().unwrap();
    let trailers = trailers.expect("a stream that is cut says where");
    let count = bytes.len() / 318;
    assert!(count > 0 && count < tree.len());
    assert!(bytes == tree.records(&(0..count).collect::<Vec<_>>()));
    assert_eq!(trailers["x-next"], format!("exclusive:{}", tree.hash(count - 1)));
    assert!(silent.unwrap().is_err(), "without trailers it breaks");
    drop(sender);
    assert!(server.wait(LONG).expect("it ends").success());
}

#[tokio::test]
async fn event_streams_do_not_keep_others_of_their_connection_waiting() {
    let server = served();
    let sender = connect(&server).await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        let answer = send(&sender, Method::GET, &format!("{BASE}/header/updates"), &[], "").await;
        streams.push(timeout(LONG, answer).await.unwrap().unwrap());
    }
    assert!(streams.iter().all(|answer| answer.status() == StatusCode::OK));
    assert_eq!(get(&sender, "/info").await.0.status(), StatusCode::OK);
}

#[tokio::test]
async fn host_is_that_of_the_target() {
    let server = served();
    let sender = connect(&server).await;
    for (host, status) in [("plait.test", 200), ("PLAIT.test:80", 200), ("other.test", 400)] {
        let answer = send(&sender, Method::GET, "/info", &[("host", host)], "").await;
        let (head, body, _) = timeout(LONG, whole(answer)).await.unwrap().unwrap();
        assert_eq!(head.status().as_u16(), status, "{host}");
        assert!(status == 200 || String::from_utf8(body).unwrap().contains(":authority"));
        assert!(head.headers().contains_key("x-peer-addr"));
    }
    let twice = [("host", "plait.test"), ("host", "plait.test")];
    let answer = send(&sender, Method::GET, "/info", &twice, "").await;
    assert_eq!(timeout(LONG, answer).await.unwrap().unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn target_has_no_user_information() {
    let server = served();
    let sender = connect(&server).await;
    for (authority, status) in
        [("u@plait.test", 400), ("u:p@plait.test:80", 400), ("[::1]:80", 200)]
    {
        let uri = format!("http://{authority}/info");
        let request = Request::builder().uri(uri).body(()).unwrap();
        let mut sender = sender.clone().ready().await.unwrap();
        let (answer, _) = sender.send_request(request, true).unwrap();
        let (head, body, _) = timeout(LONG, whole(answer)).await.unwrap().unwrap();
        assert_eq!(head.status().as_u16(), status, "{authority}");
        assert!(status == 200 || String::from_utf8(body).unwrap().contains("target"));
    }
}

/// Requests that are refused before their bodies end, with the length of the body and the status.
fn refused_with_bodies() -> [(Method, String, usize, u16); 7] {
    let (batch, branch) = (on(0, "payload/batch"), on(0, "hash/branch"));
    [
        (Method::POST, branch.clone(), 70_000, 413),
        (Method::POST, batch.clone(), (2 << 20) + 2, 413),
        (Method::POST, batch, 4 << 20, 413),
        (Method::POST, "/nowhere".to_owned(), 70_000, 404),
        (Method::POST, "/info".to_owned(), 2 << 20, 405),
        (Method::POST, on(0, "hash/branch?limit=x"), 10, 400),
        (Method::OPTIONS, branch, 70_000, 413),
    ]
}

#[tokio::test]
async fn responses_before_the_end_of_the_body_reset_no_stream() {
    let server = served();
    for (method, path, length, status) in refused_with_bodies() {
        for declared in [true, false] {
            let sender = connect(&server).await;
            let request = Request::builder().method(method.clone());
            let request = request.uri(format!("http://plait.test{path}"));
            let request = if declared { request.header("content-length", length) } else { request };
            let mut ready = sender.clone().ready().await.unwrap();
            let (answer, mut stream) =
                ready.send_request(request.body(()).unwrap(), false).unwrap();
            // All but the last byte, as the windows allow; the last after the response.
            let body: &'static [u8] = vec![b' '; length].leak();
            stream.send_data(&body[1..], false).unwrap();
            let (head, _, _) = timeout(LONG, whole(answer)).await.unwrap().unwrap();
            assert_eq!(head.status().as_u16(), status, "{method} {path}");
            stream.send_data(&body[..1], true).unwrap();
            let reset = poll_fn(|cx| stream.poll_reset(cx));
            // A reset would arrive before the response to a later request on the connection.
            let later = async {
                for _ in 0..20 {
                    assert_eq!(get(&sender, "/health-check").await.0.status(), StatusCode::OK);
                }
            };
            tokio::select! {
                biased;
                reset = reset => panic!("{method} {path} {declared}: {reset:?}"),
                () = later => {}
            }
        }
    }
}

#[tokio::test]
async fn endless_body_is_not_read_to_its_end() {
    let server = served();
    let sender = connect(&server).await;
    let request = Request::post(format!("http://plait.test{}", on(0, "payload/batch")));
    let mut ready = sender.clone().ready().await.unwrap();
    let (answer, mut stream) = ready.send_request(request.body(()).unwrap(), false).unwrap();
    let body: &'static [u8] = vec![b' '; 8 << 20].leak();
    stream.send_data(body, false).unwrap();
    let status = timeout(LONG, whole(answer)).await.unwrap().map(|(head, ..)| head.status());
    assert!(status.is_err() || status.unwrap() == StatusCode::PAYLOAD_TOO_LARGE);
    let reset = timeout(LONG, poll_fn(|cx| stream.poll_reset(cx))).await.expect("it is reset");
    assert_eq!(reset.unwrap(), h2::Reason::NO_ERROR);
    assert_eq!(get(&sender, "/health-check").await.0.status(), StatusCode::OK);
}

#[test]
fn curl_reports_the_status_and_the_reason_of_refused_bodies() {
    let version = Command::new("curl").arg("-V").stdin(Stdio::null()).output();
    if !version.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("HTTP2")) {
        testkit::say("skipped: there is no curl that speaks HTTP/2");
        return;
    }
    let server = served();
    let file = tempfile::NamedTempFile::new().unwrap();
    for (method, path, length, status) in refused_with_bodies() {
        std::fs::write(file.path(), vec![b' '; length]).unwrap();
        let mut curl = Command::new("curl");
        curl.args(["-s", "--http2-prior-knowledge", "--noproxy", "*", "--max-time", "20"]);
        curl.args(["-X", method.as_str(), "--data-binary", &format!("@{}", utf8(file.path()))]);
        curl.args(["-H", "Content-Type: application/json", "-w", "\n%{http_version} %{http_code}"]);
        curl.arg(format!("{}{path}", server.url())).stdin(Stdio::null());
        let mut run = curl.output().unwrap();
        // On a busy machine curl reported a reset once in some thirty runs of this, for a reason that is
        // not known.
        for _ in 0..2 {
            if run.status.code() == Some(92) {
                run = curl.output().unwrap();
            }
        }
        let said = String::from_utf8(run.stdout).unwrap();
        let expected = format!("\n2 {status}");
        assert!(
            run.status.success() && said.ends_with(&expected),
            "{path}: {:?} {said}",
            run.status
        );
        assert!(said.contains("reason"), "{path}: {said}");
    }
}

#[test]
fn rubbish_after_the_preface_ends_the_connection() {
    let server = served();
    for rubbish in [&b"rubbish that is no frame at all"[..], &[0xff; 64], &[0; 9]] {
        let mut client = server.connect();
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        client.send(rubbish).unwrap();
        client.finish();
        assert!(client.drain());
    }
    assert_eq!(server.ask(&Plain::get("/health-check")).status, 200);
}
