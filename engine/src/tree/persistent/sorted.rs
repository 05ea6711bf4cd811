use std::sync::Arc;

use crate::tree::NodeId;
use crate::types::{BlockHash, BlockHeight, Rank};

/// The most nodes, or children, of one page.
const WIDTH: usize = 64;

/// No node has a lower rank.
const LOWEST: Rank = Rank { height: BlockHeight::new(0), hash: BlockHash::new([0; 32]) };

/// Nodes by ascending rank.
///
/// A tree of pages: for each child a page holds the number of nodes in it, and a rank that is at least as
/// high as theirs and lower than those of the next child. Ranks are stored elsewhere, so the caller passes a
/// function that reads them.
///
/// # Cost
///
/// Searching, inserting and removing: logarithmic. A change copies at most 64 elements of each level,
/// unless no clone holds them. Pages that removals left small are not merged; empty ones are dropped.
#[derive(Clone, Debug)]
pub(in crate::tree) struct Sorted {
    root: Part,
}

#[derive(Clone, Debug)]
struct Part {
    len: usize,
    /// No node of this part is above this rank; all nodes of the next part are.
    last: Rank,
    page: Arc<Page>,
}

#[derive(Clone, Debug)]
enum Page {
    Leaf(Vec<NodeId>),
    Inner(Vec<Part>),
}

impl Default for Sorted {
    fn default() -> Self {
        Self { root: Part::of(Page::Leaf(Vec::new()), LOWEST) }
    }
}

impl Sorted {
    pub(in crate::tree) const fn len(&self) -> usize {
        self.root.len
    }

    /// The number of nodes below `height`, which is the position of the first one at or above it.
    pub(in crate::tree) fn below(
        &self,
        height: BlockHeight,
        rank: impl Fn(NodeId) -> Rank,
    ) -> usize {
        let (mut page, mut below) = (&self.root.page, 0_usize);
        loop {
            match &**page {
                Page::Leaf(nodes) => {
                    let here = nodes.partition_point(|id| rank(*id).height < height);
                    return below.saturating_add(here);
                }
                Page::Inner(parts) => {
                    let at = parts.partition_point(|part| part.last.height < height);
                    let whole = parts.iter().take(at).map(|part| part.len);
                    below = below.saturating_add(whole.sum());
                    let Some(next) = parts.get(at) else { return below };
                    page = &next.page;
                }
            }
        }
    }

    /// The nodes from a position on, ascending.
    pub(in crate::tree) fn from(&self, mut position: usize) -> impl Iterator<Item = NodeId> {
        let leaves = std::iter::from_fn(move || {
            let leaf = self.leaf(position)?;
            position = position.saturating_add(leaf.len());
            Some(leaf)
        });
        leaves.flatten().copied()
    }

    /// The rest of a leaf, from a position on.
    fn leaf(&self, position: usize) -> Option<&[NodeId]> {
        let (mut page, mut rest) = (&self.root.page, position);
        loop {
            match &**page {
                Page::Leaf(nodes) => return nodes.get(rest..).filter(|nodes| !nodes.is_empty()),
                Page::Inner(parts) => {
                    let next = parts.iter().find(|part| match rest.checked_sub(part.len) {
                        Some(behind) => {
                            rest = behind;
                            false
                        }
                        None => true,
                    });
                    page = &next?.page;
                }
            }
        }
    }

    /// Adds a node of this rank, which no other node has.
    pub(in crate::tree) fn insert(&mut self, id: NodeId, new: Rank, rank: impl Fn(NodeId) -> Rank) {
        if let Some(behind) = self.root.insert(id, new, &rank) {
            let last = behind.last;
            let front = std::mem::replace(&mut self.root, Part::of(Page::Inner(vec![]), last));
            self.root = Part::of(Page::Inner(vec![front, behind]), last);
        }
    }

    /// Removes the node of this rank.
    pub(in crate::tree) fn remove(&mut self, gone: Rank, rank: impl Fn(NodeId) -> Rank) {
        self.root.remove(gone, &rank);
        // A root with a single child is an unnecessary step.
        while let Page::Inner(parts) = &*self.root.page
            && parts.len() < 2
        {
            self.root = match parts.first() {
                Some(only) => only.clone(),
                None => Part::of(Page::Leaf(Vec::new()), LOWEST),
            };
        }
    }
}

impl Part {
    fn of(page: Page, last: Rank) -> Self {
        let len = match &page {
            Page::Leaf(nodes) => nodes.len(),
            Page::Inner(parts) => parts.iter().map(|part| part.len).sum(),
        };
        Self { len, last, page: Arc::new(page) }
    }

    /// Adds a node. If the page gets too long, splits it and returns the upper half.
    fn insert(&mut self, id: NodeId, new: Rank, rank: &impl Fn(NodeId) -> Rank) -> Option<Self> {
        self.len = self.len.saturating_add(1);
        self.last = self.last.max(new);
        let behind = match Arc::make_mut(&mut self.page) {
            Page::Leaf(nodes) => {
                let at = nodes.partition_point(|id| rank(*id) < new);
                nodes.insert(at, id);
                if nodes.len() <= WIDTH {
                    return None;
                }
                // Most nodes come after all others: then full pages stay behind.
                let half = if at == WIDTH { WIDTH } else { WIDTH / 2 };
                Page::Leaf(nodes.split_off(half))
            }
            Page::Inner(parts) => {
                let at = parts.partition_point(|part| part.last < new);
                let at = at.min(parts.len().saturating_sub(1));
                let behind = parts.get_mut(at)?.insert(id, new, rank)?;
                parts.insert(at.saturating_add(1), behind);
                if parts.len() <= WIDTH {
                    return None;
                }
                let half = if at.saturating_add(1) == WIDTH { WIDTH } else { WIDTH / 2 };
                Page::Inner(parts.split_off(half))
            }
        };
        let behind = Self::of(behind, self.last);
        self.len = self.len.saturating_sub(behind.len);
        self.last = match &*self.page {
            Page::Leaf(nodes) => nodes.last().map_or(self.last, |id| rank(*id)),
            Page::Inner(parts) => parts.last().map_or(self.last, |part| part.last),
        };
        Some(behind)
    }

    fn remove(&mut self, gone: Rank, rank: &impl Fn(NodeId) -> Rank) -> bool {
        let removed = match Arc::make_mut(&mut self.page) {
            Page::Leaf(nodes) => {
                let at = nodes.partition_point(|id| rank(*id) < gone);
                let is_it = nodes.get(at).is_some_and(|id| rank(*id) == gone);
                if is_it {
                    nodes.remove(at);
                }
                is_it
            }
            Page::Inner(parts) => {
                let at = parts.partition_point(|part| part.last < gone);
                let Some(part) = parts.get_mut(at) else { return false };
                let removed = part.remove(gone, rank);
                if part.len == 0 {
                    parts.remove(at);
                }
                removed
            }
        };
        self.len = self.len.saturating_sub(removed.into());
        removed
    }
}

#[cfg(test)]
impl Sorted {
    /// The number of pages that the other one does not share.
    pub(in crate::tree) fn own_arrays(&self, other: &Self) -> usize {
        fn pages<'a>(part: &'a Part, found: &mut Vec<&'a Arc<Page>>) {
            found.push(&part.page);
            if let Page::Inner(parts) = &*part.page {
                for part in parts {
                    pages(part, found);
                }
            }
        }
        let (mut own, mut others) = (Vec::new(), Vec::new());
        pages(&self.root, &mut own);
        pages(&other.root, &mut others);
        let others: std::collections::BTreeSet<_> = others.into_iter().map(Arc::as_ptr).collect();
        own.into_iter().filter(|page| !others.contains(&Arc::as_ptr(page))).count()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Makes the rank of a node: at most a handful at each height.
    fn rank(id: NodeId) -> Rank {
        let mixed = id.0.wrapping_mul(0x9E37_79B9);
        let mut hash = [0; 32];
        hash[..10].copy_from_slice(format!("{mixed:010}").as_bytes());
        let height =
            BlockHeight::new(u64::from(if id.0.is_multiple_of(3) { id.0 } else { mixed % 20_000 }));
        Rank { height, hash: BlockHash::new(hash) }
    }

    fn check(sorted: &Sorted, expected: &BTreeSet<Rank>) {
        assert_eq!(sorted.len(), expected.len());
        assert!(sorted.from(0).map(rank).eq(expected.iter().copied()));
        for height in (0..20_100).step_by(67).map(BlockHeight::new) {
            let below = expected.iter().filter(|rank| rank.height < height).count();
            assert_eq!(sorted.below(height, rank), below);
            assert!(
                sorted.from(below).take(70).map(rank).eq(expected
                    .iter()
                    .skip(below)
                    .take(70)
                    .copied())
            );
        }
    }

    #[test]
    fn nodes_are_sorted_and_counted_and_clones_stay_as_they_are() {
        let (mut sorted, mut expected, mut kept) = (Sorted::default(), BTreeSet::new(), vec![]);
        for id in 0..20_000_u32 {
            sorted.insert(NodeId(id), rank(NodeId(id)), rank);
            expected.insert(rank(NodeId(id)));
            if id.is_multiple_of(4) {
                let gone = rank(NodeId(id / 2));
                sorted.remove(gone, rank);
                expected.remove(&gone);
            }
            if id.is_multiple_of(5_003) {
                kept.push((sorted.clone(), expected.clone()));
            }
        }
        kept.push((sorted.clone(), expected.clone()));
        // Remove all but a few, from below.
        for id in 0..20_000 {
            if id % 100 > 0 {
                sorted.remove(rank(NodeId(id)), rank);
                expected.remove(&rank(NodeId(id)));
            }
        }
        kept.push((sorted.clone(), expected.clone()));
        for gone in std::mem::take(&mut expected) {
            sorted.remove(gone, rank);
        }
        kept.push((sorted, expected));
        for (sorted, expected) in kept {
            check(&sorted, &expected);
        }
    }
}
