//! What those who watch the server see: metrics, readiness, health.

use std::collections::HashSet;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use plait::Metrics;
use testkit::http::{Client, Request};
use testkit::server::{Server, Signal};
use testkit::vectors::workspace;

use crate::http_data::{BASE, OCTETS, database, on, served_with};

const ON: [&str; 2] = ["--metrics", "127.0.0.1:0"];

/// Waits until `sample` has `expected`: a request is counted a little after its answer is read.
fn await_metric(server: &Server, sample: &str, expected: f64) {
    let begin = Instant::now();
    let mut found = server.metric(sample);
    while found != Some(expected) && begin.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(10));
        found = server.metric(sample);
    }
    assert_eq!(found, Some(expected), "{sample}");
}

#[test]
fn requests_are_counted_by_endpoint_and_status() {
    let server = served_with(&ON);
    let hashes = server.get(&on(0, "hash?limit=2"));
    assert_eq!(server.get(&on(0, "hash?limit=x")).status, 400);
    assert_eq!(server.get(&on(0, "hash?limit=x")).status, 400);
    assert_eq!(server.get("/nowhere").status, 404);
    let stream = server.ask(&Request::get(on(0, "header")).accept(OCTETS));
    await_metric(&server, "plait_requests_total{endpoint=\"hash\",status=\"200\"}", 1.0);
    await_metric(&server, "plait_requests_total{endpoint=\"hash\",status=\"400\"}", 2.0);
    await_metric(&server, "plait_requests_total{endpoint=\"other\",status=\"404\"}", 1.0);
    await_metric(&server, "plait_request_duration_seconds_count{endpoint=\"hash\"}", 3.0);
    #[expect(clippy::cast_precision_loss, reason = "a few kilobytes")]
    let bytes = stream.body.len() as f64;
    await_metric(&server, "plait_response_bytes_total{endpoint=\"header\"}", bytes);
    assert!(hashes.status == 200 && bytes > 0.0);
    await_metric(&server, "plait_streams_open", 0.0);
    let mut rude = server.connect();
    rude.send("NONSENSE\r\n\r\n").unwrap();
    assert!(rude.drain());
    await_metric(&server, "plait_requests_total{endpoint=\"other\",status=\"400\"}", 1.0);
    await_metric(&server, "plait_connections_total", 6.0);
    await_metric(&server, "plait_connections_open", 0.0);
}

#[test]
fn page_has_the_form_that_prometheus_reads() {
    let server = served_with(&ON);
    let _ = server.get(&on(0, "hash"));
    let page = Client::connect(server.watched()).ask(&Request::get("/metrics"));
    assert_eq!(page.status, 200);
    let kind = page.header("Content-Type").unwrap();
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let mut family = String::new();
    let (mut families, mut samples) = (HashSet::new(), HashSet::new());
    for line in page.text().lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap().to_owned();
            assert!(families.insert(family.clone()), "{family} is there twice");
            assert!(rest.len() > family.len() + 1, "{family} is not explained");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(sample.starts_with(&family), "{line} below {family}");
            assert!(samples.insert(sample.to_owned()), "{sample} is there twice");
            assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}");
        }
    }
    let docs = std::fs::read_to_string(workspace().join("docs/architecture.md")).unwrap();
    for family in &families {
        let parts = || family.match_indices('_').map(|(at, _)| family.split_at(at));
        // As in `plait_x_y`, `_z`.
        let is_there = |(head, tail): (&str, &str)| {
            docs.contains(&format!("`{tail}`")) && docs.contains(&format!("`{head}"))
        };
        let documented = docs.contains(&format!("`{family}`")) || parts().any(is_there);
        assert!(documented, "{family} is not documented");
    }
    for family in ["plait_blocks", "plait_cut_height", "plait_column_table_bytes", "plait_ready"] {
        assert!(families.contains(family), "{family}");
    }
}

#[test]
fn listener_of_metrics_has_nothing_else() {
    let server = served_with(&ON);
    let mut client = Client::connect(server.watched());
    for (method, path, status) in [
        ("GET", "/metrics", 200),
        ("HEAD", "/metrics", 200),
        ("GET", "/ready", 200),
        ("GET", "/health-check", 200),
        ("POST", "/metrics", 405),
        ("GET", "/info", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/", 404),
    ] {
        assert_eq!(client.ask(&Request::new(method, path)).status, status, "{method} {path}");
    }
    assert_eq!(server.get("/metrics").status, 404);
    assert_eq!(server.get(&format!("{BASE}/metrics")).status, 404);
    let mut rude = Client::connect(server.watched());
    rude.send("NONSENSE\r\n\r\n").unwrap();
    assert!(rude.drain());
    assert!(!served_with(&[]).log().contains("metrics on"));
}

#[test]
fn server_lives_before_it_is_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            plait::watch(Metrics::new(), listener).await;
        });
    });
    let mut client = Client::connect(address);
    assert_eq!(client.ask(&Request::get("/health-check")).status, 200);
    let ready = client.ask(&Request::get("/ready"));
    assert_eq!((ready.status, ready.text()), (503, "Starting.\n"));
    assert_eq!(ready.header("Retry-After"), Some("5"));
    let page = client.ask(&Request::get("/metrics"));
    assert_eq!(page.status, 200);
    assert!(page.text().contains("\nplait_ready 0\n") && !page.text().contains("plait_blocks"));
}

#[test]
fn server_that_stops_is_watched_to_the_end() {
    let mut server = served_with(&[&ON[..], &["--drain-delay", "1.5"]].concat());
    let mut api = server.connect();
    let mut watcher = Client::connect(server.watched());
    assert_eq!(api.ask(&Request::get("/ready")).status, 200);
    server.signal(Signal::TERM);
    let begin = Instant::now();
    while api.ask(&Request::get(format!("{BASE}/ready"))).status == 200 {
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
    for target in ["/ready", "/health-check"] {
        assert_eq!(watcher.ask(&Request::get(target)).status, 503, "{target}");
    }
    assert_eq!(server.metric("plait_ready"), Some(0.0));
    drop((api, watcher));
    assert!(server.wait(Duration::from_secs(20)).expect("it ends").success(), "{}", server.log());
}

#[test]
fn server_that_refuses_connections_is_not_ready() {
    let server = served_with(&[&ON[..], &["--max-connections", "1"]].concat());
    let mut first = server.connect();
    assert_eq!(first.ask(&Request::get("/ready")).status, 200);
    let refused = server.get("/info");
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("1")));
    let ready = first.ask(&Request::get("/ready"));
    assert_eq!((ready.status, ready.text()), (503, "Overloaded.\n"));
    assert_eq!(first.ask(&Request::get("/health-check")).status, 200);
    await_metric(&server, "plait_connections_refused_total{answer=\"503\"}", 1.0);
    await_metric(&server, "plait_requests_total{endpoint=\"other\",status=\"503\"}", 1.0);
    assert_eq!(server.metric("plait_connections_max"), Some(1.0));
}

#[test]
fn reads_over_their_limit_are_answered_503_and_counted() {
    let flags = ["--max-reads", "1", "--read-wait-time", "0"];
    let server = served_with(&[&ON[..], &flags].concat());
    let begin = Instant::now();
    let refused = || {
        let mut client = server.connect();
        // A cut is always read where it may take long.
        while begin.elapsed() < Duration::from_secs(20) && server.metric("plait_ready") == Some(1.0)
        {
            for _ in 0..20 {
                let answer = client.ask(&Request::get(format!("{BASE}/cut")));
                if answer.status != 200 {
                    return Some((answer.status, answer.header("Retry-After").map(str::to_owned)));
                }
            }
        }
        None
    };
    let found: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(refused)).collect();
        clients.into_iter().filter_map(|client| client.join().unwrap()).collect()
    });
    assert!(!found.is_empty(), "nobody was refused");
    assert!(found.iter().all(|answer| *answer == (503, Some("1".to_owned()))), "{found:?}");
    let label = "plait_requests_total{endpoint=\"cut\",status=\"503\"}";
    #[expect(clippy::cast_precision_loss, reason = "at most eight")]
    await_metric(&server, label, found.len() as f64);
    await_metric(&server, "plait_reads_running", 0.0);
    await_metric(&server, "plait_reads_waiting", 0.0);
}

#[test]
fn metrics_of_a_stopped_server_let_go_of_its_database() {
    let database = database();
    let metrics = Metrics::new();
    for _ in 0..2 {
        let (_writer, reader) = plait_engine::Engine::open(&database.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let config = plait::Config::default();
            plait::run_measured(reader, config, metrics.clone(), listener, async {}).await;
        });
    }
}
