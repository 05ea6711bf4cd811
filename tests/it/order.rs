//! Blocks that are taken in order, against the same blocks taken one by one.

use std::io::Cursor;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use plait_engine::generate::{History as Generated, Plan};
use plait_engine::header::RawHeader;
use plait_engine::replay::source::Binary;
use plait_engine::replay::{Admission, Event, Replay, Summary};
use plait_engine::store::History;
use plait_engine::tree::Sealing;
use plait_engine::types::RunLength;
use plait_engine::verify::{Level, Verifier};
use plait_engine::{ChainwebVersion, Engine, Header, Micros, Writer};
use proptest::prelude::*;
use testkit::block::dump;
use testkit::{sorted, stored};

/// How a database is made, and how blocks are put into it.
#[derive(Clone, Copy, Debug)]
struct Way {
    network: ChainwebVersion,
    level: Level,
    sealing: Sealing,
    /// Blocks of a commit while they are taken in order; `None` takes them one by one.
    commit: Option<usize>,
}

/// What a replay made of a dump.
#[derive(Debug, PartialEq, Eq)]
struct Made {
    summary: Summary,
    stored: Vec<Header>,
    levels: [u64; 2],
    heaviest: Vec<Option<plait_engine::BlockHash>>,
    cut: String,
    /// Every block with its level, found by its hash.
    found: Vec<Option<(Header, Level)>>,
}

fn open(dir: &Path, way: Way) -> Writer {
    let Way { network, sealing, .. } = way;
    let opened = Engine::open_or_create_sealing(dir, Some(network), History::Full, sealing);
    opened.unwrap().0
}

/// Replays these dumps, one after the other, opening the database anew for each.
fn replay(dir: &Path, way: Way, dumps: &[Vec<u8>]) -> Summary {
    let mut sum = Summary::default();
    for bytes in dumps {
        let mut writer = open(dir, way);
        let verifier = Verifier::new(way.network, way.level, Micros::new(i64::MAX));
        let stop = AtomicBool::new(false);
        let mut replay = Replay::new(&mut writer, verifier, Admission::Genesis, true, &stop)
            .ordered_from(if way.commit.is_some() { 0 } else { u64::MAX })
            .committing(way.commit.unwrap_or(1));
        let source = Binary::streamed("memory".to_owned(), Box::new(Cursor::new(bytes.clone())));
        replay.run(Box::new(source), &mut |_: Event<'_>| ()).unwrap();
        let summary = replay.finish(&mut |_| ()).unwrap();
        sum = Summary {
            stored: sum.stored + summary.stored,
            known: sum.known + summary.known,
            rejected: sum.rejected + summary.rejected,
            waiting: summary.waiting,
            ..summary
        };
    }
    sum
}

fn made(way: Way, dumps: &[Vec<u8>], headers: &[Header]) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let summary = replay(dir.path(), way, dumps);
    let stored = stored(dir.path());
    let reader = Engine::open_read_only(dir.path()).unwrap();
    let view = reader.view();
    let chains = way.network.chain_ids().map(|chain| view.tip(chain).map(|tip| tip.hash));
    let found = headers.iter().map(|header| {
        let view_of = header.view();
        let found = view.header(view_of.chain(), &view_of.hash()).unwrap()?;
        Some((found, view.verified_level(view_of).unwrap()))
    });
    Made {
        summary,
        levels: view.count_levels().unwrap(),
        heaviest: chains.collect(),
        cut: view.cut(None).unwrap().id().to_string(),
        found: found.collect(),
        stored,
    }
}

/// What else is in a dump besides the blocks of a history, each once and in order.
#[derive(Clone, Debug)]
enum Noise {
    Repeat(prop::sample::Index, prop::sample::Index),
    Swap(prop::sample::Index, usize),
    Drop(prop::sample::Index),
    Flip(prop::sample::Index, usize),
}

fn noise() -> impl Strategy<Value = Noise> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), index()).prop_map(|(from, to)| Noise::Repeat(from, to)),
        (index(), 1..40_usize).prop_map(|(at, by)| Noise::Swap(at, by)),
        index().prop_map(Noise::Drop),
        (index(), 0..318 * 8_usize).prop_map(|(at, bit)| Noise::Flip(at, bit)),
    ]
}

fn disturb(headers: &[Header], noise: &[Noise]) -> Vec<u8> {
    let mut records: Vec<Vec<u8>> =
        headers.iter().map(|header| header.view().as_bytes().to_vec()).collect();
    for noise in noise {
        let len = records.len();
        match noise {
            Noise::Repeat(from, to) => {
                let record = records[from.index(len)].clone();
                records.insert(to.index(len), record);
            }
            Noise::Swap(at, by) => {
                let at = at.index(len);
                records.swap(at, (at + by).min(len - 1));
            }
            Noise::Drop(at) => drop(records.remove(at.index(len))),
            Noise::Flip(at, bit) => records[at.index(len)][bit / 8] ^= 1 << (bit % 8),
        }
    }
    records.concat()
}

const DEVELOPMENT: ChainwebVersion = ChainwebVersion::Development;

fn history(seed: u64, heights: u64, forks: f64, depth: u64) -> Vec<Header> {
    history_of(DEVELOPMENT, seed, heights, forks, depth)
}

fn history_of(
    network: ChainwebVersion,
    seed: u64,
    heights: u64,
    forks: f64,
    depth: u64,
) -> Vec<Header> {
    let plan = Plan { seed, forks, fork_depth: depth, ..Plan::new(network, heights) };
    Generated::new(&plan).unwrap().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn blocks_in_order_end_up_where_they_do_one_by_one(
        seed: u64,
        heights in 1..70_u64,
        (forks, depth) in prop_oneof![Just((0.0, 1)), (0.0..0.4_f64, 1..25_u64)],
        noise in prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(noise(), 1..4)],
        level in prop::sample::select(Level::ALL.to_vec()),
        (run_length, window) in (1..9_u32, 1..20_u64),
        commit in 1..600_usize,
        parts in 1..4_usize,
    ) {
        let headers = history(seed, heights, forks, depth);
        let bytes = disturb(&headers, &noise);
        let part = (bytes.len() / 318 / parts).max(1) * 318;
        let dumps: Vec<Vec<u8>> = bytes.chunks(part).map(<[u8]>::to_vec).collect();
        let run_length = RunLength::new(NonZeroU32::new(run_length).unwrap());
        let way = Way { network: DEVELOPMENT, level, sealing: Sealing { run_length, window }, commit: None };
        let one_by_one = made(way, &dumps, &headers);
        let in_order = made(Way { commit: Some(commit), ..way }, &dumps, &headers);
        prop_assert_eq!(&one_by_one, &in_order);
        if noise.is_empty() {
            let genesis: Vec<Header> = DEVELOPMENT.genesis_headers().collect();
            prop_assert_eq!(in_order.stored, sorted(headers.iter().chain(&genesis)));
            prop_assert_eq!(in_order.summary.stored, headers.len() as u64);
        }
    }
}

#[test]
fn a_replay_again_in_order_stores_nothing() {
    let headers = history(5, 40, 0.2, 6);
    let sealing = Sealing { run_length: RunLength::new(NonZeroU32::new(4).unwrap()), window: 8 };
    let way = Way { network: DEVELOPMENT, level: Level::Full, sealing, commit: Some(100) };
    let dir = tempfile::tempdir().unwrap();
    let bytes = dump(&headers);
    assert_eq!(replay(dir.path(), way, std::slice::from_ref(&bytes)).stored, headers.len() as u64);
    let again = replay(dir.path(), way, &[bytes]);
    assert_eq!((again.stored, again.known), (0, headers.len() as u64));
}

#[test]
fn a_block_with_the_hash_of_another_is_not_taken_for_it() {
    let headers = history(6, 30, 0.0, 1);
    let sealing = Sealing { run_length: RunLength::new(NonZeroU32::new(4).unwrap()), window: 8 };
    for commit in [None, Some(50)] {
        for at in [100, 580] {
            let copy = RawHeader { nonce: 77.into(), ..*headers[at].view().raw() };
            let bytes = dump(headers.iter().chain([&Header::new(copy).unwrap()]));
            let way = Way { network: DEVELOPMENT, level: Level::Full, sealing, commit };
            let dir = tempfile::tempdir().unwrap();
            let summary = replay(dir.path(), way, &[bytes]);
            assert_eq!((summary.stored, summary.known, summary.rejected), (600, 0, 1));
        }
    }
}

#[test]
fn blocks_of_networks_with_proof_of_work_are_taken_in_order_too() {
    let run_length = RunLength::new(NonZeroU32::new(16).unwrap());
    let sealing = Sealing { run_length, window: 20 };
    for network in [ChainwebVersion::Mainnet01, ChainwebVersion::Testnet04] {
        let headers = history_of(network, 9, 150, 0.1, 12);
        let mut broken: Vec<Header> = headers.clone();
        let raw = *broken[1200].view().raw();
        let payload_hash = plait_engine::PayloadHash::new([1; 32]);
        broken[1200] = Header::new(RawHeader { payload_hash, ..raw }).unwrap();
        let dumps = [dump(&broken), dump(&headers)];
        let way = Way { network, level: Level::Full, sealing, commit: None };
        let one_by_one = made(way, &dumps, &headers);
        let in_order = made(Way { commit: Some(300), ..way }, &dumps, &headers);
        assert_eq!(one_by_one, in_order);
        assert_eq!(in_order.summary.stored, headers.len() as u64);
        assert!(in_order.summary.rejected > 0);
    }
}

/// An input that breaks off with an error.
struct Breaking(Cursor<Vec<u8>>);

impl std::io::Read for Breaking {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 if !buffer.is_empty() => Err(std::io::Error::other("the cable is out")),
            read => Ok(read),
        }
    }
}

#[test]
fn what_came_before_an_input_broke_off_is_stored() {
    let headers = history(7, 600, 0.0, 1);
    let sealing = Sealing::default();
    for ordered_from in [0, 1 << 20] {
        let way = Way { network: DEVELOPMENT, level: Level::Full, sealing, commit: None };
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(dir.path(), way);
        let verifier = Verifier::new(DEVELOPMENT, way.level, Micros::new(i64::MAX));
        let stop = AtomicBool::new(false);
        let mut replay = Replay::new(&mut writer, verifier, Admission::Genesis, false, &stop)
            .ordered_from(ordered_from);
        let input = Box::new(Breaking(Cursor::new(dump(&headers))));
        let source = Binary::streamed("cable".to_owned(), input);
        let error = replay.run(Box::new(source), &mut |_| ()).unwrap_err();
        assert_eq!(error.to_string(), "cable: the cable is out");
        assert_eq!(replay.summary().stored, headers.len() as u64);
        drop(writer);
        assert_eq!(stored(dir.path()).len(), headers.len() + 20);
    }
}
