//! How far a command is: a bar on a terminal, a log line every ten seconds elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};
use plait_engine::replay::Progress;
use plait_engine::{BlockHeight, Micros};

const LOG_EVERY: Duration = Duration::from_secs(10);

/// Lines of a kind that are printed one by one.
const LINES_MAX: u64 = 20;

/// Shows progress on standard error.
pub(super) struct Display {
    /// Absent where nobody watches.
    bar: Option<ProgressBar>,
    start: Instant,
    logged: Instant,
}

impl Display {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            bar: std::io::stderr().is_terminal().then(ProgressBar::no_length),
            start: now,
            logged: now,
        }
    }

    pub(super) fn show(&mut self, progress: Progress) {
        let Some(bar) = &self.bar else {
            let text = self.counts(progress);
            return self.log(&text);
        };
        match progress.size {
            Some(size) if bar.length() != Some(size) => {
                bar.set_length(size);
                bar.set_style(style("{bar:30} {bytes}/{total_bytes} {msg} ETA {eta}"));
            }
            None if bar.length().is_some() || bar.position() == 0 => {
                bar.unset_length();
                bar.set_style(style("{spinner} {bytes} {msg}"));
            }
            Some(_) | None => {}
        }
        bar.set_position(progress.position);
        bar.set_message(self.counts(progress));
    }

    /// Shows how many blocks were read again, and up to which height.
    pub(super) fn heights(&mut self, blocks: u64, height: BlockHeight) {
        self.text(format!("{blocks} headers, {:.0}/s, height {height}", self.rate(blocks)));
    }

    /// Shows how many files were read.
    pub(super) fn files(&mut self, files: u64) {
        self.text(format!("{files} files"));
    }

    fn text(&mut self, text: String) {
        match &self.bar {
            Some(bar) => {
                bar.set_style(style("{spinner} {msg}"));
                bar.set_message(text);
                bar.tick();
            }
            None => self.log(&text),
        }
    }

    /// Shows how many of so many blocks are done.
    pub(super) fn share(&mut self, blocks: u64, of: u64) {
        let text = format!("{blocks} of {of} headers, {:.0}/s", self.rate(blocks));
        let Some(bar) = &self.bar else { return self.log(&text) };
        if bar.length() != Some(of) {
            bar.set_length(of);
            bar.set_style(style("{bar:30} {msg} ETA {eta}"));
        }
        bar.set_position(blocks);
        bar.set_message(text);
    }

    /// Prints a line without tearing the bar.
    pub(super) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn log(&mut self, text: &str) {
        if self.logged.elapsed() >= LOG_EVERY {
            self.logged = Instant::now();
            tracing::info!("{text}");
        }
    }

    fn counts(&self, progress: Progress) -> String {
        let summary = progress.summary;
        let records = summary.stored + summary.known + summary.rejected;
        format!("{records} headers, {:.0}/s, height {}", self.rate(records), progress.height)
    }

    /// Headers a second so far.
    #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
    fn rate(&self, headers: u64) -> f64 {
        headers as f64 / self.start.elapsed().as_secs_f64().max(1e-9)
    }
}

/// How many lines of a kind were printed: all of them would be too many.
#[derive(Default)]
pub(super) struct Shown(u64);

impl Shown {
    pub(super) fn line(&mut self, display: &Display, kind: &str, text: &str) {
        self.0 += 1;
        if self.0 <= LINES_MAX {
            display.line(&format!("{kind}: {text}"));
        } else if self.0 == LINES_MAX + 1 {
            display.line(&format!("{kind}: more, which are counted only"));
        }
    }
}

/// The present time, by the clock of this machine.
pub(super) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::new(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
