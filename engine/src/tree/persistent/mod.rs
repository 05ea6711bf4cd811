//! Collections whose clones share memory.
//!
//! Every commit publishes the forests of its chains, and a view keeps the forests that it was made with. So each commit
//! clones a forest, and then changes it. Each collection here is a tree of small arrays behind [`Arc`](std::sync::Arc)s: a
//! clone copies the root alone, and a change copies the arrays on the way to the element, unless no clone holds them.
//!
//! ```text
//! published    root ── a ── [0..32]          a commit changes element 70
//!                 │  └─ b ── [32..64]
//!                 └─ c ── [64..96]           copied: root and c; shared: a and b
//! ```
//!
//! - `I-1` A change to a clone does not change the original.
//! - `I-2` A change copies a number of bytes that grows only with the logarithm of the length.

mod by_hash;
mod list;
mod sorted;

pub(super) use by_hash::ByHash;
pub(super) use list::List;
pub(super) use sorted::Sorted;
