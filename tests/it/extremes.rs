//! Every number that can be given, at the ends of its range and far beyond: it is refused by the name
//! of the range, or a server starts with it, answers a page and an event stream, and stops.

use std::path::Path;
use std::time::{Duration, Instant};

use plait_engine::ChainwebVersion;
use tempfile::TempDir;
use testkit::block::dump;
use testkit::http::{Client, Request};
use testkit::node::Node;
use testkit::process::{finish, plait, run};
use testkit::server::{Replayed, Server, Signal, utf8};

use crate::http_data::{BASE, NOBODY, bounds, database, on, served_with};
use crate::push::generated;
use crate::push_http::{OCTETS, request, sum};

/// Far more than anything here takes.
const LONG: Duration = Duration::from_mins(1);

/// Numbers that are no setting's: 2^61, on which tokio's semaphores panic, 2^63, where seconds end, 2^64
/// less 1, and 2^64.
const HUGE: [&str; 4] =
    ["2305843009213693952", "9223372036854775808", "18446744073709551615", "18446744073709551616"];

/// What is no number of any kind here.
const NONSENSE: [&str; 8] =
    ["-1", "1e300", "-1e300", "NaN", "inf", "", "99999999999 years", "0x10"];

/// A setting that is a number.
#[derive(Debug)]
struct Row {
    /// The key in the file, and the keys of its sections.
    keys: Vec<String>,
    flag: String,
    least: String,
    most: String,
    is_time: bool,
}

impl Row {
    fn key(&self) -> String {
        self.keys.join(".")
    }

    /// What a message says of a value out of range.
    fn range(&self) -> String {
        format!("from {} to {}", self.least, self.most)
    }

    /// A file with this value.
    fn file(&self, value: &str) -> String {
        let open = self.keys.iter().fold(String::new(), |open, key| open + "{" + key + ": ");
        format!("{open}{value:?}{}", "}".repeat(self.keys.len()))
    }

    fn variable(&self) -> String {
        format!("PLAIT_{}", self.flag.to_uppercase().replace('-', "_"))
    }

    /// Values that are to be refused.
    fn wrong(&self) -> Vec<String> {
        let too_much = (self.most.parse::<u64>().unwrap() + 1).to_string();
        let mut wrong = vec![too_much, HUGE[0].to_owned(), HUGE[2].to_owned(), "-1".to_owned()];
        wrong.push(if self.is_time { "1e300" } else { "1.5" }.to_owned());
        wrong
    }
}

/// All settings that are numbers, as `plait config print` and the help show them.
fn rows() -> Vec<Row> {
    let printed = run(["config", "print"]).out;
    let help = run(["serve", "--help"]).out;
    let (mut rows, mut keys, mut about) = (Vec::new(), Vec::<String>::new(), String::new());
    for line in printed.lines() {
        let depth = (line.len() - line.trim_start().len()) / 2;
        if let Some(comment) = line.trim_start().strip_prefix("# ") {
            about = format!("{about} {comment}");
            continue;
        }
        let Some((key, value)) = line.trim().split_once(':') else { continue };
        keys.truncate(depth);
        keys.push(key.to_owned());
        let about = std::mem::take(&mut about);
        if value.is_empty() {
            continue;
        }
        let Some((_, parts)) = about.rsplit_once('(') else { continue };
        let parts: Vec<&str> = parts.trim_end_matches(')').split(", ").collect();
        let range = parts.iter().find_map(|part| {
            let (least, most) = part.split_once(" to ")?;
            (least.parse::<f64>().is_ok() && most.parse::<u64>().is_ok()).then_some((least, most))
        });
        let Some((least, most)) = range else { continue };
        let flag = parts.iter().find_map(|part| part.strip_prefix("--")).expect("it has a flag");
        rows.push(Row {
            keys: keys.clone(),
            flag: flag.to_owned(),
            least: least.to_owned(),
            most: most.to_owned(),
            is_time: help.contains(&format!("--{flag} <SECONDS>")),
        });
    }
    // Whatever takes a number in the help has a range.
    for line in help.lines().filter(|line| line.ends_with("<N>") || line.ends_with("<SECONDS>")) {
        let flag = line.split("--").nth(1).unwrap().split(' ').next().unwrap();
        assert!(rows.iter().any(|row| row.flag == flag), "--{flag} has no range");
    }
    assert!(rows.len() > 40, "{} rows", rows.len());
    rows
}

#[test]
fn a_number_out_of_range_is_refused_by_the_name_of_its_range() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("plait.yaml");
    for row in rows() {
        let range = row.range();
        // Others, in one process, are in the unit test of the rows.
        for value in row.wrong() {
            std::fs::write(&file, row.file(&value)).unwrap();
            let checked = run(["config", "check", utf8(&file)]);
            let place = format!("plait.yaml:1:{}: {}: ", column(&row), row.key());
            checked.assert_fails(2, &[&place, &range, &format!("got {value:?}")]);
        }
        let flag = format!("--{}={}", row.flag, HUGE[0]);
        run(["serve", "--db", "x", &flag]).assert_fails(2, &[&range, &row.flag]);
        let mut command = plait(["serve", "--db", "x"]);
        command.env(row.variable(), HUGE[2]);
        finish(command.spawn().unwrap()).assert_fails(2, &[&range, &row.flag]);
    }
}

/// Where the value stands in [`Row::file`].
fn column(row: &Row) -> usize {
    row.keys.iter().map(|key| key.len() + 3).sum::<usize>() + 1
}

/// A database that servers have one after the other, and what they need beside it.
struct World {
    database: Replayed,
    node: Node,
    /// Blocks that join one after the other, twenty at a time.
    blocks: Vec<u8>,
}

impl World {
    /// A terabyte is in the range of caches, but no machine of a test has it.
    fn assert_too_large(&self, row: &Row, value: &str) {
        let (flag, db) = (format!("--{}={value}", row.flag), self.database.path());
        let outcome = run(["serve", "--db", utf8(&db), "--listen", "127.0.0.1:0", &flag]);
        outcome.assert_fails(2, &["too little memory: caches of ", "do not fit", &row.key()]);
    }

    /// Starts a server with `flags`, sees it answer, and stops it.
    fn assert_serves(&mut self, row: &Row, value: &str) {
        let what = format!("--{}={value}", row.flag);
        let (db, key) = (self.database.path(), row.key());
        let url = self.node.url();
        let mut flags = vec!["--db", utf8(&db), &what, "--ingest", "127.0.0.1:0"];
        if key != "updates.keepAlive" {
            flags.extend(["--updates-keep-alive", "0.05"]);
        }
        if key.starts_with("follow.") {
            flags.extend(["--follow", &url]);
        }
        let mut server = Server::with(&flags);
        until(&what, || {
            let asked =
                Client::connect(server.address()).try_ask(&Request::get(on(0, "hash?limit=1")));
            asked.is_ok_and(|answer| answer.status == 200)
        });
        if key == "limits.subscribers" && value == "0" {
            let refused = server.get(&format!("{BASE}/header/updates"));
            assert_eq!(refused.status, 503, "{what}");
        } else {
            let by_event = key == "updates.keepAlive";
            until(&what, || self.is_heard(&server, by_event));
        }
        if key.starts_with("ingest.") {
            until(&what, || self.push(&server));
        }
        server.signal(Signal::TERM);
        if key == "limits.drainDelay" && value != "0" {
            until(&what, || server.get("/health-check").status == 503);
            server.signal(Signal::TERM);
            assert!(server.wait(LONG).is_some(), "{what}: it does not end");
        } else {
            let status = server.wait(LONG).unwrap_or_else(|| panic!("{what}: it does not end"));
            assert!(status.success(), "{what}: {status}");
        }
    }

    /// Whether an event stream sends two newlines alone, or, after a push, an event.
    fn is_heard(&mut self, server: &Server, by_event: bool) -> bool {
        let mut client = server.connect();
        client.set_patience(Duration::from_secs(5));
        if client.send(Request::get(format!("{BASE}/header/updates")).to_bytes()).is_err()
            || !client.read_head().is_ok_and(|head| head.status == 200)
        {
            return false;
        }
        if by_event && !self.push(server) {
            return false;
        }
        let mut heard = String::new();
        loop {
            match client.read_some(4096) {
                Ok(bytes) if !bytes.is_empty() => heard += &String::from_utf8_lossy(&bytes),
                _ => return false,
            }
            // Chunks of a newline alone.
            let newlines = heard.matches("1\r\n\n\r\n").count();
            if heard.contains("data:") || (!by_event && newlines >= 2) {
                return true;
            }
        }
    }

    /// Pushes the next blocks.
    fn push(&mut self, server: &Server) -> bool {
        const BYTES: usize = 20 * 318;
        let rest = self.blocks.split_off(BYTES);
        let next = std::mem::replace(&mut self.blocks, rest);
        let mut client = Client::connect(server.takes().parse().unwrap());
        match client.try_ask(&request(OCTETS, next.clone())) {
            Ok(answer) if answer.status == 200 && sum(&answer)["done"] == true => true,
            _ => {
                self.blocks.splice(0..0, next);
                false
            }
        }
    }
}

/// Tries again until something is so: a limit of a millisecond refuses some.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LONG, "{what}: not within a minute");
    }
}

#[test]
fn a_server_answers_and_stops_with_any_setting_at_either_end_of_its_range() {
    let mut headers = generated(40, 1, 0.0);
    headers.sort_by_key(|header| header.view().rank());
    let mut world = World {
        database: Replayed::new("development", dump(&headers[..20]), &[]),
        node: Node::start(ChainwebVersion::Development),
        blocks: dump(&headers[20..]),
    };
    for row in rows() {
        world.assert_serves(&row, &row.least);
        if row.key().starts_with("caches.") {
            world.assert_too_large(&row, &row.most);
        } else {
            world.assert_serves(&row, &row.most);
        }
    }
}

#[test]
fn numbers_of_other_commands_are_refused_by_the_name_of_their_range() {
    let small = "expected a whole number from 1 to 6000000";
    let any = "expected a whole number from 0 to 18446744073709551615";
    let share = "expected a number from 0 to 1";
    let generate = ["generate", "--network", "development", "--out", "-", "--heights"];
    let of_three = [&generate[..], &["3"]].concat();
    for (before, flag, expected, others) in [
        (&generate[..5], "--heights", small, &["0", "abc", "6000001"][..]),
        (&of_three[..], "--seed", any, &["abc"][..]),
        (&of_three[..], "--fork-depth", small, &["0", "6000001"][..]),
        (&of_three[..], "--forks", share, &["5", "1.01", "50%"][..]),
        (&of_three[..], "--votes", share, &["5", "1.01"][..]),
        (&["stats", "--db", "x"][..], "--min-height", any, &["abc"][..]),
        (&["stats", "--db", "x"][..], "--max-height", any, &["abc"][..]),
        (&["stats", "--db", "x"][..], "--step", "from 1 to 18446744073709551615", &["0"][..]),
        (&["stats", "--db", "x"][..], "--chain", "from 0 to 4294967295", &["4294967296"][..]),
        (
            &["backup", "make", "--db", "x"][..],
            "--keep",
            "from 1 to 1000000",
            &["0", "1000001"][..],
        ),
        (
            &["replay", "--db", "x", "-"][..],
            "--commit",
            "from 1 to 16777216",
            &["0", "16777217"][..],
        ),
    ] {
        for value in others.iter().chain(&NONSENSE).chain(&["18446744073709551616"]) {
            let flag_value = format!("{flag}={value}");
            let said = run(before.iter().copied().chain([flag_value.as_str()]));
            said.assert_fails(2, &[expected, flag]);
        }
    }
    for (branch, expected) in [
        ("0:1:1:0", "COUNT: expected a whole number from 1 to 1000000"),
        ("0:1:1:18446744073709551615", "COUNT: expected a whole number from 1 to 1000000"),
        ("18446744073709551615:1:1", "there is no such chain"),
        ("0:18446744073709551615:18446744073709551615", "--branch"),
        ("0:1:18446744073709551616", "expected numbers"),
        ("20:1:1", "chain 20"),
    ] {
        let said = run(generate.iter().copied().chain(["3", "--branch", branch]));
        assert_eq!(said.status, Some(2), "{branch}: {}", said.err);
        assert!(said.err.contains(expected) || said.err.contains("branch"), "{}", said.err);
    }
}

#[test]
fn numbers_of_other_commands_are_taken_at_the_ends_of_their_range() {
    let folder = TempDir::new().unwrap();
    let dump = folder.path().join("dump");
    let generate = ["generate", "--network", "development", "--heights", "5", "--out", utf8(&dump)];
    for flags in [
        &["--seed", "18446744073709551615"][..],
        &["--forks", "1", "--fork-depth", "6000000", "--seed", "9223372036854775808"],
        &["--votes", "1"],
        &["--branch", "0:1:1:1000"],
    ] {
        let made = run(generate.iter().chain(flags));
        assert_eq!(made.status, Some(0), "{flags:?}: {}", made.err);
    }
    let database = database();
    let db = database.path();
    let most = "18446744073709551615";
    for flags in [
        &["--min-height", most][..],
        &["--max-height", most],
        &["--min-height", most, "--max-height", most, "--step", most],
        &["--step", most, "--by-chain"],
        &["--step", "1", "--max-height", most],
    ] {
        assert_eq!(stats(&db, flags), Some(0), "{flags:?}");
    }
    assert_eq!(stats(&db, &["--chain", "4294967295"]), Some(2));
}

fn stats(db: &Path, flags: &[&str]) -> Option<i32> {
    run([&["stats", "--db", utf8(db)], flags].concat()).status
}

#[test]
fn any_number_in_a_query_has_an_answer() {
    let server = served_with(&[]);
    let mut client = server.connect();
    let hash = NOBODY;
    let numbers = ["0", "1", "9223372036854775807", "9223372036854775808", "18446744073709551615"];
    let numbers = numbers.iter().chain(&HUGE).chain(&["99999999999999999999999999"]);
    let paths = [
        "cut".to_owned(),
        "stats".to_owned(),
        "chain/0/stats".to_owned(),
        "chain/0/hash".to_owned(),
        "chain/0/header".to_owned(),
        "chain/0/block".to_owned(),
        format!("chain/0/payload/{hash}"),
        "chain/18446744073709551615/hash".to_owned(),
    ];
    let names = ["limit", "minheight", "maxheight", "height", "step"];
    for number in numbers {
        for path in &paths {
            for query in names
                .map(|name| format!("{name}={number}"))
                .into_iter()
                .chain([format!("minheight={number}&maxheight={number}&step={number}")])
                .chain([
                    format!("by=chain&step={number}"),
                    format!("limit=1&next=inclusive:{hash}"),
                ])
            {
                let answer = client.ask(&Request::get(format!("{BASE}/{path}?{query}")));
                assert!(answer.status < 500, "{path}?{query}: {}", answer.status);
            }
        }
        let range = format!("bytes={number}-{number}");
        let branch = Request::post(on(0, &format!("hash/branch?limit={number}")), bounds(&[], &[]));
        assert!(client.ask(&branch.header("Range", &range)).status < 500, "{number}");
        let batch = format!(r#"{{"hashes":["{hash}"],"heights":[{number}]}}"#);
        let batch = client.ask(&Request::post(on(0, "payload/batch"), batch));
        assert!(batch.status < 500, "{number}: {}", batch.status);
    }
}

#[test]
fn a_server_listens_where_a_host_name_says() {
    let database = database();
    let db = database.path();
    let mut command = plait(["serve", "--db", utf8(&db), "--listen", "localhost:0"]);
    command.args(["--metrics", "localhost:0", "--ingest", "localhost:0"]);
    let server = Server::of_command(command);
    assert!(server.address().ip().is_loopback(), "{}", server.address());
    assert_eq!(server.get("/info").status, 200);
    assert!(server.watched().ip().is_loopback());
    let refused = run(["serve", "--db", utf8(&db), "--listen", "plait.invalid:1848"]);
    refused.assert_fails(2, &["--listen", "cannot resolve the host name plait.invalid"]);
}
