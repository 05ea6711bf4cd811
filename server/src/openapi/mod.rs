//! The `OpenAPI` document of what this very server answers.
//!
//! Enters: the network and the configuration. Leaves: JSON, made once. What is true of every server
//! stands in the JSON files beside this one; the rest is filled in.
//!
//! - A text that begins with `$`, other than an expression of a link, is the name of a value.
//! - `x-needs` of a path says what must be offered for it to be there, `x-in-network` that it answers
//!   below the network's path as well.
//! - Every answer has the headers [`HEADERS`], every operation the failures [`FAILURES`].
//!
//! `documented.rs` holds it to the code.

mod examples;

use std::fmt::Write;

use bytes::Bytes;
use plait_engine::archive::Checksum;
use plait_engine::{ChainId, ChainwebVersion, Cursor};
use serde_json::{Map, Value, json};

use crate::config::Config;

/// The document without paths and components.
const FRAME: &str = include_str!("frame.json");

const PATHS: &str = include_str!("paths.json");

const COMPONENTS: [&str; 3] =
    [include_str!("parameters.json"), include_str!("responses.json"), include_str!("schemas.json")];

/// The headers of every response.
const HEADERS: [&str; 6] = [
    "X-Peer-Addr",
    "X-Server-Timestamp",
    "X-Chainweb-Node-Version",
    "X-Request-Id",
    "Vary",
    "Cache-Control",
];

/// The errors of every operation, unless the operation has its own description of the status.
const FAILURES: [(&str, &str); 7] = [
    ("400", "NotHttp"),
    ("408", "BodySlow"),
    ("413", "BodyLong"),
    ("414", "UriLong"),
    ("431", "HeadLong"),
    ("501", "Coding"),
    ("503", "Busy"),
];

/// The members of a path that are operations.
pub(crate) const METHODS: [&str; 2] = ["get", "post"];

/// The document as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    bytes: Bytes,
    tag: String,
}

impl Document {
    /// That of a server of this network.
    pub(crate) fn new(version: ChainwebVersion, config: &Config) -> Self {
        let bytes = Bytes::from(printable(&rendered(version, config).to_string()));
        let tag = format!("\"{}\"", Checksum::of(&bytes));
        Self { bytes, tag }
    }

    /// JSON.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Its entity tag.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }
}

/// `json` with `\u00XX` for the control characters from U+007F on, which JSON allows and YAML does
/// not: some tools read the document as YAML. They occur only in strings, and those below U+0020 are
/// escaped already.
fn printable(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

fn rendered(version: ChainwebVersion, config: &Config) -> Value {
    let mut document = part(FRAME);
    let mut components = Map::new();
    for text in COMPONENTS {
        components.extend(part(text));
    }
    for answer in members(components.get_mut("responses")) {
        add_headers(answer);
    }
    document.insert("paths".to_owned(), Value::Object(paths(version, config)));
    document.insert("components".to_owned(), Value::Object(components));
    let mut document = Value::Object(document);
    fill(&mut document, &values(version, config));
    document
}

#[expect(
    clippy::expect_used,
    reason = "the texts are a part of the program, and a test reads them"
)]
fn part(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).expect("the parts of the document are JSON objects")
}

/// The values of an object; none if it is none.
fn members(value: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    value.and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
}

/// Whether a server offers what a path needs.
fn is_offered(need: &Value, config: &Config) -> bool {
    match need.as_str() {
        Some("database") => !config.archive_only,
        Some("backups") => config.backup.api && !config.archive_only,
        Some("archive") => config.archive.is_some(),
        _ => false,
    }
}

fn paths(version: ChainwebVersion, config: &Config) -> Map<String, Value> {
    let mut paths = Map::new();
    for (path, mut item) in part(PATHS) {
        let Some(members) = item.as_object_mut() else { continue };
        if members.remove("x-needs").is_some_and(|need| !is_offered(&need, config)) {
            continue;
        }
        let is_in_network = members.remove("x-in-network").is_some();
        for operation in METHODS {
            members.get_mut(operation).into_iter().for_each(complete);
        }
        if is_in_network {
            let mut same = item.clone();
            for operation in METHODS {
                same.get_mut(operation).into_iter().for_each(rename);
            }
            paths.insert(format!("/chainweb/0.0/{version}{path}"), same);
        }
        paths.insert(path.replace("{network}", version.name()), item);
    }
    paths
}

/// Gives an operation the name that it has below the network's path, as its links have them.
fn rename(operation: &mut Value) {
    push_in_network(operation);
    for answer in members(operation.get_mut("responses")) {
        members(answer.get_mut("links")).for_each(push_in_network);
    }
}

fn push_in_network(named: &mut Value) {
    if let Some(Value::String(id)) = named.get_mut("operationId") {
        id.push_str("InNetwork");
    }
}

/// Adds to an operation what all of them have.
fn complete(operation: &mut Value) {
    let Some(answers) = operation.get_mut("responses") else { return };
    members(Some(answers)).for_each(add_headers);
    if let Some(answers) = answers.as_object_mut() {
        for (status, name) in FAILURES {
            let reference = json!({ "$ref": format!("#/components/responses/{name}") });
            answers.entry(status).or_insert(reference);
        }
    }
}

/// Adds to an answer what all of them have, unless it stands elsewhere.
fn add_headers(answer: &mut Value) {
    let Some(answer) = answer.as_object_mut().filter(|answer| !answer.contains_key("$ref")) else {
        return;
    };
    let headers = answer.entry("headers").or_insert_with(|| json!({}));
    if let Some(headers) = headers.as_object_mut() {
        for name in HEADERS {
            let reference = json!({ "$ref": format!("#/components/headers/{name}") });
            headers.insert(name.to_owned(), reference);
        }
    }
}

/// What the names in the texts stand for.
fn values(version: ChainwebVersion, config: &Config) -> Map<String, Value> {
    let chain_max = version.chain_ids().map(ChainId::get).max();
    let numbers = [
        ("$page_hashes_max", config.page_hashes_max),
        ("$page_headers_max", config.page_headers_max),
        ("$page_blocks_max", config.page_blocks_max),
        ("$batch_payloads_max", config.batch_payloads_max),
        ("$bounds_max", config.bounds_max),
        ("$stats_steps_max", config.stats_steps_max),
        ("$uri_bytes_max", config.uri_bytes_max),
        ("$head_bytes_max", config.head_bytes_max),
        ("$body_bytes_max", config.body_bytes_max),
        ("$branch_body_bytes_max", config.branch_body_bytes()),
        ("$batch_body_bytes_max", config.batch_body_bytes_max),
        ("$subscribers_max", config.subscribers_max),
    ];
    let mut values: Map<String, Value> =
        numbers.into_iter().map(|(name, number)| (name.to_owned(), json!(number))).collect();
    values.extend(examples::examples(version, config));
    let mut set = |name: &str, value| values.insert(name.to_owned(), value);
    set("$node_version", json!(config.node_version.to_str().unwrap_or_default()));
    set("$chain_max", json!(chain_max));
    set("$network", json!(version.name()));
    set("$version", json!(env!("CARGO_PKG_VERSION")));
    if let Some(genesis) = version.genesis_header(ChainId::new(0)) {
        let (hash, payload) = (genesis.view().hash(), genesis.view().payload_hash());
        set("$genesis_hash", json!(hash.to_string()));
        set("$genesis_payload", json!(payload.to_string()));
        set("$genesis_cursor", json!(Cursor::Inclusive(hash).to_string()));
    }
    values
}

/// Puts values in the place of their names.
fn fill(value: &mut Value, values: &Map<String, Value>) {
    match value {
        Value::String(text) => {
            if let Some(known) = values.get(text.as_str()) {
                *value = known.clone();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, values)),
        Value::Object(members) => members.values_mut().for_each(|member| fill(member, values)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> Config {
        let mut config = Config { archive: Some("archive".into()), ..Config::default() };
        config.backup.api = true;
        config
    }

    /// Every member of `value` and of what is in it, by name.
    fn walk<'a>(value: &'a Value, see: &mut impl FnMut(&'a str, &'a Value)) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| walk(item, see)),
            Value::Object(members) => {
                for (name, member) in members {
                    see(name, member);
                    walk(member, see);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn names_and_references_are_resolved() {
        for version in ChainwebVersion::ALL {
            let document = rendered(version, &all());
            let (mut used, mut left) = (BTreeSet::new(), Vec::new());
            walk(&document, &mut |name, member| {
                assert!(!matches!(name, "x-needs" | "x-in-network"));
                let Some(text) = member.as_str() else { return };
                if name == "$ref" {
                    let pointer = text.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{text}");
                    used.insert(text.to_owned());
                } else if text.starts_with('$') && !text.starts_with("$re") {
                    left.push(text);
                }
            });
            assert_eq!(left, Vec::<&str>::new());
            for (kind, members) in document["components"].as_object().unwrap() {
                for name in members.as_object().unwrap().keys() {
                    let reference = format!("#/components/{kind}/{name}");
                    assert!(used.contains(&reference), "{reference} is of no use");
                }
            }
        }
    }

    #[test]
    fn operations_have_names_of_their_own_and_links_lead_to_them() {
        let document = rendered(ChainwebVersion::Development, &all());
        let (mut names, mut links) = (BTreeSet::new(), BTreeSet::new());
        for item in document["paths"].as_object().unwrap().values() {
            for operation in METHODS.iter().filter_map(|method| item.get(method)) {
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name), "{name}");
                walk(operation, &mut |name, member| {
                    if name == "links" {
                        let all = member.as_object().unwrap().values();
                        links.extend(all.map(|link| link["operationId"].as_str().unwrap()));
                    }
                });
            }
        }
        assert!(links.len() > 5 && links.is_subset(&names), "{links:?}");
    }

    #[test]
    fn limits_and_chains_are_those_of_the_server() {
        let config = Config { page_hashes_max: 17, bounds_max: 3, ..Config::default() };
        let document = rendered(ChainwebVersion::Development, &config);
        let at = |pointer: &str| document.pointer(pointer).cloned();
        let hashes = "/components/schemas/PageOfHashes/properties";
        assert_eq!(at(&format!("{hashes}/items/maxItems")), Some(json!(17)));
        assert_eq!(at(&format!("{hashes}/limit/maximum")), Some(json!(17)));
        let upper = "/components/schemas/Bounds/properties/upper/maxItems";
        assert_eq!(at(upper), Some(json!(3)));
        assert_eq!(at("/components/parameters/chain/schema/maximum"), Some(json!(19)));
        assert_eq!(at("/info/version"), Some(json!(env!("CARGO_PKG_VERSION"))));
    }

    #[test]
    fn document_has_no_character_that_yaml_forbids() {
        for version in ChainwebVersion::ALL {
            let document = Document::new(version, &all());
            let text = str::from_utf8(&document.bytes).unwrap();
            assert_eq!(text.find(char::is_control), None);
            let read: Value = serde_json::from_str(text).unwrap();
            assert_eq!(read, rendered(version, &all()));
            assert!(text.contains("\\u0089PLAIT"), "the first bytes of an archive are an example");
        }
    }

    #[test]
    fn only_what_is_offered_is_there() {
        let paths = |config: &Config| -> Vec<String> {
            paths(ChainwebVersion::Development, config).into_iter().map(|(path, _)| path).collect()
        };
        let has = |paths: &[String], part: &str| paths.iter().any(|path| path.contains(part));
        let usual = paths(&Config::default());
        assert!(has(&usual, "/hash") && !has(&usual, "backup") && !has(&usual, "archive"));
        let all_of_it = paths(&all());
        assert!(has(&all_of_it, "/check-backup/") && has(&all_of_it, "/archive/"));
        let mut only = paths(&Config { archive_only: true, ..all() });
        only.retain(|path| !path.starts_with("/chainweb"));
        only.sort();
        let expected = [
            "/archive/manifest.json",
            "/archive/{name}",
            "/health-check",
            "/openapi.json",
            "/ready",
        ];
        assert_eq!(only, expected);
    }
}
