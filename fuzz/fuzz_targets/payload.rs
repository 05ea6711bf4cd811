//! Bytes or text → a payload → record, JSON, parts → the same record; and its three hashes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plait_engine::payload::{LEN_MIN, Outputs, Parts, RecordError, octets, text};
use plait_engine::{PayloadError, PayloadRef, VerifiedPayload};

fuzz_target!(|data: &[u8]| {
    record(data);
    if let Ok(payload) = text::from_object(data) {
        every_form(payload.view());
    }
});

/// What parses is what is built from its parts; what does not says why.
fn record(data: &[u8]) {
    match PayloadRef::parse(data) {
        Ok(payload) => {
            assert_eq!(payload.as_bytes(), data, "the view is another record");
            every_form(payload);
        }
        Err(RecordError::Length { got, expected }) => {
            assert_eq!(got, data.len());
            assert_ne!(got as u128, expected, "{got} bytes are refused for their number");
        }
        Err(RecordError::Kind { got }) => {
            assert!(got > 1 && data.len() >= LEN_MIN);
        }
        Err(other) => unreachable!("a record is refused with {other}"),
    }
}

/// Every form of `payload` is read back to the same record.
fn every_form(payload: PayloadRef<'_>) {
    let inputs: Vec<&[u8]> = payload.transactions().map(|(bytes, _)| bytes).collect();
    let outputs: Vec<&[u8]> = payload.transactions().filter_map(|(_, bytes)| bytes).collect();
    assert_eq!(inputs.len(), payload.transaction_count());
    assert_eq!(outputs.len(), if payload.has_outputs() { inputs.len() } else { 0 });
    let parts = Parts {
        payload_hash: payload.hash(),
        transactions_hash: payload.transactions_hash(),
        outputs_hash: payload.outputs_hash(),
        miner_data: payload.miner_data(),
        transactions: &inputs,
        outputs: payload.coinbase().map(|coinbase| Outputs { coinbase, outputs: &outputs }),
    };
    assert!(parts.pack().is_ok_and(|same| same.view() == payload));

    let mut out = Vec::new();
    text::push_object(&mut out, payload);
    assert_eq!(out.len(), text::object_len(payload));
    let without = Parts { outputs: None, ..parts }.pack();
    assert!(matches!((text::from_object(&out), without), (Ok(read), Ok(built)) if read == built));
    out.clear();
    if text::push_object_with_outputs(&mut out, payload) {
        assert_eq!(out.len(), text::object_with_outputs_len(payload));
        assert!(text::from_object(&out).is_ok_and(|same| same.view() == payload));
    }
    assert_eq!(!out.is_empty(), payload.has_outputs());
    out.clear();
    octets::push(&mut out, payload);
    assert_eq!(out.len(), octets::len(payload));
    assert!(out.ends_with(payload.outputs_hash().as_bytes()));

    verify(payload, &parts);
}

/// A payload is verified if and only if it states the hashes that its content has; the first that
/// is wrong is named.
fn verify(payload: PayloadRef<'_>, parts: &Parts<'_>) {
    let known = parts.outputs.unwrap_or(Outputs { coinbase: b"", outputs: parts.transactions });
    let sealed = Parts::sealed(parts.miner_data, parts.transactions, known);
    if let Ok(sealed) = sealed.pack() {
        assert!(VerifiedPayload::new(sealed).is_ok());
    }
    match VerifiedPayload::new(payload.to_owned()) {
        Ok(verified) => {
            assert_eq!(verified.view(), payload);
            assert_eq!(parts.transactions_hash, sealed.transactions_hash);
            if parts.outputs.is_some() {
                assert_eq!(parts.outputs_hash, sealed.outputs_hash);
                assert_eq!(parts.payload_hash, sealed.payload_hash);
            }
        }
        Err(PayloadError::TransactionsHash { got, expected }) => {
            assert_eq!((got, expected), (parts.transactions_hash, sealed.transactions_hash));
            assert_ne!(got, expected);
        }
        Err(PayloadError::OutputsHash { got, expected }) => {
            assert_eq!(parts.transactions_hash, sealed.transactions_hash);
            assert!(parts.outputs.is_some());
            assert_eq!((got, expected), (parts.outputs_hash, sealed.outputs_hash));
            assert_ne!(got, expected);
        }
        Err(PayloadError::PayloadHash { got, expected }) => {
            assert_eq!(parts.transactions_hash, sealed.transactions_hash);
            assert_eq!(got, parts.payload_hash);
            assert_ne!(got, expected);
        }
        Err(other) => unreachable!("a payload is refused with {other}"),
    }
}
