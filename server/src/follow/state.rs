use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use plait_engine::replay::Progress;

use super::error::FollowError;
use crate::address::Upstream;
use crate::metrics::{FollowFailure, FollowPhase, Metrics};

/// Time between two lines of the log about catching up.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Time between two lines about the same kind of failure of the same node.
const SAY_EVERY: Duration = Duration::from_mins(10);

/// Reports on following: in the log when something changes, and in metrics.
#[derive(Clone, Debug)]
pub(super) struct State {
    metrics: Metrics,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    /// The latest phase in the log.
    phase: Option<FollowPhase>,
    /// The latest failure in the log: of which node, and when.
    failure: Option<(String, FollowFailure, Instant)>,
    /// Whether the failure is the latest line of the two.
    has_failed: bool,
    /// When progress was last logged.
    progress: Instant,
    /// Since when the database is in step.
    in_step: Option<Instant>,
}

impl State {
    pub(super) fn new(metrics: Metrics) -> Self {
        let shared = Shared {
            upstream: String::new(),
            phase: None,
            failure: None,
            has_failed: false,
            progress: Instant::now(),
            in_step: None,
        };
        metrics.follow(FollowPhase::Connecting);
        Self { metrics, shared: Arc::new(Mutex::new(shared)) }
    }

    /// Reports the node that is asked now.
    pub(super) fn ask(&self, upstream: &Upstream) {
        self.shared().upstream = upstream.to_string();
    }

    /// Reports the current phase.
    pub(super) fn enter(&self, phase: FollowPhase) {
        self.metrics.follow(phase);
        let mut shared = self.shared();
        if matches!(phase, FollowPhase::Live | FollowPhase::Polling) {
            shared.in_step.get_or_insert_with(Instant::now);
        }
        if shared.phase == Some(phase) && !shared.has_failed {
            return;
        }
        let upstream = &shared.upstream;
        match phase {
            FollowPhase::Connecting | FollowPhase::Waiting => return,
            FollowPhase::CatchingUp => tracing::info!(upstream, "following: catching up"),
            FollowPhase::Live => tracing::info!(upstream, "following: in step, by its events"),
            FollowPhase::Polling => {
                tracing::info!(upstream, "following: in step, by asking for its cut");
            }
        }
        (shared.phase, shared.has_failed) = (Some(phase), false);
    }

    /// How long the database was in step, until now.
    pub(super) fn leave_step(&self) -> Duration {
        self.shared().in_step.take().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Reports a failure, and that the next try comes after `wait`.
    pub(super) fn fail(&self, error: &FollowError, wait: Duration) {
        self.metrics.fail_follow(error.failure());
        self.metrics.follow(FollowPhase::Waiting);
        let wait = format!("trying again in {:.1} s", wait.as_secs_f64());
        if self.say(error, &wait) {
            self.shared().has_failed = true;
        }
    }

    /// Reports false data from the node, which is left out.
    pub(super) fn leave_out(&self, error: &FollowError) {
        self.metrics.fail_follow(error.failure());
        self.say(error, "leaving it out, and taking the true data from another node");
    }

    /// Warns of a failure, unless a warning of the same kind was just logged for the same node.
    fn say(&self, error: &FollowError, then: &str) -> bool {
        let mut shared = self.shared();
        let upstream = shared.upstream.clone();
        let text = format!("following: {upstream}: {error}; {then}");
        let kind = error.failure();
        let was_said = shared.failure.as_ref().is_some_and(|(of, why, when)| {
            *of == upstream && *why == kind && when.elapsed() < SAY_EVERY
        });
        if was_said {
            tracing::debug!("{text}");
            return false;
        }
        tracing::warn!("{text}");
        shared.failure = Some((upstream, kind, Instant::now()));
        true
    }

    /// Reports the heights of the cuts, of the node and of this database.
    pub(super) fn heights(&self, theirs: u64, ours: u64) {
        self.metrics.follow_heights(theirs, ours);
    }

    /// Reports the progress of a replay.
    pub(super) fn progress(&self, progress: &Progress) {
        let mut shared = self.shared();
        if shared.progress.elapsed() >= LOG_EVERY {
            shared.progress = Instant::now();
            let (height, headers) = (progress.height, progress.summary.records());
            tracing::info!("following: {headers} headers read, height {height}");
        }
    }

    /// Counts stored blocks.
    pub(super) fn took(&self, blocks: u64) {
        self.metrics.followed(blocks);
    }

    /// Nothing that holds this lock panics.
    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
