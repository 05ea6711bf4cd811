use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use rayon::prelude::*;
use zerocopy::FromBytes;

use super::Flaw;
use super::chain::Chain;
use super::parts::Parts;
use super::rows::{Row, Rows};
use super::windows::Draft;
use crate::header::{HeaderRef, LEN};
use crate::payload::PayloadRef;
use crate::store::{Column, IndexEntry, PayloadKey, Snapshot};
use crate::types::{BlockHeight, ChainId, Grow};

/// Heights of a chain whose blocks are in memory while their payloads are verified.
const HEIGHTS: u64 = 1024;

/// Findings that may wait to be told.
const WAITING: usize = 64;

/// What was read of the payloads.
pub(super) struct Read {
    pub(super) parts: Parts,
    /// Whether all could be read.
    pub(super) whole: bool,
}

/// What is found while payloads are read.
pub(super) enum Found {
    /// So many payloads more were verified.
    Verified(u64),
    Flaw(Flaw),
}

/// Verifies every payload, one chain on each core, until `stop` is set: its hashes, and that a block
/// is there that has it. Ends early where `tell` breaks off.
pub(super) fn read(
    snapshot: &Snapshot,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> Read {
    let chains: Vec<ChainId> = snapshot.meta().version.chain_ids().collect();
    let (sender, found) = sync_channel(WAITING);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let none = || Read { parts: Parts::default(), whole: true };
            let sender = sender;
            let of_chain = |sender: &mut SyncSender<Found>, chain: &ChainId| {
                read_chain(snapshot, *chain, stop, sender)
            };
            let read = chains.par_iter().map_with(sender, of_chain);
            read.reduce(none, |left, right| Read {
                parts: left.parts.merge(&right.parts),
                whole: left.whole && right.whole,
            })
        });
        for found in found {
            if tell(found).is_break() {
                break;
            }
        }
        reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn read_chain(
    snapshot: &Snapshot,
    chain: ChainId,
    stop: &AtomicBool,
    found: &SyncSender<Found>,
) -> Read {
    let mut read = Read { parts: Parts::default(), whole: true };
    let mut rows = Rows::new(snapshot, Column::Payloads, chain);
    let mut blocks = Chain::new(snapshot, chain);
    let run_length = snapshot.meta().run_length;
    let length = u64::from(run_length.get());
    while let Some(next) = rows.next_height()
        && !stop.load(Ordering::Relaxed)
    {
        let first = run_length.start(next);
        let heights = HEIGHTS.checked_div(length).unwrap_or(0).max(1).saturating_mul(length);
        let last = BlockHeight::new(first.get().saturating_add(heights.saturating_sub(1)));
        let (mut headers, mut notes) = (Draft::default(), Draft::default());
        let known = blocks.read_blocks(first, last, &mut headers);
        let mut named: Vec<PayloadKey> = headers
            .bytes
            .chunks_exact(LEN)
            .flat_map(HeaderRef::parse)
            .map(PayloadKey::of)
            .collect();
        named.sort_unstable();
        let mut verified = 0;
        read.whole &= rows.read(first, last, &mut notes, |key, record, notes| {
            let Some((key, payload)) = parse(key, record) else { return Row::Damaged };
            let (height, hash) = (key.height(), key.hash());
            read.parts.add(&IndexEntry::of_payload(key));
            match payload.check() {
                Ok(()) => verified.grow(1),
                Err(error) => notes.note.flaws.push(Flaw::Payload { chain, height, hash, error }),
            }
            if known && named.binary_search(key).is_err() {
                notes.note.flaws.push(Flaw::NoBlock { chain, height, hash });
            }
            Row::Good
        });
        let flaws = notes.note.flaws.into_iter().map(Found::Flaw);
        for found_here in flaws.chain([Found::Verified(verified)]) {
            // The receiver stays until it has everything, or breaks off.
            if found.send(found_here).is_err() {
                return read;
            }
        }
    }
    read
}

fn parse<'a>(key: &'a [u8], record: &'a [u8]) -> Option<(&'a PayloadKey, PayloadRef<'a>)> {
    let key = PayloadKey::ref_from_bytes(key).ok()?;
    let payload = PayloadRef::parse(record).ok()?;
    (payload.hash() == key.hash()).then_some((key, payload))
}

/// Lends where every payload is to `visit`, as far as it can be read.
pub(super) fn lend(snapshot: &Snapshot, visit: &mut dyn FnMut(&IndexEntry)) {
    let mut rows = snapshot.sweep(Column::Payloads, &[], None);
    while let Ok(Some((key, _))) = rows.row() {
        if let Ok(key) = PayloadKey::ref_from_bytes(key) {
            visit(&IndexEntry::of_payload(key));
        }
        rows.advance();
    }
}
