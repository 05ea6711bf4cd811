//! Statistics where chains 10 to 19 begin: their genesis blocks are stored from the start, and count once
//! the cut has them.

use std::collections::{BTreeMap, BTreeSet};

use plait_engine::store::History;
use plait_engine::{ChainId, ChainwebVersion, Header, Heights, StatsRow, Steps, View};
use serde_json::Value;
use testkit::block::dump;
use testkit::server::{Replayed, Server};

use crate::cut::{Random, Web, database};

const NETWORK: ChainwebVersion = ChainwebVersion::RecapDevelopment;

const ALL: Heights = Heights { min: None, max: None };

/// Canonical blocks and orphans of each chain that has any of them.
type Counts = BTreeMap<ChainId, (u64, u64)>;

/// From nothing but the blocks and the cut.
fn counts(view: &View, blocks: &[Header]) -> Counts {
    let parents: BTreeMap<_, _> =
        blocks.iter().map(|block| (block.view().hash(), block.view().parent())).collect();
    let mut canonical = BTreeSet::new();
    let mut absent: BTreeSet<ChainId> = NETWORK.chain_ids().collect();
    for (chain, _, mut hash) in view.cut(None).unwrap().blocks() {
        absent.remove(&chain);
        while let Some(parent) = parents.get(&hash) {
            canonical.insert(hash);
            hash = *parent;
        }
    }
    let mut counts = Counts::new();
    for block in blocks.iter().map(Header::view) {
        let is_genesis = NETWORK.genesis_height(block.chain()) == Some(block.height());
        if is_genesis && absent.contains(&block.chain()) {
            continue;
        }
        let (own, orphans) = counts.entry(block.chain()).or_default();
        *if canonical.contains(&block.hash()) { own } else { orphans } += 1;
    }
    counts
}

fn sums(rows: &[StatsRow]) -> Counts {
    let mut sums = Counts::new();
    for row in rows {
        let (blocks, orphans) = sums.entry(row.chain.unwrap()).or_default();
        *blocks += row.stats.blocks;
        *orphans += row.stats.orphans;
    }
    sums
}

fn total(rows: &[StatsRow]) -> (u64, u64) {
    rows.iter().fold((0, 0), |(blocks, orphans), StatsRow { stats, .. }| {
        (blocks + stats.blocks, orphans + stats.orphans)
    })
}

fn rows(view: &View, chains: &[ChainId], step: Option<u64>, by_chain: bool) -> Vec<StatsRow> {
    let Some(steps) = Steps::of(view, chains, ALL, step) else { return Vec::new() };
    let rows = view.stats_rows(chains, steps, by_chain).unwrap();
    if by_chain {
        assert_eq!(rows.len() as u64, steps.count_of(view, chains));
    }
    rows
}

#[test]
fn chains_sum_up_to_the_whole_and_to_the_ancestors_of_the_cut_wherever_the_cut_is() {
    let chains: Vec<ChainId> = NETWORK.chain_ids().collect();
    let mut straight = Web::new(NETWORK);
    straight.grow(57, &mut Random(7));
    let (mut members, mut early) = (BTreeSet::new(), 0);
    for seed in 1..25 {
        let (mut random, mut web) = (Random(seed), straight.clone());
        let (blocks, jumps) = (random.below(260), [0, 10, 30, 100][random.below(4)]);
        web.braid(&mut random, blocks, jumps);
        let (_dir, reader) = database(NETWORK, History::Full, &web.blocks);
        let view = reader.view();
        let expected = counts(&view, &web.blocks);
        for step in [None, Some(7), Some(60)] {
            let of_chains = rows(&view, &chains, step, true);
            assert_eq!(sums(&of_chains), expected, "seed {seed}");
            assert_eq!(total(&rows(&view, &chains, step, false)), total(&of_chains), "seed {seed}");
        }
        for chain in &chains {
            let one = sums(&rows(&view, &[*chain], None, true));
            assert_eq!(one.get(chain), expected.get(chain), "seed {seed}, chain {chain}");
        }
        let count = view.cut(None).unwrap().blocks().count();
        members.insert(count);
        // Blocks upon a genesis block that the cut does not have.
        early += u64::from(count == 10 && expected.len() > 10);
    }
    assert!(members == BTreeSet::from([10, 20]), "{members:?}");
    assert!(early > 0, "no chain has orphans before the cut gets there");
}

#[test]
fn a_chain_has_neither_rows_nor_steps_below_its_genesis_block() {
    let mut web = Web::new(NETWORK);
    web.grow(70, &mut Random(3));
    let mined =
        web.blocks.iter().filter(|block| !NETWORK.genesis_headers().any(|one| one == **block));
    let database = Replayed::new("recap-development", dump(mined), &["--verify", "none"]);
    let server = Server::start(&database, &["--max-stats-steps", "100"]);
    let get = |rest: &str| server.get(&format!("/chainweb/0.0/recap-development/{rest}"));
    let count = |rest: &str| {
        let answer = get(rest);
        assert_eq!(answer.status, 200, "{rest}: {}", answer.text());
        let value: Value = serde_json::from_str(answer.text()).unwrap();
        value["rows"].as_array().unwrap().len()
    };
    // Ten chains at ten heights.
    assert_eq!(
        [count("stats?step=1&maxheight=9"), count("stats?step=1&maxheight=9&by=chain")],
        [10, 100]
    );
    let answer = get("stats?step=1&maxheight=10");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("110 steps, of all chains together"), "{}", answer.text());
    // Twenty chains from height 60 on.
    assert_eq!(count("stats?step=30&by=chain"), 10 + 10 + 20);
    assert_eq!([count("chain/9/stats?step=30"), count("chain/10/stats?step=30")], [3, 1]);
}
