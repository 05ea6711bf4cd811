//! The `plait` command.

// As in the library.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod cli;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // RocksDB keeps every table file open, beside the connections; 1,024 is little for both. Where
    // the system refuses more, what it grants is used.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    cli::main()
}
