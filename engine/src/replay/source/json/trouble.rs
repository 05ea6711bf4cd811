use super::super::Place;
use super::record::{self, Records};
use super::resync::Resync;
use super::scan::Step;
use super::search::Search;
use super::values::{Flow, Mode, NOT_JSON, Next, SkippedLine, Values, Want};
use crate::header::text::STRING_LEN;
use crate::replay::Wrong;
use crate::types::Grow;

/// The error for text in front of a header, such as that of a log line that was not ended.
const HEADER_AFTER_TEXT: &str =
    "the line has a header after other text; put the header on a line of its own";

/// Input that is not JSON or too long, and how reading continues after it.
impl Values {
    /// Something is wrong at the present place.
    pub(super) fn push_wrong(&mut self, reason: &'static str) {
        let place = self.place(0);
        // Where a bracket is missing, that is seen only on a later line.
        let begins = match (self.mode, &self.began, &place) {
            (Mode::Value, Place::Value { line, .. }, Place::Value { line: here, .. }) => {
                Some(*line).filter(|line| line != here)
            }
            _ => None,
        };
        self.window.push(record::wrong(place, Wrong::Syntax { reason, begins }));
    }

    pub(super) fn begin_too_long(&mut self, step: Step, out: &mut Records) -> Flow {
        let wrong = Wrong::TooLong { bytes_max: self.limits.value_bytes };
        self.window.push(record::wrong(self.began.clone(), wrong));
        self.close_window(out);
        self.mode = Mode::TooLong;
        self.skip(step, out)
    }

    pub(super) fn too_long(&mut self, out: &mut Records) -> Flow {
        let step = self.scan();
        self.skip(step, out)
    }

    /// Goes on behind what was scanned of a value that is not kept.
    pub(super) fn skip(&mut self, step: Step, out: &mut Records) -> Flow {
        match step {
            Step::More => {
                self.at = self.buffer.len();
                self.scan.forget();
                Flow::Stop(Next::Input)
            }
            Step::Items(_) => {
                self.scan.decline_items();
                Flow::On
            }
            Step::End(len) => {
                self.at.grow(len);
                self.after_value(out)
            }
            Step::Bad(at, _) => {
                self.at.grow(at);
                self.begin_resync(false);
                Flow::On
            }
        }
    }

    /// A header without quotes, a field of an event, or text. `is_end` says that nothing follows.
    pub(super) fn word(&mut self, is_end: bool, out: &mut Records) -> Flow {
        let held = self.buffer.get(self.at..).unwrap_or_default();
        let unread = held.get(self.word_len..).unwrap_or_default();
        let is_word =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
        let more = unread.iter().position(|byte| !is_word(byte));
        self.word_len.grow(more.unwrap_or(unread.len()));
        if self.word_len > self.limits.value_bytes {
            let wrong = Wrong::TooLong { bytes_max: self.limits.value_bytes };
            return self.take_and(record::wrong(self.began.clone(), wrong), Mode::Line, out);
        }
        let word = held.get(..self.word_len).unwrap_or_default();
        let next = held.get(self.word_len).copied();
        match (word, next) {
            (_, None) if !is_end => return Flow::Stop(Next::Input),
            (b"data", Some(b':')) => {
                self.at.grow(self.word_len.saturating_add(1));
                self.mode = Mode::Between;
                return Flow::On;
            }
            (b"" | b"event" | b"id" | b"retry", Some(b':')) => {
                self.mode = Mode::Line;
                return Flow::On;
            }
            _ => {}
        }
        let is_line = matches!(next, None | Some(b'\n' | b'\r'));
        let is_header = word.len() == STRING_LEN && (is_line || matches!(next, Some(b' ' | b'\t')));
        if !is_header && (!is_line || word.is_empty() || self.limits.lenient) {
            return self.text_line(out);
        }
        let text = std::str::from_utf8(word).unwrap_or_default();
        let draft = record::word(self.began.clone(), text);
        self.at.grow(self.word_len);
        self.take_and(draft, Mode::Between, out)
    }

    /// A line that is not JSON: a log line, which is counted at its end, or an error.
    pub(super) fn text_line(&mut self, out: &mut Records) -> Flow {
        if !self.limits.lenient && !self.outer.is_empty() {
            return self.syntax(0, NOT_JSON);
        }
        if !self.limits.lenient {
            self.push_wrong(NOT_JSON);
            self.close_window(out);
            self.mode = Mode::Line;
            return Flow::On;
        }
        // A line of a log may begin with a bracket.
        let line = self.lines;
        self.outer.retain(|outer| outer.line != line || outer.items.is_none_or(|items| items > 1));
        let (search, place) = (Search::default(), self.place(0));
        self.skipped_line = Some(SkippedLine { search, place });
        self.mode = Mode::Line;
        Flow::On
    }

    /// The rest of a line that is skipped; its end is not.
    pub(super) fn line(&mut self, out: &mut Records) -> Flow {
        let held = self.buffer.get(self.at..).unwrap_or_default();
        let end = held.iter().position(|byte| *byte == b'\n');
        let text = held.get(..end.unwrap_or(held.len())).unwrap_or_default();
        let line = &mut self.skipped_line;
        let found = line.take_if(|line| line.search.step(text));
        self.at.grow(text.len());
        if let Some(SkippedLine { place, .. }) = found {
            self.window.push(record::wrong(place, Wrong::Line(HEADER_AFTER_TEXT)));
            self.close_window(out);
        }
        if end.is_none() {
            return Flow::Stop(Next::Input);
        }
        self.end_line();
        self.mode = Mode::Between;
        Flow::On
    }

    /// Counts a line that was skipped to its end.
    pub(super) fn end_line(&mut self) {
        self.skipped.grow(u64::from(self.skipped_line.take().is_some()));
    }

    /// Something is wrong so many bytes on.
    pub(super) fn syntax(&mut self, at: usize, reason: &'static str) -> Flow {
        self.at.grow(at);
        if self.mode == Mode::Between {
            self.began_indent = self.indent.unwrap_or(0);
        }
        self.push_wrong(reason);
        self.begin_resync(at > 0 && self.is_first_on_line());
        Flow::On
    }

    /// Whether only white space comes before the present place on its line, as far as that is held.
    pub(super) fn is_first_on_line(&self) -> bool {
        let start =
            self.line_start.checked_sub(self.before).and_then(|at| usize::try_from(at).ok());
        let before = start.and_then(|start| self.buffer.get(start..self.at));
        before.is_some_and(|before| before.trim_ascii_start().is_empty())
    }

    /// Looks for the next value behind one that has no end; it may begin at the present place if that is
    /// the `first` on its line.
    pub(super) fn begin_resync(&mut self, first: bool) {
        // An array that begins on the line of what is wrong is lost with it; one from above goes on.
        let began = match self.began {
            Place::Value { line, .. } if self.mode != Mode::Between => line.saturating_sub(1),
            _ => self.lines,
        };
        self.outer.retain(|outer| outer.line < began || outer.items.is_none());
        self.mode = Mode::Resync;
        self.resync = Resync::new(self.began_indent, first);
    }

    pub(super) fn resync(&mut self, out: &mut Records) -> Flow {
        self.close_window(out);
        let in_array = !self.outer.is_empty();
        while let Some(&byte) = self.buffer.get(self.at) {
            let indent = self.offset().saturating_sub(self.line_start);
            if self.resync.is_found(byte, indent, in_array) {
                self.indent = Some(indent);
                (self.mode, self.want) = (Mode::Between, Want::Any);
                return Flow::Stop(Next::Window);
            }
            self.at.grow(1);
            if byte == b'\n' {
                self.lines.grow(1);
                self.line_start = self.offset();
            }
        }
        Flow::Stop(Next::Input)
    }
}
