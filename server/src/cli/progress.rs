//! How far a replay is: a bar on a terminal, a log line every ten seconds elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use plait_engine::replay::Progress;

const LOG_EVERY: Duration = Duration::from_secs(10);

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
        let Some(bar) = &self.bar else { return self.log(progress) };
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

    fn log(&mut self, progress: Progress) {
        if self.logged.elapsed() >= LOG_EVERY {
            self.logged = Instant::now();
            tracing::info!("{}", self.counts(progress));
        }
    }

    fn counts(&self, progress: Progress) -> String {
        let summary = progress.summary;
        let records = summary.stored + summary.known + summary.rejected;
        #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
        let rate = records as f64 / self.start.elapsed().as_secs_f64().max(1e-9);
        format!("{records} headers, {rate:.0}/s, height {}", progress.height)
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
