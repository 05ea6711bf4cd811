//! Blocks that come in order, straight to runs.
//!
//! Enters: verified headers, each after its parents, and what their blocks carry. Leaves: runs of the
//! trunk, and what is not buried yet as loose blocks, a few hundred thousand blocks a commit or some
//! ten megabytes of payloads.
//!
//! - `I-1` Every commit leaves a whole database: that of the blocks that came before it. It is one
//!   batch with their payloads, and with the mark up to where the input was read.
//! - `I-2` What cannot be told from the blocks at hand is not guessed: whoever asks turns to the
//!   plain way, one block at a time, which is the slow twin of this one.

mod commit;
mod line;

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashSet;

use self::commit::{Commit, Committer};
use self::line::{Line, Place, Spare, State};
use super::WriteError;
use super::payloads::Payloads;
use crate::header::{Header, HeaderRef, LEN};
use crate::payload::VerifiedPayload;
use crate::query::Blocks;
use crate::store::{IndexEntry, Mark, Snapshot, Store, StoreError};
use crate::tree::{self, Forest, NodeId, Tree};
use crate::types::{BlockHash, BlockHeight, ChainId};
use crate::verify::Verified;

/// Takes blocks that come in order.
pub struct Bulk {
    lines: Vec<Option<Line>>,
    tree: Tree,
    snapshot: Snapshot,
    /// The last run that was asked for, of each chain.
    sealed: BTreeMap<ChainId, (BlockHeight, Bytes)>,
    window: u64,
    /// What blocks lack that were admitted without it: it is for the plain way to verify them again.
    lacked: HashSet<BlockHash>,
    entries: Vec<IndexEntry>,
    payloads: Payloads,
    committer: Committer,
}

/// Whether a block is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It is, byte by byte.
    Yes,
    /// It is not.
    No,
    /// That cannot be told here.
    Unknown,
}

impl Bulk {
    /// Goes on from what is in `store`; `None` if the heaviest branch of a chain does not stand
    /// right on its trunk.
    pub(super) fn begin(
        store: &Arc<Store>,
        tree: &Tree,
        window: u64,
        lacked: HashSet<BlockHash>,
    ) -> Result<Option<Self>, WriteError> {
        let (snapshot, spare) = (store.snapshot(), Spare::default());
        let mut lines = Vec::new();
        for (chain, forest) in tree.iter() {
            match line(&snapshot, chain, forest, &spare)? {
                Some(line) => lines.push(Some(line)),
                None if forest.is_empty() => lines.push(None),
                None => return Ok(None),
            }
        }
        Ok(Some(Self {
            lines,
            tree: tree.clone(),
            snapshot,
            sealed: BTreeMap::new(),
            window,
            lacked,
            entries: Vec::new(),
            payloads: Payloads::new(Arc::clone(store)),
            committer: Committer::new(Arc::clone(store), spare)?,
        }))
    }

    /// Whether a block is stored or staged.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`].
    pub fn holds(&mut self, header: HeaderRef<'_>) -> Result<Held, WriteError> {
        let (chain, height) = (header.chain(), header.height());
        let Some(line) = self.line(chain) else { return Ok(Held::Unknown) };
        if height < line.first() {
            return self.holds_sealed(header);
        }
        Ok(match line.find(height, header.hash()) {
            Some(found) if found == header => Held::Yes,
            // Another block has its hash.
            Some(_) => Held::Unknown,
            None => Held::No,
        })
    }

    /// The block with this hash on `chain` at `height`, if it is at hand.
    #[must_use]
    pub fn find(
        &self,
        chain: ChainId,
        height: BlockHeight,
        hash: BlockHash,
    ) -> Option<HeaderRef<'_>> {
        self.line(chain)?.find(height, hash)
    }

    /// Takes a block that is not held; `false` if its parent is not at hand, or if blocks were admitted
    /// that lack it.
    pub fn stage(&mut self, verified: Verified<'_>) -> bool {
        let header = verified.header();
        if !self.lacked.is_empty() && self.lacked.contains(&header.hash()) {
            return false;
        }
        let line = self.lines.get_mut(header.chain().index()).and_then(Option::as_mut);
        let Some(line) = line else { return false };
        if line.insert(header, verified.level()) == Place::Elsewhere {
            return false;
        }
        self.entries.push(IndexEntry::of(header));
        true
    }

    /// Takes what a block carries, which is staged or held. Returns whether it is new.
    ///
    /// # Errors
    ///
    /// [`WriteError::Payload`] if it is not the payload of this block, [`WriteError::Store`].
    pub fn stage_payload(
        &mut self,
        header: HeaderRef<'_>,
        payload: VerifiedPayload,
    ) -> Result<bool, WriteError> {
        let is_last = self.entries.last() == Some(&IndexEntry::of(header));
        let line = self.line(header.chain());
        // Payloads are stored with blocks, so that the first one at a height finds none.
        let unknown = is_last && line.is_some_and(|line| line.is_alone_at(header.height()));
        self.payloads.stage(header, payload, unknown)
    }

    /// The number of blocks, or of payloads, if these are more, that are staged and not handed over to
    /// be committed.
    #[must_use]
    pub const fn staged(&self) -> usize {
        let (blocks, payloads) = (self.entries.len(), self.payloads.len());
        if blocks > payloads { blocks } else { payloads }
    }

    /// Bytes of payloads that are staged.
    #[must_use]
    pub const fn payload_bytes(&self) -> usize {
        self.payloads.bytes()
    }

    /// Hands over what is staged, with the mark of where the input was read up to; returns how many
    /// blocks were committed since the last time. It outlives a crash when RocksDB flushes next, or
    /// with `flush` at once.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`], for example when the disk is full; also of an earlier commit.
    pub fn commit(&mut self, mark: Option<Mark>, flush: bool) -> Result<usize, WriteError> {
        let entries = mem::replace(&mut self.entries, self.committer.spare_entries());
        let payloads = self.payloads.take();
        let mut commit = Commit { entries, payloads, mark, flush, ..Commit::default() };
        for line in self.lines.iter_mut().flatten() {
            let chain = line.chain();
            let (runs, sunk) = line.take_buried(self.window);
            commit.runs.extend(runs.into_iter().map(|run| (chain, run)));
            for (header, state) in sunk.into_iter().filter(|(_, state)| !state.loose) {
                commit.loose.push((header, state.level));
            }
            line.loosen(|header, level| commit.loose.push((header.to_owned(), level)));
        }
        self.committer.send(commit)
    }

    /// Returns when all that was handed over is on disk, outliving a crash of the machine, and how
    /// many blocks were committed since the last time.
    ///
    /// # Errors
    ///
    /// As for [`Bulk::commit`].
    pub(super) fn finish(&mut self) -> Result<usize, WriteError> {
        self.committer.finish()
    }

    fn line(&self, chain: ChainId) -> Option<&Line> {
        self.lines.get(chain.index())?.as_ref()
    }

    /// Looks among the blocks that were there from the beginning.
    fn holds_sealed(&mut self, header: HeaderRef<'_>) -> Result<Held, WriteError> {
        let (chain, height) = (header.chain(), header.height());
        let Some(forest) = self.tree.forest(chain) else { return Ok(Held::Unknown) };
        let Some(trunk) = forest.trunk() else { return Ok(Held::Unknown) };
        let blocks = Blocks::new(chain, forest, &self.snapshot);
        if trunk.contains(height) {
            let first = forest.run_length().start(height).max(trunk.first());
            let run = match self.sealed.get(&chain) {
                Some((at, run)) if *at == first => run,
                _ => {
                    let run = blocks.sealed_run(first)?;
                    self.sealed.insert(chain, (first, run));
                    &self.sealed.get(&chain).ok_or_else(|| StoreError::gap(chain, first))?.1
                }
            };
            let index =
                usize::try_from(height.since(first).unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
            let record = run.chunks_exact(LEN).nth(index);
            if record == Some(header.as_bytes().as_slice()) {
                return Ok(Held::Yes);
            }
        }
        match forest.find(&header.hash()) {
            Some(id) if blocks.header(tree::Place::Node(id))?.view() == header => Ok(Held::Yes),
            _ => Ok(Held::Unknown),
        }
    }
}

/// The blocks of a chain above its trunk; `None` if there are none, or if the heaviest branch does
/// not stand right on the trunk.
fn line(
    snapshot: &Snapshot,
    chain: ChainId,
    forest: &Forest,
    spare: &Spare,
) -> Result<Option<Line>, StoreError> {
    let Some(tip) = forest.tip() else { return Ok(None) };
    let first = match forest.trunk() {
        Some(trunk) if forest.join(tree::Place::Node(tip)) != trunk.end().parent() => {
            return Ok(None);
        }
        Some(trunk) => trunk.end(),
        None => forest.rank(forest.root(tip)).height,
    };
    let mut branch: Vec<NodeId> = forest.line(tip, first).collect();
    branch.reverse();
    let blocks = read(snapshot, chain, forest, &branch)?;
    let line = Line::new(chain, forest.run_length(), spare.clone(), blocks);
    let Some(mut line) = line else { return Ok(None) };
    branch.sort_unstable();
    let beside = forest.nodes_from(first).filter(|id| branch.binary_search(id).is_err());
    let beside: Vec<NodeId> = beside.collect();
    for (header, state) in read(snapshot, chain, forest, &beside)? {
        line.push_side(header.view(), state);
    }
    Ok(Some(line))
}

fn read(
    snapshot: &Snapshot,
    chain: ChainId,
    forest: &Forest,
    nodes: &[NodeId],
) -> Result<Vec<(Header, State)>, StoreError> {
    let nodes = nodes.iter().map(|id| {
        let rank = forest.rank(*id);
        let level = snapshot.level(chain, rank, false)?;
        Ok((snapshot.loose(chain, rank)?, State { level, loose: true }))
    });
    nodes.collect()
}
