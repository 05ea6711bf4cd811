//! [`Plan`] → [`History`]: valid blocks of any number, for tests and benches.
//!
//! Enters: a plan. Leaves: headers that pass [`Level::Full`](crate::verify::Level::Full), parents
//! first, and what their blocks carry, if that was asked for. Pure: nothing here reads a store or a clock.
//!
//! - `I-1` Equal plans make equal bytes, on every machine and in every release.
//! - `I-2` Every block follows every rule of its network at its height; what the rules fix is
//!   computed by [`verify`](crate::verify) itself, what they leave to miners is drawn at random.
//! - `I-3` Blocks are mined for real where the network checks that, and difficulty stays small.
//! - `I-4` The canonical tip of each chain is its heaviest block.
//! - `I-5` Memory does not grow with the number of heights.
//!
//! ```
//! use plait_engine::ChainwebVersion;
//! use plait_engine::generate::{History, Plan};
//!
//! let plan = Plan { forks: 0.1, ..Plan::new(ChainwebVersion::Development, 10) };
//! let headers: Vec<_> = History::new(&plan)?.collect();
//! assert!(headers.len() >= 200);
//! # Ok::<(), plait_engine::generate::PlanError>(())
//! ```

mod block;
mod carry;
mod crossings;
mod error;
mod forks;
mod history;
mod pace;
mod plan;
mod random;
mod seal;

pub use error::PlanError;
pub use history::History;
pub use plan::{Branch, Plan};
