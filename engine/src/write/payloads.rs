use std::mem;
use std::sync::Arc;

use hashbrown::HashMap;

use super::WriteError;
use crate::header::HeaderRef;
use crate::payload::{Payload, VerifiedPayload};
use crate::store::{PayloadKey, Store};
use crate::types::Grow;

/// Payloads of the next commit, and which ones are there.
///
/// A payload is staged once for all blocks of a chain and height that have it, and again only if its
/// outputs were not known before.
pub(super) struct Payloads {
    store: Arc<Store>,
    staged: Vec<(PayloadKey, Payload)>,
    bytes: usize,
    /// Those that are staged, and whether with outputs.
    present: HashMap<PayloadKey, bool>,
    /// The same of the commit before, which may not be written yet.
    before: HashMap<PayloadKey, bool>,
}

impl Payloads {
    pub(super) fn new(store: Arc<Store>) -> Self {
        let (staged, present, before) = (Vec::new(), HashMap::new(), HashMap::new());
        Self { store, staged, bytes: 0, present, before }
    }

    /// Stages the payload of a block; `false` if it is there already. `unknown` says that no payload
    /// can be stored there: then that is not looked up.
    ///
    /// # Errors
    ///
    /// [`WriteError::Payload`] if it is not the payload of this block.
    pub(super) fn stage(
        &mut self,
        header: HeaderRef<'_>,
        payload: VerifiedPayload,
        unknown: bool,
    ) -> Result<bool, WriteError> {
        payload.belongs_to(header)?;
        let (key, has_outputs) = (PayloadKey::of(header), payload.view().has_outputs());
        let is_enough = |present: bool| present || !has_outputs;
        let at_hand = self.present.get(&key).or_else(|| self.before.get(&key)).copied();
        let present = match at_hand {
            None if !unknown => self.store.payload_has_outputs(&key)?,
            at_hand => at_hand,
        };
        if present.is_some_and(is_enough) {
            return Ok(false);
        }
        let payload = payload.into_payload();
        self.bytes.grow(payload.as_bytes().len());
        self.present.insert(key, has_outputs);
        self.staged.push((key, payload));
        Ok(true)
    }

    /// The number of payloads that are staged.
    pub(super) const fn len(&self) -> usize {
        self.staged.len()
    }

    /// Bytes of payloads that are staged.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes what is staged. What was taken the time before is written by now.
    pub(super) fn take(&mut self) -> Vec<(PayloadKey, Payload)> {
        self.bytes = 0;
        self.before = mem::take(&mut self.present);
        mem::take(&mut self.staged)
    }

    /// Forgets what is staged, and what was taken last.
    pub(super) fn clear(&mut self) {
        *self = Self::new(Arc::clone(&self.store));
    }
}
