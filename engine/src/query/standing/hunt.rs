use std::collections::BinaryHeap;

use hashbrown::HashMap;

use super::super::QueryError;
use super::field::Field;
use super::web::Source;
use crate::header::{Header, HeaderRef};
use crate::tree::cut::{self, Candidate, Ceiling, Most, Sum};
use crate::types::{BlockHash, ChainId};

/// Heights that are searched together.
const CHUNK: u64 = 16;

/// The most chunks that one search covers: some 0.1 s. A verified history takes a handful even if all of
/// it is new.
pub(super) const CHUNKS_MAX: usize = 256;

/// Heights to search above the height at which the branches of the heaviest blocks fork off.
const ABOVE: u64 = 128;

/// A search for a better cut of one [`Field`], by branch and bound over the heights.
///
/// A range of heights represents all cuts whose lowest member is in it. The heaviest block of each chain, from
/// there to one diameter above, gives a bound on their weight:
///
/// ```text
/// all blocks are new, the tips are at 9,000                    bound
/// 8,985 to 9,000   searched: the cut of the tips, weight 900      900
///     0 to 8,984   cannot be better, so none of it is read        899
/// ```
///
/// If two branches have tips at 9,000 and 7,500, and the latter is heavier, the range from 7,485 to 7,500 comes
/// first, and the range above is halved again and again, as long as its bound is greater.
pub(super) struct Hunt<'a, S> {
    web: &'a S,
    field: &'a Field,
    ceilings: &'a [Ceiling],
    recent: &'a HashMap<BlockHash, Header>,
    /// The weight of a better cut of another graph.
    floor: Option<Sum>,
    best: Option<Vec<Candidate>>,
    /// The weight of `best`.
    weight: Option<Sum>,
    left: usize,
}

impl<'a, S: Source> Hunt<'a, S> {
    pub(super) fn new(
        web: &'a S,
        field: &'a Field,
        ceilings: &'a [Ceiling],
        recent: &'a HashMap<BlockHash, Header>,
        floor: Option<Sum>,
    ) -> Self {
        let best = field.best.clone();
        let weight = best.as_deref().map(cut::weight);
        Self { web, field, ceilings, recent, floor, best, weight, left: CHUNKS_MAX }
    }

    /// The best cut.
    pub(super) fn into_best(self) -> Option<Vec<Candidate>> {
        self.best
    }

    /// Searches for cuts whose lowest member is in these ranges of heights.
    pub(super) fn run(&mut self, ranges: &[(u64, u64)]) -> Result<(), QueryError> {
        let highest = self.field.chains.iter().map(|chain| self.web.highest(*chain));
        let Some(Some(common)) = highest.min() else { return Ok(()) };
        let last = common.min(self.field.end.saturating_sub(1));
        let is_done = self.explore(ranges, last)?;
        // A full history has at least the cut of its first blocks: without one, the search ended at its
        // bounds.
        let lacks = self.best.is_none() && self.field.first <= last && !self.web.is_partial();
        if !is_done || lacks {
            self.search_above_parting(last)?;
        }
        Ok(())
    }

    /// Searches these ranges, at most up to `last`. Returns whether it covered all that may be
    /// better.
    fn explore(&mut self, ranges: &[(u64, u64)], last: u64) -> Result<bool, QueryError> {
        let mut open = BinaryHeap::new();
        for (low, high) in ranges {
            let (low, high) = (self.field.first.max(*low), last.min(*high));
            if low <= high {
                let start = high.saturating_sub(CHUNK.saturating_sub(1)).max(low);
                self.put(&mut open, start, high)?;
                if let Some(below) = start.checked_sub(1).filter(|below| low <= *below) {
                    self.put(&mut open, low, below)?;
                }
            }
        }
        while let Some((bound, high, low)) = open.pop() {
            if !self.may_be_better(bound) {
                break;
            }
            if high.saturating_sub(low) < CHUNK {
                let Some(left) = self.left.checked_sub(1) else { return Ok(false) };
                self.left = left;
                self.search(low, high)?;
            } else {
                let middle = low.midpoint(high);
                self.put(&mut open, low, middle)?;
                self.put(&mut open, middle.saturating_add(1), high)?;
            }
        }
        Ok(true)
    }

    fn put(
        &self,
        open: &mut BinaryHeap<(Sum, u64, u64)>,
        low: u64,
        high: u64,
    ) -> Result<(), QueryError> {
        let top = self.top(high);
        let mut bound = Sum::ZERO;
        for chain in &self.field.chains {
            let Some(most) = self.most(*chain, low, top)? else { return Ok(()) };
            bound = bound.saturating_add(Sum::from(most.weight));
        }
        if self.may_be_better(bound) {
            open.push((bound, high, low));
        }
        Ok(())
    }

    /// A cut of equal weight may be better by its ranks, or by having a newer graph.
    fn may_be_better(&self, bound: Sum) -> bool {
        let known = self.weight.max(self.floor);
        known.is_none_or(|known| bound >= known)
    }

    fn most(&self, chain: ChainId, low: u64, high: u64) -> Result<Option<Most>, QueryError> {
        let loose = self.ceilings.get(chain.index()).and_then(|ceiling| ceiling.most(low, high));
        let sealed = self.web.sealed_most(chain, low, high)?;
        Ok(match (loose, sealed) {
            (Some(loose), Some(sealed)) => Some(loose.or(sealed)),
            (loose, sealed) => loose.or(sealed),
        })
    }

    /// The height of the highest member that a cut with its lowest member at `height` may have.
    fn top(&self, height: u64) -> u64 {
        height.saturating_add(self.field.spread).min(self.field.end)
    }

    /// Searches for cuts whose lowest member is at a height from `low` to `high`.
    fn search(&mut self, low: u64, high: u64) -> Result<(), QueryError> {
        if let Some(cut) = self.advanced(low, self.top(high))? {
            self.take(cut);
            return Ok(());
        }
        // Right above a change of the graph, only the blocks below show which blocks agree.
        let low = if self.is_near_change(low) { self.field.first } else { low };
        let mut near = Vec::with_capacity(self.field.chains.len());
        for chain in &self.field.chains {
            near.push(self.web.between(*chain, low, self.top(high))?);
        }
        if near.iter().all(|blocks| !blocks.is_empty())
            && let Some(cut) = self.better(&near)
        {
            self.take(cut);
        }
        Ok(())
    }

    /// The heaviest cut of these blocks, if it is better than the best one.
    fn better(&self, lists: &[Vec<Candidate>]) -> Option<Vec<Candidate>> {
        let (spread, parts_max) = (self.field.spread, self.web.parts_max());
        cut::better(lists, spread, self.best.as_deref(), parts_max)
    }

    fn take(&mut self, cut: Vec<Candidate>) {
        self.weight = Some(cut::weight(&cut));
        self.best = Some(cut);
    }

    fn is_near_change(&self, low: u64) -> bool {
        low <= self.field.first.saturating_add(self.field.spread.saturating_mul(2))
    }

    /// The cut of the heaviest blocks of all chains, if these are the members before or blocks that were just
    /// added, and agree: nothing has to be read, and no cut in these heights is better.
    fn advanced(&self, low: u64, top: u64) -> Result<Option<Vec<Candidate>>, QueryError> {
        let Some(best) = &self.best else { return Ok(None) };
        if self.is_near_change(low) && self.field.first > 0 {
            return Ok(None);
        }
        let (mut lists, mut wanted) = (Vec::with_capacity(best.len()), Vec::new());
        for member in best {
            let Some(most) = self.most(member.chain, low, top)? else { return Ok(None) };
            let is_only = most.is_alone && self.web.count(member.chain, most.height) == 1;
            if !is_only {
                return Ok(None);
            }
            if member.weight.get() == most.weight && member.rank.height.get() == most.height {
                lists.push(vec![member.clone()]);
            } else if member.weight.get() < most.weight {
                wanted.push((member.chain, most.height));
                lists.push(Vec::new());
            } else {
                return Ok(None);
            }
        }
        let found = self.recent_at(&wanted);
        for (list, member) in lists.iter_mut().zip(best).filter(|(list, _)| list.is_empty()) {
            let Some(block) = found.get(&member.chain) else { return Ok(None) };
            // Only the block below shows whether the new one agrees with its neighbours.
            let below = match self.recent.get(&block.parent) {
                Some(below) => self.web.candidate(below.view()),
                None if member.rank.hash == block.parent => member.clone(),
                None => return Ok(None),
            };
            *list = vec![below, block.clone()];
        }
        let cut = self.better(&lists);
        let tops = || lists.iter().filter_map(|list| list.last()).map(|block| block.rank);
        Ok(cut.filter(|cut| cut.iter().map(|block| block.rank).eq(tops())))
    }

    /// The just added blocks of these chains at these heights.
    fn recent_at(&self, wanted: &[(ChainId, u64)]) -> HashMap<ChainId, Candidate> {
        let is_wanted = |block: &HeaderRef<'_>| {
            let place = (block.chain(), block.height().get());
            wanted.contains(&place)
        };
        let blocks = self.recent.values().map(Header::view).filter(is_wanted);
        blocks.map(|block| (block.chain(), self.web.candidate(block))).collect()
    }

    /// Searches a little above the last height at which the ancestors of the heaviest blocks agree, if so
    /// few blocks agree that the bounds are of no use.
    fn search_above_parting(&mut self, last: u64) -> Result<(), QueryError> {
        let mut highest = last;
        for chain in &self.field.chains {
            let tip = self.web.below_tip(*chain, None)?;
            highest = tip.map_or(0, |tip| tip.rank.height.get()).min(highest);
        }
        let (mut low, mut high) = (self.lowest_level(highest)?, highest);
        let Some(mut level) = self.level(low)? else { return Ok(()) };
        while low < high {
            let middle = high.saturating_sub(high.saturating_sub(low) / 2);
            match self.level(middle)? {
                Some(cut) => (level, low) = (cut, middle),
                None => high = middle.saturating_sub(1),
            }
        }
        if self.weight.is_none_or(|weight| weight < cut::weight(&level)) {
            self.take(level);
        }
        self.left = CHUNKS_MAX;
        self.explore(&[(low, low.saturating_add(ABOVE))], last)?;
        Ok(())
    }

    /// The lowest height of the graph at which every tip has an ancestor.
    fn lowest_level(&self, highest: u64) -> Result<u64, QueryError> {
        let (mut low, mut high) = (self.field.first, highest);
        while low < high {
            let middle = low.saturating_add(high.saturating_sub(low) / 2);
            let mut are_held = true;
            for chain in &self.field.chains {
                are_held &= self.web.below_tip(*chain, Some(middle))?.is_some();
            }
            if are_held {
                high = middle;
            } else {
                low = middle.saturating_add(1);
            }
        }
        Ok(low)
    }

    /// The ancestors of the tips at one height, if they agree.
    fn level(&self, height: u64) -> Result<Option<Vec<Candidate>>, QueryError> {
        let mut level = Vec::with_capacity(self.field.chains.len());
        for chain in &self.field.chains {
            let Some(block) = self.web.below_tip(*chain, Some(height))? else { return Ok(None) };
            level.push(vec![block]);
        }
        Ok(cut::heaviest(&level, self.field.spread))
    }
}
