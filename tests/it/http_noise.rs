//! Thousands of requests made by chance, from right to rubbish: each is answered or its connection
//! ends, none is an error of the server, and the server lives on.

use std::time::Duration;

use testkit::http::{Client, Ended, Request};
use testkit::say;
use testkit::server::Server;

use crate::http_data::{BASE, Chance, NOBODY, bounds, on, served_with, world};

/// Pieces that paths, queries, headers and bodies are made of.
struct Pieces {
    hashes: Vec<String>,
}

impl Pieces {
    fn new() -> Self {
        let world = world();
        let mut hashes =
            world.forked.hashes(&[0, 1, 50, world.bush[4], world.side[3], world.rival]);
        hashes.push(world.long.hash(9));
        hashes.extend([NOBODY, "short", "", "%00", "%", "..", "*"].map(str::to_owned));
        Self { hashes }
    }

    fn hash(&self, chance: &mut Chance) -> String {
        let hash = self.hashes[chance.below(self.hashes.len())].clone();
        if chance.below(8) == 0 { garble(&hash, chance) } else { hash }
    }

    fn path(&self, chance: &mut Chance) -> String {
        let chain = chance.one_of(&[
            "0",
            "0",
            "0",
            "0",
            "0",
            "0",
            "1",
            "1",
            "19",
            "20",
            "x",
            "-1",
            "00",
            "%30",
            "4294967296",
        ]);
        let rest = match chance.below(14) {
            0..2 => "hash".to_owned(),
            2..4 => "header".to_owned(),
            4..6 => "hash/branch".to_owned(),
            6..8 => "header/branch".to_owned(),
            8 => format!("header/{}", self.hash(chance)),
            9 => format!("{}/{}", self.hash(chance), self.hash(chance)),
            10 => format!("payload/{}", self.hash(chance)),
            11 => format!("payload/{}/outputs", self.hash(chance)),
            _ => chance
                .one_of(&[
                    "hash",
                    "header",
                    "hash/branch",
                    "header/branch",
                    "block",
                    "block/branch",
                    "payload/batch",
                    "payload/outputs/batch",
                ])
                .to_owned(),
        };
        match chance.below(12) {
            0 => chance.one_of(&["/", "*", "/info", "/health-check", "//", "/%2e%2e"]).to_owned(),
            1 => format!("{BASE}/{}", chance.one_of(&["cut", "info", "cut/", "header/updates/x"])),
            2 => format!("http://other{}", on(0, &rest)),
            _ => format!("{BASE}/chain/{chain}/{rest}"),
        }
    }

    fn query(&self, chance: &mut Chance) -> String {
        let mut query = String::new();
        for _ in 0..chance.below(5) {
            let name = chance.one_of(&[
                "limit",
                "next",
                "minheight",
                "maxheight",
                "t",
                "chain",
                "%6cimit",
                "",
            ]);
            let value = match chance.below(6) {
                0 => format!("inclusive:{}", self.hash(chance)),
                1 => format!("exclusive%3A{}", self.hash(chance)),
                2 => chance.below(800).to_string(),
                _ => chance
                    .one_of(&[
                        "-1",
                        "1e9",
                        "0",
                        "1",
                        "5",
                        "",
                        "99999999999999999999999",
                        "%00",
                        "x",
                        "null",
                        "%FF",
                    ])
                    .to_owned(),
            };
            query.extend([if query.is_empty() { "?" } else { "&" }, name, "=", &value]);
        }
        query
    }

    fn body(&self, chance: &mut Chance) -> String {
        let mut some = |most: usize| -> Vec<String> {
            (0..chance.below(most)).map(|_| self.hash(chance)).collect()
        };
        let (upper, lower) = (some(5), some(4));
        let body = bounds(&upper, &lower);
        match chance.below(6) {
            0 => garble(&body, chance),
            1 => chance
                .one_of(&[
                    "{}",
                    "",
                    "[]",
                    "null",
                    "{\"upper\":null}",
                    "\u{0}",
                    "{\"upper\":[1e999]}",
                ])
                .to_owned(),
            2 => body.repeat(chance.below(400)),
            _ => body,
        }
    }

    fn request(&self, chance: &mut Chance) -> Request {
        let mut target = self.path(chance) + &self.query(chance);
        if chance.below(10) == 0 {
            target = garble(&target, chance);
        }
        // A space would end the target, and the rest be read as the version.
        let target: String = target.chars().filter(char::is_ascii_graphic).collect();
        let target = if target.is_empty() { "/".to_owned() } else { target };
        let method = match chance.below(10) {
            0..5 => "GET",
            5..8 => "POST",
            8 => "HEAD",
            _ => chance.one_of(&["OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "X"]),
        };
        let mut request = Request::new(method, target);
        if method == "POST" || chance.below(20) == 0 {
            request = request.body(self.body(chance));
        }
        for _ in 0..chance.below(4) {
            let (name, values): (&str, &[&str]) = match chance.below(8) {
                0..3 => ("Accept", &["*/*", "application/json", "application/octet-stream"]),
                3 => (
                    "Accept",
                    &["text/html", ";;;", "application/json;q=9;=", "*/*;q=0", "a/b,c/d,,,"],
                ),
                4 => (
                    "Content-Type",
                    &["application/json", "text/plain", "", ";", "application/json;;"],
                ),
                5 => ("If-None-Match", &["*", "\"x\"", "W/", ",,,", "\""]),
                6 => ("TE", &["trailers", "gzip;q=1, trailers", ",,"]),
                _ => ("Range", &["bytes=0-1", "bytes=-", "x"]),
            };
            request = request.header(name, chance.one_of(values));
        }
        request
    }
}

/// The text with a few characters changed, left out or doubled.
fn garble(text: &str, chance: &mut Chance) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=chance.below(3) {
        let at = chance.below(chars.len() + 1);
        match (chance.below(4), chars.get(at).copied()) {
            (0, Some(_)) => drop(chars.remove(at)),
            (1, Some(c)) => chars.insert(at, c),
            (2, Some(_)) => {
                chars[at] = char::from(u8::try_from(33 + chance.below(94)).unwrap_or(b'x'));
            }
            _ => chars.insert(
                at,
                *[',', '"', '%', '/', ':', '=', '&', '\u{e9}'].get(chance.below(8)).unwrap_or(&'x'),
            ),
        }
    }
    chars.into_iter().collect()
}

/// The bytes with a few changed, left out, doubled, or all behind a place left out.
fn garble_bytes(mut bytes: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len());
        match chance.below(5) {
            0 => bytes[at] = u8::try_from(chance.below(256)).unwrap_or(0),
            1 => bytes[at] ^= 1 << chance.below(8),
            2 => bytes.insert(at, *b"\r\n\0 :\xff".get(chance.below(6)).unwrap_or(&0)),
            3 => bytes.truncate(at.max(1)),
            _ => {
                let end = bytes.len().min(at + 1 + chance.below(20));
                bytes.drain(at..end);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

fn check(status: u16, shown: &str) {
    assert!(status < 500 || matches!(status, 501 | 503 | 505), "{status} to {shown}");
}

fn client(server: &Server) -> Client {
    let mut client = server.connect();
    client.set_patience(Duration::from_secs(20));
    client
}

#[test]
fn requests_by_chance_are_answered() {
    let mut server = served_with(&[]);
    let (pieces, mut chance) = (Pieces::new(), Chance::new(2));
    let mut connection = client(&server);
    let (mut fine, mut all) = (0, 0);
    for _ in 0..4000 {
        let request = pieces.request(&mut chance);
        match connection.try_ask(&request) {
            Ok(answer) => {
                all += 1;
                fine += usize::from(answer.status == 200);
                check(answer.status, &request.to_string());
                if answer.closes() {
                    connection = client(&server);
                }
            }
            Err(Ended::Closed | Ended::Cut(_)) => connection = client(&server),
            Err(other) => panic!("{request}: {other:?}"),
        }
    }
    assert!(server.is_running());
    assert_eq!(server.get("/health-check").status, 200);
    assert!(all > 3900 && fine > 300, "{fine} fine of {all}");
    say(&format!("{all} answers to requests by chance, {fine} of them 200"));
}

#[test]
fn bytes_by_chance_end_the_connection_at_worst() {
    let mut server = served_with(&["--head-time", "1", "--body-time", "1"]);
    let (pieces, mut chance) = (Pieces::new(), Chance::new(3));
    for _ in 0..1500 {
        let mut bytes = Vec::new();
        for _ in 0..=chance.below(3) {
            bytes.extend(pieces.request(&mut chance).to_bytes());
        }
        let bytes = garble_bytes(bytes, &mut chance);
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let mut connection = client(&server);
        let _ = connection.send(&bytes);
        connection.finish();
        match connection.read_head() {
            Ok(answer) => check(answer.status, &shown),
            Err(Ended::Closed | Ended::Cut(_)) => {}
            Err(other) => panic!("{shown}: {other:?}"),
        }
        assert!(connection.drain(), "{shown}");
    }
    assert!(server.is_running());
    assert_eq!(server.get("/health-check").status, 200);
}
