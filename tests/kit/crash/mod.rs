//! Processes that are killed between any two durable steps, and what must be there afterwards.
//!
//! A child replays, pushes, seals, reorganises, backs up, restores and exports, by a schedule that a
//! seed chooses. It writes into a ledger what it begins, and what the engine said to be done. It is
//! killed at a random moment, or at a failpoint of the engine; then the parent checks all that is
//! there against the ledger, and the next child goes on in the same folder.
//!
//! - `I-1` What was said to be done is there; what is there is valid; and nothing else is there.
//! - `I-2` A step that was not over has happened, or has not, or up to a commit of it.
//! - `I-3` Where a file is gone, nothing is lost silently, nothing is created in its place, and all other
//!   files stay as they are.

mod check;
mod child;
mod choose;
mod copies;
mod cut;
mod drive;
mod dump;
mod folder;
mod held;
mod kill;
mod ledger;
mod model;
mod numbers;
mod prepare;
mod random;
mod schedule;
mod summary;
mod vanish;
mod world;

pub use check::Counts;
pub use child::run as run_child;
pub use drive::{Crash, Every};
pub use dump::Format;
pub use kill::arm;
pub use ledger::{Entry, Ledger, Said, Step};
pub use model::{Copy, Dump, Known, Model};
pub use random::Random;
pub use schedule::{Action, schedule};
pub use summary::Summary;
pub use world::{Kind, Number, Set, World};
