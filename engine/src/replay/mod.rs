//! A dump → [`write`](crate::write): every header of it, in order, until one is wrong.
//!
//! Enters: files, standard input, a node's database. Leaves: stored blocks, what they carry as far as
//! the dump has it, and a [`Summary`].
//!
//! - `I-1` The records before a bad one are stored; nothing of the bad one is. If only the
//!   payload of a block is wrong, its header is stored, and the payload is rejected.
//! - `I-2` A dump that is replayed again stores nothing twice. A replay that was interrupted, at any
//!   moment and by anything, goes on where it was when it is run again: from a mark that is written
//!   together with the blocks before it.
//! - `I-3` Memory is bounded, whatever the length of the dump, and whatever its blocks carry.
//! - `I-4` Blocks that come in order end up where they do one by one; only faster.
//! - `I-5` What a block carries is stored with it, or later if it was stored without.

mod aside;
mod clock;
mod condemn;
mod error;
mod genesis;
mod link;
mod mapped;
mod order;
mod pipeline;
mod progress;
mod room;
pub mod source;
mod stage;
mod take;

pub use clock::Clock;
pub use error::{Rejection, ReplayError, Wrong};
pub use genesis::OtherGenesis;
pub(crate) use link::{Link, Linker};
pub use pipeline::Replay;
pub use progress::{Admission, Event, Progress, Summary};
