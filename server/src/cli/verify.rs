use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Args as ClapArgs};
use plait_engine::archive::{self, ArchiveError};
use plait_engine::audit::Audit;
use plait_engine::verify::{Level, Verifier};
use plait_engine::{Engine, OpenError, QueryError};
use serde_json::json;

use super::advice::Subject;
use super::found::{Found, blocks_object, merge, tell_blocks, tell_future};
use super::level::VerifyLevel;
use super::progress::{Display, Shown, now};
use super::{EXIT_USAGE, export, fail, interrupt, open_advice_of, query_advice};

const EXAMPLES: &str = "\
Examples:
  plait verify --db ./db
  plait verify --db ./db --level hash --json
  plait verify ./archive

Exit status: 0 everything is valid, 1 something is not, 2 wrong usage or a database or archive that \
cannot be opened or read, 129, 130 or 143 stopped by a signal.";

/// Verify again everything that a database or an archive holds.
///
/// Of a database every row is read once and its checksum checked, every block and every payload is
/// verified, and the indexes are compared with what is held. What is wrong is named, of each kind the
/// first twenty, and everything else is still verified. A database that RocksDB cannot open is not verified: if a
/// file is missing, has another length, or is damaged where RocksDB reads it first, the first such file is
/// named, and the exit status is 2. A log that is missing, cut or damaged is reported, and what was
/// written before the damage is verified. Deleted data that is still in the files is not checked.
///
/// Opens a database to read only, so it may be in use by plait serve. A block that was stored without
/// the blocks below it is verified as far as it can be. Of an archive every file is checked first, and
/// those that are damaged or missing are named; then the blocks of all others.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("what").args(["db", "archive"]).required(true).multiple(true)))]
pub(super) struct Args {
    /// Folder of the database.
    #[arg(long, value_name = "DIR", env = "PLAIT_DB")]
    db: Option<PathBuf>,

    /// Folder of an archive.
    #[arg(value_name = "ARCHIVE")]
    archive: Option<PathBuf>,

    /// What is checked besides the link to the parent.
    #[arg(long, value_name = "LEVEL", default_value = "full")]
    level: VerifyLevel,

    /// Print findings, progress and the result on standard output, one JSON object per line.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        let level = Level::from(self.level);
        // A database that the environment names gives way to an archive; one on the command line does
        // not.
        let by_environment = std::env::var_os("PLAIT_DB");
        match (&self.archive, &self.db) {
            (Some(_), Some(db)) if by_environment.as_deref() != Some(db.as_os_str()) => {
                tell!(
                    "error: --db and ARCHIVE cannot be verified together\n\
                     Run plait verify --db DIR or plait verify ARCHIVE."
                );
                ExitCode::from(EXIT_USAGE)
            }
            (Some(archive), _) => check_archive(archive, level, self.json),
            (None, Some(db)) => audit(db, level, self.json),
            // The command line is not parsed without either.
            (None, None) => ExitCode::from(EXIT_USAGE),
        }
    }
}

fn audit(db: &Path, level: Level, json: bool) -> ExitCode {
    let stop = interrupt::flag();
    let (reader, flaws) = match Engine::open_to_verify(db) {
        Ok(opened) => opened,
        Err(error) => return fail(&error, open_advice_of(&error, Subject::Verified)),
    };
    let verifier = Verifier::new(reader.version(), level, now());
    let mut found = if json { Found::objects() } else { Found::new() };
    let audit = Audit::new(&reader, &verifier).knowing(flaws);
    let result = audit.run(stop, &mut |event| found.tell(&event));
    found.finish();
    match result {
        Ok(report) => {
            found.conclude(&report);
            if report.stopped {
                interrupt::exit_code()
            } else {
                ExitCode::from(u8::from(!report.is_sound()))
            }
        }
        Err(error) => unreadable(error),
    }
}

fn unreadable(error: QueryError) -> ExitCode {
    let QueryError::Store(error) = error else { return fail(&error, query_advice(&error)) };
    let error = OpenError::from(error);
    fail(&error, open_advice_of(&error, Subject::Verified))
}

fn check_archive(dir: &Path, level: Level, json: bool) -> ExitCode {
    let stop = interrupt::flag();
    let mut display = if json { Display::objects() } else { Display::new() };
    let (mut damaged, mut broken) = (Shown::default(), Shown::default());
    let (mut files, mut records) = (0, 0);
    let verifier = |manifest: &archive::Manifest| Verifier::new(manifest.version, level, now());
    let result = archive::check(dir, verifier, stop, &mut |event| match event {
        archive::Event::Begin { files: all, records: of } => (files, records) = (all, of),
        archive::Event::Progress(report) if report.blocks() == 0 => {
            let done = report.sound.saturating_add(report.damaged);
            display.step("checking files", done, Some(files), "files", None);
        }
        archive::Event::Progress(report) => {
            let (done, height) = (report.blocks(), Some(report.height));
            display.step("verifying", done, Some(records), "headers", height);
        }
        archive::Event::Damaged(name, damage) => {
            damaged.line(&display, "damaged", &format!("{name}: {damage}"));
        }
        archive::Event::Broken(place, header, failures) => {
            let (chain, height, hash) = (header.chain(), header.height(), header.hash());
            let text = format!("{place}: chain {chain}, height {height}, block {hash}: {failures}");
            broken.line(&display, "broken", &text);
        }
        archive::Event::Unlisted(name) => {
            display.line("note", &format!("{name} is not in the manifest"));
        }
    });
    display.finish();
    match result {
        Ok(report) => conclude_archive(report, &display),
        // A manifest that is not what was written is a file of the archive that is not.
        Err(error @ ArchiveError::Manifest { .. }) => {
            let _ = fail(&error, export::advice(&error));
            ExitCode::FAILURE
        }
        Err(error) => fail(&error, export::advice(&error)),
    }
}

fn conclude_archive(report: archive::Report, display: &Display) -> ExitCode {
    let (damaged, checked) = (report.damaged, report.sound.saturating_add(report.damaged));
    let is_printed = display.summary(|| {
        let mut object = blocks_object(report.passed, report.broken, report.future, display);
        let files = json!({ "filesChecked": checked, "filesDamaged": damaged });
        merge(&mut object, files);
        merge(&mut object, json!({ "stopped": report.stopped }));
        object
    });
    if !is_printed {
        tell!("checked {checked} files: {damaged} damaged");
        tell_blocks(report.passed, report.broken, display.seconds());
        tell_future(report.future);
    }
    if report.stopped {
        tell!("stopped by a signal at height {}", report.height);
        return interrupt::exit_code();
    }
    if report.damaged > 0 {
        tell!(
            "Download the damaged files again from the source of the archive. Or, if you have the \
             database, delete those files and run plait export again."
        );
    }
    ExitCode::from(u8::from(!report.is_sound()))
}
