//! Blocks that are pushed into a server that runs, over TCP and over a Unix socket.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use plait_engine::Header;
use plait_engine::header::text::{push_object, push_string};
use serde_json::Value;
use tempfile::TempDir;
use testkit::block::dump;
use testkit::http::{Client, Request, Response};
use testkit::process::{finish, plait, run, run_with_input};
use testkit::server::{Server, Signal, utf8};
use testkit::{say, stored};

use crate::cli::SmallDisk;
use crate::http_data::BASE;
use crate::push::{LONG, NETWORK, generated, with_genesis};

const OCTETS: &str = "application/octet-stream";
const LINES: &str = "application/x-ndjson";

/// A server of a new database that takes blocks.
fn taking(db: &Path, flags: &[&str]) -> Server {
    let own = ["--db", utf8(db), "--network", "development"];
    let ingest = if flags.contains(&"--ingest") { &[][..] } else { &["--ingest", "127.0.0.1:0"] };
    Server::with(&[&own, ingest, flags].concat())
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn client(server: &Server) -> Client {
    Client::connect(server.takes().parse().unwrap())
}

fn request(media: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::new("POST", "/push").header("Content-Type", media).body(body)
}

/// The lines of an answer; the last one is the sum.
fn lines(answer: &Response) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("Content-Type"), Some(LINES));
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sum(answer: &Response) -> Value {
    lines(answer).pop().unwrap()
}

fn assert_sum(answer: &Response, [stored, known, waiting, refused]: [u64; 4]) {
    let expected = serde_json::json!({
        "records": stored + known + waiting + refused,
        "stored": stored,
        "known": known,
        "waiting": waiting,
        "refused": refused,
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

fn cut_height(server: &Server) -> u64 {
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
    let expected = [1, 2, 3, 4, 6, 7, 9].map(|line| format!("line {line}"));
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
    // It is no server of the API, and that one takes nothing.
    assert_eq!(client.ask(&Request::get("/health-check")).status, 404);
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
fn silent_clients_are_given_up_and_hold_nobody_up() {
    let (db, headers) = (folder(), generated(2, 1, 0.0));
    let server = taking(db.path(), &["--ingest-idle-time", "0.5", "--ingest-connections", "2"]);
    let head = "POST /push HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n\
                Content-Length: 31800\r\n\r\n";
    let started: Vec<Client> = (0..2)
        .map(|_| {
            let mut client = client(&server);
            client.send([head.as_bytes(), headers[0].view().as_bytes()].concat()).unwrap();
            client
        })
        .collect();
    let begin = Instant::now();
    // It waits for one of the two places.
    let third = client(&server).ask(&request(OCTETS, dump(&headers)));
    assert_eq!(sum(&third)["done"], true);
    assert!(begin.elapsed() < Duration::from_secs(10));
    for mut client in started {
        let answer = client.read("POST").unwrap();
        let sum = sum(&answer);
        assert_eq!((&sum["done"], &sum["records"]), (&false.into(), &1.into()), "{sum}");
        assert!(sum["error"].as_str().unwrap().contains("nothing came for too long"));
        assert!(client.drain(), "it is closed");
    }
}

#[test]
fn a_client_that_vanishes_leaves_what_it_sent_and_a_server_that_goes_on() {
    let (db, headers) = (folder(), generated(60, 1, 0.0));
    let server = taking(db.path(), &["--ingest-batch", "16"]);
    let bytes = dump(&headers);
    for part in [100, 318 * 50 + 7, 318 * 900] {
        let mut client = client(&server);
        let head = "POST /push HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n\
                    Content-Length: 381600\r\n\r\n";
        client.send([head.as_bytes(), &bytes[..part]].concat()).unwrap();
        thread::sleep(Duration::from_millis(50));
        drop(client);
    }
    let answer = client(&server).ask(&request(OCTETS, bytes));
    let sum = sum(&answer);
    assert_eq!((&sum["records"], &sum["done"]), (&1200.into(), &true.into()), "{sum}");
    assert_eq!((&sum["waiting"], &sum["refused"]), (&0.into(), &0.into()), "{sum}");
    assert_eq!(cut_height(&server), 1200);
}

#[test]
fn a_client_that_reads_no_answer_is_cut_and_memory_stays_bounded() {
    let db = folder();
    let server = taking(db.path(), &["--ingest-idle-time", "1"]);
    let before = server.resident_bytes();
    let mut client = client(&server);
    let head = "POST /push HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n\
                Content-Length: 1000000000\r\n\r\n";
    client.send(head).unwrap();
    client.set_patience(LONG);
    // Every line is refused with one that is longer.
    let piece = "x\n".repeat(50_000);
    let begin = Instant::now();
    while client.send(&piece).is_ok() {
        assert!(begin.elapsed() < Duration::from_mins(1), "it takes more and more");
    }
    let after = server.resident_bytes();
    let grown = after.zip(before).map_or(0, |(after, before)| after.saturating_sub(before));
    assert!(grown < 64 << 20, "{grown} bytes");
    assert_eq!(sum(&self::client(&server).ask(&request(LINES, "x\n")))["refused"], 1);
}

#[test]
fn pushing_is_refused_while_a_replay_has_the_writer() {
    let (db, headers) = (folder(), generated(40, 1, 0.0));
    let (input, mut feed) = std::io::pipe().unwrap();
    feed.write_all(&dump(&headers[..100])).unwrap();
    let mut command = plait(["serve", "--listen", "127.0.0.1:0", "--db", utf8(db.path())]);
    command.args(["--network", "development", "--ingest", "127.0.0.1:0", "--replay", "-"]);
    let server = Server::of_command({
        command.stdin(input);
        command
    });
    let answer = client(&server).ask(&request(OCTETS, dump(&headers)));
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.header("Retry-After"), Some("5"));
    assert!(answer.text().contains("a replay is writing"), "{}", answer.text());
    drop(feed);
    let begin = Instant::now();
    let answer = loop {
        let answer = client(&server).ask(&request(OCTETS, dump(&headers)));
        if answer.status == 200 || begin.elapsed() > LONG {
            break answer;
        }
        thread::sleep(Duration::from_millis(50));
    };
    assert_sum(&answer, [700, 100, 0, 0]);
}

#[test]
fn a_full_disk_is_told_and_the_next_batch_is_stored_once_there_is_room() {
    let Some(disk) = SmallDisk::mount(5 << 20) else {
        return say("skipped: no full disk without the right to mount one");
    };
    let headers = generated(600, 1, 0.0);
    let db = disk.path().join("db");
    let server = taking(&db, &["--ingest-batch", "200"]);
    let answer = client(&server).ask(&request(OCTETS, dump(&headers)));
    let told = sum(&answer);
    assert_eq!(told["done"], false, "{told}");
    assert!(told["error"].as_str().unwrap().contains("No space left on device"), "{told}");
    let stored_before = told["stored"].as_u64().unwrap();
    assert!(stored_before > 0 && stored_before < 12_000, "{told}");
    assert!(cut_height(&server) > 0, "it still answers");
    disk.grow(600 << 20);
    let begin = Instant::now();
    let last = loop {
        let answer = client(&server).ask(&request(OCTETS, dump(&headers)));
        let last = sum(&answer);
        if last["done"] == true || begin.elapsed() > LONG {
            break last;
        }
        thread::sleep(Duration::from_millis(200));
    };
    assert_eq!((&last["done"], &last["records"]), (&true.into(), &12_000.into()), "{last}");
    assert!(last["known"].as_u64().unwrap() >= stored_before, "nothing was lost: {last}");
    drop(server);
    assert_eq!(stored(&db), with_genesis(&headers));
}

#[test]
fn what_was_told_to_be_stored_survives_a_kill() {
    let (db, headers) = (folder(), generated(100, 3, 0.1));
    let mut told = 0;
    for round in 0..4 {
        let mut server = taking(db.path(), &["--ingest-batch", "64"]);
        let mut client = client(&server);
        let bytes = dump(&headers);
        let head = format!(
            "POST /push HTTP/1.1\r\nHost: x\r\nContent-Type: {OCTETS}\r\nContent-Length: {}\r\n\r\n",
            bytes.len()
        );
        let length = bytes.len() / 5 * (round + 1);
        client.send([head.as_bytes(), &bytes[..length]].concat()).unwrap();
        let mut answer = String::new();
        // Killed in the middle of some batch.
        while !answer.contains("\"stored\":64") {
            answer += &String::from_utf8_lossy(&client.read_some(4096).unwrap());
        }
        server.kill();
        answer += &String::from_utf8_lossy(&client.read_some(1 << 20).unwrap_or_default());
        let counts = answer.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let stored = |line: Value| Some(line["stored"].as_u64()? + line["known"].as_u64()?);
        told = told.max(counts.filter_map(stored).sum::<u64>());
        let reader = plait_engine::Engine::open_read_only(db.path()).unwrap();
        let view = reader.view();
        let count: u64 = reader.version().chain_ids().map(|chain| view.block_count(chain)).sum();
        assert!(count >= told + 20, "{count} of {told}");
    }
    assert!(told > 64);
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
    drop(server);
    let outcome = finish(plait(["push", utf8(&socket), utf8(&file)]).spawn().unwrap());
    outcome.assert_fails(2, &["push: ", "Start the server with --ingest"]);
    run(["push", utf8(&socket), "nowhere"]).assert_fails(2, &["nowhere: No such file"]);
}
