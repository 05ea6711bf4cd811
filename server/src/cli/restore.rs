use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args as ClapArgs;
use plait_engine::backup::{BackupError, Restore, RestoreEvent};
use thiserror::Error;

use super::backup::{Place, advice, find, refuse, tell_other};
use super::found::Found;
use super::owner::warn_root;
use super::progress::now;
use super::{fail, interrupt};

const EXAMPLES: &str = "\
Examples:
  plait restore 1648665437000000 --backups /backups --to ./db
  plait restore latest --db ./db --to ./copy
  plait restore latest --backups /mnt/backups --to ./db --copy

Exit status: 0 restored, 1 the backup is invalid, 2 wrong usage or files that cannot be read or \
written, 129, 130 or 143 stopped by a signal.";

/// Make a database of a backup, in a new place.
///
/// The whole backup is verified first, every block of it. Nothing is ever overwritten. What was
/// interrupted goes on where it was when the same command is run again.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Name of the backup; latest for the newest that is done.
    id: String,

    /// Folder of the new database: one that is not there, or empty.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,

    #[command(flatten)]
    place: Place,

    /// Copy all files, on the file system of the backup as well, where links would do: they are of
    /// the same bytes, and what damages those damages both.
    #[arg(long)]
    copy: bool,
}

/// The target is a file.
#[derive(Debug, Error)]
#[error("{0} is not a folder")]
struct NotFolder(String);

impl Args {
    /// Runs the command.
    pub(super) fn run(self) -> ExitCode {
        let backups = match self.place.backups() {
            Ok(backups) => backups,
            Err(error) => return refuse(&error),
        };
        let id = match find(&backups, &self.id) {
            Ok(id) => id,
            Err(code) => return code,
        };
        if self.to.is_file() {
            let error = NotFolder(self.to.display().to_string());
            return fail(&error, "Name a folder that is empty or does not exist yet: --to DIR");
        }
        let (stop, start, mut found) = (interrupt::flag(), Instant::now(), Found::new());
        warn_root(&self.to);
        let restore = Restore { id, to: self.to, copy: self.copy };
        let result = restore.run(&backups, stop, now(), &mut |event| match event {
            RestoreEvent::Verifying(event) => found.tell(&event),
            RestoreEvent::Copied(bytes, of) => found.copied(bytes, of),
        });
        found.finish();
        match result {
            Ok(contents) => {
                tell!(
                    "restored {} headers, cut height {}, {} files of {} bytes, in {:.1} s",
                    contents.blocks,
                    contents.cut_height,
                    contents.files.len(),
                    contents.bytes(),
                    start.elapsed().as_secs_f64(),
                );
                if let Some(damage) = &contents.damaged_log {
                    tell!(
                        "warning: when this backup was made, the log of its database was damaged ({damage}): it \
                         may lack the last writes. Replay, push or follow the last blocks again."
                    );
                }
                found.conclude_future();
                ExitCode::SUCCESS
            }
            Err(BackupError::Stopped) => {
                tell!("stopped by a signal; run the same command again to continue");
                interrupt::exit_code()
            }
            Err(error) => {
                let code = fail(&error, advice(&error));
                let is_unsound = matches!(
                    error,
                    BackupError::Damaged { .. }
                        | BackupError::Differs { .. }
                        | BackupError::PactDamaged { .. }
                        | BackupError::Unsound { .. }
                );
                if !is_unsound {
                    return code;
                }
                tell_other(&backups, &restore.id);
                ExitCode::FAILURE
            }
        }
    }
}
