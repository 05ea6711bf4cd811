use plait_engine::audit::{Event, Report};

use super::progress::{Display, Shown};

/// Tells what the verification of a database finds, and how far it is.
pub(super) struct Found {
    display: Display,
    broken: Shown,
}

impl Found {
    pub(super) fn new() -> Self {
        Self { display: Display::new(), broken: Shown::default() }
    }

    /// Takes what an audit tells.
    pub(super) fn tell(&mut self, event: Event<'_>) {
        match event {
            Event::Progress(report) => self.display.heights(report.blocks(), report.height),
            Event::Broken(header, failures) => {
                let (chain, height, hash) = (header.chain(), header.height(), header.hash());
                let text = format!("chain {chain}, height {height}, block {hash}: {failures}");
                self.broken.line(&self.display, "broken", &text);
            }
        }
    }

    /// Shows how many of so many bytes are done.
    pub(super) fn bytes(&mut self, bytes: u64, of: u64) {
        self.display.bytes(bytes, of);
    }

    /// Ends the progress.
    pub(super) fn finish(&self) {
        self.display.finish();
    }

    /// Says what came of all blocks.
    pub(super) fn conclude(&self, report: &Report) {
        let ([none, hash, full], broken) = (report.passed, report.broken);
        eprintln!(
            "verified {} blocks in {:.1} s: {full} fully, {hash} at level hash, {none} at level \
             none, {broken} broken",
            report.blocks(),
            self.display.seconds(),
        );
    }
}
