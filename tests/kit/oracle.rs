//! The slow oracle: what queries mean, over sets, without an idea of how the engine answers them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use plait_engine::{
    BlockHash, BranchQuery, Cursor, Header, Heights, Page, RangeQuery, UnknownLower,
};

/// The blocks of one chain.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// Height and parent of each block.
    blocks: BTreeMap<BlockHash, (u64, BlockHash)>,
}

/// The hashes of a query that the chain does not have; at least one.
pub type Unknown = BTreeSet<BlockHash>;

impl Oracle {
    /// The chain that has these blocks.
    pub fn new<'a>(blocks: impl IntoIterator<Item = &'a Header>) -> Self {
        let views = blocks.into_iter().map(Header::view);
        let entry = |block: plait_engine::HeaderRef<'_>| {
            (block.hash(), (block.height().get(), block.parent()))
        };
        Self { blocks: views.map(entry).collect() }
    }

    /// Everything that `query` asks for, whatever its cursor and its limit.
    ///
    /// # Errors
    ///
    /// The hashes of its bounds and its cursor that the chain does not have.
    pub fn branch(&self, query: &BranchQuery) -> Result<Vec<BlockHash>, Unknown> {
        let lower_counts = query.unknown_lower == UnknownLower::Refuse;
        let lower = query.bounds.lower.iter().filter(|_| lower_counts);
        let cursor = query.cursor.map(Cursor::hash);
        self.all_known(query.bounds.upper.iter().chain(lower).chain(&cursor))?;
        let above = self.with_ancestors(&query.bounds.upper);
        let below = self.with_ancestors(&query.bounds.lower);
        let mut result: Vec<(Reverse<u64>, BlockHash)> = above
            .difference(&below)
            .map(|hash| (Reverse(self.blocks[hash].0), *hash))
            .filter(|(height, _)| within(query.heights, height.0))
            .collect();
        result.sort_unstable();
        Ok(result.into_iter().map(|(_, hash)| hash).collect())
    }

    /// The page that `query` asks for.
    ///
    /// # Errors
    ///
    /// As for [`Oracle::branch`].
    pub fn branch_page(&self, query: &BranchQuery) -> Result<Page<Vec<BlockHash>>, Unknown> {
        let rest = rest(&self.branch(query)?, query.cursor);
        let items: Vec<_> = rest.iter().copied().take(query.limit).collect();
        let next = rest.get(items.len()).map(|hash| Cursor::Inclusive(*hash));
        Ok(Page { items, next })
    }

    /// Everything that `query` asks for, whatever its cursor and its limit.
    ///
    /// # Errors
    ///
    /// The hash of its cursor, if the chain does not have it.
    pub fn range(&self, query: &RangeQuery) -> Result<Vec<BlockHash>, Unknown> {
        self.all_known(query.cursor.map(Cursor::hash).iter())?;
        let mut result: Vec<(u64, BlockHash)> =
            self.blocks.iter().map(|(hash, (height, _))| (*height, *hash)).collect();
        result.retain(|(height, _)| within(query.heights, *height));
        result.sort_unstable();
        Ok(result.into_iter().map(|(_, hash)| hash).collect())
    }

    /// The page that `query` asks for.
    ///
    /// # Errors
    ///
    /// As for [`Oracle::range`].
    pub fn range_page(&self, query: &RangeQuery) -> Result<Page<Vec<BlockHash>>, Unknown> {
        let result = self.range(query)?;
        let rest = match query.cursor {
            Some(Cursor::Exclusive(hash)) if self.leads_into(hash, &result) => result,
            cursor => rest(&result, cursor),
        };
        let items: Vec<_> = rest.iter().copied().take(query.limit).collect();
        let next = match (rest.get(items.len()), items.last()) {
            (Some(more), _) => Some(Cursor::Inclusive(*more)),
            (None, Some(last)) => Some(Cursor::Exclusive(*last)),
            (None, None) => None,
        };
        Ok(Page { items, next })
    }

    /// Whether the next block by height and hash is the first of the result.
    fn leads_into(&self, hash: BlockHash, result: &[BlockHash]) -> bool {
        let mut all: Vec<(u64, BlockHash)> =
            self.blocks.iter().map(|(hash, (height, _))| (*height, *hash)).collect();
        all.sort_unstable();
        let at = all.iter().position(|(_, block)| *block == hash);
        let behind = at.and_then(|at| all.get(at + 1)).map(|(_, block)| block);
        behind.is_some() && behind == result.first()
    }

    fn all_known<'a>(&self, hashes: impl Iterator<Item = &'a BlockHash>) -> Result<(), Unknown> {
        let unknown: Unknown =
            hashes.filter(|hash| !self.blocks.contains_key(hash)).copied().collect();
        if unknown.is_empty() { Ok(()) } else { Err(unknown) }
    }

    /// The known ones of `hashes` and all their ancestors.
    fn with_ancestors(&self, hashes: &[BlockHash]) -> BTreeSet<BlockHash> {
        let mut found = BTreeSet::new();
        for hash in hashes {
            let mut at = *hash;
            while let Some((_, parent)) = self.blocks.get(&at) {
                found.insert(at);
                at = *parent;
            }
        }
        found
    }
}

fn within(heights: Heights, height: u64) -> bool {
    let above = heights.min.is_none_or(|min| min.get() <= height);
    let below = heights.max.is_none_or(|max| height <= max.get());
    above && below
}

/// What `result` has from its cursor on: nothing, if the cursor is not in it.
fn rest(result: &[BlockHash], cursor: Option<Cursor>) -> Vec<BlockHash> {
    let from = |hash| result.iter().position(|block| *block == hash);
    let skipped = match cursor {
        None => Some(0),
        Some(Cursor::Inclusive(hash)) => from(hash),
        Some(Cursor::Exclusive(hash)) => from(hash).map(|at| at + 1),
    };
    skipped.map(|skipped| result[skipped..].to_vec()).unwrap_or_default()
}
