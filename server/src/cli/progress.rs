//! How far a command is: a bar on a terminal, a log line every ten seconds elsewhere, or objects for
//! machines.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};
use plait_engine::replay::Progress;
use plait_engine::{BlockHeight, Micros};
use serde_json::{Value, json};

const LOG_EVERY: Duration = Duration::from_secs(10);

/// The same for machines.
const OBJECT_EVERY: Duration = Duration::from_secs(1);

/// Time between two changes of the bar: a terminal is slow.
const DRAW_EVERY: Duration = Duration::from_millis(50);

/// Lines of a kind that are printed one by one.
const LINES_MAX: u64 = 20;

/// Shows progress on standard error, or as objects on standard output.
pub(super) struct Display {
    to: To,
    start: Instant,
    shown: Option<Instant>,
    observer: Option<Observer>,
}

/// Is told of every step, shown or not.
type Observer = Box<dyn FnMut(Progress) + Send>;

enum To {
    Terminal(ProgressBar),
    Log,
    /// One JSON object a line.
    Machine,
}

impl Display {
    pub(super) fn new() -> Self {
        Self::to(if io::stderr().is_terminal() {
            To::Terminal(ProgressBar::no_length())
        } else {
            To::Log
        })
    }

    /// In the log, wherever that goes, and to `observer`.
    pub(super) fn log(observer: impl FnMut(Progress) + Send + 'static) -> Self {
        Self { observer: Some(Box::new(observer)), ..Self::to(To::Log) }
    }

    /// The same for machines.
    pub(super) fn objects() -> Self {
        Self::to(To::Machine)
    }

    fn to(to: To) -> Self {
        Self { to, start: Instant::now(), shown: None, observer: None }
    }

    pub(super) fn show(&mut self, progress: Progress) {
        if let Some(observer) = &mut self.observer {
            observer(progress);
        }
        if !self.is_due() {
            return;
        }
        let records = progress.summary.records();
        let rate = self.rate(records.saturating_sub(progress.summary.skipped));
        let payloads = match progress.summary.payloads {
            0 => String::new(),
            payloads => format!(", {payloads} payloads"),
        };
        let text = format!("{records} headers{payloads}, {rate:.0}/s, height {}", progress.height);
        match &self.to {
            To::Log => tracing::info!("{text}"),
            To::Machine => object(&json!({
                "event": "progress",
                "headers": records,
                "payloads": progress.summary.payloads,
                "headersPerSecond": rate.round(),
                "height": progress.height.get(),
                "bytes": progress.position,
                "bytesTotal": progress.size,
                "seconds": self.start.elapsed().as_secs_f64(),
            })),
            To::Terminal(bar) => {
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
                bar.set_message(text);
            }
        }
    }

    /// Shows how many blocks are sorted into the hash index.
    pub(super) fn indexed(&mut self, blocks: u64) {
        if !self.is_due() {
            return;
        }
        match &self.to {
            To::Machine => object(&json!({ "event": "indexing", "headers": blocks })),
            To::Terminal(_) | To::Log => self.spin(&format!("hash index: {blocks} headers sorted")),
        }
    }

    /// Shows how many blocks were read again, and up to which height.
    pub(super) fn heights(&mut self, blocks: u64, height: BlockHeight) {
        if self.is_due() {
            let rate = self.rate(blocks);
            self.spin(&format!("{blocks} headers, {rate:.0}/s, height {height}"));
        }
    }

    /// Shows how many payloads were verified.
    pub(super) fn payloads(&mut self, payloads: u64) {
        if self.is_due() {
            self.spin(&format!("{payloads} payloads"));
        }
    }

    /// Shows how many files were read.
    pub(super) fn files(&mut self, files: u64) {
        if self.is_due() {
            self.spin(&format!("{files} files"));
        }
    }

    /// Shows how many of so many blocks are done.
    pub(super) fn share(&mut self, blocks: u64, of: u64) {
        if !self.is_due() {
            return;
        }
        let text = format!("{blocks} of {of} headers, {:.0}/s", self.rate(blocks));
        let To::Terminal(bar) = &self.to else { return self.spin(&text) };
        if bar.length() != Some(of) {
            bar.set_length(of);
            bar.set_style(style("{bar:30} {msg} ETA {eta}"));
        }
        bar.set_position(blocks);
        bar.set_message(text);
    }

    /// Shows how many of so many bytes are done.
    pub(super) fn bytes(&mut self, bytes: u64, of: u64) {
        if !self.is_due() {
            return;
        }
        let To::Terminal(bar) = &self.to else {
            return self.spin(&format!("{bytes} of {of} bytes"));
        };
        bar.set_length(of);
        bar.set_style(style("{bar:30} {bytes}/{total_bytes} ETA {eta}"));
        bar.set_position(bytes);
    }

    /// Prints a line without tearing the bar.
    pub(super) fn line(&self, kind: &str, text: &str) {
        match &self.to {
            To::Terminal(bar) => bar.suspend(|| tell!("{kind}: {text}")),
            To::Log => tell!("{kind}: {text}"),
            To::Machine => object(&json!({ "event": kind, "text": text })),
        }
    }

    /// Ends the progress.
    pub(super) fn finish(&self) {
        if let To::Terminal(bar) = &self.to {
            bar.finish_and_clear();
        }
    }

    /// Prints what came of the command, if it is for machines.
    pub(super) fn summary(&self, summary: impl FnOnce() -> Value) -> bool {
        let for_machines = matches!(self.to, To::Machine);
        if for_machines {
            object(&summary());
        }
        for_machines
    }

    /// Headers a second so far.
    #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
    pub(super) fn rate(&self, headers: u64) -> f64 {
        headers as f64 / self.seconds().max(1e-9)
    }

    /// Seconds so far.
    pub(super) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Whether enough time has gone by to show something new; if so, it begins again.
    fn is_due(&mut self) -> bool {
        let every = match &self.to {
            To::Terminal(_) => DRAW_EVERY,
            To::Log => LOG_EVERY,
            To::Machine => OBJECT_EVERY,
        };
        let due = self.shown.unwrap_or(self.start).elapsed() >= every;
        if due {
            self.shown = Some(Instant::now());
        }
        due
    }

    fn spin(&self, text: &str) {
        match &self.to {
            To::Terminal(bar) => {
                bar.set_style(style("{spinner} {msg}"));
                bar.set_message(text.to_owned());
                bar.tick();
            }
            To::Log | To::Machine => tracing::info!("{text}"),
        }
    }
}

/// Prints an object for machines; who does not read on has seen enough.
fn object(value: &Value) {
    let _ = writeln!(io::stdout(), "{value}");
}

/// How many lines of a kind were printed: all of them would be too many.
#[derive(Default)]
pub(super) struct Shown(u64);

impl Shown {
    pub(super) fn line(&mut self, display: &Display, kind: &str, text: &str) {
        self.0 = self.0.saturating_add(1);
        if self.0 <= LINES_MAX {
            display.line(kind, text);
        } else if self.0 == LINES_MAX + 1 {
            display.line(kind, "more, which are counted only");
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
