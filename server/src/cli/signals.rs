//! The effect of signals on every command.
//!
//! | signal | effect |
//! | --- | --- |
//! | SIGTERM, SIGINT, SIGHUP | the command stops at a point from which it can continue later ([`super::stop`], [`super::interrupt`]); a second SIGTERM or SIGINT ends it at once |
//! | SIGHUP under `nohup` | none |
//! | SIGUSR1, SIGUSR2 | none: tools that rotate logs or ask for progress send them to any process, and by default they would kill it |
//! | SIGPIPE, SIGXFSZ | none: the write fails with an error |
//! | SIGQUIT and all others | the default: they end the process at once |

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::flag;

/// Has the process ignore SIGUSR1, SIGUSR2, and SIGXFSZ, which says that a file has reached the limit of
/// this process: the write then fails, and that is reported. Where the system refuses that, they do what
/// they did.
pub(super) fn ignore_signals() {
    for signal in [SIGUSR1, SIGUSR2, SIGXFSZ] {
        // A handler that sets a flag which nobody reads.
        let _ = flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
}

/// Whether whoever started the process made it ignore SIGHUP, as `nohup` does; where the system does
/// not tell, no.
pub(super) fn hang_up_is_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    is_ignored(&status, SIGHUP)
}

/// Whether `signal` is in the set of ignored signals of a process with this `/proc/PID/status`: bit 0
/// is signal 1.
fn is_ignored(status: &str, signal: i32) -> bool {
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or_default();
    let bit = u32::try_from(signal).ok().and_then(|signal| signal.checked_sub(1));
    bit.and_then(|bit| set.checked_shr(bit)).is_some_and(|rest| rest & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_set_of_the_process() {
        let status = "Name:\tplait\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n";
        for (signal, expected) in [(1, true), (2, false), (13, true), (0, false), (65, false)] {
            assert_eq!(is_ignored(status, signal), expected, "{signal}");
        }
        assert!(!is_ignored("", 1) && !is_ignored("SigIgn:\tx\n", 1));
    }
}
