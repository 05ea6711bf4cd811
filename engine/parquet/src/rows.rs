use plait_engine::header::LEN;
use plait_engine::query::Divided;
use plait_engine::store::StoreError;
use plait_engine::{BlockHeight, HeaderRef, Rank};

/// Heights that are read together: some runs, of which only the first and the last are cut.
const WINDOW: u64 = 4096;

/// Lends all blocks from `first` to `last`, by ascending rank, with whether they are orphans.
pub(crate) fn ranked<E: From<StoreError>>(
    divided: &Divided<'_>,
    (first, last): (BlockHeight, BlockHeight),
    mut visit: impl FnMut(&[u8], bool) -> Result<(), E>,
) -> Result<(), E> {
    let mut next = divided.next_height(first);
    while let Some(low) = next.filter(|low| *low <= last) {
        let high = BlockHeight::new(low.get().saturating_add(WINDOW - 1)).min(last);
        if divided.orphan_count(low, high) == 0 {
            divided.canonical(low, high, |records| visit(records, false))?;
        } else {
            merged(divided, (low, high), &mut visit)?;
        }
        next = high.child().and_then(|above| divided.next_height(above));
    }
    Ok(())
}

/// The same for one window in which there are orphans.
fn merged<E: From<StoreError>>(
    divided: &Divided<'_>,
    (low, high): (BlockHeight, BlockHeight),
    visit: &mut impl FnMut(&[u8], bool) -> Result<(), E>,
) -> Result<(), E> {
    let mut canonical = Vec::new();
    divided.canonical(low, high, |records| {
        canonical.extend_from_slice(records);
        Ok::<_, E>(())
    })?;
    let mut rest = canonical.as_slice();
    divided.orphans(low, high, |records| {
        for record in records.chunks_exact(LEN) {
            let below = rest.chunks_exact(LEN).take_while(|other| rank(other) < rank(record));
            let (first, others) = rest.split_at(below.count() * LEN);
            rest = others;
            visit(first, false)?;
            visit(record, true)?;
        }
        Ok::<_, E>(())
    })?;
    visit(rest, false)
}

/// The place of a record, which was checked when it was read.
fn rank(record: &[u8]) -> Option<Rank> {
    HeaderRef::parse(record).ok().map(HeaderRef::rank)
}
