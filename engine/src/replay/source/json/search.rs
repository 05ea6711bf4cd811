//! Looks for a header in text that is about to be skipped.
//!
//! Log lines and objects of unknown shapes are skipped only if they contain no header. They may be longer
//! than memory, so the search takes them in pieces and keeps only the present word. A word is a run of the
//! characters of base64url. The search recognizes a header in two forms:
//!
//! ```text
//! 2021-07-16 [Info] {"nonce":"0","creationTime":16190374,"parent":"qaUt…     most names of the members
//! 2021-07-16 [Info] "AAAAAAAAAAAJ41tFZYFAMCen1Rev7…                          424 characters that decode
//! ```
//!
//! One name is not enough: logs have `"height"` and `"hash"`, too. A message of a node has seven of the
//! thirteen names only if it contains a header. The names may be in a string, `{\"nonce\":\"0\",…`.

use crate::header::text::{self, STRING_LEN};

/// The names of the members of a header's object.
const NAMES: [&[u8]; 13] = [
    b"nonce",
    b"creationTime",
    b"parent",
    b"adjacents",
    b"target",
    b"payloadHash",
    b"chainId",
    b"weight",
    b"height",
    b"chainwebVersion",
    b"epochStart",
    b"featureFlags",
    b"hash",
];

/// Different names that make a header: most of them, because one may be damaged or missing.
const NAMES_MIN: u32 = 7;

/// Bytes in excess of an encoded header that a word may have before and after one.
const GLUED_MAX: usize = 64;

/// A command to a terminal, whose last byte is a letter that belongs to no word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Command {
    #[default]
    None,
    /// `ESC`.
    Escape,
    /// `ESC [`, and parameters.
    Open,
    /// The last byte.
    End,
}

impl Command {
    /// The same after another byte.
    const fn then(self, byte: u8) -> Self {
        match (self, byte) {
            (_, 0x1B) => Self::Escape,
            (Self::Escape, b'[') | (Self::Open, b' '..=b'?') => Self::Open,
            (Self::Open, b'@'..=b'~') => Self::End,
            _ => Self::None,
        }
    }
}

/// A search in one line or one value.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// A bit for each of the names that were found.
    names: u16,
    /// The present word, or its first characters if it is much longer than a header's string.
    word: Vec<u8>,
    /// The byte before the present word.
    before: u8,
    /// How much of a command to a terminal the bytes before are: of a colour, for example, `ESC [ 3 2 m`.
    command: Command,
    is_found: bool,
}

/// Whether a whole text contains a header.
pub(super) fn has_header(text: &[u8]) -> bool {
    Search::default().step(text)
}

impl Search {
    /// Searches some more bytes; returns whether they or earlier ones contain a header.
    pub(super) fn step(&mut self, mut text: &[u8]) -> bool {
        while let [byte, behind @ ..] = text
            && !self.is_found
        {
            self.command = self.command.then(*byte);
            if self.command != Command::None {
                self.end_word(*byte);
                text = behind;
                continue;
            }
            // The letter of an escape, as in `\nAAAA`, is no part of the word after it.
            let is_escape = self.before == b'\\' && self.word.is_empty();
            if is_word(*byte) && !is_escape {
                let len = text.iter().position(|byte| !is_word(*byte)).unwrap_or(text.len());
                let (word, behind) = text.split_at(len);
                self.extend(word);
                text = behind;
            } else {
                self.end_word(*byte);
                text = behind;
            }
        }
        self.is_found
    }

    /// Appends to the present word, and examines its first characters once, wherever a header may begin.
    fn extend(&mut self, bytes: &[u8]) {
        let len = self.word.len();
        let room = STRING_LEN.saturating_add(GLUED_MAX).saturating_sub(len);
        self.word.extend(bytes.iter().take(room));
        // Letters may precede it without a space: those of an unknown command to a terminal.
        let new = self.word.get(len.saturating_sub(STRING_LEN - 1)..).unwrap_or_default();
        self.is_found |= new.windows(STRING_LEN).any(is_header);
    }

    /// The present word ends in front of this byte.
    fn end_word(&mut self, byte: u8) {
        // Inside a string, a backslash follows the name.
        if self.before == b'"' && matches!(byte, b'"' | b'\\') {
            let names = NAMES.iter().zip(0_u16..);
            for (_, bit) in names.filter(|(name, _)| **name == self.word.as_slice()) {
                self.names |= 1 << bit;
            }
            self.is_found |= self.names.count_ones() >= NAMES_MIN;
        }
        self.word.clear();
        self.before = byte;
    }
}

/// Whether these characters decode as a header.
fn is_header(word: &[u8]) -> bool {
    std::str::from_utf8(word).is_ok_and(|word| text::from_string(word).is_ok())
}

/// Whether this is a character of base64url.
const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Header;
    use crate::types::{ChainId, ChainwebVersion};

    const VERSION: ChainwebVersion = ChainwebVersion::Mainnet01;

    fn header() -> Header {
        VERSION.genesis_header(ChainId::new(0)).unwrap()
    }

    fn object() -> String {
        let mut out = Vec::new();
        text::push_object(&mut out, header().view(), VERSION);
        String::from_utf8(out).unwrap()
    }

    /// With quotes.
    fn string() -> String {
        let mut out = Vec::new();
        text::push_string(&mut out, header().view());
        String::from_utf8(out).unwrap()
    }

    /// Whether there is a header in `text`, which does not depend on the pieces that it comes in.
    fn found(text: &str) -> bool {
        let whole = has_header(text.as_bytes());
        for piece in [1, 2, 7, 423, 424] {
            let mut search = Search::default();
            let mut found = false;
            for piece in text.as_bytes().chunks(piece) {
                found = search.step(piece);
            }
            assert_eq!(found, whole, "{text} in pieces of {piece}");
        }
        whole
    }

    #[test]
    fn headers_are_found_wherever_they_are() {
        let (object, string) = (object(), string());
        let escaped = object.replace('"', "\\\"");
        let bare = string.trim_matches('"');
        for text in [
            format!("2021-07-16 [Info] {object}"),
            format!("2021-07-16 [Info] {string}"),
            format!("tip={bare}"),
            format!("\u{1b}[32m{bare}\u{1b}[0m"),
            format!("\u{1b}[?25l{bare}"),
            format!("\u{1b}{bare}"),
            format!("\u{1b}(B{bare}"),
            format!("INFO xyz{bare}Z "),
            format!("\u{1b}[1;32m[Info]\u{1b}[0m\u{1b}[36m{object}"),
            format!("{{\"itens\":[{object}]}}"),
            format!("{{\"message\":\"{escaped}\"}}"),
            format!("{{\"message\":\"{}\"}}", escaped.replace('\\', "\\\\\\")),
            format!("{{\"message\":\"tip:\\n{bare}\"}}"),
            object.replace("\":", "\" : "),
            // Most of it.
            object.replace("\"parent\"", "\"prnt\"").replace("\"hash\"", "\"hsh\""),
            object[..500].to_owned(),
            // Two without anything between them.
            format!("{bare}{bare}"),
        ] {
            assert!(found(&text), "{text}");
        }
    }

    #[test]
    fn text_without_a_header_is_none() {
        let (object, string) = (object(), string());
        let bare = string.trim_matches('"');
        let tx = r#"{"hash":"x","cmd":"{\"meta\":{\"creationTime\":1,\"chainId\":\"0\"},\"nonce\":\"\"}"}"#;
        for text in [
            "",
            "2021-07-16 [Info] {\"a\": [1]}",
            "nonce creationTime parent adjacents target payloadHash chainId weight height hash",
            r#"{"cut":{"weight":"x","height":5,"hashes":{"0":{"height":5,"hash":"x"}}},"chainId":0}"#,
            &format!("[Info] {tx} at {{\"height\":5,\"weight\":\"x\"}}"),
            &"{\"height\":5,\"hash\":\"x\",\"parent\":\"y\",\"chainId\":0}".repeat(100),
            &"A".repeat(STRING_LEN),
            &"QUJD".repeat(10_000),
            &bare[1..],
            &format!("{}{bare}", "x".repeat(GLUED_MAX + 1)),
            &bare[..STRING_LEN - 1],
            // Text in its midst, as of a binary file.
            &format!("{} {}", &bare[..200], &bare[200..]),
            &object.replace('"', "'"),
        ] {
            assert!(!found(text), "{text}");
        }
    }
}
