use bytes::Bytes;

use super::blocks::Blocks;
use super::records::Sink;
use super::{BranchQuery, Cursor, Page, QueryError, Records, UnknownLower, View};
use crate::header::{HeaderRef, LEN};
use crate::tree::{Ancestors, Part, Place};
use crate::types::{BlockHash, ChainId, Rank};

impl View {
    /// A page of the headers of branches of `chain`: blocks that are an ancestor of (or equal to)
    /// some upper bound and not an ancestor of (or equal to) any lower bound.
    ///
    /// # Shape
    ///
    /// Descending height, ties by ascending hash; at most `query.limit` headers. The next cursor
    /// is `Inclusive`, and `None` at the end. A cursor that is not in the result makes an empty
    /// page.
    ///
    /// # Cost
    ///
    /// That of [`Ancestors`]: independent of the length of the chain and of how deep the page
    /// lies. Where the result is one line, which it nearly always is, the page is slices of runs.
    ///
    /// # Errors
    ///
    /// [`QueryError::UnknownHash`] if a bound or the cursor is not a block of the chain; for lower
    /// bounds only if `query.unknown_lower` says so.
    ///
    /// # Source
    ///
    /// [`POST /chain/{chain}/header/branch`](https://github.com/kadena-io/chainweb-openapi)
    pub fn branch_headers(
        &self,
        chain: ChainId,
        query: &BranchQuery,
    ) -> Result<Page<Records>, QueryError> {
        let Some(blocks) = self.blocks(chain) else { return nothing(query) };
        let bounds = blocks.bounds(query)?;
        blocks.branch(&bounds, query, query.cursor, query.limit)
    }

    /// A page of the hashes of branches of `chain`: [`View::branch_headers`] without the headers.
    ///
    /// # Errors
    ///
    /// As for [`View::branch_headers`].
    pub fn branch_hashes(
        &self,
        chain: ChainId,
        query: &BranchQuery,
    ) -> Result<Page<Vec<BlockHash>>, QueryError> {
        let page = self.branch_headers(chain, query)?;
        Ok(Page { items: page.items.iter().map(HeaderRef::hash).collect(), next: page.next })
    }
}

/// The answer of a chain that the network does not have: no block is known.
pub(super) fn nothing(query: &BranchQuery) -> Result<Page<Records>, QueryError> {
    let cursor = query.cursor.map(Cursor::hash);
    let lower = query.bounds.lower.iter().copied();
    let lower = lower.filter(|_| query.unknown_lower == UnknownLower::Refuse);
    match query.bounds.upper.iter().copied().chain(lower).chain(cursor).next() {
        Some(hash) => Err(QueryError::UnknownHash(hash)),
        None => Ok(Page { items: Records::default(), next: None }),
    }
}

/// The bounds of a query, found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    upper: Vec<Place>,
    lower: Vec<Place>,
}

impl Blocks<'_> {
    /// Finds the bounds of a query.
    ///
    /// # Errors
    ///
    /// As for [`View::branch_headers`].
    pub(super) fn bounds(&self, query: &BranchQuery) -> Result<Found, QueryError> {
        let (hashes, refuse) = (&query.bounds, UnknownLower::Refuse);
        Ok(Found {
            upper: self.found(&hashes.upper, true)?,
            lower: self.found(&hashes.lower, query.unknown_lower == refuse)?,
        })
    }

    fn found(&self, hashes: &[BlockHash], refuse: bool) -> Result<Vec<Place>, QueryError> {
        let places = self.places(hashes)?;
        if refuse && let Some((hash, _)) = hashes.iter().zip(&places).find(|(_, at)| at.is_none()) {
            return Err(QueryError::UnknownHash(*hash));
        }
        Ok(places.into_iter().flatten().collect())
    }

    /// The page at `cursor`.
    ///
    /// # Errors
    ///
    /// As for [`View::branch_headers`].
    pub(super) fn branch(
        &self,
        bounds: &Found,
        query: &BranchQuery,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Records>, QueryError> {
        let (min, max) = (query.heights.min(), query.heights.max());
        let mut ancestors = Ancestors::new(self.forest(), &bounds.upper, &bounds.lower, min, max);
        let mut from = None;
        if let Some(cursor) = cursor {
            let hash = cursor.hash();
            let place = self.place(&hash)?.ok_or(QueryError::UnknownHash(hash))?;
            ancestors.skip_to(self.forest(), place);
            from = Some((Rank { height: self.forest().height(place), hash }, cursor));
        }
        let mut out = Sink::new(limit);
        let parts = self.parts(&mut ancestors, out.left(), from.is_some());
        let mut nodes = self.nodes(&parts)?;
        for part in parts {
            match part {
                Part::Line { top, bottom } => match from.take() {
                    Some((_, Cursor::Exclusive(_))) => {
                        let below = self.forest().parent(top);
                        let below = below.filter(|at| self.forest().height(*at) >= bottom);
                        if let Some(below) = below {
                            self.push_line(below, bottom, &mut out)?;
                        }
                    }
                    _ => self.push_line(top, bottom, &mut out)?,
                },
                Part::Level(places) => {
                    self.push_level(&places, from.take(), &mut nodes, &mut out)?;
                }
            }
        }
        let (items, next) = out.finish();
        let next = next.as_deref().and_then(|record| HeaderRef::parse(record).ok());
        Ok(Page { items, next: next.map(|header| Cursor::Inclusive(header.hash())) })
    }

    /// The next parts, of at least `count` blocks if there are so many. Where there is a cursor, it
    /// and its siblings before it may be dropped again, so they do not count.
    fn parts(&self, ancestors: &mut Ancestors, count: usize, at_cursor: bool) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut left = (count as u64).saturating_add(at_cursor.into());
        while left > 0
            && let Some(part) = ancestors.next(self.forest(), left)
        {
            left = left.saturating_sub(match &part {
                Part::Line { top, bottom } => {
                    self.forest().height(*top).get().saturating_sub(bottom.get()).saturating_add(1)
                }
                Part::Level(_) if at_cursor && parts.is_empty() => 0,
                Part::Level(places) => places.len() as u64,
            });
            parts.push(part);
        }
        parts
    }

    /// The records of all nodes of levels, in their order.
    fn nodes(&self, parts: &[Part]) -> Result<Bytes, QueryError> {
        let levels = parts.iter().filter_map(|part| match part {
            Part::Level(places) => Some(places),
            Part::Line { .. } => None,
        });
        let nodes = levels.flatten().filter_map(|place| match place {
            Place::Node(id) => Some(self.forest().rank(*id)),
            Place::Trunk(_) => None,
        });
        let ranks: Vec<Rank> = nodes.collect();
        let mut records = Vec::new();
        if !ranks.is_empty() {
            self.snapshot().headers(self.chain(), &ranks, &mut records)?;
        }
        Ok(records.into())
    }

    /// Appends the blocks of one height by ascending hash, from a cursor on if there is one.
    fn push_level(
        &self,
        places: &[Place],
        from: Option<(Rank, Cursor)>,
        nodes: &mut Bytes,
        out: &mut Sink,
    ) -> Result<(), QueryError> {
        let mut level = Vec::with_capacity(places.len());
        for place in places {
            let record = match place {
                Place::Trunk(height) => self.sealed(*height)?,
                Place::Node(_) => nodes.split_to(LEN.min(nodes.len())),
            };
            let hash = HeaderRef::parse(&record).ok().map(HeaderRef::hash);
            level.push((hash, record));
        }
        level.sort_unstable_by_key(|(hash, _)| *hash);
        for (hash, record) in level {
            let is_before = from.is_some_and(|(rank, cursor)| match cursor {
                Cursor::Inclusive(_) => hash < Some(rank.hash),
                Cursor::Exclusive(_) => hash <= Some(rank.hash),
            });
            if !is_before {
                out.push_copy(&record);
            }
        }
        Ok(())
    }
}
