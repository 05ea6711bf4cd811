use zerocopy::byteorder::big_endian::U64;
use zerocopy::{FromBytes, IntoBytes};

use super::Flaw;
use super::index::each_row;
use crate::store::{Column, Meta, Pending, Snapshot, StoreError, TrunkKey};
use crate::types::{BlockHeight, ChainId};

/// Reads what belongs to no block that is held. Returns the number of the next rows of `unindexed`.
pub(super) fn read(snapshot: &Snapshot, flaws: &mut Vec<Flaw>) -> u64 {
    let mut numbers_end = 0;
    rows(snapshot, Column::Meta, &[], flaws, &mut |name, value| {
        if let (b"unindexed", Ok(number)) = (name, U64::ref_from_bytes(value)) {
            numbers_end = number.get();
        }
        Meta::is_entry(name, value)
    });
    rows(snapshot, Column::Pending, &[], flaws, &mut |key, value| {
        Pending::read(key, value).is_ok()
    });
    // Rows of chains that the network does not have: those that it has are numbered from 0.
    let chains = snapshot.meta().version.chain_ids().count();
    let behind = ChainId::new(u32::try_from(chains).unwrap_or(u32::MAX));
    let behind = TrunkKey::new(behind, BlockHeight::new(0));
    for column in [Column::Trunk, Column::Loose, Column::Levels] {
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

fn foreign(count: Result<u64, StoreError>, flaws: &mut Vec<Flaw>) {
    match count {
        Ok(0) => {}
        Ok(rows) => flaws.push(Flaw::Foreign { rows }),
        Err(error) => flaws.push(Flaw::Unreadable { place: "default".to_owned(), error }),
    }
}
