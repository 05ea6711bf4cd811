use std::ops::ControlFlow;

use bytes::Bytes;

use super::QueryError;
use super::blocks::Blocks;
use super::records::Sink;
use crate::header::{HeaderRef, LEN};
use crate::store::{From, StoreError};
use crate::types::{BlockHash, BlockHeight, Rank};

/// Siblings of the trunk that are read together.
const SIBLINGS: usize = 512;

/// Siblings of a run with which it is kept in memory in one piece: 650 kB at most.
const MERGED_MAX: usize = 2048;

/// Where there are more heights for each sibling they are looked up one by one; else an iterator
/// reads them faster than that, also over what RocksDB has still to forget.
const HEIGHTS_PER_SIBLING: u64 = 8;

impl Blocks<'_> {
    /// Appends all blocks from `from` on, up to the height `max`, by ascending rank, as many as
    /// `out` takes.
    ///
    /// # Cost
    ///
    /// On the trunk: slices of runs, and one lookup for each sibling of it. Elsewhere one seek, then
    /// one step a header.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`] and [`QueryError::Cold`].
    pub(super) fn ascend(
        &self,
        from: From,
        max: BlockHeight,
        out: &mut Sink,
    ) -> Result<(), QueryError> {
        let Some(trunk) = self.forest().trunk().filter(|trunk| !trunk.is_empty()) else {
            return self.ascend_loose(from, max, out);
        };
        let start = height(from);
        if let Some(below) = trunk.first().parent().filter(|below| start <= *below) {
            self.ascend_loose(from, max.min(below), out)?;
        }
        let last = BlockHeight::new(trunk.end().get().saturating_sub(1));
        let mut next = start.max(trunk.first());
        while next <= max.min(last) && out.left() > 0 {
            let (first, end) = self.run_heights(next);
            let siblings = self.forest().count(first, end);
            if siblings <= MERGED_MAX {
                let records = self.merged(next, siblings)?;
                out.push(&part(&records, from, max));
            } else {
                let last = BlockHeight::new(end.get().saturating_sub(1)).min(max);
                self.ascend_beside(from, next, last, out)?;
            }
            next = end;
        }
        if max >= trunk.end() {
            let from = if start < trunk.end() { From::Height(trunk.end()) } else { from };
            self.ascend_loose(from, max, out)?;
        }
        Ok(())
    }

    fn ascend_loose(&self, from: From, max: BlockHeight, out: &mut Sink) -> Result<(), QueryError> {
        if out.left() == 0 {
            return Ok(());
        }
        self.snapshot().ascend(self.chain(), from, max, |header| {
            out.push_copy(header.as_bytes());
            if out.left() == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(())
    }

    /// All records of the heights of a run of the trunk, siblings too, by ascending rank; cached.
    fn merged(&self, height: BlockHeight, siblings: usize) -> Result<Bytes, QueryError> {
        if siblings == 0 {
            return Ok(self.run_with(height)?.1);
        }
        let id = self.run_id(height)?;
        let (first, end) = self.run_heights(height);
        if let Some(records) = self.snapshot().recall_merged(id, siblings)? {
            return Ok(records);
        }
        let mut out = Sink::new(usize::MAX);
        let last = BlockHeight::new(end.get().saturating_sub(1));
        self.ascend_beside(From::Height(first), first, last, &mut out)?;
        let records = Bytes::from(out.finish().0.into_slices().concat());
        self.snapshot().remember_merged(id, siblings, records.clone());
        Ok(records)
    }

    /// The trunk from `first` to `last` and what is beside it.
    fn ascend_beside(
        &self,
        from: From,
        first: BlockHeight,
        last: BlockHeight,
        out: &mut Sink,
    ) -> Result<(), QueryError> {
        let (mut next, mut kept) = (first, None);
        let siblings = self.forest().nodes_from(first).map(|id| self.forest().rank(id));
        let siblings = siblings.take_while(|rank| rank.height <= last);
        let mut siblings = siblings.filter(|rank| is_behind(from, *rank)).peekable();
        loop {
            // Behind so many heights the trunk alone has filled it.
            let most = next.get().saturating_add(out.left() as u64);
            let mut some: Vec<Rank> = Vec::new();
            while some.len() < SIBLINGS
                && let Some(rank) = siblings.next_if(|rank| rank.height.get() < most)
            {
                some.push(rank);
            }
            if some.is_empty() {
                break;
            }
            let headers = self.siblings(&some)?;
            for (rank, header) in some.iter().zip(headers.chunks_exact(LEN)) {
                if rank.height >= next {
                    // The block of the trunk at this height may come before its sibling.
                    let is_before = self.trunk_hash(rank.height, &mut kept)? < rank.hash;
                    let end = if is_before { Some(rank.height) } else { rank.height.parent() };
                    next = self.push_between(from, next, end, &mut kept, out)?;
                }
                out.push_copy(header);
            }
        }
        self.push_between(from, next, Some(last), &mut kept, out)?;
        Ok(())
    }

    /// The run with `height`: the one that is kept, if it has it.
    fn kept<'k>(
        &self,
        height: BlockHeight,
        kept: &'k mut Option<Kept>,
    ) -> Result<&'k Kept, QueryError> {
        if !kept.as_ref().is_some_and(|kept| kept.contains(height)) {
            let (first, run) = self.run_with(height)?;
            *kept = Some(Kept { first, run });
        }
        kept.as_ref().ok_or_else(|| StoreError::gap(self.chain(), height).into())
    }

    fn trunk_hash(
        &self,
        height: BlockHeight,
        kept: &mut Option<Kept>,
    ) -> Result<BlockHash, QueryError> {
        let record = self.kept(height, kept)?.records(height, height);
        let header = record.as_deref().and_then(|record| HeaderRef::parse(record).ok());
        let hash = header.map(HeaderRef::hash);
        hash.ok_or_else(|| StoreError::gap(self.chain(), height).into())
    }

    /// The records of these blocks, which are all that are beside the trunk between the first and the
    /// last of them.
    fn siblings(&self, ranks: &[Rank]) -> Result<Vec<u8>, QueryError> {
        let mut records = Vec::with_capacity(ranks.len().saturating_mul(LEN));
        let (Some(first), Some(last)) = (ranks.first(), ranks.last()) else { return Ok(records) };
        let heights = last.height.get().saturating_sub(first.height.get()).saturating_add(1);
        if heights > (ranks.len() as u64).saturating_mul(HEIGHTS_PER_SIBLING) {
            self.snapshot().headers(self.chain(), ranks, &mut records)?;
            return Ok(records);
        }
        let mut expected = ranks.iter();
        self.snapshot().ascend(self.chain(), From::Rank(*first), last.height, |header| {
            if expected.as_slice().first() == Some(&header.rank()) {
                records.extend_from_slice(header.as_bytes());
                expected.next();
            }
            let left = expected.len();
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        match expected.next() {
            Some(rank) => Err(StoreError::lost(&rank.hash).into()),
            None => Ok(records),
        }
    }

    /// Appends the trunk from `next` to `end`; returns the height behind it.
    fn push_between(
        &self,
        from: From,
        mut next: BlockHeight,
        end: Option<BlockHeight>,
        kept: &mut Option<Kept>,
        out: &mut Sink,
    ) -> Result<BlockHeight, QueryError> {
        let Some(end) = end.filter(|end| next <= *end) else { return Ok(next) };
        if next == height(from) && !matches!(from, From::Height(_)) {
            let first = Rank { height: next, hash: self.trunk_hash(next, kept)? };
            if !is_behind(from, first) {
                next = BlockHeight::new(next.get().saturating_add(1));
            }
        }
        let most = u64::try_from(out.left()).unwrap_or(u64::MAX);
        if next <= end && most > 0 {
            let last = end.min(BlockHeight::new(next.get().saturating_add(most.saturating_sub(1))));
            match kept.as_ref().and_then(|kept| kept.records(next, last)) {
                Some(records) => out.push(&records),
                None => self.push_trunk(next, last, out)?,
            }
        }
        Ok(BlockHeight::new(end.get().saturating_add(1)))
    }

    /// Lends all blocks from `from` on, up to the height `max`, to `visit`, by ascending rank, until
    /// it breaks.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`] and [`QueryError::Cold`].
    pub(crate) fn visit(
        &self,
        from: From,
        max: BlockHeight,
        mut visit: impl FnMut(HeaderRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), QueryError> {
        let (mut from, mut some) = (from, 16);
        loop {
            let mut out = Sink::new(some);
            self.ascend(from, max, &mut out)?;
            let (records, next) = out.finish();
            for header in records.iter() {
                if visit(header).is_break() {
                    return Ok(());
                }
            }
            match records.last() {
                Some(last) if next.is_some() => from = From::After(last.rank()),
                _ => return Ok(()),
            }
            some = SIBLINGS;
        }
    }
}

/// A run that siblings were compared with.
struct Kept {
    first: BlockHeight,
    run: Bytes,
}

impl Kept {
    fn contains(&self, height: BlockHeight) -> bool {
        self.records(height, height).is_some()
    }

    /// The records from one height to another, if all are of this run.
    fn records(&self, first: BlockHeight, last: BlockHeight) -> Option<Bytes> {
        let number =
            |height: BlockHeight| usize::try_from(height.get().checked_sub(self.first.get())?).ok();
        let (start, end) = (
            number(first)?.saturating_mul(LEN),
            number(last)?.saturating_add(1).saturating_mul(LEN),
        );
        (end <= self.run.len()).then(|| self.run.slice(start..end))
    }
}

/// The height at which an ascending scan begins.
const fn height(from: From) -> BlockHeight {
    match from {
        From::Height(height) => height,
        From::Rank(rank) | From::After(rank) => rank.height,
    }
}

/// The records of an ascending scan up to the height `max` among these, which are by ascending rank.
fn part(records: &Bytes, from: From, max: BlockHeight) -> Bytes {
    let rank = |number: usize| {
        let record = records
            .get(number.saturating_mul(LEN)..number.saturating_add(1).saturating_mul(LEN))?;
        HeaderRef::parse(record).ok().map(HeaderRef::rank)
    };
    // The first number from which on it holds.
    let search = |holds: &dyn Fn(Rank) -> bool| {
        let (mut low, mut high) = (0, records.len() / LEN);
        while low < high {
            let middle = low.midpoint(high);
            if rank(middle).is_some_and(holds) {
                high = middle;
            } else {
                low = middle.saturating_add(1);
            }
        }
        low
    };
    let start = search(&|rank| is_behind(from, rank));
    let end = search(&|rank| rank.height > max);
    records.slice(start.saturating_mul(LEN)..end.max(start).saturating_mul(LEN))
}

/// Whether a block is a part of an ascending scan.
fn is_behind(from: From, rank: Rank) -> bool {
    match from {
        From::Height(height) => rank.height >= height,
        From::Rank(first) => rank >= first,
        From::After(last) => rank > last,
    }
}
