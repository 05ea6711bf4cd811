use std::collections::BTreeMap;

use plait_engine::audit::{Event, Report};
use plait_engine::walk::FutureBlocks;

use serde_json::{Value, json};

use super::progress::{Display, Shown};

/// Reports the findings and the progress of the verification of a database.
pub(super) struct Found {
    display: Display,
    /// Total numbers of blocks and payloads.
    totals: [u64; 2],
    broken: Shown,
    flaws: BTreeMap<&'static str, Shown>,
    future: FutureBlocks,
}

impl Found {
    pub(super) fn new() -> Self {
        Self::on(Display::new())
    }

    /// Findings, progress and the result as JSON objects on standard output.
    pub(super) fn objects() -> Self {
        Self::on(Display::objects())
    }

    fn on(display: Display) -> Self {
        let (totals, broken, flaws, future) = Default::default();
        Self { display, totals, broken, flaws, future }
    }

    /// Takes an event of an audit.
    pub(super) fn tell(&mut self, event: &Event<'_>) {
        if let Event::Progress(report) = event {
            self.future = report.future;
        }
        let [blocks, payloads] = self.totals;
        match event {
            Event::Begin { blocks, payloads } => self.totals = [*blocks, *payloads],
            Event::Progress(report) if report.payloads > 0 => {
                let done = report.payloads;
                self.display.step("verifying payloads", done, Some(payloads), "payloads", None);
            }
            Event::Progress(report) => {
                let (done, height) = (report.blocks(), Some(report.height));
                self.display.step("verifying", done, Some(blocks), "headers", height);
            }
            Event::Flaw(flaw) => {
                let shown = self.flaws.entry(flaw.kind()).or_default();
                shown.line(&self.display, flaw.kind(), &flaw.to_string());
            }
            Event::Broken(header, failures) => {
                let (chain, height, hash) = (header.chain(), header.height(), header.hash());
                let text = format!("chain {chain}, height {height}, block {hash}: {failures}");
                self.broken.line(&self.display, "broken", &text);
            }
        }
    }

    /// Shows that `bytes` of `of` bytes are copied.
    pub(super) fn copied(&mut self, bytes: u64, of: u64) {
        self.display.bytes("copying", bytes, of);
    }

    /// Ends the progress.
    pub(super) fn finish(&self) {
        self.display.finish();
    }

    /// Says that the clock seems to be behind, where it does.
    pub(super) fn conclude_future(&self) {
        tell_future(self.future);
    }

    /// Reports the result.
    pub(super) fn conclude(&self, report: &Report) {
        let is_printed = self.display.summary(|| {
            let (passed, broken) = (report.passed, report.broken);
            let mut object = blocks_object(passed, broken, report.future, &self.display);
            let rest = json!({
                "payloads": report.payloads,
                "flaws": report.flaws,
                "stopped": report.stopped,
            });
            merge(&mut object, rest);
            object
        });
        if is_printed {
            return;
        }
        tell_blocks(report.passed, report.broken, self.display.seconds());
        if report.payloads > 0 {
            tell!("verified {} payloads", report.payloads);
        }
        if report.flaws > 0 {
            tell!("{} flaws in addition to broken blocks", report.flaws);
        }
        self.conclude_future();
        if report.stopped {
            tell!("stopped by a signal at height {}", report.height);
        }
    }
}

/// Says that the clock seems to be behind, where blocks are dated after it.
pub(super) fn tell_future(future: FutureBlocks) {
    let FutureBlocks { blocks, ahead } = future;
    if blocks > 0 {
        tell!(
            "{blocks} blocks are dated after this machine's clock, by up to {}: check the clock. The \
             blocks were verified against all other rules.",
            span(ahead)
        );
    }
}

/// A time in its largest unit, rounded up.
fn span(micros: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (86_400_000_000, "days"),
        (3_600_000_000, "hours"),
        (60_000_000, "minutes"),
        (1_000_000, "seconds"),
    ];
    let fits = UNITS.into_iter().find(|(unit, _)| micros >= unit.saturating_mul(2));
    let (unit, name) = fits.unwrap_or((1_000_000, "seconds"));
    format!("{} {name}", micros.div_ceil(unit))
}

/// Says how many blocks passed at each level, and how many did not.
pub(super) fn tell_blocks([none, hash, full]: [u64; 3], broken: u64, seconds: f64) {
    tell!(
        "verified {} blocks in {seconds:.1} s: {full} fully, {hash} at level hash, {none} at level \
         none, {broken} broken",
        [none, hash, full, broken].into_iter().fold(0, u64::saturating_add),
    );
}

/// The part of the JSON result that is about blocks.
pub(super) fn blocks_object(
    [none, hash, full]: [u64; 3],
    broken: u64,
    future: FutureBlocks,
    display: &Display,
) -> Value {
    let blocks = [none, hash, full, broken].into_iter().fold(0, u64::saturating_add);
    json!({
        "event": "summary",
        "blocks": blocks,
        "full": full,
        "hash": hash,
        "none": none,
        "broken": broken,
        "datedAfterNow": future.blocks,
        "seconds": display.seconds(),
    })
}

/// Adds the members of one object to another.
pub(super) fn merge(object: &mut Value, members: Value) {
    if let (Some(object), Value::Object(members)) = (object.as_object_mut(), members) {
        object.extend(members);
    }
}
