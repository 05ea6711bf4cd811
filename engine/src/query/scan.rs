use super::branch::{Found, nothing};
use super::records::Sink;
use super::{BranchQuery, Cursor, QueryError, RangeQuery, Records, View};
use crate::store::From;
use crate::types::{BlockHeight, ChainId};

/// A whole result, taken in chunks.
///
/// Between two chunks it holds no view and no buffer, so a reader that stops costs nothing. Blocks
/// are never removed, so every chunk is true; a branch is that of the moment it was asked for, a
/// range may end with blocks that came later.
#[derive(Debug)]
pub struct Scan {
    chain: ChainId,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    Range { from: From, max: BlockHeight },
    Branch(Box<Branch>),
    End,
}

#[derive(Debug)]
struct Branch {
    query: BranchQuery,
    /// The bounds, and of which state of the forest they are.
    found: (u64, Found),
}

impl View {
    /// All that [`View::range_headers`] would page through from the cursor on.
    ///
    /// # Errors
    ///
    /// As for [`View::range_headers`].
    pub fn range_scan(&self, chain: ChainId, query: &RangeQuery) -> Result<Scan, QueryError> {
        let Some(blocks) = self.blocks(chain) else {
            let page = self.range_headers(chain, query);
            return page.map(|_| Scan { chain, rest: Rest::End });
        };
        let max = query.heights.max();
        let from = blocks.range_start(query)?;
        Ok(Scan { chain, rest: from.map_or(Rest::End, |from| Rest::Range { from, max }) })
    }

    /// All that [`View::branch_headers`] would page through from the cursor on.
    ///
    /// # Errors
    ///
    /// As for [`View::branch_headers`].
    pub fn branch_scan(&self, chain: ChainId, query: &BranchQuery) -> Result<Scan, QueryError> {
        let Some(blocks) = self.blocks(chain) else {
            return nothing(query).map(|_| Scan { chain, rest: Rest::End });
        };
        let found = (blocks.forest().generation(), blocks.bounds(query)?);
        let first = blocks.branch(&found.1, query, query.cursor, 0)?.next;
        let query = BranchQuery { cursor: first, ..query.clone() };
        let branch = first.map(|_| Rest::Branch(Box::new(Branch { query, found })));
        Ok(Scan { chain, rest: branch.unwrap_or(Rest::End) })
    }
}

impl Scan {
    /// The next headers, at most `headers_max` and at least one; `None` at the end. After an error
    /// the scan is where it was.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`] and [`QueryError::Cold`].
    pub fn next(&mut self, view: &View, headers_max: usize) -> Result<Option<Records>, QueryError> {
        let Some(blocks) = view.blocks(self.chain) else { return Ok(None) };
        let headers_max = headers_max.max(1);
        let records = match &mut self.rest {
            Rest::End => return Ok(None),
            Rest::Range { from, max } => {
                let mut out = Sink::new(headers_max);
                blocks.ascend(*from, *max, &mut out)?;
                let (records, _) = out.finish();
                match records.last() {
                    Some(last) => *from = From::After(last.rank()),
                    None => self.rest = Rest::End,
                }
                records
            }
            Rest::Branch(branch) => {
                let generation = blocks.forest().generation();
                if branch.found.0 != generation {
                    branch.found = (generation, blocks.bounds(&branch.query)?);
                }
                let (query, found) = (&mut branch.query, &branch.found.1);
                let page = blocks.branch(found, query, query.cursor, headers_max)?;
                query.cursor = page.next;
                if page.next.is_none() {
                    self.rest = Rest::End;
                }
                page.items
            }
        };
        Ok(Some(records).filter(|records| !records.is_empty()))
    }

    /// Where the rest begins, for a result that is cut off here; `None` at the end, and before the
    /// first chunk of a range without a cursor.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        match &self.rest {
            Rest::Range { from: From::Rank(rank), .. } => Some(Cursor::Inclusive(rank.hash)),
            Rest::Range { from: From::After(rank), .. } => Some(Cursor::Exclusive(rank.hash)),
            Rest::Branch(branch) => branch.query.cursor,
            Rest::Range { from: From::Height(_), .. } | Rest::End => None,
        }
    }
}
