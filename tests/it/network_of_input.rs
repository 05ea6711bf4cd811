//! Of which network inputs are: it is taken from them, and where that contradicts what is named or what
//! is there, nothing is written. Networks with a known code and another genesis block.

use std::fs;
use std::path::{Path, PathBuf};

use plait_engine::archive;
use plait_engine::generate::{History, Plan};
use plait_engine::header::{HeaderRef, merkle, text};
use plait_engine::{BlockHash, ChainwebVersion, Engine, Header};
use tempfile::TempDir;
use testkit::block::{NETWORK, dump};
use testkit::braid::{braid, other_braid};
use testkit::process::{Outcome, plait, run, run_with_input};
use testkit::server::{Server, utf8};
use testkit::{sorted, stored};

use crate::compressed::{gzip, zstd};
use crate::follow::FAST;
use crate::push_http::{folder, taking};

const TESTNET: ChainwebVersion = ChainwebVersion::RecapDevelopment;

/// Dumps of two networks in a folder.
struct Inputs {
    dir: TempDir,
    headers: Vec<Header>,
}

impl Inputs {
    fn new() -> Self {
        let dir = folder();
        let headers = braid(3);
        let lines = |headers: &[Header], version| {
            let mut out = Vec::new();
            for header in headers {
                text::push_object(&mut out, header.view(), version);
                out.push(b'\n');
            }
            out
        };
        let other: Vec<Header> = History::new(&Plan::new(TESTNET, 2)).unwrap().collect();
        for (name, bytes) in [
            ("dump.bin", dump(&headers)),
            ("dump.json", lines(&headers, NETWORK)),
            ("dump.bin.gz", gzip(&dump(&headers))),
            ("dump.json.zst", zstd(&lines(&headers, NETWORK))),
            ("other.bin", dump(&other)),
            ("other.json", lines(&other, TESTNET)),
            ("empty", Vec::new()),
            ("nothing.json", b"{\"items\":[]}\n".to_vec()),
        ] {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        Self { dir, headers }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replays these files into a database that may not be there yet, at the level that drawn blocks pass.
    fn replay(&self, db: &Path, flags: &[&str], names: &[&str]) -> Outcome {
        let mut command = plait(["replay", "--db", utf8(db), "--verify", "hash"]);
        command.args(flags).args(names.iter().map(|name| self.path(name)));
        testkit::process::finish(command.spawn().unwrap())
    }
}

#[test]
fn the_network_is_that_of_the_first_record() {
    let inputs = Inputs::new();
    for name in ["dump.bin", "dump.json", "dump.bin.gz", "dump.json.zst"] {
        let db = inputs.path("db").join(name);
        let outcome = inputs.replay(&db, &[], &[name]);
        assert_eq!(outcome.status, Some(0), "{name}: {}", outcome.err);
        assert_eq!(Engine::open_read_only(&db).unwrap().version(), NETWORK);
        assert_eq!(stored(&db), sorted(&inputs.headers), "{name}");
        let db = inputs.path("db").join(format!("pipe-{name}"));
        let command = plait(["replay", "--db", utf8(&db), "--verify", "hash", "-"]);
        let outcome = run_with_input(command, fs::read(inputs.path(name)).unwrap());
        assert_eq!(outcome.status, Some(0), "{name}: {}", outcome.err);
        assert_eq!(stored(&db), sorted(&inputs.headers), "{name}, from a pipe");
    }
    // An archive says it in its manifest.
    let (db, dir) = (inputs.path("db").join("dump.bin"), inputs.path("archive"));
    let outcome = run(["export", "--db", utf8(&db), "--out", utf8(&dir)]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert!(dir.join(archive::MANIFEST).exists());
    let db = inputs.path("db").join("archive");
    let outcome = inputs.replay(&db, &[], &["archive"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(&db), sorted(&inputs.headers));
}

#[test]
fn a_network_that_the_input_contradicts_makes_no_folder() {
    let inputs = Inputs::new();
    for name in ["dump.bin", "dump.json", "dump.bin.gz"] {
        let db = inputs.path("new");
        let outcome = inputs.replay(&db, &["--network", "mainnet01"], &[name]);
        let input = inputs.path(name);
        let said = format!(
            "error: {} belongs to network development, but --network is mainnet01. Nothing was written.",
            input.display()
        );
        let right = format!(
            "Run: plait replay --db {} --network development --verify hash {}",
            db.display(),
            input.display()
        );
        outcome.assert_fails(2, &[&said, &right]);
        assert!(!db.exists(), "{name}");
        let command =
            plait(["replay", "--db", utf8(&db), "--network", "mainnet01", "--verify", "hash", "-"]);
        let outcome = run_with_input(command, fs::read(&input).unwrap());
        outcome.assert_fails(2, &["standard input belongs to network development"]);
        assert!(!db.exists(), "{name}, from a pipe");
        // The command that is printed is right.
        let outcome = inputs.replay(&db, &["--network", "development"], &[name]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        fs::remove_dir_all(&db).unwrap();
    }
}

#[test]
fn a_database_of_another_network_stays_as_it_is() {
    let inputs = Inputs::new();
    let db = inputs.path("db");
    assert_eq!(inputs.replay(&db, &[], &["dump.bin"]).status, Some(0));
    let before = stored(&db);
    for (flags, names) in [
        (&[][..], &["other.bin"][..]),
        (&[], &["other.json"]),
        (&["--network", "recap-development"], &["other.bin"]),
        (&[], &["other.bin", "dump.bin"]),
    ] {
        let outcome = inputs.replay(&db, flags, names);
        outcome.assert_fails(2, &["Nothing was written."]);
        if names.len() == 1 {
            let said = format!(
                "belongs to network recap-development, but the database in {} belongs to development",
                db.display()
            );
            let right = "Run: plait replay --db NEW_DIR --network recap-development --verify hash";
            outcome.assert_fails(2, &[&said, right]);
        }
        assert_eq!(stored(&db), before);
    }
    let outcome = inputs.replay(&db, &["--network", "mainnet01"], &["dump.bin"]);
    outcome.assert_fails(2, &["belongs to network development, but --network is mainnet01"]);
}

#[test]
fn inputs_that_disagree_are_all_refused() {
    let inputs = Inputs::new();
    let db = inputs.path("db");
    let outcome = inputs.replay(&db, &[], &["dump.bin", "other.bin"]);
    outcome.assert_fails(
        2,
        &[
            "other.bin belongs to network recap-development, but ",
            "dump.bin belongs to development",
        ],
    );
    assert!(!db.exists());
    // A pipe can be asked only in its turn.
    let mut command = plait(["replay", "--db", utf8(&db), "--verify", "hash"]);
    command.arg(inputs.path("dump.bin")).arg("-");
    let outcome = run_with_input(command, fs::read(inputs.path("other.bin")).unwrap());
    outcome.assert_fails(2, &["standard input: its network is recap-development", "is kept"]);
    assert_eq!(stored(&db), sorted(&inputs.headers));
}

#[test]
fn a_database_is_not_made_of_nothing() {
    let inputs = Inputs::new();
    let db = inputs.path("db");
    inputs.replay(&db, &[], &["empty"]).assert_fails(2, &["the input is empty"]);
    inputs
        .replay(&db, &[], &["nothing.json"])
        .assert_fails(2, &["nothing.json has no headers", "Nothing was written", "--network NAME"]);
    assert!(!db.exists());
    let serve = ["serve", "--listen", "127.0.0.1:0", "--db", utf8(&db), "--ingest", "127.0.0.1:0"];
    run(serve).assert_fails(2, &["there is no database in", "--network NAME"]);
    assert!(!db.exists());
    // With a name it is asked for.
    let outcome = inputs.replay(&db, &["--network", "development"], &["nothing.json"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(&db).len(), 20);
    // A database that is there needs no more.
    assert_eq!(inputs.replay(&db, &[], &["nothing.json"]).status, Some(0));
}

#[test]
fn a_server_that_replays_takes_the_network_from_its_input_too() {
    let inputs = Inputs::new();
    let db = inputs.path("db");
    let (input, own) =
        (inputs.path("dump.bin"), ["serve", "--listen", "127.0.0.1:0", "--db", utf8(&db)]);
    let wrong = ["--network", "mainnet01", "--replay", utf8(&input)];
    let outcome = run([&own[..], &wrong].concat());
    outcome
        .assert_fails(2, &["but --network is mainnet01", "Run: plait serve --listen 127.0.0.1:0"]);
    assert!(!db.exists());
    let server = Server::with(&["--db", utf8(&db), "--replay", utf8(&input), "--verify", "hash"]);
    assert_eq!(server.get("/chainweb/0.0/development/cut").status, 200);
}

#[test]
fn a_node_of_another_network_is_not_followed_into_a_new_folder() {
    let dir = folder();
    let upstream = taking(&dir.path().join("upstream"), &[]);
    let db = dir.path().join("db");
    let url = upstream.url();
    let own = ["follow", &url, "--db", utf8(&db), "--once"];
    let flags = FAST.chunks(2).flatten().copied().collect::<Vec<_>>();
    let outcome = run([&own[..], &flags, &["--network", "mainnet01"]].concat());
    outcome.assert_fails(2, &["belongs to network development, but --network is mainnet01"]);
    assert!(!db.exists());
    assert_eq!(run([&own[..], &flags].concat()).status, Some(0));
    assert_eq!(Engine::open_read_only(&db).unwrap().version(), NETWORK);
}

#[test]
fn another_genesis_block_is_named_with_the_flag_that_takes_it() {
    let dir = folder();
    let (db, headers) = (dir.path().join("db"), other_braid(4));
    let (own, got) = (braid(0)[0].view().hash(), headers[0].view().hash());
    let both = [&*own.to_string(), &*got.to_string()].map(str::to_owned);
    for (name, headers) in [("whole", &headers[..]), ("above", &headers[20..])] {
        let file = dir.path().join(name);
        fs::write(&file, dump(headers)).unwrap();
        let outcome = run(["replay", "--db", utf8(&db), "--verify", "hash", utf8(&file)]);
        outcome.assert_fails(2, &["other genesis blocks", &both[0], &both[1], "--allow-partial"]);
        assert!(!db.exists(), "{name}");
        // As it says.
        let new = dir.path().join(format!("{name}-db"));
        let flags = ["--allow-partial", "--verify", "hash", utf8(&file)];
        let outcome = run([&["replay", "--db", utf8(&new)][..], &flags].concat());
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert_eq!(stored(&new), sorted(headers));
    }
    // Where the first record does not show it, the block that shows it does, at every level.
    let first = dir.path().join("first");
    let from = headers.last().into_iter().chain(&headers);
    fs::write(&first, dump(from)).unwrap();
    for level in ["hash", "full"] {
        let db = dir.path().join(format!("db-{level}"));
        let flags = ["--keep-going", "--verify", level, utf8(&first)];
        let outcome = run([&["replay", "--db", utf8(&db)][..], &flags].concat());
        outcome.assert_fails(1, &["OtherGenesis", &both[0], &both[1], "--allow-partial"]);
        assert!(!outcome.err.contains("A replay that brings it stores them"), "{}", outcome.err);
    }
}

#[test]
fn a_forged_first_record_does_not_make_another_network() {
    let dir = folder();
    let (headers, file) = (braid(4), dir.path().join("dump"));
    // The first block above a genesis block, as if that were another one.
    let mut raw = *headers[20].view().raw();
    raw.parent = BlockHash::new([7; 32]);
    raw.hash = merkle::block_hash(HeaderRef::new(&raw).unwrap());
    let forged = Header::new(raw).unwrap();
    fs::write(&file, dump(std::iter::once(&forged).chain(&headers[20..]))).unwrap();
    let replay = |name: &str, flags: &[&str]| {
        let db = dir.path().join(name);
        let own = ["replay", "--db", utf8(&db), "--verify", "hash", utf8(&file)];
        (run([&own[..], flags].concat()), db)
    };
    let (outcome, db) = replay("kept", &["--keep-going"]);
    outcome.assert_fails(1, &["offset 0: ", "OtherGenesis"]);
    assert!(!outcome.err.contains("Nothing was written"), "{}", outcome.err);
    assert_eq!(outcome.counts(), [80, 0, 1], "{}", outcome.err);
    assert_eq!(stored(&db), sorted(&headers));
    // It ends a replay that is not to go on, as any other.
    let (outcome, _) = replay("ended", &[]);
    outcome.assert_fails(1, &["offset 0: ", "OtherGenesis"]);
    // From a pipe as well: nothing of what was looked at is lost.
    let db = dir.path().join("piped");
    let own = ["replay", "--db", utf8(&db), "--verify", "hash", "--keep-going", "-"];
    let outcome = run_with_input(plait(own), fs::read(&file).unwrap());
    assert_eq!(outcome.counts(), [80, 0, 1], "{}", outcome.err);
    assert_eq!(stored(&db), sorted(&headers));
}

#[test]
fn a_node_with_another_genesis_block_is_named() {
    let dir = folder();
    let (theirs, ours) = (dir.path().join("theirs"), dir.path().join("ours"));
    let (file, headers) = (dir.path().join("dump"), other_braid(4));
    fs::write(&file, dump(&headers)).unwrap();
    let flags = ["--allow-partial", "--verify", "hash", utf8(&file)];
    let outcome = run([&["replay", "--db", utf8(&theirs)][..], &flags].concat());
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let upstream = Server::with(&["--db", utf8(&theirs)]);
    let url = upstream.url();
    let own = ["follow", &url, "--db", utf8(&ours), "--once"];
    let flags = FAST.chunks(2).flatten().copied().collect::<Vec<_>>();
    let outcome = run([&own[..], &flags].concat());
    outcome.assert_fails(2, &["its genesis blocks differ"]);
    // Which chain comes first is open.
    let genesis = braid(0);
    let both = genesis.iter().zip(&headers).map(|pair| {
        let (own, got) = pair;
        [own.view().hash().to_string(), got.view().hash().to_string()]
    });
    let names = |hashes: &[String; 2]| hashes.iter().all(|hash| outcome.err.contains(hash));
    assert!(both.into_iter().any(|hashes| names(&hashes)), "{}", outcome.err);
    outcome.assert_fails(2, &["--allow-partial"]);
}

#[test]
fn the_example_with_curl_in_the_help_works() {
    let dir = folder();
    let (db, file) = (dir.path().join("upstream"), dir.path().join("dump"));
    fs::write(&file, dump(&crate::push::generated(5, 1, 0.0))).unwrap();
    assert_eq!(run(["replay", "--db", utf8(&db), utf8(&file)]).status, Some(0));
    let server = Server::with(&["--db", utf8(&db)]);
    let help = run(["replay", "--help"]).out;
    let (line, rest) =
        help.split_once("curl -fsS --retry 5 '").unwrap().1.split_once('\n').unwrap();
    let path = line.strip_prefix("http://node:1848").unwrap().strip_suffix("' |").unwrap();
    let command = rest.lines().next().unwrap().trim();
    assert_eq!(command, "plait replay --db ./db --allow-partial -");
    let answer = server.get(&path.replace("mainnet01", "development"));
    assert_eq!(answer.status, 200);
    let new = dir.path().join("new");
    let command = plait(["replay", "--db", utf8(&new), "--allow-partial", "-"]);
    let outcome = run_with_input(command, answer.text().as_bytes().to_vec());
    assert_eq!((outcome.status, outcome.counts()), (Some(0), [3, 0, 0]), "{}", outcome.err);
    // And the database of a chainweb-node is a folder.
    let outcome = run(["replay", "--db", utf8(&new), "--format", "node", utf8(&file)]);
    outcome.assert_fails(2, &["is a file"]);
    assert!(!outcome.err.contains("stored 0"), "{}", outcome.err);
}
