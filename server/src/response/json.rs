use std::io::Write as _;

use bytes::Bytes;
use plait_engine::header::text::{
    HASH_LEN, OBJECT_LEN_MAX, STRING_LEN, push_hash, push_hashes, push_object, push_string,
};
use plait_engine::{BlockHash, ChainwebVersion, Cursor, Cut, HeaderRef, Page, Records};

/// Bytes around an item of a page: quotes, comma.
const ITEM_LEN: usize = 3;

/// Bytes of a page without items, the longest: `{"limit":,"items":[],"next":"inclusive:"}`, a number,
/// a hash.
const FRAME_LEN: usize = 41 + 20 + HASH_LEN;

/// Bytes of a cut without members, and of a member: chain, height, hash, weight and names.
const CUT_LEN: usize = 256;
const MEMBER_LEN: usize = 112;

/// How headers are written: as objects of this network, or as strings.
pub(crate) type Objects = Option<ChainwebVersion>;

/// A page of hashes.
pub(crate) fn hashes(page: &Page<Vec<BlockHash>>) -> Bytes {
    let bytes = page.items.len().saturating_mul(HASH_LEN + ITEM_LEN);
    frame(page.items.len(), bytes, page.next, |out| push_hashes(out, &page.items))
}

/// A page of headers.
pub(crate) fn headers(page: &Page<Records>, objects: Objects) -> Bytes {
    let count = page.items.len();
    let bytes = count.saturating_mul(header_len(objects).saturating_add(ITEM_LEN));
    frame(count, bytes, page.next, |out| {
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
    let mut out = Vec::with_capacity(header_len(objects).saturating_add(ITEM_LEN));
    push_header(&mut out, item, objects);
    out.into()
}

/// A cut, as an answer of the reference: without origin, headers and payloads.
pub(crate) fn cut(cut: &Cut, version: ChainwebVersion) -> Bytes {
    let mut out =
        Vec::with_capacity(cut.blocks().count().saturating_mul(MEMBER_LEN).saturating_add(CUT_LEN));
    out.extend_from_slice(b"{\"hashes\":{");
    for (i, (chain, height, hash)) in cut.blocks().enumerate() {
        out.extend_from_slice(if i > 0 { b",\"" } else { b"\"" });
        push_number(&mut out, u64::from(chain.get()));
        out.extend_from_slice(b"\":{\"height\":");
        push_number(&mut out, height.get());
        out.extend_from_slice(b",\"hash\":");
        push_hash(&mut out, &hash);
        out.push(b'}');
    }
    let (weight, height, id) = (cut.weight(), cut.height(), cut.id());
    let written = write!(
        out,
        "}},\"origin\":null,\"weight\":\"{weight}\",\"height\":{height},\
         \"instance\":\"{version}\",\"id\":\"{id}\"}}"
    );
    debug_assert!(written.is_ok(), "a vector takes everything");
    out.into()
}

/// A page around its items, which have so many bytes at most with what is between them; `limit` is
/// their number, and null is written out.
pub(super) fn frame(
    count: usize,
    bytes: usize,
    next: Option<Cursor>,
    push_items: impl FnOnce(&mut Vec<u8>),
) -> Bytes {
    let mut out = Vec::with_capacity(bytes.saturating_add(FRAME_LEN));
    begin_frame(&mut out, count);
    push_items(&mut out);
    end_frame(&mut out, next);
    out.into()
}

/// Writes the text before the items of a page of `count` items.
pub(super) fn begin_frame(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(b"{\"limit\":");
    push_number(out, count as u64);
    out.extend_from_slice(b",\"items\":[");
}

/// Writes the text after the items.
pub(super) fn end_frame(out: &mut Vec<u8>, next: Option<Cursor>) {
    let written = match next {
        Some(cursor) => write!(out, "],\"next\":\"{cursor}\"}}"),
        None => out.write_all(b"],\"next\":null}"),
    };
    debug_assert!(written.is_ok(), "a vector takes everything");
}

fn header_len(objects: Objects) -> usize {
    if objects.is_some() { OBJECT_LEN_MAX } else { STRING_LEN }
}

fn push_header(out: &mut Vec<u8>, item: HeaderRef<'_>, objects: Objects) {
    match objects {
        Some(version) => push_object(out, item, version),
        None => push_string(out, item),
    }
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
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
    fn page_is_written_into_one_buffer_that_does_not_grow() {
        let capacity = |page: Bytes| Vec::from(page).capacity();
        let hash = BlockHash::new([0xff; 32]);
        let page = Page { items: vec![hash; 4096], next: Some(Cursor::Exclusive(hash)) };
        assert_eq!(capacity(hashes(&page)), 4096 * (HASH_LEN + ITEM_LEN) + FRAME_LEN);
        let version = ChainwebVersion::RecapDevelopment;
        for objects in [None, Some(version)] {
            let items: Vec<_> = version.genesis_headers().collect();
            let bytes = items.len() * (header_len(objects) + ITEM_LEN);
            let page = frame(items.len(), bytes, page.next, |out| {
                for (i, item) in items.iter().enumerate() {
                    out.extend_from_slice(if i > 0 { b"," } else { b"" });
                    push_header(out, item.view(), objects);
                }
            });
            assert_eq!(capacity(page), bytes.saturating_add(FRAME_LEN));
        }
        let mut longest = Vec::with_capacity(FRAME_LEN);
        let written = write!(longest, "{{\"limit\":{},\"items\":[],\"next\":\"", u64::MAX);
        assert!(written.and_then(|()| write!(longest, "{}\"}}", Cursor::Inclusive(hash))).is_ok());
        assert_eq!(longest.len(), FRAME_LEN);
    }

    #[test]
    fn header_is_written_as_string_or_object() {
        let version = ChainwebVersion::Mainnet01;
        let genesis = version.genesis_headers().next().unwrap();
        let string = header(genesis.view(), None);
        assert_eq!(string.len(), 426);
        assert!(string.starts_with(b"\"AAAA") && string.ends_with(b"\""));
        let object = header(genesis.view(), Some(version));
        assert!(object.starts_with(b"{\"nonce\":\"0\",") && object.len() <= OBJECT_LEN_MAX);
    }
}
