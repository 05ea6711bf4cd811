//! The cut of databases with branches that fork on all chains, while blocks arrive a few at a time.

use std::io::Cursor;
use std::num::NonZeroU32;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use plait_engine::network::ChainGraph;
use plait_engine::replay::{Admission, Replay, source::Binary};
use plait_engine::store::{CacheSizes, History};
use plait_engine::tree::Sealing;
use plait_engine::tree::cut::{Candidate, heaviest};
use plait_engine::types::RunLength;
use plait_engine::verify::{Level, Verifier};
use plait_engine::{
    BlockHeight, ChainId, ChainwebVersion, Engine, Header, Micros, Past, Rank, Reader, Writer,
};
use tempfile::TempDir;
use testkit::say;

use crate::cut::{Random, Web, concurrent, members, weight};

/// A database to which a test adds blocks.
struct Growing {
    writer: Writer,
    reader: Reader,
    folder: TempDir,
    version: ChainwebVersion,
    sealing: Sealing,
}

impl Growing {
    fn new(version: ChainwebVersion, run_length: u32, window: u64) -> Self {
        let run_length = RunLength::new(NonZeroU32::new(run_length).unwrap());
        let sealing = Sealing { run_length, window };
        let folder = tempfile::tempdir().unwrap();
        let (writer, reader) =
            Engine::open_or_create_sealing(folder.path(), Some(version), History::Full, sealing)
                .unwrap();
        Self { writer, reader, folder, version, sealing }
    }

    /// Stores blocks in one commit, and publishes them.
    fn add(&mut self, blocks: &[Header]) {
        let bytes: Vec<u8> = blocks.iter().flat_map(|block| *block.view().as_bytes()).collect();
        let verifier = Verifier::new(self.version, Level::None, Micros::new(i64::MAX));
        let stop = AtomicBool::new(false);
        let mut replay = Replay::new(&mut self.writer, verifier, Admission::Genesis, false, &stop);
        let source = Binary::streamed("memory".to_owned(), Box::new(Cursor::new(bytes)));
        replay.run(Box::new(source), &mut |_| ()).unwrap();
        let summary = replay.finish(&mut |_| ()).unwrap();
        assert_eq!((summary.rejected, summary.waiting), (0, 0));
        self.writer.publish();
    }

    fn reopen(self) -> Self {
        let Self { writer, reader, folder, version, sealing } = self;
        drop((writer, reader));
        let opened =
            Engine::open_or_create_sealing(folder.path(), Some(version), History::Full, sealing);
        let (writer, reader) = opened.unwrap();
        Self { writer, reader, folder, version, sealing }
    }

    fn cut(&self) -> Vec<(ChainId, BlockHeight, plait_engine::BlockHash)> {
        self.reader.view().cut(None).unwrap().blocks().collect()
    }
}

fn candidate(version: ChainwebVersion, block: &Header) -> Candidate {
    let block = block.view();
    let first = version.genesis_height(block.chain()) == Some(block.height());
    Candidate {
        chain: block.chain(),
        rank: block.rank(),
        parent: block.parent(),
        adjacents: (!first).then(|| block.adjacents().all()),
        weight: block.weight(),
    }
}

/// The heaviest cut among these blocks, from a search of all of them at once.
fn reference<'a>(
    version: ChainwebVersion,
    blocks: &(impl Iterator<Item = &'a Header> + Clone),
) -> Vec<(ChainId, Rank)> {
    let graph = version.graphs()[0].1;
    let list = |chain: ChainId| {
        let on = blocks.clone().filter(|block| block.view().chain() == chain);
        let mut list: Vec<Candidate> = on.map(|block| candidate(version, block)).collect();
        list.sort_by_key(|block| block.rank);
        list
    };
    let lists: Vec<Vec<Candidate>> = graph.chain_ids().map(list).collect();
    let cut = heaviest(&lists, graph.diameter()).unwrap();
    cut.iter().map(|block| (block.chain, block.rank)).collect()
}

fn sorted(growing: &Growing) -> Vec<(ChainId, Rank)> {
    let mut cut: Vec<_> = growing.cut();
    cut.sort_by_key(|(chain, _, _)| *chain);
    cut.into_iter().map(|(chain, height, hash)| (chain, Rank { height, hash })).collect()
}

fn graph(version: ChainwebVersion) -> ChainGraph {
    version.graphs()[0].1
}

/// Mines layer by layer on a cut until every chain has a block at `height`, each `more` heavier than its parent;
/// returns the number of the last cut.
fn grow(web: &mut Web, mut cut: usize, height: u64, more: u64, random: &mut Random) -> usize {
    loop {
        let lowest = (0..20).min_by_key(|chain| web.height(web.cuts[cut][*chain])).unwrap();
        if web.height(web.cuts[cut][lowest]) >= height {
            return cut;
        }
        assert!(web.mine_heavy(cut, lowest, more, random));
        cut = web.cuts.len() - 1;
    }
}

#[test]
fn a_shorter_heavier_branch_that_overtakes_750_blocks_deep_has_the_cut_as_soon_as_it_is_heavier() {
    let version = ChainwebVersion::Development;
    // PLAIT_SPLIT_HEIGHTS sets a greater depth. The test prints the longest commit that seals the
    // other branch.
    let depth = std::env::var("PLAIT_SPLIT_HEIGHTS").ok().and_then(|heights| heights.parse().ok());
    let depth: u64 = depth.unwrap_or(750);
    let (mut web, mut random) = (Web::new(version), Random(21));
    let common = grow(&mut web, 0, 3, 10, &mut random);
    // This many heights of weight 10 weigh as much as `depth` heights of weight 12.
    let long = depth * 12 / 10 + 3;
    let _ = grow(&mut web, common, long, 10, &mut random);
    let long_weight: u64 = 20 * long * 10;
    let short = grow(&mut web, common, depth + 1, 12, &mut random);
    let first = web.blocks.len();
    let _ = grow(&mut web, short, depth + 7, 12, &mut random);
    let mut growing = Growing::new(version, 256, 256);
    growing.add(&web.blocks[20..first]);
    assert_eq!(weight(&growing.reader.view().cut(None).unwrap()), long_weight);
    let (mut new_tips, mut moved, mut longest) = ([0; 21], false, Duration::ZERO);
    for end in first + 1..=web.blocks.len() {
        let begin = Instant::now();
        growing.add(&web.blocks[end - 1..end]);
        longest = longest.max(begin.elapsed());
        let heights = depth - 8..depth + 10;
        let near = web.blocks[..end].iter();
        let near = near.filter(|block| heights.contains(&block.view().height().get()));
        let expected = reference(version, &near);
        let view = growing.reader.view();
        let sum = |(chain, rank): &(ChainId, Rank)| {
            let header = view.header(*chain, &rank.hash).unwrap().unwrap();
            u64::try_from(header.view().weight().get()).unwrap()
        };
        let short_weight: u64 = expected.iter().map(sum).sum();
        let cut = view.cut(None).unwrap();
        assert_eq!(weight(&cut), short_weight.max(long_weight), "{end}");
        assert!(concurrent(graph(version), &members(&growing.reader, &cut)));
        let is_new = |chain: &ChainId| view.tip(*chain).unwrap().height.get() < depth + 10;
        new_tips[version.chain_ids().filter(is_new).count()] += 1;
        if short_weight > long_weight {
            assert_eq!(sorted(&growing), expected);
            moved = true;
        }
    }
    say(&format!("{depth} heights on 20 chains: the longest commit took {longest:?}"));
    // One chain after the other has its heaviest block on the new branch.
    assert!(moved && new_tips[10..20].iter().filter(|seen| **seen > 0).count() > 5, "{new_tips:?}");
    let cut = growing.cut();
    let growing = growing.reopen();
    assert_eq!(growing.cut(), cut);
    assert_derived(&growing);
}

/// The canonical blocks of each chain, and their sums, match the cut.
fn assert_derived(growing: &Growing) {
    let view = growing.reader.view();
    let past: Past = view.past().unwrap();
    for (chain, rank) in sorted(growing) {
        assert_eq!(past.top(chain), Some(rank));
        let divided = view.divided(chain, Some(rank.hash)).unwrap().unwrap();
        let (mut line, mut below) = (Vec::new(), view.header(chain, &rank.hash).unwrap());
        while let Some(header) = below {
            line.push(header.view().rank());
            below = view.header(chain, &header.view().parent()).unwrap();
        }
        line.reverse();
        let mut canonical = Vec::new();
        let all = (BlockHeight::new(0), BlockHeight::new(u64::MAX));
        divided
            .canonical::<plait_engine::store::StoreError>(all.0, all.1, |records| {
                for record in records.chunks_exact(plait_engine::header::LEN) {
                    canonical.push(plait_engine::HeaderRef::parse(record).unwrap().rank());
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(canonical, line, "chain {chain}");
        let orphans = view.block_count(chain) - line.len() as u64;
        assert_eq!(divided.orphan_count(all.0, all.1), orphans);
    }
}

#[test]
fn the_cut_is_that_of_all_blocks_after_batches_in_any_order_with_databases_opened_in_between() {
    let version = ChainwebVersion::Development;
    let mut checked = 0;
    for seed in 1..25 {
        let mut random = Random(seed);
        let mut web = Web::new(version);
        let jumps = [0, 10, 30][random.below(3)];
        let blocks = 100 + random.below(500);
        web.braid(&mut random, blocks, jumps);
        let mut growing = Growing::new(version, 2 + u32::try_from(random.below(3)).unwrap(), 3);
        let (mut replica, shown) =
            Engine::open_replica(growing.folder.path(), CacheSizes::default()).unwrap();
        // Blocks in random order, each after its parents.
        let mut rest: Vec<Header> = web.blocks[20..].to_vec();
        rest.sort_by_key(|block| (block.view().height(), block.view().hash()));
        let mut held = web.blocks[..20].to_vec();
        while !rest.is_empty() {
            let some: Vec<Header> = rest.drain(..(1 + random.below(60)).min(rest.len())).collect();
            growing.add(&some);
            held.extend(&some);
            if random.below(4) == 0 {
                growing = growing.reopen();
            }
            let expected = reference(version, &held.iter());
            assert_eq!(sorted(&growing), expected, "seed {seed}, {} blocks", held.len());
            if random.below(3) == 0 {
                growing.writer.sync().unwrap();
                replica.refresh().unwrap();
                let cut: Vec<_> = shown.view().cut(None).unwrap().blocks().collect();
                assert_eq!(cut, growing.cut(), "seed {seed}, replica");
            }
            checked += 1;
        }
        assert_derived(&growing);
    }
    say(&format!("{checked} cuts"));
}
