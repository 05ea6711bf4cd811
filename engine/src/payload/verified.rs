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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::drawn::{DOCUMENTED, drawn};
    use super::super::{roots, text};
    use super::*;
    use crate::types::{ChainId, ChainwebVersion, OutputsHash, TransactionsHash};

    #[test]
    fn documented_payloads_have_the_hashes_that_they_state() {
        for object in DOCUMENTED {
            let payload = text::from_object(object.as_bytes()).unwrap();
            let verified = VerifiedPayload::new(payload.clone()).unwrap();
            assert_eq!(verified.payload(), &payload);
        }
    }

    proptest! {
        #[test]
        fn sealed_payload_is_verified(drawn in drawn(), with_outputs: bool) {
            let payload = drawn.payload(with_outputs);
            prop_assert!(VerifiedPayload::new(payload).is_ok());
        }

        #[test]
        fn first_wrong_hash_is_named(drawn in drawn(), wrong in any::<[u8; 32]>()) {
            let refused = |parts: Parts<'_>| parts.pack().unwrap().view().check().unwrap_err();
            drawn.lend(|parts| {
                let got = TransactionsHash::new(wrong);
                let expected = parts.transactions_hash;
                let error = refused(Parts { transactions_hash: got, ..parts });
                prop_assert_eq!(error, PayloadError::TransactionsHash { got, expected });
                let got = OutputsHash::new(wrong);
                let expected = parts.outputs_hash;
                let error = refused(Parts { outputs_hash: got, ..parts });
                prop_assert_eq!(error, PayloadError::OutputsHash { got, expected });
                let got = PayloadHash::new(wrong);
                let expected = parts.payload_hash;
                let error = refused(Parts { payload_hash: got, ..parts });
                prop_assert_eq!(error, PayloadError::PayloadHash { got, expected });
                // Without the outputs their hash is held by that of the payload alone.
                let outputs_hash = OutputsHash::new(wrong);
                let expected = roots::payload_hash(&parts.transactions_hash, &outputs_hash);
                let got = parts.payload_hash;
                let error = refused(Parts { outputs_hash, outputs: None, ..parts });
                prop_assert_eq!(error, PayloadError::PayloadHash { got, expected });
                Ok(())
            })?;
        }

        #[test]
        fn changed_byte_is_noticed(drawn in drawn(), at: prop::sample::Index, byte in 1..=255_u8) {
            let mut record = drawn.payload(true).into_bytes().to_vec();
            let at = at.index(record.len());
            record[at] ^= byte;
            if let Ok(payload) = PayloadRef::parse(&record) {
                prop_assert!(payload.check().is_err());
            }
        }
    }

    #[test]
    fn order_and_place_of_transactions_count() {
        let root = |transactions: &[&[u8]]| {
            let outputs = Outputs { coinbase: b"", outputs: transactions };
            Parts::sealed(b"m", transactions, outputs).payload_hash
        };
        let some = [root(&[]), root(&[b""]), root(&[b"a", b"b"]), root(&[b"b", b"a"])];
        let more = [root(&[b"ab"]), root(&[b"a", b"b", b""]), root(&[b"m"]), root(&[b"m", b"m"])];
        let all = [some, more].concat();
        for (index, hash) in all.iter().enumerate() {
            assert!(!all[..index].contains(hash), "{index}");
        }
    }

    #[test]
    fn payload_belongs_to_blocks_that_name_it() {
        let payload = text::from_object(DOCUMENTED[0].as_bytes()).unwrap();
        let verified = VerifiedPayload::new(payload).unwrap();
        let genesis = ChainwebVersion::Mainnet01.genesis_headers().next().unwrap();
        assert_eq!(genesis.view().chain(), ChainId::new(0));
        let refused = PayloadError::OtherBlock {
            block: genesis.view().hash(),
            got: verified.hash(),
            expected: genesis.view().payload_hash(),
        };
        assert_eq!(verified.belongs_to(genesis.view()), Err(refused));
        let mut raw = *genesis.view().raw();
        raw.payload_hash = verified.hash();
        assert_eq!(verified.belongs_to(HeaderRef::new(&raw).unwrap()), Ok(()));
    }
}
