//! Full verification against the reference's own test cases and against real headers.

use std::collections::HashMap;
use std::fs;

use plait_engine::header::text;
use plait_engine::verify::{Adjacents, Checked, Failure, Failures, Level, Parent, Verifier};
use plait_engine::{BlockHash, ChainwebVersion, Header, HeaderRef, Micros};
use serde_json::Value;
use testkit::{say, vectors};

/// 2025-11-24: after the last block of mainnet01.
const NOW: Micros = Micros::new(1_764_000_000_000_000);

fn lines(name: &str) -> Option<Vec<Value>> {
    let text = fs::read_to_string(vectors::folder()?.join(name)).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn header(value: &Value) -> Option<Header> {
    text::from_string(value.as_str()?).ok()
}

fn rules(failures: &Failures) -> Vec<&'static str> {
    let mut rules: Vec<&str> = failures.iter().map(Failure::name).collect();
    rules.sort_unstable();
    rules
}

fn verifier(header: HeaderRef<'_>, now: Micros) -> Verifier {
    let version = ChainwebVersion::from_code(header.version_code()).unwrap();
    Verifier::new(version, Level::Full, now)
}

#[test]
fn the_reference_s_cases_break_the_rules_that_it_says() {
    let Some(cases) = lines("validation_vectors.jsonl") else { return };
    let mut without_adjacents = 0;
    for case in &cases {
        let expected: Vec<&str> = case["expected"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| rule.as_str().unwrap())
            .collect();
        let Some(header) = header(&case["header"]) else {
            // 210 bytes: refused for its length already.
            assert!(expected.contains(&"AdjacentChainMismatch"), "{case}");
            without_adjacents += 1;
            continue;
        };
        let parent = self::header(&case["parent"]).unwrap();
        let mut adjacents: Vec<Header> = case["adjacents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| self::header(a).unwrap())
            .collect();
        adjacents.sort_by_key(|adjacent| adjacent.view().chain());
        let adjacents: [Header; 3] = adjacents.try_into().unwrap();
        let adjacents = Adjacents::Blocks(adjacents.each_ref().map(Header::view));
        let verifier = verifier(header.view(), Micros::new(case["now"].as_i64().unwrap()));
        // The case that changes the parent's hash leaves nothing to be found under it.
        let named = !expected.contains(&"MissingParent");
        let parent = if named { Parent::Block(parent.view()) } else { Parent::Missing };
        let result = verifier.conclude(verifier.check(header.view()), parent, adjacents);
        let got = result.err().map_or_else(Vec::new, |failures| rules(&failures));
        assert_eq!(got, expected, "{}", case["name"]);
    }
    assert_eq!(without_adjacents, 1);
    say(&format!("{} cases of the reference's validation", cases.len()));
}

/// Every header of the vectors, by hash.
fn real_headers(lines: &[Value]) -> HashMap<BlockHash, Header> {
    let headers = lines.iter().map(|line| header(&line["b64"]).unwrap());
    headers.map(|header| (header.view().hash(), header)).collect()
}

/// Verifies a header with what else is in the vectors.
fn verify(
    checked: Checked<'_>,
    verifier: &Verifier,
    real: &HashMap<BlockHash, Header>,
) -> Vec<&'static str> {
    let header = checked.header();
    let parent = real.get(&header.parent());
    let adjacents: Vec<Header> = header
        .adjacents()
        .iter()
        .filter_map(|(chain, hash)| {
            real.get(&hash).copied().or_else(|| verifier.genesis_block(chain, hash))
        })
        .collect();
    let blocks: Result<[Header; 3], _> = adjacents.try_into();
    let (chain, hash) = header.adjacents().iter().next().unwrap();
    let adjacents = match &blocks {
        Ok(blocks) => Adjacents::Blocks(blocks.each_ref().map(Header::view)),
        Err(_) => Adjacents::Missing(chain, hash),
    };
    let parent = parent.map_or(Parent::Missing, |parent| Parent::Block(parent.view()));
    let result = verifier.conclude(checked, parent, adjacents);
    result.err().map_or_else(Vec::new, |failures| rules(&failures))
}

#[test]
fn real_headers_break_the_rules_that_the_vectors_say() {
    let Some(lines) = lines("headers.jsonl") else { return };
    let real = real_headers(&lines);
    let (mut valid, mut without_context) = (0, 0);
    for line in &lines {
        let header = header(&line["b64"]).unwrap();
        let verifier = verifier(header.view(), NOW);
        let got = verify(verifier.check(header.view()), &verifier, &real);
        let expected: Vec<&str> = line["validate"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| rule.as_str().unwrap())
            .collect();
        match got.as_slice() {
            [] => valid += 1,
            ["MissingParent" | "MissingAdjacentParent"] => without_context += 1,
            _ => {}
        }
        assert_eq!(got, expected, "{:?}", header.view());
    }
    say(&format!("{valid} real headers fully verified, {without_context} without context"));
}
