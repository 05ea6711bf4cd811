use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;

use super::{Backup, Metrics, Replay};

/// What this process does beside answering, for people.
#[derive(Debug, Serialize)]
pub(crate) struct Work {
    /// If there was one since it began.
    replay: Option<ReplayState>,
    /// If it follows another node.
    follow: Option<FollowState>,
    backup: BackupState,
}

#[derive(Debug, Serialize)]
struct ReplayState {
    running: bool,
    stored: u64,
    known: u64,
    rejected: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FollowState {
    pub(super) phase: &'static str,
    pub(super) in_step: bool,
    /// What the cut of the node is higher, if that has told its own.
    pub(super) behind_heights: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BackupState {
    running: bool,
    /// Seconds since 1970.
    last_success: Option<u64>,
    failed: u64,
}

impl Metrics {
    /// What this process does beside answering.
    pub(crate) fn work(&self) -> Work {
        let counters = &self.counters;
        let Replay { running, stored, known, rejected, payloads: _ } = &counters.replay;
        let replay = ReplayState {
            running: running.load(Relaxed) != 0,
            stored: stored.load(Relaxed),
            known: known.load(Relaxed),
            rejected: rejected.load(Relaxed),
        };
        let was_one = replay.running || [replay.stored, replay.known, replay.rejected] != [0; 3];
        let Backup { running, done: _, failed, last_success, last_millis: _ } = &counters.backup;
        let last_success = last_success.load(Relaxed);
        let backup = BackupState {
            running: running.load(Relaxed) != 0,
            last_success: (last_success > 0).then_some(last_success),
            failed: failed.load(Relaxed),
        };
        let follow = counters.follow.state(self.is_write_failing());
        Work { replay: was_one.then_some(replay), follow, backup }
    }
}
