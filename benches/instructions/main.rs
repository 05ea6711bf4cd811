//! Instructions of the hot functions, counted by callgrind and held to a stored baseline.
//!
//! ```text
//! instructions                   counts all, compares, fails where one is over 5 % above
//! instructions --accept          counts all and stores them as the new baseline
//! instructions --run OPERATION   runs one, for callgrind
//! ```
//!
//! Counts say nothing of caches and waiting; they say the same on a busy machine as on an idle one.
#![expect(clippy::expect_used, reason = "a bench that goes wrong ends the run")]

mod baseline;
mod callgrind;
mod hot;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use baseline::Baseline;

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How far a count may be above its baseline.
const LIMIT: f64 = 0.05;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--run", name] => {
            let operation = hot::OPERATIONS.iter().find(|operation| operation.name == *name);
            (operation.expect("an operation of this name").run)();
            ExitCode::SUCCESS
        }
        [] => compare(false),
        ["--accept"] => compare(true),
        _ => {
            eprintln!("usage: instructions [--accept | --run OPERATION]");
            ExitCode::from(2)
        }
    }
}

fn compare(accept: bool) -> ExitCode {
    let Some(tools) = callgrind::tools() else {
        eprintln!("instructions: no valgrind here: apt-get install valgrind");
        return ExitCode::from(2);
    };
    let baseline = Baseline::read();
    if let Some(other) = baseline.tools.as_ref().filter(|other| **other != tools) {
        eprintln!("instructions: the baseline was counted with {other}, this is {tools}:");
        eprintln!("instructions: what differs may be their doing");
    }
    let (mut counted, mut failed) = (Vec::new(), false);
    let mut out = io::stdout().lock();
    for operation in &hot::OPERATIONS {
        let count = callgrind::count(operation.name, operation.symbol);
        counted.push((operation.name.to_owned(), count));
        let change = baseline.change(operation.name, count);
        let verdict = match change {
            Some(change) if change > LIMIT => "REGRESSION",
            Some(change) if change < -LIMIT => "better: accept it",
            Some(_) => "",
            None => "new: accept it",
        };
        failed |= change.is_some_and(|change| change > LIMIT);
        let change = change.map_or("-".to_owned(), |change| format!("{:+.2} %", change * 100.0));
        let line = format!("{:<28} {count:>12} {change:>10}  {verdict}", operation.name);
        writeln!(out, "{}", line.trim_end()).expect("standard output is read");
    }
    if accept {
        Baseline { tools: Some(tools), counts: counted }.write();
        return ExitCode::SUCCESS;
    }
    if failed {
        eprintln!("instructions: more than {:.0} % above the baseline", LIMIT * 100.0);
        eprintln!("instructions: if it is worth it: make bench-instructions-accept");
    }
    ExitCode::from(u8::from(failed))
}
