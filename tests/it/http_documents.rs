//! The examples of the API documentation: these requests get these answers.
//!
//! Three headers of the examples are held in full; of others only the hash is known. Where an answer
//! shows nothing but the hash, a made-up header that claims it stands in, replayed unverified.

use plait_engine::{ChainId, ChainwebVersion, Header};
use serde_json::Value;
use testkit::http::Request;
use testkit::server::Replayed;

use crate::http_data::{OBJECT, OCTETS, Served, base64url, from_base64url, page};

/// Five real headers, one a line; the last three are those of the examples.
const HEADERS: &str = include_str!("../vectors/mainnet01-user-docs.jsonl");

/// The block below those three.
const BELOW: &str = "2xD0ourggwwhezWRZ74B46rEm264vE7eKu5KXcCaS2U";

/// The highest of the three.
const TIP: &str = "tsFkxqNHy_WbdnDDTumV_2MFjMQTyJrzb8--dO3kjjM";

/// "Get branch block headers", the answer in objects.
const OBJECTS: &str = r#"{
"limit": 3,
"items": [
{
"nonce": "16462985723698616006",
"creationTime": 1721071750065287,
"parent": "g-N8bZuyno0rkPyJZShFQzU5Den2rey1qlflnJuizzQ",
"adjacents": {
"19": "YlpdztdOQ-ChRklldcC2oHbZlAMIiYAGRgzTZBXvRgY",
"14": "VosxlCQP8q0cPi3zd_yD_099Untb69bnIgIFlAioj9I",
"9": "GXv0fxVXgDQTtRTxMjWfr6JXXrSscoaCaxEDPC93QIg"
},
"target": "ikpunXJe5dbyqNaNMDhOWhBtJeLpVENWFQAAAAAAAAA",
"payloadHash": "bVqvJPaU98NLqPCMmaBy2v67XnzFi6c1Ei6NLZjZVvI",
"chainId": 4,
"weight": "FahB1Biuxv0BSQEAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
"height": 4953816,
"chainwebVersion": "mainnet01",
"epochStart": 1721068523032689,
"featureFlags": 0,
"hash": "tsFkxqNHy_WbdnDDTumV_2MFjMQTyJrzb8--dO3kjjM"
},
{
"nonce": "3928958401539935230",
"creationTime": 1721071687013439,
"parent": "rDbG9rMf709Sk7V8JPjkdsPy5Tk2y7nUAAjS4PvlL3w",
"adjacents": {
"19": "qp2F3-wGndQygNovYEYmrCygvvagdZRqHCi8Rml3C_o",
"14": "d_4KONk9zhF-yXHzShOookNJq9wV67K7jKxcZjcTtVE",
"9": "ptV1M_F1lYvTgMuC8g17ltHfA3SPsypQtiPWT8CTOW8"
},
"target": "ikpunXJe5dbyqNaNMDhOWhBtJeLpVENWFQAAAAAAAAA",
"payloadHash": "nVg1uTWYMfL19dGlavlG1xA3Ix1xXpatzuXXJ5vXha8",
"chainId": 4,
"weight": "3zSMwvIzx_EBSQEAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
"height": 4953815,
"chainwebVersion": "mainnet01",
"epochStart": 1721068523032689,
"featureFlags": 0,
"hash": "g-N8bZuyno0rkPyJZShFQzU5Den2rey1qlflnJuizzQ"
},
{
"nonce": "2051174422813409393",
"creationTime": 1721071635518510,
"parent": "2xD0ourggwwhezWRZ74B46rEm264vE7eKu5KXcCaS2U",
"adjacents": {
"19": "82lUdaVunS05mRdpWeSSb0vixsVpYISDRLX0BE2lySc",
"14": "H6HdmZhFzniidoeZTFUa4CKnMa-5e0INX8vhvhezAPc",
"9": "MmRRH-P_WCcG8UNu-NS4iWCmT4Godwm0ScV7MJXxNuU"
},
"target": "ikpunXJe5dbyqNaNMDhOWhBtJeLpVENWFQAAAAAAAAA",
"payloadHash": "AdNcz9kC6yZfMIGBLHu7yikeQLySQ0INfspLzLBUjrQ",
"chainId": 4,
"weight": "qcHWsMy5x-UBSQEAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
"height": 4953814,
"chainwebVersion": "mainnet01",
"epochStart": 1721068523032689,
"featureFlags": 0,
"hash": "rDbG9rMf709Sk7V8JPjkdsPy5Tk2y7nUAAjS4PvlL3w"
}
],
"next": "inclusive:2xD0ourggwwhezWRZ74B46rEm264vE7eKu5KXcCaS2U"
}"#;

/// The three headers as strings, the highest first.
fn strings() -> Vec<String> {
    let lines: Vec<&str> = HEADERS.lines().rev().take(3).collect();
    lines.into_iter().map(|line| line.trim_matches('"').to_owned()).collect()
}

/// A server of the five headers.
fn held() -> Served {
    Served::new(Replayed::new("mainnet01", HEADERS.as_bytes().to_vec(), &["--allow-partial"]), &[])
}

/// A server of the five headers and of one that stands in for the block below.
fn held_and_below() -> Served {
    let mut below = from_base64url(&strings()[2]);
    below[258] -= 1;
    below.splice(16..48, [7; 32]);
    below.splice(286..318, from_base64url(BELOW));
    let dump = format!("\"{}\"\n{HEADERS}", base64url(&below));
    let flags = ["--allow-partial", "--verify", "none"];
    Served::new(Replayed::new("mainnet01", dump.into_bytes(), &flags), &[])
}

fn request(rest: &str) -> Request {
    let path = format!("/chainweb/0.0/mainnet01/chain/4/header/branch{rest}");
    Request::post(path, format!("{{\"upper\":[\"{TIP}\"]}}"))
}

/// An answer as values, in the order of its members but for adjacents, which have an order of
/// their own in each release of the reference.
fn ordered(text: &str) -> String {
    let mut value: Value = serde_json::from_str(text).unwrap();
    for item in value["items"].as_array_mut().unwrap() {
        item["adjacents"].as_object_mut().unwrap().sort_keys();
    }
    value.to_string()
}

#[test]
fn branch_as_strings_is_the_documented_one() {
    let page = page(&held_and_below().ask(&request("?limit=3&minheight=4953300")));
    assert_eq!(page.items, strings());
    assert_eq!(page.next, Some(format!("inclusive:{BELOW}")));
}

#[test]
fn branch_as_objects_is_the_documented_one() {
    let server = held_and_below();
    let response = server.ask(&request("?limit=3&minheight=4953300").accept(OBJECT));
    assert_eq!(response.header("Content-Type"), Some(OBJECT));
    assert_eq!(ordered(response.text()), ordered(OBJECTS));
    let compact: Value = serde_json::from_str(response.text()).unwrap();
    assert_eq!(response.text(), compact.to_string(), "no spaces");
}

#[test]
fn branch_as_octets_is_the_same_headers() {
    let server = held_and_below();
    let records: Vec<u8> = strings().iter().flat_map(|text| from_base64url(text)).collect();
    let page = server.ask(&request("?limit=3&minheight=4953300").accept(OCTETS));
    assert_eq!(page.body, records);
    assert_eq!(page.header("X-Next"), Some(&*format!("inclusive:{BELOW}")));
    let stream = server.ask(&request("?minheight=4953814").accept(OCTETS));
    assert_eq!(stream.body, records);
}

#[test]
fn partial_history_ends_where_it_was_given_no_more() {
    let server = held();
    let whole = page(&server.ask(&request("?limit=3&minheight=4953300")));
    assert_eq!((whole.items, whole.next), (strings(), None));
    let first = page(&server.ask(&request("?limit=2")));
    assert_eq!(first.items, strings()[..2]);
    let cursor = first.next.unwrap();
    assert_eq!(cursor, "inclusive:rDbG9rMf709Sk7V8JPjkdsPy5Tk2y7nUAAjS4PvlL3w");
    let last = page(&server.ask(&request(&format!("?limit=2&next={cursor}"))));
    assert_eq!((last.items, last.next), (strings()[2..].to_vec(), None));
    let none = page(&server.ask(&request("?minheight=4953817")));
    assert_eq!((none.items.len(), none.next), (0, None));
}

#[test]
fn headers_of_the_event_stream_examples_are_served_as_they_were_given() {
    let server = held();
    for line in HEADERS.lines().take(2) {
        let given: Value = serde_json::from_str(line).unwrap();
        let (chain, hash) = (&given["chainId"], given["hash"].as_str().unwrap());
        let path = format!("/chainweb/0.0/mainnet01/chain/{chain}/header/{hash}");
        let got = server.ask(&Request::get(path).accept(OBJECT));
        let got: Value = serde_json::from_str(got.text()).unwrap();
        assert_eq!(got, given);
    }
}

/// A block on top of `parent` that claims this hash.
fn stand_in(parent: &Header, hash: &str) -> Header {
    let mut raw = *parent.view().raw();
    raw.parent = raw.hash;
    raw.height = (raw.height.get() + 1).into();
    raw.hash = hash.parse().unwrap();
    Header::new(raw).unwrap()
}

/// A genesis block, and on top of it one block for each of these hashes.
fn chain_of(version: ChainwebVersion, chain: u32, hashes: &[&str]) -> Replayed {
    let mut at = version.genesis_header(ChainId::new(chain)).unwrap();
    let mut dump = at.view().as_bytes().to_vec();
    for hash in hashes {
        at = stand_in(&at, hash);
        dump.extend_from_slice(at.view().as_bytes());
    }
    Replayed::new(version.name(), dump, &["--allow-partial", "--verify", "none"])
}

#[test]
fn list_of_hashes_is_the_documented_one() {
    let hashes = [
        "1ETD2LKF_gmJ92-q1fqAJY2eZerhhZA2kLxM1BC5hKE",
        "1B3UJuYNx0LHqtgbJ_sSpJl5h-77pMfvjBBy85e2K8w",
        "qgsxD1G5m8dGZ4W9nMKBotU2I10ilURkRIE3_UKHlLM",
        "nN3fl9FaF2sD3zJSa1fY2rtoJMw33bFfzxK-25qKtT4",
        "2lqldW8MEeOzvApgJnmSIUaUT4CihoL9OMpdYbBAm_g",
        "01Dhx9c9mfbP7t0k0CztGi8IrE81u4ljd2NQ0UvXSZM",
    ];
    let server = Served::new(chain_of(ChainwebVersion::Mainnet01, 19, &hashes), &[]);
    let path = "/chainweb/0.0/mainnet01/chain/19/hash?limit=3";
    let first = concat!(
        r#"{"limit":3,"items":["y76dr78dPJlFDMPzCc-aEz97iRyimv5Ij3psdVlC64c","#,
        r#""1ETD2LKF_gmJ92-q1fqAJY2eZerhhZA2kLxM1BC5hKE","#,
        r#""1B3UJuYNx0LHqtgbJ_sSpJl5h-77pMfvjBBy85e2K8w"],"#,
        r#""next":"inclusive:qgsxD1G5m8dGZ4W9nMKBotU2I10ilURkRIE3_UKHlLM"}"#,
    );
    assert_eq!(server.get(path).text(), first);
    let cursor = "inclusive:qgsxD1G5m8dGZ4W9nMKBotU2I10ilURkRIE3_UKHlLM";
    let second = concat!(
        r#"{"limit":3,"items":["qgsxD1G5m8dGZ4W9nMKBotU2I10ilURkRIE3_UKHlLM","#,
        r#""nN3fl9FaF2sD3zJSa1fY2rtoJMw33bFfzxK-25qKtT4","#,
        r#""2lqldW8MEeOzvApgJnmSIUaUT4CihoL9OMpdYbBAm_g"],"#,
        r#""next":"inclusive:01Dhx9c9mfbP7t0k0CztGi8IrE81u4ljd2NQ0UvXSZM"}"#,
    );
    assert_eq!(server.get(&format!("{path}&next={cursor}")).text(), second);
}

#[test]
fn branches_of_hashes_are_the_documented_ones() {
    let lower = "RClyuyZAacwvPpmLXKbTwrIRXWeUSjiNhJVP2esH8KM";
    let upper = "QxGCAz5AY1Y41nh1yWtgqhKhZ9pPiPRagFdIKNqBH74";
    let server = Served::new(chain_of(ChainwebVersion::Mainnet01, 0, &[lower, upper]), &[]);
    let path = "/chainweb/0.0/mainnet01/chain/0/hash/branch";
    let body = format!(r#"{{ "lower" : ["{lower}"], "upper" : ["{upper}"]}}"#);
    let answer = format!(r#"{{"limit":1,"items":["{upper}"],"next":null}}"#);
    assert_eq!(server.post(path, &body).text(), answer);

    let lower = "egzXuuj9EWIadpIQipb59N1DFPgDE6Gdlo2LmReGAfI";
    let upper = "w5pM1MLEpJcBdMS5KT3tcxEj86hCO4Qv-q-xMysGmOw";
    let hashes = [
        lower,
        "5o4nH_H_mcDnfmXDnp9XqRU5qWcpaKGdfECMZB0CQ8s",
        "DRKyE0T_42ajfqC7kmBEn07pTMZbshFBWGzWT27cqwg",
        "LfjtkAgRa6jt6al0VACE4Gylu8McHf34233qZjqETuo",
        upper,
    ];
    let server = Served::new(chain_of(ChainwebVersion::Testnet04, 18, &hashes), &[]);
    let path = "/chainweb/0.0/testnet04/chain/18/hash/branch";
    let body = format!(r#"{{ "lower": ["{lower}"], "upper": ["{upper}"]}}"#);
    let answer = concat!(
        r#"{"limit":4,"items":["w5pM1MLEpJcBdMS5KT3tcxEj86hCO4Qv-q-xMysGmOw","#,
        r#""LfjtkAgRa6jt6al0VACE4Gylu8McHf34233qZjqETuo","#,
        r#""DRKyE0T_42ajfqC7kmBEn07pTMZbshFBWGzWT27cqwg","#,
        r#""5o4nH_H_mcDnfmXDnp9XqRU5qWcpaKGdfECMZB0CQ8s"],"next":null}"#,
    );
    assert_eq!(server.post(path, &body).text(), answer);

    let elsewhere = server.post("/chainweb/0.0/testnet04/chain/0/hash/branch", &body);
    assert_eq!(elsewhere.status, 404);
    assert_eq!(elsewhere.text(), format!(r#"{{"key":"{upper}","reason":"key not found"}}"#));
}
