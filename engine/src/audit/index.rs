use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

use super::Flaw;
use super::parts::{PARTS, Parts, part};
use crate::store::{Column, IndexEntry, IndexOf, Snapshot, StoreError, Sweep, UnindexedKey};
use crate::types::{BlockHash, Grow, PayloadHash};

/// Slices of all hashes that are read side by side, in order of hashes.
const SLICES: usize = 64;

/// Entries of parts that are compared one by one at the same time: some 200 MB with those that they
/// are compared with.
const ENTRIES_MAX: u64 = 2 << 20;

/// Blocks that are named, from which on no more parts are compared.
const NAMED_MAX: u64 = 1000;

/// An index of a database: its sorted rows, and those that are on their way there.
pub(super) struct Index<'a> {
    snapshot: &'a Snapshot,
    of: IndexOf,
    /// Above the numbers of rows that are not sorted.
    numbers_end: u64,
}

/// Lends every entry that should be in an index.
pub(super) type Held<'a> = &'a dyn Fn(&mut dyn FnMut(&IndexEntry));

/// What was read of the index.
#[derive(Default)]
pub(super) struct Read {
    pub(super) parts: Parts,
    pub(super) flaws: Vec<Flaw>,
}

impl<'a> Index<'a> {
    pub(super) const fn new(snapshot: &'a Snapshot, of: IndexOf, numbers_end: u64) -> Self {
        Self { snapshot, of, numbers_end }
    }

    /// Reads all of it once, unless `stop` is set.
    pub(super) fn read(&self, stop: &AtomicBool) -> Read {
        let slices = (0..SLICES).into_par_iter().map(|slice| {
            let mut read = Read::default();
            if !stop.load(Ordering::Relaxed) {
                let Read { parts, flaws } = &mut read;
                self.slice(slice, &mut |entry| parts.add(entry), flaws);
            }
            read
        });
        slices.reduce(Read::default, |left, mut right| {
            let (parts, mut flaws) = (left.parts.merge(&right.parts), left.flaws);
            flaws.append(&mut right.flaws);
            Read { parts, flaws }
        })
    }

    /// Lends the entries of a slice to `visit`.
    fn slice(&self, slice: usize, visit: &mut dyn FnMut(&IndexEntry), flaws: &mut Vec<Flaw>) {
        let bound = |slice: usize| u8::try_from(slice.saturating_mul(256 / SLICES)).ok();
        let first = bound(slice).unwrap_or_default();
        let end = bound(slice.saturating_add(1)).map(|end| [end]);
        let end = end.as_ref().map(<[u8; 1]>::as_slice);
        let mut rows = |column, visit: &mut dyn FnMut(&[u8], &[u8]) -> bool| {
            let mut sweep = self.snapshot.sweep(column, &[first], end);
            if let Err(error) = each_row(&mut sweep, visit, flaws, column) {
                let place = format!("{}, hashes from {first:02x} on", column.name());
                flaws.push(Flaw::Unreadable { place, error });
            }
        };
        rows(self.of.sorted(), &mut |key, value| {
            let Some(entry) = self.of.entry(key, value) else { return false };
            visit(&entry);
            true
        });
        rows(self.of.unsorted(), &mut |key, value| {
            let row = (UnindexedKey::ref_from_bytes(key), <[IndexEntry]>::ref_from_bytes(value));
            let (Ok(key), Ok(entries)) = row else { return false };
            entries.iter().for_each(&mut *visit);
            let fits = |entry: &IndexEntry| entry.hash.first() == key.as_bytes().first();
            key.number() < self.numbers_end && entries.iter().all(fits)
        });
    }

    /// Tells of what these parts of the index and of what is held differ in.
    ///
    /// # Cost
    ///
    /// All that is held is read once more, and once more for every two million entries of these
    /// parts.
    pub(super) fn name(
        &self,
        held: Held<'_>,
        mut differing: Vec<(usize, u64)>,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Flaw),
    ) {
        let mut named = 0;
        while let Some((part, mut entries)) = differing.pop() {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let mut parts = vec![false; PARTS];
            parts.get_mut(part).into_iter().for_each(|wanted| *wanted = true);
            while let Some((part, more)) = differing.last()
                && entries.saturating_add(*more) <= ENTRIES_MAX
            {
                entries.grow(*more);
                parts.get_mut(*part).into_iter().for_each(|wanted| *wanted = true);
                differing.pop();
            }
            self.compare(held, &parts, &mut |flaw| {
                named.grow(1);
                tell(flaw);
            });
            if named >= NAMED_MAX && !differing.is_empty() {
                return tell(Flaw::Parts { of: self.of, parts: differing.len() });
            }
        }
    }

    fn compare(&self, lend: Held<'_>, wanted: &[bool], tell: &mut dyn FnMut(Flaw)) {
        let is_wanted =
            |entry: &IndexEntry| wanted.get(part(&entry.hash)).copied().unwrap_or_default();
        let (mut held, mut indexed) = (Vec::new(), Vec::new());
        lend(&mut |entry| held.extend(is_wanted(entry).then_some(*entry)));
        for slice in 0..SLICES {
            let of_slice = slice.saturating_mul(PARTS) / SLICES
                ..slice.saturating_add(1).saturating_mul(PARTS) / SLICES;
            if wanted.get(of_slice).is_some_and(|parts| parts.contains(&true)) {
                let keep = |entry: &IndexEntry| indexed.extend(is_wanted(entry).then_some(*entry));
                // What cannot be read was told of before.
                self.slice(slice, &mut { keep }, &mut Vec::new());
            }
        }
        for entries in [&mut held, &mut indexed] {
            entries.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
            entries.dedup();
        }
        differences(self.of, &held, &indexed, tell);
    }
}

/// Tells of the entries that only one of two has, which are in order.
fn differences(
    of: IndexOf,
    held: &[IndexEntry],
    indexed: &[IndexEntry],
    tell: &mut dyn FnMut(Flaw),
) {
    let only = |these: &[IndexEntry], those: &[IndexEntry]| -> Vec<IndexEntry> {
        let is_there = |entry: &&IndexEntry| {
            those.binary_search_by(|other| other.as_bytes().cmp(entry.as_bytes())).is_ok()
        };
        these.iter().filter(|entry| !is_there(entry)).copied().collect()
    };
    for IndexEntry { hash, place } in only(held, indexed) {
        let (chain, height) = (place.chain(), place.height());
        tell(match of {
            IndexOf::Blocks => Flaw::NotIndexed { chain, height, hash: BlockHash::new(hash) },
            IndexOf::Payloads => {
                Flaw::PayloadNotIndexed { chain, height, hash: PayloadHash::new(hash) }
            }
        });
    }
    for IndexEntry { hash, place } in only(indexed, held) {
        let (chain, height) = (place.chain(), place.height());
        tell(match of {
            IndexOf::Blocks => Flaw::NotHeld { chain, height, hash: BlockHash::new(hash) },
            IndexOf::Payloads => {
                Flaw::PayloadNotHeld { chain, height, hash: PayloadHash::new(hash) }
            }
        });
    }
}

/// Lends all rows to `visit`, which says whether they are what they should be.
pub(super) fn each_row(
    sweep: &mut Sweep<'_>,
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    flaws: &mut Vec<Flaw>,
    column: Column,
) -> Result<(), StoreError> {
    while let Some((key, value)) = sweep.row()? {
        if !visit(key, value) {
            let (place, error) = (column.name().to_owned(), sweep.damaged());
            flaws.push(Flaw::Unreadable { place, error });
        }
        sweep.advance();
    }
    Ok(())
}
