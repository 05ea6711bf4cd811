use bytes::{Buf, Bytes, BytesMut};
use plait_engine::RawHeader;
use plait_engine::header::LEN;
use plait_engine::replay::Wrong;
use plait_engine::replay::source::{Place, RawPayload, Record, push_line};
use zerocopy::FromBytes;

/// Bytes of what blocks carry from which on they are stored, however few they are.
const PAYLOAD_BYTES_MAX: usize = 8 << 20;

/// What a body is a stream of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Headers of 318 bytes.
    Octets,
    /// JSON lines.
    Lines,
}

/// Cuts a body into records.
#[derive(Debug)]
pub(super) struct Cutter {
    form: Form,
    line_bytes_max: usize,
    /// What no record was made of yet.
    rest: BytesMut,
    /// Bytes before `rest`.
    offset: u64,
    /// Lines before `rest`.
    lines: u64,
    /// How much of `rest` is known to have no end of a line.
    searched: usize,
    /// Whether a line that is too long is being skipped.
    within_line: bool,
    /// Bytes of what blocks carry that were given since there were enough of them.
    payload_bytes: usize,
}

impl Cutter {
    pub(super) fn new(form: Form, line_bytes_max: usize) -> Self {
        Self {
            form,
            line_bytes_max,
            rest: BytesMut::new(),
            offset: 0,
            lines: 0,
            searched: 0,
            within_line: false,
            payload_bytes: 0,
        }
    }

    /// Takes bytes of the body.
    pub(super) fn push(&mut self, bytes: &Bytes) {
        self.rest.extend_from_slice(bytes);
    }

    /// Moves whole records to `records`, up to about so many of them; whether there may be more.
    pub(super) fn cut(&mut self, records: &mut Vec<Record>, records_max: usize) -> bool {
        while records.len() < records_max && self.payload_bytes < PAYLOAD_BYTES_MAX {
            let before = records.len();
            let more = match self.form {
                Form::Octets => self.octets(records),
                Form::Lines => self.line(records),
            };
            let new = records.get(before..).unwrap_or_default().iter();
            let bytes = new.filter_map(|record| record.payload.as_ref()).map(RawPayload::len);
            self.payload_bytes = bytes.fold(self.payload_bytes, usize::saturating_add);
            if !more {
                return false;
            }
        }
        self.payload_bytes = 0;
        true
    }

    /// The same of what is left where the body ends.
    pub(super) fn finish(&mut self, records: &mut Vec<Record>) {
        match self.form {
            Form::Octets if !self.rest.is_empty() => {
                let wrong = Wrong::Cut { got: self.rest.len() };
                records.push(record(Place::Offset(self.offset), Err(wrong)));
            }
            Form::Lines if !self.rest.is_empty() && !self.within_line => {
                let line = std::mem::take(&mut self.rest);
                self.lines = self.lines.saturating_add(1);
                self.read(&line, records);
            }
            Form::Octets | Form::Lines => {}
        }
    }

    fn octets(&mut self, records: &mut Vec<Record>) -> bool {
        let Ok((raw, _)) = RawHeader::read_from_prefix(&self.rest) else { return false };
        self.rest.advance(LEN);
        records.push(record(Place::Offset(self.offset), Ok(raw)));
        self.offset = self.offset.saturating_add(LEN as u64);
        true
    }

    fn line(&mut self, records: &mut Vec<Record>) -> bool {
        let unsearched = self.rest.get(self.searched..).unwrap_or_default();
        let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.rest.len();
            if self.searched > self.line_bytes_max {
                if !self.within_line {
                    self.too_long(records);
                }
                self.within_line = true;
                self.forget();
            }
            return false;
        };
        let line = self.rest.split_to(self.searched.saturating_add(at).saturating_add(1));
        self.searched = 0;
        if std::mem::take(&mut self.within_line) {
            return true;
        }
        if line.len() > self.line_bytes_max {
            self.too_long(records);
            return true;
        }
        self.lines = self.lines.saturating_add(1);
        self.read(&line, records);
        true
    }

    fn forget(&mut self) {
        self.rest.clear();
        self.searched = 0;
    }

    fn too_long(&mut self, records: &mut Vec<Record>) {
        self.lines = self.lines.saturating_add(1);
        let wrong = Wrong::Line("the line is longer than is allowed");
        records.push(record(Place::Line(self.lines), Err(wrong)));
    }

    fn read(&self, line: &[u8], records: &mut Vec<Record>) {
        match std::str::from_utf8(line).map(str::trim) {
            Ok("") => {}
            Ok(text) => push_line(records, self.lines, text),
            Err(_) => {
                let wrong = Wrong::Line("the line is not UTF-8 text");
                records.push(record(Place::Line(self.lines), Err(wrong)));
            }
        }
    }
}

const fn record(place: Place, header: Result<RawHeader, Wrong>) -> Record {
    Record { place, header, payload: None }
}

#[cfg(test)]
mod tests {
    use plait_engine::ChainwebVersion;
    use plait_engine::header::text::push_string;

    use super::*;

    fn places(form: Form, line_bytes_max: usize, body: &[u8], piece: usize) -> Vec<(String, bool)> {
        let mut cutter = Cutter::new(form, line_bytes_max);
        let mut records = Vec::new();
        for bytes in body.chunks(piece) {
            cutter.push(&Bytes::copy_from_slice(bytes));
            while cutter.cut(&mut records, usize::MAX) {}
        }
        cutter.finish(&mut records);
        records.iter().map(|record| (record.place.to_string(), record.header.is_ok())).collect()
    }

    fn expected(places: &[(&str, bool)]) -> Vec<(String, bool)> {
        places.iter().map(|(place, is_header)| ((*place).to_owned(), *is_header)).collect()
    }

    #[test]
    fn octets_are_cut_into_records_whatever_the_pieces() {
        let body = [0; 2 * LEN + 1];
        for piece in [1, 7, LEN, 1000] {
            let cut = places(Form::Octets, 0, &body, piece);
            let wanted = [("offset 0", true), ("offset 318", true), ("offset 636", false)];
            assert_eq!(cut, expected(&wanted), "{piece}");
        }
        assert!(places(Form::Octets, 0, &[], 1).is_empty());
    }

    #[test]
    fn lines_are_read_whatever_the_pieces() {
        let mut header = Vec::new();
        let genesis = ChainwebVersion::Development.genesis_headers().next().unwrap();
        push_string(&mut header, genesis.view());
        let body =
            [&header[..], b"\n\n  \nnothing\n", b"\xff\n", &header, b"\r\n", &header].concat();
        for piece in [1, 5, 10_000] {
            let cut = places(Form::Lines, 1000, &body, piece);
            let wanted = [
                ("line 1", true),
                ("line 4", false),
                ("line 5", false),
                ("line 6", true),
                ("line 7", true),
            ];
            assert_eq!(cut, expected(&wanted), "{piece}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_without_being_kept() {
        let body = [&[b'x'; 5000][..], b"\nnothing\n", &[b'y'; 50], b"\n", &[b'z'; 500]].concat();
        for piece in [1, 13, 100] {
            let cut = places(Form::Lines, 40, &body, piece);
            let wanted =
                [("line 1", false), ("line 2", false), ("line 3", false), ("line 4", false)];
            assert_eq!(cut, expected(&wanted), "{piece}");
        }
        let mut cutter = Cutter::new(Form::Lines, 40);
        let mut records = Vec::new();
        for _ in 0..1000 {
            cutter.push(&Bytes::from_static(&[b'x'; 100]));
            cutter.cut(&mut records, 10);
            assert!(cutter.rest.is_empty() && records.len() == 1);
        }
    }
}
