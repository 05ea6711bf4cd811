use zerocopy::FromBytes;

use super::ReplayError;
use super::decode::{self, Decoded};
use crate::header::{HeaderRef, LEN, RawHeader};
use crate::types::ChainwebVersion;

/// The formats of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Concatenated 318-byte headers.
    Binary,
    /// JSON values: headers and blocks, arrays and pages of them, events; base64url strings.
    Jsonl,
    /// The RocksDB directory of a chainweb-node.
    Node,
    /// The folder of an archive.
    Archive,
}

/// Bytes that tell formats apart.
pub(super) const HEAD_LEN: usize = 4 * LEN;

/// Where the magic of a tar archive stands.
const TAR_AT: usize = 257;

/// Other formats by their first bytes, and what to do.
const OTHERS: [(&[u8], &str); 8] = [
    (b"BZh", "is compressed with bzip2; replay it with: bzip2 -dc FILE | plait replay ... -"),
    (b"\xFD7zXZ", "is compressed with xz; replay it with: xz -dc FILE | plait replay ... -"),
    (
        b"\x04\x22\x4D\x18",
        "is compressed with lz4; replay it with: lz4 -dc FILE | plait replay ... -",
    ),
    (
        b"PK\x03\x04",
        "is a zip archive; replay one of its files with: unzip -p ZIP FILE | plait replay ... -",
    ),
    (
        b"\xFF\xFE",
        "is text in UTF-16; replay it with: iconv -f utf-16 -t utf-8 FILE | plait replay ... -",
    ),
    (
        b"\xFE\xFF",
        "is text in UTF-16; replay it with: iconv -f utf-16 -t utf-8 FILE | plait replay ... -",
    ),
    (b"\x1F\x8B", "is compressed twice; replay it with: gzip -dc FILE | plait replay ... -"),
    (
        b"\x28\xB5\x2F\xFD",
        "is compressed twice; replay it with: zstd -dc FILE | plait replay ... -",
    ),
];

/// Tells the format of the file or stream that begins with `head`, which is not compressed. Text
/// that is no JSON is taken for lines of a log if it is to be `lenient`.
///
/// # Errors
///
/// [`ReplayError::Format`] if it is something else than headers.
pub fn detect(name: &str, head: &[u8], lenient: bool) -> Result<Format, ReplayError> {
    if is_header(head) {
        return Ok(Format::Binary);
    }
    let format = |reason: String| ReplayError::Format { input: name.to_owned(), reason };
    if head.get(TAR_AT..).is_some_and(|magic| magic.starts_with(b"ustar")) {
        let reason = "is a tar archive; unpack it (tar -xf FILE) and replay its files";
        return Err(format(reason.to_owned()));
    }
    if let Some((_, reason)) = OTHERS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(format((*reason).to_owned()));
    }
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    let text = text.get(..LEN).unwrap_or(text);
    if !text.iter().all(|byte| is_text(*byte)) {
        return Ok(Format::Binary);
    }
    if lenient || begins_with_value(text.trim_ascii_start()) {
        return Ok(Format::Jsonl);
    }
    let line = text.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line.get(..60).unwrap_or(line)).into_owned();
    Err(format(format!(
        "does not look like headers: it begins with the text {line:?}. If these are log lines before \
         JSON, plait replay --lenient skips them"
    )))
}

/// The format of an input and its bytes, decompressed.
///
/// # Errors
///
/// As for [`detect`], and if it cannot be read or is empty.
pub fn detect_stream(
    name: &str,
    read: Box<dyn std::io::Read + Send>,
) -> Result<(Format, Box<dyn std::io::BufRead + Send>), ReplayError> {
    let decoded: Decoded = decode::decoded(name, read)?;
    if decoded.head.is_empty() {
        return Err(ReplayError::Empty { input: name.to_owned() });
    }
    let format = detect(name, &decoded.head, false)?;
    Ok((format, decoded.into_read()))
}

/// Whether this begins with a header of a known network.
pub(super) fn is_header(head: &[u8]) -> bool {
    RawHeader::ref_from_prefix(head).is_ok_and(|(raw, _)| {
        HeaderRef::new(raw)
            .is_ok_and(|header| ChainwebVersion::from_code(header.version_code()).is_some())
    })
}

/// Whether this tells the format, though it is short: a header, or a line of text.
pub(super) fn is_enough(head: &[u8]) -> bool {
    is_header(head) || head.contains(&b'\n') && head.iter().all(|byte| is_text(*byte))
}

const fn is_text(byte: u8) -> bool {
    byte.is_ascii_graphic()
        || byte.is_ascii_whitespace()
        || byte >= 0x80
        || matches!(byte, 0x1B | 0x1E)
}

/// Whether text begins as JSON, as an event, or with a line of base64url.
fn begins_with_value(text: &[u8]) -> bool {
    const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
    matches!(text, [] | [b'{' | b'[' | b'"' | 0x1E, ..])
        || FIELDS.iter().any(|field| text.starts_with(field))
        || line.iter().all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ChainId;

    fn told(head: &[u8]) -> Result<Format, String> {
        detect("x", head, false).map_err(|error| error.to_string())
    }

    #[test]
    fn formats_are_told_by_content() {
        let header = ChainwebVersion::Mainnet01.genesis_header(ChainId::new(0)).unwrap();
        let bytes = header.view().as_bytes();
        assert_eq!(told(bytes), Ok(Format::Binary));
        assert_eq!(told(&bytes[..100]), Ok(Format::Binary), "cut within the first record");
        assert_eq!(told(b"{\"nonce\":"), Ok(Format::Jsonl));
        assert_eq!(told(b"\n\"AAAA"), Ok(Format::Jsonl));
        assert_eq!(told(b"\xEF\xBB\xBF[\n"), Ok(Format::Jsonl));
        assert_eq!(told(b"event:BlockHeader\ndata:"), Ok(Format::Jsonl));
        assert_eq!(told(b"AAAAAAAAAAAAJ41tFZYFAMCen1Rev7"), Ok(Format::Jsonl));
        assert_eq!(told(&[0; 400]), Ok(Format::Binary));
    }

    #[test]
    fn what_is_no_dump_is_named_with_what_to_do() {
        let mut tar = vec![0; 512];
        tar[TAR_AT..TAR_AT + 5].copy_from_slice(b"ustar");
        for (head, text) in [
            (tar.as_slice(), "tar -xf"),
            (b"BZh9", "bzip2 -dc"),
            (b"\xFD7zXZ\0", "xz -dc"),
            (b"PK\x03\x04", "unzip -p"),
            (b"\xFF\xFE{\0", "iconv"),
            (b"root:x:0:0:root:/root\n", "begins with the text \"root:x:0:0"),
        ] {
            let error = told(head).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
        assert_eq!(detect("x", b"2021-07-16 [Info] start\n", true).unwrap(), Format::Jsonl);
    }
}
