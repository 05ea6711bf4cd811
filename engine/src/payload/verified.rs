use super::{Outputs, Parts, Payload, PayloadError, PayloadRef, RecordError, roots};
use crate::header::HeaderRef;
use crate::types::PayloadHash;

/// A payload whose hashes are those of its content.
///
/// The hash of outputs that are not known is that of outputs that its block had: the payload hash
/// covers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPayload(Payload);

impl VerifiedPayload {
    /// The payload, verified.
    ///
    /// # Cost
    ///
    /// One hash of each part, and one more for each: SHA-512/256 of all bytes.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] as for [`PayloadRef::check`].
    pub fn new(payload: Payload) -> Result<Self, PayloadError> {
        payload.view().check()?;
        Ok(Self(payload))
    }

    /// The payload that has these parts, with the hashes that they have.
    ///
    /// # Errors
    ///
    /// [`RecordError`] as for [`Parts::pack`].
    pub fn seal(
        miner_data: &[u8],
        transactions: &[&[u8]],
        outputs: Outputs<'_>,
    ) -> Result<Self, RecordError> {
        Parts::sealed(miner_data, transactions, outputs).pack().map(Self)
    }

    /// Whether this is the payload of the block with this header.
    ///
    /// # Errors
    ///
    /// [`PayloadError::OtherBlock`] if the header names another.
    pub fn belongs_to(&self, header: HeaderRef<'_>) -> Result<(), PayloadError> {
        let (got, expected) = (self.hash(), header.payload_hash());
        if got == expected {
            return Ok(());
        }
        Err(PayloadError::OtherBlock { block: header.hash(), got, expected })
    }

    /// The hash by which headers name the payload.
    #[must_use]
    pub fn hash(&self) -> PayloadHash {
        self.view().hash()
    }

    /// The view of the record.
    #[must_use]
    pub fn view(&self) -> PayloadRef<'_> {
        self.0.view()
    }

    /// The payload.
    #[must_use]
    pub const fn payload(&self) -> &Payload {
        &self.0
    }

    /// The payload.
    #[must_use]
    pub fn into_payload(self) -> Payload {
        self.0
    }
}

impl PayloadRef<'_> {
    /// Whether all hashes are those of the content, as it was mined.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] that names the first hash that is wrong: the transactions', the outputs',
    /// the payload's.
    pub fn check(self) -> Result<(), PayloadError> {
        let (got, expected) = (self.transactions_hash(), self.transactions_root());
        if got != expected {
            return Err(PayloadError::TransactionsHash { got, expected });
        }
        let got = self.outputs_hash();
        if let Some(expected) = self.outputs_root()
            && got != expected
        {
            return Err(PayloadError::OutputsHash { got, expected });
        }
        let expected = roots::payload_hash(&self.transactions_hash(), &self.outputs_hash());
        let got = self.hash();
        if got != expected {
            return Err(PayloadError::PayloadHash { got, expected });
        }
        Ok(())
    }
}
