use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use plait_engine::Reader;
use plait_engine::archive::FileHeights;
use plait_parquet::{Export, HEIGHTS, ParquetError, Summary};
use serde::Serialize;

use super::advice::{Advice, Subject, grouped};
use super::export::{OUTSIDE, displayed, files_sentence, print_json};
use super::{Unprinted, fail, interrupt};

/// [`Summary`] as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Printed {
    rows: u64,
    orphans: u64,
    files: u64,
    bytes: u64,
    written: u64,
    written_bytes: u64,
    removed: u64,
}

/// Writes what `reader` has as a dataset into the folder `out`.
pub(super) fn export(
    reader: &Reader,
    out: &Path,
    heights: Option<FileHeights>,
    json: bool,
    stop: &AtomicBool,
) -> ExitCode {
    let start = Instant::now();
    let export = Export::new(reader, out).heights(heights.unwrap_or(HEIGHTS));
    match displayed(|show| export.run(stop, &|progress| show(progress.rows, progress.of))) {
        Ok(summary) if summary.stopped => {
            tell!("stopped by a signal; run the same command again to continue");
            interrupt::exit_code()
        }
        Ok(summary) => conclude(summary, json, start),
        Err(error) => fail(&error, advice(&error)),
    }
}

fn conclude(summary: Summary, json: bool, start: Instant) -> ExitCode {
    let Summary { rows, orphans, files, bytes, written, written_bytes, removed, .. } = summary;
    tell!(
        "exported {} headers, {} of them orphans, in {:.1} s: {}",
        grouped(rows),
        grouped(orphans),
        start.elapsed().as_secs_f64(),
        files_sentence([files, bytes], [written, written_bytes])
    );
    if removed > 0 {
        tell!("removed {removed} files of earlier exports");
    }
    let printed = Printed { rows, orphans, files, bytes, written, written_bytes, removed };
    match if json { print_json(&printed) } else { Ok(()) } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&Unprinted(error), "The dataset is complete."),
    }
}

fn advice(error: &ParquetError) -> Advice {
    let text = match error {
        ParquetError::Io { .. } | ParquetError::Locked { .. } => {
            let otherwise = "Check the folder, then run the same command again.";
            return Advice::of(error, Subject::Output, otherwise);
        }
        ParquetError::Space(_) => {
            "Nothing was written. Make room, or name a folder on another file system: an export leaves \
             some space free for databases."
        }
        ParquetError::Inside(_) => OUTSIDE,
        ParquetError::Height { .. } => "No network has a block as high: check where it came from.",
        ParquetError::Encode { .. } => "This is a bug: please report it.",
        ParquetError::Store(_) | ParquetError::Query(_) => {
            let otherwise = "The database cannot be read: check it with plait verify --db DIR";
            return Advice::of(error, Subject::Database, otherwise);
        }
    };
    text.into()
}
