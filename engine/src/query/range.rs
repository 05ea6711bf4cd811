use std::ops::ControlFlow;

use super::{Cursor, Page, QueryError, RangeQuery, Records, View};
use crate::header::{HeaderRef, LEN};
use crate::store::From;
use crate::types::{BlockHash, ChainId, Rank};

impl View<'_> {
    /// A page of the headers of `chain`.
    ///
    /// # Shape
    ///
    /// Strictly ascending [`Rank`]: heights as asked, orphans too; at most `query.limit` headers.
    /// The next cursor is `Inclusive` if there are more, `Exclusive` at the end, and `None` behind
    /// an empty page. A cursor outside the heights makes an empty page.
    ///
    /// # Cost
    ///
    /// One seek, then one step a header.
    ///
    /// # Errors
    ///
    /// [`QueryError::UnknownHash`] if the cursor is not a block of the chain.
    ///
    /// # Source
    ///
    /// [`GET /chain/{chain}/header`](https://github.com/kadena-io/chainweb-openapi)
    pub fn range_headers(
        &self,
        chain: ChainId,
        query: &RangeQuery,
    ) -> Result<Page<Records>, QueryError> {
        let mut bytes = Vec::with_capacity(query.limit.min(360) * LEN);
        let next = self.range(chain, query, |header| bytes.extend_from_slice(header.as_bytes()))?;
        Ok(Page { items: Records::new(bytes), next })
    }

    /// A page of the hashes of `chain`: [`View::range_headers`] without the headers.
    ///
    /// # Errors
    ///
    /// As for [`View::range_headers`].
    pub fn range_hashes(
        &self,
        chain: ChainId,
        query: &RangeQuery,
    ) -> Result<Page<Vec<BlockHash>>, QueryError> {
        let mut items = Vec::new();
        let next = self.range(chain, query, |header| items.push(header.hash()))?;
        Ok(Page { items, next })
    }

    fn range(
        &self,
        chain: ChainId,
        query: &RangeQuery,
        mut item: impl FnMut(HeaderRef<'_>),
    ) -> Result<Option<Cursor>, QueryError> {
        let Some(from) = self.range_start(chain, query)? else { return Ok(None) };
        let mut left = query.limit;
        let mut next = None;
        self.snapshot.ascend(chain, from, query.heights.max(), |header| {
            if left == 0 {
                next = Some(Cursor::Inclusive(header.hash()));
                return ControlFlow::Break(());
            }
            left -= 1;
            next = Some(Cursor::Exclusive(header.hash()));
            item(header);
            ControlFlow::Continue(())
        })?;
        Ok(next)
    }

    /// Where the result begins; `None` if its cursor is outside of it.
    pub(super) fn range_start(
        &self,
        chain: ChainId,
        query: &RangeQuery,
    ) -> Result<Option<From>, QueryError> {
        let Some(cursor) = query.cursor else {
            return Ok(Some(From::Height(query.heights.min())));
        };
        let hash = cursor.hash();
        let rank: Rank = self.rank(chain, &hash)?.ok_or(QueryError::UnknownHash(hash))?;
        Ok(query.heights.contain(rank.height).then_some(match cursor {
            Cursor::Inclusive(_) => From::Rank(rank),
            Cursor::Exclusive(_) => From::After(rank),
        }))
    }
}
