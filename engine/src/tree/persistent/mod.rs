//! Collections whose clones share memory.
//!
//! Every commit publishes the forests of its chains, and views keep those that they were made with. So a
//! forest is cloned for each commit, and then changed. Each collection here is a tree of small
//! arrays behind [`Arc`](std::sync::Arc)s: a clone copies the root alone, and a change copies the arrays on the way to the
//! element, unless nobody else holds them.
//!
//! ```text
//! published    root ── a ── [0..32]          a commit changes element 70
//!                 │  └─ b ── [32..64]
//!                 └─ c ── [64..96]           copied: root and c; shared: a and b
//! ```
//!
//! - `I-1` A change of a clone does not change what it was cloned from.
//! - `I-2` A change copies a number of bytes that grows with the logarithm of the length only.

mod by_hash;
mod list;
mod sorted;

pub(super) use by_hash::ByHash;
pub(super) use list::List;
pub(super) use sorted::Sorted;
