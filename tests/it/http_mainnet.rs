//! The thousand real headers of a `chainweb-node`'s database, orphans among them: every form of
//! every one of them, and the branches below the tips.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::Value;
use testkit::http::Request;
use testkit::say;
use testkit::server::Replayed;

use crate::http_data::{OBJECT, OCTETS, Served, bounds, from_base64url, joined, page, vectors};

const BASE: &str = "/chainweb/0.0/mainnet01";

/// The order in which `chainweb-node` 2.32 writes the members of a map of chains.
const ORDER: [u64; 20] = [16, 9, 0, 6, 4, 1, 2, 18, 14, 10, 3, 12, 5, 17, 11, 8, 7, 15, 13, 19];

/// What the vectors say of one header.
struct Real {
    height: u64,
    hash: String,
    parent: String,
    text: String,
    object: Value,
    /// Little endian.
    weight: Vec<u8>,
}

/// The headers by chain, each list by height and hash as text orders its bytes.
fn real(headers: &Path) -> BTreeMap<u64, Vec<Real>> {
    let mut chains: BTreeMap<u64, Vec<Real>> = BTreeMap::new();
    let lines = std::fs::read_to_string(headers).unwrap();
    for line in lines.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let height = vector["height"].as_u64().unwrap();
        if vector["version"] != "mainnet01" || !(1_800_000..1_800_050).contains(&height) {
            continue;
        }
        let object = vector["object"].clone();
        let member = |name: &str| object[name].as_str().unwrap().to_owned();
        let (hash, parent) = (member("hash"), member("parent"));
        let weight = from_base64url(&member("weight"));
        let text = vector["b64"].as_str().unwrap().to_owned();
        let real = Real { height, hash, parent, text, object, weight };
        chains.entry(vector["chain"].as_u64().unwrap()).or_default().push(real);
    }
    for list in chains.values_mut() {
        list.sort_by_key(|real| (real.height, from_base64url(&real.hash)));
    }
    chains
}

/// The heaviest block of a list, and those below it.
fn branch(list: &[Real]) -> Vec<&Real> {
    let by_hash: HashMap<&str, &Real> = list.iter().map(|real| (&*real.hash, real)).collect();
    let heavy = |real: &&Real| real.weight.iter().rev().copied().collect::<Vec<u8>>();
    let tip = list.iter().max_by_key(heavy).unwrap();
    std::iter::successors(Some(tip), |real| by_hash.get(&*real.parent).copied()).collect()
}

/// The adjacents of an object in the order of the reference, the rest in the order it has.
fn in_order(object: &Value) -> String {
    let mut object = object.clone();
    let adjacents = object["adjacents"].as_object_mut().unwrap();
    let place = |chain: &str| ORDER.iter().position(|other| other.to_string() == chain);
    let mut pairs: Vec<(String, Value)> = std::mem::take(adjacents).into_iter().collect();
    pairs.sort_by_key(|(chain, _)| place(chain));
    adjacents.extend(pairs);
    object.to_string()
}

fn served() -> Option<(Served, BTreeMap<u64, Vec<Real>>)> {
    let (database, headers) = (vectors("node-db")?, vectors("headers.jsonl")?);
    let chains = real(&headers);
    assert_eq!(chains.values().map(Vec::len).sum::<usize>(), 1000);
    let flags = ["--format", "node", "--allow-partial"];
    let database = Replayed::of("mainnet01", &database, &flags);
    Some((Served::new(database, &[]), chains))
}

#[test]
fn every_real_header_is_served_in_every_form() {
    let Some((server, chains)) = served() else { return };
    let mut client = server.connect();
    let mut count = 0;
    for (chain, list) in &chains {
        for real in list {
            let path = format!("{BASE}/chain/{chain}/header/{}", real.hash);
            let text = client.ask(&Request::get(&path));
            assert_eq!(text.text(), format!("\"{}\"", real.text));
            let object = client.ask(&Request::get(&path).accept(OBJECT));
            assert_eq!(object.text(), in_order(&real.object));
            let octets = client.ask(&Request::get(&path).accept(OCTETS));
            assert_eq!(octets.body, from_base64url(&real.text));
            count += 1;
        }
    }
    say(&format!("{count} real headers in 3 forms"));
}

#[test]
fn lists_of_a_real_chain_have_its_orphans() {
    let Some((server, chains)) = served() else { return };
    let mut orphans = 0;
    for (chain, list) in &chains {
        let hashes = joined(&server, |cursor| {
            Request::get(format!("{BASE}/chain/{chain}/hash?limit=9{cursor}"))
        });
        assert_eq!(hashes, list.iter().map(|real| real.hash.clone()).collect::<Vec<_>>());
        let path = format!("{BASE}/chain/{chain}/header");
        let stream = server.ask(&Request::get(&path).accept(OCTETS));
        let records: Vec<u8> = list.iter().flat_map(|real| from_base64url(&real.text)).collect();
        assert!(stream.body == records);
        let objects = server.ask(&Request::get(&path).accept(OBJECT));
        let objects: Value = serde_json::from_str(objects.text()).unwrap();
        let got: Vec<String> =
            objects["items"].as_array().unwrap().iter().map(Value::to_string).collect();
        assert_eq!(got, list.iter().map(|real| in_order(&real.object)).collect::<Vec<_>>());
        orphans += list.len() - branch(list).len();
    }
    assert!(orphans > 0);
    say(&format!("{orphans} orphans in the lists"));
}

#[test]
fn branches_below_real_tips_leave_the_orphans_out() {
    let Some((server, chains)) = served() else { return };
    for (chain, list) in &chains {
        let expected = branch(list);
        let path = format!("{BASE}/chain/{chain}/header/branch");
        let body = bounds(&[expected[0].hash.clone()], &[]);
        let strings = page(&server.post(&path, &body));
        assert_eq!(
            strings.items,
            expected.iter().map(|real| real.text.clone()).collect::<Vec<_>>()
        );
        assert_eq!(strings.next, None);
        let records: Vec<u8> =
            expected.iter().flat_map(|real| from_base64url(&real.text)).collect();
        assert!(server.ask(&Request::post(&path, body).accept(OCTETS)).body == records);
    }
}

#[test]
fn two_upper_bounds_on_real_siblings_return_both() {
    let Some((server, chains)) = served() else { return };
    let mut pairs = 0;
    for (chain, list) in &chains {
        for pair in list.windows(2).filter(|pair| pair[0].height == pair[1].height) {
            let hashes = [pair[0].hash.clone(), pair[1].hash.clone()];
            let path = format!("{BASE}/chain/{chain}/hash/branch?minheight={}", pair[0].height);
            assert_eq!(page(&server.post(&path, &bounds(&hashes, &[]))).items, hashes);
            let one = page(&server.post(&path, &bounds(&hashes[..1], &hashes[1..])));
            assert_eq!(one.items, hashes[..1]);
            pairs += 1;
        }
    }
    assert!(pairs > 20, "{pairs}");
    say(&format!("{pairs} pairs of real siblings"));
}

/// Adds little-endian numbers.
fn add(sum: &mut [u8], number: &[u8]) {
    let mut carry = 0;
    for (a, b) in sum.iter_mut().zip(number) {
        let total = u16::from(*a) + u16::from(*b) + carry;
        *a = u8::try_from(total & 0xff).unwrap();
        carry = total >> 8;
    }
}

#[test]
fn cuts_of_real_blocks_are_those_of_the_chain() {
    let Some((server, chains)) = served() else { return };
    for height in [1_800_003, 1_800_020, 1_800_044] {
        // Any cut height up to that of the next layer means the same.
        for over in [0, 19] {
            let path = format!("{BASE}/cut?maxheight={}", height * 20 + over);
            let cut: Value = serde_json::from_str(server.get(&path).text()).unwrap();
            let order: Vec<u64> =
                cut["hashes"].as_object().unwrap().keys().map(|key| key.parse().unwrap()).collect();
            assert_eq!(order, ORDER);
            assert_eq!(cut["height"], height * 20);
            assert_eq!(cut["instance"], "mainnet01");
            let mut weight = vec![0; 32];
            for (chain, list) in &chains {
                let expected = branch(list).into_iter().find(|real| real.height == height).unwrap();
                let member = &cut["hashes"][chain.to_string()];
                assert_eq!(member["hash"], *expected.hash, "{chain} at {height}");
                assert_eq!(member["height"], height);
                add(&mut weight, &expected.weight);
            }
            assert_eq!(from_base64url(cut["weight"].as_str().unwrap()), weight);
        }
    }
}

#[test]
fn current_cut_is_concurrent_and_no_lighter_than_any_that_a_node_had() {
    let Some((server, chains)) = served() else { return };
    let Some(cuts) = vectors("cuts.jsonl") else { return };
    let held: HashMap<&str, &Real> =
        chains.values().flatten().map(|real| (&*real.hash, real)).collect();
    let cut: Value = serde_json::from_str(server.get(&format!("{BASE}/cut")).text()).unwrap();
    let hashes = cut["hashes"].as_object().unwrap();
    assert_eq!(hashes.len(), chains.len());
    for member in hashes.values() {
        let real = held[member["hash"].as_str().unwrap()];
        assert_eq!(member["height"], real.height);
        for (chain, adjacent) in real.object["adjacents"].as_object().unwrap() {
            let other = held[hashes[chain]["hash"].as_str().unwrap()];
            // Of two neighbours, the one above was made on the other or on one below it; of two
            // at one height each was made on the parent of the other.
            match real.height.checked_signed_diff(other.height).unwrap() {
                1 => assert_eq!(*adjacent, *other.hash),
                0 => assert_eq!(*adjacent, *other.parent),
                -1 => {}
                more => panic!("neighbours are {more} apart"),
            }
        }
    }
    let lines = std::fs::read_to_string(cuts).unwrap();
    let mut known = 0;
    for line in lines.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let members = vector["cut"]["hashes"].as_object().unwrap();
        if members.values().all(|member| held.contains_key(member["hash"].as_str().unwrap())) {
            known += 1;
            assert!(vector["cut"]["height"].as_u64() <= cut["height"].as_u64());
        }
    }
    assert!(known > 100, "{known}");
    say(&format!("{known} cuts of a node are no higher"));
}
