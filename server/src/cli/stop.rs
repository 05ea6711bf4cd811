//! SIGTERM, SIGINT and SIGHUP for commands that run until they are stopped.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::signals;

/// The signals that ask a server to stop.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
    /// None if the process was started to ignore it, as by `nohup`.
    hang_up: Option<Signal>,
}

impl Stop {
    /// Watches them from now on.
    pub(super) fn new() -> io::Result<Self> {
        let hang_up = (!signals::hang_up_is_ignored()).then(|| signal(SignalKind::hangup()));
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: hang_up.transpose()?,
        })
    }

    /// Waits for the first of them.
    pub(super) async fn signal(&mut self) {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = hang_up => {}
        }
    }

    /// Waits for one that is sent to a server that is stopping already, to end it at once.
    ///
    /// SIGHUP is none: a terminal that closes sends it once by the kernel and once more by the shell,
    /// and a service manager sends it along with SIGTERM.
    pub(super) async fn second_signal(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
