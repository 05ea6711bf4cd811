//! Checks whether the database can be written, while the server runs.
//!
//! Enters: a database that is served. Leaves: its state in [`Metrics`], and so in `/ready`.
//!
//! Code that writes reports whether its writes fail or succeed. But a server may have nothing to
//! write, and RocksDB flushes and compacts in its own threads, which nothing waits for. So the number of
//! RocksDB's failures is read from memory every two seconds, and the file system is tested every fifteen
//! seconds. After a failure both run every two seconds, together with an empty write, until all of them
//! have succeeded for ten seconds:
//!
//! ```text
//! 12:00:00  a flush fails: the disk is full      plait_background_errors_total 1
//! 12:00:02  seen; the write fails                /ready 503, plait_write_failures_total 1
//! 12:00:40  there is room, RocksDB has flushed
//! 12:00:42  the write succeeds
//! 12:00:52  it still does                        /ready 200
//! ```

use std::time::{Duration, Instant};

use plait_engine::Reader;
use plait_engine::cause::{Cause, Classified, chain};
use plait_engine::store::StoreError;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::headline::headline;
use crate::metrics::Metrics;

/// Time between two checks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Time between two tests of the file system while nothing is wrong: each writes a little.
const TOUCH_EVERY: Duration = Duration::from_secs(15);

/// How long a check may take: a disk that hangs counts as one that fails.
const LOOK_TIME: Duration = Duration::from_secs(30);

/// How long all checks must succeed before the database counts as writable again.
const CALM: Duration = Duration::from_secs(10);

/// Checks the database of `reader` until the future is dropped.
pub async fn watch(reader: Reader, metrics: Metrics) {
    let (mut errors, mut touched) = (reader.background_errors(), Instant::now());
    let mut calm_since = None;
    loop {
        sleep(LOOK_EVERY).await;
        let now = reader.background_errors();
        let failed = now > errors;
        errors = now;
        let in_trouble = metrics.is_write_failing();
        if !failed && !in_trouble && touched.elapsed() < TOUCH_EVERY {
            continue;
        }
        touched = Instant::now();
        let asked = reader.clone();
        let mut look = spawn_blocking(move || look(&asked, failed || in_trouble));
        let result = if let Ok(result) = timeout(LOOK_TIME, &mut look).await {
            result
        } else {
            fail(&metrics, Cause::Device, "it does not answer");
            calm_since = None;
            // One that hangs is waited for: another one would only hang as well.
            look.await
        };
        match result {
            Ok(Err(error)) => {
                let (fault, text) = (error.fault(), chain(&error));
                let text = headline(&fault, &text).unwrap_or(text);
                fail(&metrics, fault.cause, &text);
                calm_since = None;
            }
            Ok(Ok(())) if failed => {
                fail(&metrics, Cause::Other, "a flush or a compaction has failed");
                calm_since = None;
            }
            Ok(Ok(())) if in_trouble => {
                if calm_since.get_or_insert_with(Instant::now).elapsed() >= CALM {
                    metrics.wrote();
                    tracing::info!("the database can be written again");
                    calm_since = None;
                }
            }
            // The process ends.
            Ok(Ok(())) | Err(_) => {}
        }
    }
}

fn look(reader: &Reader, with_write: bool) -> Result<(), StoreError> {
    reader.probe()?;
    if with_write { reader.probe_write() } else { Ok(()) }
}

/// Counts a failure, and logs it if it is the first one.
fn fail(metrics: &Metrics, cause: Cause, what: &str) {
    if metrics.note_failure(cause) {
        tracing::error!("the database cannot be written: {what}");
    }
}
