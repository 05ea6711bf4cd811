use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use super::decode;
use crate::replay::ReplayError;
use crate::types::Grow;

/// Bytes that are read from a file at once.
pub(super) const BUFFER_LEN: usize = 1 << 20;

/// A file that can be read again from any place: one that is compressed by passing over what comes
/// before it.
pub(super) struct Again {
    pub(super) file: File,
    pub(super) name: String,
    /// Tells it from others.
    pub(super) id: [u8; 32],
    /// Its bytes, as they are on the disk.
    pub(super) size: u64,
    pub(super) is_compressed: bool,
}

impl Again {
    pub(super) const fn id(&self) -> [u8; 32] {
        self.id
    }

    /// What comes behind so many bytes, decompressed ones if it is compressed, and where the line
    /// begins there.
    pub(super) fn from(
        &self,
        position: u64,
    ) -> Result<(Box<dyn BufRead + Send>, u64), ReplayError> {
        let fail = |source| ReplayError::Io { input: self.name.clone(), source };
        let mut file = self.file.try_clone().map_err(fail)?;
        if !self.is_compressed {
            let line_start = line_start(&file, position).map_err(fail)?;
            file.seek(SeekFrom::Start(position)).map_err(fail)?;
            return Ok((Box::new(BufReader::with_capacity(BUFFER_LEN, file)), line_start));
        }
        file.rewind().map_err(fail)?;
        let mut read = decode::decoded(&self.name, Box::new(file))?.into_read();
        let line_start = pass(&mut read, position).map_err(fail)?;
        Ok((read, line_start))
    }
}

/// Where the line begins that the byte at `position` is on.
fn line_start(file: &File, position: u64) -> io::Result<u64> {
    let mut part = vec![0; BUFFER_LEN];
    let mut end = position;
    while end > 0 {
        let start = end.saturating_sub(BUFFER_LEN as u64);
        let len = usize::try_from(end.saturating_sub(start)).unwrap_or(BUFFER_LEN);
        let part = part.get_mut(..len).unwrap_or_default();
        file.read_exact_at(part, start)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start.saturating_add(at as u64).saturating_add(1));
        }
        end = start;
    }
    Ok(0)
}

/// Passes over so many bytes; returns where the last line begins in them.
fn pass(read: &mut dyn BufRead, bytes: u64) -> io::Result<u64> {
    let (mut passed, mut line_start) = (0_u64, 0);
    let mut read = read.take(bytes);
    loop {
        let piece = read.fill_buf()?;
        if piece.is_empty() {
            let ended = io::Error::new(io::ErrorKind::UnexpectedEof, "it was truncated meanwhile");
            return if passed == bytes { Ok(line_start) } else { Err(ended) };
        }
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            line_start = passed.saturating_add(at as u64).saturating_add(1);
        }
        let len = piece.len();
        passed.grow(len as u64);
        read.consume(len);
    }
}
