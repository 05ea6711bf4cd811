use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use plait_engine::push::Counts;

use super::text::{Kind, Text};

/// Blocks that are pushed.
#[derive(Debug, Default)]
pub(super) struct Ingest {
    is_on: AtomicBool,
    stored: AtomicU64,
    known: AtomicU64,
    waiting: AtomicU64,
    refused: AtomicU64,
    payloads_refused: AtomicU64,
    failed: AtomicU64,
}

impl Ingest {
    pub(super) fn switch_on(&self) {
        self.is_on.store(true, Relaxed);
    }

    pub(super) fn add(&self, counts: Counts) {
        let Counts { stored, known, waiting, refused, payloads_refused } = counts;
        self.stored.fetch_add(stored, Relaxed);
        self.known.fetch_add(known, Relaxed);
        self.waiting.fetch_add(waiting, Relaxed);
        self.refused.fetch_add(refused, Relaxed);
        self.payloads_refused.fetch_add(payloads_refused, Relaxed);
    }

    /// A batch was not stored.
    pub(super) fn fail(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(super) fn write(&self, text: &mut Text) {
        if !self.is_on.load(Relaxed) {
            return;
        }
        let name = "plait_ingest_blocks_total";
        text.family(name, Kind::Counter, "Blocks that were pushed, by what came of them.");
        for (outcome, count) in [
            ("stored", &self.stored),
            ("known", &self.known),
            ("waits", &self.waiting),
            ("refused", &self.refused),
        ] {
            text.sample(name, &[("outcome", outcome)], count.load(Relaxed));
        }
        let help = "Wrong payloads of pushed blocks whose headers are stored.";
        let name = "plait_ingest_payloads_refused_total";
        text.counter(name, help, self.payloads_refused.load(Relaxed));
        let help = "Batches that were pushed and could not be stored.";
        text.counter("plait_ingest_failures_total", help, self.failed.load(Relaxed));
    }
}
