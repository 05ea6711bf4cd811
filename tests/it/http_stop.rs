//! How a server begins and ends: signals, draining, exit statuses, messages.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::http::{Client, Ended, Request, Response};
use testkit::process::{binary, plait, run};
use testkit::server::{Replayed, Server, Signal, utf8};

use crate::http_data::{BASE, OCTETS, Tree, bounds, database, on, page, served_with, world};

/// Far more than any limit set here.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn signals_end_an_idle_server_with_status_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = served_with(&[]);
        let mut idle = server.connect();
        assert_eq!(idle.ask(&Request::get("/info")).status, 200);
        let silent = server.connect();
        let begin = Instant::now();
        server.signal(signal);
        assert!(server.wait(LONG).expect("it ends").success(), "{}", server.log());
        assert!(begin.elapsed() < Duration::from_secs(9), "idle connections are not waited for");
        assert!(idle.drain());
        drop(silent);
        assert!(TcpStream::connect(server.address()).is_err());
    }
}

/// What the log says, at level debug, of a connection that was waited for.
const WAITED: &str = "connection dropped";

#[test]
fn connections_kept_open_do_not_hold_up_a_server_that_stops() {
    // Were any waited for, it would take these minutes, and the log would say why one was dropped.
    let flags = ["--drain-time", "600", "--cut-time", "600", "--log", "debug"];
    let mut server = served_with(&flags);
    let mut kept: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    for client in &mut kept {
        assert_eq!(client.ask(&Request::get(format!("{BASE}/cut"))).status, 200);
    }
    let mut old = server.connect();
    let request = Request::get("/info").version("HTTP/1.0").header("Connection", "keep-alive");
    assert_eq!(old.ask(&request).status, 200);
    let mut events = server.connect();
    events.send(Request::get(format!("{BASE}/header/updates")).to_bytes()).unwrap();
    assert_eq!(events.read_head().unwrap().status, 200);
    let silent = server.connect();
    server.signal(Signal::TERM);
    // No client closes its side before the server is gone.
    assert!(server.wait(LONG).expect("it ends").success(), "{}", server.log());
    assert!(!server.log().contains(WAITED), "{}", server.log());
    for client in kept.iter_mut().chain([&mut old, &mut events]) {
        assert!(is_ended(client), "the connection was ended, not broken");
    }
    drop(silent);
}

#[test]
fn request_in_flight_is_answered_though_idle_connections_are_closed_before() {
    let mut server = served_with(&["--drain-time", "600", "--log", "debug"]);
    let mut idle = server.connect();
    assert_eq!(idle.ask(&Request::get("/info")).status, 200);
    let tip = world().forked.hash(world().trunk[2]);
    let request = Request::post(on(0, "hash/branch"), bounds(&[tip], &[])).to_bytes();
    let (first, second) = request.split_at(request.len() - 10);
    let mut busy = server.connect();
    // The server asks for the rest, so it has the head.
    let head = String::from_utf8_lossy(first).replacen("\r\n", "\r\nExpect: 100-continue\r\n", 1);
    busy.send(head).unwrap();
    assert_eq!(busy.read_head().unwrap().status, 100);
    server.signal(Signal::TERM);
    assert!(is_ended(&mut idle), "an idle connection ends at once");
    assert!(server.is_running());
    busy.send(second).unwrap();
    assert_eq!(page(&busy.read("POST").unwrap()).items.len(), 3);
    assert!(server.wait(LONG).expect("it ends").success());
    assert!(!server.log().contains(WAITED), "{}", server.log());
}

#[test]
fn hang_up_stops_a_server_once_and_other_signals_do_nothing() {
    let mut server = served_with(&["--drain-delay", "60"]);
    for signal in [Signal::USR1, Signal::USR2, Signal::PIPE] {
        server.signal(signal);
        assert_eq!(server.get("/health-check").status, 200, "{signal:?}");
    }
    server.signal(Signal::HUP);
    until(|| server.get("/health-check").status == 503);
    // As a terminal that closes sends it: by the kernel, then by the shell.
    server.signal(Signal::HUP);
    for _ in 0..20 {
        assert_eq!(server.get("/info").status, 200, "requests are answered on");
    }
    server.signal(Signal::TERM);
    assert!(server.wait(LONG).is_some(), "it ends");
}

#[test]
fn hang_up_drains_a_server_and_is_ignored_under_nohup() {
    let mut server = served_with(&[]);
    server.signal(Signal::HUP);
    assert!(server.wait(LONG).expect("it ends").success(), "{}", server.log());
    assert!(server.log().contains("stopping"), "{}", server.log());

    let database = database();
    let mut command = Command::new("nohup");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--db"];
    command
        .arg(binary())
        .args(serve)
        .arg(database.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut server = Server::of_command(command);
    server.signal(Signal::HUP);
    for _ in 0..20 {
        assert_eq!(server.get("/health-check").status, 200);
    }
    server.signal(Signal::TERM);
    assert!(server.wait(LONG).expect("it ends").success(), "{}", server.log());
}

/// Reads what is left; whether the connection ends behind it as it should.
fn is_ended(client: &mut Client) -> bool {
    loop {
        match client.read_some(1 << 16) {
            Ok(bytes) if bytes.is_empty() => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// Waits until something is so.
fn until(mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LONG, "not within {LONG:?}");
    }
}

#[test]
fn leaving_server_is_unhealthy_and_answers_on() {
    let mut server = served_with(&["--drain-delay", "1.5"]);
    let mut client = server.connect();
    assert_eq!(client.ask(&Request::get("/health-check")).status, 200);
    server.signal(Signal::TERM);
    let begin = Instant::now();
    let health = loop {
        let health = client.ask(&Request::get("/health-check"));
        if health.status != 200 || begin.elapsed() > LONG {
            break health;
        }
    };
    assert_eq!(health.status, 503);
    assert!(health.header("Content-Type").unwrap().starts_with("text/plain"));
    assert_eq!(health.header("X-Chainweb-Node-Version"), Some("3.2"));
    assert_eq!(server.get(&format!("{BASE}/health-check")).status, 503, "on a new connection, too");
    assert_eq!(server.get(&format!("{BASE}/cut")).status, 200);
    assert!(server.is_running());
    assert!(server.wait(LONG).expect("it ends").success());
    assert!(begin.elapsed() >= Duration::from_millis(1400));
}

#[test]
fn request_in_flight_is_answered() {
    let mut server = served_with(&[]);
    let tip = world().forked.hash(world().trunk[2]);
    let request = Request::post(on(0, "hash/branch"), bounds(&[tip], &[])).to_bytes();
    let mut client = server.connect();
    let (first, second) = request.split_at(request.len() - 10);
    client.send(first).unwrap();
    // The head must have come before the signal does.
    assert_eq!(server.get("/info").status, 200);
    thread::sleep(Duration::from_millis(200));
    server.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(300));
    assert!(server.is_running());
    client.send(second).unwrap();
    let answer = client.read("POST").unwrap();
    assert_eq!(page(&answer).items.len(), 3);
    assert!(server.wait(LONG).expect("it ends").success());
}

/// A database whose chain 2 has more than the system keeps for a connection.
fn endless() -> (Replayed, Tree) {
    let mut tree = Tree::new(2);
    tree.grow(0, 40_000);
    (Replayed::new("development", tree.dump(), &["--format", "binary"]), tree)
}

/// A stream of which the head has come and the rest is not read yet.
fn begun(server: &Server, request: &Request) -> (Client, Response) {
    let mut client = server.connect();
    client.send(request.to_bytes()).unwrap();
    let head = client.read_head().unwrap();
    assert_eq!(head.status, 200);
    // The buffers of the system fill.
    thread::sleep(Duration::from_millis(300));
    (client, head)
}

/// Reads the rest of an answer whose head is `head`.
fn rest(client: &mut Client, head: Response) -> Result<Response, Ended> {
    client.set_patience(LONG);
    client.read_rest(head)
}

#[test]
fn stream_is_cut_with_a_cursor_to_resume_from() {
    let (database, tree) = endless();
    let mut server = Server::start(&database, &["--drain-time", "0.3", "--cut-time", "10"]);
    let list = Request::get(on(2, "header")).accept(OCTETS).header("TE", "trailers");
    let tip = bounds(&[tree.hash(tree.len() - 1)], &[]);
    let branch =
        Request::post(on(2, "header/branch"), tip.clone()).accept(OCTETS).header("TE", "trailers");
    let (mut up, up_head) = begun(&server, &list);
    let (mut down, down_head) = begun(&server, &branch);
    assert_eq!(up_head.header("Trailer"), Some("X-Next"));
    server.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(800));
    let up = rest(&mut up, up_head).unwrap();
    let down = rest(&mut down, down_head).unwrap();
    assert!(server.wait(LONG).expect("it ends").success());

    let server = Server::start(&database, &[]);
    let next = up.trailer("X-Next").expect("a stream that is cut says where");
    let path = on(2, &format!("header?next={next}"));
    let more = server.ask(&Request::get(path).accept(OCTETS));
    assert!(!up.body.is_empty() && !more.body.is_empty());
    let places: Vec<usize> = (0..tree.len()).collect();
    assert!([up.body, more.body].concat() == tree.records(&places), "joined they are the whole");

    let next = down.trailer("X-Next").expect("a stream that is cut says where");
    let path = on(2, &format!("header/branch?next={next}"));
    let more = server.ask(&Request::post(path, tip).accept(OCTETS));
    assert!(!down.body.is_empty() && !more.body.is_empty());
    let places: Vec<usize> = (0..tree.len()).rev().collect();
    assert!([down.body, more.body].concat() == tree.records(&places), "joined they are the whole");
}

#[test]
fn stream_breaks_for_a_client_that_reads_no_trailers() {
    let (database, tree) = endless();
    let mut server = Server::start(&database, &["--drain-time", "0.3", "--cut-time", "10"]);
    let new = Request::get(on(2, "header")).accept(OCTETS);
    let old = new.clone().version("HTTP/1.0");
    let mut clients = [begun(&server, &new), begun(&server, &old)];
    server.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(800));
    for (client, head) in &mut clients {
        match rest(client, head.clone()) {
            Err(Ended::Cut(got)) => assert!(got.len() < tree.len() * 318),
            other => panic!("a cut that cannot be seen: {:?}", other.map(|answer| answer.headers)),
        }
    }
    assert!(server.wait(LONG).expect("it ends").success());
}

#[test]
fn stream_that_ends_within_the_drain_time_is_whole() {
    let (database, tree) = endless();
    let mut server = Server::start(&database, &["--drain-time", "20"]);
    let (mut client, head) = begun(&server, &Request::get(on(2, "header")).accept(OCTETS));
    server.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(300));
    assert!(server.is_running());
    let answer = rest(&mut client, head).unwrap();
    assert_eq!((answer.body.len(), answer.trailers.len()), (tree.len() * 318, 0));
    assert!(server.wait(LONG).expect("it ends").success());
}

#[test]
fn client_that_reads_nothing_does_not_keep_the_server() {
    let (database, _) = endless();
    let mut server = Server::start(&database, &["--drain-time", "0.3", "--cut-time", "0.3"]);
    let (client, _) = begun(&server, &Request::get(on(2, "header")).accept(OCTETS));
    let begin = Instant::now();
    server.signal(Signal::INT);
    assert!(server.wait(LONG).expect("it ends").success());
    assert!(begin.elapsed() < Duration::from_secs(9));
    drop(client);
}

#[test]
fn second_signal_ends_the_server_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM)] {
        let mut server = served_with(&["--drain-delay", "60"]);
        server.signal(first);
        let begin = Instant::now();
        while server.get("/health-check").status != 503 {
            assert!(begin.elapsed() < LONG);
        }
        assert!(server.is_running());
        server.signal(second);
        assert!(server.wait(LONG).is_some(), "it ends");
    }
}

/// Runs a command that must fail with status 2, and returns what it said.
fn refused(args: &[&str]) -> String {
    let outcome = run(args);
    assert_eq!(outcome.status, Some(2), "{args:?}: {}", outcome.err);
    assert!(!outcome.err.contains("panic") && outcome.out.is_empty(), "{}", outcome.err);
    outcome.err
}

#[test]
fn address_in_use_is_said() {
    let server = served_with(&[]);
    let other = database();
    let address = server.address().to_string();
    let said = refused(&["serve", "--db", utf8(&other.path()), "--listen", &address]);
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
    assert!(said.contains("--listen"), "{said}");
    assert_eq!(server.get("/info").status, 200);
}

#[test]
fn missing_or_foreign_database_is_said() {
    let folder = TempDir::new().unwrap();
    let listen = ["--listen", "127.0.0.1:0"];
    let missing = folder.path().join("missing");
    let said = refused(&[&["serve", "--db", utf8(&missing)][..], &listen].concat());
    assert!(said.contains(utf8(&missing)) && said.contains("plait replay"), "{said}");
    assert!(!missing.exists(), "nothing is made");
    refused(&[&["serve", "--db", utf8(folder.path())][..], &listen].concat());
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    refused(&[&["serve", "--db", utf8(&file)][..], &listen].concat());
}

#[test]
fn database_in_use_is_said() {
    let database = database();
    let server = Server::start(&database, &[]);
    let said = refused(&["serve", "--db", utf8(&database.path()), "--listen", "127.0.0.1:0"]);
    assert!(said.contains("other process"), "{said}");
    assert_eq!(server.get("/info").status, 200);
}

#[test]
fn wrong_usage_is_said() {
    for args in [
        &["serve"][..],
        &["serve", "--db", "x", "--listen", "nonsense"],
        &["serve", "--db", "x", "--listen", "127.0.0.1:99999"],
        &["serve", "--db", "x", "--head-time", "0"],
        &["serve", "--db", "x", "--stall-time", "-1"],
        &["serve", "--db", "x", "--max-connections", "0"],
        &["serve", "--db", "x", "--max-head-bytes", "1"],
        &["serve", "--db", "x", "--unknown-lower-bound", "maybe"],
        &["serve", "--db", "x", "--nonsense"],
    ] {
        refused(args);
    }
    let help = run(["serve", "--help"]);
    assert_eq!(help.status, Some(0));
    assert!(help.out.contains("Examples:") && help.out.contains("--listen"), "{}", help.out);
}

#[test]
fn options_may_come_from_the_environment() {
    let database = database();
    let busy = served_with(&[]);
    let mut serve = plait(["serve"]);
    serve.env("PLAIT_DB", database.path()).env("PLAIT_LISTEN", busy.address().to_string());
    let output = serve.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains(&busy.address().to_string()), "both were read: {said}");
}

#[test]
fn server_begins_again_where_it_was_killed() {
    let database = database();
    let server = Server::start(&database, &[]);
    let before = server.get(&on(0, "hash")).body;
    drop(server);
    let server = Server::start(&database, &[]);
    assert_eq!(server.get(&on(0, "hash")).body, before);
}
