//! `GET stats`, `GET state` and the files of the explorer, over a real server of a generated history; the
//! command says the same.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use plait_engine::generate::{History, Plan};
use plait_engine::{BlockHeight, Engine, Header, Heights, Steps};
use serde_json::{Value, json};
use testkit::block::{NETWORK, dump};
use testkit::http::{Request, Response};
use testkit::process::{Outcome, run};
use testkit::server::{Replayed, Server, utf8};

use crate::http_data::{BASE, OCTETS, on};

const HEIGHTS: u64 = 700;

struct World {
    server: Server,
    database: Replayed,
}

impl World {
    fn new(flags: &[&str]) -> Self {
        let plan = Plan { forks: 0.02, fork_depth: 30, ..Plan::new(NETWORK, HEIGHTS) };
        let mined: Vec<Header> = History::new(&plan).unwrap().collect();
        let database = Replayed::new("development", dump(&mined), &[]);
        Self { server: Server::start(&database, flags), database }
    }

    fn get(&self, rest: &str) -> Response {
        self.server.get(&format!("{BASE}/{rest}"))
    }

    fn stats(&self, rest: &str) -> Value {
        json_of(&self.get(rest))
    }

    fn command(&self, rest: &[&str]) -> Outcome {
        let path = self.database.path();
        run([&["stats", "--db", utf8(&path)], rest].concat())
    }
}

fn json_of(answer: &Response) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("Content-Type"), Some("application/json;charset=utf-8"));
    serde_json::from_str(answer.text()).unwrap()
}

fn sum(rows: &Value, member: &str) -> u64 {
    rows.as_array().unwrap().iter().map(|row| row[member].as_u64().unwrap()).sum()
}

#[test]
fn rows_are_what_the_engine_says_and_the_command_says_the_same() {
    let world = World::new(&[]);
    let reader = Engine::open_read_only(&world.database.path()).unwrap();
    let view = reader.view();
    let chains: Vec<_> = view.version().chain_ids().collect();
    let blocks: u64 = chains.iter().map(|chain| view.block_count(*chain)).sum();
    let whole = world.stats("stats");
    let [row] = &whole["rows"].as_array().unwrap()[..] else { panic!("one row: {whole}") };
    assert_eq!((&row["minHeight"], &row["maxHeight"]), (&json!(0), &json!(HEIGHTS)));
    assert_eq!(row["blocks"].as_u64().unwrap() + row["orphans"].as_u64().unwrap(), blocks);
    assert!(row["orphans"].as_u64().unwrap() > 0 && row["hashRate"].as_f64().unwrap() > 0.0);
    assert_eq!(row.get("chain"), None);
    let bounds = whole["blockTimeBounds"].as_array().unwrap();
    let times = row["blockTimes"].as_array().unwrap();
    assert_eq!((bounds.len(), times.len()), (27, 28));
    let in_bins: u64 = times.iter().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(in_bins, row["blocks"].as_u64().unwrap() - 20, "all but genesis blocks");

    let steps = world.stats("stats?step=100");
    assert_eq!(steps["rows"].as_array().unwrap().len(), 8);
    assert_eq!(sum(&steps["rows"], "blocks"), row["blocks"].as_u64().unwrap());
    assert_eq!(sum(&steps["rows"], "orphans"), row["orphans"].as_u64().unwrap());

    let by_chain = world.stats("stats?by=chain&minheight=250&maxheight=520");
    let rows = by_chain["rows"].as_array().unwrap();
    let heights = Heights { min: Some(BlockHeight::new(250)), max: Some(BlockHeight::new(520)) };
    let expected = view.stats_by_scan(&chains, Steps::new(heights, u64::MAX)).unwrap();
    for ((row, stats), chain) in rows.iter().zip(&expected).zip(&chains) {
        let [stats] = stats[..] else { panic!("one step") };
        assert_eq!(row["chain"], chain.get());
        assert_eq!((&row["blocks"], &row["orphans"]), (&json!(271), &json!(stats.orphans)));
        assert_eq!(row["difficulty"], stats.sums.difficulty.to_string());
        assert_eq!(row["time"], stats.sums.time);
        assert_eq!(row["blockTimes"], json!(stats.sums.times.get()));
        assert_eq!(row["lastTime"], json!(stats.last.unwrap().get()));
        let rate = row["hashRate"].as_f64().unwrap();
        assert!((rate - stats.hash_rate(stats.blocks).unwrap()).abs() <= rate * 1e-12);
        assert_eq!(
            world.stats(&format!("chain/{chain}/stats?minheight=250&maxheight=520"))["rows"],
            json!([row])
        );
    }

    for (path, flags) in [
        ("stats", &[][..]),
        ("stats?step=100", &["--step", "100"]),
        (
            "stats?by=chain&minheight=250&maxheight=520",
            &["--by-chain", "--min-height", "250", "--max-height", "520"],
        ),
        ("chain/3/stats?step=256", &["--chain", "3", "--step", "256"]),
    ] {
        let said = world.command(&[&["--json"], flags].concat());
        assert_eq!((said.status, said.out.trim_end()), (Some(0), world.get(path).text()), "{path}");
        let table = world.command(flags);
        assert_eq!(table.status, Some(0));
        let rows = world.stats(path)["rows"].as_array().unwrap().len();
        assert_eq!(table.out.lines().count(), 1 + rows, "{}", table.out);
    }
    world.command(&["--chain", "20"]).assert_fails(2, &["the network has no chain 20"]);
    world.command(&["--step", "0"]).assert_fails(2, &["--step", "a whole number from 1 to"]);
    world
        .command(&["--min-height", "10", "--max-height", "5"])
        .assert_fails(2, &["--min-height 10 is above --max-height 5", "empty"]);
}

#[test]
fn the_command_tells_where_there_are_blocks_if_a_range_has_none() {
    let world = World::new(&[]);
    for (flags, of) in [
        (&["--min-height", "701"][..], ""),
        (&["--min-height", "99999999", "--chain", "3"], " of chain 3"),
    ] {
        let said = world.command(flags);
        assert_eq!((said.status, said.out.lines().count()), (Some(0), 1), "{}", said.out);
        let range =
            format!("no blocks{of} in this range: blocks are stored from height 0 to height 700\n");
        assert_eq!(said.err, range);
    }
}

#[test]
fn a_hash_rate_of_single_heights_is_near_that_of_all_or_there_is_none() {
    let world = World::new(&[]);
    // Within this epoch of 120 blocks the difficulty of a chain is constant.
    let range = ["--min-height", "241", "--max-height", "359"];
    let rows = |flags: &[&str]| -> Vec<Value> {
        let said = world.command(&[&["--json"], &range[..], flags].concat());
        let mut value: Value = serde_json::from_str(&said.out).unwrap();
        serde_json::from_value(value["rows"].take()).unwrap()
    };
    let of_chains = rows(&["--by-chain"]);
    let [all] = &rows(&[])[..] else { panic!("one row") };
    let number = |row: &Value, member: &str| row[member].as_f64().unwrap();
    let known: f64 = of_chains
        .iter()
        .map(|row| row["difficulty"].as_str().unwrap().parse::<f64>().unwrap())
        .map(|difficulty| difficulty / number(all, "time") * 20.0 * 1e6)
        .sum();
    assert!((number(all, "hashRate") / known - 1.0).abs() < 1e-9, "{all}, expected {known}");
    let single = rows(&["--step", "1"]);
    assert_eq!(single.len(), 119);
    for row in &single {
        let ratio = number(row, "hashRate") / known;
        assert!((0.1..10.0).contains(&ratio), "{ratio} times that of all heights: {row}");
    }
    assert!(rows(&["--step", "1", "--chain", "3"]).iter().all(|row| row["hashRate"].is_null()));
    let table = world.command(&["--step", "1", "--by-chain", "--max-height", "9"]);
    let rates = table.out.lines().skip(1).map(|line| line.split_whitespace().last().unwrap());
    assert!(rates.clone().all(|rate| rate == "-") && rates.count() == 200, "{}", table.out);
}

#[test]
fn heights_without_blocks_make_no_rows_and_too_many_steps_are_refused() {
    let world = World::new(&["--max-stats-steps", "100"]);
    for path in ["stats?minheight=701", "chain/0/stats?minheight=99999999999999999999"] {
        assert_eq!(world.stats(path)["rows"], json!([]), "{path}");
    }
    assert_eq!(
        world.stats("chain/0/stats?step=8&maxheight=799")["rows"].as_array().unwrap().len(),
        88
    );
    for (path, steps) in [("stats?step=100", 160), ("chain/0/stats?step=1", 701)] {
        let answer = world.get(path);
        assert_eq!(answer.status, 400);
        let said = format!("{steps} steps, of all chains together, at most 100 are allowed");
        assert!(answer.text().contains(&said), "{}", answer.text());
    }
    for path in ["stats?minheight=5&maxheight=4", "chain/0/stats?maxheight=0&minheight=1"] {
        let answer = world.get(path);
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.text().contains("the range is empty"), "{}", answer.text());
    }
    for path in ["stats?step=0", "stats?step=x", "stats?by=height", "stats?minheight=-1"] {
        assert_eq!(world.get(path).status, 400, "{path}");
    }
    assert_eq!(world.get("chain/20/stats").status, 404);
    assert_eq!(world.server.ask(&Request::get(format!("{BASE}/stats")).accept(OCTETS)).status, 406);
    assert_eq!(world.server.post(&format!("{BASE}/stats"), "{}").status, 405);
    // Pages have these parameters, statistics do not.
    let answer = world.get("stats?limit=x&next=y");
    assert!(answer.status == 400 && answer.text().contains("limit"), "{}", answer.text());
}

#[test]
fn state_is_what_the_store_holds_and_the_server_does() {
    let world = World::new(&[]);
    let state = json_of(&world.get("state"));
    let view = Engine::open_read_only(&world.database.path()).unwrap().view();
    let cut = view.cut(None).unwrap();
    let blocks = view.total_block_count();
    assert_eq!(state["network"], "development");
    assert_eq!((&state["history"], &state["formatVersion"]), (&json!("full"), &json!(5)));
    assert_eq!((&state["blocks"], &state["fullyVerified"]), (&json!(blocks), &json!(false)));
    let lowest = state["lowest"].as_object().unwrap();
    assert!(lowest.len() == 20 && lowest.values().all(|height| *height == json!(0)), "{state}");
    assert_eq!(state["cut"], json!({ "height": cut.height(), "id": cut.id().to_string() }));
    assert_eq!((&state["replay"], &state["follow"]), (&Value::Null, &Value::Null));
    let backup = json!({ "running": false, "lastSuccess": null, "failed": 0 });
    assert_eq!(state["backup"], backup);
    assert_eq!(world.server.get(&on(0, "state")).status, 404);
}

#[test]
fn the_explorer_is_files_that_run_nothing_from_elsewhere() {
    let world = World::new(&[]);
    let page = world.server.get("/");
    assert_eq!((page.status, page.header("Content-Type")), (200, Some("text/html;charset=utf-8")));
    let policy = page.header("Content-Security-Policy").unwrap();
    for part in ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    let mut files = 0;
    // Relative, so that the page may stand below a path of a proxy.
    for part in page.text().split('"').filter(|part| part.starts_with("explorer/")) {
        let part = &format!("/{part}");
        let file = world.server.get(part);
        assert_eq!(file.status, 200, "{part}");
        assert_eq!(file.header("X-Content-Type-Options"), Some("nosniff"));
        let tag = file.header("ETag").unwrap();
        let again = world.server.ask(&Request::get(part).header("If-None-Match", tag));
        assert_eq!((again.status, again.body.len()), (304, 0));
        assert_eq!(again.header("Cache-Control"), Some("no-cache, max-age=0"));
        files += 1;
    }
    assert!(files > 0, "{}", page.text());
    for path in ["/explorer/", "/explorer/mod.rs", "/explorer/..%2Fmod.rs", "/index.html"] {
        assert_eq!(world.server.get(path).status, 404, "{path}");
    }
    assert_eq!(world.server.post("/", "").status, 405);
}

#[test]
fn a_short_history_of_mainnet01_has_statistics_up_to_its_last_height_and_no_orphans() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blocks");
    let made = ["generate", "--network", "mainnet01", "--heights", "300", "--out", utf8(&file)];
    let made = run(made);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let database = Replayed::new("mainnet01", std::fs::read(&file).unwrap(), &[]);
    let server = Server::start(&database, &[]);
    let get = |rest: &str| json_of(&server.get(&format!("/chainweb/0.0/mainnet01/{rest}")));
    // Chains 10 to 19 have only their genesis blocks, at height 852,054, and these count nowhere.
    for (query, rows) in [
        ("stats", 1),
        ("stats?step=100", 4),
        ("stats?by=chain", 10),
        // 3,010 steps.
        ("stats?step=1&maxheight=300", 301),
    ] {
        let found = &get(query)["rows"];
        assert_eq!(found.as_array().unwrap().len(), rows, "{query}");
        assert_eq!((sum(found, "blocks"), sum(found, "orphans")), (3_010, 0), "{query}");
    }
    for query in [
        "chain/10/stats",
        "chain/19/stats?step=100",
        "stats?minheight=852054",
        "stats?minheight=852054&by=chain",
        "stats?minheight=301&step=1000",
    ] {
        assert_eq!(get(query)["rows"], json!([]), "{query}");
    }
    let path = database.path();
    let command = |rest: &[&str]| run([&["stats", "--db", utf8(&path)], rest].concat());
    for (step, lines) in [("1", 302), ("100", 5), ("100000", 2)] {
        assert_eq!(command(&["--step", step]).out.lines().count(), lines, "{step}");
    }
    for (flags, reason) in [
        (
            ["--min-height", "852054"],
            "no blocks in this range: blocks are stored from height 0 to height 300\n",
        ),
        (["--chain", "10"], "chain 10 has not begun: its genesis block is at height 852,054\n"),
    ] {
        let said = command(&flags);
        assert_eq!((said.status, said.out.lines().count()), (Some(0), 1), "{}", said.out);
        assert_eq!(said.err, reason);
    }
}

#[test]
fn many_short_steps_are_answered_from_stored_sums_in_whole_runs() {
    let world = World::new(&[]);
    // Twenty chains with one step each that begins inside a run: these runs are read.
    let few = world.stats("stats?step=200&by=chain");
    assert_eq!(few["rows"].as_array().unwrap().len(), 4 * 20);
    // With 25 such steps for each chain they are not.
    let whole = world.stats("stats?step=256&by=chain");
    let many = world.stats("stats?step=10&by=chain");
    assert_eq!(many, whole);
    let all = &world.stats("stats?by=chain")["rows"];
    assert_eq!(sum(&many["rows"], "blocks"), sum(all, "blocks"));
    assert_eq!(sum(&many["rows"], "orphans"), sum(all, "orphans"));
    // One chain has few enough of them.
    assert_eq!(world.stats("chain/0/stats?step=10")["rows"].as_array().unwrap().len(), 71);
}

#[test]
fn pages_never_wait_behind_statistics() {
    // One read at a time, without waiting. A page of this many headers takes the only permit as
    // well.
    let flags = ["--max-reads", "1", "--read-wait-time", "0", "--max-page-headers", "2000"];
    let world = World::new(&flags);
    let path = format!("{BASE}/stats?step=256&by=chain");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = world.server.connect();
                while !stop.load(Relaxed) {
                    assert!(matches!(client.ask(&Request::get(&*path)).status, 200 | 503));
                }
            });
        }
        let statuses: Vec<u16> =
            (0..200).map(|_| world.server.get(&on(0, "header?limit=1500")).status).collect();
        stop.store(true, Relaxed);
        assert_eq!(statuses, [200; 200]);
    });
}
