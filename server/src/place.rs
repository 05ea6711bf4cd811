//! Checks whether the folder of the served database is still at its path.

use std::panic::resume_unwind;
use std::time::Duration;

use plait_engine::Reader;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::metrics::Metrics;

/// The time between two checks.
const PAUSE: Duration = Duration::from_secs(1);

/// Checks forever, and reports changes to `metrics` and the log.
///
/// Answers stay correct if the folder moves: RocksDB reads and writes in the folder itself, wherever it is.
/// But its path now means another database, so blocks and backups are refused.
pub async fn watch(reader: Reader, metrics: Metrics) {
    loop {
        let reader = reader.clone();
        // On a disk that hangs this waits, and no second one begins.
        let looked = spawn_blocking(move || reader.require_place()).await;
        let place = match looked {
            Ok(place) => place,
            Err(ended) if ended.is_panic() => resume_unwind(ended.into_panic()),
            // The runtime ends.
            Err(_) => return,
        };
        let was_displaced = metrics.displace(place.is_err());
        match place {
            Err(error) if !was_displaced => tracing::error!(
                "{error}; requests are answered from it, blocks and backups are refused: stop this \
                 process, then move the folder back or start again with the one now at the path"
            ),
            Ok(()) if was_displaced => tracing::info!("the database is at its path again"),
            _ => {}
        }
        sleep(PAUSE).await;
    }
}
