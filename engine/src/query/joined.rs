use super::position::Top;
use super::records::Sink;
use super::{Past, Position, QueryError, Records, View};
use crate::header::{Header, HeaderRef};
use crate::store::StoreError;
use crate::tree::{Ancestors, Part, Place};
use crate::types::{BlockHeight, ChainId, Rank};

/// The blocks that join on the way from one [`Past`] to another: those of the second that are not of
/// the first, taken in chunks.
///
/// # Shape
///
/// Ascending height, ties by ascending chain; every block behind its parent, and behind its adjacent
/// parents as far as these join too. Both pasts are those that the first view shows: what comes
/// later below their blocks, which only a partial history can, does not join.
///
/// # Cost
///
/// To start, one bisection for each chain. Between two chunks it holds neither view nor buffer, so
/// millions of blocks are as good as few. Blocks are never removed, so every chunk is true.
#[derive(Clone, Debug)]
pub struct Joined {
    /// By ascending chain.
    lines: Vec<Line>,
    /// Nothing below this height is left; `None` at the end.
    next: Option<BlockHeight>,
    start: Past,
}

/// The blocks of a chain that join.
#[derive(Clone, Copy, Debug)]
struct Line {
    chain: ChainId,
    first: BlockHeight,
    top: Rank,
    /// Where the highest is, in which state of the forest.
    found: (u64, Place),
}

/// A block of a [`Position`] that is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnknownTop {
    top: Top,
    /// Whether another block of the chain is already sealed at its height. If not, this one may
    /// still arrive in a sealed run.
    is_passed: bool,
}

impl UnknownTop {
    /// The chain of the block.
    #[must_use]
    pub const fn chain(&self) -> ChainId {
        self.top.chain
    }

    /// The height of the block.
    #[must_use]
    pub const fn height(&self) -> BlockHeight {
        self.top.height
    }
}

impl View {
    /// The past of the [cut](View::cut).
    ///
    /// # Errors
    ///
    /// As for [`View::cut`].
    pub fn past(&self) -> Result<Past, QueryError> {
        Ok(Past::from(&self.cut(None)?))
    }

    /// The past that a position was made of, be the blocks orphans by now or not.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`] and [`QueryError::Cold`]. The inner error if a block is not stored,
    /// for the lowest chain with such a block. If several hashes have the same prefix, which is not
    /// expected, the block counts as not stored.
    pub fn past_at(&self, position: &Position) -> Result<Result<Past, UnknownTop>, QueryError> {
        let mut past = Past::default();
        for top in position.tops() {
            let (chain, height) = (top.chain, top.height);
            let found = self.ranks_at(chain, height)?;
            let alike = |rank: &&Rank| rank.hash.as_bytes().starts_with(&top.prefix);
            let mut found = found.iter().filter(alike);
            let (Some(rank), None) = (found.next(), found.next()) else {
                let is_passed = self.is_sealed_at(chain, height);
                return Ok(Err(UnknownTop { top: *top, is_passed }));
            };
            past.set(chain, *rank);
        }
        Ok(Ok(past))
    }

    /// Whether [`View::past_at`] may find a block that it did not find in an earlier view. It does
    /// not read the database, so the server can call it for many blocks on every new view. `true`
    /// may be wrong. `false` is wrong only if, in between, the run at that height was un-sealed and
    /// another one sealed.
    #[must_use]
    pub fn may_hold(&self, unknown: &UnknownTop) -> bool {
        let Top { chain, height, prefix } = unknown.top;
        let Some(forest) = self.tree().forest(chain) else { return false };
        let mut loose = forest.nodes_from(height).map(|id| forest.rank(id));
        let is_it = |rank: Rank| rank.hash.as_bytes().starts_with(&prefix);
        loose.by_ref().take_while(|rank| rank.height == height).any(is_it)
            || (!unknown.is_passed && self.is_sealed_at(chain, height))
    }

    fn is_sealed_at(&self, chain: ChainId, height: BlockHeight) -> bool {
        self.trunk(chain).is_some_and(|trunk| trunk.contains(height))
    }

    /// The blocks of `chain` at `height`, in no order.
    fn ranks_at(&self, chain: ChainId, height: BlockHeight) -> Result<Vec<Rank>, QueryError> {
        let Some(blocks) = self.blocks(chain) else { return Ok(Vec::new()) };
        let forest = blocks.forest();
        let nodes = forest.nodes_from(height).map(|id| forest.rank(id));
        let mut ranks: Vec<Rank> = nodes.take_while(|rank| rank.height == height).collect();
        if self.is_sealed_at(chain, height) {
            ranks.push(blocks.rank(Place::Trunk(height))?);
        }
        Ok(ranks)
    }

    /// The blocks that join on the way from one past to another. Blocks of both must be held.
    ///
    /// # Errors
    ///
    /// [`QueryError::UnknownHash`] if one is not held, [`QueryError::Store`] and
    /// [`QueryError::Cold`].
    pub fn joined(&self, from: &Past, to: &Past) -> Result<Joined, QueryError> {
        let mut joined = Joined { lines: Vec::new(), next: None, start: Past::default() };
        for (chain, top) in to.tops() {
            let unknown = QueryError::UnknownHash(top.hash);
            let Some(blocks) = self.blocks(chain) else { return Err(unknown) };
            let forest = blocks.forest();
            let Some(place) = blocks.place(&top.hash)? else { return Err(unknown) };
            let mut first = BlockHeight::default();
            if let Some(old) = from.top(chain) {
                let unknown = QueryError::UnknownHash(old.hash);
                let Some(old) = blocks.place(&old.hash)? else { return Err(unknown) };
                let meet = forest.meet(place, old);
                if let Some(stays) = meet.and_then(|height| forest.ancestor(old, height)) {
                    joined.start.set(chain, blocks.rank(stays)?);
                    first = BlockHeight::new(forest.height(stays).get().saturating_add(1));
                    if stays == place {
                        continue;
                    }
                }
            }
            let first = first.max(forest.bottom(place));
            joined.lines.push(Line { chain, first, top, found: (forest.generation(), place) });
        }
        joined.next = joined.lines.iter().map(|line| line.first).min();
        Ok(joined)
    }
}

impl Joined {
    /// What stays: the past before the first block joins. Each block that joins then is the highest
    /// of its chain, and after the last one it is the past that was asked for.
    #[must_use]
    pub const fn start(&self) -> &Past {
        &self.start
    }

    /// The number of blocks that are left.
    #[must_use]
    pub fn len(&self) -> u64 {
        let Some(next) = self.next else { return 0 };
        let left = |line: &Line| {
            let blocks = line.top.height.get().checked_sub(line.first.max(next).get());
            blocks.map_or(0, |above| above.saturating_add(1))
        };
        self.lines.iter().map(left).fold(0, u64::saturating_add)
    }

    /// Whether no block is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.next.is_none()
    }

    /// The next blocks: about `blocks_max`, and at least all of one height; `None` at the end. After
    /// an error it is where it was.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`] and [`QueryError::Cold`].
    pub fn next(&mut self, view: &View, blocks_max: usize) -> Result<Option<Records>, QueryError> {
        let Some(from) = self.next else { return Ok(None) };
        let heights = blocks_max.checked_div(self.lines.len()).unwrap_or(blocks_max).max(1) as u64;
        let last = BlockHeight::new(from.get().saturating_add(heights.saturating_sub(1)));
        let mut parts = Vec::with_capacity(self.lines.len());
        for line in &mut self.lines {
            let (low, high) = (line.first.max(from), line.top.height.min(last));
            if low <= high {
                parts.push((low, line.read(view, low, high)?));
            }
        }
        let mut out = Sink::new(parts.iter().map(|(_, headers)| headers.len()).sum());
        for height in from.get()..=last.get() {
            for (low, headers) in &parts {
                let at = height.checked_sub(low.get()).and_then(|at| usize::try_from(at).ok());
                if let Some(header) = at.and_then(|at| headers.get(at)) {
                    out.push_copy(header.view().as_bytes());
                }
            }
        }
        self.next = last.child().and_then(|next| {
            let left = self.lines.iter().filter(|line| line.top.height >= next);
            left.map(|line| line.first.max(next)).min()
        });
        Ok(Some(out.finish().0))
    }
}

impl Line {
    /// The blocks from height `low` to `high`, ascending.
    fn read(
        &mut self,
        view: &View,
        low: BlockHeight,
        high: BlockHeight,
    ) -> Result<Vec<Header>, QueryError> {
        let (chain, hash) = (self.chain, self.top.hash);
        let blocks = view.blocks(chain).ok_or(QueryError::UnknownHash(hash))?;
        let forest = blocks.forest();
        if self.found.0 != forest.generation() {
            let place = blocks.place(&hash)?.ok_or(QueryError::UnknownHash(hash))?;
            self.found = (forest.generation(), place);
        }
        let count = high.get().saturating_sub(low.get()).saturating_add(1);
        let mut out = Sink::new(usize::try_from(count).unwrap_or(usize::MAX));
        let mut line = Ancestors::new(forest, &[self.found.1], &[], low, high);
        while let Some(Part::Line { top, bottom }) = line.next(forest, count) {
            blocks.push_line(top, bottom, &mut out)?;
        }
        let mut headers: Vec<Header> = out.finish().0.iter().map(HeaderRef::to_owned).collect();
        headers.reverse();
        let fits = |(height, header): (u64, &Header)| {
            header.view().height().get() == height && header.view().chain() == chain
        };
        if headers.len() as u64 != count || !(low.get()..).zip(&headers).all(fits) {
            return Err(StoreError::gap(chain, low).into());
        }
        Ok(headers)
    }
}
