//! JSON of headers and blocks as a stream of values.

mod record;
mod resync;
mod scan;
mod search;
mod structure;
mod trouble;
mod values;

pub use record::Records;
pub use values::{Limits, Next, Values};
