//! The heaviest consistent cut of some blocks: one of each chain, none of which rules out another.
//!
//! Enters: for each chain the blocks that may be its member, with their parents and adjacent
//! parents. Leaves: one block of each, with the greatest sum of weights.
//!
//! # What a cut is
//!
//! The past of a block is the block and everything that its parents and adjacent parents lead down
//! to. A set of blocks is a consistent cut if the union of their pasts has one block for each chain
//! and height, and each of them is the top of its chain there. Then blocks *a* and *b* of adjacent
//! chains either have one height, and each names the other's parent, or one is a height higher and
//! names the other.
//!
//! This can be checked pair by pair: *a* and *b* agree if every block that *a* names on the chain
//! of *b* is *b* or below it, and vice versa. Nothing deeper has to be compared, because the pasts
//! of *a* and of *b* were braided when these were mined. Right after a change of the graph, a block
//! also needs the blocks that its parent names on chains to which it has no edge any more. A block
//! that is not held constrains nothing.
//!
//! # How the heaviest cut is found
//!
//! Without forks, blocks that agree with no block of some neighbour are dropped until every block
//! left has a partner on each neighbouring chain (arc consistency, after Mohr and Henderson, 1986).
//! The heaviest blocks left on each chain then agree, because the higher of two blocks of a chain
//! has all ancestors of the lower one. Only forks that disagree leave a choice: the
//! heaviest blocks of two chains do not agree, and on one of these chains the blocks that agree
//! with each are on two branches. That splits the search in two: on the one branch, or not on it.
//! The bound of a part is the sum of the heaviest blocks left on each chain. Parts are taken up by
//! descending bound, and each is followed down to a cut at once, so that there is a cut to compare
//! with.
//!
//! - `I-1` Members agree in pairs.
//! - `I-2` Within the bounds of the search, no cut of these blocks is heavier.
//! - `I-3` The order in which blocks were added does not matter: of equally heavy cuts, the result is
//!   the one with the lowest ranks, compared chain by chain.
//! - `I-4` A search that is given a cut never returns a lighter one.
//!
//! # Cost
//!
//! One pass over the pairs of blocks within reach of each other, and at most one more for each part.
//! Siblings without children are dropped first if one with the same parents is as heavy, so their number
//! matters little. Of the rest at most 32 blocks a chain and height are considered, and all parts together
//! look at 16 M pairs of a block and a chain, or 32 times at each.

mod ceiling;
mod links;
mod search;

use std::cmp::Reverse;

use hashbrown::{HashMap, HashSet};

use crate::header::DEGREE;
use crate::types::{BlockHash, ChainId, Rank, Weight};

pub use ceiling::{Ceiling, Most};
use links::Links;
pub use search::{PARTS_MAX, Sum};

/// Blocks of a chain at one height that a search considers: more than any web has that was not made to be
/// expensive.
const LEVEL_MAX: usize = 32;

/// A block that may be the member of its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The chain.
    pub chain: ChainId,
    /// Height and hash.
    pub rank: Rank,
    /// The block below.
    pub parent: BlockHash,
    /// The adjacent parents. The first block of a chain has none: the hashes that it names are not
    /// blocks.
    pub adjacents: Option<[(ChainId, BlockHash); DEGREE]>,
    /// The work behind the block.
    pub weight: Weight,
}

/// The heaviest cut with one block of each list, in the order of the lists; of equally heavy cuts, the one
/// whose blocks have the lowest ranks, compared list by list.
///
/// Members of a cut are at most the graph's diameter, `spread`, apart in height. Each list has
/// blocks of one chain, ascending by rank. Chains without a list are ignored.
///
/// `None` if there is no cut, or none was found within [`PARTS_MAX`] parts of the search. If the
/// search ends there, the result is the heaviest cut found so far.
#[must_use]
pub fn heaviest(chains: &[Vec<Candidate>], spread: u64) -> Option<Vec<Candidate>> {
    within(chains, spread, None, None)
}

/// [`heaviest`], if it is better than a known cut of the same chains, whose members need not be among the
/// blocks. `parts_max` replaces [`PARTS_MAX`].
#[must_use]
pub fn better(
    chains: &[Vec<Candidate>],
    spread: u64,
    known: Option<&[Candidate]>,
    parts_max: Option<usize>,
) -> Option<Vec<Candidate>> {
    within(chains, spread, known, parts_max)
}

/// [`heaviest`] without a bound: the reference for tests.
#[cfg(test)]
pub(crate) fn heaviest_unbounded(chains: &[Vec<Candidate>], spread: u64) -> Option<Vec<Candidate>> {
    within(chains, spread, None, Some(usize::MAX))
}

/// The sum of the weights of blocks.
#[must_use]
pub fn weight(blocks: &[Candidate]) -> Sum {
    blocks.iter().fold(Sum::ZERO, |sum, block| sum.saturating_add(Sum::from(block.weight.get())))
}

fn within(
    chains: &[Vec<Candidate>],
    spread: u64,
    known: Option<&[Candidate]>,
    parts_max: Option<usize>,
) -> Option<Vec<Candidate>> {
    let all = chains.iter().flatten();
    let named: HashSet<BlockHash> = all.flat_map(Candidate::names).collect();
    let chains: Vec<_> =
        chains.iter().map(|blocks| fewer(undominated(blocks, &named), known)).collect();
    let known =
        known.map(|blocks| (weight(blocks), blocks.iter().map(|block| block.rank).collect()));
    let links = Links::new(&chains, spread);
    let blocks: Vec<&Candidate> = chains.into_iter().flatten().collect();
    let weights: Vec<_> = blocks.iter().map(|block| block.weight.get()).collect();
    let ranks: Vec<_> = blocks.iter().map(|block| block.rank).collect();
    let members = search::heaviest(&links, &weights, &ranks, known, parts_max)?;
    members.into_iter().map(|index| blocks.get(index).map(|block| (*block).clone())).collect()
}

/// At most [`LEVEL_MAX`] blocks of each height: those of a known cut, then the heaviest.
fn fewer<'a>(blocks: Vec<&'a Candidate>, known: Option<&[Candidate]>) -> Vec<&'a Candidate> {
    if blocks.len() <= LEVEL_MAX {
        return blocks;
    }
    let is_known = |block: &Candidate| {
        known
            .iter()
            .flat_map(|known| known.iter())
            .any(|member| member.rank == block.rank || member.parent == block.rank.hash)
    };
    let mut kept = Vec::with_capacity(blocks.len());
    for level in blocks.chunk_by(|a, b| a.rank.height == b.rank.height) {
        let mut level = level.to_vec();
        if level.len() > LEVEL_MAX {
            level.sort_by_cached_key(|block| Reverse((is_known(block), block.weight)));
            level.truncate(LEVEL_MAX);
            level.sort_by_key(|block| block.rank);
        }
        kept.append(&mut level);
    }
    kept
}

/// Leaves out a block if a sibling with the same parents is at least as heavy, and no block stands
/// on it.
fn undominated<'a>(blocks: &'a [Candidate], named: &HashSet<BlockHash>) -> Vec<&'a Candidate> {
    let mut best: HashMap<_, &Candidate> = HashMap::with_capacity(blocks.len());
    for block in blocks {
        let best = best.entry((block.parent, block.adjacents)).or_insert(block);
        if block.weight > best.weight {
            *best = block;
        }
    }
    let stands_out = |block: &Candidate| {
        let best = best.get(&(block.parent, block.adjacents));
        best.is_some_and(|best| best.rank == block.rank)
    };
    blocks.iter().filter(|block| named.contains(&block.rank.hash) || stands_out(block)).collect()
}

impl Candidate {
    /// The blocks that it names itself: its adjacent parents and its parent.
    fn names(&self) -> impl Iterator<Item = BlockHash> + '_ {
        let adjacents = self.adjacents.iter().flatten().map(|(_, hash)| *hash);
        adjacents.chain(std::iter::once(self.parent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::ChainGraph;
    use crate::types::{BlockHeight, ChainwebVersion};
    use ruint::aliases::U256;

    /// The height from which on the webs of these tests have twenty chains.
    const CHANGE: u64 = 3;

    /// The most heights of a web.
    const HEIGHTS: usize = 32;

    fn graph(height: u64) -> ChainGraph {
        let mainnet_height = if height < CHANGE { 0 } else { u64::MAX };
        ChainwebVersion::Mainnet01.graph_at(BlockHeight::new(mainnet_height))
    }

    /// Random numbers (xorshift64*), the same for the same seed.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            usize::try_from((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end as u64)
                .unwrap()
        }
    }

    /// Blocks that were mined one by one, each on a cut of the blocks before it.
    struct Web {
        blocks: Vec<Candidate>,
        parents: Vec<usize>,
        /// The past of each block, including the block: by chain and height.
        pasts: Vec<Vec<Option<usize>>>,
        cuts: Vec<Vec<usize>>,
    }

    impl Web {
        fn new() -> Self {
            let genesis = (0..20_u32).map(|chain| {
                let height = if chain < 10 { 0 } else { CHANGE };
                let named = BlockHash::new([0xEE; 32]);
                candidate(chain, height, chain.into(), named, None, 0)
            });
            let blocks: Vec<_> = genesis.collect();
            let alone = |block: &Candidate| {
                let mut past = vec![None; 20 * HEIGHTS];
                past[slot(block)] = Some(block.chain.index());
                past
            };
            let pasts = blocks.iter().map(alone).collect();
            Self { blocks, parents: (0..20).collect(), pasts, cuts: vec![(0..20).collect()] }
        }

        /// Makes a web of about this many blocks, grown on three cuts at once. After `jumps` of a
        /// thousand blocks one of these cuts is set back.
        fn random(random: &mut Random, blocks: usize, jumps: usize) -> Self {
            let (mut web, mut tips) = (Self::new(), [0; 3]);
            for _ in 0..blocks * 20 {
                let tip = random.below(tips.len());
                if web.mine(tips[tip], random.below(20), random) {
                    tips[tip] = web.cuts.len() - 1;
                    if random.below(1000) < jumps {
                        tips[tip] -= random.below(tips[tip].min(60) + 1);
                    }
                } else if random.below(1000) < jumps {
                    tips[tip] = tips[random.below(tips.len())];
                }
                if web.blocks.len() >= blocks + 20 {
                    break;
                }
            }
            web
        }

        /// Mines a block of a chain, if its neighbours are high enough.
        fn mine(&mut self, cut: usize, chain: usize, random: &mut Random) -> bool {
            let mut cut = self.cuts[cut].clone();
            let parent = self.blocks[cut[chain]].clone();
            let below = parent.rank.height.get();
            let Some(adjacent) = graph(below).adjacent(parent.chain) else { return false };
            let adjacent = adjacent.map(|chain| {
                let member = cut[chain.index()];
                match self.blocks[member].rank.height.get() {
                    height if height == below => Some(member),
                    height if height == below + 1 => Some(self.parents[member]),
                    _ => None,
                }
            });
            let [Some(a), Some(b), Some(c)] = adjacent else { return false };
            let named = [a, b, c].map(|i| (self.blocks[i].chain, self.blocks[i].rank.hash));
            let (number, more) = (self.blocks.len(), 1 + random.below(3) as u64);
            let weight = u64::try_from(parent.weight.get()).unwrap() + more;
            let id = parent.chain.get();
            let hash = parent.rank.hash;
            self.blocks.push(candidate(id, below + 1, number as u64, hash, Some(named), weight));
            let mut past = vec![None; 20 * HEIGHTS];
            past[slot(&self.blocks[number])] = Some(number);
            for from in [cut[chain], a, b, c] {
                for (held, other) in past.iter_mut().zip(&self.pasts[from]) {
                    assert!(held.is_none() || other.is_none() || held == other);
                    *held = held.or(*other);
                }
            }
            self.pasts.push(past);
            self.parents.push(cut[chain]);
            cut[chain] = number;
            self.cuts.push(cut);
            true
        }

        /// The blocks of each chain of the graph of height `low`, at heights from there to `high`.
        fn lists(&self, low: u64, high: u64) -> Vec<Vec<Candidate>> {
            let chain = |chain| {
                let on = |block: &&Candidate| {
                    let height = block.rank.height.get();
                    block.chain == chain && (low..=high).contains(&height)
                };
                let mut blocks: Vec<_> = self.blocks.iter().filter(on).cloned().collect();
                blocks.sort_by_key(|block| block.rank);
                blocks
            };
            graph(low).chain_ids().map(chain).collect()
        }

        fn number(&self, block: &Candidate) -> usize {
            self.blocks.iter().position(|other| other == block).unwrap()
        }

        /// Whether the union of two pasts has one block a height and chain, these on top.
        fn agree(&self, a: usize, b: usize) -> bool {
            let below = |past: &[Option<usize>], top: usize| {
                let above = slot(&self.blocks[top]) + 1;
                past[above..above.next_multiple_of(HEIGHTS)].iter().all(Option::is_none)
            };
            let (past, other) = (&self.pasts[a], &self.pasts[b]);
            let mut both = past.iter().zip(other);
            let one = both.all(|(x, y)| x.is_none() || y.is_none() || x == y);
            one && below(past, b) && below(other, a)
        }

        /// The greatest weight of a cut out of these lists, by trying all of them.
        fn oracle(&self, lists: &[Vec<Candidate>]) -> Option<u64> {
            let lists: Vec<Vec<usize>> = lists
                .iter()
                .map(|list| list.iter().map(|block| self.number(block)).collect())
                .collect();
            let mut best = None;
            self.extend(&lists, 0, &mut best);
            best
        }

        /// Tries every block of the first list with all blocks of the others that agree with it.
        fn extend(&self, lists: &[Vec<usize>], sum: u64, best: &mut Option<u64>) {
            let weight = |block: usize| u64::try_from(self.blocks[block].weight.get()).unwrap();
            let most = |list: &Vec<usize>| list.iter().map(|block| weight(*block)).max();
            let Some(rest) = lists.iter().map(most).sum::<Option<u64>>() else { return };
            if best.is_some_and(|best| sum + rest <= best) {
                return;
            }
            let Some((list, others)) = lists.split_first() else {
                *best = Some(sum);
                return;
            };
            for member in list.iter().rev() {
                let left = |list: &Vec<usize>| {
                    list.iter().copied().filter(|block| self.agree(*member, *block)).collect()
                };
                let others: Vec<Vec<usize>> = others.iter().map(left).collect();
                self.extend(&others, sum + weight(*member), best);
            }
        }
    }

    fn slot(block: &Candidate) -> usize {
        let height = usize::try_from(block.rank.height.get()).unwrap();
        assert!(height < HEIGHTS);
        block.chain.index() * HEIGHTS + height
    }

    fn candidate(
        chain: u32,
        height: u64,
        number: u64,
        parent: BlockHash,
        adjacents: Option<[(ChainId, BlockHash); DEGREE]>,
        weight: u64,
    ) -> Candidate {
        let mut hash = [0; 32];
        // The order of hashes is not the order of mining.
        let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_string();
        hash[..mixed.len()].copy_from_slice(mixed.as_bytes());
        let rank = Rank { height: BlockHeight::new(height), hash: BlockHash::new(hash) };
        let weight = Weight::new(U256::from(weight));
        Candidate { chain: ChainId::new(chain), rank, parent, adjacents, weight }
    }

    fn weight(cut: &[Candidate]) -> u64 {
        cut.iter().map(|block| u64::try_from(block.weight.get()).unwrap()).sum()
    }

    /// Compares with the oracle; returns whether there is a cut.
    fn compare(web: &Web, lists: &[Vec<Candidate>], spread: u64) -> bool {
        let cut = heaviest(lists, spread);
        let members: Vec<usize> = cut.iter().flatten().map(|block| web.number(block)).collect();
        for (i, a) in members.iter().enumerate() {
            assert!(members[..i].iter().all(|b| web.agree(*a, *b)));
        }
        assert_eq!(cut.as_deref().map(weight), web.oracle(lists));
        cut.is_some()
    }

    #[test]
    fn cut_is_the_heaviest_of_all_of_a_random_web() {
        let (mut cuts, mut none) = ([0, 0], 0);
        for seed in 1..400 {
            let mut random = Random(seed);
            let blocks = 40 + random.below(240);
            let jumps = [0, 10, 30, 100][random.below(4)];
            let web = Web::random(&mut random, blocks, jumps);
            let found = [
                compare(&web, &web.lists(CHANGE, u64::MAX), 3),
                compare(&web, &web.lists(0, CHANGE), 2),
            ];
            cuts[0] += usize::from(found[0]);
            cuts[1] += usize::from(found[1]);
            none += usize::from(!found[0]);
        }
        assert!(cuts[0] > 50 && cuts[1] > 300 && none > 50, "{cuts:?} {none}");
    }

    #[test]
    fn a_search_that_is_cut_short_gives_a_cut_or_none() {
        let mut short = 0;
        for seed in 1..200 {
            let mut random = Random(seed);
            let web = Web::random(&mut random, 250, 30);
            let lists = web.lists(CHANGE, u64::MAX);
            let whole = heaviest(&lists, 3).as_deref().map(weight);
            for parts in 0..8 {
                let cut = within(&lists, 3, None, Some(parts));
                short += usize::from(parts > 0 && cut.is_none() && whole.is_some());
                let Some(cut) = cut else { continue };
                let members: Vec<usize> = cut.iter().map(|block| web.number(block)).collect();
                assert!(members.iter().all(|a| members.iter().all(|b| web.agree(*a, *b))));
                assert!(Some(weight(&cut)) <= whole);
            }
        }
        assert!(short > 100, "{short} searches had to split");
    }

    #[test]
    fn a_thousand_siblings_cost_no_more_than_one() {
        let mut random = Random(7);
        let mut web = Web::new();
        for chain in (0..10).cycle().take(20) {
            web.mine(web.cuts.len() - 1, chain, &mut random);
        }
        let last = web.cuts.len() - 1;
        let mut lists = web.lists(0, CHANGE);
        let before = heaviest(&lists, 2).unwrap();
        for list in &mut lists {
            let tip = list.last().unwrap().clone();
            let light = Weight::new(tip.weight.get() - U256::from(1));
            for number in 0..1000 {
                let chain = tip.chain.get();
                let mut sibling =
                    candidate(chain, 0, 1_000_000 + number, tip.parent, tip.adjacents, 0);
                (sibling.rank.height, sibling.weight) = (tip.rank.height, light);
                list.push(sibling);
            }
            list.sort_by_key(|block| block.rank);
        }
        assert_eq!(web.cuts[last].len(), 20);
        let named = HashSet::new();
        assert!(lists.iter().all(|list| undominated(list, &named).len() <= 3));
        assert_eq!(heaviest(&lists, 2).unwrap(), before);
    }
}
