use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args as ClapArgs;
use plait_engine::cause::Classified;
use plait_engine::repair::{self, RepairError, Repaired};
use plait_engine::store::{LostLog, StoreError};
use plait_engine::verify::Level;
use plait_engine::{OpenError, QueryError};

use super::advice::Advice;
use super::found::Found;
use super::level::VerifyLevel;
use super::owner::warn_root;
use super::progress::now;
use super::{fail, interrupt, open_advice, query_advice};

const EXAMPLES: &str = "\
Examples:
  plait repair --db ./db
  plait repair --db ./db --level full

Exit status: 0 the database opens and is sound, 1 it opens but something was lost or is wrong, 2 it \
cannot be repaired and nothing has changed, 130 or 143 stopped by a signal.";

/// Repair a database that has lost its file CURRENT.
///
/// The list of files (MANIFEST) that CURRENT named must exist, and every table that it lists. The
/// database is first opened through hard links and verified; nothing changes before that. One that
/// has lost nothing is verified as well. Files
/// that are not listed are kept in the folder 0/rocksDb/lost. A database that has lost a table, a
/// blob file or its MANIFEST cannot be repaired: restore a backup, or replay its source.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Folder of the database. No other process may be writing to it.
    #[arg(long, value_name = "DIR", env = "PLAIT_DB")]
    db: PathBuf,

    /// Level at which blocks are verified before the repair.
    #[arg(long, value_name = "LEVEL", default_value = "hash")]
    level: VerifyLevel,
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        let (stop, mut found) = (interrupt::flag(), Found::new());
        let level = Level::from(self.level);
        warn_root(&self.db);
        let result = repair::repair(&self.db, level, now(), stop, &mut |event| found.tell(&event));
        found.finish();
        match result {
            Ok(Repaired::Whole { lost_log, report }) => {
                found.conclude(&report);
                let is_sound = report.is_sound() && lost_log.is_none();
                if is_sound {
                    tell!("the database opens and is sound: there is nothing to repair");
                } else {
                    tell!("the database opens, but plait repair cannot fix what is wrong");
                }
                if let Some(log) = &lost_log {
                    tell_lost_log(log);
                }
                ExitCode::from(u8::from(!is_sound))
            }
            Ok(Repaired::Stopped) => {
                tell!("stopped by a signal; nothing has changed");
                interrupt::exit_code()
            }
            Ok(Repaired::Again { list, lost_log, kept, report }) => {
                found.conclude(&report);
                tell!("wrote CURRENT again, naming {list}: the database opens");
                for path in &kept {
                    tell!("kept {}: the list of files does not name it", path.display());
                }
                if let Some(log) = &lost_log {
                    tell_lost_log(log);
                }
                ExitCode::from(u8::from(!report.is_sound() || lost_log.is_some()))
            }
            Err(error) => fail(&error, advice(&error)),
        }
    }
}

fn tell_lost_log(lost: &LostLog) {
    tell!("{lost}; the last writes are lost: replay, push or follow them again");
}

/// What to do about a database that is not repaired.
fn advice(error: &RepairError) -> Advice {
    let text = match error {
        RepairError::Open(OpenError::Store(
            StoreError::MissingFile { .. }
            | StoreError::ListCut { .. }
            | StoreError::Current { .. }
            | StoreError::Length { .. }
            | StoreError::Incomplete { .. },
        )) => {
            "It cannot be rebuilt from the remaining files, none of which was changed. Restore a backup \
             (plait restore ID --backups DIR --to NEW), or replay the source into a new folder."
        }
        RepairError::Open(error) => return open_advice(error),
        RepairError::Query(error) if !error.fault().cause.is_of_data() => {
            return query_advice(error).after("Nothing has changed.");
        }
        RepairError::Query(
            QueryError::Store(_) | QueryError::UnknownHash(_) | QueryError::Cold,
        ) => "Nothing has changed. Restore a backup, or replay the source into a new folder.",
    };
    text.into()
}
