//! What systemd is told, and the sockets that it gives. Elsewhere nothing of this does anything.

use std::io;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::time::interval;

/// The name of the socket of metrics, as in `FileDescriptorName=metrics`; the first with any other
/// name is that of the API.
const METRICS: &str = "metrics";

/// Sockets that were opened before the process began.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// For the API.
    pub(super) api: Option<std::net::TcpListener>,
    /// For metrics.
    pub(super) metrics: Option<std::net::TcpListener>,
}

impl Sockets {
    /// Takes what is there. To be called once, while there are no other threads: the variables that
    /// tell of them are removed, so that no child takes them for its own.
    ///
    /// # Errors
    ///
    /// If one is no socket that listens for TCP.
    pub(super) fn take() -> io::Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut given = ListenFd::from_env();
        let mut sockets = Self::default();
        let mut names = names.split(':');
        for at in 0..given.len() {
            let name = names.next().unwrap_or_default();
            let place = if name == METRICS { &mut sockets.metrics } else { &mut sockets.api };
            if place.is_none() {
                *place = given.take_tcp_listener(at)?;
            }
        }
        Ok(sockets)
    }
}

/// A socket for use in a runtime.
pub(super) fn adopted(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// The server does what `status` says.
pub(super) fn status(status: &str) {
    notify(&[NotifyState::Status(status)]);
}

/// Requests are answered from now on.
pub(super) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The server is on its way out.
pub(super) fn stopping(status: &str) {
    notify(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Says again and again that the runtime turns, if that is asked for; never ends.
pub(super) async fn watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut ticks = interval(limit.div_f64(2.0).max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

/// Whoever does not listen misses it.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
}
