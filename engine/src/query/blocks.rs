use bytes::Bytes;
use rayon::prelude::*;

use super::QueryError;
use super::records::Sink;
use crate::header::{Header, HeaderRef, LEN};
use crate::store::{RunId, SealedAt, Snapshot, StoreError};
use crate::tree::{Forest, NodeId, Place, Trunk};
use crate::types::{BlockHash, BlockHeight, ChainId, Rank};

/// Runs of one result from which on all cores read them, if one is not in memory. Handing work out
/// and waiting for it takes some 80 us, and reading a run 30.
const PARALLEL_RUNS: usize = 8;

/// Hashes of one query that are not in memory, from which on all cores look them up: at 1 to 2 us
/// each.
const PARALLEL_HASHES: usize = 256;

/// The blocks of one chain at one moment: where each is, and its header.
#[derive(Clone, Copy)]
pub(crate) struct Blocks<'a> {
    chain: ChainId,
    forest: &'a Forest,
    snapshot: &'a Snapshot,
}

impl<'a> Blocks<'a> {
    /// The blocks of `chain`; `forest` and `snapshot` are of one moment.
    pub(crate) const fn new(chain: ChainId, forest: &'a Forest, snapshot: &'a Snapshot) -> Self {
        Self { chain, forest, snapshot }
    }

    pub(super) const fn chain(&self) -> ChainId {
        self.chain
    }

    pub(super) const fn forest(&self) -> &'a Forest {
        self.forest
    }

    pub(super) const fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// Where a block is, if it is held.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk cannot be read or holds something else.
    pub(crate) fn place(&self, hash: &BlockHash) -> Result<Option<Place>, StoreError> {
        if let Some(place) = self.known_place(hash) {
            return Ok(Some(place));
        }
        let (chain, epoch) = (self.chain, self.forest.epoch());
        match self.snapshot.place(hash)? {
            Some((on, height)) if on == chain && self.is_sealed(height) => {
                self.snapshot.remember(*hash, SealedAt { chain, epoch, height });
                Ok(Some(Place::Trunk(height)))
            }
            Some((on, _)) if on == chain => Err(StoreError::lost(hash)),
            Some(_) => Ok(None),
            None => self.moved_place(hash),
        }
    }

    /// Where a block is whose row in the index was moved since: what that says now is of a later
    /// moment, so it counts only if it is so at this one, too.
    fn moved_place(&self, hash: &BlockHash) -> Result<Option<Place>, StoreError> {
        match self.snapshot.moved_place(hash)? {
            Some((on, height)) if on == self.chain && self.is_sealed(height) => {
                let place = Place::Trunk(height);
                Ok((self.rank(place)?.hash == *hash).then_some(place))
            }
            _ => Ok(None),
        }
    }

    /// Where a block is, if that is in memory.
    fn known_place(&self, hash: &BlockHash) -> Option<Place> {
        if let Some(id) = self.forest.find(hash) {
            return Some(Place::Node(id));
        }
        let at = self.snapshot.recall(hash)?;
        let is_here = (at.chain, at.epoch) == (self.chain, self.forest.epoch());
        (is_here && self.is_sealed(at.height)).then_some(Place::Trunk(at.height))
    }

    fn is_sealed(&self, height: BlockHeight) -> bool {
        self.forest.trunk().is_some_and(|trunk| trunk.contains(height))
    }

    /// The same as [`Blocks::place`] for many.
    ///
    /// # Errors
    ///
    /// As there.
    pub(super) fn places(&self, hashes: &[BlockHash]) -> Result<Vec<Option<Place>>, StoreError> {
        let mut places: Vec<_> = hashes.iter().map(|hash| self.known_place(hash)).collect();
        let unknown = places.iter_mut().zip(hashes).filter(|(place, _)| place.is_none());
        let mut unknown: Vec<_> = unknown.collect();
        let look_up = |(place, hash): &mut (&mut Option<Place>, &BlockHash)| {
            self.place(hash).map(|found| **place = found)
        };
        if unknown.len() < PARALLEL_HASHES {
            unknown.iter_mut().try_for_each(look_up)?;
        } else {
            unknown.par_iter_mut().try_for_each(look_up)?;
        }
        Ok(places)
    }

    /// The header of a block.
    ///
    /// # Errors
    ///
    /// As for [`Blocks::place`].
    pub(crate) fn header(&self, place: Place) -> Result<Header, StoreError> {
        match place {
            Place::Node(id) => self.snapshot.loose(self.chain, self.forest.rank(id)),
            Place::Trunk(height) => {
                let record = self.sealed(height)?;
                let header = HeaderRef::parse(&record).ok().map(HeaderRef::to_owned);
                header.ok_or_else(|| self.gap(height))
            }
        }
    }

    /// Height and hash of a block.
    ///
    /// # Errors
    ///
    /// As for [`Blocks::place`].
    pub(crate) fn rank(&self, place: Place) -> Result<Rank, StoreError> {
        match place {
            Place::Node(id) => Ok(self.forest.rank(id)),
            Place::Trunk(_) => Ok(self.header(place)?.view().rank()),
        }
    }

    /// The record of the block of the trunk at `height`.
    pub(super) fn sealed(&self, height: BlockHeight) -> Result<Bytes, StoreError> {
        let trunk = self.trunk(height)?;
        let id = self.run(&trunk, height);
        self.snapshot.sealed_header(id, height)
    }

    /// The name of the run with the block of the trunk at `height`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if the trunk has no such height.
    pub(super) fn run_id(&self, height: BlockHeight) -> Result<RunId, StoreError> {
        Ok(self.run(&self.trunk(height)?, height))
    }

    /// Where the run with `height` begins, and the height behind it, as far as there is a trunk.
    pub(super) fn run_heights(&self, height: BlockHeight) -> (BlockHeight, BlockHeight) {
        let (length, trunk) = (self.forest.run_length(), self.forest.trunk());
        let first = trunk.map_or(height, Trunk::first).max(length.start(height));
        (first, trunk.map_or(height, Trunk::end).min(length.end(height)))
    }

    /// The run with the block of the trunk at `height`, and the height of its first header.
    ///
    /// # Errors
    ///
    /// As for [`Blocks::place`].
    pub(super) fn run_with(&self, height: BlockHeight) -> Result<(BlockHeight, Bytes), StoreError> {
        let id = self.run(&self.trunk(height)?, height);
        Ok((id.first, self.snapshot.ascending(id)?))
    }

    /// All headers of the run that begins at `first`, by ascending height.
    ///
    /// # Errors
    ///
    /// As for [`Blocks::place`].
    pub(crate) fn sealed_run(&self, first: BlockHeight) -> Result<Bytes, StoreError> {
        self.snapshot.ascending(self.run(&self.trunk(first)?, first))
    }

    /// Appends a block and its ancestors, as [`Part::Line`](crate::tree::Part::Line) has them.
    ///
    /// # Errors
    ///
    /// As for [`Blocks::place`].
    pub(super) fn push_line(
        &self,
        top: Place,
        bottom: BlockHeight,
        out: &mut Sink,
    ) -> Result<(), QueryError> {
        match top {
            Place::Trunk(top) => self.push_trunk_line(top, bottom, out),
            Place::Node(top) => self.push_node_line(top, bottom, out),
        }
    }

    fn push_trunk_line(
        &self,
        top: BlockHeight,
        bottom: BlockHeight,
        out: &mut Sink,
    ) -> Result<(), QueryError> {
        let trunk = self.trunk(top)?;
        let mut ids = self.runs(&trunk, bottom, top);
        ids.reverse();
        let runs = each(self.snapshot, &ids, Snapshot::descending)?;
        for (id, run) in ids.iter().zip(runs) {
            let highest = id.first.get().saturating_add((run.len() / LEN) as u64).saturating_sub(1);
            let before = highest.saturating_sub(top.get());
            let behind = highest.saturating_sub(bottom.get()).saturating_add(1);
            out.push(&slice(&run, before, behind).ok_or_else(|| self.gap(id.first))?);
        }
        Ok(())
    }

    /// Appends the blocks of the trunk at heights from `first` to `last`, ascending.
    ///
    /// # Errors
    ///
    /// As for [`Blocks::place`].
    pub(super) fn push_trunk(
        &self,
        first: BlockHeight,
        last: BlockHeight,
        out: &mut Sink,
    ) -> Result<(), QueryError> {
        let trunk = self.trunk(first)?;
        let ids = self.runs(&trunk, first, last);
        let runs = each(self.snapshot, &ids, Snapshot::ascending)?;
        for (id, run) in ids.iter().zip(runs) {
            let before = first.get().saturating_sub(id.first.get());
            let behind = last.get().saturating_sub(id.first.get()).saturating_add(1);
            out.push(&slice(&run, before, behind).ok_or_else(|| self.gap(id.first))?);
        }
        Ok(())
    }

    /// Nodes are read in parts that end where runs would, and these are cached.
    fn push_node_line(
        &self,
        mut top: NodeId,
        bottom: BlockHeight,
        out: &mut Sink,
    ) -> Result<(), QueryError> {
        loop {
            let height = self.forest.rank(top).height;
            let start = self.forest.run_length().start(height);
            let head = self.head(top, height);
            let highest = self.forest.rank(head);
            let before = highest.height.get().saturating_sub(height.get());
            let behind =
                highest.height.get().saturating_sub(start.max(bottom).get()).saturating_add(1);
            let count = usize::try_from(behind).unwrap_or(usize::MAX);
            let line = self.snapshot.line(self.chain, highest.hash, count, || {
                self.forest.line(head, start).map(|id| self.forest.rank(id)).collect()
            })?;
            out.push(&slice(&line, before, behind).ok_or_else(|| self.gap(start))?);
            let below = start.parent().filter(|_| start > bottom);
            let next = below.and_then(|below| self.forest.ancestor(Place::Node(top), below));
            match next {
                Some(Place::Node(next)) => top = next,
                Some(Place::Trunk(_)) | None => return Ok(()),
            }
        }
    }

    /// The block that a part of a line is known by: above the trunk the highest of its heights on
    /// the way to the tip, so that all who ask for blocks of that way share it.
    fn head(&self, top: NodeId, height: BlockHeight) -> NodeId {
        let above_trunk = self.forest.trunk().is_none_or(|trunk| trunk.end() <= height);
        let Some(tip) = self.forest.tip().filter(|_| above_trunk) else { return top };
        let last = self.forest.run_length().last(height).min(self.forest.rank(tip).height);
        match self.forest.ancestor(Place::Node(tip), last) {
            Some(head @ Place::Node(id))
                if self.forest.ancestor(head, height) == Some(Place::Node(top)) =>
            {
                id
            }
            _ => top,
        }
    }

    fn trunk(&self, height: BlockHeight) -> Result<Trunk, StoreError> {
        let trunk = self.forest.trunk().filter(|trunk| trunk.contains(height)).copied();
        trunk.ok_or_else(|| self.gap(height))
    }

    fn run(&self, trunk: &Trunk, height: BlockHeight) -> RunId {
        let first = self.forest.run_length().start(height).max(trunk.first());
        RunId { chain: self.chain, epoch: self.forest.epoch(), first }
    }

    /// The runs from the one with `first` to the one with `last`.
    fn runs(&self, trunk: &Trunk, first: BlockHeight, last: BlockHeight) -> Vec<RunId> {
        let next = |id: &RunId| Some(self.run(trunk, self.forest.run_length().end(id.first)));
        let ids = std::iter::successors(Some(self.run(trunk, first)), next);
        ids.take_while(|id| id.first <= last).collect()
    }

    fn gap(&self, height: BlockHeight) -> StoreError {
        StoreError::gap(self.chain, height)
    }
}

/// What comes of every run, in order.
fn each(
    snapshot: &Snapshot,
    ids: &[RunId],
    read: impl Fn(&Snapshot, RunId) -> Result<Bytes, StoreError> + Sync,
) -> Result<Vec<Bytes>, StoreError> {
    if ids.len() < PARALLEL_RUNS {
        return ids.iter().map(|id| read(snapshot, *id)).collect();
    }
    let cached = snapshot.cached();
    match ids.iter().map(|id| read(&cached, *id)).collect() {
        Err(StoreError::Cold) => ids.par_iter().map(|id| read(snapshot, *id)).collect(),
        runs => runs,
    }
}

/// The records of a run from the one with number `before` to the one in front of `behind`, or to
/// the end; `None` if there is none.
fn slice(run: &Bytes, before: u64, behind: u64) -> Option<Bytes> {
    let records = (run.len() / LEN) as u64;
    let (before, behind) = (usize::try_from(before).ok()?, behind.min(records));
    let behind = usize::try_from(behind).ok()?;
    (before < behind).then(|| run.slice(before.saturating_mul(LEN)..behind.saturating_mul(LEN)))
}
