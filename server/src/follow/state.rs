use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use plait_engine::cause::Cause;
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
    /// The latest failure in the log: of which node, of which kind, in which words, and when.
    failure: Option<(String, FollowFailure, String, Instant)>,
    /// Whether the failure is the latest line of the two.
    has_failed: bool,
    /// When progress was last logged.
    progress: Instant,
    /// Since when the database is in step.
    in_step: Option<Instant>,
    /// Whether blocks were stored since the node was asked first.
    has_taken: bool,
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
            has_taken: false,
        };
        metrics.follow(FollowPhase::Connecting);
        Self { metrics, shared: Arc::new(Mutex::new(shared)) }
    }

    /// Reports the node that is asked now.
    pub(super) fn ask(&self, upstream: &Upstream) {
        let mut shared = self.shared();
        (shared.upstream, shared.has_taken) = (upstream.to_string(), false);
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

    /// How long the database was in step with a node that brought blocks, until now.
    pub(super) fn leave_step(&self) -> Duration {
        let mut shared = self.shared();
        let time = shared.in_step.take().map_or(Duration::ZERO, |since| since.elapsed());
        if shared.has_taken { time } else { Duration::ZERO }
    }

    /// Reports a failure, and that the next try comes after `wait`.
    pub(super) fn fail(&self, error: &FollowError, wait: Duration) {
        self.metrics.fail_follow(error.failure());
        self.metrics.follow(FollowPhase::Waiting);
        let wait = format!("trying again in {:.1} s", wait.as_secs_f64());
        if self.say(error, &wait, words(&error.to_string())) {
            self.shared().has_failed = true;
        }
    }

    /// Reports a node that is passed over, because others have not been asked yet.
    pub(super) fn pass_over(&self, error: &FollowError) {
        self.metrics.fail_follow(error.failure());
        self.say(error, "asking another node", words(&error.to_string()));
    }

    /// Reports false data from the node, which is left out.
    pub(super) fn leave_out(&self, error: &FollowError) {
        self.metrics.fail_follow(error.failure());
        // One line for all: they may be many.
        let then = "leaving it out, and taking the true data from another node";
        self.say(error, then, String::new());
    }

    /// Reports a wrong answer from a node whose other answers bring blocks.
    pub(super) fn go_on(&self, error: &FollowError) {
        self.metrics.fail_follow(error.failure());
        self.say(error, "taking the blocks that come nevertheless", words(&error.to_string()));
    }

    /// Reports payloads that no node has.
    pub(super) fn lack(&self, error: &FollowError) {
        self.metrics.fail_follow(error.failure());
        self.say(error, "their headers are stored without them", error.to_string());
    }

    /// Warns of a failure, unless the same was just logged for the same node.
    fn say(&self, error: &FollowError, then: &str, words: String) -> bool {
        let mut shared = self.shared();
        // Our own failure is not the node's.
        let upstream = if error.is_own() { String::new() } else { shared.upstream.clone() };
        let of = if error.is_own() { String::new() } else { format!("{upstream}: ") };
        let text = format!("following: {of}{error}; {then}");
        let kind = error.failure();
        let was_said = shared.failure.as_ref().is_some_and(|(of, why, said, when)| {
            *of == upstream && *why == kind && *said == words && when.elapsed() < SAY_EVERY
        });
        if was_said {
            tracing::debug!("{text}");
            return false;
        }
        tracing::warn!("{text}");
        shared.failure = Some((upstream, kind, words, Instant::now()));
        true
    }

    /// Counts a write to the database that failed.
    pub(super) fn fail_write(&self, cause: Cause) {
        self.metrics.fail_write(cause);
    }

    /// Whether writes to the database fail.
    pub(super) fn is_write_failing(&self) -> bool {
        self.metrics.is_write_failing()
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
        self.shared().has_taken |= blocks > 0;
    }

    /// Whether blocks were stored since the node was asked first.
    pub(super) fn has_taken(&self) -> bool {
        self.shared().has_taken
    }

    /// Nothing that holds this lock panics.
    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message without numbers and hashes: the same for each failure of the same kind.
fn words(text: &str) -> String {
    let is_word = |word: &&str| word.len() < 40 && !word.contains(|c: char| c.is_ascii_digit());
    text.split_whitespace().filter(is_word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_differ_only_in_numbers_and_hashes_have_the_same_words() {
        let hash = "Hz-cAYFaKu8vjtlT3zd7p8O0WE5ilZpSbFbOFF0Jz1w";
        let of =
            |height: u64, hash: &str| words(&format!("height {height}, block {hash}: is wrong"));
        assert_eq!(of(7, hash), of(80, &hash.replace('H', "x")));
        assert_ne!(words("/cut: not a cut"), words("/info: not a cut"));
    }
}
