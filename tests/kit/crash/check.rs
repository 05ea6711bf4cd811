//! What the parent checks after a process was killed.

use std::path::Path;

use plait_engine::{
    BlockHash, Bounds, BranchQuery, ChainId, Engine, Header, HeaderRef, OpenError, RangeQuery,
    Reader,
    store::{Store, StoreError},
};

use super::copies::Checked;
use super::{
    Dump, Format, Known, Model, Number, Random, Step, World, copies, cut, dump, folder, held,
    vanish,
};
use crate::block::NETWORK;
use crate::oracle::Oracle;

/// What was checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Blocks that were verified, in the database and in copies.
    pub blocks: u64,
    /// Backups that were done.
    pub backups: u64,
    /// Archives that were whole.
    pub archives: u64,
    /// Databases that were restored.
    pub restored: u64,
    /// Copies from which files were removed.
    pub vanished: u64,
    /// How often a log was cut in a copy of it.
    pub cut: u64,
    /// Those of them that were refused, without a change.
    pub refused: u64,
    /// Those that lost `CURRENT` and were repaired.
    pub repaired: u64,
}

/// Checks all that is in `path` against what follows from its ledger; what the database holds, if
/// there is one.
///
/// # Errors
///
/// What is wrong first.
pub(super) fn check(
    path: &Path,
    model: &Model,
    checked: &mut Checked,
    random: &mut Random,
) -> Result<(Option<Known>, Counts), String> {
    let mut counts = Counts::default();
    let known = database(path, model, random, &mut counts).map_err(|e| format!("database: {e}"))?;
    copies::backups(path, model, checked, &mut counts).map_err(|e| format!("backups: {e}"))?;
    copies::archive(path, model, checked, &mut counts).map_err(|e| format!("archive: {e}"))?;
    copies::restored(path, model, &mut counts).map_err(|e| format!("restored: {e}"))?;
    Ok((known, counts))
}

fn database(
    path: &Path,
    model: &Model,
    random: &mut Random,
    counts: &mut Counts,
) -> Result<Option<Known>, String> {
    let mut db = folder::database(path);
    let mut repaired = None;
    if folder::vanished(path).exists() {
        // The process was killed before the database was repaired; the next one does that, too.
        let copy = repaired.insert(vanish::repaired(&db)?);
        db = copy.path().join("db");
        counts.repaired += 1;
    }
    let reader = match Engine::open_read_only(&db) {
        Err(OpenError::Store(StoreError::Missing { .. } | StoreError::Unfinished { .. }))
            if !model.opened =>
        {
            vanish::check_unfinished(&db, &model.world, counts)?;
            return Ok(None);
        }
        opened => opened.map_err(|error| error.to_string())?,
    };
    let known = held::held(&reader, &model.world)?;
    compare(model, &known)?;
    marks(path, &db, model, &known)?;
    counts.blocks += held::audit(&reader, &model.world)?;
    queries(&reader, &model.world, &known, random)?;
    drop(reader);
    vanish::check(&db, &model.world, &known, random, counts)?;
    vanish::check_cut(&db, &model.world, &known, random, counts)?;
    Ok(Some(known))
}

/// Compares what is held with what must be, and with what may be.
fn compare(model: &Model, found: &Known) -> Result<(), String> {
    let (world, known) = (&*model.world, &model.known);
    let unbegun = found.held.union(&found.waiting).find(|number| !model.begun.contains(number));
    if let Some(number) = unbegun {
        return Err(format!("block {number} was never begun"));
    }
    let carried =
        |number: &&Number| !found.payloads.contains(number) && !model.bare.contains(number);
    if let Some(number) = found.held.iter().find(carried) {
        return Err(format!("block {number} always came with its payload and has none"));
    }
    let mut unsure = model.open.values().filter_map(|step| match step {
        Step::Push(blocks, bare) => Some(vec![known.pushed(world, blocks, bare)]),
        Step::Replay(dump, from) => {
            let mut after = model.clone();
            after.run(*dump, *from);
            let read = after.known.clone();
            after.known.take_up(world);
            Some(vec![read, after.known])
        }
        _ => None,
    });
    let is_replay = model.open.values().any(|step| matches!(step, Step::Replay(..)));
    let Some(after) = unsure.next() else { return equal(known, found) };
    if !is_replay {
        return equal(known, found).or_else(|_| equal(&after[0], found));
    }
    let [read, end] = &*after else { return Err("a replay has two ends".into()) };
    let lost = known.held.difference(&found.held).next();
    let lost = lost.or_else(|| known.payloads.difference(&found.payloads).next());
    let more = found.held.difference(&end.held).next();
    let more = more.or_else(|| found.payloads.difference(&end.payloads).next());
    let gone = |number: &&Number| !found.waiting.contains(number) && !found.held.contains(number);
    let gone = known.waiting.iter().find(gone);
    let waits = found.waiting.iter().find(|n| !read.waiting.contains(n) && !end.held.contains(n));
    match (lost, more, gone, waits) {
        (None, None, None, None) => Ok(()),
        wrong => Err(format!(
            "replay: lost {:?}, more {:?}, gone {:?}, waits {:?}",
            wrong.0, wrong.1, wrong.2, wrong.3
        )),
    }
}

fn equal(expected: &Known, found: &Known) -> Result<(), String> {
    let pairs = [
        ("held", &expected.held, &found.held),
        ("payloads", &expected.payloads, &found.payloads),
        ("waiting", &expected.waiting, &found.waiting),
        ("waiting payloads", &expected.waiting_payloads, &found.waiting_payloads),
    ];
    for (name, expected, found) in pairs {
        let render = |numbers: Vec<&Number>| super::numbers::render(numbers);
        let lost = render(expected.difference(found).collect());
        let more = render(found.difference(expected).collect());
        if expected != found {
            return Err(format!("{name}: {lost} are lost, {more} are too many"));
        }
    }
    Ok(())
}

/// What a mark says is before it is stored, or waits.
fn marks(path: &Path, db: &Path, model: &Model, found: &Known) -> Result<(), String> {
    let unfinished = || model.dumps.iter().filter(|(_, dump)| !dump.finished);
    if unfinished().next().is_none() {
        return Ok(());
    }
    let store = Store::open_read_only(db).map_err(|e| e.to_string())?;
    let snapshot = std::sync::Arc::new(store).snapshot();
    for (number, Dump { blocks, format, .. }) in unfinished() {
        let Some(name) = dump::open(path, *number, 1).name() else { continue };
        let Some(mark) = snapshot.mark(&name).map_err(|e| e.to_string())? else { continue };
        let before = usize::try_from(mark.records.get()).unwrap_or(usize::MAX);
        // An archive has them, too, before all others.
        let genesis = if *format == Format::Archive { model.world.genesis().len() } else { 0 };
        let before = before.saturating_sub(genesis);
        let lost = blocks
            .iter()
            .take(before)
            .find(|block| !found.held.contains(block) && !found.waiting.contains(block));
        if let Some(lost) = lost {
            return Err(format!("dump {number} is marked up to {before}, and lost {lost}"));
        }
    }
    Ok(())
}

/// Asks what the oracle knows: tips, the cut, ranges and branches.
fn queries(
    reader: &Reader,
    world: &World,
    found: &Known,
    random: &mut Random,
) -> Result<(), String> {
    let view = reader.view();
    let mut blocks: Vec<Header> = found.held.iter().map(|n| world.header(*n).to_owned()).collect();
    blocks.extend(world.genesis());
    for chain in NETWORK.chain_ids() {
        let of_chain = blocks.iter().map(Header::view).filter(|block| block.chain() == chain);
        let heaviest = of_chain.max_by_key(|b| (b.weight().get(), std::cmp::Reverse(b.hash())));
        if view.tip(chain) != heaviest.map(HeaderRef::rank) {
            return Err(format!("chain {chain} has another tip: {:?}", view.tip(chain)));
        }
    }
    if world.kind == super::Kind::Full {
        let got = view.cut(None).map_err(|error| error.to_string())?;
        let members: Vec<Header> = got
            .blocks()
            .filter_map(|(_, _, hash)| blocks.iter().find(|b| b.view().hash() == hash).copied())
            .collect();
        let weight = members.iter().map(|block| cut::weight(block.view())).sum::<u128>();
        if members.len() != 20 || !cut::is_consistent(&members) {
            return Err(format!("the cut is none: {} members", members.len()));
        }
        let [least, most] = [true, false].map(|deep| cut::heaviest(&blocks, deep));
        if Some(weight) < least || Some(weight) > most {
            return Err(format!("the cut weighs {weight}, not {least:?} to {most:?}"));
        }
    }
    (0..3).try_for_each(|_| {
        let chain = ChainId::new(u32::try_from(random.below(20)).unwrap_or(0));
        let of_chain: Vec<Header> =
            blocks.iter().filter(|block| block.view().chain() == chain).copied().collect();
        ask(reader, chain, &of_chain, random)
    })
}

/// Compares a branch and a range of one chain with those of the oracle.
fn ask(
    reader: &Reader,
    chain: ChainId,
    blocks: &[Header],
    random: &mut Random,
) -> Result<(), String> {
    if blocks.is_empty() {
        return Ok(());
    }
    let (view, oracle) = (reader.view(), Oracle::new(blocks));
    let mut some = |count: u64| -> Vec<BlockHash> {
        let count = random.below(count + 1);
        (0..count).map(|_| blocks[random.index(blocks.len())].view().hash()).collect()
    };
    let (mut upper, lower) = (some(2), some(2));
    upper.extend(view.tip(chain).map(|tip| tip.hash));
    let limit = 1 + random.index(50);
    let bounds = Bounds { upper, lower };
    let query = BranchQuery { bounds, limit, ..BranchQuery::default() };
    let got = view.branch_hashes(chain, &query).map_err(|error| error.to_string())?;
    if oracle.branch_page(&query) != Ok(got) {
        return Err(format!("chain {chain}: another branch for {query:?}"));
    }
    let query = RangeQuery { limit, ..RangeQuery::default() };
    let got = view.range_hashes(chain, &query).map_err(|error| error.to_string())?;
    if oracle.range_page(&query) != Ok(got) {
        return Err(format!("chain {chain}: another range for {query:?}"));
    }
    Ok(())
}
