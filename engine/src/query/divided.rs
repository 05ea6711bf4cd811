use bytes::Bytes;

use super::blocks::Blocks;
use super::records::Sink;
use super::{QueryError, View};
use crate::header::{HeaderRef, LEN};
use crate::store::StoreError;
use crate::tree::{NodeId, Place, Trunk};
use crate::types::{BlockHash, BlockHeight, ChainId, Micros, Rank};

/// Loose blocks that are read together.
const TOGETHER: usize = 512;

/// The blocks of one chain in two sets: one block and its ancestors, which are canonical, and all
/// others, the orphans.
///
/// The block decides which part of the trunk is canonical; nothing depends on what is sealed.
///
/// # Cost
///
/// One read for each run of the trunk, which is not kept in memory; one lookup for each canonical block
/// that is not sealed, the first time only, and for each other block, each time.
pub struct Divided<'a> {
    blocks: Blocks<'a>,
    /// The canonical block above all others.
    top: Option<Place>,
    /// Heights of the trunk that are canonical: from the first one up to this one.
    join: Option<BlockHeight>,
}

impl View {
    /// The blocks of `chain`, divided by whether `top` has them below it; without it all of them
    /// are orphans. `None` if the network has no such chain.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or holds something else.
    pub fn divided(
        &self,
        chain: ChainId,
        top: Option<BlockHash>,
    ) -> Result<Option<Divided<'_>>, StoreError> {
        let Some(blocks) = self.blocks(chain) else { return Ok(None) };
        let top = top.map(|hash| blocks.place(&hash)).transpose()?.flatten();
        let join = top.and_then(|top| blocks.forest().join(top));
        Ok(Some(Divided { blocks, top, join }))
    }
}

impl<'a> Divided<'a> {
    pub(super) const fn blocks(&self) -> &Blocks<'a> {
        &self.blocks
    }

    /// Those of these canonical heights that are sealed, if any is.
    pub(super) fn sealed_heights(
        &self,
        low: BlockHeight,
        high: BlockHeight,
    ) -> Option<(BlockHeight, BlockHeight)> {
        let (trunk, join) = self.trunk().zip(self.join)?;
        let (low, high) = (low.max(trunk.first()), high.min(join));
        (low <= high).then_some((low, high))
    }

    /// Whether the trunk begins at `height`.
    pub(super) fn is_lowest(&self, height: BlockHeight) -> bool {
        self.trunk().is_some_and(|trunk| trunk.first() == height)
    }

    /// When the canonical block below `height` was made, if it is held.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or holds something else.
    pub(super) fn made_below(&self, height: BlockHeight) -> Result<Option<Micros>, StoreError> {
        let forest = self.blocks.forest();
        let below = self.top.zip(height.parent()).and_then(|(top, at)| forest.ancestor(top, at));
        let header = below.map(|below| self.blocks.header(below)).transpose()?;
        Ok(header.map(|header| header.view().creation_time()))
    }

    /// The lowest height from `from` on that has a block.
    #[must_use]
    pub fn next_height(&self, from: BlockHeight) -> Option<BlockHeight> {
        let forest = self.blocks.forest();
        let node = forest.nodes_from(from).next().map(|id| forest.rank(id).height);
        let sealed = self.trunk().filter(|trunk| from < trunk.end());
        node.into_iter().chain(sealed.map(|trunk| trunk.first().max(from))).min()
    }

    /// The heights of canonical blocks from `first` to `last`, if there is any; there is one block
    /// at each of them.
    #[must_use]
    pub fn canonical_heights(
        &self,
        first: BlockHeight,
        last: BlockHeight,
    ) -> Option<(BlockHeight, BlockHeight)> {
        let top = self.top?;
        let low = self.bottom(top).max(first);
        let high = self.blocks.forest().height(top).min(last);
        (low <= high).then_some((low, high))
    }

    /// The number of orphans at heights from `first` to `last`.
    #[must_use]
    pub fn orphan_count(&self, first: BlockHeight, last: BlockHeight) -> u64 {
        let forest = self.blocks.forest();
        let nodes = forest.node_count(first, last);
        let sealed = self.trunk().map_or(0, |trunk| {
            let end = trunk.end().get().min(last.get().saturating_add(1));
            end.saturating_sub(trunk.first().max(first).get())
        });
        let canonical = self.canonical_heights(first, last);
        let canonical = canonical
            .map_or(0, |(low, high)| high.get().saturating_sub(low.get()).saturating_add(1));
        nodes.saturating_add(sealed).saturating_sub(canonical)
    }

    /// The header of the canonical block at `height`, which must have one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or holds something else.
    pub fn canonical_rank(&self, height: BlockHeight) -> Result<Rank, StoreError> {
        let place = self.top.and_then(|top| self.blocks.forest().ancestor(top, height));
        let place = place.ok_or_else(|| StoreError::gap(self.blocks.chain(), height))?;
        self.blocks.rank(place)
    }

    /// Lends the canonical records from `first` to `last`, ascending, to `visit`.
    ///
    /// # Errors
    ///
    /// What `visit` returns, and [`StoreError`] if the disk cannot be read or holds something
    /// else.
    pub fn canonical<E: From<StoreError>>(
        &self,
        first: BlockHeight,
        last: BlockHeight,
        mut visit: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some((low, high)) = self.canonical_heights(first, last) else { return Ok(()) };
        let sealed = self.join.zip(self.trunk());
        let Some((join, trunk)) = sealed else { return self.line(low, high, &mut visit) };
        if let Some(below) = trunk.first().parent().filter(|below| low <= *below) {
            self.line(low, high.min(below), &mut visit)?;
        }
        let mut next = low.max(trunk.first());
        while next <= high.min(join) {
            let last = BlockHeight::new(self.blocks.run_heights(next).1.get().saturating_sub(1));
            let last = last.min(high).min(join);
            visit(&self.sealed(next, last)?)?;
            next = BlockHeight::new(last.get().saturating_add(1));
        }
        match join.child().map(|above| above.max(low)).filter(|above| *above <= high) {
            Some(above) => self.line(above, high, &mut visit),
            None => Ok(()),
        }
    }

    /// Lends all other records from `first` to `last`, by ascending rank, to `visit`.
    ///
    /// # Errors
    ///
    /// As for [`Divided::canonical`].
    pub fn orphans<E: From<StoreError>>(
        &self,
        first: BlockHeight,
        last: BlockHeight,
        mut visit: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let forest = self.blocks.forest();
        let nodes = forest.nodes_from(first).take_while(|id| forest.rank(*id).height <= last);
        let mut nodes = nodes.filter(|id| !self.is_canonical(*id)).map(|id| forest.rank(id));
        let mut trunk = self.sealed_orphans(first, last);
        loop {
            let some: Vec<Rank> = nodes.by_ref().take(TOGETHER).collect();
            if some.is_empty() {
                break;
            }
            let mut records = Vec::new();
            self.blocks.snapshot().headers(self.blocks.chain(), &some, &mut records)?;
            for (rank, record) in some.iter().zip(records.chunks_exact(LEN)) {
                while let Some(sealed) = trunk.below(*rank)? {
                    visit(&sealed)?;
                }
                visit(record)?;
            }
        }
        while let Some(sealed) = trunk.next()? {
            visit(&sealed)?;
        }
        Ok(())
    }

    fn trunk(&self) -> Option<&Trunk> {
        self.blocks.forest().trunk().filter(|trunk| !trunk.is_empty())
    }

    /// The height of the lowest ancestor.
    fn bottom(&self, mut place: Place) -> BlockHeight {
        let forest = self.blocks.forest();
        loop {
            let lowest = match (place, self.trunk()) {
                (Place::Node(id), _) => Place::Node(forest.root(id)),
                (Place::Trunk(height), trunk) => Place::Trunk(trunk.map_or(height, Trunk::first)),
            };
            match forest.parent(lowest) {
                Some(below) => place = below,
                None => return forest.height(lowest),
            }
        }
    }

    fn is_canonical(&self, id: NodeId) -> bool {
        let forest = self.blocks.forest();
        let height = forest.rank(id).height;
        self.top.and_then(|top| forest.ancestor(top, height)) == Some(Place::Node(id))
    }

    /// Lends canonical records that are not of the trunk.
    fn line<E: From<StoreError>>(
        &self,
        low: BlockHeight,
        high: BlockHeight,
        visit: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (forest, chain) = (self.blocks.forest(), self.blocks.chain());
        let top = self.top.and_then(|top| forest.ancestor(top, high));
        let Some(Place::Node(top)) = top else { return Err(StoreError::gap(chain, high).into()) };
        // By descending height, in pieces that are kept in memory: otherwise statistics would look up
        // every block that is not sealed, each time.
        let mut line = Sink::new(usize::MAX);
        self.blocks.push_line(Place::Node(top), low, &mut line).map_err(|error| match error {
            QueryError::Store(error) => error,
            QueryError::Cold => StoreError::Cold,
            QueryError::UnknownHash(hash) => StoreError::lost(&hash),
        })?;
        let mut records = Vec::with_capacity(TOGETHER.saturating_mul(LEN));
        for slice in line.finish().0.into_slices().iter().rev() {
            for some in slice.rchunks(TOGETHER.saturating_mul(LEN)) {
                records.clear();
                some.rchunks_exact(LEN).for_each(|record| records.extend_from_slice(record));
                visit(&records)?;
            }
        }
        Ok(())
    }

    /// The records of the trunk from one height to another of the same run.
    fn sealed(&self, first: BlockHeight, last: BlockHeight) -> Result<Bytes, StoreError> {
        let id = self.blocks.run_id(first)?;
        let run = self.blocks.snapshot().read_run(id)?;
        let record = |height: BlockHeight| {
            let number = height.get().checked_sub(id.first.get())?;
            usize::try_from(number).ok()?.checked_mul(LEN)
        };
        let range =
            record(first).zip(record(last)).map(|(start, last)| start..last.saturating_add(LEN));
        let range = range.filter(|range| range.end <= run.len());
        let gap = || StoreError::gap(self.blocks.chain(), first);
        Ok(run.slice(range.ok_or_else(gap)?))
    }

    fn sealed_orphans(&self, first: BlockHeight, last: BlockHeight) -> SealedOrphans<'_> {
        let heights = self.trunk().map(|trunk| {
            let above = self.join.and_then(BlockHeight::child).unwrap_or(trunk.first());
            let end = last.get().saturating_add(1).min(trunk.end().get());
            (above.max(first).max(trunk.first()), BlockHeight::new(end))
        });
        let (next, end) = heights.unwrap_or_default();
        SealedOrphans { divided: self, next, end, run: Bytes::new() }
    }
}

/// The blocks of the trunk that are not canonical, one by one.
struct SealedOrphans<'a> {
    divided: &'a Divided<'a>,
    next: BlockHeight,
    end: BlockHeight,
    /// The records from `next` to the end of its run.
    run: Bytes,
}

impl SealedOrphans<'_> {
    /// The next one, if it comes before this rank.
    fn below(&mut self, rank: Rank) -> Result<Option<Bytes>, StoreError> {
        if self.next > rank.height || !self.fill()? {
            return Ok(None);
        }
        let first = self.run.get(..LEN).and_then(|record| HeaderRef::parse(record).ok());
        if first.is_some_and(|header| header.rank() < rank) { self.next() } else { Ok(None) }
    }

    fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        if !self.fill()? {
            return Ok(None);
        }
        self.next = BlockHeight::new(self.next.get().saturating_add(1));
        Ok(Some(self.run.split_to(LEN.min(self.run.len()))))
    }

    /// Whether there is a next one; reads it, if it is the first of its run.
    fn fill(&mut self) -> Result<bool, StoreError> {
        if self.next >= self.end {
            return Ok(false);
        }
        if self.run.is_empty() {
            let end = self.divided.blocks.run_heights(self.next).1.min(self.end);
            self.run =
                self.divided.sealed(self.next, BlockHeight::new(end.get().saturating_sub(1)))?;
        }
        Ok(true)
    }
}
