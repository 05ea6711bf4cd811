use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args as ClapArgs;
use plait_engine::audit::{Audit, Event, Report};
use plait_engine::verify::{Level, Verifier};
use plait_engine::{Engine, OpenError, QueryError};

use super::level::VerifyLevel;
use super::progress::{Display, Shown, now};
use super::{fail, interrupt, open_advice};

const EXAMPLES: &str = "\
Examples:
  plait verify --db ./db
  plait verify --db ./db --level hash

Exit status: 0 every block is right, 1 some are not, 2 wrong usage or a database that cannot be
read, 130 or 143 stopped by a signal.";

/// Verify again every block that a database holds.
///
/// Opens it to read only, so it may be in use by plait serve. A block that was stored without the
/// blocks below it is verified as far as it can be.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Folder of the database.
    #[arg(long, value_name = "DIR", env = "PLAIT_DB")]
    db: PathBuf,

    /// What is checked besides the link to the parent.
    #[arg(long, value_name = "LEVEL", default_value = "full")]
    level: VerifyLevel,
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        let stop = interrupt::flag();
        let reader = match Engine::open_read_only(&self.db) {
            Ok(reader) => reader,
            Err(error) => return fail(&error, open_advice(&error)),
        };
        let verifier = Verifier::new(reader.version(), Level::from(self.level), now());
        let (start, mut display, mut shown) = (Instant::now(), Display::new(), Shown::default());
        let result = Audit::new(&reader, &verifier).run(stop, &mut |event| match event {
            Event::Progress(report) => display.heights(report.blocks(), report.height),
            Event::Broken(header, failures) => {
                let (chain, height, hash) = (header.chain(), header.height(), header.hash());
                let text = format!("chain {chain}, height {height}, block {hash}: {failures}");
                shown.line(&display, "broken", &text);
            }
        });
        display.finish(|| serde_json::Value::Null);
        match result {
            Ok(report) => conclude(report, start),
            Err(error) => unreadable(error),
        }
    }
}

fn conclude(report: Report, start: Instant) -> ExitCode {
    let [none, hash, full] = report.passed;
    eprintln!(
        "verified {} blocks in {:.1} s: {full} fully, {hash} at level hash, {none} at level none, \
         {} broken",
        report.blocks(),
        start.elapsed().as_secs_f64(),
        report.broken,
    );
    if report.stopped {
        eprintln!("stopped by a signal at height {}", report.height);
        return interrupt::exit_code();
    }
    ExitCode::from(u8::from(report.broken > 0))
}

fn unreadable(error: QueryError) -> ExitCode {
    let QueryError::Store(error) = error else {
        return fail(&error, "This is a bug of Plait: every block was asked for by its own name.");
    };
    let error = OpenError::from(error);
    fail(&error, open_advice(&error))
}
