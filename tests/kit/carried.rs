//! Blocks with what they carry.

use plait_engine::generate::{History, Plan};
use plait_engine::header::{RawHeader, text};
use plait_engine::payload::{self, Outputs, PayloadRef, VerifiedPayload};
use plait_engine::{Header, HeaderRef};

use crate::block::{NETWORK, sealed};

/// A block, and what it carries.
pub type Block = (Header, VerifiedPayload);

/// The blocks of a history that carry something, parents first.
#[must_use]
pub fn blocks(heights: u64, seed: u64, forks: f64, fork_depth: u64) -> Vec<Block> {
    let plan = Plan { seed, forks, fork_depth, payloads: true, ..Plan::new(NETWORK, heights) };
    let history = History::new(&plan).expect("a plan that a history follows");
    let carried = |(header, payload): (Header, Option<_>)| (header, payload.expect("a payload"));
    history.blocks().map(carried).collect()
}

/// The headers of some blocks.
#[must_use]
pub fn headers(blocks: &[Block]) -> Vec<Header> {
    blocks.iter().map(|(header, _)| *header).collect()
}

/// A payload with this miner and these transactions; each output is the transaction in brackets.
#[must_use]
pub fn payload(miner: &str, transactions: &[&[u8]]) -> VerifiedPayload {
    let outputs: Vec<Vec<u8>> = transactions.iter().map(|t| [b"[", *t, b"]"].concat()).collect();
    let outputs: Vec<&[u8]> = outputs.iter().map(Vec::as_slice).collect();
    let outputs = Outputs { coinbase: b"reward", outputs: &outputs };
    VerifiedPayload::seal(miner.as_bytes(), transactions, outputs).expect("a small payload")
}

/// A block like `header` that names this payload.
#[must_use]
pub fn carrying(header: HeaderRef<'_>, payload: &VerifiedPayload) -> Header {
    sealed(RawHeader { payload_hash: payload.hash(), ..*header.raw() })
}

/// A payload as the JSON object that blocks have.
#[must_use]
pub fn object(payload: PayloadRef<'_>) -> String {
    let mut object = Vec::new();
    assert!(payload::text::push_object_with_outputs(&mut object, payload), "outputs");
    String::from_utf8(object).expect("JSON is text")
}

/// A block as the JSON object of the API, with this object as what it carries.
#[must_use]
pub fn block_object(header: HeaderRef<'_>, payload: &str) -> String {
    let mut object = Vec::new();
    text::push_object(&mut object, header, NETWORK);
    let header = String::from_utf8(object).expect("JSON is text");
    format!(r#"{{"header":{header},"payloadWithOutputs":{payload}}}"#)
}

/// A block as a line.
#[must_use]
pub fn line((header, payload): &Block) -> String {
    block_object(header.view(), &object(payload.view())) + "\n"
}

/// Blocks as lines.
pub fn lines<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> Vec<u8> {
    blocks.into_iter().flat_map(|block| line(block).into_bytes()).collect()
}
