//! The heaviest cut of whole databases, against trying all of them.

use std::io::Cursor;
use std::sync::atomic::AtomicBool;

use plait_engine::header::{AdjacentRecord, merkle};
use plait_engine::network::ChainGraph;
use plait_engine::replay::{Admission, Replay, source::Binary};
use plait_engine::store::History;
use plait_engine::verify::{Level, Verifier};
use plait_engine::{
    BlockHash, BlockHeight, ChainId, ChainwebVersion, Cut, Engine, Header, HeaderRef, Micros,
    RawHeader, Reader, Weight,
};
use tempfile::TempDir;

/// Random numbers (xorshift64*): the same for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end as u64).unwrap()
    }
}

/// Blocks that were mined one by one, each on a cut of those before it. The first are the
/// network's genesis blocks.
#[derive(Clone)]
pub(crate) struct Web {
    pub(crate) version: ChainwebVersion,
    pub(crate) blocks: Vec<Header>,
    parents: Vec<usize>,
    pub(crate) cuts: Vec<Vec<usize>>,
}

impl Web {
    pub(crate) fn new(version: ChainwebVersion) -> Self {
        let blocks: Vec<Header> = version.genesis_headers().collect();
        let all: Vec<usize> = (0..blocks.len()).collect();
        Self { version, blocks, parents: all.clone(), cuts: vec![all] }
    }

    pub(crate) fn height(&self, block: usize) -> u64 {
        self.blocks[block].view().height().get()
    }

    fn weight(&self, block: usize) -> u64 {
        u64::try_from(self.blocks[block].view().weight().get()).unwrap()
    }

    /// Mines layer by layer on the last cut until every chain has blocks at `height`.
    pub(crate) fn grow(&mut self, height: u64, random: &mut Random) {
        for height in 1..=height {
            for chain in 0..20 {
                let last = self.cuts.len() - 1;
                if self.height(self.cuts[last][chain]) < height {
                    assert!(self.mine(last, chain, random));
                }
            }
        }
    }

    /// Mines about `blocks` blocks on three cuts at once; of a thousand blocks `jumps` are
    /// followed by one of these cuts being set back.
    pub(crate) fn braid(&mut self, random: &mut Random, blocks: usize, jumps: usize) {
        let (first, end) = (self.cuts.len() - 1, self.blocks.len() + blocks);
        let mut tips = [first; 3];
        for _ in 0..blocks * 20 {
            let tip = random.below(tips.len());
            if self.mine(tips[tip], random.below(20), random) {
                tips[tip] = self.cuts.len() - 1;
                if random.below(1000) < jumps {
                    tips[tip] -= random.below((tips[tip] - first).min(60) + 1);
                }
            } else if random.below(1000) < jumps {
                tips[tip] = tips[random.below(tips.len())];
            }
            if self.blocks.len() >= end {
                break;
            }
        }
    }

    /// Mines a block of a chain, if its neighbours are high enough.
    fn mine(&mut self, cut: usize, chain: usize, random: &mut Random) -> bool {
        let more = 1 + random.below(3) as u64;
        self.mine_heavy(cut, chain, more, random)
    }

    /// The same, where the block is `more` heavier than its parent.
    pub(crate) fn mine_heavy(
        &mut self,
        cut: usize,
        chain: usize,
        more: u64,
        random: &mut Random,
    ) -> bool {
        let mut cut = self.cuts[cut].clone();
        let parent = self.blocks[cut[chain]];
        let below = self.height(cut[chain]);
        let id = parent.view().chain();
        let graph = self.version.parent_graph_at(id, BlockHeight::new(below + 1));
        let Some(adjacent) = graph.adjacent(id) else { return false };
        let adjacent = adjacent.map(|chain| match cut[chain.index()] {
            member if self.height(member) == below => Some(member),
            member if self.height(member) == below + 1 => Some(self.parents[member]),
            _ => None,
        });
        let [Some(a), Some(b), Some(c)] = adjacent else { return false };
        let named = [a, b, c].map(|block| self.blocks[block].view());
        let weight = self.weight(cut[chain]) + more;
        let mut raw = *parent.view().raw();
        raw.parent = parent.view().hash();
        raw.adjacents = AdjacentRecord::new(named.map(|block| (block.chain(), block.hash())));
        raw.weight = words(weight);
        raw.height = (below + 1).into();
        raw.nonce = (random.below(usize::MAX) as u64).into();
        raw.hash = merkle::block_hash(HeaderRef::new(&raw).unwrap());
        self.parents.push(cut[chain]);
        cut[chain] = self.blocks.len();
        self.blocks.push(Header::new(raw).unwrap());
        self.cuts.push(cut);
        true
    }

    /// The past of every block from `low` on, itself too, by chain and height.
    fn pasts(&self, low: u64) -> Vec<Vec<Option<usize>>> {
        let find = |hash| self.blocks.iter().position(|block| block.view().hash() == hash);
        let mut pasts: Vec<Vec<Option<usize>>> = Vec::with_capacity(self.blocks.len());
        for (number, block) in self.blocks.iter().enumerate() {
            let mut past = vec![None; 20 * HEIGHTS];
            if self.height(number) >= low {
                past[slot(block, low)] = Some(number);
                let named = block.view().adjacents().iter().filter_map(|(_, hash)| find(hash));
                for from in named.chain([self.parents[number]]).filter(|from| *from < number) {
                    for (held, other) in past.iter_mut().zip(&pasts[from]) {
                        *held = held.or(*other);
                    }
                }
            }
            pasts.push(past);
        }
        pasts
    }

    /// The greatest weight of a cut of the graph at height `low` of blocks from there to `high`,
    /// by trying all of them. `without` says which blocks do not count.
    fn oracle(&self, low: u64, high: u64, without: impl Fn(Header) -> bool) -> Option<u64> {
        let pasts = self.pasts(low.saturating_sub(4));
        let graph = self.version.graph_at(BlockHeight::new(low));
        let on = |chain: ChainId| -> Vec<usize> {
            let numbers = (0..self.blocks.len()).filter(|block| {
                self.blocks[*block].view().chain() == chain
                    && (low..=high).contains(&self.height(*block))
                    && !without(self.blocks[*block])
            });
            numbers.collect()
        };
        let lists: Vec<Vec<usize>> = graph.chain_ids().map(on).collect();
        let below = |past: &[Option<usize>], top: usize| {
            let above = slot(&self.blocks[top], low.saturating_sub(4)) + 1;
            past[above..above.next_multiple_of(HEIGHTS)].iter().all(Option::is_none)
        };
        let agree = |a: usize, b: usize| {
            let mut both = pasts[a].iter().zip(&pasts[b]);
            let one = both.all(|(x, y)| x.is_none() || y.is_none() || x == y);
            one && below(&pasts[a], b) && below(&pasts[b], a)
        };
        let mut best = None;
        self.extend(&lists, 0, &agree, &mut best);
        best
    }

    /// Tries every block of the first list with all blocks of the others that agree with it.
    fn extend(
        &self,
        lists: &[Vec<usize>],
        sum: u64,
        agree: &impl Fn(usize, usize) -> bool,
        best: &mut Option<u64>,
    ) {
        let most = |list: &Vec<usize>| list.iter().map(|block| self.weight(*block)).max();
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
                list.iter().copied().filter(|block| agree(*member, *block)).collect()
            };
            let others: Vec<Vec<usize>> = others.iter().map(left).collect();
            self.extend(&others, sum + self.weight(*member), agree, best);
        }
    }
}

/// Heights of a past, from its lowest on.
const HEIGHTS: usize = 24;

fn slot(block: &Header, low: u64) -> usize {
    let height = usize::try_from(block.view().height().get() - low).unwrap();
    assert!(height < HEIGHTS);
    block.view().chain().index() * HEIGHTS + height
}

fn words(weight: u64) -> [u8; 32] {
    Weight::new(weight.try_into().unwrap()).to_le()
}

pub(crate) fn weight(cut: &Cut) -> u64 {
    u64::try_from(cut.weight().get()).unwrap()
}

/// A database of these blocks.
pub(crate) fn database<'a>(
    version: ChainwebVersion,
    history: History,
    blocks: impl IntoIterator<Item = &'a Header>,
) -> (TempDir, Reader) {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader) = Engine::open_or_create(dir.path(), Some(version), history).unwrap();
    let bytes: Vec<u8> = blocks.into_iter().flat_map(|block| *block.view().as_bytes()).collect();
    let verifier = Verifier::new(version, Level::None, Micros::new(i64::MAX));
    let admission = match history {
        History::Full => Admission::Genesis,
        History::Partial => Admission::Any,
    };
    let stop = AtomicBool::new(false);
    let mut replay = Replay::new(&mut writer, verifier, admission, false, &stop);
    let source = Binary::streamed("memory".to_owned(), Box::new(Cursor::new(bytes)));
    replay.run(Box::new(source), &mut |_| ()).unwrap();
    let summary = replay.finish(&mut |_| ()).unwrap();
    assert_eq!((summary.rejected, summary.waiting), (0, 0));
    writer.publish();
    (dir, reader)
}

/// The headers of a cut, by ascending chain.
pub(crate) fn members(reader: &Reader, cut: &Cut) -> Vec<Header> {
    let view = reader.view();
    let mut blocks: Vec<Header> =
        cut.blocks().map(|(chain, _, hash)| view.header(chain, &hash).unwrap().unwrap()).collect();
    blocks.sort_by_key(|block| block.view().chain());
    blocks
}

/// Whether the blocks of adjacent chains are concurrent.
pub(crate) fn concurrent(graph: ChainGraph, blocks: &[Header]) -> bool {
    let names = |a: HeaderRef<'_>, b: HeaderRef<'_>, hash: BlockHash| {
        a.adjacents().on(b.chain()) == Some(hash)
    };
    let pair = |a: HeaderRef<'_>, b: HeaderRef<'_>| {
        let (x, y) = (a.height().get(), b.height().get());
        x == y && names(a, b, b.parent()) && names(b, a, a.parent())
            || x == y + 1 && names(a, b, b.hash())
            || y == x + 1 && names(b, a, a.hash())
    };
    let edge = |a: HeaderRef<'_>, b: HeaderRef<'_>| {
        graph.adjacent(a.chain()).unwrap().contains(&b.chain())
    };
    let views = || blocks.iter().map(Header::view);
    views().all(|a| views().all(|b| !edge(a, b) || pair(a, b)))
}

#[test]
fn cut_is_the_heaviest_of_all_of_a_random_web() {
    let version = ChainwebVersion::Development;
    for seed in 1..60 {
        let mut random = Random(seed);
        let mut web = Web::new(version);
        let (blocks, jumps) = (random.below(260), [0, 10, 30, 100][random.below(4)]);
        web.braid(&mut random, blocks, jumps);
        let (_dir, reader) = database(version, History::Full, &web.blocks);
        let cut = reader.view().cut(None).unwrap();
        let members = members(&reader, &cut);
        assert!(members.len() == 20 && concurrent(version.graphs()[0].1, &members));
        assert_eq!(Some(weight(&cut)), web.oracle(0, u64::MAX, |_| false), "seed {seed}");
    }
}

#[test]
fn cut_is_the_heaviest_where_the_graph_changes() {
    let version = ChainwebVersion::RecapDevelopment;
    let mut chains = [0, 0];
    let mut straight = Web::new(version);
    straight.grow(57, &mut Random(99));
    for seed in 1..60 {
        let (mut random, mut web) = (Random(seed), straight.clone());
        let (blocks, jumps) = (random.below(500), [0, 10, 30, 100][random.below(4)]);
        web.braid(&mut random, blocks, jumps);
        let (_dir, reader) = database(version, History::Full, &web.blocks);
        let cut = reader.view().cut(None).unwrap();
        // Among equally heavy cuts, the one of the newer graph.
        let twenty = web.oracle(60, u64::MAX, |_| false);
        let ten = web.oracle(54, 60, |_| false);
        assert_eq!(Some(weight(&cut)), twenty.max(ten), "seed {seed}");
        let is_twenty = twenty.is_some() && twenty >= ten;
        assert_eq!(cut.blocks().count(), if is_twenty { 20 } else { 10 });
        chains[usize::from(is_twenty)] += 1;
        if !is_twenty {
            assert!(concurrent(version.graphs()[0].1, &members(&reader, &cut)));
        }
    }
    assert!(chains.iter().all(|count| *count > 5), "{chains:?}");
}

/// Two webs that part at height 100; of the one some chains are held, of the other the rest.
fn parted(heights: u64) -> (Web, Vec<Header>) {
    let version = ChainwebVersion::Development;
    let mut web = Web::new(version);
    let mut random = Random(5);
    web.grow(100, &mut random);
    let (common, mut other) = (web.blocks.len(), web.clone());
    web.grow(heights, &mut random);
    other.grow(heights, &mut random);
    let on = |block: &&Header, first: bool| (block.view().chain().get() < 7) == first;
    let held = web.blocks.iter().take(common);
    let held = held.chain(web.blocks.iter().skip(common).filter(|block| on(block, true)));
    let held = held.chain(other.blocks.iter().skip(common).filter(|block| on(block, false)));
    let held = held.copied().collect();
    other.blocks.truncate(common + 20 * 6);
    web.blocks.truncate(common + 20 * 6);
    let more: Vec<Header> = other.blocks.split_off(common);
    let parents: Vec<usize> = other.parents[common..common + more.len()].to_vec();
    let shift = web.blocks.len() - common;
    let shifted = |parent: usize| if parent < common { parent } else { parent + shift };
    web.parents.truncate(web.blocks.len());
    web.parents.extend(parents.into_iter().map(shifted));
    web.blocks.extend(more);
    (web, held)
}

#[test]
fn chains_that_part_far_below_their_tips_have_the_cut_where_they_part() {
    for heights in [103, 160, 500] {
        let (web, held) = parted(heights);
        let (_dir, reader) = database(web.version, History::Full, &held);
        let cut = reader.view().cut(None).unwrap();
        let lacks = |block: Header| !held.contains(&block);
        assert_eq!(Some(weight(&cut)), web.oracle(97, 106, lacks));
        assert!(concurrent(web.version.graphs()[0].1, &members(&reader, &cut)));
    }
}

#[test]
fn a_chain_far_above_the_others_does_not_move_the_cut() {
    let version = ChainwebVersion::Development;
    let mut web = Web::new(version);
    for _ in 0..30_000 {
        let mut raw: RawHeader = *web.blocks.last().unwrap().view().raw();
        if web.blocks.len() == 20 {
            raw = *web.blocks[3].view().raw();
        }
        raw.parent = raw.hash;
        raw.height = (raw.height.get() + 1).into();
        raw.weight = words(raw.height.get());
        let height = u8::try_from(raw.height.get() % 251).unwrap();
        let strange = [8, 13, 18].map(|id| (ChainId::new(id), BlockHash::new([height; 32])));
        let genesis =
            [8, 13, 18].map(|id| (ChainId::new(id), web.blocks[id as usize].view().hash()));
        raw.adjacents = AdjacentRecord::new(if raw.height.get() == 1 { genesis } else { strange });
        raw.hash = merkle::block_hash(HeaderRef::new(&raw).unwrap());
        web.blocks.push(Header::new(raw).unwrap());
    }
    let (_dir, reader) = database(version, History::Full, &web.blocks);
    let cut = reader.view().cut(None).unwrap();
    assert_eq!((cut.height(), cut.blocks().count()), (1, 20));
    assert!(concurrent(version.graphs()[0].1, &members(&reader, &cut)));
}

#[test]
fn parts_that_lie_apart_have_the_heaviest_block_of_each_chain() {
    let mut web = Web::new(ChainwebVersion::Development);
    web.grow(40, &mut Random(3));
    let part = |block: &&Header| {
        let (chain, height) = (block.view().chain().get(), block.view().height().get());
        if chain == 4 { height > 30 } else { chain < 15 && (5..20).contains(&height) }
    };
    let held: Vec<Header> = web.blocks.iter().filter(part).copied().collect();
    let (_dir, reader) = database(web.version, History::Partial, &held);
    let cut = reader.view().cut(None).unwrap();
    assert_eq!((cut.blocks().count(), cut.height()), (15, 14 * 19 + 40));
}

#[test]
fn a_cut_height_is_shared_out_among_the_chains_of_its_graph() {
    let version = ChainwebVersion::RecapDevelopment;
    let mut web = Web::new(version);
    web.grow(70, &mut Random(8));
    let (_dir, reader) = database(version, History::Full, &web.blocks);
    let flat = |max: u64| {
        let cut = reader.view().cut(Some(max)).unwrap();
        let heights: Vec<u64> = cut.blocks().map(|(_, height, _)| height.get()).collect();
        assert!(heights.iter().all(|height| *height == heights[0]), "{max}: {heights:?}");
        (heights.len(), heights[0])
    };
    assert_eq!([flat(0), flat(9), flat(10), flat(599)], [(10, 0), (10, 0), (10, 1), (10, 59)]);
    // Below 60 · 20 the graph of that cut height has ten chains.
    assert_eq!([flat(605), flat(1199), flat(1200)], [(20, 60), (20, 70), (20, 60)]);
    assert_eq!([flat(1219), flat(1220), flat(u64::MAX)], [(20, 60), (20, 61), (20, 70)]);
}
