//! Servers and readers of a database that another process writes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use plait_engine::store::CacheSizes;
use plait_engine::{Bounds, BranchQuery, Engine, Header, HeaderRef, RangeQuery, View};
use proptest::prelude::*;
use testkit::block::dump;
use testkit::drawing::{CHAIN, Drawing};
use testkit::forest::forest;
use testkit::http::{Events, Request};
use testkit::oracle::Oracle;
use testkit::process::{finish, plait, replay_file, run};
use testkit::server::{Server, Signal, utf8};
use testkit::{Database, say, sorted, stored};

use crate::live::HEADERS;
use crate::push::{LONG, generated, with_genesis};
use crate::push_http::{OCTETS, assert_sum, client, cut_height, folder, request, taking};

const SIZES: CacheSizes = CacheSizes { block_bytes: 8 << 20, run_bytes: 8 << 20 };

/// A server that reads what another process writes to `db`.
fn replica(db: &Path, flags: &[&str]) -> Server {
    let own = ["--db", utf8(db), "--read-only", "--refresh", "0.02"];
    Server::with(&[&own, &["--metrics", "127.0.0.1:0"][..], flags].concat())
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG, "not within {LONG:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn wait_height(server: &Server, height: u64) {
    wait(&format!("cut height {height}"), || cut_height(server) == height);
}

/// All headers that a server has, chain by chain.
fn served(server: &Server) -> Vec<Header> {
    let mut headers = Vec::new();
    for chain in 0..20 {
        let mut next = String::new();
        loop {
            let target = format!("/chainweb/0.0/development/chain/{chain}/header?limit=360{next}");
            let page = server.get(&target);
            assert_eq!(page.status, 200, "{}", page.text());
            let page: serde_json::Value = serde_json::from_str(page.text()).unwrap();
            for text in page["items"].as_array().unwrap() {
                let text = text.as_str().unwrap();
                headers.push(plait_engine::header::text::from_string(text).unwrap());
            }
            match page["next"].as_str() {
                Some(cursor) => next = format!("&next={cursor}"),
                None => break,
            }
        }
    }
    sorted(&headers)
}

#[test]
fn a_replica_shows_what_is_pushed_to_a_server_and_tells_of_it() {
    let (db, headers) = (folder(), generated(40, 1, 0.1));
    let mut server = taking(db.path(), &[]);
    let mut other = replica(db.path(), &[]);
    let mut events = Events::open(other.address(), &Request::get(HEADERS));
    let (first, rest) = headers.split_at(200);
    assert_sum(&client(&server).ask(&request(OCTETS, dump(first))), [200, 0, 0, 0]);
    let told = events.hashes(20);
    assert!(told.iter().all(|hash| first.iter().any(|h| h.view().hash().to_string() == *hash)));
    let rest_count = rest.len() as u64;
    assert_sum(&client(&server).ask(&request(OCTETS, dump(rest))), [rest_count, 0, 0, 0]);
    wait_height(&other, 40 * 20);
    assert_eq!(served(&other), with_genesis(&headers));
    assert!(other.metric("plait_refreshes_total{outcome=\"done\"}").unwrap() >= 1.0);
    assert_eq!(other.metric("plait_refreshes_total{outcome=\"failed\"}"), Some(0.0));
    assert_eq!(other.get("/ready").status, 200);
    // Nothing that writes is there.
    assert_eq!(other.post("/make-backup", "").status, 404);
    for server in [&mut other, &mut server] {
        server.signal(Signal::TERM);
        assert!(server.wait(LONG).expect("it ends").success(), "{}", server.log());
    }
    assert_eq!(stored(db.path()), with_genesis(&headers));
}

#[test]
fn a_replica_goes_on_while_its_writer_is_killed_and_started_again() {
    let (db, headers) = (folder(), generated(60, 2, 0.05));
    let count = headers.len() / 4;
    let mut other = None;
    for (number, some) in headers.chunks(count).enumerate() {
        let mut server = taking(db.path(), &[]);
        let other: &mut Server = other.get_or_insert_with(|| replica(db.path(), &[]));
        assert_sum(
            &client(&server).ask(&request(OCTETS, dump(some))),
            [some.len() as u64, 0, 0, 0],
        );
        // What was there before is there, whatever becomes of the writer.
        let known = &headers[..(number * count)];
        if let Some(block) = known.last() {
            let (chain, hash) = (block.view().chain(), block.view().hash());
            let target = format!("/chainweb/0.0/development/chain/{chain}/header/{hash}");
            assert_eq!(other.get(&target).status, 200);
        }
        if number % 2 == 0 {
            server.kill();
        } else {
            server.signal(Signal::TERM);
            assert!(server.wait(LONG).expect("it ends").success());
        }
        let all = with_genesis(&headers[..(number * count + some.len())]);
        wait("all that was stored", || served(other) == all);
    }
    let other = other.unwrap();
    assert_eq!(other.metric("plait_ready"), Some(1.0));
    assert!(!other.log().contains("ERROR"), "{}", other.log());
}

#[test]
fn a_replica_beside_a_replay_shows_whole_moments_of_it() {
    let (db, headers) = (folder(), generated(2_500, 3, 0.01));
    // Enough to be taken in order, with its index sorted at the end.
    let (first, rest) = headers.split_at(2_000);
    assert_eq!(replay_file(db.path(), &[], "dump", &dump(first)).status, Some(0));
    let input = folder();
    let file = input.path().join("dump");
    fs::write(&file, dump(rest)).unwrap();
    let other = replica(db.path(), &[]);
    let args = ["replay", "--db", utf8(db.path()), "--commit", "3000", utf8(&file)];
    let mut child = plait(args).spawn().unwrap();
    let (mut heights, mut looks) = (vec![cut_height(&other)], 0_u32);
    while child.try_wait().unwrap().is_none() {
        let height = cut_height(&other);
        assert!(height >= *heights.last().unwrap(), "the cut has fallen: {heights:?}");
        heights.push(height);
        // Each tip has its parent, and is found by its hash.
        let cut: serde_json::Value =
            serde_json::from_str(other.get("/chainweb/0.0/development/cut").text()).unwrap();
        for (chain, tip) in cut["hashes"].as_object().unwrap() {
            let body = format!("{{\"upper\":[{}],\"lower\":[]}}", tip["hash"]);
            let target = format!("/chainweb/0.0/development/chain/{chain}/hash/branch?limit=400");
            let page = other.post(&target, &body);
            assert_eq!(page.status, 200, "{}", page.text());
            let page: serde_json::Value = serde_json::from_str(page.text()).unwrap();
            let expected = tip["height"].as_u64().unwrap().min(399) + 1;
            assert_eq!(page["items"].as_array().unwrap().len() as u64, expected);
            looks += 1;
        }
    }
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert!(looks > 20, "{looks} looks");
    wait_height(&other, 2_500 * 20);
    assert_eq!(served(&other), with_genesis(&headers));
    heights.dedup();
    say(&format!("{looks} tips looked at, {} heights of the cut", heights.len()));
}

#[test]
fn a_replica_refuses_at_its_start_what_would_write() {
    let db = folder();
    let headers = generated(3, 1, 0.0);
    assert_eq!(replay_file(db.path(), &[], "dump", &dump(&headers)).status, Some(0));
    let own = ["serve", "--db", utf8(db.path()), "--listen", "127.0.0.1:0", "--read-only"];
    for (flags, named) in [
        (&["--replay", "/dev/null"][..], "--replay"),
        (&["--ingest", "127.0.0.1:0"], "--ingest"),
        (&["--follow", "http://127.0.0.1:1"], "--follow"),
        (&["--backup-api"], "--backup-api"),
    ] {
        let outcome = run([&own[..], flags].concat());
        outcome.assert_fails(2, &["cannot be combined with --read-only", named]);
    }
    // Nor is a database made.
    let place = folder();
    let none = place.path().join("none");
    let outcome = run(["serve", "--db", utf8(&none), "--read-only"]);
    outcome.assert_fails(2, &["no database in"]);
    assert!(!none.exists());
}

/// The names of all files below a folder, with their lengths and times.
fn state(dir: &Path) -> BTreeMap<String, (u64, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let data = entry.metadata().unwrap();
        if data.is_dir() {
            found.extend(state(&entry.path()));
        }
        found.insert(utf8(&entry.path()).to_owned(), (data.len(), data.modified().unwrap()));
    }
    found
}

/// A folder that is mounted again, where nothing can be written.
struct ReadOnlyMount<'a>(&'a Path);

impl<'a> ReadOnlyMount<'a> {
    fn of(folder: &Path, at: &'a Path) -> Option<Self> {
        let mount = |args: &[&str]| {
            let done = Command::new("mount").args(args).output();
            done.is_ok_and(|done| done.status.success())
        };
        if !mount(&["--bind", utf8(folder), utf8(at)]) {
            say("skipped: no read-only medium without the right to mount one");
            return None;
        }
        let mounted = Self(at);
        assert!(mount(&["-o", "remount,bind,ro", utf8(at)]), "it is mounted again");
        Some(mounted)
    }
}

impl Drop for ReadOnlyMount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_replica_serves_a_read_only_medium_and_writes_nothing() {
    let (place, headers) = (folder(), generated(30, 4, 0.1));
    let (db, medium) = (place.path().join("db"), place.path().join("medium"));
    fs::create_dir(&medium).unwrap();
    // With some blocks in the log alone.
    let mut server = taking(&db, &[]);
    let count = headers.len() as u64;
    assert_sum(&client(&server).ask(&request(OCTETS, dump(&headers))), [count, 0, 0, 0]);
    server.kill();
    let Some(mounted) = ReadOnlyMount::of(&db, &medium) else { return };
    assert!(fs::write(medium.join("file"), "").is_err(), "the medium can be written");
    let before = state(&db);
    let mut other = replica(&medium, &[]);
    assert_eq!(served(&other), with_genesis(&headers));
    wait("refreshes", || {
        other.metric("plait_refreshes_total{outcome=\"unchanged\"}").unwrap() > 3.0
    });
    // Without --read-only it cannot be opened.
    let outcome = run(["serve", "--db", utf8(&medium), "--listen", "127.0.0.1:0"]);
    assert_eq!(outcome.status, Some(2), "{}", outcome.err);
    other.signal(Signal::TERM);
    assert!(other.wait(LONG).expect("it ends").success(), "{}", other.log());
    drop((other, mounted));
    assert!(state(&db) == before, "something was written");
}

#[test]
fn a_replica_whose_database_is_replaced_or_removed_shows_what_it_has_and_is_not_ready() {
    let (place, headers) = (folder(), generated(20, 5, 0.0));
    let (db, away) = (place.path().join("db"), place.path().join("away"));
    assert_eq!(replay_file(&db, &[], "dump", &dump(&headers)).status, Some(0));
    let other = replica(&db, &[]);
    fs::rename(&db, &away).unwrap();
    let fewer = &headers[..100];
    assert_eq!(replay_file(&db, &[], "dump", &dump(fewer)).status, Some(0));
    wait("not ready", || other.get("/ready").text().contains("moved, removed or replaced"));
    assert_eq!(served(&other), with_genesis(&headers));
    fs::remove_dir_all(&away).unwrap();
    wait("failed refreshes", || {
        other.metric("plait_refreshes_total{outcome=\"failed\"}").unwrap() > 0.0
    });
    assert_eq!(cut_height(&other), 20 * 20);
    other.logged("cannot be refreshed");
    let log = other.log();
    assert_eq!(log.matches("cannot be refreshed").count(), 1, "{log}");
}

/// Checks all that a view says of these blocks, by whatever way it finds them.
fn assert_answers(view: &View, headers: &[Header]) {
    let oracle = Oracle::new(headers);
    let everything = RangeQuery { limit: 1000, ..RangeQuery::default() };
    let all = oracle.range_page(&everything).unwrap().items;
    assert_eq!(view.range_hashes(CHAIN, &everything).unwrap().items, all);
    for header in headers {
        let hash = header.view().hash();
        assert_eq!(view.header(CHAIN, &hash).unwrap().as_ref(), Some(header));
        let bounds = Bounds { upper: vec![hash], lower: Vec::new() };
        let query = BranchQuery { bounds, limit: 1000, ..BranchQuery::default() };
        let expected = oracle.branch_page(&query).unwrap().items;
        let page = view.branch_headers(CHAIN, &query).unwrap().items;
        assert!(page.iter().map(HeaderRef::hash).eq(expected));
    }
    assert_eq!(view.block_count(CHAIN), headers.len() as u64);
}

#[test]
fn a_replica_follows_runs_that_are_sealed_and_given_back_and_its_views_stay_true() {
    let path = |from: &str, heights: std::ops::RangeInclusive<u64>, letter: &str| {
        heights.fold(from.to_owned(), |path, height| format!("{path}-{height}{letter}"))
    };
    let mut drawing = Drawing::default();
    let mut headers = drawing.draw(&path("0", 1..=120, ""));
    let mut database = Database::sealing(4, 5);
    database.add(&headers);
    let (mut replica, reader) = Engine::open_replica(database.path(), SIZES).unwrap();
    let mut views = vec![(reader.view(), headers.clone())];
    assert!(!replica.refresh().unwrap(), "nothing was written");
    let branch = drawing.draw(&path("9", 10..=130, "a"));
    for some in branch.chunks(7) {
        database.add(some);
        headers.extend(some);
        assert!(replica.refresh().unwrap());
        assert_answers(&reader.view(), &headers);
        views.push((reader.view(), headers.clone()));
        if views.len() % 4 == 0 {
            database.reader().checkpoint(&database.path().join(views.len().to_string())).unwrap();
        }
    }
    assert_eq!(reader.view().tip(CHAIN).unwrap().hash, drawing.hash("130a"));
    for (view, headers) in &views {
        assert_answers(view, headers);
    }
    assert_eq!(reader.shown(), views.len() as u64 - 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_replica_shows_what_its_writer_does(forest in forest(60), steps in 1..12_usize) {
        let mut database = Database::sealing(2, 3);
        let (mut replica, reader) = Engine::open_replica(database.path(), SIZES).unwrap();
        let mut known = Vec::new();
        for some in forest.blocks.chunks(forest.blocks.len().div_ceil(steps)) {
            database.add(some);
            known.extend_from_slice(some);
            prop_assert!(replica.refresh().unwrap());
            assert_answers(&reader.view(), &known);
            let (ours, theirs) = (reader.view(), database.reader().view());
            prop_assert_eq!(ours.tip(CHAIN), theirs.tip(CHAIN));
            prop_assert_eq!(ours.sealed_count(CHAIN), theirs.sealed_count(CHAIN));
        }
    }
}

#[test]
fn nothing_is_restored_to_the_path_of_a_database_that_a_replica_serves() {
    let place = folder();
    let [db, moved, backups] = ["db", "moved", "backups"].map(|name| place.path().join(name));
    let outcome = replay_file(&db, &[], "dump", &dump(&generated(10, 1, 0.0)));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let [path, to] = [utf8(&backups), utf8(&db)];
    let made = run(["backup", "make", "--db", to, "--backups", path]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let server = replica(&db, &[]);
    fs::rename(&db, moved).unwrap();
    let restore = || run(["restore", "latest", "--backups", path, "--to", to]);
    restore().assert_fails(2, &["still uses the database that was in", "Stop that process first"]);
    drop(server);
    let restored = restore();
    assert_eq!(restored.status, Some(0), "{}", restored.err);
}
