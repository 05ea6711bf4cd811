//! Memory while JSON of any shape is read: small inputs that ask for much of it.

use std::io::{self, Write};
use std::time::Duration;

use plait_engine::header::text;
use serde_json::Value;
use testkit::block::NETWORK;
use testkit::process::{plait, run_measured};
use testkit::say;
use testkit::server::utf8;

use crate::push::generated;
use crate::push_http::{LINES, client, folder, request, taking};

/// What `docs/threat-model.md` promises for a replay of JSON, and for a server that one client pushes to.
const REPLAY_BYTES_MAX: u64 = 512 << 20;
const PUSH_BYTES_MAX: u64 = 384 << 20;

/// What the answer to one push has at most without `each`.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Text that is written piece by piece: something, something else many times, and an end.
#[derive(Clone)]
struct Shape {
    name: &'static str,
    /// Whether it is many values, of which each is a record that takes time.
    is_many: bool,
    front: String,
    piece: String,
    end: String,
}

impl Shape {
    fn one(name: &'static str, front: &str, piece: &str, end: &str) -> Self {
        let [front, piece, end] = [front, piece, end].map(str::to_owned);
        Self { name, is_many: false, front, piece, end }
    }

    fn many(name: &'static str, front: &str, piece: &str, end: &str) -> Self {
        Self { is_many: true, ..Self::one(name, front, piece, end) }
    }

    /// Writes so many bytes of it.
    fn write(&self, bytes: usize, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self.front.as_bytes())?;
        let many = self.piece.repeat((64 << 10) / self.piece.len().min(64 << 10));
        for _ in 0..bytes.div_ceil(many.len()) {
            out.write_all(many.as_bytes())?;
        }
        out.write_all(self.end.as_bytes())
    }

    fn text(&self, bytes: usize) -> Vec<u8> {
        let mut text = Vec::new();
        self.write(bytes, &mut text).unwrap();
        text
    }
}

/// Every shape that may cost more than its bytes.
fn shapes() -> Vec<Shape> {
    let mut header = Vec::new();
    text::push_object(&mut header, generated(1, 1, 0.0)[0].view(), NETWORK);
    let header = String::from_utf8(header).unwrap();
    let block = format!("{{\"header\":{header},\"payloadWithOutputs\":{{\"minerData\":\"\",");
    let empties = "\"\"]}}".to_owned();
    vec![
        Shape::one("empty items", "{\"items\":[", "\"\",", "\"\"]}"),
        Shape::many("numbers", "[", "0,", "0]"),
        Shape::many("empty objects", "[", "{},", "{}]"),
        Shape::many("values without an array", "", "{}", ""),
        Shape::many("words", "", "A\n", ""),
        Shape::many("empty pages", "[", "{\"items\":[]},", "0]"),
        Shape::one("pages in a page", "", "{\"items\":[", ""),
        Shape::one("deep arrays", "", "[", ""),
        Shape::one("deep objects", "", "{\"a\":", ""),
        Shape::one("arrays within a value", "{\"a\":", "[[", ""),
        Shape::one("a string", "\"", "A", "\""),
        Shape::one("escapes", "\"", "\\u0041", "\""),
        Shape::one("a number", "[", "1", "]"),
        Shape::one("a key", "{\"", "k", "\":1}"),
        Shape::one("keys", "{", "\"k\":1,", "\"k\":1}"),
        Shape::one("keys of headers", "{", "\"hash\":\"\",", "\"hash\":\"\"}"),
        Shape::many("items twice", "{", "\"items\":[\"\"],", "\"items\":[]}"),
        Shape::one("a page's members", "{\"items\":[],\"next\":[", "0,", "0]}"),
        Shape::one("members before items", "{\"next\":[", "0,", "0],\"items\":[\"\"]}"),
        Shape::one("adjacent parents", "{\"adjacents\":{", "\"1\":\"\",", "\"1\":\"\"}}"),
        Shape::one("transactions", &format!("{block}\"transactions\":["), "\"\",", &empties),
        Shape::one("pairs", &format!("{block}\"transactions\":["), "[\"\",\"\"],", &empties),
        Shape::one(
            "escaped pairs",
            &format!("{block}\"transactions\":["),
            "[\"\\n\",\"\\n\"],",
            &empties,
        ),
        Shape::one("white space", "", " ", ""),
        Shape::one("lines", "[", "\n", "]"),
        Shape::one("fields of events", "", "id:\n", ""),
        Shape::many("blocks with payloads", "[", &format!("{block}\"transactions\":[]}}}},"), "0]"),
    ]
}

#[test]
fn a_replay_holds_no_more_than_its_budget_whatever_json_it_reads() {
    for shape in shapes() {
        // One value of the second length is below the limit, and is parsed.
        let long = if shape.is_many { 6 << 20 } else { 66 << 20 };
        for (bytes, end) in [(long, true), (long, false), (long.min(31 << 20), true)] {
            let db = folder();
            let flags = ["--network", "development", "--format", "json", "--keep-going", "-"];
            let command = plait([&["replay", "--db", utf8(db.path())][..], &flags].concat());
            let mut written = shape.clone();
            if !end {
                written.end = String::new();
            }
            let (outcome, most) = run_measured(command, move |input| written.write(bytes, input));
            let name = shape.name;
            assert!(matches!(outcome.status, Some(0 | 1)), "{name}: {}", outcome.err);
            assert!(outcome.err.len() < 1 << 20, "{name}: {} bytes of errors", outcome.err.len());
            let Some(most) = most else { return say("skipped: the system tells no memory") };
            say(&format!("replay, {name}, {} MB: {} MB held", bytes >> 20, most >> 20));
            assert!(most < REPLAY_BYTES_MAX, "{name}: {most} bytes");
        }
    }
}

#[test]
fn a_replay_holds_no_more_than_its_budget_whatever_log_lines_it_skips() {
    let log = "2026-01-01 [Info] ";
    for shape in [
        Shape::one("a log line", log, "tip {\"hash\":\"\\\"\"} ", "\n"),
        Shape::one("base64 in a log line", log, "QUJD", "\n"),
        Shape::one("log lines", "", "2026-01-01 [Info] tip {\"height\":5}\n", ""),
        Shape::one("objects of a log", "", "{\"message\":{\"height\":5}}\n", ""),
    ] {
        let db = folder();
        let flags = ["--network", "development", "--format", "json", "--lenient", "-"];
        let command = plait([&["replay", "--db", utf8(db.path())][..], &flags].concat());
        let name = shape.name;
        let (outcome, most) = run_measured(command, move |input| shape.write(66 << 20, input));
        assert!(matches!(outcome.status, Some(0 | 1)), "{name}: {}", outcome.err);
        let Some(most) = most else { return say("skipped: the system tells no memory") };
        say(&format!("replay, {name}: {} MB held", most >> 20));
        assert!(most < REPLAY_BYTES_MAX, "{name}: {most} bytes");
    }
}

#[test]
fn a_server_holds_no_more_than_its_budget_whatever_json_is_pushed() {
    for shape in shapes() {
        let db = folder();
        let server = taking(db.path(), &[]);
        let bytes = if shape.is_many {
            3 << 20
        } else if shape.name == "empty items" {
            33 << 19
        } else {
            31 << 19
        };
        let mut client = client(&server);
        client.set_patience(Duration::from_mins(3));
        let answer = client.ask_both_ways(&request(LINES, shape.text(bytes)));
        let name = shape.name;
        assert_eq!(answer.status, 200, "{name}");
        assert!(answer.text().len() < ANSWER_BYTES_MAX, "{name}: {} bytes", answer.text().len());
        let sum: Value = serde_json::from_str(answer.text().lines().last().unwrap()).unwrap();
        assert_eq!(sum["done"], true, "{name}: {sum}");
        let listed =
            answer.text().lines().filter(|line| line.contains("\"outcome\"")).count() as u64;
        let unlisted = sum["unlisted"].as_u64().unwrap_or(0);
        let count = |name: &str| sum[name].as_u64().unwrap();
        let not_whole = ["waiting", "refused", "payloadsRefused"].map(count).iter().sum::<u64>();
        assert_eq!(listed + unlisted, not_whole, "{name}: {sum}");
        let Some(most) = server.resident_bytes_max() else {
            return say("skipped: the system tells no memory");
        };
        say(&format!(
            "push, {name}: {} MB held, {} bytes answered",
            most >> 20,
            answer.text().len()
        ));
        assert!(most < PUSH_BYTES_MAX, "{name}: {most} bytes");
    }
}

#[test]
fn a_long_array_of_headers_is_never_held_whole() {
    let headers = generated(200, 1, 0.0);
    let mut items = Vec::new();
    for header in &headers {
        text::push_object(&mut items, header.view(), NETWORK);
        items.push(b',');
    }
    let db = folder();
    let flags = ["--network", "development", "-"];
    let command = plait([&["replay", "--db", utf8(db.path())][..], &flags].concat());
    let first = headers[0];
    let (outcome, most) = run_measured(command, move |input| {
        input.write_all(b"{\"items\":[")?;
        // Some 640 MB.
        (0..200).try_for_each(|_| input.write_all(&items))?;
        let mut last = Vec::new();
        text::push_object(&mut last, first.view(), NETWORK);
        input.write_all(&last)?;
        input.write_all(b"],\"limit\":1}")
    });
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(outcome.counts()[0], headers.len() as u64);
    let Some(most) = most else { return say("skipped: the system tells no memory") };
    say(&format!("{} MB held", most >> 20));
    assert!(most < REPLAY_BYTES_MAX, "{most} bytes");
}
