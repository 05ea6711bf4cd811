//! How far a command is: a bar on a terminal, a log line every ten seconds elsewhere, or objects for
//! machines.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use plait::bytes;
use plait_engine::replay::Progress;
use plait_engine::{BlockHeight, Micros};
use serde_json::{Value, json};

use super::advice::grouped;
use super::bar::Bar;

const LOG_EVERY: Duration = Duration::from_secs(10);

/// Any earlier, the rate would be that of the first batch.
const RATE_AFTER: Duration = Duration::from_millis(100);

/// Time between two JSON objects.
const OBJECT_EVERY: Duration = Duration::from_secs(1);

/// Lines of a kind that are printed one by one.
const LINES_MAX: u64 = 20;

/// Shows progress on standard error, or as objects on standard output.
pub(super) struct Display {
    to: To,
    start: Instant,
    phase: Phase,
    shown: Option<Instant>,
    observer: Option<Observer>,
}

/// Called at every step, whether it is displayed or not.
type Observer = Box<dyn FnMut(Progress) + Send>;

enum To {
    Terminal(Bar),
    Log,
    /// One JSON object a line.
    Machine,
}

impl Display {
    pub(super) fn new() -> Self {
        Self::to(if io::stderr().is_terminal() { To::Terminal(Bar::new()) } else { To::Log })
    }

    /// In the log, wherever that goes, and to `observer`.
    pub(super) fn log(observer: impl FnMut(Progress) + Send + 'static) -> Self {
        Self { observer: Some(Box::new(observer)), ..Self::to(To::Log) }
    }

    /// Progress as JSON objects on standard output.
    pub(super) fn objects() -> Self {
        Self::to(To::Machine)
    }

    fn to(to: To) -> Self {
        let start = Instant::now();
        let phase = Phase { name: "", start, done: 0 };
        Self { to, start, phase, shown: None, observer: None }
    }

    /// Shows the progress of reading an input.
    pub(super) fn show(&mut self, progress: Progress) {
        if let Some(observer) = &mut self.observer {
            observer(progress);
        }
        let Progress { position, size, height, summary } = progress;
        let records = summary.records().saturating_add(summary.waiting);
        let records = records.saturating_sub(summary.skipped);
        if !self.is_due("replaying", records) {
            return;
        }
        let rate = self.phase.rate(records);
        if matches!(self.to, To::Machine) {
            return object(&json!({
                "event": "progress",
                "headers": summary.records(),
                "waiting": summary.waiting,
                "payloads": summary.payloads,
                "headersPerSecond": rate.unwrap_or_default().round(),
                "height": height.get(),
                "bytes": position,
                "bytesTotal": size,
                "seconds": self.seconds(),
            }));
        }
        let mut details = vec![format!("{} headers", grouped(summary.records()))];
        if summary.waiting > 0 {
            // In the order of a node's database, nearly all blocks are held back at first.
            details.push(format!("{} held back for parents", grouped(summary.waiting)));
        }
        details.extend(rate.map(per_second));
        if summary.payloads > 0 {
            details.push(format!("{} payloads", grouped(summary.payloads)));
        }
        details.push(format!("height {}", grouped(height.get())));
        match size {
            Some(size) => details.push(format!("{} of {}", bytes(position), bytes(size))),
            None => details.push(bytes(position)),
        }
        self.put(position, size, &details);
    }

    /// Shows how many of the held-back blocks are verified.
    pub(super) fn held(&mut self, blocks: u64, of: u64, progress: Progress) {
        if let Some(observer) = &mut self.observer {
            observer(progress);
        }
        let height = progress.height;
        self.step("held-back blocks", blocks, Some(of), "headers", Some(height));
    }

    /// Shows how many blocks have been sorted into the hash index.
    pub(super) fn indexed(&mut self, blocks: u64) {
        self.step("sorting hash index", blocks, None, "headers", None);
    }

    /// Shows that `done` of `of` units are done in a phase, and up to which height.
    pub(super) fn step(
        &mut self,
        phase: &'static str,
        done: u64,
        of: Option<u64>,
        unit: &str,
        height: Option<BlockHeight>,
    ) {
        if !self.is_due(phase, done) {
            return;
        }
        let (rate, of) = (self.phase.rate(done), of.map(|of| of.max(done)));
        if matches!(self.to, To::Machine) {
            return object(&json!({
                "event": phase.replace(' ', "-"),
                unit: done,
                "of": of,
                "seconds": self.seconds(),
            }));
        }
        let count = match of {
            Some(of) => format!("{} of {} {unit}", grouped(done), grouped(of)),
            // Sorting has no count at first.
            None if done == 0 => String::new(),
            None => format!("{} {unit}", grouped(done)),
        };
        let mut details = vec![count];
        details.extend(rate.map(per_second));
        details.extend(height.map(|height| format!("height {}", grouped(height.get()))));
        self.put(done, of, &details);
    }

    /// Shows that `done` of `of` bytes are done in a phase.
    pub(super) fn bytes(&mut self, phase: &'static str, done: u64, of: u64) {
        if self.is_due(phase, done) {
            self.put(done, Some(of), &[format!("{} of {}", bytes(done), bytes(of))]);
        }
    }

    fn put(&mut self, done: u64, of: Option<u64>, details: &[String]) {
        let phase = self.phase.name;
        match &mut self.to {
            To::Terminal(bar) => bar.show(phase, done, of, details),
            To::Log | To::Machine => {
                let percent = of.and_then(|of| done.saturating_mul(100).checked_div(of));
                let percent = percent.map(|percent| format!("{percent} %, ")).unwrap_or_default();
                tracing::info!("{phase}: {percent}{}", details.join(", "));
            }
        }
    }

    /// Prints a line without tearing the bar.
    pub(super) fn line(&self, kind: &str, text: &str) {
        match &self.to {
            To::Terminal(_) | To::Log => tell!("{kind}: {text}"),
            To::Machine => object(&json!({ "event": kind, "text": text })),
        }
    }

    /// Ends the progress.
    pub(super) fn finish(&self) {
        if let To::Terminal(bar) = &self.to {
            bar.clear();
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
    pub(super) fn rate(&self, headers: u64) -> f64 {
        rate(headers, self.start)
    }

    /// Seconds so far.
    pub(super) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Whether the interval since the last output is over; if so, a new one begins. `done` is the
    /// amount done in the phase. The bar takes every step, and draws some of them.
    fn is_due(&mut self, phase: &'static str, done: u64) -> bool {
        let every = match &self.to {
            To::Terminal(_) => Duration::ZERO,
            To::Log => LOG_EVERY,
            To::Machine => OBJECT_EVERY,
        };
        let is_new = self.phase.name != phase;
        if is_new && self.phase.name.is_empty() {
            self.phase.name = phase;
        } else if is_new {
            self.phase = Phase { name: phase, start: Instant::now(), done };
        }
        let due = self.shown.unwrap_or(self.start).elapsed() >= every;
        if due {
            self.shown = Some(Instant::now());
        }
        due
    }
}

/// The current phase.
struct Phase {
    name: &'static str,
    start: Instant,
    /// The amount that was already done when the phase started.
    done: u64,
}

impl Phase {
    /// The amount done per second; `None` until [`RATE_AFTER`] has passed.
    fn rate(&self, done: u64) -> Option<f64> {
        let is_known = self.start.elapsed() >= RATE_AFTER;
        is_known.then(|| rate(done.saturating_sub(self.done), self.start))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
fn rate(count: u64, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64().max(1e-9)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is positive, and a huge one is of no interest"
)]
fn per_second(rate: f64) -> String {
    format!("{}/s", grouped(rate.round() as u64))
}

/// The first object for machines that could not be printed, and why.
static UNPRINTED: Mutex<Option<io::Error>> = Mutex::new(None);

/// Prints an object for machines. The command continues if that fails, because its work does not
/// depend on it; [`unprinted`] returns the error in the end.
fn object(value: &Value) {
    if let Err(error) = writeln!(io::stdout(), "{value}") {
        UNPRINTED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// Why an object for machines could not be printed, if one could not.
pub(super) fn unprinted() -> Option<io::Error> {
    UNPRINTED.lock().unwrap_or_else(PoisonError::into_inner).take()
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
