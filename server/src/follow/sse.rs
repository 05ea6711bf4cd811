use bytes::{Buf, Bytes, BytesMut};

/// An event of a stream of server-sent events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Its type; `message` if there is none.
    pub(super) name: String,
    /// Its lines, joined.
    pub(super) data: String,
}

/// The stream has something other than events of the allowed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads server-sent events piece by piece.
///
/// # Shape
///
/// As in the standard: lines end with `\n`, `\r\n` or `\r`, an empty line ends an event, and a line
/// that begins with a colon is a comment; events without data are ignored, and so are empty lines,
/// which keep a stream open.
#[derive(Debug)]
pub(super) struct Parser {
    event_bytes_max: usize,
    /// Bytes that are not part of a line yet.
    rest: BytesMut,
    /// Number of these that are known to have no end of a line.
    searched: usize,
    /// Whether the last line ended with `\r`, so that a `\n` is no further line.
    after_return: bool,
    begun: bool,
    name: String,
    data: Option<String>,
}

impl Parser {
    /// A parser of events of at most this many bytes.
    pub(super) fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            rest: BytesMut::new(),
            searched: 0,
            after_return: false,
            begun: false,
            name: String::new(),
            data: None,
        }
    }

    /// Takes bytes of the stream.
    pub(super) fn push(&mut self, bytes: &Bytes) {
        self.rest.extend_from_slice(bytes);
    }

    /// The next complete event.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is too long, or not text.
    pub(super) fn next(&mut self) -> Result<Option<Event>, Malformed> {
        while let Some(line) = self.line()? {
            if line.is_empty() {
                let (name, data) = (std::mem::take(&mut self.name), self.data.take());
                if let Some(data) = data {
                    let name = if name.is_empty() { "message".to_owned() } else { name };
                    return Ok(Some(Event { name, data }));
                }
            } else {
                self.field(&line)?;
            }
        }
        Ok(None)
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Malformed> {
        let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            },
            // Comments, and fields that are not used here.
            _ => {}
        }
        self.check(0)
    }

    /// The next complete line, without its end.
    fn line(&mut self) -> Result<Option<Bytes>, Malformed> {
        if !self.begun && self.rest.len() >= 3 {
            if self.rest.starts_with(b"\xef\xbb\xbf") {
                self.rest.advance(3);
                self.searched = 0;
            }
            self.begun = true;
        }
        if self.after_return
            && let Some(first) = self.rest.first()
        {
            if *first == b'\n' {
                self.rest.advance(1);
            }
            self.after_return = false;
        }
        let unsearched = self.rest.get(self.searched..).unwrap_or_default();
        let Some(at) = unsearched.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.searched = self.rest.len();
            self.check(self.searched)?;
            return Ok(None);
        };
        let line = self.rest.split_to(self.searched.saturating_add(at));
        self.searched = 0;
        self.after_return = self.rest.first() == Some(&b'\r');
        self.rest.advance(1);
        self.begun = true;
        Ok(Some(line.freeze()))
    }

    /// Bytes of the event that is not complete yet.
    pub(super) fn held(&self) -> usize {
        let data = self.data.as_ref().map_or(0, String::len);
        self.name.len().saturating_add(data).saturating_add(self.rest.len())
    }

    fn check(&self, more: usize) -> Result<(), Malformed> {
        let data = self.data.as_ref().map_or(0, String::len);
        let held = self.name.len().saturating_add(data).saturating_add(more);
        if held > self.event_bytes_max { Err(Malformed) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(stream: &str, piece: usize) -> Result<Vec<(String, String)>, Malformed> {
        let mut parser = Parser::new(1000);
        let mut events = Vec::new();
        for bytes in stream.as_bytes().chunks(piece) {
            parser.push(&Bytes::copy_from_slice(bytes));
            while let Some(event) = parser.next()? {
                events.push((event.name, event.data));
            }
        }
        Ok(events)
    }

    #[test]
    fn events_are_read_whatever_the_pieces_and_the_ends_of_lines() {
        let stream = "\u{feff}:hello\n\n\n\nevent:BlockHeader\ndata:{\"a\":1}\n\nid: 7\ndata: x\n\
                      data:\ndata:  y\nretry: 5\n\nevent: none\n\ndata\n\nother\ndata:last\n\n\
                      data:open";
        let expected = [
            ("BlockHeader", "{\"a\":1}"),
            ("message", "x\n\n y"),
            ("message", ""),
            ("message", "last"),
        ];
        let expected: Vec<_> =
            expected.map(|(name, data)| (name.to_owned(), data.to_owned())).into();
        for end in ["\n", "\r\n", "\r"] {
            let stream = stream.replace('\n', end);
            for piece in [1, 2, 3, 7, 1000] {
                assert_eq!(events(&stream, piece).unwrap(), expected, "{end:?} {piece}");
            }
        }
    }

    #[test]
    fn a_line_may_end_right_behind_a_mark_that_came_in_two_pieces() {
        let stream = "\u{feff}\ndata: x\n\n";
        for piece in [1, 2, 3, 4, 1000] {
            let expected = vec![("message".to_owned(), "x".to_owned())];
            assert_eq!(events(stream, piece), Ok(expected), "{piece}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused_wherever_it_stands() {
        for stream in [
            "x".repeat(1001),
            format!("data:{}", "x".repeat(1001)),
            format!("data:{}\n\n", "x".repeat(1001)),
            "data:xxxx\n".repeat(250),
            format!("event:{}\n", "x".repeat(1001)),
        ] {
            for piece in [1, 10_000] {
                assert_eq!(events(&stream, piece), Err(Malformed));
            }
        }
        let long = format!("data:{}\n\n", "x".repeat(900)).repeat(5);
        assert_eq!(events(&long, 13).unwrap().len(), 5);
        let mut parser = Parser::new(1000);
        parser.push(&Bytes::from_static(b"data:\xff\n\n"));
        assert_eq!(parser.next(), Err(Malformed));
    }
}
