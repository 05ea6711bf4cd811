//! Event streams as published clients hear them: the JavaScript library `chainweb` and the event
//! source of node that it uses, `httpx-sse` for Python, and a browser. Where one is missing the test
//! says so and is skipped.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use plait::Config;
use plait_engine::Header;
use tempfile::TempDir;
use testkit::say;

use crate::http_npm::{SOURCE, installed};
use crate::live::{HEADERS, Live, fork, hashes, line};

/// A browser takes its time to begin.
const PATIENCE: Duration = Duration::from_mins(1);

fn quick() -> Config {
    Config { updates_interval: Duration::from_millis(1), ..Config::default() }
}

/// A client that says what it hears, a line each.
pub(crate) struct Listener {
    child: Child,
    lines: Receiver<String>,
}

impl Listener {
    /// Starts `command`; `read` takes what it says from a line of its output, be it the one or the
    /// other.
    pub(crate) fn start(mut command: Command, read: fn(&str) -> Option<String>) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it was asked for its version before");
        let (sender, lines) = channel();
        let out = child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn std::io::Read + Send>);
        let err = child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn std::io::Read + Send>);
        for pipe in [out, err].into_iter().flatten() {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    if let Some(said) = read(&line) {
                        // The test may have ended.
                        let _ = sender.send(said);
                    }
                }
            });
        }
        Self { child, lines }
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it says something")
    }

    pub(crate) fn await_open(&self) {
        assert_eq!(self.next(), "open");
    }

    /// Waits until it is connected and has an id.
    pub(crate) fn await_position(&self) {
        self.await_open();
        assert_eq!(self.next(), "position");
    }

    /// Checks that it receives these blocks, with up to some reconnects in between.
    pub(crate) fn assert_hears_through(&self, blocks: &[Header]) {
        for hash in hashes(blocks) {
            let mut all_said = std::iter::repeat_with(|| self.next()).take(10);
            let said = all_said.find(|said| !matches!(&**said, "open" | "position"));
            assert_eq!(said, Some(format!("block {hash} null")));
        }
    }

    /// Checks that it hears of these blocks and of nothing else before.
    fn assert_hears(&self, blocks: &[Header]) {
        for hash in hashes(blocks) {
            assert_eq!(self.next(), format!("block {hash} null"));
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All that a script says.
#[expect(clippy::unnecessary_wraps, reason = "others leave lines out")]
pub(crate) fn whole(line: &str) -> Option<String> {
    Some(line.to_owned())
}

/// A line that the page has said on its console.
fn said(line: &str) -> Option<String> {
    let (_, said) = line.split_once("said ")?;
    said.rsplit_once(" .").map(|(said, _)| said.to_owned())
}

fn is_there(tool: &str, args: &[&str]) -> bool {
    let run = Command::new(tool).args(args).stdin(Stdio::null()).output();
    run.is_ok_and(|output| output.status.success())
}

/// The address of an event stream.
fn url(live: &Live, query: &str) -> String {
    format!("http://{}{HEADERS}{query}", live.address())
}

/// Checks a client that goes on by itself where it was: over a restart during which blocks come.
fn assert_goes_on(mut live: Live, listener: &Listener) {
    let blocks = line(0, 40);
    listener.await_open();
    live.add(&blocks[2..9]);
    listener.assert_hears(&blocks[2..9]);
    let mut live = live.restart(quick(), |database| {
        database.add(&blocks[9..30]);
    });
    listener.await_open();
    listener.assert_hears(&blocks[9..30]);
    live.add(&blocks[30..]);
    listener.assert_hears(&blocks[30..]);
}

#[test]
fn stream_of_the_published_library_yields_blocks_at_their_depth() {
    let folder = match installed(&["updates.mjs"]) {
        Ok(folder) => folder,
        Err(reason) => return say(&format!("skipped: {reason}")),
    };
    let (a, b) = (line(0, 9), line(3, 9));
    let mut live = Live::new(a[..2].iter().chain(&b[..2]), quick());
    let mut script = Command::new("node");
    script.args(["updates.mjs", "stream", &format!("http://{}", live.address()), "development"]);
    script.args(["2", "0", "3"]).current_dir(folder.path());
    let listener = Listener::start(script, whole);
    listener.await_open();
    live.add(a[2..5].iter().chain(&b[2..4]));
    // Two blocks deep, by the order in which their second blocks above come.
    listener.assert_hears(&[a[2]]);
    // A reorganisation above that depth is followed.
    let side = fork(&a[3], 3, 9);
    live.add(side.iter().chain(&b[4..7]));
    listener.assert_hears(&[b[2], a[3], b[3], side[0], b[4]]);
    live.add([&fork(&side[2], 1, 0)[0], &b[7]]);
    listener.assert_hears(&[side[1], b[5]]);
}

#[test]
fn event_source_of_node_goes_on_where_it_was() {
    let folder = match installed(&["updates.mjs"]) {
        Ok(folder) => folder,
        Err(reason) => return say(&format!("skipped: {reason}")),
    };
    let live = Live::new(&line(0, 2), quick());
    let mut script = Command::new("node");
    script.args(["updates.mjs", "source", &url(&live, "?resume")]).current_dir(folder.path());
    assert_goes_on(live, &Listener::start(script, whole));
}

#[test]
fn httpx_sse_hears_every_block() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !is_there(&python, &["-c", "import httpx, httpx_sse"]) {
        return say(&format!("skipped: {python} has no httpx-sse"));
    }
    let blocks = line(0, 12);
    let keep_alive = Duration::from_millis(50);
    let config = Config { updates_keep_alive: keep_alive, ..quick() };
    let mut live = Live::new(&blocks[..2], config);
    let mut script = Command::new(python);
    script.arg(format!("{SOURCE}/updates.py")).arg(url(&live, ""));
    let listener = Listener::start(script, whole);
    listener.await_open();
    for some in blocks[2..].chunks(5) {
        // It ignores empty lines in between.
        thread::sleep(keep_alive * 4);
        live.add(some);
        listener.assert_hears(some);
    }
    live.stop();
    assert_eq!(listener.next(), "end");
}

#[test]
fn browser_goes_on_where_it_was() {
    let browsers = ["chromium", "chromium-browser", "google-chrome"];
    let browser = browsers.into_iter().find(|browser| is_there(browser, &["--version"]));
    let Some(browser) = browser else {
        return say("skipped: there is no chromium");
    };
    let folder = TempDir::new().unwrap();
    let live = Live::new(&line(0, 2), quick());
    let mut script = Command::new(browser);
    script.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    script.args(["--no-first-run", "--enable-logging=stderr", "--v=0"]);
    script.arg(format!("--user-data-dir={}", folder.path().display()));
    // It ends only when told to.
    script.arg("--remote-debugging-port=0");
    script.arg(format!("file://{SOURCE}/updates.html#{}", url(&live, "?resume")));
    assert_goes_on(live, &Listener::start(script, said));
}
