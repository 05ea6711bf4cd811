use super::blocks::Blocks;
use super::records::Sink;
use super::{Cursor, Page, QueryError, RangeQuery, Records, View};
use crate::header::HeaderRef;
use crate::store::From;
use crate::types::{BlockHash, BlockHeight, ChainId, Rank};

impl View {
    /// A page of the headers of `chain`.
    ///
    /// # Shape
    ///
    /// Strictly ascending [`Rank`]: heights as asked, orphans too; at most `query.limit` headers.
    /// The next cursor is `Inclusive` if there are more, `Exclusive` at the end, and `None` behind
    /// an empty page. A cursor outside the heights gives an empty page, except an exclusive one
    /// below the lowest height if the next block is at that height or above.
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
    ///
    /// After an exclusive cursor below the lowest height, the result continues only if the very
    /// next block is high enough. The reference does this too: it compares heights after it has
    /// stepped past the cursor.
    ///
    /// ```text
    /// blocks 3a 4a 4b 5a 6a, minheight 5    exclusive 4b: 5a 6a
    ///                                       exclusive 4a: nothing, since 4b is next
    ///                                       inclusive 4b: nothing
    /// ```
    pub(super) fn range_start(&self, query: &RangeQuery) -> Result<Option<From>, QueryError> {
        let Some(cursor) = query.cursor else {
            return Ok(Some(From::Height(query.heights.min())));
        };
        let hash = cursor.hash();
        let place = self.place(&hash)?.ok_or(QueryError::UnknownHash(hash))?;
        let rank = Rank { height: self.forest().height(place), hash };
        let from = match cursor {
            Cursor::Inclusive(_) => From::Rank(rank),
            Cursor::Exclusive(_) => From::After(rank),
        };
        let min = query.heights.min();
        let is_within = query.heights.contain(rank.height)
            || (matches!(from, From::After(_))
                && rank.height < min
                && self.is_next_from(from, min)?);
        Ok(is_within.then_some(from))
    }

    /// Whether the next block of an ascending scan is at `min` or above it.
    fn is_next_from(&self, from: From, min: BlockHeight) -> Result<bool, QueryError> {
        let mut out = Sink::new(1);
        self.ascend(from, BlockHeight::new(u64::MAX), &mut out)?;
        Ok(out.finish().0.last().is_some_and(|next| next.height() >= min))
    }
}
