//! Refreshes a served database that another process writes.

use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use plait_engine::replica::Replica;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::metrics::{Metrics, Refreshed};

/// The pause after a refresh is at least this many times its duration, so that refreshing takes at most a
/// fifth of a core, however large the database is.
const PAUSES: u32 = 4;

/// Refreshes the database every `interval`, or less often if that takes long, until the future is
/// dropped. A failed refresh is retried, and logged once.
pub async fn refresh(mut replica: Replica, interval: Duration, metrics: Metrics) {
    let mut failed: Option<String> = None;
    metrics.expect_refreshes(interval);
    loop {
        let begin = Instant::now();
        let refreshing = spawn_blocking(move || {
            let refreshed = replica.refresh();
            (replica, refreshed)
        });
        let refreshed = match refreshing.await {
            Ok((back, refreshed)) => {
                replica = back;
                refreshed
            }
            Err(ended) if ended.is_panic() => resume_unwind(ended.into_panic()),
            // The runtime ends.
            Err(_) => return,
        };
        let took = begin.elapsed();
        let outcome = match &refreshed {
            Ok(true) => Refreshed::Done(took),
            Ok(false) => Refreshed::Unchanged,
            Err(_) => Refreshed::Failed,
        };
        metrics.refresh(outcome);
        let text = refreshed.err().map(|error| error.to_string());
        if let Some(error) = text.as_ref().filter(|_| failed.is_none()) {
            tracing::error!(
                "the database cannot be refreshed, and is served in its old state: {error}"
            );
        } else if text.is_none() && failed.is_some() {
            tracing::info!("the database can be refreshed again");
        }
        failed = text;
        sleep(interval.max(took.saturating_mul(PAUSES))).await;
    }
}
