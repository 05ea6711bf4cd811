//! What a block carries: text of the form that Pact's has, with names and numbers drawn at random.

use std::fmt::Write as _;

use zerocopy::byteorder::little_endian::U64;

use super::random::Random;
use crate::payload::{Outputs, RecordError, VerifiedPayload};
use crate::types::{WORD_LEN, push_base64url};

/// Miners that share the blocks among them.
const MINERS: u64 = 16;

/// Transactions of a block are fewer.
const TRANSACTIONS_END: u64 = 4;

/// Accounts that send and receive.
const ACCOUNTS: u64 = 1000;

/// A payload of up to three transactions, some kilobytes at most.
pub(super) fn payload(random: &mut Random) -> Result<VerifiedPayload, RecordError> {
    let miner = account(random.below(MINERS));
    let miner_data =
        format!(r#"{{"account":"k:{miner}","predicate":"keys-all","public-keys":["{miner}"]}}"#);
    let (mut transactions, mut outputs) = (Vec::new(), Vec::new());
    for number in 0..random.below(TRANSACTIONS_END) {
        let (transaction, output) = transfer(number, random);
        transactions.push(transaction);
        outputs.push(output);
    }
    let (key, logs, reward) = (text(random), text(random), random.below(1_000_000));
    let coinbase = format!(
        r#"{{"gas":0,"result":{{"status":"success","data":"Write succeeded"}},"reqKey":"{key}","logs":"{logs}","events":[{{"params":["","k:{miner}",1.{reward:06}],"name":"TRANSFER","module":{{"namespace":null,"name":"coin"}}}}],"metaData":null,"continuation":null,"txId":{}}}"#,
        random.below(1 << 40),
    );
    let transactions: Vec<&[u8]> = transactions.iter().map(String::as_bytes).collect();
    let outputs: Vec<&[u8]> = outputs.iter().map(String::as_bytes).collect();
    let outputs = Outputs { coinbase: coinbase.as_bytes(), outputs: &outputs };
    VerifiedPayload::seal(miner_data.as_bytes(), &transactions, outputs)
}

/// A transaction, and its output.
fn transfer(number: u64, random: &mut Random) -> (String, String) {
    let [from, to] = [(); 2].map(|()| account(random.below(ACCOUNTS)));
    let (hash, logs, amount) = (text(random), text(random), random.below(1_000_000));
    let signature = format!("{}{}", account(random.next()), account(random.next()));
    let transaction = format!(
        r#"{{"hash":"{hash}","sigs":[{{"sig":"{signature}"}}],"cmd":"{{\"networkId\":null,\"payload\":{{\"exec\":{{\"data\":null,\"code\":\"(coin.transfer \\\"k:{from}\\\" \\\"k:{to}\\\" 0.{amount:06})\"}}}},\"nonce\":\"{number}\"}}"}}"#,
    );
    let output = format!(
        r#"{{"gas":{},"result":{{"status":"success","data":"Write succeeded"}},"reqKey":"{hash}","logs":"{logs}","events":[{{"params":["k:{from}","k:{to}",0.{amount:06}],"name":"TRANSFER","module":{{"namespace":null,"name":"coin"}}}}],"metaData":null,"continuation":null,"txId":{}}}"#,
        random.below(400).saturating_add(400),
        random.below(1 << 40),
    );
    (transaction, output)
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

/// A hash as text: 43 characters of base64url.
fn text(random: &mut Random) -> String {
    let mut out = Vec::with_capacity(WORD_LEN);
    let words = [(); 4].map(|()| U64::new(random.next()));
    let bytes: [u8; 32] = zerocopy::transmute!(words);
    push_base64url(&mut out, &bytes);
    out.into_iter().map(char::from).collect()
}
