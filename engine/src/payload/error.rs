use thiserror::Error;

use crate::types::{BlockHash, HashError, OutputsHash, PayloadHash, TransactionsHash};

/// A payload is not what its hashes, or its block, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PayloadError {
    /// Miner data and transactions have another Merkle root than the payload states.
    #[error("transactionsHash is {got}, that of the content is {expected}")]
    TransactionsHash {
        /// What the payload states.
        got: TransactionsHash,
        /// What its content has.
        expected: TransactionsHash,
    },
    /// Coinbase and outputs have another Merkle root than the payload states.
    #[error("outputsHash is {got}, that of the content is {expected}")]
    OutputsHash {
        /// What the payload states.
        got: OutputsHash,
        /// What its content has.
        expected: OutputsHash,
    },
    /// The two roots have another Merkle root than the payload states.
    #[error("payloadHash is {got}, that of transactionsHash and outputsHash is {expected}")]
    PayloadHash {
        /// What the payload states.
        got: PayloadHash,
        /// What its roots have.
        expected: PayloadHash,
    },
    /// The payload belongs to another block.
    #[error("payloadHash is {got}, block {block} has {expected}")]
    OtherBlock {
        /// The block.
        block: BlockHash,
        /// The payload's hash.
        got: PayloadHash,
        /// What the block's header names.
        expected: PayloadHash,
    },
}

/// Bytes are not the record of a payload, or parts cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The record ends before what it announces, or goes on behind it.
    #[error("the record has {got} bytes, not the {expected} that it announces")]
    Length {
        /// Bytes found.
        got: usize,
        /// Bytes announced, as far as that can be told.
        expected: u128,
    },
    /// The record is of a kind that is not known.
    #[error("the record is of kind {got}, not 0 or 1")]
    Kind {
        /// The kind found.
        got: u8,
    },
    /// A part, or the number of transactions, needs more than 32 bits.
    #[error("a payload has {got} bytes or transactions in one place, more than 32 bits say")]
    TooLarge {
        /// Bytes or transactions.
        got: usize,
    },
    /// There is not one output for each transaction.
    #[error("a payload of {transactions} transactions has {outputs} outputs")]
    Outputs {
        /// Transactions found.
        transactions: usize,
        /// Outputs found.
        outputs: usize,
    },
}

/// Text is not the JSON object of a payload.
#[derive(Debug, Error)]
pub enum TextError {
    /// The text is not JSON, or a member is missing, there twice, or of another type.
    #[error("not a payload object: {0}")]
    Json(#[from] serde_json::Error),
    /// A member that holds bytes is not base64url.
    #[error("member {member}: not base64url: {source}")]
    Base64 {
        /// The member's name.
        member: &'static str,
        /// Why it was refused.
        source: base64::DecodeError,
    },
    /// A member that holds a hash does not.
    #[error("member {member}: {source}")]
    Word {
        /// The member's name.
        member: &'static str,
        /// Why it was refused.
        source: HashError,
    },
    /// Some transactions are pairs with an output though there is no coinbase, or others though
    /// there is.
    #[error("member transactions: outputs and coinbase are not both there")]
    Outputs,
    /// What decodes is too large for a record.
    #[error(transparent)]
    Record(#[from] RecordError),
}
