//! Headers as text: base64url strings and JSON objects, as the reference writes and reads them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use serde::Deserialize;
use zerocopy::byteorder::little_endian::{I64, U32, U64};

use super::{AdjacentRecord, DEGREE, Header, HeaderRef, LEN, RawHeader, TextError};
use crate::types::{BlockHash, ChainId, ChainwebVersion, PayloadHash, decode_32, push_base64url};

/// Characters of a header's base64url form.
pub const STRING_LEN: usize = LEN / 3 * 4;

/// Bytes that hold the object of any header.
pub const OBJECT_LEN_MAX: usize = 1024;

/// Rank of each chain in the reference's hash map, by which it orders the keys of objects.
///
/// Source: hashable 1.5 and unordered-containers 0.2.20, as chainweb-node 2.32 is built with.
const HASH_MAP_ORDER: [u32; 20] =
    [16, 9, 0, 6, 4, 1, 2, 18, 14, 10, 3, 12, 5, 17, 11, 8, 7, 15, 13, 19];

/// The key by which chains sort into the order of the reference's objects.
#[must_use]
pub fn hash_map_rank(chain: ChainId) -> usize {
    HASH_MAP_ORDER.iter().position(|id| *id == chain.get()).unwrap_or(chain.index())
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
    [hash % (1 << BITS), (hash >> BITS) % (1 << BITS)]
}

/// Appends the header as a JSON string: 424 characters of base64url in quotes.
pub fn push_string(out: &mut Vec<u8>, header: HeaderRef<'_>) {
    out.push(b'"');
    push_base64url(out, header.as_bytes());
    out.push(b'"');
}

/// Appends the header as a JSON object, members in the reference's order, without spaces.
pub fn push_object(out: &mut Vec<u8>, header: HeaderRef<'_>, version: ChainwebVersion) {
    push(out, "{\"nonce\":\"", &header.nonce().to_string());
    push(out, "\",\"creationTime\":", &header.creation_time().to_string());
    push_word(out, ",\"parent\":\"", header.parent().as_bytes());
    out.extend_from_slice(b",\"adjacents\":{");
    let mut adjacents = [(ChainId::new(0), BlockHash::new([0; 32])); DEGREE];
    for (slot, adjacent) in adjacents.iter_mut().zip(header.adjacents().iter()) {
        *slot = adjacent;
    }
    adjacents.sort_unstable_by_key(|(chain, _)| hash_map_rank(*chain));
    for (i, (chain, hash)) in adjacents.iter().enumerate() {
        push(out, if i == 0 { "\"" } else { ",\"" }, &chain.to_string());
        push_word(out, "\":\"", hash.as_bytes());
    }
    push_word(out, "},\"target\":\"", &header.raw().target);
    push_word(out, ",\"payloadHash\":\"", header.payload_hash().as_bytes());
    push(out, ",\"chainId\":", &header.chain().to_string());
    push_word(out, ",\"weight\":\"", &header.raw().weight);
    push(out, ",\"height\":", &header.height().to_string());
    push(out, ",\"chainwebVersion\":\"", version.name());
    push(out, "\",\"epochStart\":", &header.epoch_start().to_string());
    push(out, ",\"featureFlags\":", &header.feature_flags().to_string());
    push_word(out, ",\"hash\":\"", header.hash().as_bytes());
    out.push(b'}');
}

fn push(out: &mut Vec<u8>, key: &str, value: &str) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(value.as_bytes());
}

fn push_word(out: &mut Vec<u8>, key: &str, word: &[u8; 32]) {
    out.extend_from_slice(key.as_bytes());
    push_base64url(out, word);
    out.push(b'"');
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

/// Reads a header from its JSON object; members may stand in any order, unknown ones are ignored.
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
            ChainwebVersion::from_name(&self.chainweb_version).ok_or(TextError::Version)?;
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
