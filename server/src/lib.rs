//! The HTTP server of Plait: the Chainweb header API over a store of [`plait_engine`].
//!
//! Modules are layers: each uses only those above it in this list.
//!
//! ```text
//! socket ─listen→ route ─→ endpoint ─request: params, bounds, media─→ bridge ─View→ engine
//! socket ←listen─ response ←────────────Page, Stream──────────────────┘
//! ```

// A number from a client or a setting must not end a task: arithmetic says what becomes of an overflow.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod clock;

mod address;

mod config;

mod request_id;

mod metrics;

mod headline;

mod nearest;

mod missing;

mod budget;

mod error;

mod request;

mod response;

mod files;

mod reading;

mod bridge;

mod feed;

mod chunks;

mod backup;

mod place;

mod replica;

mod updates;

mod openapi;

mod explorer;

mod endpoint;

mod route;

#[cfg(test)]
mod documented;

mod listen;

mod health;

mod inlet;

mod meter;

mod ingest;

mod follow;

#[cfg(fuzzing)]
pub mod fuzzed;

use std::sync::Arc;

use plait_engine::Reader;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use address::{Listen, Peer, Upstream, resolve};
pub use config::{Backup, Config, Follow, Ingest, Payloads, Requests};
pub use follow::{Apart, Follower, Unfit, Unreported, Unsaved};
pub use headline::{bytes, folder, headline};
pub use health::watch as watch_health;
pub use ingest::{Blocks, IngestListener, ingest};
pub use inlet::{Inlet, InletThread, PushError};
pub use meter::{Meter, Metered};
pub use metrics::{Metrics, ReplayProgress};
pub use nearest::nearest;
pub use place::watch as watch_place;
pub use replica::refresh;
pub use response::stats_json;

/// Serves the headers that `reader` reads, on a socket that listens already, until `shutdown` ends
/// and the requests in flight are answered or out of time.
///
/// Dropping the future ends everything at once.
pub async fn run(
    reader: Reader,
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) {
    run_measured(reader, config, Metrics::new(), listener, shutdown).await;
}

/// [`run`], counted by `metrics`, which are of this server only.
pub async fn run_measured(
    reader: Reader,
    config: Config,
    metrics: Metrics,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) {
    let mut looks = JoinSet::new();
    looks.spawn(health::watch(reader.clone(), metrics.clone()));
    let config = config.bounded();
    let (phase, watcher) = watch::channel(bridge::Phase::Serving);
    let app = Arc::new(endpoint::App::new(reader, config, metrics, watcher));
    let backups = app.backups.clone();
    let look = place::watch(app.bridge.reader(), app.metrics.clone());
    tokio::select! {
        () = listen::serve(app, listener, phase, shutdown) => {}
        () = look => {}
    }
    if let Some(backups) = backups {
        // An error means that it panicked; the process ends anyway.
        let _ = tokio::task::spawn_blocking(move || backups.end()).await;
    }
}

/// Answers `/metrics`, `/ready` and `/health-check` of the server that `metrics` are of, be it
/// starting, serving or stopping, until the future is dropped.
///
/// For those who watch the server: whoever reaches the socket can read all of it.
pub async fn watch(metrics: Metrics, listener: TcpListener) {
    listen::watch(metrics, listener).await;
}
