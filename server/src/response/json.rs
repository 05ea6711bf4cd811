use bytes::Bytes;
use plait_engine::header::text::{push_object, push_string};
use plait_engine::{BlockHash, ChainwebVersion, Cursor, Cut, HeaderRef, Page, Records};

/// Bytes of a hash on a page: 43 characters, quotes, comma.
const HASH_LEN: usize = 46;

/// Bytes of a header on a page as a string: 424 characters, quotes, comma.
const STRING_LEN: usize = 427;

/// Bytes of a header on a page as an object, nearly always.
const OBJECT_LEN: usize = 840;

/// Bytes of a page without items: `{"limit":4096,"items":[],"next":"inclusive:..."}`.
const FRAME_LEN: usize = 96;

/// How headers are written: as objects of this network, or as strings.
pub(crate) type Objects = Option<ChainwebVersion>;

/// A page of hashes.
pub(crate) fn hashes(page: &Page<Vec<BlockHash>>) -> Bytes {
    frame(page.items.len(), HASH_LEN, page.next, |out| {
        for (i, hash) in page.items.iter().enumerate() {
            push(out, if i == 0 { "\"" } else { ",\"" });
            push(out, &hash.to_string());
            out.push(b'"');
        }
    })
}

/// A page of headers.
pub(crate) fn headers(page: &Page<Records>, objects: Objects) -> Bytes {
    let item_len = if objects.is_some() { OBJECT_LEN } else { STRING_LEN };
    frame(page.items.len(), item_len, page.next, |out| {
        for (i, item) in page.items.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            push_header(out, item, objects);
        }
    })
}

/// One header.
pub(crate) fn header(item: HeaderRef<'_>, objects: Objects) -> Bytes {
    let mut out = Vec::with_capacity(OBJECT_LEN);
    push_header(&mut out, item, objects);
    out.into()
}

/// A cut, as an answer of the reference: without origin, headers and payloads.
pub(crate) fn cut(cut: &Cut, version: ChainwebVersion) -> Bytes {
    let mut out = Vec::with_capacity(2048);
    push(&mut out, "{\"hashes\":{");
    for (i, (chain, height, hash)) in cut.blocks().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        push(&mut out, &format!("{comma}\"{chain}\":{{\"height\":{height},\"hash\":\"{hash}\"}}"));
    }
    let (weight, height, id) = (cut.weight(), cut.height(), cut.id());
    push(&mut out, &format!("}},\"origin\":null,\"weight\":\"{weight}\",\"height\":{height},"));
    push(&mut out, &format!("\"instance\":\"{version}\",\"id\":\"{id}\"}}"));
    out.into()
}

/// A page around its items; `limit` is their number, and null is written out.
fn frame(
    count: usize,
    item_len: usize,
    next: Option<Cursor>,
    push_items: impl FnOnce(&mut Vec<u8>),
) -> Bytes {
    let mut out = Vec::with_capacity(count.saturating_mul(item_len).saturating_add(FRAME_LEN));
    push(&mut out, "{\"limit\":");
    push(&mut out, &count.to_string());
    push(&mut out, ",\"items\":[");
    push_items(&mut out);
    match next {
        Some(cursor) => push(&mut out, &format!("],\"next\":\"{cursor}\"}}")),
        None => push(&mut out, "],\"next\":null}"),
    }
    out.into()
}

fn push_header(out: &mut Vec<u8>, item: HeaderRef<'_>, objects: Objects) {
    match objects {
        Some(version) => push_object(out, item, version),
        None => push_string(out, item),
    }
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_of_hashes_has_the_form_of_the_reference() {
        let (a, b) = (BlockHash::new([1; 32]), BlockHash::new([2; 32]));
        let page = Page { items: vec![a, b], next: Some(Cursor::Inclusive(a)) };
        let expected = format!(r#"{{"limit":2,"items":["{a}","{b}"],"next":"inclusive:{a}"}}"#);
        assert_eq!(hashes(&page), expected);
        let page = Page { items: vec![], next: None };
        assert_eq!(hashes(&page), r#"{"limit":0,"items":[],"next":null}"#);
    }

    #[test]
    fn buffer_of_a_page_does_not_grow() {
        let hash = BlockHash::new([0xff; 32]);
        let page = Page { items: vec![hash; 4096], next: Some(Cursor::Exclusive(hash)) };
        assert!(hashes(&page).len() <= 4096 * HASH_LEN + FRAME_LEN);
    }

    #[test]
    fn header_is_written_as_string_or_object() {
        let version = ChainwebVersion::Mainnet01;
        let genesis = version.genesis_headers().next().unwrap();
        let string = header(genesis.view(), None);
        assert_eq!(string.len(), 426);
        assert!(string.starts_with(b"\"AAAA") && string.ends_with(b"\""));
        let object = header(genesis.view(), Some(version));
        assert!(object.starts_with(b"{\"nonce\":\"0\",") && object.len() <= OBJECT_LEN);
    }
}
