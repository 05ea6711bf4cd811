//! The result of a replay, as text and as JSON, and advice if it failed.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use plait::bytes;
use plait_engine::Engine;
use plait_engine::archive::ArchiveError;
use plait_engine::cause::{Cause, Classified, chain};
use plait_engine::output::free_bytes;
use plait_engine::replay::{ReplayError, Summary};
use plait_engine::store::{Store, StoreError};
use plait_engine::verify::Level;
use serde_json::{Value, json};

use super::advice::{Advice, Subject, grouped};
use super::lacks;
use super::progress::Display;

/// The result of a replay.
#[derive(Clone)]
pub(super) struct Report {
    pub(super) summary: Summary,
    /// Blocks that were taken and did not reach the disk.
    pub(super) lost: u64,
    pub(super) rejected_by: BTreeMap<&'static str, u64>,
    /// In the whole database.
    pub(super) orphans: u64,
    pub(super) level: &'static str,
}

impl Report {
    pub(super) fn show(&self, display: &Display) {
        if !display.summary(|| self.object(display)) {
            self.print(display);
        }
    }

    fn object(&self, display: &Display) -> Value {
        let Summary { stored, partial, known, skipped, waiting, rejected, log_lines, .. } =
            self.summary;
        let Summary { payloads, foreign, bare, stopped, .. } = self.summary;
        json!({
            "event": "summary",
            "stored": stored,
            // Of those that are lost nobody knows how many had one.
            "payloads": (self.lost == 0).then_some(payloads),
            "lost": self.lost,
            "partial": partial,
            "alreadyThere": known,
            "skipped": skipped,
            "waiting": waiting,
            "rejected": rejected,
            "rejectedBy": self.rejected_by,
            "otherNetwork": foreign,
            "withoutPayload": bare,
            "logLines": log_lines,
            "orphans": self.orphans,
            "stopped": stopped,
            "seconds": display.seconds(),
            "headersPerSecond": display.rate(self.summary.records().saturating_sub(skipped)).round(),
            "level": self.level,
        })
    }

    fn print(&self, display: &Display) {
        let Summary { stored, partial, known, skipped, waiting, rejected, payloads, .. } =
            self.summary;
        let records = self.summary.records().saturating_sub(skipped);
        tell!(
            "stored {stored}, already there {known}, rejected {rejected}: {records} headers in \
             {:.1} s ({:.0} headers/s), verified at level {}",
            display.seconds(),
            display.rate(records),
            self.level,
        );
        if payloads > 0 && self.lost == 0 {
            tell!("stored {payloads} payloads");
        }
        lacks::tell_skipped(self.summary);
        let rules: Vec<String> =
            self.rejected_by.iter().map(|(name, count)| format!("{name} {count}")).collect();
        if !rules.is_empty() {
            tell!("rejected by rule: {}", rules.join(", "));
        }
        if self.rejected_by.contains_key("Log") {
            tell!("{}", lacks::LOG_ADVICE);
        }
        // Where others are stored, it is these blocks that are wrong.
        let is_other = stored == 0 && self.rejected_by.contains_key("OtherGenesis");
        if is_other {
            tell!("{}", lacks::GENESIS_ADVICE);
        }
        if skipped > 0 {
            tell!(
                "{skipped} of those already there were not read again: this replay continued where an \
                 earlier one was interrupted"
            );
        }
        if partial > 0 {
            let hash = Level::Hash.name();
            tell!("{partial} of them lack blocks below them, so they are at level {hash} only");
        }
        if waiting > 0 && is_other {
            tell!("{waiting} blocks above them wait for a parent or an adjacent parent");
        } else if waiting > 0 {
            tell!(
                "{waiting} blocks wait for a parent or an adjacent parent that is not stored. They are kept, and \
                 the replay that stores the missing parent stores them, too.",
            );
        }
        tell!("{} orphans in the database", self.orphans);
    }
}

/// A replay that failed. What it counted as stored may have been in memory only.
pub(super) struct Failure {
    pub(super) error: ReplayError,
    pub(super) report: Report,
}

impl Failure {
    /// Reports what is on the disk, by asking the database in `db`, which had so many blocks `before`.
    /// Returns why the replay failed, and what is stored, as a sentence.
    pub(super) fn conclude(
        self,
        db: &Path,
        before: u64,
        display: &Display,
    ) -> (ReplayError, String) {
        let Self { error, mut report } = self;
        if error.is_of_displaced() {
            // What has its name now is not to be counted.
            report.summary.stored = 0;
            report.show(display);
            let sentence = "The number of stored blocks is unknown until the folder is moved back.";
            return (error, sentence.to_owned());
        }
        let sentence = match Engine::durable_blocks(db) {
            Ok(blocks) => {
                let (read, stored) = (report.summary.stored, blocks.saturating_sub(before));
                report.summary.stored = stored;
                report.summary.partial = report.summary.partial.min(stored);
                report.lost = read.saturating_sub(stored);
                let stored = format!("{} blocks are stored", grouped(blocks));
                if report.lost > 0 {
                    format!(
                        "{stored}; another {} were read but had not reached the disk and are lost.",
                        grouped(report.lost)
                    )
                } else {
                    format!("{stored}.")
                }
            }
            Err(unread) => {
                report.summary.stored = 0;
                format!("The number of stored blocks cannot be read: {}.", chain(&unread))
            }
        };
        report.show(display);
        (error, sentence)
    }
}

/// Advice for a replay that ended early.
pub(super) fn replay_advice(error: &ReplayError) -> Advice {
    let text = match error {
        ReplayError::Io { .. } => {
            let otherwise = "Check that the input is there and can be read.";
            return Advice::of(error, Subject::Input, otherwise);
        }
        ReplayError::Empty { .. } => "Nothing was stored.",
        ReplayError::Format { .. } | ReplayError::NoHeaders { .. } => {
            "See plait replay --help for --format and --network."
        }
        ReplayError::OtherNetwork { .. } => "Name the network of the node with --network.",
        ReplayError::Unread { damage, .. } if !damage.is_damage() => {
            "Copy the whole folder from a node that is stopped."
        }
        ReplayError::Unread { .. } => {
            "--keep-going reads the intact records after the damage; an undamaged copy is better."
        }
        ReplayError::Partial { .. } => {
            "Nothing was stored. Add --allow-partial to store it as a partial history, or replay the \
             blocks below it first."
        }
        ReplayError::Network { .. } => {
            "What is already stored is kept. Replay each network into its own folder."
        }
        ReplayError::NoDatabase { .. } => {
            "Name the folder that holds the node's database, often .../0/rocksDb."
        }
        ReplayError::Archive(error) if !error.fault().cause.is_of_data() => {
            return Advice::of(error, Subject::Input, "Check that the archive can be read.");
        }
        ReplayError::Archive(ArchiveError::Manifest { .. } | ArchiveError::File { .. }) => {
            "plait verify names everything that is damaged; --keep-going replays the rest."
        }
        ReplayError::Archive(_) => {
            let otherwise = "Check the folder: plait verify DIR";
            return Advice::of(error, Subject::Archive, otherwise);
        }
        ReplayError::Database { source: StoreError::MissingFile { .. }, .. } => {
            "Take another copy of the whole folder: from a node that is stopped, or from a backup."
        }
        ReplayError::Database { .. } => {
            let otherwise = "If the node is running, stop it or replay a backup of its database.";
            return Advice::of(error, Subject::Input, otherwise);
        }
        ReplayError::Write(_) if error.is_of_displaced() => {
            "Move the folder back, then run the same command again to continue."
        }
        ReplayError::Write(_) => {
            let otherwise = "Run the same command again to continue.";
            return Advice::of(error, Subject::Database, otherwise);
        }
    };
    text.into()
}

/// The same once blocks may have been stored: with their number, and how much space the rest needs.
pub(super) fn failure_advice(
    error: &ReplayError,
    db: &Path,
    stored: &str,
    room: Option<u64>,
) -> Advice {
    let advice = replay_advice(error);
    let is_full = error.fault().cause == Cause::DiskFull && error.is_of_database();
    let there = file_bytes(&Store::path(db)).unwrap_or_default();
    let missing = room.and_then(|room| {
        let free = free_bytes(db).ok()?;
        room.checked_sub(there.saturating_add(free)).filter(|missing| *missing > 0)
    });
    match missing.filter(|_| is_full) {
        Some(missing) => {
            let missing = format!("The rest needs about {} more.", bytes(missing));
            advice.after(&format!("{stored} {missing}"))
        }
        None => advice.after(stored),
    }
}

/// Bytes of all files in a folder.
fn file_bytes(dir: &Path) -> io::Result<u64> {
    let len = |entry: io::Result<fs::DirEntry>| Ok(entry?.metadata().map_or(0, |data| data.len()));
    fs::read_dir(dir)?.map(len).sum()
}
