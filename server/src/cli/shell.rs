//! Shell completions and manual pages, generated from the same definitions as the help texts.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args as ClapArgs, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use plait_engine::cause::{Classified, Fault};
use thiserror::Error;

use super::advice::{Advice, Subject};
use super::{EXIT_USAGE, fail, fail_output};

const COMPLETIONS: &str = "\
Examples:
  plait completions bash > /etc/bash_completion.d/plait
  plait completions zsh > ~/.zfunc/_plait
  plait completions fish > ~/.config/fish/completions/plait.fish";

const PAGES: &str = "\
Examples:
  plait man | man -l -
  plait man backup list | man -l -
  plait man --out /usr/local/share/man/man1";

/// A manual page cannot be written.
#[derive(Debug, Error)]
#[error("{}", path.display())]
struct Unwritten {
    path: PathBuf,
    source: io::Error,
}

impl Classified for Unwritten {
    fn fault(&self) -> Fault {
        Fault::io(&self.path, &self.source)
    }
}

/// Print a completion script for a shell.
#[derive(Debug, ClapArgs)]
#[command(after_help = COMPLETIONS)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Print a manual page, or write all of them.
#[derive(Debug, ClapArgs)]
#[command(after_help = PAGES)]
pub(super) struct Manual {
    /// The command whose page to print [default: plait itself].
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    command: Vec<String>,

    /// Folder to write the pages of all commands to.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Completions {
    pub(super) fn run(&self, mut cli: Command) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut cli, "plait", &mut script);
        print(&script)
    }
}

impl Manual {
    pub(super) fn run(&self, mut cli: Command) -> ExitCode {
        // Sets the full name of every command.
        cli.build();
        match &self.out {
            Some(dir) => write_all(&cli, dir),
            None => self.print(&cli),
        }
    }

    fn print(&self, cli: &Command) -> ExitCode {
        let found = self.command.iter().try_fold(cli, |command, name| {
            command.find_subcommand(name).ok_or_else(|| format!("{} {name}", command.get_name()))
        });
        let command = match found {
            Ok(command) => command,
            Err(unknown) => {
                tell!("error: there is no command {unknown}\nplait help lists all commands.");
                return ExitCode::from(EXIT_USAGE);
            }
        };
        match page(command) {
            Ok(page) => print(&page),
            Err(error) => fail_output(error),
        }
    }
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut page = Vec::new();
    Man::new(command.clone().name(name)).render(&mut page)?;
    Ok(page)
}

/// Writes a page for the command and for all of its subcommands.
fn write_all(cli: &Command, dir: &Path) -> ExitCode {
    let mut commands = vec![cli];
    while let Some(command) = commands.pop() {
        let name = command.get_display_name().unwrap_or(command.get_name());
        let path = dir.join(format!("{name}.1"));
        if let Err(source) = page(command).and_then(|page| fs::write(&path, page)) {
            let error = Unwritten { path, source };
            return fail(&error, Advice::of(&error, Subject::Output, "Name another folder."));
        }
        let below = command.get_subcommands();
        commands.extend(below.filter(|command| command.get_name() != "help"));
    }
    ExitCode::SUCCESS
}

fn print(bytes: &[u8]) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail_output(error),
    }
}
