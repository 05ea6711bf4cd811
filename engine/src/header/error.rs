use thiserror::Error;

use super::{DEGREE, LEN};
use crate::types::HashError;

/// Bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The input is shorter or longer than one header.
    #[error("a header has {LEN} bytes, not {got}")]
    Length {
        /// Bytes found.
        got: usize,
    },
    /// The header names another number of adjacent parents than its length has room for.
    #[error("a header has {DEGREE} adjacent parents, not {got}")]
    Degree {
        /// Adjacent parents announced.
        got: u16,
    },
    /// The adjacent parents are not in ascending order of chain, or one chain stands there twice.
    #[error("adjacent parents are not in ascending order of chain: {second} after {first}")]
    AdjacentOrder {
        /// The chain before.
        first: u32,
        /// The chain after it.
        second: u32,
    },
}

/// Text is not a header.
#[derive(Debug, Error)]
pub enum TextError {
    /// The string is not base64url of whole bytes.
    #[error("not base64url: {0}")]
    Base64(#[from] base64::DecodeError),
    /// The string decodes, but not to a header.
    #[error(transparent)]
    Header(#[from] DecodeError),
    /// The text is not the JSON object of a header.
    #[error("not a header object: {0}")]
    Json(#[from] serde_json::Error),
    /// A member that holds 32 bytes does not.
    #[error("member {member}: {source}")]
    Word {
        /// The member's name.
        member: &'static str,
        /// Why it was refused.
        source: HashError,
    },
    /// A member that holds a decimal number does not.
    #[error("member {member}: not a decimal number of at most 64 bits")]
    Number {
        /// The member's name.
        member: &'static str,
    },
    /// The network's name is not known.
    #[error("member chainwebVersion: unknown network")]
    Version,
    /// Another number of adjacent parents than a header has.
    #[error("member adjacents: a header has {DEGREE}, not {got}")]
    Adjacents {
        /// Adjacent parents found.
        got: usize,
    },
}
