//! Headers as text: base64url strings and JSON objects, as the reference writes and reads them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use serde::Deserialize;
use zerocopy::byteorder::little_endian::{I64, U32, U64};

use super::{AdjacentRecord, DEGREE, Header, HeaderRef, LEN, RawHeader, TextError};
use crate::types::{BlockHash, ChainId, ChainwebVersion, PayloadHash, decode_32, push_base64url};
use crate::types::{WORD_LEN, Words};

/// Characters of a header's base64url form.
pub const STRING_LEN: usize = LEN / 3 * 4;

/// Characters of a hash's base64url form.
pub const HASH_LEN: usize = WORD_LEN;

/// Bytes of the longest object of a header: names and punctuation, words, numbers, network.
pub const OBJECT_LEN_MAX: usize = 195 + 8 * WORD_LEN + (5 * 20 + 4 * 10) + 17;

/// Rank of each chain in the reference's hash map, by which it orders the keys of objects.
///
/// Source: hashable 1.5 and unordered-containers 0.2.20, as chainweb-node 2.32 is built with.
const HASH_MAP_RANKS: [usize; 20] =
    [2, 5, 6, 10, 4, 12, 3, 16, 15, 1, 9, 14, 11, 18, 8, 17, 0, 13, 7, 19];

/// Hashes that are written in one go.
const HASHES_AT_ONCE: usize = 16;

/// The key by which chains sort into the order of the reference's objects.
#[must_use]
pub fn hash_map_rank(chain: ChainId) -> usize {
    HASH_MAP_RANKS.get(chain.index()).copied().unwrap_or(chain.index())
}

/// The key by which chains sorted before, in releases of the reference with hashable 1.4: the bits
/// of the chain, mixed with those of a constant, five at a time from the lowest on.
#[must_use]
pub fn hash_map_rank_1_4(chain: ChainId) -> [u32; 2] {
    digits::<5>(chain, 0x25)
}

/// The key by which chains sorted in the oldest releases, with hashable 1.2 and 1.3: four bits at
/// a time, and another constant.
#[must_use]
pub fn hash_map_rank_1_2(chain: ChainId) -> [u32; 2] {
    digits::<4>(chain, 0x2C)
}

/// The two lowest digits of a chain's hash: a chain id has no more.
fn digits<const BITS: u32>(chain: ChainId, constant: u32) -> [u32; 2] {
    let hash = chain.get() ^ constant;
    let lowest = |hash: u32| hash & const { u32::MAX >> (u32::BITS - BITS) };
    [lowest(hash), lowest(hash >> BITS)]
}

/// Appends the header as a JSON string: 424 characters of base64url in quotes.
pub fn push_string(out: &mut Vec<u8>, header: HeaderRef<'_>) {
    out.push(b'"');
    push_base64url(out, header.as_bytes());
    out.push(b'"');
}

/// Appends the hash as a JSON string: 43 characters of base64url in quotes.
pub fn push_hash(out: &mut Vec<u8>, hash: &BlockHash) {
    push_quoted(out, Words::new([hash.as_bytes()]).texts());
}

/// Appends the hashes as JSON strings with commas between them.
pub fn push_hashes(out: &mut Vec<u8>, hashes: &[BlockHash]) {
    out.reserve(hashes.len().saturating_mul(HASH_LEN.saturating_add(3)));
    let (chunks, rest) = hashes.as_chunks::<HASHES_AT_ONCE>();
    for (i, chunk) in chunks.iter().enumerate() {
        out.extend_from_slice(if i > 0 { b"," } else { b"" });
        push_quoted(out, Words::new(chunk.each_ref().map(BlockHash::as_bytes)).texts());
    }
    for (i, hash) in rest.iter().enumerate() {
        out.extend_from_slice(if i > 0 || !chunks.is_empty() { b"," } else { b"" });
        push_hash(out, hash);
    }
}

fn push_quoted<const N: usize>(out: &mut Vec<u8>, texts: [&[u8; HASH_LEN]; N]) {
    for (i, text) in texts.into_iter().enumerate() {
        out.extend_from_slice(if i > 0 { b",\"" } else { b"\"" });
        out.extend_from_slice(text);
        out.push(b'"');
    }
}

/// Appends the header as a JSON object, members in the reference's order, without spaces.
pub fn push_object(out: &mut Vec<u8>, header: HeaderRef<'_>, version: ChainwebVersion) {
    let mut adjacents = header.adjacents().all();
    adjacents.sort_unstable_by_key(|(chain, _)| hash_map_rank(*chain));
    let [(chain_a, a), (chain_b, b), (chain_c, c)] = adjacents;
    let RawHeader { parent, target, payload_hash, weight, hash, .. } = header.raw();
    let [hash_a, hash_b, hash_c] = [&a, &b, &c].map(BlockHash::as_bytes);
    let (parent, payload, hash) = (parent.as_bytes(), payload_hash.as_bytes(), hash.as_bytes());
    let words = Words::new([parent, hash_a, hash_b, hash_c, target, payload, weight, hash]);
    let [parent, hash_a, hash_b, hash_c, target, payload, weight, hash] = words.texts();
    out.reserve(OBJECT_LEN_MAX);
    push_number(out, "{\"nonce\":\"", header.nonce());
    push_number(out, "\",\"creationTime\":", header.creation_time().get());
    push_word(out, ",\"parent\":\"", parent);
    push_number(out, "\",\"adjacents\":{\"", chain_a.get());
    push_word(out, "\":\"", hash_a);
    push_number(out, "\",\"", chain_b.get());
    push_word(out, "\":\"", hash_b);
    push_number(out, "\",\"", chain_c.get());
    push_word(out, "\":\"", hash_c);
    push_word(out, "\"},\"target\":\"", target);
    push_word(out, "\",\"payloadHash\":\"", payload);
    push_number(out, "\",\"chainId\":", header.chain().get());
    push_word(out, ",\"weight\":\"", weight);
    push_number(out, "\",\"height\":", header.height().get());
    push(out, ",\"chainwebVersion\":\"", version.name().as_bytes());
    push_number(out, "\",\"epochStart\":", header.epoch_start().get());
    push_number(out, ",\"featureFlags\":", header.feature_flags());
    push_word(out, ",\"hash\":\"", hash);
    out.extend_from_slice(b"\"}");
}

#[inline]
fn push(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(value);
}

#[inline]
fn push_number(out: &mut Vec<u8>, key: &str, number: impl itoa::Integer) {
    push(out, key, itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a member up to the quote that closes it: the key behind it begins with that one.
#[inline]
fn push_word(out: &mut Vec<u8>, key: &str, word: &[u8; WORD_LEN]) {
    push(out, key, word);
}

/// Reads a header from its base64url string, with or without padding.
///
/// # Errors
///
/// [`TextError`] if the text is not base64url or not of one header.
pub fn from_string(text: &str) -> Result<Header, TextError> {
    let bytes = crate::types::BASE64URL.decode(text)?;
    Ok(HeaderRef::parse(&bytes)?.to_owned())
}

/// Reads a header from its JSON object; members may stand in any order, unknown ones are ignored. The
/// old network name `fast-development` is read as `development`.
///
/// # Errors
///
/// [`TextError`] if the text is not JSON, or a member is missing or out of its range.
pub fn from_object(text: &str) -> Result<Header, TextError> {
    serde_json::from_str::<Object<'_>>(text)?.into_header()
}

/// The members of a header's JSON object.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object<'a> {
    #[serde(borrow)]
    nonce: Cow<'a, str>,
    creation_time: i64,
    #[serde(borrow)]
    parent: Cow<'a, str>,
    #[serde(borrow)]
    adjacents: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(borrow)]
    target: Cow<'a, str>,
    #[serde(borrow)]
    payload_hash: Cow<'a, str>,
    chain_id: u32,
    #[serde(borrow)]
    weight: Cow<'a, str>,
    height: u64,
    #[serde(borrow)]
    chainweb_version: Cow<'a, str>,
    epoch_start: i64,
    feature_flags: u64,
    #[serde(borrow)]
    hash: Cow<'a, str>,
}

impl Object<'_> {
    /// The header with these members.
    ///
    /// # Errors
    ///
    /// [`TextError`] if a member is out of its range.
    pub fn into_header(self) -> Result<Header, TextError> {
        let word = |member, text: &str| {
            decode_32(text).map_err(|source| TextError::Word { member, source })
        };
        let got = self.adjacents.len();
        let adjacents: Vec<(ChainId, BlockHash)> = self
            .adjacents
            .iter()
            .map(|(chain, hash)| {
                let chain = decimal("adjacents", chain)?;
                let chain =
                    u32::try_from(chain).map_err(|_| TextError::Number { member: "adjacents" })?;
                Ok((ChainId::new(chain), BlockHash::new(word("adjacents", hash)?)))
            })
            .collect::<Result<_, TextError>>()?;
        let adjacents: [_; DEGREE] =
            adjacents.try_into().map_err(|_| TextError::Adjacents { got })?;
        let version =
            ChainwebVersion::from_any_name(&self.chainweb_version).ok_or(TextError::Version)?;
        let raw = RawHeader {
            feature_flags: U64::new(self.feature_flags),
            creation_time: I64::new(self.creation_time),
            parent: BlockHash::new(word("parent", &self.parent)?),
            adjacents: AdjacentRecord::new(adjacents),
            target: word("target", &self.target)?,
            payload_hash: PayloadHash::new(word("payloadHash", &self.payload_hash)?),
            chain: U32::new(self.chain_id),
            weight: word("weight", &self.weight)?,
            height: U64::new(self.height),
            version: U32::new(version.code()),
            epoch_start: I64::new(self.epoch_start),
            nonce: U64::new(decimal("nonce", &self.nonce)?),
            hash: BlockHash::new(word("hash", &self.hash)?),
        };
        Ok(Header::new(raw)?)
    }
}

/// A number of decimal digits only, where `u64::from_str` would take a sign.
fn decimal(member: &'static str, text: &str) -> Result<u64, TextError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(TextError::Number { member })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with the longest numbers there are, and words of all bits.
    fn widest() -> Header {
        let word = [0xff; 32];
        let adjacent = |chain| (ChainId::new(chain), BlockHash::new(word));
        Header::new(RawHeader {
            feature_flags: u64::MAX.into(),
            creation_time: i64::MIN.into(),
            parent: BlockHash::new(word),
            adjacents: AdjacentRecord::new([u32::MAX, u32::MAX - 1, u32::MAX - 2].map(adjacent)),
            target: word,
            payload_hash: PayloadHash::new(word),
            chain: u32::MAX.into(),
            weight: word,
            height: u64::MAX.into(),
            version: u32::MAX.into(),
            epoch_start: i64::MIN.into(),
            nonce: u64::MAX.into(),
            hash: BlockHash::new(word),
        })
        .unwrap()
    }

    #[test]
    fn longest_object_has_the_longest_length() {
        let mut lens: Vec<usize> = Vec::new();
        for version in ChainwebVersion::ALL {
            let mut out = Vec::new();
            push_object(&mut out, widest().view(), version);
            lens.push(out.len());
        }
        assert_eq!(lens.into_iter().max(), Some(OBJECT_LEN_MAX));
    }

    #[test]
    fn hashes_are_written_as_one_by_one() {
        let hashes: Vec<BlockHash> = (0..40).map(|i| BlockHash::new([i; 32])).collect();
        for count in 0..hashes.len() {
            let hashes = &hashes[..count];
            let quoted: Vec<String> = hashes.iter().map(|hash| format!("\"{hash}\"")).collect();
            let mut out = Vec::new();
            push_hashes(&mut out, hashes);
            assert_eq!(String::from_utf8(out).unwrap(), quoted.join(","));
        }
    }

    #[test]
    fn chains_are_ranked_as_in_the_hash_map_of_the_reference() {
        let mut chains: Vec<u32> = (0..22).collect();
        chains.sort_by_key(|chain| hash_map_rank(ChainId::new(*chain)));
        let order = [16, 9, 0, 6, 4, 1, 2, 18, 14, 10, 3, 12, 5, 17, 11, 8, 7, 15, 13, 19];
        assert_eq!(chains, [&order[..], &[20, 21]].concat());
    }
}
