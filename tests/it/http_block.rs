//! Pages of blocks: `GET chain/{chain}/block`, `POST chain/{chain}/block/branch`.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;
use testkit::carried;
use testkit::http::{Request, Response};
use testkit::say;
use testkit::server::{Replayed, Server};

use crate::http_data::{NOBODY, OCTETS, Served, bounds, on, reason, served, vectors, world};
use crate::payloads::{is_right, payloads};

/// A path on a chain of the node's database.
fn real(chain: u32, rest: &str) -> String {
    format!("/chainweb/0.0/mainnet01/chain/{chain}/{rest}")
}

/// A server of a real node's blocks with their payloads, if they are here.
fn node(flags: &[&str]) -> Option<Served> {
    let database = vectors("node-db")?;
    let replay = ["--format", "node", "--allow-partial"];
    Some(Served::new(Replayed::of("mainnet01", &database, &replay), flags))
}

/// A page of blocks: the texts of header and payload of each, and the cursor of the next one.
struct Page {
    blocks: Vec<(String, String)>,
    next: Option<String>,
}

/// Reads an answer that must be a page of blocks, written in exactly one way.
#[track_caller]
fn page(response: &Response) -> Page {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("Content-Type"), Some("application/json;charset=utf-8"));
    let text = response.text();
    let members: BTreeMap<&str, &RawValue> = serde_json::from_str(text).unwrap();
    let items: Vec<BTreeMap<&str, &RawValue>> =
        serde_json::from_str(members["items"].get()).unwrap();
    let blocks: Vec<(String, String)> = items
        .iter()
        .map(|item| (item["header"].get().into(), item["payloadWithOutputs"].get().into()))
        .collect();
    let list: Vec<String> = blocks
        .iter()
        .map(|(header, payload)| format!(r#"{{"header":{header},"payloadWithOutputs":{payload}}}"#))
        .collect();
    let next = members["next"].get();
    let exact = format!(r#"{{"limit":{},"items":[{}],"next":{next}}}"#, list.len(), list.join(","));
    assert_eq!(text, exact);
    Page { blocks, next: serde_json::from_str(next).unwrap() }
}

/// Pages joined: asks with each cursor until there is none, or an empty page. And how many there
/// were.
fn joined(server: &Server, request: impl Fn(&str) -> Request) -> (Vec<(String, String)>, usize) {
    let mut client = server.connect();
    let (mut all, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = page(&client.ask(&request(&cursor)));
        pages += 1;
        let count = page.blocks.len();
        all.extend(page.blocks);
        match page.next {
            Some(next) if count > 0 => cursor = format!("&next={next}"),
            _ => return (all, pages),
        }
    }
}

/// The headers of all blocks of a chain, as objects.
fn header_objects(server: &Server, chain: u32) -> Vec<String> {
    let object = "application/json;blockheader-encoding=object";
    let page = server.ask(&Request::get(real(chain, "header?limit=360")).accept(object));
    let members: BTreeMap<&str, &RawValue> = serde_json::from_str(page.text()).unwrap();
    let items: Vec<&RawValue> = serde_json::from_str(members["items"].get()).unwrap();
    items.iter().map(|item| item.get().to_owned()).collect()
}

#[test]
fn blocks_of_a_real_node_are_served_and_their_payloads_are_right() {
    let (Some(server), Some(vectors)) = (node(&[]), payloads()) else { return };
    let mut of_block: BTreeMap<&str, &str> = BTreeMap::new();
    for vector in vectors.iter().filter(|vector| vector.is_right) {
        for (network, _, hash) in &vector.blocks {
            if network == "mainnet01" {
                of_block.insert(hash, &vector.text);
            }
        }
    }
    let mut count = 0;
    for chain in 0..20 {
        let page = page(&server.get(&real(chain, "block")));
        let headers: Vec<&str> = page.blocks.iter().map(|(header, _)| &**header).collect();
        assert_eq!(headers, header_objects(&server, chain), "{chain}");
        for (header, payload) in &page.blocks {
            let header: Value = serde_json::from_str(header).unwrap();
            let value: Value = serde_json::from_str(payload).unwrap();
            assert!(is_right(&value), "{header}");
            assert_eq!(value["payloadHash"], header["payloadHash"]);
            assert_eq!(payload, of_block[header["hash"].as_str().unwrap()]);
            count += 1;
        }
        let last: Value = serde_json::from_str(headers[headers.len() - 1]).unwrap();
        assert_eq!(page.next, Some(format!("exclusive:{}", last["hash"].as_str().unwrap())));
    }
    assert_eq!(count, 1000);
    say(&format!("{count} blocks"));
}

#[test]
fn pages_of_blocks_joined_are_all_blocks_up_and_down() {
    let Some(server) = node(&[]) else { return };
    for chain in [0, 9, 19] {
        let (all, _) =
            joined(&server, |cursor| Request::get(real(chain, &format!("block?x{cursor}"))));
        assert_eq!(all.len(), 50);
        for limit in [1, 7, 16, 17, 49, 50, 51, 1000] {
            let path = |cursor: &str| real(chain, &format!("block?limit={limit}{cursor}"));
            let (some, pages) = joined(&server, |cursor| Request::get(path(cursor)));
            assert_eq!(some, all, "{chain} {limit}");
            // The last one may be the empty one.
            assert!(pages >= 50_usize.div_ceil(limit), "{chain} {limit}");
        }
        let value = |at: usize| serde_json::from_str::<Value>(&all[at].0).unwrap();
        let hash = |at: usize| value(at)["hash"].as_str().unwrap().to_owned();
        // Orphans are no part of the branch below the last block.
        let mut parent = hash(49);
        let mut branch: Vec<(String, String)> = Vec::new();
        for block in all.iter().rev() {
            let header: Value = serde_json::from_str(&block.0).unwrap();
            if header["hash"] == *parent {
                header["parent"].as_str().unwrap().clone_into(&mut parent);
                branch.push(block.clone());
            }
        }
        assert!(branch.len() > 40, "{}", branch.len());
        for limit in [7, 16, 30, 360] {
            let path = |cursor: &str| real(chain, &format!("block/branch?limit={limit}{cursor}"));
            let body = bounds(&[hash(49)], &[]);
            let down = joined(&server, |cursor| Request::post(path(cursor), &*body));
            assert_eq!(down.0, branch, "{chain} {limit}");
        }
        let lower: Value = serde_json::from_str(&branch[10].0).unwrap();
        let body = bounds(&[hash(49)], &[lower["hash"].as_str().unwrap().to_owned()]);
        let above = page(&server.ask(&Request::post(real(chain, "block/branch"), body)));
        assert_eq!((above.blocks, above.next), (branch[..10].to_vec(), None));
        let heights = "block?minheight=1800010&maxheight=1800019";
        let some = page(&server.get(&real(chain, heights))).blocks;
        let inside = |block: &&(String, String)| {
            let header: Value = serde_json::from_str(&block.0).unwrap();
            (1_800_010..=1_800_019).contains(&header["height"].as_u64().unwrap())
        };
        assert_eq!(some, all.iter().filter(inside).cloned().collect::<Vec<_>>());
    }
}

#[test]
fn page_of_any_length_has_all_its_blocks_and_is_the_same_in_pieces() {
    let long = ["--max-page-bytes", "500000000", "--max-response-bytes", "4000000000"];
    let Some(whole) = node(&long) else { return };
    let object = "application/json;blockheader-encoding=object";
    for bytes in ["0", "5000", "40000", "262144"] {
        let Some(server) = node(&["--max-page-bytes", bytes]) else { return };
        for limit in ["", "limit=16", "limit=50", "limit=3", "minheight=1800040"] {
            let request = Request::get(real(3, &format!("block?{limit}"))).accept(object);
            let (pieces, at_once) = (server.ask(&request), whole.ask(&request));
            assert_eq!(pieces.body, at_once.body, "{bytes} {limit}");
            page(&pieces);
            assert!(!at_once.chunked, "{limit}");
            if bytes == "0" {
                assert!(pieces.chunked, "{limit}");
            }
            let head = Request::new("HEAD", real(3, &format!("block?{limit}")));
            let (head, at_once) = (server.ask(&head), whole.ask(&head));
            assert_eq!((head.status, at_once.status), (200, 200));
            // The length of a response in pieces is unknown, and no length is better than a wrong
            // one.
            let length = head.header("Content-Length").filter(|_| !pieces.chunked);
            let expected = at_once.header("Content-Length").filter(|_| !pieces.chunked);
            assert_eq!(length, expected, "{bytes} {limit}");
        }
    }
    let Some(server) = node(&["--max-page-blocks", "2"]) else { return };
    let all = page(&whole.get(&real(3, "block"))).blocks;
    assert_eq!(page(&server.get(&real(3, "block?limit=9"))).blocks, all[..2]);
}

#[test]
fn page_with_a_payload_missing_far_up_is_not_found_before_a_piece_of_it_is_sent() {
    let blocks = carried::blocks(120, 5, 0.0, 1);
    let chain: Vec<usize> =
        (0..blocks.len()).filter(|at| blocks[*at].0.view().chain().get() == 3).collect();
    for without in [chain[60], *chain.last().unwrap()] {
        let (header, payload) = &blocks[without];
        let dump = [
            carried::lines(&blocks[..without]),
            testkit::block::lines([header]),
            carried::lines(&blocks[without + 1..]),
        ];
        let database = Replayed::new("development", dump.concat(), &["--format", "jsonl"]);
        let server = Served::new(database, &["--max-page-bytes", "1000"]);
        let (block, key) = (header.view().hash(), payload.hash());
        let reason = format!("the payload of block {block} is not stored");
        let expected = format!(r#"{{"key":"{key}","reason":"{reason}"}}"#);
        let got = server.get(&on(3, "block?minheight=1"));
        assert_eq!((got.status, got.text()), (404, &*expected));
        let height = header.view().height().get();
        let below = server.get(&on(3, &format!("block?minheight=1&maxheight={}", height - 1)));
        assert!(below.chunked);
        assert_eq!(page(&below).blocks.len() as u64, height - 1);
    }
}

#[test]
fn block_without_its_payload_is_not_found_and_the_payload_is_named() {
    let (server, world) = (served(), world());
    let block = world.forked.block(world.trunk[7]);
    let (hash, payload) = (block.hash(), block.payload_hash());
    let why = format!("the payload of block {hash} is not stored; this server has headers only");
    let expected = format!(r#"{{"key":"{payload}","reason":"{why}"}}"#);
    for limit in [1, 16, 17, 360] {
        let up = server.get(&on(0, &format!("block?minheight=7&limit={limit}")));
        assert_eq!((up.status, up.text()), (404, &*expected), "{limit}");
        let body = bounds(&[block.hash().to_string()], &[]);
        let path = on(0, &format!("block/branch?limit={limit}"));
        let down = server.ask(&Request::post(path, body));
        assert_eq!((down.status, down.text()), (404, &*expected), "{limit}");
    }
    // Where there is no block, none is missing.
    for path in ["block?minheight=99999", "block?minheight=5&maxheight=4"] {
        assert_eq!(server.get(&on(0, path)).text(), r#"{"limit":0,"items":[],"next":null}"#);
    }
    let none = server.get(&on(0, "block?limit=0"));
    let first = world.forked.hash(0);
    assert_eq!(none.text(), format!(r#"{{"limit":0,"items":[],"next":"inclusive:{first}"}}"#));
}

#[test]
fn damaged_requests_for_blocks_are_refused() {
    let (server, tree) = (served(), &world().forked);
    let mut client = server.connect();
    let tip = bounds(&[tree.hash(1)], &[]);
    let post = |rest: &str, body: &str| Request::post(on(0, rest), body);
    for (request, status) in [
        (Request::get(on(0, "block?limit=-1")), 400),
        (Request::get(on(0, "block?next=x")), 400),
        (Request::get(on(0, "block?minheight=x")), 400),
        (Request::get(on(0, &format!("block?next=inclusive:{NOBODY}"))), 404),
        (Request::get(on(20, "block")), 404),
        (Request::get(on(0, "block/x")), 404),
        (Request::get(on(0, "block")).accept(OCTETS), 406),
        (Request::get(on(0, "block/branch")), 405),
        (Request::new("POST", on(0, "block")), 405),
        (post("block/branch?limit=x", &tip), 400),
        (post("block/branch", "["), 400),
        (post("block/branch", "[]"), 400),
        (post("block/branch", ""), 400),
        (post("block/branch", r#"{"upper":["short"]}"#), 400),
        (post("block/branch", &bounds(&vec![NOBODY.to_owned(); 1], &[])), 404),
        (post("block/branch", &" ".repeat(70_000)), 413),
        (post("block/branch", &tip).without("Content-Type").header("Content-Type", "text/x"), 415),
        (post("block/branch", &tip).accept("text/html"), 406),
    ] {
        let response = client.ask(&request);
        reason(&response, status);
        if response.closes() {
            client = server.connect();
        }
    }
    assert_eq!(
        server.ask(&post("block/branch", "{}")).text(),
        r#"{"limit":0,"items":[],"next":null}"#
    );
}
