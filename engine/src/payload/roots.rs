//! The three Merkle roots of a payload. Miner data and coinbase come first, whatever their place in
//! records and text.

use super::PayloadRef;
use crate::header::merkle::{Log, join, leaf_of};
use crate::types::{OutputsHash, PayloadHash, TransactionsHash};

const TRANSACTION: u16 = 0x0013;
const OUTPUT: u16 = 0x0014;
const MINER_DATA: u16 = 0x0017;
const COINBASE: u16 = 0x0018;

pub(super) fn transactions_hash<'a>(
    miner_data: &[u8],
    transactions: impl Iterator<Item = &'a [u8]>,
) -> TransactionsHash {
    let mut log = Log::new();
    log.push(leaf_of(MINER_DATA, miner_data));
    log.extend(transactions.map(|bytes| leaf_of(TRANSACTION, bytes)));
    TransactionsHash::new(log.root())
}

pub(super) fn outputs_hash<'a>(
    coinbase: &[u8],
    outputs: impl Iterator<Item = &'a [u8]>,
) -> OutputsHash {
    let mut log = Log::new();
    log.push(leaf_of(COINBASE, coinbase));
    log.extend(outputs.map(|bytes| leaf_of(OUTPUT, bytes)));
    OutputsHash::new(log.root())
}

pub(super) fn payload_hash(transactions: &TransactionsHash, outputs: &OutputsHash) -> PayloadHash {
    PayloadHash::new(join(transactions.as_bytes(), outputs.as_bytes()))
}

impl PayloadRef<'_> {
    /// The Merkle root that miner data and transactions have.
    pub(super) fn transactions_root(self) -> TransactionsHash {
        transactions_hash(self.miner_data(), self.inputs())
    }

    /// The Merkle root that coinbase and outputs have, where they are known.
    pub(super) fn outputs_root(self) -> Option<OutputsHash> {
        Some(outputs_hash(self.coinbase()?, self.outputs()?))
    }
}
