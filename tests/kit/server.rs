//! The real binary as a child process, and databases for it in temporary folders.
//!
//! - `I-1` A server is ended with its [`Server`], by its own process id.
//! - `I-2` Nothing here has a fixed port or path, so tests may run side by side.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};
use tempfile::TempDir;

pub use rustix::process::Signal;

use crate::http::{Client, Request, Response};
use crate::process::{Outcome, finish, memory, plait, run_with_input};

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the server says on standard error once it listens.
const LISTENING: &str = "listening on http://";

/// What it says once it answers those who watch it, if it was asked to.
const WATCHED: &str = "metrics on http://";

/// What it says once it takes blocks, if it was asked to.
const TAKING: &str = "taking blocks on ";

/// A database in a folder of its own, which goes with it: what `plait replay` made.
#[derive(Debug)]
pub struct Replayed {
    folder: TempDir,
}

impl Replayed {
    /// A database of `network` that holds `dump`, in any format, and what `flags` of
    /// `plait replay` ask for. Hashes are verified, unless the flags say otherwise.
    ///
    /// # Panics
    ///
    /// If the replay fails or rejects a header.
    #[must_use]
    pub fn new(network: &str, dump: Vec<u8>, flags: &[&str]) -> Self {
        Self::with(network, flags, "-", |command| run_with_input(command, dump))
    }

    /// A database made of the input at `input`.
    ///
    /// # Panics
    ///
    /// If the replay fails or rejects a header.
    #[must_use]
    pub fn of(network: &str, input: &Path, flags: &[&str]) -> Self {
        let end = |mut command: Command| finish(command.spawn().expect("plait runs"));
        Self::with(network, flags, utf8(input), end)
    }

    fn with(
        network: &str,
        flags: &[&str],
        input: &str,
        run: impl FnOnce(Command) -> Outcome,
    ) -> Self {
        let replayed = Self { folder: TempDir::new().expect("a temporary folder") };
        let path = replayed.path();
        let mut command = plait(["replay", "--db", utf8(&path), "--network", network]);
        if !flags.contains(&"--verify") {
            command.args(["--verify", "hash"]);
        }
        command.args(flags).arg(input);
        let outcome = run(command);
        assert_eq!(outcome.status, Some(0), "plait replay:\n{}", outcome.err);
        replayed
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("db")
    }
}

/// What follows `begin` in a line of the log, be it text or JSON.
fn said<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(begin)?;
    rest.split('"').next()
}

/// A path as an argument.
///
/// # Panics
///
/// If it is not UTF-8.
#[must_use]
pub fn utf8(path: &Path) -> &str {
    path.to_str().expect("the path of a temporary folder is UTF-8")
}

/// A `plait serve` on a port of its own.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    status: Option<ExitStatus>,
}

impl Server {
    /// Serves `database` with more `flags`.
    ///
    /// # Panics
    ///
    /// If the server does not listen.
    #[must_use]
    pub fn start(database: &Replayed, flags: &[&str]) -> Self {
        let path = database.path();
        Self::with(&[&["--db", utf8(&path)], flags].concat())
    }

    /// Serves an archive and no database.
    ///
    /// # Panics
    ///
    /// If the server does not listen.
    #[must_use]
    pub fn of_archive(archive: &Path) -> Self {
        Self::with(&["--archive", utf8(archive)])
    }

    /// Serves what `flags` say.
    ///
    /// # Panics
    ///
    /// If the server does not listen.
    #[must_use]
    pub fn with(flags: &[&str]) -> Self {
        let mut command = plait(["serve", "--listen", "127.0.0.1:0"]);
        command.args(flags).stdout(Stdio::null());
        Self::of_command(command)
    }

    /// The server that `command` becomes; its standard error is piped.
    ///
    /// # Panics
    ///
    /// If the server does not listen.
    #[must_use]
    pub fn of_command(mut command: Command) -> Self {
        let mut child = command.spawn().expect("plait runs");
        let stderr = child.stderr.take().expect("standard error is piped");
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, receiver) = mpsc::channel();
        let written = Arc::clone(&log);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(address) = said(&line, LISTENING) {
                    let _ = sender.send(address.to_owned());
                }
                let mut log = written.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        let address = receiver.recv_timeout(PATIENCE);
        let text = || log.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let address = match address {
            Ok(address) => address,
            Err(error) => {
                // The process is our own, and this is the last thing it is good for.
                let _ = child.kill();
                let status = child.wait();
                let ended = matches!(error, RecvTimeoutError::Disconnected);
                panic!("plait serve does not listen (ended: {ended}, {status:?}):\n{}", text());
            }
        };
        let address = address.parse().expect("the server names its address");
        Self { child, address, log, reader: Some(reader), status: None }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it answers those who watch it.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[must_use]
    pub fn watched(&self) -> SocketAddr {
        let log = self.log();
        let line = log.lines().find_map(|line| said(line, WATCHED)?.strip_suffix("/metrics"));
        line.expect("it has a listener for metrics").parse().expect("the server names its address")
    }

    /// Where it takes blocks: an address, or the path of a socket.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[must_use]
    pub fn takes(&self) -> String {
        let log = self.log();
        let place = log.lines().find_map(|line| said(line, TAKING)).expect("it takes blocks");
        place.trim_start_matches("http://").to_owned()
    }

    /// The address of its API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Kills the process at once, as a crash would, and waits until it is gone.
    ///
    /// # Panics
    ///
    /// If the system does not tell.
    pub fn kill(&mut self) {
        // The process is our own.
        let _ = self.child.kill();
        self.status = Some(self.child.wait().expect("a child has a status"));
    }

    /// The number of this sample of its metrics, labels included; `None` if it is not there.
    #[must_use]
    pub fn metric(&self, sample: &str) -> Option<f64> {
        let page = Client::connect(self.watched()).ask(&Request::get("/metrics"));
        let value =
            page.text().lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok())
    }

    /// A new connection.
    #[must_use]
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// The answer to a request on a connection of its own.
    #[must_use]
    pub fn ask(&self, request: &Request) -> Response {
        self.connect().ask(request)
    }

    /// The answer to `GET target`.
    #[must_use]
    pub fn get(&self, target: &str) -> Response {
        self.ask(&Request::get(target))
    }

    /// The answer to `POST target` with a body of JSON.
    #[must_use]
    pub fn post(&self, target: &str, body: &str) -> Response {
        self.ask(&Request::post(target, body))
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// If the process has ended.
    pub fn signal(&self, signal: Signal) {
        assert!(self.status.is_none(), "the server has ended");
        kill_process(Pid::from_child(&self.child), signal).expect("a child takes signals");
    }

    /// Waits for the process to end by itself; `None` if it does not within `limit`.
    ///
    /// # Panics
    ///
    /// If the system does not tell.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let begin = Instant::now();
        while self.status.is_none() {
            self.status = self.child.try_wait().expect("a child has a status");
            if self.status.is_none() {
                if begin.elapsed() > limit {
                    return None;
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        self.status
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.wait(Duration::ZERO).is_none()
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory that the process holds, where the system tells.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        memory(self.child.id(), "VmRSS")
    }

    /// The most that it has held so far.
    #[must_use]
    pub fn resident_bytes_max(&self) -> Option<u64> {
        memory(self.child.id(), "VmHWM")
    }

    /// The first line on standard error that contains `text`. A line can arrive after the response or
    /// the metric that a test saw first, so this waits up to a minute for it.
    #[expect(clippy::must_use_candidate, reason = "most callers only wait for the line")]
    #[track_caller]
    pub fn logged(&self, text: &str) -> String {
        let begin = Instant::now();
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            assert!(begin.elapsed() < Duration::from_mins(1), "no {text:?} in:\n{log}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it wrote on standard error.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let log = self.log();
        if thread::panicking() {
            eprintln!("the server wrote:\n{log}");
        } else {
            assert!(!log.contains("panic"), "the server panicked:\n{log}");
        }
    }
}
