//! Parses one JSON value: a header, or a block with its payload.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::super::{Place, RawPayload, Record};
use crate::header::{Header, RawHeader, TextError, merkle, text};
use crate::replay::Wrong;
use crate::types::{BlockHeight, ChainwebVersion, Grow};
use crate::verify::Hasher;

/// Bytes of a header's object at most: it has some 700, and white space and unknown members besides.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// Records that were read.
#[derive(Debug, Default)]
pub struct Records {
    /// The records.
    pub list: Vec<Record>,
    /// Bytes of what they carry.
    pub payload_bytes: usize,
    /// Those whose network has a name that once was another's, by their numbers.
    ambiguous: Vec<usize>,
}

/// A record, and whether its network is to be settled.
pub(super) type Draft = (Record, bool);

impl Records {
    /// Appends a window, by ascending height: branch pages descend, and parents come first here.
    pub(super) fn append(&mut self, window: &mut Vec<Draft>) {
        if window.len() > 1 {
            window.sort_by_key(|(record, _)| {
                record.header.as_ref().map_or(u64::MAX, |raw| raw.height.get())
            });
        }
        for (record, is_ambiguous) in window.drain(..) {
            if is_ambiguous {
                self.ambiguous.push(self.list.len());
            }
            self.payload_bytes.grow(record.payload.as_ref().map_or(0, RawPayload::len));
            self.list.push(record);
        }
    }

    /// Settles of which network objects are that say `development`: until February 2024 that was
    /// the name of what is `recap-development` now. The block hash says which of the two it is.
    pub fn settle(&mut self) {
        let numbers = std::mem::take(&mut self.ambiguous);
        if numbers.is_empty() {
            return;
        }
        let mut hasher = Hasher::default();
        let headers = |list: &[Record]| -> Vec<RawHeader> {
            let of = |number: &usize| list.get(*number)?.header.as_ref().ok().copied();
            numbers.iter().filter_map(of).collect()
        };
        let new = headers(&self.list);
        let wrong = |headers: &[RawHeader], hasher: &mut Hasher| -> Vec<bool> {
            let mut expected = Vec::with_capacity(headers.len());
            hasher.block_hashes(headers, &mut expected);
            headers.iter().zip(expected).map(|(raw, hash)| raw.hash != hash).collect()
        };
        let is_wrong = wrong(&new, &mut hasher);
        if !is_wrong.contains(&true) {
            return;
        }
        let code = ChainwebVersion::RecapDevelopment.code().into();
        let old: Vec<RawHeader> =
            new.iter().map(|raw| RawHeader { version: code, ..*raw }).collect();
        let is_wrong_too = wrong(&old, &mut hasher);
        for (index, number) in numbers.iter().enumerate() {
            let is_old =
                is_wrong.get(index) == Some(&true) && is_wrong_too.get(index) == Some(&false);
            if is_old && let Some(Ok(raw)) = self.list.get_mut(*number).map(|r| r.header.as_mut()) {
                raw.version = code;
            }
        }
    }
}

/// The members of a block's object: of the API, of an update event, of chainweb-node's header-dump.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outer<'a> {
    #[serde(borrow)]
    header: Option<&'a RawValue>,
    #[serde(borrow)]
    payload_with_outputs: Option<&'a RawValue>,
    /// `{"chainId":0,"height":5,"data":...}`: a block or a header with its place around it.
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// The record that a value is; `is_block` says whether it is an object with a member of [`Outer`].
pub(super) fn record(place: Place, value: &[u8], is_block: bool, payloads: bool) -> Draft {
    let Ok(text) = std::str::from_utf8(value) else {
        return wrong(place, Wrong::Line("the value is not UTF-8 text"));
    };
    let mut payload = None;
    let read = read(text, is_block, &mut payload);
    let payload = payload.filter(|_| payloads && read.is_ok());
    let payload = payload.map(|payload| RawPayload::Object(payload.get().into()));
    match read {
        Ok((header, is_ambiguous)) => {
            let header = Ok(*header.view().raw());
            (Record { place, header, payload }, is_ambiguous)
        }
        Err(error) => {
            let wrong = located(error, &place);
            self::wrong(place, wrong)
        }
    }
}

/// What is no record, and why.
pub(super) const fn wrong(place: Place, wrong: Wrong) -> Draft {
    (Record { place, header: Err(wrong), payload: None }, false)
}

fn read<'a>(
    text: &'a str,
    is_block: bool,
    payload: &mut Option<&'a RawValue>,
) -> Result<(Header, bool), Wrong> {
    if !is_block {
        return header(text);
    }
    let outer: Outer<'a> = serde_json::from_str(text).map_err(TextError::from)?;
    *payload = outer.payload_with_outputs;
    match (outer.header, outer.data) {
        (Some(inner), _) => header(inner.get()),
        (None, Some(data)) if data.get().starts_with('{') => {
            let inner: Outer<'a> = serde_json::from_str(data.get()).map_err(TextError::from)?;
            *payload = inner.payload_with_outputs.or(*payload);
            header(inner.header.unwrap_or(data).get())
        }
        (None, Some(data)) => header(data.get()),
        (None, None) => header(text),
    }
}

/// A header as a string, with quotes or without, or as an object; and whether its network is to be
/// settled.
fn header(text: &str) -> Result<(Header, bool), Wrong> {
    if let Some(quoted) = text.strip_prefix('"') {
        let plain = quoted.strip_suffix('"').filter(|plain| !plain.contains('\\'));
        let header = match plain {
            Some(plain) => text::from_string(plain)?,
            None => {
                text::from_string(&serde_json::from_str::<String>(text).map_err(TextError::from)?)?
            }
        };
        return Ok((header, false));
    }
    if !text.starts_with('{') {
        let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
        return Err(match text.as_bytes() {
            [b'[', ..] if is_json => Wrong::Line("an array, where a header is expected"),
            _ if is_json => Wrong::Line("neither an object nor a string, so no header"),
            _ => text::from_string(text).map_or_else(Wrong::from, |_| Wrong::Line("not in quotes")),
        });
    }
    if text.len() > HEADER_BYTES_MAX {
        return Err(Wrong::Line("the object of a header is longer than 64 KiB"));
    }
    let header = text::from_object(text)?;
    let header = exchanged(&header).unwrap_or(header);
    Ok((header, header.view().version_code() == ChainwebVersion::Development.code()))
}

/// Whether this is JSON, of any kind.
pub(super) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Whether an object has no member of a header or a block: a log may be objects, too.
pub(super) fn is_foreign(value: &[u8]) -> bool {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Members {
        header: Option<IgnoredAny>,
        hash: Option<IgnoredAny>,
        parent: Option<IgnoredAny>,
        adjacents: Option<IgnoredAny>,
        payload_hash: Option<IgnoredAny>,
        payload_with_outputs: Option<IgnoredAny>,
        weight: Option<IgnoredAny>,
    }
    let members = value.starts_with(b"{").then(|| serde_json::from_slice::<Members>(value).ok());
    members.flatten().is_some_and(|members| {
        let Members { header, hash, parent, adjacents, payload_hash, payload_with_outputs, weight } =
            members;
        let all = [header, hash, parent, adjacents, payload_hash, payload_with_outputs, weight];
        all.iter().all(Option::is_none)
    })
}

/// A header as bare base64url.
pub(super) fn word(place: Place, text: &str) -> Draft {
    let header = text::from_string(text).map(|header| *header.view().raw());
    (Record { place, header: header.map_err(Wrong::from), payload: None }, false)
}

/// The same error with the line and column of the input rather than of the value.
fn located(error: Wrong, place: &Place) -> Wrong {
    let Wrong::Text(TextError::Json(source)) = &error else { return error };
    let Place::Value { line, column, .. } = place else { return error };
    if source.line() == 0 {
        return error;
    }
    let text = source.to_string();
    let reason =
        text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned();
    let below = (source.line() as u64).saturating_sub(1);
    let within = source.column() as u64;
    let column = if below == 0 { column.saturating_add(within).saturating_sub(1) } else { within };
    Wrong::Object { reason, line: line.saturating_add(below), column }
}

/// The header with feature flags and nonce exchanged, if only that gives its block hash.
///
/// The two fields changed places in version 1.7 of the node, while the bytes stayed: objects that
/// older nodes made of blocks from before show each under the name of the other.
fn exchanged(header: &Header) -> Option<Header> {
    const LAST: BlockHeight = BlockHeight::new(530_500);
    let view = header.view();
    let old = view.height() < LAST
        && view.version_code() == ChainwebVersion::Mainnet01.code()
        && view.feature_flags() == 0
        && view.nonce() != 0;
    if !old || merkle::block_hash(view) == view.hash() {
        return None;
    }
    let raw = view.raw();
    let raw = RawHeader { feature_flags: raw.nonce, nonce: raw.feature_flags, ..*raw };
    let exchanged = Header::new(raw).ok()?;
    (merkle::block_hash(exchanged.view()) == exchanged.view().hash()).then_some(exchanged)
}
