use super::record::{self, Records};
use super::scan::{Scan, Step};
use super::search;
use super::values::{BYTE_ORDER_MARK, Container, DEPTH_MAX, Flow, Mode, Next, Values, Want};
use crate::replay::Wrong;
use crate::types::Grow;

/// The error for an object of an unknown shape, and for a page with a header outside of its items.
const HEADER_WITHIN: &str = "the object contains a header in a member that is not read; headers are read \
                             from `header`, `data` and `items`";

/// Valid input: values, and the arrays and pages that contain them.
impl Values {
    /// White space, commas and brackets, up to where a value begins.
    pub(super) fn between(&mut self, out: &mut Records) -> Flow {
        loop {
            let Some(&byte) = self.buffer.get(self.at) else { return Flow::Stop(Next::Input) };
            match byte {
                b'\n' => {
                    self.at.grow(1);
                    self.lines.grow(1);
                    self.line_start = self.offset();
                    self.indent = None;
                }
                // The last one separates values in text sequences (RFC 7464).
                b' ' | b'\t' | b'\r' | 0x1E => self.at.grow(1),
                0xEF if self.outer.is_empty() && self.held().starts_with(BYTE_ORDER_MARK) => {
                    self.at.grow(BYTE_ORDER_MARK.len());
                }
                0xEF if self.outer.is_empty() && BYTE_ORDER_MARK.starts_with(self.held()) => {
                    return Flow::Stop(Next::Input);
                }
                _ => {
                    let (offset, line_start) = (self.offset(), self.line_start);
                    self.indent.get_or_insert(offset.saturating_sub(line_start));
                    if let Some(flow) = self.begin(byte, out) {
                        return flow;
                    }
                }
            }
        }
    }

    /// Takes a byte that is neither white space nor within a value.
    pub(super) fn begin(&mut self, byte: u8, out: &mut Records) -> Option<Flow> {
        let (is_top, want) = (self.outer.is_empty(), self.want);
        let may_begin = is_top || want != Want::CommaOrEnd;
        let may_end = !is_top && want != Want::Value;
        match byte {
            b',' if !is_top && matches!(want, Want::CommaOrEnd | Want::Any) => {
                self.at.grow(1);
                self.want = if want == Want::Any { want } else { Want::Value };
                None
            }
            b']' if may_end => {
                self.at.grow(1);
                Some(self.end_container(out))
            }
            b'[' if may_begin => {
                if self.outer.len() == DEPTH_MAX {
                    return Some(self.syntax(0, "too many nested arrays"));
                }
                self.count_item();
                self.at.grow(1);
                self.open(false, out);
                None
            }
            b'{' | b'"' if may_begin => {
                self.begin_value(Mode::Value);
                Some(Flow::On)
            }
            b'{' | b'"' => {
                // A comma is missing, and nothing else.
                self.push_wrong(self.expected());
                self.want = Want::Any;
                None
            }
            b',' | b']' | b'}' => Some(self.syntax(0, self.expected())),
            _ if is_top => {
                self.begin_value(Mode::Word);
                Some(Flow::On)
            }
            _ if may_begin && byte.is_ascii_graphic() => {
                self.begin_value(Mode::Value);
                Some(Flow::On)
            }
            _ => Some(self.text_line(out)),
        }
    }

    pub(super) const fn expected(&self) -> &'static str {
        match (self.outer.is_empty(), self.want) {
            (false, Want::CommaOrEnd) => "expected a comma or the end of the array",
            _ => "expected a value",
        }
    }

    pub(super) fn begin_value(&mut self, mode: Mode) {
        self.count_item();
        self.began = self.place(0);
        self.began_indent = self.indent.unwrap_or(0);
        (self.mode, self.scan, self.word_len) = (mode, Scan::new(), 0);
    }

    pub(super) fn count_item(&mut self) {
        if let Some(Container { items: Some(items), .. }) = self.outer.last_mut() {
            items.grow(1);
        }
    }

    /// Goes on within an array or a page. What is in front of it is a window.
    pub(super) fn open(&mut self, is_page: bool, out: &mut Records) {
        self.close_window(out);
        self.outer.push(Container { is_page, line: self.lines, items: Some(0) });
        (self.mode, self.want) = (Mode::Between, Want::ValueOrEnd);
    }

    pub(super) fn end_container(&mut self, out: &mut Records) -> Flow {
        self.close_window(out);
        match self.outer.pop() {
            Some(Container { is_page: true, .. }) => {
                self.began = self.place(0);
                self.began_indent = self.indent.unwrap_or(0);
                (self.mode, self.scan) = (Mode::Rest, Scan::rest_of_page());
                Flow::On
            }
            _ => self.after_value(out),
        }
    }

    pub(super) fn value(&mut self, out: &mut Records) -> Flow {
        let (step, len) = (self.scan(), self.held().len());
        match step {
            Step::More if len <= self.limits.value_bytes => Flow::Stop(Next::Input),
            Step::End(len) if len <= self.limits.value_bytes => self.end_value(len, out),
            Step::Items(len) if len <= self.limits.value_bytes => self.page(b"", len, out),
            Step::Bad(at, reason) if at <= self.limits.value_bytes => match self.held() {
                _ if at == 0 => self.text_line(out),
                // As in a line of a log that begins with a brace.
                [b'{', ..] if at == 1 => self.text_line(out),
                _ => self.syntax(at, reason),
            },
            _ => self.begin_too_long(step, out),
        }
    }

    /// Takes the value that the next bytes are.
    pub(super) fn end_value(&mut self, len: usize, out: &mut Records) -> Flow {
        let value = self.held().get(..len).unwrap_or_default();
        let is_text = !matches!(value, [b'{' | b'"', ..]) && !record::is_json(value);
        if is_text {
            return self.text_line(out);
        }
        let (is_block, payloads) = (self.scan.is_block, self.limits.payloads);
        let mut draft = record::record(self.began.clone(), value, is_block, payloads);
        if self.limits.lenient && draft.0.header.is_err() && record::is_foreign(value) {
            if !search::has_header(value) {
                self.skipped.grow(1);
                self.at.grow(len);
                return self.after_value(out);
            }
            draft = record::wrong(self.began.clone(), Wrong::Line(HEADER_WITHIN));
        }
        self.at.grow(len);
        self.take(draft, out)
    }

    /// Begins with the items of a page; what is held in front of them, behind `front`, must be JSON.
    pub(super) fn page(&mut self, front: &[u8], len: usize, out: &mut Records) -> Flow {
        let members = self.held().get(..len).unwrap_or_default();
        if !record::is_json(&[front, members, b"]}"].concat()) {
            return self.syntax(len, "the members of a page are not JSON");
        }
        if self.outer.len() == DEPTH_MAX {
            return self.syntax(len, "too many nested arrays");
        }
        self.search_members(len);
        self.at.grow(len);
        self.open(true, out);
        Flow::On
    }

    /// Rejects members of a page, which are the next `len` bytes, if they contain a header: only the items
    /// are read.
    fn search_members(&mut self, len: usize) {
        if search::has_header(self.held().get(..len).unwrap_or_default()) {
            let wrong = Wrong::Line(HEADER_WITHIN);
            self.window.push(record::wrong(self.began.clone(), wrong));
        }
    }

    pub(super) fn rest(&mut self, out: &mut Records) -> Flow {
        const FRONT: &[u8] = b"{\"\":0";
        let (step, len) = (self.scan(), self.held().len());
        match step {
            Step::More if len <= self.limits.value_bytes => Flow::Stop(Next::Input),
            Step::End(len) if len <= self.limits.value_bytes => {
                let members = self.held().get(..len).unwrap_or_default();
                if !record::is_json(&[FRONT, members].concat()) {
                    return self.syntax(len, "the members of a page are not JSON");
                }
                self.search_members(len);
                self.at.grow(len);
                self.after_value(out)
            }
            Step::Items(len) if len <= self.limits.value_bytes => self.page(FRONT, len, out),
            Step::Bad(at, reason) if at <= self.limits.value_bytes => self.syntax(at, reason),
            _ => self.begin_too_long(step, out),
        }
    }
}
