//! Backups over HTTP.

use std::path::Path;
use std::time::{Duration, Instant};

use plait_engine::backup::{BackupId, Backups};
use testkit::block::{NETWORK, dump};
use testkit::braid::braid_with_orphans;
use testkit::http::{Request, Response};
use testkit::process::{Outcome, run};
use testkit::server::{Replayed, Server, Signal, utf8};
use testkit::{say, sorted, stored};

use crate::backup::{folder, names};

const BASE: &str = "/chainweb/0.0/development";

fn database() -> Replayed {
    Replayed::new(NETWORK.name(), dump(&braid_with_orphans(30, 3)), &[])
}

fn server(database: &Replayed, flags: &[&str]) -> Server {
    Server::start(database, &[&["--backup-api"], flags].concat())
}

fn text(response: &Response) -> &str {
    assert_eq!(response.header("content-type"), Some("text/plain;charset=utf-8"));
    std::str::from_utf8(&response.body).unwrap()
}

/// Asks for a backup; its name.
fn make(server: &Server, target: &str) -> BackupId {
    let response = server.post(target, "");
    assert_eq!(response.status, 200, "{response:?}");
    text(&response).parse().unwrap()
}

/// Waits until a backup is not in progress any more; what became of it.
fn outcome(server: &Server, id: &BackupId) -> String {
    let start = Instant::now();
    loop {
        let response = server.get(&format!("/check-backup/{id}"));
        assert_eq!(response.status, 200, "{response:?}");
        let status = text(&response).to_owned();
        if status != "backup-in-progress" {
            return status;
        }
        assert!(start.elapsed() < Duration::from_mins(1), "the backup does not end");
    }
}

fn command(words: &[&str], db: &Path, rest: &[&str]) -> Outcome {
    run([words, &["--db", utf8(db)], rest].concat())
}

#[test]
fn a_backup_is_made_and_asked_for_at_the_root_and_in_the_network() {
    let database = database();
    let server = server(&database, &[]);
    let expected = stored(&database.path());
    for base in ["", BASE] {
        let id = make(&server, &format!("{base}/make-backup"));
        assert!(id.micros().is_some(), "{id} is no time");
        assert_eq!(outcome(&server, &id), "backup-done");
        let response = server.get(&format!("{base}/check-backup/{id}/"));
        assert_eq!(text(&response), "backup-done");
        assert_eq!(response.header("cache-control"), Some("no-store, max-age=0"));
        let path = Backups::default_dir(&database.path()).join(id.as_str());
        assert_eq!(std::fs::read_to_string(path.join("status")).unwrap(), "backup-done");
        assert_eq!(stored(&path), expected);
        let head = server.ask(&Request::new("HEAD", format!("{base}/check-backup/{id}")));
        assert_eq!((head.status, head.header("content-length")), (200, Some("11")));
    }
}

#[test]
fn backups_are_not_there_unless_the_configuration_enables_them() {
    let database = database();
    let server = Server::start(&database, &[]);
    for base in ["", BASE] {
        assert_eq!(server.post(&format!("{base}/make-backup"), "").status, 404);
        assert_eq!(server.get(&format!("{base}/make-backup")).status, 404);
        assert_eq!(server.get(&format!("{base}/check-backup/1648665437000")).status, 404);
    }
    assert!(!Backups::default_dir(&database.path()).exists());
}

#[test]
fn the_documented_lines_enable_them() {
    let database = database();
    let dir = folder();
    let backups = dir.path().join("backups");
    let file = dir.path().join("plait.yaml");
    let lines = format!("backup:\n  api:\n    enabled: true\n  directory: {}\n", utf8(&backups));
    std::fs::write(&file, lines).unwrap();
    let server = Server::start(&database, &["--config", utf8(&file)]);
    let id = make(&server, "/make-backup");
    assert_eq!(outcome(&server, &id), "backup-done");
    assert_eq!(names(&backups), [".lock", id.as_str()]);
}

#[test]
fn wrong_methods_and_names_are_refused() {
    let database = database();
    let server = server(&database, &[]);
    let response = server.get("/make-backup");
    assert_eq!((response.status, response.header("allow")), (405, Some("POST, OPTIONS")));
    assert_eq!(server.post("/check-backup/1", "").status, 405);
    let outside = database.path().join("0");
    assert!(outside.exists());
    for name in [
        "1648665437000",
        "..",
        ".",
        "%2E%2E",
        "..%2F0",
        "%2Fetc",
        "..%2f..%2fetc",
        "x%00",
        "a%20b",
        "%C3%A9",
        "%FF",
        ".lock",
        &"9".repeat(65),
        &"9".repeat(4000),
    ] {
        let response = server.get(&format!("/check-backup/{name}"));
        assert_eq!(response.status, 404, "{name}: {response:?}");
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert!(body["reason"].is_string());
    }
    assert_eq!(server.get("/check-backup").status, 404);
    assert_eq!(server.get("/check-backup/").status, 404);
    assert!(!Backups::default_dir(&database.path()).exists(), "asking makes nothing");
}

#[test]
fn a_second_request_gets_the_name_of_the_job_that_runs() {
    let database = database();
    let server = server(&database, &[]);
    // A job of another process, which this one is.
    let backups = Backups::new(&Backups::default_dir(&database.path()));
    let job = crate::backup::begin(&backups);
    for _ in 0..3 {
        assert_eq!(make(&server, "/make-backup"), *job.id());
    }
    let response = server.get(&format!("/check-backup/{}", job.id()));
    assert_eq!(text(&response), "backup-in-progress");
    let outcome_of_make = command(&["backup", "make"], &database.path(), &[]);
    assert_eq!(outcome_of_make.status, Some(1), "{}", outcome_of_make.err);
    assert_eq!(outcome_of_make.out.trim(), job.id().as_str());
    let id = job.id().clone();
    drop(job);
    assert_eq!(outcome(&server, &id), "backup-failed");
    let next = make(&server, "/make-backup");
    assert_ne!(next, id);
    assert_eq!(outcome(&server, &next), "backup-done");
}

#[test]
fn a_job_that_fails_says_so_and_the_log_says_why() {
    let database = database();
    let server = server(&database, &[]);
    // There is no Pact.
    let id = make(&server, "/make-backup?backupPact");
    assert_eq!(outcome(&server, &id), "backup-failed");
    let line = server.logged("backup failed");
    assert!(line.contains(id.as_str()) && line.contains("no Pact database of chain 0"), "{line}");
    assert_eq!(outcome(&server, &make(&server, "/make-backup?backupPact=false")), "backup-done");
}

#[test]
fn a_folder_of_backups_that_cannot_be_used_is_an_error_of_the_server() {
    let database = database();
    let dir = folder();
    let file = dir.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    let server = server(&database, &["--backups", utf8(&file)]);
    let response = server.post("/make-backup", "");
    assert_eq!(response.status, 500);
    let line = server.logged("the folder of backups cannot be used");
    assert!(line.contains(response.header("x-request-id").unwrap()), "{line}");
    assert_eq!(server.get(&format!("{BASE}/cut")).status, 200);
}

#[test]
fn a_job_that_a_crash_cut_off_has_failed_afterwards() {
    let database = database();
    let dir = Backups::default_dir(&database.path());
    let id = "1700000000000001";
    let draft = dir.join(format!(".{id}.tmp"));
    std::fs::create_dir_all(draft.join("0/rocksDb")).unwrap();
    std::fs::write(draft.join("status"), "backup-in-progress").unwrap();
    let server = server(&database, &[]);
    assert_eq!(outcome(&server, &id.parse().unwrap()), "backup-failed");
    assert_eq!(outcome(&server, &make(&server, "/make-backup")), "backup-done");
    assert!(!draft.exists());
    assert_eq!(outcome(&server, &id.parse().unwrap()), "backup-failed");
}

#[test]
fn the_command_backs_up_what_a_server_has_open_and_restores_it() {
    let database = database();
    let server = server(&database, &["--keep-backups", "2"]);
    let expected = stored(&database.path());
    let made = command(&["backup", "make"], &database.path(), &[]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let first = made.out.trim().to_owned();
    assert_eq!(outcome(&server, &first.parse().unwrap()), "backup-done");
    let second = make(&server, "/make-backup");
    assert_eq!(outcome(&server, &second), "backup-done");
    let listed = command(&["backup", "list"], &database.path(), &["--json"]);
    let listed: Vec<serde_json::Value> =
        listed.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&str> = listed.iter().map(|listed| listed["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&*first, second.as_str()]);
    assert_eq!(listed[1]["contents"]["blocks"].as_u64(), Some(expected.len() as u64));
    let table = command(&["backup", "list"], &database.path(), &[]).out;
    assert_eq!(table.lines().filter(|line| line.contains("backup-done")).count(), 2, "{table}");
    let checked = command(&["backup", "check", "latest"], &database.path(), &["--verify"]);
    assert_eq!((checked.status, checked.out.trim()), (Some(0), "backup-done"), "{}", checked.err);
    let to = folder();
    let restored = command(&["restore", "latest"], &database.path(), &["--to", utf8(to.path())]);
    assert_eq!(restored.status, Some(0), "{}", restored.err);
    assert_eq!(stored(to.path()), expected);
    let again = command(&["restore", "latest"], &database.path(), &["--to", utf8(to.path())]);
    again.assert_fails(2, &["is not empty", "Name a folder"]);
    let third = make(&server, "/make-backup");
    assert_eq!(outcome(&server, &third), "backup-done");
    let (dir, start) = (Backups::default_dir(&database.path()), Instant::now());
    // What is too many goes once the new one is done.
    while names(&dir) != [".lock", second.as_str(), third.as_str()] {
        assert!(start.elapsed() < Duration::from_mins(1), "{:?}", names(&dir));
    }
}

#[test]
fn commands_say_what_is_missing() {
    let dir = folder();
    let none = dir.path().join("none");
    command(&["backup", "make"], &none, &[]).assert_fails(2, &["no database in", "Make one"]);
    assert!(!none.exists(), "a folder was made");
    command(&["backup", "check", "1"], &none, &[]).assert_fails(2, &["no backup 1 in"]);
    command(&["backup", "check", "../x"], &none, &[]).assert_fails(2, &["expected 1 to 64"]);
    command(&["backup", "check", "latest"], &none, &[]).assert_fails(2, &["no backup in"]);
    let listed = command(&["backup", "list"], &none, &[]);
    assert_eq!((listed.status, listed.out.lines().count()), (Some(0), 1));
    run(["backup", "make"]).assert_fails(2, &["no database is named", "--db DIR"]);
    run(["backup", "list"]).assert_fails(2, &["no folder of backups is named"]);
    run(["restore", "1"]).assert_fails(2, &["--to"]);
    run(["backup", "make", "--db", "x", "--keep", "0"])
        .assert_fails(2, &["expected a whole number from 1 to 1000000"]);
}

#[test]
fn a_server_that_is_stopped_ends_its_job() {
    let database = database();
    let mut server = server(&database, &[]);
    let id = make(&server, "/make-backup");
    server.signal(Signal::TERM);
    assert!(server.wait(Duration::from_mins(1)).unwrap().success());
    let backups = Backups::new(&Backups::default_dir(&database.path()));
    let status = backups.status(&id).unwrap().unwrap().name();
    assert!(["backup-done", "backup-failed"].contains(&status), "{status}");
    let left = names(backups.dir());
    assert_eq!(left, [".lock", id.as_str()]);
}

#[test]
fn a_replay_is_served_while_it_runs() {
    let blocks = braid_with_orphans(30, 3);
    let dir = folder();
    let (db, file) = (dir.path().join("db"), dir.path().join("dump"));
    std::fs::write(&file, dump(&blocks[..blocks.len() / 2])).unwrap();
    let flags = ["--db", utf8(&db), "--network", NETWORK.name(), "--verify", "hash"];
    let flags = [&flags[..], &["--backup-api", "--replay", utf8(&file)]].concat();
    let mut server = Server::with(&flags);
    let start = Instant::now();
    let ended = |server: &Server| server.log().contains("the replay has ended");
    while !ended(&server) {
        assert_eq!(server.get(&format!("{BASE}/cut")).status, 200);
        assert!(start.elapsed() < Duration::from_mins(1), "{}", server.log());
    }
    let half = sorted(&blocks[..blocks.len() / 2]);
    for header in &half {
        let (chain, hash) = (header.view().chain(), header.view().hash());
        let response = server.get(&format!("{BASE}/chain/{chain}/header/{hash}"));
        assert_eq!(response.status, 200, "{hash}");
    }
    let id = make(&server, "/make-backup");
    assert_eq!(outcome(&server, &id), "backup-done");
    assert_eq!(stored(&db.join("backups").join(id.as_str())), half);
    server.signal(Signal::TERM);
    assert!(server.wait(Duration::from_mins(1)).unwrap().success());
    // A wrong input ends the replay, and the server goes on.
    std::fs::write(&file, [dump(&blocks), vec![1; 318]].concat()).unwrap();
    let mut server = Server::with(&flags);
    let start = Instant::now();
    while !ended(&server) {
        assert!(start.elapsed() < Duration::from_mins(1), "{}", server.log());
    }
    server.logged("rejected: ");
    let last = sorted(&blocks).pop().unwrap();
    let (chain, hash) = (last.view().chain(), last.view().hash());
    let response = server.get(&format!("{BASE}/chain/{chain}/header/{hash}"));
    assert_eq!(response.status, 200, "{hash}");
    server.signal(Signal::TERM);
    assert!(server.wait(Duration::from_mins(1)).unwrap().success());
    assert_eq!(stored(&db), sorted(&blocks));
}

#[test]
fn a_large_replay_is_served_and_backed_up_while_it_runs() {
    // More than goes to the hash index row by row.
    let dir = folder();
    let (db, file) = (dir.path().join("db"), dir.path().join("dump"));
    let args = ["generate", "--network", "development", "--heights", "6000", "--out"];
    let generated = run([&args[..], &[utf8(&file)]].concat());
    assert_eq!(generated.status, Some(0), "{}", generated.err);
    let bytes = std::fs::read(&file).unwrap();
    assert!(bytes.len() / 318 > 100_000);
    let flags = ["--db", utf8(&db), "--network", NETWORK.name(), "--verify", "none"];
    let flags = [&flags[..], &["--backup-api", "--replay", utf8(&file)]].concat();
    let mut server = Server::with(&flags);
    let start = Instant::now();
    let (mut ids, mut seen) = (Vec::new(), 0);
    while !server.log().contains("the replay has ended") {
        let id = make(&server, "/make-backup");
        assert_eq!(outcome(&server, &id), "backup-done");
        ids.push(id);
        // What is shown is found, sorted into the index or not.
        let cut: serde_json::Value =
            serde_json::from_slice(&server.get(&format!("{BASE}/cut")).body).unwrap();
        let height = cut["hashes"]["0"]["height"].as_u64().unwrap();
        assert!(height >= seen, "{height} after {seen}");
        seen = height;
        let page = server.get(&format!("{BASE}/chain/0/hash?minheight={}&limit=3", height / 2));
        let page: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
        for hash in page["items"].as_array().unwrap() {
            let hash = hash.as_str().unwrap();
            let response = server.get(&format!("{BASE}/chain/0/header/{hash}"));
            assert_eq!(response.status, 200, "{hash}");
        }
        assert!(start.elapsed() < Duration::from_mins(2), "{}", server.log());
    }
    say(&format!("{} backups while a replay ran", ids.len()));
    server.signal(Signal::TERM);
    assert!(server.wait(Duration::from_mins(1)).unwrap().success());
    let mut before = 0;
    for id in &ids {
        let path = db.join("backups").join(id.as_str());
        let held = stored(&path);
        assert!(held.len() >= before);
        before = held.len();
        let verified = run(["verify", "--level", "none", "--db", utf8(&path)]);
        assert_eq!(verified.status, Some(0), "{}", verified.err);
    }
}
