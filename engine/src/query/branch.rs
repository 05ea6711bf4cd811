use std::sync::Arc;

use super::{BranchQuery, Cursor, Page, QueryError, Records, UnknownLower, View};
use crate::tree::{Ancestors, Forest, NodeId};
use crate::types::{BlockHash, ChainId, Rank};

impl View<'_> {
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
    /// lies.
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
        let page = self.branch(chain, query)?;
        let mut bytes = Vec::new();
        self.snapshot.headers(chain, &page.items, &mut bytes)?;
        Ok(Page { items: Records::new(bytes), next: page.next })
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
        let page = self.branch(chain, query)?;
        Ok(Page { items: page.items.iter().map(|rank| rank.hash).collect(), next: page.next })
    }

    fn branch(&self, chain: ChainId, query: &BranchQuery) -> Result<Page<Vec<Rank>>, QueryError> {
        let mut ancestors = self.ancestors(chain, query)?;
        let items = ancestors.by_ref().take(query.limit).collect();
        let next = ancestors.peek().map(|rank| Cursor::Inclusive(rank.hash));
        Ok(Page { items, next })
    }

    /// The result from its cursor on.
    pub(super) fn ancestors(
        &self,
        chain: ChainId,
        query: &BranchQuery,
    ) -> Result<Ancestors, QueryError> {
        let forest = self.tree.forest(chain).cloned().unwrap_or_default();
        let find = |hash: &BlockHash| forest.find(hash).ok_or(QueryError::UnknownHash(*hash));
        let upper: Vec<NodeId> = query.bounds.upper.iter().map(find).collect::<Result<_, _>>()?;
        let lower = lower_bounds(&forest, query)?;
        let cursor = query.cursor.map(|cursor| find(&cursor.hash())).transpose()?;
        let cursor = cursor.map(|id| forest.rank(id));
        let (min, max) = (query.heights.min(), query.heights.max());
        let mut ancestors = Ancestors::new(Arc::clone(&forest), &upper, &lower, min, max);
        if let Some(rank) = cursor {
            ancestors.skip_to(rank);
            if matches!(query.cursor, Some(Cursor::Exclusive(_))) {
                ancestors.next();
            }
        }
        Ok(ancestors)
    }
}

fn lower_bounds(forest: &Forest, query: &BranchQuery) -> Result<Vec<NodeId>, QueryError> {
    let mut lower = Vec::with_capacity(query.bounds.lower.len());
    for hash in &query.bounds.lower {
        match (forest.find(hash), query.unknown_lower) {
            (Some(id), _) => lower.push(id),
            (None, UnknownLower::Ignore) => {}
            (None, UnknownLower::Refuse) => return Err(QueryError::UnknownHash(*hash)),
        }
    }
    Ok(lower)
}
