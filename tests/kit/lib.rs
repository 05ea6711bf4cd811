//! What tests, benches and fuzz targets share: drawn trees, the oracle, a server to talk to.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "whatever goes wrong here is a test that fails"
)]

pub mod age;
pub mod archive;
pub mod balance;
pub mod block;
pub mod braid;
pub mod carried;
pub mod crash;
mod database;
pub mod difficulty;
pub mod drawing;
pub mod forest;
pub mod oracle;
pub mod planted;
pub mod process;
pub mod vectors;

pub use database::{Database, sorted, stored};
pub use drawing::{lower, tree, upper};

/// Prints a line though the test may pass, for example that it has nothing to run on.
pub fn say(text: &str) {
    use std::io::Write;
    // Not `eprintln!`, which the test harness keeps to itself.
    let _ = writeln!(std::io::stderr(), "{text}");
}

pub mod http;

pub mod node;

pub mod server;
