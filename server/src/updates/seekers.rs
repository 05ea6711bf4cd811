//! Streams that do not follow the log yet, and what each waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

use plait_engine::query::UnknownTop;

/// What a stream waits for before it follows the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The end of all streams.
    End,
    /// The log to be as recent as the view with this number.
    Log(u64),
    /// A view that may hold this block; the view with this number does not.
    Block(UnknownTop, u64),
}

/// The waiting streams, by place.
#[derive(Debug, Default)]
pub(super) struct Seekers(BTreeMap<usize, (Awaited, Waker)>);

impl Seekers {
    /// Registers the task at a place.
    pub(super) fn add(&mut self, at: usize, awaited: Awaited, waker: Waker) {
        self.0.insert(at, (awaited, waker));
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<Waker> {
        self.0.remove(&at).map(|(_, waker)| waker)
    }

    /// The blocks that streams wait for, each once.
    pub(super) fn blocks(&self) -> BTreeSet<UnknownTop> {
        let blocks = self.0.values().filter_map(|(awaited, _)| match awaited {
            Awaited::Block(block, _) => Some(*block),
            Awaited::End | Awaited::Log(_) => None,
        });
        blocks.collect()
    }

    /// Removes the tasks that wait for one of these blocks, or for a log as recent as `seen`, and
    /// returns their wakers.
    pub(super) fn take(&mut self, seen: u64, blocks: &BTreeSet<UnknownTop>) -> Vec<Waker> {
        let has_come = |awaited: &Awaited| match awaited {
            Awaited::End => false,
            Awaited::Log(number) => *number <= seen,
            Awaited::Block(block, _) => blocks.contains(block),
        };
        let come = self.0.extract_if(.., |_, (awaited, _)| has_come(awaited));
        come.map(|(_, (_, waker))| waker).collect()
    }

    pub(super) fn into_wakers(self) -> impl Iterator<Item = Waker> {
        self.0.into_values().map(|(_, waker)| waker)
    }
}
