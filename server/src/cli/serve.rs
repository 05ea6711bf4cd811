use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use plait::Config;
use plait_engine::archive::Manifest;
use plait_engine::store::History;
use plait_engine::{ChainwebVersion, Engine, OpenError, Reader, UnknownLower, Writer};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::{fail, open_advice};

const EXAMPLES: &str = "\
Examples:
  plait serve --db ./db
  plait serve --db ./db --listen 0.0.0.0:1848 --drain-delay 5
  plait serve --db ./db --archive ./archive
  plait serve --archive ./archive
  curl http://127.0.0.1:1848/chainweb/0.0/mainnet01/cut";

/// Serve the headers of a database over HTTP.
///
/// SIGTERM and SIGINT stop the server: /health-check turns 503, requests in flight are answered,
/// then the process ends with status 0. A second signal ends it at once.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Folder of the database. Without one, only the archive is offered.
    #[arg(long, value_name = "DIR", env = "PLAIT_DB", required_unless_present = "archive")]
    db: Option<PathBuf>,

    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", env = "PLAIT_LISTEN", default_value = "127.0.0.1:1848")]
    listen: SocketAddr,

    /// Folder of an archive to offer under /archive, as plait export writes it; it may be written
    /// anew meanwhile.
    #[arg(long, value_name = "DIR", env = "PLAIT_ARCHIVE")]
    archive: Option<PathBuf>,

    #[command(flatten)]
    limits: Limits,
}

/// The limits of [`Config`], by the same names.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Limits")]
struct Limits {
    /// Connections at once; further ones get 503 [default: 1024].
    #[arg(long, value_name = "N", env = "PLAIT_MAX_CONNECTIONS", value_parser = at_least_one)]
    max_connections: Option<usize>,

    /// Time for the head of a request [default: 10].
    #[arg(long, value_name = "SECONDS", env = "PLAIT_HEAD_TIME", value_parser = some_seconds)]
    head_time: Option<Duration>,

    /// Bytes of the head of a request, at least 8192 [default: 32768].
    #[arg(long, value_name = "BYTES", env = "PLAIT_MAX_HEAD_BYTES", value_parser = head_bytes)]
    max_head_bytes: Option<usize>,

    /// Bytes of path and query [default: 8192].
    #[arg(long, value_name = "BYTES", env = "PLAIT_MAX_URI_BYTES")]
    max_uri_bytes: Option<usize>,

    /// Time for the body of a request [default: 10].
    #[arg(long, value_name = "SECONDS", env = "PLAIT_BODY_TIME", value_parser = some_seconds)]
    body_time: Option<Duration>,

    /// Bytes of the body of a request [default: 65536].
    #[arg(long, value_name = "BYTES", env = "PLAIT_MAX_BODY_BYTES")]
    max_body_bytes: Option<usize>,

    /// How long a connection is kept without a request [default: 75].
    #[arg(long, value_name = "SECONDS", env = "PLAIT_IDLE_TIME", value_parser = some_seconds)]
    idle_time: Option<Duration>,

    /// How long a client may take nothing of its answer [default: 30].
    #[arg(long, value_name = "SECONDS", env = "PLAIT_STALL_TIME", value_parser = some_seconds)]
    stall_time: Option<Duration>,

    /// Reads of the database at once [default: 4 a core, at least 8].
    #[arg(long, value_name = "N", env = "PLAIT_MAX_READS", value_parser = at_least_one)]
    max_reads: Option<usize>,

    /// How long a request waits for its turn to read, before it gets 503 [default: 2].
    #[arg(long, value_name = "SECONDS", env = "PLAIT_READ_WAIT_TIME", value_parser = seconds)]
    read_wait_time: Option<Duration>,

    /// Bounds on each side of a branch query [default: 32].
    #[arg(long, value_name = "N", env = "PLAIT_MAX_BOUNDS")]
    max_bounds: Option<usize>,

    /// Hashes on a page [default: 4096].
    #[arg(long, value_name = "N", env = "PLAIT_MAX_PAGE_HASHES", value_parser = at_least_one)]
    max_page_hashes: Option<usize>,

    /// Headers on a page [default: 360].
    #[arg(long, value_name = "N", env = "PLAIT_MAX_PAGE_HEADERS", value_parser = at_least_one)]
    max_page_headers: Option<usize>,

    /// Headers that a stream reads at once [default: 512].
    #[arg(long, value_name = "N", env = "PLAIT_STREAM_HEADERS", value_parser = at_least_one)]
    stream_headers: Option<usize>,

    /// What a lower bound means that is not stored: 404, or nothing, as to chainweb-node.
    #[arg(long, value_name = "WHAT", env = "PLAIT_UNKNOWN_LOWER_BOUND", default_value = "refuse")]
    unknown_lower_bound: Unknown,

    /// When stopping: how long to go on while /health-check is 503 already [default: 0].
    #[arg(long, value_name = "SECONDS", env = "PLAIT_DRAIN_DELAY", value_parser = seconds)]
    drain_delay: Option<Duration>,

    /// After that: how long requests in flight may take before streams are cut [default: 10].
    #[arg(long, value_name = "SECONDS", env = "PLAIT_DRAIN_TIME", value_parser = seconds)]
    drain_time: Option<Duration>,

    /// After that: how long clients may take to read the rest [default: 2].
    #[arg(long, value_name = "SECONDS", env = "PLAIT_CUT_TIME", value_parser = seconds)]
    cut_time: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Unknown {
    Refuse,
    Ignore,
}

impl Limits {
    fn config(&self) -> Config {
        let default = Config::default();
        Config {
            archive: None,
            archive_only: false,
            connections_max: self.max_connections.unwrap_or(default.connections_max),
            head_time: self.head_time.unwrap_or(default.head_time),
            head_bytes_max: self.max_head_bytes.unwrap_or(default.head_bytes_max),
            uri_bytes_max: self.max_uri_bytes.unwrap_or(default.uri_bytes_max),
            body_time: self.body_time.unwrap_or(default.body_time),
            body_bytes_max: self.max_body_bytes.unwrap_or(default.body_bytes_max),
            idle_time: self.idle_time.unwrap_or(default.idle_time),
            stall_time: self.stall_time.unwrap_or(default.stall_time),
            reads_max: self.max_reads.unwrap_or(default.reads_max),
            read_wait_time: self.read_wait_time.unwrap_or(default.read_wait_time),
            bounds_max: self.max_bounds.unwrap_or(default.bounds_max),
            page_hashes_max: self.max_page_hashes.unwrap_or(default.page_hashes_max),
            page_headers_max: self.max_page_headers.unwrap_or(default.page_headers_max),
            stream_headers: self.stream_headers.unwrap_or(default.stream_headers),
            unknown_lower: match self.unknown_lower_bound {
                Unknown::Refuse => UnknownLower::Refuse,
                Unknown::Ignore => UnknownLower::Ignore,
            },
            drain_delay: self.drain_delay.unwrap_or(default.drain_delay),
            drain_time: self.drain_time.unwrap_or(default.drain_time),
            cut_time: self.cut_time.unwrap_or(default.cut_time),
        }
    }
}

/// What opening a database gives.
type Opened = Result<(Writer, Reader), OpenError>;

impl Args {
    /// Runs the command.
    pub(super) fn run(self) -> ExitCode {
        let (archive, archive_only) = (self.archive.clone(), self.db.is_none());
        let config = Config { archive, archive_only, ..self.limits.config() };
        let (_empty, opened) = match &self.db {
            Some(db) => (None, Engine::open(db)),
            None => match self.empty() {
                Ok((folder, opened)) => (Some(folder), opened),
                Err(error) => return fail(&error, "Check the folder for temporary files."),
            },
        };
        let (_writer, reader) = match opened {
            Ok(opened) => opened,
            Err(error) => return fail(&error, open_advice(&error)),
        };
        // A thread that ends a read is idle a little later than its place is free: without a limit
        // there would be many times more threads than places, each with memory of its own.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .max_blocking_threads(config.reads_max)
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                return fail(&error, "The system refuses threads or files to this process.");
            }
        };
        let status = runtime.block_on(self.serve(reader, config));
        // A read that is under way after the last deadline is not waited for.
        runtime.shutdown_background();
        status
    }

    /// An empty database, which nothing is asked of, in a folder that ends with it.
    fn empty(&self) -> io::Result<(TempDir, Opened)> {
        let manifest = self.archive.as_deref().map(Manifest::read);
        // An archive may come later.
        let manifest = manifest.and_then(Result::ok);
        let version = manifest.map_or(ChainwebVersion::Mainnet01, |(manifest, _)| manifest.version);
        let folder = tempfile::tempdir()?;
        let opened = Engine::open_or_create(folder.path(), Some(version), History::Partial);
        Ok((folder, opened))
    }

    async fn serve(self, reader: Reader, config: Config) -> ExitCode {
        let mut stop = match Stop::new() {
            Ok(stop) => stop,
            Err(error) => {
                return fail(&error, "The system refuses signal handlers to this process.");
            }
        };
        let (address, listener) = match self.listen().await {
            Ok(listening) => listening,
            Err(error) => {
                let error = io::Error::new(error.kind(), format!("{}: {error}", self.listen));
                return fail(
                    &error,
                    "Choose another address or port, as in --listen 127.0.0.1:1849",
                );
            }
        };
        eprintln!("listening on http://{address}");
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

    async fn listen(&self) -> io::Result<(SocketAddr, TcpListener)> {
        let listener = TcpListener::bind(self.listen).await?;
        Ok((listener.local_addr()?, listener))
    }
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

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "expected seconds, as in 10 or 0.5")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn some_seconds(text: &str) -> Result<Duration, String> {
    seconds(text).and_then(|time| {
        if time.is_zero() { Err("expected more than 0".to_owned()) } else { Ok(time) }
    })
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "expected 1 or more".to_owned())
}

fn head_bytes(text: &str) -> Result<usize, String> {
    let bytes = text.parse().ok().filter(|bytes| (8192..1 << 24).contains(bytes));
    bytes.ok_or_else(|| "expected 8192 to 16777215".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn flags_left_out_leave_the_default_limits() {
        let command = Command::try_parse_from(["serve", "--db", "x"]).unwrap();
        assert_eq!(command.args.limits.config(), Config::default());
    }

    #[test]
    fn times_are_seconds_with_fractions() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in ["", "-1", "1s", "NaN", "inf", "1e300"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
