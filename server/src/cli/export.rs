use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::{Args as ClapArgs, ValueEnum};
use plait_engine::archive::{ArchiveError, Export, FileHeights, Summary};
use plait_engine::{Engine, Reader};
use serde::Serialize;

use super::advice::{Advice, Subject, grouped};
use super::progress::Display;
use super::{Unprinted, dataset, fail, interrupt, open_advice};

const EXAMPLES: &str = "\
Examples:
  plait export --db ./db --out ./archive
  plait export --db ./db --out ./archive --prune --json
  plait export --db ./db --out ./dataset --format parquet

Exit status: 0 done, 2 wrong usage or an error of input or output, 129, 130 or 143 stopped by a \
signal. If it ends early, an earlier archive is still complete, a dataset has no file _SUCCESS, \
and running the same command again continues.";

/// Write a database as an archive, or as a dataset of Parquet files.
///
/// An archive is immutable files and a manifest of them, to be copied and replayed; a dataset is to be
/// queried: docs/analytics.md has its columns. Equal databases make equal files, byte for byte. A later
/// export into the same folder writes only what is new. Opens the database to read only, so it may be in
/// use by plait serve.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Folder of the database.
    #[arg(long, value_name = "DIR", env = "PLAIT_DB")]
    db: PathBuf,

    /// Folder of the archive or the dataset; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Archive)]
    format: Format,

    /// Heights of a file [default: of an archive those that it has, or 65536; of a dataset 262144].
    #[arg(long, value_name = "N", value_parser = heights)]
    file_heights: Option<FileHeights>,

    /// Remove files of earlier exports that are no part of the archive any more. Whoever still has
    /// the old manifest misses them. From a dataset they are always removed.
    #[arg(long)]
    prune: bool,

    /// Print what was done as one JSON object.
    #[arg(long)]
    json: bool,
}

/// What an export makes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Headers of 318 bytes, and a manifest.
    Archive,
    /// Apache Parquet, in folders named by network and chain.
    Parquet,
}

/// [`Summary`] as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Printed {
    records: u64,
    files: u64,
    bytes: u64,
    written: u64,
    written_bytes: u64,
    unread: u64,
    stale: u64,
    removed: u64,
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        let stop = interrupt::flag();
        let reader = match Engine::open_read_only(&self.db) {
            Ok(reader) => reader,
            Err(error) => return fail(&error, open_advice(&error)),
        };
        match self.format {
            Format::Archive => self.archive(&reader, stop),
            Format::Parquet => {
                dataset::export(&reader, &self.out, self.file_heights, self.json, stop)
            }
        }
    }

    fn archive(&self, reader: &Reader, stop: &AtomicBool) -> ExitCode {
        let start = Instant::now();
        let export = Export::new(reader, &self.out).heights(self.file_heights).prune(self.prune);
        match displayed(|show| export.run(stop, &|progress| show(progress.records, progress.of))) {
            Ok(summary) if summary.stopped => {
                tell!("stopped by a signal; run the same command again to continue");
                interrupt::exit_code()
            }
            Ok(summary) => self.conclude(summary, start),
            Err(error @ ArchiveError::Io { .. }) => {
                fail(&error, advice(&error).after("An archive from an earlier export is intact."))
            }
            Err(error) => fail(&error, advice(&error)),
        }
    }

    fn conclude(&self, summary: Summary, start: Instant) -> ExitCode {
        let Summary {
            records, files, bytes, written, written_bytes, unread, stale, removed, ..
        } = summary;
        tell!(
            "exported {} headers in {:.1} s: {}",
            grouped(records),
            start.elapsed().as_secs_f64(),
            files_sentence([files, bytes], [written, written_bytes])
        );
        if removed > 0 {
            tell!("removed {removed} files of earlier exports");
        } else if stale > 0 {
            tell!("{stale} files of earlier exports are left; --prune removes them");
        }
        if !self.json {
            return ExitCode::SUCCESS;
        }
        let printed =
            Printed { records, files, bytes, written, written_bytes, unread, stale, removed };
        match print_json(&printed) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&Unprinted(error), "The archive is complete."),
        }
    }
}

/// What `export` returns, which tells how many headers are done, and of how many; that is displayed.
pub(super) fn displayed<T>(export: impl FnOnce(&(dyn Fn(u64, u64) + Sync)) -> T) -> T {
    let display = Mutex::new(Display::new());
    let result = export(&|done, of| {
        if let Ok(mut display) = display.lock() {
            display.step("exporting", done, Some(of), "headers", None);
        }
    });
    if let Ok(display) = display.lock() {
        display.finish();
    }
    result
}

/// Prints what was done as one line.
pub(super) fn print_json(printed: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let text = serde_json::to_string(printed)?;
    let done = writeln!(out, "{text}").and_then(|()| out.flush());
    done.or_else(ignore_broken_pipe)
}

/// Whoever reads has seen enough.
fn ignore_broken_pipe(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

/// The result of an export: all files and their bytes, and those that it wrote.
pub(super) fn files_sentence(
    [files, bytes]: [u64; 2],
    [written, written_bytes]: [u64; 2],
) -> String {
    let all = format!("{} files of {} bytes", grouped(files), grouped(bytes));
    match files.saturating_sub(written) {
        0 => format!("{all} written"),
        same if written == 0 => format!("{} files unchanged", grouped(same)),
        same => format!(
            "{all}, of which {} files of {} bytes were written and {} are unchanged",
            grouped(written),
            grouped(written_bytes),
            grouped(same)
        ),
    }
}

/// What to do about an archive that cannot be made or read.
pub(super) fn advice(error: &ArchiveError) -> Advice {
    let text = match error {
        ArchiveError::Io { .. }
        | ArchiveError::Missing { .. }
        | ArchiveError::Locked { .. }
        | ArchiveError::Manifest { .. }
        | ArchiveError::File { .. } => {
            let otherwise = "Check that the folder exists and that this user may use it.";
            return Advice::of(error, Subject::Archive, otherwise);
        }
        ArchiveError::Space(_) => {
            "Nothing was written. Make room, or name a folder on another file system: an export leaves \
             some space free for databases."
        }
        ArchiveError::Inside(_) => OUTSIDE,
        ArchiveError::Occupied { .. } => "Name an empty folder, or one with an archive.",
        ArchiveError::Network { .. } => "An archive holds one network: name another folder.",
        ArchiveError::Heights { .. } => "Leave --file-heights out, or name another folder.",
        ArchiveError::Store(_) | ArchiveError::Query(_) => {
            let otherwise = "The database cannot be read: check it with plait verify --db DIR";
            return Advice::of(error, Subject::Database, otherwise);
        }
    };
    text.into()
}

/// What to do about output that would lie in a database.
pub(super) const OUTSIDE: &str = "Name a folder outside of it: files in the folder of a database \
                                  may be moved or deleted with it.";

fn heights(text: &str) -> Result<FileHeights, String> {
    let heights = text.parse().map(FileHeights::new);
    heights.map_err(|_| "expected 1 to 4294967295".to_owned())
}
