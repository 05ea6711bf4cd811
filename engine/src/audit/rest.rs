use zerocopy::byteorder::big_endian::U64;
use zerocopy::{FromBytes, IntoBytes};

use super::Flaw;
use super::index::each_row;
use crate::payload::Payload;
use crate::store::{Column, IndexOf, Meta, Pending, PendingKey, Snapshot, StoreError, TrunkKey};
use crate::types::{BlockHeight, ChainId};

/// Reads what belongs to no block that is held. Returns the numbers of the next rows that are not
/// sorted of the index of blocks, and of that of payloads.
pub(super) fn read(snapshot: &Snapshot, flaws: &mut Vec<Flaw>) -> [u64; 2] {
    if let Some(error) = snapshot.damaged_log() {
        flaws.push(Flaw::Log { error: error.to_owned() });
    }
    let mut numbers_end = [0; 2];
    rows(snapshot, Column::Meta, &[], flaws, &mut |name, value| {
        for (end, of) in numbers_end.iter_mut().zip(IndexOf::ALL) {
            let is_its = name == of.number_name().as_bytes();
            if let Some(number) = U64::ref_from_bytes(value).ok().filter(|_| is_its) {
                *end = number.get();
            }
        }
        Meta::is_entry(name, value)
    });
    rows(snapshot, Column::Pending, &[], flaws, &mut |key, value| {
        Pending::read(key, value).is_ok()
    });
    pending_payloads(snapshot, flaws);
    // Rows of chains that the network does not have: those that it has are numbered from 0.
    let chains = snapshot.meta().version.chain_ids().count();
    let behind = ChainId::new(u32::try_from(chains).unwrap_or(u32::MAX));
    let behind = TrunkKey::new(behind, BlockHeight::new(0));
    let sums = snapshot.has_sums().then_some(Column::Sums);
    let columns = [Column::Trunk, Column::Loose, Column::Levels, Column::Payloads];
    for column in columns.into_iter().chain(sums) {
        rows(snapshot, column, behind.as_bytes(), flaws, &mut |_, _| false);
    }
    foreign(snapshot.count_foreign(), flaws);
    numbers_end
}

fn rows(
    snapshot: &Snapshot,
    column: Column,
    first: &[u8],
    flaws: &mut Vec<Flaw>,
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) {
    let mut sweep = snapshot.sweep(column, first, None);
    if let Err(error) = each_row(&mut sweep, visit, flaws, column) {
        flaws.push(Flaw::Unreadable { place: column.name().to_owned(), error });
    }
}

/// Each of these belongs to a block that waits, and is what its header names.
fn pending_payloads(snapshot: &Snapshot, flaws: &mut Vec<Flaw>) {
    let mut blocks = snapshot.sweep(Column::Pending, &[], None);
    let mut no_block = Vec::new();
    rows(snapshot, Column::PendingPayloads, &[], flaws, &mut |key, record| {
        // Where blocks cannot be read, which was told of, nothing is said of these.
        let mut block = blocks.row().ok();
        while let Some(Some((before, _))) = block
            && before < key
        {
            blocks.advance();
            block = blocks.row().ok();
        }
        let Some(block) = block else { return true };
        let of = block.filter(|(of, _)| *of == key);
        let header = of.and_then(|(key, value)| Pending::read(key, value).ok());
        match (header, PendingKey::ref_from_bytes(key)) {
            (Some(block), _) => Pending::read_payload(&block.header, key, record)
                .is_ok_and(|payload: Payload| payload.view().check().is_ok()),
            (None, Ok(key)) => {
                no_block.push(Flaw::NotPending {
                    chain: key.chain(),
                    height: key.height(),
                    hash: key.hash(),
                });
                true
            }
            (None, Err(_)) => false,
        }
    });
    flaws.append(&mut no_block);
}

fn foreign(count: Result<u64, StoreError>, flaws: &mut Vec<Flaw>) {
    match count {
        Ok(0) => {}
        Ok(rows) => flaws.push(Flaw::Foreign { rows }),
        Err(error) => flaws.push(Flaw::Unreadable { place: "default".to_owned(), error }),
    }
}
