use std::fmt;

use bytes::Bytes;
use zerocopy::FromBytes;
use zerocopy::byteorder::big_endian::U32;

use super::RecordError;
use super::layout::{Head, WITH_OUTPUTS, WITHOUT_OUTPUTS};
use crate::types::{OutputsHash, PayloadHash, TransactionsHash};

/// A payload as it is stored, with or without outputs. Cheap to clone.
///
/// Checked is the form only, not the content; that is what
/// [`VerifiedPayload`](super::VerifiedPayload) says.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    /// The payload of this record.
    ///
    /// # Errors
    ///
    /// [`RecordError`] as for [`PayloadRef::parse`].
    pub fn parse(record: Bytes) -> Result<Self, RecordError> {
        PayloadRef::parse(&record)?;
        Ok(Self(record))
    }

    /// The view of the record.
    ///
    /// # Cost
    ///
    /// Reads the lengths of all transactions.
    #[must_use]
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "this was parsed before")]
    pub fn view(&self) -> PayloadRef<'_> {
        PayloadRef::parse(&self.0).expect("what was a record is one")
    }

    /// The record.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The record.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// A payload where it lies: a view of its record, of any alignment.
#[derive(Clone, Copy)]
pub struct PayloadRef<'a> {
    record: &'a [u8],
    head: &'a Head,
    miner_data: &'a [u8],
    transactions: Column<'a>,
    outputs: Option<Known<'a>>,
}

/// The outputs, where they are known.
#[derive(Clone, Copy)]
struct Known<'a> {
    coinbase: &'a [u8],
    outputs: Column<'a>,
}

/// Some parts, one behind the other, which have these lengths together.
#[derive(Clone, Copy)]
struct Column<'a> {
    lengths: &'a [U32],
    bytes: &'a [u8],
}

impl<'a> PayloadRef<'a> {
    /// The payload whose record `record` is.
    ///
    /// # Cost
    ///
    /// Reads the lengths of all parts, allocates nothing.
    ///
    /// # Errors
    ///
    /// [`RecordError`] if the lengths of the parts do not make up that of the record, or if it is
    /// of no known kind.
    pub fn parse(record: &'a [u8]) -> Result<Self, RecordError> {
        let mut input = Input { record, rest: record };
        let head = input.head()?;
        let count = head.transactions.get();
        let lengths = input.lengths(count)?;
        let output_lengths = match head.kind {
            WITHOUT_OUTPUTS => None,
            WITH_OUTPUTS => Some((input.lengths(1)?, input.lengths(count)?)),
            got => return Err(RecordError::Kind { got }),
        };
        let miner_data = input.bytes(head.miner_data.get().into())?;
        let transactions = input.column(lengths)?;
        let outputs = match output_lengths {
            None => None,
            Some((coinbase, outputs)) => {
                let coinbase = input.bytes(sum(coinbase))?;
                Some(Known { coinbase, outputs: input.column(outputs)? })
            }
        };
        input.end()?;
        Ok(Self { record, head, miner_data, transactions, outputs })
    }

    /// The record as it is stored.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.record
    }

    /// The payload with a record of its own.
    #[must_use]
    pub fn to_owned(self) -> Payload {
        Payload(Bytes::copy_from_slice(self.record))
    }

    /// The hash by which headers name the payload.
    #[must_use]
    pub const fn hash(self) -> PayloadHash {
        self.head.payload_hash
    }

    /// The Merkle root of miner data and transactions.
    #[must_use]
    pub const fn transactions_hash(self) -> TransactionsHash {
        self.head.transactions_hash
    }

    /// The Merkle root of coinbase and outputs.
    #[must_use]
    pub const fn outputs_hash(self) -> OutputsHash {
        self.head.outputs_hash
    }

    /// Who mined the block, in JSON, as it was mined.
    #[must_use]
    pub const fn miner_data(self) -> &'a [u8] {
        self.miner_data
    }

    /// The output of the reward, in JSON. `None` if outputs are not known.
    #[must_use]
    pub fn coinbase(self) -> Option<&'a [u8]> {
        self.outputs.map(|known| known.coinbase)
    }

    /// Each transaction, and its output where outputs are known, in order.
    #[must_use]
    pub fn transactions(self) -> Transactions<'a> {
        Transactions { transactions: self.inputs(), outputs: self.outputs() }
    }

    /// Each transaction, in order.
    #[must_use]
    pub const fn inputs(self) -> Items<'a> {
        Items(self.transactions)
    }

    /// Each output, in order. `None` if outputs are not known.
    #[must_use]
    pub fn outputs(self) -> Option<Items<'a>> {
        self.outputs.map(|known| Items(known.outputs))
    }

    /// The number of transactions.
    #[must_use]
    pub const fn transaction_count(self) -> usize {
        self.transactions.lengths.len()
    }

    /// Whether coinbase and outputs are known, not only their hash.
    #[must_use]
    pub const fn has_outputs(self) -> bool {
        self.outputs.is_some()
    }
}

impl PartialEq for PayloadRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.record == other.record
    }
}

impl Eq for PayloadRef<'_> {}

impl fmt::Debug for PayloadRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = if self.has_outputs() { "with" } else { "without" };
        let (hash, count) = (self.hash(), self.transaction_count());
        write!(f, "{hash} of {count} transactions {with} outputs")
    }
}

/// The transactions or the outputs of a payload, in order.
#[derive(Clone)]
pub struct Items<'a>(Column<'a>);

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let Self(Column { lengths, bytes }) = *self;
        let (length, lengths) = lengths.split_first()?;
        let (item, bytes) = bytes.split_at_checked(usize::try_from(length.get()).ok()?)?;
        self.0 = Column { lengths, bytes };
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.lengths.len(), Some(self.0.lengths.len()))
    }
}

impl ExactSizeIterator for Items<'_> {}

/// The transactions of a payload with their outputs, in order.
#[derive(Clone)]
pub struct Transactions<'a> {
    transactions: Items<'a>,
    outputs: Option<Items<'a>>,
}

impl<'a> Iterator for Transactions<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let transaction = self.transactions.next()?;
        Some((transaction, self.outputs.as_mut().and_then(Items::next)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.transactions.size_hint()
    }
}

impl ExactSizeIterator for Transactions<'_> {}

/// What of a record is still to be read.
struct Input<'a> {
    record: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn head(&mut self) -> Result<&'a Head, RecordError> {
        let (head, rest) =
            Head::ref_from_prefix(self.rest).map_err(|_| self.short(size_of::<Head>() as u64))?;
        self.rest = rest;
        Ok(head)
    }

    fn lengths(&mut self, count: u32) -> Result<&'a [U32], RecordError> {
        let more = u64::from(count).saturating_mul(size_of::<U32>() as u64);
        let lengths = self.bytes(more)?;
        <[U32]>::ref_from_bytes(lengths).map_err(|_| self.short(more))
    }

    fn column(&mut self, lengths: &'a [U32]) -> Result<Column<'a>, RecordError> {
        Ok(Column { lengths, bytes: self.bytes(sum(lengths))? })
    }

    fn bytes(&mut self, more: u64) -> Result<&'a [u8], RecordError> {
        let split = usize::try_from(more).ok().and_then(|more| self.rest.split_at_checked(more));
        let (bytes, rest) = split.ok_or_else(|| self.short(more))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn end(self) -> Result<(), RecordError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.short(0)) }
    }

    /// The record is not as long as what was read and `more`.
    fn short(&self, more: u64) -> RecordError {
        let read = self.record.len().saturating_sub(self.rest.len());
        RecordError::Length {
            got: self.record.len(),
            expected: (read as u128).saturating_add(u128::from(more)),
        }
    }
}

/// Under 2^32 lengths of 32 bits each have a sum of at most 64.
fn sum(lengths: &[U32]) -> u64 {
    lengths.iter().map(|length| u64::from(length.get())).sum()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::drawn::{drawn, payload};
    use super::super::{LEN_MIN, Outputs, Parts};
    use super::*;

    /// The payload that is built from what a view says.
    fn rebuilt(payload: PayloadRef<'_>) -> Payload {
        let transactions: Vec<&[u8]> = payload.transactions().map(|(bytes, _)| bytes).collect();
        let outputs: Vec<&[u8]> = payload.transactions().filter_map(|(_, bytes)| bytes).collect();
        let outputs = payload.coinbase().map(|coinbase| Outputs { coinbase, outputs: &outputs });
        let parts = Parts {
            payload_hash: payload.hash(),
            transactions_hash: payload.transactions_hash(),
            outputs_hash: payload.outputs_hash(),
            miner_data: payload.miner_data(),
            transactions: &transactions,
            outputs,
        };
        parts.pack().unwrap()
    }

    /// The length that the record is refused for, if it is.
    fn refused_length(record: &[u8]) -> Option<usize> {
        match PayloadRef::parse(record) {
            Err(RecordError::Length { got, .. }) => Some(got),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn parts_are_found_again(drawn in drawn(), with_outputs: bool) {
            let payload = drawn.payload(with_outputs);
            let view = payload.view();
            prop_assert_eq!(view.miner_data(), &drawn.miner_data);
            prop_assert_eq!(view.has_outputs(), with_outputs);
            prop_assert_eq!(view.coinbase(), with_outputs.then_some(&*drawn.coinbase));
            prop_assert_eq!(view.transaction_count(), drawn.transactions.len());
            prop_assert_eq!(view.transactions().len(), drawn.transactions.len());
            let expected = drawn.transactions.iter();
            let expected = expected.map(|(tx, out)| (&**tx, with_outputs.then_some(&**out)));
            prop_assert!(view.transactions().eq(expected));
            prop_assert!(view.inputs().eq(view.transactions().map(|(bytes, _)| bytes)));
        }

        #[test]
        fn payload_has_one_record(payload in payload()) {
            prop_assert_eq!(&rebuilt(payload.view()), &payload);
            prop_assert_eq!(&payload.view().to_owned(), &payload);
            prop_assert_eq!(payload.view().as_bytes(), &payload.as_bytes()[..]);
        }

        #[test]
        fn record_of_another_length_is_refused(payload in payload(), more in vec(any::<u8>(), 1..9)) {
            let record = payload.as_bytes();
            for len in 0..record.len() {
                prop_assert_eq!(refused_length(&record[..len]), Some(len));
            }
            let longer = [record, &more[..]].concat();
            let (got, expected) = (longer.len(), record.len() as u128);
            prop_assert_eq!(PayloadRef::parse(&longer), Err(RecordError::Length { got, expected }));
        }

        #[test]
        fn altered_record_is_another_one_or_none(
            payload in payload(),
            at: prop::sample::Index,
            byte in 1..=255_u8,
        ) {
            let mut record = payload.as_bytes().to_vec();
            let at = at.index(record.len());
            record[at] ^= byte;
            if let Ok(view) = PayloadRef::parse(&record) {
                let again = rebuilt(view);
                prop_assert_eq!(again.as_bytes(), &record);
            }
        }

        #[test]
        fn any_bytes_are_a_record_or_refused(bytes in vec(any::<u8>(), 0..400)) {
            if let Ok(view) = PayloadRef::parse(&bytes) {
                let again = rebuilt(view);
                prop_assert_eq!(again.as_bytes(), &bytes);
            }
        }
    }

    #[test]
    fn lengths_that_nobody_sent_are_not_believed() {
        for kind in [WITHOUT_OUTPUTS, WITH_OUTPUTS] {
            let mut record = [0; LEN_MIN + 40];
            record[96] = kind;
            record[97..105].fill(0xff);
            assert_eq!(refused_length(&record), Some(record.len()));
            // Ten lengths of 4 GB each, or nine and that of the coinbase.
            record[97..105].fill(0);
            record[100] = 10 - kind;
            record[LEN_MIN..].fill(0xff);
            if kind == WITH_OUTPUTS {
                record[100] = 4;
            }
            assert_eq!(refused_length(&record), Some(record.len()));
        }
    }

    #[test]
    fn record_of_an_unknown_kind_is_refused() {
        let mut record = [0; LEN_MIN];
        assert!(PayloadRef::parse(&record).is_ok());
        record[96] = 2;
        assert_eq!(PayloadRef::parse(&record), Err(RecordError::Kind { got: 2 }));
    }
}
