//! Payloads by their hash: `GET chain/{chain}/payload/{hash}`, the same with `/outputs`, and batches of
//! both.

use std::collections::BTreeMap;

use plait_engine::{ChainwebVersion, Header};
use serde_json::{Value, json};
use testkit::http::{Request, Response};
use testkit::say;
use testkit::server::Replayed;

use crate::http_data::{
    Chance, JSON, NOBODY, OCTETS, Served, base64url, from_base64url, on, reason, served,
};
use crate::payloads::{Vector, headers, is_right, payloads};

/// The payloads of the public chain whose blocks are known, and a server of those of one network.
struct Real {
    network: &'static str,
    vectors: Vec<Vector>,
    /// Chain and height of a block of each payload.
    places: Vec<(u32, u64)>,
    server: Served,
}

impl Real {
    fn new(network: &'static str, flags: &[&str]) -> Option<Self> {
        let (vectors, headers) = (payloads()?, headers()?);
        let (mut lines, mut kept, mut places) = (String::new(), Vec::new(), Vec::new());
        let is_whole = |vector: &Vector| vector.is_right && vector.text.contains("\"coinbase\"");
        for vector in vectors.into_iter().filter(is_whole) {
            let mut place = None;
            for (version, chain, hash) in &vector.blocks {
                let Some(header) = headers.get(&(version.clone(), hash.clone())) else { continue };
                if version != network {
                    continue;
                }
                place = Some((*chain, header.view().height().get()));
                let (header, payload) = (object(header, network), &vector.text);
                let block = format!(r#"{{"header":{header},"payloadWithOutputs":{payload}}}"#);
                lines.extend([&*block, "\n"]);
            }
            if let Some(place) = place {
                places.push(place);
                kept.push(vector);
            }
        }
        let flags_of_replay = ["--format", "jsonl", "--allow-partial"];
        let database = Replayed::new(network, lines.into_bytes(), &flags_of_replay);
        let server = Served::new(database, flags);
        Some(Self { network, vectors: kept, places, server })
    }

    fn on(&self, chain: u32, rest: &str) -> String {
        format!("/chainweb/0.0/{}/chain/{chain}/{rest}", self.network)
    }
}

/// A header as an object.
fn object(header: &Header, network: &str) -> String {
    let mut out = Vec::new();
    let version = ChainwebVersion::from_name(network).unwrap();
    plait_engine::header::text::push_object(&mut out, header.view(), version);
    String::from_utf8(out).unwrap()
}

/// The object of a payload without its outputs.
fn without_outputs(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap();
    let transactions = value["transactions"].as_array().unwrap().iter();
    let transactions: Vec<&Value> = transactions.map(|pair| &pair[0]).collect();
    let string = |name: &str| value[name].as_str().unwrap();
    format!(
        r#"{{"transactions":{},"minerData":"{}","transactionsHash":"{}","outputsHash":"{}","payloadHash":"{}"}}"#,
        json!(transactions),
        string("minerData"),
        string("transactionsHash"),
        string("outputsHash"),
        string("payloadHash"),
    )
}

fn hash_of(vector: &Vector) -> String {
    let value: Value = serde_json::from_str(&vector.text).unwrap();
    value["payloadHash"].as_str().unwrap().to_owned()
}

/// Reads what the reference sends between nodes, field by field.
struct Octets<'a>(&'a [u8]);

impl Octets<'_> {
    fn number(&mut self) -> usize {
        let (number, rest) = self.0.split_at(8);
        self.0 = rest;
        number.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    }

    fn bytes(&mut self) -> Value {
        let len = self.number();
        self.word(len)
    }

    fn word(&mut self, len: usize) -> Value {
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        json!(base64url(bytes))
    }

    /// The payload as an object, with outputs or without.
    fn payload(&mut self, with_outputs: bool) -> Value {
        let count = self.number();
        let transactions: Vec<Value> = (0..count)
            .map(|_| {
                let transaction = self.bytes();
                if with_outputs { json!([transaction, self.bytes()]) } else { transaction }
            })
            .collect();
        let mut value = json!({ "transactions": transactions, "minerData": self.bytes() });
        if with_outputs {
            value["coinbase"] = self.bytes();
        }
        for name in ["payloadHash", "transactionsHash", "outputsHash"] {
            value[name] = self.word(32);
        }
        value
    }
}

/// Whether two objects have the same members, in whatever order.
fn same(a: &Value, b: &str) -> bool {
    *a == serde_json::from_str::<Value>(b).unwrap()
}

#[test]
fn real_payloads_are_served_in_both_forms() {
    let mut count = 0;
    for network in ["mainnet01", "testnet04", "recap-development", "development"] {
        let Some(real) = Real::new(network, &[]) else { return };
        let mut client = real.server.connect();
        for (vector, (chain, height)) in real.vectors.iter().zip(&real.places) {
            let hash = hash_of(vector);
            let bare = without_outputs(&vector.text);
            let other = (chain + 7) % 20;
            for at in [String::new(), format!("?height={height}"), "?height=3&x=y".to_owned()] {
                for chain in [*chain, other] {
                    let path = real.on(chain, &format!("payload/{hash}{at}"));
                    let got = client.ask(&Request::get(path));
                    assert_eq!((got.status, got.text()), (200, &*bare), "{network}");
                    let path = real.on(chain, &format!("payload/{hash}/outputs{at}"));
                    let got = client.ask(&Request::get(path));
                    assert_eq!((got.status, got.text()), (200, &*vector.text), "{network}");
                }
            }
            let path = real.on(*chain, &format!("payload/{hash}"));
            let got = client.ask(&Request::get(path.clone()).accept(OCTETS));
            assert_eq!(got.header("Content-Type"), Some(OCTETS));
            let mut octets = Octets(&got.body);
            assert!(same(&octets.payload(false), &bare) && octets.0.is_empty());
            let got = client.ask(&Request::get(path + "/outputs").accept(OCTETS));
            let mut octets = Octets(&got.body);
            let value = octets.payload(true);
            assert!(is_right(&value) && same(&value, &vector.text) && octets.0.is_empty());
            count += 1;
        }
    }
    assert!(count > 1000, "{count}");
    say(&format!("{count} payloads"));
}

#[test]
fn payload_never_changes_and_is_cached() {
    let Some(real) = Real::new("mainnet01", &[]) else { return };
    let hash = hash_of(&real.vectors[0]);
    let mut tags = Vec::new();
    for path in [format!("payload/{hash}"), format!("payload/{hash}/outputs")] {
        for accept in [JSON, OCTETS] {
            let request = Request::get(real.on(0, &path)).accept(accept);
            let got = real.server.ask(&request);
            let cache = got.header("Cache-Control");
            assert_eq!(cache, Some("public, max-age=31536000, immutable"));
            assert_eq!(got.header("Vary"), Some("Accept"));
            let tag = got.header("ETag").unwrap().to_owned();
            let again = real.server.ask(&request.header("If-None-Match", &tag));
            assert_eq!((again.status, again.body.len()), (304, 0));
            assert_eq!(again.header("ETag"), Some(&*tag));
            let head = Request::new("HEAD", real.on(0, &path)).accept(accept);
            let head = real.server.ask(&head);
            assert_eq!(head.header("Content-Length"), Some(&*got.body.len().to_string()));
            tags.push(tag);
        }
    }
    tags.dedup();
    assert_eq!(tags.len(), 4, "{tags:?}");
}

/// What a batch answers, as objects.
fn list(response: &Response) -> Vec<Value> {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("Content-Type"), Some("application/json;charset=utf-8"));
    serde_json::from_str(response.text()).unwrap()
}

#[test]
fn batches_have_what_is_stored_in_the_order_asked_for() {
    let Some(real) = Real::new("mainnet01", &[]) else { return };
    let texts: BTreeMap<String, &str> =
        real.vectors.iter().map(|vector| (hash_of(vector), &*vector.text)).collect();
    let hashes: Vec<&String> = texts.keys().collect();
    let mut chance = Chance::new(7);
    for count in [0, 1, 2, 15, 16, 17, 60, 400, 1000] {
        let mut asked: Vec<String> =
            (0..count).map(|_| hashes[chance.below(hashes.len())].clone()).collect();
        for _ in 0..count / 10 {
            asked[chance.below(count)] = NOBODY.to_owned();
        }
        let stored: Vec<&String> = asked.iter().filter(|hash| *hash != NOBODY).collect();
        let heights: Vec<usize> = (0..count).map(|_| chance.below(2_000_000)).collect();
        for body in [json!(asked), json!({ "hashes": asked, "heights": heights })] {
            let body = body.to_string();
            let path = real.on(0, "payload/outputs/batch");
            let got = list(&real.server.ask(&Request::post(path, &*body)));
            let expected = || stored.iter().map(|hash| texts[*hash]);
            assert!(got.iter().zip(expected()).all(|(got, text)| same(got, text)), "{count}");
            assert_eq!(got.len(), stored.len());
            let path = real.on(5, "payload/batch");
            let got = list(&real.server.ask(&Request::post(path, &*body)));
            let bare = expected().map(without_outputs);
            assert!(got.iter().zip(bare).all(|(got, text)| same(got, &text)), "{count}");
            assert_eq!(got.len(), stored.len());
            for (path, with_outputs) in [("payload/outputs/batch", true), ("payload/batch", false)]
            {
                let request = Request::post(real.on(0, path), &*body).accept(OCTETS);
                let got = real.server.ask(&request);
                assert_eq!(got.header("Content-Type"), Some(OCTETS));
                let mut octets = Octets(&got.body);
                assert_eq!(octets.number(), stored.len());
                for text in expected() {
                    let value = octets.payload(with_outputs);
                    let right = if with_outputs { text.to_owned() } else { without_outputs(text) };
                    assert!(same(&value, &right));
                }
                assert!(octets.0.is_empty());
            }
        }
    }
}

#[test]
fn batch_that_is_long_is_the_same_as_a_stream() {
    let whole = ["--max-page-bytes", "500000000", "--max-response-bytes", "4000000000"];
    let Some(whole) = Real::new("mainnet01", &whole) else { return };
    let mut asked: Vec<String> = whole.vectors.iter().map(hash_of).collect();
    asked.sort_by_key(|hash| hash.bytes().rev().collect::<Vec<_>>());
    asked.truncate(990);
    asked.insert(500, NOBODY.to_owned());
    asked.push(NOBODY.to_owned());
    for bytes in ["0", "1000", "300000"] {
        let Some(real) = Real::new("mainnet01", &["--max-page-bytes", bytes]) else { return };
        for count in [1, 3, 16, 40, asked.len()] {
            let body = json!(asked[..count]).to_string();
            for path in ["payload/batch", "payload/outputs/batch"] {
                for accept in [JSON, OCTETS] {
                    let request = Request::post(real.on(0, path), &*body).accept(accept);
                    let (streamed, at_once) =
                        (real.server.ask(&request), whole.server.ask(&request));
                    assert_eq!(streamed.body, at_once.body, "{bytes} {count} {path} {accept}");
                    assert_eq!(
                        streamed.header("Content-Type"),
                        at_once.header("Content-Type"),
                        "{accept}"
                    );
                    assert!(!at_once.chunked);
                    if count == asked.len() && accept == JSON {
                        let long = at_once.body.len() > bytes.parse().unwrap();
                        assert_eq!(streamed.chunked, long, "{bytes} {path}");
                    }
                }
            }
        }
    }
}

#[test]
fn batch_has_no_more_than_its_cap() {
    let Some(real) = Real::new("mainnet01", &["--max-batch-payloads", "3"]) else { return };
    let asked: Vec<String> = real.vectors.iter().take(5).map(hash_of).collect();
    let body = json!(asked).to_string();
    let got = list(&real.server.ask(&Request::post(real.on(0, "payload/batch"), body)));
    let got: Vec<&str> = got.iter().map(|one| one["payloadHash"].as_str().unwrap()).collect();
    assert_eq!(got, asked[..3]);
}

#[test]
fn unknown_payload_is_not_found_and_named() {
    let server = served();
    let expected = format!(r#"{{"key":"{NOBODY}","reason":"key not found"}}"#);
    for rest in ["", "/outputs", "?height=7", "/outputs?height=7"] {
        let got = server.get(&on(0, &format!("payload/{NOBODY}{rest}")));
        assert_eq!((got.status, got.text()), (404, &*expected), "{rest}");
        assert_eq!(got.header("Cache-Control"), Some(crate::http_cache::NOT_STORED));
    }
    for rest in ["payload/batch", "payload/outputs/batch"] {
        let body = json!([NOBODY, NOBODY]).to_string();
        assert_eq!(server.ask(&Request::post(on(0, rest), &*body)).text(), "[]");
        let octets = server.ask(&Request::post(on(0, rest), body).accept(OCTETS));
        assert_eq!(octets.body, [0; 8]);
    }
}

#[test]
fn damaged_requests_for_payloads_are_refused() {
    let server = served();
    let mut client = server.connect();
    let post = |rest: &str, body: &str| Request::post(on(0, rest), body);
    let unknown = |rest: &str| Request::get(on(0, &format!("payload/{NOBODY}{rest}")));
    let spare = NOBODY.replace("AAA", "AAB");
    assert_eq!(from_base64url(NOBODY), [0; 32]);
    for (request, status) in [
        (Request::get(on(0, "payload/short")), 400),
        (Request::get(on(0, "payload/short/outputs")), 400),
        (Request::get(on(0, &format!("payload/{}B", &NOBODY[..42]))), 400),
        (Request::get(on(0, &format!("payload/%2B{}", &NOBODY[1..]))), 400),
        (unknown("?height=x"), 400),
        (unknown("?height=-1"), 400),
        (unknown("/outputs?height="), 400),
        (unknown("").accept("text/html"), 406),
        (unknown("/x"), 404),
        (Request::get(on(0, "payload")), 404),
        (Request::get(on(20, &format!("payload/{NOBODY}"))), 404),
        (Request::new("POST", on(0, &format!("payload/{NOBODY}"))), 405),
        (Request::get(on(0, "payload/batch")), 405),
        (Request::get(on(0, "payload/outputs/batch")), 405),
        (post("payload/batch", ""), 400),
        (post("payload/batch", "["), 400),
        (post("payload/batch", "{}"), 400),
        (post("payload/batch", r#"["short"]"#), 400),
        (post("payload/batch", &format!(r#"["{spare}"]"#)), 200),
        (post("payload/batch", &format!(r#"["{}B"]"#, &NOBODY[..42])), 400),
        (
            post("payload/outputs/batch", &format!(r#"{{"hashes":["{NOBODY}"],"heights":[-1]}}"#)),
            400,
        ),
        (post("payload/outputs/batch", &format!(r#"{{"heights":["{NOBODY}"]}}"#)), 400),
        (post("payload/outputs/batch", &" ".repeat(2_100_000)), 413),
        (post("payload/batch", "[]").without("Content-Type").header("Content-Type", "text/x"), 415),
        (post("payload/batch", "[]").accept("text/html"), 406),
    ] {
        let response = client.ask(&request);
        if status == 200 {
            assert_eq!(response.status, 200, "{request}");
        } else {
            reason(&response, status);
        }
        if response.closes() {
            client = server.connect();
        }
    }
}
