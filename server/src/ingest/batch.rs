use bytes::{Buf, Bytes, BytesMut};
use plait_engine::RawHeader;
use plait_engine::header::LEN;
use plait_engine::replay::Wrong;
use plait_engine::replay::source::{Limits, Next, Place, Record, Records, Values};
use zerocopy::FromBytes;

/// Bytes of what blocks carry from which on they are stored, however few they are.
const PAYLOAD_BYTES_MAX: usize = 8 << 20;

/// What a body is a stream of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Headers of 318 bytes.
    Octets,
    /// JSON values.
    Lines,
}

/// Cuts a body into records.
///
/// # Memory
///
/// What was not cut yet: less than one header, or one JSON value and one window of items
/// ([`Values`]). Items of a page are cut one by one, however many there are.
#[derive(Debug)]
pub(super) enum Cutter {
    /// Headers of 318 bytes.
    Octets {
        /// What no record was made of yet.
        rest: BytesMut,
        /// Bytes before `rest`.
        offset: u64,
    },
    /// JSON values.
    Lines(Box<Values>),
}

impl Cutter {
    pub(super) fn new(form: Form, value_bytes: usize) -> Self {
        let window_bytes = PAYLOAD_BYTES_MAX;
        let limits = Limits { payloads: true, lenient: false, value_bytes, window_bytes };
        match form {
            Form::Octets => Self::Octets { rest: BytesMut::new(), offset: 0 },
            Form::Lines => Self::Lines(Box::new(Values::new(limits))),
        }
    }

    /// Takes bytes of the body.
    pub(super) fn push(&mut self, bytes: &Bytes) {
        match self {
            Self::Octets { rest, .. } => rest.extend_from_slice(bytes),
            Self::Lines(values) => values.feed(bytes),
        }
    }

    /// Moves whole records to `records`, up to about so many of them; whether there may be more.
    pub(super) fn cut(&mut self, records: &mut Records, records_max: usize) -> bool {
        while records.list.len() < records_max && records.payload_bytes < PAYLOAD_BYTES_MAX {
            let more = match self {
                Self::Octets { rest, offset } => octets(rest, offset, &mut records.list),
                Self::Lines(values) => values.next(records) == Next::Window,
            };
            if !more {
                return false;
            }
        }
        true
    }

    /// The same of what is left where the body ends.
    pub(super) fn finish(&mut self, records: &mut Records) {
        match self {
            Self::Octets { rest, offset } if !rest.is_empty() => {
                let wrong = Wrong::Cut { got: rest.len() };
                records.list.push(record(Place::Offset(*offset), Err(wrong)));
            }
            Self::Octets { .. } => {}
            Self::Lines(values) => values.finish(records),
        }
    }
}

fn octets(rest: &mut BytesMut, offset: &mut u64, records: &mut Vec<Record>) -> bool {
    let Ok((raw, _)) = RawHeader::read_from_prefix(rest) else { return false };
    rest.advance(LEN);
    records.push(record(Place::Offset(*offset), Ok(raw)));
    *offset = offset.saturating_add(LEN as u64);
    true
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
        let mut records = Records::default();
        for bytes in body.chunks(piece) {
            cutter.push(&Bytes::copy_from_slice(bytes));
            while cutter.cut(&mut records, usize::MAX) {}
        }
        cutter.finish(&mut records);
        let place = |record: &Record| (record.place.brief(), record.header.is_ok());
        records.list.iter().map(place).collect()
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
        let mut records = Records::default();
        for _ in 0..1000 {
            cutter.push(&Bytes::from_static(&[b'x'; 100]));
            cutter.cut(&mut records, 10);
            assert_eq!(records.list.len(), 1);
        }
    }
}
