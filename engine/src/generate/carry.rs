//! The payload of a block: transactions and outputs with the same JSON members as Pact's, and
//! random names and numbers.
//!
//! Inputs: the block's position in the history, and a stream of random numbers. Outputs: miner
//! data, up to three transactions with their outputs, and the output of the coinbase, as JSON that
//! indexers can decode. Most transactions are transfers; some fail, and some begin or continue a
//! cross-chain transfer.
//!
//! - `I-1` The hash of a transaction, which is its request key, is the `BLAKE2b` hash of its `cmd`.
//! - `I-2` Transaction ids ascend within a chain.
//!
//! - `I-3` A second step of a cross-chain transfer continues a first step of the other chain that is in an
//!   ancestor of the block, and that no ancestor has continued.
//!
//! No transaction is executed: signatures, proofs and logs are random, and balances never run out.

use std::fmt::Write as _;

use blake2b_simd::Params;
use serde_json::Value;
use zerocopy::byteorder::little_endian::U64;

use super::crossings::{Crossing, Crossings};
use super::random::Random;
use crate::payload::{Outputs, RecordError, VerifiedPayload};
use crate::types::{
    BlockHash, BlockHeight, ChainId, ChainwebVersion, Micros, WORD_LEN, push_base64url,
};

/// Miners that share the blocks among them.
const MINERS: u64 = 16;

/// Transactions of a block are fewer.
const TRANSACTIONS_END: u64 = 4;

/// Accounts that send and receive.
const ACCOUNTS: u64 = 1000;

/// Bytes of a hash.
const HASH_LEN: usize = 32;

/// The most gas that a transaction may use.
const GAS_LIMIT: u64 = 2500;

/// The hash of the module `coin` on mainnet01 since its fifth version.
const COIN_HASH: &str = "rE7DU8jlQL9x_MPYuniZJf5ICBTAEHAIFQCB4blofP4";

/// The block that contains a payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carrier {
    pub(super) version: ChainwebVersion,
    pub(super) chain: ChainId,
    pub(super) height: BlockHeight,
    pub(super) parent: BlockHash,
    /// The creation time of the block.
    pub(super) time: Micros,
    /// The number of the first transfer to its chain that the blocks of its branch have not continued.
    pub(super) crossing: u64,
}

/// What a transaction does.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// `coin.transfer`.
    Transfer,
    /// `coin.transfer` of more than the sender has.
    Failure,
    /// The first step of `coin.transfer-crosschain`.
    Send,
    /// Its second step, on the other chain.
    Receive,
}

/// The parameters of a transaction.
struct Draft {
    kind: Kind,
    /// Public keys.
    from: String,
    to: String,
    amount: String,
    /// The chain that a transfer goes to or comes from.
    other: u32,
    /// The pact that a second step continues.
    pact: String,
}

/// The effects of a transaction, as JSON.
struct Effect {
    result: String,
    events: Vec<String>,
    continuation: String,
}

/// A payload, and its cross-chain transfers.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) payload: VerifiedPayload,
    /// [`Carrier::crossing`] of the block above.
    pub(super) crossing: u64,
    /// The transfers that it begins.
    pub(super) begun: Vec<Crossing>,
}

/// A payload of up to three transactions, some kilobytes at most. It can continue `crossings`.
pub(super) fn payload(
    block: &Carrier,
    crossings: &Crossings,
    random: &mut Random,
) -> Result<Content, RecordError> {
    let miner = account(random.below(MINERS));
    let miner_data =
        format!(r#"{{"account":"k:{miner}","predicate":"keys-all","public-keys":["{miner}"]}}"#);
    let (mut transactions, mut outputs) = (Vec::new(), Vec::new());
    let (mut from, mut begun) = (block.crossing, Vec::new());
    for number in 1..=random.below(TRANSACTIONS_END) {
        let waiting = crossings.next(block.chain, block.height, from);
        let draft = Draft::new(block, waiting.map(|(_, crossing)| crossing), random);
        let (key, transaction, output) = transaction(block, &draft, number, &miner, random);
        match draft.kind {
            Kind::Send => begun.push(draft.crossing(block, key)),
            Kind::Receive => from = waiting.map_or(from, |(number, _)| number.saturating_add(1)),
            Kind::Transfer | Kind::Failure => {}
        }
        transactions.push(transaction);
        outputs.push(output);
    }
    let coinbase = coinbase(block, &miner, random);
    let transactions: Vec<&[u8]> = transactions.iter().map(String::as_bytes).collect();
    let outputs: Vec<&[u8]> = outputs.iter().map(String::as_bytes).collect();
    let outputs = Outputs { coinbase: coinbase.as_bytes(), outputs: &outputs };
    let payload = VerifiedPayload::seal(miner_data.as_bytes(), &transactions, outputs)?;
    Ok(Content { payload, crossing: from, begun })
}

impl Carrier {
    /// The id of transaction `number` of this block; 0 is the coinbase.
    fn transaction_id(&self, number: u64) -> u64 {
        self.height.get().saturating_mul(TRANSACTIONS_END).saturating_add(number)
    }
}

/// The output of the coinbase, which pays the miner. Its request key is the hash of the parent
/// block.
fn coinbase(block: &Carrier, miner: &str, random: &mut Random) -> String {
    let reward = format!("1.{:06}", random.below(1_000_000));
    let effect = Effect {
        result: success("Write succeeded"),
        events: vec![transfer_event("", &format!("k:{miner}"), &reward)],
        continuation: "null".to_owned(),
    };
    effect.output(0, &block.parent.to_string(), Some(block.transaction_id(0)), random)
}

/// The request key of a transaction, the transaction, and its output.
fn transaction(
    block: &Carrier,
    draft: &Draft,
    number: u64,
    miner: &str,
    random: &mut Random,
) -> (String, String, String) {
    let gas = match draft.kind {
        Kind::Failure => GAS_LIMIT,
        _ => random.below(400).saturating_add(400),
    };
    // In units of 10^-8 KDA.
    let price = random.below(100).saturating_add(1);
    let command = draft.command(block, price, random);
    let key = request_key(&command);
    let signature = format!("{}{}", account(random.next()), account(random.next()));
    let transaction = format!(
        r#"{{"hash":"{key}","sigs":[{{"sig":"{signature}"}}],"cmd":{}}}"#,
        Value::from(command)
    );
    let mut effect = draft.effect(block, &key);
    let payer = format!("k:{}", draft.payer());
    let fee = transfer_event(&payer, &format!("k:{miner}"), &units(gas.saturating_mul(price)));
    effect.events.insert(0, fee);
    let is_failure = matches!(draft.kind, Kind::Failure);
    let id = (!is_failure).then(|| block.transaction_id(number));
    let output = effect.output(gas, &key, id, random);
    (key, transaction, output)
}

impl Draft {
    /// A random transaction. A second step continues `crossing`; without one it is a plain transfer.
    fn new(block: &Carrier, crossing: Option<&Crossing>, random: &mut Random) -> Self {
        // Every network has an even number of chains.
        let other = block.chain.get() ^ 1;
        let kind = match (random.below(8), crossing) {
            (0, _) => Kind::Failure,
            (1, _) => Kind::Send,
            (2, Some(Crossing { pact, from, to, amount, .. })) => {
                let [from, to, amount, pact] = [from, to, amount, pact].map(Clone::clone);
                return Self { kind: Kind::Receive, from, to, amount, other, pact };
            }
            _ => Kind::Transfer,
        };
        let [from, to] = [(); 2].map(|()| account(random.below(ACCOUNTS)));
        let (whole, parts) = (random.below(100), random.below(999_999).saturating_add(1));
        let amount = format!("{whole}.{parts:06}");
        Self { kind, from, to, amount, other, pact: String::new() }
    }

    /// The transfer that its transaction with this request key begins.
    fn crossing(&self, block: &Carrier, pact: String) -> Crossing {
        let Self { from, to, amount, other, .. } = self;
        let [from, to, amount] = [from, to, amount].map(Clone::clone);
        Crossing { target: *other, height: block.height, pact, from, to, amount }
    }

    /// The key that signs and pays the gas.
    fn payer(&self) -> &str {
        match self.kind {
            Kind::Receive => &self.to,
            _ => &self.from,
        }
    }

    /// The keyset of the receiver.
    fn guard(&self) -> String {
        format!(r#"{{"pred":"keys-all","keys":["{}"]}}"#, self.to)
    }

    /// The command, which is hashed and signed.
    fn command(&self, block: &Carrier, price: u64, random: &mut Random) -> String {
        let Self { from, to, amount, other, .. } = self;
        let exec = |data: &str, code: String| {
            format!(r#"{{"exec":{{"data":{data},"code":{}}}}}"#, Value::from(code))
        };
        let capability = |name: &str, rest: &str| {
            format!(
                r#",{{"name":"coin.{name}","args":["k:{from}","k:{to}",{{"decimal":"{amount}"}}{rest}]}}"#
            )
        };
        let (payload, capability) = match self.kind {
            Kind::Transfer | Kind::Failure => (
                exec("{}", format!(r#"(coin.transfer "k:{from}" "k:{to}" {amount})"#)),
                capability("TRANSFER", ""),
            ),
            Kind::Send => (
                exec(
                    &format!(r#"{{"receiver-guard":{}}}"#, self.guard()),
                    format!(
                        r#"(coin.transfer-crosschain "k:{from}" "k:{to}" (read-keyset "receiver-guard") "{other}" {amount})"#
                    ),
                ),
                capability("TRANSFER_XCHAIN", &format!(r#","{other}""#)),
            ),
            Kind::Receive => {
                let (pact, proof) = (&self.pact, format!("{}{}", text(random), text(random)));
                let payload = format!(
                    r#"{{"cont":{{"proof":"{proof}","pactId":"{pact}","rollback":false,"step":1,"data":{{}}}}}}"#
                );
                (payload, String::new())
            }
        };
        let (payer, nonce, age) = (self.payer(), random.next(), random.below(100));
        // At least 30 s before the block.
        let made = (block.time.get() / 1_000_000).saturating_sub_unsigned(age.saturating_add(30));
        format!(
            r#"{{"networkId":"{}","payload":{payload},"signers":[{{"pubKey":"{payer}","clist":[{{"name":"coin.GAS","args":[]}}{capability}]}}],"meta":{{"creationTime":{made},"ttl":28800,"gasLimit":{GAS_LIMIT},"chainId":"{}","gasPrice":{},"sender":"k:{payer}"}},"nonce":"{nonce}"}}"#,
            block.version.name(),
            block.chain,
            units(price),
        )
    }

    /// The effects other than the payment for gas.
    fn effect(&self, block: &Carrier, key: &str) -> Effect {
        let Self { from, to, amount, other, pact, .. } = self;
        let (guard, chain) = (self.guard(), block.chain);
        let [sender, receiver] = [from, to].map(|key| format!("k:{key}"));
        let continued = |pact: &str, step: u8, given: &str, chains: [u32; 2]| {
            let [source, target] = chains;
            let yielded = match step {
                0 => format!(
                    r#"{{"data":{given},"source":"{source}","provenance":{{"targetChainId":"{target}","moduleHash":"{COIN_HASH}"}}}}"#
                ),
                _ => "null".to_owned(),
            };
            format!(
                r#"{{"executed":null,"pactId":"{pact}","stepHasRollback":false,"step":{step},"yield":{yielded},"continuation":{{"def":"coin.transfer-crosschain","args":["{sender}","{receiver}",{guard},"{target}",{amount}]}},"stepCount":2}}"#
            )
        };
        let given = format!(
            r#"{{"receiver":"{receiver}","receiver-guard":{guard},"source-chain":"{chain}","amount":{amount}}}"#
        );
        // `X_YIELD` names the target chain, and `X_RESUME` the source chain: each the other one.
        let pact_event = |name: &str, target: u32| {
            let params = format!(
                r#""{other}","coin.transfer-crosschain",["{sender}","{receiver}",{guard},"{target}",{amount}]"#
            );
            event("pact", name, &params)
        };
        let none = || "null".to_owned();
        match self.kind {
            Kind::Transfer => Effect {
                result: success("Write succeeded"),
                events: vec![transfer_event(&sender, &receiver, amount)],
                continuation: none(),
            },
            Kind::Failure => {
                Effect { result: FAILURE.to_owned(), events: Vec::new(), continuation: none() }
            }
            Kind::Send => {
                let chains = [chain.get(), *other];
                let params = format!(r#""{sender}","{receiver}",{amount},"{other}""#);
                Effect {
                    result: format!(r#"{{"status":"success","data":{given}}}"#),
                    events: vec![
                        event("coin", "TRANSFER_XCHAIN", &params),
                        transfer_event(&sender, "", amount),
                        pact_event("X_YIELD", *other),
                    ],
                    continuation: continued(key, 0, &given, chains),
                }
            }
            Kind::Receive => {
                let chains = [*other, chain.get()];
                let params = format!(r#""","{receiver}",{amount},"{other}""#);
                Effect {
                    result: success("Write succeeded"),
                    events: vec![
                        transfer_event("", &receiver, amount),
                        event("coin", "TRANSFER_XCHAIN_RECD", &params),
                        pact_event("X_RESUME", chain.get()),
                    ],
                    continuation: continued(pact, 1, &given, chains),
                }
            }
        }
    }
}

/// The result of a transfer of more than the sender has.
const FAILURE: &str = r#"{"status":"failure","error":{"callStack":["<interactive>:0:0: (coin.transfer)"],"type":"TxFailure","message":"Insufficient funds","info":"<interactive>:0:0"}}"#;

impl Effect {
    fn output(&self, gas: u64, key: &str, id: Option<u64>, random: &mut Random) -> String {
        let Self { result, events, continuation } = self;
        let (logs, events) = (text(random), events.join(","));
        let id = id.map_or_else(|| "null".to_owned(), |id| id.to_string());
        format!(
            r#"{{"gas":{gas},"result":{result},"reqKey":"{key}","logs":"{logs}","events":[{events}],"metaData":null,"continuation":{continuation},"txId":{id}}}"#
        )
    }
}

fn success(data: &str) -> String {
    format!(r#"{{"status":"success","data":"{data}"}}"#)
}

fn transfer_event(from: &str, to: &str, amount: &str) -> String {
    event("coin", "TRANSFER", &format!(r#""{from}","{to}",{amount}"#))
}

fn event(module: &str, name: &str, params: &str) -> String {
    format!(
        r#"{{"params":[{params}],"name":"{name}","module":{{"namespace":null,"name":"{module}"}},"moduleHash":"{COIN_HASH}"}}"#
    )
}

/// `number` units of 10^-8, as a decimal number.
fn units(number: u64) -> String {
    format!("{}.{:08}", number / 100_000_000, number % 100_000_000)
}

/// The hash of a command. API requests name the transaction by it.
fn request_key(command: &str) -> String {
    let hash = Params::new().hash_length(HASH_LEN).hash(command.as_bytes());
    hash.as_bytes().first_chunk().map(base64url).unwrap_or_default()
}

/// The public key of one of many accounts: 64 hexadecimal digits.
fn account(number: u64) -> String {
    let mut random = Random::from(number);
    let mut digits = String::with_capacity(64);
    for _ in 0..4 {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{:016x}", random.next());
    }
    digits
}

/// A random hash as text.
fn text(random: &mut Random) -> String {
    let words = [(); 4].map(|()| U64::new(random.next()));
    base64url(&zerocopy::transmute!(words))
}

/// 43 characters of base64url.
fn base64url(bytes: &[u8; HASH_LEN]) -> String {
    let mut out = Vec::with_capacity(WORD_LEN);
    push_base64url(&mut out, bytes);
    out.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_key_is_the_blake2b_hash_of_the_command() {
        // The request key of the coinbases of all genesis blocks.
        assert_eq!(request_key(""), "DldRwCblQ7Loqy6wYJnaodHl30d3j3eH-qtFzfEv46g");
    }

    #[test]
    fn amounts_have_eight_digits_behind_the_point() {
        assert_eq!((units(1), units(123_456_789)), ("0.00000001".into(), "1.23456789".into()));
    }
}
