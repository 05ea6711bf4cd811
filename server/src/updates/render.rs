//! A block → its events, byte for byte.

use bytes::Bytes;
use plait_engine::header::text::{OBJECT_LEN_MAX, push_object};
use plait_engine::verify::pow_hash;
use plait_engine::{HeaderRef, Past, QueryError, View};

use super::Kind;

/// Bytes of an event beside the header's object, its position and its payload.
const FRAME_LEN: usize = 320;

/// Bytes of most positions.
const POSITION_LEN: usize = 160;

/// The line that keeps a stream open that has nothing to say.
pub(super) const COMMENT: Bytes = Bytes::from_static(b":\n");

/// The events of one block, each with its position and without it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The position behind it.
    pub(super) position: Bytes,
    header: Event,
    /// `None` where that was not asked for, or the payload is not held.
    block: Option<Event>,
}

/// An event in one piece: the line with its position, then what everybody gets.
#[derive(Clone, Debug)]
struct Event {
    bytes: Bytes,
    id_len: usize,
}

impl Entry {
    /// Renders the events of a block, behind which is `past`; that with its payload only if `blocks`.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`], [`QueryError::Cold`].
    pub(super) fn new(
        view: &View,
        header: HeaderRef<'_>,
        past: &Past,
        blocks: bool,
    ) -> Result<Self, QueryError> {
        let position = Bytes::from(past.position().to_string());
        let payload = Payload::of(view, header)?;
        let block = payload.as_ref().filter(|_| blocks);
        let block = block.map(|payload| event(&position, view, header, Some(payload), true));
        let header = event(&position, view, header, payload.as_ref(), false);
        Ok(Self { position, header, block })
    }

    /// The event for those who listen to `kind`, if there is one; `ids` says whether it has its
    /// position.
    pub(super) fn event(&self, kind: Kind, ids: bool) -> Option<Bytes> {
        let event = match kind {
            Kind::Headers => Some(&self.header),
            Kind::Blocks => self.block.as_ref(),
        }?;
        Some(if ids { event.bytes.clone() } else { event.bytes.slice(event.id_len..) })
    }

    /// Bytes of all of it.
    pub(super) fn len(&self) -> usize {
        let block = self.block.as_ref().map_or(0, |event| event.bytes.len());
        self.position.len() + self.header.bytes.len() + block + size_of::<Self>()
    }
}

/// No event, but a position to begin behind: an event source keeps it, and nobody else is told.
pub(super) fn mark(position: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(position.len() + 5);
    push_id(&mut out, position);
    out.push(b'\n');
    out.into()
}

/// What an event says of a payload.
struct Payload;

impl Payload {
    /// The payload of a block, if it is held.
    #[expect(clippy::unnecessary_wraps, reason = "none is stored yet")]
    fn of(_view: &View, _header: HeaderRef<'_>) -> Result<Option<Self>, QueryError> {
        Ok(None)
    }
}

fn event(
    position: &[u8],
    view: &View,
    header: HeaderRef<'_>,
    payload: Option<&Payload>,
    with_payload: bool,
) -> Event {
    let mut out = Vec::with_capacity(POSITION_LEN + FRAME_LEN + OBJECT_LEN_MAX);
    push_id(&mut out, position);
    let id_len = out.len();
    out.extend_from_slice(b"event:BlockHeader\ndata:{\"header\":");
    push_object(&mut out, header, view.version());
    out.extend_from_slice(b",\"txCount\":");
    match payload {
        Some(_) | None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"powHash\":\"");
    push_hex(&mut out, pow_hash(header).as_bytes().iter());
    out.extend_from_slice(b"\",\"target\":\"");
    push_hex(&mut out, header.target().to_le().iter().rev());
    out.push(b'"');
    if let Some(_payload) = payload.filter(|_| with_payload) {
        out.extend_from_slice(b",\"payloadWithOutputs\":");
    }
    out.extend_from_slice(b"}\n\n");
    Event { bytes: out.into(), id_len }
}

fn push_id(out: &mut Vec<u8>, position: &[u8]) {
    out.extend_from_slice(b"id:");
    out.extend_from_slice(position);
    out.push(b'\n');
}

/// Appends two digits for each byte.
fn push_hex<'a>(out: &mut Vec<u8>, bytes: impl Iterator<Item = &'a u8>) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    out.extend(bytes.flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}
