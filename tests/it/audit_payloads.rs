//! `Audit` of what blocks carry: whatever is wrong with it is named, and nothing else.

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;

use plait_engine::tree::Sealing;
use plait_engine::types::RunLength;
use plait_engine::verify::Level;
use tempfile::TempDir;
use testkit::carried::{Block, blocks, lines, payload};

use crate::audit::{audit, files, is_unread, next, place};
use crate::payloads_stored::{folder, replay_lines};
use crate::rocks::{columns, delete_row, put_row};

/// A database with sealed blocks and others, all of which carry something.
fn database() -> (TempDir, Vec<Block>) {
    let (dir, blocks) = (folder(), blocks(20, 41, 0.1, 3));
    let run_length = RunLength::new(NonZeroU32::new(4).unwrap());
    replay_lines(dir.path(), Sealing { run_length, window: 5 }, None, &lines(&blocks));
    assert_eq!(flaws(dir.path()), [""; 0]);
    (dir, blocks)
}

fn flaws(dir: &Path) -> Vec<String> {
    let (broken, flaws, _) = audit(dir, Level::Full).unwrap();
    assert!(broken.is_empty(), "{broken:?}");
    flaws
}

fn payload_key((header, payload): &Block) -> Vec<u8> {
    let place = place(header.view().chain().get(), header.view().height().get());
    [&place[..], payload.hash().as_bytes()].concat()
}

fn index_key(block: &Block) -> Vec<u8> {
    let (place, hash) = (payload_key(block)[..12].to_vec(), block.1.hash());
    [hash.as_bytes(), &place[..]].concat()
}

#[test]
fn payloads_are_counted_and_verified() {
    let (dir, blocks) = database();
    let (_, flaws, report) = audit(dir.path(), Level::Full).unwrap();
    assert_eq!((report.payloads, flaws.len()), (blocks.len() as u64, 0));
    assert_eq!(report.blocks(), blocks.len() as u64 + 20);
}

/// A row that is put instead of another, or beside all: column, key, value, and how each flaw begins
/// that it makes.
type Case<'a> = (&'a str, Vec<u8>, Vec<u8>, &'a [&'a str]);

#[test]
fn what_is_wrong_with_payloads_is_named() {
    let (dir, blocks) = database();
    let dir = dir.path();
    let stranger = payload("a stranger", &[b"one"]);
    let record = |block: &Block| block.1.payload().as_bytes().to_vec();
    for at in [3, 200, blocks.len() - 1] {
        let (block, another) = (&blocks[at], &blocks[at - 1]);
        let (header, hash) = (block.0.view(), block.1.hash());
        let (chain, height) = (header.chain(), header.height());
        let altered = |byte: usize| {
            let mut record = record(block);
            record[byte] ^= 1;
            record
        };
        let last = record(block).len() - 1;
        let here = format!("payload: chain {chain}, height {height}, payload {hash}: ");
        let (transactions, outputs) = (here.clone() + "transactionsHash", here + "outputsHash");
        let damaged = format!("damaged: payloads, chain {chain}, from height {height} on: column");
        let own = payload_key(block);
        let strange = [&own[..12], stranger.hash().as_bytes()].concat();
        let no_block = format!("payload: chain {chain}, height {height}: no block has the payload");
        let lacks = format!("index: chain {chain}, height {height}, payload ");
        let too_much = [stranger.hash().as_bytes(), &own[..12]].concat();
        let foreign = [&[0, 0, 0, 20][..], &own[4..]].concat();
        let cases: &[Case<'_>] = &[
            ("payloads", own.clone(), altered(40), &[&transactions]),
            ("payloads", own.clone(), altered(70), &[&outputs]),
            ("payloads", own.clone(), altered(last), &[&outputs]),
            ("payloads", own.clone(), altered(5), &[&damaged]),
            ("payloads", own.clone(), record(block)[..last].to_vec(), &[&damaged]),
            ("payloads", own.clone(), Vec::new(), &[&damaged]),
            ("payloads", own.clone(), record(another), &[&damaged]),
            ("payloads", strange, stranger.payload().as_bytes().to_vec(), &[&no_block, &lacks]),
            ("payloads", own[..20].to_vec(), record(block), &[&damaged]),
            ("payloads", foreign, record(block), &["damaged: payloads: column payloads"]),
            ("payload_heights", too_much, Vec::new(), &["index: the index of payloads has"]),
            ("payload_heights", index_key(block), b"x".to_vec(), &["damaged: payload_heights"]),
            ("payload_heights", vec![7; 40], Vec::new(), &["damaged: payload_heights"]),
            ("payload_unindexed", vec![0; 9], b"x".to_vec(), &["damaged: payload_unindexed"]),
            ("meta", b"payload_unindexed".to_vec(), b"x".to_vec(), &["damaged: meta: column"]),
        ];
        for (column, key, value, says) in cases {
            let before = columns(dir).remove(&(*column, key.clone()));
            put_row(dir, column, key, value);
            let found = match audit(dir, Level::Full) {
                Ok((_, found, _)) => found,
                // What is needed to open it is found then.
                Err(error) => says.iter().map(|says| format!("{says}{error}")).collect(),
            };
            assert_eq!(found.len(), says.len(), "{column} {key:x?}: {found:?}");
            for (found, says) in found.iter().zip(*says) {
                assert!(found.starts_with(says), "{column} {key:x?}: {found}\n{says}");
            }
            match before {
                Some(value) => put_row(dir, column, key, &value),
                None => delete_row(dir, column, key),
            }
            assert_eq!(flaws(dir), [""; 0], "{column} {key:x?} is as before");
        }
    }
}

#[test]
fn what_the_index_of_payloads_lacks_is_named() {
    let (dir, blocks) = database();
    let dir = dir.path();
    let block = &blocks[77];
    delete_row(dir, "payload_heights", &index_key(block));
    let (chain, height) = (block.0.view().chain(), block.0.view().height());
    let hash = block.1.hash();
    let says = "is not in the index of payloads";
    let expected = format!("index: chain {chain}, height {height}, payload {hash} {says}");
    assert_eq!(flaws(dir), [expected]);
    put_row(dir, "payload_heights", &index_key(block), b"");
    delete_row(dir, "payloads", &payload_key(block));
    let expected = format!(
        "index: the index of payloads has {hash} on chain {chain} at height {height}, where it is not"
    );
    assert_eq!(flaws(dir), [expected]);
}

#[test]
fn what_waiting_blocks_carry_is_verified_too() {
    let (dir, blocks) = (folder(), blocks(6, 42, 0.0, 1));
    let dir = dir.path();
    replay_lines(dir, Sealing::default(), None, &lines(&blocks[1..]));
    let rows = columns(dir);
    let waiting: Vec<_> =
        rows.iter().filter(|((column, _), _)| *column == "pending_payloads").collect();
    assert!(waiting.len() > 20, "{}", waiting.len());
    assert_eq!(flaws(dir), [""; 0]);
    let ((_, key), record) = waiting[10];
    for (byte, says) in [(0, "damaged"), (40, "damaged"), (record.len() - 1, "damaged")] {
        let mut altered = record.clone();
        altered[byte] ^= 1;
        put_row(dir, "pending_payloads", key, &altered);
        let found = flaws(dir);
        assert!(found.len() == 1 && found[0].starts_with(says), "{found:?}");
        put_row(dir, "pending_payloads", key, record);
    }
    let mut other = key.clone();
    other[43] ^= 1;
    put_row(dir, "pending_payloads", &other, record);
    let found = flaws(dir);
    assert!(found.len() == 1 && found[0].starts_with("payload: chain"), "{found:?}");
    assert!(found[0].contains("what the waiting block"), "{found:?}");
}

#[test]
fn one_flipped_bit_in_any_file_with_payloads_is_found() {
    let (dir, _) = database();
    let dir = dir.path();
    let mut state = 5;
    for file in files(dir) {
        let sound = fs::read(&file).unwrap();
        for _ in 0..6 {
            let at = usize::try_from(next(&mut state)).unwrap() % sound.len();
            let bit = u8::try_from(next(&mut state) % 8).unwrap();
            if is_unread(&file, at, bit) {
                continue;
            }
            let mut flipped = sound.clone();
            flipped[at] ^= 1 << bit;
            fs::write(&file, flipped).unwrap();
            if let Ok((broken, flaws, _)) = audit(dir, Level::Full) {
                let found = broken.len() + flaws.len();
                assert!(found > 0, "bit {bit} of byte {at} of {}", file.display());
            }
            fs::write(&file, &sound).unwrap();
        }
    }
    assert_eq!(flaws(dir), [""; 0]);
}
