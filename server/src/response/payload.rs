use bytes::Bytes;
use plait_engine::header::text::{OBJECT_LEN_MAX, push_object};
use plait_engine::payload::{octets, text};
use plait_engine::{ChainwebVersion, Cursor, HeaderRef, Page, Payload, PayloadRef, Records};

use super::json::{begin_frame, end_frame, frame};

/// Bytes around header and payload of a block: `{"header":,"payloadWithOutputs":}` and a comma.
const BLOCK_LEN: usize = 34;

/// How payloads are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// With the outputs of their transactions and of the coinbase.
    pub(crate) outputs: bool,
    /// As the bytes that the reference sends between nodes, else as JSON.
    pub(crate) octets: bool,
}

impl Form {
    /// Whether `payload` can be written so: outputs are there only where they are known.
    pub(crate) const fn covers(self, payload: PayloadRef<'_>) -> bool {
        !self.outputs || payload.has_outputs()
    }

    /// Bytes of `payload`.
    pub(crate) fn len(self, payload: PayloadRef<'_>) -> usize {
        match (self.octets, self.outputs) {
            (false, false) => text::object_len(payload),
            (false, true) => text::object_with_outputs_len(payload),
            (true, false) => octets::len(payload),
            (true, true) => octets::len_with_outputs(payload),
        }
    }

    /// Appends `payload`, which this covers.
    fn push(self, out: &mut Vec<u8>, payload: PayloadRef<'_>) {
        let is_written = match (self.octets, self.outputs) {
            (false, true) => text::push_object_with_outputs(out, payload),
            (true, true) => octets::push_with_outputs(out, payload),
            (false, false) => {
                text::push_object(out, payload);
                true
            }
            (true, false) => {
                octets::push(out, payload);
                true
            }
        };
        debug_assert!(is_written, "outputs that are asked for are known");
    }
}

/// One payload.
pub(crate) fn payload(form: Form, payload: PayloadRef<'_>) -> Bytes {
    let mut out = Vec::with_capacity(form.len(payload));
    form.push(&mut out, payload);
    out.into()
}

/// A list of payloads, piece by piece.
pub(crate) struct List {
    form: Form,
    /// Whether there is one already.
    is_begun: bool,
}

impl List {
    /// The beginning of a list of so many payloads.
    pub(crate) fn begin(form: Form, count: usize, out: &mut Vec<u8>) -> Self {
        if form.octets {
            octets::push_count(out, count);
        } else {
            out.push(b'[');
        }
        Self { form, is_begun: false }
    }

    /// The next payloads.
    pub(crate) fn push(&mut self, payloads: &[Payload], out: &mut Vec<u8>) {
        let views = payloads.iter().map(Payload::view);
        let lens = views.map(|payload| self.form.len(payload).saturating_add(1));
        out.reserve(lens.fold(1, usize::saturating_add));
        for payload in payloads {
            if self.is_begun && !self.form.octets {
                out.push(b',');
            }
            self.is_begun = true;
            self.form.push(out, payload.view());
        }
    }

    /// The end of the list.
    pub(crate) fn end(self, out: &mut Vec<u8>) {
        if !self.form.octets {
            out.push(b']');
        }
    }
}

/// A whole list of payloads.
pub(crate) fn payloads(form: Form, payloads: &[Payload]) -> Bytes {
    let mut out = Vec::new();
    let mut list = List::begin(form, payloads.len(), &mut out);
    list.push(payloads, &mut out);
    list.end(&mut out);
    out.into()
}

/// Headers with what their blocks carry.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// The headers, and perhaps some behind them.
    pub(crate) headers: Records,
    /// The payloads, with outputs, of the first headers.
    pub(crate) payloads: Vec<Payload>,
}

impl Blocks {
    /// Whether each header has its payload.
    pub(crate) fn is_whole(&self) -> bool {
        self.payloads.len() >= self.headers.len()
    }
}

/// Bytes of a block at most.
pub(crate) fn block_len(payload: PayloadRef<'_>) -> usize {
    text::object_with_outputs_len(payload).saturating_add(OBJECT_LEN_MAX + BLOCK_LEN)
}

/// A page of blocks, of this network.
pub(crate) fn blocks(page: &Page<Blocks>, version: ChainwebVersion) -> Bytes {
    let Blocks { headers, payloads } = &page.items;
    let bytes = payloads.iter().map(|payload| block_len(payload.view())).sum();
    frame(payloads.len(), bytes, page.next, |out| {
        for (index, (header, payload)) in headers.iter().zip(payloads).enumerate() {
            out.extend_from_slice(if index > 0 { b"," } else { b"" });
            push_block(out, header, payload.view(), version);
        }
    })
}

/// Begins a page of blocks that is written piece by piece, with as many of its first blocks as make
/// `piece_bytes`, and at least one. Returns the number of these.
///
/// The text is the same as that of [`blocks`]: `{"limit":3,"items":[` and the first blocks, then `,` and
/// a block for each further one by [`push_next_block`], then `],"next":null}` by [`end_blocks`].
pub(crate) fn begin_blocks(
    page: &Page<Blocks>,
    version: ChainwebVersion,
    piece_bytes: usize,
) -> (Vec<u8>, usize) {
    let Blocks { headers, payloads } = &page.items;
    let (mut count, mut bytes) = (0_usize, 0_usize);
    for payload in payloads {
        bytes = bytes.saturating_add(block_len(payload.view()));
        if bytes > piece_bytes && count > 0 {
            break;
        }
        count = count.saturating_add(1);
    }
    let lens = payloads.iter().take(count).map(|payload| block_len(payload.view()));
    let mut out = Vec::with_capacity(lens.fold(64, usize::saturating_add));
    begin_frame(&mut out, headers.len());
    for (index, (header, payload)) in headers.iter().zip(payloads).take(count).enumerate() {
        out.extend_from_slice(if index > 0 { b"," } else { b"" });
        push_block(&mut out, header, payload.view(), version);
    }
    (out, count)
}

/// Appends a further block to such a page.
pub(crate) fn push_next_block(
    out: &mut Vec<u8>,
    header: HeaderRef<'_>,
    payload: PayloadRef<'_>,
    version: ChainwebVersion,
) {
    out.push(b',');
    push_block(out, header, payload, version);
}

/// Ends such a page.
pub(crate) fn end_blocks(out: &mut Vec<u8>, next: Option<Cursor>) {
    end_frame(out, next);
}

fn push_block(
    out: &mut Vec<u8>,
    header: HeaderRef<'_>,
    payload: PayloadRef<'_>,
    version: ChainwebVersion,
) {
    out.extend_from_slice(b"{\"header\":");
    push_object(out, header, version);
    out.extend_from_slice(b",\"payloadWithOutputs\":");
    Form { outputs: true, octets: false }.push(out, payload);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use plait_engine::payload::{Outputs, VerifiedPayload};
    use serde_json::{Value, json};

    use super::*;

    fn some() -> [Payload; 3] {
        let payload = |transactions: &[&[u8]]| {
            let outputs = Outputs { coinbase: b"coinbase", outputs: transactions };
            VerifiedPayload::seal(b"miner", transactions, outputs).unwrap().into_payload()
        };
        [payload(&[]), payload(&[b"a"]), payload(&[b"bb", b""])]
    }

    #[test]
    fn list_is_the_same_whole_and_in_pieces() {
        let some = some();
        for form in [(false, false), (false, true), (true, false), (true, true)] {
            let form = Form { octets: form.0, outputs: form.1 };
            for count in 0..=some.len() {
                let some = &some[..count];
                let mut pieces = Vec::new();
                let mut list = List::begin(form, count, &mut pieces);
                for payload in some.chunks(1) {
                    list.push(payload, &mut pieces);
                    list.push(&[], &mut pieces);
                }
                list.end(&mut pieces);
                let whole = payloads(form, some);
                assert_eq!(whole, pieces);
                let each: usize = some.iter().map(|one| form.len(one.view())).sum();
                assert!(
                    some.iter()
                        .all(|one| { payload(form, one.view()).len() == form.len(one.view()) })
                );
                let around = if form.octets { 8 } else { 2 + count.saturating_sub(1) };
                assert_eq!(whole.len(), each + around);
                if !form.octets {
                    let list: Vec<Value> = serde_json::from_slice(&whole).unwrap();
                    assert_eq!(list.len(), count);
                    let hash = |one: &Payload| json!(one.view().hash().to_string());
                    assert!(list.iter().zip(some).all(|(a, b)| a["payloadHash"] == hash(b)));
                }
            }
        }
    }

    #[test]
    fn payload_without_outputs_is_not_covered_where_they_are_asked_for() {
        let [with, ..] = some();
        let object = payload(Form { outputs: false, octets: false }, with.view());
        let without = text::from_object(&object).unwrap();
        for octets in [false, true] {
            for outputs in [false, true] {
                let form = Form { outputs, octets };
                assert!(form.covers(with.view()));
                assert_eq!(form.covers(without.view()), !outputs);
            }
        }
    }

    #[test]
    fn block_is_not_longer_than_its_length() {
        let version = ChainwebVersion::RecapDevelopment;
        for (payload, genesis) in some().iter().zip(version.genesis_headers()) {
            let mut out = Vec::new();
            push_block(&mut out, genesis.view(), payload.view(), version);
            assert!(out.len() < block_len(payload.view()));
            let block: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(block["header"]["hash"], json!(genesis.view().hash().to_string()));
            let payload = json!(payload.view().hash().to_string());
            assert_eq!(block["payloadWithOutputs"]["payloadHash"], payload);
        }
    }
}
