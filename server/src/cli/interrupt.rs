//! Ctrl-C, SIGTERM and SIGHUP for commands that work in batches: the first asks to stop, a second one
//! ends the process, unless it is a SIGHUP. Committed blocks are safe either way.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use super::signals;

/// How long a batch may take to end, for example one that waits for standard input.
const PATIENCE: Duration = Duration::from_secs(3);

static STOP: AtomicBool = AtomicBool::new(false);
/// Whether the first signal ends the process at once.
static AT_ONCE: AtomicBool = AtomicBool::new(false);
static SIGNAL: AtomicI32 = AtomicI32::new(SIGINT);

/// A flag that the first signal sets. Where signals cannot be watched they end the process, as
/// ever.
pub(super) fn flag() -> &'static AtomicBool {
    let asked = [SIGINT, SIGTERM, SIGHUP];
    let asked = asked.iter().filter(|signal| **signal != SIGHUP || !signals::hang_up_is_ignored());
    if let Ok(signals) = Signals::new(asked) {
        thread::spawn(move || watch(signals));
    }
    &STOP
}

/// Runs `wait`, which reads input that may never come, and returns its result. Nothing that needs closing
/// is open meanwhile, so a signal ends the process at once.
pub(super) fn at_once<T>(wait: impl FnOnce() -> T) -> T {
    AT_ONCE.store(true, Ordering::SeqCst);
    // A signal that came just before saw `AT_ONCE` unset, and only set `STOP`.
    if STOP.load(Ordering::SeqCst) {
        end_at_once();
    }
    let result = wait();
    AT_ONCE.store(false, Ordering::SeqCst);
    result
}

fn end_at_once() -> ! {
    tell!("stopped by a signal before the first record was read; nothing was stored");
    low_level::exit(status())
}

/// The exit status of a process that a signal stopped: 128 and its number.
pub(super) fn exit_code() -> ExitCode {
    ExitCode::from(u8::try_from(status()).unwrap_or(u8::MAX))
}

fn status() -> i32 {
    SIGNAL.load(Ordering::Relaxed).saturating_add(128)
}

/// Ends the process where it must not go on, without tearing down what RocksDB keeps for all of it:
/// other threads use that, and would crash.
fn watch(mut signals: Signals) {
    for signal in signals.forever() {
        if signal == SIGHUP && STOP.load(Ordering::Relaxed) {
            // A terminal that closes sends it twice: by the kernel, and by the shell.
            continue;
        }
        SIGNAL.store(signal, Ordering::Relaxed);
        if STOP.swap(true, Ordering::SeqCst) {
            low_level::exit(status());
        }
        if AT_ONCE.load(Ordering::SeqCst) {
            end_at_once();
        }
        thread::spawn(|| {
            thread::sleep(PATIENCE);
            low_level::exit(status());
        });
    }
}
