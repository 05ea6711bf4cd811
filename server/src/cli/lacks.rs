//! Warnings about inputs that lack something.

use std::path::Path;

use plait_engine::replay::source::Source;
use plait_engine::replay::{Admission, ReplayError, Summary};

use super::progress::Display;

/// What to do about damage in the logs of a node's database.
pub(super) const LOG_ADVICE: &str =
    "--keep-going reads the intact records after the damage in the logs of a node's database";

/// What to do about an input whose network has the code of another one.
pub(super) const GENESIS_ADVICE: &str = "the genesis blocks differ: those of the input are not those of the network in the database. If the \
     input is from a network of your own, replay it with --allow-partial into a new folder.";

/// Says what an input lacks, before it is read.
pub(super) fn announce(
    input: &Path,
    source: &dyn Source,
    admission: &Admission,
    display: &Display,
) {
    let input = input.display();
    for notice in source.notices() {
        display.line("warning", &format!("{input}: {notice}"));
    }
    if source.begins_late() && *admission == Admission::Genesis {
        let text = "the history does not begin with the genesis blocks. Blocks whose parents are neither \
                    in the input nor in the database need --allow-partial";
        display.line("warning", &format!("{input}: {text}"));
    }
}

/// Refuses an input for a new database if nothing of it could be stored, before it is read.
pub(super) fn refuse(
    input: &Path,
    source: &dyn Source,
    admission: &Admission,
) -> Result<(), ReplayError> {
    if !source.begins_late() || *admission != Admission::Genesis {
        return Ok(());
    }
    let notices: Vec<String> = source.notices().iter().map(ToString::to_string).collect();
    let input = input.display().to_string();
    Err(ReplayError::Partial { input, notices: notices.join("; ") })
}

/// Reports records that were skipped and are not invalid.
pub(super) fn tell_skipped(Summary { foreign, bare, log_lines, .. }: Summary) {
    if log_lines > 0 {
        tell!("skipped {log_lines} log lines");
    }
    if bare > 0 {
        tell!("{bare} blocks came without their payloads: the node lacks them or deleted them");
    }
    if foreign > 0 {
        tell!("skipped {foreign} rows of another network");
    }
}
