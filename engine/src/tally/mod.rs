//! Sums over blocks of one chain: their difficulties and their block times.
//!
//! Enters: headers by ascending height. Leaves: [`Sums`], which are added, and taken from each other:
//! the sums over a range of heights are those up to its end without those up to its beginning.
//!
//! - `I-1` Sums are exact modulo 2^256, 2^64 and 2^32, and what is taken away leaves what is left.
//! - `I-2` A block has a block time if its parent is known: how much later it says that it was made.

mod sums;
mod times;

pub use sums::{Sums, Tally};
pub use times::{BINS, BOUNDS, Bins};
