use std::io::Read;

use zerocopy::FromBytes;

use super::{Chunk, Place, Source};
use crate::header::{LEN, RawHeader};
use crate::replay::mapped::Mapped;
use crate::replay::{ReplayError, Wrong};

/// Concatenated headers: a file where it lies, or a stream.
pub struct Binary {
    input: Input,
    /// Bytes before the next record.
    offset: usize,
}

enum Input {
    Mapped(Mapped),
    Streamed { name: String, read: Box<dyn Read> },
    End,
}

impl Binary {
    /// The records of a mapped file, without copying them.
    #[must_use]
    pub fn mapped(map: Mapped) -> Self {
        Self { input: Input::Mapped(map), offset: 0 }
    }

    /// The records of a stream.
    #[must_use]
    pub fn streamed(name: String, read: Box<dyn Read>) -> Self {
        Self { input: Input::Streamed { name, read }, offset: 0 }
    }
}

impl Source for Binary {
    fn next(&mut self, records_max: usize) -> Result<Option<Chunk<'_>>, ReplayError> {
        let start = self.offset;
        let want = records_max.max(1) * LEN;
        if let Input::Streamed { name, read } = &mut self.input {
            let mut bytes = Vec::with_capacity(want);
            let read = read.by_ref().take(want as u64).read_to_end(&mut bytes);
            read.map_err(|source| ReplayError::Io { input: name.clone(), source })?;
            self.offset += bytes.len();
            if bytes.len() < want {
                self.input = Input::End;
            }
            return Ok(owned(start, &bytes));
        }
        let Input::Mapped(map) = &self.input else { return Ok(None) };
        let Some(rest) = map.bytes().get(start..).filter(|rest| !rest.is_empty()) else {
            return Ok(None);
        };
        let whole = rest.len().min(want) / LEN * LEN;
        match rest.get(..whole).map(<[RawHeader]>::ref_from_bytes) {
            Some(Ok(records)) if !records.is_empty() => {
                self.offset += whole;
                Ok(Some(Chunk::Mapped { offset: start as u64, records }))
            }
            _ => {
                self.offset += rest.len();
                Ok(owned(start, rest))
            }
        }
    }

    fn position(&self) -> u64 {
        self.offset as u64
    }

    fn size(&self) -> Option<u64> {
        match &self.input {
            Input::Mapped(map) => Some(map.bytes().len() as u64),
            Input::Streamed { .. } | Input::End => None,
        }
    }
}

/// Records of their own; what is left behind the last whole one is cut.
fn owned(start: usize, bytes: &[u8]) -> Option<Chunk<'static>> {
    let records = bytes.chunks(LEN).enumerate().map(|(i, record)| {
        let place = Place::Offset((start + i * LEN) as u64);
        let whole = RawHeader::read_from_bytes(record);
        (place, whole.map_err(|_| Wrong::Cut { got: record.len() }))
    });
    (!bytes.is_empty()).then(|| Chunk::Owned(records.collect()))
}
