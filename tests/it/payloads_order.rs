//! Blocks with what they carry, taken in order, against the same taken one by one; and replays of
//! them that are interrupted.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::thread;
use std::time::Duration;

use plait_engine::replay::Summary;
use plait_engine::tree::Sealing;
use plait_engine::types::RunLength;
use plait_engine::{Engine, Header};
use proptest::prelude::*;
use testkit::carried::{Block, block_object, blocks, headers, line, lines, object};
use testkit::process::{finish, replay_command, signal};
use testkit::{sorted, stored};

use crate::payloads_stored::{assert_carried, folder, replay_lines};
use crate::rocks::columns;

/// What else is among the lines of a history, each once and in order.
#[derive(Clone, Debug)]
enum Noise {
    Repeat(prop::sample::Index, prop::sample::Index),
    Swap(prop::sample::Index, usize),
    Drop(prop::sample::Index),
    /// Without what it carries.
    Bare(prop::sample::Index),
    /// With what another carries.
    Wrong(prop::sample::Index, prop::sample::Index),
}

fn noise() -> impl Strategy<Value = Noise> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), index()).prop_map(|(from, to)| Noise::Repeat(from, to)),
        (index(), 1..40_usize).prop_map(|(at, by)| Noise::Swap(at, by)),
        index().prop_map(Noise::Drop),
        index().prop_map(Noise::Bare),
        (index(), index()).prop_map(|(at, of)| Noise::Wrong(at, of)),
    ]
}

/// A block, and what it is said to carry.
type Said = (Header, Option<String>);

fn disturb(blocks: &[Block], noise: &[Noise]) -> Vec<u8> {
    let said = |(header, payload): &Block| (*header, Some(object(payload.view())));
    let mut said: Vec<Said> = blocks.iter().map(said).collect();
    for noise in noise {
        let len = said.len();
        match noise {
            Noise::Repeat(from, to) => said.insert(to.index(len), said[from.index(len)].clone()),
            Noise::Swap(at, by) => {
                let at = at.index(len);
                said.swap(at, (at + by).min(len - 1));
            }
            Noise::Drop(at) => drop(said.remove(at.index(len))),
            Noise::Bare(at) => said[at.index(len)].1 = None,
            Noise::Wrong(at, of) => said[at.index(len)].1 = said[of.index(len)].1.clone(),
        }
    }
    let line = |(header, object): &Said| {
        block_object(header.view(), object.as_deref().unwrap_or("null")) + "\n"
    };
    said.iter().flat_map(|said| line(said).into_bytes()).collect()
}

/// What replays made of lines.
#[derive(Debug, PartialEq, Eq)]
struct Made {
    summaries: Vec<Summary>,
    stored: Vec<Header>,
    /// Of payloads, of their index, and of what waits.
    rows: BTreeMap<(&'static str, Vec<u8>), Vec<u8>>,
}

fn made(sealing: Sealing, commit: Option<usize>, parts: &[Vec<u8>]) -> Made {
    let db = folder();
    let replay = |part: &Vec<u8>| replay_lines(db.path(), sealing, commit, part);
    let summaries = parts.iter().map(replay).collect();
    let mut rows = columns(db.path());
    let kept = ["payloads", "payload_heights", "payload_unindexed", "pending", "pending_payloads"];
    rows.retain(|(column, _), _| kept.contains(column));
    Made { summaries, stored: stored(db.path()), rows }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn payloads_in_order_end_up_where_they_do_one_by_one(
        seed: u64,
        heights in 1..40_u64,
        (forks, depth) in prop_oneof![Just((0.0, 1)), (0.0..0.4_f64, 1..25_u64)],
        noise in prop_oneof![2 => Just(Vec::new()), 3 => prop::collection::vec(noise(), 1..6)],
        (run_length, window) in (1..9_u32, 1..20_u64),
        commit in 1..400_usize,
        parts in 1..4_usize,
        headers_first: bool,
    ) {
        let blocks = blocks(heights, seed, forks, depth);
        let text = String::from_utf8(disturb(&blocks, &noise)).unwrap();
        let all: Vec<&str> = text.split_inclusive('\n').collect();
        let part = (all.len() / parts).max(1);
        let mut parts: Vec<Vec<u8>> =
            all.chunks(part).map(|lines| lines.concat().into_bytes()).collect();
        if headers_first {
            let bare = blocks.iter().map(|(header, _)| block_object(header.view(), "null") + "\n");
            parts.insert(0, bare.collect::<String>().into_bytes());
        }
        let run_length = RunLength::new(NonZeroU32::new(run_length).unwrap());
        let sealing = Sealing { run_length, window };
        let one_by_one = made(sealing, None, &parts);
        let in_order = made(sealing, Some(commit), &parts);
        prop_assert_eq!(&one_by_one.summaries, &in_order.summaries);
        prop_assert!(one_by_one == in_order);
        if noise.is_empty() {
            let payloads = in_order.rows.keys().filter(|(column, _)| *column == "payloads");
            prop_assert_eq!(payloads.count(), blocks.len());
            let stored: u64 = in_order.summaries.iter().map(|summary| summary.payloads).sum();
            prop_assert_eq!(stored, blocks.len() as u64);
        }
    }
}

fn assert_whole(db: &Path, blocks: &[Block]) {
    let genesis: Vec<Header> = testkit::block::NETWORK.genesis_headers().collect();
    assert!(stored(db) == sorted(headers(blocks).iter().chain(&genesis)));
    assert_carried(db, blocks);
}

#[test]
fn a_replay_of_blocks_that_is_interrupted_again_and_again_loses_nothing_they_carry() {
    let blocks = blocks(1700, 31, 0.02, 30);
    assert!(blocks.len() > 32 << 10, "so many that they are taken in order");
    let folder = folder();
    let (input, db) = (folder.path().join("blocks.jsonl"), folder.path().join("db"));
    fs::write(&input, lines(&blocks)).unwrap();
    let begin = || {
        let args = ["--verify", "full", "--commit", "4096"].map(AsRef::as_ref);
        replay_command(&db, args.into_iter().chain([input.as_os_str()])).spawn().unwrap()
    };
    for (kill, pause) in [200, 500, 700, 900, 1200, 1500].into_iter().enumerate() {
        let child = begin();
        thread::sleep(Duration::from_millis(pause));
        signal(&child, if kill % 2 == 0 { "KILL" } else { "INT" });
        finish(child);
        // Every block that is there has what it carries, whatever it is found by.
        if let Ok(reader) = Engine::open_read_only(&db) {
            let view = reader.view();
            for (header, payload) in blocks.iter().step_by(37) {
                let view_of = header.view();
                if view.header(view_of.chain(), &view_of.hash()).unwrap().is_some() {
                    let found = view.block_payload(view_of).unwrap();
                    assert_eq!(found.as_ref(), Some(payload.payload()), "{view_of:?}");
                    let found = view.payload(view_of.chain(), &payload.hash(), None).unwrap();
                    assert_eq!(found.as_ref(), Some(payload.payload()), "{view_of:?}");
                }
            }
        }
    }
    let outcome = finish(begin());
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let [stored, known, _] = outcome.counts();
    assert_eq!(stored + known, blocks.len() as u64);
    assert_whole(&db, &blocks);
}

#[test]
fn a_mark_of_headers_alone_does_not_skip_what_blocks_carry() {
    let blocks = blocks(1700, 32, 0.0, 1);
    let folder = folder();
    let (input, db) = (folder.path().join("blocks.jsonl"), folder.path().join("db"));
    fs::write(&input, lines(&blocks)).unwrap();
    let run = |payloads: &str, stop: Option<u64>| {
        let args = ["--verify", "full", "--commit", "4096", "--payloads", payloads];
        let args = args.into_iter().map(AsRef::as_ref).chain([input.as_os_str()]);
        let child = replay_command(&db, args).spawn().unwrap();
        if let Some(pause) = stop {
            thread::sleep(Duration::from_millis(pause));
            signal(&child, "INT");
        }
        finish(child)
    };
    for pause in [300, 600, 1000] {
        run("no", Some(pause));
    }
    let outcome = run("yes", None);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_whole(&db, &blocks);
    // One line more, of a block that is known: nothing is added.
    fs::write(&input, [lines(&blocks), line(&blocks[5]).into_bytes()].concat()).unwrap();
    let outcome = run("yes", None);
    assert_eq!(outcome.counts(), [0, blocks.len() as u64 + 1, 0]);
    assert_carried(&db, &blocks);
}
