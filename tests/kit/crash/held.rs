//! What a database holds, read in every way there is.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use plait_engine::audit::{Audit, Event};
use plait_engine::store::Store;
use plait_engine::verify::{Level, Verifier};
use plait_engine::{BlockHash, HeaderRef, RangeQuery, Reader, View};

use super::world::NOW;
use super::{Known, Set, World};
use crate::block::NETWORK;

/// More blocks than ever wait.
const WAITING_MAX: usize = 10_000;

/// What a database holds; an error if it has what was never begun, or says two things of one block.
///
/// # Errors
///
/// What is wrong.
pub(super) fn held(reader: &Reader, world: &World) -> Result<Known, String> {
    let view = reader.view();
    let mut known = Known { held: by_range(&view, world)?, ..Known::default() };
    look_up(&view, world, &mut known)?;
    if view.count_pending().map_err(|error| error.to_string())? > 0 {
        wait(reader.dir(), world, &mut known)?;
    }
    Ok(known)
}

fn by_range(view: &View, world: &World) -> Result<Set, String> {
    let mut held = Set::new();
    let mut genesis: HashSet<BlockHash> =
        world.genesis().iter().map(|header| header.view().hash()).collect();
    for chain in view.version().chain_ids() {
        let query = RangeQuery { limit: usize::MAX, ..RangeQuery::default() };
        let page = view.range_headers(chain, &query).map_err(|error| error.to_string())?;
        let count = page.items.len() as u64;
        if view.block_count(chain) != count {
            return Err(format!("chain {chain} says {}, not {count}", view.block_count(chain)));
        }
        for header in page.items.iter().filter(|header| !genesis.remove(&header.hash())) {
            let number = world.find(&header.hash());
            let number = number.filter(|number| world.header(*number) == header);
            let number = number.ok_or_else(|| format!("{} is of no world", header.hash()))?;
            if !held.insert(number) {
                return Err(format!("block {number} is there twice"));
            }
        }
    }
    match genesis.len() {
        0 => Ok(held),
        lost => Err(format!("{lost} genesis blocks are lost")),
    }
}

/// Looks every block up by its hash, and what it carries in both ways.
fn look_up(view: &View, world: &World, known: &mut Known) -> Result<(), String> {
    for (number, (block, payload)) in (0..).zip(&world.blocks) {
        let header = block.view();
        let found = view.header(header.chain(), &header.hash());
        let found = found.map_err(|error| format!("block {number}: {error}"))?;
        if found.is_some() != known.held.contains(&number) || found.is_some_and(|f| f != *block) {
            return Err(format!("block {number} is found by its hash: {}", found.is_some()));
        }
        let [of_block, by_hash] = [true, false].map(|of_block| carried(view, header, of_block));
        let of_block = of_block?;
        if of_block != by_hash? {
            return Err(format!("the payload of block {number} is found in one way only"));
        }
        let Some(record) = of_block else { continue };
        if record != payload.payload().as_bytes().as_ref() || found.is_none() {
            return Err(format!("the payload of block {number} is there, and should not be so"));
        }
        known.payloads.insert(number);
    }
    Ok(())
}

fn carried(view: &View, header: HeaderRef<'_>, of_block: bool) -> Result<Option<Vec<u8>>, String> {
    let payload = if of_block {
        view.block_payload(header)
    } else {
        view.payload(header.chain(), &header.payload_hash(), Some(header.height()))
    };
    let payload = payload.map_err(|error| format!("{}: {error}", header.payload_hash()))?;
    Ok(payload.map(|payload| payload.as_bytes().to_vec()))
}

/// Reads what waits.
fn wait(dir: &Path, world: &World, known: &mut Known) -> Result<(), String> {
    let store = Store::open_read_only(dir).map_err(|error| error.to_string())?;
    let pending = Arc::new(store).snapshot().pending(None, WAITING_MAX);
    for block in pending.map_err(|error| error.to_string())? {
        let hash = block.header.view().hash();
        let number = world.find(&hash).ok_or_else(|| format!("{hash} waits, of no world"))?;
        known.waiting.insert(number);
        known.waiting_payloads.extend(block.payload.map(|_| number));
    }
    Ok(())
}

/// Verifies all of a database by every rule that can be asked of it; how many blocks.
///
/// # Errors
///
/// What is wrong first.
pub(super) fn audit(reader: &Reader, world: &World) -> Result<u64, String> {
    let verifier = Verifier::new(NETWORK, Level::Full, NOW);
    let mut wrong = None;
    let report = Audit::new(reader, &verifier).run(&AtomicBool::new(false), &mut |event| {
        let text = match event {
            Event::Broken(header, failures) => format!("block {}: {failures}", header.hash()),
            Event::Flaw(flaw) => format!("{}: {flaw}", flaw.kind()),
            Event::Begin { .. } | Event::Progress(_) => return,
        };
        wrong.get_or_insert(text);
    });
    let report = report.map_err(|error| error.to_string())?;
    let full = report.passed[2] == report.blocks();
    match wrong {
        Some(wrong) => Err(wrong),
        None if world.kind == super::Kind::Full && !full => Err(format!("{report:?}")),
        None => Ok(report.blocks()),
    }
}
