//! The answers about the node itself: `cut`, `info`, `health-check`; and paths that lead nowhere.

use plait_engine::{ChainId, ChainwebVersion};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::http::Request;
use testkit::process::run;
use testkit::server::{Replayed, Server, utf8};

use crate::http_data::{BASE, NOBODY, Served, database, on, reason, served, world};

/// The order in which `chainweb-node` 2.32 writes the chains of a cut.
const ORDER: [u32; 20] = [16, 9, 0, 6, 4, 1, 2, 18, 14, 10, 3, 12, 5, 17, 11, 8, 7, 15, 13, 19];

/// The first ten genesis blocks of mainnet01, by chain.
const GENESIS: [&str; 10] = [
    "SNAMXHBvZtAbeS19x12bZV2p5d1E4BaxrggceNdUxbw",
    "aVFFqF8PbGu-MZkUhb1Ok4XijgxWUYxBxigBQgZmDFI",
    "Isgjp62lHk0uXgQfu_HZoeuP3udIiwkBlq1hHvXqXCM",
    "tMyy7k6lrQOsGg2oXh20kOC3zudjwsaL9F5Ogx0XNBo",
    "yeWKDE27xM45-LgdwpnVMM6E4pAoYryRrJJFgRiaKgQ",
    "GmCgnnxUtn08N8WtL8Gpn3Hg6AKyP4q0W0u3NLZn0Zo",
    "OXehM2W5YuiV0iWlDGIPMdaRv721zMUbj3caJqZJNBU",
    "CAfkqtRJpdf3rNSKx0SRwgaJlSUBLXwF1OMjn2-eBps",
    "09qk9ulwtq854ogJwlDZKN7NC_Q3lqiy1jdD0_YvWMI",
    "5cwptPDy7u6aMS221qsCr93g6ifDr0WUyvoKhi59-PA",
];

/// A server of mainnet01 that has the genesis blocks and nothing else.
fn genesis() -> Served {
    let block = ChainwebVersion::Mainnet01.genesis_header(ChainId::new(0)).unwrap();
    // A replay of a genesis block makes the database and finds it there already.
    Served::new(Replayed::new("mainnet01", block.view().as_bytes().to_vec(), &[]), &[])
}

#[test]
fn cut_of_a_new_database_is_the_genesis_blocks() {
    let server = genesis();
    let cut = server.get("/chainweb/0.0/mainnet01/cut");
    assert_eq!(cut.header("Content-Type"), Some("application/json;charset=utf-8"));
    let ten = ORDER.iter().filter(|chain| **chain < 10);
    let hashes: Vec<String> = ten
        .map(|chain| format!(r#""{chain}":{{"height":0,"hash":"{}"}}"#, GENESIS[*chain as usize]))
        .collect();
    let weight = NOBODY;
    let start = format!(
        r#"{{"hashes":{{{}}},"origin":null,"weight":"{weight}","height":0,"instance":"mainnet01","id":""#,
        hashes.join(",")
    );
    let rest = cut.text().strip_prefix(&start).unwrap_or_else(|| panic!("{}", cut.text()));
    let id = rest.strip_suffix("\"}").unwrap();
    assert_eq!(id.len(), 43, "{id}");
    for maxheight in ["0", "19", "17041080", "99999999999999999999999"] {
        let again = server.get(&format!("/chainweb/0.0/mainnet01/cut?maxheight={maxheight}"));
        assert_eq!(again.body, cut.body, "{maxheight}");
    }
}

#[test]
fn full_mainnet_has_twenty_genesis_blocks_and_no_other_chain() {
    let server = genesis();
    for chain in 0..20 {
        let page = server.get(&format!("/chainweb/0.0/mainnet01/chain/{chain}/hash"));
        let page: Value = serde_json::from_str(page.text()).unwrap();
        assert_eq!(page["limit"], 1, "{chain}");
        if let Some(hash) = GENESIS.get(chain) {
            assert_eq!(page["items"][0], *hash);
        }
        let above = server.get(&format!("/chainweb/0.0/mainnet01/chain/{chain}/hash?minheight=1"));
        let above: Value = serde_json::from_str(above.text()).unwrap();
        assert_eq!(above["limit"], u64::from(chain >= 10), "later chains begin at 852,054");
    }
    for chain in ["20", "4294967296", "-1", "00", "x", "", "0x1", "1%00", "%31%20"] {
        for (method, rest) in [("GET", "hash"), ("GET", "header"), ("POST", "header/branch")] {
            let path = format!("/chainweb/0.0/mainnet01/chain/{chain}/{rest}");
            reason(&server.ask(&Request::new(method, path)), 404);
        }
    }
}

#[test]
fn cut_takes_a_maximal_cut_height() {
    let server = served();
    for (query, status) in [("?maxheight=0", 200), ("?maxheight=12345&limit=1", 200), ("?t=1", 200)]
    {
        assert_eq!(server.get(&format!("{BASE}/cut{query}")).status, status, "{query}");
    }
    for value in ["-1", "1e9", "x", ""] {
        let reason = reason(&server.get(&format!("{BASE}/cut?maxheight={value}")), 400);
        assert!(reason.contains("maxheight"), "{reason}");
    }
}

#[test]
fn info_tells_what_is_fixed_about_the_network() {
    let server = genesis();
    let info = server.get("/info");
    assert_eq!(info.header("Content-Type"), Some("application/json;charset=utf-8"));
    let value: Value = serde_json::from_str(info.text()).unwrap();
    let members: Vec<&String> = value.as_object().unwrap().keys().collect();
    let expected = [
        "nodeApiVersion",
        "nodeBlockDelay",
        "nodeChains",
        "nodeGenesisHeights",
        "nodeGraphHistory",
        "nodeHistoricalChains",
        "nodeLatestBehaviorHeight",
        "nodeNumberOfChains",
        "nodePackageVersion",
        "nodeServiceDate",
        "nodeVersion",
    ];
    assert_eq!(members, expected);
    assert_eq!(value["nodeVersion"], "mainnet01");
    assert_eq!(value["nodeApiVersion"], "0.0");
    assert_eq!(value["nodeBlockDelay"], 30_000_000);
    assert_eq!(value["nodePackageVersion"], "3.2");
    assert_eq!(info.header("X-Chainweb-Node-Version"), Some("3.2"));
    // Present and null: hack-a-chain's indexer requires it.
    assert_eq!(value.get("nodeServiceDate"), Some(&Value::Null));
    assert_eq!(value["nodeLatestBehaviorHeight"], 6_510_743);
    let number = value["nodeNumberOfChains"].as_u64().unwrap();
    assert_eq!(value["nodeChains"].as_array().unwrap().len() as u64, number);
    let heights = value["nodeGenesisHeights"].as_array().unwrap();
    assert_eq!(heights.len(), 20);
    for pair in heights {
        let chain: u64 = pair[0].as_str().unwrap().parse().unwrap();
        assert_eq!(pair[1], if chain < 10 { 0 } else { 852_054 });
    }
    let history = value["nodeGraphHistory"].as_array().unwrap();
    assert_eq!((history[0][0].as_u64(), history[1][0].as_u64()), (Some(852_054), Some(0)));
    for (graph, order) in history.iter().zip([20, 10]) {
        let rows = graph[1].as_array().unwrap();
        assert_eq!(rows.len(), order);
        for row in rows {
            assert_eq!(row[1].as_array().unwrap().len(), 3, "{row}");
        }
    }
}

#[test]
fn node_answers_at_the_root_and_under_the_base_path() {
    let server = served();
    for path in ["health-check", "info", "config"] {
        let root = server.get(&format!("/{path}"));
        assert_eq!(root.status, 200);
        for other in [format!("{BASE}/{path}"), format!("/{path}/"), format!("/{path}?t=json")] {
            assert_eq!(server.get(&other).body, root.body, "{other}");
        }
    }
    reason(&server.get("/cut"), 404);
    let drawn: Value = serde_json::from_str(server.get("/info").text()).unwrap();
    assert_eq!(drawn["nodeVersion"], "development");
    assert_eq!(drawn["nodeNumberOfChains"], 20);
}

#[test]
fn health_is_text_whatever_the_client_accepts() {
    let server = served();
    for accept in ["text/plain", "application/json", "image/png", "*/*;q=0"] {
        let health = server.ask(&Request::get("/health-check").accept(accept));
        assert_eq!((health.status, health.text()), (200, "Health check OK.\n"), "{accept}");
        assert!(health.header("Content-Type").unwrap().starts_with("text/plain"), "{accept}");
    }
}

#[test]
fn paths_that_lead_nowhere_are_not_found() {
    let server = served();
    let mut client = server.connect();
    let hash = world().forked.hash(1);
    for path in [
        "/nowhere",
        "//",
        "/chainweb",
        "/chainweb/0.0",
        "/chainweb/0.0/",
        BASE,
        &format!("{BASE}/"),
        "/chainweb/0.1/development/cut",
        "/chainweb/0.0/mainnet01/cut",
        "/chainweb/0.0/testnet04/cut",
        "/chainweb/0.0/Development/cut",
        "/chainweb/0.0/nowhere/chain/0/hash",
        "/chainweb/0.0/development%00/cut",
        "/chainweb/0.0/development/cut%00",
        "/chainweb/0.0/development/cut/peer/x",
        "/chainweb/0.0/development/header/updates/x",
        "/chainweb/0.0/development/../development/cut",
        "/./info",
        "/info/../info",
        "//info",
        "/info//",
        "/INFO",
        "/info;x=1",
        "/%",
        "/%zz",
        "/%ff%fe",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/\\..\\..",
        &on(20, "hash"),
        &on(0, ""),
        &on(0, "block/x"),
        &on(0, "payload"),
        &on(0, "hash/branch/x"),
        &on(0, &format!("hash/{hash}")),
        &on(0, &format!("header/{hash}/x")),
        &on(0, "payload/x/y"),
        "/make-backup",
        "/check-backup/1",
        &"/x".repeat(3000),
    ] {
        reason(&client.ask(&Request::get(path)), 404);
    }
}

#[test]
fn paths_that_lead_nowhere_are_answered_with_what_is_wrong() {
    let server = served();
    for (path, expected) in [
        ("/chainweb/0.0/mainnet01/cut", "network mainnet01 is not served here; development is"),
        (&*on(99, "hash"), "no chain 99: this network has 0 to 19"),
        ("/chainweb/1.0/development/cut", "API version 1.0 is not served here; 0.0 is"),
        ("/cut", "no endpoint /cut: put /chainweb/0.0/development before it"),
        ("/docs", "no endpoint /docs: /openapi.json lists all of them"),
        ("/explorer/x.js", "no endpoint /explorer/x.js: /openapi.json lists all of them"),
    ] {
        assert_eq!(reason(&server.get(path), 404), expected, "{path}");
    }
    for (path, setting) in [
        ("/metrics", "--metrics"),
        ("/make-backup", "--backup-api"),
        ("/archive/manifest.json", "--archive"),
    ] {
        let reason = reason(&server.get(path), 404);
        assert!(reason.contains(setting), "{path}: {reason}");
    }
    let push = reason(&server.ask(&Request::post("/push", "")), 404);
    assert!(push.contains("--ingest"), "{push}");
    let archive = TempDir::new().unwrap();
    let only = Server::of_archive(archive.path());
    for path in ["/", "/info", "/chainweb/0.0/development/cut", "/chainweb/0.0/mainnet01/stats"] {
        let reason = reason(&only.get(path), 404);
        assert!(reason.contains("an archive and no database"), "{path}: {reason}");
    }
    let none = reason(&only.get("/archive/manifest.json"), 404);
    assert_eq!(none, "the archive is not there yet: plait export writes it");
}

#[test]
fn configuration_is_shown_without_secrets() {
    let database = database();
    let folder = TempDir::new().unwrap();
    let (archive, backups) = (folder.path().join("hidden-a"), folder.path().join("hidden-b"));
    let server = Server::start(
        &database,
        &[
            ["--archive", utf8(&archive), "--backups", utf8(&backups)],
            ["--peer", "node.example.org:1848", "--max-bounds", "7"],
            ["--head-time", "2.5", "--metrics", "127.0.0.1:0"],
        ]
        .concat(),
    );
    let response = server.get("/config");
    assert_eq!(response.header("Content-Type"), Some("application/json;charset=utf-8"));
    let config: Value = serde_json::from_str(response.text()).unwrap();
    // The members that kadena-sdk, chainweb.py and KadenaDartSdk read.
    assert_eq!(config["chainwebVersion"], "development");
    assert_eq!(config["limits"]["bounds"], 7);
    assert_eq!(config["limits"]["headTime"], 2.5);
    assert_eq!(config["peers"], json!(["node.example.org:1848"]));
    assert_eq!(config["chainwebNodeVersion"], "3.2");
    let text = response.text();
    let address = server.address().to_string();
    for secret in ["hidden", utf8(folder.path()), utf8(&database.path()), &address] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert_eq!(server.get(&format!("{BASE}/config?t=json")).body, response.body);
    let none = Server::of_archive(folder.path());
    assert_eq!(none.get("/config").status, 404);
}

#[test]
fn peers_are_those_of_the_configuration() {
    let none = served().get(&format!("{BASE}/cut/peer"));
    assert_eq!(none.text(), r#"{"limit":0,"items":[],"next":null}"#);
    let id = "A".repeat(43);
    let peers = format!("{id}@a.example:1,b.example:2,[::1]:3");
    let server = Server::start(&database(), &["--peer", &peers, "--peer", "c.example:4"]);
    let page = |query: &str| -> Value {
        serde_json::from_str(server.get(&format!("{BASE}/cut/peer{query}")).text()).unwrap()
    };
    let item = |id: Option<&str>, hostname: &str, port: u16| json!({ "id": id, "address": { "hostname": hostname, "port": port } });
    let first = json!([item(Some(&id), "a.example", 1), item(None, "b.example", 2)]);
    let rest = json!([item(None, "[::1]", 3), item(None, "c.example", 4)]);
    let limited = json!({ "limit": 2, "items": first, "next": "inclusive:2" });
    assert_eq!(page("?limit=2&t=json"), limited);
    let last = json!({ "limit": 2, "items": rest, "next": null });
    for query in ["?next=inclusive%3A2", "?next=exclusive:1&limit=9"] {
        assert_eq!(page(query), last, "{query}");
    }
    for query in ["?limit=x", "?next=2", "?next=inclusive:x"] {
        reason(&server.get(&format!("{BASE}/cut/peer{query}")), 400);
    }
    for wrong in ["http://a:1", "a", "x@a:1"] {
        run(["serve", "--db", "x", "--peer", wrong])
            .assert_fails(2, &["--peer", "host and a port"]);
    }
}

#[test]
fn release_of_the_node_is_configured_in_one_place() {
    let server = Server::start(&database(), &["--chainweb-node-version", "4.0-rc1"]);
    let info = server.get("/info");
    assert_eq!(info.header("X-Chainweb-Node-Version"), Some("4.0-rc1"));
    let info: Value = serde_json::from_str(info.text()).unwrap();
    assert_eq!(info["nodePackageVersion"], "4.0-rc1");
    let document: Value = serde_json::from_str(server.get("/openapi.json").text()).unwrap();
    let header = &document["components"]["headers"]["X-Chainweb-Node-Version"];
    assert_eq!(header["schema"]["const"], "4.0-rc1");
    let wrong = ["serve", "--db", "x", "--chainweb-node-version", "x\r\ny: z"];
    run(wrong).assert_fails(2, &["--chainweb-node-version", "as in 3.2"]);
}

#[test]
fn target_may_name_the_host() {
    let server = served();
    for target in ["http://plait.test/info", "http://other:80/info?x=y", "https://h/info#f"] {
        assert_eq!(server.get(target).status, 200, "{target}");
    }
}
