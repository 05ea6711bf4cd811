//! Decompresses input: gzip and zstd, recognized by their first bytes.
//!
//! Several gzip members or zstd frames may follow each other. Memory holds only the window of the format
//! and a buffer, whatever the length of the decompressed data.

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::GzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::again::BUFFER_LEN;
use super::detect::{self, HEAD_LEN};
use super::live::Patient;
use crate::replay::ReplayError;

/// Bytes of the window of a zstd frame at most: what `zstd -d` takes, too.
const WINDOW_BYTES_MAX: u64 = 128 << 20;

const GZIP: &[u8] = &[0x1F, 0x8B];
const ZSTD: &[u8] = &[0x28, 0xB5, 0x2F, 0xFD];

/// An input that is read from its beginning, and what it begins with.
pub(super) struct Decoded {
    /// The first bytes, decompressed: all that tells formats apart, unless the input is shorter.
    pub(super) head: Vec<u8>,
    pub(super) is_compressed: bool,
    rest: Box<dyn Read + Send>,
}

impl Decoded {
    /// All of it. What is not compressed may fail where nothing comes for a moment, and go on.
    pub(super) fn into_read(self) -> Box<dyn BufRead + Send> {
        Box::new(BufReader::with_capacity(BUFFER_LEN, Cursor::new(self.head).chain(self.rest)))
    }
}

/// Reads the beginning of an input, and decompresses it if that is needed.
pub(super) fn decoded(name: &str, mut read: Box<dyn Read + Send>) -> Result<Decoded, ReplayError> {
    let fail = |source| ReplayError::Io { input: name.to_owned(), source };
    let head = head(&mut Patient(&mut read)).map_err(fail)?;
    let is_gzip = head.starts_with(GZIP);
    if detect::is_header(&head) || !(is_gzip || head.starts_with(ZSTD)) {
        return Ok(Decoded { head, is_compressed: false, rest: read });
    }
    let packed = BufReader::with_capacity(BUFFER_LEN, Cursor::new(head).chain(Patient(read)));
    let mut rest: Box<dyn Read + Send> = if is_gzip {
        Box::new(Named { read: Members { member: Some(GzDecoder::new(packed)) }, format: "gzip" })
    } else {
        Box::new(Named { read: Frames::new(packed), format: "zstd" })
    };
    let head = self::head(&mut rest).map_err(fail)?;
    Ok(Decoded { head, is_compressed: true, rest })
}

/// The first bytes: a line of text or a header, and no more than is needed. A pipe may be slow.
fn head(read: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_LEN);
    let mut piece = [0; HEAD_LEN];
    while head.len() < HEAD_LEN && !detect::is_enough(&head) {
        let wanted = piece.get_mut(..HEAD_LEN.saturating_sub(head.len())).unwrap_or_default();
        match read.read(wanted) {
            Ok(0) => break,
            Ok(len) => head.extend_from_slice(piece.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(head)
}

/// A decoder whose errors say what is damaged.
struct Named<R> {
    read: R,
    format: &'static str,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read.read(buffer).map_err(|error| {
            if error.raw_os_error().is_some() || error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            let format = self.format;
            let text = match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    format!(
                        "the {format} data ends early: it was cut off, or is still being written"
                    )
                }
                _ if error.get_ref().and_then(|error| error.downcast_ref::<Behind>()).is_some() => {
                    error.to_string()
                }
                _ => format!("the {format} data is damaged: {error}"),
            };
            io::Error::new(error.kind(), text)
        })
    }
}

/// Reads the members of a gzip file in turn. Zeros after the last one are ignored, as `gzip` does.
struct Members<R> {
    /// The member that is being read; `None` after the last.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    /// The member that follows, if there is one.
    fn next(mut read: R) -> io::Result<Option<GzDecoder<R>>> {
        let first = read.fill_buf()?.first().copied();
        if first == GZIP.first().copied() {
            return Ok(Some(GzDecoder::new(read)));
        }
        loop {
            let rest = read.fill_buf()?;
            let len = rest.len();
            if rest.iter().any(|byte| *byte != 0) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, Behind));
            }
            if len == 0 {
                return Ok(None);
            }
            read.consume(len);
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let len = member.read(buffer)?;
            if len > 0 || buffer.is_empty() {
                return Ok(len);
            }
            let behind = self.member.take().map(GzDecoder::into_inner);
            self.member = behind.map_or(Ok(None), Self::next)?;
        }
        Ok(0)
    }
}

/// The gzip data is followed by something that is not gzip data.
#[derive(Debug)]
struct Behind;

impl std::error::Error for Behind {}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "something else follows the gzip data; cut it off, or decompress it with: gzip -dc",
        )
    }
}

/// The frames of zstd, one after the other.
struct Frames<R> {
    read: R,
    decoder: FrameDecoder,
    is_open: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(read: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_BYTES_MAX);
        Self { read, decoder, is_open: false }
    }

    /// Begins with the next frame; `false` at the end.
    fn open(&mut self) -> io::Result<bool> {
        while !self.read.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.read) {
                Ok(()) => {
                    self.is_open = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let passed = io::copy(&mut (&mut self.read).take(length), &mut io::sink())?;
                    if passed < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(false)
    }

    /// Makes sure that the frame is what was compressed, if it says so.
    fn close(&mut self) -> io::Result<()> {
        self.is_open = false;
        let stated = self.decoder.get_checksum_from_data();
        if stated.is_some() && stated != self.decoder.get_calculated_checksum() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum does not match"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_open && !self.open()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let strategy = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.read, strategy).map_err(failed)?;
            }
            let len = self.decoder.read(buffer)?;
            if len > 0 || buffer.is_empty() {
                return Ok(len);
            }
            self.close()?;
        }
    }
}

/// What the decoder says, or what failed below it.
fn failed(error: FrameDecoderError) -> io::Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return match io.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io.kind().into(),
            };
        }
        source = cause.source();
    }
    match error {
        FrameDecoderError::WindowSizeTooBig { requested, max } => {
            io::Error::other(Window { requested, max })
        }
        error => io::Error::other(error.to_string()),
    }
}

/// The window of a frame is too large.
#[derive(Debug)]
struct Window {
    requested: u64,
    max: u64,
}

impl std::error::Error for Window {}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requested, max } = self;
        write!(
            f,
            "a window of {requested} bytes, at most {max} are read; decompress it with: zstd -dc --long=31"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    /// Text that does not compress to nothing.
    fn text() -> Vec<u8> {
        let mut state = 1_u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + u8::try_from(state >> 28).unwrap()
        };
        std::iter::repeat_with(next).take(300_000).collect()
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let decoded = decoded("x", Box::new(Cursor::new(bytes.to_vec())));
        let mut text = Vec::new();
        let read = decoded.map_err(|error| error.to_string())?.into_read().read_to_end(&mut text);
        read.map(|_| text).map_err(|error| error.to_string())
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        let text = text();
        let skippable = [0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3];
        for packed in [
            gzip(&text),
            [gzip(&text[..10]), gzip(b""), gzip(&text[10..])].concat(),
            zstd(&text),
            [zstd(&text[..10]), skippable.to_vec(), zstd(&text[10..])].concat(),
        ] {
            assert!(read(&packed) == Ok(text.clone()));
        }
        assert_eq!(read(b"plain").unwrap(), b"plain");
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_named() {
        let text = text();
        for (packed, format) in [(gzip(&text), "gzip"), (zstd(&text), "zstd")] {
            for len in [packed.len() - 1, packed.len() / 2, 12] {
                let error = read(&packed[..len]).unwrap_err();
                assert!(error.contains(&format!("the {format} data ends early")), "{error}");
            }
            let mut damaged = packed.clone();
            *damaged.last_mut().unwrap() ^= 1;
            let error = read(&damaged).unwrap_err();
            assert!(error.contains(&format!("the {format} data is damaged")), "{error}");
            let error = read(&[&packed[..], b"garbage, not a frame"].concat()).unwrap_err();
            assert!(error.contains(format), "{error}");
        }
        // `gzip -d` ignores zeros after the last member.
        for zeros in [1, 9, 511, 100_000] {
            assert!(read(&[gzip(&text), vec![0; zeros]].concat()) == Ok(text.clone()), "{zeros}");
        }
        for behind in [&b"x"[..], b"garbage, not a member", &[0, 0, 7]] {
            let error = read(&[&gzip(&text), behind].concat()).unwrap_err();
            assert!(error.contains("something else follows the gzip data"), "{error}");
        }
    }

    #[test]
    fn a_window_without_bounds_is_refused() {
        // A frame with a window of 2 GiB.
        let error = read(&[0x28, 0xB5, 0x2F, 0xFD, 0, 21 << 3, 1, 0, 0]).unwrap_err();
        assert!(error.contains("at most 134217728 are read"), "{error}");
    }
}
