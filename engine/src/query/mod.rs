//! Bounds → [`Page`] or stream, read-only.
//!
//! Enters: what a client may ask of one chain. Leaves: pages of hashes or headers, and the cursor
//! of the next one.
//!
//! - `I-1` A page is read from one immutable [`View`]: a concurrent write never tears it.
//! - `I-2` Pages joined by their cursors are the whole result, without gap or repetition.
//! - `I-3` Two pasts and the blocks that join between them: each once, none before its parents.

mod bounds;
mod cursor;
mod page;
mod past;
mod position;

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
mod joined;
#[cfg(feature = "store")]
mod levels;
#[cfg(feature = "store")]
mod load;
#[cfg(feature = "store")]
#[cfg(feature = "store")]
mod news;
#[cfg(feature = "store")]
mod payloads;
#[cfg(feature = "store")]
mod range;
#[cfg(feature = "store")]
mod records;
#[cfg(feature = "store")]
mod scan;
#[cfg(feature = "store")]
mod standing;
#[cfg(feature = "store")]
mod stats;
#[cfg(feature = "store")]
mod stats_cost;
#[cfg(feature = "store")]
mod steps;
#[cfg(feature = "store")]
mod view;

#[cfg(feature = "store")]
use crate::types::{ChainId, Rank, Weight};

/// Chain, rank and weight of a member of a cut.
#[cfg(feature = "store")]
type Member = (ChainId, Rank, Weight);

pub use bounds::{Bounds, BranchQuery, Heights, RangeQuery, UnknownLower};
pub use cursor::{Cursor, CursorError};
pub use page::Page;
pub use past::Past;
pub use position::{Position, PositionError};

#[cfg(feature = "store")]
pub(crate) use {
    blocks::Blocks,
    load::{Loaded, load},
    standing::{Members, Standing},
    view::Moment,
};

#[cfg(feature = "store")]
pub use {
    cut::{Cut, NoCut},
    divided::Divided,
    error::QueryError,
    joined::{Joined, UnknownTop},
    records::Records,
    scan::Scan,
    stats::{Stats, StatsRow},
    stats_cost::StatsCost,
    steps::Steps,
    view::{Reader, View},
};
