use hashbrown::{HashMap, HashSet};

use super::{WriteError, Writer};
use crate::header::{DEGREE, Header, HeaderRef};
use crate::query::Blocks;
use crate::store::{History, Snapshot, StoreError};
use crate::tree::Tree;
use crate::types::{BlockHash, ChainId};
use crate::verify::{Adjacents, Failures, Level, Parent, Verifier};

/// Rows of `levels` that are looked at for blocks without all adjacent parents. Of a partial history
/// there are some dozens; more are of a replay that verified less on purpose.
const ROWS_MAX: usize = 1 << 16;

/// The blocks that were admitted without all the blocks below them, by one that each of them lacks.
///
/// Such a block states a height, a weight and a target that nothing confirms. When what it lacks
/// arrives it is verified again, by all that is there by then:
///
/// ```text
/// stored          arrives      verified again
/// R (lacks P, A)  A            nothing: R waits for P
///                 P            R against P and A
/// ```
///
/// A block that turns out to be wrong then was wrong all the time, and what arrived is right: a hash
/// pins all that is below it. So what arrives is stored, and the block is reported as one that is
/// wrong. It stays, as blocks always do; `plait verify` names it.
#[derive(Debug, Default)]
pub(super) struct Starts {
    lacking: HashMap<BlockHash, Vec<(ChainId, BlockHash)>>,
}

impl Starts {
    /// Those of a database.
    pub(super) fn load(tree: &Tree, snapshot: &Snapshot) -> Result<Self, StoreError> {
        let mut starts = Self::default();
        if snapshot.meta().history == History::Full {
            return Ok(starts);
        }
        for (chain, forest) in tree.iter() {
            let blocks = Blocks::new(chain, forest, snapshot);
            for (parent, root) in forest.waiting() {
                starts.insert(parent, chain, forest.rank(root).hash);
            }
            if let Some(trunk) = forest.trunk().filter(|trunk| !trunk.is_joined()) {
                let first = blocks.rank(crate::tree::Place::Trunk(trunk.first()))?;
                starts.insert(trunk.parent(), chain, first.hash);
            }
        }
        for (chain, rank) in snapshot.admitted(ROWS_MAX)? {
            let Some(forest) = tree.forest(chain) else { continue };
            let blocks = Blocks::new(chain, forest, snapshot);
            let Some(place) = blocks.place(&rank.hash)? else { continue };
            let header = blocks.header(place)?;
            // One without its parent is among those above.
            if snapshot.place(&header.view().parent())?.is_none() {
                continue;
            }
            for (_, hash) in header.view().adjacents().iter() {
                if snapshot.place(&hash)?.is_none() {
                    starts.insert(hash, chain, rank.hash);
                    break;
                }
            }
        }
        Ok(starts)
    }

    fn insert(&mut self, lacks: BlockHash, chain: ChainId, block: BlockHash) {
        let blocks = self.lacking.entry(lacks).or_default();
        if !blocks.contains(&(chain, block)) {
            blocks.push((chain, block));
        }
    }

    fn is_lacked(&self, hash: &BlockHash) -> bool {
        !self.lacking.is_empty() && self.lacking.contains_key(hash)
    }

    /// What blocks lack.
    pub(super) fn lacked(&self) -> HashSet<BlockHash> {
        self.lacking.keys().copied().collect()
    }
}

impl Writer {
    /// Notes that a block was staged without all the blocks below it.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`].
    pub(crate) fn note_start(
        &mut self,
        verifier: &Verifier,
        header: HeaderRef<'_>,
    ) -> Result<(), WriteError> {
        if let Some(hash) = self.lacks(verifier, header)? {
            self.starts()?.insert(hash, header.chain(), header.hash());
        }
        Ok(())
    }

    /// Verifies the blocks again that lacked this one, which was staged just now; those that are
    /// wrong.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`].
    pub(crate) fn wrong_starts(
        &mut self,
        verifier: &Verifier,
        arrived: HeaderRef<'_>,
    ) -> Result<Vec<(Header, Failures)>, WriteError> {
        if !self.starts()?.is_lacked(&arrived.hash()) {
            return Ok(Vec::new());
        }
        let (verifier, mut wrong) = (verifier.at_any_time(), Vec::new());
        for (_, hash) in self.starts()?.lacking.remove(&arrived.hash()).unwrap_or_default() {
            // It may be of a commit that failed.
            let Some(header) = self.find(hash)? else { continue };
            match self.verify_start(&verifier, header.view())? {
                Ok(()) => self.note_start(&verifier, header.view())?,
                Err(failures) => wrong.push((header, failures)),
            }
        }
        Ok(wrong)
    }

    /// Verifies a block by as much as there is of what is below it.
    fn verify_start(
        &self,
        verifier: &Verifier,
        header: HeaderRef<'_>,
    ) -> Result<Result<(), Failures>, WriteError> {
        let Some(parent) = self.find(header.parent())? else { return Ok(Ok(())) };
        let mut blocks = [None; DEGREE];
        if verifier.level() == Level::Full {
            for (slot, (chain, hash)) in blocks.iter_mut().zip(header.adjacents().iter()) {
                *slot = match self.find(hash)? {
                    Some(block) => Some(block),
                    None => verifier.genesis_block(chain, hash),
                };
            }
        }
        let adjacents = match &blocks {
            [Some(a), Some(b), Some(c)] => Adjacents::Blocks([a.view(), b.view(), c.view()]),
            _ => Adjacents::Admitted,
        };
        // Its hash and its work were verified when it was admitted; now they are for a true report.
        let checked = verifier.check(header);
        let outcome = verifier.conclude(checked, Parent::Block(parent.view()), adjacents);
        Ok(outcome.map(|_| ()))
    }

    /// The first block below this one that is not there.
    fn lacks(
        &self,
        verifier: &Verifier,
        header: HeaderRef<'_>,
    ) -> Result<Option<BlockHash>, WriteError> {
        if self.find(header.parent())?.is_none() {
            return Ok(Some(header.parent()));
        }
        if verifier.level() == Level::Full {
            for (chain, hash) in header.adjacents().iter() {
                if self.find(hash)?.is_none() && verifier.genesis_block(chain, hash).is_none() {
                    return Ok(Some(hash));
                }
            }
        }
        Ok(None)
    }

    fn starts(&mut self) -> Result<&mut Starts, StoreError> {
        match &mut self.starts {
            Some(starts) => Ok(starts),
            none => Ok(none.insert(Starts::load(&self.tree, &self.snapshot)?)),
        }
    }

    /// What blocks lack that were admitted without it.
    pub(super) fn lacked(&mut self) -> Result<HashSet<BlockHash>, StoreError> {
        Ok(self.starts()?.lacked())
    }
}
