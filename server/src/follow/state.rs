use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use plait_engine::replay::Progress;

use super::error::FollowError;
use crate::address::Upstream;
use crate::metrics::{FollowFailure, FollowPhase, Metrics};

/// Time between two lines of the log about one catch-up.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Time between two lines about the same kind of failure of the same node.
const SAY_EVERY: Duration = Duration::from_mins(10);

/// What is told of following: in the log once a change, and in numbers.
#[derive(Clone, Debug)]
pub(super) struct State {
    metrics: Metrics,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    /// What was said last of how it goes.
    phase: Option<FollowPhase>,
    /// What was said last of how it does not: of which node, and when.
    failure: Option<(String, FollowFailure, Instant)>,
    /// Whether that is the last that was said.
    has_failed: bool,
    /// When progress was said last.
    progress: Instant,
    /// Since when it is in step.
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

    /// This node is asked now.
    pub(super) fn ask(&self, upstream: &Upstream) {
        self.shared().upstream = upstream.to_string();
    }

    /// This is done now.
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

    /// How long it was in step, until now.
    pub(super) fn leave_step(&self) -> Duration {
        self.shared().in_step.take().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// It failed, and is tried again after `wait`.
    pub(super) fn fail(&self, error: &FollowError, wait: Duration) {
        self.metrics.fail_follow(error.failure());
        self.metrics.follow(FollowPhase::Waiting);
        let wait = format!("trying again in {:.1} s", wait.as_secs_f64());
        if self.say(error, &wait) {
            self.shared().has_failed = true;
        }
    }

    /// It gave something false, which is left out.
    pub(super) fn leave_out(&self, error: &FollowError) {
        self.metrics.fail_follow(error.failure());
        self.say(error, "leaving it out, and taking what is true from whichever node has it");
    }

    /// Warns of a failure, unless the same kind was said lately of the same node.
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

    /// Heights of the cuts, of the node and of this database.
    pub(super) fn heights(&self, theirs: u64, ours: u64) {
        self.metrics.follow_heights(theirs, ours);
    }

    /// A replay has come so far.
    pub(super) fn progress(&self, progress: &Progress) {
        let mut shared = self.shared();
        if shared.progress.elapsed() >= LOG_EVERY {
            shared.progress = Instant::now();
            let (height, headers) = (progress.height, progress.summary.records());
            tracing::info!("following: {headers} headers read, height {height}");
        }
    }

    /// So many blocks were stored.
    pub(super) fn took(&self, blocks: u64) {
        self.metrics.followed(blocks);
    }

    /// Nothing that holds this lock panics.
    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
