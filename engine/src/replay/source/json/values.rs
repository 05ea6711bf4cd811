use super::super::{Place, RawPayload};
use super::record::{self, Draft, Records};
use super::resync::Resync;
use super::scan::{Scan, Step};
use super::search::Search;
use crate::replay::Wrong;
use crate::store::MarkedAt;
use crate::types::Grow;

/// Maximum nesting depth of arrays and pages.
pub(super) const DEPTH_MAX: usize = 8;

/// Items of an array that are put in order together: a page has 360 as a rule.
pub(super) const WINDOW_ITEMS: usize = 4096;

/// Where in [`MarkedAt::steps`] the lines end, and arrays and pages begin.
const LINE_BITS: u32 = 52;

/// The error for text before a value, such as that of a node's log.
pub(super) const NOT_JSON: &str = "text that is not JSON (--lenient skips log lines)";

pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// How values are read, and how much of them is held at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Whether what blocks carry is read, too.
    pub payloads: bool,
    /// Whether log lines between values are skipped: lines that are not JSON, and objects that have nothing
    /// of a header. What contains a header is rejected.
    pub lenient: bool,
    /// Bytes of one value at most: of a header or a block, not of an array or a page.
    pub value_bytes: usize,
    /// Bytes of payloads from which on the items so far are put in order and given.
    pub window_bytes: usize,
}

/// What [`Values::next`] has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A window: records that may be taken, and a place to go on from.
    Window,
    /// The end of what was fed.
    Input,
}

/// A stream of JSON values, whatever the white space between and within them: headers and blocks as they
/// are, in arrays, and in pages. It is fed in pieces of any size, and holds one value and one window.
///
/// # Windows
///
/// Items of an array or a page are given by ascending height, because branch pages descend and parents
/// come first here. An array may be longer than memory, so it is a few thousand items that are put in
/// order. Where such a window ends depends on the text alone.
#[derive(Debug)]
pub struct Values {
    pub(super) limits: Limits,
    pub(super) buffer: Vec<u8>,
    /// The first byte of `buffer` that is still needed.
    pub(super) at: usize,
    /// Bytes before `buffer`.
    pub(super) before: u64,
    /// Ends of lines before what is looked at next, and where that line begins.
    pub(super) lines: u64,
    pub(super) line_start: u64,
    /// How far the present line is indented, once something else than white space was there.
    pub(super) indent: Option<u64>,
    /// Arrays and pages that are open.
    pub(super) outer: Vec<Container>,
    pub(super) want: Want,
    pub(super) mode: Mode,
    pub(super) scan: Scan,
    /// Bytes that are known to be of a word.
    pub(super) word_len: usize,
    /// Where the present value begins, and how far its line is indented.
    pub(super) began: Place,
    pub(super) began_indent: u64,
    pub(super) resync: Resync,
    pub(super) window: Vec<Draft>,
    pub(super) window_bytes: usize,
    pub(super) skipped: u64,
    /// The log line that is skipped in [`Mode::Line`], unless a header was found in it. Comments and other
    /// fields of events are skipped without a search: they have no data.
    pub(super) skipped_line: Option<SkippedLine>,
}

/// A line of text that is skipped if there is no header in it.
#[derive(Debug)]
pub(super) struct SkippedLine {
    pub(super) search: Search,
    pub(super) place: Place,
}

/// An array, or a page with its items.
#[derive(Clone, Copy, Debug)]
pub(super) struct Container {
    pub(super) is_page: bool,
    /// The line it begins on, from 0.
    pub(super) line: u64,
    /// Its items so far; unknown where it was gone on within it.
    pub(super) items: Option<u64>,
}

/// What may come next in the innermost container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Value,
    ValueOrEnd,
    CommaOrEnd,
    /// Any of these, after an error.
    Any,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Between,
    Value,
    /// Members of a page after its items.
    Rest,
    /// A value that is too long, or such members.
    TooLong,
    /// Text outside of all values: a header without quotes, a field of an event, or a line of a log.
    Word,
    /// A line of which the rest is skipped.
    Line,
    /// What follows something wrong, up to where a value may begin.
    Resync,
}

/// Whether to go on with the bytes that are there.
pub(super) enum Flow {
    On,
    Stop(Next),
}

impl Values {
    /// Values to be fed.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: Vec::new(),
            at: 0,
            before: 0,
            lines: 0,
            line_start: 0,
            indent: None,
            outer: Vec::new(),
            want: Want::Value,
            mode: Mode::Between,
            scan: Scan::new(),
            word_len: 0,
            began: Place::Offset(0),
            began_indent: 0,
            resync: Resync::default(),
            window: Vec::new(),
            window_bytes: 0,
            skipped: 0,
            skipped_line: None,
        }
    }

    /// The same, from a place that [`Values::mark`] gave; the line there begins at `line_start`.
    #[must_use]
    pub fn resumed(limits: Limits, at: MarkedAt, line_start: u64) -> Self {
        let steps = at.steps.get();
        let containers =
            (0..(steps >> LINE_BITS >> DEPTH_MAX).min(DEPTH_MAX as u64)).map(|depth| {
                let is_page = steps >> LINE_BITS >> depth & 1 == 1;
                Container { is_page, line: 0, items: None }
            });
        Self {
            outer: containers.collect(),
            want: Want::CommaOrEnd,
            before: at.position.get(),
            lines: steps & ((1 << LINE_BITS) - 1),
            line_start,
            ..Self::new(limits)
        }
    }

    /// The place after the last window, with so many records before it.
    ///
    /// A byte offset does not say what is open there, so that stands above the number of the line: one
    /// bit for each array or page, and how many there are.
    #[must_use]
    pub fn mark(&self, records: u64) -> MarkedAt {
        let pages =
            self.outer.iter().rev().fold(0, |bits, outer| bits << 1 | u64::from(outer.is_page));
        let open = (self.outer.len() as u64) << DEPTH_MAX | pages;
        let steps = open << LINE_BITS | self.lines & ((1 << LINE_BITS) - 1);
        MarkedAt { position: self.offset().into(), steps: steps.into(), records: records.into() }
    }

    /// Takes some more bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.before.grow(self.at as u64);
            self.buffer.drain(..std::mem::take(&mut self.at));
            // What a long value needed is not kept for all that follow.
            if self.buffer.capacity() > self.limits.value_bytes / 4 {
                self.buffer.shrink_to(bytes.len().saturating_mul(2));
            }
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Lines of a log that were skipped since this was asked last.
    pub fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }

    /// Appends the records up to the end of a window, or of what was fed.
    pub fn next(&mut self, out: &mut Records) -> Next {
        loop {
            let flow = match self.mode {
                Mode::Between => self.between(out),
                Mode::Value => self.value(out),
                Mode::Rest => self.rest(out),
                Mode::TooLong => self.too_long(out),
                Mode::Word => self.word(false, out),
                Mode::Line => self.line(out),
                Mode::Resync => self.resync(out),
            };
            if let Flow::Stop(next) = flow {
                return next;
            }
        }
    }

    /// Appends what is left where the input ends.
    pub fn finish(&mut self, out: &mut Records) {
        match self.mode {
            Mode::Value if self.scan.ends_here() => {
                let len = self.held().len();
                let _ = self.end_value(len, out);
            }
            Mode::Word => {
                let _ = self.word(true, out);
            }
            _ => {}
        }
        if self.skipped_line.is_some() {
            let _ = self.line(out);
            self.end_line();
        }
        let within = match self.mode {
            Mode::Value => {
                Some((self.began.clone(), "the input ends within a value that begins here"))
            }
            Mode::Rest => Some((self.place(0), "the input ends within a page")),
            // A part of a byte order mark.
            Mode::Between if !self.held().is_empty() => Some((self.place(0), NOT_JSON)),
            Mode::Between | Mode::Line if !self.outer.is_empty() => {
                Some((self.place(0), "the input ends within an array"))
            }
            _ => None,
        };
        if let Some((place, reason)) = within {
            self.window.push(record::wrong(place, Wrong::Syntax { reason, begins: None }));
        }
        self.close_window(out);
    }

    /// The bytes that are not done with.
    pub(super) fn held(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Scans what is held, and counts the lines that end in it.
    pub(super) fn scan(&mut self) -> Step {
        let step = self.scan.step(self.buffer.get(self.at..).unwrap_or_default());
        if let Some((lines, line_start)) = self.scan.take_lines() {
            self.lines.grow(lines);
            self.line_start = self.offset().saturating_add(line_start as u64);
            // What began on another line says nothing of this one.
            self.indent = Some(0);
        }
        step
    }

    pub(super) fn take(&mut self, draft: Draft, out: &mut Records) -> Flow {
        self.window_bytes.grow(draft.0.payload.as_ref().map_or(0, RawPayload::len));
        self.window.push(draft);
        let is_full = self.window.len() >= WINDOW_ITEMS
            || self.window_bytes >= self.limits.window_bytes
            || self.outer.is_empty();
        (self.mode, self.want) = (Mode::Between, Want::CommaOrEnd);
        if is_full {
            self.close_window(out);
            return Flow::Stop(Next::Window);
        }
        Flow::On
    }

    pub(super) fn take_and(&mut self, draft: Draft, mode: Mode, out: &mut Records) -> Flow {
        let flow = self.take(draft, out);
        self.mode = mode;
        flow
    }

    pub(super) fn close_window(&mut self, out: &mut Records) {
        out.append(&mut self.window);
        self.window_bytes = 0;
    }

    /// The place of the first byte that is not yet processed.
    pub(super) const fn offset(&self) -> u64 {
        self.before.saturating_add(self.at as u64)
    }

    /// The place so many bytes on, on the present line.
    pub(super) fn place(&self, bytes: usize) -> Place {
        let offset = self.offset().saturating_add(bytes as u64);
        Place::Value {
            line: self.lines.saturating_add(1),
            column: offset.saturating_sub(self.line_start).saturating_add(1),
            offset,
            item: self.outer.last().and_then(|outer| outer.items).filter(|items| *items > 0),
        }
    }

    /// A value has ended that gives no record of its own.
    pub(super) fn after_value(&mut self, out: &mut Records) -> Flow {
        self.close_window(out);
        (self.mode, self.want) = (Mode::Between, Want::CommaOrEnd);
        Flow::Stop(Next::Window)
    }
}
