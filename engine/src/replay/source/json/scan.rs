//! Finds the end of a JSON value, piece by piece.
//!
//! The scan knows the grammar of objects and arrays, but not that of numbers and escapes, which are
//! checked when the value is parsed. It is strict about structure, so that an error is found where it is:
//! the line `{"height":5,` followed by `{"height":6}` is wrong at the second brace, and the values after it
//! are not swallowed. It reads each byte once, however small the pieces are.
//!
//! It also recognizes pages: `{"limit":3,"items":[` makes an object a page. The scan stops
//! after the bracket, because the items are separate values.

use zerocopy::FromBytes;
use zerocopy::byteorder::little_endian::U64;

/// Maximum nesting depth of containers: the parser of the value has a limit, too.
const DEPTH_MAX: u32 = 120;

/// Why a scan ends at a byte below 32 in a string: nearly always it is the end of a line.
const WITHIN_STRING: &str = "the line ends, or has a control character, within a string";

/// What the scan of some more bytes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The value continues after them.
    More,
    /// The value ends in front of this byte.
    End(usize),
    /// The value is an object with an array `items`, whose first byte this is.
    Items(usize),
    /// This byte cannot be there, and why.
    Bad(usize, &'static str),
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
}

/// What the last byte is within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    None,
    String {
        is_key: bool,
    },
    /// After a backslash in a string.
    Escape {
        is_key: bool,
    },
    /// A number, `true`, `false` or `null`.
    Scalar,
}

/// A scan of one value.
#[derive(Debug)]
pub(super) struct Scan {
    /// Bytes of the value that were looked at.
    at: usize,
    /// A bit for each open container, the innermost lowest: 1 for objects.
    stack: u128,
    depth: u32,
    want: Want,
    token: Token,
    /// Where the key began that was read last in the outermost object.
    key_start: usize,
    /// Whether that key is `items`.
    is_items: bool,
    /// Whether pages are looked for.
    pages: bool,
    /// Whether a member of the outermost object makes it a block rather than a header.
    pub(super) is_block: bool,
    lines: u64,
    line_start: usize,
}

impl Scan {
    /// The scan of a value from its first byte on.
    pub(super) const fn new() -> Self {
        Self::with(0, 0, Want::Value)
    }

    /// The scan of an object from behind the array `items` on.
    pub(super) const fn rest_of_page() -> Self {
        Self::with(1, 1, Want::CommaOrEnd)
    }

    const fn with(stack: u128, depth: u32, want: Want) -> Self {
        Self {
            at: 0,
            stack,
            depth,
            want,
            token: Token::None,
            key_start: 0,
            is_items: false,
            pages: true,
            is_block: false,
            lines: 0,
            line_start: 0,
        }
    }

    /// The ends of lines that were passed since this was asked last, and where the present line begins.
    pub(super) fn take_lines(&mut self) -> Option<(u64, usize)> {
        let lines = std::mem::take(&mut self.lines);
        (lines > 0).then_some((lines, self.line_start))
    }

    /// Goes on into the array `items`, which was found last, as into any other.
    pub(super) const fn decline_items(&mut self) {
        self.pages = false;
        self.stack <<= 1;
        self.depth = self.depth.saturating_add(1);
        self.want = Want::ValueOrEnd;
    }

    /// Goes on without the bytes that were looked at, and without looking for pages: nobody wants
    /// the value any more.
    pub(super) const fn forget(&mut self) {
        (self.at, self.pages) = (0, false);
    }

    /// Whether the value is complete if nothing follows: numbers have no end of their own.
    pub(super) const fn ends_here(&self) -> bool {
        self.depth == 0 && matches!(self.token, Token::Scalar)
    }

    /// Looks at the bytes of `value`, which begins where the value does, that were not there before.
    #[cfg_attr(
        not(test),
        expect(clippy::arithmetic_side_effects, reason = "`at` is at most the length of `value`")
    )]
    pub(super) fn step(&mut self, value: &[u8]) -> Step {
        while let Some(&byte) = value.get(self.at) {
            match self.token {
                Token::String { is_key } => {
                    let plain = plain_len(value.get(self.at..).unwrap_or_default());
                    self.at += plain;
                    match value.get(self.at) {
                        None => return Step::More,
                        Some(b'"') => {
                            self.at += 1;
                            self.token = Token::None;
                            if is_key {
                                self.want = Want::Colon;
                                if self.depth == 1 {
                                    self.note_key(value);
                                }
                            } else if self.end_value() {
                                return Step::End(self.at);
                            }
                        }
                        Some(b'\\') => {
                            self.at += 1;
                            self.token = Token::Escape { is_key };
                        }
                        Some(_) => return Step::Bad(self.at, WITHIN_STRING),
                    }
                }
                Token::Escape { is_key } => {
                    if byte < b' ' {
                        return Step::Bad(self.at, WITHIN_STRING);
                    }
                    self.at += 1;
                    self.token = Token::String { is_key };
                }
                Token::Scalar if is_scalar(byte) => self.at += 1,
                Token::Scalar => {
                    self.token = Token::None;
                    if self.end_value() {
                        return Step::End(self.at);
                    }
                }
                Token::None => {
                    if let Some(step) = self.structure(byte) {
                        return step;
                    }
                }
            }
        }
        Step::More
    }

    /// Takes a byte that is not within a string or a number.
    #[cfg_attr(
        not(test),
        expect(
            clippy::arithmetic_side_effects,
            reason = "`at` and `lines` count bytes that are held, and `depth` has a limit"
        )
    )]
    fn structure(&mut self, byte: u8) -> Option<Step> {
        let at = self.at;
        self.at += 1;
        match (self.want, byte) {
            (_, b'\n') => {
                self.lines += 1;
                self.line_start = self.at;
            }
            (_, b' ' | b'\t' | b'\r') => {}
            (Want::Colon, b':') => self.want = Want::Value,
            (Want::CommaOrEnd, b',') => {
                self.want = if self.stack & 1 == 1 { Want::Key } else { Want::Value };
            }
            (Want::Key | Want::KeyOrEnd, b'"') => {
                self.key_start = at;
                self.token = Token::String { is_key: true };
            }
            (Want::Value | Want::ValueOrEnd, b'"') => self.token = Token::String { is_key: false },
            (Want::Value | Want::ValueOrEnd, b'{' | b'[') => {
                let is_page = self.depth == 1 && byte == b'[' && self.is_items;
                if is_page && self.pages && self.stack & 1 == 1 {
                    return Some(Step::Items(self.at));
                }
                if self.depth == DEPTH_MAX {
                    return Some(Step::Bad(at, "too many nested containers"));
                }
                self.stack = self.stack << 1 | u128::from(byte == b'{');
                self.depth += 1;
                self.want = if byte == b'{' { Want::KeyOrEnd } else { Want::ValueOrEnd };
            }
            (Want::KeyOrEnd, b'}') | (Want::ValueOrEnd, b']') => return self.close(),
            (Want::CommaOrEnd, b'}') if self.stack & 1 == 1 => return self.close(),
            (Want::CommaOrEnd, b']') if self.stack & 1 == 0 => return self.close(),
            (Want::Value | Want::ValueOrEnd, _) if is_scalar(byte) => self.token = Token::Scalar,
            (want, _) => {
                // It is looked at again.
                self.at = at;
                return Some(Step::Bad(at, want.name(self.stack & 1 == 1)));
            }
        }
        None
    }

    #[cfg_attr(
        not(test),
        expect(
            clippy::arithmetic_side_effects,
            reason = "nothing is closed that is not open: a scan ends with the outermost container"
        )
    )]
    fn close(&mut self) -> Option<Step> {
        self.depth -= 1;
        self.stack >>= 1;
        self.end_value().then_some(Step::End(self.at))
    }

    /// A value has ended; whether it is the whole one.
    const fn end_value(&mut self) -> bool {
        self.want = Want::CommaOrEnd;
        self.depth == 0
    }

    /// Examines a key of the outermost object, which ends before the current byte.
    fn note_key(&mut self, value: &[u8]) {
        let key = value.get(self.key_start..self.at).unwrap_or_default();
        let plain: &[u8];
        let decoded: Option<String>;
        // Few keys have escapes.
        if key.contains(&b'\\') {
            decoded = serde_json::from_slice(key).ok();
            plain = decoded.as_deref().unwrap_or_default().as_bytes();
        } else {
            plain = key.get(1..key.len().saturating_sub(1)).unwrap_or_default();
        }
        self.is_items = plain == b"items";
        self.is_block |= matches!(plain, b"header" | b"data" | b"payloadWithOutputs");
    }
}

impl Want {
    /// What was expected, for messages.
    const fn name(self, in_object: bool) -> &'static str {
        match self {
            Self::Value | Self::ValueOrEnd => "expected a value",
            Self::Key => "expected the name of a member, in quotes",
            Self::KeyOrEnd => "expected the name of a member, in quotes, or the end of the object",
            Self::Colon => "expected a colon",
            Self::CommaOrEnd if in_object => "expected a comma or the end of the object",
            Self::CommaOrEnd => "expected a comma or the end of the array",
        }
    }
}

/// Whether this may be part of a number, `true`, `false` or `null`.
const fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.' | b'_')
}

/// How many bytes come before a quote, a backslash or a control character: eight at a time.
#[cfg_attr(
    not(test),
    expect(clippy::arithmetic_side_effects, reason = "`len` counts bytes of `bytes`")
)]
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let mut len = 0;
    while let Ok((word, _)) = U64::read_from_prefix(bytes.get(len..).unwrap_or_default()) {
        let word = word.get();
        // A byte of `x` is zero where this has its high bit set; above the first it may err.
        let zeros = |x: u64| x.wrapping_sub(ONES) & !x & HIGH;
        let quotes = zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5C));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = quotes | controls;
        if found != 0 {
            return len + (found.trailing_zeros() / 8) as usize;
        }
        len += size_of::<U64>();
    }
    let rest = bytes.get(len..).unwrap_or_default();
    let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '));
    len + plain.unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The step that ends the scan of `text`, which comes in pieces of this length.
    fn scanned(text: &str, piece: usize) -> Step {
        let mut scan = Scan::new();
        for end in (piece..text.len()).step_by(piece).chain([text.len()]) {
            match scan.step(&text.as_bytes()[..end]) {
                Step::More => {}
                step => return step,
            }
        }
        Step::More
    }

    fn assert_scanned(text: &str, expected: Step) {
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(scanned(text, piece), expected, "{text} in pieces of {piece}");
        }
    }

    #[test]
    fn values_end_where_they_end_whatever_the_pieces() {
        for value in [
            "{}",
            "[]",
            r#""""#,
            r#""a\"b\\""#,
            r#"{"a":{"b":[1,{"c":null}],"d":"}"},"e":-1.5e3}"#,
            "[ 1 , [ ] , { } ]",
            r#"{"item":[1]}"#,
            r#"{"a":{"items":[1]}}"#,
            r#"{"items":{"items":[]}}"#,
        ] {
            assert_scanned(&format!("{value} {{"), Step::End(value.len()));
            assert_scanned(value, Step::End(value.len()));
        }
        assert_scanned("12 ", Step::End(2));
        assert_scanned("12", Step::More);
    }

    #[test]
    fn a_page_is_known_by_its_items() {
        for page in [r#"{"items":["#, r#"{"a":[{}],"items" : ["#, r#"{"it\u0065ms":["#] {
            assert_scanned(&format!("{page}1]}}"), Step::Items(page.len()));
        }
    }

    #[test]
    fn what_is_wrong_is_found_where_it_is() {
        for (text, at) in [
            ("{\"a\":1,{", 7),
            ("{1", 1),
            ("{\"a\" 1", 5),
            ("{\"a\":1]", 6),
            ("[1}", 2),
            ("[1,]", 3),
            ("{\"a\":1,}", 7),
            ("{,", 1),
            ("{\"a\n", 3),
            ("{\"a\\\n", 4),
            ("[1 2", 3),
            ("{\"a\":}", 5),
            ("[\u{e9}", 1),
        ] {
            for piece in [1, 3, 1000] {
                let step = scanned(text, piece);
                assert!(matches!(step, Step::Bad(bad, _) if bad == at), "{text:?}: {step:?}");
            }
        }
        let deep = "[".repeat(200);
        assert!(matches!(scanned(&deep, 1000), Step::Bad(120, _)));
    }

    #[test]
    fn plain_text_is_measured_as_byte_by_byte() {
        for special in ["\"", "\\", "\n", "\u{1f}"] {
            for len in 0..40 {
                for text in ["a".repeat(len), "\u{e9}".repeat(len), "\u{7f}! #[]".repeat(len)] {
                    let end = text.len();
                    assert_eq!(plain_len(text.as_bytes()), end);
                    assert_eq!(plain_len(format!("{text}{special}abcdefgh").as_bytes()), end);
                }
            }
        }
    }
}
