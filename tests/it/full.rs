//! `plait replay` at level `full` and `plait verify`, over the real binary.

use std::fs;
use std::path::Path;

use plait_engine::Header;
use plait_engine::header::text;
use tempfile::TempDir;
use testkit::block::dump;
use testkit::braid::braid;
use testkit::process::{Outcome, replay_file, run};
use testkit::vectors::folder;
use testkit::{sorted, stored};

fn temporary() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The real headers of the node's database, by ascending height.
fn real() -> Option<Vec<Header>> {
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
    assert!(outcome.err.contains("27 of them without all the blocks below"), "{}", outcome.err);
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
    assert!(outcome.err.contains("50 blocks are put aside"), "{}", outcome.err);
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
    // Drawn blocks have right hashes and links, but made-up targets, weights and times.
    let db = temporary();
    let headers = braid(3);
    let outcome = replay_file(db.path(), &["--verify", "full"], "dump", &dump(&headers));
    outcome.assert_fails(1, &["offset 6360: chain 0, height 1, block", "IncorrectWeight"]);
    assert_eq!(stored(db.path()), sorted(&headers[..20]));
    let default = temporary();
    let outcome = replay(default.path(), &["--network", "development"], &headers);
    outcome.assert_fails(1, &["IncorrectWeight", "verified at level full"]);
}

#[test]
fn verification_of_a_database_names_what_is_broken() {
    let db = temporary();
    let headers = braid(2);
    assert_eq!(replay_file(db.path(), &[], "dump", &dump(&headers)).status, Some(0));
    let outcome = verify(db.path());
    outcome.assert_fails(1, &["broken: chain 0, height 1, block", "IncorrectWeight", "40 broken"]);
    let hashes = run(["verify", "--level", "hash", "--db", db.path().to_str().unwrap()]);
    assert_eq!(hashes.status, Some(0), "{}", hashes.err);
    assert!(hashes.err.contains("verified 60 blocks"), "{}", hashes.err);
}

#[test]
fn verification_needs_a_database() {
    let db = temporary();
    verify(db.path()).assert_fails(2, &["no database in"]);
}
