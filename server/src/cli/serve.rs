use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args as ClapArgs;
use plait_engine::archive::Manifest;
use plait_engine::store::History;
use plait_engine::{ChainwebVersion, Engine, OpenError, Reader, Writer};
use tempfile::TempDir;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::loading::Inputs;
use super::settings::{Flags, LogFlags, Settings};
use super::{config, fail, logs, open_advice};

const EXAMPLES: &str = "\
Examples:
  plait serve --db ./db
  plait serve --db ./db --listen 0.0.0.0:1848 --drain-delay 5
  plait serve --db ./db --archive ./archive
  plait serve --archive ./archive
  plait serve --config plait.yaml
  curl http://127.0.0.1:1848/chainweb/0.0/mainnet01/cut";

/// Serve the headers of a database over HTTP.
///
/// SIGTERM and SIGINT stop the server: /health-check turns 503, requests in flight are answered,
/// then the process ends with status 0. A second signal ends it at once.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// File to read settings from; plait config print shows all there are.
    #[arg(long, value_name = "FILE", env = "PLAIT_CONFIG")]
    config: Option<PathBuf>,

    #[command(flatten)]
    flags: Flags,

    #[command(flatten)]
    inputs: Inputs,
}

/// What opening a database gives.
type Opened = Result<(Writer, Reader), OpenError>;

impl Args {
    /// Runs the command.
    pub(super) fn run(self, log: &LogFlags) -> ExitCode {
        let mut settings = match Settings::resolve(self.config.as_deref(), &self.flags, log) {
            Ok(settings) => settings,
            Err(error) => return config::refuse(&error),
        };
        logs::init(&settings);
        settings.config.archive_only = settings.db.is_none();
        let ready = match &settings.db {
            Some(db) => match self.inputs.prepare(db) {
                Ok(ready) => ready,
                Err(code) => return code,
            },
            None => None,
        };
        let (_empty, opened) = match (&settings.db, &settings.config.archive) {
            (Some(db), _) => (None, Engine::open_with(db, settings.caches)),
            (None, Some(archive)) => match empty(archive) {
                Ok((folder, opened)) => (Some(folder), opened),
                Err(error) => return fail(&error, "Check the folder for temporary files."),
            },
            (None, None) => return fail(&Nothing, "Name a database: plait serve --db DIR"),
        };
        let (writer, reader) = match opened {
            Ok(opened) => opened,
            Err(error) => return fail(&error, open_advice(&error)),
        };
        // A thread that ends a read is idle a little later than its place is free: without a limit
        // there would be many times more threads than places, each with memory of its own.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .max_blocking_threads(settings.config.reads_max)
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                return fail(&error, "The system refuses threads or files to this process.");
            }
        };
        let (mut loading, mut idle) = (None, None);
        match ready {
            Some(ready) => match ready.begin(writer) {
                Ok(begun) => loading = Some(begun),
                Err(error) => return fail(&error, "The system refuses threads to this process."),
            },
            // It writes nothing, and keeps others from writing.
            None => idle = Some(writer),
        }
        let status = runtime.block_on(serve(reader, settings));
        if let Some(loading) = loading {
            loading.end();
        }
        drop(idle);
        // A read that is under way after the last deadline is not waited for.
        runtime.shutdown_background();
        status
    }
}

/// There is neither a database nor an archive.
#[derive(Debug, Error)]
#[error("there is nothing to serve: neither a database nor an archive is named")]
struct Nothing;

/// An empty database, which nothing is asked of, in a folder that ends with it.
fn empty(archive: &Path) -> io::Result<(TempDir, Opened)> {
    // An archive may come later.
    let manifest = Manifest::read(archive).ok();
    let version = manifest.map_or(ChainwebVersion::Mainnet01, |(manifest, _)| manifest.version);
    let folder = tempfile::tempdir()?;
    let opened = Engine::open_or_create(folder.path(), Some(version), History::Partial);
    Ok((folder, opened))
}

async fn serve(reader: Reader, settings: Settings) -> ExitCode {
    let Settings { config, listen, .. } = settings;
    let mut stop = match Stop::new() {
        Ok(stop) => stop,
        Err(error) => {
            return fail(&error, "The system refuses signal handlers to this process.");
        }
    };
    let listener = match listening(listen).await {
        Ok(listener) => listener,
        Err(error) => {
            return fail(&error, "Choose another address or port, as in --listen 127.0.0.1:1849");
        }
    };
    let (first, asked) = oneshot::channel();
    let asked = async {
        // An error means that the sender is gone, and the server with it.
        let _ = asked.await;
    };
    let signals = async {
        stop.signal().await;
        tracing::info!("stopping; a second signal stops at once");
        let _ = first.send(());
        stop.signal().await;
    };
    tokio::select! {
        () = plait::run(reader, config, listener, asked) => ExitCode::SUCCESS,
        () = signals => ExitCode::FAILURE,
    }
}

/// A socket that listens on `address`, or says why not.
async fn listening(address: SocketAddr) -> io::Result<TcpListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(named)?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    Ok(listener)
}

/// The signals that ask a server to stop.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of them.
    async fn signal(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
