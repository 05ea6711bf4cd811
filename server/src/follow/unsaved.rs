//! Blocks that are in memory only, because the disk did not take them.
//!
//! A replay writes without a log, so that its blocks are on the disk once RocksDB has flushed them. If a
//! flush fails, for example on a full disk, these blocks stay readable, and look as if they were stored.
//! So a failed write is noted here, and nothing counts as in step until everything is flushed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plait_engine::Writer;
use plait_engine::cause::Classified;
use tokio::task::spawn_blocking;

use super::error::FollowError;
use super::session::Session;
use crate::inlet::PushError;

/// The last write that failed, until everything is flushed. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Unsaved(Arc<Mutex<Option<PushError>>>);

impl Unsaved {
    /// Why some blocks may be in memory only, if so.
    #[must_use]
    pub fn reason(&self) -> Option<PushError> {
        self.inner().clone()
    }

    pub(super) fn note(&self, error: PushError) {
        *self.inner() = Some(error);
    }

    fn clear(&self) {
        *self.inner() = None;
    }

    /// Nothing that holds this lock panics.
    fn inner(&self) -> MutexGuard<'_, Option<PushError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes sure that the database can be written, and that everything which was taken so far is on the
/// disk. Costs nothing while no write fails.
///
/// # Errors
///
/// [`PushError::Failed`] while the disk takes nothing.
pub(super) async fn save(session: &Session) -> Result<(), FollowError> {
    if session.unsaved.reason().is_some() {
        // An empty write first: RocksDB refuses it until it has recovered.
        let write = |writer: &mut Writer| writer.sync().and_then(|()| writer.flush());
        if let Err(error) = session.inlet.work(write).await?.await? {
            session.state.fail_write(error.fault().cause);
            let error = PushError::failed(&error);
            session.unsaved.note(error.clone());
            return Err(error.into());
        }
        session.unsaved.clear();
        tracing::info!("following: the database can be written again; all blocks are on disk");
    } else if session.state.is_write_failing() {
        let reader = session.reader.clone();
        let written = spawn_blocking(move || reader.probe_write()).await;
        let written = written.map_err(|error| FollowError::Store(error.to_string()))?;
        written.map_err(|error| PushError::failed(&error))?;
    }
    Ok(())
}
