//! Faults of the system: errors when reading, writing and syncing, short writes, no descriptors, no
//! memory. What fails says so, nothing false comes out, and what goes on later ends up whole.
//!
//! Errors of single system calls come from `strace`; where there is none, or it may not trace, these
//! tests say that they were skipped.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use plait_engine::generate::{History, Plan};
use plait_engine::{ChainId, Header};
use tempfile::TempDir;
use testkit::block::{NETWORK, dump};
use testkit::http::{Client, Ended, Request};
use testkit::process::{Outcome, binary, finish, run};
use testkit::server::{Replayed, Server, utf8};
use testkit::{say, sorted, stored};

/// A history of all chains with forks, and a dump of it.
struct Input {
    folder: TempDir,
    blocks: Vec<Header>,
}

impl Input {
    fn new(heights: u64) -> Self {
        let plan = Plan { forks: 0.05, fork_depth: 6, ..Plan::new(NETWORK, heights) };
        let blocks = History::new(&plan).unwrap().blocks().map(|(header, _)| header);
        let blocks: Vec<Header> = blocks.collect();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("dump"), dump(&blocks)).unwrap();
        Self { folder, blocks }
    }

    fn dump(&self) -> String {
        utf8(&self.folder.path().join("dump")).to_owned()
    }

    fn db(&self, name: &str) -> String {
        utf8(&self.folder.path().join(name)).to_owned()
    }

    /// The arguments of a replay of all into a database.
    fn replay(&self, db: &str) -> Vec<String> {
        let dump = self.dump();
        let network = NETWORK.name();
        let args = ["replay", "--network", network, "--db", db, "--verify", "hash", dump.as_str()];
        args.map(str::to_owned).into()
    }

    /// Checks that a replay that failed, or did not, left nothing that keeps the next from storing the
    /// rest.
    fn assert_goes_on(&self, db: &str, what: &str) {
        let again = run(self.replay(db));
        assert_eq!(again.status, Some(0), "{what}: {}", again.err);
        let verified = run(["verify", "--db", db]);
        assert_eq!(verified.status, Some(0), "{what}: {}", verified.err);
        let genesis = NETWORK.chain_ids().map(|chain| NETWORK.genesis_header(chain).unwrap());
        let all: Vec<Header> = self.blocks.iter().copied().chain(genesis).collect();
        assert!(stored(Path::new(db)) == sorted(&all), "{what}: other blocks");
    }
}

/// Whether `strace` is there and may trace.
pub(crate) fn can_inject() -> bool {
    let tried = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        say("faults: skipped, strace is missing or may not trace");
    }
    can
}

/// Arguments of `strace` that let these system calls fail with an error, as `when` says.
pub(crate) fn inject(calls: &str, error: &str, when: &str) -> Vec<String> {
    let fault = format!("inject={calls}:error={error}:when={when}");
    let trace = format!("trace={calls}");
    let args = ["-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", &trace, "-e", &fault];
    args.map(str::to_owned).into()
}

/// Runs a `plait` command under another one.
pub(crate) fn under(program: &str, first: &[String], args: &[String]) -> Outcome {
    let mut command = Command::new(program);
    command.args(first).arg(binary()).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command.spawn().unwrap())
}

/// Checks that a command that failed says why, in one line and without a panic.
fn assert_told(outcome: &Outcome, what: &str) {
    assert!(!outcome.err.contains("panicked"), "{what}: {}", outcome.err);
    if outcome.status != Some(0) {
        assert_eq!(outcome.status, Some(2), "{what}: {}", outcome.err);
        // Where nothing can be written, not even that can be told.
        let is_told = outcome.err.contains("error: ") || outcome.err.is_empty();
        assert!(is_told, "{what}: {}", outcome.err);
    }
}

#[test]
fn a_replay_that_a_system_call_failed_says_so_and_goes_on_later() {
    if !can_inject() {
        return;
    }
    let input = Input::new(60);
    let mut failed = 0;
    for (calls, error) in [
        ("write", "ENOSPC"),
        ("write", "EIO"),
        ("pwrite64", "EIO"),
        ("fdatasync,fsync,sync_file_range", "EIO"),
        ("rename,renameat,renameat2", "EIO"),
        ("pread64", "EIO"),
        ("openat", "EMFILE"),
        ("openat", "EIO"),
    ] {
        for when in ["1+", "5", "9+3", "20+", "40"] {
            let what = format!("{calls} {error} {when}");
            let db = input.db(&what.replace([',', ' ', '+'], "-"));
            let outcome = under("strace", &inject(calls, error, when), &input.replay(&db));
            // Programs are started by system calls, too.
            if outcome.err.contains("error while loading shared libraries") {
                continue;
            }
            assert_told(&outcome, &what);
            failed += usize::from(outcome.status != Some(0));
            input.assert_goes_on(&db, &what);
            fs::remove_dir_all(&db).unwrap();
        }
    }
    assert!(failed >= 10, "only {failed} replays noticed");
    say(&format!("faults: {failed} of 40 replays failed and went on later"));
}

/// Replays with limits of a shell, each of which leaves another state, and goes on without them. Returns
/// how many did not come to their end.
fn limited_replays(kind: &str, limits: impl Fn(u32) -> String, numbers: &[u32]) -> usize {
    let input = Input::new(60);
    let mut failed = 0;
    for number in numbers {
        let what = format!("{kind}-{number}");
        let db = input.db(&what);
        let script = format!("{}; exec \"$0\" \"$@\"", limits(*number));
        let outcome = under("sh", &["-c".to_owned(), script], &input.replay(&db));
        if outcome.err.contains("error while loading shared libraries") {
            continue;
        }
        // An allocation that fails ends a process, be it in Rust or in C++, and says what it can.
        if kind != "memory" {
            assert_told(&outcome, &what);
        }
        failed += usize::from(outcome.status != Some(0));
        input.assert_goes_on(&db, &what);
    }
    failed
}

#[test]
fn a_replay_whose_writes_are_cut_short_says_so_and_goes_on_later() {
    // Blocks of 512 bytes: a write is cut where the file would be longer.
    let limits = |blocks| format!("trap '' XFSZ; ulimit -f {blocks}");
    let failed = limited_replays("short", limits, &[1, 7, 40, 133, 700, 1500]);
    assert!(failed >= 3, "only {failed} replays noticed");
}

#[test]
fn a_replay_without_descriptors_says_so_and_goes_on_later() {
    let limits = |files| format!("ulimit -n {files}");
    let failed = limited_replays("files", limits, &[8, 12, 16, 24, 32, 48]);
    assert!(failed >= 2, "only {failed} replays noticed");
}

#[test]
fn a_replay_without_memory_ends_and_goes_on_later() {
    let limits = |megabytes| format!("ulimit -c 0; ulimit -v {}", megabytes << 10);
    let ended = limited_replays("memory", limits, &[120, 180, 250, 400, 600]);
    assert!(ended >= 1, "every replay had memory enough");
}

/// A `strace` that lets system calls of a running process fail until it is dropped.
struct Fault(Child);

impl Fault {
    fn new(server: &Server, calls: &str, error: &str, when: &str) -> Self {
        let mut command = Command::new("strace");
        command.args(inject(calls, error, when)).args(["-p", &server.id().to_string()]);
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Until it has attached.
        let status = format!("/proc/{}/status", server.id());
        while !fs::read_to_string(&status).unwrap().contains(&format!("TracerPid:\t{}", child.id()))
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        Self(child)
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        testkit::process::signal(&self.0, "INT");
        let _ = self.0.wait();
    }
}

/// Requests, each with the whole of its answer.
fn known(server: &Server, input: &Input) -> Vec<(Request, Vec<u8>)> {
    let mut all = Vec::new();
    for chain in [0, 7, 19] {
        let base = format!("/chainweb/0.0/{}/chain/{chain}", NETWORK.name());
        let octets = |path: String| Request::get(path).header("Accept", "application/octet-stream");
        all.push(octets(format!("{base}/header")));
        all.push(octets(format!("{base}/header?limit=100&minheight=20")));
        all.push(Request::get(format!("{base}/hash?limit=500")));
        let of = |block: &&Header| block.view().chain() == ChainId::new(chain);
        for block in input.blocks.iter().filter(of).step_by(40) {
            all.push(octets(format!("{base}/header/{}", block.view().hash())));
        }
    }
    let answer = |request: Request| {
        let answer = server.ask(&request);
        assert_eq!(answer.status, 200);
        (request, answer.body)
    };
    all.into_iter().map(answer).collect()
}

#[test]
fn an_error_when_reading_is_never_an_answer() {
    if !can_inject() {
        return;
    }
    let input = Input::new(400);
    let dump = input.folder.path().join("dump");
    let replayed = Replayed::of(NETWORK.name(), &dump, &[]);
    // Nothing is kept, so that everything is read.
    let server = Server::start(&replayed, &["--run-cache-bytes", "0", "--block-cache-bytes", "0"]);
    let known = known(&server, &input);
    let (mut right, mut failed, mut cut) = (0, 0, 0);
    for when in ["1+", "2+7", "3+2", "10+40"] {
        let fault = Fault::new(&server, "pread64", "EIO", when);
        for (request, expected) in &known {
            match Client::connect(server.address()).try_ask(request) {
                Ok(answer) if answer.status == 200 => {
                    assert!(answer.body == *expected, "{request}: other bytes");
                    right += 1;
                }
                Ok(answer) => {
                    assert_eq!(answer.status, 500, "{request}");
                    assert!(!answer.text().contains('/'), "a path is told: {}", answer.text());
                    failed += 1;
                }
                Err(Ended::Cut(part)) => {
                    assert!(expected.starts_with(&part), "{request}: other bytes");
                    cut += 1;
                }
                Err(other) => panic!("{request}: {other:?}"),
            }
        }
        drop(fault);
        for (request, expected) in &known {
            assert!(server.ask(request).body == *expected, "{request}: not as before");
        }
    }
    assert!(failed > 0, "{right} right, {failed} failed, {cut} cut");
    server.logged("cannot be read");
    say(&format!("faults: {right} answers right, {failed} failed, {cut} cut off"));
}
