//! Backups of the database that is served, when clients ask for them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use plait_engine::Reader;
use plait_engine::backup::{
    BackupError, BackupId, Backups, Begun, Contents, Job, Origin, Request, Status,
};

use crate::config::Backup;
use crate::metrics::Metrics;
use crate::request_id::RequestId;

/// How long to wait for a job to end that was asked to stop.
const STOP_TIME: Duration = Duration::from_secs(5);

/// The time between two looks at whether it has.
const STOP_PAUSE: Duration = Duration::from_millis(10);

/// What makes backups: each job has a thread of its own, and one runs at a time.
#[derive(Debug)]
pub(crate) struct Jobs {
    backups: Backups,
    keep: Option<usize>,
    metrics: Metrics,
    stop: Arc<AtomicBool>,
    last: Mutex<Option<JoinHandle<()>>>,
}

impl Jobs {
    /// Those of a server of `reader`.
    pub(crate) fn new(reader: &Reader, config: &Backup, metrics: Metrics) -> Self {
        let beside = || Backups::default_dir(reader.dir());
        let dir: PathBuf = config.directory.clone().unwrap_or_else(beside);
        let (stop, last) = (Arc::new(AtomicBool::new(false)), Mutex::new(None));
        Self { backups: Backups::new(&dir), keep: config.keep, metrics, stop, last }
    }

    /// Begins a job, unless one runs; the name of either. Blocks for a moment.
    pub(crate) fn begin(&self, reader: Reader, pact: bool) -> Result<BackupId, BackupError> {
        let job = match self.backups.begin()? {
            Begun::Running(id) => return Ok(id),
            Begun::Started(job) => job,
        };
        let (id, stop) = (job.id().clone(), Arc::clone(&self.stop));
        let request = Request { pact, keep: self.keep };
        tracing::info!(%id, pact, request = %RequestId::current(), "making a backup");
        let metrics = self.metrics.clone();
        let work = move || run(job, &Origin::Here(reader), request, &stop, &metrics);
        let thread = thread::Builder::new().name("backup".to_owned()).spawn(work);
        // Where there is no thread the job was dropped with the work, and has failed.
        let thread =
            thread.map_err(|source| BackupError::Io { path: self.backups.path(&id), source })?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(id)
    }

    /// What became of a job. Blocks for a moment.
    pub(crate) fn status(&self, id: &BackupId) -> Result<Option<Status>, BackupError> {
        self.backups.status(id)
    }

    /// Stops the job that runs, and waits until it has ended, but not for ever: what goes on is cut
    /// off with the process.
    pub(crate) fn end(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(last) = last else { return };
        let since = Instant::now();
        while !last.is_finished() {
            if since.elapsed() > STOP_TIME {
                tracing::warn!("a backup does not end, and is cut off");
                return;
            }
            thread::sleep(STOP_PAUSE);
        }
    }
}

fn run(job: Job, origin: &Origin, request: Request, stop: &AtomicBool, metrics: &Metrics) {
    let (id, begin) = (job.id().clone(), Instant::now());
    metrics.begin_backup();
    let result = job.run(origin, request, stop);
    metrics.end_backup(result.is_ok(), begin.elapsed());
    let seconds = begin.elapsed().as_secs_f64();
    match result {
        Ok(contents) => {
            let Contents { blocks, cut_height, .. } = contents;
            tracing::info!(%id, blocks, cut_height, bytes = contents.bytes(), seconds, "backup done");
        }
        Err(error) => tracing::error!(%id, seconds, "backup failed: {error}"),
    }
}
