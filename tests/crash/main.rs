//! `make crash`: processes that are killed between any two durable steps.
//!
//! ```text
//! crash run CYCLES SEED
//! crash child FOLDER WORLD SEED CYCLE FAILPOINT NUMBER    one process of a run
//! ```

use std::path::Path;
use std::process::ExitCode;

use testkit::crash::{Crash, Every, arm, run_child};
use testkit::say;

const USAGE: &str = "crash run CYCLES SEED";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match *args.as_slice() {
        ["run", cycles, seed] => run(cycles, seed),
        ["child", folder, world, seed, cycle, target, number] => {
            child(folder, [world, seed, cycle, number], target)
        }
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cycles: &str, seed: &str) -> Result<(), String> {
    let (cycles, seed) = (number(cycles)?, number(seed)?);
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = tempfile::Builder::new().prefix("plait-crash-").tempdir();
    let folder = folder.map_err(|error| error.to_string())?;
    say(&format!("seed {seed}, in {}", folder.path().display()));
    let mut tell = |cycle: u64| {
        if cycle.is_multiple_of(100) {
            say(&format!("{cycle} cycles"));
        }
    };
    match Crash::new(&program, folder.path(), seed, Every::Killed).run(cycles, &mut tell) {
        Ok(summary) => {
            say(&summary.to_string());
            Ok(())
        }
        Err(error) => {
            // What is there says why.
            let _ = folder.keep();
            Err(error)
        }
    }
}

fn child(folder: &str, numbers: [&str; 4], target: &str) -> Result<(), String> {
    let folder = Path::new(folder);
    let [world, seed, cycle, pass] = numbers.map(number);
    let target = Some(target).filter(|target| *target != "none");
    arm(folder, target, pass?);
    run_child(folder, world?, seed?, cycle?, target).map_err(|error| error.to_string())
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}
