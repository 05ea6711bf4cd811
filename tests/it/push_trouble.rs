//! Clients that push and go, or stand still, a writer that is busy, a disk that is full, a server that is
//! killed.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::block::dump;
use testkit::http::Client;
use testkit::process::plait;
use testkit::server::{Server, utf8};
use testkit::{say, stored};

use crate::cli::SmallDisk;
use crate::push::{LONG, generated, with_genesis};
use crate::push_http::{
    LINES, OCTETS, assert_sum, client, cut_height, folder, request, sum, taking,
};

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
    let error = told["error"].as_str().unwrap();
    assert!(error.contains("No space left on device") && error.contains("128 MiB"), "{told}");
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
        let count = view.total_block_count();
        assert!(count >= told + 20, "{count} of {told}");
    }
    assert!(told > 64);
}
