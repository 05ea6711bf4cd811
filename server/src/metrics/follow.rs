use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use super::state::FollowState;
use super::text::{Kind, Text};

/// What following another node is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FollowPhase {
    /// It is being asked.
    Connecting,
    /// Its history is being taken.
    CatchingUp,
    /// In step, by its events.
    Live,
    /// In step, by asking for its cut.
    Polling,
    /// It failed, and will be asked again.
    Waiting,
}

impl FollowPhase {
    const ALL: [(Self, &str); 5] = [
        (Self::Connecting, "connecting"),
        (Self::CatchingUp, "catching-up"),
        (Self::Live, "live"),
        (Self::Polling, "polling"),
        (Self::Waiting, "waiting"),
    ];
}

/// Why following failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FollowFailure {
    /// No connection, or one that broke.
    Connect,
    /// Too slow.
    Timeout,
    /// An unexpected status.
    Status,
    /// Another network.
    Network,
    /// Answers that are not what they should be.
    Content,
    /// A block that is wrong.
    Rules,
    /// Blocks that stand on none.
    Unconnected,
    /// A block of the future.
    Clock,
    /// The database does not take it.
    Store,
    /// The node lacks a required part of the history.
    Partial,
    /// Payloads that are wrong, or that no node has.
    Payload,
}

impl FollowFailure {
    const ALL: [(Self, &str); 11] = [
        (Self::Connect, "connect"),
        (Self::Timeout, "timeout"),
        (Self::Status, "status"),
        (Self::Network, "network"),
        (Self::Content, "content"),
        (Self::Rules, "rules"),
        (Self::Unconnected, "unconnected"),
        (Self::Clock, "clock"),
        (Self::Store, "store"),
        (Self::Partial, "partial"),
        (Self::Payload, "payload"),
    ];
}

/// Following another node.
#[derive(Debug, Default)]
pub(super) struct Follow {
    is_on: AtomicBool,
    phase: AtomicU8,
    blocks: AtomicU64,
    failures: [AtomicU64; FollowFailure::ALL.len()],
    /// Whether a node has told its cut since the beginning.
    is_told: AtomicBool,
    theirs: AtomicU64,
    ours: AtomicU64,
    contact: AtomicU64,
}

impl Follow {
    pub(super) fn enter(&self, phase: FollowPhase) {
        self.is_on.store(true, Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    pub(super) fn fail(&self, failure: FollowFailure) {
        if let Some(count) = self.failures.get(failure as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn took(&self, blocks: u64) {
        self.blocks.fetch_add(blocks, Relaxed);
    }

    /// The heights of the cuts.
    pub(super) fn heights(&self, theirs: u64, ours: u64) {
        self.theirs.store(theirs, Relaxed);
        self.ours.store(ours, Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.contact.store(now.as_secs(), Relaxed);
        self.is_told.store(true, Relaxed);
    }

    /// How far the cut is behind, if that is known.
    pub(super) fn lag(&self) -> Option<u64> {
        let lag = self.theirs.load(Relaxed).saturating_sub(self.ours.load(Relaxed));
        self.is_told.load(Relaxed).then_some(lag)
    }

    /// What it is at, if another node is followed; not in step while `write_failing`, because new blocks
    /// would not be stored.
    pub(super) fn state(&self, write_failing: bool) -> Option<FollowState> {
        let now = self.phase.load(Relaxed);
        let (phase, name) = FollowPhase::ALL.into_iter().find(|(phase, _)| *phase as u8 == now)?;
        let in_step = matches!(phase, FollowPhase::Live | FollowPhase::Polling) && !write_failing;
        let state = FollowState { phase: name, in_step, behind_heights: self.lag() };
        self.is_on.load(Relaxed).then_some(state)
    }

    pub(super) fn write(&self, text: &mut Text) {
        if !self.is_on.load(Relaxed) {
            return;
        }
        let name = "plait_follow_phase";
        text.family(name, Kind::Gauge, "What following another node is at: 1 for that phase.");
        let now = self.phase.load(Relaxed);
        for (phase, label) in FollowPhase::ALL {
            text.sample(name, &[("phase", label)], u8::from(phase as u8 == now));
        }
        let help = "Blocks that were stored by following.";
        text.counter("plait_follow_blocks_total", help, self.blocks.load(Relaxed));
        let name = "plait_follow_failures_total";
        text.family(name, Kind::Counter, "Times that following failed, by why.");
        for (failure, label) in FollowFailure::ALL {
            let count = self.failures.get(failure as usize).map_or(0, |count| count.load(Relaxed));
            text.sample(name, &[("why", label)], count);
        }
        if let Some(lag) = self.lag() {
            let help = "The height of the cut of the node that is followed, as it told last.";
            text.gauge("plait_follow_upstream_cut_height", help, self.theirs.load(Relaxed));
            text.gauge("plait_follow_lag", "How much lower the cut was here then.", lag);
            let help = "When it told, in Unix time.";
            let contact = self.contact.load(Relaxed);
            text.gauge("plait_follow_last_contact_timestamp_seconds", help, contact);
        }
    }
}
