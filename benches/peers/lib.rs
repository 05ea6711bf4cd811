//! What Plait is measured against, on the same build of RocksDB.
//!
//! [`Node`] is chainweb-node's table layout and its tree queries. [`Node::descend`] gives up on the
//! tree and reads the same table backwards, which is the least that any query over it can cost.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a peer that fails has nothing to be compared with"
)]

mod ancestors;
mod node;

pub use node::Node;
