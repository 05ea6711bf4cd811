//! Text ↔ the small nouns: hashes, 256-bit numbers, cursors, positions.
#![no_main]

use std::fmt::{Debug, Display};

use libfuzzer_sys::fuzz_target;
use plait_engine::{BlockHash, Cursor, HashError, PayloadHash, Position, Target, Weight};

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        word(text);
        cursor(text);
        position(text);
    }
    if let Some(bytes) = data.first_chunk() {
        value(*bytes);
    }
});

/// Text of 32 bytes is read alike by all that have 32 bytes, and written back without its padding.
fn word(text: &str) {
    let hash: Result<BlockHash, HashError> = text.parse();
    if let Ok(hash) = hash {
        same_text(&hash, text);
        value(*hash.as_bytes());
    }
    assert_eq!(hash.is_ok(), matches!(text.len(), 43 | 44) && is_word(text), "{text}");
    let bytes = hash.map(|hash| *hash.as_bytes());
    assert_eq!(text.parse().map(|hash: PayloadHash| *hash.as_bytes()), bytes);
    assert_eq!(Target::from_base64url(text).map(Target::to_le), bytes);
    assert_eq!(Weight::from_base64url(text).map(Weight::to_le), bytes);
}

/// The slow twin of the parser: 43 characters of the alphabet, the last one with two spare bits
/// that are zero, and perhaps one character of padding.
fn is_word(text: &str) -> bool {
    let text = text.strip_suffix('=').unwrap_or(text);
    let in_alphabet = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let last_of_four = |c: char| "AEIMQUYcgkosw048".contains(c);
    text.len() == 43 && text.chars().all(in_alphabet) && text.ends_with(last_of_four)
}

/// A cursor is its kind, a colon and its hash, and nothing else.
fn cursor(text: &str) {
    let expected = match text.split_at_checked(10) {
        Some(("inclusive:", hash)) => hash.parse().ok().map(Cursor::Inclusive),
        Some(("exclusive:", hash)) => hash.parse().ok().map(Cursor::Exclusive),
        _ => None,
    };
    assert_eq!(text.parse().ok(), expected, "{text}");
    if let Some(cursor) = expected {
        same_text(&cursor, text);
        value(*cursor.hash().as_bytes());
    }
}

/// A position has one text, but for its padding, and is no longer than it must be.
fn position(text: &str) {
    if let Ok(position) = text.parse::<Position>() {
        let written = position.to_string();
        assert_eq!(written, text.trim_end_matches('='));
        assert_eq!(written.parse(), Ok(position));
    }
}

/// Any 32 bytes have one text in every type, and every type reads its own back.
fn value(bytes: [u8; 32]) {
    let hash = BlockHash::new(bytes);
    let text = hash.to_string();
    assert_eq!(text.len(), 43);
    assert_eq!(text.parse(), Ok(hash));
    for cursor in [Cursor::Inclusive(hash), Cursor::Exclusive(hash)] {
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
    let (payload, target, weight) =
        (PayloadHash::new(bytes), Target::from_le(bytes), Weight::from_le(bytes));
    assert_eq!(text.parse(), Ok(payload));
    assert_eq!(Target::from_base64url(&target.to_string()), Ok(target));
    assert_eq!(Weight::from_base64url(&weight.to_string()), Ok(weight));
    let texts = [payload.to_string(), target.to_string(), weight.to_string()];
    assert!(texts.iter().all(|other| *other == text), "{texts:?} are not {text}");
    // As a number, the last byte counts most.
    let most = bytes.iter().rposition(|byte| *byte != 0);
    let bits = most.map_or(0, |byte| byte * 8 + highest_bit(bytes.get(byte).copied()));
    assert_eq!(weight.get().bit_len(), bits);
}

fn highest_bit(byte: Option<u8>) -> usize {
    byte.map_or(0, |byte| 8 - byte.leading_zeros() as usize)
}

fn same_text(value: &(impl Debug + Display), text: &str) {
    assert_eq!(value.to_string(), text.strip_suffix('=').unwrap_or(text), "{value:?}");
}
