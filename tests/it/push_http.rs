//! Blocks that are pushed into a server that runs, over TCP and over a Unix socket.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use plait_engine::Header;
use plait_engine::header::text::{push_object, push_string};
use serde_json::Value;
use tempfile::TempDir;
use testkit::block::dump;
use testkit::http::{Client, Request, Response};
use testkit::process::{finish, plait, run, run_with_input};
use testkit::server::{Server, Signal, utf8};
use testkit::stored;

use crate::http_data::BASE;
use crate::push::{LONG, NETWORK, generated, with_genesis};

pub(crate) const OCTETS: &str = "application/octet-stream";
pub(crate) const LINES: &str = "application/x-ndjson";

/// A server of a new database that takes blocks.
pub(crate) fn taking(db: &Path, flags: &[&str]) -> Server {
    let own = ["--db", utf8(db), "--network", "development"];
    let ingest = if flags.contains(&"--ingest") { &[][..] } else { &["--ingest", "127.0.0.1:0"] };
    Server::with(&[&own, ingest, flags].concat())
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn client(server: &Server) -> Client {
    Client::connect(server.takes().parse().unwrap())
}

pub(crate) fn request(media: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::new("POST", "/push").header("Content-Type", media).body(body)
}

/// The lines of an answer; the last one is the sum.
fn lines(answer: &Response) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("Content-Type"), Some(LINES));
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn sum(answer: &Response) -> Value {
    lines(answer).pop().unwrap()
}

pub(crate) fn assert_sum(answer: &Response, [stored, known, waiting, refused]: [u64; 4]) {
    let expected = serde_json::json!({
        "records": stored + known + waiting + refused,
        "stored": stored,
        "known": known,
        "waiting": waiting,
        "refused": refused,
        "payloadsRefused": 0,
        "done": true,
    });
    assert_eq!(sum(answer), expected, "{}", answer.text());
}

fn as_lines(headers: &[Header]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (number, header) in headers.iter().enumerate() {
        match number % 3 {
            0 => push_string(&mut lines, header.view()),
            1 => push_object(&mut lines, header.view(), NETWORK),
            _ => {
                lines.extend_from_slice(b"{\"header\":");
                push_object(&mut lines, header.view(), NETWORK);
                lines.extend_from_slice(b",\"txCount\":0}");
            }
        }
        lines.push(b'\n');
    }
    lines
}

pub(crate) fn cut_height(server: &Server) -> u64 {
    let cut: Value = serde_json::from_str(server.get(&format!("{BASE}/cut")).text()).unwrap();
    cut["height"].as_u64().unwrap()
}

#[test]
fn headers_of_either_form_are_stored_and_shown_at_once() {
    let headers = generated(40, 1, 0.1);
    for (media, body) in [(OCTETS, dump(&headers)), (LINES, as_lines(&headers))] {
        let db = folder();
        let mut server = taking(db.path(), &["--ingest-batch", "100"]);
        let mut client = client(&server);
        let answer = client.ask(&request(media, body.clone()));
        assert_sum(&answer, [headers.len() as u64, 0, 0, 0]);
        assert!(lines(&answer).len() >= headers.len().div_ceil(100), "{}", answer.text());
        assert_eq!(cut_height(&server), 40 * 20);
        // On the same connection.
        assert_sum(&client.ask(&request(media, body)), [0, headers.len() as u64, 0, 0]);
        server.signal(Signal::TERM);
        assert!(server.wait(LONG).expect("it ends").success(), "{}", server.log());
        drop(server);
        assert_eq!(stored(db.path()), with_genesis(&headers));
    }
}

#[test]
fn a_unix_socket_is_for_its_user_and_goes_with_the_server() {
    let (db, headers) = (folder(), generated(5, 1, 0.0));
    let socket = db.path().join("push");
    for round in 0..2 {
        let mut server = taking(&db.path().join("db"), &["--ingest", utf8(&socket)]);
        assert_eq!(server.takes(), utf8(&socket));
        let metadata = fs::metadata(&socket).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        let mut stream = UnixStream::connect(&socket).unwrap();
        let close = request(OCTETS, dump(&headers)).header("Connection", "close");
        stream.write_all(&close.to_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let expected =
            if round == 0 { "\"stored\":100,\"known\":0" } else { "\"stored\":0,\"known\":100" };
        assert!(answer.contains(expected), "{answer}");
        // The second server finds the socket of one that was killed.
        if round == 0 {
            server.kill();
            assert!(socket.exists());
        } else {
            server.signal(Signal::TERM);
            assert!(server.wait(LONG).expect("it ends").success());
            assert!(!socket.exists());
        }
    }
}

#[test]
fn whatever_lies_at_the_path_of_a_socket_by_then_is_left_at_the_end() {
    let db = folder();
    let socket = db.path().join("push");
    let start = |name: &str| taking(&db.path().join(name), &["--ingest", utf8(&socket)]);
    let stop = |mut server: Server| {
        server.signal(Signal::TERM);
        assert!(server.wait(LONG).expect("it ends").success(), "{}", server.log());
    };
    let first = start("first");
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "notes").unwrap();
    stop(first);
    assert_eq!(fs::read_to_string(&socket).unwrap(), "notes");
    fs::remove_file(&socket).unwrap();
    // The socket of the next server.
    let first = start("first");
    fs::rename(&socket, db.path().join("moved")).unwrap();
    let second = start("second");
    stop(first);
    UnixStream::connect(&socket).expect("the second server listens on");
    stop(second);
    assert!(!socket.exists());
    assert!(db.path().join("moved").exists());
}

#[test]
fn a_server_does_not_start_over_what_is_no_socket_of_a_dead_one() {
    let db = folder();
    let path = db.path().join("push");
    let serve = |socket: &Path| {
        let flags = ["--listen", "127.0.0.1:0", "--network", "development", "--ingest"];
        let db = db.path().join("db");
        let serve = ["serve", "--db", utf8(&db)];
        run([&serve[..], &flags, &[utf8(socket)]].concat())
    };
    let not_a_socket = [utf8(&path), "not a socket", "--ingest"];
    fs::write(&path, "notes").unwrap();
    serve(&path).assert_fails(2, &not_a_socket);
    assert_eq!(fs::read_to_string(&path).unwrap(), "notes");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    serve(&path).assert_fails(2, &not_a_socket);
    fs::remove_dir(&path).unwrap();
    // Somebody listens, even if a full queue takes no more connections.
    let live = UnixListener::bind(&path).unwrap();
    serve(&path).assert_fails(2, &[utf8(&path), "another process listens there"]);
    drop(live);
    fs::remove_file(&path).unwrap();
    // A socket of another kind, of which nobody can tell.
    let other = UnixDatagram::bind(&path).unwrap();
    serve(&path).assert_fails(2, &[utf8(&path), "whether another process listens"]);
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    drop(other);
    // A link to something else is not a socket either, and neither it nor that is removed.
    let (link, target) = (db.path().join("link"), db.path().join("target"));
    fs::write(&target, "notes").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    serve(&link).assert_fails(2, &["not a socket"]);
    assert!(link.exists() && target.exists());
}

#[test]
fn what_is_not_stored_is_told_with_its_place_and_every_rule() {
    let (db, headers) = (folder(), generated(3, 1, 0.0));
    let server = taking(db.path(), &[]);
    let mut bytes = dump(&headers);
    // The weight of a block, and the blocks above it wait.
    bytes[5 * 318 + 226] ^= 1;
    bytes.extend_from_slice(&[0; 100]);
    let answer = client(&server).ask(&request(OCTETS, bytes));
    let lines = lines(&answer);
    let refused: Vec<&Value> = lines.iter().filter(|line| line["outcome"] == "refused").collect();
    assert_eq!(refused[0]["place"], "offset 1590");
    assert_eq!((&refused[0]["chain"], &refused[0]["height"]), (&5.into(), &1.into()));
    assert_eq!(refused[0]["hash"], headers[5].view().hash().to_string());
    assert_eq!(refused[0]["rules"], serde_json::json!(["IncorrectHash", "IncorrectWeight"]));
    assert!(refused[0]["reason"].as_str().unwrap().contains("IncorrectHash: block hash is"));
    assert_eq!(refused[1]["place"], "offset 19080");
    assert!(refused[1]["reason"].as_str().unwrap().contains("ends within a record"));
    let waits = lines.iter().filter(|line| line["outcome"] == "waits");
    let waits: Vec<u64> = waits.map(|line| line["height"].as_u64().unwrap()).collect();
    assert!(waits.len() > 10 && waits.iter().all(|height| *height >= 2), "{waits:?}");
    let sum = lines.last().unwrap();
    assert_eq!((&sum["refused"], &sum["waiting"]), (&2.into(), &waits.len().into()));
    assert_eq!(sum["records"], 61);
}

#[test]
fn each_block_has_a_line_where_that_is_asked_for() {
    let (db, headers) = (folder(), generated(1, 1, 0.0));
    let server = taking(db.path(), &[]);
    let each = Request::new("POST", "/push?each").header("Content-Type", LINES);
    let answer = client(&server).ask(&each.body(as_lines(&headers)));
    let lines = lines(&answer);
    for (number, line) in lines.iter().take(20).enumerate() {
        assert_eq!((&line["outcome"], &line["verified"]), (&"stored".into(), &"full".into()));
        assert_eq!(line["place"], format!("line {}", number + 1));
    }
    assert_eq!(lines[20]["stored"], 20);
}

#[test]
fn lines_that_are_no_headers_are_refused_one_by_one() {
    let (db, headers) = (folder(), generated(1, 1, 0.0));
    let server = taking(db.path(), &["--ingest-line-bytes", "2000"]);
    let good = as_lines(&headers[..1]);
    let body = [
        b"nonsense\n{}\n[1]\n\"AAAA\"\n\n\xff\xfe\n".as_slice(),
        &vec![b'x'; 100_000],
        b"\n",
        &good,
        b"{\"header\":",
    ];
    let answer = client(&server).ask(&request(LINES, body.concat()));
    assert_sum(&answer, [1, 0, 0, 7]);
    let places = lines(&answer);
    let places: Vec<&str> = places.iter().filter_map(|line| line["place"].as_str()).collect();
    let expected = ["line 1", "line 2", "line 3, item 1", "line 4", "line 6", "line 7", "line 9"];
    assert_eq!(places, expected);
}

#[test]
fn other_requests_are_refused_without_touching_the_writer() {
    let db = folder();
    let server = taking(db.path(), &[]);
    let mut client = client(&server);
    for (request, status) in [
        (Request::get("/push"), 405),
        (Request::post("/", "{}"), 404),
        (Request::post("/push/", "{}"), 404),
        (Request::new("POST", "/push").body("x"), 415),
        (request("text/plain", "x"), 415),
        (request("application/x-www-form-urlencoded", "x"), 415),
        (request(OCTETS, "").header("Origin", "https://example.org"), 403),
    ] {
        let answer = client.ask(&request);
        assert_eq!(answer.status, status, "{request}: {}", answer.text());
        if answer.closes() || status != 405 {
            client = self::client(&server);
        }
    }
    let typo = Request::post("/push?eahc", "").without("Content-Type");
    let answer = client.ask(&typo.header("Content-Type", OCTETS));
    let expected = "query parameter \"eahc\" is unknown: this endpoint knows each\n";
    assert_eq!((answer.status, answer.text()), (400, expected));
    client = self::client(&server);
    // It is no server of the API, and that one takes nothing.
    let api = client.ask(&Request::get("/health-check"));
    assert!(api.status == 404 && api.text().contains("--listen"), "{}", api.text());
    assert_eq!(server.ask(&self::request(OCTETS, "")).status, 404);
}

#[test]
fn an_address_that_others_reach_must_be_asked_for() {
    let db = folder();
    let command = |flags: &[&str]| {
        let own = ["serve", "--listen", "127.0.0.1:0", "--db", utf8(db.path())];
        run([&own[..], &["--network", "development", "--ingest", "0.0.0.0:0"], flags].concat())
    };
    command(&[]).assert_fails(2, &["0.0.0.0:0: other machines reach", "--ingest-remote"]);
    let server = taking(db.path(), &["--ingest", "0.0.0.0:0", "--ingest-remote"]);
    assert!(server.takes().starts_with("0.0.0.0:"));
}

#[test]
fn blocks_are_stored_as_they_come_on_a_connection_that_stays() {
    let (db, headers) = (folder(), generated(3, 1, 0.0));
    let server = taking(db.path(), &[]);
    let mut client = client(&server);
    let head = "POST /push HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    client.send(head).unwrap();
    for (number, header) in headers.iter().take(30).enumerate() {
        client.send([b"13e\r\n", header.view().as_bytes().as_slice(), b"\r\n"].concat()).unwrap();
        if number == 0 {
            assert_eq!(client.read_head().unwrap().status, 200);
        }
        // The line of the block, in a chunk of its own.
        let line = client.read_some(1000).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert!(line.contains("{\"records\":1,\"stored\":1,"), "{number}: {line}");
    }
    // Another client is not kept waiting meanwhile.
    let other = self::client(&server).ask(&request(OCTETS, dump(&headers[30..40])));
    assert_sum(&other, [10, 0, 0, 0]);
    client.send("0\r\n\r\n").unwrap();
    let end = String::from_utf8(client.read_some(1000).unwrap()).unwrap();
    assert!(end.contains("\"stored\":30,") && end.contains("\"done\":true"), "{end}");
}

#[test]
fn the_command_pushes_files_and_tells_what_is_not_stored() {
    let (db, headers) = (folder(), generated(10, 1, 0.0));
    let socket = db.path().join("push");
    let server = taking(&db.path().join("db"), &["--ingest", utf8(&socket)]);
    let file = db.path().join("dump");
    fs::write(&file, dump(&headers[..100])).unwrap();
    let lines = db.path().join("lines");
    fs::write(&lines, as_lines(&headers[50..150])).unwrap();
    let outcome = run(["push", utf8(&socket), utf8(&file), utf8(&lines)]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert!(outcome.err.contains("dump: stored 100, 0 already there, 0 not stored"));
    assert!(outcome.err.contains("lines: stored 50, 50 already there, 0 not stored"));
    let mut wrong = dump(&headers[150..]);
    wrong[0] ^= 1;
    let outcome = run_with_input(plait(["push", utf8(&socket), "-"]), wrong);
    outcome.assert_fails(1, &["refused: offset 0: chain 10, height 8, block", "IncorrectHash"]);
    // As replay has it: most likely whatever should have filled it failed.
    let empty = db.path().join("empty");
    fs::write(&empty, "").unwrap();
    let outcome = run(["push", utf8(&socket), utf8(&empty)]);
    outcome.assert_fails(2, &[&format!("{}: the input is empty", utf8(&empty)), "Name files"]);
    let outcome = run_with_input(plait(["push", utf8(&socket), "-"]), Vec::new());
    outcome.assert_fails(2, &["standard input: the input is empty"]);
    drop(server);
    let outcome = finish(plait(["push", utf8(&socket), utf8(&file)]).spawn().unwrap());
    outcome.assert_fails(2, &["push: ", "Start the server with --ingest"]);
    run(["push", utf8(&socket), "nowhere"]).assert_fails(2, &["nowhere: No such file"]);
}
