//! The command line: one file a command.
//!
//! Exit status: 0 for success, 1 if a replay rejected something or a verification found something, 2
//! for wrong usage and for I/O.

mod export;
mod generate;
mod info;
mod interrupt;
mod level;
mod progress;
mod replay;
mod serve;
mod verify;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use plait_engine::store::StoreError;
use plait_engine::{ChainwebVersion, OpenError};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Wrong usage, or input or output that failed.
const EXIT_USAGE: u8 = 2;

/// Header store and HTTP server for Chainweb block headers.
#[derive(Debug, Parser)]
#[command(name = "plait", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    /// What to log on standard error: error, warn, info, debug, trace, or target=level,...
    #[arg(long, global = true, value_name = "LEVEL", env = "PLAIT_LOG", default_value = "info")]
    log: Targets,

    #[command(subcommand)]
    command: Command,
}

/// Each variant's arguments have a `run` that returns the exit status.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Args>),
    Replay(replay::Args),
    Generate(generate::Args),
    Export(export::Args),
    Verify(verify::Args),
    Info(info::Args),
}

/// Parses the command line and runs the command.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let others = cli.log.default_level().unwrap_or(LevelFilter::WARN);
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi))
        .with(cli.log.with_default(others))
        .init();
    match cli.command {
        Command::Serve(args) => args.run(),
        Command::Replay(args) => args.run(),
        Command::Generate(args) => args.run(),
        Command::Export(args) => args.run(),
        Command::Verify(args) => args.run(),
        Command::Info(args) => args.run(),
    }
}

fn parse_network(name: &str) -> Result<ChainwebVersion, String> {
    ChainwebVersion::from_name(name).ok_or_else(|| {
        let names = ChainwebVersion::ALL.map(ChainwebVersion::name).join(", ");
        format!("not one of {names}")
    })
}

/// Reports on standard error what failed, why, and what to do next; returns the exit status.
fn fail(error: &dyn std::error::Error, advice: &str) -> ExitCode {
    let mut text = format!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text += ": ";
        text += &cause.to_string();
        source = cause.source();
    }
    eprintln!("{text}\n{advice}");
    ExitCode::from(EXIT_USAGE)
}

/// What to do about a database that does not open.
fn open_advice(error: &OpenError) -> &'static str {
    match error {
        OpenError::Store(StoreError::Missing { .. } | StoreError::Unfinished { .. }) => {
            "Make one first: plait replay --db DIR INPUT"
        }
        OpenError::Store(StoreError::Foreign { .. }) => {
            "If it is a chainweb-node's, replay it into a new folder: \
             plait replay --db DIR --format node INPUT"
        }
        OpenError::Store(StoreError::Format { .. }) => {
            "Use the release that made it, or replay its source into a new folder."
        }
        OpenError::Store(StoreError::Locked { .. }) => {
            "Stop the plait serve or plait replay that has it open, or name another folder."
        }
        OpenError::Store(StoreError::Damaged { .. }) => {
            "Restore it from a backup, or replay its source into a new folder."
        }
        OpenError::Store(StoreError::Io { .. } | StoreError::RocksDb(_) | StoreError::Cold) => {
            "Check that the folder exists and that this user may read and write it."
        }
        OpenError::Network { .. } => {
            "A database holds one network: name another folder, or leave --network out."
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
