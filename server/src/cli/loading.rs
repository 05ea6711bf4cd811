//! A replay that runs inside the server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args as ClapArgs;
use plait::{Metrics, ReplayProgress};
use plait_engine::cause::{Classified, chain};
use plait_engine::replay::source::Source;
use plait_engine::replay::{Progress, Summary};
use plait_engine::{ChainwebVersion, Engine, Writer};

use super::origin::Origin;
use super::progress::Display;
use super::replay::{How, Work};
use super::report::replay_advice;

/// How often clients are shown what is stored.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Inputs of a server.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Replay")]
pub(super) struct Inputs {
    /// Replay this while serving, as plait replay does; may be given several times. If there is no
    /// database, one is created.
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

    /// The network that is named, if one is.
    pub(super) const fn network(&self) -> Option<ChainwebVersion> {
        self.how.network()
    }

    /// Makes sure that there is a database in `db`, if there is something to replay.
    pub(super) fn prepare(self, db: &Path) -> Result<Option<Ready>, ExitCode> {
        if self.inputs.is_empty() {
            return Ok(None);
        }
        let origin = Origin::new(&self.how, db, &self.inputs);
        let origin = origin.map_err(|refusal| refusal.report())?;
        // It is opened again, with other caches.
        let Origin { first, writer, reader } = origin;
        drop((writer, reader));
        Ok(Some(Ready { inputs: self, first: Some(first) }))
    }
}

impl Ready {
    /// Replays all of it, unless `stop` is set, and tells the log what came of it.
    pub(super) fn run(self, writer: &mut Writer, stop: &AtomicBool, metrics: &Metrics) {
        let Self { inputs: Inputs { inputs, how }, first } = self;
        let work = Work {
            how: &how,
            inputs: &inputs,
            commit: None,
            in_order_from: None,
            show_every: Some(SHOW_EVERY),
        };
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
            Err(failure) => {
                let error = failure.error;
                if error.is_of_database() {
                    metrics.fail_write(error.fault().cause);
                }
                let (dir, advice) = (writer.dir(), replay_advice(&error));
                let stored = if error.is_of_displaced() {
                    "cannot be counted".to_owned()
                } else {
                    Engine::durable_blocks(dir).map_or_else(
                        |error| format!("cannot be counted: {}", chain(&error)),
                        |blocks| blocks.to_string(),
                    )
                };
                tracing::error!(
                    "the replay has failed: {}. Blocks on the disk: {stored}. {advice}",
                    advice.headline(&error)
                );
            }
        }
    }
}
