//! Examples of responses, made by the code that makes responses.
//!
//! They are of the genesis block of chain 0, of a payload with one transaction, and of errors. A test
//! of the whole system compares them with what a server sends. Bytes are a text with the character
//! U+00XX for the byte XX.

use std::slice;

use http::StatusCode;
use plait_engine::header::merkle::block_hash;
use plait_engine::payload::Outputs;
use plait_engine::query::NoCut;
use plait_engine::verify::pow_hash;
use plait_engine::{
    BlockHash, BlockHeight, ChainId, ChainwebVersion, Cursor, Header, HeaderRef, RawHeader,
    VerifiedPayload,
};
use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::endpoint::{Info, Shown};
use crate::error::Error;
use crate::response::{self, Form};

/// A transaction as wallets send it: what is signed is a text of its own.
const TRANSACTION: &str = concat!(
    r#"{"hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","sigs":[],"#,
    r#""cmd":"{\"networkId\":null,\"payload\":{\"exec\":{\"data\":null,\"code\":\"(+ 1 2)\"}},"#,
    r#"\"signers\":[],\"meta\":{\"creationTime\":0,\"ttl\":600,\"gasLimit\":1000,\"#,
    r#"\"chainId\":\"0\",\"gasPrice\":1.0e-8,\"sender\":\"alice\"},\"nonce\":\"1\"}"}"#,
);

/// What became of it.
const OUTPUT: &str = concat!(
    r#"{"gas":1,"result":{"status":"success","data":3},"#,
    r#""reqKey":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","#,
    r#""logs":null,"events":[],"metaData":null,"continuation":null,"txId":1}"#,
);

const MINER: &str = r#"{"account":"miner","public-keys":[],"predicate":"keys-all"}"#;

const COINBASE: &str = concat!(
    r#"{"gas":0,"result":{"status":"success","data":"Write succeeded"},"reqKey":"Ik","#,
    r#""logs":null,"events":[],"metaData":null,"continuation":null,"txId":0}"#,
);

/// The first bytes of a file of the archive.
const FILE: &[u8] = b"\x89PLAIT\r\n\x01\0\0\0";

/// The examples by the names that stand for them in the texts.
pub(super) fn examples(version: ChainwebVersion, config: &Config) -> Map<String, Value> {
    let mut all = Map::new();
    let Some(genesis) = version.genesis_header(ChainId::new(0)) else { return all };
    let mut set = |name: &str, value: Value| {
        all.insert(format!("$example_{name}"), value);
    };
    of_headers(&genesis, version, &mut set);
    of_payloads(&genesis, version, &mut set);
    of_server(&genesis, version, config, &mut set);
    errors(genesis.view().hash(), config, &mut |name, error: &Error| {
        all.insert(format!("$error_{name}"), parsed(&error.body()));
    });
    all
}

/// JSON that this server writes.
fn parsed(json: &[u8]) -> Value {
    let parsed = serde_json::from_slice(json);
    debug_assert!(parsed.is_ok(), "what is sent as JSON is JSON");
    parsed.unwrap_or_default()
}

fn octets(bytes: &[u8]) -> Value {
    Value::String(bytes.iter().copied().map(char::from).collect())
}

/// A page of one item, the last one.
fn page(item: &Value, next: Option<Cursor>) -> Value {
    json!({ "limit": 1, "items": [item], "next": next.map(|next| next.to_string()) })
}

fn of_headers(genesis: &Header, version: ChainwebVersion, set: &mut impl FnMut(&str, Value)) {
    let header = genesis.view();
    let (text, object) = (response::header(header, None), response::header(header, Some(version)));
    let (text, object) = (parsed(&text), parsed(&object));
    // As long as there are blocks above it, here below a maximal height.
    let next = Some(Cursor::Exclusive(header.hash()));
    set("hashes", page(&json!(header.hash().to_string()), next));
    set("headers", page(&text, next));
    set("header_objects", page(&object, next));
    set("header", text);
    set("header_object", object);
    set("header_octets", octets(header.as_bytes()));
    let block = json!({ "height": header.height().get(), "hash": header.hash().to_string() });
    let cut = json!({
        "hashes": { "0": block },
        "origin": null,
        "weight": header.weight().to_string(),
        "height": header.height().get(),
        "instance": version.name(),
        "id": header.hash().to_string(),
    });
    set("cut", cut);
}

/// A payload with one transaction, and a block like `genesis` that has it.
fn carried(genesis: &Header) -> Option<(VerifiedPayload, Header)> {
    let outputs = Outputs { coinbase: COINBASE.as_bytes(), outputs: &[OUTPUT.as_bytes()] };
    let payload =
        VerifiedPayload::seal(MINER.as_bytes(), &[TRANSACTION.as_bytes()], outputs).ok()?;
    let mut raw = RawHeader { payload_hash: payload.hash(), ..*genesis.view().raw() };
    raw.hash = block_hash(HeaderRef::new(&raw).ok()?);
    Some((payload, Header::new(raw).ok()?))
}

fn of_payloads(genesis: &Header, version: ChainwebVersion, set: &mut impl FnMut(&str, Value)) {
    let Some((payload, block)) = carried(genesis) else { return };
    let payload = payload.into_payload();
    let write = |outputs, octets| {
        let form = Form { outputs, octets };
        let list = response::payloads(form, slice::from_ref(&payload));
        (response::payload(form, payload.view()), list)
    };
    for (outputs, one, many) in
        [(false, "payload", "payloads"), (true, "outputs", "payloads_outputs")]
    {
        let ((text, texts), (bytes, list)) = (write(outputs, false), write(outputs, true));
        set(one, parsed(&text));
        set(many, parsed(&texts));
        set(&format!("{one}_octets"), octets(&bytes));
        set(&format!("{many}_octets"), octets(&list));
    }
    let object = response::header(block.view(), Some(version));
    let (object, outputs) = (String::from_utf8_lossy(&object).into_owned(), write(true, false).0);
    let outputs = String::from_utf8_lossy(&outputs);
    let text = format!(r#"{{"header":{object},"payloadWithOutputs":{outputs}}}"#);
    set("blocks", page(&parsed(text.as_bytes()), Some(Cursor::Exclusive(block.view().hash()))));
    let pow = hex(pow_hash(block.view()).as_bytes().iter());
    let target = hex(block.view().target().to_le().iter().rev());
    let data = format!(r#"{{"header":{object},"txCount":1,"powHash":"{pow}","target":"{target}""#);
    let event = |more: &str| Value::String(format!("event:BlockHeader\ndata:{data}{more}}}\n\n"));
    set("header_event", event(""));
    set("block_event", event(&format!(r#","payloadWithOutputs":{outputs}"#)));
}

fn hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    bytes.fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn of_server(
    genesis: &Header,
    version: ChainwebVersion,
    config: &Config,
    set: &mut impl FnMut(&str, Value),
) {
    let header = genesis.view();
    let (hash, height) = (header.hash().to_string(), header.height());
    set("info", json!(Info::new(version, Some(height), config)));
    set("config", json!(Shown::new(version, config)));
    let peer = json!({ "id": null, "address": { "hostname": "node.example.org", "port": 1848 } });
    set("peers", page(&peer, None));
    set("backup", json!("1763249175000000"));
    set("file", octets(FILE));
    set("part", octets(FILE));
    let document = json!({
        "openapi": "3.1.0",
        "info": { "title": "Plait", "version": env!("CARGO_PKG_VERSION") },
        "paths": {},
        "components": {},
    });
    set("document", document);
    let state = json!({
        "network": version.name(),
        "version": env!("CARGO_PKG_VERSION"),
        "history": "full",
        "formatVersion": 5,
        "blocks": version.chain_ids().count(),
        "fullyVerified": true,
        "cut": { "height": 0, "id": hash },
        "replay": null,
        "follow": null,
        "backup": { "running": false, "lastSuccess": null, "failed": 0 },
    });
    set("state", state);
    for (name, chain) in [("statistics", None), ("chain_statistics", Some(0))] {
        let mut statistics = parsed(&response::stats_json(&[], version));
        let mut row = json!({
            "minHeight": 0, "maxHeight": 0, "blocks": 1, "orphans": 0, "difficulty": "1",
            "time": 0, "blockTimes": vec![0; 28], "hashRate": null,
            "lastTime": header.creation_time().get(),
        });
        if let (Some(row), Some(chain)) = (row.as_object_mut(), chain) {
            row.insert("chain".to_owned(), json!(chain));
        }
        if let Some(rows) = statistics.get_mut("rows") {
            *rows = json!([row]);
        }
        set(name, statistics);
    }
    set("manifest", manifest(version, &hash));
}

fn manifest(version: ChainwebVersion, hash: &str) -> Value {
    let checksum = "0".repeat(64);
    let block = json!({ "height": 0, "hash": hash });
    json!({
        "format": 1, "network": version.name(), "history": "full", "heights": 262_144, "records": 1,
        "bytes": 510,
        "cut": {
            "height": 0, "id": hash, "blocks": [{ "chain": 0, "height": 0, "hash": hash }],
        },
        "files": [{
            "name": format!("00-0000000000-canonical-{}.plait", "0".repeat(32)),
            "chain": 0, "kind": "canonical", "from": 0, "records": 1, "bytes": 510,
            "first": block, "last": block, "checksum": checksum,
        }],
        "checksum": checksum,
    })
}

/// One error for each response of the document that is one.
fn errors(block: BlockHash, config: &Config, set: &mut impl FnMut(&str, &Error)) {
    let (text, above) = (str::to_owned, |max: usize| max.saturating_add(1));
    let [height, from] = [5, 1_800_000].map(BlockHeight::new);
    let no_cut = NoCut::Below { chain: ChainId::new(0), height, from };
    let limit = Error::Parameter { name: "limit", expected: "a number of items", got: text("x") };
    for (name, error) in [
        ("malformed", limit),
        ("parameter", Error::UnknownParameter { got: text("t"), known: &[] }),
        ("not_http", Error::Unread(StatusCode::BAD_REQUEST)),
        ("unknown", Error::Unknown(block)),
        ("no_cut", Error::NoCut(no_cut)),
        ("no_backup", Error::NoBackup(text("1763249175000000"))),
        ("unlisted", Error::Unlisted(text("x.plait"))),
        ("not_acceptable", Error::Accept(text("application/json;charset=utf-8"))),
        ("coding", Error::Coding { got: text("gzip, chunked") }),
        ("body_slow", Error::BodySlow),
        ("body_long", Error::BodyLong { max: config.body_bytes_max }),
        ("body_type", Error::ContentType),
        (
            "uri_long",
            Error::UriLong { got: above(config.uri_bytes_max), max: config.uri_bytes_max },
        ),
        (
            "head_long",
            Error::HeadLong { got: above(config.head_bytes_max), max: config.head_bytes_max },
        ),
        ("range", Error::Range { len: 510 }),
        ("failed", Error::Bug),
        ("busy", Error::Busy),
        ("moved", Error::Displaced),
        ("too_many_streams", Error::Subscribers),
    ] {
        set(name, &error);
    }
}
