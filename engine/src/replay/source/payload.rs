use super::rows::Rows;
use crate::header::{HeaderRef, RawHeader};
use crate::payload::{Payload, VerifiedPayload, text};
use crate::replay::Wrong;

/// Bytes of payloads of a chunk at most, and those of one more line or row.
pub(super) const PAYLOAD_BYTES_MAX: usize = 8 << 20;

/// What a block carries, as it stands in the input.
#[derive(Debug)]
pub enum RawPayload {
    /// A JSON object, as the API has it.
    Object(Box<str>),
    /// Rows of a node's database.
    Rows(Rows),
    /// Rows of which one says nothing, and why.
    Odd(&'static str),
}

impl RawPayload {
    /// Its bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Object(text) => text.len(),
            Self::Rows(rows) => rows.len(),
            Self::Odd(_) => 0,
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload, if it is that of the block with this header.
    ///
    /// # Errors
    ///
    /// [`Wrong`] that names the hash that is wrong, or what else is.
    pub fn verify(&self, header: &RawHeader) -> Result<VerifiedPayload, Wrong> {
        let payload = VerifiedPayload::new(self.decode()?)?;
        payload.belongs_to(HeaderRef::new(header)?)?;
        Ok(payload)
    }

    fn decode(&self) -> Result<Payload, Wrong> {
        match self {
            Self::Object(text) => Ok(text::from_object(text.as_bytes())?),
            Self::Rows(rows) => rows.decode(),
            Self::Odd(why) => Err(Wrong::Row(why)),
        }
    }
}
