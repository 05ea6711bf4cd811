//! Payloads of the public chain, read, verified and written by the engine, against a naive twin.

use std::collections::HashMap;
use std::fs;

use plait_engine::payload::{PayloadError, VerifiedPayload, octets, text};
use plait_engine::{ChainwebVersion, Header, Payload, PayloadRef};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha512_256};
use testkit::say;

use crate::http_data::{base64url, from_base64url, vectors};

/// One line of `payloads.jsonl`.
pub(crate) struct Vector {
    /// The object as it stands there, members in the order of the reference, without spaces.
    pub(crate) text: String,
    /// The hashes that are right, by their member; and whether all are.
    checks: Value,
    pub(crate) is_right: bool,
    with_outputs: bool,
    /// Network, chain and hash of each block that has it.
    pub(crate) blocks: Vec<(String, u32, String)>,
}

impl Vector {
    fn payload(&self) -> Payload {
        text::from_object(self.text.as_bytes()).unwrap()
    }
}

/// The payloads of the public chain, if they are here.
pub(crate) fn payloads() -> Option<Vec<Vector>> {
    let lines = fs::read_to_string(vectors("payloads.jsonl")?).unwrap();
    let vector = |line| {
        let members: HashMap<String, Box<RawValue>> = serde_json::from_str(line).unwrap();
        let value = |name: &str| serde_json::from_str::<Value>(members[name].get()).unwrap();
        let blocks = value("headers");
        let blocks = blocks.as_array().unwrap().iter().map(|block| {
            let string = |name: &str| block[name].as_str().unwrap().to_owned();
            let chain = u32::try_from(block["chain"].as_u64().unwrap()).unwrap();
            (string("version"), chain, string("hash"))
        });
        Vector {
            text: members["payload"].get().to_owned(),
            checks: value("checks"),
            is_right: value("ok") == true,
            with_outputs: value("with_outputs") == true,
            blocks: blocks.collect(),
        }
    };
    let vectors: Vec<Vector> = lines.lines().map(vector).collect();
    assert!(vectors.len() > 1000);
    Some(vectors)
}

/// The headers of the public chain by network and hash, if they are here.
pub(crate) fn headers() -> Option<HashMap<(String, String), Header>> {
    let lines = fs::read_to_string(vectors("headers.jsonl")?).unwrap();
    let header = |line| {
        let value: Value = serde_json::from_str(line).unwrap();
        let header = value["b64"].as_str().unwrap();
        let header = plait_engine::header::text::from_string(header).unwrap();
        let network = value["version"].as_str().unwrap().to_owned();
        ((network, header.view().hash().to_string()), header)
    };
    Some(lines.lines().map(header).collect())
}

/// What an object of a payload says, hash by hash, and what the naive way finds: transactionsHash,
/// outputsHash (if outputs are there), payloadHash.
pub(crate) fn naive_hashes(payload: &Value) -> [(String, Option<String>); 3] {
    let bytes = |text: &Value| from_base64url(text.as_str().unwrap());
    let leaf = |tag: u8, text: &Value| digest(&[&[0, 0, tag], &bytes(text)]);
    let transactions = payload["transactions"].as_array().unwrap();
    let (mut inputs, mut outputs) = (vec![leaf(0x17, &payload["minerData"])], Vec::new());
    if let Some(coinbase) = payload.get("coinbase") {
        outputs.push(leaf(0x18, coinbase));
    }
    for transaction in transactions {
        match transaction.as_array() {
            Some(pair) => {
                inputs.push(leaf(0x13, &pair[0]));
                outputs.push(leaf(0x14, &pair[1]));
            }
            None => inputs.push(leaf(0x13, transaction)),
        }
    }
    let stated = |name: &str| payload[name].as_str().unwrap().to_owned();
    let (t, o) = (stated("transactionsHash"), stated("outputsHash"));
    let both = digest(&[&[1], &from_base64url(&t), &from_base64url(&o)]);
    [
        (t, Some(base64url(&root(&inputs)))),
        (o, (!outputs.is_empty()).then(|| base64url(&root(&outputs)))),
        (stated("payloadHash"), Some(base64url(&both))),
    ]
}

/// Whether all hashes of a payload's object are right, in the naive way.
pub(crate) fn is_right(payload: &Value) -> bool {
    naive_hashes(payload).iter().all(|(got, found)| found.as_ref().is_none_or(|hash| hash == got))
}

fn root(nodes: &[[u8; 32]]) -> [u8; 32] {
    let [only] = nodes else {
        let (left, right) = nodes.split_at(nodes.len().next_power_of_two() / 2);
        return digest(&[&[1], &root(left), &root(right)]);
    };
    *only
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    Sha512_256::digest(parts.concat()).into()
}

/// The object that the engine writes, with outputs if it can.
fn written(payload: PayloadRef<'_>) -> String {
    let mut out = Vec::new();
    if !text::push_object_with_outputs(&mut out, payload) {
        text::push_object(&mut out, payload);
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn real_payloads_are_verified_and_written_as_they_are_read() {
    let Some(vectors) = payloads() else { return };
    let mut right = 0;
    for vector in vectors.iter().filter(|vector| vector.is_right) {
        let payload = vector.payload();
        assert_eq!(payload.view().has_outputs(), vector.with_outputs);
        assert!(is_right(&serde_json::from_str(&vector.text).unwrap()));
        assert_eq!(written(payload.view()), vector.text);
        let record = payload.as_bytes().clone();
        assert_eq!(Payload::parse(record).unwrap(), payload);
        let verified = VerifiedPayload::new(payload).unwrap();
        assert_eq!(written(verified.view()), vector.text);
        let mut bytes = Vec::new();
        assert_eq!(octets::push_with_outputs(&mut bytes, verified.view()), vector.with_outputs);
        right += 1;
    }
    assert_eq!(right, 1030);
    say(&format!("{right} payloads"));
}

#[test]
fn false_payloads_are_refused_by_the_hash_that_is_wrong() {
    let Some(vectors) = payloads() else { return };
    let mut wrong = 0;
    for vector in vectors.iter().filter(|vector| !vector.is_right) {
        let naive = naive_hashes(&serde_json::from_str(&vector.text).unwrap());
        let [(t, t_right), (o, o_right), (p, p_right)] = naive;
        let texts = |got: &dyn ToString, expected: &dyn ToString| {
            (got.to_string(), Some(expected.to_string()))
        };
        match VerifiedPayload::new(vector.payload()).unwrap_err() {
            PayloadError::TransactionsHash { got, expected } => {
                assert_eq!(vector.checks["transactionsHash"], false);
                assert_eq!(texts(&got, &expected), (t, t_right));
            }
            PayloadError::OutputsHash { got, expected } => {
                assert_eq!(vector.checks["transactionsHash"], true);
                assert_eq!(vector.checks["outputsHash"], false);
                assert_eq!(texts(&got, &expected), (o, o_right));
            }
            PayloadError::PayloadHash { got, expected } => {
                assert_eq!(vector.checks["transactionsHash"], true);
                assert_ne!(vector.checks["outputsHash"], false);
                assert_eq!(vector.checks["payloadHash"], false);
                assert_eq!(texts(&got, &expected), (p, p_right));
            }
            other @ PayloadError::OtherBlock { .. } => panic!("{other}"),
        }
        wrong += 1;
    }
    assert_eq!(wrong, 3);
}

#[test]
fn real_payloads_with_one_hash_altered_are_refused_for_it() {
    let Some(vectors) = payloads() else { return };
    for vector in vectors.iter().filter(|vector| vector.is_right).step_by(7) {
        for member in ["transactionsHash", "outputsHash", "payloadHash"] {
            let mut value: Value = serde_json::from_str(&vector.text).unwrap();
            value[member] = base64url(&[7; 32]).into();
            let payload = text::from_object(value.to_string().as_bytes()).unwrap();
            let refused = VerifiedPayload::new(payload).unwrap_err().to_string();
            // Of outputs that are not there only the payload hash tells.
            let known = member != "outputsHash" || vector.with_outputs;
            let member = if known { member } else { "payloadHash" };
            assert!(refused.starts_with(&format!("{member} is ")), "{refused}");
        }
    }
}

#[test]
fn real_payloads_belong_to_the_blocks_that_name_them() {
    let (Some(vectors), Some(headers)) = (payloads(), headers()) else { return };
    let other = ChainwebVersion::Development.genesis_headers().nth(1).unwrap();
    let mut blocks = 0;
    for vector in vectors.iter().filter(|vector| vector.is_right) {
        let payload = VerifiedPayload::new(vector.payload()).unwrap();
        for (network, _, hash) in &vector.blocks {
            let Some(header) = headers.get(&(network.clone(), hash.clone())) else { continue };
            assert_eq!(payload.belongs_to(header.view()), Ok(()));
            blocks += 1;
        }
        if payload.hash() != other.view().payload_hash() {
            let refused = payload.belongs_to(other.view());
            assert!(matches!(refused, Err(PayloadError::OtherBlock { .. })));
        }
    }
    assert!(blocks >= 1000, "{blocks}");
    say(&format!("{blocks} blocks with their payloads"));
}
