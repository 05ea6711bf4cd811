//! What a block carries: transactions, their outputs and three Merkle roots.
//!
//! Enters: bytes, text, parts. Leaves: [`VerifiedPayload`], [`PayloadRef`], text.
//!
//! - `I-1` Transactions, outputs, miner data and coinbase are the bytes that were mined; nothing is
//!   ever written anew from what they mean.
//! - `I-2` A payload has one record: what parses is what is built from its parts.
//! - `I-3` Only this module makes a [`VerifiedPayload`], so nobody checks twice.
//!
//! # Source
//!
//! `Chainweb.Payload` of the reference.

#[cfg(test)]
mod drawn;
mod error;
mod layout;
pub mod octets;
mod parts;
mod record;
mod roots;
pub mod text;
mod verified;

pub use error::{PayloadError, RecordError, TextError};
pub use layout::LEN_MIN;
pub use parts::{Outputs, Parts};
pub use record::{Items, Payload, PayloadRef, Transactions};
pub use verified::VerifiedPayload;
