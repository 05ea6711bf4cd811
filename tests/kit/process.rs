//! The `plait` command as a process of its own.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::block::NETWORK;
use crate::say;

/// No command here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_mins(2);

/// What came of a command.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Outcome {
    /// How many records a replay stored, found there already, and rejected.
    #[must_use]
    pub fn counts(&self) -> [u64; 3] {
        let line = self.err.lines().find(|line| line.starts_with("stored "));
        let line = line.unwrap_or_else(|| panic!("no count in:\n{}", self.err));
        let mut numbers = line.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
        let mut next = || numbers.next().and_then(|number| number.parse().ok());
        [next(), next(), next()].map(|number| number.expect("a number"))
    }

    /// Checks that it ended with `status` and that its standard error has each of `texts`.
    pub fn assert_fails(&self, status: i32, texts: &[&str]) {
        assert_eq!(self.status, Some(status), "{}", self.err);
        for text in texts {
            assert!(self.err.contains(text), "no {text:?} in:\n{}", self.err);
        }
    }
}

/// The `plait` binary that `cargo test --workspace` builds beside the tests.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test is a file");
    let profile = test.ancestors().nth(2).expect("tests lie in a folder of the target's");
    let plait = profile.join("plait");
    assert!(
        plait.exists(),
        "there is no {}: run the tests with `cargo test --workspace`, or build it with \
         `cargo build --package plait` and the same profile",
        plait.display()
    );
    plait
}

/// A `plait` command with these arguments, without settings from the environment.
pub fn plait<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = if hang_up_is_ignored() {
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP").arg(binary());
        command
    } else {
        Command::new(binary())
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Whether the tests run under `nohup`, whose children ignore SIGHUP.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & 1 == 1)
}

fn is_setting(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with("PLAIT_")
}

/// Runs a `plait` command to its end.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Outcome {
    finish(plait(args).spawn().expect("the command starts"))
}

/// Runs a script in Python over the binary, with an environment of this name in the target folder for what
/// it installs; where it cannot be run, says why.
///
/// # Panics
///
/// If it fails.
pub fn run_script(script: &str, venv: &str, rest: &[&str]) {
    let plait = binary();
    let target = plait.ancestors().nth(2).expect("a profile lies in the target folder");
    let mut command = Command::new("python3");
    command.arg(script).args(rest).arg("--plait").arg(&plait);
    command.arg("--venv").arg(target.join(venv)).stdin(Stdio::null());
    let Ok(output) = command.output() else { return say("skipped: there is no python3") };
    let text = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(77) => say(text.trim()),
        status => {
            assert_eq!(status, Some(0), "{}{text}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

/// Runs `plait replay` for the network of drawn blocks, into the database in `db`.
pub fn replay<S: AsRef<OsStr>>(db: &Path, args: impl IntoIterator<Item = S>) -> Outcome {
    finish(replay_command(db, args).spawn().expect("the command starts"))
}

/// Runs `plait replay` for the network of drawn blocks on the file `name` with these `bytes`.
pub fn replay_file(db: &Path, args: &[&str], name: &str, bytes: &[u8]) -> Outcome {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join(name);
    std::fs::write(&file, bytes).expect("a new file");
    replay(db, args.iter().map(OsStr::new).chain([file.as_os_str()]))
}

/// The command `plait replay` for the network of drawn blocks, into the database in `db`; at level
/// `hash`, which drawn blocks pass, unless `args` have another one.
pub fn replay_command<S: AsRef<OsStr>>(db: &Path, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = plait(["replay", "--network", NETWORK.name(), "--db"]);
    command.arg(db).args(args);
    if command.get_args().all(|arg| arg != "--verify") {
        command.args(["--verify", "hash"]);
    }
    command
}

/// Runs a command that reads what `feed` writes, and returns the most memory that it held, where the
/// system tells.
pub fn run_measured(
    mut command: Command,
    feed: impl FnOnce(&mut dyn Write) -> std::io::Result<()> + Send + 'static,
) -> (Outcome, Option<u64>) {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("a pipe to the command");
    let feeder = thread::spawn(move || {
        // A command that ends early does not read on.
        let _ = feed(&mut stdin);
    });
    let id = child.id();
    let watcher = thread::spawn(move || {
        let mut most = None;
        while let Some(now) = memory(id, "VmHWM") {
            most = most.max(Some(now));
            thread::sleep(Duration::from_millis(2));
        }
        most
    });
    let outcome = finish(child);
    feeder.join().expect("feeding does not panic");
    (outcome, watcher.join().expect("watching does not panic"))
}

/// Bytes of memory that a process holds by this line of its status, where the system tells.
#[must_use]
pub fn memory(id: u32, line: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let text = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))?;
    let kilobytes: u64 = text.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Runs a command that reads `input`.
#[must_use]
pub fn run_with_input(mut command: Command, input: Vec<u8>) -> Outcome {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("a pipe to the command");
    let feeder = thread::spawn(move || {
        // A command that ends early does not read on.
        let _ = stdin.write_all(&input);
    });
    let outcome = finish(child);
    feeder.join().expect("feeding does not panic");
    outcome
}

/// What came of a command, and how much memory it took.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What came of it.
    pub outcome: Outcome,
    /// The most bytes that it had in memory at once, as the system counts them.
    pub peak_bytes: u64,
}

/// Waits for a command to end, as [`finish`] does, and looks at its memory every few milliseconds.
///
/// # Panics
///
/// If the system does not say how much that is.
#[must_use]
pub fn finish_measured(child: Child) -> Measured {
    let mut peak_bytes = 0;
    let path = format!("/proc/{}/status", child.id());
    let outcome = finish_with(child, &mut || {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        peak_bytes = kilobytes.map_or(peak_bytes, |kilobytes| peak_bytes.max(kilobytes << 10));
    });
    assert!(peak_bytes > 0, "the system does not say how much memory a process has");
    Measured { outcome, peak_bytes }
}

/// Waits for a command to end; kills it where it hangs.
#[expect(clippy::must_use_candidate, reason = "that it ends may be all that is asked")]
pub fn finish(child: Child) -> Outcome {
    finish_with(child, &mut || {})
}

fn finish_with(mut child: Child, look: &mut dyn FnMut()) -> Outcome {
    let out = child.stdout.take().map(read_all);
    let err = child.stderr.take().map(read_all);
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break Some(status);
        }
        look();
        if start.elapsed() > PATIENCE {
            child.kill().expect("a child can be killed");
            break None;
        }
        thread::sleep(Duration::from_millis(2));
    };
    let text = |reader: Option<thread::JoinHandle<String>>| {
        reader.map(|reader| reader.join().expect("reading does not panic")).unwrap_or_default()
    };
    let (out, err) = (text(out), text(err));
    let status = status.unwrap_or_else(|| panic!("the command hangs:\n{out}\n{err}"));
    Outcome { status: status.code(), out, err }
}

/// Sends the signal with this name, as in `INT`.
pub fn signal(child: &Child, name: &str) {
    let kill = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(kill.is_ok_and(|status| status.success()), "kill -{name} {}", child.id());
}

fn read_all(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
