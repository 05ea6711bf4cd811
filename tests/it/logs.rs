//! Names of requests, and what is logged of them.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use testkit::http::{Request, Response};
use testkit::server::{Server, utf8};

use crate::http_data::{BASE, OCTETS, database, on, served_with};

/// The lines of the log that are requests, once there are as many.
fn requests(server: &Server, count: usize) -> Vec<Value> {
    let begin = Instant::now();
    loop {
        let log = server.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let found: Vec<Value> = lines.filter(|line| line["target"] == "plait::requests").collect();
        if found.len() >= count || begin.elapsed() > Duration::from_secs(20) {
            return found;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn name(answer: &Response) -> String {
    answer.header("X-Request-Id").expect("every answer has a name").to_owned()
}

fn is_name(text: &str) -> bool {
    let is_right = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=64).contains(&text.len()) && text.chars().all(is_right)
}

#[test]
fn every_answer_has_the_name_of_its_request() {
    let server = served_with(&[]);
    let mut client = server.connect();
    let mut seen = Vec::new();
    for target in [&on(0, "hash"), "/nowhere", &format!("{BASE}/cut?maxheight=x"), "/health-check"]
    {
        let own = client.ask(&Request::get(target).header("X-Request-Id", "Mine_1.a-b"));
        assert_eq!(name(&own), "Mine_1.a-b", "{target}");
        for wrong in ["a b", "", "a;b", &"x".repeat(65)] {
            let given = client.ask(&Request::get(target).header("X-Request-Id", wrong));
            assert!(is_name(&name(&given)) && name(&given) != wrong, "{target} {wrong:?}");
            seen.push(name(&given));
        }
        let exposed = own.header("Access-Control-Expose-Headers").unwrap();
        assert!(exposed.contains("x-request-id"), "{exposed}");
    }
    let allowed = client.ask(&Request::new("OPTIONS", on(0, "hash")));
    assert!(allowed.header("Access-Control-Allow-Headers").unwrap().contains("x-request-id"));
    let mut other = server.connect();
    other.send("NONSENSE\r\n\r\n").unwrap();
    seen.push(name(&other.read("GET").unwrap()));
    let again = served_with(&[]);
    seen.push(name(&again.get("/info")));
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "{seen:?}");
}

#[test]
fn requests_are_logged_when_all_are_to_be() {
    let flags = ["--log-requests", "all", "--log-format", "json", "--log", "error"];
    let server = served_with(&flags);
    let target = on(0, "header?maxheight=1");
    let request = Request::get(&target).accept(OCTETS).header("X-Request-Id", "one");
    let answer = server.ask(&request);
    assert_eq!(server.get("/nowhere?\u{7f}").status, 400);
    assert_eq!(server.get("/nowhere").status, 404);
    let lines = requests(&server, 2);
    assert_eq!(lines.len(), 2, "{}", server.log());
    for line in server.log().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
    let one = &lines[0];
    assert_eq!(one["request"], "one");
    assert_eq!(one["method"], "GET");
    assert_eq!(one["path"], target);
    assert_eq!(one["status"], 200);
    assert_eq!(one["bytes"], answer.body.len());
    assert_eq!(one["whole"], true);
    assert!(one["milliseconds"].as_f64().unwrap() >= 0.0);
    assert!(one["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!((&lines[1]["status"], &lines[1]["path"]), (&404.into(), &"/nowhere".into()));
}

#[test]
fn requests_are_not_logged_unless_it_is_asked_for() {
    let server = served_with(&["--log-format", "json"]);
    assert_eq!(server.get("/info").status, 200);
    assert_eq!(requests(&server, 0), [] as [Value; 0]);
}

#[test]
fn failure_is_logged_under_the_name_of_its_request() {
    let archive = TempDir::new().unwrap();
    std::fs::write(archive.path().join("manifest.json"), "{ broken").unwrap();
    let database = database();
    let flags = ["--archive", utf8(archive.path()), "--log-format", "json"];
    let server = Server::start(&database, &[&flags[..], &["--log-requests", "errors"]].concat());
    let request = Request::get("/archive/manifest.json").header("X-Request-Id", "broken");
    assert_eq!(server.ask(&request).status, 500);
    assert_eq!(server.get("/info").status, 200);
    let lines = requests(&server, 1);
    assert_eq!(lines.len(), 1, "{}", server.log());
    assert_eq!((&lines[0]["request"], &lines[0]["status"]), (&"broken".into(), &500.into()));
    let log = server.log();
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let cause = lines.find(|line| line["level"] == "ERROR").expect("the cause is logged");
    assert_eq!(cause["request"], "broken");
    assert!(cause["message"].as_str().unwrap().contains("archive"), "{cause}");
}
