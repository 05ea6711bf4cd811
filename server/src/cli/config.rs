use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args as ClapArgs, Subcommand};

use super::advice::{Advice, Subject};
use super::settings::{FileError, Flags, LogFlags, Settings, print};
use super::{fail, fail_output};

/// What to do about a file that is not taken.
pub(super) const FILE_ADVICE: &str =
    "Correct the file; plait config print shows every key with its default.";

const EXAMPLES: &str = "\
Examples:
  plait config print > plait.yaml
  plait config print --config plait.yaml --db ./db
  plait config check plait.yaml";

/// Show or check what plait serve is configured with.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print what plait serve would do with the same flags and variables, as a file.
    Print(Box<PrintArgs>),
    /// Say whether a file is right, or what is wrong and where: status 0 or 2.
    Check {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Debug, ClapArgs)]
struct PrintArgs {
    /// File to begin from.
    #[arg(long, value_name = "FILE", env = "PLAIT_CONFIG")]
    config: Option<PathBuf>,

    #[command(flatten)]
    flags: Flags,
}

impl Args {
    /// Runs the command.
    pub(super) fn run(self, log: &LogFlags) -> ExitCode {
        let text = match self.action {
            Action::Print(args) => {
                let settings = Settings::resolve(args.config.as_deref(), &args.flags, log);
                settings.map(|settings| print(&settings))
            }
            Action::Check { file } => Settings::load(Some(&file)).map(|_| "ok\n".to_owned()),
        };
        text.map_or_else(|error| refuse(&error), |text| write(&text))
    }
}

/// Reports that a file is not taken.
pub(super) fn refuse(error: &FileError) -> ExitCode {
    match error {
        FileError::Read { source, .. } if source.kind() == io::ErrorKind::IsADirectory => {
            fail(error, "This is a folder: name the file in it.")
        }
        FileError::Read { .. } => fail(error, Advice::of(error, Subject::Settings, FILE_ADVICE)),
        FileError::Content { .. } => fail(error, FILE_ADVICE),
    }
}

fn write(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail_output(error),
    }
}
