#![expect(clippy::indexing_slicing, reason = "every index is of the tables of `Links`")]
#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        reason = "sums have 64 bits more than weights, and numbers are those of `Links`"
    )
)]

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use ruint::Uint;
use ruint::aliases::U256;

use super::links::Links;
use crate::types::Rank;

/// The most parts that a search takes up. Forks of a real web need a handful; without a bound there
/// could be exponentially many.
pub const PARTS_MAX: usize = 1 << 15;

/// The most pairs of a block and a related list that all parts of a search look at together: some 0.1 s.
/// Three branches that fork off on twenty chains, and are set back again and again, take a tenth of that.
/// Waiting parts take four bytes for each pair: at most 64 MB.
const STEPS_MAX: usize = 1 << 24;

/// Parts that a search may take up, however many blocks there are.
const PARTS_MIN: usize = 32;

/// A sum of weights that cannot overflow.
pub type Sum = Uint<320, 5>;

/// A cut to be improved on: its weight, and the ranks of its members.
pub(super) type Known = (Sum, Vec<Rank>);

/// The blocks left in one part of the search.
#[derive(Clone)]
struct Part {
    alive: Vec<bool>,
    /// For each place, how many of its agreeing blocks are alive.
    partners: Vec<u32>,
}

/// A part that waits to be taken up.
struct Waiting {
    bound: Sum,
    /// Parts left when it was made: of equal bounds, the earlier one goes first.
    number: usize,
    part: Part,
}

/// Splits the blocks of one list into those on a branch and all others.
struct Branch {
    list: usize,
    /// By index in the list.
    inside: Vec<bool>,
}

struct Search<'a> {
    links: &'a Links,
    /// For each list its blocks, heaviest first; of equally heavy ones, the lower rank first.
    by_weight: Vec<Vec<usize>>,
    weights: &'a [U256],
    ranks: &'a [Rank],
    parts_left: usize,
    waiting: BinaryHeap<Waiting>,
    best: Option<Known>,
    members: Option<Vec<usize>>,
}

/// The best set of one block of each list, all of which agree: the greatest sum of weights; of equal
/// sums, the lowest ranks, by ascending list. `None` if none is better than the known cut.
pub(super) fn heaviest(
    links: &Links,
    weights: &[U256],
    ranks: &[Rank],
    known: Option<Known>,
    parts_max: Option<usize>,
) -> Option<Vec<usize>> {
    let by_weight = links.spans.iter().map(|span| {
        let mut blocks: Vec<usize> = span.clone().collect();
        blocks.sort_by_key(|block| Reverse(weights[*block]));
        blocks
    });
    let affordable = (STEPS_MAX / links.places().max(1)).clamp(PARTS_MIN, PARTS_MAX);
    let mut search = Search {
        links,
        by_weight: by_weight.collect(),
        weights,
        ranks,
        parts_left: parts_max.unwrap_or(affordable),
        waiting: BinaryHeap::new(),
        best: known,
        members: None,
    };
    let part = Part::new(links)?;
    search.put(part);
    while let Some(Waiting { bound, part, .. }) = search.waiting.pop() {
        if !search.may_be_better(bound) || search.parts_left == 0 {
            break;
        }
        search.follow(part);
    }
    search.members
}

impl Search<'_> {
    /// Follows a part down to a cut, by the better half of each split.
    fn follow(&mut self, mut part: Part) {
        while self.parts_left > 0 {
            self.parts_left -= 1;
            let tops = self.tops(&part);
            let bound = self.sum(&tops);
            if !self.is_better(bound, &tops) {
                return;
            }
            let Some(branch) = self.fork(&part, &tops) else {
                let ranks = tops.iter().map(|block| self.ranks[*block]).collect();
                (self.best, self.members) = (Some((bound, ranks)), Some(tops));
                return;
            };
            let halves = [true, false].map(|side| self.half(&part, &branch, side));
            part = match halves {
                [None, None] => return,
                [Some(half), None] | [None, Some(half)] => half,
                [Some(on), Some(off)] => {
                    let sums = [&on, &off].map(|half| self.sum(&self.tops(half)));
                    let (better, other) = if sums[0] >= sums[1] { (on, off) } else { (off, on) };
                    self.put(other);
                    better
                }
            };
        }
        // Out of parts: the rest of this one is given up.
    }

    fn put(&mut self, part: Part) {
        let bound = self.sum(&self.tops(&part));
        if self.may_be_better(bound) {
            self.waiting.push(Waiting { bound, number: self.parts_left, part });
        }
    }

    fn may_be_better(&self, bound: Sum) -> bool {
        self.best.as_ref().is_none_or(|(best, _)| bound >= *best)
    }

    /// Whether a set of these blocks is better than the best so far. If they are the tops of a part, no set
    /// of that part is better: of equal weight, each of its blocks is as heavy as the top, and of no lower
    /// rank.
    fn is_better(&self, sum: Sum, blocks: &[usize]) -> bool {
        self.best.as_ref().is_none_or(|(best, ranks)| match sum.cmp(best) {
            Ordering::Equal => blocks.iter().map(|block| &self.ranks[*block]).lt(ranks),
            order => order == Ordering::Greater,
        })
    }

    /// The heaviest block left of each list.
    fn tops(&self, part: &Part) -> Vec<usize> {
        let alive = |block: &&usize| part.alive[**block];
        self.by_weight.iter().filter_map(|blocks| blocks.iter().find(alive)).copied().collect()
    }

    fn sum(&self, members: &[usize]) -> Sum {
        members.iter().fold(Sum::ZERO, |sum, block| sum + Sum::from(self.weights[*block]))
    }

    /// A branch of a list on which the tops disagree; `None` if all tops agree.
    fn fork(&self, part: &Part, tops: &[usize]) -> Option<Branch> {
        let relations = self.links.relations.iter().enumerate();
        let mut pairs = relations.flat_map(|(list, others)| {
            others.iter().enumerate().map(move |(place, other)| (list, place, *other))
        });
        pairs.find_map(|(list, place, other)| {
            let (a, b) = (tops[list], tops[other.list]);
            if self.links.agreeing(a, place).contains(&b) {
                return None;
            }
            let partner = |block, place| {
                let mut agreeing = self.links.agreeing(block, place).iter();
                agreeing.find(|block| part.alive[**block]).copied()
            };
            let for_a = partner(a, place).and_then(|partner| self.branch(partner, b));
            let for_b = || partner(b, other.back).and_then(|partner| self.branch(partner, a));
            for_a.or_else(for_b).or_else(|| Some(self.single(b)))
        })
    }

    /// The branch that leads to `block`, from where it forks off the way to `other`; `None` if it
    /// does not fork off.
    fn branch(&self, block: usize, other: usize) -> Option<Branch> {
        let (mut first, mut on, mut beside) = (None, Some(block), Some(other));
        while let Some(block) = on {
            // Numbers of one list ascend with the height; no chain of parents connects siblings.
            while let Some(above) = beside.filter(|beside| *beside > block) {
                beside = self.links.parent(above);
            }
            if beside == Some(block) {
                break;
            }
            first = Some(block);
            on = self.links.parent(block);
        }
        let first = first?;
        let list = self.links.list(first);
        let span = self.links.spans[list].clone();
        let mut inside = vec![false; span.len()];
        for block in first..span.end {
            let parent = self.links.parent(block);
            let above = parent.is_some_and(|parent| inside[parent - span.start]);
            inside[block - span.start] = block == first || above;
        }
        Some(Branch { list, inside })
    }

    /// One block, and all others of its list: for forks whose lower blocks are not held.
    fn single(&self, block: usize) -> Branch {
        let list = self.links.list(block);
        Branch {
            list,
            inside: self.links.spans[list].clone().map(|other| other == block).collect(),
        }
    }

    /// What is left of a part on one side of a branch; `None` if no cut is possible.
    fn half(&self, part: &Part, branch: &Branch, side: bool) -> Option<Part> {
        let mut part = part.clone();
        let blocks = self.links.spans[branch.list].clone().zip(&branch.inside);
        let dropped = blocks.filter(|(_, inside)| **inside != side).map(|(block, _)| block);
        part.drop_all(self.links, dropped.collect()).then_some(part)
    }
}

impl Part {
    /// Keeps all blocks that agree with some block of every related list; `None` if some list has
    /// none.
    fn new(links: &Links) -> Option<Self> {
        let blocks = links.spans.last().map_or(0, |span| span.end);
        let mut part = Self { alive: vec![true; blocks], partners: vec![0; links.places()] };
        let mut alone = Vec::new();
        for block in 0..blocks {
            for relation in 0..links.relations[links.list(block)].len() {
                let partners = links.agreeing(block, relation).len();
                let partners = u32::try_from(partners).unwrap_or(u32::MAX);
                part.partners[links.place(block, relation)] = partners;
                if partners == 0 {
                    alone.push(block);
                }
            }
        }
        part.drop_all(links, alone).then_some(part)
    }

    /// Drops blocks, and then all blocks that agree with no other block of some list. Returns
    /// whether every list has a block left.
    fn drop_all(&mut self, links: &Links, mut blocks: Vec<usize>) -> bool {
        while let Some(block) = blocks.pop() {
            if !std::mem::take(&mut self.alive[block]) {
                continue;
            }
            for (relation, other) in links.relations[links.list(block)].iter().enumerate() {
                for partner in links.agreeing(block, relation) {
                    let partners = &mut self.partners[links.place(*partner, other.back)];
                    *partners -= 1;
                    if *partners == 0 {
                        blocks.push(*partner);
                    }
                }
            }
        }
        links.spans.iter().all(|span| self.alive[span.clone()].contains(&true))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.bound, self.number).cmp(&(other.bound, other.number))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}
