//! Format, verification, store and queries for Chainweb block headers.
//!
//! Modules are layers: each uses only those above it in this list.
//!
//! ```text
//! dump ─bytes→ header ─HeaderRef→ verify ─Verified→ write ─Batch→ store ─→ tree
//!                                            query ←────Snapshot────┘
//! ```
//!
//! Everything here blocks and knows no HTTP. Without the default feature `store` only the pure
//! layers are built: no RocksDB, no threads, no files.

// A number from outside must not end a thread: arithmetic says what becomes of an overflow.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod types;

pub mod header;

pub mod payload;

pub mod network;

pub mod verify;

pub mod tally;

pub mod generate;

#[cfg(feature = "store")]
pub mod failpoint;

#[cfg(feature = "store")]
pub mod regular;

#[cfg(feature = "store")]
pub mod cause;

#[cfg(feature = "store")]
mod memory;

#[cfg(feature = "store")]
pub mod store;

#[cfg(feature = "store")]
pub mod output;

pub mod tree;

pub mod query;

#[cfg(feature = "store")]
pub mod walk;

#[cfg(feature = "store")]
mod durable;

// Below `replay`, which reads archives as it reads any other input.
#[cfg(feature = "store")]
pub mod archive;

#[cfg(feature = "store")]
pub mod write;

#[cfg(feature = "store")]
pub mod replay;

#[cfg(feature = "store")]
pub mod push;

#[cfg(feature = "store")]
pub mod audit;

#[cfg(feature = "store")]
pub mod open;

#[cfg(feature = "store")]
pub mod replica;

#[cfg(feature = "store")]
pub mod repair;

// Above `open`: a copy is opened to be compared.
#[cfg(feature = "store")]
pub mod backup;

pub use header::{DecodeError, Header, HeaderRef, RawHeader};
pub use payload::{Payload, PayloadError, PayloadRef, VerifiedPayload};
pub use query::{
    Bounds, BranchQuery, Cursor, Heights, Page, Past, Position, RangeQuery, UnknownLower,
};
pub use types::{
    BlockHash, BlockHeight, ChainId, ChainwebVersion, HashError, Micros, OutputsHash, PayloadHash,
    Rank, Target, TransactionsHash, Weight,
};

#[cfg(feature = "store")]
pub use {
    open::{Engine, OpenError},
    query::{Cut, Joined, QueryError, Reader, Records, Scan, Stats, StatsRow, Steps, View},
    write::Writer,
};
