use std::ops::ControlFlow;

use super::QueryError;
use super::blocks::Blocks;
use super::records::Sink;
use crate::header::{HeaderRef, LEN};
use crate::store::{From, StoreError};
use crate::tree::Place;
use crate::types::{BlockHeight, Rank};

/// Siblings of the trunk that are read together.
const SIBLINGS: usize = 512;

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
        let last = BlockHeight::new(trunk.end().get() - 1);
        if start <= last && max >= trunk.first() {
            self.ascend_trunk(from, start.max(trunk.first()), max.min(last), out)?;
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

    /// The trunk from `first` to `last` and what is beside it.
    fn ascend_trunk(
        &self,
        from: From,
        first: BlockHeight,
        last: BlockHeight,
        out: &mut Sink,
    ) -> Result<(), QueryError> {
        let mut next = first;
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
                    let is_before = self.rank(Place::Trunk(rank.height))? < *rank;
                    let end = if is_before { Some(rank.height) } else { rank.height.parent() };
                    next = self.push_between(from, next, end, out)?;
                }
                out.push_copy(header);
            }
        }
        self.push_between(from, next, Some(last), out)?;
        Ok(())
    }

    /// The records of these blocks, which are all that are beside the trunk between the first and the
    /// last of them.
    fn siblings(&self, ranks: &[Rank]) -> Result<Vec<u8>, QueryError> {
        let mut records = Vec::with_capacity(ranks.len() * LEN);
        let (Some(first), Some(last)) = (ranks.first(), ranks.last()) else { return Ok(records) };
        let heights = last.height.get() - first.height.get() + 1;
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
        out: &mut Sink,
    ) -> Result<BlockHeight, QueryError> {
        let Some(end) = end.filter(|end| next <= *end) else { return Ok(next) };
        let is_first = next == height(from) && !matches!(from, From::Height(_));
        if is_first && !is_behind(from, self.rank(Place::Trunk(next))?) {
            next = BlockHeight::new(next.get().saturating_add(1));
        }
        let most = u64::try_from(out.left()).unwrap_or(u64::MAX);
        if next <= end && most > 0 {
            let last = end.min(BlockHeight::new(next.get().saturating_add(most - 1)));
            self.push_trunk(next, last, out)?;
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

/// The height at which an ascending scan begins.
const fn height(from: From) -> BlockHeight {
    match from {
        From::Height(height) => height,
        From::Rank(rank) | From::After(rank) => rank.height,
    }
}

/// Whether a block is a part of an ascending scan.
fn is_behind(from: From, rank: Rank) -> bool {
    match from {
        From::Height(height) => rank.height >= height,
        From::Rank(first) => rank >= first,
        From::After(last) => rank > last,
    }
}
