use super::{WriteError, Writer};
use crate::header::HeaderRef;
use crate::payload::VerifiedPayload;
use crate::store::{Batch, History};
use crate::verify::Verified;

impl Writer {
    /// Takes a block for the next commit. It must not be held.
    pub fn stage(&mut self, verified: Verified<'_>) {
        let header = verified.header();
        self.batch.put_block(&self.store, verified);
        self.recent.insert(header.hash(), header.to_owned());
        self.staged.push(header.hash());
    }

    /// Takes what a block carries for the next commit: a block that is staged or stored. Returns
    /// whether it is new.
    ///
    /// # Errors
    ///
    /// [`WriteError::Payload`] if it is not the payload of this block, [`WriteError::Store`].
    pub fn stage_payload(
        &mut self,
        header: HeaderRef<'_>,
        payload: VerifiedPayload,
    ) -> Result<bool, WriteError> {
        self.payloads.stage(header, payload, false)
    }

    /// Takes a block for the next commit that begins a part of the history.
    pub fn stage_root(&mut self, verified: Verified<'_>) {
        self.stage(verified);
        if self.store().meta().history == History::Full {
            self.batch.put_partial(&self.store);
        }
    }

    /// Drops what is staged.
    pub fn discard(&mut self) {
        self.batch = Batch::default();
        self.staged.clear();
        self.recent.clear();
        self.payloads.clear();
    }
}
