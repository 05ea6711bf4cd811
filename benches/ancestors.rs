//! Bounds → ranks, on the tree alone: no bytes, no disk.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::rc::Rc;

use criterion::{Criterion, Throughput};
use fixtures::{PAGE, size};
use plait_engine::tree::{Ancestors, Forest, NodeId, Part, Place};
use plait_engine::{BlockHash, BlockHeight, Rank, Weight};

use crate::time;

/// Blocks of the line, unless `BENCH_TREE_BLOCKS` says otherwise.
const BLOCKS: u64 = 1_000_000;

/// Heights from one block of the line with a sibling to the next.
const SIBLING_EVERY: usize = 100;

pub(crate) fn stage(criterion: &mut Criterion) {
    let tree = OnceCell::new();
    let mut group = criterion.benchmark_group("ancestors/page_360");
    group.throughput(Throughput::Elements(PAGE as u64));
    let mut case = |name: &str, ask: fn(&Drawn) -> Asked| {
        let prepare = || {
            let drawn = tree.get_or_init(Drawn::new);
            let asked = ask(drawn);
            let prepared = Prepared::new(drawn, &asked);
            let page = prepared.page();
            assert_eq!(page.len(), PAGE);
            assert_eq!(page, drawn.walk(&asked));
            prepared
        };
        time(&mut group, name, prepare, Prepared::page);
    };
    case("bounds=1", Drawn::below_tip);
    case("bounds=32", |drawn| drawn.below_many(32));
    case("bounds=1024", |drawn| drawn.below_many(1024));
    case("bounds=4096", |drawn| drawn.below_many(4096));
    case("lower_near", |drawn| Asked { lower: vec![drawn.tip - PAGE], ..drawn.below_tip() });
    case("lower_far", |drawn| Asked { lower: vec![PAGE], ..drawn.below_tip() });
    case("maxheight_low", |drawn| Asked { max: 2 * PAGE as u64, ..drawn.below_tip() });
    case("cursor_deep", |drawn| Asked { cursor: Some(2 * PAGE), ..drawn.below_tip() });
    case("in_fork", |drawn| Asked { upper: vec![drawn.fork_tip], ..drawn.below_tip() });
    group.finish();
}

/// A line from height 0, a sibling beside every hundredth block of it, and a fork from its middle that
/// is a tenth as long. The number of a block of the line is its height.
struct Drawn {
    forest: Rc<Forest>,
    ranks: Vec<Rank>,
    parents: Vec<Option<usize>>,
    tip: usize,
    fork_tip: usize,
}

/// A query, in numbers of blocks.
struct Asked {
    upper: Vec<usize>,
    lower: Vec<usize>,
    max: u64,
    cursor: Option<usize>,
}

/// A query as the engine takes it.
struct Prepared {
    forest: Rc<Forest>,
    upper: Vec<Place>,
    lower: Vec<Place>,
    max: BlockHeight,
    cursor: Option<Place>,
}

impl Drawn {
    fn new() -> Self {
        let blocks = size("BENCH_TREE_BLOCKS", BLOCKS).max(100 * PAGE as u64);
        let blocks = usize::try_from(blocks).expect("a number of blocks");
        let tip = blocks - 1;
        let mut parents: Vec<Option<usize>> =
            (0..blocks).map(|block| block.checked_sub(1)).collect();
        parents.extend((SIBLING_EVERY..blocks).step_by(SIBLING_EVERY).map(|block| Some(block - 1)));
        parents.push(Some(blocks / 2));
        parents.extend((parents.len() - 1..).take(blocks / 10 - 1).map(Some));

        let mut random = fastrand::Rng::with_seed(1848);
        let (mut forest, mut ranks) = (Forest::default(), Vec::<Rank>::new());
        for parent in &parents {
            let below = parent.map(|parent| ranks[parent]);
            let height = below.map_or(0, |below| below.height.get() + 1);
            let mut hash = [0; 32];
            random.fill(&mut hash);
            let rank = Rank { height: BlockHeight::new(height), hash: BlockHash::new(hash) };
            let parent = below.map_or(BlockHash::new([0; 32]), |below| below.hash);
            forest.insert(rank, parent, Weight::from_le([0; 32]));
            ranks.push(rank);
        }
        let fork_tip = ranks.len() - 1;
        Self { forest: Rc::new(forest), ranks, parents, tip, fork_tip }
    }

    fn below_tip(&self) -> Asked {
        Asked { upper: vec![self.tip], lower: Vec::new(), max: u64::MAX, cursor: None }
    }

    /// The tip, and other blocks of all heights and on all forks.
    fn below_many(&self, bounds: usize) -> Asked {
        let others = (1..bounds).map(|i| i * (self.ranks.len() / bounds));
        Asked { upper: others.chain([self.tip]).collect(), ..self.below_tip() }
    }

    /// The slow twin: walks every parent of every bound.
    fn walk(&self, asked: &Asked) -> Vec<Rank> {
        let below = |bounds: &[usize]| {
            let mut found = vec![false; self.ranks.len()];
            for bound in bounds {
                let mut next = Some(*bound);
                while let Some(block) = next.filter(|block| !found[*block]) {
                    found[block] = true;
                    next = self.parents[block];
                }
            }
            found
        };
        let (upper, lower) = (below(&asked.upper), below(&asked.lower));
        let blocks = (0..self.ranks.len()).filter(|block| upper[*block] && !lower[*block]);
        let mut ranks: Vec<Rank> = blocks.map(|block| self.ranks[block]).collect();
        ranks.retain(|rank| rank.height.get() <= asked.max);
        ranks.sort_unstable_by_key(|rank| (Reverse(rank.height), rank.hash));
        let cursor = asked.cursor.map(|cursor| self.ranks[cursor]);
        let from = ranks.into_iter().skip_while(|rank| cursor.is_some_and(|at| at != *rank));
        from.take(PAGE).collect()
    }
}

impl Prepared {
    fn new(drawn: &Drawn, asked: &Asked) -> Self {
        let forest = Rc::clone(&drawn.forest);
        let id = |block: &usize| forest.find(&drawn.ranks[*block].hash).expect("it was inserted");
        let place = |block: &usize| Place::Node(id(block));
        let (upper, lower) =
            (asked.upper.iter().map(place).collect(), asked.lower.iter().map(place).collect());
        let cursor = asked.cursor.map(|cursor| place(&cursor));
        let max = BlockHeight::new(asked.max);
        Self { forest, upper, lower, max, cursor }
    }

    fn page(&self) -> Vec<Rank> {
        let (forest, min) = (&*self.forest, BlockHeight::new(0));
        let mut ancestors = Ancestors::new(forest, &self.upper, &self.lower, min, self.max);
        if let Some(cursor) = self.cursor {
            ancestors.skip_to(forest, cursor);
        }
        let rank = |id: NodeId| forest.rank(id);
        let mut page = Vec::with_capacity(PAGE);
        while page.len() < PAGE
            && let Some(part) = ancestors.next(forest, (PAGE - page.len()) as u64)
        {
            match part {
                Part::Line { top: Place::Node(top), bottom } => {
                    page.extend(forest.line(top, bottom).map(rank));
                }
                Part::Level(places) => {
                    let nodes = places.iter().filter_map(|place| match place {
                        Place::Node(id) => Some(rank(*id)),
                        Place::Trunk(_) => None,
                    });
                    let mut level: Vec<Rank> = nodes.collect();
                    level.sort_unstable();
                    page.extend(level);
                }
                Part::Line { top: Place::Trunk(_), .. } => {}
            }
        }
        page.truncate(PAGE);
        page
    }
}
