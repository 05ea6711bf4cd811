//! Payloads of the public chain.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use plait_engine::header::text;
use plait_engine::payload::{self, PayloadError, VerifiedPayload};
use plait_engine::store::{Batch, History, Meta, PayloadKey, Store};
use plait_engine::types::RunLength;
use plait_engine::{BlockHeight, ChainId, ChainwebVersion, Engine, Header};
use serde_json::Value;
use testkit::process::run;
use testkit::{say, stored, vectors};

use crate::payloads_stored::folder;

/// A payload of the vectors, with the blocks that have it.
struct Vector {
    object: String,
    ok: bool,
    /// The hash that is wrong.
    wrong: Option<&'static str>,
    blocks: Vec<(ChainwebVersion, u32, u64, String)>,
}

fn read(line: &str) -> Vector {
    let value: Value = serde_json::from_str(line).unwrap();
    let hashes = ["transactionsHash", "outputsHash", "payloadHash"];
    let wrong = hashes.into_iter().find(|hash| value["checks"][hash] == Value::Bool(false));
    let block = |block: &Value| {
        let version = ChainwebVersion::from_name(block["version"].as_str()?)?;
        let chain = u32::try_from(block["chain"].as_u64()?).ok()?;
        Some((version, chain, block["height"].as_u64()?, block["hash"].as_str()?.to_owned()))
    };
    Vector {
        object: value["payload"].to_string(),
        ok: value["ok"] == Value::Bool(true),
        wrong,
        blocks: value["headers"].as_array().unwrap().iter().filter_map(block).collect(),
    }
}

/// Real headers by hash.
fn headers(folder: &std::path::Path) -> HashMap<String, Header> {
    let lines = fs::read_to_string(folder.join("headers.jsonl")).unwrap();
    let header = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let header = text::from_string(value["b64"].as_str()?).ok()?;
        (value["hash_ok"] == Value::Bool(true)).then(|| (header.view().hash().to_string(), header))
    };
    lines.lines().filter_map(header).collect()
}

#[test]
fn consistent_payloads_are_stored_and_the_others_refused_by_the_right_hash() {
    let Some(folder_of_vectors) = vectors::folder() else { return };
    let headers = headers(&folder_of_vectors);
    let lines = fs::read_to_string(folder_of_vectors.join("payloads.jsonl")).unwrap();
    let db = folder();
    let version = ChainwebVersion::Mainnet01;
    let meta = Meta { version, history: History::Partial, run_length: RunLength::default() };
    let store = std::sync::Arc::new(Store::create(db.path(), meta, |_, _| ()).unwrap());
    let (mut kept, mut refused) = (Vec::new(), 0);
    // Lines of blocks, by network.
    let mut blocks: BTreeMap<&str, Vec<(Header, String, VerifiedPayload)>> = BTreeMap::new();
    for line in lines.lines() {
        let vector = read(line);
        let payload = payload::text::from_object(vector.object.as_bytes()).unwrap();
        match VerifiedPayload::new(payload) {
            Err(error) => {
                let wrong = match error {
                    PayloadError::TransactionsHash { .. } => "transactionsHash",
                    PayloadError::OutputsHash { .. } => "outputsHash",
                    PayloadError::PayloadHash { .. } => "payloadHash",
                    PayloadError::OtherBlock { .. } => "another block's",
                };
                assert!(!vector.ok, "{error}");
                assert_eq!(Some(wrong), vector.wrong, "{error}");
                refused += 1;
            }
            Ok(payload) => {
                assert!(vector.ok, "{:?} is wrong", vector.wrong);
                for (version, _, _, hash) in &vector.blocks {
                    let header = headers.get(hash).copied();
                    let Some(header) = header.filter(|h| payload.belongs_to(h.view()).is_ok())
                    else {
                        continue;
                    };
                    let block = (header, vector.object.clone(), payload.clone());
                    blocks.entry(version.name()).or_default().push(block);
                }
                let place = vector.blocks.first().map(|(_, chain, height, _)| (*chain, *height));
                let (chain, height) = place.unwrap_or((3, 7));
                let (chain, height) = (ChainId::new(chain), BlockHeight::new(height));
                let key = PayloadKey::new(chain, height, payload.hash());
                let mut batch = Batch::default();
                batch.put_payload(&store, &key, payload.payload());
                store.write(batch).unwrap();
                kept.push((key, payload));
            }
        }
    }
    assert_eq!((kept.len() + refused, refused), (lines.lines().count(), 3));
    store.flush().unwrap();
    let snapshot = store.snapshot();
    for (key, payload) in &kept {
        let found = snapshot.payload(key).unwrap().unwrap();
        assert!(found.view().has_outputs() || !payload.view().has_outputs());
        assert_eq!(found.view().hash(), payload.hash());
        found.view().check().unwrap();
        let anywhere = snapshot.payload_anywhere(ChainId::new(5), &payload.hash()).unwrap();
        assert!(anywhere.is_some_and(|found| found.view().hash() == payload.hash()));
    }
    drop((snapshot, store));
    let with_headers = blocks.values().map(Vec::len).sum::<usize>();
    say(&format!("{} payloads kept, {refused} refused, {with_headers} with headers", kept.len()));
    assert!(with_headers > 20, "{with_headers}");
    for (network, blocks) in blocks {
        assert_replayed(network, &blocks);
    }
}

/// Replays real blocks, and reads back what they carry.
fn assert_replayed(network: &str, blocks: &[(Header, String, VerifiedPayload)]) {
    let db = folder();
    let version = ChainwebVersion::from_name(network).unwrap();
    let mut lines = String::new();
    for (header, payload, _) in blocks {
        let mut object = Vec::new();
        text::push_object(&mut object, header.view(), version);
        let header = String::from_utf8(object).unwrap();
        let line = format!("{{\"payloadWithOutputs\":{payload},\"header\":{header}}}\n");
        lines.push_str(&line);
    }
    let file = db.path().join("blocks.jsonl");
    fs::write(&file, lines).unwrap();
    let args = ["replay", "--allow-partial", "--verify", "hash", "--network", network, "--db"];
    let args = args.map(AsRef::as_ref).into_iter();
    let outcome = run(args.chain([db.path().as_os_str(), file.as_os_str()]));
    assert_eq!(outcome.status, Some(0), "{network}: {}", outcome.err);
    let view = Engine::open_read_only(db.path()).unwrap().view();
    for (header, _, payload) in blocks {
        let found = view.block_payload(header.view()).unwrap();
        assert!(found.is_some_and(|found| found.view().hash() == payload.hash()));
    }
    assert!(stored(db.path()).len() <= blocks.len());
}
