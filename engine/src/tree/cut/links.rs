#![expect(clippy::indexing_slicing, reason = "every index is of a table that is made here")]
#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        reason = "numbers of blocks are those of the candidates, which are held in memory"
    )
)]

use std::ops::Range;

use hashbrown::HashMap;

use super::Candidate;
use crate::types::{BlockHash, BlockHeight, ChainId};

/// A block that another one needs: it must be the member of its chain, or below it.
#[derive(Clone, Copy, Debug)]
struct Need {
    list: usize,
    height: BlockHeight,
    hash: BlockHash,
}

/// A list whose blocks have to agree with those of another list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relation {
    pub(super) list: usize,
    /// The index of this list among the relations of the other list.
    pub(super) back: usize,
}

/// Which blocks agree. Blocks are numbered across all lists, by ascending rank in each list.
pub(super) struct Links {
    /// The numbers of each list's blocks.
    pub(super) spans: Vec<Range<usize>>,
    /// The lists that each list is related to.
    pub(super) relations: Vec<Vec<Relation>>,
    /// The list of each block.
    lists: Vec<usize>,
    parents: Vec<Option<usize>>,
    /// For each block its first place; it has one for each relation of its list.
    places: Vec<usize>,
    /// For each place the index at which it begins in `agreeing`, followed by the end.
    starts: Vec<usize>,
    agreeing: Vec<usize>,
}

impl Links {
    pub(super) fn new(chains: &[Vec<&Candidate>], spread: u64) -> Self {
        let web = Web::new(chains);
        let relations = web.relations();
        let mut links = Self {
            spans: web.spans.clone(),
            relations,
            lists: web.lists.clone(),
            parents: web.parents.clone(),
            places: Vec::with_capacity(web.blocks.len()),
            starts: Vec::new(),
            agreeing: Vec::new(),
        };
        for (index, block) in web.blocks.iter().enumerate() {
            links.places.push(links.starts.len());
            let height = block.rank.height.get();
            // Agreeing blocks of neighbours are at most one height apart. A block that a parent named in an
            // earlier graph may be farther.
            let reach = if web.is_inherited { spread } else { spread.min(1) };
            let (low, high) = (height.saturating_sub(reach), height.saturating_add(reach));
            for relation in &links.relations[web.lists[index]] {
                links.starts.push(links.agreeing.len());
                let near = web.between(relation.list, low, high);
                links.agreeing.extend(near.filter(|other| web.agree(index, *other)));
            }
        }
        links.starts.push(links.agreeing.len());
        links
    }

    /// The number of places.
    pub(super) fn places(&self) -> usize {
        self.starts.len() - 1
    }

    /// The list of a block.
    pub(super) fn list(&self, block: usize) -> usize {
        self.lists[block]
    }

    /// The parent of a block, if it is in the list.
    pub(super) fn parent(&self, block: usize) -> Option<usize> {
        self.parents[block]
    }

    /// The place that holds the blocks that agree with `block`, in the given relation of its list.
    pub(super) fn place(&self, block: usize, relation: usize) -> usize {
        self.places[block] + relation
    }

    /// The blocks that agree with `block`, in the given relation of its list.
    pub(super) fn agreeing(&self, block: usize, relation: usize) -> &[usize] {
        let place = self.place(block, relation);
        &self.agreeing[self.starts[place]..self.starts[place + 1]]
    }
}

/// The blocks of all lists, and the blocks that they need.
struct Web<'a> {
    blocks: Vec<&'a Candidate>,
    spans: Vec<Range<usize>>,
    lists: Vec<usize>,
    parents: Vec<Option<usize>>,
    needs: Vec<Vec<Need>>,
    /// Whether a block needs a block that only its parent names.
    is_inherited: bool,
}

impl<'a> Web<'a> {
    fn new(chains: &[Vec<&'a Candidate>]) -> Self {
        let mut web = Self {
            blocks: chains.iter().flatten().copied().collect(),
            spans: Vec::with_capacity(chains.len()),
            lists: Vec::new(),
            parents: Vec::new(),
            needs: Vec::new(),
            is_inherited: false,
        };
        let mut list_of: HashMap<ChainId, usize> = HashMap::with_capacity(chains.len());
        for (list, blocks) in chains.iter().enumerate() {
            let start = web.lists.len();
            web.lists.extend(std::iter::repeat_n(list, blocks.len()));
            web.spans.push(start..web.lists.len());
            list_of.extend(blocks.first().map(|block| (block.chain, list)));
        }
        let numbers = web.blocks.iter().enumerate();
        let numbers: HashMap<BlockHash, usize> =
            numbers.map(|(index, block)| (block.rank.hash, index)).collect();
        for (index, block) in web.blocks.iter().enumerate() {
            let parent = numbers.get(&block.parent).copied().filter(|parent| {
                web.lists[*parent] == web.lists[index]
                    && web.blocks[*parent].rank.height.child() == Some(block.rank.height)
            });
            // Parents come before their children, so their needs are known.
            let inherited = parent.map_or(&[][..], |parent| &web.needs[parent]);
            let needs = needs(block, &list_of, inherited);
            let named = block.adjacents.iter().flatten();
            let own = named.filter(|(chain, _)| list_of.contains_key(chain)).count();
            web.is_inherited |= needs.len() > own;
            web.parents.push(parent);
            web.needs.push(needs);
        }
        web
    }

    /// For each list, the other lists whose blocks it names, or that name its blocks.
    fn relations(&self) -> Vec<Vec<Relation>> {
        let lists = self.spans.len();
        let mut related = vec![false; lists * lists];
        for (needs, list) in self.needs.iter().zip(&self.lists) {
            for need in needs {
                related[list * lists + need.list] = true;
                related[need.list * lists + list] = true;
            }
        }
        let others = |list: usize| (0..lists).filter(move |other| *other != list);
        let partners: Vec<Vec<usize>> = (0..lists)
            .map(|list| others(list).filter(|other| related[list * lists + other]).collect())
            .collect();
        let back = |list: usize, other: usize| {
            partners[other].iter().position(|partner| *partner == list).unwrap_or_default()
        };
        let relations = partners.iter().enumerate().map(|(list, others)| {
            others.iter().map(|other| Relation { list: *other, back: back(list, *other) }).collect()
        });
        relations.collect()
    }

    /// The blocks of a list at heights from `low` to `high`.
    fn between(&self, list: usize, low: u64, high: u64) -> Range<usize> {
        let span = self.spans[list].clone();
        let blocks = &self.blocks[span.clone()];
        let first = blocks.partition_point(|block| block.rank.height.get() < low);
        let end = blocks.partition_point(|block| block.rank.height.get() <= high);
        span.start + first..span.start + end
    }

    fn agree(&self, a: usize, b: usize) -> bool {
        let fits = |from: usize, to: usize| {
            let mut needs = self.needs[from].iter().filter(|need| need.list == self.lists[to]);
            needs.all(|need| self.stands_on(to, need))
        };
        fits(a, b) && fits(b, a)
    }

    /// Whether a block is the needed one, or above it. If the parents in between are not held, it
    /// may be.
    fn stands_on(&self, mut block: usize, need: &Need) -> bool {
        loop {
            let Candidate { rank, parent, .. } = self.blocks[block];
            if rank.height <= need.height {
                return rank.height == need.height && rank.hash == need.hash;
            }
            if rank.height.parent() == Some(need.height) {
                return *parent == need.hash;
            }
            match self.parents[block] {
                Some(parent) => block = parent,
                None => return true,
            }
        }
    }
}

/// The blocks that a block needs: the adjacent parents that it names, and on other chains the needs
/// of its parent, which were named in an earlier graph.
fn needs(block: &Candidate, list_of: &HashMap<ChainId, usize>, inherited: &[Need]) -> Vec<Need> {
    let below = block.rank.height.parent();
    let named = block.adjacents.iter().flatten().zip(below.into_iter().cycle());
    let named = named.filter_map(|((chain, hash), height)| {
        Some(Need { list: *list_of.get(chain)?, height, hash: *hash })
    });
    let mut needs: Vec<Need> = named.collect();
    let own = needs.len();
    for need in inherited {
        if needs[..own].iter().all(|other| other.list != need.list) {
            needs.push(*need);
        }
    }
    needs
}
