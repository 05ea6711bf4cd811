//! Payloads: text → record → hashes → text.

use criterion::{Criterion, Throughput};
use fixtures::PAGE;
use fixtures::blocks::payloads;
use plait_engine::Payload;
use plait_engine::payload::text;
use sha2::{Digest, Sha512_256};

use crate::time;

pub(crate) fn stage(criterion: &mut Criterion) {
    let throughput = || {
        let bytes = payloads(PAGE).iter().map(|payload| payload.as_bytes().len() as u64).sum();
        Throughput::ElementsAndBytes { elements: PAGE as u64, bytes }
    };
    let mut group = criterion.benchmark_group("payload/verify");
    group.throughput(throughput());
    let prepare = || {
        let payloads = payloads(PAGE);
        assert_eq!(verified(&payloads), PAGE);
        assert_eq!(verified_by_sha2(&payloads), PAGE);
        payloads
    };
    time(&mut group, "page_360", prepare, |payloads| verified(payloads));
    time(&mut group, "page_360/sha2", prepare, |payloads| verified_by_sha2(payloads));
    group.finish();

    let mut group = criterion.benchmark_group("payload/object");
    group.throughput(throughput());
    let prepare = || {
        let payloads = payloads(PAGE);
        assert!(payloads.iter().all(|payload| {
            let read = text::from_object(&objects(std::slice::from_ref(payload)));
            read.is_ok_and(|read| read == *payload)
        }));
        payloads
    };
    time(&mut group, "page_360", prepare, |payloads| objects(payloads));
    let prepare = || {
        let payloads = payloads(PAGE);
        let texts: Vec<Vec<u8>> =
            payloads.iter().map(|payload| objects(std::slice::from_ref(payload))).collect();
        assert!(texts.iter().zip(&payloads).all(|(text, payload)| read(text) == *payload));
        texts
    };
    time(&mut group, "read_360", prepare, |texts| {
        texts.iter().map(|text| read(text).as_bytes().len()).sum::<usize>()
    });
    group.finish();
}

fn read(text: &[u8]) -> Payload {
    text::from_object(text).expect("what was written is read")
}

/// The payloads as JSON objects, in one new buffer.
fn objects(payloads: &[Payload]) -> Vec<u8> {
    let len = |payload: &Payload| text::object_with_outputs_len(payload.view());
    let mut out = Vec::with_capacity(payloads.iter().map(len).sum());
    for payload in payloads {
        assert!(text::push_object_with_outputs(&mut out, payload.view()));
    }
    out
}

fn verified(payloads: &[Payload]) -> usize {
    payloads.iter().filter(|payload| payload.view().check().is_ok()).count()
}

/// The straightforward way: all leaves in a list, then the tree by splitting it.
fn verified_by_sha2(payloads: &[Payload]) -> usize {
    let is_right = |payload: &&Payload| {
        let payload = payload.view();
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        inputs.push(digest(&[&[0, 0, 0x17], payload.miner_data()]));
        outputs.push(digest(&[&[0, 0, 0x18], payload.coinbase().unwrap_or_default()]));
        for (input, output) in payload.transactions() {
            inputs.push(digest(&[&[0, 0, 0x13], input]));
            outputs.push(digest(&[&[0, 0, 0x14], output.unwrap_or_default()]));
        }
        let (inputs, outputs) = (root(&inputs), root(&outputs));
        let hash = digest(&[&[1], &inputs, &outputs]);
        inputs == *payload.transactions_hash().as_bytes()
            && outputs == *payload.outputs_hash().as_bytes()
            && hash == *payload.hash().as_bytes()
    };
    payloads.iter().filter(is_right).count()
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
