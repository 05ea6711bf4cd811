//! A block → its events, byte for byte.

use bytes::Bytes;
use plait_engine::header::text::{OBJECT_LEN_MAX, push_object};
use plait_engine::payload::text::{object_with_outputs_len, push_object_with_outputs};
use plait_engine::verify::pow_hash;
use plait_engine::{ChainwebVersion, HeaderRef, Past, Payload, PayloadRef, QueryError, View};

use super::Kind;

/// Bytes of an event beside its position, the header's object and its payload, at most.
const FRAME_LEN: usize = 272;

/// Bytes of the line with a position beside the position.
const ID_LEN: usize = 4;

/// Bytes of an event that has only a position, without the line of the id.
const MARK_LEN: usize = 24;

/// Keeps a silent stream open: an empty line, which clients ignore between events. It is not a
/// comment, as in the standard, because chainweb-data stops at a line that begins with a colon.
pub(super) const KEEP_ALIVE: Bytes = Bytes::from_static(b"\n");

/// The events of one block.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The position behind it.
    pub(super) position: Bytes,
    header: Event,
    /// `None` where that was not asked for, or the payload is not held with its outputs.
    block: Option<Event>,
}

/// An event in one piece: the line with its position, then what everybody gets.
#[derive(Clone, Debug)]
struct Event {
    bytes: Bytes,
    id_len: usize,
}

impl Entry {
    /// The events of a block, behind which is `past`; that with its payload only if `blocks`.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`], [`QueryError::Cold`].
    pub(super) fn read(
        view: &View,
        header: HeaderRef<'_>,
        past: &Past,
        blocks: bool,
    ) -> Result<Self, QueryError> {
        let payload = view.block_payload(header)?;
        let payload = payload.as_ref().map(Payload::view);
        Ok(Self::new(view.version(), header, past, payload, blocks))
    }

    /// The same of what was read.
    pub(super) fn new(
        version: ChainwebVersion,
        header: HeaderRef<'_>,
        past: &Past,
        payload: Option<PayloadRef<'_>>,
        blocks: bool,
    ) -> Self {
        let position = Bytes::from(past.position().to_string());
        let count = payload.map(PayloadRef::transaction_count);
        let begin = |more| Draft::begin(&position, version, header, count, more);
        let block = payload.filter(|payload| blocks && payload.has_outputs());
        let block = block.map(|payload| begin(object_with_outputs_len(payload)).with(payload));
        let header = begin(0).end();
        Self { position, header, block }
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
        let parts = [self.position.len(), self.header.bytes.len(), block, size_of::<Self>()];
        parts.into_iter().fold(0, usize::saturating_add)
    }
}

/// A position without a block: an event with a name that clients can ignore. By the standard the id
/// alone would be enough, but npm's `eventsource` 3 and later forgets an id without data.
pub(super) fn mark(position: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(position.len().saturating_add(ID_LEN + MARK_LEN));
    out.extend_from_slice(b"event:Position\n");
    push_id(&mut out, position);
    out.extend_from_slice(b"data:{}\n\n");
    out.into()
}

/// Not an event, but the time in milliseconds that an `EventSource` waits before it reconnects.
pub(super) const RETRY_LATER: Bytes = Bytes::from_static(b"retry:10000\n\n");

/// An event that is being written.
struct Draft {
    out: Vec<u8>,
    id_len: usize,
}

impl Draft {
    /// All but what stands behind the header; `more` bytes will.
    fn begin(
        position: &[u8],
        version: ChainwebVersion,
        header: HeaderRef<'_>,
        count: Option<usize>,
        more: usize,
    ) -> Self {
        let fixed = ID_LEN + FRAME_LEN + OBJECT_LEN_MAX;
        let len = position.len().saturating_add(fixed).saturating_add(more);
        let mut out = Vec::with_capacity(len);
        push_id(&mut out, position);
        let id_len = out.len();
        out.extend_from_slice(b"event:BlockHeader\ndata:{\"header\":");
        push_object(&mut out, header, version);
        out.extend_from_slice(b",\"txCount\":");
        match count {
            Some(count) => {
                out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
            }
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"powHash\":\"");
        push_hex(&mut out, pow_hash(header).as_bytes().iter());
        out.extend_from_slice(b"\",\"target\":\"");
        push_hex(&mut out, header.target().to_le().iter().rev());
        out.push(b'"');
        Self { out, id_len }
    }

    fn with(mut self, payload: PayloadRef<'_>) -> Event {
        self.out.extend_from_slice(b",\"payloadWithOutputs\":");
        let is_whole = push_object_with_outputs(&mut self.out, payload);
        debug_assert!(is_whole, "it was asked whether it has outputs");
        self.end()
    }

    fn end(mut self) -> Event {
        self.out.extend_from_slice(b"}\n\n");
        Event { bytes: self.out.into(), id_len: self.id_len }
    }
}

fn push_id(out: &mut Vec<u8>, position: &[u8]) {
    out.extend_from_slice(b"id:");
    out.extend_from_slice(position);
    out.push(b'\n');
}

/// Appends two digits for each byte.
fn push_hex<'a>(out: &mut Vec<u8>, bytes: impl Iterator<Item = &'a u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
    out.extend(bytes.flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

#[cfg(test)]
pub(super) mod tests {
    use plait_engine::payload::text::from_object;
    use plait_engine::{ChainId, Header};

    use super::*;

    /// Real headers, and those of the documentation of event streams among them.
    const HEADERS: &str = include_str!("../../../tests/vectors/mainnet01-user-docs.jsonl");

    /// What the documentation has beside these headers.
    const POW: [&str; 2] = [
        "00000000000006e0b164858ee0fcbfd112f4242d5010ff33d3a43d2cc3c15177",
        "00000000000001c40ddfd6574f9962a443714f3817bbea773a55fec63c7d95c8",
    ];
    const TARGETS: [&str; 2] = [
        "00000000000007837c23a601911e14a9b7c2654608166375ff5a64eb4d7049ce",
        "000000000000078cce52a420c2eba240e8a2cf4f74eec3297ac7861b9cf8f1b6",
    ];

    /// A payload of one transaction; what it says is of no matter here.
    const PAYLOAD: &str = concat!(
        r#"{"transactions":[["YQ","Yg"]],"minerData":"Yw","#,
        r#""transactionsHash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","#,
        r#""outputsHash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","#,
        r#""payloadHash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAI","coinbase":"ZA"}"#
    );

    const VERSION: ChainwebVersion = ChainwebVersion::Mainnet01;

    fn headers() -> Vec<Header> {
        let object = |line: &str| plait_engine::header::text::from_object(line).unwrap();
        HEADERS.lines().filter(|line| line.starts_with('{')).map(object).collect()
    }

    fn payload() -> Payload {
        from_object(PAYLOAD.as_bytes()).unwrap()
    }

    fn past(header: &Header) -> Past {
        Past::new([(header.view().chain(), header.view().rank())])
    }

    /// An entry that is as long as this, more or less.
    pub(in super::super) fn entry(number: u64) -> Entry {
        let header = VERSION.genesis_header(ChainId::new(0)).unwrap();
        let mut past = past(&header);
        let mut rank = header.view().rank();
        rank.height = plait_engine::BlockHeight::new(number);
        past.set(ChainId::new(0), rank);
        Entry::new(VERSION, header.view(), &past, None, false)
    }

    fn text(bytes: &Bytes) -> &str {
        str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn events_are_those_of_the_documentation() {
        for ((header, pow), target) in headers().iter().zip(POW).zip(TARGETS) {
            let entry = Entry::new(VERSION, header.view(), &past(header), None, true);
            let mut object = Vec::new();
            push_object(&mut object, header.view(), VERSION);
            let object = String::from_utf8(object).unwrap();
            let expected = format!(
                "event:BlockHeader\ndata:{{\"header\":{object},\"txCount\":null,\
                 \"powHash\":\"{pow}\",\"target\":\"{target}\"}}\n\n"
            );
            assert_eq!(text(&entry.event(Kind::Headers, false).unwrap()), expected);
            let id = format!("id:{}\n", past(header).position());
            assert_eq!(text(&entry.event(Kind::Headers, true).unwrap()), id + &expected);
            assert!(entry.event(Kind::Blocks, false).is_none());
        }
    }

    #[test]
    fn payload_stands_behind_the_rest() {
        let (header, payload) = (headers()[0], payload());
        let entry = |blocks| {
            let payload = Some(payload.view());
            Entry::new(VERSION, header.view(), &past(&header), payload, blocks)
        };
        let with = entry(true);
        let short = with.event(Kind::Headers, false).unwrap();
        assert!(text(&short).contains(",\"txCount\":1,\"powHash\":"));
        let mut object = Vec::new();
        assert!(push_object_with_outputs(&mut object, payload.view()));
        let object = String::from_utf8(object).unwrap();
        let begin = text(&short).strip_suffix("}\n\n").unwrap();
        let expected = format!("{begin},\"payloadWithOutputs\":{object}}}\n\n");
        assert_eq!(text(&with.event(Kind::Blocks, false).unwrap()), expected);
        assert!(with.event(Kind::Blocks, true).unwrap().ends_with(expected.as_bytes()));
        let without = entry(false);
        assert_eq!(without.event(Kind::Headers, false), Some(short));
        assert_eq!(without.event(Kind::Blocks, false), None);
    }

    #[test]
    fn events_are_written_into_one_buffer_that_does_not_grow() {
        let (header, payload) = (headers()[0], payload());
        let position = past(&header).position().to_string();
        let draft =
            |count, more| Draft::begin(position.as_bytes(), VERSION, header.view(), count, more);
        let capacity = |event: Event| Vec::from(event.bytes).capacity();
        let longest = position.len() + ID_LEN + FRAME_LEN + OBJECT_LEN_MAX;
        assert_eq!(capacity(draft(Some(usize::MAX), 0).end()), longest);
        let more = object_with_outputs_len(payload.view());
        assert_eq!(capacity(draft(Some(1), more).with(payload.view())), longest + more);
    }
}
