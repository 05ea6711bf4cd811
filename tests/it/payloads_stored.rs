//! What blocks carry: stored with them or later, found by every way, and only if it is right.

use std::ffi::OsStr;
use std::io::Cursor;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use plait_engine::header::RawHeader;
use plait_engine::payload::{Outputs, Parts, Payload};
use plait_engine::replay::source::Jsonl;
use plait_engine::replay::{Admission, Event, Replay, Summary};
use plait_engine::store::History;
use plait_engine::tree::Sealing;
use plait_engine::verify::{Level, Verifier};
use plait_engine::{ChainId, Engine, Header, Micros, QueryError, Writer};
use tempfile::TempDir;
use testkit::block::{NETWORK, child, dump, genesis, sealed};
use testkit::carried::{self, Block, block_object, blocks, carrying, line, lines, object, payload};
use testkit::process::{Outcome, finish, plait, replay_file, run};
use testkit::stored;

use crate::rocks::columns;

const FULL: [&str; 2] = ["--verify", "full"];

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Replays these lines into the database in `dir`, verified at level `full`.
fn replay(dir: &Path, lines: &[u8]) -> Outcome {
    replay_file(dir, &FULL, "blocks.jsonl", lines)
}

/// The same, in this process and in order or not; bad records are passed over.
pub(crate) fn replay_lines(
    dir: &Path,
    sealing: Sealing,
    commit: Option<usize>,
    lines: &[u8],
) -> Summary {
    let opened = Engine::open_or_create_sealing(dir, Some(NETWORK), History::Full, sealing);
    let mut writer: Writer = opened.unwrap().0;
    let verifier = Verifier::new(NETWORK, Level::Full, Micros::new(i64::MAX));
    let stop = AtomicBool::new(false);
    let mut replay = Replay::new(&mut writer, verifier, Admission::Genesis, true, &stop)
        .ordered_from(if commit.is_some() { 0 } else { u64::MAX })
        .committing(commit.unwrap_or(1));
    let read = Box::new(Cursor::new(lines.to_vec()));
    let source = Jsonl::new("memory".to_owned(), read, None, true, false);
    replay.run(Box::new(source), &mut |_: Event<'_>| ()).unwrap();
    replay.finish(&mut |_| ()).unwrap()
}

/// The number of rows of a column family.
fn rows(dir: &Path, column: &str) -> usize {
    columns(dir).keys().filter(|(name, _)| *name == column).count()
}

fn verify(dir: &Path) -> Outcome {
    run(["verify".as_ref(), "--db".as_ref(), dir.as_os_str()])
}

/// Checks that each of these blocks, and no other, carries what it should, by every way to find it.
pub(crate) fn assert_carried(dir: &Path, blocks: &[Block]) {
    let reader = Engine::open_read_only(dir).unwrap();
    let view = reader.view();
    for (header, payload) in blocks {
        let (header, hash) = (header.view(), payload.hash());
        let expected = Some(payload.payload().clone());
        assert_eq!(view.block_payload(header).unwrap(), expected, "{header:?}");
        for height in [Some(header.height()), header.height().parent(), None] {
            for chain in [header.chain(), ChainId::new((header.chain().get() + 7) % 20)] {
                assert_eq!(view.payload(chain, &hash, height).unwrap(), expected, "{header:?}");
            }
        }
    }
    let found = view.block_payloads(blocks.iter().map(|(header, _)| header.view()), usize::MAX);
    let expected = blocks.iter().map(|(_, payload)| Some(payload.payload().clone()));
    assert!(found.unwrap().into_iter().eq(expected));
    drop((view, reader));
    let all = stored(dir).len();
    assert_eq!(rows(dir, "payloads"), blocks.len(), "of {all} blocks");
    assert_eq!(rows(dir, "payload_heights"), blocks.len());
    for column in ["payload_unindexed", "pending", "pending_payloads"] {
        assert_eq!(rows(dir, column), 0, "{column}");
    }
    let outcome = verify(dir);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let said = format!("verified {} payloads", blocks.len());
    assert!(blocks.is_empty() || outcome.err.contains(&said), "{}", outcome.err);
}

#[test]
fn blocks_are_stored_with_what_they_carry() {
    let blocks = blocks(60, 1, 0.1, 4);
    let db = folder();
    let outcome = replay(db.path(), &lines(&blocks));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(outcome.counts(), [blocks.len() as u64, 0, 0]);
    let said = format!("stored {} payloads", blocks.len());
    assert!(outcome.err.contains(&said), "{}", outcome.err);
    assert_carried(db.path(), &blocks);
    let info = run(["info".as_ref(), "--db".as_ref(), db.path().as_os_str()]);
    let said = format!("payloads about {}, by estimate", blocks.len());
    assert!(info.out.contains(&said), "{}", info.out);
    let again = replay(db.path(), &lines(&blocks));
    assert_eq!(again.counts(), [0, blocks.len() as u64, 0]);
    assert!(!again.err.contains("payloads"), "{}", again.err);
    assert_carried(db.path(), &blocks);
}

#[test]
fn payloads_are_rows_by_chain_height_and_hash_and_an_index_by_hash() {
    let blocks = blocks(1, 4, 0.0, 1);
    let db = folder();
    replay(db.path(), &lines(&blocks));
    let rows = columns(db.path());
    for (header, payload) in &blocks {
        let header = header.view();
        let chain = [0, 0, 0, u8::try_from(header.chain().get()).unwrap()];
        let place = [&chain[..], &[0, 0, 0, 0, 0, 0, 0, 1]].concat();
        let key = [&place[..], payload.hash().as_bytes()].concat();
        let record = &rows[&("payloads", key)];
        assert_eq!(record, payload.payload().as_bytes());
        assert_eq!(record[..32], payload.hash().as_bytes()[..]);
        let key = [payload.hash().as_bytes(), &place[..]].concat();
        assert_eq!(rows[&("payload_heights", key)], [0; 0]);
    }
}

#[test]
fn blocks_that_are_stored_without_get_what_they_carry_later() {
    let blocks = blocks(40, 2, 0.1, 4);
    let headers = carried::headers(&blocks);
    for commit in [None, Some(150)] {
        let db = folder();
        let outcome = replay_file(db.path(), &FULL, "headers", &dump(&headers));
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        let view = Engine::open_read_only(db.path()).unwrap().view();
        assert_eq!(view.block_payload(headers[7].view()).unwrap(), None);
        assert_eq!(view.payload(ChainId::new(0), &blocks[7].1.hash(), None).unwrap(), None);
        drop(view);
        // Some of them twice, and the one or the other between some that carry nothing.
        let (some, rest) = blocks.split_at(300);
        let bare = block_object(headers[310].view(), "null") + "\n";
        let text = [lines(some), lines(&some[250..]), bare.into_bytes(), lines(rest)].concat();
        let summary = replay_lines(db.path(), Sealing::default(), commit, &text);
        assert_eq!((summary.stored, summary.payloads), (0, blocks.len() as u64), "{commit:?}");
        assert_eq!(summary.known, blocks.len() as u64 + 50 + 1);
        assert_carried(db.path(), &blocks);
    }
}

#[test]
fn blocks_in_any_order_keep_what_they_carry_while_they_wait() {
    let mut shuffled = blocks(30, 3, 0.1, 4);
    let blocks = shuffled.clone();
    shuffled.sort_by_key(|(_, payload)| *payload.hash().as_bytes());
    let db = folder();
    let outcome = replay(db.path(), &lines(&shuffled));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_carried(db.path(), &blocks);
}

#[test]
fn a_waiting_block_keeps_what_it_carries_whatever_comes_in_between() {
    let blocks = blocks(12, 5, 0.0, 1);
    // All but one of the lowest.
    let (first, rest) = blocks.split_first().unwrap();
    let db = folder();
    let outcome = replay(db.path(), &lines(rest));
    assert_eq!(outcome.status, Some(1), "{}", outcome.err);
    let waiting = rows(db.path(), "pending");
    assert!(waiting > 100, "{waiting}");
    assert_eq!(rows(db.path(), "pending_payloads"), waiting);
    let sound = verify(db.path());
    assert_eq!(sound.status, Some(0), "{}", sound.err);
    // No query sees them.
    let view = Engine::open_read_only(db.path()).unwrap().view();
    let (last, last_payload) = blocks.last().unwrap();
    assert_eq!(view.block_payload(last.view()).unwrap(), None);
    assert_eq!(view.payload(ChainId::new(0), &last_payload.hash(), None).unwrap(), None);
    drop(view);
    // Their headers come once more, by themselves.
    let headers = carried::headers(rest);
    replay_file(db.path(), &FULL, "headers", &dump(&headers));
    assert_eq!(rows(db.path(), "pending_payloads"), waiting);
    let outcome = replay(db.path(), line(first).as_bytes());
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_carried(db.path(), &blocks);
}

#[test]
fn what_a_block_carries_may_come_while_it_waits() {
    let blocks = blocks(6, 6, 0.0, 1);
    let (first, rest) = blocks.split_first().unwrap();
    let db = folder();
    replay_file(db.path(), &FULL, "headers", &dump(&carried::headers(rest)));
    assert_eq!(rows(db.path(), "pending_payloads"), 0);
    replay(db.path(), &lines(rest));
    assert_eq!(rows(db.path(), "pending_payloads"), rows(db.path(), "pending"));
    replay(db.path(), line(first).as_bytes());
    assert_carried(db.path(), &blocks);
}

#[test]
fn a_waiting_block_that_is_refused_leaves_nothing() {
    let blocks = blocks(6, 7, 0.0, 1);
    let other = payload("another miner", &[b"one", b"two"]);
    let at = blocks.iter().position(|(header, _)| header.view().height().get() == 3).unwrap();
    let raw = *blocks[at].0.view().raw();
    // Its parent says that it weighs less.
    let mut weight = raw.weight;
    weight[0] ^= 1;
    let heavy = carrying(sealed(RawHeader { weight, ..raw }).view(), &other);
    let db = folder();
    let outcome = replay(db.path(), line(&(heavy, other.clone())).as_bytes());
    assert_eq!(outcome.status, Some(1), "{}", outcome.err);
    assert_eq!(rows(db.path(), "pending_payloads"), 1);
    let outcome = replay(db.path(), &lines(&blocks));
    outcome.assert_fails(1, &["IncorrectWeight"]);
    assert_eq!(outcome.counts(), [blocks.len() as u64, 0, 1]);
    let view = Engine::open_read_only(db.path()).unwrap().view();
    assert_eq!(view.payload(ChainId::new(0), &other.hash(), None).unwrap(), None);
    drop(view);
    assert_carried(db.path(), &blocks);
}

/// A payload of these parts with the hashes of `like`.
fn disguised(like: &Block, miner: &[u8], transactions: &[&[u8]], outputs: &[&[u8]]) -> Payload {
    let view = like.1.view();
    let outputs = Some(Outputs { coinbase: view.coinbase().unwrap(), outputs });
    let parts = Parts {
        payload_hash: view.hash(),
        transactions_hash: view.transactions_hash(),
        outputs_hash: view.outputs_hash(),
        miner_data: miner,
        transactions,
        outputs,
    };
    parts.pack().unwrap()
}

/// What a block may be said to carry that is wrong, and what is said of it.
fn wrong_objects(block: &Block, another: &Block) -> Vec<(String, &'static str, &'static str)> {
    let view = block.1.view();
    let transactions: Vec<&[u8]> = view.transactions().map(|(input, _)| input).collect();
    let outputs: Vec<&[u8]> = view.transactions().filter_map(|(_, output)| output).collect();
    let mut altered = outputs.clone();
    altered[0] = b"{}";
    let fewer = (&transactions[1..], &outputs[1..]);
    let right = object(view);
    let (hash, others) = (view.hash().to_string(), another.1.hash().to_string());
    vec![
        (
            object(disguised(block, b"me", &transactions, &outputs).view()),
            "payload: transactionsHash is",
            "TransactionsHash",
        ),
        (
            object(disguised(block, view.miner_data(), fewer.0, fewer.1).view()),
            "payload: transactionsHash is",
            "TransactionsHash",
        ),
        (
            object(disguised(block, view.miner_data(), &transactions, &altered).view()),
            "payload: outputsHash is",
            "OutputsHash",
        ),
        (right.replace(&hash, &others), "payload: payloadHash is", "PayloadHash"),
        (object(another.1.view()), "payload: payloadHash is", "PayloadHash"),
        (right.replace("minerData", "miner"), "payload: not a payload object", "Payload"),
        (right.replace(&hash, "AAAA"), "payload: member payloadHash", "Payload"),
        ("[]".to_owned(), "payload: not a payload object", "Payload"),
        ("7".to_owned(), "payload: not a payload object", "Payload"),
    ]
}

#[test]
fn a_payload_that_is_not_what_its_hashes_say_is_rejected_and_its_header_is_stored() {
    let blocks = blocks(3, 8, 0.0, 1);
    let at =
        20 + blocks[20..40].iter().position(|(_, p)| p.view().transaction_count() > 1).unwrap();
    let (block, another) = (&blocks[at], &blocks[at + 1]);
    let header = block.0.view();
    for (object, text, name) in wrong_objects(block, another) {
        let db = folder();
        let bad = block_object(header, &object) + "\n";
        let dump = [lines(&blocks[..at]), bad.clone().into_bytes(), lines(&blocks[at + 1..])];
        let outcome = replay(db.path(), &dump.concat());
        let place = format!("line {}, column 1, offset ", at + 1);
        outcome.assert_fails(1, &[&place, text, &format!("rejected by rule: {name} 1")]);
        assert_eq!(outcome.counts(), [at as u64 + 1, 0, 1], "{}", outcome.err);
        assert_carried(db.path(), &blocks[..at]);
        // Also where the block is there already, which stays then.
        let outcome = replay(db.path(), line(block).replace(&object_of(block), "null").as_bytes());
        assert_eq!(outcome.counts(), [0, 1, 0], "{}", outcome.err);
        for commit in [None, Some(1)] {
            let summary = replay_lines(db.path(), Sealing::default(), commit, bad.as_bytes());
            assert_eq!((summary.rejected, summary.payloads), (1, 0), "{text}");
        }
        let view = Engine::open_read_only(db.path()).unwrap().view();
        assert_eq!(view.header(header.chain(), &header.hash()).unwrap(), Some(block.0));
        assert_eq!(view.block_payload(header).unwrap(), None);
    }
}

fn object_of(block: &Block) -> String {
    object(block.1.view())
}

#[test]
fn what_blocks_carry_is_left_out_on_request() {
    let blocks = blocks(10, 9, 0.0, 1);
    let db = folder();
    let args = ["--verify", "full", "--payloads", "no"];
    let text = lines(&blocks);
    let outcome = replay_file(db.path(), &args, "blocks.jsonl", &text);
    assert_eq!(outcome.counts(), [blocks.len() as u64, 0, 0]);
    assert_carried(db.path(), &[]);
    // Even if it is wrong.
    let wrong = String::from_utf8(text).unwrap().replace("minerData", "miner");
    let outcome = replay_file(db.path(), &args, "blocks.jsonl", wrong.as_bytes());
    assert_eq!(outcome.counts(), [0, blocks.len() as u64, 0]);
    let outcome = replay(db.path(), &lines(&blocks));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_carried(db.path(), &blocks);
}

#[test]
fn pages_and_saved_event_streams_bring_what_blocks_carry() {
    let blocks = blocks(4, 10, 0.0, 1);
    let (page, events) = blocks.split_at(40);
    let items: Vec<String> =
        page.iter().rev().map(|block| line(block).trim_end().to_owned()).collect();
    let page = format!(r#"{{"limit":40,"items":[{}],"next":null}}"#, items.join(","));
    let mut text = format!("{page}\n: a comment\nretry: 3000\n\n");
    for (number, block) in events.iter().enumerate() {
        let object = line(block);
        let object = object.trim_end().replacen('{', r#"{"txCount":2,"powHash":"00","#, 1);
        let space = if number % 2 == 0 { " " } else { "" };
        let event = format!("id:{number}\nevent:BlockHeader\ndata:{space}{object}\n\n:\ndata:\n");
        text.push_str(&event);
    }
    let db = folder();
    let outcome = replay(db.path(), text.as_bytes());
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(outcome.counts(), [blocks.len() as u64, 0, 0]);
    assert_carried(db.path(), &blocks);
}

#[test]
fn equal_payloads_of_several_blocks_are_found_wherever_they_are() {
    let plain = blocks(3, 11, 0.0, 1);
    let shared = payload("everybody", &[b"the same"]);
    // Roots of parts of their own: two siblings of a chain, and one of another.
    let header = |at: usize, nonce: u64| {
        let raw = RawHeader { nonce: nonce.into(), ..*plain[at].0.view().raw() };
        carrying(sealed(raw).view(), &shared)
    };
    let shared_by = [header(5, 1), header(5, 2), header(45, 1)];
    let blocks: Vec<Block> = shared_by.into_iter().map(|h| (h, shared.clone())).collect();
    let db = folder();
    let outcome = replay_file(db.path(), &["--allow-partial"], "blocks.jsonl", &lines(&blocks));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let view = Engine::open_read_only(db.path()).unwrap().view();
    for (header, payload) in &blocks {
        assert_eq!(view.block_payload(header.view()).unwrap().as_ref(), Some(payload.payload()));
    }
    for chain in NETWORK.chain_ids() {
        let found = view.payload(chain, &shared.hash(), None).unwrap();
        assert_eq!(found.as_ref(), Some(shared.payload()));
    }
    drop(view);
    // The siblings share a row.
    assert_eq!((rows(db.path(), "payloads"), rows(db.path(), "payload_heights")), (2, 2));
    assert_eq!(verify(db.path()).status, Some(0));
}

#[test]
fn a_page_of_payloads_ends_when_it_has_enough_bytes() {
    let blocks = blocks(20, 12, 0.0, 1);
    let db = folder();
    replay(db.path(), &lines(&blocks));
    let view = Engine::open_read_only(db.path()).unwrap().view();
    let mut of_chain: Vec<&Block> =
        blocks.iter().filter(|(header, _)| header.view().chain().get() == 3).collect();
    of_chain.reverse();
    let missing = Header::new(RawHeader {
        payload_hash: plait_engine::PayloadHash::new([9; 32]),
        ..*of_chain[1].0.view().raw()
    });
    let missing = missing.unwrap();
    let mut headers: Vec<&Header> = of_chain.iter().map(|(header, _)| header).collect();
    headers.insert(1, &missing);
    let page = |bytes_max| {
        let headers = headers.iter().map(|header| header.view());
        view.block_payloads(headers, bytes_max).unwrap()
    };
    let all = page(usize::MAX);
    assert_eq!(all.len(), 21);
    assert_eq!(all[1], None);
    let bytes = |some: &[Option<Payload>]| -> usize {
        some.iter().flatten().map(|payload| payload.as_bytes().len()).sum()
    };
    for count in 1..=all.len() {
        let some = page(bytes(&all[..count]));
        assert!(some.len() <= count && bytes(&some) == bytes(&all[..count]), "{count}");
        assert!(some.iter().eq(&all[..some.len()]));
    }
    assert_eq!(page(0).len(), 1, "always one");
    assert!(view.block_payloads([], 100).unwrap().is_empty());
}

#[test]
fn a_view_that_does_not_wait_has_payloads_that_were_read_before() {
    let blocks = blocks(20, 13, 0.0, 1);
    let db = folder();
    replay(db.path(), &lines(&blocks));
    let (_writer, reader) = Engine::open(db.path()).unwrap();
    let (header, payload) = (blocks[50].0.view(), &blocks[50].1);
    let by_hash = || reader.view().cached().payload(header.chain(), &payload.hash(), None);
    assert!(matches!(reader.view().cached().block_payload(header), Err(QueryError::Cold)));
    assert!(matches!(by_hash(), Err(QueryError::Cold)));
    let page = |headers: &[Block]| {
        let headers = headers.iter().map(|(header, _)| header.view()).collect::<Vec<_>>();
        reader.view().cached().block_payloads(headers, usize::MAX)
    };
    assert!(matches!(page(&blocks[40..60]), Err(QueryError::Cold)));
    let found = reader.view().block_payload(header).unwrap();
    assert_eq!(found.as_ref(), Some(payload.payload()));
    assert_eq!(reader.view().cached().block_payload(header).unwrap(), found);
    assert_eq!(page(&blocks[50..51]).unwrap(), std::slice::from_ref(&found));
    assert_eq!(reader.view().payload(header.chain(), &payload.hash(), None).unwrap(), found);
    assert_eq!(by_hash().unwrap(), found);
}

#[test]
fn a_commit_in_order_ends_early_when_payloads_pile_up() {
    // In chunks of 8 MB as they stand in the input: there would be one commit of all.
    let (mut blocks, mut below) = (Vec::new(), genesis(ChainId::new(0)));
    for number in 0..100_u8 {
        let carried = payload("miner", &[&vec![number; 1 << 18]]);
        below = carrying(child(below.view(), 0).view(), &carried);
        blocks.push((below, carried));
    }
    let db = folder();
    let opened = Engine::open_or_create(db.path(), Some(NETWORK), History::Full);
    let mut writer = opened.unwrap().0;
    let verifier = Verifier::new(NETWORK, Level::Hash, Micros::new(i64::MAX));
    let stop = AtomicBool::new(false);
    let replay = Replay::new(&mut writer, verifier, Admission::Genesis, false, &stop);
    let mut replay = replay.ordered_from(0).committing(1 << 18).committing_bytes(5 << 20);
    let read = Box::new(Cursor::new(lines(&blocks)));
    let source = Jsonl::new("memory".to_owned(), read, None, true, false);
    let mut stored = Vec::new();
    replay
        .run(Box::new(source), &mut |event| {
            if let Event::Progress(progress) = event {
                stored.push(progress.summary.stored);
            }
        })
        .unwrap();
    let summary = replay.finish(&mut |_| ()).unwrap();
    assert_eq!((summary.stored, summary.payloads), (100, 100));
    assert!(stored.iter().any(|stored| (1..100).contains(stored)), "{stored:?}");
    drop(writer);
    assert_carried(db.path(), &blocks);
}

#[test]
fn summary_and_progress_for_machines_count_payloads() {
    let blocks = blocks(5, 14, 0.0, 1);
    let db = folder();
    let file = db.path().join("blocks.jsonl");
    std::fs::write(&file, lines(&blocks)).unwrap();
    let command = ["replay", "--json", "--network", "development", "--db"].map(OsStr::new);
    let args = command.into_iter().chain([db.path().as_os_str(), file.as_os_str()]);
    let outcome = finish(plait(args).spawn().unwrap());
    let summary = outcome.out.lines().last().unwrap();
    let summary: serde_json::Value = serde_json::from_str(summary).unwrap();
    assert_eq!((&summary["stored"], &summary["payloads"]), (&100.into(), &100.into()));
}
