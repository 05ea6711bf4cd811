//! How a process ends itself at a failpoint, at once, without unwinding.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use plait_engine::failpoint::{self, NAMES};
use rustix::process::{Signal, getpid, kill_process};

/// The name of the file with the names of the failpoints that were reached.
pub(super) const REACHED: &str = "reached";

/// Where and when this process ends.
struct Plan {
    target: Option<String>,
    /// How often the target is passed before.
    passes: AtomicU64,
    reached: File,
    /// Whether each of [`NAMES`] was.
    seen: Vec<AtomicBool>,
}

static PLAN: OnceLock<Plan> = OnceLock::new();

/// Ends this process when it reaches `target` for the `number`-th time, and notes in `folder` which
/// failpoints it reaches.
///
/// # Panics
///
/// If that was said before.
pub fn arm(folder: &Path, target: Option<&str>, number: u64) {
    let reached = OpenOptions::new().create(true).append(true).open(folder.join(REACHED));
    let plan = Plan {
        target: target.map(str::to_owned),
        passes: AtomicU64::new(number),
        reached: reached.expect("a file to note in"),
        seen: NAMES.iter().map(|_| AtomicBool::new(false)).collect(),
    };
    assert!(PLAN.set(plan).is_ok() && failpoint::set_hook(reach), "armed once");
}

fn reach(name: &'static str) {
    let Some(plan) = PLAN.get() else { return };
    if let Some(at) = NAMES.iter().position(|other| *other == name)
        && !plan.seen[at].swap(true, Ordering::Relaxed)
    {
        let noted = (&plan.reached).write_all(format!("{name}\n").as_bytes());
        noted.expect("the file takes a line");
    }
    if plan.target.as_deref() == Some(name) && plan.passes.fetch_sub(1, Ordering::Relaxed) == 1 {
        let killed = kill_process(getpid(), Signal::KILL);
        panic!("still alive: {killed:?}");
    }
}
