//! The heaviest cut, kept up to date with the tree.
//!
//! Enters: a tree, and each block that is added to it. Leaves: the [heaviest cut](crate::tree::cut) of all
//! its blocks, whatever branches there are and however deep they fork off.
//!
//! # Why a small search is enough
//!
//! Blocks are never removed, and no block is added before its parent. So a new cut has a new block as the
//! member of its chain, with no block above it yet:
//!
//! ```text
//! heaviest after = the heavier of   heaviest before
//!                                   heaviest with a new block as a member
//! ```
//!
//! Members of a cut are at most the graph's diameter apart in height: 3 for twenty chains. So a new block at
//! height *h* requires a search of the heights from *h* - 3 to *h* + 3, where a fork 21,000 heights deep looks
//! like one of 7. Neither the depth of forks nor the length of the chain matters.
//!
//! ```text
//! height     97  98  99 100 101 102 103       chain 0 of a branch that overtakes
//! short      ─── b₀                           new block b₀ at 98: searched are 95 to 101
//! long       ─── ─── ─── ─── ─── ─── ───      its blocks at these heights are candidates, too
//! ```
//!
//! Before a search, the heaviest blocks of all chains within these heights are added up and compared with the
//! heaviest cut so far ([`Ceiling`]): no cut there can weigh more. That settles most blocks of a replay, and on a
//! straight chain it also shows that the tips are the cut.
//!
//! When a database is opened, every block counts as new. The search takes up heights by the same
//! bound, the greatest first ([`hunt`]), so of a long chain it reads only those around the tips.
//!
//! - `I-1` The cut does not depend on the order or the grouping in which blocks were added.
//! - `I-2` Only a better cut replaces a cut, never a lighter one.
//!
//! # Bounds
//!
//! A web of forks on forks, made for that purpose, could make a search exponentially long. So a search is bounded
//! ([`tree::cut`](crate::tree::cut)): it reads at most [`READ_MAX`](web::READ_MAX) blocks of a chain, and covers at most
//! [`CHUNKS_MAX`](hunt::CHUNKS_MAX) ranges of heights. Beyond these bounds it returns the best cut found so far, which is
//! consistent, and not lighter than the cut before.
//!
//! In a partial history a block may be added below others. Blocks that agreed, because no block was held between
//! them, may then disagree. If the cut has such a block within reach, everything is searched again.

mod field;
mod hunt;
mod web;

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use hashbrown::HashMap;

use super::{Member, QueryError};
use crate::header::{Header, HeaderRef};
use crate::store::Snapshot;
use crate::tree::cut::{Candidate, Ceiling};
use crate::tree::{Forest, Tree};
use crate::types::{BlockHash, BlockHeight, ChainId, Rank, Weight};
use field::Field;
use hunt::Hunt;
use web::{Source, Web};

/// The members of a cut, by ascending chain.
pub(crate) type Members = Arc<[Member]>;

/// Heights above a block within which the members of a cut may depend on that block.
const REACH: u64 = 8;

/// The heaviest cut, and the state needed to advance it.
#[derive(Debug)]
pub(crate) struct Standing {
    /// By chain.
    ceilings: Vec<Ceiling>,
    /// The fields of the newest graph first.
    fields: Vec<Field>,
    fresh: Fresh,
}

/// The heights that were not searched yet.
#[derive(Debug)]
enum Fresh {
    All,
    /// Heights of new blocks, and the height of the latest one.
    Heights {
        all: BTreeSet<u64>,
        last: Option<u64>,
    },
}

impl Standing {
    /// Makes a cut for which nothing was searched yet. `ceilings` has one for each chain of the
    /// network, ascending.
    pub(crate) const fn new(ceilings: Vec<Ceiling>) -> Self {
        Self { ceilings, fields: Vec::new(), fresh: Fresh::All }
    }

    /// Makes the cut of a tree that has at least the blocks of an earlier tree, whose cut was
    /// `earlier`.
    pub(crate) fn after(
        ceilings: Vec<Ceiling>,
        tree: &Tree,
        snapshot: &Snapshot,
        earlier: &[Member],
    ) -> Self {
        let mut standing = Self::new(ceilings);
        let web = Web::new(tree, snapshot);
        if !web.is_partial() {
            standing.fields = Field::divide(&web);
            let known: Option<Vec<Candidate>> =
                earlier.iter().map(|(chain, rank, _)| web.find(*chain, &rank.hash)).collect();
            for field in standing.fields.iter_mut().rev() {
                field.best = known.clone().filter(|known| field.is_of(known));
            }
        }
        standing
    }

    /// Records a block that is being added. It counts once the tree has it.
    pub(crate) fn add(&mut self, header: HeaderRef<'_>) {
        self.note(header);
        let height = header.height().get();
        if let Fresh::Heights { all, last } = &mut self.fresh
            && *last != Some(height)
        {
            // Most blocks of a large commit are at the height of the one before.
            *last = Some(height);
            all.insert(height);
        }
    }

    /// Records a block that was added below blocks that were there before.
    pub(crate) fn add_below(&mut self, chain: ChainId, height: BlockHeight) {
        let near = height.get()..=height.get().saturating_add(REACH);
        for field in &mut self.fields {
            let mut members = field.best.iter().flatten();
            if members.any(|block| block.chain == chain && near.contains(&block.rank.height.get()))
            {
                field.best = None;
                self.fresh = Fresh::All;
            }
        }
    }

    /// Records that nodes of a chain were sealed.
    pub(crate) fn seal(&mut self, chain: ChainId, forest: &Forest, ranks: &[Rank]) {
        let Some(ceiling) = self.ceilings.get_mut(chain.index()) else { return };
        for rank in ranks {
            if forest.node_count(rank.height, rank.height) == 0 {
                ceiling.remove(rank.height);
            }
        }
    }

    /// Records a block that is not sealed, or is no longer sealed.
    pub(crate) fn note(&mut self, header: HeaderRef<'_>) {
        if let Some(ceiling) = self.ceilings.get_mut(header.chain().index()) {
            ceiling.add(header.height(), header.weight());
        }
    }

    /// The members of the heaviest cut of a tree that has all added blocks; if there is no cut, the heaviest
    /// block of each chain. `recent` holds the latest blocks, as far as they are at hand.
    ///
    /// `None` if a read of the disk failed. The next call then searches everything again.
    pub(crate) fn settle(
        &mut self,
        tree: &Tree,
        snapshot: &Snapshot,
        recent: &HashMap<BlockHash, Header>,
    ) -> Option<Members> {
        self.search(&Web::new(tree, snapshot), recent).ok()
    }

    /// Like [`Standing::settle`], but returns the error.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`].
    pub(crate) fn settle_anew(
        mut self,
        tree: &Tree,
        snapshot: &Snapshot,
    ) -> Result<Members, QueryError> {
        self.search(&Web::new(tree, snapshot), &HashMap::new())
    }

    fn search(
        &mut self,
        web: &impl Source,
        recent: &HashMap<BlockHash, Header>,
    ) -> Result<Members, QueryError> {
        if self.fields.is_empty() || web.is_partial() {
            self.divide(web);
        }
        let fresh = mem::replace(&mut self.fresh, Fresh::All);
        for number in 0..self.fields.len() {
            let floor = Field::lead(&self.fields);
            let Some(field) = self.fields.get(number) else { continue };
            let ranges = field.ranges(match &fresh {
                Fresh::All => None,
                Fresh::Heights { all, .. } => Some(all),
            });
            // If a graph has more than one field, the weight of one cannot be compared with a cut of
            // another graph.
            let floor = floor.filter(|_| field.is_whole);
            let mut hunt = Hunt::new(web, field, &self.ceilings, recent, floor);
            hunt.run(&ranges)?;
            let best = hunt.into_best();
            if let Some(field) = self.fields.get_mut(number) {
                field.best = best;
            }
        }
        self.fresh = Fresh::Heights { all: BTreeSet::new(), last: None };
        match Field::heaviest(&self.fields) {
            Some(members) => Ok(members),
            None => tips(web),
        }
    }

    /// Divides the chains again if other chains have blocks than before.
    fn divide(&mut self, web: &impl Source) {
        let fields = Field::divide(web);
        let is_same = fields.len() == self.fields.len()
            && fields.iter().zip(&self.fields).all(|(new, old)| new.chains == old.chains);
        if !is_same {
            (self.fields, self.fresh) = (fields, Fresh::All);
        }
    }
}

/// The heaviest block of each chain that has any.
fn tips(web: &impl Source) -> Result<Members, QueryError> {
    let mut tips = Vec::new();
    for chain in web.version().chain_ids() {
        tips.extend(web.below_tip(chain, None)?.as_ref().map(member));
    }
    Ok(tips.into())
}

/// What a cut holds for a member.
const fn member(block: &Candidate) -> (ChainId, Rank, Weight) {
    (block.chain, block.rank, block.weight)
}

#[cfg(test)]
mod tests {
    //! Compares the cut that is kept up to date with a search of all blocks at once.

    use std::collections::BTreeMap;
    use std::thread;

    use hashbrown::HashMap;
    use ruint::aliases::U256;

    use super::web::Source;
    use super::*;
    use crate::header::{AdjacentRecord, RawHeader};
    use crate::network::ChainGraph;
    use crate::tree::cut::{self, Most};
    use crate::types::{ChainwebVersion, Micros};

    /// Histories to try; `PLAIT_CUT_HISTORIES` sets another number (10,000 take a minute or two).
    const HISTORIES: u64 = 400;

    /// How large the histories are, and how many cuts are compared.
    #[derive(Clone, Copy)]
    struct Sizes {
        /// Minimum number of blocks of a history: across the change of the graph, of twenty chains, and of ten.
        /// At most twice as many.
        blocks: [usize; 3],
        /// One of so many cuts is compared: if blocks come one by one, and if up to four come
        /// together.
        compared: [usize; 2],
    }

    const SIZES: Sizes = Sizes { blocks: [120, 160, 80], compared: [24, 6] };

    /// Sizes of histories of which two in 10,000 have a better cut than a search with 1,024 parts
    /// finds.
    const LARGE: Sizes = Sizes { blocks: [200, 300, 120], compared: [6, 1] };

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

    /// Blocks in memory, which a search reads like those of a database.
    #[derive(Clone)]
    struct Memory {
        version: ChainwebVersion,
        /// By chain and rank.
        blocks: BTreeMap<(ChainId, Rank), Header>,
        by_hash: HashMap<BlockHash, Header>,
        is_partial: bool,
        parts_max: Option<usize>,
    }

    impl Memory {
        fn new(version: ChainwebVersion) -> Self {
            let (blocks, by_hash) = (BTreeMap::new(), HashMap::new());
            Self { version, blocks, by_hash, is_partial: false, parts_max: None }
        }

        fn add(&mut self, block: &Header) {
            let view = block.view();
            self.blocks.insert((view.chain(), view.rank()), *block);
            self.by_hash.insert(view.hash(), *block);
        }

        /// Adds blocks in one commit. Returns the cut after it.
        fn commit(
            &mut self,
            standing: &mut Standing,
            blocks: impl Iterator<Item = Header>,
        ) -> Members {
            let mut recent = HashMap::new();
            for block in blocks {
                standing.add(block.view());
                self.add(&block);
                recent.insert(block.view().hash(), block);
            }
            standing.search(self, &recent).unwrap()
        }

        /// The blocks of a chain at heights from `low` to `high`, by ascending rank.
        fn of(
            &self,
            chain: ChainId,
            low: u64,
            high: u64,
        ) -> impl DoubleEndedIterator<Item = HeaderRef<'_>> {
            let end = |height, byte| {
                let (height, hash) = (BlockHeight::new(height), BlockHash::new([byte; 32]));
                (chain, Rank { height, hash })
            };
            self.blocks.range(end(low, 0)..=end(high, 0xFF)).map(|(_, block)| block.view())
        }

        /// The heaviest cut of all blocks, from the heaviest of each graph.
        fn heaviest(&self) -> Option<Vec<Candidate>> {
            let (mut best, mut end): (Option<Vec<Candidate>>, _) = (None, u64::MAX);
            for (first, graph) in self.version.graphs().iter().rev() {
                let list = |chain| self.between(chain, first.get(), end).unwrap();
                let lists: Vec<Vec<Candidate>> = graph.chain_ids().map(list).collect();
                if let Some(cut) = cut::heaviest_unbounded(&lists, graph.diameter())
                    && best.as_deref().is_none_or(|best| cut::weight(&cut) > cut::weight(best))
                {
                    best = Some(cut);
                }
                end = first.get();
            }
            best
        }
    }

    impl Source for Memory {
        fn version(&self) -> ChainwebVersion {
            self.version
        }

        fn is_partial(&self) -> bool {
            self.is_partial
        }

        fn parts_max(&self) -> Option<usize> {
            self.parts_max
        }

        fn highest(&self, chain: ChainId) -> Option<u64> {
            self.of(chain, 0, u64::MAX).next_back().map(|block| block.height().get())
        }

        fn count(&self, chain: ChainId, height: u64) -> u64 {
            self.of(chain, height, height).count() as u64
        }

        fn sealed_most(&self, _: ChainId, _: u64, _: u64) -> Result<Option<Most>, QueryError> {
            Ok(None)
        }

        fn between(
            &self,
            chain: ChainId,
            low: u64,
            high: u64,
        ) -> Result<Vec<Candidate>, QueryError> {
            Ok(self.of(chain, low, high).map(|block| self.candidate(block)).collect())
        }

        fn below_tip(
            &self,
            chain: ChainId,
            height: Option<u64>,
        ) -> Result<Option<Candidate>, QueryError> {
            let tip = self
                .of(chain, 0, u64::MAX)
                .max_by_key(|block| (block.weight(), std::cmp::Reverse(block.rank())));
            let Some(mut block) = tip else { return Ok(None) };
            while height.is_some_and(|height| block.height().get() > height) {
                let Some(below) = self.by_hash.get(&block.parent()) else { return Ok(None) };
                block = below.view();
            }
            Ok(height
                .is_none_or(|height| block.height().get() == height)
                .then(|| self.candidate(block)))
        }
    }

    /// Blocks that are mined one by one, each on a cut of the blocks before it. A cut holds, for each chain,
    /// the number of its member.
    #[derive(Clone)]
    struct Mine {
        version: ChainwebVersion,
        blocks: Vec<Header>,
        parents: Vec<usize>,
    }

    impl Mine {
        fn new(version: ChainwebVersion) -> (Self, Vec<usize>) {
            let blocks: Vec<Header> = version.genesis_headers().collect();
            let all: Vec<usize> = (0..blocks.len()).collect();
            (Self { version, blocks, parents: all.clone() }, all)
        }

        fn height(&self, block: usize) -> u64 {
            self.blocks[block].view().height().get()
        }

        /// Mines a block of a chain that adds this weight, if its neighbours are high enough.
        fn mine(&mut self, cut: &mut [usize], chain: usize, weight: u64) -> bool {
            let parent = self.blocks[cut[chain]];
            let (parent, below) = (parent.view(), self.height(cut[chain]));
            let graph = self.version.parent_graph_at(parent.chain(), BlockHeight::new(below + 1));
            let Some(adjacent) = graph.adjacent(parent.chain()) else { return false };
            let adjacent = adjacent.map(|chain| match cut[chain.index()] {
                member if self.height(member) == below => Some(member),
                member if self.height(member) == below + 1 => Some(self.parents[member]),
                _ => None,
            });
            let [Some(a), Some(b), Some(c)] = adjacent else { return false };
            let named = [a, b, c].map(|block| self.blocks[block].view());
            let number = self.blocks.len();
            // The order of hashes is not the order of mining.
            let mut hash = [0xEE; 32];
            let mixed = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_string();
            hash[..mixed.len()].copy_from_slice(mixed.as_bytes());
            let raw = RawHeader {
                creation_time: Micros::new(0).get().into(),
                parent: parent.hash(),
                adjacents: AdjacentRecord::new(named.map(|block| (block.chain(), block.hash()))),
                weight: Weight::new(parent.weight().get() + U256::from(weight)).to_le(),
                height: (below + 1).into(),
                hash: BlockHash::new(hash),
                ..*parent.raw()
            };
            self.parents.push(cut[chain]);
            self.blocks.push(Header::new(raw).unwrap());
            cut[chain] = number;
            true
        }

        /// Mines layer by layer until every chain has a block at `height`.
        fn grow(&mut self, cut: &mut [usize], height: u64) {
            let chains = self.version.graph_at(BlockHeight::new(height)).order();
            for height in 1..=height {
                for chain in 0..chains {
                    if self.height(cut[chain]) < height {
                        assert!(self.mine(cut, chain, 2));
                    }
                }
            }
        }

        /// Mines about `blocks` blocks on branches that fork off on all chains, each at its own rate and with its
        /// own weights. After `jumps` of a thousand blocks the branch is set back a little.
        fn split(&mut self, random: &mut Random, cut: &[usize], blocks: usize, jumps: usize) {
            let chains = self.version.graph_at(BlockHeight::new(self.height(cut[0]) + 1)).order();
            let (branches, end) = (2 + random.below(2), self.blocks.len() + blocks);
            let mut cuts = vec![vec![cut.to_vec()]; branches];
            let rates: Vec<usize> = (0..branches).map(|_| 1 + random.below(6)).collect();
            let weights: Vec<usize> = (0..branches).map(|_| 1 + random.below(12)).collect();
            for _ in 0..blocks * 30 {
                let branch = random.below(branches);
                if random.below(6) >= rates[branch] {
                    continue;
                }
                let mut cut = cuts[branch].last().unwrap().clone();
                let weight = weights[branch] + random.below(3);
                // Prefer a low chain, so that the branch gets high.
                let mut chain = random.below(chains);
                for _ in 0..3 {
                    let other = random.below(chains);
                    chain = if self.height(cut[other]) < self.height(cut[chain]) {
                        other
                    } else {
                        chain
                    };
                }
                if self.mine(&mut cut, chain, weight as u64) {
                    cuts[branch].push(cut);
                    if random.below(1000) < jumps {
                        let back = random.below(cuts[branch].len().min(30));
                        let len = cuts[branch].len() - back;
                        cuts[branch].truncate(len);
                    }
                }
                if self.blocks.len() >= end {
                    break;
                }
            }
        }

        /// The numbers of the blocks from `first` on, each after its parents, otherwise in random
        /// order.
        fn order(&self, random: &mut Random, first: usize) -> Vec<usize> {
            let numbers: HashMap<BlockHash, usize> =
                self.blocks.iter().enumerate().map(|(i, block)| (block.view().hash(), i)).collect();
            let blocks = self.blocks.len();
            let mut waits = vec![0; blocks];
            let mut above = vec![Vec::new(); blocks];
            for (number, block) in self.blocks.iter().enumerate().skip(first) {
                let view = block.view();
                let named = view.adjacents().iter().map(|(_, hash)| hash).chain([view.parent()]);
                for below in named.filter_map(|hash| numbers.get(&hash)).filter(|i| **i >= first) {
                    waits[number] += 1;
                    above[*below].push(number);
                }
            }
            let mut ready: Vec<usize> = (first..blocks).filter(|i| waits[*i] == 0).collect();
            let (mut order, is_deep) = (Vec::new(), random.below(2) == 0);
            while !ready.is_empty() {
                // Either one branch after the other, or all at once.
                let at = if is_deep && random.below(8) > 0 {
                    ready.len() - 1
                } else {
                    random.below(ready.len())
                };
                let number = ready.swap_remove(at);
                order.push(number);
                for next in &above[number] {
                    waits[*next] -= 1;
                    if waits[*next] == 0 {
                        ready.push(*next);
                    }
                }
            }
            assert_eq!(order.len(), blocks - first);
            order
        }
    }

    /// Adds blocks in commits of random size, and compares each cut. Returns the number of cuts; how many of them
    /// moved to another branch, that is, are above fewer than half of the members before; and how many searches ended
    /// at their bounds.
    fn compare(
        seed: u64,
        random: &mut Random,
        (mine, first): (&Mine, usize),
        sizes: Sizes,
    ) -> [usize; 3] {
        let mut memory = Memory::new(mine.version);
        let mut standing = Standing::new(vec![Ceiling::default(); 20]);
        for block in &mine.blocks[..first] {
            memory.add(block);
            standing.note(block.view());
        }
        standing.search(&memory, &HashMap::new()).unwrap();
        let (order, most) = (mine.order(random, first), [1, 4, 60][random.below(3)]);
        let (mut rest, mut counts) = (order.as_slice(), [0; 3]);
        let mut before: Option<Vec<Candidate>> = None;
        while !rest.is_empty() {
            let (some, more) = rest.split_at((1 + random.below(most)).min(rest.len()));
            rest = more;
            let some = some.iter().map(|number| mine.blocks[*number]);
            let cut = memory.commit(&mut standing, some);
            // A search of all blocks is too slow to compare after every block.
            let compared = match most {
                1 => sizes.compared[0],
                4 => sizes.compared[1],
                _ => 1,
            };
            if compared > 1 && random.below(compared) > 0 && !rest.is_empty() {
                continue;
            }
            let expected = memory.heaviest().unwrap();
            let ranks: Vec<Member> = expected.iter().map(member).collect();
            if *cut != *ranks {
                // Only a search that reached its bounds may miss the heaviest cut; its cut is still
                // consistent.
                assert!(sum(&cut) < sum(&ranks), "seed {seed}, {} blocks left", rest.len());
                agree(mine.version.graph_at(BlockHeight::new(0)), &cut, &memory);
                return [0, 0, 1];
            }
            counts[0] += 1;
            if let Some(before) = &before {
                let stays =
                    before.iter().filter(|block| is_above(&memory, block, &expected)).count();
                counts[1] += usize::from(stays * 2 < before.len());
            }
            before = Some(expected);
        }
        // A tree that is loaded as a whole has the same cut.
        let mut anew = Standing::new(vec![Ceiling::default(); 20]);
        mine.blocks.iter().for_each(|block| anew.note(block.view()));
        let cut = anew.search(&memory, &HashMap::new()).unwrap();
        let last: Vec<Member> = before.unwrap().iter().map(member).collect();
        assert!(*cut == *last || sum(&cut) < sum(&last), "seed {seed}, anew");
        counts[2] += usize::from(*cut != *last);
        counts
    }

    /// Whether the member of a later cut is the block, or above it.
    fn is_above(memory: &Memory, block: &Candidate, cut: &[Candidate]) -> bool {
        let mut above =
            cut.iter().find(|member| member.chain == block.chain).map(|member| member.rank);
        while let Some(rank) = above.filter(|rank| rank.height > block.rank.height) {
            let parent = memory.by_hash[&rank.hash].view().parent();
            above = memory.by_hash.get(&parent).map(|below| below.view().rank());
        }
        above == Some(block.rank)
    }

    /// Makes and compares one history: of ten chains, of twenty, or across the change from ten to
    /// twenty.
    fn history(seed: u64, straight: &(Mine, Vec<usize>), sizes: Sizes) -> [usize; 3] {
        let mut random = Random(seed);
        let jumps = [0, 0, 20, 60][random.below(4)];
        let (mut mine, mut cut, mut blocks) = match random.below(20) {
            0 => (straight.0.clone(), straight.1.clone(), sizes.blocks[0]),
            1 => {
                let (mine, cut) = Mine::new(ChainwebVersion::Development);
                (mine, cut, sizes.blocks[1])
            }
            _ => {
                let (mine, cut) = Mine::new(ChainwebVersion::Mainnet01);
                (mine, cut, sizes.blocks[2])
            }
        };
        if random.below(2) == 0 && mine.blocks.len() == 20 {
            mine.grow(&mut cut, 1 + random.below(3) as u64);
        }
        let first = mine.blocks.len();
        blocks += random.below(blocks);
        mine.split(&mut random, &cut, blocks, jumps);
        compare(seed, &mut random, (&mine, first), sizes)
    }

    fn straight() -> (Mine, Vec<usize>) {
        let (mut mine, mut cut) = Mine::new(ChainwebVersion::RecapDevelopment);
        mine.grow(&mut cut, 56);
        (mine, cut)
    }

    #[test]
    fn the_cut_is_the_heaviest_of_all_blocks_after_every_commit_of_histories_that_split_on_all_chains()
     {
        let histories =
            std::env::var("PLAIT_CUT_HISTORIES").ok().and_then(|count| count.parse().ok());
        let histories: u64 = histories.unwrap_or(HISTORIES);
        let (straight, threads) = (straight(), 2);
        let add = |a: [usize; 3], b: [usize; 3]| [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
        let counts: Vec<[usize; 3]> = thread::scope(|scope| {
            let part = |part: u64| {
                let straight = &straight;
                scope.spawn(move || {
                    let seeds = (1..=histories).filter(|seed| seed % threads == part);
                    seeds.map(|seed| history(seed, straight, SIZES)).fold([0; 3], add)
                })
            };
            let parts: Vec<_> = (0..threads).map(part).collect();
            parts.into_iter().map(|part| part.join().unwrap()).collect()
        });
        let [cuts, moves, beyond] = counts.into_iter().fold([0; 3], add);
        let counts = format!("{cuts} cuts, {moves} moves, {beyond} beyond the bounds");
        assert!(cuts as u64 > histories * 2 && moves as u64 * 10 > histories, "{counts}");
        assert!(beyond as u64 <= histories / 2_000, "{counts}");
    }

    #[test]
    fn histories_that_need_more_than_1024_parts_of_a_search_have_the_heaviest_cut() {
        let straight = straight();
        for seed in [1012, 4695] {
            let [cuts, _, beyond] = history(seed, &straight, LARGE);
            assert!(
                cuts > 0 && beyond == 0,
                "seed {seed}: {cuts} cuts, {beyond} beyond the bounds"
            );
        }
    }

    #[test]
    fn a_search_that_reaches_its_bounds_leaves_a_consistent_cut_that_is_not_lighter() {
        let (mut bounded, mut anew_below) = (0, 0);
        for seed in 1..60 {
            let mut random = Random(seed);
            let (mut mine, cut) = Mine::new(ChainwebVersion::Mainnet01);
            let first = mine.blocks.len();
            mine.split(&mut random, &cut, 160, 60);
            let graph = mine.version.graphs()[0].1;
            let mut memory = Memory { parts_max: Some(1), ..Memory::new(mine.version) };
            let mut standing = Standing::new(vec![Ceiling::default(); 20]);
            for block in &mine.blocks[..first] {
                memory.add(block);
                standing.note(block.view());
            }
            let mut before = U256::ZERO;
            for some in mine.order(&mut random, first).chunks(3) {
                let some = some.iter().map(|number| mine.blocks[*number]);
                let cut = memory.commit(&mut standing, some);
                agree(graph, &cut, &memory);
                assert!(sum(&cut) >= before, "seed {seed}");
                before = sum(&cut);
            }
            let heaviest = memory.heaviest().unwrap();
            let heaviest: Vec<Member> = heaviest.iter().map(member).collect();
            bounded += usize::from(before < sum(&heaviest));
            // No cut is known, as when such a database is opened.
            let mut anew = Standing::new(vec![Ceiling::default(); 20]);
            mine.blocks.iter().for_each(|block| anew.note(block.view()));
            let cut = anew.search(&memory, &HashMap::new()).unwrap();
            agree(graph, &cut, &memory);
            anew_below += usize::from(sum(&cut) < sum(&heaviest));
        }
        assert!(bounded > 10 && anew_below > 10, "{bounded} and {anew_below} ended at the bounds");
    }

    fn sum(members: &[Member]) -> U256 {
        members.iter().fold(U256::ZERO, |sum, (_, _, weight)| sum + weight.get())
    }

    fn agree(graph: ChainGraph, members: &[Member], memory: &Memory) {
        let lists: Vec<Vec<Candidate>> = members
            .iter()
            .map(|(_, rank, _)| {
                let block = memory.by_hash[&rank.hash];
                let below = memory.by_hash.get(&block.view().parent());
                below
                    .into_iter()
                    .chain([&block])
                    .map(|block| memory.candidate(block.view()))
                    .collect()
            })
            .collect();
        let tips = lists.iter().map(|list| vec![list.last().unwrap().clone()]);
        let tips: Vec<Vec<Candidate>> = tips.collect();
        assert!(cut::heaviest(&tips, graph.diameter()).is_some(), "{members:?}");
    }

    #[test]
    fn a_web_of_forks_on_forks_has_a_consistent_cut_that_never_gets_lighter() {
        let (mut mine, cut) = Mine::new(ChainwebVersion::Mainnet01);
        let mut random = Random(11);
        // Branches on branches, set back all the time, so that most blocks agree with blocks of many
        // branches.
        let mut cuts = vec![cut; 70];
        while mine.blocks.len() < 12_000 {
            let branch = random.below(cuts.len());
            let mut cut = cuts[branch].clone();
            let weight = 1 + random.below(40) as u64;
            if mine.mine(&mut cut, random.below(10), weight) {
                let other = if random.below(3) == 0 { random.below(cuts.len()) } else { branch };
                cuts[other] = cut;
            }
        }
        let mut memory = Memory::new(mine.version);
        let mut standing = Standing::new(vec![Ceiling::default(); 20]);
        let (graph, mut before, mut heights) = (mine.version.graphs()[0].1, U256::ZERO, 0);
        for some in mine.blocks.chunks(100) {
            let cut = memory.commit(&mut standing, some.iter().copied());
            agree(graph, &cut, &memory);
            let weight = cut.iter().fold(U256::ZERO, |sum, (_, _, weight)| sum + weight.get());
            assert!(weight >= before);
            heights += usize::from(weight > before);
            before = weight;
        }
        let widest = (0..10).map(|chain| memory.count(ChainId::new(chain), 10)).max().unwrap();
        assert!(widest > 64 && heights > 20, "{widest} blocks at one height, {heights} advances");
    }

    #[test]
    fn a_block_that_comes_below_others_can_end_a_cut_of_a_partial_history() {
        // Blocks of chain 4 from two branches: only the block at 7 shows which branch those at 8 are on.
        let (mut mine, mut cut) = Mine::new(ChainwebVersion::Development);
        mine.grow(&mut cut, 5);
        let (first, mut other) = (mine.blocks.len(), cut.clone());
        mine.grow(&mut cut, 8);
        let middle = mine.blocks.len();
        mine.grow(&mut other, 8);
        let on = |number: &usize, chain: u32| mine.blocks[*number].view().chain().get() == chain;
        let at = |number: &usize, height: u64| mine.height(*number) == height;
        let held = (first..middle).filter(|number| !on(number, 4) && mine.height(*number) >= 6);
        let other_tip = (middle..mine.blocks.len()).filter(|number| on(number, 4) && at(number, 8));
        let own = (first..middle).filter(|number| on(number, 4) && mine.height(*number) >= 6);
        let mut memory = Memory { is_partial: true, ..Memory::new(mine.version) };
        let mut standing = Standing::new(vec![Ceiling::default(); 20]);
        let order: Vec<usize> = held.chain(other_tip).chain(own).collect();
        for number in order {
            let block = mine.blocks[number];
            standing.add(block.view());
            if memory.by_hash.values().any(|above| above.view().parent() == block.view().hash()) {
                standing.add_below(block.view().chain(), block.view().height());
            }
            memory.add(&block);
            let recent = HashMap::from([(block.view().hash(), block)]);
            let cut = standing.search(&memory, &recent).unwrap();
            let lists: Vec<_> = mine
                .version
                .chain_ids()
                .map(|chain| memory.between(chain, 0, 99).unwrap())
                .collect();
            if lists.iter().all(|list| !list.is_empty()) {
                let expected = cut::heaviest_unbounded(&lists, 3);
                let expected = expected.map(|cut| cut.iter().map(member).collect::<Vec<_>>());
                assert_eq!(expected.unwrap_or_else(|| tips(&memory).unwrap().to_vec()), *cut);
            }
        }
    }
}
