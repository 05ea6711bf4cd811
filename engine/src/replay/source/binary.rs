use std::fs::File;
use std::io::{self, ErrorKind, Read};

use bytes::Bytes;

use super::again::Again;
use super::{Chunk, Place, Source};
use crate::header::LEN;
use crate::replay::mapped::Mapped;
use crate::replay::{ReplayError, Wrong};
use crate::store::MarkedAt;
use crate::types::Grow;

/// Concatenated headers: a file where it lies, or a stream.
pub struct Binary {
    input: Input,
    /// Bytes before the next record.
    offset: u64,
}

enum Input {
    /// A file, of which nothing is copied.
    Mapped { file: File, path: String, size: u64, name: [u8; 32], part: Part },
    Streamed {
        name: String,
        read: Box<dyn Read + Send>,
        /// The same from elsewhere, if that can be.
        again: Option<Again>,
        /// The beginning of a record whose rest has not come yet.
        held: Vec<u8>,
        has_ended: bool,
        /// Why no more can be read after what was read before.
        failed: Option<io::Error>,
    },
}

/// What is mapped of a file at present.
#[derive(Default)]
struct Part {
    offset: u64,
    bytes: Bytes,
}

/// Bytes of a record.
const RECORD_LEN: u64 = LEN as u64;

/// Bytes that are mapped at once: whole records, and whole pages of up to 64 kB. The memory of a
/// replay does not grow with the file.
const PART_LEN: u64 = 4 * (LEN as u64 / 2) * (64 << 10);

impl Binary {
    /// The records of a file of `size` bytes at `path`, where they lie; `name` tells it from others.
    #[must_use]
    pub fn mapped(file: File, path: String, size: u64, name: [u8; 32]) -> Self {
        Self { input: Input::Mapped { file, path, size, name, part: Part::default() }, offset: 0 }
    }

    /// The records of a stream.
    #[must_use]
    pub fn streamed(name: String, read: Box<dyn Read + Send>) -> Self {
        let (again, held, has_ended, failed) = (None, Vec::new(), false, None);
        Self { input: Input::Streamed { name, read, again, held, has_ended, failed }, offset: 0 }
    }

    /// The same of what can be read from elsewhere, if it can.
    pub(super) fn with(mut self, file: Option<Again>) -> Self {
        if let Input::Streamed { again, .. } = &mut self.input {
            *again = file;
        }
        self
    }

    /// Whether the input is known to hold no more than was read. A file does not grow while it is read.
    const fn has_ended(&self) -> bool {
        match &self.input {
            Input::Mapped { .. } => true,
            Input::Streamed { has_ended, .. } => *has_ended,
        }
    }

    /// The next bytes, `want` of them unless the input ends before, or some whole records if no more
    /// come for a moment.
    fn bytes(&mut self, want: usize) -> Result<Bytes, ReplayError> {
        match &mut self.input {
            Input::Mapped { file, path, size, part, .. } => {
                let inside = self.offset.checked_sub(part.offset);
                let end = part.offset.saturating_add(part.bytes.len() as u64);
                if inside.is_none() || self.offset >= end {
                    let offset = (self.offset / PART_LEN).saturating_mul(PART_LEN);
                    let len = size.saturating_sub(offset).min(PART_LEN);
                    *part = Part::map(file, offset, len)
                        .map_err(|source| ReplayError::Io { input: path.clone(), source })?;
                }
                let start =
                    usize::try_from(self.offset.saturating_sub(part.offset)).unwrap_or(usize::MAX);
                let start = start.min(part.bytes.len());
                let end = start.saturating_add(want).min(part.bytes.len());
                Ok(part.bytes.slice(start..end))
            }
            Input::Streamed { name, read, held, has_ended, failed, .. } => {
                let mut bytes = Vec::with_capacity(want);
                bytes.append(held);
                while !*has_ended && bytes.len() < want {
                    let lacking = want.saturating_sub(bytes.len()) as u64;
                    match read.by_ref().take(lacking).read_to_end(&mut bytes) {
                        Ok(_) => *has_ended = bytes.len() < want,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            if bytes.len() >= LEN {
                                break;
                            }
                        }
                        Err(error) => (*failed, *has_ended) = (Some(error), true),
                    }
                }
                let whole = (bytes.len() / LEN).saturating_mul(LEN);
                if !*has_ended {
                    *held = bytes.split_off(whole);
                } else if failed.is_some() {
                    // What is cut off where reading failed is not wrong.
                    bytes.truncate(whole);
                }
                match failed.take_if(|_| bytes.is_empty()) {
                    Some(source) => Err(ReplayError::Io { input: name.clone(), source }),
                    None => Ok(bytes.into()),
                }
            }
        }
    }
}

impl Part {
    fn map(file: &File, offset: u64, len: u64) -> io::Result<Self> {
        if len == 0 {
            return Ok(Self { offset, bytes: Bytes::new() });
        }
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Self { offset, bytes: Bytes::from_owner(Mapped::new(file, offset, len)?) })
    }
}

impl Source for Binary {
    fn next(&mut self, records_max: usize) -> Result<Option<Chunk>, ReplayError> {
        let want = records_max.max(1).saturating_mul(LEN);
        let (start, mut bytes) = (self.offset, self.bytes(want)?);
        if bytes.is_empty() {
            return Ok(None);
        }
        self.offset.grow(bytes.len() as u64);
        // Only behind the last whole record can some of one be.
        let rest = bytes.split_off((bytes.len() / LEN).saturating_mul(LEN));
        let end = MarkedAt {
            position: self.offset.into(),
            steps: 0.into(),
            records: (self.offset / RECORD_LEN).into(),
        };
        let cut = Place::Offset(start.saturating_add(bytes.len() as u64));
        let is_early = bytes.len() < want && !self.has_ended();
        let chunk = Chunk::whole(start, bytes, end).early_if(is_early);
        Ok(Some(match rest.len() {
            0 => chunk,
            got => chunk.with_wrong(cut, Wrong::Cut { got }),
        }))
    }

    fn size(&self) -> Option<u64> {
        match &self.input {
            Input::Mapped { size, .. } => Some(*size),
            Input::Streamed { .. } => None,
        }
    }

    fn name(&self) -> Option<[u8; 32]> {
        match &self.input {
            Input::Mapped { name, .. } => Some(*name),
            Input::Streamed { again, .. } => again.as_ref().map(Again::id),
        }
    }

    fn resume(&mut self, at: MarkedAt) -> Result<bool, ReplayError> {
        let position = at.position.get();
        if let Input::Streamed { read, again: Some(again), held, has_ended, failed, .. } =
            &mut self.input
        {
            if !position.is_multiple_of(LEN as u64) {
                return Ok(false);
            }
            *read = again.from(position)?.0;
            held.clear();
            (self.offset, *has_ended, *failed) = (position, false, None);
            return Ok(true);
        }
        let fits =
            self.size().is_some_and(|size| position <= size && position.is_multiple_of(LEN as u64));
        if fits {
            self.offset = position;
        }
        Ok(fits)
    }
}
