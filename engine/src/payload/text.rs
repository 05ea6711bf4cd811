//! Payloads as JSON objects, as the reference writes and reads them.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use bytes::Bytes;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use zerocopy::FromBytes;
use zerocopy::byteorder::big_endian::U32;

use super::layout::{Head, LEN_MIN, WITH_OUTPUTS, WITHOUT_OUTPUTS};
use super::parts::length;
use super::{Payload, PayloadRef, RecordError, TextError};
use crate::types::{BASE64URL, Grow, HashError, OutputsHash, PayloadHash, TransactionsHash};
use crate::types::{WORD_LEN, Words, decode_32, push_base64url};

/// Characters of an object beside those of transactions, outputs, miner data and coinbase.
const FRAME_LEN: usize = 90 + 3 * WORD_LEN;

/// The same of what coinbase adds to it.
const COINBASE_LEN: usize = 14;

/// Appends the payload as a JSON object without outputs, members in the reference's order, without
/// spaces.
pub fn push_object(out: &mut Vec<u8>, payload: PayloadRef<'_>) {
    out.reserve(object_len(payload));
    out.extend_from_slice(b"{\"transactions\":[");
    for (index, transaction) in payload.inputs().enumerate() {
        out.extend_from_slice(if index > 0 { b",\"" } else { b"\"" });
        push_base64url(out, transaction);
        out.push(b'"');
    }
    push_members(out, payload);
    out.extend_from_slice(b"\"}");
}

/// Appends the payload as a JSON object with outputs, members in the reference's order, without
/// spaces. `false`, and nothing is appended, if outputs are not known.
#[must_use]
pub fn push_object_with_outputs(out: &mut Vec<u8>, payload: PayloadRef<'_>) -> bool {
    let (Some(coinbase), Some(outputs)) = (payload.coinbase(), payload.outputs()) else {
        return false;
    };
    out.reserve(object_with_outputs_len(payload));
    out.extend_from_slice(b"{\"transactions\":[");
    for (index, (transaction, output)) in payload.inputs().zip(outputs).enumerate() {
        out.extend_from_slice(if index > 0 { b",[\"" } else { b"[\"" });
        push_base64url(out, transaction);
        out.extend_from_slice(b"\",\"");
        push_base64url(out, output);
        out.extend_from_slice(b"\"]");
    }
    push_members(out, payload);
    out.extend_from_slice(b"\",\"coinbase\":\"");
    push_base64url(out, coinbase);
    out.extend_from_slice(b"\"}");
    true
}

/// From the end of the transactions to the payload hash without the quote behind it.
fn push_members(out: &mut Vec<u8>, payload: PayloadRef<'_>) {
    let (transactions, outputs) = (payload.transactions_hash(), payload.outputs_hash());
    let hash = payload.hash();
    let words = Words::new([transactions.as_bytes(), outputs.as_bytes(), hash.as_bytes()]);
    let [transactions, outputs, hash] = words.texts();
    out.extend_from_slice(b"],\"minerData\":\"");
    push_base64url(out, payload.miner_data());
    out.extend_from_slice(b"\",\"transactionsHash\":\"");
    out.extend_from_slice(transactions);
    out.extend_from_slice(b"\",\"outputsHash\":\"");
    out.extend_from_slice(outputs);
    out.extend_from_slice(b"\",\"payloadHash\":\"");
    out.extend_from_slice(hash);
}

/// Bytes that [`push_object`] appends.
#[must_use]
pub fn object_len(payload: PayloadRef<'_>) -> usize {
    // Quotes and a comma each, but no comma in front of the first.
    let commas = payload.transaction_count().saturating_sub(1);
    let transactions: usize = payload.inputs().map(|bytes| text_len(bytes).saturating_add(2)).sum();
    FRAME_LEN
        .saturating_add(text_len(payload.miner_data()))
        .saturating_add(transactions)
        .saturating_add(commas)
}

/// Bytes that [`push_object_with_outputs`] appends if outputs are known.
#[must_use]
pub fn object_with_outputs_len(payload: PayloadRef<'_>) -> usize {
    let coinbase =
        payload.coinbase().map_or(0, |bytes| text_len(bytes).saturating_add(COINBASE_LEN));
    let outputs = payload.outputs().into_iter().flatten();
    let outputs: usize = outputs.map(|bytes| text_len(bytes).saturating_add(5)).sum();
    object_len(payload).saturating_add(coinbase).saturating_add(outputs)
}

/// Characters of the base64url form.
fn text_len(bytes: &[u8]) -> usize {
    bytes.len().saturating_mul(4).div_ceil(3)
}

/// Reads a payload, with or without outputs, from its JSON object. Members may stand in any order,
/// unknown ones are ignored; with outputs it is if it has a `coinbase`. Whether its hashes are
/// right is not looked at.
///
/// # Errors
///
/// [`TextError`] if the text is not such an object.
pub fn from_object(text: &[u8]) -> Result<Payload, TextError> {
    serde_json::from_slice::<Object<'_>>(text)?.into_payload()
}

/// The members of a payload's JSON object, with or without outputs.
///
/// # Cost
///
/// Borrows the text. Allocates a few words for each transaction that is there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object<'a> {
    #[serde(borrow, deserialize_with = "transactions")]
    transactions: Vec<Entry<'a>>,
    #[serde(borrow)]
    miner_data: Text<'a>,
    #[serde(borrow)]
    transactions_hash: Text<'a>,
    #[serde(borrow)]
    outputs_hash: Text<'a>,
    #[serde(borrow)]
    payload_hash: Text<'a>,
    #[serde(borrow, default)]
    coinbase: Option<Text<'a>>,
}

/// Transactions of a block at most: some hundreds are usual. An empty one has three bytes of text and many
/// more in memory.
const TRANSACTIONS_MAX: usize = 1 << 18;

/// Reads transactions, of which there are not too many.
fn transactions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Entry<'de>>, D::Error> {
    struct Transactions;

    impl<'de> Visitor<'de> for Transactions {
        type Value = Vec<Entry<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an array of at most {TRANSACTIONS_MAX} transactions")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut transactions = Vec::new();
            while let Some(entry) = items.next_element()? {
                if transactions.len() == TRANSACTIONS_MAX {
                    return Err(serde::de::Error::invalid_length(TRANSACTIONS_MAX + 1, &self));
                }
                transactions.push(entry);
            }
            Ok(transactions)
        }
    }

    deserializer.deserialize_seq(Transactions)
}

/// A string of JSON. In a list, serde would not borrow it by itself.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A transaction.
#[derive(Debug)]
enum Entry<'a> {
    Alone(Text<'a>),
    WithOutput(Text<'a>, Text<'a>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Entry<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a transaction, or a pair of a transaction and its output")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Entry<'de>, E> {
        Ok(Entry::Alone(Text(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Entry<'de>, E> {
        Ok(Entry::Alone(Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Entry<'de>, A::Error> {
        let short = |got| serde::de::Error::invalid_length(got, &self);
        let transaction = pair.next_element()?.ok_or_else(|| short(0))?;
        let output = pair.next_element()?.ok_or_else(|| short(1))?;
        Ok(Entry::WithOutput(transaction, output))
    }
}

impl<'a> Entry<'a> {
    fn transaction(&self) -> &Text<'a> {
        match self {
            Self::Alone(transaction) | Self::WithOutput(transaction, _) => transaction,
        }
    }

    fn output(&self) -> Option<&Text<'a>> {
        match self {
            Self::Alone(_) => None,
            Self::WithOutput(_, output) => Some(output),
        }
    }
}

impl Object<'_> {
    /// The payload with these members. Whether its hashes are right is not looked at.
    ///
    /// # Errors
    ///
    /// [`TextError`] if a member is not what it must be.
    pub fn into_payload(self) -> Result<Payload, TextError> {
        let with = self.coinbase.is_some();
        if self.transactions.iter().any(|entry| entry.output().is_some() != with) {
            return Err(TextError::Outputs);
        }
        let transactions = || self.transactions.iter().map(Entry::transaction);
        let outputs = || self.transactions.iter().filter_map(Entry::output);
        let items = || transactions().chain(&self.coinbase).chain(outputs());
        let bytes = items().chain([&self.miner_data]).map(Text::bytes_max).sum();
        let mut draft = Draft::new(items().count(), bytes);
        let mut head = Head {
            payload_hash: PayloadHash::new(self.payload_hash.word("payloadHash")?),
            transactions_hash: TransactionsHash::new(
                self.transactions_hash.word("transactionsHash")?,
            ),
            outputs_hash: OutputsHash::new(self.outputs_hash.word("outputsHash")?),
            kind: if with { WITH_OUTPUTS } else { WITHOUT_OUTPUTS },
            transactions: length(self.transactions.len())?,
            miner_data: 0.into(),
        };
        head.miner_data = draft.push(&self.miner_data, "minerData")?;
        transactions().try_for_each(|text| draft.push_item(text, "transactions"))?;
        self.coinbase.iter().try_for_each(|text| draft.push_item(text, "coinbase"))?;
        outputs().try_for_each(|text| draft.push_item(text, "transactions"))?;
        Ok(draft.finish(&head)?)
    }
}

impl Text<'_> {
    fn word(&self, member: &'static str) -> Result<[u8; 32], TextError> {
        decode_32(&self.0).map_err(|source: HashError| TextError::Word { member, source })
    }

    /// The bytes that the decoder wants room for.
    fn bytes_max(&self) -> usize {
        self.0.len().div_ceil(4).saturating_mul(3)
    }
}

/// A record in the making: text is decoded to where it belongs.
struct Draft {
    record: Vec<u8>,
    /// Where the length of the next item stands.
    lengths: std::ops::Range<usize>,
}

impl Draft {
    /// The record of this many items, miner data not counted, with room for bytes.
    fn new(items: usize, bytes: usize) -> Self {
        let start = LEN_MIN.saturating_add(items.saturating_mul(size_of::<U32>()));
        let mut record = Vec::with_capacity(start.saturating_add(bytes));
        record.resize(start, 0);
        Self { record, lengths: LEN_MIN..start }
    }

    fn push(&mut self, text: &Text<'_>, member: &'static str) -> Result<U32, TextError> {
        let start = self.record.len();
        BASE64URL
            .decode_vec(&*text.0, &mut self.record)
            .map_err(|source| TextError::Base64 { member, source })?;
        Ok(length(self.record.len().saturating_sub(start))?)
    }

    fn push_item(&mut self, text: &Text<'_>, member: &'static str) -> Result<(), TextError> {
        let length = self.push(text, member)?;
        let slot = self.record.get_mut(self.lengths.clone());
        if let Some((slot, _)) = slot.and_then(|slots| U32::mut_from_prefix(slots).ok()) {
            *slot = length;
        }
        self.lengths.start.grow(size_of::<U32>());
        Ok(())
    }

    fn finish(mut self, head: &Head) -> Result<Payload, RecordError> {
        if let Some(first) = self.record.first_chunk_mut::<LEN_MIN>() {
            *first = zerocopy::transmute!(*head);
        }
        Payload::parse(Bytes::from(self.record))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::drawn::{DOCUMENTED, payload};
    use super::*;

    fn written(payload: &Payload) -> String {
        let mut out = Vec::new();
        if !push_object_with_outputs(&mut out, payload.view()) {
            assert!(out.is_empty());
            push_object(&mut out, payload.view());
        }
        String::from_utf8(out).unwrap()
    }

    /// The slow way: each member by itself.
    fn member_by_member(payload: &Payload) -> Value {
        let view = payload.view();
        let text = |bytes: &[u8]| BASE64URL.encode(bytes);
        let transactions = view.transactions().map(|(transaction, output)| match output {
            Some(output) => json!([text(transaction), text(output)]),
            None => json!(text(transaction)),
        });
        let mut object = json!({
            "transactions": transactions.collect::<Vec<_>>(),
            "minerData": text(view.miner_data()),
            "transactionsHash": view.transactions_hash().to_string(),
            "outputsHash": view.outputs_hash().to_string(),
            "payloadHash": view.hash().to_string(),
        });
        if let Some(coinbase) = view.coinbase() {
            object["coinbase"] = json!(text(coinbase));
        }
        object
    }

    #[test]
    fn documented_payloads_are_written_as_they_are_read() {
        for object in DOCUMENTED {
            let payload = from_object(object.as_bytes()).unwrap();
            assert_eq!(written(&payload), object);
            let mut without = Vec::new();
            push_object(&mut without, payload.view());
            let (head, _) = object.split_once(",\"coinbase\"").unwrap();
            assert_eq!(String::from_utf8(without).unwrap(), format!("{head}}}"));
        }
    }

    proptest! {
        #[test]
        fn object_is_written_as_member_by_member_and_read_back(payload in payload()) {
            let object = written(&payload);
            let value: Value = serde_json::from_str(&object).unwrap();
            prop_assert_eq!(&value, &member_by_member(&payload));
            prop_assert_eq!(&from_object(object.as_bytes()).unwrap(), &payload);
            // In another order, with spaces.
            let sorted = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(&from_object(sorted.as_bytes()).unwrap(), &payload);
        }

        #[test]
        fn lengths_are_told_before(payload in payload()) {
            let mut out = Vec::new();
            push_object(&mut out, payload.view());
            prop_assert_eq!(out.len(), object_len(payload.view()));
            out.clear();
            if push_object_with_outputs(&mut out, payload.view()) {
                prop_assert_eq!(out.len(), object_with_outputs_len(payload.view()));
            }
        }

        #[test]
        fn any_text_is_an_object_or_refused(text in ".*", at: prop::sample::Index) {
            drop(from_object(text.as_bytes()));
            let mut object = DOCUMENTED[0].to_owned();
            object.insert_str(at.index(object.len()), &text);
            if let Ok(payload) = from_object(object.as_bytes()) {
                prop_assert_eq!(from_object(written(&payload).as_bytes()).unwrap(), payload);
            }
        }
    }

    /// The first documented payload, with one transaction, changed as a value.
    fn changed(change: impl FnOnce(&mut Value)) -> Result<Payload, TextError> {
        let mut value: Value = serde_json::from_str(DOCUMENTED[0]).unwrap();
        value["transactions"] = json!([["YQ", "Yg"]]);
        change(&mut value);
        from_object(value.to_string().as_bytes())
    }

    #[test]
    fn unknown_members_escapes_and_padding_are_taken() {
        let plain = changed(|_| ()).unwrap();
        assert!(plain.view().transactions().eq([(&b"a"[..], Some(&b"b"[..]))]));
        for transactions in [json!([["YQ==", "Yg=="]]), json!([["YQ", "Yg=="]])] {
            assert_eq!(changed(|value| value["transactions"] = transactions).unwrap(), plain);
        }
        assert_eq!(changed(|value| value["headers"] = json!([{}, null])).unwrap(), plain);
        let hash = plain.view().hash().to_string();
        let padded = changed(|value| value["payloadHash"] = json!(format!("{hash}=")));
        assert_eq!(padded.unwrap(), plain);
        let escaped = DOCUMENTED[0].replacen("[]", r#"[["\u0059Q","Yg"]]"#, 1);
        assert_eq!(from_object(escaped.as_bytes()).unwrap(), plain);
        let null = changed(|value| {
            value["coinbase"] = Value::Null;
            value["transactions"] = json!(["YQ"]);
        });
        assert!(!null.unwrap().view().has_outputs());
    }

    #[test]
    fn wrong_members_are_named() {
        for (member, wrong) in [
            ("minerData", "Y"),
            ("minerData", "YR"),
            ("minerData", "Y+"),
            ("minerData", "Y Q"),
            ("coinbase", "YQ=\n"),
            ("transactionsHash", "YQ"),
            ("outputsHash", ""),
            ("payloadHash", "/T86RaKJUyCZXKB3gYqX9A9SNway-lUBrHSvNr7_SaM"),
            ("payloadHash", "cT86RaKJUyCZXKB3gYqX9A9SNway-lUBrHSvNr7_SaN"),
        ] {
            let refused = changed(|value| value[member] = json!(wrong)).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("member {member}: ")), "{refused}");
        }
        for transactions in [json!([["Y", "Yg"]]), json!([["YQ", "Yh"]])] {
            let refused = changed(|value| value["transactions"] = transactions);
            assert!(matches!(refused, Err(TextError::Base64 { member: "transactions", .. })));
        }
    }

    #[test]
    fn outputs_are_all_there_or_none() {
        for transactions in [json!(["YQ"]), json!([["YQ", "Yg"], "YQ"])] {
            let refused = changed(|value| value["transactions"] = transactions);
            assert!(matches!(refused, Err(TextError::Outputs)));
        }
        let refused = changed(|value| value["coinbase"] = Value::Null);
        assert!(matches!(refused, Err(TextError::Outputs)));
    }

    #[test]
    fn other_json_is_refused() {
        for transactions in [json!(1), json!([1]), json!([[]]), json!([["YQ"]])] {
            let refused = changed(|value| value["transactions"] = transactions);
            assert!(matches!(refused, Err(TextError::Json(_))));
        }
        let refused = changed(|value| value["transactions"] = json!([["YQ", "Yg", "Yw"]]));
        assert!(matches!(refused, Err(TextError::Json(_))));
        for member in ["transactions", "minerData", "payloadHash", "outputsHash"] {
            let without = changed(|value| drop(value.as_object_mut().unwrap().remove(member)));
            assert!(matches!(without, Err(TextError::Json(_))), "{member}");
        }
        for text in ["", "[]", "{}", "null", &DOCUMENTED[0][1..]] {
            assert!(matches!(from_object(text.as_bytes()), Err(TextError::Json(_))), "{text}");
        }
    }
}
