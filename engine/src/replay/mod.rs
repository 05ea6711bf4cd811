//! A dump → [`write`](crate::write): every header of it, in order, until one is wrong.
//!
//! Enters: files, standard input, a node's database. Leaves: stored blocks, and a [`Summary`].
//!
//! - `I-1` What came before a bad record is stored; of the record itself nothing is.
//! - `I-2` A dump that is replayed again stores nothing twice, so an interrupted replay goes on
//!   where it was by running it again.
//! - `I-3` Memory is bounded, whatever the length of the dump.

mod error;
mod link;
mod mapped;
mod pipeline;
pub mod source;

pub use error::{Rejection, ReplayError, Wrong};
pub use pipeline::{Admission, Event, Progress, Replay, Summary};
