use super::{QueryError, View};
use crate::header::HeaderRef;
use crate::payload::Payload;
use crate::store::PayloadKey;
use crate::types::{BlockHeight, ChainId, PayloadHash};

impl View {
    /// The payload with this hash, if it is stored: under a block of `chain` at `height`, if that is
    /// said and is so, else wherever it is. Equal payloads are one, whatever blocks have them.
    ///
    /// # Cost
    ///
    /// One lookup at the right height, else some more.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`] and [`QueryError::Cold`].
    pub fn payload(
        &self,
        chain: ChainId,
        hash: &PayloadHash,
        height: Option<BlockHeight>,
    ) -> Result<Option<Payload>, QueryError> {
        if let Some(height) = height
            && let Some(payload) =
                self.snapshot().payload(&PayloadKey::new(chain, height, *hash))?
            && payload.view().has_outputs()
        {
            return Ok(Some(payload));
        }
        Ok(self.snapshot().payload_anywhere(chain, hash)?)
    }

    /// What the block with this header carries, if it is stored.
    ///
    /// # Errors
    ///
    /// As for [`View::payload`].
    pub fn block_payload(&self, header: HeaderRef<'_>) -> Result<Option<Payload>, QueryError> {
        Ok(self.snapshot().payload(&PayloadKey::of(header))?)
    }

    /// The same for many, in their order: of the first of them, until what was found has `bytes_max`
    /// bytes. There is at least one, if there is a header.
    ///
    /// # Cost
    ///
    /// Payloads of blocks of one chain whose heights follow each other, up or down, lie side by side
    /// on the disk. Memory: that of the payloads, `bytes_max` and some more.
    ///
    /// # Errors
    ///
    /// As for [`View::payload`].
    pub fn block_payloads<'h>(
        &self,
        headers: impl IntoIterator<Item = HeaderRef<'h>>,
        bytes_max: usize,
    ) -> Result<Vec<Option<Payload>>, QueryError> {
        let keys: Vec<PayloadKey> = headers.into_iter().map(PayloadKey::of).collect();
        Ok(self.snapshot().payloads(&keys, bytes_max)?)
    }

    /// Whether the block of each header has its payload, as far as the keys show it without reading
    /// the payload.
    ///
    /// # Cost
    ///
    /// One key lookup for each, and a read of two payloads of each hundred.
    ///
    /// # Errors
    ///
    /// As for [`View::payload`].
    pub fn has_block_payloads<'h>(
        &self,
        headers: impl IntoIterator<Item = HeaderRef<'h>>,
    ) -> Result<Vec<bool>, QueryError> {
        let keys: Vec<PayloadKey> = headers.into_iter().map(PayloadKey::of).collect();
        Ok(self.snapshot().has_payloads(&keys)?)
    }

    /// About how many payloads are stored, by RocksDB's estimate: exact in a database to which
    /// nothing was added twice.
    ///
    /// # Errors
    ///
    /// As for [`View::payload`].
    pub fn payload_count_estimate(&self) -> Result<u64, QueryError> {
        Ok(self.snapshot().payload_count_estimate()?)
    }
}
