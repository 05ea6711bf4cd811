use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;
use plait::{Follower, Metrics};
use plait_engine::archive::Manifest;
use plait_engine::backup::Backups;
use plait_engine::cause::{Cause, Classified};
use plait_engine::output::outside_databases;
use plait_engine::replica::Replica;
use plait_engine::store::{CacheSizes, History};
use plait_engine::{ChainwebVersion, Engine, OpenError, Reader, Writer};
use signal_hook::low_level;
use tempfile::TempDir;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, spawn_blocking};

use super::advice::{Advice, Subject};
use super::export::OUTSIDE;
use super::loading::{Inputs, Ready};
use super::owner::warn_root;
use super::settings::{Flags, LogFlags, Settings, shown};
use super::stop::Stop;
use super::systemd::{self, Sockets};
use super::ways::{self, Prepared};
use super::{backup, config, export, fail, logs, open_advice, shut_down};

/// Threads for jobs other than reads for requests: opening the database, the metrics page, a backup,
/// checking that the folder is still at its path, and refreshing.
const OTHER_JOBS: usize = 4;

/// How long an idle reading thread is kept. The allocator keeps some 10 MB of freed memory for each; making a
/// thread takes 50 us.
const IDLE_TIME: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  plait serve --db ./db
  plait serve --db ./db --listen 0.0.0.0:1848 --drain-delay 5
  plait serve --db ./db --read-only --refresh 1
  plait serve --db ./db --archive ./archive
  plait serve --archive ./archive
  plait serve --config plait.yaml
  curl -fsS http://127.0.0.1:1848/chainweb/0.0/mainnet01/cut";

/// Serve the headers of a database over HTTP.
///
/// SIGTERM, SIGINT and SIGHUP stop the server: /health-check turns 503, requests in flight are
/// answered, then the process ends with status 0. A second SIGTERM or SIGINT ends it at once.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// File to read settings from; plait config print shows all of them.
    #[arg(long, value_name = "FILE", env = "PLAIT_CONFIG")]
    config: Option<PathBuf>,

    #[command(flatten)]
    flags: Flags,

    #[command(flatten)]
    inputs: Inputs,
}

impl Args {
    /// Runs the command.
    pub(super) fn run(self, log: &LogFlags) -> ExitCode {
        let mut settings = match Settings::resolve(self.config.as_deref(), &self.flags, log) {
            Ok(settings) => settings,
            Err(error) => return config::refuse(&error),
        };
        logs::init(&settings);
        settings.config.archive_only = settings.db.is_none();
        settings.config.shown = shown(&settings);
        let needs_db = self.inputs.any() || ways::are_in(&settings);
        if settings.db.is_none() && (settings.config.archive.is_none() || needs_db) {
            return fail(&Nothing, "Name a database: plait serve --db DIR");
        }
        if settings.read_only
            && let Some(setting) = writing(&settings, &self.inputs)
        {
            return fail(&ReadOnly(setting), "Omit one of the two.");
        }
        if let Err(code) = check_places(&settings) {
            return code;
        }
        let sockets = match Sockets::take() {
            Ok(sockets) => sockets,
            Err(error) => return fail(&error, "Give sockets that listen for TCP, or none."),
        };
        // A thread that ends a read is idle a little later than its place is free: without a limit
        // there would be many times more threads than places, each with memory of its own.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .max_blocking_threads(settings.config.read_threads_max().saturating_add(OTHER_JOBS))
            .thread_keep_alive(IDLE_TIME)
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                return fail(&error, "The system refuses threads or files to this process.");
            }
        };
        let status = runtime.block_on(run(settings, sockets, self.inputs));
        shut_down(runtime, status.unwrap_or_else(|failed| failed))
    }
}

/// Makes sure that the folders of backups and of the archive are not inside the database, and that this
/// user may read the archive. Reports any failure.
fn check_places(settings: &Settings) -> Result<(), ExitCode> {
    if let Some(archive) = &settings.config.archive {
        outside_databases(archive).map_err(|error| fail(&error, OUTSIDE))?;
        // One that is not there may come later.
        if let Err(error) = Manifest::read(archive)
            && error.fault().cause == Cause::Permission
        {
            return Err(fail(&error, export::advice(&error)));
        }
    }
    let backups = settings.config.backup.directory.as_deref().map(Backups::new);
    if let Some((backups, db)) = backups.zip(settings.db.as_deref()) {
        let checked = backups.check_place(db);
        checked.map_err(|error| fail(&error, backup::advice(&error)))?;
    }
    Ok(())
}

/// Runs a server to its end. Reports any failure.
async fn run(settings: Settings, sockets: Sockets, inputs: Inputs) -> Result<ExitCode, ExitCode> {
    let refused =
        |error: io::Error| fail(&error, "The system refuses signal handlers to this process.");
    let mut stop = Stop::new().map_err(refused)?;
    let metrics = Metrics::new();
    // Before the database is open, and until the end.
    let mut others = JoinSet::new();
    others.spawn(watched(&metrics, sockets.metrics, &settings).await?);
    others.spawn(systemd::watchdog());
    systemd::status("Opening the database.");
    let follows = !settings.follow.upstreams.is_empty();
    let follower = follows.then(|| ways::follower(&settings)).transpose()?;
    let opened = tokio::select! {
        opened = open(&settings, follower.as_ref(), inputs) => opened?,
        () = stop.signal() => {
            tracing::info!("stopped before the database was open");
            // At once: nothing is served yet, and what opens the database is not to be torn down under its
            // feet.
            low_level::exit(0);
        }
    };
    ways::check_urls(&settings, opened.reader.version())?;
    let prepared = Prepared::new(&settings, follower).await?;
    let listener = listener(sockets.api, settings.listen).await?;
    let address = listener.local_addr().map_or_else(|_| String::new(), |at| at.to_string());
    logs::say(settings.log_format, &format!("listening on http://{address}"));
    systemd::ready(&format!("Listening on {address}."));
    let Opened { reader, hold, ready, folder } = opened;
    let (ways, idle) = match hold {
        Hold::Writer(writer) => {
            let writer = (*writer, reader.clone());
            match prepared.begin(writer, ready, &settings, &metrics).await? {
                Ok(ways) => (Some(ways), None),
                // With nothing to write it keeps others from writing.
                Err(idle) => (None, Some(idle)),
            }
        }
        Hold::Replica(replica) => {
            others.spawn(plait::refresh(replica, settings.refresh_time, metrics.clone()));
            (None, None)
        }
    };
    let status = until_stopped(stop, async |asked| {
        plait::run_measured(reader, settings.config, metrics, listener, asked).await;
        if let Some(ways) = ways {
            ways.end().await;
        }
    });
    let status = status.await;
    drop((idle, folder));
    Ok(status)
}

/// Opens what `settings` name. Reports any failure.
async fn open(
    settings: &Settings,
    follower: Option<&Follower>,
    inputs: Inputs,
) -> Result<Opened, ExitCode> {
    if let Some(db) = settings.db.as_deref().filter(|_| !inputs.any() && !settings.read_only) {
        ways::make_database(settings, follower, db, inputs.network(), true).await?;
    }
    let (db, archive) = (settings.db.clone(), settings.config.archive.clone());
    let (caches, read_only) = (settings.caches, settings.read_only);
    let opening = spawn_blocking(move || match db {
        Some(db) if read_only => Opened::replica(&db, caches, &inputs),
        db => Opened::new(db.as_deref(), archive, caches, inputs),
    });
    opening.await.unwrap_or_else(|ended| resume_unwind(ended.into_panic()))
}

/// Runs `server`, which ends some time after the first signal; a second one ends it at once.
async fn until_stopped(
    mut stop: Stop,
    server: impl AsyncFnOnce(Pin<Box<dyn Future<Output = ()> + Send>>),
) -> ExitCode {
    let (first, asked) = oneshot::channel();
    let asked = Box::pin(async {
        // An error means that the sender is gone, and the server with it.
        let _ = asked.await;
    });
    let signals = async {
        stop.signal().await;
        tracing::info!("stopping; a second signal stops at once");
        systemd::stopping("Answering requests in flight.");
        let _ = first.send(());
        stop.second_signal().await;
    };
    tokio::select! {
        () = server(asked) => ExitCode::SUCCESS,
        () = signals => ExitCode::FAILURE,
    }
}

/// There is neither a database nor an archive.
#[derive(Debug, Error)]
#[error("there is nothing to serve: neither a database nor an archive is named")]
struct Nothing;

/// Something that would write to a database that is only read.
#[derive(Debug, Error)]
#[error("{0} writes, so it cannot be combined with --read-only")]
struct ReadOnly(&'static str);

/// What would write to the database, by its setting.
fn writing(settings: &Settings, inputs: &Inputs) -> Option<&'static str> {
    [
        (inputs.any(), "--replay"),
        (settings.ingest.listen.is_some(), "--ingest (ingest.listen)"),
        (!settings.follow.upstreams.is_empty(), "--follow (follow.upstreams)"),
        (settings.config.backup.api, "--backup-api (backup.api.enabled)"),
    ]
    .into_iter()
    .find_map(|(writes, setting)| writes.then_some(setting))
}

/// What a server holds of its database in addition to a reader.
enum Hold {
    Writer(Box<Writer>),
    /// Another process may write it.
    Replica(Replica),
}

/// A database, open.
struct Opened {
    reader: Reader,
    hold: Hold,
    /// What is to be replayed into it.
    ready: Option<Ready>,
    /// Of an empty one, which ends with the server.
    folder: Option<TempDir>,
}

impl Opened {
    /// Opens the database in `db`; without one, an empty one for the network of `archive`, which
    /// nothing is asked of. Reports any failure.
    fn new(
        db: Option<&Path>,
        archive: Option<PathBuf>,
        caches: CacheSizes,
        inputs: Inputs,
    ) -> Result<Self, ExitCode> {
        let refused = |error: OpenError| fail(&error, open_advice(&error));
        if let Some(db) = db {
            let network = inputs.network();
            warn_root(db);
            let ready = inputs.prepare(db)?;
            let (writer, reader) = Engine::open_with(db, caches).map_err(refused)?;
            ways::check_network(&reader, network)?;
            let hold = Hold::Writer(Box::new(writer));
            return Ok(Self { reader, hold, ready, folder: None });
        }
        let folder = tempfile::tempdir().map_err(|error| {
            let otherwise = "Check the folder for temporary files: TMPDIR.";
            fail(&error, Advice::of(&error, Subject::Output, otherwise))
        })?;
        // An archive may come later.
        let manifest = archive.and_then(|archive| Manifest::read(&archive).ok());
        let version = manifest.map_or(ChainwebVersion::Mainnet01, |(manifest, _)| manifest.version);
        let opened = Engine::open_or_create(folder.path(), Some(version), History::Partial);
        let (writer, reader) = opened.map_err(refused)?;
        let hold = Hold::Writer(Box::new(writer));
        Ok(Self { reader, hold, ready: None, folder: Some(folder) })
    }

    /// Opens the database in `db` for reading and refreshing. Reports any failure.
    fn replica(db: &Path, caches: CacheSizes, inputs: &Inputs) -> Result<Self, ExitCode> {
        let opened = Engine::open_replica(db, caches);
        let (replica, reader) = opened.map_err(|error| fail(&error, open_advice(&error)))?;
        ways::check_network(&reader, inputs.network())?;
        Ok(Self { reader, hold: Hold::Replica(replica), ready: None, folder: None })
    }
}

/// What answers those who watch, for ever: on the socket that was given, or where `settings` say, if
/// they do.
async fn watched(
    metrics: &Metrics,
    given: Option<std::net::TcpListener>,
    settings: &Settings,
) -> Result<impl Future<Output = ()> + Send + 'static, ExitCode> {
    let listener = match (given, settings.metrics) {
        (None, None) => None,
        (given, address) => {
            let address = address.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
            Some(listener(given, address).await?)
        }
    };
    if let Some(address) = listener.as_ref().and_then(|listener| listener.local_addr().ok()) {
        logs::say(settings.log_format, &format!("metrics on http://{address}/metrics"));
    }
    let metrics = metrics.clone();
    Ok(async move {
        if let Some(listener) = listener {
            plait::watch(metrics, listener).await;
        }
    })
}

/// The socket that was given, or one that listens on `address`. Reports any failure.
async fn listener(
    given: Option<std::net::TcpListener>,
    address: SocketAddr,
) -> Result<TcpListener, ExitCode> {
    let listener = match given {
        Some(socket) => systemd::adopted(socket),
        None => TcpListener::bind(address).await,
    };
    listener.map_err(|error| {
        let error = io::Error::new(error.kind(), format!("{address}: {error}"));
        fail(&error, "Choose another address or port, as in --listen 127.0.0.1:1849")
    })
}
