use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::{io, mem};

use super::line::{Run, Spare};
use crate::failpoint::reached;
use crate::header::{Header, HeaderRef, LEN};
use crate::payload::Payload;
use crate::store::{
    Batch, IndexEntry, IndexOf, Mark, PayloadKey, RunSums, Sealed, Store, StoreError,
};
use crate::types::{ChainId, Rank};
use crate::verify::Level;
use crate::write::WriteError;

/// What one commit writes.
#[derive(Default)]
pub(super) struct Commit {
    pub(super) runs: Vec<(ChainId, Run)>,
    /// Blocks that are not buried yet.
    pub(super) loose: Vec<(Header, Level)>,
    /// Of all blocks that come with this commit.
    pub(super) entries: Vec<IndexEntry>,
    /// What blocks carry: of these, or of some that were there before.
    pub(super) payloads: Vec<(PayloadKey, Payload)>,
    pub(super) mark: Option<Mark>,
    /// Whether it is to outlive a crash as soon as it is written.
    pub(super) flush: bool,
}

/// Writes commits one after the other, on a thread of its own.
pub(super) struct Committer {
    store: Arc<Store>,
    spare: Spare,
    /// `None` once no more commits come.
    commits: Option<SyncSender<Commit>>,
    results: Receiver<Result<usize, StoreError>>,
    /// Memory of entries that were written.
    entries: Receiver<Vec<IndexEntry>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// # Errors
    ///
    /// [`StoreError::Io`] if there is no thread to be had.
    pub(super) fn new(store: Arc<Store>, spare: Spare) -> Result<Self, StoreError> {
        // One is written while the next one is put together; a third would only take memory.
        let (commits, queue) = sync_channel(0);
        let (sender, results) = channel();
        let (spent, entries) = channel();
        let (writes, written) = (Arc::clone(&store), spare.clone());
        let work = move || run(&writes, &written, &queue, &sender, &spent);
        let thread = thread::Builder::new().name("commit".to_owned()).spawn(work);
        let thread = Some(thread.map_err(|source| store.failure(source))?);
        Ok(Self { store, spare, commits: Some(commits), results, entries, thread })
    }

    /// Room for the entries of the next commit.
    pub(super) fn spare_entries(&self) -> Vec<IndexEntry> {
        self.entries.try_recv().unwrap_or_default()
    }

    /// Hands over a commit; returns how many blocks earlier ones have brought since the last time.
    pub(super) fn send(&mut self, commit: Commit) -> Result<usize, WriteError> {
        let sent = self.commits.as_ref().is_some_and(|commits| commits.send(commit).is_ok());
        let results: Result<Vec<usize>, StoreError> = self.results.try_iter().collect();
        let committed = results?.into_iter().sum();
        if !sent {
            // The thread has ended, and the error that it left was told before.
            return Err(self.store.failure(io::Error::other("an earlier commit failed")).into());
        }
        Ok(committed)
    }

    /// Waits for all commits, and until they outlive a crash of the machine.
    pub(super) fn finish(&mut self) -> Result<usize, WriteError> {
        drop(self.commits.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let results: Result<Vec<usize>, StoreError> = self.results.try_iter().collect();
        let committed = results?.into_iter().sum();
        self.store.flush()?;
        *self = Self::new(Arc::clone(&self.store), self.spare.clone())?;
        Ok(committed)
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        drop(self.commits.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Writes commits until there are no more, or one fails.
fn run(
    store: &Arc<Store>,
    spare: &Spare,
    commits: &Receiver<Commit>,
    results: &Sender<Result<usize, StoreError>>,
    spent: &Sender<Vec<IndexEntry>>,
) {
    let mut tops = BTreeMap::new();
    for mut commit in commits {
        let mut entries = mem::take(&mut commit.entries);
        let result = write(store, spare, commit, &entries, &mut tops);
        entries.clear();
        // Nobody waits for it at the end.
        let _ = spent.send(entries);
        let failed = result.is_err();
        let _ = results.send(result);
        if failed {
            return;
        }
    }
}

/// Writes a commit. `tops` has what the trunk of each chain comes to that has grown so far.
fn write(
    store: &Arc<Store>,
    spare: &Spare,
    commit: Commit,
    entries: &[IndexEntry],
    tops: &mut BTreeMap<ChainId, RunSums>,
) -> Result<usize, StoreError> {
    let Commit { runs, loose, payloads, mark, flush, .. } = commit;
    let sealed: usize = runs.iter().map(|(_, run)| run.records.len()).sum();
    let others = loose
        .len()
        .saturating_mul(LEN.saturating_add(100))
        .saturating_add(entries.len().saturating_mul(64));
    let carried: usize = payloads
        .iter()
        .map(|(key, payload)| {
            size_of_val(key).saturating_mul(3).saturating_add(payload.as_bytes().len())
        })
        .sum();
    let mut batch = Batch::with_capacity(
        sealed.saturating_add(sealed / 8).saturating_add(others).saturating_add(carried),
    );
    for (chain, run) in runs {
        let ranks = loose_ranks(&run);
        // Those that were loose have rows of their own for that.
        let levels: Vec<Level> = run
            .states
            .iter()
            .map(|state| if state.loose { Level::Full } else { state.level })
            .collect();
        batch.put_levels(store, chain, run.first, &levels);
        let Run { first, records, .. } = run;
        let below = match tops.get(&chain) {
            Some(below) => Some(*below),
            None => store.snapshot().sums_below(chain, first)?,
        };
        let sums = RunSums::behind(below, &records);
        tops.insert(chain, sums);
        let run = Sealed { first, headers: &records, from_loose: &ranks, instead_of: None, sums };
        batch.seal(store, chain, &run);
        spare.give(records);
    }
    for (header, level) in &loose {
        batch.put_loose(store, header.view(), *level);
    }
    batch.put_unindexed(store, IndexOf::Blocks, entries);
    let mut places = Vec::with_capacity(payloads.len());
    for (key, payload) in payloads {
        places.push(IndexEntry::of_payload(&key));
        batch.put_payload_row(store, &key, &payload);
    }
    batch.put_unindexed(store, IndexOf::Payloads, &places);
    if let Some(mark) = mark {
        batch.put_mark(store, &mark);
    }
    reached("bulk/write/before");
    store.write_unlogged(batch)?;
    reached("bulk/write/after");
    if flush {
        store.flush()?;
    }
    Ok(entries.len())
}

/// The blocks of a run that are in `loose`.
fn loose_ranks(run: &Run) -> Vec<Rank> {
    let states = run.records.chunks_exact(LEN).zip(&run.states);
    let loose = states.filter(|(_, state)| state.loose);
    loose.filter_map(|(record, _)| Some(HeaderRef::parse(record).ok()?.rank())).collect()
}
