use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::{Args as ClapArgs, Subcommand};
use plait_engine::Engine;
use plait_engine::backup::{
    self, BackupError, BackupId, Backups, Begun, Contents, Job, Listed, Origin, Request, Status,
};
use plait_engine::cause::Classified;
use thiserror::Error;

use super::advice::{Advice, Subject};
use super::backup_list as list;
use super::found::Found;
use super::numbers::whole;
use super::progress::now;
use super::settings::{FileError, Settings};
use super::{EXIT_USAGE, config, fail, fail_output, interrupt, open_advice, query_advice};

const EXAMPLES: &str = "\
Examples:
  plait backup make --db ./db
  plait backup make --db ./db --backups /backups --pact --keep 7
  plait backup list --db ./db
  plait backup check 1648665437000000 --db ./db --verify

Exit status of make: 0 done, 1 another backup is in progress (its name is printed), or the backup \
is done but may lack the last writes because the log of the database is damaged, 2 failed. For \
check: 0 backup-done and every file exists with its length, 1 anything else.";

/// Make backups of a database, which may be in use, and look after them.
///
/// A backup on the file system of the database is made of links: it takes a moment and hardly any
/// space. It has the layout of a database, and plait restore makes one of it.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a backup, print its name, and return when it is done.
    Make {
        #[command(flatten)]
        place: Place,

        /// Copy the databases of Pact, too.
        #[arg(long)]
        pact: bool,

        /// Delete older backups, keeping this many of the newest, including this one.
        #[arg(long, value_name = "N", env = "PLAIT_KEEP_BACKUPS", value_parser = whole(1..=1_000_000_usize))]
        keep: Option<usize>,
    },
    /// Print the status of a backup, and check that every file is there with its length.
    Check {
        /// Name of the backup; latest for the newest that is done.
        id: String,

        #[command(flatten)]
        place: Place,

        /// Verify every file and every block of it.
        #[arg(long)]
        verify: bool,
    },
    /// Print all backups, the oldest first.
    List {
        #[command(flatten)]
        place: Place,

        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// Where backups are.
#[derive(Debug, ClapArgs)]
pub(super) struct Place {
    /// Folder of the database.
    #[arg(long, value_name = "DIR", env = "PLAIT_DB")]
    db: Option<PathBuf>,

    /// Folder of backups; else that of the configuration, else the folder backups in that of the
    /// database.
    #[arg(long, value_name = "DIR", env = "PLAIT_BACKUPS")]
    backups: Option<PathBuf>,

    /// Configuration file of the server.
    #[arg(long, value_name = "FILE", env = "PLAIT_CONFIG")]
    config: Option<PathBuf>,
}

/// What is missing of the command line.
#[derive(Debug, Error)]
pub(super) enum PlaceError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("no database is named")]
    Database,
    #[error("no folder of backups is named")]
    Backups,
}

impl Place {
    fn settings(&self) -> Result<Settings, PlaceError> {
        Ok(Settings::load(self.config.as_deref())?)
    }

    fn database(&self) -> Result<PathBuf, PlaceError> {
        let db = self.db.clone().map_or_else(|| Ok(self.settings()?.db), |db| Ok(Some(db)));
        db.and_then(|db: Option<PathBuf>| db.ok_or(PlaceError::Database))
    }

    /// The folder that is meant.
    pub(super) fn backups(&self) -> Result<Backups, PlaceError> {
        if let Some(dir) = &self.backups {
            return Ok(Backups::new(dir));
        }
        let settings = self.settings()?;
        let beside = || Some(Backups::default_dir(self.db.as_deref().or(settings.db.as_deref())?));
        let dir = settings.config.backup.directory.clone().or_else(beside);
        Ok(Backups::new(&dir.ok_or(PlaceError::Backups)?))
    }

    fn keep(&self, keep: Option<usize>) -> Result<Option<usize>, PlaceError> {
        keep.map_or_else(|| Ok(self.settings()?.config.backup.keep), |keep| Ok(Some(keep)))
    }
}

/// Reports what is missing of the command line.
pub(super) fn refuse(error: &PlaceError) -> ExitCode {
    match error {
        PlaceError::File(error) => config::refuse(error),
        PlaceError::Database | PlaceError::Backups => {
            fail(error, "Name it, as in --db DIR, --backups DIR or --config FILE.")
        }
    }
}

impl Args {
    /// Runs the command.
    pub(super) fn run(self) -> ExitCode {
        let result = match &self.action {
            Action::Make { place, pact, keep } => make(place, *pact, *keep),
            Action::Check { id, place, verify } => place.backups().map(|backups| {
                find(&backups, id).map_or_else(|code| code, |id| check(&backups, &id, *verify))
            }),
            Action::List { place, json } => {
                place.backups().map(|backups| print_list(&backups, *json))
            }
        };
        result.unwrap_or_else(|error| refuse(&error))
    }
}

fn make(place: &Place, pact: bool, keep: Option<usize>) -> Result<ExitCode, PlaceError> {
    let (db, backups) = (place.database()?, place.backups()?);
    let request = Request { pact, keep: place.keep(keep)? };
    let stop = interrupt::flag();
    // Before a folder is made for what cannot be.
    if let Err(error) = Engine::check(&db) {
        return Ok(fail(&error, open_advice(&error)));
    }
    if let Err(error) = backups.check_place(&db) {
        return Ok(fail(&error, advice(&error)));
    }
    let job = match backups.begin() {
        Ok(Begun::Started(job)) => job,
        Ok(Begun::Running(id)) => {
            tell!("another backup is being made; plait backup check {id} tells when it is done");
            return Ok(print(&id.to_string(), ExitCode::FAILURE));
        }
        Err(error) => return Ok(fail(&error, advice(&error))),
    };
    Ok(run(job, db, request, stop))
}

fn run(job: Job, db: PathBuf, request: Request, stop: &AtomicBool) -> ExitCode {
    let (id, begin) = (job.id().clone(), Instant::now());
    match job.run(&Origin::There(db), request, stop) {
        Ok(contents) => {
            let Contents { blocks, cut_height, files, .. } = &contents;
            tell!(
                "backup of {blocks} headers, cut height {cut_height}, in {} files of {} bytes, done \
                 in {:.2} s",
                files.len(),
                contents.bytes(),
                begin.elapsed().as_secs_f64(),
            );
            let mut code = ExitCode::SUCCESS;
            if let Some(damage) = &contents.damaged_log {
                tell!(
                    "warning: the log of the database is damaged ({damage}), so this backup may lack the \
                     last writes; older backups were kept.\n\
                     Replay, push or follow the last blocks again, then make another one."
                );
                code = ExitCode::FAILURE;
            }
            print(&id.to_string(), code)
        }
        Err(BackupError::Stopped) => {
            tell!("stopped by a signal; backup {id} has failed");
            interrupt::exit_code()
        }
        // It is the database that cannot be read, and not a backup.
        Err(BackupError::Query(error)) => fail(&error, query_advice(&error)),
        Err(error) => fail(&error, advice(&error)),
    }
}

/// The backup that `text` names, or the exit status if there is none.
pub(super) fn find(backups: &Backups, text: &str) -> Result<BackupId, ExitCode> {
    if text == "latest" {
        let listed = backups.list().map_err(|error| fail(&error, advice(&error)))?;
        let is_done = |listed: &&Listed| listed.status == Status::Done;
        let newer = listed.iter().rev().take_while(|listed| !is_done(listed));
        for newer in newer {
            // One that was done may be newer: older data must not take its place silently.
            if let Ok(Some(error)) = backups.lost_status(&newer.id) {
                return Err(refuse_damaged(backups, &newer.id, &error));
            }
        }
        let done = listed.into_iter().rev().find(|listed| is_done(&listed));
        return done.map(|listed| listed.id).ok_or_else(|| {
            tell!(
                "error: no backup in {} is done\nMake one: plait backup make --db DIR",
                backups.dir().display()
            );
            ExitCode::from(EXIT_USAGE)
        });
    }
    text.parse().map_err(|error| fail(&error, "plait backup list prints all names."))
}

fn check(backups: &Backups, id: &BackupId, verify: bool) -> ExitCode {
    match backups.status(id) {
        Err(error) => return fail(&error, advice(&error)),
        Ok(None) => {
            let error = BackupError::Unknown { id: id.clone(), dir: backups.dir().to_owned() };
            return fail(&error, advice(&error));
        }
        Ok(Some(Status::Done)) if verify => {}
        Ok(Some(status)) => {
            if let Ok(Some(error)) = backups.lost_status(id) {
                let _ = fail(&error, advice(&error));
            }
            if status == Status::Done
                && let Err(error) = backups.check_lengths(id)
            {
                return refuse_damaged(backups, id, &error);
            }
            warn_of_losses(backups, id);
            let code = ExitCode::from(u8::from(status != Status::Done));
            return print(status.name(), code);
        }
    }
    let (stop, mut found) = (interrupt::flag(), Found::new());
    let result = backup::verify(backups, id, stop, now(), &mut |event| found.tell(&event));
    found.finish();
    match result {
        Ok((contents, report)) => {
            found.conclude(&report);
            tell!("{} files of {} bytes are right", contents.files.len(), contents.bytes());
            warn_of_losses(backups, id);
            print(Status::Done.name(), ExitCode::SUCCESS)
        }
        Err(BackupError::Stopped) => interrupt::exit_code(),
        Err(error) => refuse_damaged(backups, id, &error),
    }
}

/// Warns of a backup whose database had lost writes when it was made.
fn warn_of_losses(backups: &Backups, id: &BackupId) {
    if let Ok(Some(damage)) = backups.damaged_log(id) {
        tell!(
            "warning: when this backup was made, the log of its database was damaged ({damage}): it may lack \
             the last writes"
        );
    }
}

/// Reports what is wrong with a backup, and which other one may be good; the exit status.
fn refuse_damaged(backups: &Backups, id: &BackupId, error: &BackupError) -> ExitCode {
    let code = fail(error, advice(error));
    let is_finding = !matches!(error, BackupError::Pact { .. });
    if !is_finding || !error.fault().cause.is_of_data() {
        return code;
    }
    tell_other(backups, id);
    ExitCode::FAILURE
}

/// Names the newest backup that may take the place of one that is damaged.
pub(super) fn tell_other(backups: &Backups, id: &BackupId) {
    match backups.newest_other(id) {
        Ok(Some(other)) => tell!("The newest other backup with all its files is {other}."),
        Ok(None) => tell!("No other backup in {} has all its files.", backups.dir().display()),
        // The damage was reported; `plait backup list` says why it cannot read the folder.
        Err(_) => {}
    }
}

fn print_list(backups: &Backups, json: bool) -> ExitCode {
    let listed = match backups.list() {
        Ok(listed) => listed,
        Err(error) => return fail(&error, advice(&error)),
    };
    let lines = if json { listed.iter().map(list::object).collect() } else { list::table(&listed) };
    print(&lines.join("\n"), ExitCode::SUCCESS)
}

/// Prints what was asked for; who does not read on has seen enough.
fn print(text: &str, code: ExitCode) -> ExitCode {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail_output(error),
        _ => code,
    }
}

/// What to do about a backup that cannot be made, read or restored.
pub(super) fn advice(error: &BackupError) -> Advice {
    let text = match error {
        BackupError::Io { .. } | BackupError::Query(_) | BackupError::Restoring(_) => {
            let otherwise = "Check the folder, and the database: plait verify --db DIR";
            return Advice::of(error, Subject::Backup, otherwise);
        }
        BackupError::Open(error) => return open_advice(error),
        BackupError::Space { .. } => {
            "Make room, or name a folder on another partition: --backups DIR, --to DIR."
        }
        BackupError::Differs { .. } => {
            "The database may be damaged: check it with plait verify --db DIR, then try again."
        }
        BackupError::PactMissing { .. } => {
            "Leave --pact out if there is no Pact, or put its databases where they are expected."
        }
        BackupError::Pact { .. } => {
            "Check that this user may read it and that no other process has locked it for good."
        }
        BackupError::PactDamaged { .. } => "Repair it with sqlite3, or restore it from a backup.",
        BackupError::Unknown { .. } => "plait backup list prints all names.",
        BackupError::Unfinished { .. } => "Choose another one: plait backup list prints all.",
        BackupError::Damaged { .. } | BackupError::Unsound { .. } => {
            "This backup is of no use any more: choose another one, and check the disk."
        }
        BackupError::Occupied { .. } => "Name a folder that is empty or not there yet.",
        BackupError::InUse { .. } => "Stop that process first, or name another folder.",
        BackupError::Other { .. } => "Go on with that one, or delete the folder.",
        BackupError::Inside(_) => {
            "Name a folder outside of it, as --backups DIR or --to DIR: files in the folder of a \
             database may be moved or deleted with it."
        }
        BackupError::Around { .. } => "Move the database, or name another folder: --backups DIR.",
        BackupError::Stopped => "Run the same command again.",
    };
    text.into()
}
