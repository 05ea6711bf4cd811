//! Header → its two hashes, one by one and many at once; and the rules.

use std::cell::RefCell;

use criterion::Criterion;
use fixtures::{Fixtures, PAGE};
use plait_engine::generate::{History, Plan};
use plait_engine::header::{merkle, text};
use plait_engine::verify::{Adjacents, Backend, Hasher, Level, Parent, Verifier, pow_hash};
use plait_engine::{BlockHash, ChainId, Header, HeaderRef, Micros, RawHeader, Target};
use testkit::block::NETWORK;

use crate::{headers, time};

/// Headers of mainnet01 that its users' documents print, with the hashes that miners found.
const MAINNET01: &str = include_str!("../tests/vectors/mainnet01-user-docs.jsonl");

pub(crate) fn stage(criterion: &mut Criterion, fixtures: &Fixtures) {
    let mut group = criterion.benchmark_group("hash/block_hash");
    group.throughput(headers(PAGE));
    let prepare = || {
        for header in mainnet01() {
            assert_eq!(merkle::block_hash(header.view()), header.view().hash());
        }
        fixtures.first(PAGE)
    };
    time(&mut group, "page_360", prepare, |headers| all(headers, merkle::block_hash));
    group.finish();

    let mut group = criterion.benchmark_group("hash/pow");
    group.throughput(headers(PAGE));
    let prepare = || {
        for header in mainnet01() {
            let mut number = *pow_hash(header.view()).as_bytes();
            number.reverse();
            assert!(Target::from_le(number) <= header.view().target());
        }
        fixtures.first(PAGE)
    };
    time(&mut group, "page_360", prepare, |headers| all(headers, pow_hash));
    group.finish();

    batches(criterion);
    rules(criterion);
}

/// Headers of a batch, as a replay has them.
const BATCH: usize = 4000;

/// Many headers at once, by every backend of this machine; `/sha2` and `/blake2s_simd` are the same
/// headers one by one.
fn batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash/block_hashes");
    group.throughput(headers(BATCH));
    for (case, records) in [("repeating", repeating as Make), ("random", random)] {
        for backend in Backend::available() {
            let prepare = || {
                let (records, mut out) = (records(), Vec::new());
                Hasher::new(backend).block_hashes(&records, &mut out);
                assert!(out.iter().zip(&records).all(|(hash, raw)| *hash == block_hash(raw)));
                (RefCell::new((Hasher::new(backend), out)), records)
            };
            time(&mut group, &format!("{case}/{}", backend.name()), prepare, |(state, records)| {
                let (hasher, out) = &mut *state.borrow_mut();
                out.clear();
                hasher.block_hashes(records, out);
                out.last().copied()
            });
        }
        let prepare = records;
        time(&mut group, &format!("{case}/sha2"), prepare, |records| xor(records, block_hash));
    }
    group.finish();

    let mut group = criterion.benchmark_group("hash/pow_hashes");
    group.throughput(headers(BATCH));
    for backend in Backend::available() {
        let prepare = || {
            let (records, mut out) = (repeating(), Vec::new());
            Hasher::new(backend).pow_hashes(&records, &mut out);
            assert!(out.iter().zip(&records).all(|(hash, raw)| *hash == pow_hash(view(raw))));
            (RefCell::new((Hasher::new(backend), out)), records)
        };
        time(&mut group, backend.name(), prepare, |(state, records)| {
            let (hasher, out) = &mut *state.borrow_mut();
            out.clear();
            hasher.pow_hashes(records, out);
            out.last().copied()
        });
    }
    let prepare = repeating;
    time(&mut group, "blake2s_simd", prepare, |records| xor(records, |raw| pow_hash(view(raw))));
    group.finish();
}

/// Verification of a batch: what a header shows alone, and then what it shows beside its parents.
fn rules(criterion: &mut Criterion) {
    let verifier = |level| Verifier::new(NETWORK, level, Micros::new(i64::MAX));
    let mut group = criterion.benchmark_group("verify/check_many");
    group.throughput(headers(BATCH));
    for level in Level::ALL {
        let prepare = || (RefCell::new(Hasher::default()), verifier(level), repeating());
        time(&mut group, level.name(), prepare, |(hasher, verifier, records)| {
            let mut out = Vec::with_capacity(records.len());
            verifier.check_many(&mut hasher.borrow_mut(), records, &mut out);
            assert!(
                out.iter().all(|checked| checked.as_ref().is_ok_and(|c| c.failures().is_empty()))
            );
            out.len()
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("verify/conclude");
    group.throughput(headers(BATCH));
    // Each layer of the history has a block of every chain, in their order.
    let prepare = || (verifier(Level::None), verifier(Level::Full), repeating());
    time(&mut group, "full", prepare, |(none, full, records)| {
        let chains = NETWORK.chain_ids().count();
        let pairs = records.iter().zip(&records[chains..]).enumerate();
        let passed = pairs.filter(|(index, (parent, raw))| {
            let layer = &records[index - index % chains..];
            let on = |(chain, _): (ChainId, BlockHash)| view(&layer[chain.index()]);
            let adjacents = Adjacents::Blocks(view(raw).adjacents().all().map(on));
            let checked = none.check(view(raw));
            full.conclude(checked, Parent::Block(view(parent)), adjacents).is_ok()
        });
        assert_eq!(passed.count(), records.len() - chains);
    });
    group.finish();
}

type Make = fn() -> Vec<RawHeader>;

/// The start of a history without forks: what repeats in headers does.
fn repeating() -> Vec<RawHeader> {
    let history = History::new(&Plan::new(NETWORK, BATCH as u64)).expect("a plan to follow");
    let all = NETWORK.genesis_headers().chain(history);
    all.take(BATCH).map(|header| *header.view().raw()).collect()
}

/// The same with fields that no two headers share.
fn random() -> Vec<RawHeader> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut records = repeating();
    for raw in &mut records {
        raw.feature_flags = random.u64(..).into();
        raw.height = random.u64(..).into();
        raw.epoch_start = random.i64(..).into();
        random.fill(&mut raw.target);
        raw.chain = random.u32(..).into();
    }
    records
}

fn view(raw: &RawHeader) -> HeaderRef<'_> {
    HeaderRef::new(raw).expect("a header of a history")
}

fn block_hash(raw: &RawHeader) -> BlockHash {
    merkle::block_hash(view(raw))
}

/// The hashes of all records, folded into one.
fn xor(records: &[RawHeader], hash: impl Fn(&RawHeader) -> BlockHash) -> [u8; 32] {
    records.iter().fold([0; 32], |mut sum, raw| {
        sum.iter_mut().zip(hash(raw).as_bytes()).for_each(|(sum, byte)| *sum ^= byte);
        sum
    })
}

/// The hashes of all headers, folded into one.
fn all(headers: &[Header], hash: impl Fn(HeaderRef<'_>) -> BlockHash) -> [u8; 32] {
    headers.iter().fold([0; 32], |mut sum, header| {
        let hash = hash(header.view());
        sum.iter_mut().zip(hash.as_bytes()).for_each(|(sum, byte)| *sum ^= byte);
        sum
    })
}

/// Each line is a JSON object or a JSON string.
fn mainnet01() -> impl Iterator<Item = Header> {
    MAINNET01.lines().map(|line| {
        let string = line.strip_prefix('"').and_then(|line| line.strip_suffix('"'));
        let header = string.map_or_else(|| text::from_object(line), text::from_string);
        header.expect("a header")
    })
}
