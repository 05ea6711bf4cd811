use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use plait_engine::Reader;
use plait_engine::archive::FileHeights;
use plait_parquet::{Export, HEIGHTS, ParquetError, Summary};
use serde::Serialize;

use super::export::{displayed, print_json};
use super::{fail, interrupt};

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
            tell!("stopped by a signal; run the same command again to go on");
            interrupt::exit_code()
        }
        Ok(summary) => conclude(summary, json, start),
        Err(error) => fail(&error, advice(&error)),
    }
}

fn conclude(summary: Summary, json: bool, start: Instant) -> ExitCode {
    let Summary { rows, orphans, files, bytes, written, written_bytes, removed, .. } = summary;
    tell!(
        "exported {rows} headers, {orphans} of them orphans, in {files} files of {bytes} bytes in \
         {:.1} s: wrote {written} files of {written_bytes} bytes, {} were known to be the same",
        start.elapsed().as_secs_f64(),
        files - written,
    );
    if removed > 0 {
        tell!("removed {removed} files of earlier exports");
    }
    let printed = Printed { rows, orphans, files, bytes, written, written_bytes, removed };
    match if json { print_json(&printed) } else { Ok(()) } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, "The dataset is written."),
    }
}

fn advice(error: &ParquetError) -> &'static str {
    match error {
        ParquetError::Io { .. } => {
            "Check that the folder can be read and written and that there is space. Then run the same \
             command again: it goes on."
        }
        ParquetError::Space(_) => "Make room, or name a folder on another file system.",
        ParquetError::Inside(_) => "Name a folder outside of it.",
        ParquetError::Locked { .. } => "Wait until it has ended.",
        ParquetError::Height { .. } => "No network has a block as high: check where it came from.",
        ParquetError::Encode { .. } => "This is a bug: please report it.",
        ParquetError::Store(_) | ParquetError::Query(_) => {
            "The database cannot be read: check it with plait verify --db DIR"
        }
    }
}
