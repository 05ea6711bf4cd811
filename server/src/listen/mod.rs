//! The sockets: accepting, the cap on connections, timeouts, and the way out.
//!
//! - `I-1` No connection is held for longer than the limits of [`Config`](crate::config::Config)
//!   allow a client that does not do its part.
//! - `I-2` An error of `accept` never ends the server.
//! - `I-3` Over the cap a connection is answered 503 and closed; when too many of those wait, too,
//!   it is closed without a word.

mod activity;
mod bare;
mod connection;
mod half_closed;
mod patrol;
mod purge;
mod record;
mod request_body;
mod sends;
mod socket;
mod streams;
mod tracked;
mod watch;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::{Semaphore, watch as phases};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::connection::Server;
use self::patrol::Patrol;
use crate::bridge::Phase;
use crate::endpoint::App;
use crate::metrics::Metrics;

#[cfg(fuzzing)]
pub(crate) use connection::builder;
pub(crate) use watch::watch;

/// Connections over the cap that are answered 503 at once.
const REFUSED_MAX: usize = 64;

/// Wait after an error of `accept` that has to do with the machine, say too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `listener` until `shutdown` ends, then lets `phase` run through its course.
pub(crate) async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    phase: phases::Sender<Phase>,
    shutdown: impl Future<Output = ()>,
) {
    let (config, metrics) = (app.config.clone(), app.metrics.clone());
    let patrol = Arc::new(Patrol::default());
    // Ends with this function.
    let mut others = JoinSet::new();
    others.spawn({
        let (patrol, config) = (Arc::clone(&patrol), config.clone());
        async move { patrol.run(&config).await }
    });
    others.spawn(purge::run());
    let mut updates = JoinSet::new();
    if !config.archive_only {
        // Before anybody can listen.
        app.updates.begin().await;
        let (app, config) = (Arc::clone(&app), config.clone());
        updates.spawn(async move { app.updates.run(&config).await });
    }
    let mut gate = Gate {
        places: Arc::new(Semaphore::new(config.connections_max)),
        refused: Arc::new(Semaphore::new(REFUSED_MAX)),
        server: Arc::new(Server::new(app, patrol)),
        tasks: JoinSet::new(),
        metrics: metrics.clone(),
    };
    let mut leave = pin!(async {
        shutdown.await;
        metrics.leave();
        phase.send_replace(Phase::Leaving);
        sleep(config.drain_delay).await;
    });
    loop {
        select! {
            biased;
            () = &mut leave => break,
            Some(ended) = gate.tasks.join_next() => log_panic(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => gate.admit(stream, peer),
                Err(error) => pause_after(&error).await,
            },
        }
    }
    drop(listener);
    phase.send_replace(Phase::Draining);
    if timeout(config.drain_time, gate.emptied()).await.is_err() {
        phase.send_replace(Phase::Cutting);
        if timeout(config.cut_time, gate.emptied()).await.is_err() {
            let connections = gate.tasks.len();
            tracing::warn!(connections, "closing connections that are still busy");
            gate.tasks.shutdown().await;
        }
    }
    // It has ended when that began, but may still be reading the database.
    while let Some(ended) = updates.join_next().await {
        log_panic(ended);
    }
}

/// Who is in.
struct Gate {
    places: Arc<Semaphore>,
    refused: Arc<Semaphore>,
    server: Arc<Server>,
    tasks: JoinSet<()>,
    metrics: Metrics,
}

impl Gate {
    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let admitted = place.is_ok();
        let place = place.or_else(|_| Arc::clone(&self.refused).try_acquire_owned());
        if !admitted {
            self.metrics.counters().refuse_connection(place.is_ok());
        }
        let Ok(place) = place else {
            tracing::warn!(%peer, "too many connections, closing one without an answer");
            return;
        };
        let open = admitted.then(|| {
            self.metrics.counters().connections.fetch_add(1, Relaxed);
            self.metrics.hold(|counters| &counters.connections_open)
        });
        let server = Arc::clone(&self.server);
        self.tasks.spawn(async move {
            server.serve(stream, peer, admitted).await;
            drop((open, place));
        });
    }

    /// Waits until every connection has ended.
    async fn emptied(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            log_panic(ended);
        }
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a task ended with a panic: {error}");
    }
}

/// Lets the machine recover, unless the error was of the one connection only.
async fn pause_after(error: &io::Error) {
    match error.kind() {
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted => {
            tracing::debug!("a connection was gone before it was accepted: {error}");
        }
        _ => {
            tracing::warn!("cannot accept connections: {error}");
            sleep(ACCEPT_PAUSE).await;
        }
    }
}
