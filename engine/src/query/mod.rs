//! Bounds → [`Page`] or stream, read-only.
//!
//! Enters: what a client may ask of one chain. Leaves: pages of hashes or headers, and the cursor
//! of the next one.
//!
//! - `I-1` A page is read from one immutable [`View`]: a concurrent write never tears it.
//! - `I-2` Pages joined by their cursors are the whole result, without gap or repetition.

mod bounds;
mod cursor;
mod page;

#[cfg(feature = "store")]
mod ascent;
#[cfg(feature = "store")]
mod blocks;
#[cfg(feature = "store")]
mod branch;
#[cfg(feature = "store")]
mod cut;
#[cfg(feature = "store")]
mod divided;
#[cfg(feature = "store")]
mod error;
#[cfg(feature = "store")]
mod load;
#[cfg(feature = "store")]
mod near;
#[cfg(feature = "store")]
mod payloads;
#[cfg(feature = "store")]
mod range;
#[cfg(feature = "store")]
mod records;
#[cfg(feature = "store")]
mod scan;
#[cfg(feature = "store")]
mod view;

pub use bounds::{Bounds, BranchQuery, Heights, RangeQuery, UnknownLower};
pub use cursor::{Cursor, CursorError};
pub use page::Page;

#[cfg(feature = "store")]
pub(crate) use {blocks::Blocks, divided::Divided, load::load};

#[cfg(feature = "store")]
pub use {
    cut::Cut,
    error::QueryError,
    records::Records,
    scan::Scan,
    view::{Reader, View},
};
