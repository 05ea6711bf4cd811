//! Bytes or text → a header → every form → the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plait_engine::header::{AdjacentRecord, DEGREE, LEN, merkle, text};
use plait_engine::{
    BlockHash, ChainId, ChainwebVersion, DecodeError, Header, HeaderRef, RawHeader,
};

fuzz_target!(|data: &[u8]| {
    bytes(data);
    if let Ok(data) = std::str::from_utf8(data) {
        string(data);
        object(data);
    }
});

/// What decodes is what encodes; what does not says why.
fn bytes(data: &[u8]) {
    match HeaderRef::parse(data) {
        Ok(header) => {
            assert_eq!(header.as_bytes().as_slice(), data, "the view is another header");
            every_form(header);
        }
        Err(DecodeError::Length { got }) => {
            assert_eq!(got, data.len());
            assert_ne!(got, LEN, "{got} bytes are refused for their number");
        }
        Err(DecodeError::Degree { got }) => assert_ne!(usize::from(got), DEGREE),
        Err(DecodeError::AdjacentOrder { first, second }) => assert!(second <= first),
    }
}

/// A string is the base64url form of its header; only padding is dropped.
fn string(data: &str) {
    if let Ok(header) = text::from_string(data) {
        every_form(header.view());
        let mut again = Vec::new();
        text::push_string(&mut again, header.view());
        let quoted = format!("\"{}\"", data.trim_end_matches('='));
        assert_eq!(again, quoted.as_bytes(), "the string has another form");
    }
}

/// An object has one header, whatever the order of its members.
fn object(data: &str) {
    if let Ok(header) = text::from_object(data) {
        let version = ChainwebVersion::from_code(header.view().version_code());
        assert!(version.is_some(), "an object of an unknown network is read");
        every_form(header.view());
    }
}

/// Every form of `header` is read back to the same bytes.
fn every_form(header: HeaderRef<'_>) {
    let bytes = header.as_bytes();
    assert!(HeaderRef::parse(bytes).is_ok_and(|same| same == header));
    assert!(Header::new(rebuilt(header)).is_ok_and(|same| same.view().as_bytes() == bytes));
    assert!(bytes.starts_with(header.work_bytes()) && bytes.ends_with(header.hash().as_bytes()));
    assert_ne!(merkle::block_hash(header), header.parent(), "a block below itself");

    let mut out = Vec::new();
    text::push_string(&mut out, header);
    assert_eq!(out.len(), text::STRING_LEN + 2);
    let string = str::from_utf8(&out).ok().and_then(|text| text.strip_prefix('"'));
    let string = string.and_then(|text| text.strip_suffix('"')).unwrap_or_default();
    assert!(text::from_string(string).is_ok_and(|same| same.view().as_bytes() == bytes));

    if let Some(version) = ChainwebVersion::from_code(header.version_code()) {
        out.clear();
        text::push_object(&mut out, header, version);
        assert!(out.len() <= text::OBJECT_LEN_MAX, "an object of {} bytes", out.len());
        let object = str::from_utf8(&out).unwrap_or_default();
        assert!(text::from_object(object).is_ok_and(|same| same.view().as_bytes() == bytes));
        let anywhere = usize::try_from(header.nonce() % (out.len() as u64 + 1)).unwrap_or_default();
        if let Some((before, after)) = object.split_at_checked(anywhere) {
            let signed = format!("{before}+{after}");
            assert!(text::from_object(&signed).is_err(), "a sign is taken: {signed}");
        }
    }
}

/// The header that has the fields of `header`, one by one.
fn rebuilt(header: HeaderRef<'_>) -> RawHeader {
    let mut adjacents = [(ChainId::new(0), BlockHash::new([0; 32])); DEGREE];
    for (slot, (chain, hash)) in adjacents.iter_mut().zip(header.adjacents().iter()) {
        assert_eq!(header.adjacents().on(chain), Some(hash));
        *slot = (chain, hash);
    }
    RawHeader {
        feature_flags: header.feature_flags().into(),
        creation_time: header.creation_time().get().into(),
        parent: header.parent(),
        adjacents: AdjacentRecord::new(adjacents),
        target: header.target().to_le(),
        payload_hash: header.payload_hash(),
        chain: header.chain().get().into(),
        weight: header.weight().to_le(),
        height: header.height().get().into(),
        version: header.version_code().into(),
        epoch_start: header.epoch_start().get().into(),
        nonce: header.nonce().into(),
        hash: header.hash(),
    }
}
