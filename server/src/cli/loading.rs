//! A replay beside the server.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use plait::{Metrics, ReplayProgress};
use plait_engine::replay::source::Source;
use plait_engine::replay::{Progress, Summary};
use plait_engine::{OpenError, Writer};
use rustix::process::nice;

use super::progress::Display;
use super::replay::{How, Work, replay_advice};
use super::{fail, open_advice};

/// How often clients are shown what is stored.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// What a replay takes of a core that requests want as well: a tenth of what they get. Where they
/// want nothing it takes all.
const NICENESS: i32 = 10;

/// How long to wait for it to end: for a commit, and for what is left of the hash index.
const END_TIME: Duration = Duration::from_mins(1);

const END_PAUSE: Duration = Duration::from_millis(20);

/// Inputs of a server.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Replay")]
pub(super) struct Inputs {
    /// Replay this while serving, as plait replay does; may be given several times. The database is
    /// made if there is none.
    #[arg(long = "replay", value_name = "INPUT")]
    inputs: Vec<PathBuf>,

    #[command(flatten)]
    how: How,
}

/// Inputs that are ready to be replayed.
pub(super) struct Ready {
    inputs: Inputs,
    first: Option<Box<dyn Source>>,
}

impl Inputs {
    /// Whether there is something to replay.
    pub(super) const fn any(&self) -> bool {
        !self.inputs.is_empty()
    }

    /// Makes sure that there is a database in `db`, if there is something to replay.
    pub(super) fn prepare(self, db: &Path) -> Result<Option<Ready>, ExitCode> {
        if self.inputs.is_empty() {
            return Ok(None);
        }
        let first = self.how.open_first(db, &self.inputs);
        let first = first.map_err(|error| fail(&error, replay_advice(&error)))?;
        let opened = self.how.open_database(db);
        opened.map_err(|error: OpenError| fail(&error, open_advice(&error)))?;
        Ok(Some(Ready { inputs: self, first }))
    }
}

/// A replay that runs.
pub(super) struct Loading {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Ready {
    /// Begins the replay; `None` if the system refuses a thread.
    pub(super) fn begin(self, mut writer: Writer, metrics: Metrics) -> io::Result<Loading> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = move || {
            // Of this thread and of those that it starts. Where it is refused they are as all others.
            if let Err(error) = nice(NICENESS) {
                tracing::debug!("the replay has no lower priority: {error}");
            }
            self.run(&mut writer, &stopped, &metrics);
        };
        let thread = thread::Builder::new().name("replay".to_owned()).spawn(work)?;
        Ok(Loading { stop, thread })
    }

    fn run(self, writer: &mut Writer, stop: &AtomicBool, metrics: &Metrics) {
        let Self { inputs: Inputs { inputs, how }, first } = self;
        let work = Work { how: &how, inputs: &inputs, commit: None, show_every: Some(SHOW_EVERY) };
        let counted = metrics.clone();
        let mut display = Display::log(move |progress: Progress| {
            let Summary { stored, known, rejected, payloads, .. } = progress.summary;
            counted.replay(Some(ReplayProgress { stored, known, rejected, payloads }));
        });
        metrics.replay(Some(ReplayProgress::default()));
        let result = work.run(writer, first, stop, &mut display);
        metrics.replay(None);
        match result {
            Ok(summary) if summary.stopped => {
                tracing::info!("the replay was stopped; the same command goes on with it");
            }
            Ok(summary) => {
                let Summary { stored, rejected, payloads, .. } = summary;
                tracing::info!(stored, payloads, rejected, "the replay has ended");
            }
            Err(error) => {
                tracing::error!("the replay has failed: {error}. {}", replay_advice(&error));
            }
        }
    }
}

impl Loading {
    /// Stops the replay, and waits until it has ended, but not for ever: what is committed is safe.
    pub(super) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let since = Instant::now();
        while !self.thread.is_finished() {
            if since.elapsed() > END_TIME {
                tracing::warn!("the replay does not end, and is cut off");
                return;
            }
            thread::sleep(END_PAUSE);
        }
    }
}
