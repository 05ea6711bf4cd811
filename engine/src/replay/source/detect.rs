use zerocopy::FromBytes;

use super::ReplayError;
use crate::header::{HeaderRef, LEN, RawHeader};
use crate::types::ChainwebVersion;

/// The formats of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Concatenated 318-byte headers.
    Binary,
    /// One header a line, as JSON object or base64url string, bare or as items of an API page.
    Jsonl,
    /// The RocksDB directory of a chainweb-node.
    Node,
    /// The folder of an archive.
    Archive,
}

/// First bytes of compressed files, and what undoes them.
const COMPRESSED: [(&[u8], &str); 4] = [
    (&[0x1F, 0x8B], "gzip -dc"),
    (&[0x28, 0xB5, 0x2F, 0xFD], "zstd -dc"),
    (b"BZh", "bzip2 -dc"),
    (&[0xFD, b'7', b'z', b'X', b'Z'], "xz -dc"),
];

/// Tells the format of the file or stream that begins with `head`.
///
/// # Errors
///
/// [`ReplayError::Format`] if it is compressed.
pub fn detect(name: &str, head: &[u8]) -> Result<Format, ReplayError> {
    let begins_with_header = RawHeader::ref_from_prefix(head).is_ok_and(|(raw, _)| {
        HeaderRef::new(raw)
            .is_ok_and(|header| ChainwebVersion::from_code(header.version_code()).is_some())
    });
    if begins_with_header {
        return Ok(Format::Binary);
    }
    if let Some((_, undo)) = COMPRESSED.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(ReplayError::Format {
            input: name.to_owned(),
            reason: format!("is compressed; replay it with: {undo} FILE | plait replay ... -"),
        });
    }
    let text = head.get(..LEN).unwrap_or(head);
    let is_text = text.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    Ok(if is_text { Format::Jsonl } else { Format::Binary })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ChainId;

    #[test]
    fn formats_are_told_by_content() {
        let header = ChainwebVersion::Mainnet01.genesis_header(ChainId::new(0)).unwrap();
        let bytes = header.view().as_bytes();
        let told = |head: &[u8]| detect("x", head).unwrap();
        assert_eq!(told(bytes), Format::Binary);
        assert_eq!(told(&bytes[..100]), Format::Binary, "cut within the first record");
        assert_eq!(told(b"{\"nonce\":"), Format::Jsonl);
        assert_eq!(told(b"\n\"AAAA"), Format::Jsonl);
        assert_eq!(told(b"AAAAAAAAAAAAJ41tFZYFAMCen1Rev7"), Format::Jsonl);
        assert_eq!(told(&[0; 400]), Format::Binary);
    }

    #[test]
    fn compressed_input_is_named() {
        let error = detect("dump.gz", &[0x1F, 0x8B, 8, 0]).unwrap_err().to_string();
        assert!(error.contains("gzip -dc"), "{error}");
    }
}
