//! Blocks that come a few at a time → [`write`](crate::write), and what came of each.
//!
//! Enters: small batches of blocks, of any sender, in any order. Leaves: an [`Outcome`] for each
//! block, and views that show what was stored.
//!
//! - `I-1` A batch has one commit, and one moment in which views begin to show it. If the commit
//!   fails, nothing of the batch is told to be stored.
//! - `I-2` A block that is told to be stored, now or before, outlives a crash of the process, and of
//!   the machine too unless that was switched off.
//! - `I-3` What waits or is refused leaves nothing behind, in memory or on disk: it is for the sender
//!   to bring it again.
//! - `I-4` The payload of a block is stored with it, or with a later batch that brings it again. If only
//!   the payload of a block is wrong, its header is stored, and the payload is refused.
//! - `I-5` Blocks are linked as a replay links them, one by one.

mod outcome;
mod pusher;

pub use outcome::{Block, Counts, Outcome};
pub use pusher::Pusher;
