//! The output of `plait generate --payloads`, decoded by the rules of two indexers' decoders.
//!
//! - chainweb-api, which chainweb-data uses: the `FromJSON` instances of `BlockPayloadWithOutputs`
//!   and of what it holds. `.:` requires the member, and accepts null only for a `Maybe`; for `.:?`
//!   it is optional.
//! - indexer-kadena of hack-a-chain: `processPayload`, `processTransaction`,
//!   `processCoinbaseTransaction`, `mapToEventModel`, `getCoinTransfers`. JavaScript fails when it
//!   reads a member of `undefined`.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blake2b_simd::Params;
use serde_json::{Map, Value};
use testkit::process::run;

type Object = Map<String, Value>;

/// Blocks of all chains, as the command writes them.
fn blocks(network: &str, heights: &str) -> Vec<Value> {
    let fixed = ["generate", "--payloads", "--format", "jsonl", "--out", "-", "--forks", "0.1"];
    let made = run([&fixed[..], &["--network", network, "--heights", heights]].concat());
    assert_eq!(made.status, Some(0), "{}", made.err);
    made.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn object(value: &Value) -> &Object {
    value.as_object().unwrap_or_else(|| panic!("not an object: {value}"))
}

/// `.:`
fn member<'a>(of: &'a Object, name: &str) -> &'a Value {
    of.get(name).unwrap_or_else(|| panic!("key {name:?} not found in {of:?}"))
}

fn text<'a>(of: &'a Object, name: &str) -> &'a str {
    member(of, name).as_str().unwrap_or_else(|| panic!("{name} is no string: {of:?}"))
}

fn int(of: &Object, name: &str) -> i64 {
    member(of, name).as_i64().unwrap_or_else(|| panic!("{name} is no Int: {of:?}"))
}

fn array<'a>(of: &'a Object, name: &str) -> &'a [Value] {
    member(of, name).as_array().unwrap_or_else(|| panic!("{name} is no array: {of:?}"))
}

/// `Base64Url a`: JSON within base64url.
fn decoded(value: &Value) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn hash(text: &str) -> Vec<u8> {
    let bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
    assert_eq!(bytes.len(), 32, "{text}");
    bytes
}

/// `Transaction`, with the hash that its command must have.
fn transaction(value: &Value) -> Object {
    let transaction = object(value);
    let command = text(transaction, "cmd");
    let expected = Params::new().hash_length(32).hash(command.as_bytes());
    assert_eq!(hash(text(transaction, "hash")), expected.as_bytes(), "{command}");
    for signature in array(transaction, "sigs") {
        assert_eq!(text(object(signature), "sig").len(), 128);
    }
    let command: Value = serde_json::from_str(command).unwrap();
    let command = object(&command);
    let payload = object(member(command, "payload"));
    match (payload.get("exec"), payload.get("cont")) {
        (Some(exec), None) => {
            text(object(exec), "code");
            member(object(exec), "data");
        }
        (None, Some(cont)) => {
            let cont = object(cont);
            text(cont, "pactId");
            assert!(member(cont, "rollback").is_boolean());
            int(cont, "step");
            member(cont, "data");
            assert!(member(cont, "proof").is_string());
        }
        _ => panic!("Payload must be exec or cont: {payload:?}"),
    }
    assert!(!array(command, "signers").is_empty());
    for signer in array(command, "signers") {
        assert_eq!(text(object(signer), "pubKey").len(), 64);
        for capability in array(object(signer), "clist") {
            text(object(capability), "name");
            array(object(capability), "args");
        }
    }
    let meta = object(member(command, "meta"));
    for name in ["chainId", "sender"] {
        text(meta, name);
    }
    for name in ["creationTime", "ttl", "gasLimit"] {
        int(meta, name);
    }
    assert!(member(meta, "gasPrice").is_number());
    text(command, "nonce");
    text(command, "networkId");
    command.clone()
}

/// `TransactionOutput`
fn output(value: &Value) -> &Object {
    let output = object(value);
    assert!(int(output, "gas") >= 0);
    let result = object(member(output, "result"));
    match text(result, "status") {
        "success" => member(result, "data"),
        "failure" => member(result, "error"),
        status => panic!("{status}"),
    };
    hash(text(output, "reqKey"));
    hash(text(output, "logs"));
    member(output, "metaData");
    let continuation = member(output, "continuation");
    if !continuation.is_null() {
        let continuation = object(continuation);
        for name in ["stepCount", "step"] {
            int(continuation, name);
        }
        for name in ["executed", "yield", "continuation", "stepHasRollback"] {
            member(continuation, name);
        }
        hash(text(continuation, "pactId"));
    }
    let id = member(output, "txId");
    assert!(id.is_null() || id.is_u64(), "{id}");
    for event in array(output, "events") {
        let event = object(event);
        text(event, "name");
        hash(text(event, "moduleHash"));
        let module = object(member(event, "module"));
        text(module, "name");
        assert!(member(module, "namespace").is_null());
        array(event, "params");
    }
    output
}

#[test]
fn generated_payloads_are_what_chainweb_api_decodes() {
    let mut kinds = BTreeMap::new();
    for (network, heights) in [("development", "25"), ("mainnet01", "10")] {
        let mut ids: BTreeMap<u64, i64> = BTreeMap::new();
        for block in blocks(network, heights) {
            let header = object(member(object(&block), "header"));
            let chain = member(header, "chainId").as_u64().unwrap();
            let payload = object(member(object(&block), "payloadWithOutputs"));
            for name in ["transactionsHash", "outputsHash", "payloadHash"] {
                hash(text(payload, name));
            }
            let miner = decoded(member(payload, "minerData"));
            let miner = object(&miner);
            assert_eq!(text(miner, "predicate"), "keys-all");
            let [key] = array(miner, "public-keys") else { panic!("one key: {miner:?}") };
            assert_eq!(text(miner, "account"), format!("k:{}", key.as_str().unwrap()));
            let coinbase = decoded(member(payload, "coinbase"));
            let coinbase = output(&coinbase);
            assert_eq!(text(coinbase, "reqKey"), text(header, "parent"));
            assert!(ids.insert(chain, int(coinbase, "txId")).is_none_or(|below| below > 0));
            for pair in array(payload, "transactions") {
                let [call, result] = &pair.as_array().unwrap()[..] else { panic!("{pair}") };
                let (call, result) = (decoded(call), decoded(result));
                let (command, result) = (transaction(&call), output(&result));
                assert_eq!(text(result, "reqKey"), text(object(&call), "hash"));
                assert_eq!(command["networkId"], network);
                assert_eq!(command["meta"]["chainId"], chain.to_string());
                let made = command["meta"]["creationTime"].as_i64().unwrap();
                assert!(made < int(header, "creationTime") / 1_000_000);
                let has_id = !member(result, "txId").is_null();
                assert_eq!(has_id, result["result"]["status"] == "success");
                let kind = (command["payload"].get("cont").is_some(), has_id);
                *kinds.entry((kind, array(result, "events").len())).or_insert(0) += 1;
            }
        }
    }
    // Transfers, failures, and both steps of a cross-chain transfer.
    let expected = [((false, false), 1), ((false, true), 2), ((false, true), 4), ((true, true), 4)];
    assert_eq!(kinds.keys().copied().collect::<Vec<_>>(), expected, "{kinds:?}");
}

#[test]
fn the_second_step_of_a_cross_chain_transfer_continues_a_first_step_of_the_other_chain() {
    let fixed = ["generate", "--payloads", "--format", "jsonl", "--out", "-"];
    let made = run([&fixed[..], &["--network", "development", "--heights", "60"]].concat());
    assert_eq!(made.status, Some(0), "{}", made.err);
    let (mut begun, mut continued) = (BTreeMap::new(), 0);
    for block in made.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let (chain, height) = (&block["header"]["chainId"], block["header"]["height"].as_u64());
        for pair in block["payloadWithOutputs"]["transactions"].as_array().unwrap() {
            let result = decoded(&pair[1]);
            let (key, continuation) = (result["reqKey"].to_string(), &result["continuation"]);
            if continuation.is_null() {
                continue;
            }
            let events = result["events"].as_array().unwrap();
            let event = |name: &str| events.iter().find(|event| event["name"] == name).cloned();
            let args = continuation["continuation"]["args"].clone();
            if let Some(event) = event("X_YIELD") {
                // As on mainnet01, the event names the target chain.
                let target = args[3].clone();
                assert_eq!((&event["params"][0], &event["params"][2]), (&target, &args));
                assert_ne!(target, chain.to_string());
                begun.insert(key, (target, args, chain.clone(), height));
                continue;
            }
            let (target, given, source, first) =
                begun.remove(&continuation["pactId"].to_string()).expect("a first step, once");
            assert_eq!((target, given), (Value::from(chain.to_string()), args.clone()));
            assert!(first < height);
            let event = event("X_RESUME").unwrap();
            assert_eq!(
                (&event["params"][0], &event["params"][2]),
                (&Value::from(source.to_string()), &args)
            );
            continued += 1;
        }
    }
    assert!(continued > 50, "{continued} continued, {} begun", begun.len());
}

/// A block, and the cross-chain transfers whose steps it contains.
struct Node {
    /// The places of its parent and adjacent parents, without genesis blocks.
    below: Vec<usize>,
    begun: Vec<String>,
    continued: Vec<String>,
}

/// The blocks of a history with forks; ancestors come first.
fn nodes(more: &[&str]) -> Vec<Node> {
    let fixed = ["generate", "--payloads", "--format", "jsonl", "--out", "-", "--forks", "0.3"];
    let made = run([&fixed[..], &["--fork-depth", "10"], more].concat());
    assert_eq!(made.status, Some(0), "{}", made.err);
    let (mut places, mut nodes) = (BTreeMap::new(), Vec::new());
    for (place, line) in made.out.lines().enumerate() {
        let block: Value = serde_json::from_str(line).unwrap();
        let header = &block["header"];
        places.insert(header["hash"].as_str().unwrap().to_owned(), place);
        let adjacents = object(&header["adjacents"]).values();
        let below = adjacents.chain([&header["parent"]]).filter_map(Value::as_str);
        let below = below.filter_map(|hash| places.get(hash).copied()).collect();
        let mut node = Node { below, begun: Vec::new(), continued: Vec::new() };
        for pair in block["payloadWithOutputs"]["transactions"].as_array().unwrap() {
            let continuation = &decoded(&pair[1])["continuation"];
            let Some(pact) = continuation["pactId"].as_str() else { continue };
            let is_first = continuation["step"] == 0;
            if is_first { &mut node.begun } else { &mut node.continued }.push(pact.to_owned());
        }
        nodes.push(node);
    }
    nodes
}

/// The places of all ancestors of a block.
fn ancestors(nodes: &[Node], block: &Node) -> BTreeSet<usize> {
    let (mut found, mut open) = (BTreeSet::new(), block.below.clone());
    while let Some(place) = open.pop() {
        if found.insert(place) {
            open.extend(&nodes[place].below);
        }
    }
    found
}

#[test]
fn no_branch_continues_a_cross_chain_transfer_twice_or_before_its_first_step() {
    let deep = ["--network", "development", "--heights", "150", "--branch", "3:20:100"];
    let short = ["--network", "mainnet01", "--heights", "200"];
    for flags in [[&deep[..], &["--seed", "9"]].concat(), short.to_vec()] {
        let nodes = nodes(&flags);
        let mut all = BTreeMap::new();
        for block in nodes.iter().filter(|block| !block.continued.is_empty()) {
            let below = ancestors(&nodes, block);
            let of_below = |of: fn(&Node) -> &Vec<String>| -> BTreeSet<&String> {
                below.iter().flat_map(|place| of(&nodes[*place])).collect()
            };
            let (begun, mut continued) =
                (of_below(|node| &node.begun), of_below(|node| &node.continued));
            for pact in &block.continued {
                assert!(begun.contains(pact), "{pact} has no first step below its second");
                assert!(continued.insert(pact), "{pact} is continued twice on a branch");
                *all.entry(pact).or_insert(0) += 1;
            }
        }
        assert!(all.len() > 100, "{} continued", all.len());
        assert!(all.values().any(|count| *count > 1), "none in competing branches");
    }
}

/// A member of an object, as JavaScript reads it: it fails for null and undefined.
fn read<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, name| {
        assert!(!value.is_null(), "{name} of null, on the way of {path:?}");
        value.get(name).unwrap_or(&Value::Null)
    })
}

/// The transfers that `getCoinTransfers` finds among events.
fn transfers(events: &[Value]) -> Vec<(String, String, f64)> {
    let found = events.iter().filter_map(|event| {
        assert!(read(event, &["module", "name"]).is_string());
        let params = read(event, &["params"]).as_array()?;
        let [from, to, amount] = &params[..] else { return None };
        let is_one = read(event, &["name"]) == "TRANSFER" && amount.is_number();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        is_one.then_some(())?;
        Some((text(from)?, text(to)?, amount.as_f64()?))
    });
    found.collect()
}

#[test]
fn generated_payloads_are_what_indexer_kadena_decodes() {
    let mut keys = BTreeSet::new();
    let mut count = 0;
    for block in blocks("development", "25") {
        let payload = &block["payloadWithOutputs"];
        let coinbase = decoded(read(payload, &["coinbase"]));
        assert!(read(&coinbase, &["txId"]).is_u64(), "toString of null fails");
        let [(from, to, _)] = &transfers(coinbase["events"].as_array().unwrap())[..] else {
            panic!("one reward: {coinbase}")
        };
        let miner = decoded(read(payload, &["minerData"]));
        assert_eq!((from.as_str(), to.as_str()), ("", miner["account"].as_str().unwrap()));
        for pair in payload["transactions"].as_array().unwrap() {
            let (transaction, receipt) = (decoded(&pair[0]), decoded(&pair[1]));
            let command: Value =
                serde_json::from_str(transaction["cmd"].as_str().unwrap()).unwrap();
            for path in [["meta", "chainId"], ["meta", "creationTime"], ["meta", "gasPrice"]] {
                assert!(!read(&command, &path).is_null(), "{path:?}: {command}");
            }
            assert!(read(&command, &["payload", "exec"]).is_null() || command["nonce"].is_string());
            assert!(!read(&receipt, &["result", "status"]).is_null());
            let found = transfers(receipt["events"].as_array().unwrap());
            let price = command["meta"]["gasPrice"].as_f64().unwrap();
            let gas = receipt["gas"].as_f64().unwrap();
            let (payer, paid, fee) = &found[0];
            assert_eq!(payer, command["meta"]["sender"].as_str().unwrap());
            assert_eq!(paid, miner["account"].as_str().unwrap());
            assert!((fee - gas * price).abs() < 1e-9, "{fee} for {gas} at {price}");
            assert!(keys.insert(transaction["hash"].as_str().unwrap().to_owned()));
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}
