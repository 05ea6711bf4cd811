use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64_simd::{AsOut as _, URL_SAFE_NO_PAD};
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Base64url as the reference reads and writes it: written without padding, read with or without,
/// and spare bits must be zero, so that a value has one text.
pub(crate) const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Characters of the base64url form of 32 bytes.
pub(crate) const WORD_LEN: usize = 43;

#[inline]
pub(crate) fn push_base64url(out: &mut Vec<u8>, bytes: &[u8]) {
    // The encoder would let the buffer grow by no more than it needs, each time anew.
    out.reserve(bytes.len().div_ceil(3).saturating_mul(4));
    URL_SAFE_NO_PAD.encode_append(bytes, out);
}

/// The base64url forms of many words of 32 bytes, written in one go.
///
/// One word is too short for vector instructions. With a zero byte behind it, it is a multiple of
/// three and stands beside others: 44 characters each, of which the last says nothing.
pub(crate) struct Words<const N: usize>([[u8; WORD_LEN + 1]; N]);

impl<const N: usize> Words<N> {
    pub(crate) fn new(words: [&[u8; 32]; N]) -> Self {
        let mut padded = [[0; 33]; N];
        for ([slot @ .., _], word) in padded.iter_mut().zip(words) {
            *slot = *word;
        }
        let mut text = [[0; WORD_LEN + 1]; N];
        let _ = URL_SAFE_NO_PAD.encode(padded.as_flattened(), text.as_flattened_mut().as_out());
        Self(text)
    }

    /// The forms, in the order of the words.
    pub(crate) fn texts(&self) -> [&[u8; WORD_LEN]; N] {
        self.0.each_ref().map(|[text @ .., _]| text)
    }
}

pub(crate) fn decode_32(text: &str) -> Result<[u8; 32], HashError> {
    // 32 bytes are 43 characters, or 44 with padding; longer text is not even looked at.
    if !matches!(text.len(), 43 | 44) {
        return Err(HashError::Length { got: text.len() });
    }
    let mut bytes = [0; 33];
    match BASE64URL.decode_slice_unchecked(text, &mut bytes) {
        Ok(32) => bytes.first_chunk().copied().ok_or(HashError::Alphabet),
        Ok(_) | Err(_) => Err(HashError::Alphabet),
    }
}

/// A text is not the base64url form of 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HashError {
    /// The text is shorter or longer than 32 bytes need.
    #[error("a hash has 43 characters, not {got}")]
    Length {
        /// Characters found.
        got: usize,
    },
    /// The text has characters outside the alphabet `A-Za-z0-9_-`, or spare bits that are not zero.
    #[error("not the base64url form of 32 bytes")]
    Alphabet,
}

macro_rules! hash {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Ordered by its bytes. The text form is base64url without padding, 43 characters.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
        #[repr(transparent)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The hash with these bytes.
            #[must_use]
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; WORD_LEN];
                f.pad(URL_SAFE_NO_PAD.encode_as_str(&self.0, text.as_mut_slice().as_out()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = HashError;

            fn from_str(text: &str) -> Result<Self, HashError> {
                decode_32(text).map(Self)
            }
        }
    };
}

hash! {
    /// The hash of a block: the Merkle root of its header.
    BlockHash
}

hash! {
    /// The hash of a block's payload: the Merkle root of its transactions and outputs.
    PayloadHash
}

hash! {
    /// The Merkle root of a payload's miner data and transactions.
    TransactionsHash
}

hash! {
    /// The Merkle root of a payload's coinbase and the outputs of its transactions.
    OutputsHash
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const GENESIS: &str = "SNAMXHBvZtAbeS19x12bZV2p5d1E4BaxrggceNdUxbw";

    #[test]
    fn text_form_is_read_back() {
        let hash: BlockHash = GENESIS.parse().unwrap();
        assert_eq!(hash.to_string(), GENESIS);
        assert_eq!(format!("{GENESIS}=").parse(), Ok(hash));
    }

    #[test]
    fn text_of_another_length_is_refused() {
        for text in ["", "a", &GENESIS[..42], &format!("{GENESIS}aa"), &"A".repeat(1 << 20)] {
            assert_eq!(text.parse::<BlockHash>(), Err(HashError::Length { got: text.len() }));
        }
    }

    #[test]
    fn text_outside_the_alphabet_or_with_spare_bits_is_refused() {
        let spare = format!("{}x", &GENESIS[..42]);
        let plus = format!("+{}", &GENESIS[1..]);
        let blank = format!("{} ", &GENESIS[..42]);
        for text in [spare, plus, blank, format!("{GENESIS}w"), "é".repeat(22)] {
            assert_eq!(text.parse::<BlockHash>(), Err(HashError::Alphabet), "{text}");
        }
    }

    proptest! {
        #[test]
        fn vector_encoder_writes_what_the_scalar_one_writes(
            before in vec(any::<u8>(), 0..3),
            bytes in vec(any::<u8>(), 0..1000),
        ) {
            let mut out = before.clone();
            push_base64url(&mut out, &bytes);
            prop_assert_eq!(out, [&before[..], BASE64URL.encode(&bytes).as_bytes()].concat());
        }

        #[test]
        fn words_are_written_as_one_by_one(words in any::<[[u8; 32]; 5]>()) {
            for (word, text) in words.iter().zip(Words::new(words.each_ref()).texts()) {
                let text = str::from_utf8(text).unwrap();
                prop_assert_eq!(BASE64URL.encode(word), text);
                prop_assert_eq!(BlockHash::new(*word).to_string(), text);
            }
        }
    }
}
