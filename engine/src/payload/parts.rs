use bytes::Bytes;
use zerocopy::IntoBytes;
use zerocopy::byteorder::big_endian::U32;

use super::layout::{Head, LEN_MIN, WITH_OUTPUTS, WITHOUT_OUTPUTS};
use super::{Payload, RecordError, roots};
use crate::types::{OutputsHash, PayloadHash, TransactionsHash};

/// What a payload is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The hash by which headers name the payload.
    pub payload_hash: PayloadHash,
    /// The Merkle root of miner data and transactions.
    pub transactions_hash: TransactionsHash,
    /// The Merkle root of coinbase and outputs.
    pub outputs_hash: OutputsHash,
    /// Who mined the block.
    pub miner_data: &'a [u8],
    /// The transactions, in order.
    pub transactions: &'a [&'a [u8]],
    /// What became of them, where that is known.
    pub outputs: Option<Outputs<'a>>,
}

/// What the transactions of a payload gave.
#[derive(Clone, Copy, Debug)]
pub struct Outputs<'a> {
    /// The output of the reward.
    pub coinbase: &'a [u8],
    /// One for each transaction, in order.
    pub outputs: &'a [&'a [u8]],
}

impl<'a> Parts<'a> {
    /// These parts with the hashes that they have.
    #[must_use]
    pub fn sealed(
        miner_data: &'a [u8],
        transactions: &'a [&'a [u8]],
        outputs: Outputs<'a>,
    ) -> Self {
        let transactions_hash = roots::transactions_hash(miner_data, transactions.iter().copied());
        let outputs_hash = roots::outputs_hash(outputs.coinbase, outputs.outputs.iter().copied());
        let payload_hash = roots::payload_hash(&transactions_hash, &outputs_hash);
        let outputs = Some(outputs);
        Self { payload_hash, transactions_hash, outputs_hash, miner_data, transactions, outputs }
    }

    /// The payload of these parts, in a record of its own; whether hashes are right is not looked
    /// at.
    ///
    /// # Errors
    ///
    /// - [`RecordError::Outputs`] if there is not one output for each transaction.
    /// - [`RecordError::TooLarge`] if a part does not fit into a record.
    pub fn pack(&self) -> Result<Payload, RecordError> {
        let count = self.transactions.len();
        if let Some(Outputs { outputs, .. }) = self.outputs
            && outputs.len() != count
        {
            return Err(RecordError::Outputs { transactions: count, outputs: outputs.len() });
        }
        let head = Head {
            payload_hash: self.payload_hash,
            transactions_hash: self.transactions_hash,
            outputs_hash: self.outputs_hash,
            kind: if self.outputs.is_some() { WITH_OUTPUTS } else { WITHOUT_OUTPUTS },
            transactions: length(count)?,
            miner_data: length(self.miner_data.len())?,
        };
        let mut record = Vec::with_capacity(self.record_len());
        record.extend_from_slice(head.as_bytes());
        push_lengths(&mut record, self.transactions)?;
        if let Some(Outputs { coinbase, outputs }) = self.outputs {
            push_lengths(&mut record, &[coinbase])?;
            push_lengths(&mut record, outputs)?;
        }
        record.extend_from_slice(self.miner_data);
        push_bytes(&mut record, self.transactions);
        if let Some(Outputs { coinbase, outputs }) = self.outputs {
            record.extend_from_slice(coinbase);
            push_bytes(&mut record, outputs);
        }
        Payload::parse(Bytes::from(record))
    }

    fn record_len(&self) -> usize {
        let len = |item: &&[u8]| size_of::<U32>().saturating_add(item.len());
        let outputs = self.outputs.map_or(0, |Outputs { coinbase, outputs }| {
            len(&coinbase).saturating_add(outputs.iter().map(len).sum::<usize>())
        });
        let transactions: usize = self.transactions.iter().map(len).sum();
        LEN_MIN
            .saturating_add(self.miner_data.len())
            .saturating_add(transactions)
            .saturating_add(outputs)
    }
}

fn push_lengths(record: &mut Vec<u8>, items: &[&[u8]]) -> Result<(), RecordError> {
    for item in items {
        record.extend_from_slice(length(item.len())?.as_bytes());
    }
    Ok(())
}

fn push_bytes(record: &mut Vec<u8>, items: &[&[u8]]) {
    for item in items {
        record.extend_from_slice(item);
    }
}

pub(super) fn length(got: usize) -> Result<U32, RecordError> {
    u32::try_from(got).map(U32::new).map_err(|_| RecordError::TooLarge { got })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transaction_needs_one_output() {
        let parts = |outputs: &'static [&'static [u8]]| {
            Parts::sealed(b"", &[b"a", b"b"], Outputs { coinbase: b"", outputs }).pack()
        };
        assert!(parts(&[b"c", b"d"]).is_ok());
        let wrong: [&[&[u8]]; 3] = [&[], &[b"c"], &[b"c", b"d", b"e"]];
        for outputs in wrong {
            let refused = RecordError::Outputs { transactions: 2, outputs: outputs.len() };
            assert_eq!(parts(outputs), Err(refused));
        }
    }

    #[test]
    fn record_takes_no_more_room_than_it_needs() {
        let outputs = Outputs { coinbase: b"coinbase", outputs: &[b"", b"output"] };
        let parts = Parts::sealed(b"miner", &[b"transaction", b""], outputs);
        for parts in [parts, Parts { outputs: None, ..parts }] {
            assert_eq!(parts.pack().unwrap().as_bytes().len(), parts.record_len());
        }
    }
}
