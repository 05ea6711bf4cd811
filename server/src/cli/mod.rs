//! The command line: one file a command.
//!
//! Exit status: 0 for success, 1 if a replay rejected something or a verification found something, 2
//! for wrong usage and for I/O.

/// Writes a line to standard error. Where that is full or closed nobody can be told, and the work goes
/// on; `eprintln` would panic.
macro_rules! tell {
    ($($text:tt)*) => {
        $crate::cli::tell(format_args!($($text)*))
    };
}

mod advice;
mod backup;
mod backup_list;
mod bar;
mod config;
#[cfg(feature = "parquet")]
mod dataset;
#[cfg(not(feature = "parquet"))]
#[path = "no_dataset.rs"]
mod dataset;
mod export;
mod follow;
mod found;
mod generate;
mod info;
mod interrupt;
mod lacks;
mod level;
mod loading;
mod logs;
mod numbers;
mod origin;
mod owner;
mod progress;
mod push;
mod repair;
mod replay;
mod report;
mod restore;
mod serve;
mod settings;
mod shell;
mod signals;
mod stats;
mod stop;
mod systemd;
mod verify;
mod ways;

use std::fmt;
use std::fs;
use std::io::{self, Write};

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{CommandFactory, Parser, Subcommand};
use plait_engine::cause::Classified;
use plait_engine::store::StoreError;
use plait_engine::{ChainwebVersion, OpenError, QueryError};
use signal_hook::low_level;
use thiserror::Error;
use tokio::runtime::Runtime;

use self::advice::{Advice, Subject};
use self::settings::LogFlags;

/// How long a server that ends waits for reads that are under way.
const SHUTDOWN_TIME: Duration = Duration::from_secs(5);

/// Wrong usage, or input or output that failed.
const EXIT_USAGE: u8 = 2;

/// Header store and HTTP server for Chainweb block headers.
#[derive(Debug, Parser)]
#[command(name = "plait", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    log: LogFlags,

    #[command(subcommand)]
    command: Command,
}

/// Each variant's arguments have a `run` that returns the exit status.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Args>),
    Replay(replay::Args),
    Follow(follow::Args),
    Push(push::Args),
    Generate(generate::Args),
    Export(export::Args),
    Verify(verify::Args),
    Info(info::Args),
    Stats(stats::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Repair(repair::Args),
    Config(config::Args),
    Completions(shell::Completions),
    Man(shell::Manual),
}

/// Parses the command line and runs the command.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let Cli { log, command } = cli;
    signals::ignore_signals();
    if !matches!(command, Command::Serve(_) | Command::Follow(_)) {
        logs::init_from_flags(&log);
    }
    let status = match command {
        Command::Serve(args) => args.run(&log),
        Command::Replay(args) => args.run(),
        Command::Follow(args) => args.run(&log),
        Command::Push(args) => args.run(),
        Command::Generate(args) => args.run(),
        Command::Export(args) => args.run(),
        Command::Verify(args) => args.run(),
        Command::Info(args) => args.run(),
        Command::Stats(args) => args.run(),
        Command::Backup(args) => args.run(),
        Command::Restore(args) => args.run(),
        Command::Repair(args) => args.run(),
        Command::Config(args) => args.run(&log),
        Command::Completions(args) => args.run(Cli::command()),
        Command::Man(args) => args.run(Cli::command()),
    };
    // A summary that is lost must not look like a success, but a reader that has gone has seen enough.
    match progress::unprinted().filter(|error| error.kind() != io::ErrorKind::BrokenPipe) {
        Some(error) => fail_output(error),
        None => status,
    }
}

/// Ends what still runs on `runtime`, and returns `status`.
///
/// Reads that are under way are waited for: behind the end of `main` they would find what RocksDB
/// keeps for the whole process torn down, and crash. Where they take too long, or the process is to
/// fail at once, it ends here, without that.
fn shut_down(runtime: Runtime, status: ExitCode) -> ExitCode {
    let patience = if status == ExitCode::FAILURE { Duration::ZERO } else { SHUTDOWN_TIME };
    let since = Instant::now();
    runtime.shutdown_timeout(patience);
    if since.elapsed() >= patience {
        low_level::exit(i32::from(status != ExitCode::SUCCESS));
    }
    status
}

fn parse_network(name: &str) -> Result<ChainwebVersion, String> {
    ChainwebVersion::from_any_name(name).ok_or_else(|| {
        let names = ChainwebVersion::ALL.map(ChainwebVersion::name).join(", ");
        format!("not one of {names}")
    })
}

/// Reports on standard error what failed, why, and what to do next; returns the exit status.
fn fail(error: &dyn std::error::Error, advice: impl Into<Advice>) -> ExitCode {
    let advice = advice.into();
    tell!("error: {}\n{advice}", advice.headline(error));
    ExitCode::from(EXIT_USAGE)
}

/// Standard output takes nothing more.
#[derive(Debug, Error)]
#[error("cannot write to standard output")]
struct Unprinted(#[from] io::Error);

/// Reports that standard output takes nothing more; who does not read on has seen enough.
fn fail_output(error: io::Error) -> ExitCode {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return ExitCode::SUCCESS;
    }
    fail(&Unprinted(error), "Write it to a file, or to a disk with free space.")
}

/// What to do about a database that does not open.
fn open_advice(error: &OpenError) -> Advice {
    open_advice_of(error, Subject::Database)
}

/// The same about a database that is the `subject` of the command.
fn open_advice_of(error: &OpenError, subject: Subject) -> Advice {
    let text = match error {
        OpenError::Store(StoreError::Missing { .. }) => {
            "Make one first: plait replay --db DIR INPUT"
        }
        OpenError::Store(StoreError::Unfinished { .. }) => {
            "Run the command that creates it once more: plait replay, follow or serve."
        }
        OpenError::Store(StoreError::Occupied { .. }) => {
            "If a database was there, restore it: plait restore ID --backups DIR --to NEW. To create a \
             new one, name another folder, or move those files away."
        }
        OpenError::Store(StoreError::Inside { .. }) => {
            "Name the database itself, or a folder outside of it."
        }
        OpenError::Store(StoreError::LogHole { .. }) => {
            "plait repair --db DIR opens the database without the later logs, as the next command that \
             writes does, and keeps them in 0/rocksDb/lost. Then replay, push or follow the last blocks \
             again."
        }
        OpenError::Store(StoreError::MissingFile { .. } | StoreError::ListCut { .. })
            if !may_be_repaired(error) =>
        {
            "It cannot be rebuilt from the remaining files. Restore a backup (plait restore ID --backups \
             DIR --to NEW), or replay the source into a new folder."
        }
        OpenError::Store(
            StoreError::MissingFile { .. }
            | StoreError::ListCut { .. }
            | StoreError::Current { .. },
        ) => "Try plait repair --db DIR. Otherwise restore a backup, or replay the source again.",
        OpenError::Store(StoreError::Incomplete { .. }) => {
            "Restore a backup, or replay the source into a new folder. If nothing was ever stored in \
             it, delete the folder and run the command that creates it once more."
        }
        OpenError::Store(StoreError::Backup { .. }) => {
            "Restore it: plait restore ID --backups DIR --to NEW. Or serve it with --read-only."
        }
        OpenError::Store(StoreError::NotFolder { .. }) => "Name the folder of a database.",
        OpenError::Store(StoreError::Foreign { .. }) => {
            "If it is a chainweb-node's, replay it into a new folder: \
             plait replay --db DIR --format node INPUT"
        }
        OpenError::Store(StoreError::Displaced { .. }) => {
            "Stop this process. Then move the folder back, or start again with the database now at \
             the path."
        }
        OpenError::Store(StoreError::Record { .. }) => {
            "Restore it from a backup. If the file is a .log, it may be cut there instead \
             (truncate -s BYTE FILE): the later writes are lost then; replay, push or follow them again."
        }
        OpenError::Network { .. } => {
            "A database holds one network: name another folder, or omit --network."
        }
        OpenError::Store(
            StoreError::Format { .. }
            | StoreError::Locked { .. }
            | StoreError::Damaged { .. }
            | StoreError::Length { .. }
            | StoreError::Denied { .. }
            | StoreError::Io { .. }
            | StoreError::Caches { .. }
            | StoreError::RocksDb(_)
            | StoreError::Cold,
        ) => {
            return Advice::of(error, subject, other_open_advice(subject));
        }
    };
    text.into()
}

/// What to do where nothing better is known.
const fn other_open_advice(subject: Subject) -> &'static str {
    match subject {
        Subject::Verified => {
            "Restore a backup (plait restore latest --db DIR --to NEW), or replay the source into a new \
             folder."
        }
        _ => {
            "Check it with plait verify --db DIR, or restore a backup: plait restore latest --db DIR \
             --to NEW"
        }
    }
}

/// Whether a database may open although a file is missing: with another list of files than the one that
/// named it, or because `CURRENT` names a list that does not exist.
fn may_be_repaired(error: &OpenError) -> bool {
    let path = error.fault().path;
    let Some((path, folder)) = path.as_deref().and_then(|path| Some((path, path.parent()?))) else {
        return false;
    };
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let lists = names.filter(|name| name.as_encoded_bytes().starts_with(b"MANIFEST-")).count();
    lists > usize::from(path.exists() || path.extension().is_some())
}

/// What to do about a database that cannot be read.
fn query_advice(error: &QueryError) -> Advice {
    let otherwise =
        "This is a bug in Plait: it looked up a block under a hash that the chain does not have.";
    Advice::of(error, Subject::Database, otherwise)
}

fn tell(text: fmt::Arguments<'_>) {
    let _ = bar::above(|| writeln!(io::stderr(), "{text}"));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What clap asserts of a command line, but not in a release.
    #[test]
    fn no_two_arguments_of_a_command_have_one_name() {
        let mut cli = Cli::command();
        cli.build();
        let mut count = 0;
        for command in cli.get_subcommands() {
            let (mut ids, mut flags) = (BTreeSet::new(), BTreeSet::new());
            for arg in command.get_arguments() {
                assert!(ids.insert(arg.get_id()), "{command}: {}", arg.get_id());
                let Some(flag) = arg.get_long() else { continue };
                assert!(flags.insert(flag), "{command}: --{flag}");
            }
            count += flags.len();
        }
        assert!(count > 100, "{count} flags");
    }
}
