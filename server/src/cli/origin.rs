//! The network of the inputs, found before anything is written.
//!
//! In every format the first record contains the network, so users need not name it. If it
//! contradicts `--network` or an existing database, nothing is written: a folder created for the wrong
//! network would refuse the right command, too.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use plait_engine::replay::source::{self, Peeked, Reading, Source};
use plait_engine::replay::{Admission, OtherGenesis, ReplayError};
use plait_engine::store::History;
use plait_engine::{ChainwebVersion, Engine, OpenError, Reader, Writer};
use thiserror::Error;

use super::advice::Advice;
use super::replay::How;
use super::report::replay_advice;
use super::{fail, interrupt, lacks, open_advice};

/// Why inputs are not replayed. Nothing was written.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Input(#[from] ReplayError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{input} belongs to network {got}, but --network is {asked}. Nothing was written.")]
    Asked { input: String, got: ChainwebVersion, asked: ChainwebVersion },
    #[error(
        "{input} belongs to network {got}, but the database in {db} belongs to {held}. Nothing was written."
    )]
    Held { input: String, got: ChainwebVersion, held: ChainwebVersion, db: String },
    #[error(
        "{input} belongs to network {got}, but {first} belongs to {expected}. Nothing was written."
    )]
    Mixed { input: String, got: ChainwebVersion, first: String, expected: ChainwebVersion },
    #[error("{input} does not look like headers of a known network: {wrong}. Nothing was written.")]
    NoHeaders { input: String, wrong: String },
    #[error(
        "the database in {db} is empty and was created for a partial history, without genesis blocks: a replay \
         into it needs --allow-partial or --root. Nothing was written."
    )]
    Partial { db: String },
    #[error("{input} has no headers, so its network is unknown. Nothing was written.")]
    Unknown { input: String },
    #[error(
        "{input} has the network code of {network}, but other genesis blocks: that of chain {chain} is \
         {got}, and {network}'s is {expected}. Nothing was written.",
        chain = genesis.chain, got = genesis.got, expected = genesis.expected
    )]
    Genesis { input: String, network: ChainwebVersion, genesis: OtherGenesis },
}

impl Refusal {
    /// Reports it, with advice.
    pub(super) fn report(&self) -> ExitCode {
        let advice: Advice = match self {
            Self::Input(error) => replay_advice(error),
            Self::Open(error) => open_advice(error),
            Self::Asked { got, .. } => format!("Run: {}", command(Some(*got), None, &[])).into(),
            Self::Held { got, .. } => {
                format!("Use another folder. Run: {}", command(Some(*got), Some("NEW_DIR"), &[]))
                    .into()
            }
            Self::Mixed { .. } => {
                "A database holds one network: replay the inputs of each network into its own folder."
                    .into()
            }
            Self::NoHeaders { .. } => {
                "See plait replay --help for the formats, --format and --network.".into()
            }
            Self::Partial { .. } => format!(
                "To store a partial history, run: {}. For a full one, name another folder, or delete this one.",
                command(None, None, &["--allow-partial"])
            )
            .into(),
            Self::Unknown { .. } => {
                "To create an empty database anyway, name its network: --network NAME".into()
            }
            Self::Genesis { .. } => format!(
                "If it is your own network, store it as a partial history, whose beginning is not \
                 checked. Run: {}",
                command(None, None, &["--allow-partial"])
            )
            .into(),
        };
        fail(self, advice)
    }
}

/// Inputs that may be replayed.
pub(super) struct Origin {
    /// The first input, open.
    pub(super) first: Box<dyn Source>,
    pub(super) writer: Writer,
    pub(super) reader: Reader,
}

impl Origin {
    /// Opens the database in `db`, or creates it if there is none, after checking that all inputs and the
    /// database are of the same network.
    pub(super) fn new(how: &How, db: &Path, inputs: &[PathBuf]) -> Result<Self, Refusal> {
        let reading = how.reading();
        let Some((first, others)) = inputs.split_first() else {
            return Err(Refusal::Unknown { input: "no input".to_owned() });
        };
        // Before the input: what is wrong with the folder is known without it.
        let exists = Engine::exists(db)?;
        // A pipe may stay silent for ever.
        let peek = || source::peek(first, reading);
        let peeked = if first.is_dir() { peek()? } else { interrupt::at_once(peek)? };
        // Those that cannot be read are reported in their turn; what a pipe gives would be lost.
        let other = |input: &&PathBuf| {
            let network = is_readable_twice(input).then(|| source::peek(input, reading).ok());
            network.flatten().and_then(|peeked| peeked.network())
        };
        let others = others.iter().filter_map(|input| Some((shown(input), other(&input)?)));
        let networks: Vec<(String, ChainwebVersion)> = peeked
            .network()
            .map(|network| (shown(first), network))
            .into_iter()
            .chain(others)
            .collect();
        for (input, got) in &networks {
            let (input, got) = (input.clone(), *got);
            match (how.network(), networks.first()) {
                (Some(asked), _) if asked != got => {
                    return Err(Refusal::Asked { input, got, asked });
                }
                (_, Some((first, expected))) if *expected != got => {
                    let (first, expected) = (first.clone(), *expected);
                    return Err(Refusal::Mixed { input, got, first, expected });
                }
                _ => {}
            }
        }
        let network = networks.first();
        if exists {
            let (writer, reader) = open(how, db, network)?;
            return Ok(Self { first: peeked.into_source(writer.version())?, writer, reader });
        }
        let network = new_network(how, first, &peeked, network)?;
        let source = peeked.into_source(network)?;
        if inputs.len() == 1 {
            lacks::refuse(first, &*source, &how.admission())?;
        }
        let (writer, reader) = how.open_database(db, Some(network))?;
        Ok(Self { first: source, writer, reader })
    }
}

/// Opens a database that is there.
fn open(
    how: &How,
    db: &Path,
    network: Option<&(String, ChainwebVersion)>,
) -> Result<(Writer, Reader), Refusal> {
    let held = |held| {
        let (input, got) = network.filter(|(_, got)| *got != held)?.clone();
        Some(Refusal::Held { input, got, held, db: db.display().to_string() })
    };
    match how.open_database(db, how.network()) {
        Err(OpenError::Network { got, expected }) => {
            Err(held(got).unwrap_or(OpenError::Network { got, expected }.into()))
        }
        Err(error) => Err(error.into()),
        Ok((writer, reader)) => match held(writer.version()) {
            Some(held) => Err(held),
            None if how.admission() == Admission::Genesis && is_empty_part(&reader) => {
                Err(Refusal::Partial { db: db.display().to_string() })
            }
            None => Ok((writer, reader)),
        },
    }
}

/// Whether a database was created for a partial history, and nothing was stored in it. Every block of a full
/// history would wait for its parent there.
fn is_empty_part(reader: &Reader) -> bool {
    let view = reader.view();
    reader.meta().history == History::Partial
        && reader.version().chain_ids().all(|chain| view.block_count(chain) == 0)
}

/// The network of a database that is to be made.
fn new_network(
    how: &How,
    first: &Path,
    peeked: &Peeked,
    network: Option<&(String, ChainwebVersion)>,
) -> Result<ChainwebVersion, Refusal> {
    let input = shown(first);
    let Some(network) = how.network().or(network.map(|(_, network)| *network)) else {
        return Err(match peeked.wrong() {
            Some(wrong) => Refusal::NoHeaders { input, wrong: wrong.to_owned() },
            None => Refusal::Unknown { input },
        });
    };
    match peeked.genesis().filter(|_| how.admission() == Admission::Genesis) {
        Some(genesis) => Err(Refusal::Genesis { input, network, genesis }),
        None => Ok(network),
    }
}

/// Opens an input in its turn.
pub(super) fn open_input(
    input: &Path,
    version: ChainwebVersion,
    reading: Reading,
) -> Result<Box<dyn Source>, ReplayError> {
    let peeked = source::peek(input, reading)?;
    match peeked.network() {
        Some(got) if got != version => {
            Err(ReplayError::Network { input: shown(input), got, expected: version })
        }
        _ => peeked.into_source(version),
    }
}

fn is_readable_twice(input: &Path) -> bool {
    std::fs::metadata(input).is_ok_and(|metadata| metadata.is_file() || metadata.is_dir())
}

fn shown(input: &Path) -> String {
    if input.as_os_str() == "-" { "standard input".to_owned() } else { input.display().to_string() }
}

/// The command that was run, with another network or folder, and additional flags.
fn command(network: Option<ChainwebVersion>, db: Option<&str>, more: &[&str]) -> String {
    changed(std::env::args_os().skip(1), network, db, more)
}

/// The same of these arguments.
fn changed(
    arguments: impl Iterator<Item = OsString>,
    network: Option<ChainwebVersion>,
    db: Option<&str>,
    more: &[&str],
) -> String {
    let arguments: Vec<String> =
        arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    let (mut words, mut rest) = (vec!["plait".to_owned()], arguments.into_iter());
    // After the command itself, or after its folder.
    let mut at = None;
    while let Some(word) = rest.next() {
        let (flag, value) = word
            .split_once('=')
            .map_or((word.as_str(), None), |(flag, value)| (flag, Some(value.to_owned())));
        match flag {
            "--network" if network.is_some() => {
                if value.is_none() {
                    let _ = rest.next();
                }
            }
            "--db" => {
                let value = value.or_else(|| rest.next()).unwrap_or_default();
                words.extend(["--db".to_owned(), quoted(db.unwrap_or(&value))]);
                at = Some(words.len());
            }
            _ => {
                words.push(quoted(&word));
                at = at.or(Some(words.len()));
            }
        }
    }
    let network = network.map(|network| format!("--network {network}"));
    let new = network.into_iter().chain(more.iter().map(|flag| (*flag).to_owned()));
    let at = at.unwrap_or(words.len());
    words.splice(at..at, new);
    words.join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,~".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(
        line: &str,
        network: Option<ChainwebVersion>,
        db: Option<&str>,
        more: &[&str],
    ) -> String {
        changed(line.split(' ').map(OsString::from), network, db, more)
    }

    #[test]
    fn the_command_that_was_run_is_put_right() {
        let network = Some(ChainwebVersion::Development);
        for (line, expected) in [
            ("replay --db n1 a.bin", "plait replay --db n1 --network development a.bin"),
            (
                "replay --network mainnet01 --db=n1 --keep-going a.bin b",
                "plait replay --db n1 --network development --keep-going a.bin b",
            ),
            ("replay --network=mainnet01 a", "plait replay --network development a"),
            (
                "serve --db n1 --replay it's",
                r"plait serve --db n1 --network development --replay 'it'\''s'",
            ),
        ] {
            assert_eq!(run(line, network, None, &[]), expected);
        }
        let moved = run("replay --db n1 a", network, Some("NEW_DIR"), &[]);
        assert_eq!(moved, "plait replay --db NEW_DIR --network development a");
        let partial =
            run("replay --network development --db n1 a", None, None, &["--allow-partial"]);
        assert_eq!(partial, "plait replay --network development --db n1 --allow-partial a");
    }
}
