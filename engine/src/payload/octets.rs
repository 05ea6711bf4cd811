//! Payloads as the bytes that the reference sends between nodes, as `application/octet-stream`.
//!
//! ```text
//! payload    count, then of each transaction: length, bytes
//!            length and bytes of the miner data
//!            payload hash, transactions hash, outputs hash
//! ```
//!
//! With outputs, each transaction is followed by length and bytes of its output, and the miner data
//! by those of the coinbase. Counts and lengths are 64 bits, big endian. A list is the count of its
//! payloads, then the payloads.
//!
//! # Source
//!
//! `putPayloadData` and `putPayloadWithOutputs` in `Chainweb.Payload` of the reference.

use zerocopy::IntoBytes;
use zerocopy::byteorder::big_endian::U64;

use super::PayloadRef;

/// Bytes of a count and of a length.
const NUMBER_LEN: usize = size_of::<U64>();

/// Appends the number of payloads that a list begins with.
pub fn push_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(U64::new(count as u64).as_bytes());
}

/// Appends the payload without its outputs.
pub fn push(out: &mut Vec<u8>, payload: PayloadRef<'_>) {
    out.reserve(len(payload));
    push_count(out, payload.transaction_count());
    for transaction in payload.inputs() {
        push_bytes(out, transaction);
    }
    push_bytes(out, payload.miner_data());
    push_hashes(out, payload);
}

/// Appends the payload with its outputs. `false`, and nothing is appended, if they are not known.
#[must_use]
pub fn push_with_outputs(out: &mut Vec<u8>, payload: PayloadRef<'_>) -> bool {
    let (Some(coinbase), Some(outputs)) = (payload.coinbase(), payload.outputs()) else {
        return false;
    };
    out.reserve(len_with_outputs(payload));
    push_count(out, payload.transaction_count());
    for (transaction, output) in payload.inputs().zip(outputs) {
        push_bytes(out, transaction);
        push_bytes(out, output);
    }
    push_bytes(out, payload.miner_data());
    push_bytes(out, coinbase);
    push_hashes(out, payload);
    true
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn push_hashes(out: &mut Vec<u8>, payload: PayloadRef<'_>) {
    out.extend_from_slice(payload.hash().as_bytes());
    out.extend_from_slice(payload.transactions_hash().as_bytes());
    out.extend_from_slice(payload.outputs_hash().as_bytes());
}

/// Bytes that [`push`] appends.
#[must_use]
pub fn len(payload: PayloadRef<'_>) -> usize {
    let items = payload.inputs().chain([payload.miner_data()]);
    NUMBER_LEN
        .saturating_add(items.map(|bytes| bytes.len().saturating_add(NUMBER_LEN)).sum::<usize>())
        .saturating_add(3 * 32)
}

/// Bytes that [`push_with_outputs`] appends if outputs are known.
#[must_use]
pub fn len_with_outputs(payload: PayloadRef<'_>) -> usize {
    let items = payload.outputs().into_iter().flatten().chain(payload.coinbase());
    len(payload)
        .saturating_add(items.map(|bytes| bytes.len().saturating_add(NUMBER_LEN)).sum::<usize>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::FromBytes;

    use super::super::drawn::payload;
    use super::super::{Outputs, Parts, Payload};
    use super::*;
    use crate::types::{OutputsHash, PayloadHash, TransactionsHash};

    /// The reference's reader: one field after the other.
    struct Get<'a>(&'a [u8]);

    impl<'a> Get<'a> {
        fn number(&mut self) -> usize {
            let (number, rest) = U64::read_from_prefix(self.0).unwrap();
            self.0 = rest;
            usize::try_from(number.get()).unwrap()
        }

        fn bytes(&mut self) -> &'a [u8] {
            let len = self.number();
            let (bytes, rest) = self.0.split_at(len);
            self.0 = rest;
            bytes
        }

        fn word(&mut self) -> [u8; 32] {
            let (word, rest) = self.0.split_first_chunk().unwrap();
            self.0 = rest;
            *word
        }

        fn payload(&mut self, with_outputs: bool) -> Payload {
            let (mut transactions, mut outputs) = (Vec::new(), Vec::new());
            for _ in 0..self.number() {
                transactions.push(self.bytes());
                outputs.extend(with_outputs.then(|| self.bytes()));
            }
            let miner_data = self.bytes();
            let coinbase = with_outputs.then(|| self.bytes());
            let parts = Parts {
                payload_hash: PayloadHash::new(self.word()),
                transactions_hash: TransactionsHash::new(self.word()),
                outputs_hash: OutputsHash::new(self.word()),
                miner_data,
                transactions: &transactions,
                outputs: coinbase.map(|coinbase| Outputs { coinbase, outputs: &outputs }),
            };
            parts.pack().unwrap()
        }
    }

    proptest! {
        #[test]
        fn reference_reads_what_is_written(payload in payload(), before in any::<u8>()) {
            let with_outputs = payload.view().has_outputs();
            let mut out = vec![before];
            prop_assert_eq!(push_with_outputs(&mut out, payload.view()), with_outputs);
            if with_outputs {
                prop_assert_eq!(out.len() - 1, len_with_outputs(payload.view()));
                let mut get = Get(&out[1..]);
                prop_assert_eq!(&get.payload(true), &payload);
                prop_assert!(get.0.is_empty());
            }
            out.truncate(1);
            push(&mut out, payload.view());
            prop_assert_eq!(out.len() - 1, len(payload.view()));
            let mut get = Get(&out[1..]);
            let bare = get.payload(false);
            prop_assert!(get.0.is_empty());
            prop_assert!(bare.view().inputs().eq(payload.view().inputs()));
            prop_assert_eq!(bare.view().miner_data(), payload.view().miner_data());
            prop_assert_eq!(bare.view().hash(), payload.view().hash());
            prop_assert_eq!(bare.view().transactions_hash(), payload.view().transactions_hash());
            prop_assert_eq!(bare.view().outputs_hash(), payload.view().outputs_hash());
        }
    }
}
