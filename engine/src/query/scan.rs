use std::ops::ControlFlow;

use super::{BranchQuery, Cursor, QueryError, RangeQuery, Records, View};
use crate::header::LEN;
use crate::store::From;
use crate::tree::Ancestors;
use crate::types::{BlockHeight, ChainId, Rank};

/// A whole result, taken in chunks.
///
/// Between two chunks it holds no snapshot and no buffer, so a reader that stops costs nothing.
/// Blocks are never removed, so every chunk is true; a branch is that of the moment it was asked
/// for, a range may end with blocks that came later.
#[derive(Debug)]
pub struct Scan {
    chain: ChainId,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    Range { from: From, max: BlockHeight, last: Option<Rank> },
    Branch(Box<Ancestors>),
    End,
}

impl View<'_> {
    /// All that [`View::range_headers`] would page through from the cursor on.
    ///
    /// # Errors
    ///
    /// As for [`View::range_headers`].
    pub fn range_scan(&self, chain: ChainId, query: &RangeQuery) -> Result<Scan, QueryError> {
        let from = self.range_start(chain, query)?;
        let rest = from.map_or(Rest::End, |from| {
            let last = match from {
                From::After(rank) => Some(rank),
                From::Height(_) | From::Rank(_) => None,
            };
            Rest::Range { from, max: query.heights.max(), last }
        });
        Ok(Scan { chain, rest })
    }

    /// All that [`View::branch_headers`] would page through from the cursor on.
    ///
    /// # Errors
    ///
    /// As for [`View::branch_headers`].
    pub fn branch_scan(&self, chain: ChainId, query: &BranchQuery) -> Result<Scan, QueryError> {
        let ancestors = self.ancestors(chain, query)?;
        Ok(Scan { chain, rest: Rest::Branch(Box::new(ancestors)) })
    }
}

impl Scan {
    /// The next headers, at most `headers_max` and at least one; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`].
    pub fn next(
        &mut self,
        view: &View<'_>,
        headers_max: usize,
    ) -> Result<Option<Records>, QueryError> {
        let headers_max = headers_max.max(1);
        let mut bytes = Vec::with_capacity(headers_max.min(4096) * LEN);
        match &mut self.rest {
            Rest::End => {}
            Rest::Range { from, max, last } => {
                view.snapshot.ascend(self.chain, *from, *max, |header| {
                    bytes.extend_from_slice(header.as_bytes());
                    *last = Some(header.rank());
                    let full = bytes.len() >= headers_max * LEN;
                    if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })?;
                *from = last.map_or(*from, From::After);
            }
            Rest::Branch(ancestors) => {
                let ranks: Vec<Rank> = ancestors.by_ref().take(headers_max).collect();
                view.snapshot.headers(self.chain, &ranks, &mut bytes)?;
            }
        }
        if bytes.is_empty() {
            self.rest = Rest::End;
            return Ok(None);
        }
        Ok(Some(Records::new(bytes)))
    }

    /// Where the rest begins, for a result that is cut off here; `None` at the end, and before the
    /// first chunk of a range without a cursor.
    pub fn cursor(&mut self) -> Option<Cursor> {
        match &mut self.rest {
            Rest::End => None,
            Rest::Range { last, from, .. } => match (last, from) {
                (Some(rank), _) => Some(Cursor::Exclusive(rank.hash)),
                (None, From::Rank(rank)) => Some(Cursor::Inclusive(rank.hash)),
                (None, From::Height(_) | From::After(_)) => None,
            },
            Rest::Branch(ancestors) => ancestors.peek().map(|rank| Cursor::Inclusive(rank.hash)),
        }
    }
}
