//! Progress on a terminal: one line that fits any width, and other output printed above it.
//!
//! Inputs: a phase, the amount done, the total, and details. Output: a line on standard error. If
//! the total is known, the line has a bar, a percentage and an estimate of the time left. Details
//! follow in the given order, as many as fit next to a bar of [`BAR_MIN`] cells:
//!
//! ```text
//! 80 columns  replaying ██████████████░░░░░░░░░░░░  52% ETA 12s    1,835,008 headers  865,722/s
//! 40 columns  replaying ████████░░░░░░  52% ETA 12s
//! ```

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::termios::tcgetwinsize;

/// Minimum width of the bar, in columns.
const BAR_MIN: usize = 8;

/// Columns of `100% ETA 59s  `, and of the space before it.
const NUMBERS: usize = 15;

/// Assumed width of a terminal that does not report its width.
const COLUMNS: usize = 80;

/// How often the spinner and the estimate are redrawn while nothing else changes.
const TICK: Duration = Duration::from_millis(500);

/// The bar on the terminal, if there is one. Whatever else is printed must go above it.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// The progress of a command on a terminal.
pub(super) struct Bar {
    line: ProgressBar,
    phase: &'static str,
    template: &'static str,
}

impl Bar {
    pub(super) fn new() -> Self {
        // Draw nothing until there is something to show.
        let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Self { line, phase: "", template: "" }
    }

    /// Shows that `done` of `of` is done in `phase`, and details, the most important first. At most
    /// twenty calls a second are drawn, and always the first and the last one of a phase: however
    /// short it is, a user sees that it was there and how it ended.
    pub(super) fn show(
        &mut self,
        phase: &'static str,
        done: u64,
        of: Option<u64>,
        details: &[String],
    ) {
        let is_new = self.phase != phase;
        if is_new {
            self.line.force_draw();
            self.phase = phase;
            self.line.reset();
            self.line.set_prefix(phase);
        }
        let (template, text) = layout(phase, of.is_some(), details, columns());
        if self.template != template {
            self.template = template;
            let style = ProgressStyle::with_template(template);
            self.line.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        }
        match of {
            Some(of) => self.line.set_length(of),
            None => self.line.unset_length(),
        }
        self.line.set_message(text);
        self.line.set_position(done);
        let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.is_none() {
            *shown = Some(self.line.clone());
            self.line.set_draw_target(ProgressDrawTarget::stderr());
            self.line.enable_steady_tick(TICK);
        }
        if is_new {
            self.line.force_draw();
        }
    }

    /// Removes the line from the terminal.
    pub(super) fn clear(&self) {
        self.line.force_draw();
        self.line.finish_and_clear();
        *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The template for a terminal of `columns`, and its message: the details that fit.
fn layout(
    phase: &str,
    has_total: bool,
    details: &[String],
    columns: usize,
) -> (&'static str, String) {
    if !has_total {
        // The terminal line is truncated to fit.
        return ("{spinner} {prefix} {wide_msg}", details.join("  "));
    }
    let fixed = phase.len().saturating_add(NUMBERS);
    let Some(mut room) = columns.checked_sub(fixed.saturating_add(BAR_MIN)) else {
        return if columns > fixed {
            ("{prefix} {percent}% ETA {eta}", String::new())
        } else {
            ("{percent}%", String::new())
        };
    };
    let mut text = String::new();
    for detail in details {
        let columns = detail.len().saturating_add(2);
        let Some(left) = room.checked_sub(columns) else { break };
        room = left;
        text.push_str("  ");
        text.push_str(detail);
    }
    ("{prefix} {wide_bar} {percent:>3}% ETA {eta:3}{msg}", text)
}

/// Columns of the terminal.
fn columns() -> usize {
    let size = tcgetwinsize(io::stderr());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

/// Hides the bar, runs `print`, which prints whole lines, and shows the bar again.
pub(super) fn above<T>(print: impl FnOnce() -> T) -> T {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match shown {
        Some(bar) => bar.suspend(print),
        None => print(),
    }
}

/// Standard error, for a log whose lines go above the bar.
#[derive(Clone, Copy, Debug)]
pub(super) struct AboveBar;

impl Write for AboveBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        above(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_as_many_details_as_fit() {
        let details = ["1,835,008 headers", "865,722/s", "height 91,750"].map(str::to_owned);
        let text = |columns| layout("replaying", true, &details, columns);
        for (columns, count) in [(40, 0), (50, 0), (51, 1), (62, 2), (76, 2), (77, 3), (300, 3)] {
            let (template, text) = text(columns);
            assert!(template.contains("{wide_bar}"), "{columns}: {template}");
            assert_eq!(text.matches("  ").count(), count, "{columns}: {text}");
            assert!("replaying".len() + NUMBERS + BAR_MIN + text.len() <= columns);
        }
        assert_eq!(text(30).0, "{prefix} {percent}% ETA {eta}");
        assert_eq!(text(20).0, "{percent}%");
    }
}
