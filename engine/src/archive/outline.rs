//! Whether what a manifest says of its files fits together, without looking at them.

use hashbrown::HashMap;
use ruint::aliases::U256;

use super::{Entry, Flaw, Kind, Manifest, Member};
use crate::query::Cut;
use crate::types::{BlockHash, ChainId, Weight};

/// The sum of the heights.
pub(super) fn cut_height(cut: &[Member]) -> u64 {
    cut.iter().fold(0, |sum, member| sum.saturating_add(member.rank.height.get()))
}

/// The name of the cut.
pub(super) fn cut_id(cut: &[Member]) -> BlockHash {
    let zero = Weight::new(U256::ZERO);
    Cut::new(cut.iter().map(|member| (member.chain, member.rank, zero)).collect()).id()
}

/// Checks a manifest against itself.
pub(super) fn check(manifest: &Manifest) -> Result<(), Flaw> {
    let ascending = |chains: [ChainId; 2]| chains[0] < chains[1];
    if !manifest.cut.array_windows().all(|[a, b]| ascending([a.chain, b.chain])) {
        return Err(Flaw::Outline("the blocks of the cut are not in the order of their chains"));
    }
    if !manifest.files.array_windows().all(|[a, b]| a.place() < b.place()) {
        return Err(Flaw::Outline("the files are not in order"));
    }
    // The highest canonical file so far of each chain.
    let mut tops: HashMap<ChainId, &Entry> = HashMap::new();
    for entry in &manifest.files {
        let flaw = |reason| Flaw::Entry { name: entry.name(), reason };
        check_entry(manifest, entry).map_err(flaw)?;
        if entry.kind == Kind::Canonical
            && let Some(below) = tops.insert(entry.chain, entry)
        {
            check_link(below, entry).map_err(flaw)?;
        }
    }
    if tops.len() != manifest.cut.len() {
        return Err(Flaw::Outline("the cut has other chains than the canonical files"));
    }
    for member in &manifest.cut {
        if tops.get(&member.chain).is_none_or(|top| top.last != member.rank) {
            return Err(Flaw::Outline("a block of the cut is not the last canonical one"));
        }
    }
    Ok(())
}

/// Checks what is said of a file by itself.
fn check_entry(manifest: &Manifest, entry: &Entry) -> Result<(), &'static str> {
    let heights = manifest.heights;
    if !manifest.version.chain_ids().any(|chain| chain == entry.chain) {
        return Err("the network has no such chain");
    }
    if heights.start(entry.from) != entry.from {
        return Err("no range of heights begins there");
    }
    if entry.first.height < entry.from || entry.last.height > heights.last(entry.from) {
        return Err("its blocks are not of its range");
    }
    let (first, last) = (entry.first.height.get(), entry.last.height.get());
    let span = last.checked_sub(first).and_then(|span| span.checked_add(1));
    let fits = match entry.kind {
        Kind::Canonical => span == Some(entry.records),
        Kind::Orphans => entry.records > 0 && entry.first <= entry.last,
    };
    if !fits {
        return Err("it cannot have so many records");
    }
    if entry.parent.is_some() != (entry.kind == Kind::Canonical) {
        return Err("canonical files name a parent, and only they");
    }
    Ok(())
}

/// Checks that a canonical file goes on where the one below it ends.
fn check_link(below: &Entry, entry: &Entry) -> Result<(), &'static str> {
    if below.last.height.child() != Some(entry.first.height) {
        return Err("it does not begin where the file below it ends");
    }
    if entry.parent != Some(below.last.hash) {
        return Err("its parent is not the last block of the file below it");
    }
    Ok(())
}
