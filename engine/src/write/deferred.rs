use super::{WriteError, Writer};
use crate::header::HeaderRef;
use crate::payload::VerifiedPayload;
use crate::store::Pending;

impl Writer {
    /// Keeps a block until its parents are stored, with the next commit, and its payload if that is at
    /// hand. `place` says where in its input the block was.
    ///
    /// # Errors
    ///
    /// [`WriteError::Payload`] if it is not the payload of this block.
    pub fn defer(
        &mut self,
        header: HeaderRef<'_>,
        place: &str,
        payload: Option<&VerifiedPayload>,
    ) -> Result<(), WriteError> {
        if let Some(payload) = payload {
            payload.belongs_to(header)?;
        }
        let payload = payload.map(VerifiedPayload::payload);
        self.batch.put_pending(&self.store, header, place, payload);
        Ok(())
    }

    /// Forgets a deferred block, with the next commit.
    pub fn take_back(&mut self, block: &Pending) {
        let has_payload = block.payload.is_some();
        self.batch.delete_pending(&self.store, block.header.view(), has_payload);
    }

    /// Deferred blocks by ascending height, the first one after `after`: at most `blocks_max`, and fewer if
    /// their payloads are large.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`].
    pub fn pending(
        &self,
        after: Option<HeaderRef<'_>>,
        blocks_max: usize,
    ) -> Result<Vec<Pending>, WriteError> {
        Ok(self.snapshot.pending(after, blocks_max)?)
    }

    /// Calls `visit` for the header of each deferred block, by ascending height.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`].
    pub fn for_each_pending(&self, visit: &mut dyn FnMut(HeaderRef<'_>)) -> Result<(), WriteError> {
        Ok(self.snapshot.for_each_pending(visit)?)
    }
}
