use super::{WriteError, Writer};
use crate::failpoint::reached;
use crate::header::{HeaderRef, LEN};
use crate::query::Blocks;
use crate::store::{Batch, RunSums, Sealed, StoreError};
use crate::tree::{Forest, NodeId, Step};
use crate::types::{BlockHeight, ChainId, Rank};

/// Blocks that may be sealed or given back for each block of a commit. With 2 the sealing keeps up with
/// the growth, and gets ahead of it.
const MOVED_PER_BLOCK: u64 = 2;

impl Writer {
    /// [`Writer::commit`] for blocks that come a few at a time: when one branch is to be sealed instead of
    /// another, this moves runs until twice as many blocks are moved as were staged, and the next commits move
    /// the others. So the work of one commit is bounded, however deep the fork is. No answer depends on which
    /// blocks are sealed.
    ///
    /// # Errors
    ///
    /// As for [`Writer::commit`].
    pub fn commit_some(&mut self) -> Result<usize, WriteError> {
        let staged = self.staged.len() as u64;
        self.commit_sealing(staged.saturating_mul(MOVED_PER_BLOCK).max(1))
    }

    /// Seals blocks that are buried deep, and gives back blocks that are no longer on the heaviest branch,
    /// until `moved_max` blocks were moved, or up to a run more. Every step is one batch, so that each
    /// leaves a complete database.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`]. The steps before the failure are done.
    pub(super) fn seal(&mut self, moved_max: u64) -> Result<(), WriteError> {
        let mut left = moved_max;
        while let Some(chain) = self.unsettled.first().copied() {
            while let Some(step) = self.tree.forest(chain).and_then(|forest| self.next_step(forest))
            {
                if left == 0 {
                    return Ok(());
                }
                self.snapshot = self.store().snapshot();
                left = left.saturating_sub(self.take(chain, step)?);
            }
            self.unsettled.remove(&chain);
        }
        Ok(())
    }

    /// Takes a step; returns the number of blocks that were moved.
    fn take(&mut self, chain: ChainId, step: Step) -> Result<u64, WriteError> {
        match step {
            Step::Seal(nodes) => self.seal_run(chain, &nodes).map(|()| nodes.len() as u64),
            Step::SealBelow(nodes) => self.seal_below(chain, &nodes).map(|()| nodes.len() as u64),
            Step::Unseal(from) => self.unseal(chain, from),
        }
    }

    fn next_step(&self, forest: &Forest) -> Option<Step> {
        forest.next_step(self.window)
    }

    fn seal_run(&mut self, chain: ChainId, nodes: &[NodeId]) -> Result<(), WriteError> {
        let ranks = self.ranks(chain, nodes);
        let mut headers = Vec::new();
        self.snapshot.headers(chain, &ranks, &mut headers)?;
        self.write_run(chain, nodes, &ranks, &headers, None)
    }

    /// Where the lowest run begins at no multiple of its length, it is written anew, whole.
    fn seal_below(&mut self, chain: ChainId, nodes: &[NodeId]) -> Result<(), WriteError> {
        let ranks = self.ranks(chain, nodes);
        let mut headers = Vec::new();
        self.snapshot.headers(chain, &ranks, &mut headers)?;
        let mut instead_of = None;
        if let Some(forest) = self.tree.forest(chain)
            && let Some(first) = forest.trunk().map(crate::tree::Trunk::first)
            && forest.run_length().start(first) != first
        {
            let lowest = Blocks::new(chain, forest, &self.snapshot).sealed_run(first)?;
            headers.extend_from_slice(&lowest);
            instead_of = Some(first);
        }
        self.write_run(chain, nodes, &ranks, &headers, instead_of)
    }

    fn write_run(
        &mut self,
        chain: ChainId,
        nodes: &[NodeId],
        ranks: &[Rank],
        headers: &[u8],
        instead_of: Option<BlockHeight>,
    ) -> Result<(), WriteError> {
        let lowest = headers.get(..LEN).and_then(|lowest| HeaderRef::parse(lowest).ok());
        let Some((lowest, first)) = lowest.zip(ranks.first()) else { return Ok(()) };
        let sums = self.run_sums(chain, first.height, headers, instead_of)?;
        let run = Sealed { first: first.height, headers, from_loose: ranks, instead_of, sums };
        let mut batch = Batch::default();
        batch.seal(self.store(), chain, &run);
        reached("seal/write/before");
        self.store().write(batch)?;
        reached("seal/write/after");
        if let Some(forest) = self.tree.forest_mut(chain) {
            forest.seal(nodes, lowest.parent());
            self.standing.seal(chain, forest, ranks);
        }
        Ok(())
    }

    /// What the trunk comes to with a new run at its end, or in front of it.
    fn run_sums(
        &self,
        chain: ChainId,
        first: BlockHeight,
        headers: &[u8],
        instead_of: Option<BlockHeight>,
    ) -> Result<RunSums, StoreError> {
        if let Some(lowest) = instead_of {
            // It ends where that did.
            return self.snapshot.run_sums(chain, lowest);
        }
        let forest = self.tree.forest(chain);
        let trunk = forest.and_then(|forest| Some((forest, forest.trunk()?)));
        if let Some((forest, trunk)) = trunk.filter(|(_, trunk)| first < trunk.first()) {
            let lowest = trunk.first();
            let above = Blocks::new(chain, forest, &self.snapshot).sealed_run(lowest)?;
            return Ok(self.snapshot.run_sums(chain, lowest)?.in_front_of(headers, &above));
        }
        Ok(RunSums::behind(self.snapshot.sums_below(chain, first)?, headers))
    }

    /// Gives back the uppermost run, which begins at `first`; returns how many blocks it has.
    fn unseal(&mut self, chain: ChainId, first: BlockHeight) -> Result<u64, WriteError> {
        let Some(forest) = self.tree.forest(chain) else { return Ok(0) };
        let run = Blocks::new(chain, forest, &self.snapshot).sealed_run(first)?;
        let (mut batch, mut ranks) = (Batch::default(), Vec::new());
        batch.unseal(&self.snapshot, chain, first, &run)?;
        for header in run.chunks_exact(LEN) {
            let header = HeaderRef::parse(header).map_err(|_| StoreError::gap(chain, first))?;
            self.standing.note(header);
            ranks.push(header.rank());
        }
        reached("unseal/write/before");
        self.store().write(batch)?;
        reached("unseal/write/after");
        if let Some(forest) = self.tree.forest_mut(chain) {
            forest.unseal(first, &ranks);
        }
        Ok(ranks.len() as u64)
    }

    fn ranks(&self, chain: ChainId, nodes: &[NodeId]) -> Vec<Rank> {
        let forest = self.tree.forest(chain);
        forest.map_or_else(Vec::new, |forest| nodes.iter().map(|id| forest.rank(*id)).collect())
    }
}
