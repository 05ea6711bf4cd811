//! Payloads for the tests of this layer.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Outputs, Parts, Payload};
use crate::types::{OutputsHash, PayloadHash, TransactionsHash};

/// Two payloads of the public chain, as the documentation of its API shows them: of chain 6 and of
/// chain 18 at height 1,554,652.
pub(super) const DOCUMENTED: [&str; 2] = [
    concat!(
        r#"{"transactions":[],"minerData":"eyJhY2NvdW50IjoiOTljYjcwMDhkN2Q3MGM5NGYxMzhjYzM2NmE4Mj"#,
        "VmMGQ5YzgzYThhMmY0YmE4MmM4NmM2NjZlMGFiNmZlY2YzYSIsInByZWRpY2F0ZSI6ImtleXMtYWxsIiwicHVibG",
        "ljLWtleXMiOlsiOTljYjcwMDhkN2Q3MGM5NGYxMzhjYzM2NmE4MjVmMGQ5YzgzYThhMmY0YmE4MmM4NmM2NjZlMG",
        r#"FiNmZlY2YzYSJdfQ","transactionsHash":"g5dDASOa4cK0nAVmwkvXg-neTRAKG1hwfwRfbQyqpxU","#,
        r#""outputsHash":"ZZV9pS034mPB5M0CT7IcoPhscy3lqI4Tyvx0BlPbR9k","payloadHash":"cT86RaKJUyC"#,
        r#"ZXKB3gYqX9A9SNway-lUBrHSvNr7_SaM","coinbase":"eyJnYXMiOjAsInJlc3VsdCI6eyJzdGF0dXMiOiJz"#,
        "dWNjZXNzIiwiZGF0YSI6IldyaXRlIHN1Y2NlZWRlZCJ9LCJyZXFLZXkiOiJJbkZoVlhSMmRGaHJOelZ1V0hOWFRU",
        "bHNOblpyWlVkclVXbHNXbVpGWDFsbmVsZHJXbTB0TjNSTWVVVWkiLCJsb2dzIjoiMFZoS2xvckJNc3h6YlJxZWV0",
        "M2t1d2hYSk1HZDdFSXl1NEthNllJOG5pRSIsIm1ldGFEYXRhIjpudWxsLCJjb250aW51YXRpb24iOm51bGwsInR4",
        r#"SWQiOjE2MDc0MDN9"}"#,
    ),
    concat!(
        r#"{"transactions":[],"minerData":"eyJhY2NvdW50IjoiNmQ4N2ZkNmU1ZTQ3MTg1Y2I0MjE0NTlkMjg4OG"#,
        "JkZGJhN2E2YzBmMmM0YWU1MjQ2ZDVmMzhmOTkzODE4YmI4OSIsInByZWRpY2F0ZSI6ImtleXMtYWxsIiwicHVibG",
        "ljLWtleXMiOlsiNmQ4N2ZkNmU1ZTQ3MTg1Y2I0MjE0NTlkMjg4OGJkZGJhN2E2YzBmMmM0YWU1MjQ2ZDVmMzhmOT",
        r#"kzODE4YmI4OSJdfQ","transactionsHash":"PZA7NIdgDatkTRZ8AOSI7dOOJzhGAhe7JkovnMp1xks","#,
        r#""outputsHash":"YqWnNd_gQLasM2N-dFuT3FndTJCBRAznQyCwb0ttj2M","payloadHash":"Ji7WisfH5Iu"#,
        r#"lPMcFglexGcVDnA59aS5k1YSE2_6L4t8","coinbase":"eyJnYXMiOjAsInJlc3VsdCI6eyJzdGF0dXMiOiJz"#,
        "dWNjZXNzIiwiZGF0YSI6IldyaXRlIHN1Y2NlZWRlZCJ9LCJyZXFLZXkiOiJJblZ6YlU1bWRGVlNYMjFJY0ZoUGJU",
        "aG5RM1owWWxvMU1GODVWbUZsWm1GSlZuWmpUV1J5UzNkak5VRWkiLCJsb2dzIjoieFVreFdxMFloYW5waUxLR2dZ",
        "aFhaYjB2QU9WRTJ1d1ZZQnBjRzZpdDVjZyIsIm1ldGFEYXRhIjpudWxsLCJjb250aW51YXRpb24iOm51bGwsInR4",
        r#"SWQiOjcxODI1N30"}"#,
    ),
];

/// What a payload is drawn from.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    pub(super) miner_data: Vec<u8>,
    pub(super) coinbase: Vec<u8>,
    pub(super) transactions: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Drawn {
    /// Its parts with the hashes that they have, lent to `to`.
    pub(super) fn lend<T>(&self, to: impl FnOnce(Parts<'_>) -> T) -> T {
        let transactions: Vec<&[u8]> =
            self.transactions.iter().map(|(bytes, _)| &**bytes).collect();
        let outputs: Vec<&[u8]> = self.transactions.iter().map(|(_, bytes)| &**bytes).collect();
        let outputs = Outputs { coinbase: &self.coinbase, outputs: &outputs };
        to(Parts::sealed(&self.miner_data, &transactions, outputs))
    }

    /// The payload with the hashes that it has, with its outputs or without.
    pub(super) fn payload(&self, with_outputs: bool) -> Payload {
        self.lend(|parts| {
            let outputs = parts.outputs.filter(|_| with_outputs);
            Parts { outputs, ..parts }.pack().unwrap()
        })
    }
}

/// Payloads of any content.
pub(super) fn drawn() -> impl Strategy<Value = Drawn> {
    let bytes = || vec(any::<u8>(), 0..300);
    let transactions = vec((bytes(), bytes()), 0..12);
    (bytes(), bytes(), transactions).prop_map(|(miner_data, coinbase, transactions)| Drawn {
        miner_data,
        coinbase,
        transactions,
    })
}

/// The same with any hashes, with outputs or without.
pub(super) fn payload() -> impl Strategy<Value = Payload> {
    (drawn(), any::<[[u8; 32]; 3]>(), any::<bool>()).prop_map(|(drawn, hashes, with_outputs)| {
        let [payload, transactions, outputs] = hashes;
        drawn.lend(|parts| {
            let parts = Parts {
                payload_hash: PayloadHash::new(payload),
                transactions_hash: TransactionsHash::new(transactions),
                outputs_hash: OutputsHash::new(outputs),
                outputs: parts.outputs.filter(|_| with_outputs),
                ..parts
            };
            parts.pack().unwrap()
        })
    })
}
