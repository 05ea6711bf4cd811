use super::blocks::Blocks;
use super::records::Sink;
use super::{Cursor, Page, QueryError, RangeQuery, Records, View};
use crate::header::HeaderRef;
use crate::store::From;
use crate::types::{BlockHash, ChainId, Rank};

impl View {
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
    /// Of what is sealed slices of runs, and one lookup for each orphan; elsewhere one seek, then
    /// one step a header.
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
        let nothing = Page { items: Records::default(), next: None };
        let Some(blocks) = self.blocks(chain) else {
            return query
                .cursor
                .map_or(Ok(nothing), |cursor| Err(QueryError::UnknownHash(cursor.hash())));
        };
        let Some(from) = blocks.range_start(query)? else { return Ok(nothing) };
        let mut out = Sink::new(query.limit);
        blocks.ascend(from, query.heights.max(), &mut out)?;
        let (items, next) = out.finish();
        let next = next.as_deref().and_then(|record| HeaderRef::parse(record).ok());
        let next = next.map(|header| Cursor::Inclusive(header.hash()));
        let end = || items.last().map(|header| Cursor::Exclusive(header.hash()));
        Ok(Page { next: next.or_else(end), items })
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
        let page = self.range_headers(chain, query)?;
        Ok(Page { items: page.items.iter().map(HeaderRef::hash).collect(), next: page.next })
    }
}

impl Blocks<'_> {
    /// Where the result begins; `None` if its cursor is outside of it.
    pub(super) fn range_start(&self, query: &RangeQuery) -> Result<Option<From>, QueryError> {
        let Some(cursor) = query.cursor else {
            return Ok(Some(From::Height(query.heights.min())));
        };
        let hash = cursor.hash();
        let place = self.place(&hash)?.ok_or(QueryError::UnknownHash(hash))?;
        let rank = Rank { height: self.forest().height(place), hash };
        Ok(query.heights.contain(rank.height).then_some(match cursor {
            Cursor::Inclusive(_) => From::Rank(rank),
            Cursor::Exclusive(_) => From::After(rank),
        }))
    }
}
