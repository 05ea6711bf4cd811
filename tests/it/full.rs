//! `plait replay` at level `full` and `plait verify`, over the real binary.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use plait_engine::generate::{History, Plan};
use plait_engine::header::{RawHeader, merkle, text};
use plait_engine::verify::{Adjacents, Failure, Level, Parent, Verifier};
use plait_engine::{BlockHash, ChainwebVersion, Header, HeaderRef, Micros};
use tempfile::TempDir;
use testkit::block::dump;
use testkit::braid::braid;
use testkit::process::{Outcome, replay_file, run};
use testkit::vectors::folder;
use testkit::{say, sorted, stored};

use crate::cli::SmallDisk;

fn temporary() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The real headers of the node's database, by ascending height.
pub(crate) fn real() -> Option<Vec<Header>> {
    let text = fs::read_to_string(folder()?.join("headers.jsonl")).unwrap();
    let lines = text.lines().filter(|line| line.contains("chainweb-db.js"));
    let mut headers: Vec<Header> = lines
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            text::from_string(line["b64"].as_str().unwrap()).unwrap()
        })
        .collect();
    headers.sort_by_key(|header| header.view().rank());
    assert_eq!(headers.len(), 1000);
    Some(headers)
}

fn replay(db: &Path, args: &[&str], headers: &[Header]) -> Outcome {
    let input = temporary();
    let file = input.path().join("dump");
    fs::write(&file, dump(headers)).unwrap();
    let db = db.to_str().unwrap();
    run([&["replay", "--db", db], args, &[file.to_str().unwrap()]].concat())
}

fn info(db: &Path) -> serde_json::Value {
    let outcome = run(["info", "--json", "--db", db.to_str().unwrap()]);
    serde_json::from_str(&outcome.out).unwrap_or_else(|_| panic!("{}", outcome.err))
}

fn verify(db: &Path) -> Outcome {
    run(["verify", "--db", db.to_str().unwrap()])
}

#[test]
fn real_headers_are_fully_verified_where_what_is_below_them_is_held() {
    let Some(headers) = real() else { return };
    let db = temporary();
    let outcome = replay(db.path(), &["--allow-partial"], &headers);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert!(outcome.err.contains("27 of them lack blocks below them"), "{}", outcome.err);
    let levels = serde_json::json!({ "full": 973, "hash": 27, "none": 0 });
    assert_eq!(info(db.path())["verified"], levels);
    let again = verify(db.path());
    assert_eq!(again.status, Some(0), "{}", again.err);
    assert!(again.err.contains("973 fully, 27 at level hash, 0 at level none, 0 broken"));
}

#[test]
fn any_order_of_a_dump_gives_the_same_database() {
    let Some(headers) = real() else { return };
    let by_chain = sorted(&headers);
    let mut backwards = headers.clone();
    backwards.reverse();
    let database = |headers: &[Header]| {
        let db = temporary();
        let outcome = replay(db.path(), &["--allow-partial"], headers);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        (stored(db.path()), info(db.path()))
    };
    let expected = database(&headers);
    assert_eq!(expected.0, by_chain);
    assert!(database(&by_chain) == expected, "chain by chain");
    assert!(database(&backwards) == expected, "the last block first");
}

#[test]
fn blocks_whose_neighbours_do_not_come_are_put_aside_until_they_do() {
    let Some(headers) = real() else { return };
    let (db, chain) = (temporary(), 7);
    let (on, off): (Vec<Header>, Vec<Header>) =
        headers.iter().partition(|header| header.view().chain().get() == chain);
    // A full history, so nothing is admitted without what is below it.
    let outcome = replay(db.path(), &[], &on);
    outcome
        .assert_fails(1, &["waiting: offset 0: chain 7, height 1800000", "Missing", "stored 0,"]);
    assert!(outcome.err.contains("50 blocks wait for a parent"), "{}", outcome.err);
    assert_eq!((&info(db.path())["blocks"], &info(db.path())["waiting"]), (&20.into(), &50.into()));
    assert!(stored(db.path()).iter().all(|header| header.view().height().get() < 1_800_000));
    let outcome = replay(db.path(), &["--allow-partial"], &off);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(
        (&info(db.path())["blocks"], &info(db.path())["waiting"]),
        (&1020.into(), &0.into())
    );
    let levels = serde_json::json!({ "full": 993, "hash": 27, "none": 0 });
    assert_eq!(info(db.path())["verified"], levels);
}

#[test]
fn full_verification_is_the_default_and_finds_what_hashing_does_not() {
    // Drawn blocks have right hashes and links, but epochs that the network does not have.
    let db = temporary();
    let headers = braid(3);
    let outcome = replay_file(db.path(), &["--verify", "full"], "dump", &dump(&headers));
    outcome.assert_fails(1, &["offset 12720: chain 0, height 2, block", "IncorrectEpoch"]);
    assert_eq!(stored(db.path()), sorted(&headers[..40]));
    let default = temporary();
    let outcome = replay(default.path(), &["--network", "development"], &headers);
    outcome.assert_fails(1, &["IncorrectEpoch", "verified at level full"]);
}

#[test]
fn verification_of_a_database_names_what_is_broken() {
    let db = temporary();
    let headers = braid(2);
    assert_eq!(replay_file(db.path(), &[], "dump", &dump(&headers)).status, Some(0));
    let outcome = verify(db.path());
    let said = ["height 2, block", "IncorrectEpoch", "40 fully, 0 at level hash", "20 broken"];
    outcome.assert_fails(1, &said);
    let hashes = run(["verify", "--level", "hash", "--db", db.path().to_str().unwrap()]);
    assert_eq!(hashes.status, Some(0), "{}", hashes.err);
    assert!(hashes.err.contains("verified 60 blocks"), "{}", hashes.err);
}

/// Headers of a generated history, interleaved by height.
fn generated(plan: &Plan) -> Vec<Header> {
    History::new(plan).unwrap().collect()
}

#[test]
fn generated_histories_are_fully_valid_in_any_order_that_keeps_parents_first() {
    let forked = |version, heights| Plan {
        forks: 0.05,
        fork_depth: 20,
        seed: 7,
        ..Plan::new(version, heights)
    };
    for plan in [forked(ChainwebVersion::Development, 150), forked(ChainwebVersion::Mainnet01, 130)]
    {
        let headers = generated(&plan);
        let network = ["--network", plan.version.name()];
        let database = |headers: &[Header]| {
            let db = temporary();
            let outcome = replay(db.path(), &network, headers);
            assert_eq!(outcome.status, Some(0), "{}", outcome.err);
            let verified = verify(db.path());
            assert_eq!(verified.status, Some(0), "{}", verified.err);
            (stored(db.path()), info(db.path()))
        };
        let expected = database(&headers);
        let full = expected.1["verified"]["full"].as_u64().unwrap();
        assert_eq!((full, &expected.1["waiting"]), (headers.len() as u64 + 20, &0.into()));
        assert!(database(&sorted(&headers)) == expected, "chain by chain");
        // Between the two: a seeded choice of the chain to go on with.
        let mut chains: Vec<Vec<Header>> = vec![Vec::new(); 20];
        headers.iter().rev().for_each(|h| chains[h.view().chain().index()].push(*h));
        let (mut mixed, mut state) = (Vec::new(), 1_u64);
        while mixed.len() < headers.len() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let chain = usize::try_from(state >> 33).unwrap() % 20;
            mixed.extend(chains[chain].pop());
        }
        assert!(database(&mixed) == expected, "mixed");
    }
}

#[test]
fn a_change_of_any_field_of_any_generated_header_is_refused() {
    let plan = Plan { forks: 0.02, seed: 3, ..Plan::new(ChainwebVersion::Mainnet01, 260) };
    let headers = generated(&plan);
    let verifier = Verifier::new(plan.version, Level::Full, Micros::new(i64::MAX));
    let genesis: Vec<Header> = plan.version.genesis_headers().collect();
    let held: HashMap<BlockHash, Header> =
        headers.iter().chain(&genesis).map(|header| (header.view().hash(), *header)).collect();
    // Fields behind a new, right block hash, so that hashing does not find the change.
    let changes: [(&str, usize, &[&str]); 6] = [
        ("creation time", 8 + 6, &["IncorrectTarget", "CreatedBeforeParent", "IncorrectEpoch"]),
        ("target", 158, &["IncorrectTarget", "IncorrectWeight"]),
        ("chain", 222, &["ChainMismatch", "AdjacentChainMismatch"]),
        ("weight", 226, &["IncorrectWeight"]),
        ("height", 258, &["IncorrectHeight"]),
        ("epoch start", 270, &["IncorrectEpoch"]),
    ];
    for header in headers.iter().step_by(17) {
        for (field, offset, rules) in changes {
            let mut bytes = *header.view().as_bytes();
            // A creation time is changed by 2^54 microseconds into the past.
            bytes[offset] = if field == "creation time" { 0 } else { bytes[offset] ^ 1 };
            let altered = HeaderRef::parse(&bytes).unwrap();
            let raw = RawHeader { hash: merkle::block_hash(altered), ..*altered.raw() };
            let altered = Header::new(raw).unwrap();
            let altered = altered.view();
            let parent = &held[&altered.parent()];
            let adjacents: Vec<HeaderRef<'_>> =
                altered.adjacents().iter().map(|(_, hash)| held[&hash].view()).collect();
            let adjacents = Adjacents::Blocks(adjacents.try_into().unwrap());
            let checked = verifier.check(altered);
            let result = verifier.conclude(checked, Parent::Block(parent.view()), adjacents);
            let failures = result.unwrap_err();
            let named: Vec<&str> = failures.iter().map(Failure::name).collect();
            assert!(rules.iter().any(|rule| named.contains(rule)), "{field}: {named:?}");
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_generated_header_is_found() {
    let plan = Plan { seed: 11, ..Plan::new(ChainwebVersion::Mainnet01, 30) };
    let verifier = Verifier::new(plan.version, Level::Full, Micros::new(i64::MAX));
    for header in generated(&plan).iter().step_by(29) {
        for offset in 0..318 {
            let mut bytes = *header.view().as_bytes();
            bytes[offset] ^= 1 << (offset % 8);
            // Number and chains of the adjacent parents are no part of the block hash.
            let unhashed = offset == 48 || offset == 49 || {
                (50..158).contains(&offset) && (offset - 50) % 36 < 4
            };
            let Ok(altered) = HeaderRef::parse(&bytes) else {
                assert!(unhashed, "offset {offset}");
                continue;
            };
            let checked = verifier.check(altered);
            let named: Vec<&str> = checked.failures().iter().map(Failure::name).collect();
            let rule = if unhashed { "AdjacentChainMismatch" } else { "IncorrectHash" };
            assert!(named.contains(&rule), "offset {offset}: {named:?}");
        }
    }
}

#[test]
fn altered_fork_states_are_refused_by_their_rules() {
    let plan = Plan { seed: 2, ..Plan::new(ChainwebVersion::Development, 20) };
    let headers = generated(&plan);
    let verifier = Verifier::new(plan.version, Level::Full, Micros::new(i64::MAX));
    let genesis: Vec<Header> = plan.version.genesis_headers().collect();
    let held: HashMap<BlockHash, Header> =
        headers.iter().chain(&genesis).map(|header| (header.view().hash(), *header)).collect();
    for header in headers.iter().step_by(7) {
        for (bit, rule) in [(0, "IncorrectForkNumber"), (40, "InvalidForkVotes")] {
            let flags = header.view().feature_flags() ^ (1 << bit);
            let mut raw = RawHeader { feature_flags: flags.into(), ..*header.view().raw() };
            raw.hash = merkle::block_hash(Header::new(raw).unwrap().view());
            let altered = Header::new(raw).unwrap();
            let adjacents: Vec<HeaderRef<'_>> =
                altered.view().adjacents().iter().map(|(_, hash)| held[&hash].view()).collect();
            let adjacents = Adjacents::Blocks(adjacents.try_into().unwrap());
            let parent = Parent::Block(held[&altered.view().parent()].view());
            let result = verifier.conclude(verifier.check(altered.view()), parent, adjacents);
            let failures = result.unwrap_err();
            assert!(failures.iter().any(|failure| failure.name() == rule), "{failures}");
        }
    }
}

#[test]
fn verification_needs_a_database() {
    let db = temporary();
    verify(db.path()).assert_fails(2, &["no database in"]);
}

#[test]
fn an_export_that_is_refused_for_lack_of_space_leaves_no_folder() {
    let Some(disk) = SmallDisk::mount(8 << 20) else {
        return say("skipped: no small disk without the right to mount one");
    };
    let db = temporary();
    let input = ["--network", "development", "--verify", "hash"];
    let outcome = replay(db.path(), &input, &braid(20));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let there = disk.path().join("there");
    fs::create_dir(&there).unwrap();
    for format in ["archive", "parquet"] {
        for out in [disk.path().join("a/b"), there.join("c"), there.clone()] {
            let (db, to) = (db.path().to_str().unwrap(), out.to_str().unwrap());
            let outcome = run(["export", "--db", db, "--format", format, "--out", to]);
            outcome.assert_fails(2, &["bytes are needed", "Nothing was written"]);
            assert!(there.is_dir(), "{format}: a folder that was there is gone");
            let is_new = out != there;
            assert!(!is_new || !out.exists(), "{format}: {to} is left");
            assert!(!disk.path().join("a").exists(), "{format}: a folder above is left");
        }
    }
}
