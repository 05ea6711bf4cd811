//! `View::stats`: sums of runs against every header, whatever was sealed in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use plait_engine::audit::{Audit, Event};
use plait_engine::generate::{History, Plan};
use plait_engine::tally::{Sums, Tally};
use plait_engine::verify::{Level, Verifier};
use plait_engine::{
    BlockHeight, ChainId, Engine, Header, HeaderRef, Heights, Micros, Reader, Stats, Steps, View,
};
use proptest::prelude::*;
use tempfile::TempDir;
use testkit::Database;
use testkit::age::age;
use testkit::block::NETWORK;
use testkit::drawing::CHAIN;
use testkit::forest::{Forest, forest, shuffled};
use testkit::planted::Planted;

use crate::rocks::{big_endian, columns, delete_row, put_meta, put_row};

const BLOCKS_MAX: usize = 60;

fn height(number: u64) -> BlockHeight {
    BlockHeight::new(number)
}

fn heights(first: u64, last: u64) -> Heights {
    Heights { min: Some(height(first)), max: Some(height(last)) }
}

/// What each step comes to, from nothing but the headers and the cut.
fn naive(view: &View, blocks: &[Header], steps: Steps) -> Vec<Stats> {
    let by_hash: BTreeMap<_, _> = blocks.iter().map(|block| (block.view().hash(), block)).collect();
    let cut = view.cut(None).unwrap();
    let mut canonical = BTreeSet::new();
    let mut next = cut.blocks().find(|(chain, ..)| *chain == CHAIN).map(|(.., hash)| hash);
    while let Some(block) = next.and_then(|hash| by_hash.get(&hash)) {
        let block = block.view();
        canonical.insert(block.rank());
        let below = by_hash.get(&block.parent()).map(|parent| parent.view());
        let below = below.filter(|parent| parent.height().child() == Some(block.height()));
        next = below.map(plait_engine::HeaderRef::hash);
    }
    let mut all: Vec<_> = blocks.iter().map(Header::view).collect();
    all.sort_by_key(|block| block.rank());
    let step = |(first, last): (BlockHeight, BlockHeight)| {
        let mut stats = Stats::default();
        for block in all.iter().filter(|block| (first..=last).contains(&block.height())) {
            if !canonical.contains(&block.rank()) {
                stats.orphans += 1;
                continue;
            }
            let below = by_hash.get(&block.parent()).map(|parent| parent.view());
            let below = below.filter(|parent| canonical.contains(&parent.rank()));
            let mut one = Tally::new(Sums::default(), below.map(HeaderRef::creation_time));
            one.push(*block);
            stats.blocks += 1;
            stats.sums = stats.sums.plus(one.sums());
            stats.last = one.last();
        }
        stats
    };
    steps.iter().map(step).collect()
}

fn assert_stats(view: &View, forest: &Forest, steps: Steps) {
    let expected = naive(view, &forest.blocks, steps);
    assert_eq!(
        view.stats_by_scan(&[CHAIN], steps).unwrap(),
        std::slice::from_ref(&expected),
        "{steps:?}"
    );
    assert_eq!(view.stats(&[CHAIN], steps).unwrap(), [expected], "{steps:?}");
}

/// Steps around the heights of a forest.
fn asked(forest: &Forest) -> impl Strategy<Value = Vec<Steps>> + use<> {
    let of = |block: &Header| block.view().height().get();
    let low = forest.blocks.iter().map(of).min().unwrap().saturating_sub(3);
    let high = forest.blocks.iter().map(of).max().unwrap().saturating_add(3);
    let one = (low..=high, low..=high, 1..12_u64);
    let steps = one.prop_map(|(first, last, step)| Steps::new(heights(first, last), step));
    prop::collection::vec(steps, 12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sums_of_runs_are_those_of_every_header_in_any_order_of_arrival(
        ((forest, blocks), steps, sizes) in shuffled(forest(BLOCKS_MAX)).prop_flat_map(|drawn| {
            let steps = asked(&drawn.0);
            (Just(drawn), steps, prop::collection::vec(1..20_usize, 1..6))
        }),
    ) {
        let (mut rest, mut commits) = (&blocks[..], Vec::new());
        let mut sizes = sizes.into_iter().cycle();
        while !rest.is_empty() {
            let (commit, behind) = rest.split_at(sizes.next().unwrap().min(rest.len()));
            commits.push(commit.to_vec());
            rest = behind;
        }
        let mut planted = Planted::in_order(&forest, &commits);
        for steps in &steps {
            assert_stats(&planted.view(), &forest, *steps);
        }
        planted = planted.reopen();
        for steps in steps {
            assert_stats(&planted.view(), &forest, steps);
        }
    }

    #[test]
    fn steps_cover_their_heights_once(first in 0..60_u64, last in 0..60_u64, step in 0..20_u64) {
        let steps = Steps::new(heights(first, last), step);
        let parts: Vec<_> = steps.iter().collect();
        prop_assert_eq!(parts.len() as u64, steps.count());
        let covered = parts.iter().flat_map(|(first, last)| first.get()..=last.get());
        prop_assert!(covered.eq(first..=last));
        prop_assert!(parts.iter().skip(1).all(|(first, _)| first.get() % step.max(1) == 0));
    }
}

/// The key of the run that begins at a height.
fn key(first: u64) -> Vec<u8> {
    [&big_endian(CHAIN.get().into())[4..], &big_endian(first)].concat()
}

/// A history of all chains with forks and some runs, as a replay stores it.
fn replayed() -> TempDir {
    let plan = Plan { forks: 0.02, fork_depth: 40, ..Plan::new(NETWORK, 1500) };
    let mined: Vec<Header> = History::new(&plan).unwrap().collect();
    let mut database = Database::with_genesis();
    database.add(&mined);
    database.close()
}

fn chains(reader: &Reader) -> Vec<ChainId> {
    reader.version().chain_ids().collect()
}

/// What steps of several lengths come to.
fn all_stats(reader: &Reader) -> Vec<Vec<Vec<Stats>>> {
    let (view, chains) = (reader.view(), chains(reader));
    let ranges = [(0, 1600, 1601), (0, 1500, 256), (0, 1500, 100), (255, 1280, 7), (300, 310, 1)];
    let steps = ranges.map(|(first, last, step)| Steps::new(heights(first, last), step));
    let quick: Vec<_> = steps.iter().map(|steps| view.stats(&chains, *steps).unwrap()).collect();
    let slow = steps.iter().map(|steps| view.stats_by_scan(&chains, *steps).unwrap());
    assert!(slow.eq(quick.iter().cloned()), "sums of runs are not those of every header");
    quick
}

#[test]
fn a_replayed_history_has_its_sums_and_they_are_its_weights() {
    let folder = replayed();
    let reader = Engine::open_read_only(folder.path()).unwrap();
    let [whole, ..] = &all_stats(&reader)[..] else { panic!("no stats") };
    let view = reader.view();
    let blocks: u64 = chains(&reader).iter().map(|chain| view.block_count(*chain)).sum();
    let counted: u64 = whole.iter().flatten().map(|stats| stats.blocks + stats.orphans).sum();
    assert_eq!(counted, blocks);
    assert!(whole.iter().flatten().any(|stats| stats.orphans > 0));
    for (chain, height, hash) in view.cut(None).unwrap().blocks() {
        let [stats] = whole[chain.index()][..] else { panic!("one step") };
        let top = view.header(chain, &hash).unwrap().unwrap();
        assert_eq!(stats.blocks, height.get() + 1);
        assert_eq!(stats.sums.times.count(), height.get(), "genesis has no block time");
        assert_eq!(stats.last, Some(top.view().creation_time()));
        // The weight of a genesis block is none.
        let genesis =
            NETWORK.genesis_headers().find(|block| block.view().chain() == chain).unwrap();
        let mut own = Tally::new(Sums::default(), None);
        own.push(genesis.view());
        let since = stats.sums.minus(own.sums()).difficulty;
        let weight = top.view().weight().get() - genesis.view().weight().get();
        assert_eq!(since, weight);
        let time = top.view().creation_time().get() - genesis.view().creation_time().get();
        assert_eq!(stats.sums.time, time);
    }
}

/// What is wrong with a database, besides its blocks.
fn flaws(dir: &Path) -> Vec<String> {
    let reader = Engine::open_read_only(dir).unwrap();
    let verifier = Verifier::new(NETWORK, Level::Full, Micros::new(i64::MAX));
    let mut flaws = Vec::new();
    let audit = Audit::new(&reader, &verifier);
    let report = audit.as_stored().run(&AtomicBool::new(false), &mut |event| {
        if let Event::Flaw(flaw) = event {
            flaws.push(flaw.to_string());
        }
    });
    assert_eq!(report.unwrap().flaws, flaws.len() as u64);
    flaws
}

#[test]
fn a_database_of_the_release_before_is_read_as_it_is_and_gets_its_sums_when_it_is_written() {
    let folder = replayed();
    let dir = folder.path();
    let (before, expected) = (columns(dir), all_stats(&Engine::open_read_only(dir).unwrap()));
    assert!(before.keys().filter(|(column, _)| *column == "sums").count() >= 20 * 4);
    for interrupted in [false, true] {
        if interrupted {
            put_meta(dir, "format", &[0, 0, 0, 4]);
            put_row(dir, "sums", &key(256), &[7; 160]);
            delete_row(dir, "sums", &key(512));
        } else {
            age(dir).unwrap();
        }
        let reader = Engine::open_read_only(dir).unwrap();
        assert_eq!(reader.view().format_version(), 4);
        assert!(all_stats(&reader) == expected);
        drop(reader);
        assert_eq!(flaws(dir), [""; 0]);
        let (writer, reader) = Engine::open(dir).unwrap();
        assert_eq!(reader.view().format_version(), 5);
        assert!(all_stats(&reader) == expected);
        drop((writer, reader));
        assert!(columns(dir) == before, "what an upgrade adds is what a replay writes");
    }
}

#[test]
fn sums_that_are_wrong_or_gone_or_too_many_are_named() {
    let folder = replayed();
    let dir = folder.path();
    assert_eq!(flaws(dir), [""; 0]);
    let (own, none) = (key(512), key(513));
    let row = columns(dir)[&("sums", own.clone())].clone();
    let wrong = |at: &str| format!("chain {CHAIN}, height {at}: sums are not those of the run");
    let assert_named = |heights: &[&str]| {
        let flaws = flaws(dir);
        assert_eq!(flaws.len(), heights.len(), "{flaws:?}");
        for (flaw, at) in flaws.iter().zip(heights) {
            assert!(flaw.starts_with(&wrong(at)), "{flaw}");
        }
    };
    for at in [0, 15, 47, 48, 159] {
        let mut altered = row.clone();
        altered[at] ^= 1;
        put_row(dir, "sums", &own, &altered);
        // What the run above it comes to does not follow from it either.
        assert_named(&["512", "768"]);
    }
    delete_row(dir, "sums", &own);
    assert_named(&["512"]);
    put_row(dir, "sums", &own, &row);
    put_row(dir, "sums", &none, &row);
    assert_named(&["513"]);
    delete_row(dir, "sums", &none);
    put_row(dir, "sums", &own, &row[1..]);
    let said = flaws(dir).join("\n");
    assert!(said.contains(&format!("sums, chain {CHAIN}, from height 512 on")), "{said}");
}
