use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use thiserror::Error;

use crate::types::{BASE64URL, BlockHeight, ChainId, Rank, push_base64url};

/// What a position begins with: another form would have another number.
const FORM: u8 = 1;

/// Bytes of a hash that a position has: enough to tell siblings apart.
pub(super) const PREFIX_LEN: usize = 4;

/// Chains that it has at most: one bit each.
const CHAINS_MAX: u32 = u64::BITS;

/// Bytes of the longest: form, lowest height, bits, and of each chain a number and a prefix.
const LEN_MAX: usize = 1 + NUMBER_LEN_MAX * 2 + CHAINS_MAX as usize * (NUMBER_LEN_MAX + PREFIX_LEN);

/// Bytes of the longest number.
const NUMBER_LEN_MAX: usize = 10;

/// A [`Past`](super::Past) in short: of each chain height and first bytes of the highest block.
///
/// It says nothing of the database that it was made from, so it holds for every one with these
/// blocks, now and later. One past has one text, base64url of some 145 characters for twenty chains;
/// `docs/formats.md` has the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// By ascending chain, each once.
    tops: Vec<Top>,
}

/// The highest block of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Top {
    pub(super) chain: ChainId,
    pub(super) height: BlockHeight,
    /// The first bytes of its hash.
    pub(super) prefix: [u8; PREFIX_LEN],
}

/// A text is not a [`Position`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PositionError {
    /// It is not base64url, or longer than any.
    #[error("not base64url, or too long for a position")]
    Text,
    /// It is of another form, say of a later release.
    #[error("a position of form {got}, expected {FORM}")]
    Form {
        /// The form.
        got: u8,
    },
    /// What is in it is no position.
    #[error("not the bytes of a position")]
    Bytes,
}

impl Position {
    /// The position of these blocks, by ascending chain.
    pub(super) fn of(tops: impl Iterator<Item = (ChainId, Rank)>) -> Self {
        let top = |(chain, rank): (ChainId, Rank)| {
            let prefix = rank.hash.as_bytes().first_chunk();
            prefix.map(|prefix| Top { chain, height: rank.height, prefix: *prefix })
        };
        Self { tops: tops.filter(|(chain, _)| chain.get() < CHAINS_MAX).filter_map(top).collect() }
    }

    #[cfg(any(feature = "store", test))]
    pub(super) fn tops(&self) -> &[Top] {
        &self.tops
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        let lowest = self.tops.iter().map(|top| top.height.get()).min().unwrap_or_default();
        let bits = self.tops.iter().fold(0, |bits, top| bits | 1_u64 << top.chain.get());
        bytes.push(FORM);
        push_number(&mut bytes, lowest);
        push_number(&mut bytes, bits);
        for top in &self.tops {
            push_number(&mut bytes, top.height.get().saturating_sub(lowest));
            bytes.extend_from_slice(&top.prefix);
        }
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let (lowest, bits) = (take_number(&mut rest)?, take_number(&mut rest)?);
        let mut tops = Vec::with_capacity(usize::try_from(bits.count_ones()).ok()?);
        for chain in (0..CHAINS_MAX).filter(|chain| bits >> chain & 1 == 1) {
            let height = BlockHeight::new(lowest.checked_add(take_number(&mut rest)?)?);
            let (prefix, behind) = rest.split_first_chunk()?;
            rest = behind;
            tops.push(Top { chain: ChainId::new(chain), height, prefix: *prefix });
        }
        // One past has one text.
        let is_lowest = tops.iter().map(|top| top.height.get()).min().unwrap_or_default() == lowest;
        (rest.is_empty() && is_lowest).then_some(Self { tops })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(192);
        push_base64url(&mut text, &self.bytes());
        f.pad(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        if text.len() > LEN_MAX.div_ceil(3).saturating_mul(4) {
            return Err(PositionError::Text);
        }
        let bytes = BASE64URL.decode(text).map_err(|_| PositionError::Text)?;
        match bytes.split_first() {
            Some((&FORM, rest)) => Self::parse(rest).ok_or(PositionError::Bytes),
            Some((&got, _)) => Err(PositionError::Form { got }),
            None => Err(PositionError::Bytes),
        }
    }
}

/// Appends a number, seven bits a byte from the lowest on (LEB128).
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while let Some(low) = u8::try_from(number & 0x7f).ok().filter(|_| number > 0x7f) {
        out.push(low | 0x80);
        number >>= 7;
    }
    out.extend(u8::try_from(number));
}

/// Takes a number from the front, written as short as can be.
fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for at in 0..NUMBER_LEN_MAX {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let (bits, shift) = (u64::from(byte & 0x7f), at.saturating_mul(7));
        number |= bits << shift;
        if number >> shift != bits || (*byte == 0 && at > 0) {
            return None;
        }
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::Past;
    use super::*;
    use crate::types::BlockHash;
    use proptest::prelude::*;

    fn past(tops: &[(u32, u64, [u8; 32])]) -> Past {
        Past::new(tops.iter().map(|(chain, height, hash)| {
            let (height, hash) = (BlockHeight::new(*height), BlockHash::new(*hash));
            (ChainId::new(*chain), Rank { height, hash })
        }))
    }

    fn text(bytes: &[u8]) -> String {
        let mut text = Vec::new();
        push_base64url(&mut text, bytes);
        String::from_utf8(text).unwrap()
    }

    fn parse(bytes: &[u8]) -> Result<Position, PositionError> {
        text(bytes).parse()
    }

    #[test]
    fn twenty_chains_at_the_height_of_mainnet_have_145_characters_or_less() {
        let tops: Vec<_> = (0..20).map(|i| (i, 6_357_349 + u64::from(i % 4), [0xff; 32])).collect();
        let text = past(&tops).position().to_string();
        assert!(text.len() <= 145, "{}: {text}", text.len());
    }

    #[test]
    fn bytes_are_those_of_the_documentation() {
        let (a, b) = ([0xa1; 32], [0xb2; 32]);
        let position = past(&[(3, 300, b), (0, 301, a)]).position();
        let bytes = [&[1, 0xac, 2, 0b1001, 1][..], &a[..4], &[0], &b[..4]].concat();
        assert_eq!(position.to_string(), text(&bytes));
        assert_eq!(parse(&bytes), Ok(position));
        assert_eq!(past(&[]).position().to_string(), text(&[1, 0, 0]));
    }

    #[test]
    fn other_bytes_are_refused() {
        let hash = [7; 4];
        let end = |bytes: &[u8]| [bytes, &hash].concat();
        for (bytes, error) in [
            (vec![], PositionError::Bytes),
            (vec![1], PositionError::Bytes),
            (vec![2, 0, 0], PositionError::Form { got: 2 }),
            (vec![1, 0, 1, 0], PositionError::Bytes),
            (end(&[1, 0, 1, 1]), PositionError::Bytes),
            (end(&[1, 5, 1, 0x80, 0]), PositionError::Bytes),
            (end(&[1, 0x85, 0, 1, 0]), PositionError::Bytes),
            (end(&[&[1][..], &[0xff; 9], &[2, 1, 0]].concat()), PositionError::Bytes),
            (end(&[&[1][..], &[0xff; 10], &[1, 0]].concat()), PositionError::Bytes),
            (vec![1, 0, 0, 0], PositionError::Bytes),
            (vec![1, 1, 0], PositionError::Bytes),
        ] {
            assert_eq!(parse(&bytes), Err(error), "{bytes:?}");
        }
        let greatest = end(&[&[1][..], &[0xff; 9], &[1, 1, 0]].concat());
        assert_eq!(parse(&greatest).unwrap().tops()[0].height.get(), u64::MAX);
        for text in ["*", "A", "AQAB", &"A".repeat(1 << 16), "AQ A"] {
            assert!(text.parse::<Position>().is_err(), "{text:.9}");
        }
    }

    proptest! {
        #[test]
        fn text_form_is_read_back(
            tops in prop::collection::vec((0..64_u32, any::<u64>(), any::<[u8; 32]>()), 0..30),
        ) {
            let past = past(&tops);
            let position = past.position();
            prop_assert_eq!(position.to_string().parse(), Ok(position.clone()));
            for ((chain, rank), top) in past.tops().zip(position.tops()) {
                prop_assert_eq!((chain, rank.height), (top.chain, top.height));
                prop_assert_eq!(&rank.hash.as_bytes()[..PREFIX_LEN], &top.prefix);
            }
        }

        #[test]
        fn what_is_read_is_written_the_same(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            begin in prop_oneof![Just(vec![]), Just(vec![1, 9, 1]), Just(vec![1, 0])],
        ) {
            let bytes = [begin, bytes].concat();
            if let Ok(position) = parse(&bytes) {
                prop_assert_eq!(position.to_string(), text(&bytes));
            }
        }
    }
}
